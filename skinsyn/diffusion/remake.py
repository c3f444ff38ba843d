"""One image of a manifest made again: with its original batch, byte for byte, and alone, to within rounding."""

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
from .sampling import to_bytes
from .settings import ShardTask

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
    row = table[table["image_id"] == image_id]
    if row.empty:
        near = difflib.get_close_matches(image_id, table["image_id"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no synthetic image {image_id!r} in the run {profile!r}{hint}")
    unit, place = row["unit"].iloc[0], int(row["row"].iloc[0])
    about = store.manifest("shard", unit)["about"]
    if about.get("of") == "published images":
        raise ValueError(f"{image_id} was imported; how it was made is not known")
    task = ShardTask.read(about)
    generation.check_weights(task)
    rows = pd.read_parquet(store.folder("shard", unit) / "rows.parquet")
    compute.set_threads(task.threads)
    start = generation.starts(task, pixels(task.parents, task.image_size))
    again = bool(rows["made_again"][place])
    # What was sampled together: of the second attempt those that were made again, of the first all.
    able = np.flatnonzero(rows["made_again"]) if again else np.arange(len(rows))
    first = int(np.searchsorted(able, place)) // task.batch_size * task.batch_size
    batch = able[first : first + task.batch_size].tolist()
    content = images.encode(to_bytes(generation.draw(task, batch, start, again)[0])[batch.index(place)])
    alone = to_bytes(generation.draw(task, [place], start, again)[0])[0]
    file = paths.run_dir(profile) / "remade" / f"{image_id}.webp"
    with files.atomic(file) as temporary:
        temporary.write_bytes(content)
    off = np.abs(images.read_shard(unit)[1][place].astype(int) - alone)
    same = hashlib.sha256(content).hexdigest() == rows["sha256"][place]
    seed = int(rows["seed"][place])
    return Remade(image_id, unit, len(batch), seed, same, int(off.max()), float((off > 0).mean()), file)
