"""The contract of the predictions table, and its check.

One row per arm × run × image of a task. Columns: `arm, run, image_id, cluster_id, condition, fst_group, task, y_true,
correct` (0 or 1); `fst_group` is any name of a skin-type group, or `unknown`. Optional: a probability `p_<class>` for
every class of the task; the arm's settings (fields of `classifier.arms.Arm` and whatever else varies between arms);
`threshold` of the positive class, chosen on validation images, one per arm and run (the highest probability decides
where there is none); `positive`, the class of a task of two that is to be found (POSITIVE where no column says so); and
of the image `fst`, `source` and FACTS. What is not yet so: `intake`.
"""

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm

__all__ = [
    "FACTS",
    "IMAGE",
    "POSITIVE",
    "REQUIRED",
    "ROW",
    "check_predictions",
    "classes_of",
    "decimals",
    "positive_of",
]

REQUIRED = ("arm", "run", "image_id", "cluster_id", "condition", "fst_group", "task", "y_true", "correct")
IMAGE = ("cluster_id", "condition", "fst_group", "y_true")
# Other facts of an image to select by: a mark on its label, where it was published, its skin type by other annotators.
FACTS = ("label_flag", "site", "fst_group_scale", "fst_group_centaur", "fst_group_agreed")
ROW = ("run", "correct", "threshold", "positive", "fst", "source", *FACTS)  # no filter of arms may name them
POSITIVE = ("malignant", "1")  # the first that a task of two classes has is the one to be found


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
    _refuse(
        f"column 'correct' holds {_values(frame['correct'])}, expected 0 and 1", frame, ~frame["correct"].isin((0, 1))
    )
    remarks = []
    for task, part in frame.groupby("task", sort=True):
        _check_pairing(str(task), part)
        _check_constant(str(task), part)
        remarks += _check_probabilities(str(task), part)
        absent = [name for name in classes_of(part) if not part["y_true"].eq(name).any()]
        if absent:
            remarks.append(f"task {task!r}: no test image of {', '.join(absent)}; averages are over the other classes")
        if part["fst_group"].eq("unknown").all():
            remarks.append(f"task {task!r}: skin type is unknown for all images; nothing by skin type is estimable")
    return remarks


def probabilities_of(part: pd.DataFrame) -> list[str]:
    """The classes that one task gives a probability to.

    >>> probabilities_of(pd.DataFrame({"y_true": ["a"], "p_a": [1.0], "p_of another task": [None]}))
    ['a']
    """
    return [str(c)[2:] for c in part.columns if str(c).startswith("p_") and part[c].notna().any()]


def classes_of(part: pd.DataFrame) -> list[str]:
    """The classes of one task: those with a probability, else those of its images.

    >>> classes_of(pd.DataFrame({"y_true": ["b", "a"]}))
    ['a', 'b']
    """
    return probabilities_of(part) or sorted(map(str, part["y_true"].unique()))


def positive_of(part: pd.DataFrame) -> str:
    """The class of a task of two that is to be found, '' where the task has more or nobody says which.

    Raises ValueError where the column `positive` names no class of the task, or two.

    >>> positive_of(pd.DataFrame({"y_true": ["0", "1"]})), positive_of(pd.DataFrame({"y_true": ["0", "2"]}))
    ('1', '')
    """
    classes, named = classes_of(part), []
    if "positive" in part:
        named = sorted(set(part["positive"].dropna().astype(str)) - {""})
    if len(named) > 1 or not set(named) <= set(classes):
        raise ValueError(f"column 'positive' holds {named}, expected one of {classes} or nothing")
    if len(classes) != 2:
        return ""
    return next((name for name in (*named, *POSITIVE) if name in classes), "")


def decimals(values: np.ndarray, most: int = 4) -> int | None:
    """To how many decimals numbers are rounded, at most `most`; None where to more than that, or to whole ones.

    >>> decimals(np.array([0.33, 0.67])), decimals(np.array([1 / 3, 2 / 3])), decimals(np.array([0.0, 1.0]))
    (2, None, None)
    """
    for places in range(most + 1):
        if np.abs(values - np.round(values, places)).max(initial=0.0) < 1e-6:
            return places or None
    return None


def thresholds_of(part: pd.DataFrame) -> np.ndarray:
    """The threshold of each row, .5 where none was chosen."""
    return part["threshold"].fillna(0.5).to_numpy(float) if "threshold" in part else np.full(len(part), 0.5)


def _written(value: object) -> str:
    """A cell's value as a reader writes it, not as numpy prints it."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def _values(column: pd.Series, most: int = 6) -> str:
    """The first values of a column, as a reader writes them."""
    found = [_written(value) for value in column.unique()]
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def _refuse(what: str, rows: pd.DataFrame, bad: np.ndarray | pd.Series) -> None:
    """ValueError with what is wrong, in how many rows, and the first of them in the reader's terms."""
    if bad.any():
        first = rows[bad].iloc[0]
        place = [f"{name} {_written(first[name])}" for name in ("task", "arm", "run", "image_id")]
        raise ValueError(f"{what} in {int(bad.sum())} rows, first {', '.join(place)}")


