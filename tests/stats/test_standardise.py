"""Like with like: a confounded gap that vanishes, CMH run by run, and a clinic's own mix of patients."""

import numpy as np
import pandas as pd
import pytest
from simulated import predictions

from skinsyn.stats import contrasts, estimands, metrics, standardise
from skinsyn.stats.predictions import blocks

BLOCKS = blocks(predictions(ratios=(0, 10)))
SYNTHETIC = {"task": "malignancy", "n": 8, "ratio": 10, "transforms": True}
CONTROL = {"task": "malignancy", "n": 8, "ratio": 0, "transforms": True}


def confounded(seed=0, runs=6):
    """Skin types answer alike within a condition, but the easy condition is common in I-II: a gap of the mix alone."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(["I-II", "V-VI"], 200)
    easy = np.r_[rng.random(200) < 0.8, rng.random(200) < 0.2]
    correct = (rng.random((runs, 400)) < np.where(easy, 0.9, 0.3)).astype(float)
    return correct, groups, np.where(easy, "easy", "hard")


def test_a_gap_of_the_mix_vanishes():
    correct, groups, conditions = confounded()
    table = standardise.by_condition_mix(correct, groups, conditions, np.arange(400)).set_index("group")
    assert table["crude"]["I-II"] - table["crude"]["V-VI"] > 0.25
    assert abs(table["standardised"]["I-II"] - table["standardised"]["V-VI"]) < 0.08
    mix = np.mean(conditions == "easy")
    expected = sum(
        share * correct[:, (groups == "V-VI") & (conditions == name)].mean()
        for name, share in (("easy", mix), ("hard", 1 - mix))
    )
    assert table.loc["V-VI", "standardised"] == pytest.approx(expected)
    assert table.loc["V-VI", "low"] < expected < table.loc["V-VI", "high"]


def test_conditions_not_in_every_group_are_named():
    correct, groups, conditions = confounded()
    conditions[:5] = "rare"
    table = standardise.by_condition_mix(correct, groups, conditions, np.arange(400))
    assert (table["conditions"] == 2).all() and table["flags"].str.contains("without rare").all()
    apart = np.where(groups == "I-II", "a", "b")
    table = standardise.by_condition_mix(correct, groups, apart, np.arange(400))
    assert table["standardised"].isna().all() and table["flags"].str.startswith("not estimable").all()
    single = standardise.by_condition_mix(correct[:1], groups, conditions, np.arange(400))
    assert single["low"].isna().all()
    with pytest.raises(ValueError, match="do not fit together"):
        standardise.by_condition_mix(correct, groups[:-1], conditions[:-1], np.arange(399))


def test_cmh_by_run_sees_through_the_mix():
    correct, groups, conditions = confounded()
    table = standardise.cmh_by_run(correct, groups, conditions, "V-VI", "I-II", list("abcdef"))
    assert (table["odds_ratio_crude"] < 0.5).all() and table["odds_ratio"].between(0.4, 2.5).all()
    assert table["run"].tolist() == list("abcdef") and (table["conditions"] == 2).all()
    hand = [[[((groups == g) & (conditions == c) & (correct[0] == a)).sum() for a in (1, 0)] for g in ("V-VI", "I-II")]
            for c in ("easy", "hard")]  # fmt: skip
    assert table["p"][0] == pytest.approx(standardise.cmh(hand)["p"])
    silent = standardise.cmh_by_run(correct, groups, conditions, "V-VI", "III-IV")
    assert silent["p"].isna().all() and silent["flags"].str.contains("no condition has both groups").all()


def test_infinite_odds_are_said():
    correct = np.array([[1, 1, 0, 0, 1, 1, 0, 0]])
    groups = np.array(["V-VI", "V-VI", "I-II", "I-II"] * 2)
    row = standardise.cmh_by_run(correct, groups, np.repeat(["x", "y"], 4), "V-VI", "I-II").iloc[0]
    assert np.isnan(row["odds_ratio"]) and row["flags"] == "the odds ratio within conditions is infinite"


def test_deployment_at_the_tested_mix_is_what_was_tested():
    share = {"I-II": 1 / 3, "III-IV": 1 / 3, "V-VI": 1 / 3}
    mix = [{"fst_group": group, "share": s} for group, s in share.items()]
    table = standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, mix).set_index("metric")
    gain = contrasts.gain(BLOCKS, SYNTHETIC, CONTROL, "micro")
    assert table.loc["accuracy", "change"] == pytest.approx(gain.estimate)
    with_, images = contrasts.answers(BLOCKS, SYNTHETIC)
    malignant = (images["y_true"] == "malignant").to_numpy()
    assert table.loc["tpr", "with_synthetic"] == pytest.approx(with_[:, malignant].mean())
    called = np.where(malignant, with_, 1 - with_)
    assert table.loc["ppv", "with_synthetic"] == pytest.approx((called * malignant).sum() / called.sum())
    assert (table["low"] <= table["change"]).all() and (table["change"] <= table["high"]).all()


def test_deployment_as_tested_has_the_rates_and_intervals_of_metrics():
    """PPV is one ratio of sums over runs in both; it was a mean over runs in one of them."""
    block = BLOCKS["malignancy"]
    at = [estimands.arm_of(block, {"task": "malignancy", **arm}) for arm in (SYNTHETIC, CONTROL)]
    truth, scores = block.images["y_true"].eq("malignant"), block.p[at, :, :, block.classes.index("malignant")]
    ids = np.full(len(truth), "all"), block.images["cluster_id"]
    rates = metrics.by_group(truth.astype(int), scores, block.threshold[at], *ids).set_index(["metric", "arm"])
    table = standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, [{"share": 1.0}]).set_index("metric")
    assert table.loc["ppv", "with_synthetic"] == pytest.approx(rates.loc[("ppv", "with"), "estimate"])
    for column, other in (("change", "estimate"), ("low", "low"), ("high", "high")):
        assert table.loc["ppv", column] == pytest.approx(rates.loc[("ppv", "change"), other])


def test_deployment_to_rare_disease_lowers_the_predictive_value():
    names = sorted(BLOCKS["malignancy"].images["condition"].unique())
    rare = [{"condition": name, "share": 0.005 if name in names[:2] else 0.99 / 7} for name in names]
    often = [{"condition": name, "share": 0.25 if name in names[:2] else 0.5 / 7} for name in names]
    low, high = (standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, mix).set_index("metric") for mix in (rare, often))
    assert low.loc["ppv", "without"] < high.loc["ppv", "without"] - 0.2
    assert low.loc["tpr", "without"] == pytest.approx(high.loc["tpr", "without"])


def test_a_mix_that_was_not_tested_or_is_wrong():
    mix = [{"fst_group": "V-VI", "share": 0.9}, {"fst_group": "unknown", "share": 0.1}]
    table = standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, mix)
    assert table["change"].isna().all() and table["flags"].str.contains("no test image for 10.0% of the mix").all()
    with pytest.raises(ValueError, match="sum to 1"):
        standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, [{"fst_group": "V-VI", "share": 0.9}])
    with pytest.raises(ValueError, match="is also one of"):
        half = [{"fst_group": "V-VI", "share": 0.5}, {"condition": "pattern 1", "share": 0.5}]
        standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, half)
    with pytest.raises(ValueError, match="did you mean 'fst_group'"):
        standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, [{"fst_grop": "V-VI", "share": 1.0}])
    with pytest.raises(ValueError, match="mix is empty"):
        standardise.deployment(BLOCKS, SYNTHETIC, CONTROL, [])
    one = blocks(predictions(runs=1, ratios=(0, 10)))
    alone = standardise.deployment(one, SYNTHETIC, CONTROL, [{"share": 1.0}])
    assert alone["low"].isna().all() and alone["flags"].str.contains("one run only").all()
    assert isinstance(alone, pd.DataFrame)
