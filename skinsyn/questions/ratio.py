"""Which ratio of synthetic to real images is best, by condition, number of real images and method, and how surely?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm
from skinsyn.report.numbers import number, show
from skinsyn.stats import contrasts
from skinsyn.stats.bootstrap import stratum_shares, two_way_means
from skinsyn.stats.predictions import Block

__all__ = ["SERIES", "answer", "named", "optima"]

# What the arms of one series share; they differ in their ratio alone.
SERIES = [name for name in Arm.names() if name not in ("task", "ratio", "sources")]
LEAST = 2  # ratios above 0: of a single one, nothing can be called the best


def optima(
    prepared: Mapping[str, Block], task: str = "condition", draws: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """The ratio with the highest accuracy, for every series of arms that differ in it, overall and by condition.

    prepared: of `predictions.blocks`. A series has a control (ratio 0, which may itself be the best) and at least two
    ratios above 0. Runs and clusters are drawn anew together (Owen 2007), the same draws for all ratios of a series;
    the best ratio of each draw makes the interval, whose ends are therefore tested ratios. Of equally good ratios the
    smallest counts. Returns SERIES, condition ('all': mean over conditions), best, low, high, tested (the ratios, as
    text), top (is the interval open to ratios above the largest?), share_top, share_none (of the draws in which the
    largest ratio, or none at all, was best), gain (of the best over ratio 0, points: picked as the largest, so too
    high), clusters, runs, flags.
    """
    columns = [*SERIES, "condition", "best", "low", "high", "tested", "top", "share_top", "share_none", "gain"]
    columns += ["clusters", "runs", "flags"]
    found = []
    for series in _series(prepared[task]) if task in prepared else []:
        control = {key: series[key] for key in ("n", "transforms", "steps")} | {"task": task, "ratio": 0}
        doses, correct, strata = contrasts.by_dose(prepared, {**series, "task": task}, control)
        for condition in ["all", *sorted(set(strata))]:
            at = np.ones(len(strata), bool) if condition == "all" else strata == condition
            row = _optimum(doses, correct[:, at], strata[at], draws, seed, level)
            found.append({**series, "condition": condition, **row})
    return pd.DataFrame(found, columns=columns)


def named(arm: Mapping) -> list[str]:
    """Which of SERIES an arm's settings name."""
    return [key for key in SERIES if key in arm]


def _series(block: Block) -> list[dict]:
    """Settings of each series of arms with real images that has a control and ratios enough to compare."""
    arms = block.arms[block.arms["n"] > 0]
    known = [key for key in SERIES if key in arms]
    controls = set(arms.loc[arms["ratio"] == 0, ["n", "transforms", "steps"]].itertuples(index=False, name=None))
    made = arms[arms["ratio"] > 0].groupby(known, sort=True)["ratio"].nunique()
    series = [dict(zip(known, key, strict=True)) for key in made.index[made >= LEAST]]
    return [one for one in series if (one["n"], one["transforms"], one["steps"]) in controls]


def _optimum(
    doses: np.ndarray, correct: np.ndarray, strata: np.ndarray, draws: int, seed: int, level: float
) -> dict[str, object]:
    """The best of the doses with its interval. correct: (runs, clusters, doses)."""
    runs, clusters, _ = correct.shape
    means = correct.mean(0).T @ stratum_shares(strata)
    best = int(np.argmax(means))
    row = {"best": doses[best], "low": np.nan, "high": np.nan, "tested": ", ".join(f"{x:g}" for x in doses)}
    row |= {"gain": 100 * (means[best] - means[0]), "clusters": clusters, "runs": runs}
    row |= {"top": False, "share_top": np.nan, "share_none": np.nan, "flags": ""}
    if runs < 2 or clusters < 2:
        return row | {"flags": f"not estimable: one {'run' if runs < 2 else 'cluster'} only"}
    drawn = two_way_means(correct, strata, draws, np.random.default_rng(seed)).argmax(1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = doses[np.quantile(drawn, tails, method="inverted_cdf").astype(int)]
    shares = {"share_top": (drawn == len(doses) - 1).mean(), "share_none": (drawn == 0).mean()}
    return row | {"low": low, "high": high, "top": bool(high == doses[-1]), **shares}


def answer(found: pd.DataFrame, series: Mapping) -> str:
    """The answer in plain words, for the series that `series` names, over all conditions and by condition."""
    mine = found
    for key in named(series):
        mine = mine[mine[key] == series[key]]
    overall = mine[(mine["condition"] == "all") & (mine["flags"] == "")]
    if overall.empty:
        return "Not run: no series of arms with the primary settings has two ratios above none, a control and two runs."
    row = overall.iloc[0]
    best, low, high = (show(number(float(row[key])), 0) for key in ("best", "low", "high"))
    share = show(number(100 * float(row["share_none"])), 0)
    text = f"Of the tested ratios ({row['tested']}), {best} synthetic images per real one were best at {row['n']} real "
    text += f"images per class. Over new runs and images the best lies {_range(low, high, bool(row['top']))}; "
    text += f"in {share} % of draws no synthetic image at all was best. "
    single = mine[(mine["condition"] != "all") & (mine["flags"] == "")]
    if len(single):
        text += f"By condition the best ratio runs from {single['best'].min():g} to {single['best'].max():g}; "
        text += f"for {int(single['top'].sum())} of {len(single)} conditions the interval reaches the largest, "
        text += "and what lies beyond was not tested."
    return text


def _range(low: str, high: str, top: bool) -> str:
    return f"at {low} or above, with no upper end within what was tested" if top else f"between {low} and {high}"