def _check_pairing(task: str, part: pd.DataFrame) -> None:
    """One row per arm × run × image, and none missing."""
    (arm, arms), (run, runs), (image, images) = (pd.factorize(part[name]) for name in ("arm", "run", "image_id"))
    cell = arm * len(runs) + run
    _refuse("duplicated arm, run and image_id", part, pd.Series(cell * len(images) + image).duplicated().to_numpy())
    counts = np.bincount(cell, minlength=len(arms) * len(runs))
    if (counts == len(images)).all():
        return
    least = int(counts.argmin())
    name, one = arms[least // len(runs)], runs[least % len(runs)]
    if counts[least] == 0:
        raise ValueError(
            f"unpaired arms: task {task!r}, arm {name!r} lacks run {_written(one)} altogether "
            f"({int((counts == 0).sum())} such gaps); every arm needs the same runs {sorted(set(runs.tolist()))}"
        )
    lost = sorted(set(images) - set(part.loc[cell == least, "image_id"]), key=str)
    raise ValueError(
        f"unpaired arms: task {task!r}, arm {name!r}, run {_written(one)} lacks {len(lost)} of {len(images)} test "
        f"images, first {lost[0]!r}; every arm must be tested on the same images"
    )


def _check_constant(task: str, part: pd.DataFrame) -> None:
    """Facts of an image are the same in all its rows, and so are an arm's settings."""
    settings = [name for name in Arm.names() if name in part.columns]
    for key, columns, note in (("image_id", IMAGE, ""), ("arm", settings, "; an arm is one setting")):
        codes, keys = pd.factorize(part[key])
        first = np.full(len(keys), len(part))
        np.minimum.at(first, codes, np.arange(len(part)))
        for name in columns:
            values, _ = pd.factorize(part[name])  # -1 where empty
            differs = values != values[first][codes]
            if differs.any():
                doubled = keys[codes[differs.argmax()]]
                several = sorted(set(map(str, part.loc[part[key] == doubled, name])))
                what = f"{key.removesuffix('_id')} {doubled!r} has more than one {name}"
                raise ValueError(f"task {task!r}: {what}: {several}{note}")


def _check_thresholds(task: str, part: pd.DataFrame) -> np.ndarray:
    several = part.groupby(["arm", "run"])["threshold"].nunique(dropna=False) > 1
    if several.any():
        arm, run = several.idxmax()
        place = f"task {task!r}: arm {arm!r}, run {_written(run)}"
        raise ValueError(f"{place} has more than one threshold; it is chosen once")
    threshold = thresholds_of(part)
    _refuse("threshold outside 0..1", part, (threshold < 0) | (threshold > 1))
    return threshold


def _check_probabilities(task: str, part: pd.DataFrame) -> list[str]:
    """Remarks on the probabilities of a task, which sum to 1 and agree with `correct` as far as they are rounded."""
    positive, classes = positive_of(part), probabilities_of(part)
    if not classes:
        return [f"task {task!r}: no columns p_<class>; error rates, AUROC and calibration are not run"]
    for name in classes:
        _refuse(f"p_{name} is NaN", part, part[f"p_{name}"].isna())
    p = part[[f"p_{name}" for name in classes]].to_numpy(float)
    places, total = decimals(p), p.sum(1)
    unit = 0.0 if places is None else 10.0**-places
    wrong = (p < -1e-6).any(1) | (np.abs(total - 1) > max(1e-3, len(classes) * unit / 2 + 1e-6))
    about = f", though rounded to {places} decimals" if places else ""
    _refuse(f"probabilities do not sum to 1{about} (but to {total[wrong.argmax()]:.4f})", part, wrong)
    stray = sorted(set(part["y_true"].unique()) - set(classes), key=str)
    if stray:
        raise ValueError(
            f"task {task!r}: y_true holds {stray}, for which there is no column p_<class>; classes: {classes}"
        )
    if positive and "threshold" in part and part["threshold"].notna().any():
        side = np.where(part["y_true"] == positive, 1, -1)  # correct where the score lies on its side of the threshold
        margin = 2 * side * (p[:, classes.index(positive)] - _check_thresholds(task, part))
        slack = max(1e-6, 2 * unit)  # score and threshold are each off by half a unit
    else:
        own = np.arange(len(classes)) == pd.Categorical(part["y_true"], classes).codes[:, None]
        margin, slack = p[own] - np.where(own, -np.inf, p).max(1), 1e-6  # rounding makes ties, but reverses no order
    contradicted = np.where(part["correct"].to_numpy(float) == 1, margin < -slack, margin > slack)
    _refuse("`correct` contradicts the probabilities", part, contradicted)
    if np.abs(total - 1).max() <= 1e-3:
        return []
    ends = f"{total.min():.{places}f} to {total.max():.{places}f}"
    return [f"task {task!r}: probabilities are rounded to {places} decimals and sum to {ends}; they are used as given"]
