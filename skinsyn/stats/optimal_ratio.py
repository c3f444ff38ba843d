"""The optimal ratio of synthetic to real images, per condition, number of real images and method, with its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm

from . import contrasts
from .bootstrap import stratum_shares, two_way_means
from .predictions import Block, select

__all__ = ["SERIES", "of_series", "optima"]

# What the arms of one series share; they differ in their ratio alone.
SERIES = [name for name in Arm.names() if name not in ("task", "ratio", "sources")]
CONTROL = ["n", "transforms", "steps"]  # what a series shares with its control
LEAST = 2  # ratios above 0: of a single one, nothing can be called the best


def optima(
    prepared: Mapping[str, Block], task: str = "condition", draws: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """The ratio with the highest accuracy, for every series of arms that differ in it, overall and by condition.

    prepared: of `predictions.blocks`. A series has a control (ratio 0, which may itself be the best) and at least two
    ratios above 0. Runs and clusters are resampled together (Owen 2007), the same resamples for all ratios of a series;
    the best ratio per resample makes the interval, whose ends are therefore tested ratios. Of equally good ratios the
    smallest counts. Returns SERIES, condition ('all': mean over conditions), best, low, high, tested (the ratios, as
    text), top (is the interval open to ratios above the largest?), share_top, share_none (of the resamples in which the
    largest ratio, or none at all, was best), gain (of the best over ratio 0, points: the largest of several, hence
    biased upwards), clusters, runs, flags.
    """
    columns = [*SERIES, "condition", "best", "low", "high", "tested", "top", "share_top", "share_none", "gain"]
    columns += ["clusters", "runs", "flags"]
    rows = []
    for series in _series(prepared[task]) if task in prepared else []:
        control = {key: series[key] for key in CONTROL} | {"task": task, "ratio": 0}
        doses, correct, strata = contrasts.by_dose(prepared, {**series, "task": task}, control)
        for condition in ["all", *sorted(set(strata))]:
            at = np.ones(len(strata), bool) if condition == "all" else strata == condition
            optimum = _optimum(doses, correct[:, at], strata[at], draws, seed, level)
            rows.append({**series, "condition": condition, **optimum})
    return pd.DataFrame(rows, columns=columns)


def of_series(table: pd.DataFrame, arm: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of `optima` for the series of one arm, as far as its settings name one.

    >>> of_series(pd.DataFrame({"n": [4, 8], "best": [5, 1]}), {"n": 8, "ratio": 10})["best"].tolist()
    [1]
    """
    return select(table, **{key: value for key, value in arm.items() if key in SERIES})


def _series(block: Block) -> list[dict[str, Any]]:
    """Settings of each series of arms with real images that has a control and ratios enough to compare."""
    arms = block.arms[block.arms["n"] > 0]
    settings = [key for key in SERIES if key in arms]
    controls = set(arms.loc[arms["ratio"] == 0, CONTROL].itertuples(index=False, name=None))
    ratios = arms[arms["ratio"] > 0].groupby(settings, sort=True)["ratio"].nunique()
    series = [dict(zip(settings, key, strict=True)) for key in ratios.index[ratios >= LEAST]]
    return [one for one in series if tuple(one[key] for key in CONTROL) in controls]


def _optimum(
    doses: np.ndarray, correct: np.ndarray, strata: np.ndarray, draws: int, seed: int, level: float
) -> dict[str, Any]:
    """The best of the doses with its interval. correct: (runs, clusters, doses)."""
    runs, clusters, _ = correct.shape
    means = correct.mean(0).T @ stratum_shares(strata)
    best = int(np.argmax(means))
    row = {"best": doses[best], "low": np.nan, "high": np.nan, "tested": ", ".join(f"{x:g}" for x in doses)}
    row |= {"gain": 100 * (means[best] - means[0]), "clusters": clusters, "runs": runs}
    row |= {"top": False, "share_top": np.nan, "share_none": np.nan, "flags": ""}
    if runs < 2 or clusters < 2:
        return row | {"flags": f"not estimable: one {'run' if runs < 2 else 'cluster'} only"}
    resampled = two_way_means(correct, strata, draws, np.random.default_rng(seed)).argmax(1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = doses[np.quantile(resampled, tails, method="inverted_cdf").astype(int)]
    shares = {"share_top": (resampled == len(doses) - 1).mean(), "share_none": (resampled == 0).mean()}
    return row | {"low": low, "high": high, "top": bool(high == doses[-1]), **shares}
