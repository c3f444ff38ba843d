"""Phantoms: the same bytes every time, planted truths that can be measured back, clear refusals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skinsyn.datasets import phantom
from skinsyn.datasets.phantom import CONDITIONS, CONTRAST_OF_TYPE, MALIGNANT, PRETRAINING_PATTERNS
from skinsyn.run import files


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB uint8 (..., 3) to CIELAB (D65), written apart from the module's way back."""
    v = rgb / 255.0
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.linalg.inv(phantom.TO_RGB).T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CONDITIONS + PRETRAINING_PATTERNS), st.integers(1, 6), st.integers(0, 2**40))
def test_planted_ita_is_measured_back(condition, fst, seed):
    one = phantom.draw(condition, fst, seed)
    lab = np.median(to_lab(one.image[~one.mask]), axis=0)
    assert abs(np.degrees(np.arctan2(lab[0] - 50, lab[2])) - one.ita) < 5
    assert 0 <= one.difficulty <= 1


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(CONDITIONS), st.integers(1, 6), st.integers(0, 10**6))
def test_lesion_lies_mostly_in_the_centre_square(condition, fst, seed):
    mask = phantom.draw(condition, fst, seed).mask
    assert mask.sum() >= 20
    assert mask[16:48, 16:48].sum() / mask.sum() > 0.6


def test_same_arguments_same_bytes_and_any_difference_shows():
    one = phantom.draw("annular", 3, 7)
    assert np.array_equal(one.image, phantom.draw("annular", 3, 7).image)
    others = [("annular", 3, 8), ("annular", 4, 7), ("papular", 3, 7)]
    assert all(not np.array_equal(one.image, phantom.draw(*o).image) for o in others)
    view = phantom.draw("annular", 3, 7, view=1)
    assert view.ita == one.ita and not np.array_equal(view.image, one.image)
    assert not np.array_equal(phantom.draw("annular", 3, 7, shift=1.0).image, one.image)


@pytest.mark.parametrize("size", [16, 64, 100, 128])
def test_sizes_show_the_same_picture(size):
    one, small = phantom.draw("target", 2, 1, size), phantom.draw("target", 2, 1, 64)
    assert one.image.shape == (size, size, 3) and one.image.dtype == np.uint8 and one.mask.shape == (size, size)
    scaled = np.asarray(Image.fromarray(one.image).resize((64, 64)), dtype=float)
    assert np.abs(scaled - small.image).mean() < 6


def test_darker_skin_is_darker_and_its_lesions_fainter():
    def brightness(fst: int) -> float:
        return float(np.mean([phantom.draw("papular", fst, s).image.mean() for s in range(10)]))

    assert all(brightness(a) > brightness(a + 1) for a in range(1, 6))
    assert list(CONTRAST_OF_TYPE.values()) == sorted(CONTRAST_OF_TYPE.values(), reverse=True)
    hard = [np.mean([phantom.draw("papular", f, s).difficulty for s in range(30)]) for f in (1, 6)]
    assert hard[1] > hard[0] + 0.15


def test_the_base_model_never_sees_a_condition():
    assert len(CONDITIONS) == 9 and len(PRETRAINING_PATTERNS) == 12 and not set(CONDITIONS) & set(PRETRAINING_PATTERNS)
    assert set(MALIGNANT) < set(CONDITIONS) and len(MALIGNANT) == 2


def test_bad_input_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="nearest is 'annular'"):
        phantom.draw("anular", 1, 0)
    with pytest.raises(ValueError, match="from 1 to 6"):
        phantom.draw("annular", 7, 0)
    with pytest.raises(ValueError, match="at least 16"):
        phantom.draw("annular", 1, 0, size=8)


def test_data_set_is_the_same_bytes_and_groups_views_by_patient(tmp_path):
    made = [phantom.make_dataset(tmp_path / n, seed=3, per_condition=12, size=32, second_views=0.4) for n in "ab"]
    assert files.digest_tree(tmp_path / "a") == files.digest_tree(tmp_path / "b")
    table = pd.read_csv(tmp_path / "a" / "metadata.csv")
    pd.testing.assert_frame_equal(table, made[0])
    assert len(table) == 108 and table.image_id.is_unique and (table.groupby("condition").size() == 12).all()
    groups = table.groupby("patient_id")
    assert (groups.size() == 2).any() and groups.size().max() == 2
    assert (groups[["condition", "fst", "ita"]].nunique() == 1).all().all()
    assert (table.malignant == table.condition.isin(MALIGNANT)).all()
    for name in table.image_id:
        assert np.asarray(Image.open(tmp_path / "a" / f"{name}.png")).shape == (32, 32, 3)
        assert set(np.unique(Image.open(tmp_path / "a" / "masks" / f"{name}.png"))) <= {0, 255}


def test_skin_type_weights_are_kept_and_checked(tmp_path):
    table = phantom.make_dataset(tmp_path, per_condition=3, size=16, fst_weights=[0, 0, 0, 0, 0, 1])
    assert set(table.fst) == {6}
    for bad in ([1, 1], [0] * 6, [-1, 1, 1, 1, 1, 1]):
        with pytest.raises(ValueError, match="fst_weights"):
            phantom.make_dataset(tmp_path, per_condition=3, fst_weights=bad)
    with pytest.raises(ValueError, match="per_condition"):
        phantom.make_dataset(tmp_path, per_condition=0)
