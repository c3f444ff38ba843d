"""Who gains and who loses: metrics by skin type with intervals, worst group, gaps beside the gaps of chance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, roc_auc_score

from .bootstrap import stratum_shares, two_way_means


def by_group(
    correct: np.ndarray,
    group_ids: Sequence,
    cluster_ids: Sequence,
    class_ids: Sequence | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Owen 2007: accuracy per group with a two-way bootstrap interval (runs and clusters within group and class).

    correct: (runs, images) of 0/1; one group and one cluster id per image. class_ids: the mean is then over classes.
    A cluster counts once within group and class. Columns: group, accuracy, low, high (proportions), images, clusters,
    runs, worst (True for the lowest accuracy), flags. One run or one cluster: no interval, and the flag says why.

    >>> table = by_group([[1, 1, 0, 1], [1, 1, 1, 0]], ["I", "I", "VI", "VI"], [1, 2, 3, 4], draws=50)
    >>> table[["group", "accuracy", "worst"]].values.tolist()
    [['I', 1.0, False], ['VI', 0.5, True]]
    """
    correct = _check_correct(correct)
    frame = pd.DataFrame({"group": group_ids, "cluster": np.asarray(cluster_ids).astype(str)})
    frame["stratum"] = "all" if class_ids is None else np.asarray(class_ids).astype(str)
    if len(frame) != correct.shape[1]:
        raise ValueError(f"{correct.shape[1]} images need as many group and cluster ids, got {len(frame)}")
    rng, rows = np.random.default_rng(seed), []
    for group, members in frame.groupby("group", sort=True):
        cells, names = pd.factorize(pd.MultiIndex.from_frame(members[["stratum", "cluster"]]), sort=True)
        sums = np.zeros((len(names), correct.shape[0]))
        np.add.at(sums, cells, correct[:, members.index].T)
        means, strata = (sums / np.bincount(cells)[:, None]).T, np.asarray(names.get_level_values(0))
        row = {"group": group, "accuracy": float(means.mean(0) @ stratum_shares(strata)), "low": np.nan, "high": np.nan}
        row |= {"images": len(members), "clusters": members["cluster"].nunique(), "runs": correct.shape[0], "flags": ""}
        if row["runs"] == 1 or row["clusters"] == 1:
            row["flags"] = f"not estimable: one {'run' if row['runs'] == 1 else 'cluster'} only"
        else:
            resampled = two_way_means(means[:, :, None], strata, draws, rng)[:, 0]
            row["low"], row["high"] = map(float, np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]))
        rows.append(row)
    table = pd.DataFrame(rows)
    table["worst"] = table["accuracy"] == table["accuracy"].min()
    return table[["group", "accuracy", "low", "high", "images", "clusters", "runs", "worst", "flags"]]


def gap_null(
    correct: np.ndarray, group_ids: Sequence, within: Sequence, draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """Largest minus smallest group accuracy, beside the gaps that chance makes.

    A max-min gap is biased upward; its null permutes skin type among the images of one condition (`within`), for these
    runs and images. Returns gap, null_mean, null_high (95th percentile), p = (1 + b)/(draws + 1), as proportions.
    Raises ValueError for fewer than two groups.

    >>> result = gap_null([[1, 1, 0, 0]], ["I", "I", "VI", "VI"], ["nevus"] * 4, draws=99)
    >>> result["gap"], result["null_high"]
    (1.0, 1.0)
    """
    right = _check_correct(correct).mean(0)
    groups, index = np.unique(np.asarray(group_ids).astype(str), return_inverse=True)
    if len(groups) < 2:
        raise ValueError(f"a gap needs two groups, got {groups.tolist()}")
    rng, sizes, within = np.random.default_rng(seed), np.bincount(index), np.asarray(within).astype(str)
    sums = np.zeros((draws, len(groups)))
    for name in np.unique(within):
        members = np.flatnonzero(within == name)
        labels = rng.permuted(np.tile(index[members], (draws, 1)), axis=1)
        sums += np.stack([(labels == g) @ right[members] for g in range(len(groups))], axis=1)
    null = np.ptp(sums / sizes, axis=1)
    observed = float(np.ptp(np.bincount(index, right) / sizes))
    p = (1 + int((null >= observed - 1e-12).sum())) / (draws + 1)
    return {"gap": observed, "null_mean": float(null.mean()), "null_high": float(np.quantile(null, 0.95)), "p": p}


def binary_metrics(
    y_true: Sequence[int], score: Sequence[float], threshold: float = 0.5, bins: int = 10
) -> dict[str, float]:
    """TPR, FPR, AUROC, Brier score and equal-mass calibration error of one group; NaN where a class is absent.

    y_true: 1 is positive (malignant). score: its probability. threshold: chosen on validation images, never here.

    >>> metrics = binary_metrics([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1])
    >>> metrics["tpr"], metrics["fpr"], metrics["auroc"]
    (0.5, 0.5, 0.75)
    """
    y, score = np.asarray(y_true, int), np.asarray(score, float)
    if y.shape != score.shape or y.ndim != 1 or len(y) == 0:
        raise ValueError(f"y_true and score must be lists of one length, got shapes {y.shape} and {score.shape}")
    if np.isnan(score).any() or (score < 0).any() or (score > 1).any() or not np.isin(y, (0, 1)).all():
        raise ValueError("scores must be probabilities without NaN, and y_true 0 or 1")
    called, both = score >= threshold, 0 < y.sum() < len(y)
    return {
        "tpr": float(called[y == 1].mean()) if y.any() else float("nan"),
        "fpr": float(called[y == 0].mean()) if (y == 0).any() else float("nan"),
        "auroc": float(roc_auc_score(y, score)) if both else float("nan"),
        "brier": float(brier_score_loss(y, score, pos_label=1)),
        "ece": calibration_error(y, score, bins),
    }


def calibration_error(y_true: np.ndarray, score: np.ndarray, bins: int = 10) -> float:
    """Naeini, Cooper and Hauskrecht 2015, ECE, bins of equal mass: sum of (n_b/n) |mean score - share positive|.

    >>> calibration_error(np.array([0, 1]), np.array([0.25, 0.75]), bins=2)
    0.25
    """
    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    return float(sum(len(p) * abs(score[p].mean() - y_true[p].mean()) for p in parts) / len(order))


def equalised_odds_difference(metrics: pd.DataFrame) -> float:
    """Hardt, Price and Srebro 2016, Definition 2.1: largest difference between groups in TPR or FPR.

    metrics: columns tpr and fpr, one row per group. Groups without a rate are left out; NaN where < 2 remain.

    >>> equalised_odds_difference(pd.DataFrame({"tpr": [0.75, 0.5], "fpr": [0.25, 0.125]}))
    0.25
    """
    spans = [np.ptp(rates) for rates in (metrics["tpr"].dropna(), metrics["fpr"].dropna()) if len(rates) > 1]
    return float(max(spans)) if spans else float("nan")


def _check_correct(correct: np.ndarray) -> np.ndarray:
    correct = np.asarray(correct, float)
    if correct.ndim != 2 or 0 in correct.shape or not np.isin(correct, (0, 1)).all():
        raise ValueError(f"correct must be (runs, images) of 0 and 1 without NaN, got shape {correct.shape}")
    return correct
