"""The grid of classifiers: what decides a cell's predictions, its training as a kept unit, and the fan-out of all."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

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
from .training import Part, Trained

__all__ = [
    "Chunk", "Prepared", "Tables", "cells", "chunks", "collect", "members", "plan", "prepare", "progress",
    "read_tables", "run", "run_cell", "run_cells", "train_cells",
]  # fmt: skip

RECIPE = 3
WORTH = 500  # images of one class per epoch, below which a chunk is not cut further


@dataclass(frozen=True)
class Prepared(Record):
    """All that training needs besides a cell and its images: the settings, and keys of what is kept of the images."""

    training: Training = setting(about="settings of training")
    body_digest: str = setting(about="digest of the body's weights")
    plain: tuple = setting((), "keys of untransformed features, where the body is frozen")
    transformed: tuple = setting((), "keys of features in random views")
    units: tuple = setting((), "shards of the memmap of images, where the body is trained")


@dataclass(frozen=True)
class Chunk(Record):
    """Cells of a profile that one worker trains."""

    profile: str = setting(about="whose tables")
    prepared: Prepared = setting(about="of `prepare`")
    cells: tuple = setting(about="of `cells`")


class Planned(NamedTuple):
    """One cell with its images and all that decides its answers: `key` names the unit that holds them."""

    cell: Cell
    images: Members
    seed: int
    epoch_images: int | None
    parameters: dict[str, Any]
    key: str

    @property
    def about(self) -> dict[str, Any]:
        """What is noted of the cell, wherever it is."""
        return {"cell": self.cell.json(), "parameters": self.parameters}

    def parts(self) -> tuple[tuple[Part, Part, Part], list[str]]:
        """The training, validation and test parts, and the ids that their rows count in."""
        frames = (self.images.training, self.images.validation, self.images.test)
        starts = np.cumsum([0, *(len(frame) for frame in frames[:2])])
        first, validation, test = (
            Part(np.arange(start, start + len(frame)), frame["label"].to_numpy(copy=True))
            for start, frame in zip(starts, frames, strict=True)
        )
        weighted = first._replace(weights=self.images.weights())
        return (weighted, validation, test), pd.concat(frames)["image_id"].tolist()


def _digest(training: Training) -> str:
    return features.shared_body(training.body, POOL[training.head])[1]


def prepare(wanted: Sequence[Cell], data: Tables, training: Training, executor: str = "serial") -> Prepared:
    """Check every cell and make the features that a frozen body needs. Raises ValueError before any training."""
    plain: set[str] = set()
    viewed: set[str] = set()  # in random views, too
    for cell in wanted:
        one = members(cell, data, training.use_flags)
        plain |= set(one.training["unit"]) | set(one.validation["unit"]) | set(one.test["unit"])
        viewed |= set(one.training["unit"]) if cell.transforms else set()
    if training.trainable != "head":
        return Prepared(training, _digest(training), units=tuple(sorted(plain)))
    # Of real shards the training images only; the others are never transformed.
    train = data.images[data.images["split"] == "train"].groupby("unit")["image_id"].agg(list)
    views = range(1, training.views + 1)
    extractions = [training.extraction(unit) for unit in sorted(plain)]
    extractions += [training.extraction(unit, views, train.get(unit)) for unit in sorted(viewed)]
    keys = [one.key() for one in extractions]
    new = [(one,) for key, one in zip(keys, extractions, strict=True) if store.missing("features", key)]
    if new:  # workers take seconds to start
        compute.fan_out(executor, features.extract, new, "features")
    return Prepared(training, _digest(training), tuple(keys[: len(plain)]), tuple(keys[len(plain) :]))


def plan(cell: Cell, prepared: Prepared, data: Tables) -> Planned:
    """A cell's images and its key, before any training; of `prepared` only the settings and the body's digest.

    The key holds what decides the predictions (images, labels, weights, settings, seed), not the arm's name.
    """
    how = prepared.training
    one = members(cell, data, how.use_flags)
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
    parts = {"training": one.training, "validation": one.validation, "test": one.test}
    inputs = {name: seeds.digest(part.to_numpy().tolist()) for name, part in parts.items()}
    key = store.key_of("cell", RECIPE, parameters, inputs | {"body": prepared.body_digest}, how.threads)
    return Planned(cell, one, seed, shown, parameters, key)


Results = Iterator[tuple[Planned, Trained | Exception]]


def _train(planned: Sequence[Planned], prepared: Prepared) -> Results:
    """Each cell with its result, as soon as it stops; where all break, as for memory, each that is left with the
    error."""
    left = {one.key: one for one in planned}
    try:
        for one, result in (_heads if prepared.training.trainable == "head" else _networks)(planned, prepared):
            left.pop(one.key)
            yield one, result
    except Exception as error:
        yield from ((one, error) for one in left.values())


def _heads(planned: Sequence[Planned], prepared: Prepared) -> Results:
    """Cells of a frozen body, all of a task at once."""
    how = prepared.training
    compute.set_threads(1)  # as `stacked` promises its bytes for; more cores work on other chunks
    row, bank = features.bank(prepared.plain, prepared.transformed)
    by_task: dict[tuple[str, ...], list[tuple[Planned, stacked.Job]]] = {}
    for one in planned:
        parts, ids = one.parts()
        job = stacked.Job(
            np.array([row[name] for name in ids]), *parts, one.seed, one.cell.transforms, one.epoch_images
        )
        by_task.setdefault(tuple(one.images.classes), []).append((one, job))
    for classes, group in by_task.items():
        trained = stacked.train_heads(bank, [job for _, job in group], len(classes), how, how.device)
        yield from ((group[number][0], result) for number, result in trained)


def _networks(planned: Sequence[Planned], prepared: Prepared) -> Results:
    """Cells whose body learns, one by one; an error ends its own cell alone."""
    how = prepared.training
    compute.set_threads(how.threads)
    pixels, index = memmap(prepared.units)
    row = pd.Series(np.arange(len(index)), index=index["image_id"])
    body = features.shared_body(how.body, POOL[how.head])[0]
    for one in planned:
        try:
            parts, ids = one.parts()
            source = training.Images(pixels, ids, body, how.image_size, how.device, row.loc[ids].to_numpy())
            classes, transforms = len(one.images.classes), one.cell.transforms
            yield one, training.train(source, *parts, classes, one.seed, how, transforms, one.epoch_images)
        except Exception as error:  # reported with the cell's parameters
            yield one, error


def _keep(one: Planned, result: Trained) -> str:
    store.keep("cell", one.key, lambda folder: answers.write(folder, one.images, result), one.about)
    return one.key


def run_cell(cell: Cell, prepared: Prepared, data: Tables) -> str:
    """Train one cell alone and keep its answers: key of the unit 'cell', see `answers.write`."""
    one = plan(cell, prepared, data)
    if store.missing("cell", one.key):
        ((_, result),) = _train([one], prepared)
        if isinstance(result, Exception):
            raise result
        _keep(one, result)
    return one.key


@lru_cache(maxsize=1)
def _tables(profile: str, runs: str, needs: bool) -> Tables:
    return tables_of(profile, needs)


def run_cells(chunk: Chunk) -> list[str]:
    """`train_cells` of some cells of a profile, in this process."""
    data = _tables(chunk.profile, str(paths.runs_dir()), any(cell.ratio for cell in chunk.cells))
    return train_cells(chunk.profile, chunk.cells, chunk.prepared, data)


def train_cells(profile: str, wanted: Sequence[Cell], prepared: Prepared, data: Tables) -> list[str]:
    """Keys of the cells, trained in this process where they are not kept, each kept as soon as it is done.

    A cell that fails is tried again alone, once; the others go on. RuntimeError names at the end those
    that failed twice, and `python -m skinsyn grid` shows them with their parameters.
    """
    planned = [plan(cell, prepared, data) for cell in wanted]
    new = {one.key: one for one in planned if store.missing("cell", one.key)}
    failed, errors = [], []
    with status.at_work(profile, list(new)) as keeping, ThreadPoolExecutor(1) as writer:
        for one, result in _train(list(new.values()), prepared) if new else ():  # none: the features are not read
            if isinstance(result, Exception):
                failed.append(one)
            else:
                keeping(writer.submit(_keep, one, result))  # the next cells train while the disk writes
        for one in failed:
            try:
                run_cell(one.cell, prepared, data)
                status.forget(profile, one.key)
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                status.note_failure(profile, one.key, one.about | {"error": message})
                errors.append(f"{one.cell.arm}, run {one.cell.run}: {message}")
    if errors:
        raise RuntimeError(
            f"{len(errors)} of {len(planned)} cells failed, and again when tried alone; the others are kept: "
            + "; ".join(errors[:5])
        )
    return [one.key for one in planned]


def run(
    profile: str, wanted: Sequence[Cell], prepared: Prepared, executor: str = "serial", chunk: int = 32
) -> list[str]:
    """Keys of all cells in their order, fanned out in `chunks`."""
    _tables.cache_clear()
    parts = chunks(profile, wanted, prepared, chunk)
    keys = compute.fan_out(executor, run_cells, [(part,) for part in parts], "cells")
    by_cell = {
        cell: key for part, some in zip(parts, keys, strict=True) for cell, key in zip(part.cells, some, strict=True)
    }
    return [by_cell[cell] for cell in wanted]


def chunks(profile: str, wanted: Sequence[Cell], prepared: Prepared, chunk: int = 32) -> list[Chunk]:
    """All cells in chunks for workers. chunk: cells per chunk where the body is frozen; otherwise one.

    Cells of about the same number of images go together, the largest first, so that they fill stacks; and no chunk
    holds more than an eighth of all images, or a few large cells would keep one worker long after the others have
    ended.
    """
    size = chunk if prepared.training.trainable == "head" else 1
    most = max(WORTH, sum(map(_images, wanted)) / 8)
    parts: list[list[Cell]] = []
    for cell in sorted(wanted, key=lambda cell: (-_images(cell), cell.task)):
        if not parts or len(parts[-1]) == size or sum(map(_images, [*parts[-1], cell])) > most:
            parts.append([])
        parts[-1].append(cell)
    return [Chunk(profile, prepared, tuple(part)) for part in parts]


def _images(cell: Cell) -> int:
    """Images of one class that a cell shows in an epoch."""
    return cell.n * (1 + cell.shown_ratio) if cell.n else cell.sources * cell.ratio


def progress(profile: str, changed: Mapping | None = None) -> tuple[pd.DataFrame, str]:
    """Where a profile's grid stands: `status.states` of its cells, and the same in words. Nothing is made or trained.

    changed: parameters that differ from the profile's files. Raises ValueError or FileNotFoundError where the cells
    cannot be named yet, as 04_training_grid itself would.
    """
    of_04 = params.of_profile(profile, dict(changed or {}))["04_training_grid"]
    wanted = cells(of_04["arms"], of_04["runs"], of_04["training_steps"])
    data = read_tables(profile, wanted)
    training = Training.take(of_04)
    prepared = Prepared(training, _digest(training))
    table = status.states(profile, wanted, [plan(cell, prepared, data).key for cell in wanted])
    return table, status.in_words(profile, table)
