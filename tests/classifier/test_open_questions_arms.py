"""The arms that 07 names, in every profile: each is one that 04 declares; training settings are 04's alone."""

import pytest

from skinsyn.classifier import grid
from skinsyn.classifier.settings import Training
from skinsyn.run import params

PROFILES = ("smoke", "demo", "pad_ufes_20", "fitzpatrick17k", "ddi")


@pytest.mark.parametrize("steps", ["epochs", "matched"])
@pytest.mark.parametrize("profile", PROFILES)
def test_arms_are_those_of_the_grid_which_alone_declares_training(profile, steps):
    every = params.of_profile(profile)
    mine, theirs = every["07_open_questions"], every["04_training_grid"]
    assert set(Training.names()) <= set(theirs)
    assert set(Training.names()) & set(mine) == {"seed"}
    cells = grid.cells(theirs["arms"], 1, steps)
    pairs = [("treatment", {}), ("control", {}), ("equal_treatment", {}), ("equal_control", {})]
    pairs += [("treatment", {"task": mine["other_task"]}), ("control", {"task": mine["other_task"]})]
    for name, changed in pairs:
        wanted = mine[name] | changed
        hits = [cell.arm for cell in cells if all(getattr(cell, key) == value for key, value in wanted.items())]
        assert len(hits) == 1, f"{name} of {profile} names {hits}"
