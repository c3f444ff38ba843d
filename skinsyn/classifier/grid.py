"""The grid of classifiers: what decides a cell's answers, its training as a kept unit, and the fan-out of all of them."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn import images as rooms
from skinsyn.run import compute, params, paths, seeds, store

from . import answers, features, stacked, status, training
from .answers import collect
from .arms import cells
from .heads import OPTIMISER, POOL
from .members import Members, Tables, members, read_tables

__all__ = [
    "Tables", "cells", "collect", "members", "plan", "prepare", "progress", "read_tables", "run", "run_cell",
    "run_cells", "tasks", "train_cells",
]  # fmt: skip

RECIPE = 3
HOW = ("body", "image_size", "seed", "threads", "device", "views", "use_flags", *training.Settings._fields)
LATER = {name: getattr(training.DEFAULT, name) for name in ("dtype", "compile")}  # in a cell's key where they differ
WORTH = 500  # images of one class an epoch, below which a task is not cut further


class Planned(NamedTuple):
    """One cell with its images and all that decides its answers: `key` names the unit that holds them."""

    cell: dict
    images: Members
    parameters: dict
    shown: int | None
    key: str


def _complete(how: Mapping) -> dict:
    """`how` with what follows from it: how the body pools, and the digest of its weights."""
    if how["head"] not in POOL:
        raise ValueError(f"head is {how['head']!r}, expected one of {', '.join(POOL)}")
    pool = POOL[how["head"]]
    digest = features.shared_body(how["body"], True, pool)[1]
    how = {**LATER, **how}
    return {name: how[name] for name in HOW} | {"pool": pool, "body_digest": digest}


def _settings(how: Mapping) -> training.Settings:
    return training.Settings(**{name: how[name] for name in training.Settings._fields if name in how})


def prepare(wanted: Sequence[Mapping], given: Tables, how: Mapping, executor: str = "serial") -> dict:
    """Check every cell and make the features that a frozen body needs. Returns `how`, made complete for `run_cell`.

    how: values for HOW. `views` is the number of random views of a training image. Raises ValueError before any training.
    """
    lacking = [name for name in HOW if name not in how and name not in LATER]
    if lacking:
        raise ValueError(f"how lacks {', '.join(lacking)}")
    units: dict[bool, set] = {False: set(), True: set()}
    for cell in wanted:
        one = members(cell, given, how["use_flags"])
        for part in one[:3]:
            units[False] |= set(part["unit"])
        if cell["transforms"]:
            units[True] |= set(one.training["unit"])
    done = _complete(how)
    if how["trainable"] != "head":
        return done | {"units": sorted(units[False])}
    asked = {name: done[name] for name in ("body", "image_size", "seed", "threads", "pool")}
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


def plan(cell: Mapping, how: Mapping, given: Tables) -> Planned:
    """A cell's images and its key, before any training. how: HOW and `body_digest`.

    The key holds what decides the answers (images, labels, weights, settings, seed), not the arm's name.
    """
    one = members(cell, given, how["use_flags"])
    settings = {name: v for name, v in _settings(how)._asdict().items() if name not in LATER or v != LATER[name]}
    seed = seeds.seed_of(how["seed"], "classifier", cell["task"], cell["run"])
    shown = one.n_real * (1 + cell["shown_ratio"]) if cell["steps"] == "matched" else None
    parameters = {**settings, "seed": seed, "transforms": cell["transforms"], "shown": shown}
    parameters |= {"body": how["body"], "image_size": how["image_size"], "classes": one.classes}
    parameters |= {"features": features.RECIPE, "device": training.pick_device(how["device"]).type}
    if OPTIMISER[how["head"]]:
        parameters["optimiser"] = OPTIMISER[how["head"]]
    if one.weights() is not None:
        parameters |= {"weight": one.weight, "n_real": one.n_real}
    if cell["transforms"]:
        parameters |= {"root": how["seed"], "views": how["views"]}
    inputs = {
        name: seeds.digest(part.to_numpy().tolist()) for name, part in zip(Members._fields, one[:3], strict=False)
    }
    key = store.key_of("cell", RECIPE, parameters, inputs | {"body": how["body_digest"]}, how["threads"])
    return Planned(dict(cell), one, parameters, shown, key)


def _parts(planned: Planned) -> tuple[list[training.Part], list[str]]:
    """The cell's training, validation and test parts, and the ids that their rows count in."""
    three = planned.images[:3]
    ends = np.cumsum([0, *(len(part) for part in three)])
    parts = [
        training.Part(np.arange(start, end), part["label"].to_numpy(copy=True))
        for start, end, part in zip(ends, ends[1:], three, strict=False)
    ]
    parts[0] = parts[0]._replace(weights=planned.images.weights())
    return parts, pd.concat(three)["image_id"].tolist()


