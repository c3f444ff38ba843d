"""Phantoms: procedural pictures of skin with known ground truth. Drawn patterns, not diseases: they show no patients.

Nine lesion patterns with invented names (`CONDITIONS`, two declared malignant in `MALIGNANT`) on six skin types, and
twelve other patterns (`PRETRAINING_PATTERNS`) that only the base model ever sees. Planted truths: the individual
typology angle (ITA) of the skin, the lesion's mask, and a difficulty that grows with skin type, because the lesion's
contrast falls.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from skinsyn.datasets import match, patterns
from skinsyn.datasets.patterns import Canvas, disc, smooth_noise

# Centre and half-width of each type's ITA in degrees, inside the usual bands (Chardon 1991; Del Bino & Bernerd 2013).
ITA_OF_TYPE = {1: (61.0, 5.0), 2: (48.0, 6.0), 3: (34.5, 5.5), 4: (19.0, 8.0), 5: (-10.0, 15.0), 6: (-43.0, 9.0)}
# Share of the lesion's full contrast that is left in each type: the planted unfairness.
CONTRAST_OF_TYPE = {1: 1.0, 2: 0.97, 3: 0.92, 4: 0.85, 5: 0.76, 6: 0.66}
# What one unit of each layer adds to the skin's CIELAB (L*, a*, b*).
LAYERS = {
    "red": (-9.0, 22.0, 5.0),
    "brown": (-20.0, 7.0, 6.0),
    "violet": (-15.0, 12.0, -17.0),
    "white": (17.0, -9.0, -9.0),
    "dark": (-32.0, -1.0, -7.0),
}
TO_RGB = np.array(  # CIE XYZ (D65) to linear sRGB
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
MASK_THRESHOLD = 4.0  # CIELAB distance from the skin above which a pixel is lesion, at full contrast


class Phantom(NamedTuple):
    """One photograph: image uint8 (size, size, 3), mask bool (size, size), ita in degrees, difficulty in [0, 1]."""

    image: np.ndarray
    mask: np.ndarray
    ita: float
    difficulty: float


CONDITIONS: tuple[str, ...] = tuple(patterns.CONDITIONS)
MALIGNANT: tuple[str, ...] = ("nodular", "ulcerated")
PRETRAINING_PATTERNS: tuple[str, ...] = tuple(patterns.OTHERS)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB under D65 (…, 3) to sRGB in [0, 1], clipped to the gamut. Source: IEC 61966-2-1 and CIE 15.

    >>> lab_to_srgb(np.array([100.0, 0.0, 0.0])).round(3).tolist()
    [1.0, 1.0, 1.0]
    """
    fy = (lab[..., 0] + 16.0) / 116.0
    f = np.stack([fy + lab[..., 1] / 500.0, fy, fy - lab[..., 2] / 200.0], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array([0.95047, 1.0, 1.08883])
    rgb = np.clip(xyz @ TO_RGB.T, 0.0, 1.0)
    return np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


def srgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] (…, 3) to CIELAB under D65: the way back. Source: IEC 61966-2-1 and CIE 15.

    >>> srgb_to_lab(np.array([1.0, 1.0, 1.0])).round(1).tolist()[0]
    100.0
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.linalg.inv(TO_RGB).T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def _lesion(pattern: str, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """The CIELAB difference (size, size, 3) that the lesion adds to the skin, at full contrast."""
    scale, squeeze, turn = rng.uniform(0.23, 0.275), rng.uniform(0.88, 1.13), rng.uniform(0, 2 * np.pi)
    wobble = rng.uniform(0.04, 0.12) * scale
    x, y = x + wobble * smooth_noise(rng, 5, size), y + wobble * smooth_noise(rng, 5, size)
    u = (np.cos(turn) * x + np.sin(turn) * y) / scale * squeeze**0.5
    v = (np.cos(turn) * y - np.sin(turn) * x) / scale / squeeze**0.5
    canvas = Canvas(u, v, np.hypot(u, v), np.arctan2(v, u), rng, lambda cells: smooth_noise(rng, cells * 2, size))
    layers = {**patterns.CONDITIONS, **patterns.OTHERS}[pattern](canvas)
    delta = np.zeros((size, size, 3))
    for name, weight in layers.items():
        # hue and strength of every layer wander, so that colour alone does not tell the patterns apart
        colour = np.array(LAYERS[name]) * rng.uniform(0.65, 1.15) + rng.normal(0, 3.5, 3)
        delta += weight[..., None] * colour
    blotch = np.clip(0.5 + smooth_noise(rng, 7, size), 0, 2) * disc(canvas, 1.0, 0.15)
    return delta + rng.uniform(0.0, 0.4) * blotch[..., None] * np.array(LAYERS[str(rng.choice(list(LAYERS)))])


def _check(condition: str, fst: int, size: int) -> None:
    known = CONDITIONS + PRETRAINING_PATTERNS
    if condition not in known:
        near = difflib.get_close_matches(str(condition), known, 1, 0.0)[0]
        names = ", ".join(CONDITIONS)
        raise ValueError(f"unknown condition {condition!r}: nearest is {near!r}; the phantoms are {names}")
    if fst not in ITA_OF_TYPE:
        raise ValueError(f"fst is {fst!r}: a phantom has a Fitzpatrick skin type from 1 to 6")
    if size < 16:
        raise ValueError(f"size is {size}: a phantom needs at least 16 pixels")


def draw(condition: str, fst: int, seed: int, size: int = 64, shift: float = 0.0, view: int = 0) -> Phantom:
    """Draw one phantom; the same arguments give the same bytes.

    condition: one of `CONDITIONS` or `PRETRAINING_PATTERNS`. fst: 1-6. size: pixels a side.
    shift: 0 is the demo's camera; 1 another one (warmer, flatter, softer), for training on one source and testing on
    another; the planted ita then describes the skin, not the picture. view: another photograph of the same lesion.
    Raises ValueError for an unknown condition (with the nearest name), skin type or a size below 16.

    >>> one = draw("target", fst=2, seed=0)
    >>> one.image.shape, one.mask.dtype, 42 <= one.ita <= 54
    ((64, 64, 3), dtype('bool'), True)
    """
    _check(condition, fst, size)
    number = (CONDITIONS + PRETRAINING_PATTERNS).index(condition)
    lesion_rng = np.random.default_rng([seed, fst, number])
    photo_rng = np.random.default_rng([seed, fst, number, view + 1])
    centre, half = ITA_OF_TYPE[fst]
    ita, b = lesion_rng.uniform(centre - half, centre + half), lesion_rng.uniform(13.0, 19.0)
    b = min(b, 34.0 / max(np.tan(np.radians(ita)), 1e-6)) if ita > 0 else b  # keeps the lightest skin inside sRGB
    skin = np.array([50.0 + b * np.tan(np.radians(ita)), lesion_rng.uniform(8.0, 13.0), b])
    contrast = CONTRAST_OF_TYPE[fst] * lesion_rng.uniform(0.6, 1.05)

    step = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(step, step)
    dx, dy = np.clip(photo_rng.normal(0, 0.015, 2), -0.03, 0.03)
    delta = _lesion(condition, lesion_rng, x - dx, y - dy, size)
    strength = np.linalg.norm(delta, axis=-1)
    mask = strength > MASK_THRESHOLD
    delta *= (
        np.clip(strength / MASK_THRESHOLD, 0, 1)[..., None] ** 2
    )  # fades out, so that skin outside the mask is skin
    texture = 1.0 * smooth_noise(lesion_rng, 9, size) + 0.4 * smooth_noise(lesion_rng, 16, size)
    angle = photo_rng.uniform(0, 2 * np.pi)
    light = photo_rng.uniform(0, 9) * (np.cos(angle) * x + np.sin(angle) * y) - photo_rng.uniform(0, 6) * (x**2 + y**2)
    light = light + texture
    light -= light[~mask].mean() if not mask.all() else 0.0  # so that the planted ITA is the picture's, too
    lab = skin + contrast * delta
    lab[..., 0] += light + photo_rng.normal(0, 0.25, (size, size))
    lab = (1 - 0.15 * shift) * lab + shift * np.array([8.0, 2.0, 4.0])
    image = Image.fromarray((lab_to_srgb(lab) * 255 + 0.5).astype(np.uint8))
    softness = photo_rng.uniform(0.5, 1.1) + 0.8 * shift
    image = image.filter(ImageFilter.GaussianBlur(softness * size / 64))
    return Phantom(np.asarray(image), mask, float(ita), float(np.clip(1.05 - contrast, 0.0, 1.0)))


def make_dataset(
    folder: Path,
    seed: int = 0,
    per_condition: int = 80,
    size: int = 64,
    fst_weights: Sequence[float] = (0.2, 0.25, 0.2, 0.15, 0.12, 0.08),
    second_views: float = 0.15,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Write a data set of phantoms: `<image_id>.png`, `masks/<image_id>.png` (255 is lesion) and `metadata.csv`.

    per_condition: images of each condition. fst_weights: six shares of the skin types (the default is uneven, as
    real sets are). second_views: share of images that are a second photograph of the lesion before (same patient_id).
    Returns the table: image_id, file, condition, malignant, fst, ita (degrees), difficulty, patient_id. The same
    arguments give the same bytes. Raises ValueError for weights that are not six, negative or all zero, or fewer than 1
    image.
    """
    weights = np.asarray(fst_weights, dtype=float)
    if weights.shape != (6,) or weights.min() < 0 or not weights.sum() > 0:
        raise ValueError(f"fst_weights are {list(fst_weights)}: expected six shares of at least 0, one a skin type")
    if per_condition < 1:
        raise ValueError(f"per_condition is {per_condition}: expected at least 1 image of each condition")
    folder = Path(folder)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    rng, lesion, fst, view = np.random.default_rng([seed, 9]), 0, 0, 0
    records: list[dict] = []
    for condition in CONDITIONS:
        for i in range(per_condition):
            again = rng.random() < second_views
            kind = int(rng.choice(6, p=weights / weights.sum())) + 1
            view = 1 if again and i and view == 0 else 0
            if view == 0:
                lesion, fst = lesion + 1, kind
            one = draw(condition, fst, seed * 1_000_003 + lesion, size, shift, view)
            name = f"phantom_{seed}_{len(records):05d}"
            Image.fromarray(one.image).save(folder / f"{name}.png")
            Image.fromarray(one.mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
            records.append(
                {
                    "image_id": name,
                    "file": f"{name}.png",
                    "condition": condition,
                    "malignant": condition in MALIGNANT,
                    "fst": fst,
                    "ita": round(one.ita, 3),
                    "difficulty": round(one.difficulty, 4),
                    "patient_id": f"patient_{seed}_{lesion:05d}",
                }
            )
    table = pd.DataFrame(records)
    table.to_csv(folder / "metadata.csv", index=False, lineterminator="\n")
    return table


def rows(folder: Path) -> pd.DataFrame:
    """Every row of a folder that `make_dataset` wrote: image_id, file, condition, malignant, fst, patient_id and more.

    Raises FileNotFoundError or ValueError naming the file, the column and the rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = make_dataset(Path(folder), per_condition=1, size=16)
    ...     rows(Path(folder))[["image_id", "condition", "malignant"]].head(1).to_numpy().tolist()
    [['phantom_0_00000', 'annular', False]]
    """
    known = ("image_id", "file", "condition", "malignant", "fst", "patient_id")
    frame = match.read_csv(folder / "metadata.csv", known, key="image_id")
    return frame.astype({"file": "str", "patient_id": "str"}).assign(lesion_id="", label_flag="")
