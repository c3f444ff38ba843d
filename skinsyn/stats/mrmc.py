"""The primary test: training runs and patients both random (multi-reader multi-case), for gains, gaps and averages.

Training runs are the readers of Dorfman, Berbaum and Metz (1992); clusters (patients, near-duplicate cliques) are the
cases. The variance keeps runs and clusters random (Hillis 2007, Statistics in Medicine 26:596-619, written here for the
differences of two arms). Its degrees of freedom are Satterthwaite's over the mean squares of runs, clusters and
residual (`mean_squares`); with df="hillis" over those of runs alone, as published analyses of readers have them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from .auc import delong, jackknife
from .clusters import NOT_ESTIMABLE, effective, influence
from .mean_squares import Squares, freedom, squares

ENOUGH_RUNS = 5  # the least that the simulated size is promised for (09_benchmarks)
ENOUGH_CLUSTERS = 10  # likewise, in the smallest group of a contrast


class Gain(NamedTuple):
    """One tested difference, as proportions; where a flag says 'not estimable', the fields from se to high are NaN."""

    estimate: float
    se: float
    df: float
    statistic: float
    p: float
    low: float
    high: float
    runs: int
    clusters: int
    flags: tuple[str, ...] = ()

    @property
    def estimable(self) -> bool:
        """True where a test exists at all."""
        return bool(np.isfinite(self.p))


class Gains(NamedTuple):
    """Student's test of one or many estimates, one value each; NaN where a data set is not estimable."""

    estimate: np.ndarray
    se: np.ndarray
    df: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    low: np.ndarray
    high: np.ndarray


def student(
    estimate: npt.ArrayLike, variance: npt.ArrayLike, df: npt.ArrayLike, runs: int, level: float = 0.95
) -> Gains:
    """Student's test of an estimate whose squared standard error is variance/runs; NaN where the variance is.

    Raises ValueError where level is not between 0 and 1.

    >>> round(float(student(0.2, 0.04, 12.0, runs=4).p), 3)
    0.069
    """
    estimate, df = np.asarray(estimate, float), np.asarray(df, float)
    se = np.sqrt(np.asarray(variance, float) / runs)
    statistic, half = estimate / se, _quantile(df, level) * se
    return Gains(estimate, se, df, statistic, 2 * stats.t.sf(np.abs(statistic), df), estimate - half, estimate + half)


def paired_gains(
    tables: Sequence[np.ndarray], weights: Sequence[float], level: float = 0.95, df: str = "satterthwaite"
) -> Gains:
    """`paired_gain` of many data sets of one design at once, for simulations. tables: (sets, runs, clusters) per group.

    At least two runs and clusters, unchecked. A data set without variance, or whose runs are all the same: NaN.

    >>> paired_gains([np.array([[[0.0, 1.0], [1.0, 2.0]]])], [1.0]).estimate.tolist()
    [1.0]
    """
    parts = squares(tables, weights)
    return student(parts.estimate, parts.total, freedom(parts, df), parts.runs, level)


def interval(estimate: float, se: float, df: float, level: float = 0.95) -> tuple[float, float]:
    """Student's interval, estimate ± t(1/2 + level/2, df) SE; ValueError where level is not between 0 and 1.

    >>> tuple(round(end, 3) for end in interval(0.1, 0.05, 10))
    (-0.011, 0.211)
    """
    half = float(_quantile(df, level)) * se
    return float(estimate - half), float(estimate + half)


def paired_gain(
    differences: np.ndarray | Sequence[np.ndarray],
    weights: Sequence[float] | None = None,
    level: float = 0.95,
    df: str = "satterthwaite",
    fewest: float | None = None,
) -> Gain:
    """Hillis 2007, F = MS(T)/(MS(TR) + max(MS(TC) - MS(TRC), 0)): gain of one arm, runs and clusters random.

    differences: one (runs, clusters) array per group: correct in one arm minus correct in the other, the same runs in
        the same order in every group. A single 2-D array is one group. No cluster may belong to two groups: for those,
        and for clusters of several images, use `gain_from_images`.
    weights: contrast weights, one per group; None averages the groups. (-1, 1) tests the change of a gap.
    df: "satterthwaite" | "hillis", see `mean_squares.freedom`. fewest: clusters in the smallest group, where that is
        not a table's width (below ENOUGH_CLUSTERS: flagged).
    Returns proportions (not points). All zero, one distinct run or one cluster: flagged, not tested.
    Raises ValueError where groups differ in their runs, hold NaN, or the weights do not fit.

    >>> round(paired_gain(np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])).estimate, 3)
    0.667
    """
    tables, shares = check_tables(differences, weights)
    runs, clusters = tables[0].shape[0], sum(table.shape[1] for table in tables)
    reasons = _reasons(tables, runs)
    if reasons:
        estimate = float(sum(share * table.mean() for share, table in zip(shares, tables, strict=True)))
        return _untested(estimate, runs, clusters, reasons)
    fewest = min(table.shape[1] for table in tables) if fewest is None else fewest
    return _tested(squares(tables, shares), clusters, fewest, level, df)


