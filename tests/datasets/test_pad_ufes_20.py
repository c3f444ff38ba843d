"""PAD-UFES-20: its true layout, its limits by the numbers, and sixty real photographs from folder to shards."""

import shutil

import numpy as np
import pandas as pd
import pytest

from skinsyn import images
from skinsyn.datasets import audit, pad_ufes_20, splits, table
from skinsyn.run import paths

FIVE = ["actinic keratosis", "basal cell carcinoma", "melanoma", "nevus", "seborrheic keratosis"]
SCC = ["squamous cell carcinoma"]


@pytest.fixture(scope="module")
def folder():
    try:
        return paths.data_dir("pad_ufes_20")
    except FileNotFoundError as error:
        pytest.skip(f"PAD-UFES-20 is not here: {error}")


def test_the_subset_is_read_whole_and_its_limits_are_there(folder):
    rows, left_out = table.load("pad_ufes_20", folder, FIVE, SCC)
    assert len(rows) == 518 and left_out.empty
    sizes = rows["condition"].value_counts()
    assert [int(sizes[c]) for c in [*FIVE, *SCC]] == [85, 153, 36, 142, 90, 12]
    assert set(rows["condition"][rows["malignant"]]) == {"basal cell carcinoma", "melanoma", "squamous cell carcinoma"}
    assert rows["malignancy_only"].sum() == 12 and (rows["fst"] > 0).sum() == 333
    unknown = rows[rows["fst"] == -1]["condition"].value_counts()
    assert unknown["nevus"] == 79 and unknown["seborrheic keratosis"] == 70 and "melanoma" not in unknown
    assert (rows["fst_group"] == "V-VI").sum() == 3
    assert rows["path"].str.endswith(".jpg").all() and not rows["image_id"].str.contains(".", regex=False).any()
    assert rows["patient_id"].nunique() == 402 and rows["lesion_id"].nunique() == 436


def test_published_names_folders_and_suffixes_are_found(folder, tmp_path):
    metadata = pd.read_csv(folder / "metadata.csv").groupby("diagnostic").head(2)
    metadata.to_csv(tmp_path / "metadata.csv", index=False)
    for part, name in enumerate(metadata["img_id"]):
        place = tmp_path / f"imgs_part_{part % 3 + 1}"
        place.mkdir(exist_ok=True)
        pixels = images.decode(f"images/{name[:-4]}.jpg", folder)
        images.Image.fromarray(pixels[::8, ::8]).save(place / name)
    rows, left_out = table.load("pad_ufes_20", tmp_path, FIVE, SCC)
    assert len(rows) == 12 and left_out.empty and rows["path"].str.match(r"imgs_part_[123]/PAT_.*\.png").all()


def test_scc_may_be_left_out_and_is_counted(folder):
    rows, left_out = table.load("pad_ufes_20", folder, FIVE)
    assert len(rows) == 506 and dict(left_out["reason"].value_counts()) == {"not a condition of this study": 12}
    with pytest.raises(ValueError, match="also among the conditions"):
        table.load("pad_ufes_20", folder, FIVE, FIVE[:1])


def test_sixty_photographs_go_from_folder_to_shards(folder, tmp_path):
    metadata = pd.read_csv(folder / "metadata.csv").groupby("diagnostic").head(10)
    (tmp_path / "images").mkdir()
    for name in metadata["img_id"]:
        shutil.copy(folder / "images" / f"{name[:-4]}.jpg", tmp_path / "images")
    copied = sorted(p.name for p in (tmp_path / "images").iterdir())[0]
    twin = metadata.assign(img_id="PAT_9999_1_1.png", patient_id="PAT_9999", lesion_id=99999).tail(1)
    twin["diagnostic"] = metadata.set_index("img_id")["diagnostic"][copied.replace(".jpg", ".png")]
    pd.concat([metadata, twin]).to_csv(tmp_path / "metadata.csv", index=False)
    shutil.copy(tmp_path / "images" / copied, tmp_path / "images/PAT_9999_1_1.jpg")

    rows, left_out = table.load("pad_ufes_20", tmp_path, FIVE, SCC)
    facts, lost = audit.measure(rows, tmp_path)
    pairs = audit.near_duplicates(facts, 8)
    rows["cluster_id"] = audit.clusters(rows, facts, pairs)
    rows["split"] = splits.split(rows, 0, 0, 1, 0, 0.34)
    splits.check(rows, splits.subsets(rows, 3, 0))
    assert len(rows) == len(metadata) + 1 and left_out.empty and lost.empty
    assert ((pairs["first"] == copied[:-4]) & (pairs["second"] == "PAT_9999_1_1") & pairs["exact"]).sum() == 1
    by_id = rows.set_index("image_id")
    assert by_id["cluster_id"][copied[:-4]] == by_id["cluster_id"]["PAT_9999_1_1"]
    assert rows.groupby("patient_id")["split"].nunique().max() == 1  # nothing is unused here, so patients stay whole
    assert set(rows["condition"][rows["split"] == "train"]) >= set(FIVE)

    rows[["unit", "row"]] = images.keep_shards(rows.assign(file_sha256=facts["file_sha256"]), tmp_path, 64)
    table.validate(rows, [*FIVE, *SCC], complete=True)
    shard, pixels = images.read_shard(rows["unit"].iloc[0])
    assert list(shard["image_id"]) == list(rows["image_id"]) and pixels.shape == (len(rows), 64, 64, 3)
    assert np.array_equal(pixels[7], images.prepare(images.decode(rows["path"][7], tmp_path), 64))
    assert np.array_equal(images.memmap([rows["unit"].iloc[0]])[0], pixels)


def test_a_diagnosis_outside_the_six_is_counted(folder, tmp_path):
    metadata = pd.read_csv(folder / "metadata.csv").head(3)
    metadata.loc[1, "diagnostic"] = "XYZ"
    metadata.to_csv(tmp_path / "metadata.csv", index=False)
    for name in metadata["img_id"]:
        shutil.copy(folder / "images" / f"{name[:-4]}.jpg", tmp_path)
    rows, left_out = table.load("pad_ufes_20", tmp_path, FIVE, SCC)
    assert len(rows) == 2 and left_out["reason"].tolist() == ["unknown condition 'XYZ'"]


def test_the_six_names_are_the_six_codes():
    assert list(pad_ufes_20.CONDITIONS) == ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"]
    assert set(pad_ufes_20.CONDITIONS.values()) == {*FIVE, *SCC}
