"""The optimal ratio of synthetic to real images, per condition, number of real images and method: which ratios may be
the best, and the gain of the best, adjusted for its selection."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm

from . import covariance, estimands, selection
from .hypotheses import Hypothesis
from .predictions import Block, select

__all__ = ["SERIES", "of_series", "optima"]

# What the arms of one series share; they differ in their ratio alone.
SERIES = [name for name in Arm.names() if name not in ("task", "ratio", "sources")]
CONTROL = ["n", "transforms", "steps"]  # what a series shares with its control
LEAST = 2  # ratios above 0: of a single one, nothing can be called the best
COLUMNS = ["condition", "best", "low", "high", "tested", "not_rejected", "top", "none", "gain", "gain_adjusted"]
COLUMNS += ["gain_low", "gain_high", "clusters", "runs", "flags"]


def optima(prepared: Mapping[str, Block], task: str = "condition", level: float = 0.95) -> pd.DataFrame:
    """The ratio with the highest accuracy, for every series of arms that differ in it, overall and by condition.

    prepared: of `predictions.blocks`. A series has a control (ratio 0, which may itself be the best) and at least two
    ratios above 0. Which ratios may be the best is a confidence set, multiple comparisons with the best (Hsu 1984;
    `selection.best`), runs and clusters random: the bootstrap of an argmax is not valid where two ratios nearly tie.
    Returns SERIES, condition ('all': mean over conditions), best (of equal ones the smallest), low, high (the ends of
    the set), tested and not_rejected (the ratios and those of the set, as text), top and none (bool: is the largest
    ratio, or ratio 0, in the set?), gain (of the best ratio above 0 over ratio 0, points: the largest of several, hence
    biased upwards), gain_adjusted, gain_low, gain_high (the same, adjusted for the selection: `selection.maximum`),
    clusters, runs, flags.
    """
    rows = []
    for series in _series(prepared[task]) if task in prepared else []:
        for condition in ["all", *sorted(set(prepared[task].images["y_true"]))]:
            where = {} if condition == "all" else {"y_true": condition}
            rows.append({**series, "condition": condition, **_optimum(prepared[task], series, where, level)})
    return pd.DataFrame(rows, columns=[*SERIES, *COLUMNS])


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


def _gains(block: Block, series: Mapping, where: Mapping) -> tuple[np.ndarray, covariance.Joint, dict[str, int]]:
    """The ratios above 0 of a series, their gains over its control, and the clusters and runs these rest on."""
    ratios = sorted(float(ratio) for ratio in select(block.arms, **series)["ratio"].unique() if ratio > 0)
    arms = {f"ratio {ratio:g}": {**series, "task": block.task, "ratio": ratio} for ratio in ratios}
    arms["control"] = {**{key: series[key] for key in CONTROL}, "task": block.task, "ratio": 0}
    hypotheses = [Hypothesis(id=name, estimand=f"{name} - control", where=dict(where)) for name in arms][:-1]
    sums = [estimands.parts({block.task: block}, one, arms) for one in hypotheses]
    sizes = {"clusters": sum(len(set(ids)) for ids in sums[0].clusters), "runs": len(sums[0].values[0])}
    return np.array(ratios), covariance.of_parts(sums), sizes


def _optimum(block: Block, series: Mapping, where: Mapping, level: float) -> dict[str, Any]:
    """The ratios that may be the best, and the gain of the best ratio above 0."""
    ratios, joint, sizes = _gains(block, series, where)
    ratios, gains = np.array([0.0, *ratios]), np.array([0.0, *joint.estimates])  # no gain of ratio 0 over itself
    row = {"best": ratios[int(np.argmax(gains))], "tested": _text(ratios), "gain": 100 * joint.estimates.max()}
    row |= {**sizes, "flags": joint.flags, "top": False, "none": False}
    if joint.flags:
        return row | {"low": np.nan, "high": np.nan, "not_rejected": ""}
    df = np.pad(joint.df, (1, 0), constant_values=np.inf)
    df[0, 1:] = df[1:, 0] = np.diag(joint.df)
    kept = selection.best(gains, np.pad(joint.covariance, (1, 0)), level, df)
    winner = int(np.argmax(joint.estimates))
    adjusted = selection.maximum(joint.estimates, joint.covariance, level, joint.df[winner, winner])
    row |= {"low": ratios[kept].min(), "high": ratios[kept].max(), "not_rejected": _text(ratios[kept])}
    row |= {"top": bool(kept[-1]), "none": bool(kept[0])}
    return row | {
        "gain_adjusted": 100 * adjusted.estimate,
        "gain_low": 100 * adjusted.low,
        "gain_high": 100 * adjusted.high,
    }


def _text(ratios: np.ndarray) -> str:
    return ", ".join(f"{ratio:g}" for ratio in ratios)