def gain_from_images(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    group_ids: npt.ArrayLike | None = None,
    weights: Mapping[Any, float] | None = None,
    level: float = 0.95,
    count: str = "clusters",
    df: str = "satterthwaite",
) -> Gain:
    """`paired_gain` from the correctness of each image in each run: correct_a - correct_b, each (runs, images).

    cluster_ids, group_ids: one per image; without groups all images are one group. A cluster may hold any number of
        images and may belong to several groups.
    weights: contrast weight by group; None averages the groups (a macro average where groups are classes).
    count: "clusters" counts each cluster once within a group, so that a photograph taken five times is one
        observation; "images" counts each image once.

    >>> gain = gain_from_images([[1, 1, 1], [1, 0, 1]], [[0, 1, 0], [1, 0, 0]], ["a", "a", "b"])
    >>> gain.estimate, gain.clusters
    (0.625, 2)
    """
    a, b = np.asarray(correct_a, float), np.asarray(correct_b, float)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"both arms need the same (runs, images) shape; got {a.shape} and {b.shape}")
    clusters = np.asarray(cluster_ids)
    groups = np.zeros(a.shape[1], int) if group_ids is None else np.asarray(group_ids)
    if len(clusters) != a.shape[1] or len(groups) != a.shape[1]:
        ids = f"{len(clusters)} and {len(groups)}"
        raise ValueError(f"{a.shape[1]} images need as many cluster and group ids; got {ids}")
    names = sorted(set(groups.tolist()), key=str) if weights is None else list(weights)
    for name in names:
        if not (groups == name).any():
            raise ValueError(f"group {name!r} has a weight but no image; groups with images: {sorted(set(groups))}")
    shares = [1 / len(names)] * len(names) if weights is None else [float(weights[name]) for name in names]
    members = [groups == name for name in names]
    return gain_from_groups([(a - b)[:, m] for m in members], [clusters[m] for m in members], shares, level, count, df)


def gain_from_groups(
    values: Sequence[np.ndarray],
    cluster_ids: Sequence[npt.ArrayLike],
    weights: Sequence[float],
    level: float = 0.95,
    count: str = "clusters",
    df: str = "satterthwaite",
) -> Gain:
    """Hillis 2007: test of a weighted sum over groups of the means of (runs, images) values, clusters shared or not.

    >>> gain_from_groups([np.array([[1, 0, 1], [1, 1, 0]])], [["a", "a", "b"]], [1.0]).estimate
    0.625
    """
    tables, shares = influence(values, cluster_ids, weights, count)
    return paired_gain(tables, shares, level, df, min(effective(ids, count) for ids in cluster_ids))


