"""The audit: duplicates that are planted are found, unlike pictures are not joined, published agreement is met."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from skinsyn.datasets import audit, fitzpatrick17k, phantom
from skinsyn.run import paths


def data(name: str):
    try:
        return paths.data_dir(name)
    except FileNotFoundError as error:
        pytest.skip(f"no {name} here: {error}")


def listed(names, **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": [n.split(".")[0] for n in names], "path": names})
    return frame.assign(**{"patient_id": "", "lesion_id": "", "condition": "a", "fst": 1, "label_flag": ""} | columns)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve phantoms, and three alterations of the first: the same pixels, a small JPEG of it, a brighter one."""
    place = tmp_path_factory.mktemp("phantoms")
    for i in range(12):
        Image.fromarray(phantom.draw(phantom.CONDITIONS[i % 9], 1 + i % 6, 50 + i).image).save(place / f"p{i:02d}.png")
    first = Image.open(place / "p00.png")
    first.save(place / "q0.bmp")
    first.resize((50, 50)).save(place / "q1.jpg", quality=70)
    ImageEnhance.Brightness(first).enhance(1.1).save(place / "q2.png")
    return place


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_planted_copies_are_found_and_nothing_else(folder):
    facts, lost = audit.measure(listed(names(folder)), folder)
    pairs = audit.near_duplicates(facts, 8)
    assert lost.empty and set(pairs["first"]) | set(pairs["second"]) == {"p00", "q0", "q1", "q2"}
    exact = pairs[pairs["exact"]]
    assert list(zip(exact["first"], exact["second"], strict=True)) == [("p00", "q0")] and exact["distance"].item() == 0
    table = listed(names(folder))
    clusters = audit.clusters(table, facts, pairs)
    assert clusters.nunique() == 12 and set(clusters[table["image_id"].str[0] == "q"]) == {"p00"}


def test_the_distance_decides_and_is_checked(folder):
    facts, _ = audit.measure(listed(names(folder)), folder)
    assert audit.near_duplicates(facts, -1).empty
    found = [len(audit.near_duplicates(facts, d)) for d in (0, 8, 20)]
    assert found == sorted(found) and found[0] >= 1
    assert len(audit.near_duplicates(facts, 64, alike=-1.0)) == 15 * 14 // 2
    for wrong in (-2, 65):
        with pytest.raises(ValueError, match="near_duplicate_distance"):
            audit.near_duplicates(facts, wrong)


def test_pairs_are_the_same_in_blocks(folder, monkeypatch):
    facts, _ = audit.measure(listed(names(folder)), folder)
    whole = audit.near_duplicates(facts, 20, alike=0.5)
    monkeypatch.setattr(audit, "BLOCK", 4)
    pd.testing.assert_frame_equal(whole, audit.near_duplicates(facts, 20, alike=0.5))


def test_clusters_join_patients_lesions_and_pairs_through_each_other(folder):
    table = listed([f"p{i:02d}.png" for i in range(8)])
    table["patient_id"] = ["A", "A", "B", "", "", "C", "", ""]
    table["lesion_id"] = ["", "", "1", "1", "", "", "2", ""]
    facts, _ = audit.measure(table, folder)
    pairs = pd.DataFrame({"first": ["p01"], "second": ["p02"]})
    clusters = audit.clusters(table, facts, pairs)
    assert list(clusters) == ["p00", "p00", "p00", "p00", "p04", "p05", "p06", "p07"]  # A - pair - B - lesion 1
    with pytest.raises(ValueError, match="same order"):
        audit.clusters(table.iloc[::-1], facts, pairs)


def test_what_cannot_be_read_is_counted_with_its_reason(folder, tmp_path):
    shutil.copy(folder / "p00.png", tmp_path / "good.png")
    (tmp_path / "text.png").write_text("no")
    whole = (folder / "p01.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    table = listed(["good.png", "text.png", "half.png", "gone.png"])
    facts, lost = audit.measure(table, tmp_path)
    assert list(facts["image_id"]) == ["good"]
    assert dict(zip(lost["image_id"], lost["reason"], strict=True)) == {
        "text": "not an image",
        "half": "truncated or damaged",
        "gone": "no such file",
    }
    assert set(lost["stage"]) == {"decoding"}
    with pytest.raises(ValueError, match="none of the 1 images"):
        audit.measure(listed(["text.png"]), tmp_path)


def test_quality_counts_what_is_there(folder):
    table = listed(names(folder))
    table["condition"] = ["b" if n == "q0" else "a" for n in table["image_id"]]
    table.loc[:3, "fst"] = -1
    facts, _ = audit.measure(table, folder)
    pairs = audit.near_duplicates(facts, 8)
    table["cluster_id"] = audit.clusters(table, facts, pairs)
    counted = audit.quality(table, facts, pairs).set_index("fact")["count"]
    assert counted["pairs with equal pixels"] == 1 and counted["images in the largest cluster"] == 4
    assert (
        counted["pairs of duplicates with different conditions"]
        == ((pairs["first"] == "q0") | (pairs["second"] == "q0")).sum()
    )
    assert counted["images of unknown skin type"] == 4


def test_a_flat_picture_is_like_no_other_but_its_copy(tmp_path):
    for name, level in (("a", 90), ("b", 200), ("c", 90)):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / f"{name}.png")
    facts, _ = audit.measure(listed(["a.png", "b.png", "c.png"]), tmp_path)
    pairs = audit.near_duplicates(facts, 64)
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [("a", "c")]


def test_agreement_of_the_published_annotators():
    found = audit.agreement(*fitzpatrick17k.annotators(data("fitzpatrick17k")))
    assert {k: round(v, 3) for k, v in found.items()} == {
        "exact": 0.479, "within_one": 0.910, "same_group": 0.768, "kappa": 0.786, "rows": 15230,
    }  # fmt: skip


def test_agreement_by_hand():
    first, second = pd.Series([1, 2, 3, 6, -1, 4]), pd.Series([1, 1, 5, 6, 3, -1])
    found = audit.agreement(first, second)
    assert (found["exact"], found["within_one"], found["same_group"], found["rows"]) == (0.5, 0.75, 0.75, 4)
    away, chance = 0 + 1 + 4 + 0, np.subtract.outer([1, 2, 3, 6], [1, 1, 5, 6]) ** 2
    assert found["kappa"] == pytest.approx(1 - (away / 4) / chance.mean())
    with pytest.raises(ValueError, match="no row"):
        audit.agreement(pd.Series([-1, 2]), pd.Series([1, -1]))
