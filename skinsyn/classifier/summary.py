"""What the grid's answers say at a glance: accuracy by arm and by skin type, with plain intervals over runs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from .arms import SETTINGS

__all__ = ["accuracy", "by_group", "label"]


def label(arm: Mapping) -> str:
    """A short name of an arm for figures: what it trains on, whatever the number of real images."""
    real = "real" if arm["n"] else ""
    steps = ", matched steps" if arm["steps"] == "matched" else ""
    kind = "" if arm["generator"] in ("none", "fine-tuned") else f", {arm['generator']}"
    weight = f", weight {arm['weight']:g}" if arm["weight"] != 1 else ""
    changed = weight + (", unfiltered" if arm["filter"] == "off" else "")
    synthetic = f"{arm['ratio']:g} {arm['method']}{kind}{changed}" if arm["ratio"] else ""
    return " + ".join(filter(None, [real, synthetic, "transforms" if arm["transforms"] else ""])) + steps


def accuracy(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of each arm: arm, SETTINGS, label, runs, accuracy, low, high, micro [proportions], in order of settings.

    accuracy: mean over runs of the mean over classes (macro); micro: over all images. low, high: Student's t over runs,
    of macro accuracy. It treats the test images as given, so it describes; tests are 05's. NaN ends where there is one
    run.
    """
    keys = ["arm", *SETTINGS]
    classes = predictions.groupby([*keys, "run", "y_true"], sort=False)["correct"].mean()
    runs = pd.DataFrame({"accuracy": classes.groupby([*keys, "run"], sort=False).mean()})
    runs["micro"] = predictions.groupby([*keys, "run"], sort=False)["correct"].mean()
    made = _over_runs(runs, keys, level).sort_values([*SETTINGS, "arm"], ignore_index=True)
    made.insert(len(keys), "label", [label(arm) for arm in made.to_dict("records")])
    return made


def by_group(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Accuracy of each arm by skin type: task, arm (label), n, ratio, group, images, runs, accuracy, low, high."""
    keys = ["arm", *SETTINGS, "fst_group"]
    runs = predictions.groupby([*keys, "run"], sort=False)["correct"].agg(accuracy="mean", images="size")
    made = _over_runs(runs, keys, level).sort_values([*SETTINGS, "arm", "fst_group"], ignore_index=True)
    made["arm"] = [label(arm) for arm in made.to_dict("records")]
    made = made.rename(columns={"fst_group": "group"}).astype({"images": int})
    return made[["task", "arm", "n", "ratio", "group", "images", "runs", "accuracy", "low", "high"]]


def _over_runs(runs: pd.DataFrame, keys: list[str], level: float) -> pd.DataFrame:
    """Means over runs of all columns, with Student's t interval of `accuracy`, cut to 0..1."""
    grouped = runs.groupby(keys, sort=False)
    made = grouped.mean()
    count = grouped.size()
    spread = grouped["accuracy"].std(ddof=1) / np.sqrt(count) * stats.t.ppf((1 + level) / 2, np.maximum(count - 1, 1))
    made["low"] = (made["accuracy"] - spread).clip(0, 1)
    made["high"] = (made["accuracy"] + spread).clip(0, 1)
    made.insert(0, "runs", count)
    return made.reset_index()
