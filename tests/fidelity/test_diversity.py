"""Diversity against a plain double loop; planted collapse in one group is found."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from skinsyn.fidelity import diversity


def plain(x, conditions, clusters):
    apart, found = cdist(x, x, "cosine"), []
    for i in range(len(x)):
        for j in range(len(x)):
            if conditions[i] == conditions[j] and clusters[i] != clusters[j]:
                found.append(apart[i, j])
    return np.mean(found)


def test_ratio_and_jackknife_are_their_definitions():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 6)) + 0.5, rng.standard_normal((24, 6)) + 0.5
    conditions, clusters = rng.choice(["a", "b"], 40), rng.integers(0, 8, 40)
    of_real = rng.choice(["a", "b"], 24), np.arange(24) % 8
    found = diversity.ratio(x, (conditions, clusters), y, of_real)
    expected = plain(x, conditions, clusters) / plain(y, *of_real)
    assert found.ratio == pytest.approx(expected) and found.clusters == 8
    left = []
    for gone in range(8):
        a, b = clusters != gone, of_real[1] != gone
        left.append(plain(x[a], conditions[a], clusters[a]) / plain(y[b], of_real[0][b], of_real[1][b]))
    assert found.se == pytest.approx(np.sqrt(7 / 8 * ((np.array(left) - np.mean(left)) ** 2).sum()))


def test_a_planted_collapse_in_one_group_is_a_gap():
    rng = np.random.default_rng(1)
    images = pd.DataFrame({"image_id": [f"r{i}" for i in range(60)], "cluster_id": [f"c{i}" for i in range(60)]})
    images["condition"], images["fst_group"] = ["a", "b"] * 30, ["I-II"] * 30 + ["V-VI"] * 30
    real = rng.standard_normal((60, 10)) + 1
    rows = images.loc[images.index.repeat(3)].rename(columns={"image_id": "parent"}).reset_index(drop=True)
    rows = rows.assign(method="m", generator="g", scope="s")
    spread = np.where(rows["fst_group"] == "V-VI", 0.4, 1.0)[:, None]
    found = diversity.table(rows, rng.standard_normal((180, 10)) * spread + 1, images, real).set_index("group")
    assert list(found.reset_index().columns[:4]) == ["group", "method", "generator", "scope"]
    assert found.loc["I-II", "low"] < 1 < found.loc["I-II", "high"] and np.isnan(found.loc["I-II", "gap"])
    dark = found.loc["V-VI"]
    assert dark["gap_high"] < 0 and dark["gap_low"] < dark["gap"] < dark["gap_high"] and dark["high"] < 1


def test_one_image_of_each_has_no_diversity():
    lone = diversity.ratio(np.ones((1, 3)), (["a"], ["c"]), np.ones((1, 3)), (["a"], ["c"]))
    assert np.isnan(lone.ratio)