def _train(planned: Sequence[Planned], how: Mapping) -> Iterator[tuple[Planned, training.Trained | Exception]]:
    """Each cell with what became of it, as soon as it stops: heads of a frozen body together, whole networks one by one."""
    settings = _settings(how)
    if how["trainable"] != "head":
        for one in planned:
            try:
                yield one, _train_network(one, how, settings)
            except Exception as error:  # reported with the cell's parameters; the others go on
                yield one, error
        return
    if not planned:
        return  # without reading the features
    compute.set_threads(1)  # as `stacked` promises its bytes for; more cores work on other chunks
    place, bank = _bank(tuple(how["plain"]), tuple(how["transformed"]))
    by_task: dict[tuple, list[tuple[Planned, stacked.Job]]] = {}
    for one in planned:
        parts, ids = _parts(one)
        rows = np.array([place[name] for name in ids])
        job = stacked.Job(rows, *parts, one.parameters["seed"], one.cell["transforms"], one.shown)
        by_task.setdefault(tuple(one.images.classes), []).append((one, job))
    for classes, group in by_task.items():
        found = stacked.train_heads(bank, [job for _, job in group], len(classes), settings, how["device"])
        yield from ((group[number][0], done) for number, done in found)


def _train_network(one: Planned, how: Mapping, settings: training.Settings) -> training.Trained:
    """One cell, body and head on the memmap of images."""
    compute.set_threads(how["threads"])
    parts, ids = _parts(one)
    pixels, index = rooms.memmap(how["units"])
    rows = pd.Series(np.arange(len(index)), index=index["image_id"]).loc[ids].to_numpy()
    body = features.shared_body(how["body"], True, how["pool"])[0]
    source = training.Images(pixels, ids, body, how["image_size"], how["device"], rows)
    seed, transforms = one.parameters["seed"], one.cell["transforms"]
    return training.train(source, *parts, len(one.images.classes), seed, settings, transforms, one.shown)


def _keep(one: Planned, done: training.Trained) -> str:
    about = {"cell": one.cell, "parameters": one.parameters}
    store.keep("cell", one.key, lambda folder: answers.write(folder, one.images, done), about)
    return one.key


def run_cell(cell: Mapping, how: Mapping, given: Tables) -> str:
    """Train one cell alone and keep its answers: key of the unit 'cell', see `answers.write`. how: of `prepare`."""
    one = plan(cell, how, given)
    if store.missing("cell", one.key):
        ((_, done),) = _train([one], how)
        if isinstance(done, Exception):
            raise done
        _keep(one, done)
    return one.key


@lru_cache(maxsize=1)
def _tables(profile: str, runs: str, needs: bool) -> Tables:
    return read_tables(profile, [{"ratio": int(needs)}])


def run_cells(task: dict) -> list[str]:
    """`train_cells` of some cells of a profile, in this process. task: profile, how (of `prepare`), cells."""
    given = _tables(task["profile"], str(paths.runs_dir()), any(cell["ratio"] for cell in task["cells"]))
    return train_cells(task["profile"], task["cells"], task["how"], given)


