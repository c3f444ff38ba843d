"""Generation: shards of synthetic images, planned, kept and listed; what a shard holds decides its key and seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.images import pixels
from skinsyn.run import compute, seeds, store

from .sampling import decode, flag, latents, prompts, sample, to_bytes
from .settings import METHODS, Entry, Model, Reference, Sampling, ShardTask, Taught, Training

__all__ = [
    "check_weights", "draw", "flag", "generate", "generators", "key_of", "keys_of", "plan", "preview", "rows_of",
    "sample", "seed_of", "starts", "table",
]  # fmt: skip

RECIPE = 2  # 2: channels last, whose sums round otherwise
LATENTS = "latents.npy"  # float16 (n, 4, h, w), beside the images of a first stage in the preset `fast`
ROW = ["image_id", "condition", "fst", "fst_group", "unit", "row"]


def plan(
    frame: pd.DataFrame,
    generators: Mapping[Model, Taught],
    entries: Sequence[Entry],
    settings: Sampling,
    threads: int,
    subsets: pd.DataFrame | None = None,
) -> list[ShardTask]:
    """Tasks of `generate`, each once, those of one model side by side.

    frame: source images (ROW's columns, and `rank` where an entry asks for it). generators: of `generators`. entries:
    of `settings.read_plan`. subsets: of the entries with `by_run`, whose sources are the run's first n images per class
    in that table of 01. One task is one condition's sources (at most 1,000) in one replicate, so that more replicates
    extend what exists. Raises ValueError for a generator that is not there.
    """
    shared = {name: getattr(settings, name) for name in Sampling.names()}
    tasks: dict[str, ShardTask] = {}
    for entry, n, run in [(one, *whose) for one in entries for whose in _whose(one, generators)]:
        able = frame if entry.rank is None else frame[frame["rank"] < entry.rank]
        if n and subsets is not None:
            ranked = subsets[(subsets["run"] == run) & (subsets["rank"] < n)]
            able = able[able["image_id"].isin(ranked["image_id"])]
        for condition, mine in able.groupby("condition", sort=True):
            name = condition if entry.scope == "condition" else "all"
            model = Model(generator=entry.generator, task=METHODS[entry.method], condition=name, n=n, run=run)
            if model not in generators:
                known = [str(one.json()) for one in generators][:8]
                raise ValueError(f"{entry}: no generator {model.json()} was made by 02_dreambooth; made: {known}")
            about = {field: getattr(generators[model], field) for field in Taught.names()} | shared
            about |= {"generator": entry.generator, "scope": entry.scope, "condition": condition}
            about |= {"threads": threads, "n": n, "run": run}
            rows = mine.sort_values("image_id")[ROW].head(len(mine) if entry.sources is None else entry.sources)
            sources = json.loads(rows.to_json(orient="records"))
            for replicate in range(entry.replicates):
                for start in range(0, len(sources), images.SHARD_IMAGES):
                    about |= {"replicate": replicate, "parents": sources[start : start + images.SHARD_IMAGES]}
                    first = ShardTask(**about, method="inpaint") if entry.method == "in-then-outpaint" else None
                    task = ShardTask(**about, method=entry.method, first=first)
                    tasks[key_of(task)] = task
    nested = {key_of(task.first) for task in tasks.values() if task.first}
    return [task for key, task in tasks.items() if key not in nested]


def _whose(entry: Entry, generators: Mapping[Model, Taught]) -> list[tuple[int, int]]:
    """n and run of the models that an entry takes. Raises ValueError where no run has models of its own."""
    if entry.by_run is None:
        return [(0, -1)]
    runs = sorted({model.run for model in generators if model.run >= 0 and model.n == entry.by_run})
    if not runs:
        raise ValueError(f"{entry}: no model of a run's own with n = {entry.by_run}; add it to by_run of 02_dreambooth")
    return [(entry.by_run, run) for run in runs]


def keys_of(tasks: Sequence[ShardTask]) -> list[str]:
    """Keys of all shards that the tasks make, first stages before what is made from them."""
    return [key_of(stage) for task in tasks for stage in task.stages()]


def key_of(task: ShardTask) -> str:
    """The key of the shard that a task makes. Settings that its method does not use are not in it.

    It holds the digest of the generator's weights: the same recipe may end in other bytes on another processor.
    """
    inputs = {
        "base": task.base.digest,
        "generator": task.key,
        "weights": task.weights if task.key else "",
        "first": key_of(task.first) if task.first else "",
    }
    return store.key_of("shard", RECIPE, task.deciding(task.method) | task.own, inputs, task.threads)


def seed_of(task: ShardTask, parent: str, again: bool = False) -> int:
    """The seed of one image, from what it is: never from weights, batch, shard or worker.

    An untouched base counts by the last part of its name, so that a folder's place or a mirror of the hub changes
    nothing. again: of the second attempt.
    """
    model = task.key or task.base.name.rstrip("/").rpartition("/")[2]
    stage = "out" if task.method == "in-then-outpaint" else "in"
    parts = [task.seed, model, task.method, stage, task.condition, parent, task.replicate]
    return seeds.seed_of(*parts, *(["again"] if again else []))


def generate(task: ShardTask) -> str:
    """Make the shard of a task from `plan`, and its first stage, where not kept yet; its key (store kind 'shard').

    Images that hold NaN, show nothing or nearly copy their parent are made once more with another seed and flagged if
    they do so again. Batches follow the sorted ids of the parents. Raises FileNotFoundError where generator or parents
    are missing.
    """
    key = key_of(task)
    if task.first:
        generate(task.first)

    def make(folder: Path) -> dict[str, int]:
        check_weights(task)
        compute.set_threads(task.threads)
        parents = pixels(task.parents, task.image_size)
        start = starts(task, parents)
        shard = _attempt(task, range(len(parents)), start, parents, again=False)
        faulty = np.flatnonzero(shard.flags != "").tolist()
        if faulty:
            second = _attempt(task, faulty, start, parents, again=True)
            for whole, part in zip(shard, second, strict=True):
                if len(whole):
                    whole[faulty] = part
        if len(shard.latents):
            np.save(folder / LATENTS, shard.latents.astype(np.float16))
        rows = rows_of(task, shard.seeds.tolist(), shard.flags.tolist(), faulty)
        images.write_shard(folder, shard.images, rows)
        return {"images": len(rows), "made_again": len(faulty), "flagged": int((shard.flags != "").sum())}

    store.keep("shard", key, make, task.json())
    return key


def check_weights(task: ShardTask) -> None:
    """Raises ValueError where the kept generator holds other bytes than those that the task was planned for."""
    if task.key and store.content("generator", task.key) != task.weights:
        raise ValueError(
            f"generator/{task.key}: its weights are not those that this was planned for; run 02_dreambooth again"
        )


def starts(task: ShardTask, parents: np.ndarray) -> np.ndarray:
    """What images start from: parents, uint8 (n, s, s, 3), or the first stage's images or latents of them."""
    if not task.first:
        return parents
    first = key_of(task.first)
    if task.first.hands_on:
        return np.load(store.folder("shard", first) / LATENTS, allow_pickle=False).astype(np.float32)
    return images.read_shard(first)[1]


class Attempt(NamedTuple):
    """Images uint8 (n, s, s, 3), flags (n,), seeds (n,), and latents to hand on, (n, 4, h, w) or (0,)."""

    images: np.ndarray
    flags: np.ndarray
    seeds: np.ndarray
    latents: np.ndarray


def draw(task: ShardTask, batch: Sequence[int], start: np.ndarray, again: bool) -> tuple[np.ndarray, np.ndarray]:
    """The images of these parents sampled in one batch: float (n, s, s, 3) in [0, 1] or NaN, and latents to hand on.

    batch: positions in the task's parents. start: what all of the task's images start from (`starts`), or nothing.
    """
    rows = [task.parents[i] for i in batch]
    seeds_ = [seed_of(task, row["image_id"], again) for row in rows]
    some = start[batch] if len(start) else start
    if not task.hands_on:
        return sample(task, rows, some, seeds_), np.zeros((0, 0))
    z = latents(task, rows, some, seeds_)
    return decode(task, z), z


def _attempt(task: ShardTask, chosen: Sequence[int], start: np.ndarray, parents: np.ndarray, again: bool) -> Attempt:
    """Sample the images of the chosen parents, batch by batch, and judge them."""
    parts, flags, handed = [], [], []
    for first in range(0, len(chosen), task.batch_size):
        batch = list(chosen[first : first + task.batch_size])
        drawn, z = draw(task, batch, start, again)
        parts.append(to_bytes(drawn))
        handed.append(z)
        triples = zip(drawn, parts[-1], parents[batch], strict=True)
        flags += [flag(values, image, parent, task.near_copy_distance) for values, image, parent in triples]
    seeds_ = np.array([seed_of(task, task.parents[i]["image_id"], again) for i in chosen])
    return Attempt(np.concatenate(parts), np.array(flags, dtype=object), seeds_, np.concatenate(handed))


def preview(
    tunings: Sequence[Training], keys: Sequence[str], settings: Sampling, threads: int
) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """One text-to-image sample of each fine-tuned model and of its untouched base, from the same seed. Nothing is kept.

    tunings, keys: of `dreambooth.fine_tune`. Returns the rows (each model's first image), then before and after, each
    uint8 (n, s, s, 3).
    """
    compute.set_threads(threads)
    rows = [tuning.images[0] for tuning in tunings]
    about = {name: getattr(settings, name) for name in Sampling.names()}
    about |= {"method": "text-to-image", "generator": "base", "scope": "condition", "parents": []}
    columns = []
    for models in ([""] * len(tunings), keys):  # the base first, so that it is loaded once
        for tuning, row, key in zip(tunings, rows, models, strict=True):
            taught = {
                name: getattr(tuning, name) for name in ("base", "image_size", "prompt", "add_skin_type", "condition")
            }
            task = ShardTask(**about, **taught, key=key)
            seed = seeds.seed_of(settings.seed, "preview", row["image_id"])
            columns.append(sample(task, [row], np.zeros(0), [seed])[0])
    before, after = np.split(to_bytes(np.stack(columns)), 2)
    return rows, before, after


def rows_of(task: ShardTask, seeds_: Sequence[int], flags: Sequence[str], again: Sequence[int]) -> pd.DataFrame:
    """The manifest of a shard, one row per image. again: positions of images that were made again."""
    name = f"{task.method}-{task.generator}-{task.scope}-{task.replicate:03d}"
    name += f"-n{task.n}-run{task.run}" if task.own else ""
    parents = pd.DataFrame(task.parents)
    return pd.DataFrame(
        {
            "image_id": parents["image_id"] + f"-{name}",
            "parent": parents["image_id"],
            "condition": task.condition,
            "fst": parents["fst"],
            "fst_group": parents["fst_group"],
            "method": task.method,
            "generator": task.generator,
            "generator_key": task.key,
            "scope": task.scope,
            "replicate": task.replicate,
            "seed": seeds_,
            "flags": np.asarray(flags, dtype=str),
            "made_again": np.isin(range(len(parents)), again),
            "prompt": prompts(task, task.parents),
            **task.own,
        }
    )


def table(keys: Sequence[str]) -> pd.DataFrame:
    """The table `synthetic`: the manifests of the shards, with `unit`, `row`, and `n` and `run` (0 and -1 where
    shared).

    Raises ValueError where ids repeat.
    """
    parts = []
    for key in keys:
        rows = pd.read_parquet(store.folder("shard", key) / "rows.parquet").drop(columns="sha256")
        parts.append(rows.assign(unit=key, row=np.arange(len(rows)), n=rows.get("n", 0), run=rows.get("run", -1)))
    frame = pd.concat(parts, ignore_index=True)
    twice = frame.loc[frame["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise ValueError(f"synthetic images repeat, first {twice.iloc[0]!r}: two entries of the plan overlap")
    return frame


def generators(frame: pd.DataFrame) -> dict[Model, Taught]:
    """The generators of the table `generators`. An untouched base stands for every condition and for all."""
    known = {}
    names = frame.loc[frame["condition"] != "all", "condition"].unique()
    identity, taught = Model.names(), ("key", "weights", "image_size", "prompt", "add_skin_type")
    for row in frame.to_dict("records"):
        base = Reference.read(json.loads(row["reference"]))
        for condition in ["all", *names] if row["generator"] == "base" else [row["condition"]]:
            model = Model(**{name: row[name] for name in identity} | {"condition": condition})
            known[model] = Taught(base=base, **{name: row[name] for name in taught})
    return known
