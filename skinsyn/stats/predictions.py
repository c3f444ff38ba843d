"""The contract of the predictions table: checked once, then one block of correct and wrong answers per task.

One row per arm × run × image of a task. Columns: `arm, run, image_id, cluster_id, condition, fst_group, task, y_true,
correct`, a probability `p_<class>` for every class of the task, and the arm's settings (fields of `classifier.arms.Arm`
and whatever else varies between arms). Optional: `threshold` of malignancy, chosen on validation images,
one per arm × run (the highest probability decides where there is none); and of the image `fst`, `source` and FACTS.
"""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm

REQUIRED = ("arm", "run", "image_id", "cluster_id", "condition", "fst_group", "task", "y_true", "correct")
IMAGE = ("cluster_id", "condition", "fst_group", "y_true")
# Other facts of an image to select by: a mark on its label, where it was published, its skin type by other annotators.
FACTS = ("label_flag", "site", "fst_group_scale", "fst_group_centaur", "fst_group_agreed")
ROW = ("run", "correct", "threshold", "fst", "source", *FACTS)  # vary within an arm: no filter of arms may name them
GROUPS = ("I-II", "III-IV", "V-VI", "unknown")  # of Fitzpatrick skin types
GROUP_OF = {fst: GROUPS[(fst - 1) // 2] for fst in range(1, 7)}
POSITIVE = "malignant"


class Block(NamedTuple):
    """The answers of all arms of one task: `correct` is (arms, runs, images), in the order of the tables."""

    task: str
    arms: pd.DataFrame  # one row per arm, its settings
    runs: list
    images: pd.DataFrame  # one row per image: image_id, cluster_id, condition, fst_group, y_true, fst, source, FACTS
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
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"no column {column!r} to select by; {hint}there are: {', '.join(map(str, table.columns))}"
            )
        options = wanted if isinstance(wanted, list | tuple | set) else [wanted]
        values = table[column]
        hits = [values.isna() if option is None else values.eq(option).fillna(False) for option in options]
        keep &= np.any([hit.to_numpy(bool) for hit in hits], axis=0) if hits else False
    return table[keep]


def check_predictions(frame: pd.DataFrame) -> list[str]:
    """Refuse a predictions table that breaks the contract; returns remarks for its reader.

    Raises ValueError naming what is missing and where: columns, empty cells, duplicated rows, arms not tested on the
    same images in the same runs, probabilities that do not sum to 1, `correct` that contradicts them.

    >>> frame = pd.DataFrame([dict.fromkeys(REQUIRED, "x") | {"fst_group": "unknown", "correct": 1, "p_x": 1.0}])
    >>> check_predictions(frame)
    ["task 'x': skin type is unknown for all images; nothing by skin type is estimable"]
    """
    absent = [name for name in REQUIRED if name not in frame.columns]
    if absent:
        raise ValueError(f"predictions lack the columns {absent}; there are: {list(map(str, frame.columns))}")
    if frame.empty:
        raise ValueError("predictions hold no row")
    for name in REQUIRED:
        _refuse(f"column {name!r} is empty (NaN)", frame, frame[name].isna())
    remarks = []
    for task, part in frame.groupby("task", sort=True):
        _check_pairing(str(task), part)
        _check_constant(str(task), part)
        classes = _check_probabilities(str(task), part)
        absent = [name for name in classes if not part["y_true"].eq(name).any()]
        if absent:
            remarks.append(f"task {task!r}: no test image of {', '.join(absent)}; averages are over the other classes")
        if part["fst_group"].eq("unknown").all():
            remarks.append(f"task {task!r}: skin type is unknown for all images; nothing by skin type is estimable")
    return remarks


def blocks(frame: pd.DataFrame) -> dict[str, Block]:
    """The table as one `Block` per task, after `check_predictions`.

    >>> blocks(pd.DataFrame([dict.fromkeys(REQUIRED, "x") | {"correct": 1, "p_x": 1.0}]))["x"].correct.tolist()
    [[[1.0]]]
    """
    check_predictions(frame)
    prepared = {}
    for name, part in frame.groupby("task", sort=True):
        task, part = str(name), part.sort_values(["arm", "run", "image_id"], kind="stable")
        settings = [c for c in part.columns if c not in (*IMAGE, *ROW, "image_id") and not str(c).startswith("p_")]
        arms = part[settings].drop_duplicates("arm").reset_index(drop=True)
        runs, classes = sorted(part["run"].unique()), _classes(part)
        one = part[(part["arm"] == arms["arm"].iloc[0]) & (part["run"] == runs[0])]
        known = [column for column in ("image_id", *IMAGE, "fst", "source", *FACTS) if column in one.columns]
        images, shape = one[known].reset_index(drop=True), (len(arms), len(runs), len(one))
        correct, threshold = (values.reshape(shape) for values in (part["correct"].to_numpy(float), _thresholds(part)))
        p = part[[f"p_{column}" for column in classes]].to_numpy(np.float32).reshape(*shape, -1)
        prepared[task] = Block(task, arms, runs, images, correct, classes, p, threshold[:, :, 0])
    return prepared


def add_facts(frame: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The predictions with FACTS of their images, as far as `images` (one row per image_id) has them.

    fst_scale, fst_centaur (1-6, -1 unknown) become skin-type groups, and fst_group_agreed is the group where both
    annotators give the same, else unknown. Raises ValueError where an image of the predictions is not in `images`.

    >>> images = pd.DataFrame({"image_id": ["i"], "fst_scale": [1], "fst_centaur": [2]})
    >>> add_facts(pd.DataFrame({"image_id": ["i"]}), images)["fst_group_agreed"].tolist()
    ['I-II']
    """
    known = images.set_index("image_id")
    absent = sorted(set(frame["image_id"].unique()) - set(known.index), key=str)
    if absent:
        raise ValueError(f"{len(absent)} images of the predictions are not in the table of images, first {absent[0]!r}")
    facts = known[[name for name in ("label_flag", "site") if name in known]].astype(str)
    for who in ("scale", "centaur"):
        if f"fst_{who}" in known:
            facts[f"fst_group_{who}"] = known[f"fst_{who}"].map(GROUP_OF).fillna("unknown")
    if {"fst_group_scale", "fst_group_centaur"} <= set(facts):
        same = facts["fst_group_scale"] == facts["fst_group_centaur"]
        facts["fst_group_agreed"] = facts["fst_group_scale"].where(same, "unknown")
    new = facts[[name for name in facts if name not in frame]]
    return frame.merge(new, left_on="image_id", right_index=True, how="left", validate="many_to_one")


def sizes(prepared: Mapping[str, Block]) -> pd.DataFrame:
    """Sizes of each task: task, arms, runs, images, clusters, images of unknown skin type.

    >>> frame = pd.DataFrame([dict.fromkeys(REQUIRED, "x") | {"correct": 1, "p_x": 1.0}])
    >>> sizes(blocks(frame)).values.tolist()
    [['x', 1, 1, 1, 1, 0]]
    """
    rows = []
    for task, block in prepared.items():
        row = {"task": task, "arms": len(block.arms), "runs": len(block.runs), "images": len(block.images)}
        row["clusters"] = block.images["cluster_id"].nunique()
        rows.append(row | {"skin type unknown": int(block.images["fst_group"].eq("unknown").sum())})
    return pd.DataFrame(rows)


def find_arm(block: Block, where: Mapping) -> int | None:
    """Position of the one arm with these settings, None where it was not run; two or more are an error.

    A table without the column of a field of `Arm` has no arm that sets it: such an arm was not run. Any other name is
    a mistake.

    >>> frame = pd.DataFrame([dict.fromkeys(REQUIRED, "x") | {"correct": 1, "p_x": 1.0, "n": 8}])
    >>> find_arm(blocks(frame)["x"], {"n": 8}), find_arm(blocks(frame)["x"], {"n": 32})
    (0, None)
    """
    if any(name in Arm.names() and name not in block.arms and wanted is not None for name, wanted in where.items()):
        return None
    matches = select(block.arms, **where)
    if len(matches) > 1:
        differ = [c for c in matches.columns if c != "arm" and matches[c].astype(str).nunique() > 1]
        raise ValueError(
            f"{dict(where)} names {len(matches)} arms, not one: {matches['arm'].tolist()[:4]}; they differ in {differ}"
        )
    return None if matches.empty else int(matches.index[0])


def _classes(part: pd.DataFrame) -> list[str]:
    return [str(c)[2:] for c in part.columns if str(c).startswith("p_") and part[c].notna().any()]


def _thresholds(part: pd.DataFrame) -> np.ndarray:
    """The threshold of each row, .5 where none was chosen."""
    return part["threshold"].fillna(0.5).to_numpy(float) if "threshold" in part else np.full(len(part), 0.5)


def _written(value: object) -> str:
    """A cell's value as a reader writes it, not as numpy prints it."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def _refuse(what: str, rows: pd.DataFrame, bad: np.ndarray | pd.Series) -> None:
    """ValueError with what is wrong, in how many rows, and the first of them in the reader's terms."""
    if bad.any():
        first = rows[bad].iloc[0]
        place = [f"{name} {_written(first[name])}" for name in ("task", "arm", "run", "image_id")]
        raise ValueError(f"{what} in {int(bad.sum())} rows, first {', '.join(place)}")


def _check_pairing(task: str, part: pd.DataFrame) -> None:
    """One row per arm × run × image, and none missing."""
    _refuse("duplicated arm, run and image_id", part, part.duplicated(["arm", "run", "image_id"]))
    images = part["image_id"].unique()
    counts = part.groupby(["arm", "run"]).size().unstack(fill_value=0).stack()
    if (counts == len(images)).all():
        return
    arm, run = counts.idxmin()
    if counts.min() == 0:
        raise ValueError(
            f"unpaired arms: task {task!r}, arm {arm!r} lacks run {_written(run)} altogether "
            f"({int((counts == 0).sum())} such gaps); every arm needs the same runs {sorted(set(part['run'].tolist()))}"
        )
    lost = sorted(set(images) - set(part.loc[(part["arm"] == arm) & (part["run"] == run), "image_id"]), key=str)
    raise ValueError(
        f"unpaired arms: task {task!r}, arm {arm!r}, run {_written(run)} lacks {len(lost)} of {len(images)} test "
        f"images, first {lost[0]!r}; every arm must be tested on the same images"
    )


def _check_constant(task: str, part: pd.DataFrame) -> None:
    """Facts of an image are the same in all its rows, and so are an arm's settings."""
    settings = [name for name in Arm.names() if name in part.columns]
    for key, columns, note in (("image_id", IMAGE, ""), ("arm", settings, "; an arm is one setting")):
        for name in columns:
            values = part[[key, name]].drop_duplicates()
            doubled = values.loc[values[key].duplicated(), key]
            if len(doubled):
                several = sorted(map(str, values.loc[values[key] == doubled.iloc[0], name]))
                what = f"{key.removesuffix('_id')} {doubled.iloc[0]!r} has more than one {name}"
                raise ValueError(f"task {task!r}: {what}: {several}{note}")


def _check_thresholds(task: str, part: pd.DataFrame) -> np.ndarray:
    several = part.groupby(["arm", "run"])["threshold"].nunique(dropna=False) > 1
    if several.any():
        arm, run = several.idxmax()
        place = f"task {task!r}: arm {arm!r}, run {_written(run)}"
        raise ValueError(f"{place} has more than one threshold; it is chosen once")
    threshold = _thresholds(part)
    _refuse("threshold outside 0..1", part, (threshold < 0) | (threshold > 1))
    return threshold


def _check_probabilities(task: str, part: pd.DataFrame) -> list[str]:
    """The classes of a task, whose probabilities sum to 1 and agree with `correct`."""
    classes = _classes(part)
    if not classes:
        raise ValueError(f"task {task!r}: no probability columns; expected p_<class> for each class")
    for name in classes:
        _refuse(f"p_{name} is NaN", part, part[f"p_{name}"].isna())
    p = part[[f"p_{name}" for name in classes]].to_numpy(float)
    total = p.sum(1)
    wrong = (p < -1e-6).any(1) | (np.abs(total - 1) > 1e-3)
    _refuse(f"probabilities do not sum to 1 (but to {total[wrong.argmax()]:.4f})", part, wrong)
    stray = sorted(set(part["y_true"].unique()) - set(classes), key=str)
    if stray:
        raise ValueError(
            f"task {task!r}: y_true holds {stray}, for which there is no column p_<class>; classes: {classes}"
        )
    correct, truth = part["correct"].to_numpy(float), pd.Categorical(part["y_true"], classes).codes
    if len(classes) == 2 and POSITIVE in classes and "threshold" in part and part["threshold"].notna().any():
        side = np.where(part["y_true"] == POSITIVE, 1, -1)  # correct where the score lies on its side of the threshold
        margin = 2 * side * (p[:, classes.index(POSITIVE)] - _check_thresholds(task, part))
    else:
        own = np.arange(len(classes)) == truth[:, None]
        margin = p[own] - np.where(own, -np.inf, p).max(1)
    contradicted = np.where(correct == 1, margin < -1e-6, margin > 1e-6) | ~np.isin(correct, (0, 1))
    _refuse("`correct` contradicts the probabilities", part, contradicted)
    return classes
