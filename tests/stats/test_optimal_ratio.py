"""The best ratio: a planted one is found, an open end is said, and a flat curve gives an interval that says nothing."""

import numpy as np
import pytest
from planted import CLASSES, arm, predictions

from skinsyn.report import open_answers
from skinsyn.stats import optimal_ratio
from skinsyn.stats.predictions import blocks

DOSES = (0, 1, 5, 10)


def found(accuracies, **how):
    arms = {f"{dose}": arm(8, dose) for dose in DOSES}
    chance = lambda name, images: np.full(len(images), accuracies[DOSES.index(int(name))])  # noqa: E731
    table = optimal_ratio.optima(blocks(predictions(arms, chance, **how)), draws=400)
    return table, table[table["condition"] == "all"].iloc[0]


def test_a_planted_best_ratio_is_found_and_bounded():
    table, row = found([0.1, 0.2, 0.95, 0.2])
    assert (row["best"], row["low"], row["high"]) == (5, 5, 5) and not row["top"]
    assert row["share_top"] == row["share_none"] == 0 and row["gain"] == pytest.approx(85, abs=5)
    assert set(table["condition"]) == {"all", *CLASSES} and row["tested"] == "0, 1, 5, 10"
    said = open_answers.optimal_ratio(table, {"n": 8, "method": "inpaint"})
    assert "5 synthetic images per real one were best at 8" in said and "between 5 and 5" in said


def test_where_the_largest_ratio_is_best_the_end_is_open():
    table, row = found([0.1, 0.2, 0.3, 0.95])
    assert row["best"] == row["low"] == row["high"] == 10 and row["top"] and row["share_top"] == 1
    assert "at 10 or above, with no upper end" in open_answers.optimal_ratio(table, {})


def test_where_the_ratio_does_not_matter_the_interval_is_wide():
    _, row = found([0.5] * 4, per_cell=6)
    assert row["low"] == 0 and row["high"] == 10 and row["top"] and 0 < row["share_none"] < 1


def test_equally_good_ratios_count_as_the_smallest():
    _, row = found([1.0, 1.0, 1.0, 1.0])
    assert row["best"] == row["low"] == row["high"] == 0 and not row["top"]


def test_one_run_has_no_interval_and_a_series_needs_a_control_and_two_ratios():
    _, row = found([0.1, 0.2, 0.9, 0.2], runs=1)
    assert np.isnan(row["low"]) and "one run" in row["flags"]
    for arms in ({"0": arm(8, 0), "1": arm(8, 1)}, {"1": arm(8, 1), "5": arm(8, 5)}):
        table = optimal_ratio.optima(blocks(predictions(arms, lambda name, images: np.full(len(images), 0.5))))
        assert table.empty and open_answers.optimal_ratio(table, {"n": 8}).startswith("Not run")


def test_the_same_seed_gives_the_same_table():
    first, second = (found([0.3, 0.4, 0.5, 0.5])[0] for _ in range(2))
    assert first.equals(second)
