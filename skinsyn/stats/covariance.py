"""Several estimates that share training runs and test images: their covariance, from the variances of differences."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .clusters import too_few
from .estimands import Parts
from .mrmc import Gain, gain_from_groups

__all__ = ["Joint", "of_parts"]


class Joint(NamedTuple):
    """Estimates as proportions (k,), their covariance (k, k), and degrees of freedom (k, k): on the diagonal those of
    the estimates, off it those of their differences. Not estimable: NaN, and a reason in `flags`."""

    estimates: np.ndarray
    covariance: np.ndarray
    df: np.ndarray
    flags: str


def of_parts(sums: Sequence[Parts]) -> Joint:
    """Covariance of estimates that are tested by `mrmc.gain_from_groups`: Cov(a, b) = (Var a + Var b - Var(a - b))/2.

    sums: of `estimands.parts`, with the same runs in the same order. So the variance of every estimate and of every
    difference of two is that of their own test, runs and clusters random. An estimate, or a difference, that is the
    same in every run and cluster has no variance and infinite degrees of freedom.
    Raises ValueError where there is no estimate or their runs differ.

    >>> one = Parts([np.array([[1, 0, 1], [1, 1, 0]])], [np.array(["a", "b", "c"])], [1.0], 3, [], "clusters")
    >>> joint = of_parts([one, one])
    >>> bool(np.allclose(joint.covariance, joint.covariance[0, 0])), joint.flags
    (True, '')
    """
    runs = {len(values) for one in sums for values in one.values}
    if len(runs) != 1:
        raise ValueError(f"estimates must share their runs; numbers of runs: {sorted(runs)}")
    clusters = min(len(set(ids)) for one in sums for ids in one.clusters)
    alone = [_gain(one) for one in sums]
    estimates = np.array([gain.estimate for gain in alone])
    if flags := too_few(runs.pop(), clusters):
        nan = np.full((len(sums), len(sums)), np.nan)
        return Joint(estimates, nan, nan.copy(), flags)
    variance, df = np.diag([_variance(gain) for gain in alone]), np.diag([_df(gain) for gain in alone])
    covariance = variance.copy()
    for i, j in itertools.combinations(range(len(sums)), 2):
        difference = _gain(_minus(sums[i], sums[j]))
        shared = (variance[i, i] + variance[j, j] - _variance(difference)) / 2
        covariance[i, j] = covariance[j, i] = shared
        df[i, j] = df[j, i] = _df(difference)
    return Joint(estimates, covariance, df, "")


def _gain(one: Parts) -> Gain:
    return gain_from_groups(one.values, one.clusters, one.weights, count=one.counted)


def _minus(first: Parts, second: Parts) -> Parts:
    """The difference of two sums, as one sum."""
    return first._replace(
        values=[*first.values, *second.values],
        clusters=[*first.clusters, *second.clusters],
        weights=[*first.weights, *(-weight for weight in second.weights)],
    )


def _variance(gain: Gain) -> float:
    return 0.0 if np.isnan(gain.se) else gain.se**2


def _df(gain: Gain) -> float:
    return np.inf if np.isnan(gain.df) else gain.df
