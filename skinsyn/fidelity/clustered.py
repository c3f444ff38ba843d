"""Means and shares of images that come in clusters: children of one source, photographs of one patient."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from skinsyn.run import seeds
from skinsyn.stats.bootstrap import picks

__all__ = ["Estimate", "mean", "share"]


class Estimate(NamedTuple):
    """A value with its interval (NaN where it rests on one cluster), and what it rests on."""

    value: float
    low: float
    high: float
    images: int
    clusters: int


def _sums(values: np.ndarray, clusters: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the values and number of images of each cluster. Raises ValueError where there is no image."""
    values = np.asarray(values, float)
    if not len(values):
        raise ValueError("no image to average over")
    codes = pd.factorize(np.asarray(clusters), sort=True)[0]
    return np.bincount(codes, values), np.bincount(codes).astype(float)


def mean(values: np.ndarray, clusters: Sequence, draws: int = 2000, seed: int = 0, level: float = 0.95) -> Estimate:
    """The mean over images, with a percentile bootstrap interval that draws whole clusters.

    values: float (n,) without NaN; clusters: one id per image.

    >>> mean(np.array([0.0, 1.0, 2.0]), ["x", "x", "y"])[:1], mean(np.array([0.0, 1.0]), ["x", "x"])[3:]
    ((1.0,), (2, 1))
    """
    total, size = _sums(values, clusters)
    value = float(total.sum() / size.sum())
    if len(total) < 2:
        return Estimate(value, float("nan"), float("nan"), int(size.sum()), len(total))
    weights = picks(len(total), draws, seeds.generator("clustered mean", seed))
    low, high = np.quantile(weights @ total / (weights @ size), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), int(size.sum()), len(total))


def share(right: np.ndarray, clusters: Sequence, level: float = 0.95) -> Estimate:
    """The share of True, with Wilson's interval at the effective sample size (Franco, Little, Louis and Slud 2019).

    Journal of Survey Statistics and Methodology 7:334-364. The effective sample size is the number of independent
    images with the same variance, never above the number of images; where all images agree it cannot be estimated, and
    is the number of clusters.

    >>> one, many = share(np.arange(8) < 4, [0] * 4 + [1] * 4), share(np.arange(8) < 4, range(8))
    >>> one.value, one.high - one.low > many.high - many.low
    (0.5, True)
    """
    total, size = _sums(right, clusters)
    n, k = size.sum(), len(total)
    p = total.sum() / n
    if k < 2:
        return Estimate(float(p), float("nan"), float("nan"), int(n), k)
    variance = k / (k - 1) * float(((total - p * size) ** 2).sum()) / n**2
    effective = min(n, p * (1 - p) / variance) if variance > 0 else k
    # Student's quantile instead of the normal one: the variance is itself estimated, from few clusters.
    alpha = 2 * stats.norm.sf(stats.t.ppf(0.5 + level / 2, k - 1))
    low, high = proportion_confint(p * effective, effective, alpha, "wilson")
    return Estimate(float(p), float(low), float(high), int(n), k)
