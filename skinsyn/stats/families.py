"""Families of hypotheses: corrections, simultaneous intervals, paired tables, equivalence and non-superiority."""

import gc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from .mrmc import Gain, interval

METHODS = ("holm", "bonferroni", "fdr_bh", "fdr_by")


def adjust(
    p_values: Sequence[float],
    method: str,
    contributions: np.ndarray | None = None,
    draws: int = 9999,
    seed: int = 0,
) -> np.ndarray:
    """Adjusted p values in the order given, by statsmodels' multipletests, or by `max_t`.

    method: "holm" | "bonferroni" | "fdr_bh" | "fdr_by" | "max_t". NaN marks a hypothesis that could not be tested: it
    stays NaN and does not count in the family's size. max_t takes its p from `contributions` (clusters, hypotheses), of
    the p values only which are NaN; it holds "given these trained models" and never for F0 to F3.
    Raises ValueError on p outside 0..1, an unknown method, or max_t without contributions.

    >>> adjust([0.01, 0.04, float("nan")], "holm").round(3).tolist()
    [0.02, 0.04, nan]
    """
    if method not in (*METHODS, "max_t"):
        raise ValueError(f"unknown correction {method!r}; known: {', '.join(METHODS)}, max_t")
    p = np.asarray(p_values, float)
    if p.ndim != 1:
        raise ValueError(f"expected a list of p values, got shape {p.shape}")
    tested = ~np.isnan(p)
    outside = np.flatnonzero(tested & ((p < 0) | (p > 1)))
    if len(outside):
        raise ValueError(f"p value number {outside[0]} (from 0) is {p[outside[0]]}, outside 0..1")
    adjusted = np.full(len(p), np.nan)
    if method == "max_t":
        if contributions is None or np.ndim(contributions) != 2 or np.shape(contributions)[1] != len(p):
            shape = "nothing" if contributions is None else f"shape {np.shape(contributions)}"
            raise ValueError(
                f"max_t flips clusters, so it needs contributions (clusters, {len(p)} hypotheses); got {shape}"
            )
        adjusted[tested] = max_t(np.asarray(contributions)[:, tested], draws, seed)
    elif tested.any():
        gc.freeze()  # multipletests collects garbage at every call, and need not look through all that lives already
        adjusted[tested] = multipletests(p[tested], method=method)[1]
        gc.unfreeze()
    return adjusted


