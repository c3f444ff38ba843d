"""Embeddings: images as the classifier's frozen body sees them, kept per shard and shared with the training grid."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skinsyn.classifier import features
from skinsyn.run import compute

__all__ = ["of_images", "of_shards"]


def of_shards(
    keys: Sequence[str], body: str = features.LITE0, image_size: int = 128, threads: int = 2, executor: str = "serial"
) -> tuple[pd.DataFrame, np.ndarray]:
    """All images of the shards: a frame (image_id, unit), and float32 (n, d) in its order, made once and kept."""
    asked = {"body": body, "image_size": image_size, "views": [0], "image_ids": None, "seed": 0, "threads": threads}
    made = compute.fan_out(executor, features.extract, [({**asked, "shard": key},) for key in keys], "embeddings")
    loaded = [features.load_features(key) for key in made]
    frame = pd.concat([pd.DataFrame({"image_id": ids, "unit": unit}) for unit, (ids, _) in zip(keys, loaded, strict=True)])
    return frame.reset_index(drop=True), np.concatenate([found[0] for _, found in loaded])


def of_images(frame: pd.DataFrame, **asked: object) -> np.ndarray:
    """The images of a table (image_id, unit) in its order, float32 (n, d). asked: as `of_shards`.

    Raises KeyError where an image is not in the shard that the table names.
    """
    held, found = of_shards(sorted(frame["unit"].unique()), **asked)
    place = pd.Series(np.arange(len(held)), index=pd.MultiIndex.from_frame(held[["unit", "image_id"]]))
    return found[place.loc[list(zip(frame["unit"], frame["image_id"], strict=True))].to_numpy()]
