"""What trained cells answered: kept with each cell, and collected into the long table of predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinsyn.run import store

from . import thresholds
from .arms import SETTINGS
from .members import Members
from .training import Trained

__all__ = ["collect", "write"]

ABOUT_IMAGE = ["cluster_id", "condition", "fst", "fst_group", "source"]
POSITIVE = "malignant"


def write(folder: Path, one: Members, done: Trained) -> dict:
    """Write predictions.parquet of a cell (split, image_id, y_true, p_<class>; validation, then test); what to say of it."""
    held = pd.concat([one.validation, one.test])
    answers = pd.DataFrame(
        np.concatenate([done.validation, done.probabilities]), columns=[f"p_{name}" for name in one.classes]
    )
    answers.insert(0, "y_true", np.array(one.classes, object)[held["label"]])
    answers.insert(0, "image_id", held["image_id"].to_numpy())
    answers.insert(0, "split", np.repeat(["validation", "test"], [len(one.validation), len(one.test)]))
    answers.to_parquet(folder / "predictions.parquet", index=False)
    counts = {"n_real": one.n_real, "n_synthetic": len(one.training) - one.n_real, "left_out": one.left_out}
    return counts | {"epochs": done.epochs, "best_epoch": done.best_epoch, "validation_loss": done.validation_loss}


def collect(wanted: Sequence[Mapping], keys: Sequence[str], images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(predictions, cells) of trained cells: one row an arm × run × test image, and one row a cell.

    predictions: arm, run, image_id, what is known of the image, SETTINGS, y_true, correct, threshold, p_<class>. threshold:
    of malignancy, by `thresholds.youden` on the cell's own validation images; NaN elsewhere, where the highest probability
    decides. cells: arm, run, SETTINGS, key, threshold, and what its manifest says.
    """
    answers, rows = [], []
    for cell, key in zip(wanted, keys, strict=True):
        one, threshold = _of_cell(key)
        answers.append(one)
        settings = {"arm": cell["arm"], "run": cell["run"], **{name: cell[name] for name in SETTINGS}}
        rows.append({**settings, **store.manifest("cell", key)["result"], "threshold": threshold, "key": key})
    predictions, cells = pd.concat(answers, ignore_index=True), pd.DataFrame(rows)
    # Once for all cells: columns put beside each cell's answers took longer than reading these.
    of_cell = np.repeat(np.arange(len(cells)), [len(one) for one in answers])
    settings = cells[["arm", "run", *SETTINGS, "threshold"]].iloc[of_cell].reset_index(drop=True)
    about = images.set_index("image_id").loc[predictions["image_id"], ABOUT_IMAGE].reset_index(drop=True)
    predictions = pd.concat([predictions, about, settings], axis=1)
    first = ["arm", "run", "image_id", *ABOUT_IMAGE, *SETTINGS, "y_true", "correct", "threshold"]
    return predictions[[*first, *(c for c in predictions if c.startswith("p_"))]], cells


def _of_cell(key: str) -> tuple[pd.DataFrame, float]:
    """(image_id, y_true, correct, p_<class> of the test images; threshold, NaN where there is none) of a kept cell."""
    both = pd.read_parquet(store.unit_dir("cell", key) / "predictions.parquet")
    held, test = (both[both["split"] == split].drop(columns="split") for split in ("validation", "test"))
    p = test.filter(like="p_")
    if set(p.columns) == {f"p_{POSITIVE}", "p_benign"}:
        score = f"p_{POSITIVE}"
        threshold = thresholds.youden(held["y_true"] == POSITIVE, held[score])
        correct = (test[score].astype(float) >= threshold) == (test["y_true"] == POSITIVE)
    else:
        threshold = np.nan
        correct = p.columns[p.to_numpy().argmax(1)].str[2:] == test["y_true"].to_numpy()
    test.insert(2, "correct", np.asarray(correct))
    return test, threshold
