"""Intervals of rates and of their changes, runs and clusters random: those of the MRMC test, without resampling.

A statistic that is no mean (predictive value, AUROC, calibration slope) enters through its linearised values: one value
per image whose mean is the statistic, and whose spread is that of its influence function.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from .mrmc import gain_from_groups, interval


class Interval(NamedTuple):
    """An estimate with its interval, NaN where there is none, and the flags that say why."""

    estimate: float
    low: float
    high: float
    flags: tuple[str, ...]


def of_means(
    values: Sequence[np.ndarray],
    cluster_ids: Sequence[npt.ArrayLike],
    weights: Sequence[float] = (1.0,),
    level: float = 0.95,
    proportion: bool = False,
) -> Interval:
    """Hillis 2007: interval of a weighted sum over groups of means of (runs, images) values, each cluster counted once.

    cluster_ids, weights: per group. proportion: on the logit scale (as survey::svyciprop of R, method "logit"), so that
    it stays within 0..1.

    >>> found = of_means([np.array([[1, 0, 1, 1], [1, 1, 1, 1]])], [range(4)], proportion=True)
    >>> [round(float(end), 3) for end in found[:3]]
    [0.875, 0.0, 1.0]
    """
    gain = gain_from_groups(values, cluster_ids, weights, level)
    low, high, estimate = gain.low, gain.high, gain.estimate
    if proportion and gain.estimable and 0 < estimate < 1:
        ends = interval(float(logit(estimate)), gain.se / (estimate * (1 - estimate)), gain.df, level)
        low, high = (float(expit(end)) for end in ends)
    flags = tuple(flag.replace("all differences are", "every value is") for flag in gain.flags)
    return Interval(estimate, low, high, flags if proportion else gain.flags)


def once(cluster_ids: npt.ArrayLike) -> np.ndarray:
    """(images,) weights that sum to 1, in which every cluster counts once.

    >>> once(["a", "a", "b"]).tolist()
    [0.25, 0.25, 0.5]
    """
    names, index, sizes = np.unique(np.asarray(cluster_ids).astype(str), return_inverse=True, return_counts=True)
    return 1 / (sizes[index] * len(names))


def ratio(numerator: np.ndarray, denominator: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Linearised ratio of means over runs and images (Woodruff 1971): (runs, images) values around the ratio.

    numerator, denominator: (runs, images); weight: (images,), summing to 1. One ratio for all runs: a run in which the
    denominator is 0 takes part. Values are NaN where it is 0 in every run.

    >>> ratio(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]]), np.full(2, 0.5)).tolist()
    [[1.0, 0.0]]
    """
    total = float((denominator @ weight).mean())
    if total == 0:
        return np.full(numerator.shape, np.nan)
    value = float((numerator @ weight).mean()) / total
    return value + (numerator - value * denominator) / total
