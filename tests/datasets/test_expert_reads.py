"""The experts' reads of skin type: what the shared file says, its agreement, and clear errors."""

import pandas as pd
import pytest

from skinsyn.datasets import expert_reads
from skinsyn.run import paths


@pytest.fixture(scope="module")
def reads():
    try:
        folder = paths.data_dir("fitzpatrick17k")
    except FileNotFoundError as error:
        pytest.skip(f"Fitzpatrick 17k is not here: {error}")
    file = folder / "expert_reads.csv"
    if not file.is_file():
        pytest.skip("the experts' reads are not here")
    return expert_reads.read(file)


def test_the_experts_agree_as_counted_by_hand(reads):
    table = expert_reads.agreement(reads).set_index(["first", "second"])
    assert len(reads) == 200 and len(table) == 10
    first = table.loc["dermatologist_1", "dermatologist_2"]
    assert first["rows"] == 194
    assert first["exact"] == pytest.approx(91 / 194) and first["within_one"] == pytest.approx(185 / 194)
    assert first["same_group"] == pytest.approx(129 / 194)
    pairs = table.loc[[pair for pair in table.index if all("dermatologist" in name for name in pair)]]
    assert pairs[["exact", "within_one", "same_group"]].mean().round(2).tolist() == [0.52, 0.95, 0.68]
    with_scale = table.loc["dermatologist_1", "scale"]
    assert with_scale[["within_one", "same_group"]].round(2).tolist() == [0.96, 0.7]


def test_scale_and_centaur_record_middle_types_as_light(reads):
    """Rows: experts' group; columns: the annotator's. Two medians lie between groups and are of neither."""
    groups = ["I-II", "III-IV", "V-VI"]
    assert (reads["expert_group"] == "unknown").sum() == 2
    scale = pd.crosstab(reads["expert_group"], reads["scale_group"]).loc[groups, groups]
    assert scale.to_numpy().tolist() == [[69, 6, 0], [39, 35, 12], [0, 3, 32]]
    centaur = pd.crosstab(reads["expert_group"], reads["centaur_group"]).loc[groups]
    by_column = centaur[[*groups, "unknown"]].to_numpy().tolist()
    assert by_column == [[63, 6, 0, 7], [29, 43, 8, 7], [2, 0, 32, 1]]


def test_a_file_that_is_not_of_this_kind_is_refused(tmp_path):
    file = tmp_path / "reads.csv"
    file.write_text("image,scale\na,1\n")
    with pytest.raises(ValueError, match="one or more columns dermatologist_"):
        expert_reads.read(file)
    file.write_text("dermatologist_1,scale\n7,1\n")
    with pytest.raises(ValueError, match="column 'dermatologist_1' holds 7; expected 1 to 6"):
        expert_reads.read(file)
    assert expert_reads.find("") is None and expert_reads.find("nowhere/reads.csv") is None
    assert expert_reads.find(str(file)) == file
