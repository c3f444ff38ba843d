"""Resampling runs and clusters together: every estimate shares the same draws of both."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

BLOCK = 2**24  # numbers in memory at once
ENOUGH_RUNS = 10  # simulated coverage of the percentile interval where runs vary: 3 runs .85, 5 runs .87, 10 runs .93


def few_runs(runs: int) -> list[str]:
    """Flag of a percentile interval from few runs, whose spread it takes for known; empty from ENOUGH_RUNS on.

    >>> few_runs(10), few_runs(5)
    ([], ['bootstrap interval from 5 runs: too narrow'])
    """
    return [f"bootstrap interval from {runs} runs: too narrow"] if 1 < runs < ENOUGH_RUNS else []


def percentile_interval(estimates: np.ndarray, level: float) -> np.ndarray:
    """Efron and Tibshirani 1993, ch. 13: percentile interval, (2, ...) ends of resampled estimates (draws, ...).

    >>> percentile_interval(np.arange(101.0), 0.9).round(6).tolist()
    [5.0, 95.0]
    """
    return np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2], axis=0)


def stratum_shares(strata: np.ndarray) -> np.ndarray:
    """Share of each cluster (one stratum per cluster) in the mean over strata of the mean over clusters.

    >>> stratum_shares(np.array(["a", "a", "b"])).tolist()
    [0.25, 0.25, 0.5]
    """
    _, index, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    return 1 / (sizes[index] * len(sizes))


def picks(size: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Efron 1979: (draws, size) counts of each of `size` units when `size` are drawn with replacement.

    >>> picks(3, 2, np.random.default_rng(0)).sum(axis=1).tolist()
    [3, 3]
    """
    drawn = rng.integers(0, size, (draws, size), dtype=np.int32) + np.arange(draws, dtype=np.int32)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size)


def cluster_shares(
    strata: np.ndarray, draws: int, rng: np.random.Generator, weights: Mapping | None = None
) -> np.ndarray:
    """Stratified bootstrap (Efron 1979): (draws, clusters) shares in the weighted sum over strata of cluster means.

    strata: one per cluster; clusters are drawn within their stratum. weights: stratum → weight, e.g. a contrast or a
    mix of patients; None gives the mean over strata.

    >>> cluster_shares(np.array(["a", "a", "b"]), 2, np.random.default_rng(0)).sum(axis=1).round(6).tolist()
    [1.0, 1.0]
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
    """Owen 2007, pigeonhole bootstrap: (draws, k) means of values (runs, clusters, k), both factors resampled.

    A cell (run × cluster) counts as often as its run and its cluster were drawn, clusters within their stratum (Annals
    of Applied Statistics 1:386-411). All k share the draws, so that what is equal cell by cell stays equal in each.

    >>> two_way_means(np.full((2, 3, 1), 0.5), np.zeros(3, int), 2, np.random.default_rng(0)).round(6).tolist()
    [[0.5], [0.5]]
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
    """Owen 2007, pigeonhole bootstrap: percentile interval of the contrast that `mrmc.paired_gain` tests.

    tables: one (runs, clusters) array per group; runs are drawn once for all groups. (NaN, NaN) with one run or one
    cluster.

    >>> tuple(round(end, 6) for end in contrast_interval([np.full((2, 3), 0.25)], [1.0], draws=50))
    (0.25, 0.25)
    """
    if tables[0].shape[0] < 2 or min(table.shape[1] for table in tables) < 2:
        return float("nan"), float("nan")
    strata = np.repeat(np.arange(len(tables)), [table.shape[1] for table in tables])
    values = np.concatenate(tables, axis=1)[:, :, None]
    means = two_way_means(values, strata, draws, np.random.default_rng(seed), dict(enumerate(weights)))[:, 0]
    low, high = percentile_interval(means, level)
    return float(low), float(high)


def two_way_intervals(
    values: np.ndarray, strata: npt.ArrayLike | None = None, draws: int = 9999, seed: int = 0, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owen 2007, pigeonhole bootstrap: (estimate, low, high), each (k,), of k comparisons sharing runs and clusters.

    values: (runs, clusters, k), e.g. correct in one arm minus correct in another. strata: one per cluster; the estimate
    is then the mean over strata. Raises ValueError on NaN, another shape, or fewer than two runs or clusters.

    >>> [round(float(ends[0]), 6) for ends in two_way_intervals(np.full((2, 3, 1), 0.25), draws=50)]
    [0.25, 0.25, 0.25]
    """
    values = np.asarray(values, float)
    if values.ndim != 3 or not np.isfinite(values).all():
        raise ValueError(f"values must be (runs, clusters, comparisons) without NaN, got shape {values.shape}")
    if min(values.shape[:2]) < 2 or draws < 1:
        raise ValueError(
            f"resampling needs two runs, two clusters and a draw; got {values.shape[:2]} and {draws} draws"
        )
    of_cluster = np.zeros(values.shape[1], int) if strata is None else np.asarray(strata)
    if len(of_cluster) != values.shape[1]:
        raise ValueError(f"{values.shape[1]} clusters need as many strata, got {len(of_cluster)}")
    low, high = percentile_interval(two_way_means(values, of_cluster, draws, np.random.default_rng(seed)), level)
    return np.einsum("rkc,k->c", values, stratum_shares(of_cluster)) / values.shape[0], low, high
