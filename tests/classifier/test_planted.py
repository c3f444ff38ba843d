"""Planted truths on phantoms made harder: extra images are worth what real ones are, and copies are worth nothing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_grid import HOW, make_run

from skinsyn.classifier import grid
from skinsyn.datasets import phantom
from skinsyn.stats import mrmc

FOUR = phantom.CONDITIONS[:4]
IN_OUT = {"method": "in-then-outpaint", "steps": "matched"}
RUNS = 6


def harder(condition: str, fst: int, seed: int, size: int):
    """A phantom under so much noise that two of a class do not teach it; of one skin type, so that all are drawn
    alike."""
    grain = np.random.default_rng([seed, 1]).normal(0, 10, (size // 4, size // 4, 3)).repeat(4, 0).repeat(4, 1)
    shown = phantom.draw(condition, 3, seed, size).image + grain
    return SimpleNamespace(image=shown.clip(0, 255).astype(np.uint8))


def right_by_arm(declared: list[dict], copies: bool = False) -> dict[str, pd.DataFrame]:
    """Arm → right or wrong (runs, test images), through the whole grid."""
    about = {"conditions": FOUR, "train": 12, "validation": 8, "test": 40, "runs": RUNS, "replicates": 5}
    make_run(**about, size=64, draw=harder, copies=copies)
    wanted = grid.cells(declared, RUNS)
    given = grid.read_tables("tiny", wanted)
    how = grid.prepare(wanted, given, HOW.but(image_size=64, epochs=30, learning_rate=3e-3))
    predictions, _ = grid.collect(wanted, grid.run("tiny", wanted, how), given.images)
    parts = predictions.astype({"correct": float}).groupby("arm")
    return {arm: part.pivot(index="run", columns="image_id", values="correct") for arm, part in parts}


@pytest.mark.slow
def test_extra_real_phantoms_in_place_of_synthetic_ones_show_the_gain_of_as_many_real_ones():
    found = right_by_arm([{"n": 2, "ratios": [0, 5], **IN_OUT}, {"n": 12}])
    control, treated = (found[f"condition/n2{more}/steps of x5"] for more in ("", "/x5/in-then-outpaint/fine-tuned"))
    gain, expected = (mrmc.paired_gain([(one - control).to_numpy()]) for one in (treated, found["condition/n12"]))
    assert 0.3 < control.to_numpy().mean() < 0.7, "hard, and yet above a guess"
    assert gain.low > 0 and gain.estimate > 0.05, gain
    apart = mrmc.paired_gain([(treated - found["condition/n12"]).to_numpy()])
    assert apart.low < 0 < apart.high and abs(apart.estimate) < 0.05, (gain, expected)


@pytest.mark.slow
def test_copies_of_the_real_phantoms_show_no_gain():
    found = right_by_arm([{"n": 4, "ratios": [0, 5], **IN_OUT}], copies=True)
    control, copied = (found[f"condition/n4{more}/steps of x5"] for more in ("", "/x5/in-then-outpaint/fine-tuned"))
    gain = mrmc.paired_gain([(copied - control).to_numpy()])
    assert gain.low < 0 < gain.high and abs(gain.estimate) < 0.04, gain
