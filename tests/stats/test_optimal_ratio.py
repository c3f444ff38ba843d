"""The best ratio: a planted one is found, an open end is said, a flat curve identifies nothing; the set of ratios that
may be the best and the interval of its gain cover the truth near ties."""

import numpy as np
import pytest
from planted import CLASSES, arm, predictions
from scipy.stats import norm

from skinsyn.report import open_answers
from skinsyn.stats import covariance, optimal_ratio, selection
from skinsyn.stats.estimands import Parts
from skinsyn.stats.predictions import blocks

DOSES = (0, 1, 5, 10)


def found(accuracies, **how):
    arms = {f"{dose}": arm(8, dose) for dose in DOSES}
    chance = lambda name, images: np.full(len(images), accuracies[DOSES.index(int(name))])  # noqa: E731
    table = optimal_ratio.optima(blocks(predictions(arms, chance, **how)))
    return table, table[table["condition"] == "all"].iloc[0]


def test_a_planted_best_ratio_is_found_and_bounded():
    table, row = found([0.1, 0.2, 0.95, 0.2])
    assert (row["best"], row["low"], row["high"]) == (5, 5, 5) and not row["top"] and not row["none"]
    assert row["gain"] == pytest.approx(85, abs=5) and row["gain_adjusted"] == pytest.approx(row["gain"], abs=0.5)
    assert row["gain_low"] < 85 < row["gain_high"] and row["not_rejected"] == "5"
    assert set(table["condition"]) == {"all", *CLASSES} and row["tested"] == "0, 1, 5, 10"
    said = open_answers.optimal_ratio(table, {"n": 8, "method": "inpaint"})
    assert "5 synthetic images per real one were best at 8" in said and "Not rejected as the best is 5 alone" in said
    assert "adjusted for that it is +8" in said


def test_where_the_largest_ratio_is_best_the_end_is_open():
    table, row = found([0.1, 0.2, 0.3, 0.95])
    assert row["best"] == row["low"] == row["high"] == 10 and row["top"]
    assert "is 10 alone, and larger ratios were not tested" in open_answers.optimal_ratio(table, {})


def test_where_the_ratio_does_not_matter_nothing_is_rejected():
    table, row = found([0.5] * 4, per_cell=6)
    assert row["low"] == 0 and row["high"] == 10 and row["top"] and row["none"]
    assert row["gain_low"] < 0 < row["gain_high"] and row["gain_adjusted"] < row["gain"]
    assert "do not identify the optimum" in open_answers.optimal_ratio(table, {})


def test_equally_good_ratios_count_as_the_smallest_and_runs_without_variance_have_no_interval():
    _, row = found([1.0, 1.0, 1.0, 1.0])
    assert row["best"] == row["gain"] == 0 and np.isnan(row["low"]) and "one run" in row["flags"]


def test_one_run_has_no_interval_and_a_series_needs_a_control_and_two_ratios():
    _, row = found([0.1, 0.2, 0.9, 0.2], runs=1)
    assert np.isnan(row["low"]) and np.isnan(row["gain_low"]) and "one run" in row["flags"]
    for arms in ({"0": arm(8, 0), "1": arm(8, 1)}, {"1": arm(8, 1), "5": arm(8, 5)}):
        table = optimal_ratio.optima(blocks(predictions(arms, lambda name, images: np.full(len(images), 0.5))))
        assert table.empty and open_answers.optimal_ratio(table, {"n": 8}).startswith("Not run")


def simulated(rng, runs, images, means, per=1, sd=(1.0, 0.3, 0.3, 0.3)):
    """(arms, runs, images) of 0/1 from a probit model: effects of images, runs, arm × image and arm × run, unit noise;
    `per` photographs of each image's patient share its effects. And the patients."""
    image, run, arm_image, arm_run = sd
    patients, arms = np.repeat(np.arange(images), per), len(means)
    latent = np.asarray(means)[:, None, None] + image * rng.standard_normal((1, 1, images))[:, :, patients]
    latent = latent + arm_image * rng.standard_normal((arms, 1, images))[:, :, patients]
    latent = latent + run * rng.standard_normal((1, runs, 1)) + arm_run * rng.standard_normal((arms, runs, 1))
    return (latent + rng.standard_normal((arms, runs, images * per)) > 0).astype(float), patients


def coverage(rng, runs, images, means, per, sets):
    """Shares of studies whose set holds the best arm, and whose interval holds the gain of the winner."""
    truth, in_set, covered = norm.cdf(np.asarray(means) / np.sqrt(1 + 1 + 3 * 0.3**2)), 0, 0
    for _ in range(sets):
        right, patients = simulated(rng, runs, images, means, per)
        sums = [Parts([one - right[0]], [patients], [1.0], images, [], "clusters") for one in right[1:]]
        joint = covariance.of_parts(sums)
        df = np.pad(joint.df, (1, 0), constant_values=np.inf)
        df[0, 1:] = df[1:, 0] = np.diag(joint.df)
        kept = selection.best([0, *joint.estimates], np.pad(joint.covariance, (1, 0)), 0.95, df)
        in_set += kept[np.argmax(truth)]
        won = int(np.argmax(joint.estimates))
        adjusted = selection.maximum(joint.estimates, joint.covariance, 0.95, joint.df[won, won])
        covered += adjusted.low <= truth[won + 1] - truth[0] <= adjusted.high
    return in_set / sets, covered / sets


def test_the_set_and_the_interval_cover_where_all_ratios_tie():
    in_set, covered = coverage(np.random.default_rng(1000), 5, 40, [0.0] * 4, 1, 80)
    assert in_set > 0.9 and covered > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("runs, images, per", [(5, 40, 3), (10, 12, 1)])
@pytest.mark.parametrize("means", [[0.0] * 5, [0, 0.1, 0.2, 0.2, 0.2]], ids=["tie", "near"])
def test_the_set_and_the_interval_cover(runs, images, per, means):
    in_set, covered = coverage(np.random.default_rng(1000), runs, images, means, per, 200)
    assert in_set >= 0.925 and 0.925 <= covered
