"""The grid of classifiers: which images each cell sees, its training as a kept unit, and one long table of predictions."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn import images as rooms
from skinsyn.run import compute, paths, seeds, store, tables

from . import features, training
from .arms import SETTINGS, TASKS, cells

__all__ = ["Tables", "cells", "collect", "members", "prepare", "read_tables", "run", "run_cell", "run_cells"]

RECIPE = 1
HOW = ("body", "image_size", "seed", "threads", "device", "views", "use_flags", *training.Settings._fields)
ABOUT_IMAGE = ["cluster_id", "condition", "fst", "fst_group", "source"]


class Tables(NamedTuple):
    """What the cells are made of, looked up once for all of them.

    images: the table of 01. tasks: task → its images (image_id, condition, unit, row, label, split) and classes. subsets:
    run → rows of 01's table. synthetic: (method, generator, scope) → rows of 03's table; empty where no arm needs it.
    """

    images: pd.DataFrame
    tasks: dict[str, tuple[pd.DataFrame, list[str]]]
    subsets: dict[int, pd.DataFrame]
    synthetic: dict[tuple, pd.DataFrame]


class Members(NamedTuple):
    """The images of one cell: frames of image_id, unit, row, label; synthetic images left out for their flags."""

    training: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    classes: list[str]
    n_real: int
    left_out: int


def read_tables(profile: str, wanted: Sequence[Mapping]) -> Tables:
    """The tables that the cells need. Raises FileNotFoundError naming the notebook that makes the missing one."""
    images = tables.read(profile, "images", made_by="01_data_prep")
    subsets = dict(iter(tables.read(profile, "subsets", made_by="01_data_prep").groupby("run")))
    synthetic = {}
    if any(cell["ratio"] for cell in wanted):
        made = tables.read(profile, "synthetic", made_by="03_generation")
        synthetic = dict(iter(made.groupby(["method", "generator", "scope"])))
    return Tables(images, {task: _labelled(images, task) for task in TASKS}, subsets, synthetic)


def _labelled(images: pd.DataFrame, task: str) -> tuple[pd.DataFrame, list[str]]:
    """A task's images with their label, sorted by name, and its classes in the order of labels."""
    if task == "condition":
        images = images[~images["malignancy_only"]]
        classes = sorted(images["condition"].unique())
        labels = images["condition"].map({name: i for i, name in enumerate(classes)})
    else:
        classes, labels = ["benign", "malignant"], images["malignant"]
    images = images.assign(label=labels.astype(np.int64)).sort_values("image_id")
    return images[["image_id", "condition", "unit", "row", "label", "split"]], classes


def members(cell: Mapping, given: Tables, use_flags: Sequence[str] = ("",)) -> Members:
    """Which images a cell trains on, is validated on and answers. Every arm of a run shares the real images.

    use_flags: flags of synthetic images that may be used, '' for none; the others are counted as left out.
    Raises ValueError naming the arm where real images are fewer than asked for or synthetic ones have not been made.
    """
    table, classes = given.tasks[cell["task"]]
    real = _real(cell, table, given)
    parts = [real] if cell["n"] else []
    left_out = 0
    if cell["ratio"]:
        made = _synthetic(cell, real, given)
        usable = made["flags"].isin(list(use_flags))
        parts, left_out = [*parts, made[usable]], int((~usable).sum())
    columns = ["image_id", "unit", "row", "label"]
    held = [table.loc[table["split"] == split, columns] for split in ("validation", "test")]
    for split, part in zip(("validation", "test"), held, strict=True):
        absent = set(range(len(classes))) - set(part["label"])
        if absent:
            raise ValueError(f"{cell['arm']}: the {split} split holds no image of {classes[min(absent)]!r} (01_data_prep)")
    return Members(pd.concat(parts)[columns], *held, classes, len(real) if cell["n"] else 0, left_out)


