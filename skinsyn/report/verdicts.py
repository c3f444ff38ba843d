"""The three verdicts on a claim: its direction, its size, and whether a gain worth having is left.

They are kept apart because they can differ: a gain can be shown and too small to matter, or its size agree with the
published one while nothing is shown. Direction follows Holm's p. Size compares the interval with the published value.
No worthwhile gain is a one-sided test of its own, adjusted over the hypotheses of the family.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..stats.bounds import BONFERRONI
from .numbers import NOT_RUN, show_cells, show_p
from .published import Size

__all__ = ["DIRECTIONS", "MAGNITUDES", "SHOWN", "WORTHWHILE", "Finding", "direction", "magnitude", "worthwhile"]

REPRODUCED, FAILED, OPEN, NOT_APPLICABLE = "reproduced", "not reproduced", "not identified", "not applicable"
DIRECTIONS = (REPRODUCED, FAILED, OPEN, NOT_APPLICABLE, NOT_RUN)
COMPATIBLE, INCOMPATIBLE, IMPRECISE = "compatible", "incompatible", "too imprecise"
MAGNITUDES = (COMPATIBLE, INCOMPATIBLE, IMPRECISE, NOT_APPLICABLE, NOT_RUN)
SHOWN, NOT_SHOWN = "shown", "not shown"
WORTHWHILE = (SHOWN, NOT_SHOWN, NOT_APPLICABLE, NOT_RUN)
# What the table of tests says of a hypothesis that has no p of its own, as the published ones that were only stated.
ABOVE = ("gain", "larger", "no gain above the margin", "equivalent")
BELOW = ("loss", "smaller")


class Finding(NamedTuple):
    """What the ledger says of a claim; estimate, low and high in points, for `nearer` in cosine distance, for a count
    in images. interval: what low to high is. reason: why a verdict is not what its interval may suggest."""

    direction: str
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    interval: str = ""
    magnitude: str = NOT_APPLICABLE
    no_worthwhile_gain: str = NOT_APPLICABLE
    reason: str = ""


def direction(row: Mapping[str, Any], alpha: float) -> str:
    """What a tested row says of "the estimand is above 0", or, if one-sided, of its own hypothesis.

    >>> row = {"alternative": "two-sided", "verdict": "", "estimate": 1.5, "p_adjusted": 0.06}
    >>> direction(row, 0.05), direction(row | {"p_adjusted": 0.04}, 0.05)
    ('not identified', 'reproduced')
    """
    if row["verdict"] == NOT_RUN:
        return NOT_RUN
    if pd.isna(row["p_adjusted"]):
        return REPRODUCED if row["verdict"] in ABOVE else FAILED if row["verdict"] in BELOW else OPEN
    rejected = row["p_adjusted"] <= alpha
    if row.get("alternative", "two-sided") != "two-sided":
        # The bound of the other side, as far below the estimate as `upper_adjusted` is above it.
        further = 2 * row["estimate"] - row.get("upper_adjusted", np.inf) > 0
        return REPRODUCED if rejected else FAILED if further else OPEN
    if not rejected:
        return OPEN
    return REPRODUCED if row["estimate"] > 0 else FAILED


def disagreement(row: Mapping[str, Any], alpha: float) -> str:
    """Why the p of a row and an interval beside it seem to contradict each other; '' where they do not.

    >>> row = {"alternative": "two-sided", "estimate": 1.5, "low": 0.1, "high": 2.9, "p_adjusted": 0.06}
    >>> disagreement(row | {"low_adjusted": -0.1, "high_adjusted": 3.1, "bound": "Holm-compatible"}, 0.05)
    'its own interval (+0.1 to +2.9) excludes 0, but not after correction within its family (adjusted p 0.060)'
    """
    if pd.isna(row["p_adjusted"]):
        return ""
    shown = row["p_adjusted"] <= alpha
    if row.get("alternative", "two-sided") != "two-sided":
        high, margin = row["high_adjusted"], row["margin"]
        if shown and high >= margin:
            return f"Holm's p shows it; the {row['bound']} bound, for the whole family at once, is not below the margin"
        return ""
    if not shown and (row["low"] > 0 or row["high"] < 0):
        own = f"{show_cells(row['low'], sign=True)} to {show_cells(row['high'], sign=True)}"
        p = show_p(row["p_adjusted"])
        return f"its own interval ({own}) excludes 0, but not after correction within its family (adjusted p {p})"
    if shown and row["low_adjusted"] <= 0 <= row["high_adjusted"]:
        name = "Bonferroni-t interval" if row["bound"] == BONFERRONI else "interval that is stepped down by sign"
        return f"Holm's p shows it; the {name}, for the whole family at once, includes 0"
    return ""


def magnitude(
    intervals: Sequence[tuple[float, float]], published: Size | None, phantoms: bool = False
) -> tuple[str, str]:
    """(verdict, reason) on the size of a gain. intervals: low and high of each estimate that the published size is of.

    Compatible: each interval meets the published range and is at most as wide as its lower value (half-width at most
    half of it).

    >>> magnitude([(8.0, 16.0)], Size(13.2, 13.2, True))[0], magnitude([(-14.0, 15.0)], Size(13.2, 13.2, True))[0]
    ('compatible', 'too imprecise')
    """
    if phantoms:
        return NOT_APPLICABLE, "size: phantoms have no published size"
    if published is None:
        return NOT_APPLICABLE, "size: none was published"
    if not intervals or any(not np.isfinite(end) for ends in intervals for end in ends):
        return IMPRECISE, "size: there is no interval"
    if any(low > published.high or high < published.low for low, high in intervals):
        return INCOMPATIBLE, ""
    wide = max((high - low) / 2 for low, high in intervals)
    if wide > abs(published.low) / 2:
        half = show_cells(abs(published.low) / 2)
        return IMPRECISE, f"size: half-width {show_cells(wide)}, more than half the published value ({half})"
    return COMPATIBLE, ""


def worthwhile(rows: pd.DataFrame, margin: float, alpha: float) -> str:
    """Whether a gain of `margin` points or more is excluded for all of these rows; a test of non-superiority has said
    so with its own p.

    >>> worthwhile(pd.DataFrame({"alternative": ["two-sided"], "upper_adjusted": [2.8], "p_adjusted": [0.4]}), 3, 0.05)
    'shown'
    """
    if rows.empty:
        return NOT_APPLICABLE
    excluded = [
        row["p_adjusted"] <= alpha if row["alternative"] == "less" else row["upper_adjusted"] < margin
        for row in rows.to_dict("records")
    ]
    return SHOWN if all(excluded) else NOT_SHOWN
