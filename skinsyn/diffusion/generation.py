"""Generation: shards of synthetic images by three methods, from real diffusers pipelines, one seed an image.

An inpainted image is kept as the pipeline decodes it: nothing of the parent is pasted back over the unmasked pixels, as in
the study's code, so that all of it has passed the same autoencoder and no seam gives the mask away.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline
from PIL import Image

from skinsyn import images
from skinsyn.run import compute, seeds, store

from . import dreambooth, masks
from .base_model import build_pipeline
from .references import load_base, pixels, prompt_of

__all__ = ["METHODS", "flag", "generate", "generators", "key_of", "keys_of", "plan", "preview", "sample", "seed_of", "table"]

RECIPE = 1
METHODS = {"text-to-image": "text-to-image", "inpaint": "inpainting", "in-then-outpaint": "inpainting"}  # → the UNet's task
CONSTANT = 2  # grey levels: an image that spans no more in any channel shows nothing
# What decides a shard besides its generator, parents and threads; the notebook's parameters of the same names.
SETTINGS = (
    "sampling_steps", "guidance_scale", "mask_fraction", "strength_inpaint", "strength_outpaint", "outpaint_border",
    "batch_size", "near_copy_distance", "dtype", "seed",
)  # fmt: skip
TAUGHT = ("image_size", "prompt", "add_skin_type")  # a generator is asked as it was taught
ROW = ["image_id", "condition", "fst", "fst_group", "unit", "row"]


def plan(
    frame: pd.DataFrame,
    generators: Mapping[tuple[str, str, str], dict],
    entries: Sequence[dict],
    settings: dict,
    threads: int,
) -> list[dict]:
    """JSON-able tasks of `generate`, each once, those of one model side by side.

    frame: source images (ROW's columns). generators: as `generators` gives them; condition 'all' is the one model of all
    conditions. entries: what to make, each {method, generator, scope, replicates} and optionally sources (at most so many
    a condition, first by image_id) and rank (those alone whose `rank` in `frame` lies below it). One task is one
    condition's sources (at most 1,000) in one replicate, so that more replicates extend what exists. Raises ValueError for
    a missing setting, unknown words, or a generator that was not made.
    """
    if lacking := sorted(set(SETTINGS) - set(settings)):
        raise ValueError(f"generation: settings missing: {lacking}")
    tasks: dict[str, dict] = {}
    for entry in entries:
        _check(entry)
        able = frame[frame["rank"] < entry["rank"]] if "rank" in entry else frame
        for condition, mine in able.groupby("condition", sort=True):
            chosen = mine.sort_values("image_id").head(entry.get("sources", len(mine)))
            sources = json.loads(chosen[ROW].to_json(orient="records"))
            wanted = (entry["generator"], METHODS[entry["method"]], condition if entry["scope"] == "condition" else "all")
            if wanted not in generators:
                raise ValueError(f"{entry}: no generator {wanted} was made by 02_dreambooth; made: {sorted(generators)[:8]}")
            about = {**{s: settings[s] for s in SETTINGS}, **generators[wanted], "condition": condition, "threads": threads}
            about |= {name: entry[name] for name in ("method", "generator", "scope")} | {"first": {}}
            for replicate in range(entry["replicates"]):
                for start in range(0, len(sources), images.SHARD_IMAGES):
                    task = {**about, "replicate": replicate, "parents": sources[start : start + images.SHARD_IMAGES]}
                    if entry["method"] == "in-then-outpaint":
                        task["first"] = {**task, "method": "inpaint"}
                    tasks[key_of(task)] = task
    nested = {key_of(task["first"]) for task in tasks.values() if task["first"]}
    return [task for key, task in tasks.items() if key not in nested]


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
    strange = sorted(set(entry) - {*known, "replicates", "sources", "rank"})
    if wrong or strange or not isinstance(entry.get("replicates"), int):
        raise ValueError(f"plan entry {entry}: {'; '.join(wrong) or f'unknown {strange} or replicates missing'}")


def key_of(task: dict) -> str:
    """The key of the shard that a task makes. Settings that its method does not use are not in it."""
    unused = {"text-to-image": {"mask_fraction", "strength_inpaint", "strength_outpaint", "outpaint_border"},
              "inpaint": {"strength_outpaint", "outpaint_border"}, "in-then-outpaint": {"strength_inpaint"}}  # fmt: skip
    parameters = {k: v for k, v in task.items() if k not in unused[task["method"]] | {"base", "key", "first", "threads"}}
    inputs = {
        "base": task["base"]["digest"],
        "generator": task["key"],
        "first": key_of(task["first"]) if task["first"] else "",
    }
    return store.key_of("shard", RECIPE, parameters, inputs, task["threads"])


def seed_of(task: dict, parent: str, again: bool = False) -> int:
    """The seed of one image, from what it is: never from weights, batch, shard or worker.

    An untouched base counts by the last part of its name, so that a folder's place or a mirror of the hub changes nothing.
    """
    model = task["key"] or task["base"]["name"].rstrip("/").rpartition("/")[2]
    stage = "out" if task["method"] == "in-then-outpaint" else "in"
    parts = [task["seed"], model, task["method"], stage, task["condition"], parent, task["replicate"]]
    return seeds.seed_of(*parts, *(["again"] if again else []))


def generate(task: dict) -> str:
    """Make the shard of a task from `plan`, and its first stage, where not kept already; its key (store kind 'shard').

    Images that hold NaN, show nothing or nearly copy their parent are made once more with another seed and flagged if they
    do so again. Batches follow the sorted ids of the parents. Raises FileNotFoundError where generator or
    parents are missing.
    """
    key = key_of(task)
    first = generate(task["first"]) if task["first"] else ""

    def make(folder: Path) -> dict:
        compute.set_threads(task["threads"])
        parents = pixels(task["parents"])
        start = images.read_shard(first)[1] if first else parents
        seeds_ = [seed_of(task, row["image_id"]) for row in task["parents"]]
        made, flags = _attempt(task, task["parents"], start, parents, seeds_)
        again = np.flatnonzero(flags != "")
        if len(again):
            rows = [task["parents"][i] for i in again]
            fresh = [seed_of(task, row["image_id"], again=True) for row in rows]
            made[again], flags[again] = _attempt(task, rows, start[again], parents[again], fresh)
            for i, seed in zip(again, fresh, strict=True):
                seeds_[i] = seed
        rows = _rows(task, seeds_, flags, set(again))
        images.write_shard(folder, made, rows)
        return {"images": len(rows), "made_again": len(again), "flagged": int((flags != "").sum())}

    store.keep("shard", key, make, task)
    return key


def _attempt(
    task: dict, rows: Sequence[dict], start: np.ndarray, parents: np.ndarray, seeds_: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sample the rows' images and judge them: uint8 (n, s, s, 3) and flags (n,)."""
    found, flags = [], []
    for first in range(0, len(rows), task["batch_size"]):
        part = slice(first, first + task["batch_size"])
        drawn = sample(task, rows[part], start[part], seeds_[part])
        found.append((np.nan_to_num(drawn) * 255).round().astype(np.uint8))
        flags += [flag(d, f, p, task["near_copy_distance"]) for d, f, p in zip(drawn, found[-1], parents[part], strict=True)]
    return np.concatenate(found), np.array(flags, dtype=object)


def flag(drawn: np.ndarray, image: np.ndarray, parent: np.ndarray, distance: int) -> str:
    """'nan', 'constant', 'near-copy' or ''.

    drawn: float (s, s, 3) as the pipeline gave it; image, parent: uint8 (s, s, 3). distance: the largest Hamming distance of
    64-bit perceptual hashes (pHash) that counts as a near-copy; below 0 none does.
    """
    if not np.isfinite(drawn).all():
        return "nan"
    if np.ptp(image.reshape(-1, 3).astype(int), axis=0).max() <= CONSTANT:
        return "constant"
    if distance < 0:
        return ""
    ours, theirs = (imagehash.phash(Image.fromarray(array)) for array in (image, parent))
    return "near-copy" if ours - theirs <= distance else ""


@lru_cache(maxsize=1)
def _pipeline(key: str, base: str, task: str, dtype: str) -> StableDiffusionPipeline | StableDiffusionInpaintPipeline:
    """The pipeline of a kept generator ('' is the untouched base), once a process while it is the one in use."""
    number = {"fp32": "float32", "bf16": "bfloat16"}[dtype]
    loaded = load_base(json.loads(base), task, number)
    pipeline = build_pipeline(loaded, dreambooth.load_unet(key, getattr(torch, number)) if key else None)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def sample(task: dict, rows: Sequence[dict], start: np.ndarray, seeds_: Sequence[int]) -> np.ndarray:
    """One batch: float (n, s, s, 3) in [0, 1] or NaN. Each image has a CPU generator of its own, on any device."""
    pipeline = _pipeline(task["key"], json.dumps(task["base"], sort_keys=True), METHODS[task["method"]], task["dtype"])
    given = {
        "prompt": prompts(task, rows),
        "num_inference_steps": task["sampling_steps"],
        "guidance_scale": task["guidance_scale"],
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds_],
        "height": task["image_size"],
        "width": task["image_size"],
        "output_type": "np",
    }
    if task["method"] != "text-to-image":
        size, fraction = task["image_size"], task["mask_fraction"]
        outside = task["method"] == "in-then-outpaint"
        mask = (
            masks.outside_square(size, fraction, task["outpaint_border"]) if outside else masks.centre_square(size, fraction)
        )
        given["image"] = torch.from_numpy(start).permute(0, 3, 1, 2).float() / 255
        given["mask_image"] = torch.from_numpy(mask).float().expand(len(rows), 1, size, size).clone()
        given["strength"] = task["strength_outpaint" if outside else "strength_inpaint"]
    return pipeline(**given).images


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
            about = {**settings, **taught, "method": "text-to-image", "base": task["base"], "key": key}
            columns.append(
                sample(about, [row], np.zeros(0), [seeds.seed_of(settings["seed"], "preview", row["image_id"])])[0]
            )
    before, after = np.split((np.nan_to_num(np.stack(columns)) * 255).round().astype(np.uint8), 2)
    return rows, before, after


