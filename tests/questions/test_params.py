"""The notebook's own copy of 04's settings, in every profile: the same values, and arms that 04 declares."""

import pytest

from skinsyn.classifier import grid
from skinsyn.run import params

PROFILES = ("smoke", "demo", "pad_ufes_20", "fitzpatrick17k", "ddi")


@pytest.mark.parametrize("profile", PROFILES)
def test_training_and_arms_are_those_of_the_grid(profile):
    every = params.of_profile(profile)
    mine, theirs = every["07_open_questions"], every["04_training_grid"]
    assert mine["training"] == {key: theirs[key] for key in mine["training"]}
    assert set(mine["training"]) | {"seed"} == set(grid.HOW)
    cells = grid.cells(theirs["arms"], 1, theirs["training_steps"])
    pairs = [("treatment", {}), ("control", {}), ("equal_treatment", {}), ("equal_control", {})]
    pairs += [("treatment", {"task": mine["other_task"]}), ("control", {"task": mine["other_task"]})]
    for name, changed in pairs:
        wanted = mine[name] | changed
        hits = [cell["arm"] for cell in cells if all(cell[key] == value for key, value in wanted.items())]
        assert len(hits) == 1, f"{name} of {profile} names {hits}"
