"""Gains of many small cells, shrunken towards their mean: a normal hierarchical model (Rubin 1981), beside lone tests.

A cell's gain, theta, varies around the mean over cells with standard deviation tau; its estimate varies around theta
with the standard error of its own test. Errors that all cells share (their training runs) move the mean, not the
differences between cells, and widen every interval. Uncertainty of the mean and of tau is integrated out (uniform
priors; Gelman 2006, Bayesian Analysis 1:515-534, recommends them for tau from about five groups on).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special, stats

from . import estimands
from .clusters import NOT_ESTIMABLE
from .hypotheses import Hypothesis
from .mrmc import Gain, gain_from_groups
from .predictions import Block

__all__ = ["Shrunken", "gains", "shrink"]

ENOUGH_CELLS = 5  # with fewer, the variance between cells is hardly known, and the prior of tau matters
_GRID = 400  # values of tau, over which is integrated


class Shrunken(NamedTuple):
    """Per cell the posterior mean and interval (k,); the posterior means of the mean over cells and of tau."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: float
    tau: float


def shrink(estimates: npt.ArrayLike, ses: npt.ArrayLike, level: float = 0.95, shared: float = 0.0) -> Shrunken:
    """Rubin 1981, parallel experiments (Journal of Educational Statistics 6:377-400): shrunken estimates, intervals.

    estimates, ses: (k,), in any unit; shared: the variance of an error that all cells have in common, a part of every
    ses². Given tau, cell i is y_i b_i + m (1 - b_i) with b_i = tau²/(tau² + ses_i² - shared), m the weighted mean;
    the posterior of tau (uniform prior) mixes these. Returns equal-tailed intervals in the unit of the estimates.
    Raises ValueError on fewer than five cells, on standard errors that are not positive, or a level outside (0, 1).

    >>> shrunken = shrink([28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18])
    >>> shrunken.estimate.round(1).tolist()[:2], shrunken.low.round(1).tolist()[0], shrunken.high.round(1).tolist()[0]
    ([11.4, 7.9], -2.1, 31.6)
    """
    y, se = np.asarray(estimates, float), np.asarray(ses, float)
    if y.ndim != 1 or y.shape != se.shape or len(y) < ENOUGH_CELLS:
        raise ValueError(
            f"expected {ENOUGH_CELLS} or more estimates and as many standard errors, got {y.shape}, {se.shape}"
        )
    if not (np.isfinite(y).all() and np.isfinite(se).all() and (se > 0).all()) or not 0 < level < 1:
        raise ValueError("estimates must be finite, standard errors positive and finite, level between 0 and 1")
    own = np.maximum(se**2 - shared, 0.1 * se**2)  # no cell's error is all shared
    tau, weight = _posterior_of_tau(y, own)
    total = own + tau[:, None] ** 2
    mean, spread = _pooled(y, total)
    kept = tau[:, None] ** 2 / total
    centre = kept * y + (1 - kept) * mean[:, None]
    variance = kept * own + (1 - kept) ** 2 * spread[:, None] + shared
    low, high = (_quantiles(centre, np.sqrt(variance), weight, 0.5 + side * level / 2) for side in (-1, 1))
    return Shrunken(weight @ centre, low, high, float(weight @ mean), float(weight @ tau))


def gains(
    prepared: Mapping[str, Block],
    one: Hypothesis,
    arms: estimands.Arms,
    min_images: int = 0,
    level: float = 0.95,
    over: tuple[str, ...] = ("condition", "fst_group"),
) -> pd.DataFrame:
    """The gain of a hypothesis in every cell (condition × skin type), raw and shrunken, in points.

    Each cell is tested as F4 tests it (runs and clusters random; each cluster counts the same); where its degrees of
    freedom are few, its standard error is widened to that of a normal interval as long as Student's. What all cells
    share follows from the variance of their mean, which is tested likewise. Returns id, the columns of `over`, images,
    clusters, runs, estimate, low, high, se, df (the cell alone), shrunken, shrunken_low, shrunken_high, mean, tau,
    flags. Cells below min_images or not estimable keep their row, without a shrunken gain; fewer than five others are
    not shrunken. One row, flagged, where an arm was not run.
    """
    cells = estimands.spread(prepared, one.but(by=dict.fromkeys(over, "all"), average="micro"), arms)
    try:
        rows, sums = _alone(prepared, cells, arms, min_images, level, over)
    except estimands.NotRun as missing:
        return pd.DataFrame([{"id": one.id, "flags": f"not run: {missing}"}]).reindex(columns=_columns(over))
    table = pd.DataFrame(rows).reindex(columns=_columns(over))
    fit = table["se"].gt(0) & table["images"].ge(min_images)
    if fit.sum() < ENOUGH_CELLS:
        few = f"not shrunken: fewer than {ENOUGH_CELLS} cells to learn from"
        return table.assign(flags=[f"{flags}; {few}".removeprefix("; ") for flags in table["flags"]])
    ses = table.loc[fit, "se"].to_numpy() / 100
    widened = ses * _widening(table.loc[fit, "df"].to_numpy(), level)
    pooled = _of_mean([part for part, used in zip(sums, fit, strict=True) if used and part is not None])
    shared = _shared(ses, pooled) * float(_widening(np.array(pooled.df), level)) ** 2
    shrunken = shrink(table.loc[fit, "estimate"].to_numpy() / 100, widened, level, shared)
    for name, values in zip(("shrunken", "shrunken_low", "shrunken_high"), shrunken, strict=False):
        table.loc[fit, name] = 100 * np.asarray(values)
    return table.assign(mean=100 * shrunken.mean, tau=100 * shrunken.tau)


