"""Fitzpatrick 17k: the real annotation table, its known faults, and placeholder images in its true layout."""

import pandas as pd
import pytest
from PIL import Image

from skinsyn.datasets import fitzpatrick17k, table
from skinsyn.run import params, paths

NINE = list(fitzpatrick17k.PUBLISHED_TRAINING)


@pytest.fixture(scope="module")
def folder():
    try:
        return paths.data_dir("fitzpatrick17k")
    except FileNotFoundError as error:
        pytest.skip(f"Fitzpatrick 17k is not here: {error}")


def test_the_real_table_has_its_known_faults(folder):
    faults = fitzpatrick17k.faults(folder).set_index("fact")
    assert (faults["of"] == 16577).all()
    assert faults["count"].to_dict() == {
        "rows without a url": 41,
        "skin type unknown (Scale)": 565,
        "skin type unknown (Centaur)": 1073,
        "rows marked wrongly labelled": 17,
        "rows with any quality mark": 504,
    }


def test_the_nine_conditions_are_more_than_the_study_kept_and_nothing_is_forced(folder):
    rows = fitzpatrick17k.rows(folder)
    nine = rows[rows["condition"].isin(NINE)]
    compared = fitzpatrick17k.against_published(nine)
    assert compared["here"].sum() == 4091 and compared["published"].sum() == 3699
    assert compared.set_index("condition").loc["psoriasis"].to_dict() == {"here": 653, "published": 624}
    assert set(nine["condition"][nine["malignant"]]) == {"basal cell carcinoma", "squamous cell carcinoma"}


def test_the_annotator_is_chosen(folder):
    scale, centaur = (fitzpatrick17k.rows(folder, name)["fst"] for name in ("scale", "centaur"))
    assert (scale == -1).sum() == 565 and (centaur == -1).sum() == 1073
    with pytest.raises(ValueError, match="fst_annotator is 'both'"):
        fitzpatrick17k.rows(folder, "both")


def test_without_images_one_message_says_what_to_put_where(folder):
    with pytest.raises(FileNotFoundError, match="(?s)no image at all below .*<md5hash>.jpg"):
        table.load("fitzpatrick17k", folder, NINE)


def test_images_beside_the_table_are_matched_and_all_that_is_left_out_is_counted(folder, tmp_path):
    metadata = fitzpatrick17k.metadata(folder)
    nine = metadata[metadata["label"].isin(NINE)]
    wrong, no_url = (
        nine[nine["qc"] == fitzpatrick17k.WRONG].head(1),
        metadata[metadata["url"].isna()].head(1).assign(label=NINE[0]),
    )
    fine = nine[nine["qc"].isna() & nine["url"].notna()].groupby("label").head(3)
    other = metadata[metadata["label"] == "folliculitis"].head(2)
    some = pd.concat([fine, wrong, no_url, other])
    some.to_csv(tmp_path / "fitzpatrick17k.csv", index=False)
    (tmp_path / "images").mkdir()
    for name in some["md5hash"].iloc[1:28]:
        Image.new("RGB", (20, 30), (200, 150, 120)).save(tmp_path / "images" / f"{name}.jpg")
    Image.new("RGB", (20, 30)).save(tmp_path / "images/stranger.jpg")
    rows, left_out = table.load("fitzpatrick17k", tmp_path, NINE)
    assert len(rows) == 26 and (rows["path"] == "images/" + rows["image_id"] + ".jpg").all()
    assert dict(left_out["reason"].value_counts()) == {
        "image without a row, or a second file of a row": 1,
        "not a condition of this study": 2,
        "marked wrongly labelled": 1,
        "no image for this row": 1,
        "no image for this row, and no url to get it from": 1,
    }
    assert len(rows) + len(left_out) == len(some) + 1
    said = metadata.set_index("md5hash").loc[rows["image_id"], ["fitzpatrick_scale", "fitzpatrick_centaur"]]
    assert (rows[["fst_scale", "fst_centaur"]].to_numpy() == said.to_numpy()).all()


def test_the_published_profile_asks_for_the_published_conditions_and_sizes():
    values = params.of_profile("fitzpatrick17k")["01_data_prep"]
    assert set(values["conditions"]) == set(NINE) and values["image_size"] == 512 and values["runs"] == 5
    assert values["test_per_condition"] == fitzpatrick17k.PUBLISHED_TEST == values["validation_per_condition"] == 40


def test_the_site_is_a_fact_of_the_image_and_differs_by_skin_type(folder):
    """PROTOCOL's known answers: the share of the atlas by Scale's type, and within three conditions by group."""
    rows = fitzpatrick17k.rows(folder)
    assert rows["site"].value_counts().to_dict() == {"dermaamin.com": 12631, "atlasdermatologico.com.br": 3905, "": 41}
    atlas = rows["site"].eq("atlasdermatologico.com.br")
    assert atlas.groupby(rows["fst"]).mean().round(2).loc[1:6].tolist() == [0.05, 0.14, 0.3, 0.39, 0.42, 0.32]
    group = table.fst_group(rows["fst"])
    within = atlas.groupby([rows["condition"], group]).mean().round(2)
    for name, known in {
        "psoriasis": [0.06, 0.2, 0.47],
        "lichen planus": [0.14, 0.6, 0.67],
        "basal cell carcinoma": [0.38, 0.73, 0.77],
    }.items():
        assert within[name][["I-II", "III-IV", "V-VI"]].tolist() == known