def train_cells(profile: str, wanted: Sequence[Mapping], how: Mapping, given: Tables) -> list[str]:
    """Keys of the cells, trained in this process where they are not kept, each kept as soon as it is done.

    how: of `prepare`. A cell that fails is tried again alone, once; the others go on. RuntimeError names at the end those
    that failed twice, and `python -m skinsyn grid` shows them with their parameters.
    """
    planned = [plan(cell, how, given) for cell in wanted]
    new = {one.key: one for one in planned if store.missing("cell", one.key)}
    failed = {}
    with status.at_work(profile, list(new)) as keeping, ThreadPoolExecutor(1) as writer:
        for one, done in _whatever(new, how):
            if isinstance(done, Exception):
                failed[one.key] = one
            else:
                keeping(writer.submit(_keep, one, done))  # the next cells train while the disk writes
        told = [line for one in failed.values() if (line := _again(one, how, given, profile))]
    if told:
        raise RuntimeError(
            f"{len(told)} of {len(planned)} cells failed, and again when tried alone; the others are kept: "
            + "; ".join(told[:5])
        )
    return [one.key for one in planned]


def _whatever(new: Mapping[str, Planned], how: Mapping) -> Iterator[tuple[Planned, training.Trained | Exception]]:
    """`_train`, and where it breaks for all, as memory may, each cell that is left with the error."""
    left = dict(new)
    try:
        for one, done in _train(list(new.values()), how):
            left.pop(one.key)
            yield one, done
    except Exception as error:
        yield from ((one, error) for one in left.values())


def _again(one: Planned, how: Mapping, given: Tables, profile: str) -> str:
    """Try a failed cell alone; '' where it went well, else what to tell, which is also noted for `grid`."""
    try:
        run_cell(one.cell, how, given)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        status.note_failure(profile, one.key, {"cell": one.cell, "parameters": one.parameters, "error": told})
        return f"{one.cell['arm']}, run {one.cell['run']}: {told}"
    status.forget(profile, one.key)
    return ""


def run(profile: str, wanted: Sequence[Mapping], how: Mapping, executor: str = "serial", chunk: int = 32) -> list[str]:
    """Keys of all cells in their order, fanned out in `tasks`."""
    _tables.cache_clear()
    planned, found = tasks(profile, wanted, how, chunk), {}
    made = compute.fan_out(executor, run_cells, [(task,) for _, task in planned], "cells")
    for (places, _), keys in zip(planned, made, strict=True):
        found |= dict(zip(places, keys, strict=True))
    return [found[i] for i in range(len(wanted))]


def tasks(profile: str, wanted: Sequence[Mapping], how: Mapping, chunk: int = 32) -> list[tuple[list[int], dict]]:
    """(places in wanted, task of `run_cells`) for all cells. chunk: cells a task where the body is frozen; otherwise one.

    Cells of about the same number of images go together, the largest first, so that they fill stacks; and no task holds
    more than an eighth of all images, or a few large cells would keep one worker long after the others have ended.
    """
    size = chunk if how["trainable"] == "head" else 1
    most = max(WORTH, sum(map(_images, wanted)) / 8)
    chunks: list[list[int]] = []
    for i in sorted(range(len(wanted)), key=lambda i: (-_images(wanted[i]), wanted[i]["task"], i)):
        if not chunks or len(chunks[-1]) == size or sum(_images(wanted[j]) for j in [*chunks[-1], i]) > most:
            chunks.append([])
        chunks[-1].append(i)
    return [(part, {"profile": profile, "how": dict(how), "cells": [dict(wanted[i]) for i in part]}) for part in chunks]


def _images(cell: Mapping) -> int:
    """Images of one class that a cell shows in an epoch."""
    return cell["n"] * (1 + cell["shown_ratio"]) if cell["n"] else cell["sources"] * cell["ratio"]


def progress(profile: str, changed: Mapping | None = None) -> tuple[pd.DataFrame, str]:
    """Where a profile's grid stands: `status.states` of its cells, and the same in words. Nothing is made or trained.

    changed: parameters that differ from the profile's files. Raises ValueError or FileNotFoundError where the cells cannot
    be named yet, as 04_training_grid itself would.
    """
    asked = params.of_profile(profile, dict(changed or {}))["04_training_grid"]
    wanted = cells(asked["arms"], asked["runs"], asked["training_steps"])
    given = read_tables(profile, wanted)
    how = _complete(asked)
    table = status.states(profile, wanted, [plan(cell, how, given).key for cell in wanted])
    return table, status.in_words(profile, table)