def prompts(task: dict, rows: Sequence[dict]) -> list[str]:
    """Each image's prompt, the same sentence that its generator was taught."""
    return [prompt_of(r["condition"], r["fst"], task["prompt"], task["add_skin_type"]) for r in rows]


def _rows(task: dict, seeds_: Sequence[int], flags: np.ndarray, again: set) -> pd.DataFrame:
    """The manifest of a shard, a row an image."""
    name = f"{task['method']}-{task['generator']}-{task['scope']}-{task['replicate']:03d}"
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
            "flags": flags.astype(str),
            "made_again": [i in again for i in range(len(parents))],
            "prompt": prompts(task, task["parents"]),
        }
    )


def table(keys: Sequence[str]) -> pd.DataFrame:
    """The table `synthetic`: the manifests of the shards, with `unit` and `row`. Raises ValueError where ids repeat."""
    parts = []
    for key in keys:
        store.manifest("shard", key)
        rows = pd.read_parquet(store.unit_dir("shard", key) / "rows.parquet").drop(columns="sha256")
        parts.append(rows.assign(unit=key, row=np.arange(len(rows))))
    frame = pd.concat(parts, ignore_index=True)
    twice = frame.loc[frame["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise ValueError(f"synthetic images repeat, first {twice.iloc[0]!r}: two entries of the plan overlap")
    return frame


def generators(frame: pd.DataFrame) -> dict[tuple[str, str, str], dict]:
    """What `plan` wants of the table `generators`: (generator, task, condition) → what `plan` needs of it."""
    found = {}
    names = frame.loc[frame["condition"] != "all", "condition"].unique()
    for row in frame.to_dict("records"):
        for condition in ["all", *names] if row["generator"] == "base" else [row["condition"]]:
            found[row["generator"], row["task"], condition] = {
                "key": row["key"],
                "base": json.loads(row["reference"]),
                **{name: row[name] for name in TAUGHT},
            }
    return found
