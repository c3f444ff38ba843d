"""Malignant against benign by group: metrics of two arms and their change, with pigeonhole-bootstrap intervals."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import bootstrap, fairness
from .clusters import NOT_ESTIMABLE, too_few

METRICS = ("tpr", "fpr", "ppv", "auroc", "brier", "ece")
HIGHER_IS_WORSE = ("fpr", "brier", "ece")


def by_group(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    arms: Sequence[str] = ("with", "without"),
    min_images: int = 10,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    bins: int = 10,
) -> pd.DataFrame:
    """Owen 2007, pigeonhole bootstrap: METRICS of each arm by group and overall, and the change between arms.

    y_true: 1 is positive. scores: (arms, runs, images) probabilities of it; thresholds: (arms, runs), chosen on
    validation. Runs and clusters are resampled together, clusters within group × class, where each counts once.
    Metrics are averaged over runs; ECE is that of Naeini, Cooper and Hauskrecht 2015 with bins of equal mass. Columns:
    group, arm (of `arms`, or "change" where there are two), metric, estimate, low, high (proportions), chance (of ece:
    its expectation under perfect calibration with as many images), worst, images, positives, clusters, runs, flags. A
    class absent from a group, fewer than `min_images` or one run: flagged, without an interval or an estimate.
    Raises ValueError on NaN, scores outside 0..1, or shapes that do not fit.

    >>> scores = np.array([[[0.9, 0.1, 0.2, 0.7]] * 2] * 2)
    >>> table = by_group([1, 0, 1, 0], scores, np.full((2, 2), 0.5), ["I", "I", "VI", "VI"], range(4), draws=9)
    >>> table.loc[table["metric"] == "auroc", "estimate"].unique().tolist()
    [0.75, 0.0, 1.0]
    """
    y, scores, cut = np.asarray(y_true), np.asarray(scores, float), np.asarray(thresholds, float)
    if scores.ndim != 3 or (*cut.shape, len(y)) != scores.shape or len(arms) != len(scores):
        raise ValueError(f"{len(arms)} arms, scores {scores.shape}, thresholds {cut.shape}, {len(y)} labels do not fit")
    if not np.isfinite(scores).all() or (scores < 0).any() or (scores > 1).any() or not np.isin(y, (0, 1)).all():
        raise ValueError("scores must be probabilities without NaN, and y_true 0 or 1")
    groups, clusters = np.asarray(group_ids).astype(str), np.asarray(cluster_ids).astype(str)
    rng, rows = np.random.default_rng(seed), []
    columns = [*arms, "change"] if len(arms) == 2 else [*arms]
    for name in ["all", *sorted(set(groups) - {"all"})]:
        members = np.arange(len(y)) if name == "all" else np.flatnonzero(groups == name)
        sizes = {"images": len(members), "positives": int(y[members].sum())}
        sizes |= {"clusters": len(set(clusters[members])), "runs": scores.shape[1]}
        values = _resampled(y[members], scores[:, :, members], cut, clusters[members], draws, rng, bins)
        chance = _chance(scores[:, :, members], rng, bins)
        reason = too_few(sizes["runs"], sizes["clusters"])
        if sizes["images"] < min_images:
            reason = f"{NOT_ESTIMABLE}: {sizes['images']} images, fewer than the {min_images} required"
        for arm, column in enumerate(columns):
            for metric, of_arms in values.items():
                row = {"group": name, "arm": column, "metric": metric, **sizes}
                if metric == "ece" and arm < len(arms):
                    row["chance"] = chance[arm]
                drawn = of_arms[:, arm] if arm < len(arms) else of_arms[:, 0] - of_arms[:, 1]
                rows.append(row | _estimate(drawn, metric, reason, level))
    order = "group arm metric estimate low high chance worst images positives clusters runs flags"
    return _mark_worst(pd.DataFrame(rows)).reindex(columns=order.split())


def gaps(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    within: npt.ArrayLike,
    arms: Sequence[str] = ("with", "without"),
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Hardt, Price and Srebro 2016, Definition 2.1: range over groups of TPR, of FPR, and the larger of both ranges.

    Each gap stands beside its null (skin type permuted within `within`, e.g. condition): arm, metric, gap, null_mean,
    null_high (the null's quantile at `level`), p, flags. The equalised odds difference has no null of its own; see
    those of its parts.

    >>> scores = np.array([[[0.9, 0.1, 0.2, 0.7]], [[0.9, 0.1, 0.8, 0.3]]])
    >>> table = gaps([1, 0, 1, 0], scores, np.full((2, 1), 0.5), ["I", "I", "VI", "VI"], ["x"] * 4, draws=19)
    >>> table.columns.tolist()[:3]
    ['arm', 'metric', 'gap']
    """
    y, groups, within = np.asarray(y_true), np.asarray(group_ids).astype(str), np.asarray(within).astype(str)
    scores, thresholds = np.asarray(scores), np.asarray(thresholds)
    rows: list[dict[str, str | float]] = []
    for number, arm in enumerate(arms):
        called, largest = (scores[number] >= thresholds[number][:, None]).astype(float), []
        for metric, truth in (("tpr", 1), ("fpr", 0)):
            members = np.flatnonzero((y == truth) & (groups != "unknown"))
            row = {"arm": arm, "metric": f"{metric} gap"}
            if len(set(groups[members])) < 2:
                rows.append({**row, "flags": f"{NOT_ESTIMABLE}: fewer than two groups with y = {truth}"})
                continue
            null = fairness.gap_null(called[:, members], groups[members], within[members], draws, seed, level)
            largest.append(null["gap"])
            rows.append({**row, **null, "flags": ""})
        flags = "" if len(largest) == 2 else f"{NOT_ESTIMABLE}: a rate is missing"
        gap = max(largest) if len(largest) == 2 else np.nan
        rows.append({"arm": arm, "metric": "equalised odds difference", "gap": gap, "flags": flags})
    return pd.DataFrame(rows).reindex(columns=["arm", "metric", "gap", "null_mean", "null_high", "p", "flags"])