def _real(cell: Mapping, table: pd.DataFrame, given: Tables) -> pd.DataFrame:
    """The run's first real images of each condition. Only conditions of malignancy alone may have fewer."""
    if cell["run"] not in given.subsets:
        runs = sorted(given.subsets)
        raise ValueError(
            f"{cell['arm']}: run {cell['run']} is not in the table subsets, which holds {runs}; raise runs of 01"
        )
    ranked = given.subsets[cell["run"]]
    ranked = ranked[ranked["rank"] < cell["sources"]]
    real = ranked[["image_id", "rank"]].merge(table, on="image_id").sort_values(["condition", "rank"], kind="stable")
    few = real.groupby("condition").size()
    few = few[few < cell["sources"]].drop(given.images.loc[given.images["malignancy_only"], "condition"], errors="ignore")
    if len(few):
        raise ValueError(
            f"{cell['arm']}: {cell['sources']} real images per class were asked for, but {few.index[0]!r} has {few.iloc[0]} "
            "for training; ask for fewer (n in 04_training_grid), or leave more to training (01_data_prep)"
        )
    return real


def _synthetic(cell: Mapping, real: pd.DataFrame, given: Tables) -> pd.DataFrame:
    """The cell's synthetic images, flagged ones among them, with label; children in the order of their parents."""
    asked = {key: cell[key] for key in ("method", "generator", "scope")}
    # Where none was made at all, an empty table of the same columns leads to the same message as too few.
    made = given.synthetic.get(tuple(asked.values()), next(iter(given.synthetic.values())).head(0))
    made = _by_model(cell, made)
    if cell["parents"] == "subset":
        made = made[made["replicate"] < cell["ratio"]]
        found = real[["image_id", "label"]].merge(made, left_on="image_id", right_on="parent", suffixes=("_parent", ""))
        lacking = real[~real["image_id"].isin(found["parent"])]
        complete = len(found) == len(real) * cell["ratio"]
    else:
        # Replicate by replicate, in the order of names, as many of each condition as the subset's children would be.
        found = made.sort_values(["replicate", "image_id"])
        wanted = real.groupby("condition").agg(label=("label", "first"), wanted=("label", "size"))
        found = found.merge(wanted, left_on="condition", right_index=True)
        found = found[found.groupby("condition").cumcount() < found["wanted"] * cell["ratio"]]
        lacking = real[~real["condition"].isin(found["condition"])]
        complete = len(found) == len(real) * cell["ratio"]
    if not complete:
        what = ", ".join(f"{key} {value}" for key, value in asked.items())
        first = f", first for {lacking['image_id'].iloc[0]} ({lacking['condition'].iloc[0]})" if len(lacking) else ""
        raise ValueError(
            f"{cell['arm']}, run {cell['run']}: {len(real) * cell['ratio']} synthetic images are needed ({what}), "
            f"{cell['ratio']} for each of {len(real)} real ones, but {len(found)} have been made{first}. "
            "Add them to plan in 03_generation and run it, or take the arm out of 04_training_grid"
        )
    return found


def _by_model(cell: Mapping, made: pd.DataFrame) -> pd.DataFrame:
    """Images by models of the run's own real images where matched; else by the run's own model of all, or the shared one."""
    own = (made["run"] == cell["run"]) & (made["n"] == (cell["sources"] if cell["generator_data"] == "matched" else 0))
    return made[own] if own.any() or cell["generator_data"] == "matched" else made[made["run"] == -1]


