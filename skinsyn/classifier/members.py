"""Which images a cell of the grid sees: real ones shared by all arms of a run, and synthetic ones as its arm says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.run import tables

from .arms import TASKS, Arm, Cell, shares

__all__ = ["Members", "Tables", "members", "read_tables", "tables_of", "with_test"]

COLUMNS = ["image_id", "unit", "row", "label"]
# Of 03's table, whose columns are many: every cell's merge copies what is kept here.
SYNTHETIC = [
    "image_id", "parent", "condition", "method", "generator", "scope", "generator_key", "saw", "n", "run", "replicate",
    "flags", "unit", "row",
]  # fmt: skip


class Tables(NamedTuple):
    """What the cells are made of, looked up once for all of them.

    images: the table of 01. tasks: task → its images (image_id, condition, unit, row, label, split), classes, and the
    parts held out, {validation, test: COLUMNS}. subsets: run → rows of 01's table. ranked: (task, run) → the images of
    that run's order, by condition and rank. synthetic: (method, generator, scope, run, n) → rows of 03's table
    (SYNTHETIC), whose index is their parent; empty where no arm needs it.
    """

    images: pd.DataFrame
    tasks: dict[str, tuple[pd.DataFrame, list[str], dict[str, pd.DataFrame]]]
    subsets: dict[int, pd.DataFrame]
    ranked: dict[tuple[str, int], pd.DataFrame]
    synthetic: dict[tuple, pd.DataFrame]


class Members(NamedTuple):
    """The images of one cell: frames of image_id, unit, row, label, the first `n_real` of training real; what a
    synthetic image weighs in the loss; how many synthetic images were left out for their flags."""

    training: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    classes: list[str]
    n_real: int
    weight: float
    left_out: int

    def weights(self) -> np.ndarray | None:
        """Weight of each training image in the loss, float32 (n,); None where all weigh the same."""
        if self.weight == 1 or not 0 < self.n_real < len(self.training):
            return None
        return np.repeat(np.float32([1, self.weight]), [self.n_real, len(self.training) - self.n_real])


def read_tables(profile: str, wanted: Iterable[Arm]) -> Tables:
    """`tables_of` a profile, with its synthetic images where one of the cells needs them."""
    return tables_of(profile, any(one.ratio for one in wanted))


def tables_of(profile: str, synthetic_too: bool) -> Tables:
    """The tables that cells need. Raises FileNotFoundError naming the notebook that makes the missing one."""
    images = tables.read(profile, "images", made_by="01_data_prep")
    orders = tables.read(profile, "subsets", made_by="01_data_prep")
    synthetic = {}
    if synthetic_too:
        made = tables.read(profile, "synthetic", made_by="03_generation")
        made = made[[name for name in SYNTHETIC if name in made]].set_index(made["parent"].astype(object).rename(None))
        synthetic = dict(iter(made.groupby(["method", "generator", "scope", "run", "n"])))
    tasks = {task: _labelled(images, task) for task in TASKS}
    ranked = {}
    for task, (table, *_) in tasks.items():
        all_runs = orders[["run", "image_id", "rank"]].merge(table, on="image_id")
        all_runs = all_runs.sort_values(["run", "condition", "rank"], kind="stable")
        ranked |= {(task, run): part.drop(columns="run") for run, part in all_runs.groupby("run")}
    return Tables(images, tasks, dict(iter(orders.groupby("run"))), ranked, synthetic)


def with_test(given: Tables, more: pd.DataFrame) -> Tables:
    """The same tables with further test images, e.g. of another data set. more: as the table of 01, all of them `test`.

    Raises ValueError where an image_id is there already, an image is not a test image, or a class would be new.
    """
    twice = sorted(set(more["image_id"]) & set(given.images["image_id"]))
    if twice:
        raise ValueError(f"further test images: {twice[0]} is in this run already")
    if (more["split"] != "test").any():
        raise ValueError("further test images: not all are of the split test")
    images = pd.concat([given.images, more[[name for name in given.images if name in more]]], ignore_index=True)
    images = images.astype({name: given.images[name].dtype for name in ("malignant", "malignancy_only")})
    tasks = {task: _labelled(images, task) for task in TASKS}
    for task, (_, classes, _) in tasks.items():
        if classes != given.tasks[task][1]:
            new = sorted(set(classes) - set(given.tasks[task][1]))
            raise ValueError(f"further test images: {', '.join(new)} are no classes of this run's task {task!r}")
    return given._replace(images=images, tasks=tasks)


def _labelled(images: pd.DataFrame, task: str) -> tuple[pd.DataFrame, list[str], dict[str, pd.DataFrame]]:
    """A task's images with their label, sorted by name; its classes in the order of labels; the parts held out."""
    if task == "condition":
        images = images[~images["malignancy_only"]]
        classes = sorted(images["condition"].unique())
        labels = images["condition"].map({name: i for i, name in enumerate(classes)})
    else:
        classes, labels = ["benign", "malignant"], images["malignant"]
    images = images.assign(label=labels.astype(np.int64)).sort_values("image_id")
    held = {split: images.loc[images["split"] == split, COLUMNS] for split in ("validation", "test")}
    return images[["image_id", "condition", "unit", "row", "label", "split"]], classes, held


