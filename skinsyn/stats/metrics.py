"""Malignant against benign by group: metrics of two arms and their change, with two-way bootstrap intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from . import bootstrap, fairness

METRICS = ("tpr", "fpr", "ppv", "auroc", "brier", "ece")
HIGHER_IS_WORSE = ("fpr", "brier", "ece")


def by_group(
    y_true: Sequence[int],
    scores: np.ndarray,
    thresholds: np.ndarray,
    group_ids: Sequence,
    cluster_ids: Sequence,
    arms: Sequence[str] = ("with", "without"),
    min_images: int = 10,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    bins: int = 10,
) -> pd.DataFrame:
    """METRICS of each arm in each group and in all, and the change from the second arm to the first.

    y_true: 1 is positive. scores: (arms, runs, images) probabilities of it; thresholds: (arms, runs), chosen on
    validation. Runs and clusters are resampled together, clusters within group × class; a cluster counts once there. A
    metric is averaged over runs. Columns: group, arm (of `arms`, or "change" where there are two), metric, estimate,
    low, high (proportions), chance (of ece: what perfect calibration would show with so few images), worst, images,
    positives, clusters, runs, flags. A class absent from a group, fewer than `min_images`, one run: a flag says so, and
    no interval or no estimate stands.
    Raises ValueError on NaN, scores outside 0..1, or shapes that do not fit.

    >>> scores = np.array([[[0.9, 0.1, 0.2, 0.7]] * 2] * 2)
    >>> table = by_group([1, 0, 1, 0], scores, np.full((2, 2), 0.5), ["I", "I", "VI", "VI"], range(4), draws=9)
    >>> table.loc[table["metric"] == "auroc", "estimate"].unique().tolist()
    [0.75, 0.0, 1.0]
    """
    y, scores, thresholds = np.asarray(y_true), np.asarray(scores, float), np.asarray(thresholds, float)
    if (
        scores.ndim != 3
        or scores.shape[2] != len(y)
        or thresholds.shape != scores.shape[:2]
        or len(arms) != len(scores)
    ):
        raise ValueError(
            f"{len(arms)} arms, scores {scores.shape}, thresholds {thresholds.shape}, {len(y)} labels do not fit"
        )
    if not np.isfinite(scores).all() or (scores < 0).any() or (scores > 1).any() or not np.isin(y, (0, 1)).all():
        raise ValueError("scores must be probabilities without NaN, and y_true 0 or 1")
    groups, clusters = np.asarray(group_ids).astype(str), np.asarray(cluster_ids).astype(str)
    rng, rows = np.random.default_rng(seed), []
    for name in ["all", *sorted(set(groups) - {"all"})]:
        members = np.arange(len(y)) if name == "all" else np.flatnonzero(groups == name)
        about = {"group": name, "images": len(members), "positives": int(y[members].sum())}
        about |= {"clusters": len(set(clusters[members])), "runs": scores.shape[1]}
        found = _resampled(y[members], scores[:, :, members], thresholds, clusters[members], draws, rng, bins)
        chance = _chance(scores[:, :, members], rng, bins)
        why = _reason(about, min_images)
        for number, arm in enumerate(arms):
            for metric, values in found.items():
                extra = {"chance": chance[number]} if metric == "ece" else {}
                rows.append(
                    about | {"arm": arm, "metric": metric, **extra} | _row(values[:, number], metric, why, level)
                )
        if len(arms) == 2:
            for metric, values in found.items():
                row = _row(values[:, 0] - values[:, 1], metric, why, level)
                rows.append(about | {"arm": "change", "metric": metric} | row)
    order = "group arm metric estimate low high chance worst images positives clusters runs flags"
    return _mark_worst(pd.DataFrame(rows)).reindex(columns=order.split())


def gaps(
    y_true: Sequence[int],
    scores: np.ndarray,
    thresholds: np.ndarray,
    group_ids: Sequence,
    within: Sequence,
    arms: Sequence[str] = ("with", "without"),
    draws: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Hardt, Price and Srebro 2016, Definition 2.1: range over groups of TPR, of FPR, and the larger of both ranges.

    Each gap stands beside its null (skin type permuted within `within`, e.g. condition): arm, metric, gap, null_mean,
    null_high, p, flags. For equalised odds no null is made; read those of its parts.

    >>> scores = np.array([[[0.9, 0.1, 0.2, 0.7]], [[0.9, 0.1, 0.8, 0.3]]])
    >>> table = gaps([1, 0, 1, 0], scores, np.full((2, 1), 0.5), ["I", "I", "VI", "VI"], ["x"] * 4, draws=19)
    >>> table.columns.tolist()[:3]
    ['arm', 'metric', 'gap']
    """
    y, groups, within = np.asarray(y_true), np.asarray(group_ids).astype(str), np.asarray(within).astype(str)
    rows = []
    for number, arm in enumerate(arms):
        called, largest = (np.asarray(scores[number]) >= thresholds[number][:, None]).astype(float), []
        for metric, truth in (("tpr", 1), ("fpr", 0)):
            members = np.flatnonzero((y == truth) & (groups != "unknown"))
            row = {"arm": arm, "metric": f"{metric} gap", "flags": ""}
            if len(set(groups[members])) < 2:
                rows.append(row | {"flags": f"not estimable: fewer than two groups hold y = {truth}"})
                continue
            null = fairness.gap_null(called[:, members], groups[members], within[members], draws, seed)
            largest.append(null["gap"])
            rows.append(row | null)
        flags = "" if len(largest) == 2 else "not estimable: a rate is missing"
        gap = max(largest) if len(largest) == 2 else np.nan
        rows.append({"arm": arm, "metric": "equalised odds difference", "gap": gap, "flags": flags})
    return pd.DataFrame(rows).reindex(columns=["arm", "metric", "gap", "null_mean", "null_high", "p", "flags"])