def prepare(wanted: Sequence[Mapping], given: Tables, how: Mapping, executor: str = "serial") -> dict:
    """Check every cell and make the features that a frozen body needs. Returns `how`, made complete for `run_cell`.

    how: values for HOW. `views` is the number of random views of a training image. Raises ValueError before any training.
    """
    lacking = [name for name in HOW if name not in how]
    if lacking:
        raise ValueError(f"how lacks {', '.join(lacking)}")
    units: dict[bool, set] = {False: set(), True: set()}
    for cell in wanted:
        one = members(cell, given, how["use_flags"])
        for part in one[:3]:
            units[False] |= set(part["unit"])
        if cell["transforms"]:
            units[True] |= set(one.training["unit"])
    done = {name: how[name] for name in HOW} | {"body_digest": features.shared_body(how["body"])[1]}
    if how["trainable"] != "head":
        return done | {"units": sorted(units[False])}
    asked = {name: how[name] for name in ("body", "image_size", "seed", "threads")}
    plain = [{**asked, "shard": unit, "views": [0], "image_ids": None} for unit in sorted(units[False])]
    train = given.images[given.images["split"] == "train"]
    views = [
        # Of real shards the training images only; the others are never transformed.
        {**asked, "shard": unit, "views": list(range(1, how["views"] + 1)), "image_ids": ids or None}
        for unit in sorted(units[True])
        for ids in [train.loc[train["unit"] == unit, "image_id"].tolist()]
    ]
    keys = [features.key_of(task) for task in plain + views]
    new = [(task,) for key, task in zip(keys, plain + views, strict=True) if store.missing("features", key)]
    if new:  # workers take seconds to start
        compute.fan_out(executor, features.extract, new, "features")
    return done | {"plain": keys[: len(plain)], "transformed": keys[len(plain) :]}


@lru_cache(maxsize=1)
def _bank(plain: tuple[str, ...], transformed: tuple[str, ...]) -> tuple[dict[str, int], np.ndarray]:
    """(image id → place, float32 (1 + views, n, d)) of kept features; NaN where an image has no random views."""
    loaded = [features.load_features(key) for key in plain]
    place = {name: i for i, name in enumerate(name for ids, _ in loaded for name in ids)}
    extra = [features.load_features(key) for key in transformed]
    views = extra[0][1].shape[0] if extra else 0
    array = np.full((1 + views, len(place), loaded[0][1].shape[-1]), np.nan, np.float32)
    array[0] = np.concatenate([found[0] for _, found in loaded])
    for ids, found in extra:
        array[1:, [place[name] for name in ids]] = found
    return place, array


def _source(how: Mapping, ids: list[str]) -> training.Source:
    """The inputs of a cell's images, in the order of ids."""
    if how["trainable"] == "head":
        place, array = _bank(tuple(how["plain"]), tuple(how["transformed"]))
        return training.Features(array[:, [place[name] for name in ids]], how["device"])
    pixels, index = rooms.memmap(how["units"])
    rows = pd.Series(np.arange(len(index)), index=index["image_id"]).loc[ids].to_numpy()
    return training.Images(pixels, ids, features.shared_body(how["body"])[0], how["image_size"], how["device"], rows)


def run_cell(cell: Mapping, how: Mapping, given: Tables) -> str:
    """Train one cell and keep its answers: key of the unit 'cell' with predictions.parquet (image_id, y_true, p_<class>).

    how: of `prepare`. The key holds what decides the answers (images and labels, settings, seed), not the arm's name.
    """
    one = members(cell, given, how["use_flags"])
    settings = training.Settings(**{name: how[name] for name in training.Settings._fields})
    seed = seeds.seed_of(how["seed"], "classifier", cell["task"], cell["run"])
    shown = one.n_real * (1 + cell["shown_ratio"]) if cell["steps"] == "matched" else None
    parameters = {**settings._asdict(), "seed": seed, "transforms": cell["transforms"], "shown": shown}
    parameters |= {"body": how["body"], "image_size": how["image_size"], "classes": one.classes}
    parameters |= {"features": features.RECIPE, "device": training.pick_device(how["device"]).type}
    if cell["transforms"]:
        parameters |= {"root": how["seed"], "views": how["views"]}
    inputs = {name: seeds.digest(part.to_numpy().tolist()) for name, part in zip(Members._fields, one[:3], strict=False)}
    key = store.key_of("cell", RECIPE, parameters, inputs | {"body": how["body_digest"]}, how["threads"])

    def make(folder: Path) -> dict:
        compute.set_threads(how["threads"])
        ends = np.cumsum([0, *(len(part) for part in one[:3])])
        parts = [
            training.Part(np.arange(start, end), part["label"].to_numpy(copy=True))
            for start, end, part in zip(ends, ends[1:], one[:3], strict=False)
        ]
        source = _source(how, pd.concat(one[:3])["image_id"].tolist())
        done = training.train(source, *parts, len(one.classes), seed, settings, cell["transforms"], shown)
        answers = pd.DataFrame(done.probabilities, columns=[f"p_{name}" for name in one.classes])
        answers.insert(0, "y_true", [one.classes[label] for label in one.test["label"]])
        answers.insert(0, "image_id", one.test["image_id"].to_numpy())
        answers.to_parquet(folder / "predictions.parquet", index=False)
        counts = {"n_real": one.n_real, "n_synthetic": len(one.training) - one.n_real, "left_out": one.left_out}
        return counts | {"epochs": done.epochs, "best_epoch": done.best_epoch, "validation_loss": done.validation_loss}

    store.keep("cell", key, make, {"cell": dict(cell), "parameters": parameters})
    return key


