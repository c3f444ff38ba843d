"""Skin-type groups of a task's test images, the answers of two arms on them, and the contrasts of groups."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import estimands
from .mrmc import Gain, gain_from_groups
from .predictions import Block, groups_of

UNKNOWN = "unknown"
QUANTITIES = {
    "gain": (-1.0, 1.0),
    "accuracy of treatment": (0.0, 1.0),
    "accuracy of control": (0.0, 1.0),
}  # their range


class Answers(NamedTuple):
    """One task: its images' table, and quantity → (runs, images) values, whose mean over a group is reported."""

    images: pd.DataFrame
    values: dict[str, np.ndarray]


def answers(prepared: Mapping[str, Block], treatment: Mapping, control: Mapping, task: str) -> Answers:
    """What both arms answered in a task. Raises estimands.NotRun where the task or an arm was not run."""
    named = [{**arm, "task": task} for arm in (treatment, control)]
    block = estimands.block_of(prepared, named[0])
    first, second = (block.correct[estimands.arm_of(block, arm)] for arm in named)
    return Answers(block.images, dict(zip(QUANTITIES, (first - second, first, second), strict=True)))


def known_groups(group_ids: pd.Series) -> list[str]:
    """The groups that occur, in the order of `predictions.groups_of`, without unknown.

    >>> known_groups(pd.Series(["V-VI", "unknown", "I-II"]))
    ['I-II', 'V-VI']
    """
    present = set(group_ids.astype(str))
    return [name for name in groups_of(group_ids) if name in present]


def contrasts_of(groups: list[str]) -> dict[str, dict[str, float]]:
    """Name → weight by group: each group alone, then each other group minus the first.

    >>> list(contrasts_of(["I-II", "V-VI"]))
    ['I-II', 'V-VI', 'V-VI minus I-II']
    """
    alone = {name: {name: 1.0} for name in groups}
    return alone | {f"{name} minus {groups[0]}": {name: 1.0, groups[0]: -1.0} for name in groups[1:]}


def mean_of(
    values: np.ndarray,
    members: Mapping[str, np.ndarray],
    clusters: np.ndarray,
    weights: Mapping[str, float],
    level: float,
) -> Gain:
    """Hillis 2007: the weighted sum over groups of the means of (runs, images) values, runs and clusters random.

    members: group → positions of its images; a cluster counts once in each group.

    >>> mean_of(np.array([[1.0, 0.0]] * 2), {"I": np.array([0, 1])}, np.array(["a", "b"]), {"I": 1.0}, 0.95).estimate
    0.5
    """
    used = [name for name in weights if weights[name] != 0]
    parts = [values[:, members[name]] for name in used], [clusters[members[name]] for name in used]
    return gain_from_groups(*parts, [float(weights[name]) for name in used], level)
