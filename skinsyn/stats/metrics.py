"""Malignant against benign by group: metrics of two arms and their change, with intervals for new runs and patients."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import calibration, fairness
from .auc import placements
from .clusters import NOT_ESTIMABLE, too_few
from .intervals import of_means, once, ratio

METRICS = ("tpr", "fpr", "ppv", "auroc", "brier", "citl", "slope")
OF_CLASSES = {"tpr": (1,), "fpr": (0,), "auroc": (1, 0)}  # whose images a metric is over; the others: all images
PROPORTIONS = ("tpr", "fpr", "ppv", "auroc", "brier")
RIGHT = {"citl": 0.0, "slope": 1.0}  # what a calibrated model has: the farthest from it is the worst
HIGHER_IS_WORSE = ("fpr", "brier", *RIGHT)
UNDEFINED = {
    "ppv": "no image was called malignant",
    "slope": "in a run, scores separate the classes or are all the same",
}


def by_group(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    arms: Sequence[str] = ("with", "without"),
    min_images: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """METRICS of each arm by group and overall, and the change between arms, with MRMC intervals (Hillis 2007).

    y_true: 1 is positive. scores: (arms, runs, images) probabilities of it; thresholds: (arms, runs), chosen on
    validation. Of tpr, fpr and auroc each cluster counts once within a class, of the others once in all. Metrics are
    means over runs, but ppv: calls that were right over calls, summed over runs, so that a run without a call takes
    part. citl is calibration in the large and slope the calibration slope, see `calibration`. Intervals of PROPORTIONS
    are on the logit scale, those of changes are not. Columns: group, arm (of `arms`, or "change" where there are two),
    metric, estimate, low, high, worst, images, positives, clusters, runs, flags. A class absent from a group, fewer
    than `min_images` or one run: flagged, without an interval or an estimate.
    Raises ValueError on NaN, scores outside 0..1, or shapes that do not fit.

    >>> scores = np.array([[[0.9, 0.1, 0.2, 0.7]] * 2] * 2)
    >>> table = by_group([1, 0, 1, 0], scores, np.full((2, 2), 0.5), ["I", "I", "VI", "VI"], range(4))
    >>> table.loc[table["metric"] == "auroc", "estimate"].unique().tolist()
    [0.75, 0.0, 1.0]
    """
    y, scores, cut = np.asarray(y_true), np.asarray(scores, float), np.asarray(thresholds, float)
    if scores.ndim != 3 or (*cut.shape, len(y)) != scores.shape or len(arms) != len(scores):
        raise ValueError(f"{len(arms)} arms, scores {scores.shape}, thresholds {cut.shape}, {len(y)} labels do not fit")
    if not np.isfinite(scores).all() or (scores < 0).any() or (scores > 1).any() or not np.isin(y, (0, 1)).all():
        raise ValueError("scores must be probabilities without NaN, and y_true 0 or 1")
    groups, clusters, rows = np.asarray(group_ids).astype(str), np.asarray(cluster_ids).astype(str), []
    for name in ["all", *sorted(set(groups) - {"all"})]:
        members = np.arange(len(y)) if name == "all" else np.flatnonzero(groups == name)
        truth, ids = y[members], clusters[members]
        sizes = {"images": len(members), "positives": int(truth.sum()), "clusters": len(set(ids))}
        sizes |= {"runs": scores.shape[1]}
        reason = too_few(sizes["runs"], sizes["clusters"])
        if sizes["images"] < min_images:
            reason = f"{NOT_ESTIMABLE}: {sizes['images']} images, fewer than the {min_images} required"
        of_arms = [linearised(truth, s[:, members], c, ids) for s, c in zip(scores, cut, strict=True)]
        columns = dict(zip(arms, of_arms, strict=True))
        if len(arms) == 2:
            columns["change"] = {m: [a - b for a, b in zip(of_arms[0][m], of_arms[1][m], strict=True)] for m in METRICS}
        for column, values in columns.items():
            for metric in METRICS:
                row = {"group": name, "arm": column, "metric": metric, **sizes, "worst": not reason}
                one = _estimate(values[metric], truth, ids, metric, column != "change", level)
                rows.append(row | one | ({"low": np.nan, "high": np.nan, "flags": reason} if reason else {}))
    order = "group arm metric estimate low high worst images positives clusters runs flags"
    return _mark_worst(pd.DataFrame(rows)).reindex(columns=order.split())


def gaps(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    within: npt.ArrayLike,
    arms: Sequence[str] = ("with", "without"),
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Hardt, Price and Srebro 2016, Definition 2.1: range over groups of TPR, of FPR, and the larger of both ranges.

    Rates are those of `by_group`: each cluster counts once within group and class. Each gap stands beside its null
    (skin type permuted among clusters within `within`, e.g. condition): arm, metric, gap, null_mean, null_high (the
    null's quantile at `level`), p, fixed, flags; see `fairness.gap_null`. The equalised odds difference has no null of
    its own; see those of its parts.

    >>> scores = np.array([[[0.9, 0.1, 0.2, 0.7]], [[0.9, 0.1, 0.8, 0.3]]])
    >>> table = gaps([1, 0, 1, 0], scores, np.full((2, 1), 0.5), ["I", "I", "VI", "VI"], range(4), ["x"] * 4, draws=19)
    >>> table.columns.tolist()[:3]
    ['arm', 'metric', 'gap']
    """
    y, groups, within = np.asarray(y_true), np.asarray(group_ids).astype(str), np.asarray(within).astype(str)
    scores, thresholds, clusters = np.asarray(scores), np.asarray(thresholds), np.asarray(cluster_ids).astype(str)
    rows: list[dict[str, str | float]] = []
    for number, arm in enumerate(arms):
        called, largest = (scores[number] >= thresholds[number][:, None]).astype(float), []
        for metric, truth in (("tpr", 1), ("fpr", 0)):
            members = np.flatnonzero((y == truth) & (groups != "unknown"))
            row = {"arm": arm, "metric": f"{metric} gap"}
            if len(set(groups[members])) < 2:
                rows.append({**row, "flags": f"{NOT_ESTIMABLE}: fewer than two groups with y = {truth}"})
                continue
            ids = groups[members], clusters[members], within[members]
            null = fairness.gap_null(called[:, members], *ids, draws, seed, level)
            largest.append(null.gap)
            rows.append({**row, **null._asdict(), "flags": ""})
        flags = "" if len(largest) == 2 else f"{NOT_ESTIMABLE}: a rate is missing"
        gap = max(largest) if len(largest) == 2 else np.nan
        rows.append({"arm": arm, "metric": "equalised odds difference", "gap": gap, "flags": flags})
    return pd.DataFrame(rows).reindex(columns=["arm", "metric", *fairness.GapNull._fields, "flags"])


