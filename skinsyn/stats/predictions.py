"""The predictions table (`contract`) as one block of correct and wrong answers per task, its arms and its groups."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.classifier.arms import Arm

from .contract import (
    FACTS,
    IMAGE,
    REQUIRED,
    ROW,
    check_predictions,
    classes_of,
    positive_of,
    probabilities_of,
    thresholds_of,
)

__all__ = [
    "FACTS",
    "GROUPS",
    "GROUP_OF",
    "REQUIRED",
    "Block",
    "add_facts",
    "blocks",
    "check_predictions",
    "find_arm",
    "groups_of",
    "natural",
    "select",
    "sizes",
]

GROUPS = ("I-II", "III-IV", "V-VI", "unknown")  # of Fitzpatrick skin types
GROUP_OF = {fst: GROUPS[(fst - 1) // 2] for fst in range(1, 7)}


class Block(NamedTuple):
    """The answers of all arms of one task: `correct` is (arms, runs, images), in the order of the tables."""

    task: str
    arms: pd.DataFrame  # one row per arm, its settings
    runs: list
    images: pd.DataFrame  # one row per image: image_id, cluster_id, condition, fst_group, y_true, fst, source, FACTS
    correct: np.ndarray
    classes: list[str]
    p: np.ndarray | None  # (arms, runs, images, classes), float32; None where only right or wrong is known
    threshold: np.ndarray  # (arms, runs), of the positive class; .5 where none was chosen
    positive: str  # the class of a task of two that is to be found, "" where there is none

    @property
    def groups(self) -> list[str]:
        """The skin-type groups of the images in order, without unknown; see `groups_of`."""
        return groups_of(self.images["fst_group"])


def groups_of(values: Iterable) -> list[str]:
    """Names of skin-type groups in order, without unknown: the three of Fitzpatrick's types where no other name occurs.

    Others are ordered by the numbers in their names, then by the alphabet: "1 light", "2 dark" give the order wanted.

    >>> groups_of(["V-VI", "unknown"]), groups_of(["56", "12", "unknown", "34"]), groups_of(["light", "dark"])
    (['I-II', 'III-IV', 'V-VI'], ['12', '34', '56'], ['dark', 'light'])
    """
    found = {str(value) for value in pd.unique(pd.Series(list(values), dtype=object))} - {"unknown"}
    if found <= set(GROUPS):
        return list(GROUPS[:-1])
    return sorted(found, key=natural)


def natural(name: str) -> list[tuple[bool, str]]:
    """Key to sort names by the numbers in them, then by the alphabet.

    >>> sorted(["type 10", "type 9"], key=natural)
    ['type 9', 'type 10']
    """
    return [(not part.isdigit(), part.zfill(9)) for part in re.split(r"(\d+)", name) if part]


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


def blocks(frame: pd.DataFrame) -> dict[str, Block]:
    """The table as one `Block` per task, after `check_predictions`.

    >>> blocks(pd.DataFrame([dict.fromkeys(REQUIRED, "x") | {"correct": 1, "p_x": 1.0}]))["x"].correct.tolist()
    [[[1.0]]]
    """
    check_predictions(frame)
    return {str(task): _block(str(task), part) for task, part in frame.groupby("task", sort=True)}


def _block(task: str, part: pd.DataFrame) -> Block:
    """The rows of one task, sorted by arm, run and image."""
    (arm, names), (run, runs), (image, _) = (pd.factorize(part[by], sort=True) for by in ("arm", "run", "image_id"))
    part = part.iloc[np.lexsort((image, run, arm))]
    settings = [c for c in part.columns if c not in (*IMAGE, *ROW, "image_id") and not str(c).startswith("p_")]
    size = len(part) // len(names)
    arms = part[settings].iloc[::size].reset_index(drop=True)
    texts = [name for name in arms if isinstance(arms[name].dtype, pd.StringDtype)]
    arms = arms.astype(dict.fromkeys(texts, object))  # compared hundreds of times: many times faster on few rows
    one = part.iloc[: size // len(runs)]
    known = [column for column in ("image_id", *IMAGE, "fst", "source", *FACTS) if column in one.columns]
    shape = (len(names), len(runs), len(one))
    correct, threshold = (values.reshape(shape) for values in (part["correct"].to_numpy(float), thresholds_of(part)))
    p, columns = None, [f"p_{name}" for name in probabilities_of(part)]
    if columns:
        p = part[columns].to_numpy(np.float32).reshape(*shape, -1)
    about = (arms, runs.tolist(), one[known].reset_index(drop=True))
    return Block(task, *about, correct, classes_of(part), p, threshold[:, :, 0], positive_of(part))


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
