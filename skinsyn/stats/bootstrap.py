"""Resampling runs and clusters together: one draw of both is shared by all that is estimated from them."""

from collections.abc import Mapping, Sequence

import numpy as np

BLOCK = 2**24  # numbers held at once


def stratum_shares(strata: np.ndarray) -> np.ndarray:
    """Share of each cluster in the mean over strata of the mean over clusters."""
    _, index, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    return 1 / (sizes[index] * len(sizes))


def picks(size: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, size): how often each of `size` things is drawn when as many are drawn with replacement."""
    drawn = rng.integers(0, size, (draws, size), dtype=np.int32) + np.arange(draws, dtype=np.int32)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size)


def cluster_shares(
    strata: np.ndarray, draws: int, rng: np.random.Generator, weights: Mapping | None = None
) -> np.ndarray:
    """(draws, clusters) shares of resampled clusters in the weighted sum over strata; clusters are drawn within theirs.

    weights: stratum → weight, e.g. a contrast or a mix of patients; None gives the mean over strata.
    """
    share, kinds = np.empty((draws, len(strata))), np.unique(strata)
    for kind in kinds:
        members = np.flatnonzero(strata == kind)
        weight = 1 / len(kinds) if weights is None else weights[kind]
        share[:, members] = picks(len(members), draws, rng) * (weight / len(members))
    return share


def two_way_means(
    values: np.ndarray, strata: np.ndarray, draws: int, rng: np.random.Generator, weights: Mapping | None = None
) -> np.ndarray:
    """(draws, k) means of values (runs, clusters, k), runs and clusters resampled together, clusters within strata.

    The pigeonhole bootstrap of Owen 2007 (Annals of Applied Statistics 1:386-411): a cell counts as often as its run
    and its cluster were drawn. The same draws serve all k, so that what is equal cell by cell stays equal in every
    resample.
    """
    runs, clusters, k = values.shape
    by_cluster = np.ascontiguousarray(values.transpose(1, 0, 2).reshape(clusters, runs * k), float)
    means, block = np.empty((draws, k)), max(1, BLOCK // max(runs * k, clusters))
    for start in range(0, draws, block):
        some = min(block, draws - start)
        mixed = (cluster_shares(strata, some, rng, weights) @ by_cluster).reshape(some, runs, k)
        means[start : start + some] = np.einsum("br,brk->bk", picks(runs, some, rng) / runs, mixed)
    return means


def contrast_interval(
    tables: Sequence[np.ndarray], weights: Sequence[float], draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the weighted sum of group means that `mrmc.paired_gain` tests; runs are drawn once for
    all.

    tables: (runs, clusters) a group. (NaN, NaN) with one run or one cluster.
    """
    if tables[0].shape[0] < 2 or min(table.shape[1] for table in tables) < 2:
        return float("nan"), float("nan")
    strata = np.repeat(np.arange(len(tables)), [table.shape[1] for table in tables])
    values = np.concatenate(tables, axis=1)[:, :, None]
    drawn = two_way_means(values, strata, draws, np.random.default_rng(seed), dict(enumerate(weights)))[:, 0]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def two_way_intervals(
    values: np.ndarray, strata: Sequence | None = None, draws: int = 9999, seed: int = 0, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(estimate, low, high), each (k,): percentile intervals of k comparisons that share their runs and clusters.

    values: (runs, clusters, k), e.g. correct in one arm minus correct in another. strata: one a cluster; the estimate
    is then the mean over strata. Raises ValueError on NaN, another shape, or fewer than two runs or clusters.
    """
    values = np.asarray(values, float)
    if values.ndim != 3 or not np.isfinite(values).all():
        raise ValueError(f"values must be (runs, clusters, comparisons) without NaN, got shape {values.shape}")
    if min(values.shape[:2]) < 2 or draws < 1:
        raise ValueError(
            f"resampling needs two runs, two clusters and a draw; got {values.shape[:2]} and {draws} draws"
        )
    strata = np.zeros(values.shape[1], int) if strata is None else np.asarray(strata)
    if len(strata) != values.shape[1]:
        raise ValueError(f"{values.shape[1]} clusters need as many strata, got {len(strata)}")
    means = two_way_means(values, strata, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.einsum("rkc,k->c", values, stratum_shares(strata)) / values.shape[0], low, high
