"""Table 1 and the exclusions: counts that add up, and gaps that are refused."""

import pandas as pd
import pytest

from skinsyn.stats import describe

IMAGES = pd.DataFrame(
    {
        "image_id": list("abcdef"),
        "cluster_id": list("aabbcd"),
        "patient_id": ["p", "p", "q", "q", "r", ""],
        "condition": ["x", "x", "y", "y", "x", "y"],
        "fst": [1, -1, 5, 5, 2, -1],
        "split": ["train", "train", "test", "test", "test", "train"],
    }
)


def test_table_one():
    table = describe.table_one(IMAGES)
    tall = table.set_index(["split", "variable", "level"])
    assert (
        tall.loc[("all", "number of", "images"), "count"] == 6
        and tall.loc[("test", "number of", "clusters"), "count"] == 2
    )
    assert ("all", "number of", "patients") not in tall.index and tall.loc[
        ("test", "number of", "patients"), "count"
    ] == 2
    assert tall.loc[("all", "fst", "unknown"), "count"] == 2 and tall.loc[
        ("test", "condition", "y"), "share"
    ] == pytest.approx(2 / 3)
    sums = table[table["variable"] == "condition"].groupby("split")["share"].sum()
    assert sums.tolist() == pytest.approx([1, 1, 1])
    people = describe.wide(table).set_index(["variable", "level"])
    assert list(people.columns) == ["all", "train", "test"] and people.loc[("condition", "y"), "test"] == "2 (67 %)"
    assert people.loc[("fst", "5"), "train"] == "0"


def test_exclusions():
    left = pd.DataFrame(
        {"image_id": list("abc"), "stage": ["images", "files", "images"], "reason": ["gone", "two", "gone"]}
    )
    assert describe.exclusions(left)["left_out"].tolist() == [2, 1]
    assert describe.exclusions(left.head(0)).empty


def test_refused():
    with pytest.raises(ValueError, match="column 'condition' is empty in 1 rows"):
        describe.table_one(IMAGES.assign(condition=IMAGES["condition"].where(IMAGES.index != 2)))
    with pytest.raises(ValueError, match="column 'arm'"):
        describe.table_one(IMAGES, by="arm")