def linearised(
    y: np.ndarray, scores: np.ndarray, thresholds: np.ndarray, clusters: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """Each metric as (runs, images) values per class of OF_CLASSES, or of all images, whose means sum to the metric.

    scores: (runs, images), thresholds: (runs,). Empty where a class is absent, NaN where a metric is undefined.

    >>> values = linearised(np.array([1, 0]), np.array([[0.75, 0.5]]), np.array([0.6]), np.array(["a", "b"]))
    >>> {metric: float(sum(part.mean() for part in values[metric])) for metric in ("tpr", "fpr", "ppv", "auroc")}
    {'tpr': 1.0, 'fpr': 0.0, 'ppv': 1.0, 'auroc': 1.0}
    """
    called, weight = (scores >= thresholds[:, None]).astype(float), once(clusters)
    values = {"tpr": [called[:, y == 1]], "fpr": [called[:, y == 0]]}
    values["ppv"] = [ratio(called * y, called, weight)]
    values["brier"] = [(scores - y) ** 2]
    values["citl"] = [calibration.in_the_large(y, scores)]
    values["slope"] = [calibration.slope(y, scores, weight)]
    values["auroc"] = [np.empty((len(scores), 0))] * 2
    if 0 < y.sum() < len(y):
        of_class = [once(clusters[y == truth]) for truth in (1, 0)]
        v10, v01 = placements(scores[:, y == 1], scores[:, y == 0], *of_class)
        values["auroc"] = [v10, v01 - (v10 @ of_class[0])[:, None]]
    return values


def _estimate(
    values: list[np.ndarray], y: np.ndarray, clusters: np.ndarray, metric: str, one_arm: bool, level: float
) -> dict[str, float | str]:
    """Estimate, interval and flags of a metric from its linearised values."""
    row = dict.fromkeys(("estimate", "low", "high"), np.nan)
    if not all(part.shape[1] for part in values) or not 0 < y.sum() < len(y) and metric in UNDEFINED:
        return row | {"flags": f"{NOT_ESTIMABLE}: a class is absent"}
    if not all(np.isfinite(part).all() for part in values):
        return row | {"flags": f"{NOT_ESTIMABLE}: {UNDEFINED[metric]}"}
    classes = OF_CLASSES.get(metric)
    ids = [clusters] if classes is None else [clusters[y == truth] for truth in classes]
    found = of_means(values, ids, [1.0] * len(ids), level, one_arm and metric in PROPORTIONS)
    return found._asdict() | {"flags": "; ".join(found.flags)}


def _mark_worst(table: pd.DataFrame) -> pd.DataFrame:
    """True in `worst` for the worst known group of each arm and metric, of those that had enough data."""
    known = table[~table["group"].isin(["all", "unknown"]) & (table["arm"] != "change") & table["estimate"].notna()]
    known, table["worst"] = known[known["worst"]], False
    for (_, metric), rows in known.groupby(["arm", "metric"]):
        distance = (rows["estimate"] - RIGHT[metric]).abs() if metric in RIGHT else rows["estimate"]
        worst = distance.max() if metric in HIGHER_IS_WORSE else distance.min()
        table.loc[rows.index[distance == worst], "worst"] = len(rows) > 1
    return table
