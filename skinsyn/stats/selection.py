"""Inference on a winner: the largest of several correlated estimates is biased upwards because it was selected.

Andrews, Kitagawa and McCloskey (2024, Quarterly Journal of Economics 139:305-358): given which estimate is the largest,
it follows a truncated normal distribution, whose quantiles give a median-unbiased estimate and an interval; the hybrid
of these with a simultaneous (projection) interval stays short where two estimates nearly tie.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

__all__ = ["Winner", "best", "maximum", "simultaneous"]

_POINTS = 2**14  # of Sobol's sequence: quantiles of the largest error to about .01 standard errors
_SCALES = 2**10  # points of the chi distribution, by which they are divided


class Winner(NamedTuple):
    """The largest of several estimates: its place, its value adjusted for the selection, and the interval's ends."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs of a result
    estimate: float
    low: float
    high: float


def maximum(
    estimates: npt.ArrayLike,
    covariance: npt.ArrayLike,
    level: float = 0.95,
    df: float = np.inf,
    share: float = 0.1,
) -> Winner:
    """Andrews, Kitagawa and McCloskey 2024, sec. 4: hybrid estimate and interval of the parameter whose estimate won.

    estimates: (k,); covariance: (k, k), of their errors; both in any unit, which the results share. df: degrees of
    freedom of the covariance, as of Student's interval of the winner alone. share: beta/alpha, where 1 - beta is the
    level of the projection interval; 0 gives the conditional interval, which may be of any length.
    Returns the place of the largest estimate, its hybrid estimate (the median bias is at most beta/2), and an interval
    that holds the winner's parameter with probability `level`. Far from a tie both are those of a single estimate; near
    one the estimate is smaller, and the interval may lie below the observed value. Two estimates that tie exactly, to
    which the normal law gives no probability, have the projection interval at `level` and their value less the median
    of the largest of the tied errors. The law is normal; with a finite df its scale is widened so that far from a tie
    the interval is Student's (our approximation, whose coverage is simulated). A winner without variance has no
    interval: NaN. Raises ValueError on shapes that do not fit, NaN, or a covariance that is none.

    >>> index, estimate, low, high = maximum([0, 1, 2, 3, 4], np.eye(5))
    >>> index, round(estimate, 2), round(low, 2), round(high, 2)
    (4, 3.69, 0.87, 5.98)
    """
    x, sigma = _checked(estimates, covariance)
    if not 0 < level < 1 or not 0 <= share < 1 or not df > 0:
        raise ValueError(f"level must lie in (0, 1), share in [0, 1), df above 0; got {level}, {share}, {df}")
    k = int(np.argmax(x))
    se = float(np.sqrt(sigma[k, k]))
    if se == 0:
        return Winner(k, float(x[k]), np.nan, np.nan)
    tied, low_end, high_end = _truncation(x, sigma, k)
    if tied.any():
        half = simultaneous(sigma, level, df) * se
        excess = np.median(_errors(sigma)[:, tied | (np.arange(len(x)) == k)].max(1))
        return Winner(k, float(x[k] - excess), float(x[k] - half), float(x[k] + half))
    beta = share * (1 - level)
    reach = simultaneous(sigma, 1 - beta, df) * se if share else np.inf
    tail = (1 - level - beta) / (1 - beta) / 2
    wide = se * float(stats.t.isf(tail, df) / stats.norm.isf(tail))
    solve = functools.partial(_quantile, float(x[k]), low_end, high_end, reach)
    return Winner(k, solve(se, 0.5), solve(wide, tail), solve(wide, 1 - tail))


def best(
    estimates: npt.ArrayLike, covariance: npt.ArrayLike, level: float = 0.95, df: npt.ArrayLike = np.inf
) -> np.ndarray:
    """Hsu 1984, multiple comparisons with the best: (k,) True where an estimate is not rejected as the largest.

    estimates: (k,); covariance: (k, k), of their errors; df: one, or (k, k) of the differences, of which the smallest
    counts. Estimate i is rejected where another exceeds it by more than c standard errors of their difference; c is the
    one-sided quantile of the largest of the k - 1 standardised differences from i (Annals of Statistics 12:1136-1144,
    for any covariance). The truly largest is in the set with probability `level`, however many tie. A difference
    without variance rejects nothing. Raises ValueError on shapes that do not fit or NaN.

    >>> best([0, 1, 9], np.eye(3)).tolist(), best([0, 1, 2], np.eye(3)).tolist()
    ([False, False, True], [True, True, True])
    """
    x, sigma = _checked(estimates, covariance)
    freedom = np.broadcast_to(np.asarray(df, float), sigma.shape)
    errors, kept = _errors(sigma), np.ones(len(x), bool)
    spread = np.diag(sigma)[:, None] + np.diag(sigma) - 2 * sigma
    varies = spread > 1e-9 * np.diag(sigma).max()
    for i in range(len(x)):
        others = np.flatnonzero(varies[i])
        if others.size:
            se = np.sqrt(spread[i, others])
            c = _largest(((errors[:, others] - errors[:, [i]]) / se).max(1), level, freedom[i, others].min())
            kept[i] = ((x[others] - x[i]) / se).max() <= c
    return kept


