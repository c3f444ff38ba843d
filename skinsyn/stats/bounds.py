"""Bounds that hold for all hypotheses of a family at once, and that go with Holm's p where such bounds say anything.

Holm's step-down tests have compatible bounds (Strassburger and Bretz 2008). Of an effect that was shown, though, these
say no more than that, unless all of a family were shown: they end at the limit that was tested. There the Bonferroni-t
interval stands instead, under its own name. Each kind holds jointly over a family; a mixture of both does not.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

__all__ = ["ALTERNATIVES", "BONFERRONI", "HOLM", "StepDown", "family_bounds", "step_down_bounds"]

HOLM, BONFERRONI = "Holm-compatible", "Bonferroni-t"
ALTERNATIVES = {"superiority": "two-sided", "non-superiority": "less", "equivalence": "within"}
# What a test says about each side: the share of its error that it spends there. Two one-sided tests need half each for
# bounds that hold together, although their p does not.
LOWER = {"two-sided": 0.5, "less": 0.0, "within": 0.5}
UPPER = {"two-sided": 0.5, "less": 1.0, "within": 0.5}


class StepDown(NamedTuple):
    """Lower bounds of a step-down test, which were rejected, and whether a bound says more than the rejection does."""

    bound: np.ndarray
    rejected: np.ndarray
    informative: np.ndarray


def step_down_bounds(
    estimate: npt.ArrayLike,
    se: npt.ArrayLike,
    df: npt.ArrayLike,
    limit: npt.ArrayLike,
    weights: npt.ArrayLike,
    alpha: float,
) -> StepDown:
    """Strassburger and Bretz 2008: lower bounds compatible with the weighted Holm test of parameter <= limit.

    All but alpha: one value per hypothesis, of one unit; alpha: error of the whole family. Where all are rejected, the
    bounds are max(limit, weighted Bonferroni's); otherwise a rejected hypothesis has its limit, and one that is not has
    the bound at its share of alpha among those that are not. Raises ValueError for weights that are not positive.

    >>> step_down_bounds([3.0, 0.5], [1.0, 1.0], [np.inf, np.inf], 0.0, [1.0, 1.0], 0.05).bound.round(2).tolist()
    [0.0, -1.14]
    """
    estimate, se, df, limit, weights = (
        np.array(part, float) for part in np.broadcast_arrays(estimate, se, df, limit, weights)
    )
    if not (weights > 0).all():
        raise ValueError(f"weights must be above 0, got {weights.tolist()}")
    p = stats.t.sf((estimate - limit) / se, df)
    rejected = np.zeros(len(p), bool)
    for place in np.argsort(p / weights, kind="stable"):
        if p[place] > alpha * weights[place] / weights[~rejected].sum():
            break
        rejected[place] = True
    among = weights[~rejected].sum() if not rejected.all() else weights.sum()
    own = estimate - stats.t.isf(alpha * weights / among, df) * se
    if rejected.all():
        return StepDown(np.maximum(own, limit), rejected, own > limit)
    return StepDown(np.where(rejected, limit, own), rejected, ~rejected)


def family_bounds(rows: pd.DataFrame, correction: str = "holm", level: float = 0.95) -> pd.DataFrame:
    """Bounds of one family that hold at once: low_adjusted, high_adjusted, bound (their name), upper_adjusted.

    rows: estimate, se, p, margin (all of one unit), df, alternative ("two-sided" | "less" | "within"). The error is
    split between lower and upper sides as the tests split it, and each side is stepped down on its own, so that the
    bounds hold whatever the dependence. upper_adjusted is the one-sided Bonferroni-t bound, for "no worthwhile gain".
    What was not tested has NaN and ''; so has a family under a correction of the false discovery rate, but for
    upper_adjusted. Sources: Strassburger and Bretz 2008, Statistics in Medicine 27:4914; Dunn 1961 (Bonferroni-t).

    >>> one = pd.DataFrame({"estimate": [3.0], "se": 1.0, "df": np.inf, "p": 0.003, "margin": np.nan})
    >>> family_bounds(one.assign(alternative="two-sided"))[["low_adjusted", "bound"]].round(2).values.tolist()
    [[1.04, 'Holm-compatible']]
    """
    found = pd.DataFrame(np.nan, rows.index, ["low_adjusted", "high_adjusted", "upper_adjusted"])
    found["bound"] = ""
    tested = rows[rows["p"].notna() & rows["se"].notna()]
    if tested.empty:
        return found
    alpha, count = 1 - level, len(tested)
    estimate, se, df = (tested[name].to_numpy(float) for name in ("estimate", "se", "df"))
    found.loc[tested.index, "upper_adjusted"] = estimate + stats.t.isf(alpha / count, df) * se
    if correction not in ("holm", "bonferroni"):
        return found
    sides = {"low_adjusted": _side(tested, LOWER, -1.0, alpha), "high_adjusted": _side(tested, UPPER, 1.0, alpha)}
    compatible = np.logical_and.reduce([side.informative for side in sides.values()]) & (correction == "holm")
    for column, side in sides.items():
        found.loc[tested.index, column] = np.where(compatible, side.stepped, side.bonferroni)
    found.loc[tested.index, "bound"] = np.where(compatible, HOLM, BONFERRONI)
    return found


class _Side(NamedTuple):
    bonferroni: np.ndarray
    stepped: np.ndarray
    informative: np.ndarray


def _side(tested: pd.DataFrame, shares: Mapping[str, float], sign: float, alpha: float) -> _Side:
    """Lower (sign -1) or upper (1) bounds of all tested hypotheses; NaN where a test does not look at that side."""
    weights, count = tested["alternative"].map(shares).to_numpy(float), len(tested)
    none = np.full(count, np.nan)
    side = _Side(none, none.copy(), np.full(count, True))
    used = weights > 0
    if not used.any():
        return side
    rows, weights = tested[used], weights[used]
    estimate, se, df, margin = (rows[name].to_numpy(float) for name in ("estimate", "se", "df", "margin"))
    limit = np.where(rows["alternative"] == "two-sided", 0.0, sign * margin)
    side.bonferroni[used] = estimate + sign * stats.t.isf(alpha * weights / count, df) * se
    steps = step_down_bounds(-sign * estimate, se, df, -sign * limit, weights, alpha * weights.sum() / count)
    side.stepped[used] = -sign * steps.bound
    side.informative[used] = steps.informative
    return side
