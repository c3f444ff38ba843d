"""Clusters of images (patients, near-duplicate cliques): from values per image to tables of runs × clusters.

A cluster may hold several images and belong to several groups; `mrmc.paired_gain` tests the tables of `influence`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

NOT_ESTIMABLE = "not estimable"


class ClusterMeans(NamedTuple):
    """Means by cluster of one group: the clusters' names, (..., runs, clusters) means, shares in the group's mean."""

    names: np.ndarray
    means: np.ndarray
    share: np.ndarray


def too_few(runs: int, clusters: int) -> str:
    """Why there is no interval: "not estimable: one run only", or cluster; empty where there are two of each.

    >>> too_few(1, 40)
    'not estimable: one run only'
    """
    return f"{NOT_ESTIMABLE}: one {'run' if runs == 1 else 'cluster'} only" if 1 in (runs, clusters) else ""


def effective(cluster_ids: npt.ArrayLike, count: str = "clusters") -> float:
    """Kish 1965, (sum n)^2 / sum of n^2: how many clusters of equal size the ids are worth; their number by "clusters".

    >>> effective(["a", "a", "a", "b"], "images"), effective(["a", "a", "a", "b"])
    (1.6, 2.0)
    """
    sizes = np.unique(np.asarray(cluster_ids).astype(str), return_counts=True)[1]
    return float(sizes.sum() ** 2 / np.square(sizes).sum()) if count == "images" else float(len(sizes))


def within_strata(
    values: np.ndarray, strata: npt.ArrayLike, cluster_ids: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Means by cluster within stratum of (runs, images, ...) values: (runs, cells, ...), and the stratum of each cell.

    strata, cluster_ids: one per image. Cells are sorted by stratum, then by cluster.

    >>> means, strata = within_strata(np.array([[1.0, 0.0, 1.0]]), ["x", "x", "y"], ["a", "a", "a"])
    >>> means.tolist(), strata.tolist()
    ([[0.5, 1.0]], ['x', 'y'])
    """
    pairs = pd.MultiIndex.from_arrays([np.asarray(strata), np.asarray(cluster_ids).astype(str)])
    codes, cells = pd.factorize(pairs, sort=True)
    sums = np.zeros((len(cells), *np.delete(values.shape, 1)))
    np.add.at(sums, codes, values.swapaxes(0, 1))
    sizes = np.bincount(codes).reshape(-1, *[1] * (sums.ndim - 1))
    return (sums / sizes).swapaxes(0, 1), np.asarray(cells.get_level_values(0))


def influence(
    values: Sequence[np.ndarray],
    cluster_ids: Sequence[npt.ArrayLike],
    weights: Sequence[float],
    count: str = "clusters",
) -> tuple[list[np.ndarray], list[float]]:
    """Cluster influence values of the signed mean, for Hillis 2007's two-way table: (tables, weights).

    values: one (..., runs, images) array per group, leading axes for many data sets of one design; cluster_ids: one id
    per image of each group; weights: one per group.
    Groups that share no cluster keep a table of their own. Groups joined by shared clusters become one table of weight
    1, whose cell is the sum over groups of K · weight · share · (the cluster's mean - the group's mean), to which the
    run's estimate is added, so that row means are the estimates. Each group is scaled to its own degrees of freedom: a
    table joined from groups that share nothing would give the same mean squares as separate ones.
    A group of a single cluster has no spread to estimate: it is returned as a table of one column, the others apart.
    Raises ValueError on NaN, empty groups, unequal runs or an unknown `count`.

    >>> tables, weights = influence([np.array([[1, 0, 1], [1, 1, 0]])], [["a", "a", "b"]], [1.0])
    >>> tables[0].tolist()
    [[0.5, 1.0], [1.0, 0.0]]
    """
    if count not in ("clusters", "images"):
        raise ValueError(f"count must be 'clusters' or 'images', not {count!r}")
    if not len(values) == len(cluster_ids) == len(weights):
        raise ValueError(f"{len(values)} groups, {len(cluster_ids)} lists of clusters, {len(weights)} weights")
    pairs = zip(values, cluster_ids, strict=True)
    groups = [cluster_means(np.asarray(v, float), ids, count, g) for g, (v, ids) in enumerate(pairs)]
    if len({group.means.shape[:-1] for group in groups}) > 1:
        raise ValueError(f"groups differ in their runs: {[group.means.shape[-2] for group in groups]}")
    single = any(len(group.names) == 1 for group in groups)  # not estimable: `paired_gain` will flag it
    tables, shares = [], []
    for members in [[g] for g in range(len(groups))] if single else _joined([group.names for group in groups]):
        apart = len(members) == 1
        tables.append(_table([groups[g] for g in members], [1.0] if apart else [weights[g] for g in members]))
        shares.append(float(weights[members[0]]) if apart else 1.0)
    return tables, shares


