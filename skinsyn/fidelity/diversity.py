"""Diversity by skin type: do synthetic images vary as much as real ones, and equally across skin types?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from . import MODEL, distributions, groups

__all__ = ["Diversity", "gap", "ratio", "table"]

COLUMNS = [*MODEL, "group", "ratio", "low", "high", "synthetic", "real", "clusters", "gap", "gap_low", "gap_high"]


class Diversity(NamedTuple):
    """Diversity of synthetic images over that of real ones; jackknife standard error (NaN below two clusters)."""

    ratio: float
    se: float
    synthetic: float
    real: float
    clusters: int


def _without_each(
    x: np.ndarray, conditions: Sequence, clusters: Sequence, every: Sequence
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """(sum of cosine similarities, number) of pairs of one condition and two clusters; and both without each cluster.

    x: unit rows (n, d). every: the cluster ids, in whose order the latter two are.
    """
    cells = pd.MultiIndex.from_arrays([conditions, clusters]).factorize()
    sums = np.zeros((len(cells[1]), x.shape[1]))
    np.add.at(sums, cells[0], x)
    size = np.bincount(cells[0]).astype(float)
    own, lengths = cells[1].get_level_values(0), (sums**2).sum(1)
    groups = pd.factorize(own)[0]
    totals, counts = np.zeros((groups.max() + 1, x.shape[1])), np.bincount(groups, size)
    np.add.at(totals, groups, sums)
    similar = float((totals**2).sum() - lengths.sum())
    number = float((counts**2).sum() - (size**2).sum())
    less_similar = 2 * (lengths - (totals[groups] * sums).sum(1))
    less = 2 * (size**2 - counts[groups] * size)
    place = pd.Index(every).get_indexer(cells[1].get_level_values(1))
    each_similar, each = np.zeros(len(every)), np.zeros(len(every))
    np.add.at(each_similar, place, less_similar)
    np.add.at(each, place, less)
    return similar, number, similar + each_similar, number + each


def ratio(
    synthetic: np.ndarray, of: tuple[Sequence, Sequence], real: np.ndarray, of_real: tuple[Sequence, Sequence]
) -> Diversity:
    """Mean cosine distance between two images of one condition and different clusters, synthetic over real.

    synthetic (n, d), of: their conditions and clusters (their source's); real (m, d), of_real: theirs. Pairs of one
    cluster are left out, so that numbers of images need not be equal. The jackknife leaves out a cluster with all its
    images, real and synthetic. NaN where a side has no pair.

    >>> labels = ["target", "target"], ["x", "y"]
    >>> ratio(np.array([[1.0, 0.0], [1.0, 0.0]]), labels, np.eye(2), labels).ratio
    0.0
    """
    every = sorted({*of[1], *of_real[1]})
    parts = [
        _without_each(distributions.unit(x), *labels, every)
        for x, labels in ((synthetic, of), (real, of_real))
        if len(x)
    ]
    nan = float("nan")
    if len(parts) < 2 or min(part[1] for part in parts) <= 0:
        return Diversity(nan, nan, nan, nan, len(every))
    ours, theirs = (1 - similar / number for similar, number, *_ in parts)
    k = len(every)
    with np.errstate(invalid="ignore", divide="ignore"):  # without a cluster, none or one image may be left: se is NaN
        left = (1 - parts[0][2] / parts[0][3]) / (1 - parts[1][2] / parts[1][3])
        se = float(np.sqrt((k - 1) / k * ((left - left.mean()) ** 2).sum()))
    return Diversity(float(ours / theirs), se, float(ours), float(theirs), k)


def gap(one: Diversity, other: Diversity, level: float = 0.95) -> tuple[float, float, float]:
    """(difference, low, high) of two groups' ratios, one minus other; the groups share no cluster (Welch's df).

    >>> groups = Diversity(0.7, 0.03, 0.35, 0.5, 20), Diversity(0.9, 0.04, 0.45, 0.5, 20)
    >>> [round(value, 2) for value in gap(*groups)]
    [-0.2, -0.3, -0.1]
    """
    variance = np.array([one.se, other.se]) ** 2
    df = variance.sum() ** 2 / (variance**2 / np.maximum([one.clusters - 1, other.clusters - 1], 1)).sum()
    half = float(stats.t.ppf(0.5 + level / 2, df) * np.sqrt(variance.sum()))
    return one.ratio - other.ratio, one.ratio - other.ratio - half, one.ratio - other.ratio + half


def table(
    rows: pd.DataFrame, synthetic: np.ndarray, images: pd.DataFrame, real: np.ndarray, level: float = 0.95
) -> pd.DataFrame:
    """By model and skin-type group: ratio, low, high, and `gap` to I-II with its interval.

    rows: synthetic images (method, generator, scope, parent, condition, fst_group); images: their real sources
    (image_id, cluster_id, condition, fst_group). Returns COLUMNS; synthetic and real are the mean distances.

    >>> images = pd.DataFrame({"image_id": ["a", "b"], "cluster_id": ["x", "y"], "condition": "target"})
    >>> rows = pd.DataFrame({"parent": ["a", "b"], "condition": "target", **dict.fromkeys(MODEL, "m")})
    >>> like_real = table(rows.assign(fst_group="I-II"), np.eye(2), images.assign(fst_group="I-II"), np.eye(2))
    >>> like_real[["group", "ratio", "clusters"]].to_numpy().tolist()
    [['I-II', 1.0, 2]]
    """
    clusters = images.set_index("image_id")["cluster_id"].reindex(rows["parent"]).to_numpy()
    records = []
    conditions = rows["condition"].to_numpy()
    for model, of_model in groups(rows, MODEL):
        diversities = {}
        for labels, places in groups(rows.iloc[of_model], ["fst_group"]):
            group, at = labels["fst_group"], of_model[places]
            in_group = (images["fst_group"] == group).to_numpy()
            theirs = images[in_group]
            ours = conditions[at], clusters[at]
            diversities[group] = ratio(synthetic[at], ours, real[in_group], (theirs["condition"], theirs["cluster_id"]))
        for group, one in diversities.items():
            half = stats.t.ppf(0.5 + level / 2, max(one.clusters - 1, 1)) * one.se
            row = model | one._asdict() | {"group": group, "low": one.ratio - half, "high": one.ratio + half}
            if "I-II" in diversities and group not in ("I-II", "unknown"):
                row |= dict(zip(["gap", "gap_low", "gap_high"], gap(one, diversities["I-II"], level), strict=True))
            records.append(row)
    return pd.DataFrame(records, columns=COLUMNS)
