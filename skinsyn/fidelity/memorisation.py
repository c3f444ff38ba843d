"""Memorisation: which synthetic images lie nearer to a training image than real test images do?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from . import MODEL, clustered, distances, distributions, groups

__all__ = ["FLAG", "filtered", "find", "pairs", "shares"]

FLAG = "memorised"  # as it stands in the `flags` of a synthetic image


def find(
    rows: pd.DataFrame,
    synthetic: np.ndarray,
    images: pd.DataFrame,
    real: np.ndarray,
    bits: tuple[np.ndarray, np.ndarray],
    quantile: float = 0.99,
) -> pd.DataFrame:
    """Each synthetic image's nearest training image, against the null of real test images' nearest training images.

    rows: synthetic images (image_id, parent, condition, MODEL), synthetic: float (n, d); images: real images (image_id,
    cluster_id, split), real: float (m, d). bits: hashes (`pixel_metrics`) of both, bool (n, 64) and (m, 64). quantile:
    of the null's cosine similarity, above which an image counts as memorised; a model that memorises nothing has a
    share of about 1 - quantile. Returns image_id, parent, cluster_id (the parent's), condition, MODEL, nearest
    (image_id), similarity, threshold, p (1 + test images at least as near, over 1 + all), of_parent (the nearest is the
    own source), bits (pHash distance to the nearest), bits_threshold (the same quantile of the null, from below) and
    memorised. Raises ValueError where no training or no test image is there, or a parent is not among the images.

    >>> images = pd.DataFrame({"image_id": list("abcd"), "cluster_id": list("abcd"), "split": ["train", "test"] * 2})
    >>> rows = pd.DataFrame({"image_id": ["s"], "parent": "a", "condition": "target", **dict.fromkeys(MODEL, "m")})
    >>> real, bits = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.9]]), np.zeros((4, 64), bool)
    >>> find(rows, np.array([[1.0, 0.0]]), images, real, (bits[:1], bits))[["nearest", "of_parent", "memorised"]]
      nearest  of_parent  memorised
    0       a       True       True
    """
    training, test = (np.flatnonzero(images["split"] == split) for split in ("train", "test"))
    if not len(training) or not len(test):
        raise ValueError(f"memorisation needs real training and test images; got {len(training)} and {len(test)}")
    ours, theirs = bits
    similarity, place = (first[:, 0] for first in distributions.nearest(synthetic, real[training]))
    null, null_place = (first[:, 0] for first in distributions.nearest(real[test], real[training]))
    # One of the values: an interpolated one would lie below the largest of a small null.
    threshold = float(np.quantile(null, quantile, method="higher"))
    exceeding = len(null) - np.searchsorted(np.sort(null), similarity, side="left")
    hash_distance = (ours != theirs[training[place]]).sum(1)
    null_hash_distance = (theirs[test] != theirs[training[null_place]]).sum(1)
    names = images["image_id"].to_numpy()[training[place]]
    return rows[["image_id", "parent", "condition", *MODEL]].assign(
        cluster_id=images["cluster_id"].to_numpy()[distances.places(rows["parent"], images)],
        nearest=names,
        similarity=similarity,
        threshold=threshold,
        p=(1 + exceeding) / (1 + len(null)),
        of_parent=names == rows["parent"].to_numpy(),
        bits=hash_distance,
        bits_threshold=int(np.quantile(null_hash_distance, 1 - quantile, method="lower")),
        memorised=similarity > threshold,
    )


def shares(table: pd.DataFrame, by: Sequence[str] = (*MODEL, "condition"), level: float = 0.95) -> pd.DataFrame:
    """The share of memorised images per model, with an interval whose clusters are the sources' (`clustered.share`).

    Returns by, memorised, low, high, images, clusters, of_parent, same_hash. of_parent: of the memorised ones, how many
    have their own source as the nearest. same_hash: share of all whose hash lies as near to the nearest training image
    as the nearest real ones do (`bits_threshold`).

    >>> table = pd.DataFrame({"method": "text", "memorised": [True, False], "of_parent": True, "bits": [9, 1]})
    >>> found = shares(table.assign(bits_threshold=4, cluster_id=["a", "b"]), ["method"])
    >>> found[["memorised", "of_parent", "same_hash"]].to_numpy().tolist()
    [[0.5, 1.0, 0.5]]
    """
    records = []
    for labels, places in groups(table, by):
        part = table.iloc[places]
        value, low, high, images, clusters = clustered.share(part["memorised"].to_numpy(), part["cluster_id"], level)
        own = int((part["memorised"] & part["of_parent"]).sum())
        same = float((part["bits"] <= part["bits_threshold"]).mean())
        row = labels | {"memorised": value, "low": low, "high": high}
        records.append(row | {"images": images, "clusters": clusters, "of_parent": own, "same_hash": same})
    return pd.DataFrame(records)


def pairs(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """The rows with the highest similarity, at most one a training image, so that one memory does not fill the sheet.

    >>> table = pd.DataFrame({"image_id": list("stu"), "nearest": list("aab"), "similarity": [0.9, 0.8, 0.7]})
    >>> pairs(table, 2)["image_id"].tolist()
    ['s', 'u']
    """
    return (
        table.sort_values(["similarity", "image_id"], ascending=[False, True]).drop_duplicates("nearest").head(number)
    )


def filtered(synthetic: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The table `synthetic` with FLAG in the `flags` of memorised images that had none.

    `use_flags` of the grid then leaves them out. Raises ValueError where an image of `synthetic` was not looked at.

    >>> synthetic = pd.DataFrame({"image_id": ["s", "t"], "flags": ["", "constant"]})
    >>> filtered(synthetic, pd.DataFrame({"image_id": ["s", "t"], "memorised": True}))["flags"].tolist()
    ['memorised', 'constant']
    """
    memorised = table.set_index("image_id")["memorised"].reindex(synthetic["image_id"])
    if memorised.isna().any():
        raise ValueError(
            f"the table of memorisation lacks {memorised.index[memorised.isna()][0]!r}; run 06_fidelity again"
        )
    return synthetic.assign(flags=synthetic["flags"].mask((synthetic["flags"] == "") & memorised.to_numpy(bool), FLAG))
