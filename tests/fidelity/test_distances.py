"""Claim C6 on planted embeddings: known distances, the right size under the null, and refusals."""

import math

import numpy as np
import pandas as pd
import pytest

from skinsyn.fidelity import distances


def planted(copies: float, sources=6, children=3, seed=0, d=8):
    """Sources of two conditions and children that are `copies` of their source plus noise."""
    rng = np.random.default_rng(seed)
    names = [f"r{i}" for i in range(2 * sources)]
    real = rng.standard_normal((len(names), d))
    table = pd.DataFrame({"image_id": names, "condition": ["a"] * sources + ["b"] * sources})
    rows = table.loc[table.index.repeat(children)].rename(columns={"image_id": "parent"}).reset_index(drop=True)
    rows["image_id"] = [f"s{i}" for i in rows.index]
    own = real.repeat(children, axis=0)
    return rows, copies * own + rng.standard_normal(own.shape), table, real


def test_known_answer():
    """Two sources at a right angle, each child on its own source: 0 paired, 1/2 permuted, one of two draws as near."""
    table = pd.DataFrame({"image_id": ["x", "y"], "condition": "c"})
    rows = pd.DataFrame({"image_id": ["1", "2"], "parent": ["x", "y"], "condition": "c"})
    found = distances.paired_against_permuted(rows, np.eye(2), table, np.eye(2), draws=4000)
    assert (found.paired, found.permuted) == pytest.approx((0, 0.5)) and found.p == pytest.approx(0.5, abs=0.03)
    images = distances.by_image(rows, np.eye(2), table, np.eye(2))
    assert images.groupby("kind")["distance"].mean().to_dict() == pytest.approx({"paired": 0.0, "permuted": 1.0})


def test_near_children_are_found_and_the_floor_of_p_is_honest():
    found = distances.paired_against_permuted(*planted(copies=2.0), draws=999)
    assert found.paired < found.permuted and found.p == 0.001 and (found.images, found.sources) == (36, 12)
    assert found.difference == pytest.approx(found.paired - found.permuted)
    assert found.low < found.difference < found.high < 0


def test_size_under_the_null():
    p = [distances.paired_against_permuted(*planted(0.0, seed=s), draws=199, seed=s).p for s in range(300)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09 and 0.4 < np.mean(p) < 0.6


def test_permuting_stays_within_conditions():
    """Conditions far apart, sources of one condition all alike: being in the right condition alone proves nothing."""
    rows, _, table, _ = planted(0.0)
    real = np.where(table["condition"].eq("a").to_numpy()[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    synthetic = np.where(rows["condition"].eq("a").to_numpy()[:, None], [[1.0, 0.1]], [[0.1, 1.0]])
    found = distances.paired_against_permuted(rows, synthetic, table, real, draws=199)
    assert found.p == 1.0 and found.paired == pytest.approx(found.permuted)


def test_order_of_rows_does_not_matter():
    rows, synthetic, table, real = planted(0.5)
    order = np.random.default_rng(1).permutation(len(rows))
    one = distances.paired_against_permuted(rows, synthetic, table, real, draws=99)
    other = distances.paired_against_permuted(
        rows.iloc[order].reset_index(drop=True), synthetic[order], table, real, draws=99
    )
    assert one == pytest.approx(other)


def test_another_source_is_another_one_of_the_same_condition():
    rows, synthetic, table, real = planted(1.0, children=1)
    images = distances.by_image(rows, real, table, real)
    assert np.allclose(images.loc[images["kind"] == "paired", "distance"], 0)
    assert (images.loc[images["kind"] == "permuted", "distance"] > 1e-3).all()


def test_refusals():
    rows, synthetic, table, real = planted(1.0)
    with pytest.raises(ValueError, match="'r0' is not among"):
        distances.paired_against_permuted(rows, synthetic, table.iloc[1:], real[1:])
    lone = table.assign(condition=table["image_id"])
    found = distances.paired_against_permuted(rows, synthetic, lone, real)
    assert math.isnan(found.p) and math.isnan(found.low) and found.draws == 0 and found.paired > 0


def test_conditions_are_recognised_where_they_are_there_to_see():
    rng = np.random.default_rng(0)
    labels = pd.Series(["a", "b", "c"] * 20)
    centres = {"a": 0.0, "b": 4.0, "c": 8.0}
    real = rng.standard_normal((60, 5)) + labels.map(centres).to_numpy()[:, None]
    assert (distances.recognised(real, labels, real[::-1]) == labels[::-1].to_numpy()).mean() > 0.95
    assert (distances.recognised(real, labels, rng.standard_normal((200, 5)) + 4) == "b").mean() > 0.9
