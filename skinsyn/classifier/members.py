"""Which images a cell of the grid sees: real ones shared by all arms of a run, and synthetic ones as its arm says."""

from collections.abc import Iterable, Sequence
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


class Labelled(NamedTuple):
    """A task: its images (image_id, condition, unit, row, label, split), sorted by name; its classes in the order of
    labels; COLUMNS of the parts held out."""

    images: pd.DataFrame
    classes: list[str]
    validation: pd.DataFrame
    test: pd.DataFrame


class Tables(NamedTuple):
    """What the cells are made of, looked up once for all of them.

    images: the table of 01. tasks: by name. subsets: run to rows of 01's table. ranked: (task, run) to the images of
    that run's order, by condition and rank. synthetic: (method, generator, scope, run, n) to rows of 03's table
    (SYNTHETIC), whose index is their parent; empty where no arm needs it.
    """

    images: pd.DataFrame
    tasks: dict[str, Labelled]
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
        return np.repeat(np.array([1, self.weight], np.float32), [self.n_real, len(self.training) - self.n_real])


def read_tables(profile: str, wanted: Iterable[Arm]) -> Tables:
    """`tables_of` a profile, with its synthetic images where one of the cells needs them."""
    return tables_of(profile, any(one.ratio for one in wanted))


def tables_of(profile: str, synthetic_too: bool) -> Tables:
    """The tables that cells need. Raises FileNotFoundError naming the notebook that makes the missing one."""
    images = tables.read(profile, "images", made_by="01_data_prep")
    orders = tables.read(profile, "subsets", made_by="01_data_prep")
    synthetic: dict[tuple, pd.DataFrame] = {}
    if synthetic_too:
        table = tables.read(profile, "synthetic", made_by="03_generation")
        table = table[[name for name in SYNTHETIC if name in table]]
        table = table.set_index(table["parent"].astype(object).rename(None))
        synthetic = dict(iter(table.groupby(["method", "generator", "scope", "run", "n"])))
    tasks = {task: _labelled(images, task) for task in TASKS}
    ranked: dict[tuple[str, int], pd.DataFrame] = {}
    for task, labelled in tasks.items():
        order = orders[["run", "image_id", "rank"]].merge(labelled.images, on="image_id")
        order = order.sort_values(["run", "condition", "rank"], kind="stable")
        ranked |= {(task, run): part.drop(columns="run") for run, part in order.groupby("run")}
    return Tables(images, tasks, dict(iter(orders.groupby("run"))), ranked, synthetic)


def with_test(data: Tables, more: pd.DataFrame) -> Tables:
    """The same tables with further test images, e.g. of another data set. more: as the table of 01, all of them `test`.

    Raises ValueError where an image_id is there already, an image is not a test image, or a class would be new.
    """
    twice = sorted(set(more["image_id"]) & set(data.images["image_id"]))
    if twice:
        raise ValueError(f"further test images: {twice[0]} is in this run already")
    if (more["split"] != "test").any():
        raise ValueError("further test images: not all are of the split test")
    images = pd.concat([data.images, more[[name for name in data.images if name in more]]], ignore_index=True)
    images = images.astype({name: data.images[name].dtype for name in ("malignant", "malignancy_only")})
    tasks = {task: _labelled(images, task) for task in TASKS}
    for task, labelled in tasks.items():
        if labelled.classes != data.tasks[task].classes:
            new = sorted(set(labelled.classes) - set(data.tasks[task].classes))
            raise ValueError(f"further test images: {', '.join(new)} are no classes of this run's task {task!r}")
    return data._replace(images=images, tasks=tasks)


def _labelled(images: pd.DataFrame, task: str) -> Labelled:
    if task == "condition":
        images = images[~images["malignancy_only"]]
        classes = sorted(images["condition"].unique())
        labels = images["condition"].map({name: i for i, name in enumerate(classes)})
    else:
        classes, labels = ["benign", "malignant"], images["malignant"]
    images = images.assign(label=labels.astype(np.int64)).sort_values("image_id")
    validation, test = (images.loc[images["split"] == split, COLUMNS] for split in ("validation", "test"))
    return Labelled(images[["image_id", "condition", "unit", "row", "label", "split"]], classes, validation, test)


