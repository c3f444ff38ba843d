"""Several estimates that share training runs and test images: their covariance, from the variances of differences."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .clusters import NOT_ESTIMABLE, influence
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
    difference of two is that of their own test, runs and clusters random. An estimate, or a difference, that is zero
    in every run and cluster has no variance and infinite degrees of freedom; where another is not estimable, or runs
    differ between the estimates, none is. Raises ValueError where there is no estimate.

    >>> one = Parts([np.array([[1, 0, 1], [1, 1, 1]])], [np.array(["a", "b", "c"])], [1.0], 3, [], "clusters")
    >>> joint = of_parts([one, one])
    >>> bool(np.allclose(joint.covariance, joint.covariance[0, 0])), joint.flags
    (True, '')
    """
    if not sums:
        raise ValueError("no estimate: expected at least one")
    alone = [_gain(one) for one in sums]
    estimates, shape = np.array([gain.estimate for gain in alone]), (len(sums), len(sums))
    nothing = Joint(estimates, np.full(shape, np.nan), np.full(shape, np.nan), "")
    if len({len(values) for one in sums for values in one.values}) > 1:
        return nothing._replace(flags=f"{NOT_ESTIMABLE}: the estimates rest on different runs")
    variance, df = np.zeros(shape), np.full(shape, np.inf)
    for i, j in itertools.combinations_with_replacement(range(len(sums)), 2):
        pair = sums[i] if i == j else _minus(sums[i], sums[j])
        gain = alone[i] if i == j else _gain(pair)
        if np.isfinite(gain.se):
            variance[i, j] = variance[j, i] = gain.se**2
            df[i, j] = df[j, i] = gain.df
        elif len(pair.values[0]) < 2 or _varies(pair):
            return nothing._replace(flags=gain.flags[0])
    own = np.diag(variance)
    covariance = (own[:, None] + own - variance) / 2
    np.fill_diagonal(covariance, own)
    return Joint(estimates, covariance, df, "")


def _gain(one: Parts) -> Gain:
    return gain_from_groups(one.values, one.clusters, one.weights, count=one.counted)


def _varies(one: Parts) -> bool:
    """Whether any cell of the tables that are tested differs from zero."""
    tables, _ = influence(one.values, one.clusters, one.weights, one.counted)
    return any(table.any() for table in tables)


def _minus(first: Parts, second: Parts) -> Parts:
    """The difference of two sums, as one sum."""
    return first._replace(
        values=[*first.values, *second.values],
        clusters=[*first.clusters, *second.clusters],
        weights=[*first.weights, *(-weight for weight in second.weights)],
    )
