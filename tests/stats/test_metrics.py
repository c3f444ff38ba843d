"""Metrics by group: against scikit-learn, intervals that hold the truth, gaps and calibration, what cannot be
estimated."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, recall_score, roc_auc_score

from skinsyn.stats import metrics


def made(n=120, runs=4, shift=0.3, seed=0):
    """(y, scores (2 arms, runs, images), thresholds, groups): calibrated-looking scores, the first arm a bit better."""
    rng = np.random.default_rng(seed)
    y, groups = (rng.random(n) < 0.4).astype(int), np.where(np.arange(n) % 3 == 0, "V-VI", "I-II")
    latent = rng.standard_normal((2, runs, n)) + y * np.array([1.0 + shift, 1.0])[:, None, None]
    return y, 1 / (1 + np.exp(0.6 - latent)), np.full((2, runs), 0.5), groups


def of_scikit_learn(y, score, bins=10):
    """Metrics of one run at the threshold .5; the calibration error by its definition, bins of equal mass."""
    called, order = score >= 0.5, np.argsort(score, kind="stable")
    gaps = [len(part) * abs(score[part].mean() - y[part].mean()) for part in np.array_split(order, bins)]
    rates = {"tpr": recall_score(y, called), "fpr": 1 - recall_score(y, called, pos_label=0)}
    scored = {"auroc": roc_auc_score(y, score), "brier": brier_score_loss(y, score)}
    return rates | scored | {"ece": sum(gaps) / len(y)}


def test_known_answers():
    y, score = [1, 1, 0, 0], np.tile([0.9, 0.4, 0.6, 0.1], (1, 2, 1))
    cut, four = np.full((1, 2), 0.5), np.arange(4)
    table = metrics.by_group(y, score, cut, ["g"] * 4, four, ["one"], draws=5, bins=2).set_index(["group", "metric"])
    found = table.loc["g", "estimate"].drop("ppv").to_dict()
    assert found == pytest.approx({"tpr": 0.5, "fpr": 0.5, "auroc": 0.75, "brier": 0.185, "ece": 0.25})
    healthy = metrics.by_group([0, 0], np.tile([0.2, 0.4], (1, 2, 1)), cut, ["g"] * 2, four[:2], ["one"], draws=5)
    alone = healthy[healthy["group"] == "g"].set_index("metric")["estimate"]
    assert np.isnan(alone["tpr"]) and np.isnan(alone["auroc"]) and alone["brier"] == pytest.approx(0.1)


def test_estimates_are_those_of_scikit_learn_averaged_over_runs():
    y, scores, cut, groups = made()
    table = metrics.by_group(y, scores, cut, groups, np.arange(120), draws=50).set_index(["group", "arm", "metric"])
    members = groups == "V-VI"
    for number, arm in enumerate(("with", "without")):
        one = pd.DataFrame([of_scikit_learn(y[members], run[members]) for run in scores[number]]).mean()
        for metric in ("tpr", "fpr", "auroc", "brier", "ece"):
            assert table.loc[("V-VI", arm, metric), "estimate"] == pytest.approx(one[metric])
    change = table.loc[("all", "change", "auroc"), "estimate"]
    expected = np.mean([roc_auc_score(y, a) - roc_auc_score(y, b) for a, b in zip(*scores, strict=True)])
    assert change == pytest.approx(expected)
    called = scores[0] >= 0.5
    assert table.loc[("all", "with", "ppv"), "estimate"] == pytest.approx(np.mean([y[c].mean() for c in called]))
    rows = table["estimate"].notna()
    assert (table.loc[rows, "low"] <= table.loc[rows, "high"]).all() and table.loc[
        ("all", "with", "tpr"), "positives"
    ] == y.sum()


def test_the_bootstrap_of_auroc_is_that_of_repeated_cases():
    """A weight of two is a case twice: one resample by hand."""
    y, scores, _, _ = made(30, 1)
    times = np.random.default_rng(1).integers(0, 3, 30)
    found = metrics._one_run(y, scores[0, 0], 0.5, times[None].astype(float), 5)
    repeated = np.repeat(np.arange(30), times)
    assert found["auroc"][0] == pytest.approx(roc_auc_score(y[repeated], scores[0, 0][repeated]))
    assert found["tpr"][0] == pytest.approx(of_scikit_learn(y[repeated], scores[0, 0][repeated])["tpr"])


def test_a_cluster_counts_once():
    y, scores, cut, groups = made(40)
    twice = np.r_[np.arange(40), np.arange(20)]
    plain = metrics.by_group(y, scores, cut, groups, np.arange(40), draws=20)
    repeated = metrics.by_group(y[twice], scores[:, :, twice], cut, groups[twice], twice, draws=20)
    keep = ~plain["metric"].isin(["ece"])  # its bins are of images
    assert plain.loc[keep, "estimate"].to_numpy() == pytest.approx(repeated.loc[keep, "estimate"].to_numpy())


def test_intervals_hold_the_truth():
    """AUROC of shifted normals is known: Phi(shift / root 2); 60 data sets, so a coverage of .95 within four errors."""
    from scipy.stats import norm

    truth, inside = norm.cdf(1.3 / np.sqrt(2)), 0
    for seed in range(60):
        y, scores, cut, _ = made(100, 5, seed=seed)
        table = metrics.by_group(y, scores[:1], cut[:1], ["g"] * 100, np.arange(100), ["one"], draws=200, seed=seed)
        row = table[(table["group"] == "all") & (table["metric"] == "auroc")].iloc[0]
        inside += row["low"] <= truth <= row["high"]
    assert inside >= 50


def test_worst_group_and_calibration_by_chance():
    y, scores, cut, groups = made(400)
    scores[:, :, groups == "V-VI"] = np.where(y[groups == "V-VI"] == 1, 0.45, 0.4)
    table = metrics.by_group(y, scores, cut, groups, np.arange(400), draws=20)
    worst = table[table["worst"]].groupby("metric")["group"].agg(set)
    assert worst["tpr"] == {"V-VI"} and worst["fpr"] == {"I-II"}
    rng = np.random.default_rng(0)
    right = rng.random((1, 6, 400))
    truth = (rng.random(400) < right[0, 0]).astype(int)
    right[:] = right[0, 0]
    fair = metrics.by_group(truth, right, np.full((1, 6), 0.5), ["g"] * 400, np.arange(400), ["one"], draws=20)
    ece = fair[(fair["metric"] == "ece") & (fair["group"] == "all")].iloc[0]
    assert ece["estimate"] == pytest.approx(ece["chance"], abs=0.025) and ece["chance"] > 0.02


def test_what_cannot_be_estimated_says_so():
    y, scores, cut, groups = made(60)
    none = np.where(groups == "V-VI", 0, y)
    table = metrics.by_group(none, scores, cut, groups, np.arange(60), draws=30).set_index(["group", "arm", "metric"])
    row = table.loc[("V-VI", "with", "auroc")]
    assert np.isnan(row["estimate"]) and row["flags"] == "not estimable: a class is absent"
    one = metrics.by_group(y, scores[:, :1], cut[:, :1], groups, np.arange(60), draws=30)
    assert one["low"].isna().all() and one["flags"].str.contains("one run only").all()
    few = metrics.by_group(y, scores, cut, groups, np.arange(60), min_images=30, draws=30)
    assert few.loc[few["group"] == "V-VI", "flags"].str.contains("20 images, fewer than the 30").all()
    silent = table["low"].isna() & (table["flags"] == "")
    assert not silent.any()
    never = metrics.by_group(y, scores, cut + 0.6, groups, np.arange(60), draws=30)
    ppv = never[(never["metric"] == "ppv") & (never["arm"] == "with")]
    assert ppv["estimate"].isna().all() and ppv["flags"].str.contains("called malignant").all()


def test_gaps_and_equalised_odds():
    y, scores, cut, groups = made(200)
    scores[0, :, groups == "V-VI"] = 0.1
    table = metrics.gaps(y, scores, cut, groups, np.zeros(200), draws=199).set_index(["arm", "metric"])
    called = scores[0] >= 0.5
    tpr = [called[:, (y == 1) & (groups == g)].mean() for g in ("I-II", "V-VI")]
    assert table.loc[("with", "tpr gap"), "gap"] == pytest.approx(abs(tpr[0] - tpr[1]))
    assert table.loc[("with", "tpr gap"), "p"] == pytest.approx(1 / 200)
    fpr = [called[:, (y == 0) & (groups == g)].mean() for g in ("I-II", "V-VI")]
    both = table.loc["with", "gap"]
    assert both["equalised odds difference"] == pytest.approx(max(abs(tpr[0] - tpr[1]), abs(fpr[0] - fpr[1])))
    assert both["equalised odds difference"] == max(both["tpr gap"], both["fpr gap"])
    alone = metrics.gaps(y, scores, cut, ["unknown"] * 200, np.zeros(200), draws=10)
    assert alone["gap"].isna().all() and alone["flags"].str.startswith("not estimable").all()


def test_reliability():
    table = metrics.reliability([0, 0, 1, 1], np.array([[0.1, 0.2, 0.7, 0.8]]), ["g"] * 4, bins=2)
    assert table["score"].tolist() == pytest.approx([0.15, 0.75]) and table["observed"].tolist() == [0, 1]


def test_refused():
    y, scores, cut, groups = made(20)
    with pytest.raises(ValueError, match="probabilities without NaN"):
        metrics.by_group(y, scores * np.nan, cut, groups, np.arange(20))
    with pytest.raises(ValueError, match="do not fit"):
        metrics.by_group(y[:5], scores, cut, groups, np.arange(20))
