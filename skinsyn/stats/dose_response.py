"""How accuracy grows with synthetic images per real one, and where it stops: two saturating curves and their checks."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats
from sklearn.isotonic import IsotonicRegression

from .bootstrap import stratum_shares, two_way_means

FAILURES = 0.10  # more resamples than this without a sound fit: not identified


class Fit(NamedTuple):
    """A fitted curve: values and standard errors by name, residual standard deviation and its degrees of freedom."""

    estimates: dict[str, float]
    se: dict[str, float]
    residual_sd: float
    df: int


class Dose(NamedTuple):
    """Verdict `saturates | still rising | not identified | not run`, and what it rests on; doses per real image."""

    verdict: str
    reason: str
    ed50: float
    ed90: float
    ed90_low: float
    ed90_high: float
    failed: float  # share of resamples without a sound fit
    emax: float  # points of accuracy above dose 0, as a proportion
    points: dict[str, list[float]]  # x, y, low, high, isotonic
    curve: dict[str, list[float]]  # x, y, low, high; empty where the curve is not identified
    page_p: float  # Page's test of an upward trend over runs; NaN with fewer than 3 doses or 2 runs
    last_step: tuple[float, float, float]  # gain from the last dose but one to the last: estimate, low, high
    # its ED90, low, high, and the share without a sound fit
    exponential: tuple[float, float, float, float] = (np.nan, np.nan, np.nan, np.nan)


def emax_curve(x: np.ndarray, emax: float, ed50: float, e0: float = 0.0) -> np.ndarray:
    """Emax model (Holford and Sheiner 1981): e0 + Emax x / (ED50 + x).

    >>> float(emax_curve(np.array(1.0), emax=0.2, ed50=1.0, e0=0.5))
    0.6
    """
    return e0 + emax * np.asarray(x, float) / (ed50 + np.asarray(x, float))


def exponential_curve(x: np.ndarray, a: float, k: float, e0: float = 0.0) -> np.ndarray:
    """Mono-exponential approach to a plateau: e0 + a (1 - exp(-k x)).

    >>> float(exponential_curve(np.array(0.0), a=0.2, k=1.0, e0=0.5))
    0.5
    """
    return e0 - a * np.expm1(-k * np.asarray(x, float))


def fit_emax(x: Sequence[float], y: Sequence[float], e0: float | None = None) -> Fit:
    """Least squares of the Emax model e0 + Emax x / (ED50 + x); e0 is estimated where None, else fixed.

    `estimates` and `se` hold emax, ed50 (unit of x) and, where free, e0. Raises ValueError where x and y do not fit
    together or there are fewer distinct doses than parameters, RuntimeError where no curve fits. With as many points as
    parameters, se is NaN and df 0.

    >>> fit = fit_emax([0, 1, 2, 4, 8], [0.5 + 0.2 * x / (1 + x) for x in (0, 1, 2, 4, 8)])
    >>> {name: round(value, 3) for name, value in fit.estimates.items()}
    {'emax': 0.2, 'ed50': 1.0, 'e0': 0.5}
    """
    x, y = _check_xy(x, y, 2 + (e0 is None))

    def jacobian(x, emax, ed50, *_):
        columns = [x / (ed50 + x), -emax * x / (ed50 + x) ** 2, np.ones_like(x)]
        return np.column_stack(columns[: 2 + (e0 is None)])

    return _fit(emax_curve, jacobian, ("emax", "ed50", "e0"), x, y, e0, lambda rate, x: x / (rate + x))


def fit_exponential(x: Sequence[float], y: Sequence[float], e0: float | None = None) -> Fit:
    """Least squares of e0 + a·(1 - exp(-k·x)); names a, k (1 / unit of x), e0. Otherwise as `fit_emax`.

    >>> fit = fit_exponential([0, 1, 2, 4, 8], [0.5 - 0.2 * np.expm1(-x) for x in (0, 1, 2, 4, 8)])
    >>> {name: round(value, 3) for name, value in fit.estimates.items()}
    {'a': 0.2, 'k': 1.0, 'e0': 0.5}
    """
    x, y = _check_xy(x, y, 2 + (e0 is None))

    def jacobian(x, a, k, *_):
        columns = [-np.expm1(-k * x), a * x * np.exp(-k * x), np.ones_like(x)]
        return np.column_stack(columns[: 2 + (e0 is None)])

    return _fit(exponential_curve, jacobian, ("a", "k", "e0"), x, y, e0, lambda rate, x: -np.expm1(-rate * x))


def analyse(
    x: Sequence[float],
    correct: np.ndarray,
    strata: Sequence | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Dose:
    """Emax model with a pigeonhole-bootstrap interval for ED90 = 9 ED50: does accuracy saturate within the doses?

    x: doses in increasing order, 0 first. correct: (runs, clusters, doses), shares right, the same runs and clusters at
        every dose. strata: class of each cluster; accuracy is then the mean over classes, and clusters are resampled
        within them. One resampling of runs and clusters (Owen 2007, pigeonhole bootstrap) is shared by all doses.
    Not identified: fewer than 4 doses, > 10 % of resamples without a sound fit (flat or falling, or ED50 below the
    first dose above 0 or beyond the last), or an ED90 interval that holds the last dose. Saturates: the interval ends
    before it. Still rising: it begins after it, or the curve settles nothing and the interval of the last step (with
    three doses or more) is above 0.

    >>> analyse([0, 1, 2], np.full((3, 4, 3), 0.5), draws=50)[:2]
    ('not identified', '3 doses cannot identify a curve of three parameters')
    """
    x, correct = np.asarray(x, float), np.asarray(correct, float)
    if correct.ndim != 3 or correct.shape[2] != len(x) or np.isnan(correct).any():
        raise ValueError(f"correct must be (runs, clusters, {len(x)} doses) without NaN; got shape {correct.shape}")
    if len(x) < 2 or x[0] != 0 or (np.diff(x) <= 0).any():
        raise ValueError(f"doses must increase from 0, got {x.tolist()}")
    strata = np.zeros(correct.shape[1], int) if strata is None else np.asarray(strata)
    share = stratum_shares(strata)
    y = correct.mean(0).T @ share
    resampled = two_way_means(correct, strata, draws, np.random.default_rng(seed))
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(resampled, tails, axis=0)
    step = resampled[:, -1] - resampled[:, -2]
    last = (float(y[-1] - y[-2]), *map(float, np.quantile(step, tails)))
    points = {"x": x, "y": y, "low": low, "high": high, "isotonic": IsotonicRegression().fit_transform(x, y)}
    points = {name: values.tolist() for name, values in points.items()}
    by_run = np.einsum("rkd,k->rd", correct, share)
    page = float(stats.page_trend_test(by_run).pvalue) if len(x) >= 3 and len(by_run) >= 2 else float("nan")
    rising = "still rising" if last[1] > 0 and len(x) > 2 else "not identified"
    empty = Dose(rising, "", *[float("nan")] * 6, points, {}, page, last)
    if len(x) < 4:
        return empty._replace(reason=f"{len(x)} doses cannot identify a curve of three parameters")
    empty = empty._replace(exponential=_exponential(x, y, resampled, tails))
    fits = profile_emax(x, np.vstack([y, resampled]))
    sound = (fits[:, 1] > 0) & (fits[:, 2] >= x[1]) & (fits[:, 2] <= x[-1])
    failed = float(1 - sound[1:].mean())
    if failed > FAILURES or not sound[0]:
        return empty._replace(failed=failed, reason=f"no sound curve in {failed:.0%} of resamples")
    e0, emax, ed50 = (float(v) for v in fits[0])
    ends = [float(v) for v in np.quantile(9 * fits[1:, 2][sound[1:]], tails)]
    if ends[1] <= x[-1]:
        verdict, reason = "saturates", "the interval of ED90 ends before the last dose"
    elif ends[0] > x[-1]:
        verdict, reason = "still rising", "the interval of ED90 begins after the last dose"
    else:
        verdict, reason = rising, "the interval of ED90 holds the last dose"
    grid = np.linspace(0, x[-1], 101)
    lines = fits[1:][sound[1:]]
    lines = lines[:, :1] + lines[:, 1:2] * grid / (lines[:, 2:] + grid)
    band = np.quantile(lines, tails, axis=0)
    curve = {"x": grid, "y": emax_curve(grid, emax, ed50, e0), "low": band[0], "high": band[1]}
    curve = {name: values.tolist() for name, values in curve.items()}
    return Dose(verdict, reason, ed50, 9 * ed50, *ends, failed, emax, points, curve, page, last, empty.exponential)


def not_run(reason: str) -> Dose:
    """What stands in place of an analysis whose arms were not run.

    >>> not_run("no arm at ratio 2").verdict
    'not run'
    """
    nan = float("nan")
    return Dose("not run", reason, *[nan] * 6, {}, {}, nan, (nan, nan, nan))


def table(result: Dose) -> pd.DataFrame:
    """Rows of the figure: part ("measured" | "curve"), dose, accuracy, low, high, isotonic (measured only).

    >>> table(analyse([0, 1], np.full((2, 4, 2), 0.5), draws=50))[["part", "dose", "accuracy"]].values.tolist()
    [['measured', 0.0, 0.5], ['measured', 1.0, 0.5]]
    """
    sources = {"measured": result.points, "curve": result.curve}
    parts = [pd.DataFrame(rows).assign(part=part) for part, rows in sources.items()]
    names = {"x": "dose", "y": "accuracy"}
    columns = ["part", "dose", "accuracy", "low", "high", "isotonic"]
    return pd.concat(parts).rename(columns=names).reindex(columns=columns)


def summary(result: Dose) -> pd.DataFrame:
    """One row: the verdict, its reason, and what it rests on.

    >>> summary(not_run("no arm at ratio 2"))[["verdict", "reason"]].values.tolist()
    [['not run', 'no arm at ratio 2']]
    """
    kept = ("verdict", "reason", "ed50", "ed90", "ed90_low", "ed90_high", "emax", "failed", "page_p")
    row = {name: getattr(result, name) for name in kept}
    row |= dict(zip(("last_step", "last_step_low", "last_step_high"), result.last_step, strict=True))
    names = ("exponential_ed90", "exponential_low", "exponential_high", "exponential_failed")
    return pd.DataFrame([row | dict(zip(names, result.exponential, strict=True))])


def profile_emax(x: np.ndarray, y: np.ndarray, size: int = 241) -> np.ndarray:
    """Emax model by profiling ED50: (curves, 3) least-squares e0, Emax, ED50 of y (curves, doses); see `_profile`.

    >>> x = np.array([0.0, 1, 2, 4])
    >>> profile_emax(x, [0.5 + 0.2 * x / (1 + x)] * np.ones((1, 1))).round(2).tolist()
    [[0.5, 0.2, 1.0]]
    """
    return _profile(x, y, lambda ed50, x: x / (ed50 + x), size)


def profile_exponential(x: np.ndarray, y: np.ndarray, size: int = 241) -> np.ndarray:
    """Exponential model by profiling 1/k: (curves, 3) least-squares e0, a, 1/k of y (curves, doses); see `_profile`.

    >>> x = np.array([0.0, 1, 2, 4])
    >>> profile_exponential(x, [0.5 - 0.2 * np.expm1(-x)] * np.ones((1, 1))).round(2).tolist()
    [[0.5, 0.2, 1.0]]
    """
    return _profile(x, y, lambda slow, x: -np.expm1(-x / slow), size)


def _profile(x: np.ndarray, y: np.ndarray, curve: Callable, size: int) -> np.ndarray:
    """(curves, 3) e0, height, scale (a dose) by profiling the scale.

    For a given scale the curve is linear, so the residual over a logarithmic grid of scales costs one product; the best
    grid point is refined by a parabola. A curve whose best scale is an end of the grid has run away: the end stands.
    """
    grid = np.geomspace(x[x > 0].min() / 100, x.max() * 100, size)
    shape = curve(grid[:, None], x)
    centred = shape - shape.mean(1, keepdims=True)
    unit = centred / np.sqrt((centred**2).sum(1, keepdims=True))
    explained = ((y - y.mean(1, keepdims=True)) @ unit.T) ** 2
    best = explained.argmax(1)
    inner = np.clip(best, 1, size - 2)
    rows = np.arange(len(y))
    left, mid, right = (explained[rows, inner + step] for step in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.where((best == inner) & (bend < 0), 0.5 * (left - right) / np.where(bend < 0, bend, -1), 0.0)
    scale = np.exp(np.log(grid[best]) + np.clip(shift, -1, 1) * np.log(grid[1] / grid[0]))
    basis = curve(scale[:, None], x)
    centre = basis - basis.mean(1, keepdims=True)
    height = (centre * y).sum(1) / (centre**2).sum(1)
    return np.column_stack([y.mean(1) - height * basis.mean(1), height, scale])


def _exponential(x: np.ndarray, y: np.ndarray, resampled: np.ndarray, tails: list) -> tuple[float, float, float, float]:
    """ED90 = ln(10)/k of the exponential curve with its interval, and the share of resamples without a sound fit.

    Sound as for Emax: rising, with its half dose ln(2)/k within the tested doses; NaN where too many are not.
    """
    fits = profile_exponential(x, np.vstack([y, resampled]))
    half = np.log(2) * fits[:, 2]
    sound = (fits[:, 1] > 0) & (half >= x[1]) & (half <= x[-1])
    failed = float(1 - sound[1:].mean())
    if failed > FAILURES or not sound[0]:
        return (float("nan"),) * 3 + (failed,)
    low, high = np.quantile(np.log(10) * fits[1:, 2][sound[1:]], tails)
    return float(np.log(10) * fits[0, 2]), float(low), float(high), failed


def _check_xy(x, y, parameters: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be lists of one length, got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or (x < 0).any():
        raise ValueError("doses and responses must be finite, and doses not negative")
    if len(np.unique(x)) < parameters:
        raise ValueError(f"{len(np.unique(x))} distinct doses cannot identify {parameters} parameters")
    return x, y


def _fit(curve, jacobian, names, x, y, e0, shape) -> Fit:
    """Non-linear least squares from the best of a grid of starting rates (the curve is linear but for its rate)."""
    free = e0 is None
    starts = np.geomspace(x[x > 0].min() / 100, x.max() * 100, 121)
    starts = starts if names[1] == "ed50" else 1 / starts
    best, start = np.inf, None
    for rate in starts:
        design = np.column_stack([shape(rate, x), np.ones_like(x)][: 1 + free])
        target = y if free else y - e0
        linear = np.linalg.lstsq(design, target, rcond=None)[0]
        loss = float(((target - design @ linear) ** 2).sum())
        if loss < best:
            best, start = loss, [linear[0], rate, *linear[1:]]

    def model(x, *theta):
        return curve(x, *theta) if free else curve(x, *theta, e0)

    sure = len(x) > len(start)
    theta, covariance = (
        optimize.curve_fit(
            model, x, y, start, jac=jacobian, method="lm", maxfev=10_000, xtol=1e-14, ftol=1e-14, gtol=1e-14
        )
        if sure
        else (np.array(start), np.full((len(start), len(start)), np.nan))
    )
    residual = y - model(x, *theta)
    df = len(x) - len(theta)
    sd = float(np.sqrt((residual**2).sum() / df)) if df else float("nan")
    se = np.sqrt(np.diag(covariance))
    return Fit(
        dict(zip(names, map(float, theta), strict=False)), dict(zip(names, map(float, se), strict=False)), sd, df
    )
