"""The grid of classifiers: what decides a cell's predictions, its training as a kept unit, and the fan-out of all."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.images import memmap
from skinsyn.run import compute, params, paths, seeds, store
from skinsyn.run.records import Record, setting

from . import answers, features, stacked, status, training
from .answers import collect
from .arms import Cell, cells
from .heads import OPTIMISER, POOL
from .members import Members, Tables, members, read_tables, tables_of
from .settings import Training

__all__ = [
    "Prepared", "Tables", "cells", "collect", "members", "plan", "prepare", "progress", "read_tables", "run",
    "run_cell",
    "run_cells", "tasks", "train_cells",
]  # fmt: skip

RECIPE = 3
WORTH = 500  # images of one class an epoch, below which a task is not cut further


@dataclass(frozen=True)
class Prepared(Record):
    """All that training needs besides a cell and its images: the settings, and keys of what is kept of the images."""

    training: Training = setting(about="settings of training")
    body_digest: str = setting(about="digest of the body's weights")
    plain: tuple = setting((), "keys of untransformed features, where the body is frozen")
    transformed: tuple = setting((), "keys of features in random views")
    units: tuple = setting((), "shards of the memmap of images, where the body is trained")


class Planned(NamedTuple):
    """One cell with its images and all that decides its answers: `key` names the unit that holds them."""

    cell: Cell
    images: Members
    parameters: dict
    shown: int | None
    key: str


def _digest(training: Training) -> str:
    return features.shared_body(training.body, True, POOL[training.head])[1]


def prepare(wanted: Sequence[Cell], given: Tables, training: Training, executor: str = "serial") -> Prepared:
    """Check every cell and make the features that a frozen body needs. Raises ValueError before any training."""
    units: dict[bool, set] = {False: set(), True: set()}
    for cell in wanted:
        one = members(cell, given, training.use_flags)
        for part in one[:3]:
            units[False] |= set(part["unit"])
        if cell.transforms:
            units[True] |= set(one.training["unit"])
    if training.trainable != "head":
        return Prepared(training, _digest(training), units=tuple(sorted(units[False])))
    tasks = [training.features_task(unit) for unit in sorted(units[False])]
    train, views = given.images[given.images["split"] == "train"], range(1, training.views + 1)
    for unit in sorted(units[True]):
        # Of real shards the training images only; the others are never transformed.
        ids = train.loc[train["unit"] == unit, "image_id"].tolist()
        tasks.append(training.features_task(unit, views, ids or None))
    keys = [features.key_of(task) for task in tasks]
    new = [(task,) for key, task in zip(keys, tasks, strict=True) if store.missing("features", key)]
    if new:  # workers take seconds to start
        compute.fan_out(executor, features.extract, new, "features")
    plain = len(units[False])
    return Prepared(training, _digest(training), tuple(keys[:plain]), tuple(keys[plain:]))


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


def plan(cell: Cell, prepared: Prepared, given: Tables) -> Planned:
    """A cell's images and its key, before any training; of `prepared` only the settings and the body's digest.

    The key holds what decides the predictions (images, labels, weights, settings, seed), not the arm's name.
    """
    how = prepared.training
    one = members(cell, given, how.use_flags)
    seed = seeds.seed_of(how.seed, "classifier", cell.task, cell.run)
    shown = one.n_real * (1 + cell.shown_ratio) if cell.steps == "matched" else None
    parameters = {**how.key_fields(), "seed": seed, "transforms": cell.transforms, "shown": shown}
    parameters |= {"body": how.body, "image_size": how.image_size, "classes": one.classes}
    parameters |= {"features": features.RECIPE, "device": training.pick_device(how.device).type}
    if OPTIMISER[how.head]:
        parameters["optimiser"] = OPTIMISER[how.head]
    if one.weights() is not None:
        parameters |= {"weight": one.weight, "n_real": one.n_real}
    if cell.transforms:
        parameters |= {"root": how.seed, "views": how.views}
    inputs = {
        name: seeds.digest(part.to_numpy().tolist()) for name, part in zip(Members._fields, one[:3], strict=False)
    }
    key = store.key_of("cell", RECIPE, parameters, inputs | {"body": prepared.body_digest}, how.threads)
    return Planned(cell, one, parameters, shown, key)


def _parts(planned: Planned) -> tuple[tuple[training.Part, training.Part, training.Part], list[str]]:
    """The cell's training, validation and test parts, and the ids that their rows count in."""
    three = planned.images[:3]
    ends = np.cumsum([0, *(len(part) for part in three)])
    first, validation, test = (
        training.Part(np.arange(start, end), part["label"].to_numpy(copy=True))
        for start, end, part in zip(ends, ends[1:], three, strict=False)
    )
    return (first._replace(weights=planned.images.weights()), validation, test), pd.concat(three)["image_id"].tolist()


