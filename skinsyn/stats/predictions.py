"""The contract of the predictions table: checked once, then one block of right and wrong answers per task.

One row an arm × run × image of a task. Columns: `arm, run, image_id, cluster_id, condition, fst_group, task, y_true,
correct`, a probability `p_<class>` for every class of the task, and the arm's settings (fields of `classifier.arms.Arm`
and whatever else varies between arms). Optional: `threshold` of malignancy, chosen on validation images,
one in an arm × run (the highest probability decides where there is none); and of the image `fst`, `source` and FACTS.
"""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm

REQUIRED = ("arm", "run", "image_id", "cluster_id", "condition", "fst_group", "task", "y_true", "correct")
IMAGE = ("cluster_id", "condition", "fst_group", "y_true")
# What else may be known of an image, to select by: a mark on its label, its skin type by other annotators.
FACTS = ("label_flag", "fst_group_scale", "fst_group_centaur", "fst_group_agreed")
ROW = ("run", "correct", "threshold", "fst", "source", *FACTS)  # vary within an arm: no filter of arms may name them
GROUPS = ("I-II", "III-IV", "V-VI", "unknown")  # of Fitzpatrick skin types
GROUP_OF = {fst: GROUPS[(fst - 1) // 2] for fst in range(1, 7)}
POSITIVE = "malignant"


class Block(NamedTuple):
    """What all arms of one task got right: `correct` is (arms, runs, images), in the order of the tables."""

    task: str
    arms: pd.DataFrame  # one row an arm, its settings
    runs: list
    images: pd.DataFrame  # one row an image: image_id, cluster_id, condition, fst_group, y_true, fst, source, FACTS
    correct: np.ndarray
    classes: list[str]
    p: np.ndarray  # (arms, runs, images, classes), float32
    threshold: np.ndarray  # (arms, runs), of the positive class; .5 where none was chosen


def select(table: pd.DataFrame, **where) -> pd.DataFrame:
    """Rows whose columns hold the given values; a list means any of them, None a missing value.

    Raises ValueError naming the nearest column where one does not exist.

    >>> select(pd.DataFrame({"arm": ["a", "b", "c"]}), arm=["a", "c"])["arm"].tolist()
    ['a', 'c']
    """
    keep = np.ones(len(table), bool)
    for column, wanted in where.items():
        if column not in table.columns:
            near = difflib.get_close_matches(column, [str(c) for c in table.columns], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no column {column!r} to select by{hint} There are: {', '.join(map(str, table.columns))}")
        values = table[column]
        options = wanted if isinstance(wanted, list | tuple | set) else [wanted]
        hit = np.zeros(len(table), bool)
        for option in options:
            hit |= (values.isna() if option is None else values.eq(option).fillna(False)).to_numpy(bool)
        keep &= hit
    return table[keep]


def check_predictions(frame: pd.DataFrame) -> list[str]:
    """Refuse a predictions table that breaks the contract; returns remarks that a reader should see.

    Raises ValueError naming what is missing and where: columns, empty cells, duplicated rows, arms not tested on the
    same images in the same runs, probabilities that do not sum to 1, `correct` that contradicts them.
    """
    absent = [name for name in REQUIRED if name not in frame.columns]
    if absent:
        raise ValueError(f"predictions lack the columns {absent}; there are: {list(map(str, frame.columns))}")
    if frame.empty:
        raise ValueError("predictions hold no row")
    for name in REQUIRED:
        empty = frame[name].isna()
        if empty.any():
            raise ValueError(f"column {name!r} is empty (NaN) in {int(empty.sum())} rows, first {_place(frame[empty])}")
    remarks = []
    for task, part in frame.groupby("task", sort=True):
        _check_pairing(task, part)
        _check_images(task, part)
        classes = _check_probabilities(task, part)
        seen = set(part["y_true"].unique())
        unseen = [name for name in classes if name not in seen]
        if unseen:
            remarks.append(f"task {task!r}: no test image of {', '.join(unseen)}; averages are over the other classes")
        if part["fst_group"].eq("unknown").all():
            remarks.append(f"task {task!r}: skin type is unknown for all images; nothing by skin type is estimable")
    return remarks


def blocks(frame: pd.DataFrame) -> dict[str, Block]:
    """The table as one `Block` per task, after `check_predictions`."""
    check_predictions(frame)
    made = {}
    for task, part in frame.groupby("task", sort=True):
        part = part.sort_values(["arm", "run", "image_id"], kind="stable")
        settings = [c for c in part.columns if c not in (*IMAGE, *ROW, "image_id") and not str(c).startswith("p_")]
        arms = part[settings].drop_duplicates("arm").reset_index(drop=True)
        runs = sorted(part["run"].unique())
        one = part[(part["arm"] == arms["arm"].iloc[0]) & (part["run"] == runs[0])]
        known = [name for name in ("image_id", *IMAGE, "fst", "source", *FACTS) if name in one.columns]
        images, shape = one[known].reset_index(drop=True), (len(arms), len(runs), len(one))
        correct = part["correct"].to_numpy(float).reshape(shape)
        classes = _classes(part)
        p = part[[f"p_{name}" for name in classes]].to_numpy(np.float32).reshape(*shape, -1)
        threshold = _thresholds(part).reshape(shape)[:, :, 0]
        made[str(task)] = Block(str(task), arms, runs, images, correct, classes, p, threshold)
    return made


def add_facts(frame: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The predictions with FACTS of their images, as far as `images` (one row an image_id) knows them.

    fst_scale, fst_centaur (1-6, -1 unknown) become skin-type groups, and fst_group_agreed is the group where both
    annotators give the same, else unknown. Raises ValueError where an image of the predictions is not in `images`.
    """
    known = images.set_index("image_id")
    absent = sorted(set(frame["image_id"].unique()) - set(known.index), key=str)
    if absent:
        raise ValueError(f"{len(absent)} images of the predictions are not in the table of images, first {absent[0]!r}")
    found = known[[name for name in ("label_flag",) if name in known]].astype(str)
    for who in ("scale", "centaur"):
        if f"fst_{who}" in known:
            found[f"fst_group_{who}"] = known[f"fst_{who}"].map(GROUP_OF).fillna("unknown")
    if {"fst_group_scale", "fst_group_centaur"} <= set(found):
        same = found["fst_group_scale"] == found["fst_group_centaur"]
        found["fst_group_agreed"] = found["fst_group_scale"].where(same, "unknown")
    new = found[[name for name in found if name not in frame]]
    return frame.merge(new, left_on="image_id", right_index=True, how="left", validate="many_to_one")


def sizes(made: Mapping[str, Block]) -> pd.DataFrame:
    """What each task rests on: task, arms, runs, images, clusters, images of unknown skin type."""
    rows = []
    for task, block in made.items():
        row = {"task": task, "arms": len(block.arms), "runs": len(block.runs), "images": len(block.images)}
        row["clusters"] = block.images["cluster_id"].nunique()
        rows.append(row | {"skin type unknown": int(block.images["fst_group"].eq("unknown").sum())})
    return pd.DataFrame(rows)


def find_arm(block: Block, where: Mapping) -> int | None:
    """Position of the one arm with these settings, None where it was not run; two or more are an error.

    A table without the column of a field of `Arm` has no arm that sets it: such an arm was not run. Any other name is
    a mistake.
    """
    if any(name in Arm.names() and name not in block.arms and wanted is not None for name, wanted in where.items()):
        return None
    found = select(block.arms, **where)
    if len(found) > 1:
        differ = [c for c in found.columns if c != "arm" and found[c].astype(str).nunique() > 1]
        raise ValueError(
            f"{dict(where)} names {len(found)} arms, not one: {found['arm'].tolist()[:4]}; they differ in {differ}"
        )
    return None if found.empty else int(found.index[0])


def _classes(part: pd.DataFrame) -> list[str]:
    return [str(c)[2:] for c in part.columns if str(c).startswith("p_") and part[c].notna().any()]


def _thresholds(part: pd.DataFrame) -> np.ndarray:
    """The threshold of each row, .5 where none was chosen."""
    return part["threshold"].fillna(0.5).to_numpy(float) if "threshold" in part else np.full(len(part), 0.5)


def _check_thresholds(task: str, part: pd.DataFrame) -> np.ndarray:
    several = part.groupby(["arm", "run"])["threshold"].nunique(dropna=False) > 1
    if several.any():
        arm, run = several.index[several.to_numpy()][0]
        raise ValueError(f"task {task!r}: arm {arm!r}, run {_said(run)} has more than one threshold; it is chosen once")
    cut = _thresholds(part)
    outside = (cut < 0) | (cut > 1)
    if outside.any():
        raise ValueError(f"threshold outside 0..1 in {int(outside.sum())} rows, first {_place(part[outside])}")
    return cut


def _said(value) -> str:
    """A cell's value as a reader writes it, not as numpy prints it."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def _place(rows: pd.DataFrame) -> str:
    """Where a bad row stands, in the reader's terms."""
    row = rows.iloc[0]
    return ", ".join(
        f"{name} {_said(row[name])}" for name in ("task", "arm", "run", "image_id") if name in rows.columns
    )


def _check_pairing(task: str, part: pd.DataFrame) -> None:
    keys = ["arm", "run", "image_id"]
    twice = part.duplicated(keys)
    if twice.any():
        raise ValueError(f"{int(twice.sum())} duplicated rows, first {_place(part[twice])}")
    arms, runs, images = (part[key].unique() for key in keys)
    if len(part) == len(arms) * len(runs) * len(images):
        return
    have = (
        part.groupby(["arm", "run"])
        .size()
        .reindex(pd.MultiIndex.from_product([sorted(arms), sorted(runs)]), fill_value=0)
    )
    arm, run = have.index[int(np.argmin(have.to_numpy()))]
    if have.min() == 0:
        raise ValueError(
            f"unpaired arms: task {task!r}, arm {arm!r} lacks run {_said(run)} altogether "
            f"({int((have == 0).sum())} such gaps); every arm needs the same runs {sorted(runs.tolist())}"
        )
    seen = set(part.loc[(part["arm"] == arm) & (part["run"] == run), "image_id"])
    lost = sorted(set(images) - seen, key=str)
    raise ValueError(
        f"unpaired arms: task {task!r}, arm {arm!r}, run {_said(run)} lacks {len(lost)} of {len(images)} test images, "
        f"first {lost[0]!r}; every arm must be tested on the same images"
    )


def _check_images(task: str, part: pd.DataFrame) -> None:
    for name in IMAGE:
        values = part[["image_id", name]].drop_duplicates()
        doubled = values["image_id"].duplicated()
        if doubled.any():
            image = values.loc[doubled, "image_id"].iloc[0]
            found = sorted(map(str, values.loc[values["image_id"] == image, name]))
            raise ValueError(f"task {task!r}: image {image!r} has more than one {name}: {found}")
    for name in (n for n in Arm.names() if n in part.columns):
        values = part[["arm", name]].drop_duplicates()
        if values["arm"].duplicated().any():
            arm = values.loc[values["arm"].duplicated(), "arm"].iloc[0]
            raise ValueError(f"task {task!r}: arm {arm!r} has more than one {name}; an arm is one setting")


def _check_probabilities(task: str, part: pd.DataFrame) -> list[str]:
    classes = _classes(part)
    if not classes:
        raise ValueError(f"task {task!r}: no probability columns; expected p_<class> for each class")
    p = part[[f"p_{name}" for name in classes]].to_numpy(float)
    if np.isnan(p).any():
        row, column = np.argwhere(np.isnan(p))[0]
        raise ValueError(
            f"p_{classes[column]} is NaN in {int(np.isnan(p).any(1).sum())} rows, first {_place(part.iloc[[row]])}"
        )
    bad = (p < -1e-6).any(1) | (np.abs(p.sum(1) - 1) > 1e-3)
    if bad.any():
        total = p[bad][0].sum()
        raise ValueError(
            f"probabilities do not sum to 1 in {int(bad.sum())} rows, first {total:.4f} at {_place(part[bad])}"
        )
    stray = sorted(set(part["y_true"].unique()) - set(classes), key=str)
    if stray:
        raise ValueError(
            f"task {task!r}: y_true holds {stray}, for which there is no column p_<class>; classes: {classes}"
        )
    correct = part["correct"].to_numpy(float)
    own = p[np.arange(len(p)), pd.Categorical(part["y_true"], classes).codes]
    others = np.where(
        np.arange(len(classes)) == pd.Categorical(part["y_true"], classes).codes[:, None], -np.inf, p
    ).max(1)
    if len(classes) == 2 and POSITIVE in classes and "threshold" in part and part["threshold"].notna().any():
        own = np.where(part["y_true"] == POSITIVE, 1, -1) * (
            p[:, classes.index(POSITIVE)] - _check_thresholds(task, part)
        )
        others = -own  # right where the score lies on its side of the threshold
    wrong = (
        ~np.isin(correct, (0, 1)) | ((correct == 1) & (own < others - 1e-6)) | ((correct == 0) & (own > others + 1e-6))
    )
    if wrong.any():
        raise ValueError(
            f"`correct` contradicts the probabilities in {int(wrong.sum())} rows, first {_place(part[wrong])}"
        )
    return classes
