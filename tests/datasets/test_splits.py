"""Splits: disjoint, by cluster, as large as asked for, deterministic; subsets nested; leaks found."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinsyn.datasets import splits


def rows(sizes: dict[str, int], per_cluster: int = 1, extra: tuple[str, ...] = ()) -> pd.DataFrame:
    """`sizes` images of each condition, `per_cluster` neighbours of one condition to a cluster."""
    condition = [name for name, size in sizes.items() for _ in range(size)]
    place = [i for size in sizes.values() for i in range(size)]
    frame = pd.DataFrame({"image_id": [f"i{n:04d}" for n in range(len(condition))], "condition": condition})
    frame["cluster_id"] = [f"{c}-{i // per_cluster}" for c, i in zip(condition, place, strict=True)]
    return frame.assign(malignancy_only=frame["condition"].isin(extra))


@st.composite
def tables(draw):
    """Any table of 2-3 conditions, clusters of any size that may hold several conditions, in any order of rows."""
    count = draw(st.integers(20, 60))
    condition = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    cluster = draw(st.lists(st.integers(0, draw(st.integers(5, 60))), min_size=count, max_size=count))
    frame = pd.DataFrame({"image_id": [f"i{n:03d}" for n in range(count)], "condition": condition})
    frame = frame.assign(cluster_id=[f"k{c}" for c in cluster], malignancy_only=frame["condition"] == "c")
    return frame.iloc[draw(st.permutations(range(count)))]


@settings(max_examples=60, deadline=None)
@given(
    table=tables(),
    seed=st.integers(0, 5),
    test=st.integers(0, 5),
    validation=st.integers(1, 3),
    train=st.integers(0, 4),
)
def test_any_table_is_split_without_leaks_or_refused(table, seed, test, validation, train):
    fraction = 0.0 if test else 0.3
    try:
        made = table.assign(split=splits.split(table, seed, test, validation, train, fraction))
    except ValueError as error:
        assert "asked for" in str(error) or "is left of" in str(error)
        return
    assert set(made["split"]) <= {"train", "validation", "test", "unused"} and (made.index == table.index).all()
    used = made[made["split"] != "unused"]
    assert (used.groupby("cluster_id")["split"].nunique() == 1).all()
    held = made[~made["malignancy_only"]].groupby(["split", "condition"]).size()
    for name in set(made["condition"][~made["malignancy_only"]]):
        assert held.get(("validation", name), 0) == validation
        assert held.get(("test", name), 0) == test if test else held.get(("test", name), 0) >= 0
        assert held.get(("train", name), 0) == train if train else held["train", name] > 0
    again = splits.split(table.iloc[::-1], seed, test, validation, train, fraction)
    assert (again[table.index] == made["split"]).all()
    splits.check(made, splits.subsets(made, 2, seed))


@settings(max_examples=25, deadline=None)
@given(runs=st.integers(1, 4), size=st.integers(1, 30), seed=st.integers(0, 9))
def test_subsets_are_nested_and_of_training_images(runs, size, seed):
    table = rows({"a": size, "b": size}).assign(split="train")
    table.loc[table.index[0], "split"] = "test" if size > 1 else "train"
    ranked = splits.subsets(table, runs, seed)
    for _, members in ranked.groupby(["run", "condition"]):
        chosen = [set(members["image_id"][members["rank"] < n]) for n in range(len(members) + 1)]
        assert all(small < large for small, large in zip(chosen, chosen[1:], strict=False))
        assert [len(c) for c in chosen] == list(range(len(members) + 1))
    assert set(ranked["image_id"]) == set(table["image_id"][table["split"] == "train"])
    assert set(ranked["run"]) == set(range(runs))


def test_runs_and_seeds_differ_and_repeat():
    table = rows({"a": 40, "b": 40}).assign(split="train")
    ranked = splits.subsets(table, 3, 0)
    orders = {tuple(m["image_id"]) for _, m in ranked.groupby(["run", "condition"])}
    assert len(orders) == 6
    pd.testing.assert_frame_equal(ranked, splits.subsets(table.iloc[::-1], 3, 0))
    assert not ranked.equals(splits.subsets(table, 3, 1))
    assert ranked[ranked["run"] == 0].equals(splits.subsets(table, 1, 0))  # more runs leave the first ones alone


def test_counts_are_exact_with_pairs_and_the_rest_is_unused():
    table = rows({"a": 70, "b": 70}, per_cluster=2)
    split = splits.split(table, 0, 40, 11, 15, 0.0)
    made = pd.crosstab(table["condition"], split)
    assert (made["test"] == 40).all() and (made["validation"] == 11).all() and (made["train"] == 15).all()
    assert (made["unused"] == 4).all()


def test_the_same_test_set_whatever_training_asks_for():
    table = rows({"a": 60, "b": 50})
    one, two = splits.split(table, 3, 20, 5, 10, 0.0), splits.split(table, 3, 20, 5, 0, 0.0)
    assert ((one == "test") == (two == "test")).all() and ((one == "validation") == (two == "validation")).all()
    assert (splits.split(table, 4, 20, 5, 10, 0.0) != one).any()


def test_a_fraction_takes_that_share_of_the_clusters_of_each_condition():
    table = rows({"a": 120, "b": 60, "rare": 12}, per_cluster=2, extra=("rare",))
    split = splits.split(table, 0, 0, 5, 0, 1 / 3)
    clusters = table[split == "test"].groupby("condition")["cluster_id"].nunique()
    assert clusters.to_dict() == {"a": 20, "b": 10, "rare": 2}
    assert not (split == "unused").any() or table[split == "unused"]["condition"].ne("rare").all()


def test_a_condition_of_malignancy_only_is_never_demanded():
    table = rows({"a": 40, "b": 40, "rare": 2}, extra=("rare",))
    split = splits.split(table, 0, 10, 5, 0, 0.0)
    assert (table[split == "test"].groupby("condition").size()[["a", "b"]] == 10).all()
    assert len(split[table["condition"] == "rare"]) == 2


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((20, 5, 0, 0.0), "test: 20 images of 'b' asked for, 12 are left"),
        ((10, 5, 0, 0.0), "validation: 5 images of 'b' asked for, 2 are left"),
        ((5, 4, 6, 0.0), "train: 6 images of 'b' asked for, 3 are left"),
        ((8, 4, 0, 0.0), "train: no image of 'b' is left of 12"),
        ((0, 5, 0, 0.0), "either test_per_condition or a test_fraction"),
        ((5, 5, 0, 0.2), "either test_per_condition or a test_fraction"),
        ((0, 5, 0, 1.5), "either test_per_condition or a test_fraction"),
        ((5, 0, 0, 0.0), "validation_per_condition must be at least 1"),
        ((5, 2, -1, 0.0), "train_per_condition at least 0"),
    ],
)
def test_fewer_images_than_asked_for_name_condition_have_and_asked(numbers, said):
    with pytest.raises(ValueError, match=said):
        splits.split(rows({"a": 40, "b": 12}), 0, *numbers)


def test_one_patient_with_everything_cannot_be_split():
    table = rows({"a": 10, "b": 10}).assign(cluster_id="one")
    with pytest.raises(ValueError, match="left to choose from|is left of"):
        splits.split(table, 0, 2, 2, 0, 0.0)


def test_check_finds_what_is_planted():
    table = rows({"a": 6, "b": 6}).assign(split=["train", "test", "validation"] * 4)
    ranked = splits.subsets(table, 2, 0)
    splits.check(table, ranked)
    leak = table.assign(cluster_id=table["cluster_id"].where(table.index > 1, "twin"))
    with pytest.raises(ValueError, match="cluster twin crosses test, train .*i0000, i0001"):
        splits.check(leak)
    splits.check(leak.assign(split=table["split"].where(table.index != 1, "unused")))
    with pytest.raises(ValueError, match="i0005 stands in two rows"):
        splits.check(pd.concat([table, table.loc[[5]]]))
    with pytest.raises(ValueError, match="not of the training split"):
        splits.check(table.assign(split=table["split"].where(table.index != 0, "test")), ranked)
    with pytest.raises(ValueError, match="one rank, from 0 without gaps"):
        splits.check(table, ranked.assign(rank=ranked["rank"] + 1))
    with pytest.raises(ValueError, match="one rank, from 0 without gaps"):
        splits.check(table, pd.concat([ranked, ranked.iloc[[0]].assign(rank=2)]))


def test_overlap_is_one_where_all_runs_see_the_same_and_less_before():
    ranked = splits.subsets(rows({"a": 16, "b": 16}).assign(split="train"), 5, 0)
    shared = splits.overlap(ranked, [1, 4, 16]).set_index("n")["shared"]
    assert shared[16] == 1 and shared[1] < shared[4] < 1
    many = splits.subsets(rows({"a": 400}).assign(split="train"), 6, 0)
    assert abs(splits.overlap(many, [200])["shared"][0] - 0.5) < 0.03  # two random halves share half
    assert splits.overlap(ranked[ranked["run"] == 0], [1, 4]).empty


def test_counts_add_up():
    table = rows({"a": 7, "b": 5}, per_cluster=2).assign(
        fst_group="I-II", source="s", split=np.array(["train", "test"])[[0, 1] * 6]
    )
    made = splits.counts(table)
    assert made["images"].sum() == 12 and list(made.columns) == [
        "condition",
        "fst_group",
        "source",
        "split",
        "images",
        "clusters",
    ]
    assert made[(made["condition"] == "a") & (made["split"] == "train")]["images"].item() == 4
