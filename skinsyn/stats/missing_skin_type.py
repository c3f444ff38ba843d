"""Skin type that is missing: for whom, and what the groups' accuracies and gains could be, whoever they are.

An image of unknown type may belong to any group. The bounds assume nothing about why a type is missing (Manski): the
lowest and the highest mean that a group can have over all ways to give the unknown images to it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from . import estimands, skin_types
from .clusters import NOT_ESTIMABLE, cluster_means
from .mrmc import Gain
from .predictions import Block
from .skin_types import UNKNOWN

UNEVEN = 0.1  # a difference between conditions in the share of unknown types that is flagged


class Bounds(NamedTuple):
    """Worst-case bounds of a mean, and the ends of an interval that covers the mean wherever it lies between them."""

    lower: float
    upper: float
    low: float
    high: float
    flags: tuple[str, ...] = ()


def missingness(images: pd.DataFrame) -> pd.DataFrame:
    """Images of unknown skin type by condition: condition, images, unknown, share, flags; the last row is of all.

    images: condition, fst_group. Conditions whose shares differ by more than UNEVEN are flagged: then the images of
    known type are no random sample of all.

    >>> images = pd.DataFrame({"condition": ["a", "a", "b", "b"], "fst_group": ["unknown", "I-II", "I-II", "V-VI"]})
    >>> missingness(images)[["condition", "unknown", "share"]].values.tolist()
    [['a', 1, 0.5], ['b', 0, 0.0], ['all', 1, 0.25]]
    """
    unknown = images["fst_group"].eq(UNKNOWN)
    table = unknown.groupby(images["condition"]).agg(images="size", unknown="sum").reset_index()
    whole = {"condition": "all", "images": len(images), "unknown": int(unknown.sum())}
    table = pd.concat([table, pd.DataFrame([whole])], ignore_index=True)
    table["share"] = table["unknown"] / table["images"]
    apart = float(np.ptp(table["share"][:-1]))
    flag = f"the share differs by {apart:.2f} between conditions: missingness depends on the condition"
    return table.assign(flags=flag if apart > UNEVEN else "")


def bounds(
    values: np.ndarray,
    group_ids: Sequence[str] | np.ndarray | pd.Series,
    cluster_ids: Sequence | np.ndarray | pd.Series,
    weights: Mapping[str, float],
    limits: tuple[float, float] = (-1.0, 1.0),
    level: float = 0.95,
) -> Bounds:
    """Horowitz and Manski 1998, section 3 (a covariate is missing), with the interval of Imbens and Manski 2004, eq. 7.

    values: (runs, images) within `limits`. group_ids: "unknown" where missing. weights: group → contrast weight, e.g.
    {"V-VI": 1, "I-II": -1}. The unknown clusters that raise (lower) a group's mean most are given to it, whole; with
    several groups each end takes the worst case of every group, which is an outer bound where the same cluster is given
    to two. Runs and clusters are random (Hillis 2007). Which of the unknown are given follows their observed answers,
    so that the bounds are too wide rather than too narrow.
    Raises ValueError where a group with a weight has no image and none is unknown.

    >>> answers = np.array([[1.0, 0.0, 1.0, 0.0]] * 2)
    >>> bounds(answers, ["I", "I", "unknown", "unknown"], list("abcd"), {"I": 1.0})[:2]
    (0.3333333333333333, 0.6666666666666666)
    """
    groups, clusters = np.asarray(group_ids).astype(str), np.asarray(cluster_ids).astype(str)
    ends = [_end(values, groups, clusters, weights, sign, level) for sign in (-1.0, 1.0)]
    spread, df = [], np.inf
    for gain, limit in zip(ends, limits, strict=True):
        at_limit = len(weights) == 1 and np.isclose(gain.estimate, limit)
        spread.append(0.0 if at_limit and not gain.estimable and len(values) > 1 else gain.se)
        df = min(df, gain.df if np.isfinite(gain.df) else np.inf)
    lower, upper = ends[0].estimate, ends[1].estimate
    if not np.isfinite(spread).all():
        flags = [flag for gain in ends if not gain.estimable for flag in gain.flags]
        return Bounds(lower, upper, np.nan, np.nan, tuple(dict.fromkeys(flags)))
    reach = _imbens_manski(upper - lower, max(spread), df, level)
    floor, ceiling = (
        sum(max(weight * here, weight * there, key=lambda end: sign * end) for weight in weights.values())
        for here, there, sign in ((*limits, -1), (*limits, 1))
    )
    low, high = max(lower - reach * spread[0], floor), min(upper + reach * spread[1], ceiling)
    kept = [flag for gain in ends for flag in gain.flags if not flag.startswith(NOT_ESTIMABLE)]
    return Bounds(lower, upper, float(low), float(high), tuple(dict.fromkeys(kept)))


def table(
    prepared: Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    tasks: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Gain, both arms' accuracies and gaps by skin-type group [points], with their worst-case bounds.

    treatment, control: settings; their task is replaced by each of `tasks` (None: all). Columns: task, quantity, group,
    estimate (images of known type), at_random (types missing at random within condition), lower, upper, low, high
    (interval of the bounds), images (of known type in the group), unknown, runs, flags.
    """
    rows: list[dict] = []
    for task in estimands.tasks_of(prepared) if tasks is None else tasks:
        try:
            images, values = skin_types.answers(prepared, treatment, control, task)
        except estimands.NotRun as missing:
            rows.append({"task": task, "quantity": "", "group": "", "flags": f"not run: {missing}"})
            continue
        groups = skin_types.known_groups(images["fst_group"])
        if not groups:
            flag = f"{NOT_ESTIMABLE}: skin type is unknown for all images"
            rows.append({"task": task, "quantity": "", "group": "", "unknown": len(images), "flags": flag})
        for quantity, limits in skin_types.QUANTITIES.items():
            for name, weights in skin_types.contrasts_of(groups).items():
                row = _row(values[quantity], images, weights, limits, level)
                rows.append({"task": task, "quantity": quantity, "group": name, **row})
    order = "task quantity group estimate at_random lower upper low high images unknown runs flags"
    return pd.DataFrame(rows).reindex(columns=order.split()).fillna({"images": 0, "unknown": 0, "runs": 0})


