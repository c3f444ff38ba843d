"""A planted copy is always found, an honest model stays at the share of the null, and the grid can leave copies out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinsyn.classifier import grid
from skinsyn.fidelity import memorisation
from skinsyn.run import tables


def world(seed, n=40, trained=30, held=50, d=16):
    """Real images of two splits and synthetic ones, all of one cloud; none is a copy."""
    rng = np.random.default_rng(seed)
    images = pd.DataFrame({"image_id": [f"r{i}" for i in range(trained + held)]})
    images = images.assign(cluster_id=images["image_id"], split=["train"] * trained + ["test"] * held)
    rows = pd.DataFrame({"image_id": [f"s{i}" for i in range(n)], "parent": [f"r{i % trained}" for i in range(n)]})
    rows = rows.assign(condition="a", method="text-to-image", generator="fine-tuned", scope="condition")
    bits = tuple(rng.random((k, 64)) < 0.5 for k in (n, trained + held))
    return rows, rng.standard_normal((n, d)), images, rng.standard_normal((trained + held, d)), bits


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 39), st.integers(0, 29), st.floats(0.0, 1e-4))
def test_a_planted_copy_is_always_found(seed, which, source, noise):
    rows, synthetic, images, real, (ours, theirs) = world(seed)
    synthetic[which] = 2 * real[source] + noise
    ours[which] = theirs[source]
    found = memorisation.find(rows, synthetic, images, real, (ours, theirs)).iloc[which]
    assert found["memorised"] and found["nearest"] == f"r{source}" and found["bits"] == 0
    assert found["p"] == 1 / 51 and found["of_parent"] == (rows["parent"][which] == f"r{source}")
    assert memorisation.pairs(memorisation.find(rows, synthetic, images, real, (ours, theirs)), 1).index[0] == which


def test_an_honest_model_has_the_share_of_the_null():
    shares = []
    for seed in range(40):
        table = memorisation.find(*world(seed, n=100, held=200, trained=60), quantile=0.9)
        shares.append(table["memorised"].mean())
    assert 0.07 < np.mean(shares) < 0.13


def test_shares_by_model_and_condition():
    rows, synthetic, images, real, bits = world(1)
    synthetic[:3] = real[:3]
    rows.loc[20:, "condition"] = "b"
    found = memorisation.shares(memorisation.find(rows, synthetic, images, real, bits)).set_index("condition")
    assert (
        found["images"].tolist() == [20, 20]
        and found.loc["a", "memorised"] >= 3 / 20
        and found.loc["a", "of_parent"] >= 3
    )
    assert (found["low"] <= found["memorised"]).all() and (found["memorised"] <= found["high"]).all()


def test_children_of_one_source_are_one_observation():
    """Five sources, whose children are all memorised or none: as wide as five images, not as a hundred."""
    table = pd.DataFrame({"method": "m", "memorised": np.repeat([True, False, True, False, False], 20)})
    table = table.assign(cluster_id=np.repeat(list("abcde"), 20), of_parent=True, bits=1, bits_threshold=0)
    apart = table.assign(cluster_id=range(100))
    few, many = (memorisation.shares(frame, ["method"]).iloc[0] for frame in (table, apart))
    assert few["clusters"] == 5 and few["high"] - few["low"] > 3 * (many["high"] - many["low"])


def test_no_test_image_is_refused():
    rows, synthetic, images, real, bits = world(0)
    with pytest.raises(ValueError, match="30 and 0"):
        memorisation.find(
            rows, synthetic, images.assign(split=images["split"].replace("test", "validation")), real, bits
        )


def test_the_grid_leaves_marked_images_out():
    """The table `synthetic` with its marks, through the grid's own choice of members."""
    rows, synthetic, images, real, bits = world(2, n=30)
    synthetic[4] = real[4]
    table = memorisation.find(rows, synthetic, images, real, bits)
    made = rows.assign(flags="", replicate=0, run=-1, n=0, unit="u", row=range(30))
    made.loc[5, "flags"] = "near-copy"
    marked = memorisation.filtered(made, table)
    assert marked.loc[4, "flags"] == memorisation.FLAG and marked.loc[5, "flags"] == "near-copy"
    assert (marked["flags"] == "").sum() == 29 - table["memorised"].drop(5).sum()
    real_rows = images.assign(
        condition=["a", "b"] * 40, malignancy_only=False, malignant=False, unit="v", row=range(80)
    )
    real_rows.loc[30:50, "split"] = "validation"
    subset = pd.DataFrame({"image_id": [f"r{i}" for i in range(30)], "rank": [i // 2 for i in range(30)], "run": 0})
    made = marked.assign(condition=["a", "b"] * 15)
    for name, table_, maker in (
        ("images", real_rows, "01_data_prep"), ("subsets", subset, "01_data_prep"), ("synthetic", made,
        "03_generation"),
    ):  # fmt: skip
        tables.save("tiny", name, table_, made_by=maker)
    cell = grid.cells([{"n": 15, "ratios": 1, "method": "text-to-image"}], 1)[0]
    members = grid.members(cell, grid.read_tables("tiny", [cell]))
    assert "s4" not in set(members.training["image_id"]) and members.left_out == (marked["flags"] != "").sum()
    with pytest.raises(ValueError, match="lacks 's29'"):
        memorisation.filtered(made, table.iloc[:29])
