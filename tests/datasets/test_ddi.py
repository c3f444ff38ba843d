"""Stanford DDI, in its published layout with invented images: from the folder to splits, and what is wrong by name."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinsyn.datasets import ddi, splits, table

CLASSES = ["benign", "malignant"]


def write(folder, rows=30, images=None):
    """`ddi_metadata.csv` with its unnamed index column, and PNGs of noise beside it."""
    frame = pd.DataFrame({"DDI_ID": range(1, rows + 1), "DDI_file": [f"{i:06d}.png" for i in range(1, rows + 1)]})
    frame["skin_tone"] = [ddi.SKIN_TONES[i % 3] for i in range(rows)]
    frame["malignant"] = [i % 5 == 0 for i in range(rows)]
    frame["disease"] = ["melanoma-in-situ" if bad else "melanocytic-nevi" for bad in frame["malignant"]]
    frame.to_csv(folder / "ddi_metadata.csv")
    for i, name in enumerate(frame["DDI_file"][:images]):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return frame


def test_the_published_layout_is_read(tmp_path):
    frame = write(tmp_path)
    assert (
        (tmp_path / "ddi_metadata.csv")
        .read_text()
        .startswith(",DDI_ID,DDI_file,skin_tone,malignant,disease\n0,1,000001")
    )
    rows, left_out = table.load("ddi", tmp_path, CLASSES)
    assert left_out.empty and len(rows) == 30
    assert rows["image_id"].tolist() == [name[:-4] for name in frame["DDI_file"]]
    assert rows["malignant"].sum() == 6 and (rows["condition"] == "malignant").sum() == 6
    assert rows["fst_group"].value_counts().to_dict() == {"I-II": 10, "III-IV": 10, "V-VI": 10}
    assert set(rows["fst"]) == {12, 34, 56}, "a pair is all that is known"
    rows["cluster_id"] = rows["image_id"]
    rows["split"] = splits.split(rows, 0, 2, 2, 0)
    assert rows.groupby(["split", "malignant"]).size()[["test", "validation"]].tolist() == [2, 2, 2, 2]


def test_an_absent_image_and_an_unknown_skin_tone_are_counted(tmp_path):
    frame = write(tmp_path, 6, images=5).astype({"skin_tone": "object"})
    frame.loc[0, "skin_tone"] = None
    frame.to_csv(tmp_path / "ddi_metadata.csv")
    rows, left_out = table.load("ddi", tmp_path, CLASSES)
    assert rows["fst"].tolist()[0] == -1 and rows["fst_group"].tolist()[0] == "unknown"
    assert left_out[["image_id", "stage"]].values.tolist() == [["000006", "images"]]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("skin_tone", 13, "skin_tone of 000002.png is '13', expected 12, 34 or 56"),
        ("malignant", "perhaps", "'perhaps'.*True or"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(tmp_path, column, value, told):
    frame = write(tmp_path, 4).astype({column: "object"})
    frame.loc[1, column] = value
    frame.to_csv(tmp_path / "ddi_metadata.csv")
    with pytest.raises(ValueError, match=rf"ddi_metadata.csv: .*{told}"):
        table.load("ddi", tmp_path, CLASSES)


def test_a_folder_without_images_says_how_to_get_them(tmp_path):
    write(tmp_path, 4, images=0)
    with pytest.raises(FileNotFoundError, match="(?s)no image at all below.*redistribution.*data/ddi"):
        table.load("ddi", tmp_path, CLASSES)