def _train(planned: Sequence[Planned], prepared: Prepared) -> Iterator[tuple[Planned, training.Trained | Exception]]:
    """Each cell with its result, as soon as it stops: heads of a frozen body together, whole networks one by one."""
    how = prepared.training
    if how.trainable != "head":
        for one in planned:
            try:
                yield one, _train_network(one, prepared)
            except Exception as error:  # reported with the cell's parameters; the others go on
                yield one, error
        return
    if not planned:
        return  # without reading the features
    compute.set_threads(1)  # as `stacked` promises its bytes for; more cores work on other chunks
    place, bank = _bank(prepared.plain, prepared.transformed)
    by_task: dict[tuple, list[tuple[Planned, stacked.Job]]] = {}
    for one in planned:
        parts, ids = _parts(one)
        rows = np.array([place[name] for name in ids])
        job = stacked.Job(rows, *parts, one.parameters["seed"], one.cell.transforms, one.shown)
        by_task.setdefault(tuple(one.images.classes), []).append((one, job))
    for classes, group in by_task.items():
        trained = stacked.train_heads(bank, [job for _, job in group], len(classes), how, how.device)
        yield from ((group[number][0], done) for number, done in trained)


def _train_network(one: Planned, prepared: Prepared) -> training.Trained:
    """One cell, body and head on the memmap of images."""
    how = prepared.training
    compute.set_threads(how.threads)
    parts, ids = _parts(one)
    pixels, index = memmap(prepared.units)
    rows = pd.Series(np.arange(len(index)), index=index["image_id"]).loc[ids].to_numpy()
    body = features.shared_body(how.body, True, POOL[how.head])[0]
    source = training.Images(pixels, ids, body, how.image_size, how.device, rows)
    seed, transforms = one.parameters["seed"], one.cell.transforms
    return training.train(source, *parts, len(one.images.classes), seed, how, transforms, one.shown)


def _keep(one: Planned, done: training.Trained) -> str:
    about = {"cell": one.cell.json(), "parameters": one.parameters}
    store.keep("cell", one.key, lambda folder: answers.write(folder, one.images, done), about)
    return one.key


def run_cell(cell: Cell, prepared: Prepared, given: Tables) -> str:
    """Train one cell alone and keep its answers: key of the unit 'cell', see `answers.write`."""
    one = plan(cell, prepared, given)
    if store.missing("cell", one.key):
        ((_, done),) = _train([one], prepared)
        if isinstance(done, Exception):
            raise done
        _keep(one, done)
    return one.key


@lru_cache(maxsize=1)
def _tables(profile: str, runs: str, needs: bool) -> Tables:
    return tables_of(profile, needs)


def run_cells(task: dict) -> list[str]:
    """`train_cells` of some cells of a profile, in this process. task: profile, prepared, cells."""
    given = _tables(task["profile"], str(paths.runs_dir()), any(cell.ratio for cell in task["cells"]))
    return train_cells(task["profile"], task["cells"], task["prepared"], given)


