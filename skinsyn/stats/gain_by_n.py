"""The primary gain at each number of real images that the grid has, and the largest of them, adjusted for its
selection: what a published "up to" is compared with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..classifier.arms import Arm
from . import covariance, estimands, selection
from .hypotheses import Hypothesis
from .mrmc import NOT_ESTIMABLE, interval
from .predictions import Block

__all__ = ["COLUMNS", "LARGEST", "gain_by_n"]

COLUMNS = ["n", "which", "estimate", "low", "high", "flags"]
NO_VARIANCE = f"{NOT_ESTIMABLE}: no variance between runs or clusters"
EACH, LARGEST = "as it is", "largest, adjusted"
FOLLOWS = ("n", "sources")  # the number of source images follows from n


def gain_by_n(
    predictions: pd.DataFrame | Mapping[str, Block], primary: Hypothesis, arms: estimands.Arms, level: float = 0.95
) -> pd.DataFrame:
    """Gains of a hypothesis of two arms with every number of real images at which both were run, in points.

    Rows: `which` "as it is", one per n, with the interval of that gain alone; then "largest, adjusted", the largest of
    them by `selection.maximum` (Andrews, Kitagawa and McCloskey 2024), with the covariance of `covariance.of_parts`.
    What is not estimable has no interval, and the reason in `flags`; so has the one row of a hypothesis that was not
    run.
    """
    prepared = estimands.as_blocks(predictions)
    try:
        series = _series(prepared, primary, arms)
        sums = [estimands.parts(prepared, one, own) for one, own in series.values()]
    except (estimands.NotRun, estimands.NoData) as missing:
        return pd.DataFrame([[np.nan, LARGEST, *[np.nan] * 3, f"not run: {missing}"]], columns=COLUMNS)
    joint = covariance.of_parts(sums)
    ends = [
        interval(value, np.sqrt(variance), df, level) if np.isfinite(df) and variance > 0 else (np.nan, np.nan)
        for value, variance, df in zip(joint.estimates, np.diag(joint.covariance), np.diag(joint.df), strict=True)
    ]
    rows = [
        [n, EACH, 100 * value, 100 * low, 100 * high, joint.flags or (NO_VARIANCE if np.isnan(low) else "")]
        for n, value, (low, high) in zip(series, joint.estimates, ends, strict=True)
    ]
    if len(rows) == 1:  # nothing was selected
        return pd.DataFrame([rows[0], [rows[0][0], LARGEST, *rows[0][2:]]], columns=COLUMNS)
    return pd.DataFrame([*rows, _largest(list(series), joint, level)], columns=COLUMNS)


def _largest(sizes: list[int], joint: covariance.Joint, level: float) -> list[Any]:
    """The last row: n of the largest gain, its adjusted estimate and interval."""
    winner = int(np.argmax(joint.estimates))
    if joint.flags:
        return [sizes[winner], LARGEST, np.nan, np.nan, np.nan, joint.flags]
    found = selection.maximum(joint.estimates, joint.covariance, level, joint.df[winner, winner])
    ends = [100 * value for value in (found.estimate, found.low, found.high)]
    return [sizes[winner], LARGEST, *ends, NO_VARIANCE if np.isnan(found.low) else ""]


def _series(
    prepared: Mapping[str, Block], primary: Hypothesis, arms: estimands.Arms
) -> dict[int, tuple[Hypothesis, estimands.Arms]]:
    """n → the hypothesis and its arms there: the settings of both arms but for n."""
    if len(primary.terms) != 2:
        raise estimands.NotRun(f"{primary.id} is a sum of {len(primary.terms)} arms, not a gain of one over another")
    names = [name for _, name in primary.terms]
    settings = {}
    for name in names:
        block = estimands.block_of(prepared, arms[name])
        row = block.arms.iloc[estimands.arm_of(block, arms[name])]
        known = [field for field in Arm.names() if field in row and field not in FOLLOWS]
        settings[name] = {"task": block.task} | {field: None if pd.isna(row[field]) else row[field] for field in known}
    if "n" not in block.arms:
        raise estimands.NotRun("no table says how many real images the arms were trained on")
    found: dict[int, tuple[Hypothesis, estimands.Arms]] = {}
    for n in sorted(int(n) for n in block.arms["n"].unique() if n > 0):
        own = {name: {**settings[name], "n": n} for name in names}
        if all(estimands.was_run(prepared, arm) for arm in own.values()):
            found[n] = (primary.but(by={}), own)
    return found