def cluster_means(values: np.ndarray, cluster_ids: npt.ArrayLike, count: str, group: int) -> ClusterMeans:
    """Means by cluster of (..., runs, images) values; count: the mean over "clusters" or over "images".

    group: its number, for messages. Raises ValueError where values are empty or NaN, or ids do not fit.

    >>> _, means, share = cluster_means(np.array([[1.0, 0.0, 1.0]]), ["a", "a", "b"], "clusters", 0)
    >>> means.tolist(), share.tolist()
    ([[0.5, 1.0]], [0.5, 0.5])
    """
    ids = np.asarray(cluster_ids).astype(str)
    if values.ndim < 2 or values.shape[-1] == 0:
        raise ValueError(
            f"group {group} is empty: shape {values.shape}; expected (runs, images) with at least one image"
        )
    if values.shape[-1] != len(ids):
        raise ValueError(f"group {group}: {values.shape[-1]} images but {len(ids)} cluster ids")
    if np.isnan(values).any():
        run, image = np.argwhere(np.isnan(values))[0][-2:]
        raise ValueError(f"group {group} holds NaN, first at run {run}, image {image} (counted from 0)")
    names, index, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    sums = np.add.reduceat(values[..., np.argsort(index, kind="stable")], starts, axis=-1)
    share = np.full(len(names), 1 / len(names)) if count == "clusters" else sizes / sizes.sum()
    return ClusterMeans(names, sums / sizes, share)


def _joined(names: list[np.ndarray]) -> list[list[int]]:
    """Groups that are linked by common clusters, in order of first appearance."""
    clusters, index = np.unique(np.concatenate(names), return_inverse=True)
    owner = np.repeat(np.arange(len(names)), [len(n) for n in names])
    links = coo_array((np.ones(len(owner)), (owner, index)), shape=(len(names), len(clusters))).tocsr()
    _, label = connected_components(links @ links.T, directed=False)
    return [np.flatnonzero(label == k).tolist() for k in dict.fromkeys(label.tolist())]


def _table(groups: list[ClusterMeans], weights: list[float]) -> np.ndarray:
    """One (..., runs, clusters) table of estimate plus centred influence for groups that share clusters."""
    if len(groups) == 1 and len(groups[0].names) == 1:
        return groups[0].means
    clusters = np.unique(np.concatenate([group.names for group in groups]))
    total = len(clusters)
    table = np.zeros((*groups[0].means.shape[:-1], total))
    for (names, means, share), weight in zip(groups, weights, strict=True):
        centre = (means @ share)[..., None]
        n = len(names)
        scale = np.sqrt(n * (total - 1) / ((n - 1) * total))  # 1 where the group is the whole table
        table[..., np.searchsorted(clusters, names)] += total * weight * share * (means - centre) * scale
    for (_, means, share), weight in zip(groups, weights, strict=True):
        table += weight * (means @ share)[..., None]
    return table
