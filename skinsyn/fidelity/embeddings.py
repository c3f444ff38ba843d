"""Embeddings: images as the classifier's frozen body sees them, kept per shard and shared with the training grid."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinsyn.classifier import features
from skinsyn.run import compute

__all__ = ["of_images", "of_shards", "with_transforms"]


def of_shards(
    keys: Sequence[str],
    body: str = features.LITE0,
    image_size: int = 128,
    threads: int = 2,
    executor: str = "serial",
    views: Sequence[int] = (0,),
    seed: int = 0,
    only: Mapping[str, list[str]] | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Images of the shards: a frame (image_id, unit), and float32 (views, n, d) in its order, made once and kept.

    views: 0 is the image itself, v ≥ 1 its v-th random transform, drawn from `seed`. only: the image ids wanted of each
    shard (key → ids); None for all.
    """
    whole = features.Extraction("", body, image_size, list(views), seed=seed, threads=threads)
    tasks = [(whole.but(shard=key, image_ids=only and only[key]),) for key in keys]
    kept = compute.fan_out(executor, features.extract, tasks, "embeddings")
    ids, arrays = zip(*(features.load_features(key) for key in kept), strict=True)
    frames = [pd.DataFrame({"image_id": names, "unit": unit}) for unit, names in zip(keys, ids, strict=True)]
    return pd.concat(frames, ignore_index=True), np.concatenate(arrays, axis=1)


def of_images(frame: pd.DataFrame, **settings: Any) -> np.ndarray:
    """The images of a table (image_id, unit) in its order, float32 (n, d). settings: as `of_shards`.

    Shards are embedded whole, since 04 wants them, too. Raises KeyError where an image is not in the shard that it
    names.
    """
    embedded, array = of_shards(sorted(frame["unit"].unique()), **settings)
    return array[0, _places(embedded, frame)]


def with_transforms(frame: pd.DataFrame, views: int, seed: int, **settings: Any) -> np.ndarray:
    """The images of a table and `views` random transforms of each, float32 (1 + views, n, d). Raises as `of_images`."""
    plain = of_images(frame, **settings)[None]
    if not views:
        return plain
    only = {unit: sorted(part) for unit, part in frame.groupby("unit")["image_id"]}
    embedded, array = of_shards(sorted(only), views=range(1, views + 1), seed=seed, only=only, **settings)
    return np.concatenate([plain, array[:, _places(embedded, frame)]])


def _places(index: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    """Where each image of a table stands among those held."""
    place = pd.Series(np.arange(len(index)), index=pd.MultiIndex.from_frame(index[["unit", "image_id"]]))
    return place.loc[list(zip(frame["unit"], frame["image_id"], strict=True))].to_numpy()