def simultaneous(covariance: npt.ArrayLike, level: float = 0.95, df: float = np.inf) -> float:
    """Quantile of max |error|/SE over normal (or multivariate t) errors of this covariance: the projection's c.

    >>> round(simultaneous(np.eye(1)), 2), round(simultaneous(np.eye(5)), 2)
    (1.96, 2.57)
    """
    sigma = _checked(np.zeros(len(np.asarray(covariance))), covariance)[1]
    se = np.sqrt(np.diag(sigma))
    if not (se > 0).any():
        return 0.0
    return _largest(np.abs(_errors(sigma)[:, se > 0] / se[se > 0]).max(1), level, df)


def _checked(estimates: npt.ArrayLike, covariance: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and covariance as arrays, or a ValueError that says what is wrong with them."""
    x, sigma = np.asarray(estimates, float), np.asarray(covariance, float)
    if x.ndim != 1 or not len(x) or sigma.shape != (len(x), len(x)):
        raise ValueError(f"expected k estimates and a (k, k) covariance, got shapes {x.shape} and {sigma.shape}")
    if not np.isfinite(x).all() or not np.isfinite(sigma).all():
        raise ValueError("estimates and covariance must be finite: leave out what is not estimable")
    if not np.allclose(sigma, sigma.T) or (np.diag(sigma) < 0).any():
        raise ValueError("the covariance must be symmetric, without negative variances")
    return x, sigma


def _truncation(x: np.ndarray, sigma: np.ndarray, k: int) -> tuple[np.ndarray, float, float]:
    """Which others tie with the winner, and between which values it could lie and still win (their eqs. 9 and 10).

    The part of each estimate that is independent of the winner's, Z = X - slope · X_k, is held fixed.
    """
    slope = sigma[:, k] / sigma[k, k]
    room = 1 - slope  # what the winner gains on the others as it grows
    free = np.abs(room) < 1e-9  # moves with the winner: never overtakes it
    free[k] = True
    margin = x[k] - x
    ends = x[k] - margin / np.where(free, 1.0, room)
    tied = ~free & (margin <= 1e-9 * np.sqrt(sigma[k, k]))
    lows, highs = ends[~free & (room > 0)], ends[~free & (room < 0)]
    return tied, lows.max(initial=-np.inf), highs.min(initial=np.inf)


def _quantile(y: float, low: float, high: float, reach: float, se: float, chance: float) -> float:
    """The parameter under which a winner of at least y has this chance, given that it lies between low and high and
    within `reach` of the parameter (their eq. 15); the chance grows with the parameter."""

    def excess(mu: float) -> float:
        lower, upper = max(low, mu - reach), min(high, mu + reach)
        above, all_ = _log_mass((y - mu) / se, (upper - mu) / se), _log_mass((lower - mu) / se, (upper - mu) / se)
        return float(np.exp(above - all_)) - chance

    if np.isfinite(reach):
        inside = reach * (1 - 1e-12)
        return float(optimize.brentq(excess, y - inside, y + inside, xtol=1e-9 * se))
    return float(optimize.brentq(excess, _bracket(excess, y, -se), _bracket(excess, y, se), xtol=1e-9 * se))


def _bracket(excess: Callable[[float], float], start: float, step: float) -> float:
    """The first of start + step, start + 2 step, start + 4 step, … beyond the root."""
    ends = (start + step * 2.0**power for power in range(60))
    return next(end for end in ends if np.sign(excess(end)) == np.sign(step))


def _log_mass(a: float, b: float) -> float:
    """log of the standard normal probability between a and b, exact in both tails."""
    if a > 0:
        a, b = -b, -a
    if a >= b:
        return -np.inf
    upper, lower = special.log_ndtr(b), special.log_ndtr(a)
    return float(upper + np.log1p(-np.exp(lower - upper)))


def _errors(sigma: np.ndarray) -> np.ndarray:
    """(points, k) normal errors of this covariance."""
    values, vectors = np.linalg.eigh(sigma)
    return _normal(len(sigma)) @ (np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


@functools.cache
def _normal(dimensions: int) -> np.ndarray:
    """Standard normal points of Sobol's scrambled sequence (Joe and Kuo 2008), the same in every call."""
    return special.ndtri(stats.qmc.Sobol(dimensions, rng=np.random.default_rng(0)).random(_POINTS))


def _largest(normal: np.ndarray, level: float, df: float) -> float:
    """Quantile of values, or of values over sqrt(chi^2/df), of which `normal` is a sample: (multivariate) Student's."""
    if np.isinf(df):
        return float(np.quantile(normal, level))
    ordered, ranks = np.sort(normal), (np.arange(len(normal)) + 0.5) / len(normal)
    scale = np.sqrt(special.chdtri(df, (np.arange(_SCALES) + 0.5) / _SCALES) / df)

    def excess(c: float) -> float:
        return float(np.interp(c * scale, ordered, ranks).mean()) - level

    top = max(abs(ordered[0]), abs(ordered[-1])) / scale.min()
    return float(optimize.brentq(excess, -top, top, xtol=1e-6))