def members(cell: Cell, data: Tables, use_flags: Sequence[str] = ("",)) -> Members:
    """Which images a cell trains on, is validated on and answers. Every arm of a run shares the real images.

    use_flags: flags of synthetic images that may be used, '' for none; the others are counted as left out.
    Raises ValueError naming the arm where real images are fewer than asked for or synthetic ones have not been made.
    """
    task, real = data.tasks[cell.task], _real(cell, data)
    parts, left_out = [real] if cell.n else [], 0
    if cell.ratio:
        synthetic = pd.concat(
            [_synthetic(cell, name, ratio, real, data) for name, ratio in shares(cell.method, cell.ratio)]
        )
        usable = synthetic["flags"].isin(list(use_flags)) | (cell.filter == "off")
        parts, left_out = [*parts, synthetic[usable]], int((~usable).sum())
    for split in ("validation", "test"):
        absent = set(range(len(task.classes))) - set(getattr(task, split)["label"])
        if absent:
            name = task.classes[min(absent)]
            raise ValueError(f"{cell.arm}: the {split} split holds no image of {name!r} (01_data_prep)")
    training = pd.concat([part[COLUMNS] for part in parts])
    n_real = len(real) if cell.n else 0
    return Members(training, task.validation, task.test, task.classes, n_real, cell.weight, left_out)


def _real(cell: Cell, data: Tables) -> pd.DataFrame:
    """The run's first real images of each condition. Only conditions of malignancy alone may have fewer."""
    if cell.run not in data.subsets:
        runs = sorted(data.subsets)
        raise ValueError(
            f"{cell.arm}: run {cell.run} is not in the table subsets, which holds {runs}; raise runs of 01"
        )
    real = data.ranked[cell.task, cell.run]
    real = real[real["rank"] < cell.sources]
    few = real["condition"].value_counts(sort=False)
    few = few[few < cell.sources]
    if len(few):  # looked up only then
        few = few.drop(data.images.loc[data.images["malignancy_only"], "condition"], errors="ignore")
    if len(few):
        raise ValueError(
            f"{cell.arm}: {cell.sources} real images per class were asked for, but {few.index[0]!r} has {few.iloc[0]} "
            "for training; ask for fewer (n in 04_training_grid), or leave more to training (01_data_prep)"
        )
    return real


def _synthetic(cell: Cell, method: str, ratio: int, real: pd.DataFrame, data: Tables) -> pd.DataFrame:
    """`ratio` synthetic images of one method per real one with their label, flagged ones among them, children in the
    order of their parents."""
    model, matched = (method, cell.generator, cell.scope), cell.generator_data == "matched"
    # Of models of the run's own real images where matched; else of the run's own model of all, or of the shared one.
    keys = [(*model, cell.run, cell.sources)] if matched else [(*model, cell.run, 0), (*model, -1, 0)]
    # Where none was made at all, an empty table of the same columns leads to the same message as too few.
    none = next(iter(data.synthetic.values())).head(0)
    images = next((data.synthetic[key] for key in keys if key in data.synthetic), none)
    if cell.parents == "subset":
        # A look into the index, which is hashed once; a merge for every cell took longer.
        places, _ = images.index.get_indexer_non_unique(real["image_id"])
        images = images.iloc[places[places >= 0]]
        images = images[images["replicate"] < ratio]
        images = images.assign(label=real.set_index("image_id")["label"].loc[images["parent"]].to_numpy())
    else:
        # Replicate by replicate, in the order of names, as many of each condition as the subset's children would be.
        per_condition = real.groupby("condition").agg(label=("label", "first"), sources=("label", "size"))
        images = images.sort_values(["replicate", "image_id"])
        images = images.merge(per_condition, left_on="condition", right_index=True)
        images = images[images.groupby("condition").cumcount() < images["sources"] * ratio]
    if len(images) != len(real) * ratio:
        by, of = ("image_id", "parent") if cell.parents == "subset" else ("condition", "condition")
        lacking = real[~real[by].isin(images[of])]
        first = f", first for {lacking['image_id'].iloc[0]} ({lacking['condition'].iloc[0]})" if len(lacking) else ""
        raise ValueError(
            f"{cell.arm}, run {cell.run}: {len(real) * ratio} synthetic images are needed (method {method}, generator "
            f"{cell.generator}, scope {cell.scope}), {ratio} for each of {len(real)} real ones, but {len(images)} have "
            f"been made{first}. "
            "Add them to plan in 03_generation and run it, or take the arm out of 04_training_grid"
        )
    return images