def _columns(over: tuple[str, ...]) -> list[str]:
    alone = "images clusters runs estimate low high se df".split()
    return ["id", *over, *alone, "shrunken", "shrunken_low", "shrunken_high", "mean", "tau", "flags"]


def _alone(
    prepared: Mapping[str, Block],
    cells: list[Hypothesis],
    arms: estimands.Arms,
    min_images: int,
    level: float,
    over: tuple[str, ...],
) -> tuple[list[dict], list[estimands.Parts | None]]:
    """Each cell's own test, as a row, and what it is summed from; None where it has no image."""
    rows, sums = [], []
    for cell in cells:
        row = {"id": cell.id, **{name: cell.where.get(name) for name in over}, "images": 0, "flags": ""}
        part = None
        try:
            part = estimands.parts(prepared, cell, arms)
        except estimands.NoData as empty:
            row["flags"] = f"{NOT_ESTIMABLE}: {empty}"
        if part is not None:
            gain = _tested(part, level)
            row |= {name: 100 * getattr(gain, name) for name in ("estimate", "low", "high", "se")}
            row |= {"df": gain.df, "clusters": gain.clusters, "runs": gain.runs, "images": part.images}
            small = [f"not shrunken: fewer than {min_images} images"] if part.images < min_images else []
            row["flags"] = "; ".join([*small, *gain.flags])
        rows.append(row)
        sums.append(part)
    return rows, sums


def _tested(part: estimands.Parts, level: float = 0.95) -> Gain:
    return gain_from_groups(part.values, part.clusters, part.weights, level, part.counted)


def _of_mean(sums: list[estimands.Parts]) -> Gain:
    """The test of the mean over cells, which tells what their errors share."""
    share = 1 / len(sums)
    joined = sums[0]._replace(
        values=[one for part in sums for one in part.values],
        clusters=[one for part in sums for one in part.clusters],
        weights=[share * weight for part in sums for weight in part.weights],
    )
    return _tested(joined)


def _shared(ses: np.ndarray, pooled: Gain) -> float:
    """Mean covariance of the cells' errors: Var(mean) = shared·(1 - 1/k) + sum of ses²/k²; never below 0."""
    if not pooled.estimable:
        return 0.0
    k = len(ses)
    return max(0.0, (pooled.se**2 - (ses**2).sum() / k**2) / (1 - 1 / k))


def _widening(df: np.ndarray, level: float) -> np.ndarray:
    """Student's quantile by the normal one."""
    tail = (1 - level) / 2
    return np.where(np.isinf(df), 1.0, stats.t.isf(tail, np.minimum(df, 1e6)) / stats.norm.isf(tail))


def _pooled(y: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of the cells, and its variance, for each tau. total: (taus, k) variances."""
    spread = 1 / (1 / total).sum(1)
    return spread * (y / total).sum(1), spread


def _posterior_of_tau(y: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of tau from 0 to infinity, and the posterior probability of each (Gelman et al. 2013, eq. 5.21)."""
    place = (np.arange(_GRID) + 0.5) / _GRID
    unit = np.sqrt(own.mean())
    tau, step = unit * place / (1 - place), unit / (1 - place) ** 2
    total = own + tau[:, None] ** 2
    mean, spread = _pooled(y, total)
    log = np.log(step) + 0.5 * np.log(spread) - 0.5 * (np.log(total) + (y - mean[:, None]) ** 2 / total).sum(1)
    weight = np.exp(log - log.max())
    return tau, weight / weight.sum()


def _quantiles(centre: np.ndarray, sd: np.ndarray, weight: np.ndarray, chance: float) -> np.ndarray:
    """Quantile of each cell's mixture of normal distributions over tau. centre, sd: (taus, k)."""
    ends = []
    for mean, spread in zip(centre.T, sd.T, strict=True):
        reach = 12 * spread.max()

        def excess(x: float, mean: np.ndarray = mean, spread: np.ndarray = spread) -> float:
            return float(weight @ special.ndtr((x - mean) / spread)) - chance

        ends.append(optimize.brentq(excess, mean.min() - reach, mean.max() + reach, xtol=1e-8 * reach))
    return np.array(ends)
