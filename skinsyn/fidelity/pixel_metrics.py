"""Pixel metrics of images, computed per shard and kept: perceptual hash and skin tone."""

from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from skinsyn import images
from skinsyn.run import compute, store

from . import skin_tone

__all__ = ["measure", "of_images"]

RECIPE = 1
SIDE = 128  # pixels a side at most for skin tone: medians over the skin need no more


def measure(shard: str) -> str:
    """Key of the kept unit of one shard: image_id, phash (8 bytes), ita (degrees), skin (share of the pixels).

    Source of the hash: ImageHash, `phash`. ita and skin: `skin_tone.measure`, the skin found without a mask.
    """
    key = store.key_of("looks", RECIPE, {"side": SIDE}, {"shard": shard}, threads=0)

    def make(folder: Path) -> None:
        rows, pixels = images.read_shard(shard)
        hashes = [np.packbits(imagehash.phash(Image.fromarray(one)).hash).tobytes() for one in pixels]
        small = (one if len(one) <= SIDE else images.prepare(one, SIDE) for one in pixels)
        tones = pd.DataFrame([skin_tone.measure(one) for one in small])
        metrics = pd.concat([rows[["image_id"]].assign(phash=hashes), tones], axis=1)
        metrics.to_parquet(folder / "looks.parquet", index=False, compression="zstd")

    store.keep("looks", key, make, {"shard": shard, "side": SIDE})
    return key


def of_images(frame: pd.DataFrame, executor: str = "serial") -> tuple[np.ndarray, pd.DataFrame]:
    """The images of a table (image_id, unit) in its order: hashes, bool (n, 64), and a frame with ita and skin.

    Shards are measured whole, once. Raises KeyError where an image is not in the shard that it names.
    """
    units = sorted(frame["unit"].unique())
    keys = compute.fan_out(executor, measure, [(unit,) for unit in units], "pixel metrics")
    tables = [pd.read_parquet(store.folder("looks", key) / "looks.parquet") for key in keys]
    parts = [part.assign(unit=unit) for unit, part in zip(units, tables, strict=True)]
    metrics = (
        pd.concat(parts).set_index(["unit", "image_id"]).loc[list(zip(frame["unit"], frame["image_id"], strict=True))]
    )
    hashes = np.unpackbits(np.stack([np.frombuffer(one, np.uint8) for one in metrics["phash"]]), axis=1).astype(bool)
    return hashes, metrics[["ita", "skin"]].set_axis(frame.index)
