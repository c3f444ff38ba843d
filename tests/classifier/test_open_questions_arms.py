"""The arms that 07 compares, in every profile: each is one that 04 declares; training settings are 04's alone."""

import pytest

from skinsyn.classifier import grid
from skinsyn.classifier.settings import Training
from skinsyn.run import params
from skinsyn.stats.hypotheses import Hypotheses

PROFILES = ("smoke", "demo", "pad_ufes_20", "fitzpatrick17k", "ddi")


@pytest.mark.parametrize("steps", ["epochs", "matched"])
@pytest.mark.parametrize("profile", PROFILES)
def test_arms_are_those_of_the_grid_which_alone_declares_training(profile, steps):
    every = params.of_profile(profile)
    mine, theirs = every["07_open_questions"], every["04_training_grid"]
    assert set(Training.names()) <= set(theirs)
    assert set(Training.names()) & set(mine) == {"seed"}
    cells = grid.cells(theirs["arms"], 1, steps)
    declared = Hypotheses.load(every["05_fairness_stats"]["hypotheses"], 0.03)
    pair, equal = (declared.named(names) for names in (declared.primary.pairs[0], mine["equal_budget"]))
    for wanted in [*pair, *equal, *(arm | {"task": mine["other_task"]} for arm in pair)]:
        hits = [cell.arm for cell in cells if all(getattr(cell, key) == value for key, value in wanted.items())]
        assert len(hits) == 1, f"{wanted} of {profile} names {hits}"
    assert {arm["steps"] for arm in equal} == {"matched"}


def test_an_arm_that_is_not_declared_is_refused():
    declared = Hypotheses.load("params/demo/hypotheses.yml", 0.03)
    with pytest.raises(ValueError, match="unknown arm 'synthetic equal bugdet'; did you mean 'synthetic equal budget'"):
        declared.named(["synthetic equal bugdet"])
