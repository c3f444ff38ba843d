"""Accuracy by skin type with intervals, the group of lowest accuracy, and the gap between groups with its null."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from .bootstrap import percentile_interval, stratum_shares, two_way_means
from .clusters import too_few, within_strata


def by_group(
    correct: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    class_ids: npt.ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy per group with a pigeonhole-bootstrap interval (Owen 2007): runs, and clusters within group and class.

    correct: (runs, images) of 0/1; one group and one cluster id per image. class_ids: the mean is then over classes.
    A cluster counts once within group and class. Columns: group, accuracy, low, high (proportions), images, clusters,
    runs, worst (True for the lowest accuracy), flags. One run or one cluster: no interval, and the flag says why.

    >>> table = by_group([[1, 1, 0, 1], [1, 1, 1, 0]], ["I", "I", "VI", "VI"], [1, 2, 3, 4], draws=50)
    >>> table[["group", "accuracy", "worst"]].values.tolist()
    [['I', 1.0, False], ['VI', 0.5, True]]
    """
    answers = _check_correct(correct)
    frame = pd.DataFrame({"group": group_ids, "cluster": np.asarray(cluster_ids).astype(str)})
    frame["stratum"] = "all" if class_ids is None else np.asarray(class_ids).astype(str)
    if len(frame) != answers.shape[1]:
        raise ValueError(f"{answers.shape[1]} images need as many group and cluster ids, got {len(frame)}")
    rng, rows = np.random.default_rng(seed), []
    for group, members in frame.groupby("group", sort=True):
        means, strata = within_strata(answers[:, members.index], members["stratum"], members["cluster"])
        sizes = {"images": len(members), "clusters": members["cluster"].nunique(), "runs": len(answers)}
        low, high, flag = np.nan, np.nan, too_few(len(answers), sizes["clusters"])
        if not flag:
            low, high = percentile_interval(two_way_means(means[:, :, None], strata, draws, rng)[:, 0], level)
        accuracy = float(means.mean(0) @ stratum_shares(strata))
        rows.append({"group": group, "accuracy": accuracy, "low": low, "high": high, **sizes, "flags": flag})
    table = pd.DataFrame(rows)
    table.insert(table.shape[1] - 1, "worst", table["accuracy"] == table["accuracy"].min())
    return table


def gap_null(
    correct: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    within: npt.ArrayLike,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, float]:
    """Permutation test (Phipson and Smyth 2010, p = (b + 1)/(m + 1)) of the largest minus the smallest group accuracy.

    A max-min gap is biased upward; its null permutes skin type among the images of one condition (`within`), for these
    runs and images. Returns gap, null_mean, null_high (the null's quantile at `level`) and p, as proportions. Raises
    ValueError for fewer than two groups.

    >>> result = gap_null([[1, 1, 0, 0]], ["I", "I", "VI", "VI"], ["nevus"] * 4, draws=99)
    >>> result["gap"], result["null_high"]
    (1.0, 1.0)
    """
    accuracy = _check_correct(correct).mean(0)  # of each image, over runs
    groups, index = np.unique(np.asarray(group_ids).astype(str), return_inverse=True)
    if len(groups) < 2:
        raise ValueError(f"a gap needs two groups, got {groups.tolist()}")
    rng, sizes, conditions = np.random.default_rng(seed), np.bincount(index), np.asarray(within).astype(str)
    sums = np.zeros((draws, len(groups)))
    for condition in np.unique(conditions):
        members = np.flatnonzero(conditions == condition)
        labels = rng.permuted(np.tile(index[members], (draws, 1)), axis=1)
        sums += np.stack([(labels == g) @ accuracy[members] for g in range(len(groups))], axis=1)
    null = np.ptp(sums / sizes, axis=1)
    gap = float(np.ptp(np.bincount(index, accuracy) / sizes))
    p = (1 + int((null >= gap - 1e-12).sum())) / (draws + 1)
    return {"gap": gap, "null_mean": float(null.mean()), "null_high": float(np.quantile(null, level)), "p": p}


def _check_correct(correct: npt.ArrayLike) -> np.ndarray:
    answers = np.asarray(correct, float)
    if answers.ndim != 2 or 0 in answers.shape or not np.isin(answers, (0, 1)).all():
        raise ValueError(f"correct must be (runs, images) of 0 and 1 without NaN, got shape {answers.shape}")
    return answers