def max_t(contributions: np.ndarray, draws: int = 9999, seed: int = 0) -> np.ndarray:
    """Westfall and Young 1993, Algorithm 4.1 (step-down max T): adjusted p from sign flips of whole clusters.

    contributions: (clusters, hypotheses), what each cluster adds to each estimate, 0 where it has no part in it. The
    statistic is |sum| / root of the sum of squares, whose denominator no flip changes. p = (1 + b)/(draws + 1); a
    hypothesis of nothing but zeros is NaN. It ignores runs: a new training run may say something else.
    Source: Westfall and Young 1993, step-down max-T (their Algorithm 4.1); p as Phipson and Smyth 2010.

    >>> max_t(np.ones((12, 2)), draws=99).round(2).tolist()
    [0.01, 0.01]
    """
    table = np.asarray(contributions, float)
    if table.ndim != 2 or not np.isfinite(table).all() or draws < 1:
        raise ValueError(
            f"contributions must be (clusters, hypotheses) without NaN, got shape {table.shape}, {draws} draws"
        )
    norms = np.sqrt((table**2).sum(0))
    used = np.flatnonzero(norms > 0)
    observed = np.abs(table[:, used].sum(0)) / norms[used]
    order = np.argsort(-observed, kind="stable")
    observed, scaled = observed[order], (table[:, used] / norms[used])[:, order]
    rng, above = np.random.default_rng(seed), np.zeros(len(used), int)
    block = max(1, 2**22 // max(len(table), 1))
    for start in range(0, draws, block):
        signs = rng.integers(0, 2, (min(block, draws - start), len(table))) * 2.0 - 1
        null = np.abs(signs @ scaled)
        # Step down: the largest of those that are not yet decided.
        above += (np.maximum.accumulate(null[:, ::-1], axis=1)[:, ::-1] >= observed - 1e-12).sum(0)
    adjusted = np.full(table.shape[1], np.nan)
    adjusted[used[order]] = np.maximum.accumulate((1 + above) / (draws + 1))
    return adjusted


def run_family(
    rows: pd.DataFrame, correction: str, p: str = "p", low_df: tuple[str, str, str] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """The family's table with `p_adjusted` and `correction`, and what stands beside them.

    rows: one hypothesis a row, raw p values in column `p` (NaN: not tested).
    With fdr_bh, `p_by` holds Benjamini-Yekutieli's values beside it. low_df names the columns (estimate, se, df) from
    which `low_simultaneous` and `high_simultaneous` are made (Dunn 1961, Bonferroni-t: m intervals at 1 -
    alpha/m that hold jointly, over the m hypotheses that were tested).

    >>> table = run_family(pd.DataFrame({"id": ["A", "B"], "p": [0.01, 0.04]}), "bonferroni")
    >>> table["p_adjusted"].tolist()
    [0.02, 0.08]
    """
    table = rows.copy()
    table["p_adjusted"] = adjust(table[p], correction)
    table["correction"] = correction
    table["p_by"] = adjust(table[p], "fdr_by") if correction == "fdr_bh" else np.nan
    table["low_simultaneous"] = table["high_simultaneous"] = np.nan
    if low_df is not None:
        tested = table[p].notna()
        each = 1 - (1 - level) / max(int(tested.sum()), 1)
        for row in table.index[tested]:
            estimate, se, df = (float(table.loc[row, name]) for name in low_df)
            table.loc[row, ["low_simultaneous", "high_simultaneous"]] = interval(estimate, se, df, each)
    return table


class McNemar(NamedTuple):
    """Paired table of one trained model against another: discordant counts and two-sided p values."""

    b: int
    c: int
    exact: float
    mid_p: float


def mcnemar(b: int, c: int) -> McNemar:
    """McNemar's exact conditional and mid-p tests of b against c (Fagerland, Lydersen and Laake 2013).

    b, c: discordant pairs. Holds "given these trained models" only.
    Source: Fagerland, Lydersen, Laake 2013, BMC Med Res Methodol 13:91 (exact conditional and mid-p tests).
    No discordant pair: both are 1. Raises ValueError on negative or fractional counts.

    >>> round(mcnemar(8, 2).exact, 4), round(mcnemar(8, 2).mid_p, 4)
    (0.1094, 0.0654)
    """
    _check_counts(b=b, c=c)
    n, least = int(b + c), int(min(b, c))
    tail = 2 * stats.binom.cdf(least, n, 0.5)
    mid = tail - stats.binom.pmf(least, n, 0.5)
    return McNemar(int(b), int(c), float(min(1.0, tail)), float(min(1.0, mid)) if n else 1.0)


def newcombe_paired(a: int, b: int, c: int, d: int, level: float = 0.95) -> tuple[float, float]:
    """Newcombe 1998, method 10: interval for (b - c)/n of a paired 2 x 2 table with cells a, b, c, d.

    a: both right, b: only the first, c: only the second, d: neither.
    Source: Newcombe 1998, Statistics in Medicine 17:2635-2650, method 10 (Wilson's score intervals for both margins,
    joined with the continuity-corrected phi). Raises ValueError on negative counts or an empty table.

    >>> tuple(round(end, 3) for end in newcombe_paired(36, 12, 2, 0))
    (0.057, 0.34)
    """
    _check_counts(a=a, b=b, c=c, d=d)
    n = a + b + c + d
    if n == 0:
        raise ValueError("an empty table has no interval: a + b + c + d is 0")
    first, second = (a + b) / n, (a + c) / n
    (low1, high1), (low2, high2) = (proportion_confint(k, n, 1 - level, "wilson") for k in (a + b, a + c))
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    cross = a * d - b * c
    phi = 0.0 if margins == 0 else (max(cross - n / 2, 0) if cross > 0 else cross) / np.sqrt(margins)
    down = np.sqrt((first - low1) ** 2 - 2 * phi * (first - low1) * (high2 - second) + (high2 - second) ** 2)
    up = np.sqrt((high1 - first) ** 2 - 2 * phi * (high1 - first) * (second - low2) + (second - low2) ** 2)
    return float(first - second - down), float(first - second + up)


class OneSided(NamedTuple):
    """Result of `tost` or `non_superiority`: p, bounds at the test's own level, the verdict in words, and the statistic
    against the margin (of the two tests of `tost`, that of the larger p)."""

    p: float
    low: float
    high: float
    verdict: str
    statistic: float = float("nan")


def tost(gain: Gain, margin: float, alpha: float = 0.05) -> OneSided:
    """Schuirmann 1987, TOST: equivalence within ±margin by two one-sided tests with the gain's own SE and df.

    low and high are the 1 - 2·alpha interval. Verdict "equivalent" | "not shown" | "not estimable"; nothing is claimed
    where all differences are zero.

    >>> gain = Gain(0.01, 0.01, 20.0, 1.0, 0.33, -0.01, 0.03, runs=5, clusters=40)
    >>> tost(gain, margin=0.05).verdict
    'equivalent'
    """
    _check_margin(margin)
    if not gain.estimable:
        return OneSided(float("nan"), float("nan"), float("nan"), "not estimable")
    above, below = ((gain.estimate + side * margin) / gain.se for side in (1, -1))
    p = float(max(stats.t.sf(above, gain.df), stats.t.cdf(below, gain.df)))
    ends = interval(gain.estimate, gain.se, gain.df, 1 - 2 * alpha)
    statistic = above if above < -below else below  # the weaker of the two
    return OneSided(p, *ends, "equivalent" if p <= alpha else "not shown", float(statistic))


def non_superiority(gain: Gain, margin: float, alpha: float = 0.05) -> OneSided:
    """Is the gain below the margin? One-sided: `high` is the 1 - alpha upper bound, `low` is minus infinity.

    A two-sided p > 0.05 shows nothing of the kind. Verdict "no gain above the margin" | "not shown" | "not estimable".

    >>> gain = Gain(0.01, 0.01, 20.0, 1.0, 0.33, -0.01, 0.03, runs=5, clusters=40)
    >>> round(non_superiority(gain, margin=0.05).high, 3)
    0.027
    """
    _check_margin(margin)
    if not gain.estimable:
        return OneSided(float("nan"), float("nan"), float("nan"), "not estimable")
    statistic = float((gain.estimate - margin) / gain.se)
    p = float(stats.t.cdf(statistic, gain.df))
    upper = float(gain.estimate + stats.t.ppf(1 - alpha, gain.df) * gain.se)
    return OneSided(p, float("-inf"), upper, "no gain above the margin" if p <= alpha else "not shown", statistic)


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"margin must be a positive proportion (0.03 is 3 points), got {margin}")


def _check_counts(**counts: float) -> None:
    for name, count in counts.items():
        if count < 0 or count != int(count):
            raise ValueError(f"count {name} must be a whole number >= 0, got {count}")