def reliability(y_true: npt.ArrayLike, scores: npt.ArrayLike, group_ids: npt.ArrayLike, bins: int = 5) -> pd.DataFrame:
    """Reliability diagram (Murphy and Winkler 1977) by group, runs pooled, bins of equal mass.

    Columns: group, bin, score (mean), observed (share positive), answers.

    >>> table = reliability([0, 1], np.array([[0.25, 0.75]]), ["I", "I"], bins=2)
    >>> table[["score", "observed", "answers"]].values.tolist()
    [[0.25, 0.0, 1.0], [0.75, 1.0, 1.0]]
    """
    y, scores, groups = np.asarray(y_true), np.asarray(scores, float), np.asarray(group_ids).astype(str)
    rows = []
    for name in sorted(set(groups)):
        members = np.flatnonzero(groups == name)
        flat, truth = scores[:, members].ravel(), np.tile(y[members], len(scores))
        for number, part in enumerate(np.array_split(np.argsort(flat, kind="stable"), min(bins, len(flat)))):
            row = {"group": name, "bin": number, "score": flat[part].mean(), "observed": truth[part].mean()}
            rows.append(row | {"answers": len(part)})
    return pd.DataFrame(rows)


def _resampled(y, scores, thresholds, clusters, draws, rng, bins) -> dict[str, np.ndarray]:
    """metric → (1 + draws, arms); the first row is of the images themselves. NaN where a rate has no denominator."""
    arms, runs, n = scores.shape
    cells, index = np.unique(np.char.add(np.where(y == 1, "1 ", "0 "), clusters), return_inverse=True)
    strata = np.array([cell[0] for cell in cells])
    sizes = np.bincount(index)
    share = np.empty((1 + draws, len(cells)))
    share[0] = 1
    for kind in np.unique(strata):
        share[1:, strata == kind] = bootstrap.picks(int((strata == kind).sum()), draws, rng)
    weight = (share / sizes)[:, index]  # (1 + draws, images)
    by_run = np.vstack([np.full(runs, 1 / runs), bootstrap.picks(runs, draws, rng) / runs])
    resampled = {name: np.zeros((1 + draws, arms)) for name in METRICS}
    for arm in range(arms):
        of_run = [_one_run(y, scores[arm, run], thresholds[arm, run], weight, bins) for run in range(runs)]
        for name in METRICS:
            resampled[name][:, arm] = np.einsum("br,rb->b", by_run, np.stack([one[name] for one in of_run]))
    return resampled


