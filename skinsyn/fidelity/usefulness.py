"""Does any measure of the images predict downstream gain? Measures against the gains of the grid, by condition."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from skinsyn.run import seeds
from skinsyn.stats import families

from . import MODEL

__all__ = ["correlations", "gains"]

LEAST = 4  # conditions: of three, no order of ranks is rare enough for any p below 0.3
SAME = ["task", "n", "transforms", "steps", "sources", "run"]  # what an arm and its control share


def gains(predictions: pd.DataFrame) -> pd.DataFrame:
    """The mean gain in accuracy by MODEL and condition, over all arms that have a control: proportions.

    predictions: the table of 04. An arm's control has the same real images, transforms and steps, and no synthetic
    image; arms of synthetic images alone have none. Returns MODEL, condition, gain, arms.

    >>> arm = {"task": "condition", "n": 4, "transforms": True, "steps": 0, "sources": 4, "run": 0}
    >>> arm |= {"condition": "target"}
    >>> control = {"ratio": 0, "method": "", "generator": "", "scope": "", "arm": "real", "correct": False}
    >>> treatment = {"ratio": 1, "method": "text", "generator": "base", "scope": "all", "arm": "mixed", "correct": True}
    >>> gains(pd.DataFrame([arm | control, arm | treatment]))[["method", "condition", "gain"]].to_numpy().tolist()
    [['text', 'target', 1.0]]
    """
    answers = predictions[(predictions["task"] == "condition") & (predictions["n"] > 0)]
    keys = [*SAME, "ratio", *MODEL, "arm", "condition"]
    accuracy = answers.groupby(keys, sort=True)["correct"].mean().reset_index()
    control = accuracy[accuracy["ratio"] == 0][[*SAME, "condition", "correct"]]
    paired = accuracy[accuracy["ratio"] > 0].merge(control, on=[*SAME, "condition"], suffixes=("", "_control"))
    paired["gain"] = paired["correct"] - paired["correct_control"]
    models = paired.groupby([*MODEL, "condition"], sort=True)
    return models.agg(gain=("gain", "mean"), arms=("arm", "nunique")).reset_index()


def _rho(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rho over conditions of (..., conditions, models) values, averaged over the models where it exists."""
    ranks = [stats.rankdata(values, axis=-2) for values in (first, second)]
    ranks = [rank - rank.mean(axis=-2, keepdims=True) for rank in ranks]
    scale = np.sqrt((ranks[0] ** 2).sum(-2) * (ranks[1] ** 2).sum(-2))
    known = scale > 0
    rho = (ranks[0] * ranks[1]).sum(-2) / np.where(known, scale, 1)
    return np.where(known.any(-1), rho.sum(-1) / np.maximum(known.sum(-1), 1), np.nan)


def correlations(
    table: pd.DataFrame, measures: Sequence[str], draws: int = 9999, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Spearman's correlation of each measure with the gain over conditions, within models; Holm-adjusted permutation p.

    table: one row per model and condition (MODEL, condition, gain, measures). Ranks are taken within each model, so
    that a model that is better throughout proves nothing; the unit is the condition: whole conditions are permuted and,
    for the interval, drawn with replacement (percentiles, wide with few conditions). p is two-sided, (1 + b) / (draws +
    1). Models that lack the measure in conditions where others have it are left out. Returns measure, rho, low, high,
    p, p_adjusted, conditions, models, flags.

    >>> model = {"method": "text", "generator": "base", "scope": "all"}
    >>> table = pd.DataFrame([model | {"condition": c, "gain": c**2, "vendi": c} for c in range(6)])
    >>> correlations(table, ["vendi"], draws=99)[["rho", "conditions"]].to_numpy().tolist()
    [[1.0, 6.0]]
    """
    columns = ["measure", "rho", "low", "high", "p", "p_adjusted", "conditions", "models", "flags"]
    rows = [_tested(table, measure, draws, seed, level) for measure in measures]
    results = pd.DataFrame(rows).reindex(columns=columns)
    return results.assign(p_adjusted=families.adjust(results["p"].to_numpy(float), "holm"))


def _tested(table: pd.DataFrame, measure: str, draws: int, seed: int, level: float) -> dict:
    """One row of `correlations`, without the adjusted p."""
    measured = table.dropna(subset=[measure, "gain"])
    if measured.empty:
        return {"measure": measure, "conditions": 0, "models": 0, "flags": "not estimable: measured nowhere"}
    count = measured.groupby(MODEL)["condition"].transform("size")
    measured = measured[count == count.max()]
    wide = measured.pivot_table(index="condition", columns=MODEL, values=[measure, "gain"]).dropna()
    row = {"measure": measure, "conditions": len(wide), "models": len(measured[MODEL].drop_duplicates()), "flags": ""}
    if len(wide) < LEAST:
        return row | {"flags": f"not estimable: fewer than {LEAST} conditions"}
    first, second = (wide[name].to_numpy(float) for name in (measure, "gain"))
    rho = float(_rho(first, second))
    if np.isnan(rho):
        return row | {"flags": "not estimable: the same in every condition"}
    rng = seeds.generator("usefulness", measure, seed)
    order = rng.permuted(np.tile(np.arange(len(wide)), (draws, 1)), axis=1)
    b = int((np.abs(_rho(np.broadcast_to(first, (draws, *first.shape)), second[order])) >= abs(rho) - 1e-12).sum())
    resamples = rng.integers(0, len(wide), (draws, len(wide)))
    low, high = np.nanquantile(_rho(first[resamples], second[resamples]), [(1 - level) / 2, (1 + level) / 2])
    return row | {"rho": rho, "low": float(low), "high": float(high), "p": (1 + b) / (draws + 1)}