def at_random(values: np.ndarray, images: pd.DataFrame, group: str) -> float:
    """Mean of a group if types were missing at random within condition: each condition with the group's expected share.

    values: (runs, images). images: condition, fst_group, cluster_id. NaN where the group was never seen, or a condition
    has no image of known type.

    >>> images = pd.DataFrame({"condition": list("aabb"), "cluster_id": range(4)})
    >>> images["fst_group"] = ["I", "unknown", "I", "V"]
    >>> round(at_random(np.array([[1.0, 0.0, 0.0, 1.0]]), images, "I"), 3)
    0.667
    """
    total = weighted = 0.0
    for _, part in images.groupby("condition"):
        known, own = part[part["fst_group"] != UNKNOWN], part[part["fst_group"] == group]
        if known.empty:
            return float("nan")
        share = own["cluster_id"].nunique() / known.groupby("fst_group")["cluster_id"].nunique().sum()
        if share:
            expected = share * part["cluster_id"].nunique()
            _, means, counts = cluster_means(values[:, own.index], own["cluster_id"], "clusters", 0)
            total, weighted = total + expected, weighted + expected * float((means @ counts).mean())
    return float(weighted / total) if total else float("nan")


def _row(values: np.ndarray, images: pd.DataFrame, weights: Mapping, limits: tuple[float, float], level: float) -> dict:
    ids, clusters = images["fst_group"].to_numpy(str), images["cluster_id"].to_numpy(str)
    members = {name: np.flatnonzero(ids == name) for name in weights}
    known = skin_types.mean_of(values, members, clusters, weights, level)
    found = bounds(values, ids, clusters, weights, limits, level)
    random = sum(weight * at_random(values, images, name) for name, weight in weights.items())
    points = {"estimate": known.estimate, "at_random": random} | found._asdict()
    flags, unknown = list(points.pop("flags")), int((ids == UNKNOWN).sum())
    if not unknown:
        flags.append("no type is missing: the bounds are the estimate")
    row: dict = {name: 100 * float(value) for name, value in points.items()}
    row |= {"images": int(np.isin(ids, list(weights)).sum()), "unknown": unknown, "runs": len(values)}
    return row | {"flags": "; ".join(flags)}


def _end(
    values: np.ndarray,
    groups: np.ndarray,
    clusters: np.ndarray,
    weights: Mapping[str, float],
    sign: float,
    level: float,
) -> Gain:
    """The contrast at its lowest (sign -1) or highest (1) over the ways to give the unknown clusters."""
    members = {}
    for name, weight in weights.items():
        known = np.flatnonzero(groups == name)
        members[name] = np.append(known, _given(values, groups, clusters, known, sign * np.sign(weight)))
        if not len(members[name]):
            raise ValueError(f"group {name!r} has no image, and no skin type is unknown")
    return skin_types.mean_of(values, members, clusters, weights, level)


def _given(values: np.ndarray, groups: np.ndarray, clusters: np.ndarray, known: np.ndarray, sign: float) -> np.ndarray:
    """Positions of the unknown images that raise (sign 1) or lower (-1) the mean of the known ones the most."""
    unknown = np.flatnonzero(groups == UNKNOWN)
    if not len(unknown):
        return unknown
    names, means, _ = cluster_means(values[:, unknown], clusters[unknown], "clusters", 0)
    score = sign * means.mean(0)
    order = np.argsort(-score, kind="stable")
    start, size = 0.0, 0
    if len(known):
        of_known = cluster_means(values[:, known], clusters[known], "clusters", 0).means.mean(0)
        start, size = sign * float(of_known.sum()), len(of_known)
    least = 0 if size else 1
    sums = np.append(start, start + np.cumsum(score[order]))[least:]
    best = least + int(np.argmax(sums / (size + np.arange(least, len(order) + 1))))
    return unknown[np.isin(clusters[unknown], names[order[:best]])]


def _imbens_manski(width: float, se: float, df: float, level: float) -> float:
    """c with F(c + width/se) - F(-c) = level, F Student's: from two-sided at width 0 to one-sided at a large one."""
    two_sided, one_sided = float(stats.t.ppf((1 + level) / 2, df)), float(stats.t.ppf(level, df))
    if width <= 0 or se == 0:
        return two_sided if width <= 0 else one_sided

    def excess(c: float) -> float:
        return float(stats.t.cdf(c + width / se, df) - stats.t.cdf(-c, df) - level)

    return float(optimize.brentq(excess, one_sided - 1e-9, two_sided + 1e-9))
