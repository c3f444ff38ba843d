"""Metrics by group: against scikit-learn, intervals that hold the truth, gaps and calibration, what cannot be
estimated."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import logit
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, recall_score, roc_auc_score

from skinsyn.stats import calibration, metrics


def made(n=120, runs=4, shift=0.3, seed=0):
    """(y, scores (2 arms, runs, images), thresholds, groups): calibrated-looking scores, the first arm a bit better."""
    rng = np.random.default_rng(seed)
    y, groups = (rng.random(n) < 0.4).astype(int), np.where(np.arange(n) % 3 == 0, "V-VI", "I-II")
    latent = rng.standard_normal((2, runs, n)) + y * np.array([1.0 + shift, 1.0])[:, None, None]
    return y, 1 / (1 + np.exp(0.6 - latent)), np.full((2, runs), 0.5), groups


def of_scikit_learn(y, score):
    """Metrics of one run at the threshold .5, and its calibration slope by statsmodels."""
    called = score >= 0.5
    rates = {"tpr": recall_score(y, called), "fpr": 1 - recall_score(y, called, pos_label=0)}
    scored = {"auroc": roc_auc_score(y, score), "brier": brier_score_loss(y, score), "citl": y.mean() - score.mean()}
    return rates | scored | {"slope": sm.Logit(y, sm.add_constant(logit(score))).fit(disp=0).params[1]}


def test_known_answers():
    y, score = [1, 1, 0, 0], np.tile([0.9, 0.4, 0.6, 0.1], (1, 2, 1))
    cut, four = np.full((1, 2), 0.5), np.arange(4)
    table = metrics.by_group(y, score, cut, ["g"] * 4, four, ["one"]).set_index(["group", "metric"])
    found = table.loc["g", "estimate"].drop("slope").to_dict()
    assert found == pytest.approx({"tpr": 0.5, "fpr": 0.5, "ppv": 0.5, "auroc": 0.75, "brier": 0.185, "citl": 0})
    healthy = metrics.by_group([0, 0], np.tile([0.2, 0.4], (1, 2, 1)), cut, ["g"] * 2, four[:2], ["one"])
    alone = healthy[healthy["group"] == "g"].set_index("metric")["estimate"]
    assert np.isnan(alone["tpr"]) and np.isnan(alone["auroc"]) and alone["brier"] == pytest.approx(0.1)


def test_estimates_are_those_of_scikit_learn_averaged_over_runs():
    y, scores, cut, groups = made()
    table = metrics.by_group(y, scores, cut, groups, np.arange(120)).set_index(["group", "arm", "metric"])
    members = groups == "V-VI"
    for number, arm in enumerate(("with", "without")):
        one = pd.DataFrame([of_scikit_learn(y[members], run[members]) for run in scores[number]]).mean()
        for metric in one.index:
            assert table.loc[("V-VI", arm, metric), "estimate"] == pytest.approx(one[metric])
    change = table.loc[("all", "change", "auroc"), "estimate"]
    expected = np.mean([roc_auc_score(y, a) - roc_auc_score(y, b) for a, b in zip(*scores, strict=True)])
    assert change == pytest.approx(expected)
    called = scores[0] >= 0.5
    truth = np.broadcast_to(y, called.shape)
    assert table.loc[("all", "with", "ppv"), "estimate"] == pytest.approx(truth[called].mean())
    rows = table["estimate"].notna()
    assert (table.loc[rows, "low"] <= table.loc[rows, "high"]).all() and table.loc[
        ("all", "with", "tpr"), "positives"
    ] == y.sum()


def test_rows_may_come_in_any_order_even_with_ties():
    """Probabilities in steps of a tenth: binned errors with ties gave .42 or .10 where 0 was right."""
    rng, (y, scores, cut, groups) = np.random.default_rng(3), made()
    scores, order = scores.round(1), rng.permutation(120)
    one = metrics.by_group(y, scores, cut, groups, np.arange(120))
    other = metrics.by_group(y[order], scores[:, :, order], cut, groups[order], order)
    pd.testing.assert_frame_equal(one, other)
    lines = calibration.reliability(y, scores[0], groups)
    pd.testing.assert_frame_equal(lines, calibration.reliability(y[order], scores[0][:, order], groups[order]))


def test_linearised_values_are_influence():
    """Leaving out a cluster moves a metric by its centred value over the others, to first order."""
    y, scores, cut, _ = made(400, 1)
    ids = np.arange(400).astype(str)
    whole = metrics.linearised(y, scores[0], cut[0], ids)
    some = np.ones(400, bool)
    some[7] = False
    without = metrics.linearised(y[some], scores[0][:, some], cut[0], ids[some])
    for metric, classes in {name: metrics.OF_CLASSES.get(name) for name in metrics.METRICS}.items():
        value, less = (sum(part.mean() for part in values[metric]) for values in (whole, without))
        place = 0 if classes is None else classes.index(y[7]) if y[7] in classes else None
        if place is None:
            assert less == pytest.approx(value)
            continue
        part = whole[metric][place][0]
        at = 7 if classes is None else int((y[:7] == y[7]).sum())
        assert value - less == pytest.approx((part[at] - part.mean()) / (len(part) - 1), rel=0.05, abs=2e-5)


def test_a_cluster_counts_once():
    y, scores, cut, groups = made(40)
    twice = np.r_[np.arange(40), np.arange(20)]
    plain = metrics.by_group(y, scores, cut, groups, np.arange(40))
    repeated = metrics.by_group(y[twice], scores[:, :, twice], cut, groups[twice], twice)
    for column in ("estimate", "low", "high"):
        assert plain[column].to_numpy() == pytest.approx(repeated[column].to_numpy(), nan_ok=True, rel=1e-5)


def test_intervals_hold_the_truth():
    """AUROC of shifted normals is known: Phi(shift / root 2); 60 data sets, so a coverage of .95 within four errors."""
    truth, inside = norm.cdf(1.3 / np.sqrt(2)), 0
    for seed in range(60):
        y, scores, cut, _ = made(100, 5, seed=seed)
        table = metrics.by_group(y, scores[:1], cut[:1], ["g"] * 100, np.arange(100), ["one"])
        row = table[(table["group"] == "all") & (table["metric"] == "auroc")].iloc[0]
        inside += row["low"] <= truth <= row["high"]
    assert inside >= 50


def test_intervals_of_calibration_hold_the_truth_where_probabilities_are_right():
    """The interval of a binned error held it never: an error is above 0 by construction."""
    inside = np.zeros(2)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(200)
        y = (x + 0.5 * rng.standard_normal(200) > 0.3).astype(int)
        seen = x + 0.7 * rng.standard_normal((1, 5, 200))  # each run knows x but for noise; given that it is right:
        scores = norm.cdf((seen / 1.49 - 0.3) / np.sqrt(0.49 / 1.49 + 0.25))
        table = metrics.by_group(y, scores, np.full((1, 5), 0.5), ["g"] * 200, np.arange(200), ["one"])
        rows = table[table["group"] == "all"].set_index("metric")
        inside += [rows.loc[name, "low"] <= right <= rows.loc[name, "high"] for name, right in metrics.RIGHT.items()]
    assert (inside >= 51).all()


def test_the_worst_group():
    y, scores, cut, groups = made(400)
    scores[:, :, groups == "V-VI"] = np.where(y[groups == "V-VI"] == 1, 0.45, 0.4)
    table = metrics.by_group(y, scores, cut, groups, np.arange(400))
    worst = table[table["worst"]].groupby("metric")["group"].agg(set)
    assert worst["tpr"] == {"V-VI"} and worst["fpr"] == {"I-II"}
    distance = table[table["metric"].eq("citl") & table["arm"].eq("with") & table["group"].ne("all")]
    assert distance.loc[distance["worst"], "estimate"].abs().item() == distance["estimate"].abs().max()


def test_what_cannot_be_estimated_says_so():
    y, scores, cut, groups = made(60)
    none = np.where(groups == "V-VI", 0, y)
    table = metrics.by_group(none, scores, cut, groups, np.arange(60)).set_index(["group", "arm", "metric"])
    for metric in ("tpr", "auroc", "slope"):
        row = table.loc[("V-VI", "with", metric)]
        assert np.isnan(row["estimate"]) and row["flags"] == "not estimable: a class is absent"
    one = metrics.by_group(y, scores[:, :1], cut[:, :1], groups, np.arange(60))
    assert one["low"].isna().all() and one["flags"].str.contains("one run only").all()
    few = metrics.by_group(y, scores, cut, groups, np.arange(60), min_images=30)
    assert few.loc[few["group"] == "V-VI", "flags"].str.contains("20 images, fewer than the 30").all()
    silent = table["low"].isna() & (table["flags"] == "")
    assert not silent.any()
    never = metrics.by_group(y, scores, cut + 0.6, groups, np.arange(60))
    ppv = never[(never["metric"] == "ppv") & (never["arm"] == "with")]
    assert ppv["estimate"].isna().all() and ppv["flags"].str.contains("called malignant").all()
    apart = metrics.by_group(y, np.tile(0.2 + 0.6 * y, (2, 4, 1)), cut, groups, np.arange(60))
    assert apart.loc[apart["metric"] == "slope", "flags"].str.contains("separate the classes").all()


def test_a_run_that_calls_nothing_takes_part_in_ppv():
    y, scores, cut, groups = made(60)
    cut[0, 0] = 1.0
    table = metrics.by_group(y, scores, cut, groups, np.arange(60)).set_index(["group", "arm", "metric"])
    called = scores[0, 1:] >= 0.5
    expected = np.broadcast_to(y, called.shape)[called].mean()
    assert table.loc[("all", "with", "ppv"), "estimate"] == pytest.approx(expected)


def test_gaps_and_equalised_odds():
    y, scores, cut, groups = made(200)
    scores[0, :, groups == "V-VI"] = 0.1
    table = metrics.gaps(y, scores, cut, groups, np.arange(200), np.zeros(200), draws=199).set_index(["arm", "metric"])
    called = scores[0] >= 0.5
    tpr = [called[:, (y == 1) & (groups == g)].mean() for g in ("I-II", "V-VI")]
    assert table.loc[("with", "tpr gap"), "gap"] == pytest.approx(abs(tpr[0] - tpr[1]))
    assert table.loc[("with", "tpr gap"), "p"] == pytest.approx(1 / 200)
    fpr = [called[:, (y == 0) & (groups == g)].mean() for g in ("I-II", "V-VI")]
    both = table.loc["with", "gap"]
    assert both["equalised odds difference"] == pytest.approx(max(abs(tpr[0] - tpr[1]), abs(fpr[0] - fpr[1])))
    assert both["equalised odds difference"] == max(both["tpr gap"], both["fpr gap"])
    alone = metrics.gaps(y, scores, cut, ["unknown"] * 200, np.arange(200), np.zeros(200), draws=10)
    assert alone["gap"].isna().all() and alone["flags"].str.startswith("not estimable").all()


def test_reliability():
    table = calibration.reliability([0, 0, 1, 1], np.array([[0.1, 0.2, 0.7, 0.8]]), ["g"] * 4, bins=2)
    assert table["score"].tolist() == pytest.approx([0.15, 0.75]) and table["observed"].tolist() == [0, 1]


def test_refused():
    y, scores, cut, groups = made(20)
    with pytest.raises(ValueError, match="probabilities without NaN"):
        metrics.by_group(y, scores * np.nan, cut, groups, np.arange(20))
    with pytest.raises(ValueError, match="do not fit"):
        metrics.by_group(y[:5], scores, cut, groups, np.arange(20))