def train_cells(profile: str, wanted: Sequence[Cell], prepared: Prepared, given: Tables) -> list[str]:
    """Keys of the cells, trained in this process where they are not kept, each kept as soon as it is done.

    A cell that fails is tried again alone, once; the others go on. RuntimeError names at the end those
    that failed twice, and `python -m skinsyn grid` shows them with their parameters.
    """
    planned = [plan(cell, prepared, given) for cell in wanted]
    new = {one.key: one for one in planned if store.missing("cell", one.key)}
    failed = {}
    with status.at_work(profile, list(new)) as keeping, ThreadPoolExecutor(1) as writer:
        for one, done in _whatever(new, prepared):
            if isinstance(done, Exception):
                failed[one.key] = one
            else:
                keeping(writer.submit(_keep, one, done))  # the next cells train while the disk writes
        told = [line for one in failed.values() if (line := _again(one, prepared, given, profile))]
    if told:
        raise RuntimeError(
            f"{len(told)} of {len(planned)} cells failed, and again when tried alone; the others are kept: "
            + "; ".join(told[:5])
        )
    return [one.key for one in planned]


def _whatever(new: Mapping[str, Planned], prepared: Prepared) -> Iterator[tuple[Planned, training.Trained | Exception]]:
    """`_train`, and where it breaks for all, as memory may, each cell that is left with the error."""
    left = dict(new)
    try:
        for one, done in _train(list(new.values()), prepared):
            left.pop(one.key)
            yield one, done
    except Exception as error:
        yield from ((one, error) for one in left.values())


def _again(one: Planned, prepared: Prepared, given: Tables, profile: str) -> str:
    """Try a failed cell alone; '' where it went well, else what to tell, which is also noted for `grid`."""
    try:
        run_cell(one.cell, prepared, given)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        status.note_failure(profile, one.key, {"cell": one.cell.json(), "parameters": one.parameters, "error": told})
        return f"{one.cell.arm}, run {one.cell.run}: {told}"
    status.forget(profile, one.key)
    return ""


def run(
    profile: str, wanted: Sequence[Cell], prepared: Prepared, executor: str = "serial", chunk: int = 32
) -> list[str]:
    """Keys of all cells in their order, fanned out in `tasks`."""
    _tables.cache_clear()
    planned, found = tasks(profile, wanted, prepared, chunk), {}
    made = compute.fan_out(executor, run_cells, [(task,) for _, task in planned], "cells")
    for (places, _), keys in zip(planned, made, strict=True):
        found |= dict(zip(places, keys, strict=True))
    return [found[i] for i in range(len(wanted))]


def tasks(profile: str, wanted: Sequence[Cell], prepared: Prepared, chunk: int = 32) -> list[tuple[list[int], dict]]:
    """(places in wanted, task of `run_cells`) for all cells. chunk: cells a task where the body is frozen; otherwise
    one.

    Cells of about the same number of images go together, the largest first, so that they fill stacks; and no task holds
    more than an eighth of all images, or a few large cells would keep one worker long after the others have ended.
    """
    size = chunk if prepared.training.trainable == "head" else 1
    most = max(WORTH, sum(map(_images, wanted)) / 8)
    chunks: list[list[int]] = []
    for i in sorted(range(len(wanted)), key=lambda i: (-_images(wanted[i]), wanted[i].task, i)):
        if not chunks or len(chunks[-1]) == size or sum(_images(wanted[j]) for j in [*chunks[-1], i]) > most:
            chunks.append([])
        chunks[-1].append(i)
    return [(part, {"profile": profile, "prepared": prepared, "cells": [wanted[i] for i in part]}) for part in chunks]


def _images(cell: Cell) -> int:
    """Images of one class that a cell shows in an epoch."""
    return cell.n * (1 + cell.shown_ratio) if cell.n else cell.sources * cell.ratio


def progress(profile: str, changed: Mapping | None = None) -> tuple[pd.DataFrame, str]:
    """Where a profile's grid stands: `status.states` of its cells, and the same in words. Nothing is made or trained.

    changed: parameters that differ from the profile's files. Raises ValueError or FileNotFoundError where the cells
    cannot be named yet, as 04_training_grid itself would.
    """
    asked = params.of_profile(profile, dict(changed or {}))["04_training_grid"]
    wanted = cells(asked["arms"], asked["runs"], asked["training_steps"])
    given = read_tables(profile, wanted)
    training = Training.take(asked)
    prepared = Prepared(training, _digest(training))
    table = status.states(profile, wanted, [plan(cell, prepared, given).key for cell in wanted])
    return table, status.in_words(profile, table)
