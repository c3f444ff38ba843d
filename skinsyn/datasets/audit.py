"""Audit of a set of photographs: unreadable files, duplicates, unknown values, disagreement of annotators.

Exact duplicates share all pixels. Near-duplicates have perceptual hashes close to each other and look alike at 16 x 16;
on close-ups of skin the hash alone also links unlike photographs, so it only proposes and the thumbnails decide.
"""

import hashlib
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import cohen_kappa_score

from .. import images
from ..run import compute, files
from . import match

__all__ = ["agreement", "clusters", "measure", "near_duplicates", "quality"]

THUMBNAIL = 16
ALIKE = 0.9  # least correlation of two thumbnails for a pair that the hash proposes
BLOCK = 2048


def _describe(pixels: np.ndarray) -> dict:
    """Digest of pixels and shape, 64-bit perceptual hash (8 bytes), grey thumbnail (256 bytes), height, width."""
    picture = Image.fromarray(pixels)
    small = picture.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return {
        "pixel_sha256": hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
        "phash": np.packbits(imagehash.phash(picture).hash).tobytes(),
        "thumbnail": np.asarray(small).tobytes(),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
    }


def measure(table: pd.DataFrame, root: Path, max_pixels: int = images.MAX_PIXELS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode every image of the table once and describe it.

    Returns (facts of the readable images, in the table's order: image_id, file_sha256, pixel_sha256, phash, thumbnail,
    height, width; attrition of the unreadable ones, stage 'decoding').
    """
    facts, lost, reasons = [], [], []
    for image_id, path in compute.progress(list(zip(table["image_id"], table["path"], strict=True)), label="audit"):
        try:
            about = _describe(images.decode(path, root, max_pixels))
        except images.ImageError as error:
            lost.append(image_id)
            reasons.append(error.reason)
            continue
        facts.append({"image_id": image_id, "file_sha256": files.digest_file(root / path), **about})
    if not facts:
        raise ValueError(f"none of the {len(table)} images below {root} could be read; the first: {reasons[:1]}")
    return pd.DataFrame(facts), match.excluded(lost, "decoding", reasons)


def _unit_rows(thumbnails: pd.Series) -> np.ndarray:
    """Thumbnails as rows of mean 0 and length 1; a constant one becomes 0 and is like nothing."""
    grey = np.stack([np.frombuffer(t, np.uint8) for t in thumbnails]).astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    return grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)


def near_duplicates(facts: pd.DataFrame, distance: int, alike: float = ALIKE) -> pd.DataFrame:
    """Pairs whose perceptual hashes differ in at most `distance` of 64 bits and whose thumbnails correlate.

    distance: 0-64; -1 finds none. Exact duplicates are among them. alike: least correlation; -1 trusts the hash alone.
    Returns first, second (image_id), distance (bits), similarity (correlation), exact (bool).
    Source of the hash: ImageHash, `phash` (discrete cosine transform of 32 x 32 grey values, 8 x 8 lowest kept).
    """
    if not -1 <= distance <= 64:
        raise ValueError(f"near_duplicate_distance is {distance}: expected 0 to 64 bits, or -1 for no search")
    signs = (
        np.unpackbits(np.stack([np.frombuffer(h, np.uint8) for h in facts["phash"]]), axis=1).astype(np.float32) * 2 - 1
    )
    grey, pixels = _unit_rows(facts["thumbnail"]), facts["pixel_sha256"].to_numpy()
    links = []
    for start in range(0, len(facts), BLOCK):
        bits = np.rint((64 - signs[start : start + BLOCK] @ signs.T) / 2).astype(int)
        first, second = np.nonzero(bits <= distance)
        keep = second > first + start
        first, second = first[keep], second[keep]
        similar = np.einsum("ij,ij->i", grey[first + start], grey[second])
        exact = pixels[first + start] == pixels[second]
        keep = exact | (similar >= alike)
        links.append(np.stack([first + start, second, bits[first, second], similar.round(4), exact], axis=1)[keep])
    pairs = np.concatenate(links)
    names = facts["image_id"].to_numpy()
    return pd.DataFrame(
        {
            "first": names[pairs[:, 0].astype(int)],
            "second": names[pairs[:, 1].astype(int)],
            "distance": pairs[:, 2].astype(int),
            "similarity": pairs[:, 3],
            "exact": pairs[:, 4].astype(bool),
        }
    )


def _joined(keys: pd.Series) -> np.ndarray:
    """Edges (m, 2) that join rows with the same key; rows with an empty key are joined to nothing."""
    rows = pd.Series(np.arange(len(keys)))[(keys != "").to_numpy()]
    first = rows.groupby(keys.to_numpy()[rows]).transform("first")
    return np.stack([first, rows], axis=1)


def clusters(table: pd.DataFrame, facts: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """The cluster of each row: what must stay on one side of a split.

    Rows are joined by patient, lesion, equal pixels and near-duplicate pairs, also through each other. table and facts
    hold the same images in the same order. Returns the first image_id (sorted) of each row's cluster.

    >>> table = pd.DataFrame({"image_id": list("abc"), "patient_id": ["p", "p", ""], "lesion_id": ""})
    >>> facts = pd.DataFrame({"image_id": list("abc"), "pixel_sha256": ["1", "2", "3"]})
    >>> clusters(table, facts, pd.DataFrame({"first": [], "second": []})).tolist()
    ['a', 'a', 'c']
    """
    if list(table["image_id"]) != list(facts["image_id"]):
        raise ValueError("clusters: table and facts must hold the same images in the same order")
    place = pd.Series(np.arange(len(table)), index=table["image_id"])
    near = np.stack([place[pairs["first"]].to_numpy(), place[pairs["second"]].to_numpy()], axis=1).astype(int)
    edges = np.concatenate(
        [_joined(table["patient_id"]), _joined(table["lesion_id"]), _joined(facts["pixel_sha256"]), near]
    )
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(table), len(table)))
    labels = pd.Series(connected_components(graph, directed=False)[1], index=table.index)
    return table["image_id"].groupby(labels).transform("min").astype("str")


def quality(table: pd.DataFrame, facts: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Counts of what a reader must know about the images that are left: fact, count, of.

    table: with cluster_id. The largest cluster is named, since near-duplicates can chain unlike images.
    """
    exact = pairs[pairs["exact"]]
    condition = table.set_index("image_id")["condition"]
    differ = condition[pairs["first"]].to_numpy() != condition[pairs["second"]].to_numpy()
    sizes = table["cluster_id"].value_counts()
    counts = {
        "pairs with equal pixels": (len(exact), len(table)),
        "near-duplicate pairs, those with equal pixels left out": (len(pairs) - len(exact), len(table)),
        "pairs of duplicates with different conditions": (int(differ.sum()), len(pairs)),
        "clusters (patient, lesion or near-duplicate)": (len(sizes), len(table)),
        "images in the largest cluster": (int(sizes.max()), len(table)),
        "images of unknown skin type": (int((table["fst"] == -1).sum()), len(table)),
        "images without a patient": (int((table["patient_id"] == "").sum()), len(table)),
        "images with a quality mark on the label": (int((table["label_flag"] != "").sum()), len(table)),
        "images under 128 pixels on a side": (int((facts[["height", "width"]].min(axis=1) < 128).sum()), len(table)),
    }
    return pd.DataFrame([(fact, count, of) for fact, (count, of) in counts.items()], columns=["fact", "count", "of"])


def agreement(first: pd.Series, second: pd.Series) -> dict[str, float]:
    """How two annotators of skin type agree, over the rows that both know (1-6; -1 is unknown).

    Returns exact, within_one, same_group (I-II, III-IV, V-VI) as proportions, kappa (Cohen's, quadratic weights), rows.
    Raises ValueError where no row is known to both. Source: Cohen 1968, by scikit-learn's cohen_kappa_score.

    >>> scores = agreement(pd.Series([1, 2, -1]), pd.Series([1, 3, 2]))
    >>> scores["exact"], scores["within_one"], scores["rows"]
    (0.5, 1.0, 2)
    """
    known = ((first > 0) & (second > 0)).to_numpy()
    a, b = first.to_numpy()[known], second.to_numpy()[known]
    if not len(a):
        raise ValueError("agreement: no row has a skin type from both annotators")
    return {
        "exact": float(np.mean(a == b)),
        "within_one": float(np.mean(np.abs(a - b) <= 1)),
        "same_group": float(np.mean((a + 1) // 2 == (b + 1) // 2)),
        "kappa": float(cohen_kappa_score(a, b, weights="quadratic", labels=[1, 2, 3, 4, 5, 6])),
        "rows": int(known.sum()),
    }
