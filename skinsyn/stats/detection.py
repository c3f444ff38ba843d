"""Finding the positive class: the task of two classes that error rates, AUROC and calibration are about."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import estimands
from .predictions import Block, blocks

__all__ = ["Detection", "of_arms", "task_of"]

USUAL = "malignancy"


class Detection(NamedTuple):
    """What some arms say about the positive class of one task."""

    block: Block
    truth: np.ndarray  # (images,) 1 where it is positive
    scores: np.ndarray  # (arms, runs, images), probability of the positive class
    thresholds: np.ndarray  # (arms, runs)


def task_of(prepared: Mapping[str, Block]) -> str:
    """Name of the task in which a positive class is to be found: `malignancy`, or the first other such task.

    >>> task_of({})
    'malignancy'
    """
    found = [name for name, block in prepared.items() if block.positive]
    return USUAL if USUAL in found or not found else found[0]


def of_arms(prepared: pd.DataFrame | Mapping[str, Block], arms: Sequence[Mapping[str, Any]]) -> Detection:
    """The scores of these arms; their own task, if they name one, is replaced by that of `task_of`.

    Raises NotRun where there is no such task, an arm was not run on it, or only right and wrong answers are known.

    >>> table = pd.DataFrame({"image_id": ["i", "j"], "y_true": ["0", "1"], "p_0": [0.9, 0.4], "p_1": [0.1, 0.6]})
    >>> about = dict.fromkeys(("condition", "fst_group", "task"), "x") | {"run": 0, "correct": 1}
    >>> table = table.assign(arm="a", cluster_id=["i", "j"], **about)
    >>> of_arms(table, [{"arm": "a"}]).truth.tolist()
    [0, 1]
    """
    prepared = blocks(prepared) if isinstance(prepared, pd.DataFrame) else prepared
    task = task_of(prepared)
    block = estimands.block_of(prepared, {"task": task})
    if not block.positive:
        raise estimands.NotRun(f"task {task!r} names no positive class among {', '.join(block.classes)}")
    at = [estimands.arm_of(block, {**arm, "task": task}) for arm in arms]
    if block.p is None:
        raise estimands.NotRun(f"task {task!r} has no probabilities (columns p_<class>), only right and wrong answers")
    truth = block.images["y_true"].eq(block.positive).to_numpy(int)
    return Detection(block, truth, block.p[at, :, :, block.classes.index(block.positive)], block.threshold[at])
