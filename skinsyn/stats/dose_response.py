"""Accuracy by synthetic images per real one, and where it saturates: two curves and their checks."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats
from sklearn.isotonic import IsotonicRegression

from .bootstrap import few_runs, percentile_interval, stratum_shares, two_way_means
from .intervals import of_means

FAILURES = 0.10  # more resamples than this without a sound fit: not identified
NAN = float("nan")


class Curve(NamedTuple):
    """A saturating curve, e0 + height · shape(x, scale): its parameters' names, and what follows from a scale."""

    height: str
    rate: str
    shape: Callable[[np.ndarray, np.ndarray | float], np.ndarray]  # of doses and scale, 0 at dose 0 and 1 at infinity
    slope: Callable[[np.ndarray, np.ndarray | float], np.ndarray]  # derivative of shape by the rate
    half: float  # dose of half the height, in scales
    ninety: float  # dose of 90 % of the height, in scales: ED90
    inverse: bool  # whether the rate is 1 / scale

    def __call__(self, x: npt.ArrayLike, height: float, rate: float, e0: float = 0.0) -> np.ndarray:
        """Response at the doses x."""
        return e0 + height * self.shape(np.asarray(x, float), self.scale(rate))

    def scale(self, rate: float) -> float:
        """The scale (a dose) of a rate."""
        return 1 / rate if self.inverse else rate


# The Emax model (Holford and Sheiner 1981), e0 + Emax x / (ED50 + x); a mono-exponential, e0 + a (1 - exp(-k x)).
EMAX = Curve("emax", "ed50", lambda x, scale: x / (scale + x), lambda x, scale: -x / (scale + x) ** 2, 1.0, 9.0, False)
EXPONENTIAL = Curve(
    "a", "k", lambda x, scale: -np.expm1(-x / scale), lambda x, scale: x * np.exp(-x / scale),
    np.log(2), np.log(10), True,
)  # fmt: skip


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
    ed50: float = NAN
    ed90: float = NAN
    ed90_low: float = NAN
    ed90_high: float = NAN
    failed: float = NAN  # share of resamples without a sound fit
    emax: float = NAN  # accuracy above dose 0, as a proportion
    points: dict[str, list[float]] = {}  # x, y, low, high (MRMC), isotonic
    curve: dict[str, list[float]] = {}  # x, y, low, high (bootstrap); empty where the curve is not identified
    # Page's test of an upward trend, runs as blocks: given these test images; NaN with fewer than 3 doses or 2 runs
    page_p: float = NAN
    last_step: tuple[float, ...] = (NAN,) * 3  # gain from the last dose but one to the last: estimate, low, high
    exponential: tuple[float, ...] = (NAN,) * 4  # ED90 of the exponential curve, low, high, share without a sound fit
    flags: str = ""