def reliability(y_true: Sequence[int], scores: np.ndarray, group_ids: Sequence, bins: int = 5) -> pd.DataFrame:
    """Calibration curve by group, runs pooled: group, bin, score (mean), observed (share positive), answers.

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
    """metric → (1 + draws, arms); the first row is of the images in hand. NaN where a rate has no denominator."""
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
    found = {name: np.zeros((1 + draws, arms)) for name in METRICS}
    for arm in range(arms):
        of_run = [_one_run(y, scores[arm, run], thresholds[arm, run], weight, bins) for run in range(runs)]
        for name in METRICS:
            found[name][:, arm] = np.einsum("br,rb->b", by_run, np.stack([one[name] for one in of_run]))
    return found


def _one_run(y, score, threshold, weight, bins) -> dict[str, np.ndarray]:
    """Each metric of one run under many weights (draws, images)."""
    called, total = (score >= threshold).astype(float), weight.sum(1)
    positive, negative = weight @ (y == 1), weight @ (y == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {"tpr": weight @ (called * y) / positive, "fpr": weight @ (called * (1 - y)) / negative}
        found["ppv"] = weight @ (called * y) / (weight @ called)
        high, low = score[y == 1], score[y == 0]
        kernel = (high[:, None] > low) + 0.5 * (high[:, None] == low)
        found["auroc"] = ((weight[:, y == 1] @ kernel) * weight[:, y == 0]).sum(1) / (positive * negative)
    found["brier"] = weight @ (score - y) ** 2 / total
    found["ece"] = np.abs((weight * (score - y)) @ _bins(score, bins)).sum(1) / total
    return found


def _bins(score: np.ndarray, bins: int) -> np.ndarray:
    """(images, bins) membership of bins of equal mass, those of the images in hand."""
    member = np.zeros((len(score), min(bins, len(score))))
    for number, part in enumerate(np.array_split(np.argsort(score, kind="stable"), member.shape[1])):
        member[part, number] = 1
    return member


def _chance(scores: np.ndarray, rng: np.random.Generator, bins: int, draws: int = 200) -> list[float]:
    """Mean calibration error, by arm, that these probabilities would show if they were exactly right."""
    found = []
    for runs in scores:
        errors = [np.abs((s - (rng.random((draws, len(s))) < s)) @ _bins(s, bins)).sum(1).mean() / len(s) for s in runs]
        found.append(float(np.mean(errors)))
    return found


def _reason(about: dict, min_images: int) -> str:
    if about["images"] < min_images:
        return f"not estimable: {about['images']} images, fewer than the {min_images} asked for"
    if about["runs"] == 1 or about["clusters"] == 1:
        return f"not estimable: one {'run' if about['runs'] == 1 else 'cluster'} only"
    return ""


def _row(values: np.ndarray, metric: str, why: str, level: float) -> dict:
    """Estimate, interval and flags from the images in hand (first) and the resamples."""
    point = float(values[0])
    if not np.isfinite(point):
        absent = "nothing was called malignant in a run" if metric == "ppv" else "a class is absent"
        return {"estimate": np.nan, "low": np.nan, "high": np.nan, "flags": why or f"not estimable: {absent}"}
    drawn = values[1:][np.isfinite(values[1:])]
    lost = 1 - len(drawn) / max(len(values) - 1, 1)
    if why or lost > 0.1:
        return {"estimate": point, "low": np.nan, "high": np.nan} | {
            "flags": why or f"no interval: undefined in {lost:.0%}"
        }
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return {"estimate": point, "low": float(low), "high": float(high), "flags": ""}


def _mark_worst(table: pd.DataFrame) -> pd.DataFrame:
    """True for the worst known group of each arm and metric, among those that are estimated."""
    table["worst"] = False
    known = table[~table["group"].isin(["all", "unknown"]) & (table["arm"] != "change") & table["estimate"].notna()]
    known = known[~known["flags"].str.startswith("not estimable")]
    for (_, metric), rows in known.groupby(["arm", "metric"]):
        worst = rows["estimate"].max() if metric in HIGHER_IS_WORSE else rows["estimate"].min()
        table.loc[rows.index[rows["estimate"] == worst], "worst"] = len(rows) > 1
    return table
