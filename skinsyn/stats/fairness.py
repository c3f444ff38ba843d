"""Accuracy by skin type with intervals, the group of lowest accuracy, and the gap between groups with its null."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from .intervals import of_means


class GapNull(NamedTuple):
    """A largest-minus-smallest gap beside its null, as proportions; fixed: clusters that kept their groups."""

    gap: float
    null_mean: float
    null_high: float
    p: float
    fixed: int


def by_group(
    correct: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    class_ids: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy per group with an MRMC interval (Hillis 2007; logit scale), for new runs and new clusters.

    correct: (runs, images) of 0/1; one group and one cluster id per image. class_ids: the mean is then over classes.
    A cluster counts once within group and class. Columns: group, accuracy, low, high (proportions), images, clusters,
    runs, worst (True for the lowest accuracy), flags. One run, one cluster, or all answers the same: no interval, and
    the flag says why.

    >>> table = by_group([[1, 1, 0, 1], [1, 1, 1, 0]], ["I", "I", "VI", "VI"], [1, 2, 3, 4])
    >>> table[["group", "accuracy", "worst"]].values.tolist()
    [['I', 1.0, False], ['VI', 0.5, True]]
    """
    answers = _check_correct(correct)
    frame = pd.DataFrame({"group": group_ids, "cluster": np.asarray(cluster_ids).astype(str)})
    frame["stratum"] = "all" if class_ids is None else np.asarray(class_ids).astype(str)
    if len(frame) != answers.shape[1]:
        raise ValueError(f"{answers.shape[1]} images need as many group and cluster ids, got {len(frame)}")
    rows = []
    for group, members in frame.groupby("group", sort=True):
        strata = [part for _, part in members.groupby("stratum", sort=True)]
        values, ids = [answers[:, part.index] for part in strata], [part["cluster"].to_numpy() for part in strata]
        found = of_means(values, ids, [1 / len(strata)] * len(strata), level, proportion=True)
        row = {"group": group, "accuracy": found.estimate, "low": found.low, "high": found.high}
        row |= {"images": len(members), "clusters": members["cluster"].nunique(), "runs": len(answers)}
        rows.append(row | {"flags": "; ".join(found.flags)})
    table = pd.DataFrame(rows)
    table.insert(table.shape[1] - 1, "worst", table["accuracy"] == table["accuracy"].min())
    return table


def gap_null(
    correct: npt.ArrayLike,
    group_ids: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    within: npt.ArrayLike,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> GapNull:
    """Permutation test (Phipson and Smyth 2010, p = (b + 1)/(m + 1)) of the largest minus the smallest group accuracy.

    A max-min gap is biased upward; its null permutes skin type among the clusters of one condition (`within`; of the
    same set of conditions, where a cluster has several), for these runs and clusters. A cluster counts once within its
    group, as in `by_group`. Clusters with images in two groups keep theirs. null_high: the null's quantile at `level`.
    Raises ValueError for fewer than two groups.

    >>> result = gap_null([[1, 1, 0, 0]], ["I", "I", "VI", "VI"], range(4), ["nevus"] * 4, draws=99)
    >>> result.gap, result.null_high
    (1.0, 1.0)
    """
    answers, images = _check_correct(correct).mean(0), pd.DataFrame({"group": np.asarray(group_ids).astype(str)})
    images = images.assign(cluster=np.asarray(cluster_ids).astype(str), within=np.asarray(within).astype(str))
    if images["group"].nunique() < 2:
        raise ValueError(f"a gap needs two groups, got {sorted(set(images['group']))}")
    cells = images.assign(answer=answers).groupby(["cluster", "group"], sort=True)["answer"].mean().reset_index()
    stratum = (
        images.sort_values("within").groupby("cluster")["within"].agg(lambda names: "\n".join(dict.fromkeys(names)))
    )
    accuracy, strata = cells["answer"].to_numpy(), cells["cluster"].map(stratum).to_numpy()
    groups, index = np.unique(cells["group"], return_inverse=True)
    fixed = cells["cluster"].duplicated(keep=False).to_numpy()
    sizes, rng = np.bincount(index), np.random.default_rng(seed)
    sums = np.tile(np.bincount(index[fixed], accuracy[fixed], len(groups)).astype(float), (draws, 1))
    for name in np.unique(strata[~fixed]):
        members = np.flatnonzero((strata == name) & ~fixed)
        labels = rng.permuted(np.tile(index[members], (draws, 1)), axis=1)
        sums += np.stack([(labels == g) @ accuracy[members] for g in range(len(groups))], axis=1)
    null = np.ptp(sums / sizes, axis=1)
    gap = float(np.ptp(np.bincount(index, accuracy) / sizes))
    p = (1 + int((null >= gap - 1e-12).sum())) / (draws + 1)
    lost = cells.loc[fixed, "cluster"].nunique()
    return GapNull(gap, float(null.mean()), float(np.quantile(null, level)), p, lost)


def _check_correct(correct: npt.ArrayLike) -> np.ndarray:
    answers = np.asarray(correct, float)
    if answers.ndim != 2 or 0 in answers.shape or not np.isin(answers, (0, 1)).all():
        raise ValueError(f"correct must be (runs, images) of 0 and 1 without NaN, got shape {answers.shape}")
    return answers