def fit(curve: Curve, x: npt.ArrayLike, y: npt.ArrayLike, e0: float | None = None) -> Fit:
    """Non-linear least squares of a curve; e0 is estimated where None, else fixed.

    `estimates` and `se` hold the curve's height, its rate (unit of x, or 1 / unit of x) and, where free, e0. Raises
    ValueError where x and y do not fit together or there are fewer distinct doses than parameters, RuntimeError where
    no curve fits. With as many points as parameters, se is NaN and df 0.

    >>> x = [0, 1, 2, 4, 8]
    >>> {name: round(value, 3) for name, value in fit(EMAX, x, EMAX(x, 0.2, 1.0, 0.5)).estimates.items()}
    {'emax': 0.2, 'ed50': 1.0, 'e0': 0.5}
    """
    names = (curve.height, curve.rate, *(["e0"] if e0 is None else []))
    x, y = _check_xy(x, y, len(names))

    def model(x: np.ndarray, height: float, rate: float, base: float | None = e0) -> np.ndarray:
        return curve(x, height, rate, base or 0.0)

    def jacobian(x: np.ndarray, height: float, rate: float, *_: float) -> np.ndarray:
        scale = curve.scale(rate)
        columns = [curve.shape(x, scale), height * curve.slope(x, scale), np.ones_like(x)]
        return np.column_stack(columns[: len(names)])

    start, df = [np.ptp(y), curve.scale(float(np.median(x[x > 0]))), y.min()][: len(names)], len(x) - len(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optimize.OptimizeWarning)  # no covariance where df is 0
        tolerances = {"xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14, "maxfev": 10_000}
        theta, covariance = optimize.curve_fit(model, x, y, start, jac=jacobian, method="lm", **tolerances)
    se = np.sqrt(np.diag(covariance)) if df else np.full(len(names), NAN)
    sd = float(np.sqrt(((y - model(x, *theta)) ** 2).sum() / df)) if df else NAN
    return Fit(dict(zip(names, theta.tolist(), strict=True)), dict(zip(names, se.tolist(), strict=True)), sd, df)


def profile(curve: Curve, x: np.ndarray, y: np.ndarray, size: int = 241) -> np.ndarray:
    """Profile least squares: (curves, 3) e0, height, scale (a dose) of y (curves, doses), thousands at once.

    For a given scale the curve is linear, so the residual over a logarithmic grid of scales costs one product; the best
    grid point is refined by a parabola. A curve whose best scale is an end of the grid has no minimum: the end stands.

    >>> x = np.array([0.0, 1, 2, 4])
    >>> profile(EMAX, x, EMAX(x, 0.2, 1.0, 0.5)[None]).round(2).tolist()
    [[0.5, 0.2, 1.0]]
    """
    grid = np.geomspace(x[x > 0].min() / 100, x.max() * 100, size)
    shape = curve.shape(x, grid[:, None])
    centred = shape - shape.mean(1, keepdims=True)
    unit = centred / np.sqrt((centred**2).sum(1, keepdims=True))
    explained = ((y - y.mean(1, keepdims=True)) @ unit.T) ** 2
    best = explained.argmax(1)
    inner = np.clip(best, 1, size - 2)
    left, mid, right = (explained[np.arange(len(y)), inner + step] for step in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.where((best == inner) & (bend < 0), 0.5 * (left - right) / np.where(bend < 0, bend, -1), 0.0)
    scale = np.exp(np.log(grid[best]) + np.clip(shift, -1, 1) * np.log(grid[1] / grid[0]))
    basis = curve.shape(x, scale[:, None])
    centre = basis - basis.mean(1, keepdims=True)
    height = (centre * y).sum(1) / (centre**2).sum(1)
    return np.column_stack([y.mean(1) - height * basis.mean(1), height, scale])


def analyse(
    x: npt.ArrayLike,
    correct: npt.ArrayLike,
    strata: npt.ArrayLike | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Dose:
    """Emax model with a pigeonhole-bootstrap interval for ED90 = 9 ED50: does accuracy saturate within the doses?

    x: doses in increasing order, 0 first. correct: (runs, clusters, doses), proportions correct, the same runs and
        clusters at every dose. strata: class of each cluster; accuracy is then the mean over classes, and clusters are
        resampled within them. All doses share one resampling of runs and clusters (Owen 2007, pigeonhole bootstrap).
    Not identified: fewer than 4 doses, > 10 % of resamples without a sound fit (flat or falling, or ED50 below
    the first dose above 0 or beyond the last), or an ED90 interval that holds the last dose. The interval is of all
    resamples: an ED50 beyond the last dose is one, and a resample without a rising curve may have any ED90. Saturates:
    the interval ends before the last dose. Still rising: it begins after it, or the curve settles nothing and the MRMC
    interval of the last step (with three doses or more) is above 0.

    >>> analyse([0, 1, 2], np.full((3, 4, 3), 0.5), draws=50)[:2]
    ('not identified', '3 doses cannot identify a curve of three parameters')
    """
    x, correct = np.asarray(x, float), np.asarray(correct, float)
    if correct.ndim != 3 or correct.shape[2] != len(x) or np.isnan(correct).any():
        raise ValueError(f"correct must be (runs, clusters, {len(x)} doses) without NaN; got shape {correct.shape}")
    if len(x) < 2 or x[0] != 0 or (np.diff(x) <= 0).any():
        raise ValueError(f"doses must increase from 0, got {x.tolist()}")
    of_cluster = np.zeros(correct.shape[1], int) if strata is None else np.asarray(strata)
    share = stratum_shares(of_cluster)
    y, resampled = correct.mean(0).T @ share, two_way_means(correct, of_cluster, draws, np.random.default_rng(seed))
    low, high = np.array([_mrmc(correct[:, :, dose], of_cluster, level, True) for dose in range(len(x))]).T
    last = (float(y[-1] - y[-2]), *_mrmc(correct[:, :, -1] - correct[:, :, -2], of_cluster, level, False))
    by_run = np.einsum("rkd,k->rd", correct, share)
    page = float(stats.page_trend_test(by_run).pvalue) if len(x) >= 3 and len(by_run) >= 2 else NAN
    points = _lists(x=x, y=y, low=low, high=high, isotonic=IsotonicRegression().fit_transform(x, y))
    rising = "still rising" if last[1] > 0 and len(x) > 2 else "not identified"
    flags = "; ".join(few_runs(len(correct)))
    result = Dose(rising, "", points=points, page_p=page, last_step=last, flags=flags)
    if len(x) < 4:
        return result._replace(reason=f"{len(x)} doses cannot identify a curve of three parameters")
    exponential, _ = _ed90(EXPONENTIAL, x, y, resampled, level)
    (ed90, ed90_low, ed90_high, failed), fits = _ed90(EMAX, x, y, resampled, level)
    result = result._replace(failed=failed, exponential=exponential)
    if np.isnan(ed90):
        return result._replace(reason=f"no sound curve in {failed:.0%} of resamples")
    verdict, reason = rising, "the interval of ED90 holds the last dose"
    if ed90_high <= x[-1]:
        verdict, reason = "saturates", "the interval of ED90 ends before the last dose"
    elif ed90_low > x[-1]:
        verdict, reason = "still rising", "the interval of ED90 begins after the last dose"
    grid = np.linspace(0, x[-1], 101)
    e0, emax, ed50 = (fits[:, [k]] for k in range(3))
    lines = e0 + emax * grid / (ed50 + grid)
    low, high = percentile_interval(lines[1:], level)
    result = result._replace(verdict=verdict, reason=reason, ed50=float(ed50[0, 0]), emax=float(emax[0, 0]))
    return result._replace(
        ed90=ed90, ed90_low=ed90_low, ed90_high=ed90_high, curve=_lists(x=grid, y=lines[0], low=low, high=high)
    )


def not_run(reason: str) -> Dose:
    """The result in place of an analysis whose arms were not run.

    >>> not_run("no arm at ratio 2").verdict
    'not run'
    """
    return Dose("not run", reason)


def table(result: Dose) -> pd.DataFrame:
    """Rows of the figure: part ("measured" | "curve"), dose, accuracy, low, high, isotonic (measured only).

    >>> table(analyse([0, 1], np.full((2, 4, 2), 0.5), draws=50))[["part", "dose", "accuracy"]].values.tolist()
    [['measured', 0.0, 0.5], ['measured', 1.0, 0.5]]
    """
    sources = {"measured": result.points, "curve": result.curve}
    parts = [pd.DataFrame(rows).assign(part=part) for part, rows in sources.items()]
    columns = ["part", "dose", "accuracy", "low", "high", "isotonic"]
    return pd.concat(parts).rename(columns={"x": "dose", "y": "accuracy"}).reindex(columns=columns)


def summary(result: Dose) -> pd.DataFrame:
    """One row: the verdict, its reason, and what it rests on.

    >>> summary(not_run("no arm at ratio 2"))[["verdict", "reason"]].values.tolist()
    [['not run', 'no arm at ratio 2']]
    """
    names = ["verdict", "reason", "ed50", "ed90", "ed90_low", "ed90_high", "emax", "failed", "page_p"]
    values = [*(getattr(result, name) for name in names), *result.last_step, *result.exponential, result.flags]
    names += ["last_step", "last_step_low", "last_step_high"]
    names += ["exponential_ed90", "exponential_low", "exponential_high", "exponential_failed", "flags"]
    return pd.DataFrame([dict(zip(names, values, strict=True))])


def _ed90(
    curve: Curve, x: np.ndarray, y: np.ndarray, resampled: np.ndarray, level: float
) -> tuple[tuple[float, float, float, float], np.ndarray]:
    """((ED90, low, high, share of resamples without a sound fit), fits, that of y first).

    Sound: rising, with the dose of half the height within the tested doses; ED90 is NaN where too many are not. The
    interval leaves out none: a curve that does not rise counts as 0 in the lower end and as infinite in the upper one.
    """
    fits = profile(curve, x, np.vstack([y, resampled]))
    half = curve.half * fits[:, 2]
    sound = (fits[:, 1] > 0) & (half >= x[1]) & (half <= x[-1])
    failed = float(1 - sound[1:].mean())
    if failed > FAILURES or not sound[0]:
        return (NAN, NAN, NAN, failed), fits[:0]
    ed90, rising = curve.ninety * fits[:, 2], fits[1:, 1] > 0
    tails = (1 - level) / 2, (1 + level) / 2  # `inverted_cdf`: no mean with an infinite value
    low = np.quantile(np.where(rising, ed90[1:], 0.0), tails[0], method="inverted_cdf")
    high = np.quantile(np.where(rising, ed90[1:], np.inf), tails[1], method="inverted_cdf")
    return (float(ed90[0]), float(low), float(high), failed), fits


def _mrmc(values: np.ndarray, strata: np.ndarray, level: float, proportion: bool) -> tuple[float, float]:
    """Ends of the MRMC interval of a mean over strata of (runs, clusters) values."""
    parts = [np.flatnonzero(strata == name) for name in np.unique(strata)]
    values_of = [values[:, part] for part in parts]
    found = of_means(values_of, parts, [1 / len(parts)] * len(parts), level, proportion)
    return found.low, found.high


def _lists(**values: np.ndarray) -> dict[str, list[float]]:
    return {name: array.tolist() for name, array in values.items()}


def _check_xy(x: npt.ArrayLike, y: npt.ArrayLike, parameters: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be lists of one length, got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or (x < 0).any():
        raise ValueError("doses and responses must be finite, and doses not negative")
    if len(np.unique(x)) < parameters:
        raise ValueError(f"{len(np.unique(x))} distinct doses cannot identify {parameters} parameters")
    return x, y
