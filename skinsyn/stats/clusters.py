"""Clusters of images (patients, near-duplicate cliques): from what each image says to a table of runs × clusters.

A cluster may hold several images and stand in several groups; what is returned is what `mrmc.paired_gain` can test.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def influence(
    values: Sequence[np.ndarray],
    cluster_ids: Sequence[Sequence[Hashable]],
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
    A group of a single cluster has no spread to estimate and is returned as a table of one column.
    Raises ValueError on NaN, empty groups, unequal runs or an unknown `count`.

    >>> tables, weights = influence([np.array([[1, 0, 1], [1, 1, 0]])], [["a", "a", "b"]], [1.0])
    >>> tables[0].tolist()
    [[0.5, 1.0], [1.0, 0.0]]
    """
    if count not in ("clusters", "images"):
        raise ValueError(f"count must be 'clusters' or 'images', not {count!r}")
    if not len(values) == len(cluster_ids) == len(weights):
        raise ValueError(f"{len(values)} groups, {len(cluster_ids)} lists of clusters, {len(weights)} weights")
    cells = [
        cluster_means(np.asarray(v, float), c, count, g)
        for g, (v, c) in enumerate(zip(values, cluster_ids, strict=True))
    ]
    if len({cell[1].shape[:-1] for cell in cells}) > 1:
        raise ValueError(f"groups differ in their runs: {[cell[1].shape[-2] for cell in cells]}")
    lonely = [g for g, cell in enumerate(cells) if len(cell[0]) == 1]
    if lonely:  # paired_gain will flag them; their shares of other tables cannot be told
        return [
            cell[1] @ cell[2][:, None] if g in lonely else _pseudo([cell], [1.0]) for g, cell in enumerate(cells)
        ], list(weights)
    tables, shares = [], []
    for members in _joined([cell[0] for cell in cells]):
        single = len(members) == 1
        tables.append(_pseudo([cells[g] for g in members], [1.0] if single else [weights[g] for g in members]))
        shares.append(float(weights[members[0]]) if single else 1.0)
    return tables, shares


def cluster_means(values: np.ndarray, clusters: Sequence[Hashable], count: str, group: int) -> tuple:
    """(names, (..., runs, clusters) means, share of each cluster in the group's mean).

    >>> names, means, share = cluster_means(np.array([[1.0, 0.0, 1.0]]), ["a", "a", "b"], "clusters", 0)
    >>> means.tolist(), share.tolist()
    ([[0.5, 1.0]], [0.5, 0.5])
    """
    if values.ndim < 2 or values.shape[-1] == 0:
        raise ValueError(
            f"group {group} is empty: shape {values.shape}; expected (runs, images) with at least one image"
        )
    if values.shape[-1] != len(clusters):
        raise ValueError(f"group {group}: {values.shape[-1]} images but {len(clusters)} cluster ids")
    if np.isnan(values).any():
        run, image = np.argwhere(np.isnan(values))[0][-2:]
        raise ValueError(f"group {group} holds NaN, first at run {run}, image {image} (counted from 0)")
    names, index, sizes = np.unique(np.asarray(clusters).astype(str), return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums = np.add.reduceat(values[..., np.argsort(index, kind="stable")], starts, axis=-1)
    share = np.full(len(names), 1 / len(names)) if count == "clusters" else sizes / sizes.sum()
    return names, sums / sizes, share


def _joined(names: list[np.ndarray]) -> list[list[int]]:
    """Groups that are linked by common clusters, in order of first appearance."""
    every, index = np.unique(np.concatenate(names), return_inverse=True)
    owner = np.repeat(np.arange(len(names)), [len(n) for n in names])
    links = coo_array((np.ones(len(owner)), (owner, index)), shape=(len(names), len(every))).tocsr()
    _, label = connected_components(links @ links.T, directed=False)
    return [np.flatnonzero(label == k).tolist() for k in dict.fromkeys(label.tolist())]


def _pseudo(cells: list[tuple], weights: list[float]) -> np.ndarray:
    """One (..., runs, clusters) table of estimate plus centred influence for groups that share clusters."""
    every = np.unique(np.concatenate([cell[0] for cell in cells]))
    total = len(every)
    table = np.zeros((*cells[0][1].shape[:-1], total))
    for (names, means, share), weight in zip(cells, weights, strict=True):
        centre = (means @ share)[..., None]
        n = len(names)
        scale = np.sqrt(n * (total - 1) / ((n - 1) * total))  # 1 where the group is the whole table
        table[..., np.searchsorted(every, names)] += total * weight * share * (means - centre) * scale
    for (_, means, share), weight in zip(cells, weights, strict=True):
        table += weight * (means @ share)[..., None]
    return table
