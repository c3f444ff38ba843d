"""What users really bring: rows without images, images without rows, broken files, repeated ids. All named or
counted."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinsyn.datasets import audit, match, splits, table

HEAD = ["img_id", "diagnostic", "patient_id", "lesion_id", "fitspatrick"]
FIVE = ["actinic keratosis", "basal cell carcinoma", "melanoma", "nevus", "seborrheic keratosis"]


@pytest.fixture
def folder(tmp_path):
    """A small PAD-UFES-20: four nevi and four melanomas, random pictures."""
    rng = np.random.default_rng(0)
    lines = [(f"PAT_{i}_{i}_{i}.png", "NEV" if i < 4 else "MEL", f"PAT_{i}", i, 2.0) for i in range(8)]
    for name, *_ in lines:
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(tmp_path / name)
    pd.DataFrame(lines, columns=HEAD).to_csv(tmp_path / "metadata.csv", index=False)
    return tmp_path


def change(folder, edit) -> None:
    edit(pd.read_csv(folder / "metadata.csv")).to_csv(folder / "metadata.csv", index=False)


def load(folder):
    return table.load("pad_ufes_20", folder, ["nevus", "melanoma"])


def test_a_row_without_an_image_and_an_image_without_a_row(folder):
    (folder / "PAT_0_0_0.png").unlink()
    Image.new("RGB", (8, 8)).save(folder / "PAT_77_1_1.png")
    Image.new("RGB", (8, 8)).save(folder / "PAT_1_1_1.jpg")  # a second file of a row
    rows, left_out = load(folder)
    assert len(rows) == 7 and rows["path"][rows["image_id"] == "PAT_1_1_1"].item() == "PAT_1_1_1.png"
    assert sorted(zip(left_out["image_id"], left_out["stage"], strict=True)) == [
        ("PAT_0_0_0", "images"),
        ("PAT_1_1_1.jpg", "files"),
        ("PAT_77_1_1.png", "files"),
    ]


def test_broken_images_are_counted_and_the_rest_goes_on(folder):
    (folder / "PAT_0_0_0.png").write_bytes((folder / "PAT_0_0_0.png").read_bytes()[:200])
    (folder / "PAT_4_4_4.png").write_text("not an image")
    rows, _ = load(folder)
    facts, lost = audit.measure(rows, folder, max_pixels=600)
    assert len(facts) == 6 and set(lost["reason"]) == {"truncated or damaged", "not an image"}
    with pytest.raises(ValueError, match="too many pixels"):
        audit.measure(rows.tail(2), folder, max_pixels=500)


def test_an_image_that_links_out_of_the_folder_is_counted(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "private.png"
    (folder / "PAT_2_2_2.png").rename(outside)
    (folder / "PAT_2_2_2.png").symlink_to(outside)
    rows, _ = load(folder)
    facts, lost = audit.measure(rows, folder)
    assert (
        lost[["image_id", "reason"]].to_numpy().tolist() == [["PAT_2_2_2", "path leaves its folder"]]
        and len(facts) == 7
    )


def test_repeated_and_empty_ids_name_the_file(folder):
    change(folder, lambda f: pd.concat([f, f.tail(1)]))
    with pytest.raises(ValueError, match="metadata.csv: img_id must be unique; 1 are repeated, e.g. PAT_7_7_7.png"):
        load(folder)
    change(folder, lambda f: f.drop_duplicates().assign(img_id=[None, *f.drop_duplicates()["img_id"][1:]]))
    with pytest.raises(ValueError, match="img_id is empty in data row 1"):
        load(folder)


def test_ids_that_differ_only_in_suffix_are_refused(folder):
    change(folder, lambda f: pd.concat([f, f.tail(1).assign(img_id="PAT_7_7_7.jpg")]))
    with pytest.raises(ValueError, match="image_id must be unique; 1 are repeated, e.g. PAT_7_7_7"):
        load(folder)


def test_missing_columns_and_tables_are_named(folder):
    change(folder, lambda f: f.drop(columns=["diagnostic", "fitspatrick"]))
    with pytest.raises(
        ValueError, match="metadata.csv: the column.s. fitspatrick, diagnostic are missing; found img_id"
    ):
        load(folder)
    (folder / "metadata.csv").write_text('a,b\n1,2,3,4\n"open')
    with pytest.raises(ValueError, match="metadata.csv"):
        load(folder)
    (folder / "metadata.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable CSV"):
        load(folder)
    (folder / "metadata.csv").unlink()
    with pytest.raises(FileNotFoundError, match="the metadata table is missing: .*metadata.csv"):
        load(folder)


def test_a_skin_type_out_of_range_is_refused_and_an_empty_one_is_unknown(folder):
    change(folder, lambda f: f.assign(fitspatrick=[None, 1, 2, 3, 4, 5, 6, 6]))
    assert list(load(folder)[0]["fst"]) == [-1, 1, 2, 3, 4, 5, 6, 6]
    change(folder, lambda f: f.assign(fitspatrick=9))
    with pytest.raises(ValueError, match="fst: expected 1 to 6, or -1 for unknown; found 9"):
        load(folder)


def test_an_unknown_condition_names_the_nearest(folder):
    with pytest.raises(ValueError, match="conditions: unknown condition 'melanona'; nearest is 'melanoma'"):
        table.load("pad_ufes_20", folder, ["nevus", "melanona"])
    with pytest.raises(ValueError, match="malignancy_only: unknown condition 'squamous'"):
        table.load("pad_ufes_20", folder, ["nevus"], ["squamous"])


def test_fewer_images_of_a_class_than_asked_for(folder):
    rows, _ = load(folder)
    with pytest.raises(ValueError, match="validation: 5 images of 'melanoma' asked for, 2 are left to choose from"):
        splits.split(rows.assign(cluster_id=rows["image_id"]), 0, 2, 5, 0)


def test_no_image_at_all_is_one_message(folder):
    for path in folder.glob("*.png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="(?s)no image at all below .*zr7vgbcyr2"):
        load(folder)


def test_names_are_matched_by_stem_and_the_very_name_first():
    found, lonely = match.match(["a.png", "b/c.jpg", "d.png"], ["a.jpg", "x/a.png", "b/c.jpg", "c.jpg", "e.png"])
    assert found == ["x/a.png", "b/c.jpg", ""] and lonely == ["a.jpg", "c.jpg", "e.png"]
