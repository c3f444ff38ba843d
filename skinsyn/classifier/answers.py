"""Predictions of trained cells: kept with each cell, and collected into one long table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet as pq

from skinsyn.run import store

from . import thresholds
from .arms import Arm, Cell
from .members import Members
from .training import Trained

__all__ = ["collect", "write"]

ABOUT_IMAGE = ["cluster_id", "condition", "fst", "fst_group", "source"]
POSITIVE = "malignant"


def write(folder: Path, one: Members, result: Trained) -> dict:
    """Write predictions.parquet of a cell (split, image_id, y_true, p_<class>; validation, then test); the facts of its
    manifest."""
    images = pd.concat([one.validation, one.test])
    answers = pd.DataFrame(
        np.concatenate([result.validation, result.probabilities]), columns=[f"p_{name}" for name in one.classes]
    )
    answers.insert(0, "y_true", np.array(one.classes, object)[images["label"]])
    answers.insert(0, "image_id", images["image_id"].to_numpy())
    answers.insert(0, "split", np.repeat(["validation", "test"], [len(one.validation), len(one.test)]))
    answers.to_parquet(folder / "predictions.parquet", index=False)
    counts = {"n_real": one.n_real, "n_synthetic": len(one.training) - one.n_real, "left_out": one.left_out}
    return counts | {name: getattr(result, name) for name in ("epochs", "best_epoch", "validation_loss")}


def collect(wanted: Sequence[Cell], keys: Sequence[str], images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(predictions, cells) of trained cells: one row per arm × run × test image, and one row per cell.

    predictions: arm, run, image_id, ABOUT_IMAGE, the fields of `Arm`, y_true, correct, threshold, p_<class>.
    threshold: of malignancy, by `thresholds.youden` on the cell's own validation images; NaN elsewhere, where the
    highest probability decides. cells: arm, run, the fields of `Arm`, key, threshold, and what its manifest says.
    """
    # Cells of the same classes are evaluated together; one by one took longer.
    by_classes: dict[tuple, list[pa.Table]] = {}
    for number, key in enumerate(keys):
        one = _read(key, number)
        by_classes.setdefault(tuple(one.column_names), []).append(one)
    evaluations = [_evaluate(pa.concat_tables(several).to_pandas()) for several in by_classes.values()]
    cuts = {number: cut for _, of_cells in evaluations for number, cut in of_cells.items()}
    rows = [
        {"arm": cell.arm, "run": cell.run, **{name: getattr(cell, name) for name in Arm.names()}}
        | {**store.manifest("cell", key)["result"], "threshold": cuts.get(number, np.nan), "key": key}
        for number, (cell, key) in enumerate(zip(wanted, keys, strict=True))
    ]
    predictions = pd.concat([part for part, _ in evaluations]).sort_values("cell", kind="stable", ignore_index=True)
    cells = pd.DataFrame(rows)
    settings = cells[["arm", "run", *Arm.names(), "threshold"]].iloc[predictions.pop("cell")].reset_index(drop=True)
    about = images.set_index("image_id").loc[predictions["image_id"], ABOUT_IMAGE].reset_index(drop=True)
    predictions = pd.concat([predictions, about, settings], axis=1)
    first = ["arm", "run", "image_id", *ABOUT_IMAGE, *Arm.names(), "y_true", "correct", "threshold"]
    return predictions[[*first, *(c for c in predictions if c.startswith("p_"))]], cells


def _read(key: str, number: int) -> pa.Table:
    """The answers of a kept cell and, in the column `cell`, its number; without what pandas noted of its index."""
    file = store.folder("cell", key) / "predictions.parquet"
    table = pq.ParquetFile(file).read(use_threads=False).replace_schema_metadata(None)
    return table.append_column("cell", pa.array(np.full(len(table), number)))


def _evaluate(answers: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, float]]:
    """(image_id, y_true, correct, p_<class>, cell of the test images; number of a cell → its threshold, where it has
    one).

    answers: of cells of the same classes, see `write`.
    """
    validation, test = (answers[answers["split"] == split].drop(columns="split") for split in ("validation", "test"))
    p, cuts = test.filter(like="p_"), {}
    if set(p.columns) == {f"p_{POSITIVE}", "p_benign"}:
        score = f"p_{POSITIVE}"
        cuts = {
            number: thresholds.youden(part["y_true"] == POSITIVE, part[score])
            for number, part in validation.groupby("cell")
        }
        correct = (test[score].astype(float) >= test["cell"].map(cuts)) == (test["y_true"] == POSITIVE)
    else:
        correct = p.columns.str[2:].to_numpy()[p.to_numpy().argmax(1)] == test["y_true"].to_numpy()
    test.insert(2, "correct", np.asarray(correct))
    return test, cuts
