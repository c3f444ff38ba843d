"""Summary of the grid's predictions: accuracy by arm and by skin type, with plain intervals over runs."""

import numpy as np
import pandas as pd
from scipy import stats

from .arms import Arm

__all__ = ["accuracy", "by_group"]


def accuracy(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of each arm: arm, the fields of `Arm`, label, runs, accuracy, low, high, micro [proportions], sorted.

    accuracy: mean over runs of the mean over classes (macro); micro: over all images. low, high: Student's t over runs,
    of macro accuracy. The test images count as fixed, so this describes; tests are 05's. NaN ends where there is one
    run.
    """
    keys = ["arm", *Arm.names()]
    classes = predictions.groupby([*keys, "run", "y_true"], sort=False)["correct"].mean()
    runs = pd.DataFrame({"accuracy": classes.groupby([*keys, "run"], sort=False).mean()})
    runs["micro"] = predictions.groupby([*keys, "run"], sort=False)["correct"].mean()
    table = _over_runs(runs, keys, level).sort_values([*Arm.names(), "arm"], ignore_index=True)
    table.insert(len(keys), "label", [Arm.of_row(row).label for row in table.to_dict("records")])
    return table


def by_group(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of each arm by skin type: task, arm (label), n, ratio, group, images, runs, accuracy, low, high."""
    keys = ["arm", *Arm.names(), "fst_group"]
    runs = predictions.groupby([*keys, "run"], sort=False)["correct"].agg(accuracy="mean", images="size")
    table = _over_runs(runs, keys, level).sort_values([*Arm.names(), "arm", "fst_group"], ignore_index=True)
    table["arm"] = [Arm.of_row(row).label for row in table.to_dict("records")]
    table = table.rename(columns={"fst_group": "group"}).astype({"images": int})
    return table[["task", "arm", "n", "ratio", "group", "images", "runs", "accuracy", "low", "high"]]


def _over_runs(runs: pd.DataFrame, keys: list[str], level: float) -> pd.DataFrame:
    """Means over runs of all columns, with Student's t interval of `accuracy`, cut to 0..1."""
    grouped = runs.groupby(keys, sort=False)
    table = grouped.mean()
    count = grouped.size()
    spread = grouped["accuracy"].std(ddof=1) / np.sqrt(count) * stats.t.ppf((1 + level) / 2, np.maximum(count - 1, 1))
    table["low"] = (table["accuracy"] - spread).clip(0, 1)
    table["high"] = (table["accuracy"] + spread).clip(0, 1)
    table.insert(0, "runs", count)
    return table.reset_index()
