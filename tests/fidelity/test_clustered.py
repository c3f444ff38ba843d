"""Means and shares of images in clusters: known answers, coverage, and what they become without clusters."""

import math

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from skinsyn.fidelity import MODEL, clustered, distances, labels, memorisation, skin_tone


def test_a_mean_of_means_weighs_images_and_its_interval_covers():
    found = clustered.mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"], draws=500)
    assert found.value == 2 and (found.low, found.high) == (1, 5) and (found.images, found.clusters) == (4, 2)
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = (rng.normal(0, 1, 25)[:, None] + rng.normal(0, 0.3, (25, 4))).ravel()
        one = clustered.mean(values, np.repeat(np.arange(25), 4), 300, seed)
        covered += one.low < 0 < one.high
    assert covered >= 86


def test_one_cluster_has_no_interval_and_none_is_refused():
    one = clustered.mean([1.0, 2.0], ["a", "a"])
    assert one.value == 1.5 and math.isnan(one.low) and math.isnan(clustered.share([True], ["a"]).high)
    with pytest.raises(ValueError, match="no image"):
        clustered.share(np.array([], bool), [])


def test_a_share_of_equal_clusters_counts_the_clusters():
    """Clusters that agree in themselves are as many observations as there are clusters, not images."""
    right = np.repeat([True, True, False, True, False, True, True, False, True, True] * 8, 5)
    found = clustered.share(right, np.repeat(np.arange(80), 5))
    low, high = proportion_confint(56, 80, 0.05, "wilson")
    assert found.value == 0.7 and (found.low, found.high) == pytest.approx((low, high), abs=0.005)
    everything = clustered.share(np.ones(50, bool), np.repeat(np.arange(10), 5))
    assert everything.high == pytest.approx(1) and everything.low < proportion_confint(50, 50, 0.05, "wilson")[0] - 0.1


def test_shares_cover():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = rng.random((30, 6)) < rng.beta(2, 2, 30)[:, None]
        found = clustered.share(right.ravel(), np.repeat(np.arange(30), 6))
        covered += found.low <= 0.5 <= found.high
    assert covered >= 180


def test_every_interval_of_06_follows_the_level():
    rng = np.random.default_rng(0)
    real, images = rng.normal(size=(60, 6)), pd.DataFrame({"image_id": [f"r{i}" for i in range(60)]})
    images = images.assign(condition=["a", "b"] * 30, split="train", cluster_id=images["image_id"])
    images.loc[40:, "split"] = "test"
    rows = images.rename(columns={"image_id": "parent"}).assign(image_id=range(60), **dict.fromkeys(MODEL, "m"))
    right = rng.random(60) < 0.5
    memory = rows.assign(memorised=right, of_parent=True, bits=1, bits_threshold=1)

    def intervals(level: float) -> list[float]:
        tables = [
            labels.shown(rows, right, rows["cluster_id"], level=level),
            labels.classification_accuracy(rows, real, images, real, level=level),
            memorisation.shares(memory, level=level),
            skin_tone.lightening(rows, real[:, 0], images, real[:, 1], MODEL, 99, 0, level),
            distances.paired_against_permuted(rows, real + 0.1, images, real, 99, level=level),
        ]
        return [float(np.max(np.asarray(table.high) - np.asarray(table.low))) for table in tables]

    assert all(narrow < wide for narrow, wide in zip(intervals(0.8), intervals(0.95), strict=True))