def members(cell: Cell, given: Tables, use_flags: Sequence[str] = ("",)) -> Members:
    """Which images a cell trains on, is validated on and answers. Every arm of a run shares the real images.

    use_flags: flags of synthetic images that may be used, '' for none; the others are counted as left out.
    Raises ValueError naming the arm where real images are fewer than asked for or synthetic ones have not been made.
    """
    _, classes, held = given.tasks[cell.task]
    real = _real(cell, given)
    parts = [real] if cell.n else []
    left_out = 0
    if cell.ratio:
        made = _synthetic(cell, real, given)
        usable = made["flags"].isin(list(use_flags)) | (cell.filter == "off")
        parts, left_out = [*parts, made[usable]], int((~usable).sum())
    for split, part in held.items():
        absent = set(range(len(classes))) - set(part["label"])
        if absent:
            raise ValueError(f"{cell.arm}: the {split} split holds no image of {classes[min(absent)]!r} (01_data_prep)")
    training = pd.concat([part[COLUMNS] for part in parts])
    return Members(training, *held.values(), classes, len(real) if cell.n else 0, cell.weight, left_out)


def _real(cell: Cell, given: Tables) -> pd.DataFrame:
    """The run's first real images of each condition. Only conditions of malignancy alone may have fewer."""
    if cell.run not in given.subsets:
        runs = sorted(given.subsets)
        raise ValueError(
            f"{cell.arm}: run {cell.run} is not in the table subsets, which holds {runs}; raise runs of 01"
        )
    real = given.ranked[cell.task, cell.run]
    real = real[real["rank"] < cell.sources]
    few = real["condition"].value_counts(sort=False)
    few = few[few < cell.sources]
    if len(few):
        few = few.drop(given.images.loc[given.images["malignancy_only"], "condition"], errors="ignore")
    if len(few):
        raise ValueError(
            f"{cell.arm}: {cell.sources} real images per class were asked for, but {few.index[0]!r} has "
            f"{few.iloc[0]} "
            "for training; ask for fewer (n in 04_training_grid), or leave more to training (01_data_prep)"
        )
    return real


def _synthetic(cell: Cell, real: pd.DataFrame, given: Tables) -> pd.DataFrame:
    """The cell's synthetic images, flagged ones among them, with label; method by method where they are mixed."""
    found = [_of_method(cell, name, ratio, real, given) for name, ratio in shares(cell.method, cell.ratio)]
    return pd.concat(found) if len(found) > 1 else found[0]


def _of_method(cell: Cell, method: str, ratio: int, real: pd.DataFrame, given: Tables) -> pd.DataFrame:
    """`ratio` synthetic images of one method for each real one, children in the order of their parents."""
    asked = {"method": method, "generator": cell.generator, "scope": cell.scope}
    made = _by_model(cell, tuple(asked.values()), given.synthetic)
    if cell.parents == "subset":
        # A look into the index, which is hashed once; a merge for every cell took longer.
        places, _ = made.index.get_indexer_non_unique(real["image_id"])
        found = made.iloc[places[places >= 0]]
        found = found[found["replicate"] < ratio]
        found = found.assign(label=real.set_index("image_id")["label"].loc[found["parent"]].to_numpy())
    else:
        # Replicate by replicate, in the order of names, as many of each condition as the subset's children would be.
        found = made.sort_values(["replicate", "image_id"])
        wanted = real.groupby("condition").agg(label=("label", "first"), wanted=("label", "size"))
        found = found.merge(wanted, left_on="condition", right_index=True)
        found = found[found.groupby("condition").cumcount() < found["wanted"] * ratio]
    if len(found) != len(real) * ratio:
        by, of = ("image_id", "parent") if cell.parents == "subset" else ("condition", "condition")
        lacking = real[~real[by].isin(found[of])]
        what = ", ".join(f"{key} {value}" for key, value in asked.items())
        first = f", first for {lacking['image_id'].iloc[0]} ({lacking['condition'].iloc[0]})" if len(lacking) else ""
        raise ValueError(
            f"{cell.arm}, run {cell.run}: {len(real) * ratio} synthetic images are needed ({what}), "
            f"{ratio} for each of {len(real)} real ones, but {len(found)} have been made{first}. "
            "Add them to plan in 03_generation and run it, or take the arm out of 04_training_grid"
        )
    return found


def _by_model(cell: Cell, asked: tuple, synthetic: Mapping[tuple, pd.DataFrame]) -> pd.DataFrame:
    """Images by models of the run's own real images where matched; else by the run's own model of all, or the shared
    one."""
    matched = cell.generator_data == "matched"
    found = synthetic.get((*asked, cell.run, cell.sources if matched else 0))
    if found is None and not matched:
        found = synthetic.get((*asked, -1, 0))
    # Where none was made at all, an empty table of the same columns leads to the same message as too few.
    return next(iter(synthetic.values())).head(0) if found is None else found
