"""From settings of arms to the arrays a hypothesis is tested on: which arms, images and groups."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from .clusters import cluster_means, influence
from .predictions import Block, blocks, find_arm, select


class NoData(ValueError):
    """No image to test a hypothesis on: its row is marked as not estimable, whereas any other ValueError stops."""


class Parts(NamedTuple):
    """A signed sum of gains: for each group (runs, images) values, the images' clusters, and the group's weight."""

    values: list[np.ndarray]
    clusters: list[np.ndarray]
    weights: list[float]
    images: int  # distinct ones
    remarks: list[str]
    count: str  # clusters | images, as `clusters.influence` takes it


def as_blocks(predictions: pd.DataFrame | Mapping[str, Block]) -> Mapping[str, Block]:
    """The predictions as blocks, which many calls may share."""
    return blocks(predictions) if isinstance(predictions, pd.DataFrame) else predictions


def block_of(prepared: Mapping[str, Block], where: Mapping) -> Block:
    """The block of an arm's task. KeyError where it was not run, ValueError where several were and none is named."""
    if "task" not in where and len(prepared) > 1:
        raise ValueError(f"{dict(where)} names no task; the predictions hold {sorted(prepared)}")
    task = where.get("task", next(iter(prepared)))
    if task not in prepared:
        raise KeyError(f"task {task!r} was not run; the predictions hold {sorted(prepared)}")
    return prepared[task]


def arm_of(block: Block, where: Mapping) -> int:
    """The place of an arm in its block. KeyError where it was not run."""
    found = find_arm(block, where)
    if found is None:
        raise KeyError("no arm with " + ", ".join(f"{name} {value}" for name, value in where.items()))
    return found


def was_run(prepared: Mapping[str, Block], where: Mapping) -> bool:
    """Whether there is an arm with these settings."""
    try:
        arm_of(block_of(prepared, where), where)
    except KeyError:
        return False
    return True


def terms(hypothesis: Mapping) -> list[tuple[float, Mapping]]:
    """The signed gains of a declared hypothesis: its own, and minus the one that `minus` describes.

    >>> [sign for sign, _ in terms({"treatment": "a", "control": "b", "minus": {"where": {}}})]
    [1.0, -1.0]
    """
    minus = hypothesis.get("minus")
    return [(1.0, hypothesis), *([(-1.0, {**hypothesis, **minus})] if minus else [])]


def parts(prepared: Mapping[str, Block], signed: list[tuple[float, Mapping]]) -> Parts:
    """What a signed sum of gains is estimated from. Each term: treatment, control, where, average, count.

    Raises KeyError where an arm was not run, ValueError where a filter names several arms, NoData where it leaves no
    image.
    """
    sides = []
    for sign, term in signed:
        block = block_of(prepared, term["treatment"])
        if block_of(prepared, term["control"]) is not block:
            raise ValueError(f"treatment and control differ in their task: {term['treatment']} and {term['control']}")
        values = block.correct[arm_of(block, term["treatment"])] - block.correct[arm_of(block, term["control"])]
        images = select(block.images, **term["where"])
        if images.empty:
            raise NoData(f"no test image with {dict(term['where'])}")
        sides.append((sign, block, values, images))
    groups, remarks = _groups(sides, signed)
    values, clusters, weights, used, lonely = [], [], [], set(), set()
    for sign, _, difference, images in sides:
        for name in groups:
            members = images if name is None else images[images["y_true"] == name]
            values.append(difference[:, members.index])
            clusters.append(members["cluster_id"].to_numpy())
            weights.append(sign / len(groups))
            used |= set(members["image_id"])
            if members["cluster_id"].nunique() == 1 and name is not None:
                lonely.add(str(name))
    if lonely and len(groups) > 1:
        remarks.append(f"one cluster only in {', '.join(sorted(lonely))}")
    return Parts(values, clusters, weights, len(used), remarks, signed[0][1].get("count", "clusters"))


def tables(prepared: Mapping[str, Block], hypothesis: Mapping) -> tuple[list[np.ndarray], list[float]]:
    """(runs × clusters tables, weights) of a hypothesis, as `mrmc.paired_gain` and `power.components` take them."""
    found = parts(prepared, terms(hypothesis))
    return influence(found.values, found.clusters, found.weights, found.count)


def contributions(found: Parts) -> pd.Series:
    """What each cluster adds to the estimate (mean over runs), by cluster id; swapping its arms flips the sign."""
    total = pd.Series(dtype=float)
    for group, (values, clusters, weight) in enumerate(zip(found.values, found.clusters, found.weights, strict=True)):
        names, means, share = cluster_means(values, clusters, found.count, group)
        total = total.add(pd.Series(weight * share * means.mean(0), index=names), fill_value=0.0)
    return total


def _groups(sides: list[tuple], signed: list[tuple[float, Mapping]]) -> tuple[list, list[str]]:
    """(classes to average over, or [None] for one group; remarks)."""
    average = signed[0][1]["average"]
    if average not in ("macro", "micro"):
        raise ValueError(f"average must be 'macro' or 'micro', not {average!r}")
    if average == "micro":
        return [None], []
    groups = sorted(set.intersection(*(set(images["y_true"]) for *_, images in sides)), key=str)
    absent = sorted(set().union(*(block.classes for _, block, *_ in sides)) - set(groups))
    if not groups:
        raise NoData("no class has images on both sides of the difference")
    remarks = []
    if absent and not any({"y_true", "condition"} & set(term["where"]) for _, term in signed):
        remarks.append(f"macro average without {', '.join(absent)}: no test image")
    return groups, remarks
