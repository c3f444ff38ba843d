"""One image of a manifest made again: with the batch it was made in, byte for byte, and alone, to within rounding."""

import difflib
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.images import pixels
from skinsyn.run import compute, files, paths, store, tables

from . import generation
from .sampling import sample, to_bytes

__all__ = ["Remade", "image"]


class Remade(NamedTuple):
    """identical: the same bytes with its batch. largest, share: made alone, the largest difference [of 255 grey levels]
    and the share of values that differ. batch: images made together. seed: of the image. file: where it lies now."""

    image_id: str
    unit: str
    batch: int
    seed: int
    identical: bool
    largest: int
    share: float
    file: Path


def image(profile: str, image_id: str) -> Remade:
    """Make an image of the table `synthetic` again and write it to `runs/<profile>/remade/<image_id>.webp`.

    Raises ValueError for an unknown id (with the nearest known one) or an imported image, FileNotFoundError where the
    generator, the parents or the first stage are no longer in the store.
    """
    table = tables.read(profile, "synthetic", made_by="03_generation")
    found = table[table["image_id"] == image_id]
    if found.empty:
        near = difflib.get_close_matches(image_id, table["image_id"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no synthetic image {image_id!r} in the run {profile!r}{hint}")
    unit, place = found["unit"].iloc[0], int(found["row"].iloc[0])
    task = {**generation.USUAL, **store.manifest("shard", unit)["about"]}
    if task.get("of") == "published images":
        raise ValueError(f"{image_id} was imported; how it was made is not known")
    if task["first"]:
        task["first"] = {**generation.USUAL, **task["first"]}
    generation.check_weights(task)
    rows = pd.read_parquet(store.folder("shard", unit) / "rows.parquet")
    compute.set_threads(task["threads"])
    together = _together(rows, place, task["batch_size"])
    drawn = _draw(task, rows, together)[together.index(place)]
    content = images.encode(drawn)
    alone = _draw(task, rows, [place])[0]
    file = paths.run_dir(profile) / "remade" / f"{image_id}.webp"
    with files.atomic(file) as temporary:
        temporary.write_bytes(content)
    off = np.abs(images.read_shard(unit)[1][place].astype(int) - alone)
    same = hashlib.sha256(content).hexdigest() == rows["sha256"][place]
    seed = int(rows["seed"][place])
    return Remade(image_id, unit, len(together), seed, same, int(off.max()), float((off > 0).mean()), file)


def _together(rows: pd.DataFrame, place: int, batch_size: int) -> list[int]:
    """Rows that were sampled together with row `place`: of the second attempt where it was made again, else of the
    first."""
    again = rows["made_again"].to_numpy()
    able = np.flatnonzero(again) if again[place] else np.arange(len(rows))
    start = int(np.searchsorted(able, place)) // batch_size * batch_size
    return able[start : start + batch_size].tolist()


def _draw(task: dict, rows: pd.DataFrame, chosen: list[int]) -> np.ndarray:
    """The chosen rows sampled in one batch, uint8 (n, s, s, 3); in a first attempt all of them had their first seed."""
    again = rows["made_again"][chosen].all()
    parents = [task["parents"][i] for i in chosen]
    seeds_ = [generation.seed_of(task, row["image_id"], again=bool(again)) for row in parents]
    start = generation.starts(task, pixels(task["parents"], task["image_size"]))[chosen]
    if generation.hands_on(task):
        return to_bytes(generation.decode(task, generation.latents(task, parents, start, seeds_)))
    return to_bytes(sample(task, parents, start, seeds_))
