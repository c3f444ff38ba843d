"""The worst group at equal budget: a planted change is found, arms may have different worst groups, swapping
negates."""

import numpy as np
import pandas as pd
import pytest
from planted import arm, predictions

from skinsyn.report import open_answers
from skinsyn.stats import worst_group
from skinsyn.stats.predictions import blocks

ARMS = {"oversampled": arm(8, 0, steps="matched"), "synthetic": arm(8, 5, steps="matched")}
SETTINGS = {name: {key: one[key] for key in ("task", "n", "ratio", "steps")} for name, one in ARMS.items()}
PAIR = SETTINGS["synthetic"], SETTINGS["oversampled"]


def chance(name, images):
    """V-VI is worst when real images are shown again; synthetic ones help it and harm I-II."""
    levels = {"oversampled": (0.9, 0.8, 0.2), "synthetic": (0.6, 0.8, 0.9)}[name]
    return images["fst_group"].map(dict(zip(("I-II", "III-IV", "V-VI"), levels, strict=True))).to_numpy()


def test_the_worst_group_of_each_arm_is_its_own():
    prepared = blocks(predictions(ARMS, chance))
    table = worst_group.compare(prepared, *PAIR, draws=400).set_index("group")
    assert list(table.index) == ["all", "I-II", "III-IV", "V-VI", worst_group.WORST]
    row = table.loc[worst_group.WORST]
    assert row["with_synthetic"] == pytest.approx(table.loc["I-II", "with_synthetic"])
    assert row["with_oversampling"] == pytest.approx(table.loc["V-VI", "with_oversampling"])
    assert row["estimate"] == pytest.approx(40, abs=12) and 0 < row["low"] <= row["estimate"] <= row["high"]
    assert "I-II with synthetic images, V-VI with oversampling" in row["flags"]
    for group in ("I-II", "III-IV", "V-VI"):
        change = 100 * (table.loc[group, "with_synthetic"] - table.loc[group, "with_oversampling"])
        assert table.loc[group, "estimate"] == pytest.approx(change)
    said = open_answers.worst_group(table.reset_index())
    assert "synthetic images are expected to be better" in said
    said = open_answers.worst_group(table.reset_index().assign(low=np.nan, high=np.nan))
    assert " points; worst: I-II with" in said and "these images do not tell" in said and "not estimable" not in said


def test_swapping_the_arms_negates_all():
    prepared = blocks(predictions(ARMS, chance))
    one, other = (worst_group.compare(prepared, *pair, draws=200) for pair in (PAIR, PAIR[::-1]))
    assert np.allclose(one["estimate"], -other["estimate"]) and np.allclose(one["low"], -other["high"])


def test_where_nothing_differs_it_does_not_tell_and_where_nothing_ran_it_says_so():
    same = blocks(predictions(ARMS, lambda name, images: np.full(len(images), 0.5)))
    table = worst_group.compare(same, *PAIR, draws=200)
    assert "these images do not tell" in open_answers.worst_group(table)
    alone = blocks(predictions({"oversampled": ARMS["oversampled"]}, chance))
    table = worst_group.compare(alone, *PAIR, draws=200)
    assert len(table) == 1 and open_answers.worst_group(table).startswith("Not run")


def test_every_row_counts_a_patient_once():
    """A patient photographed again changes nothing; a row's estimate is the difference of its two accuracies."""
    one = predictions(ARMS, chance)
    more = one[one["image_id"].isin(one["image_id"].unique()[::3])]
    repeated = pd.concat([one, more.assign(image_id=more["image_id"].astype(str) + " again")])
    first, second = (worst_group.compare(blocks(frame), *PAIR, draws=100) for frame in (one, repeated))
    step = 100 * (second["with_synthetic"] - second["with_oversampling"])
    assert second["estimate"].to_numpy() == pytest.approx(step.to_numpy())
    both = ["with_synthetic", "with_oversampling", "estimate"]
    assert second[both].to_numpy() == pytest.approx(first[both].to_numpy())
    assert "verdict" not in second


def test_few_runs_are_flagged():
    few = predictions(ARMS, chance)
    few = few[few["run"].isin(sorted(few["run"].unique())[:3])]
    table = worst_group.compare(blocks(few), *PAIR, draws=100).set_index("group")
    assert "bootstrap interval from 3 runs" in table.loc[worst_group.WORST, "flags"]
