"""The books of the whole study at its own scale, without a pixel: are plan, manifests and tables fit for 458,920
images?

    python -m bench.full_scale

Planners, keys, store, manifests and queries are the real ones; only drawing is left out, so a shard holds its rows
alone.
"""

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from skinsyn.datasets import fitzpatrick17k
from skinsyn.diffusion import exposure, generation
from skinsyn.diffusion.settings import Model, Reference, Sampling, ShardTask, Taught, read_plan
from skinsyn.run import store

from . import timing

__all__ = ["IMAGES", "run"]

IMAGES = 458_920  # that the study made (arXiv 2308.12453)
FOLLICULITIS = 191  # the tenth condition's training images, generated and left out of classification
PLAN = [  # 75 + 2 · 10 + 2 · 10 + 10 + 5 = 130 per source of 3,530, and 2 more of each condition
    {"method": "text-to-image", "generator": "fine-tuned", "scope": "condition", "replicates": 75},
    {"method": "in-then-outpaint", "generator": "fine-tuned", "scope": "condition", "replicates": 10},
    {"method": "in-then-outpaint", "generator": "base", "scope": "condition", "replicates": 10},
    {"method": "text-to-image", "generator": "base", "scope": "condition", "replicates": 10},
    {"method": "img2img", "generator": "base", "scope": "condition", "replicates": 5},
    {"method": "img2img", "generator": "fine-tuned", "scope": "condition", "replicates": 1, "sources": 2},
]

TWO_STAGES = ("in-then-outpaint",)


def _sources() -> pd.DataFrame:
    counts = {**fitzpatrick17k.PUBLISHED_TRAINING, "folliculitis": FOLLICULITIS}
    rows = [
        {"image_id": f"{n:02d}{i:030x}", "condition": c} for n, (c, k) in enumerate(counts.items()) for i in range(k)
    ]
    return pd.DataFrame(rows).assign(fst=3, fst_group="III-IV", unit="0" * 24, row=range(len(rows)), split="train")


def _models(conditions: list[str]) -> dict[Model, Taught]:
    base = Reference(name="base", digest="0" * 24)
    models = {}
    for task in ("text-to-image", "inpainting"):
        for number, condition in enumerate(conditions):
            # '' in the place of a fine-tuned model's key: there is no manifest of one to read
            own = Taught(base=base.but(name=f"{task}-{number}"))
            models[Model(task=task, condition=condition)] = own
            models[Model(generator="base", task=task, condition=condition)] = Taught(base=base)
    return models


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begun, 2)


def run(limit: int | None = None, entries: Sequence[dict] = PLAN) -> dict[str, Any]:
    """Plan, keep, list and query; returns what was counted, seconds of each part, and the most memory used [MB].

    limit: sources of each condition, and entries: what is made of them, for a short trial. Nothing is left on disk.
    Raises AssertionError where the books do not balance.
    """
    seconds: dict[str, float] = {}
    frame = _sources() if limit is None else _sources().groupby("condition").head(limit)
    with timing.own_store():
        with _timed(seconds, "plan"):
            models = _models(sorted(frame["condition"].unique()))
            work = generation.plan(frame, models, read_plan(entries), Sampling(dtype="bf16"), 1)
            stages = [stage for task in work for stage in task.stages()]
            keys = generation.keys_of(work)
        with _timed(seconds, "keep"):
            for key, task in zip(keys, stages, strict=True):
                store.keep("shard", key, lambda folder, task=task: _write(folder, task), task.json())
        with _timed(seconds, "nothing is made twice"):
            assert not [key for key in keys if store.missing("shard", key)]
        with _timed(seconds, "table"):
            table = generation.table(keys)
        with _timed(seconds, "exposure"):
            table, _ = exposure.table(table)
        with _timed(seconds, "query: one image"):
            one = table.loc[table["image_id"] == table["image_id"].iloc[len(table) // 2]]
        with _timed(seconds, "query: children of one condition"):
            some = table[(table["condition"] == "psoriasis") & (table["method"] == "text-to-image")]
        with _timed(seconds, "query: counts of every group"):
            groups = table.groupby(["condition", "method", "generator", "replicate"]).size()
    sizes = frame.groupby("condition").size()
    expected = sum(
        int(sizes.clip(upper=entry.get("sources", 10**9)).sum())
        * entry["replicates"]
        * (1 + (entry["method"] in TWO_STAGES))
        for entry in entries
    )
    assert len(table) == expected == groups.sum(), (len(table), expected)
    assert len(one) == 1 and len(some) and table["image_id"].is_unique and table["seed"].is_unique
    assert set(table["parent"]) == set(frame["image_id"]) and len(keys) == len(set(keys)) == len(stages)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"images": len(table), "shards": len(keys), "sources": len(frame), **seconds, "memory, MB": memory}


def _write(folder: Path, task: ShardTask) -> None:
    seeds_ = [generation.seed_of(task, row["image_id"]) for row in task.parents]
    rows = generation.rows_of(task, seeds_, ["" for _ in seeds_], [])
    (folder / "images.tar").touch()
    rows.assign(sha256="0" * 64).to_parquet(folder / "rows.parquet", index=False, compression="zstd")


if __name__ == "__main__":
    for what, value in run().items():
        print(f"{what}: {value:,}" if isinstance(value, int) else f"{what}: {value}")
