"""Simulated studies from a model that the primary test does not assume: difficulty is beta-distributed.

Every photograph has a probability of a right answer in each arm, a beta variable of the cell's mean accuracy; a
patient's photographs, and the two arms, are alike through a normal copula. On the logit scale a run adds an effect of
its own, one of its arm, and a slope of its arm along skin type (its cell's score). What all runs of a study share (a
generator, a part of the training set) is drawn once per study: the gain *given* it is known too.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, expit, logit, ndtr

from .normal_model import Test

GRID = np.linspace(-6, 6, 601, dtype=np.float32)  # normal scores, between which difficulty is interpolated
SHIFTS = np.linspace(-2.5, 2.5, 101)  # logits of what runs share, between which the given gain is interpolated
CELLS = 2**18  # answers of one cell made at once


class Cell(NamedTuple):
    """One group of images: mean accuracy of the control, clusters, score of its skin type."""

    accuracy: float
    clusters: int
    score: float = 0.0


class Effects(NamedTuple):
    """Standard deviations in logits, and likenesses from 0 to 1. concentration: a + b of the beta distribution.

    arms: of the difficulty of a photograph in both arms (correlation of normal scores); patient: of photographs of one
    patient. shared: share of the variance of arm × run and of its slope that all runs of a study share.
    generator, generator_slope: of the treated arm, shared by all runs.
    """

    concentration: float = 2.0
    arms: float = 0.8
    patient: float = 0.7
    run: float = 0.3
    arm_run: float = 0.2
    slope: float = 0.3
    shared: float = 0.0
    generator: float = 0.0
    generator_slope: float = 0.0


class Trial(NamedTuple):
    """One design. contrasts: weights of the cells, one row per hypothesis. given: the truth is that given what runs
    share, and `rejected` counts tests that reject it; else it is that over new draws of everything."""

    kind: str
    cells: tuple[Cell, ...]
    runs: int
    photographs: int
    contrasts: tuple[tuple[float, ...], ...]
    gain: float = 0.0  # of every cell before the effects of runs, as a proportion
    effects: Effects = Effects()
    correction: str = "holm"
    given: bool = False

    @property
    def described(self) -> dict[str, object]:
        """Columns that say what was simulated."""
        sizes = [cell.clusters for cell in self.cells]
        accuracy = float(np.average([cell.accuracy for cell in self.cells], weights=sizes))
        made: dict[str, object] = {"model": "beta", "study": self.kind, "images": self.photographs * sum(sizes)}
        made |= {"clusters": sum(sizes), "fewest": min(sizes), "photographs": self.photographs}
        return made | {"runs": self.runs, "accuracy": round(accuracy, 3), "gain": 100 * self.gain}

    def simulate(self, rng: np.random.Generator, sets: int) -> Iterator[tuple[list[Test], list[float | np.ndarray]]]:
        """Blocks of data sets: the tests of each hypothesis, and their truths."""
        block = max(1, CELLS // (self.runs * max(cell.clusters for cell in self.cells)))
        for start in range(0, sets, block):
            tables, held = differences(rng, min(block, sets - start), self)
            gains = [given_gain(cell, self, held) if self.given else mean_gain(cell, self) for cell in self.cells]
            tests, truths = [], []
            for weights in self.contrasts:
                used = [place for place, weight in enumerate(weights) if weight]
                tests.append(([tables[place] for place in used], [weights[place] for place in used]))
                truths.append(sum(weights[place] * gains[place] for place in used))
            yield tests, truths


def differences(rng: np.random.Generator, sets: int, trial: Trial) -> tuple[list[np.ndarray], np.ndarray]:
    """((sets, runs, clusters) means over photographs of right minus right, one per cell; what runs share).

    What runs share: (2 arms, level and slope, sets) in logits; the first arm is the treated one.
    """
    effects, runs = trial.effects, trial.runs

    def draw(*shape):
        return rng.standard_normal((sets, *shape), dtype=np.float32)

    held = np.stack([[draw() * sd for sd in pair] for pair in _held(effects)])
    own = np.sqrt(1 - effects.shared)
    common = effects.run * draw(runs)
    level = [common + own * effects.arm_run * draw(runs) + held[arm, 0][:, None] for arm in (0, 1)]
    slope = [own * effects.slope * draw(runs) + held[arm, 1][:, None] for arm in (0, 1)]
    tables = [_cell(draw, rng, cell, trial, level, slope) for cell in trial.cells]
    return tables, held


def _cell(draw, rng: np.random.Generator, cell: Cell, trial: Trial, level: list, slope: list) -> np.ndarray:
    """Differences of one cell; level, slope: (sets, runs) of each arm."""
    effects, photographs, right = trial.effects, trial.photographs, []
    likeness = np.sqrt([effects.patient, 1 - effects.patient, effects.arms, 1 - effects.arms]).astype(np.float32)
    same, own, both, apart = likeness

    def scores():
        return same * draw(1, 1, cell.clusters) + own * draw(photographs, 1, cell.clusters)

    of_both = both * scores()
    for arm in (0, 1):
        score = of_both + apart * scores()
        curve = difficulty(cell.accuracy + (trial.gain if arm == 0 else 0.0), effects.concentration)
        against = np.exp(-np.interp(score, GRID, curve)).astype(np.float32)  # odds of a wrong answer
        factor = np.exp(-(level[arm] + cell.score * slope[arm]))[:, :, None]
        count = np.zeros((*factor.shape[:2], cell.clusters), np.int8)
        for photograph in range(photographs):
            count += rng.random(count.shape, dtype=np.float32) * (1 + against[:, photograph] * factor) < 1
        right.append(count)
    return (right[0] - right[1]) / photographs


@cache
def difficulty(accuracy: float, concentration: float) -> np.ndarray:
    """Logit of the probability of a right answer at each normal score of GRID."""
    shape = accuracy * concentration, (1 - accuracy) * concentration
    return logit(np.clip(betaincinv(*shape, ndtr(GRID.astype(float))), 1e-9, 1 - 1e-9))


@cache
def accuracies(accuracy: float, concentration: float, variance: float) -> np.ndarray:
    """Expected accuracy at each of SHIFTS, over difficulty and normal effects of this variance [squared logits]."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    density = np.exp(-0.5 * GRID.astype(float) ** 2)
    values = difficulty(accuracy, concentration)[:, None] + np.sqrt(variance) * nodes
    by_shift = [density @ expit(values + shift) @ weights for shift in SHIFTS]
    return np.array(by_shift) / density.sum() / weights.sum()


