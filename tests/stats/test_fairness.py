"""Fairness by group: known answers, intervals that behave, and a gap beside its null."""

import numpy as np
import pandas as pd
import pytest

from skinsyn.stats import clusters, fairness, standardise

BERKELEY = [  # departments A-F: (men admitted, rejected), (women admitted, rejected); R's UCBAdmissions
    [[512, 313], [89, 19]],
    [[353, 207], [17, 8]],
    [[120, 205], [202, 391]],
    [[138, 279], [131, 244]],
    [[53, 138], [94, 299]],
    [[22, 351], [24, 317]],
]


def test_berkeley():
    total = np.sum(BERKELEY, axis=0)
    assert total[0, 0] * total[1, 1] / (total[0, 1] * total[1, 0]) == pytest.approx(1.841, abs=5e-4)
    result = standardise.cmh(BERKELEY)
    assert result["odds_ratio"] == pytest.approx(0.9047, abs=5e-5)
    assert result["statistic"] == pytest.approx(1.4269, abs=5e-5) and result["p"] == pytest.approx(0.2323, abs=5e-5)
    with pytest.raises(ValueError, match="strata, 2, 2"):
        standardise.cmh(np.zeros((2, 3)))


def test_accuracy_by_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(["I-II", "V-VI"], 200)
    correct = (rng.random((10, 400)) < np.where(groups == "I-II", 0.8, 0.6)).astype(float)
    table = fairness.by_group(correct, groups, np.arange(400)).set_index("group")
    assert table.loc["I-II", "accuracy"] == pytest.approx(correct[:, :200].mean())
    assert table.loc["V-VI", "worst"] and not table.loc["I-II", "worst"]
    for group, truth in (("I-II", 0.8), ("V-VI", 0.6)):
        assert table.loc[group, "low"] < truth < table.loc[group, "high"]
    again = fairness.by_group(correct, groups, np.arange(400)).set_index("group")
    pd.testing.assert_frame_equal(table, again)


def test_accuracy_counts_clusters_and_classes_alike():
    correct = np.array([[1, 1, 1, 0, 0, 1]] * 2)
    table = fairness.by_group(correct, ["g"] * 6, ["a", "a", "a", "b", "c", "d"], ["x"] * 4 + ["y"] * 2)
    assert table["accuracy"][0] == pytest.approx(0.5)


def test_one_run_or_cluster_has_no_interval():
    table = fairness.by_group(np.ones((1, 3)), list("xyy"), list("abc"))
    assert table[["low", "high"]].isna().all(axis=None) and table["flags"].str.contains("one run only").all()
    table = fairness.by_group([[1, 0, 1], [0, 1, 1]], list("xyy"), list("abc"))
    assert table["flags"][0] == "not estimable: one cluster only" and np.isnan(table["low"][0])
    table = fairness.by_group(np.ones((2, 3)), list("xyy"), list("abc"))
    assert table["flags"].str.contains("identical runs").all() and table["low"].isna().all()


def test_gap_null_shows_the_bias_of_a_gap():
    """Three equal groups of 32 at 70 %: the expected gap is 13.6 points (STATISTICS), and p is not small by habit."""
    rng = np.random.default_rng(0)
    groups, results = np.repeat(list("abc"), 32), []
    for seed in range(60):
        correct = (rng.random((1, 96)) < 0.7).astype(float)
        results.append(fairness.gap_null(correct, groups, np.arange(96), np.zeros(96), draws=200, seed=seed))
    table = pd.DataFrame(results)
    assert table["null_mean"].mean() == pytest.approx(0.136, abs=0.01)
    assert 0.3 < table["p"].mean() < 0.75
    planted = (groups == "a").astype(float)[None]
    assert fairness.gap_null(planted, groups, np.arange(96), np.zeros(96), draws=200).p == pytest.approx(1 / 201)


def test_gap_null_permutes_clusters():
    """Four photographs per patient that agree: with images permuted, a third of nulls was rejected."""
    groups, ids, rejected = np.repeat(list("abc"), 64), np.repeat(np.arange(48), 4), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patient = rng.beta(1, 0.5, 48)[ids]
        correct = (rng.random((5, 192)) < patient).astype(float)
        rejected += fairness.gap_null(correct, groups, ids, np.zeros(192), draws=99, seed=seed).p <= 0.05
    assert 2 <= rejected <= 20


def test_gap_null_counts_a_cluster_once_and_keeps_those_of_two_groups():
    correct = np.array([[1, 1, 1, 0, 0, 1, 0, 1]])
    groups, ids = list("aaaabbab"), list("ppppqqrr")
    result = fairness.gap_null(correct, groups, ids, [0] * 8, draws=99)
    assert result.gap == pytest.approx(abs((0.75 + 0) / 2 - (0.5 + 1) / 2)) and result.fixed == 1
    table = fairness.by_group(correct, groups, ids).set_index("group")
    assert result.gap == pytest.approx(np.ptp(table["accuracy"]))


def test_the_null_of_a_gap_follows_the_level():
    rng = np.random.default_rng(1)
    correct, groups = (rng.random((2, 90)) < 0.6).astype(float), np.repeat(list("abc"), 30)
    wide, narrow = (
        fairness.gap_null(correct, groups, np.arange(90), np.zeros(90), draws=200, level=level) for level in (0.99, 0.5)
    )
    assert wide.null_high > narrow.null_high and wide.p == narrow.p


def test_clusters_are_averaged_within_strata():
    """Against pandas, with clusters that belong to two strata, and a third axis."""
    rng = np.random.default_rng(2)
    values, strata, ids = rng.random((3, 40, 2)), rng.choice(list("xy"), 40), rng.integers(0, 8, 40)
    means, of_cell = clusters.within_strata(values, strata, ids)
    frame = pd.DataFrame({"stratum": strata, "cluster": ids.astype(str), "value": values[1, :, 1]})
    expected = frame.groupby(["stratum", "cluster"])["value"].mean()
    assert np.allclose(means[1, :, 1], expected) and of_cell.tolist() == [stratum for stratum, _ in expected.index]
    assert clusters.too_few(1, 5).endswith("one run only") and clusters.too_few(2, 2) == ""


def test_gap_within_condition_is_no_gap():
    """Skin types differ only in their conditions: permuting within condition leaves the gap as it is, so p is 1."""
    condition = np.repeat([0, 1], 50)
    groups = np.where(condition == 0, "I-II", "V-VI")
    result = fairness.gap_null((condition == 0).astype(float)[None], groups, range(100), condition, draws=100)
    assert result.gap == 1 and result.p == 1
    with pytest.raises(ValueError, match="two groups"):
        fairness.gap_null(np.ones((1, 3)), ["a"] * 3, range(3), [0] * 3)


def test_refused():
    with pytest.raises(ValueError, match="0 and 1 without NaN"):
        fairness.by_group(np.array([[0, np.nan]]), ["a", "b"], [1, 2])
    with pytest.raises(ValueError, match="as many group and cluster ids"):
        fairness.by_group(np.ones((2, 3)), ["a", "b"], [1, 2])