def obuchowski_rockette(
    y_true: npt.ArrayLike, scores: npt.ArrayLike, level: float = 0.95, covariance: str = "delong"
) -> Gain:
    """Obuchowski and Rockette 1995, df of Hillis 2007: difference in AUROC, readers (runs) and cases (images) random.

    y_true: 1 or 0 per case. scores: (2 treatments, readers, cases). covariance: "delong" | "jackknife".

    >>> scores = np.array([[[0.9, 0.8, 0.2, 0.1]] * 2, [[0.9, 0.1, 0.2, 0.8]] * 2])
    >>> obuchowski_rockette([1, 1, 0, 0], scores).estimate
    0.5
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 3 or scores.shape[0] != 2:
        raise ValueError(f"scores must be (2 treatments, readers, cases), got shape {scores.shape}")
    _, readers, cases = scores.shape
    estimate = {"delong": delong, "jackknife": jackknife}[covariance]
    auc, covariances = estimate(y_true, scores.reshape(-1, cases))
    gain = float((auc[:readers] - auc[readers:]).mean())
    if readers == 1 or (scores[0] == scores[1]).all():
        return _untested(gain, readers, cases, ["one run only" if readers == 1 else "all differences are zero"])
    blocks, other = covariances.reshape(2, readers, 2, readers), ~np.eye(readers, dtype=bool)
    same = (blocks[0, :, 0][other].mean() + blocks[1, :, 1][other].mean()) / 2  # Cov2
    cross = blocks[0, :, 1][other].mean()  # Cov3
    spread = float(np.var(auc[:readers] - auc[readers:], ddof=1))  # 2 · MS(treatment × reader)
    error, none = np.full(1, max(2 * readers * (same - cross), 0.0)), np.zeros(1)
    parts = Squares(np.array(gain), np.array(spread), error, none, np.array([cases]), readers, np.array(False))
    return _tested(parts, cases, cases, level, "hillis")


def check_tables(
    differences: np.ndarray | Sequence[np.ndarray], weights: Sequence[float] | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Groups and contrast weights in order, or a ValueError that says what is wrong with which group.

    >>> check_tables([np.zeros((2, 3)), np.zeros((2, 4))], None)[1].tolist()
    [0.5, 0.5]
    """
    if isinstance(differences, np.ndarray) and differences.ndim == 2:
        differences = [differences]
    tables = [np.asarray(table, float) for table in differences]
    if not tables:
        raise ValueError("no groups: expected at least one (runs, clusters) array")
    for g, table in enumerate(tables):
        if table.ndim != 2 or 0 in table.shape:
            expected = "a (runs, clusters) array with at least one of each"
            raise ValueError(f"group {g}: expected {expected}, got shape {table.shape}")
        if not np.isfinite(table).all():
            run, cluster = np.argwhere(~np.isfinite(table))[0]
            raise ValueError(f"group {g} holds NaN or infinity, first at run {run}, cluster {cluster} (counted from 0)")
    if len({len(table) for table in tables}) > 1:
        sizes = [len(table) for table in tables]
        raise ValueError(f"groups differ in their runs: {sizes}; every group needs the same runs")
    shares = np.full(len(tables), 1 / len(tables)) if weights is None else np.asarray(weights, float)
    if shares.shape != (len(tables),) or not np.isfinite(shares).all():
        raise ValueError(f"{len(tables)} groups need as many finite weights, got {shares.tolist()}")
    return tables, shares


def _quantile(df: npt.ArrayLike, level: float) -> np.ndarray:
    """Student's two-sided quantile."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return stats.t.ppf(0.5 + level / 2, df)


def _reasons(tables: list[np.ndarray], runs: int) -> list[str]:
    """Why nothing can be tested; empty where it can."""
    reasons = ["one run only"] if runs == 1 else []
    small = [g for g, table in enumerate(tables) if table.shape[1] == 1]
    if small:
        where = f" in {len(small)} of {len(tables)} groups (number {small[0]} from 0 first)" if len(tables) > 1 else ""
        reasons.append(f"one cluster only{where}")
    if not any(table.any() for table in tables):
        reasons.append("all differences are zero")
    elif runs > 1 and all((table == table[:1]).all() for table in tables):
        reasons.append(f"{runs} identical runs, one distinct run only")
    return reasons


def _untested(estimate: float, runs: int, clusters: int, reasons: list[str]) -> Gain:
    nan, flags = float("nan"), tuple(f"{NOT_ESTIMABLE}: {reason}" for reason in reasons)
    return Gain(estimate, nan, nan, nan, nan, nan, nan, runs, clusters, flags)


def _tested(parts: Squares, clusters: int, fewest: float, level: float, rule: str) -> Gain:
    """Gain from its mean squares; `fewest`: clusters of the smallest group."""
    df = freedom(parts, rule)
    test = student(parts.estimate, parts.total, df, parts.runs, level)
    if np.isnan(test.se):
        return _untested(float(parts.estimate), parts.runs, clusters, ["no variance between runs or clusters"])
    flags = ["every run gives the same estimate: normal limit, df infinite"] if np.isinf(df) else []
    if parts.runs < ENOUGH_RUNS:
        flags.append(f"{parts.runs} runs only: the test's size is known to hold from {ENOUGH_RUNS} on")
    if fewest < ENOUGH_CLUSTERS:
        few = f"{fewest:.0f} clusters only" if float(fewest).is_integer() else f"clusters worth {fewest:.1f} equal ones"
        flags.append(f"{few} in the smallest group: the test's size is known to hold from {ENOUGH_CLUSTERS} on")
    estimate, se, used, statistic, p, low, high = map(float, test)
    return Gain(estimate, se, used, statistic, p, low, high, parts.runs, clusters, tuple(flags))