def _one_run(y, score, threshold, weight, bins) -> dict[str, np.ndarray]:
    """Each metric of one run under many weights (draws, images)."""
    called, total = (score >= threshold).astype(float), weight.sum(1)
    positive, negative = weight @ (y == 1), weight @ (y == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        metrics = {"tpr": weight @ (called * y) / positive, "fpr": weight @ (called * (1 - y)) / negative}
        metrics["ppv"] = weight @ (called * y) / (weight @ called)
        high, low = score[y == 1], score[y == 0]
        kernel = (high[:, None] > low) + 0.5 * (high[:, None] == low)
        metrics["auroc"] = ((weight[:, y == 1] @ kernel) * weight[:, y == 0]).sum(1) / (positive * negative)
    metrics["brier"] = weight @ (score - y) ** 2 / total
    metrics["ece"] = np.abs((weight * (score - y)) @ _bins(score, bins)).sum(1) / total
    return metrics


def _bins(score: np.ndarray, bins: int) -> np.ndarray:
    """(images, bins) membership of bins of equal mass, those of the images themselves."""
    member = np.zeros((len(score), min(bins, len(score))))
    for number, part in enumerate(np.array_split(np.argsort(score, kind="stable"), member.shape[1])):
        member[part, number] = 1
    return member


def _chance(scores: np.ndarray, rng: np.random.Generator, bins: int, draws: int = 200) -> list[float]:
    """Mean calibration error, by arm, of these probabilities if they were exactly right."""

    def error(score: np.ndarray) -> float:
        outcomes = rng.random((draws, len(score))) < score
        return np.abs((score - outcomes) @ _bins(score, bins)).sum(1).mean() / len(score)

    return [float(np.mean([error(score) for score in runs])) for runs in scores]


def _estimate(values: np.ndarray, metric: str, reason: str, level: float) -> dict:
    """Estimate, interval and flags from the metric of the images themselves (first) and of the resamples."""
    point, drawn = float(values[0]), values[1:][np.isfinite(values[1:])]
    row = {"estimate": point, "low": np.nan, "high": np.nan, "flags": reason}
    undefined = 1 - len(drawn) / max(len(values) - 1, 1)
    if not np.isfinite(point):
        absent = "no image was called malignant in a run" if metric == "ppv" else "a class is absent"
        return row | {"flags": reason or f"{NOT_ESTIMABLE}: {absent}"}
    if reason or undefined > 0.1:
        return row | {"flags": reason or f"no interval: undefined in {undefined:.0%} of resamples"}
    low, high = bootstrap.percentile_interval(drawn, level)
    return row | {"low": float(low), "high": float(high)}


def _mark_worst(table: pd.DataFrame) -> pd.DataFrame:
    """True for the worst known group of each arm and metric, among those that are estimated."""
    table["worst"] = False
    known = table[~table["group"].isin(["all", "unknown"]) & (table["arm"] != "change") & table["estimate"].notna()]
    known = known[~known["flags"].str.startswith(NOT_ESTIMABLE)]
    for (_, metric), rows in known.groupby(["arm", "metric"]):
        worst = rows["estimate"].max() if metric in HIGHER_IS_WORSE else rows["estimate"].min()
        table.loc[rows.index[rows["estimate"] == worst], "worst"] = len(rows) > 1
    return table
