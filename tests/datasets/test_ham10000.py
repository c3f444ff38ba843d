"""HAM10000: its published layout with invented images, the real subset by its numbers, and lesions that stay
together."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinsyn import images
from skinsyn.datasets import audit, ham10000, pad_ufes_20, splits, table
from skinsyn.run import paths

SHARED = ["basal cell carcinoma", "melanoma", "nevus"]
SEVEN = list(ham10000.CONDITIONS.values())


def write(folder, lesions=21, newer=True):
    """`HAM10000_metadata.csv`, and JPEGs of noise in its two folders; two images of every lesion."""
    rows = []
    for i in range(2 * lesions):
        lesion, code = i // 2, list(ham10000.CONDITIONS)[i // 2 % 7]
        rows.append((f"HAM_{lesion:07d}", f"ISIC_{i:07d}", code, "histo", 50.0, "female", "back", "vidir_modern"))
        place = folder / f"HAM10000_images_part_{1 + i % 2}"
        place.mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (45, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"ISIC_{i:07d}.jpg")
    frame = pd.DataFrame(rows, columns=[*ham10000.COLUMNS, "dataset"])
    frame = frame if newer else frame.drop(columns="dataset")
    frame.to_csv(folder / "HAM10000_metadata.csv", index=False)
    return frame


@pytest.mark.parametrize("newer", [True, False], ids=["with dataset", "without"])
def test_the_published_layout_is_read_and_lesions_stay_together(tmp_path, newer):
    write(tmp_path, newer=newer)
    rows, left_out = table.load("ham10000", tmp_path, SEVEN)
    assert len(rows) == 42 and left_out.empty
    assert rows["path"].str.fullmatch(r"HAM10000_images_part_[12]/ISIC_\d{7}\.jpg").all()
    assert set(rows["condition"][rows["malignant"]]) == {"basal cell carcinoma", "melanoma"}
    assert (rows["fst"] == -1).all() and (rows["fst_group"] == "unknown").all(), (
        "no skin type is known, and none is guessed"
    )
    assert (rows["patient_id"] == "").all() and rows["lesion_id"].nunique() == 21
    facts, unreadable = audit.measure(rows, tmp_path)
    rows["cluster_id"] = audit.clusters(rows, facts, audit.near_duplicates(facts, -1))
    assert unreadable.empty and (rows.groupby("lesion_id")["cluster_id"].nunique() == 1).all()
    rows["split"] = splits.split(rows, 0, 0, 1, 0, 0.3)
    used = rows[rows["split"] != "unused"]
    assert used.groupby("lesion_id")["split"].nunique().max() == 1


def test_a_diagnosis_outside_the_seven_and_an_absent_image_are_counted(tmp_path):
    frame = write(tmp_path, 7)
    frame.loc[[0, 1], "dx"] = "xyz"
    frame.to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    (tmp_path / "HAM10000_images_part_1/ISIC_0000002.jpg").unlink()
    rows, left_out = table.load("ham10000", tmp_path, SEVEN[1:])
    assert len(rows) == 11
    assert left_out["reason"].value_counts().to_dict() == {"unknown condition 'xyz'": 2, "no image for this row": 1}


def test_a_folder_without_images_says_how_to_get_them(tmp_path):
    pd.DataFrame([["H", "I", "mel", "histo", 1, "male", "back"]], columns=ham10000.COLUMNS).to_csv(
        tmp_path / "HAM10000_metadata.csv", index=False
    )
    with pytest.raises(FileNotFoundError, match="(?s)no image at all below.*DBW86T.*data/ham10000"):
        table.load("ham10000", tmp_path, SEVEN)


def test_names_are_shared_with_pad_ufes_20_only_where_the_diagnosis_is_the_same():
    assert sorted(set(SEVEN) & set(pad_ufes_20.CONDITIONS.values())) == SHARED


def test_the_real_subset_is_read_whole():
    try:
        folder = paths.data_dir("ham10000")
    except FileNotFoundError as error:
        pytest.skip(f"HAM10000 is not here: {error}")
    rows, left_out = table.load("ham10000", folder, SEVEN)
    if len(rows) != 971:
        pytest.skip(f"another part of HAM10000 is here: {len(rows)} images, not the 971 that this test knows")
    assert left_out.empty and rows["lesion_id"].nunique() == 971
    sizes = rows["condition"].value_counts()
    assert [int(sizes[name]) for name in SEVEN] == [160, 160, 160, 73, 160, 160, 98]
    decoded = images.prepare(images.decode(rows["path"][0], folder), 64)
    assert decoded.shape == (64, 64, 3) and decoded.std() > 5
