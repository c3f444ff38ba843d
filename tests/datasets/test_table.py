"""The table of images: groups of skin types, its checks, the phantoms in it, the flow that adds up."""

import pandas as pd
import pytest

from skinsyn.datasets import match, phantom, table
from skinsyn.run import store

WEIGHTS = [0.2, 0.25, 0.2, 0.15, 0.12, 0.08]


def good() -> pd.DataFrame:
    frame = pd.DataFrame(
        {"image_id": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"], "condition": ["nevus", "nevus", "melanoma"]}
    )
    frame = frame.assign(
        malignant=[False, False, True], fst=[1, -1, 5], fst_group=["I-II", "unknown", "V-VI"], source="s"
    )
    return frame.assign(patient_id="", lesion_id="", malignancy_only=False)


def test_groups_of_skin_types():
    assert list(table.fst_group(pd.Series([1, 2, 3, 4, 5, 6, -1]))) == ["I-II"] * 2 + ["III-IV"] * 2 + ["V-VI"] * 2 + [
        "unknown"
    ]
    with pytest.raises(ValueError, match="1 to 6, or -1 for unknown; found 0, 7"):
        table.fst_group(pd.Series([1, 7, 0]))


def test_a_good_table_passes_and_comes_back():
    frame = good()
    assert table.validate(frame, ["nevus", "melanoma"]) is frame
    whole = frame.assign(cluster_id="k", split="train", unit="u", row=[0, 1, 2])
    assert table.validate(whole, complete=True) is whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": ["a", "b", "b"]}, "image_id must be unique; 1 are repeated, e.g. b"),
        ({"image_id": ["a", "../b", "c"]}, "image_id may hold letters"),
        ({"fst": [1.0, -1.0, 5.0]}, "column 'fst': expected int without gaps, found float64"),
        ({"malignant": [0, 0, 1]}, "column 'malignant': expected bool"),
        ({"condition": ["nevus", None, "melanoma"]}, "column 'condition': expected str without gaps"),
        ({"condition": ["nevus", "nevsu", "melanoma"]}, "unknown condition 'nevsu'; nearest is 'nevus'"),
        ({"fst_group": ["I-II", "unknown", "I-II"]}, "fst_group does not follow from fst in 1 rows, e.g. c"),
        ({"fst": [1, -1, 9]}, "expected 1 to 6"),
        ({"malignant": [False, True, True]}, "'nevus' is marked both malignant and not"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        table.validate(good().assign(**change), ["nevus", "melanoma"])


def test_missing_columns_rows_and_strange_splits_are_named():
    with pytest.raises(ValueError, match="lacks the column.s. path, fst"):
        table.validate(good().drop(columns=["path", "fst"]))
    with pytest.raises(ValueError, match="lacks the column.s. cluster_id, split, unit, row"):
        table.validate(good(), complete=True)
    with pytest.raises(ValueError, match="no rows"):
        table.validate(good().iloc[:0])
    with pytest.raises(ValueError, match="split: expected train, .*found trian"):
        table.validate(good().assign(cluster_id="k", split="trian", unit="u", row=0), complete=True)


def test_conditions_are_known_and_named_once():
    table.check_conditions(["a", "b"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="mine: unknown condition 'papullar'; nearest is 'papular'"):
        table.check_conditions(["papullar"], phantom.CONDITIONS, "mine")
    with pytest.raises(ValueError, match="named twice"):
        table.check_conditions(["a", "a"], ["a"])


def test_phantoms_are_kept_once_and_loaded_with_their_truth():
    folder = table.keep_phantoms(3, 6, 32, WEIGHTS)
    assert table.keep_phantoms(3, 6, 32, WEIGHTS) == folder != table.keep_phantoms(4, 6, 32, WEIGHTS)
    rows, left_out = table.load("phantom", folder, phantom.CONDITIONS)
    assert len(rows) == 54 and left_out.empty and not rows["path"].str.contains("masks").any()
    assert set(rows["condition"][rows["malignant"]]) == set(phantom.MALIGNANT)
    assert (rows["fst_group"] != "unknown").all() and (rows["source"] == "phantom").all()
    assert rows["patient_id"].nunique() < 54  # second views of one lesion share a patient
    written = pd.read_csv(folder / "metadata.csv").set_index("image_id")
    assert (written.loc[rows["image_id"], "fst"].to_numpy() == rows["fst"].to_numpy()).all()


def test_another_drawing_makes_the_phantoms_again(monkeypatch):
    before = table.keep_phantoms(0, 2, 32, WEIGHTS)
    draw = phantom.draw
    monkeypatch.setattr(
        phantom, "draw", lambda *args, **kwargs: draw(*args, **kwargs)._replace(image=255 - draw(*args, **kwargs).image)
    )
    assert table.keep_phantoms(0, 2, 32, WEIGHTS) != before


def test_what_is_not_of_the_study_is_counted_and_the_flow_adds_up():
    folder = table.keep_phantoms(0, 4, 32, WEIGHTS)
    rows, left_out = table.load("phantom", folder, ["annular", "papular"], ["ulcerated"])
    assert len(rows) == 12 and set(left_out["reason"]) == {"not a condition of this study"} and len(left_out) == 24
    assert set(rows["condition"][rows["malignancy_only"]]) == {"ulcerated"}
    lost = match.excluded(["x", "y"], "decoding", ["not an image"] * 2)
    split = ["test"] * 4 + ["train"] * 6 + ["unused"] * 2
    steps = table.flow(rows.assign(split=split), pd.concat([left_out, lost])).set_index("stage")["images"]
    assert list(steps[:6]) == [38, 14, 14, 14, 12, 10] and list(steps[6:]) == [6, 0, 4, 2]
    assert steps["rows of the data set"] == 12 + 24 + 2 and steps["image readable"] == 12


def test_a_unit_of_phantoms_is_the_same_wherever_it_is_made(monkeypatch, tmp_path):
    first = table.keep_phantoms(1, 2, 32, WEIGHTS)
    made = store.manifest("phantoms", first.name)["files"]
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "elsewhere"))
    again = table.keep_phantoms(1, 2, 32, WEIGHTS)
    assert again != first and again.name == first.name and store.manifest("phantoms", again.name)["files"] == made


def test_data_sets_are_known_by_name_and_place(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'pad_ufes' is not known; nearest is 'pad_ufes_20'"):
        table.find("pad_ufes", "")
    with pytest.raises(FileNotFoundError, match="(?s)Looked in:.*ddi_metadata.csv"):
        table.find("ddi", "no_such_folder")
    (tmp_path / "ddi").mkdir()
    monkeypatch.setenv("SKINSYN_DATA", str(tmp_path))
    assert table.find("ddi", "ddi") == tmp_path / "ddi"
    with pytest.raises(FileNotFoundError, match="ddi_metadata.csv"):
        table.load("ddi", tmp_path / "ddi", ["benign", "malignant"])
    line = ",DDI_ID,DDI_file,skin_tone,malignant,disease\n0,1,000001.png,56,True,melanoma-in-situ\n"
    (tmp_path / "ddi/ddi_metadata.csv").write_text(line)
    with pytest.raises(FileNotFoundError, match="(?s)no image at all.*ddi-dataset.github.io"):
        table.load("ddi", tmp_path / "ddi", ["benign", "malignant"])