def given_gain(cell: Cell, trial: Trial, held: np.ndarray) -> np.ndarray:
    """Expected gain in a cell given what the runs of each data set share, as `differences` returns it."""
    effects, expected = trial.effects, []
    variance = effects.run**2 + (1 - effects.shared) * (effects.arm_run**2 + (cell.score * effects.slope) ** 2)
    for arm, gain in enumerate((trial.gain, 0.0)):
        curve = accuracies(cell.accuracy + gain, effects.concentration, variance)
        expected.append(np.interp(held[arm, 0] + cell.score * held[arm, 1], SHIFTS, curve))
    return expected[0] - expected[1]


def mean_gain(cell: Cell, trial: Trial) -> float:
    """Expected gain in a cell over new draws of everything, what runs share included."""
    effects, expected = trial.effects, []
    for gain, (level, slope) in zip((trial.gain, 0.0), _held(effects), strict=True):
        variance = effects.run**2 + (1 - effects.shared) * (effects.arm_run**2 + (cell.score * effects.slope) ** 2)
        variance += level**2 + (cell.score * slope) ** 2
        curve = accuracies(cell.accuracy + gain, effects.concentration, variance)
        expected.append(float(np.interp(0.0, SHIFTS, curve)))
    return expected[0] - expected[1]


def _held(effects: Effects) -> list[tuple[float, float]]:
    """Standard deviations (level, slope) of what all runs share, treated arm first."""
    part = np.sqrt(effects.shared)
    both = (part * effects.arm_run, part * effects.slope)
    treated = (float(np.hypot(both[0], effects.generator)), float(np.hypot(both[1], effects.generator_slope)))
    return [treated, both]
