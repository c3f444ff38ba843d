"""What trained cells answered: kept with each cell, and collected into the long table of predictions."""

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


def write(folder: Path, one: Members, done: Trained) -> dict:
    """Write predictions.parquet of a cell (split, image_id, y_true, p_<class>; validation, then test); what to say of
    it."""
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


def collect(wanted: Sequence[Cell], keys: Sequence[str], images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(predictions, cells) of trained cells: one row an arm × run × test image, and one row a cell.

    predictions: arm, run, image_id, ABOUT_IMAGE, the fields of `Arm`, y_true, correct, threshold, p_<class>.
    threshold: of malignancy, by `thresholds.youden` on the cell's own validation images; NaN elsewhere, where the
    highest probability decides. cells: arm, run, the fields of `Arm`, key, threshold, and what its manifest says.
    """
    alike: dict[tuple, list[pa.Table]] = {}  # of the same classes: judged together, which one by one took longer
    for number, key in enumerate(keys):
        one = _read(key, number)
        alike.setdefault(tuple(one.column_names), []).append(one)
    judged = [_judged(pa.concat_tables(several).to_pandas()) for several in alike.values()]
    cuts = {number: cut for _, of_cells in judged for number, cut in of_cells.items()}
    rows = [
        {"arm": cell.arm, "run": cell.run, **{name: getattr(cell, name) for name in Arm.names()}}
        | {**store.manifest("cell", key)["result"], "threshold": cuts.get(number, np.nan), "key": key}
        for number, (cell, key) in enumerate(zip(wanted, keys, strict=True))
    ]
    predictions = pd.concat([part for part, _ in judged]).sort_values("cell", kind="stable", ignore_index=True)
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


def _judged(both: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, float]]:
    """(image_id, y_true, correct, p_<class>, cell of the test images; number of a cell → its threshold, where it has
    one).

    both: the answers of cells of the same classes, see `write`.
    """
    held, test = (both[both["split"] == split].drop(columns="split") for split in ("validation", "test"))
    p, cuts = test.filter(like="p_"), {}
    if set(p.columns) == {f"p_{POSITIVE}", "p_benign"}:
        score = f"p_{POSITIVE}"
        cuts = {
            number: thresholds.youden(part["y_true"] == POSITIVE, part[score]) for number, part in held.groupby("cell")
        }
        correct = (test[score].astype(float) >= test["cell"].map(cuts)) == (test["y_true"] == POSITIVE)
    else:
        correct = p.columns.str[2:].to_numpy()[p.to_numpy().argmax(1)] == test["y_true"].to_numpy()
    test.insert(2, "correct", np.asarray(correct))
    return test, cuts
