"""Distances between synthetic and real images: is a synthetic image nearer to its own source than to others (C6)?"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinsyn.run import seeds

__all__ = ["Paired", "by_image", "paired_against_permuted", "places", "recognised"]


class Paired(NamedTuple):
    """Mean cosine distances to the own source and under permuted sources, and their difference.

    low, high: its interval by Student's t, sources as the sample; p is one-sided.
    """

    paired: float
    permuted: float
    difference: float
    low: float
    high: float
    p: float
    images: int
    sources: int
    draws: int


def by_image(
    rows: pd.DataFrame, synthetic: np.ndarray, sources: pd.DataFrame, real: np.ndarray, seed: int = 0
) -> pd.DataFrame:
    """Cosine distance of each synthetic image to its source ('paired') and to another of its condition ('permuted').

    rows: synthetic images (image_id, parent, condition), synthetic: float (n, d); sources: real images (image_id,
    condition), real: float (m, d). Returns image_id, kind, distance.
    A condition's only source has no other, and gives 'paired' alone.

    >>> sources = pd.DataFrame({"image_id": ["a", "b"], "condition": "target"})
    >>> rows = pd.DataFrame({"image_id": ["s"], "parent": ["a"], "condition": "target"})
    >>> by_image(rows, np.array([[1.0, 0.0]]), sources, np.eye(2))[["kind", "distance"]].to_numpy().tolist()
    [['paired', 0.0], ['permuted', 1.0]]
    """
    own = places(rows["parent"], sources)
    rng = seeds.generator("another source", seed)
    same = sources["condition"].to_numpy()[None, :] == sources["condition"].to_numpy()[own][:, None]
    same[np.arange(len(rows)), own] = False
    single = ~same.any(axis=1)
    another = np.where(same, rng.random(same.shape), -1.0).argmax(axis=1)
    distance = cdist(synthetic, real, "cosine")
    pairs = rows[["image_id"]].assign(kind="paired", distance=distance[np.arange(len(rows)), own])
    permuted = rows[["image_id"]].assign(kind="permuted", distance=distance[np.arange(len(rows)), another])
    return pd.concat([pairs, permuted[~single]], ignore_index=True)


def places(parents: pd.Series, sources: pd.DataFrame) -> np.ndarray:
    """Row in `sources` of each parent. Raises ValueError naming a parent that is not among them.

    >>> places(pd.Series(["b", "a", "b"]), pd.DataFrame({"image_id": ["a", "b"]})).tolist()
    [1, 0, 1]
    """
    place = pd.Index(sources["image_id"]).get_indexer(parents)
    if (place < 0).any():
        raise ValueError(f"the parent {parents[place < 0].iloc[0]!r} is not among the real images given")
    return place


def paired_against_permuted(
    rows: pd.DataFrame,
    synthetic: np.ndarray,
    sources: pd.DataFrame,
    real: np.ndarray,
    draws: int = 9999,
    seed: int = 0,
    level: float = 0.95,
) -> Paired:
    """Claim C6: are synthetic images nearer to their own source than if sources were dealt at random within conditions?

    Arguments as in `by_image`. The unit of permutation is the source with all of its synthetic images, since they share
    it; sources without any are left out. `permuted` is the exact mean over all permutations; p = (1 + b) / (draws + 1),
    with b the draws that lie as near as the observed (Phipson & Smyth 2010). All but `paired` is NaN, and draws 0,
    where no condition has two sources.

    >>> sources = pd.DataFrame({"image_id": list("abcdef"), "condition": "target"})
    >>> rows = pd.DataFrame({"image_id": range(6), "parent": list("abcdef"), "condition": "target"})
    >>> real = np.random.default_rng(0).random((6, 8))
    >>> result = paired_against_permuted(rows, real + 0.01, sources, real)
    >>> result.paired < result.permuted, result.p < 0.01
    (True, True)
    """
    parents, own = np.unique(places(rows["parent"], sources), return_inverse=True)
    sums = np.zeros((len(parents), len(parents)))
    np.add.at(sums, own, cdist(synthetic, real[parents], "cosine"))
    means = sums / np.bincount(own)[:, None]  # mean distance of source i's images to source j
    groups = [np.flatnonzero(g) for g in pd.get_dummies(sources["condition"].to_numpy()[parents]).to_numpy().T]
    if max(map(len, groups)) < 2:  # nothing can be dealt anew
        nan = float("nan")
        return Paired(float(means.diagonal().mean()), nan, nan, nan, nan, nan, len(rows), len(parents), 0)
    rng = seeds.generator("paired against permuted", seed)
    permuted_sums = np.zeros(draws)
    for group in groups:
        order = rng.permuted(np.tile(group, (draws, 1)), axis=1)
        permuted_sums += means[group[None, :], order].sum(axis=1)
    own_distance, any_distance = np.diag(means), np.zeros(len(parents))
    for group in groups:
        any_distance[group] = means[np.ix_(group, group)].mean(axis=1)
    nearer = int((permuted_sums <= own_distance.sum() * (1 + 1e-12)).sum())
    difference = own_distance - any_distance
    low, high = map(float, stats.ttest_1samp(difference, 0).confidence_interval(level))
    paired, permuted, mean = (float(values.mean()) for values in (own_distance, any_distance, difference))
    return Paired(paired, permuted, mean, low, high, (1 + nearer) / (draws + 1), len(rows), len(parents), draws)


def recognised(real: np.ndarray, labels: pd.Series, synthetic: np.ndarray) -> np.ndarray:
    """The condition that logistic regression, fitted on real images' embeddings (m, d), sees in synthetic ones (n, d).

    >>> x = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [0.9, 0.0]])
    >>> recognised(x, pd.Series(["target", "target", "linear", "linear"]), x[[0, 3]]).tolist()
    ['target', 'linear']
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    return model.fit(real, labels).predict(synthetic)
