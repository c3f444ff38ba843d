"""From hypotheses to the arrays they are tested on: which arms, images and groups."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import TASKS

from .clusters import cluster_means, influence
from .hypotheses import Hypothesis
from .predictions import Block, blocks, find_arm, select

Arms = Mapping[str, Mapping[str, Any]]  # name → settings, as in `Hypotheses.arms`


class NoData(ValueError):
    """No image to test a hypothesis on: its row is marked as not estimable, whereas any other ValueError stops."""


class NotRun(KeyError):
    """The predictions hold no such arm or task: its row is marked as not run."""

    def __str__(self) -> str:
        return str(self.args[0])


class Parts(NamedTuple):
    """A sum of gains: for each group (runs, images) values, the images' clusters, and the group's weight."""

    values: list[np.ndarray]
    clusters: list[np.ndarray]
    weights: list[float]
    images: int  # distinct ones
    remarks: list[str]
    counted: str  # clusters | images, as `clusters.influence` takes it


class Side(NamedTuple):
    """One gain of the sum: (runs, images) differences of the block, and which images count."""

    block: Block
    differences: np.ndarray
    images: pd.DataFrame
    arms: tuple[int, int]


def as_blocks(predictions: pd.DataFrame | Mapping[str, Block]) -> Mapping[str, Block]:
    """The predictions as blocks, which many calls may share."""
    return blocks(predictions) if isinstance(predictions, pd.DataFrame) else predictions


def tasks_of(prepared: Mapping[str, Block]) -> list[str]:
    """The tasks that tables of every task show: those of the study, run or not, else those of the predictions.

    >>> tasks_of({"malignancy": None}), tasks_of({"top-1": None})
    (['condition', 'malignancy'], ['top-1'])
    """
    return list(TASKS) if set(prepared) <= set(TASKS) else sorted(prepared)


def block_of(prepared: Mapping[str, Block], where: Mapping) -> Block:
    """The block of an arm's task. NotRun where it was not run, ValueError where several were and none is named.

    >>> block_of({"condition": None}, {"task": "malignancy"})
    Traceback (most recent call last):
    skinsyn.stats.estimands.NotRun: task 'malignancy' was not run; the predictions hold ['condition']
    """
    if "task" not in where and len(prepared) > 1:
        raise ValueError(f"{dict(where)} names no task; the predictions hold {sorted(prepared)}")
    task = where.get("task", next(iter(prepared)))
    if task not in prepared:
        raise NotRun(f"task {task!r} was not run; the predictions hold {sorted(prepared)}")
    return prepared[task]


def arm_of(block: Block, where: Mapping) -> int:
    """The place of an arm in its block. NotRun where it was not run."""
    place = find_arm(block, where)
    if place is None:
        raise NotRun("no arm with " + ", ".join(f"{name} {value}" for name, value in where.items()))
    return place


def was_run(prepared: Mapping[str, Block], where: Mapping) -> bool:
    """Whether there is an arm with these settings."""
    try:
        arm_of(block_of(prepared, where), where)
    except NotRun:
        return False
    return True


def spread(prepared: Mapping[str, Block], one: Hypothesis, arms: Arms) -> list[Hypothesis]:
    """One hypothesis per value that its `by` names; `all` stands for those of the test images but unknown."""
    task = arms[one.terms[0][1]].get("task", next(iter(prepared)))
    images = prepared[task].images if task in prepared else None
    if images is None:
        return one.spread({})
    names = [column for column, wanted in one.by.items() if wanted == "all"]
    known = {column: sorted(set(images[column]) - {"unknown"}, key=str) for column in names}
    return one.spread({column: values or ["all"] for column, values in known.items()})  # none known: a row says so


def parts(prepared: Mapping[str, Block], one: Hypothesis, arms: Arms) -> Parts:
    """What a hypothesis without `by` is estimated from.

    Raises NotRun where an arm was not run, ValueError where settings name several arms, NoData where no image is left.
    """
    for _, name in one.terms:
        arm_of(block_of(prepared, arms[name]), arms[name])
    signed = [(pair, one.where) for pair in one.pairs]
    signed += [((second, first), {**one.where, **one.against}) for first, second in one.pairs if one.against]
    sides = [_side(prepared, arms[first], arms[second], where) for (first, second), where in signed]
    sides, copies = _without_copies(sides)
    classes: list[str | None] = [*_classes(sides)] if one.average == "macro" else [None]
    values, clusters, used, lonely = [], [], set(), set()
    for _, differences, images, _ in sides:
        for label in classes:
            members = images if label is None else images[images["y_true"] == label]
            values.append(differences[:, members.index])
            clusters.append(members["cluster_id"].to_numpy())
            used |= set(members["image_id"])
            if members["cluster_id"].nunique() == 1 and label is not None:
                lonely.add(str(label))
    absent = sorted(set().union(*(side.block.classes for side in sides)) - set(classes)) if classes != [None] else []
    named = {"y_true", "condition"} & {*one.where, *one.against}
    remarks = [f"macro average without {', '.join(absent)}: no test image"] if absent and not named else []
    remarks += copies
    if lonely and len(classes) > 1:
        remarks.append(f"one cluster only in {', '.join(sorted(lonely))}")
    return Parts(values, clusters, [1 / len(classes)] * len(values), len(used), remarks, one.count)


def tables(prepared: Mapping[str, Block], one: Hypothesis, arms: Arms) -> tuple[list[np.ndarray], list[float]]:
    """(runs × clusters tables, weights) of a hypothesis, as `mrmc.paired_gain` and `power.components` take them."""
    sums = parts(prepared, one, arms)
    return influence(sums.values, sums.clusters, sums.weights, sums.counted)


def distinct_runs(answered: Iterable[tuple[Block, Iterable[int]]]) -> list[int]:
    """Positions of the runs that repeat no earlier one in all their answers: a copy is no second training run.

    answered: blocks and the arms looked at, on all their images. Equal answers of unequal probabilities are no copies.

    >>> frame = pd.DataFrame({"arm": "a", "run": [0, 1, 2], "image_id": "i", "cluster_id": "i", "condition": "x"})
    >>> frame = frame.assign(fst_group="I-II", task="x", y_true="x", correct=1, p_x=1.0)
    >>> distinct_runs([(as_blocks(frame)["x"], [0])])
    [0]
    """
    pairs = [(array, arms) for block, arms in answered for array in (block.correct, block.p)]
    values = [array[sorted(set(arms))] for array, arms in pairs if array is not None and array.size]
    first: dict[bytes, int] = {}
    for run in range(values[0].shape[1]):
        first.setdefault(b"".join(value[:, run].tobytes() for value in values), run)
    return list(first.values())


def _without_copies(sides: list[Side]) -> tuple[list[Side], list[str]]:
    """The sides with each distinct run once, and a remark on those left out."""
    runs = sides[0].block.runs
    kept = distinct_runs([(side.block, side.arms) for side in sides])
    if len(kept) == len(runs) or len({len(side.block.runs) for side in sides}) > 1:  # unequal runs are refused later
        return sides, []
    copies = ", ".join(str(run) for place, run in enumerate(runs) if place not in kept)
    remark = f"{len(kept)} distinct of {len(runs)} runs: {copies} repeat earlier ones and are left out"
    return [side._replace(differences=side.differences[kept]) for side in sides], [remark]


def contributions(summands: Parts) -> pd.Series:
    """What each cluster adds to the estimate (mean over runs), by cluster id; swapping its arms flips the sign.

    >>> one = Parts([np.array([[1.0, 0.0, 1.0]])], [np.array(["a", "a", "b"])], [1.0], 3, [], "clusters")
    >>> contributions(one).to_dict()
    {'a': 0.25, 'b': 0.5}
    """
    total = pd.Series(dtype=float)
    groups = zip(summands.values, summands.clusters, summands.weights, strict=True)
    for group, (values, clusters, weight) in enumerate(groups):
        names, means, share = cluster_means(values, clusters, summands.counted, group)
        total = total.add(pd.Series(weight * share * means.mean(0), index=names), fill_value=0.0)
    return total


def _side(prepared: Mapping[str, Block], first: Mapping, second: Mapping, where: Mapping) -> Side:
    block = block_of(prepared, first)
    if block_of(prepared, second) is not block:
        raise ValueError(f"two arms of a gain differ in their task: {dict(first)} and {dict(second)}")
    images = select(block.images, **where)
    if images.empty:
        raise NoData(f"no test image with {dict(where)}")
    arms = arm_of(block, first), arm_of(block, second)
    return Side(block, block.correct[arms[0]] - block.correct[arms[1]], images, arms)


def _classes(sides: list[Side]) -> list[str]:
    """The classes that a macro average is over: those with images on all sides, so that like is compared with like."""
    classes = sorted(set.intersection(*(set(side.images["y_true"]) for side in sides)), key=str)
    if not classes:
        raise NoData("no class has images on both sides of the difference")
    return classes