@lru_cache(maxsize=1)
def _tables(profile: str, runs: str, needs: bool) -> Tables:
    return read_tables(profile, [{"ratio": int(needs)}])


def run_cells(task: dict) -> list[str]:
    """Keys of some cells, trained in this process, so that they share loaded features.

    task: profile, how (of `prepare`), cells. A failed cell does not stop the others; RuntimeError names it at the end.
    """
    given = _tables(task["profile"], str(paths.runs_dir()), any(cell["ratio"] for cell in task["cells"]))
    keys, failed = [], []
    for cell in task["cells"]:
        try:
            keys.append(run_cell(cell, task["how"], given))
        except Exception as error:
            failed.append(f"{cell['arm']}, run {cell['run']}: {type(error).__name__}: {error}")
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(task['cells'])} cells failed; the others are kept: " + "; ".join(failed[:5])
        )
    return keys


def run(profile: str, wanted: Sequence[Mapping], how: Mapping, executor: str = "serial", chunk: int = 25) -> list[str]:
    """Keys of all cells in their order, fanned out. chunk: cells a task where the body is frozen; otherwise one cell."""
    size = chunk if how["trainable"] == "head" else 1
    chunks = [list(wanted[start : start + size]) for start in range(0, len(wanted), size)]
    tasks = [({"profile": profile, "how": dict(how), "cells": part},) for part in chunks]
    _tables.cache_clear()
    return [key for keys in compute.fan_out(executor, run_cells, tasks, "cells") for key in keys]


def collect(wanted: Sequence[Mapping], keys: Sequence[str], images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(predictions, cells) of trained cells: one row an arm × run × test image, and one row a cell.

    predictions: arm, run, image_id, what is known of the image, SETTINGS, y_true, correct (highest probability is y_true's;
    in malignancy that is a threshold of .5), p_<class>. cells: arm, run, SETTINGS, key, and what its manifest says.
    """
    answers, rows = [], []
    for cell, key in zip(wanted, keys, strict=True):
        settings = {"arm": cell["arm"], "run": cell["run"], **{name: cell[name] for name in SETTINGS}}
        rows.append({**settings, **store.manifest("cell", key)["result"], "key": key})
        one = pd.read_parquet(store.unit_dir("cell", key) / "predictions.parquet")
        p = one.filter(like="p_")
        one.insert(2, "correct", p.columns[p.to_numpy().argmax(1)].str[2:] == one["y_true"].to_numpy())
        answers.append(one.assign(**settings))
    predictions = pd.concat(answers, ignore_index=True)
    about = images.set_index("image_id").loc[predictions["image_id"], ABOUT_IMAGE].reset_index(drop=True)
    first = ["arm", "run", "image_id", *ABOUT_IMAGE, *SETTINGS, "y_true", "correct"]
    predictions = pd.concat([predictions, about], axis=1)
    return predictions[[*first, *(c for c in predictions if c.startswith("p_"))]], pd.DataFrame(rows)
