"""From somebody else's table to the contract (`contract`): columns that may be left out, answers and names as written.

Needed: `arm` (any names), `image_id`, `cluster_id` (the patient or lesion; copy `image_id` where every image is its
own), `y_true` and `correct`. May be left out: `run` (one run), `task` ("answers"), `condition` (y_true), `fst_group`
(any names; from `fst`, Fitzpatrick's types 1 to 6, else unknown) and the probabilities. Whatever is filled in is said.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from .contract import classes_of, positive_of, probabilities_of
from .predictions import GROUP_OF, groups_of

__all__ = ["ANSWERS", "TEXT", "Adapted", "adapt"]

NEEDED = ("arm", "image_id", "cluster_id", "y_true", "correct")
TEXT = ("arm", "image_id", "cluster_id", "condition", "fst_group", "task", "y_true", "source", "method", "generator")
ANSWERS = {"1": 1, "true": 1, "yes": 1, "0": 0, "false": 0, "no": 0}


class Adapted(NamedTuple):
    """A table under the contract, and what was filled in or changed for it."""

    frame: pd.DataFrame
    remarks: list[str]


def adapt(frame: pd.DataFrame, positive: str = "") -> Adapted:
    """The table under the contract, as far as that needs no guess; `check_predictions` has the last word.

    positive: the class to be found in tasks of two classes; "": `malignant`, else `1`. Raises ValueError for a needed
    column that is absent, answers that are neither right nor wrong, and a task of two classes with probabilities whose
    positive class nobody names.

    >>> mine = pd.DataFrame({"arm": ["a"], "image_id": ["i"], "cluster_id": ["i"], "y_true": [1], "correct": ["yes"]})
    >>> adapt(mine).frame[["run", "task", "condition", "fst_group", "correct"]].values.tolist()
    [[0, 'answers', '1', 'unknown', 1]]
    """
    absent = [name for name in NEEDED if name not in frame.columns]
    if absent:
        hint = "; where every image is its own patient, copy image_id to cluster_id" * ("cluster_id" in absent)
        raise ValueError(f"predictions lack the columns {absent}; there are: {list(map(str, frame.columns))}{hint}")
    frame, remarks = frame.copy(), []
    for name in TEXT:
        if name in frame:
            frame[name] = _text(frame[name])
    frame["correct"] = _answers(frame["correct"])
    remarks += _fill(frame)
    remarks += _skin_type(frame)
    remarks += _positive(frame, positive)
    return Adapted(frame, remarks)


def _text(column: pd.Series) -> pd.Series:
    """Names as text, whole numbers without a decimal point; empty cells stay empty."""
    if pd.api.types.is_float_dtype(column) and column.dropna().mod(1).eq(0).all():
        column = column.astype("Int64")
    text = column.astype("str").str.strip()
    return text.where(column.notna() & text.ne(""), None)


def _answers(column: pd.Series) -> pd.Series:
    """0 or 1 for each answer, however right and wrong are written."""
    if pd.api.types.is_bool_dtype(column) and not column.isna().any():
        return column.astype(int)
    if pd.api.types.is_numeric_dtype(column):
        known = column.where(column.isin((0, 1)))
    else:
        known = column.astype("str").str.strip().str.lower().map(ANSWERS)
    if known.isna().any():
        strange = column[known.isna()]
        found = ", ".join(sorted({repr(value) for value in strange.tolist()})[:6])
        raise ValueError(
            f"column 'correct' holds {found} in {len(strange)} rows; expected 1 or 0, true or false, yes or no"
        )
    return known.astype(int)


def _fill(frame: pd.DataFrame) -> list[str]:
    """Columns that may be left out, filled in place; what was done."""
    remarks = []
    usual = {
        "run": (0, "no column run: one run, so that nothing is claimed about training again"),
        "task": ("answers", "no column task: all rows are of one task, 'answers'"),
        "condition": (frame["y_true"], "no column condition: the classes (y_true) stand for it"),
    }
    for name, (value, remark) in usual.items():
        if name not in frame:
            frame[name] = value
            remarks.append(remark)
    return remarks


def _skin_type(frame: pd.DataFrame) -> list[str]:
    """Skin-type groups, filled in place: from `fst` where there is no column of groups, unknown where it is empty."""
    remarks, whole = [], frame["image_id"].nunique()
    if "fst" in frame:
        frame["fst"] = pd.to_numeric(frame["fst"], errors="coerce").fillna(-1).astype(int)  # as the study writes it
    if "source" in frame:
        frame["source"] = frame["source"].fillna("unknown")
    if "fst_group" not in frame:
        if "fst" in frame:
            frame["fst_group"] = frame["fst"].map(GROUP_OF)
            remarks.append("no column fst_group: groups are those of fst, Fitzpatrick's types 1 to 6")
        else:
            frame["fst_group"] = None
    empty = frame["fst_group"].isna() | frame["fst_group"].eq("")
    if empty.any():
        images = frame.loc[empty, "image_id"].nunique()
        remarks.append(f"skin type is not given for {images} of {whole} images: unknown")
    frame["fst_group"] = frame["fst_group"].astype(object).where(~empty, "unknown").astype("str")
    if not frame["fst_group"].eq("unknown").all():
        remarks.append(f"skin-type groups, in this order: {', '.join(groups_of(frame['fst_group']))}")
    return remarks


def _positive(frame: pd.DataFrame, named: str) -> list[str]:
    """The column `positive`, filled in place: the class to be found in each task of two classes."""
    remarks, found = [], {}
    known = {str(task): classes_of(part) for task, part in frame.groupby("task")}
    if named and not any(named in classes and len(classes) == 2 for classes in known.values()):
        every = "; ".join(f"{task}: {', '.join(classes)}" for task, classes in known.items())
        raise ValueError(f"--positive {named}: no task has two classes of which it is one; there are {every}")
    for task, part in frame.groupby("task"):
        classes = known[str(task)]
        one = named if len(classes) == 2 and named in classes else positive_of(part)
        if len(classes) == 2 and not one and probabilities_of(part):
            raise ValueError(
                f"task {task!r}: which of its classes is to be found, {classes[0]!r} or {classes[1]!r}? "
                f"Say so, for example: --positive {classes[1]}"
            )
        if one:
            found[task] = one
            remarks.append(f"task {task!r}: the class to be found is {one!r}, the other is {_other(classes, one)!r}")
    if found:
        frame["positive"] = frame["task"].map(found).replace(np.nan, None)
    return remarks


def _other(classes: list[str], one: str) -> str:
    return next(name for name in classes if name != one)
