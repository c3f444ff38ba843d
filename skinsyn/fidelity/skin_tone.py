"""Skin tone: the individual typology angle (ITA) of the skin around the lesion, in real images and in synthetic ones.

ITA = arctan((L* - 50) / b*) · 180 / π (Chardon, Cretois and Hourseau 1991, International Journal of Cosmetic Science
13:191-208). Classes: very light > 55° > light > 41° > intermediate > 28° > tan > 10° > brown > -30° > dark (Del Bino
and Bernerd 2013, British Journal of Dermatology 169 Suppl 3:33-40). ITA describes a picture, its light and its camera,
not a person.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.datasets.phantom import srgb_to_lab

from . import clustered, distances, groups

__all__ = ["Tone", "by_type", "ita", "lightening", "measure", "skin_mask"]

BAND = 1 / 8  # of the side: where skin is looked for first, since the lesion stands in the middle
SPREADS = 3.0  # robust standard deviations from the band's median colour that still count as skin
LEAST_SPREAD = 1.0  # CIELAB units: even a flat picture has rounding and noise
GREYS = (4.0, 98.0)  # L* of what may be skin; frames and glare are not
LEAST_SKIN = 0.05  # share of the pixels below which nothing is said


class Tone(NamedTuple):
    """ITA in degrees (NaN where too little skin is seen) and the share of the pixels that it rests on."""

    ita: float
    skin: float


def ita(lab: np.ndarray) -> np.ndarray:
    """ITA = arctan((L* - 50) / b*) · 180 / π (Chardon et al. 1991) in degrees, of CIELAB colours (…, 3).

    NaN where b* is not above 0, for which ITA is not defined.

    >>> ita(np.array([[70.0, 10.0, 20.0], [50.0, 10.0, 20.0], [70.0, 10.0, -1.0]])).tolist()
    [45.0, 0.0, nan]
    """
    lightness, yellow = lab[..., 0], lab[..., 2]
    return np.where(yellow > 0, np.degrees(np.arctan2(lightness - 50, yellow)), np.nan)


def skin_mask(lab: np.ndarray) -> np.ndarray:
    """The skin around the lesion, bool (h, w), in a picture in CIELAB (h, w, 3): a heuristic that needs no mask.

    The outermost eighth on each side is taken for skin; its median colour and spread (median absolute deviation) then
    choose, all over the picture, the pixels of that colour. Lesion, hair, rulers and frames differ in lightness or hue.
    It fails where a lesion fills the border, and nobody sees that it did: compare with masks where there are any.

    >>> lab = np.full((64, 64, 3), (70.0, 10.0, 20.0))
    >>> lab[24:40, 24:40] = 30, 20, 10  # a lesion of 16 x 16 pixels
    >>> int((~skin_mask(lab)).sum())
    256
    """
    side = min(lab.shape[:2])
    width = max(1, round(side * BAND))
    band = np.ones(lab.shape[:2], bool)
    band[width:-width, width:-width] = False
    plausible = (lab[..., 0] > GREYS[0]) & (lab[..., 0] < GREYS[1])
    if not (band & plausible).any():
        return np.zeros(lab.shape[:2], bool)
    centre = np.median(lab[band & plausible], axis=0)
    spread = 1.4826 * np.median(np.abs(lab[band & plausible] - centre), axis=0)
    return plausible & (np.abs(lab - centre) <= SPREADS * np.maximum(spread, LEAST_SPREAD)).all(axis=-1)


def measure(image: np.ndarray, lesion: np.ndarray | None = None) -> Tone:
    """ITA of the skin in one picture, from the median of L* and of b* over its skin.

    image: uint8 (h, w, 3). lesion: bool (h, w), True where the lesion is; None finds the skin by `skin_mask`. Raises
    ValueError for another shape or type.

    >>> tone = measure(np.full((64, 64, 3), (224, 172, 105), np.uint8))
    >>> round(tone.ita), tone.skin
    (30, 1.0)
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (height, width, 3), got {image.dtype} {image.shape}")
    if lesion is not None and lesion.shape != image.shape[:2]:
        raise ValueError(f"the mask is {lesion.shape}, the image {image.shape[:2]}")
    lab = srgb_to_lab(image / 255.0)
    skin = skin_mask(lab) if lesion is None else ~lesion
    if skin.mean() < LEAST_SKIN:
        return Tone(float("nan"), float(skin.mean()))
    return Tone(float(ita(np.median(lab[skin], axis=0))), float(skin.mean()))


def by_type(table: pd.DataFrame, by: str = "kind") -> pd.DataFrame:
    """The distribution of ITA by kind of image and requested skin type.

    table: one row per image (by, fst, ita). Returns by, fst, images, unseen, q10, q25, median, q75, q90. unseen: images
    in which too little skin was found.

    >>> tones = pd.DataFrame({"kind": "real", "fst": 2, "ita": [40.0, 50.0, np.nan]})
    >>> by_type(tones)[["images", "unseen", "median"]].to_numpy().tolist()
    [[3.0, 1.0, 45.0]]
    """
    tones = table.groupby([by, "fst"], sort=True)["ita"]
    quantiles = tones.quantile([0.1, 0.25, 0.5, 0.75, 0.9]).unstack()
    quantiles = quantiles.set_axis(["q10", "q25", "median", "q75", "q90"], axis=1)
    counts = tones.agg(images="size", seen="count")
    counts = counts.assign(unseen=counts["images"] - counts["seen"])[["images", "unseen"]]
    return counts.join(quantiles).reset_index()


def lightening(
    rows: pd.DataFrame,
    tones: np.ndarray,
    images: pd.DataFrame,
    real: np.ndarray,
    by: list[str],
    draws: int,
    seed: int,
    level: float = 0.95,
) -> pd.DataFrame:
    """Difference in ITA [degrees] between synthetic images and their sources, by group; above zero is lighter.

    rows: synthetic images (parent, by), tones: their ITA (n,); images: real ones (image_id, cluster_id), real: theirs
    (m,). Sources are the clusters of the bootstrap. A pair without both ITA is left out and
    counted. Returns by, lightening, low, high, images, clusters, unseen.

    >>> images = pd.DataFrame({"image_id": ["a", "b"], "cluster_id": ["x", "y"]})
    >>> rows = pd.DataFrame({"parent": ["a", "b"], "method": "text"})
    >>> darker = lightening(rows, np.array([20.0, 28.0]), images, np.array([25.0, 30.0]), ["method"], 99, 0)
    >>> float(darker["lightening"][0])
    -3.5
    """
    place = distances.places(rows["parent"], images)
    change, clusters = np.asarray(tones) - np.asarray(real)[place], images["cluster_id"].to_numpy()[place]
    columns, records = ["lightening", "low", "high", "images", "clusters"], []
    for row, at in groups(rows, by):
        measured = at[~np.isnan(change[at])]
        if len(measured):
            estimate = clustered.mean(change[measured], clusters[measured], draws, seed, level)
            row |= dict(zip(columns, estimate, strict=True))
        records.append(row | {"unseen": len(at) - len(measured)})
    return pd.DataFrame(records).reindex(columns=[*by, *columns, "unseen"])
