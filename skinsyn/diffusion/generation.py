"""Generation: shards of synthetic images, planned, kept and listed; what is in a shard decides its name, its seeds
too."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.images import pixels
from skinsyn.run import compute, seeds, store

from .sampling import METHODS, SCHEDULERS, decode, flag, hands_on, latents, prompts, sample, to_bytes

__all__ = [
    "METHODS",
    "flag",
    "generate",
    "generators",
    "key_of",
    "keys_of",
    "plan",
    "preview",
    "rows_of",
    "sample",
    "seed_of",
    "table",
]

RECIPE = 2  # 2: channels last, whose sums round otherwise
# What decides a shard besides its generator, parents and threads; the notebook's parameters of the same names.
SETTINGS = (
    "sampling_steps", "guidance_scale", "mask_fraction", "strength_inpaint", "strength_outpaint", "outpaint_border",
    "batch_size", "near_copy_distance", "dtype", "seed", "strength_img2img", "scheduler", "preset",
)  # fmt: skip
# Settings that may be left out, and what they then are. Of these, what is as it was before there was a choice is in no
# key.
USUAL = {"strength_img2img": 0.6, "scheduler": "dpm-solver", "preset": "exact"}
NEUTRAL = ("scheduler", "preset")
PRESETS = ("exact", "fast")
LATENTS = "latents.npy"  # float16 (n, 4, h, w), beside the images of a first stage in the preset `fast`
TAUGHT = ("image_size", "prompt", "add_skin_type")  # a generator is asked as it was taught
ROW = ["image_id", "condition", "fst", "fst_group", "unit", "row"]


def plan(
    frame: pd.DataFrame,
    generators: Mapping[tuple[str, str, str], dict],
    entries: Sequence[dict],
    settings: dict,
    threads: int,
    subsets: pd.DataFrame | None = None,
) -> list[dict]:
    """JSON-able tasks of `generate`, each once, those of one model side by side.

    frame: source images (ROW's columns). generators: as `generators` gives them; condition 'all' is the one model of
    all conditions. entries: what to make, each {method, generator, scope, replicates} and optionally sources (at most
    so many a condition, first by image_id), rank (those alone whose `rank` in `frame` lies below it) and by_run (n: the
    models of each run's own with n real images of each class, for the children of those in `subsets`, a table of 01; 0:
    of all). One task is one condition's sources (at most 1,000) in one replicate, so that more replicates extend what
    exists. Raises ValueError for a missing setting, unknown words, or a generator that was not made.
    """
    settings = _checked(settings)
    tasks: dict[str, dict] = {}
    for entry, own in [(one, own) for one in entries for own in _models(one, generators)]:
        able = frame[frame["rank"] < entry["rank"]] if "rank" in entry else frame
        if own and own["n"]:
            ranked = subsets[(subsets["run"] == own["run"]) & (subsets["rank"] < own["n"])]
            able = able[able["image_id"].isin(ranked["image_id"])]
        for condition, mine in able.groupby("condition", sort=True):
            chosen = mine.sort_values("image_id").head(entry.get("sources", len(mine)))
            sources = json.loads(chosen[ROW].to_json(orient="records"))
            wanted = (
                entry["generator"],
                METHODS[entry["method"]],
                condition if entry["scope"] == "condition" else "all",
            )
            wanted += tuple(own.values())
            if wanted not in generators:
                raise ValueError(
                    f"{entry}: no generator {wanted} was made by 02_dreambooth; made: {sorted(generators)[:8]}"
                )
            about = {
                **{s: settings[s] for s in SETTINGS},
                **generators[wanted],
                "condition": condition,
                "threads": threads,
            }
            about |= {name: entry[name] for name in ("method", "generator", "scope")} | {"first": {}, **own}
            for replicate in range(entry["replicates"]):
                for start in range(0, len(sources), images.SHARD_IMAGES):
                    task = {**about, "replicate": replicate, "parents": sources[start : start + images.SHARD_IMAGES]}
                    if entry["method"] == "in-then-outpaint":
                        task["first"] = {**task, "method": "inpaint"}
                    tasks[key_of(task)] = task
    nested = {key_of(task["first"]) for task in tasks.values() if task["first"]}
    return [task for key, task in tasks.items() if key not in nested]


def _models(entry: dict, generators: Mapping[tuple, dict]) -> list[dict]:
    """{} for shared models, or {n, run} of each run that has models of its own. Raises ValueError where none has."""
    _check(entry)
    if "by_run" not in entry:
        return [{}]
    found = sorted({key[3:] for key in generators if len(key) == 5 and key[3] == entry["by_run"]})
    if not found:
        raise ValueError(
            f"{entry}: no model of a run's own with n = {entry['by_run']}; add it to by_run of 02_dreambooth"
        )
    return [{"n": n, "run": run} for n, run in found]


def _checked(settings: dict) -> dict:
    """The settings, complete. Raises ValueError for a missing one, an unknown scheduler or preset."""
    settings = {**USUAL, **settings}
    if lacking := sorted(set(SETTINGS) - set(settings)):
        raise ValueError(f"generation: settings missing: {lacking}")
    for name, known in (("scheduler", SCHEDULERS), ("preset", PRESETS)):
        if settings[name] not in known:
            raise ValueError(f"generation: {name} is {settings[name]!r}, expected one of {', '.join(known)}")
    return settings


def keys_of(tasks: Sequence[dict]) -> list[str]:
    """Keys of all shards that the tasks make, first stages before what is made from them."""
    return [key_of(part) for task in tasks for part in (task["first"], task) if part]


def _check(entry: dict) -> None:
    known = {"method": METHODS, "generator": ("fine-tuned", "base"), "scope": ("condition", "all")}
    wrong = [
        f"{name} = {entry.get(name)!r}, expected one of {list(words)}"
        for name, words in known.items()
        if entry.get(name) not in words
    ]
    strange = sorted(set(entry) - {*known, "replicates", "sources", "rank", "by_run"})
    if wrong or strange or not isinstance(entry.get("replicates"), int):
        raise ValueError(f"plan entry {entry}: {'; '.join(wrong) or f'unknown {strange} or replicates missing'}")


def key_of(task: dict) -> str:
    """The key of the shard that a task makes. Settings that its method does not use are not in it.

    It holds the digest of the generator's weights: the same recipe may end in other bytes on another processor.
    """
    task = {**USUAL, **task}  # a manifest of before there was a choice
    painting = {"mask_fraction", "strength_inpaint", "strength_outpaint", "outpaint_border"}
    used = {"inpaint": {"mask_fraction", "strength_inpaint"}, "in-then-outpaint": painting - {"strength_inpaint"},
            "img2img": {"strength_img2img"}}  # fmt: skip
    unused = (painting | {"strength_img2img"}) - used.get(task["method"], set()) | {
        "base",
        "key",
        "weights",
        "first",
        "threads",
    }
    unused |= {name for name in NEUTRAL if task[name] == USUAL[name]}
    if task["method"] == "gan":
        unused |= {"sampling_steps", "guidance_scale", "dtype", "prompt", "add_skin_type", *NEUTRAL}
    parameters = {k: v for k, v in task.items() if k not in unused}
    inputs = {
        "base": task["base"]["digest"],
        "generator": task["key"],
        "weights": task["weights"] if task["key"] else "",
        "first": key_of(task["first"]) if task["first"] else "",
    }
    return store.key_of("shard", RECIPE, parameters, inputs, task["threads"])


def seed_of(task: dict, parent: str, again: bool = False) -> int:
    """The seed of one image, from what it is: never from weights, batch, shard or worker.

    An untouched base counts by the last part of its name, so that a folder's place or a mirror of the hub changes
    nothing.
    """
    model = task["key"] or task["base"]["name"].rstrip("/").rpartition("/")[2]
    stage = "out" if task["method"] == "in-then-outpaint" else "in"
    parts = [task["seed"], model, task["method"], stage, task["condition"], parent, task["replicate"]]
    return seeds.seed_of(*parts, *(["again"] if again else []))


def generate(task: dict) -> str:
    """Make the shard of a task from `plan`, and its first stage, where not kept already; its key (store kind 'shard').

    Images that hold NaN, show nothing or nearly copy their parent are made once more with another seed and flagged if
    they do so again. Batches follow the sorted ids of the parents. Raises FileNotFoundError where generator or parents
    are missing.
    """
    key = key_of(task)
    if task["first"]:
        generate(task["first"])

    def make(folder: Path) -> dict:
        check_weights(task)
        compute.set_threads(task["threads"])
        parents = pixels(task["parents"], task["image_size"])
        start = starts(task, parents)
        seeds_ = [seed_of(task, row["image_id"]) for row in task["parents"]]
        made, flags, handed = _attempt(task, task["parents"], start, parents, seeds_)
        again = np.flatnonzero(flags != "")
        if len(again):
            rows = [task["parents"][i] for i in again]
            fresh = [seed_of(task, row["image_id"], again=True) for row in rows]
            made[again], flags[again], other = _attempt(task, rows, start[again], parents[again], fresh)
            for i, seed in zip(again, fresh, strict=True):
                seeds_[i] = seed
            if len(handed):
                handed[again] = other
        if len(handed):
            np.save(folder / LATENTS, handed.astype(np.float16))
        rows = rows_of(task, seeds_, flags, set(again))
        images.write_shard(folder, made, rows)
        return {"images": len(rows), "made_again": len(again), "flagged": int((flags != "").sum())}

    store.keep("shard", key, make, task)
    return key


def check_weights(task: dict) -> None:
    """Raises ValueError where the kept generator holds other bytes than those that the task was planned for."""
    if task["key"] and store.content("generator", task["key"]) != task["weights"]:
        raise ValueError(
            f"generator/{task['key']}: its weights are not those that this was planned for; run 02_dreambooth again"
        )


def starts(task: dict, parents: np.ndarray) -> np.ndarray:
    """What each image starts from: its parent, uint8 (n, s, s, 3), or what the first stage made of it, or its
    latents."""
    if not task["first"]:
        return parents
    first = key_of(task["first"])
    if hands_on(task["first"]):
        return np.load(store.folder("shard", first) / LATENTS, allow_pickle=False).astype(np.float32)
    return images.read_shard(first)[1]


def _attempt(
    task: dict, rows: Sequence[dict], start: np.ndarray, parents: np.ndarray, seeds_: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample the rows' images and judge them: uint8 (n, s, s, 3), flags (n,), latents to hand on (n, 4, h, w) or
    (0,)."""
    found, flags, handed = [], [], [np.zeros(0)]
    for first in range(0, len(rows), task["batch_size"]):
        part = slice(first, first + task["batch_size"])
        if hands_on(task):
            handed.append(latents(task, rows[part], start[part], seeds_[part]))
            drawn = decode(task, handed[-1])
        else:
            drawn = sample(task, rows[part], start[part], seeds_[part])
        found.append(to_bytes(drawn))
        flags += [
            flag(d, f, p, task["near_copy_distance"]) for d, f, p in zip(drawn, found[-1], parents[part], strict=True)
        ]
    return np.concatenate(found), np.array(flags, dtype=object), np.concatenate(handed[1:] or handed)


def preview(
    tasks: Sequence[dict], keys: Sequence[str], settings: dict, threads: int
) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """One text-to-image sample of each fine-tuned model and of its untouched base, from the same seed. Nothing is kept.

    tasks, keys: of `dreambooth.fine_tune`. settings: SETTINGS. Returns the rows (first image of each task's own), then
    before and after, each uint8 (n, s, s, 3).
    """
    compute.set_threads(threads)
    rows = [task["images"][0] for task in tasks]
    columns = []
    for models in ([""] * len(tasks), keys):  # the base first, so that it is loaded once
        for task, row, key in zip(tasks, rows, models, strict=True):
            taught = {name: task[name] for name in TAUGHT}
            about = {**USUAL, **settings, **taught, "method": "text-to-image", "base": task["base"], "key": key}
            columns.append(
                sample(about, [row], np.zeros(0), [seeds.seed_of(settings["seed"], "preview", row["image_id"])])[0]
            )
    before, after = np.split(to_bytes(np.stack(columns)), 2)
    return rows, before, after


def rows_of(task: dict, seeds_: Sequence[int], flags: Sequence[str], again: set) -> pd.DataFrame:
    """The manifest of a shard, a row an image."""
    own = {name: task[name] for name in ("n", "run") if name in task}  # of models of a run's own
    name = f"{task['method']}-{task['generator']}-{task['scope']}-{task['replicate']:03d}"
    name += f"-n{own['n']}-run{own['run']}" if own else ""
    parents = pd.DataFrame(task["parents"])
    return pd.DataFrame(
        {
            "image_id": parents["image_id"] + f"-{name}",
            "parent": parents["image_id"],
            "condition": task["condition"],
            "fst": parents["fst"],
            "fst_group": parents["fst_group"],
            "method": task["method"],
            "generator": task["generator"],
            "generator_key": task["key"],
            "scope": task["scope"],
            "replicate": task["replicate"],
            "seed": seeds_,
            "flags": np.asarray(flags, dtype=str),
            "made_again": [i in again for i in range(len(parents))],
            "prompt": prompts(task, task["parents"]),
            **own,
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


def generators(frame: pd.DataFrame) -> dict[tuple[str, str, str], dict]:
    """What `plan` wants of the table `generators`: (generator, task, condition), of a run's own (…, n, run), → its
    facts."""
    found = {}
    names = frame.loc[frame["condition"] != "all", "condition"].unique()
    for row in frame.to_dict("records"):
        for condition in ["all", *names] if row["generator"] == "base" else [row["condition"]]:
            own = (row["n"], row["run"]) if row["run"] >= 0 else ()
            found[row["generator"], row["task"], condition, *own] = {
                "key": row["key"],
                "weights": row["weights"],
                "base": json.loads(row["reference"]),
                **{name: row[name] for name in TAUGHT},
            }
    return found
