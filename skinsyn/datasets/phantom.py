"""Phantoms: procedural pictures of skin with known ground truth. Drawn patterns, not diseases; they show nothing about patients.

Nine lesion patterns with invented names (`CONDITIONS`, two of them declared malignant in `MALIGNANT`) on six skin types, and
twelve other patterns (`PRETRAINING_PATTERNS`) that only the base model ever sees. Planted truths: the individual typology
angle (ITA) of the skin, the lesion's mask, and a difficulty that grows with the skin type, because the lesion's contrast falls.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

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
MASK_THRESHOLD = 4.0  # CIELAB distance from the skin above which a pixel is lesion, at full contrast


class Phantom(NamedTuple):
    """One photograph: image uint8 (size, size, 3), mask bool (size, size), ita in degrees, difficulty in [0, 1]."""

    image: np.ndarray
    mask: np.ndarray
    ita: float
    difficulty: float


class Canvas(NamedTuple):
    """Lesion coordinates: x, y, radius r (1 at the nominal edge), angle t, each (size, size); its generator; smooth noise."""

    x: np.ndarray
    y: np.ndarray
    r: np.ndarray
    t: np.ndarray
    rng: np.random.Generator
    noise: Callable[[int], np.ndarray]


def _smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Noise of about unit variance that varies over 1/cells of the side; the same picture at any size."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)) * 1.3


def _soft(distance: np.ndarray, width: float = 0.08) -> np.ndarray:
    """1 where the distance is well above 0, 0 well below, an edge `width` wide between."""
    return 1.0 / (1.0 + np.exp(np.clip(-distance / width, -30, 30)))


def _disc(c: Canvas, radius: float = 1.0, width: float = 0.08) -> np.ndarray:
    return _soft(radius - c.r, width)


def _ring(c: Canvas, radius: float, width: float) -> np.ndarray:
    return np.exp(-(((c.r - radius) / width) ** 2))


def _dots(c: Canvas, count: int, radius: float, spread: float = 0.85, edge: float = 0.06) -> np.ndarray:
    """The union of `count` small discs inside the lesion, kept apart where there is room."""
    spots = np.zeros((0, 2))
    for _ in range(count):
        angle, far = c.rng.uniform(0, 2 * np.pi, 6), spread * np.sqrt(c.rng.uniform(0, 1, 6))
        tries = np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1)
        gaps = np.linalg.norm(tries[:, None] - spots[None], axis=2).min(axis=1, initial=9.0)
        spots = np.vstack([spots, tries[np.argmax(gaps)]])
    sizes = radius * c.rng.uniform(0.75, 1.25, count)
    near = [np.sqrt((c.x - px) ** 2 + (c.y - py) ** 2) - s for (px, py), s in zip(spots, sizes, strict=True)]
    return _soft(-np.min(near, axis=0), edge)


def _band(across: np.ndarray, width: float, edge: float = 0.05) -> np.ndarray:
    return _soft(width - np.abs(across), edge)


Layers = dict[str, np.ndarray]


# --- the nine conditions ---------------------------------------------------------------------------------------------
def _annular(c: Canvas) -> Layers:
    return {"red": 1.1 * _ring(c, 0.85, 0.22), "brown": 0.25 * _disc(c, 0.7)}


def _papular(c: Canvas) -> Layers:
    dots = _dots(c, int(c.rng.integers(6, 11)), 0.2, spread=0.95)
    return {"red": 0.8 * dots + 0.1 * _disc(c), "brown": 0.45 * dots}


def _scaly_plaque(c: Canvas) -> Layers:
    scale = _disc(c, 0.85) * _soft(c.noise(14) - 0.2, 0.25)
    return {"red": 0.9 * _disc(c), "white": 1.2 * scale}


def _reticular(c: Canvas) -> Layers:
    pitch = c.rng.uniform(6.5, 8.5)
    net = np.maximum(np.cos(pitch * c.x + 0.5 * c.noise(6)), np.cos(pitch * c.y + 0.5 * c.noise(6)))
    return {"violet": _disc(c) * (0.2 + 0.95 * _soft(net - 0.6, 0.12))}


def _vesicular(c: Canvas) -> Layers:
    state = c.rng.bit_generator.state
    count = int(c.rng.integers(5, 9))
    rims = _dots(c, count, 0.28, spread=0.75)
    c.rng.bit_generator.state = state  # the same blisters again, smaller: their pale tops
    tops = _dots(c, int(c.rng.integers(5, 9)), 0.15, spread=0.75)
    return {"red": 0.45 * _disc(c, 1.0, 0.15) + 0.5 * rims * (1 - tops), "white": 1.2 * tops}


def _linear(c: Canvas) -> Layers:
    bend = 0.25 * c.noise(4)
    streak = _band(c.y + bend, 0.2) * _band(c.x, 1.15)
    side = _band(c.y + bend - 0.55, 0.09) * _band(c.x - 0.2, 0.6)
    return {"red": 0.7 * (streak + side), "brown": 0.5 * streak}


def _target(c: Canvas) -> Layers:
    return {"red": 0.85 * _ring(c, 0.92, 0.16), "violet": 0.95 * _disc(c, 0.42), "white": 0.3 * _ring(c, 0.62, 0.12)}


def _nodular(c: Canvas) -> Layers:
    shine = np.exp(-(((c.x + 0.3) ** 2 + (c.y + 0.3) ** 2) / 0.1))
    return {"red": 0.55 * _disc(c, 0.85), "white": 0.9 * shine, "brown": 0.7 * _ring(c, 0.85, 0.15), "violet": 0.2 * _disc(c, 0.85)}


def _ulcerated(c: Canvas) -> Layers:
    ragged = c.r + 0.2 * c.noise(8)
    return {"dark": 0.95 * _soft(0.5 - ragged, 0.08), "red": 0.7 * _soft(1.0 - ragged, 0.1), "white": 0.4 * _ring(c, 0.75, 0.12)}


# --- the twelve others, for the base model only ---------------------------------------------------------------------
def _blushing(c: Canvas) -> Layers:
    return {"red": _disc(c, 0.9, 0.25)}


def _dusky(c: Canvas) -> Layers:
    return {"brown": _disc(c, 0.9) * (0.9 + 0.2 * c.noise(8)), "violet": 0.2 * _disc(c)}


def _pale(c: Canvas) -> Layers:
    return {"white": 1.1 * _disc(c, 0.95, 0.06), "brown": 0.4 * _ring(c, 1.1, 0.12)}


def _striped(c: Canvas) -> Layers:
    return {"brown": _disc(c) * (0.15 + 0.85 * _soft(np.cos(7.0 * c.y) - 0.1, 0.15)), "red": 0.3 * _disc(c)}


def _crescent(c: Canvas) -> Layers:
    hole = _soft(0.75 - np.sqrt((c.x - 0.4) ** 2 + c.y**2))
    return {"violet": _disc(c) * (1 - hole), "red": 0.3 * _disc(c) * (1 - hole)}


def _stellate(c: Canvas) -> Layers:
    arms = _soft(0.5 + 0.35 * np.cos(5 * c.t) - c.r, 0.06)
    return {"brown": 0.5 * arms, "dark": 0.6 * arms}


def _speckled(c: Canvas) -> Layers:
    return {"dark": 0.85 * _dots(c, 14, 0.09, spread=1.05, edge=0.04), "brown": 0.25 * _disc(c)}


def _serpentine(c: Canvas) -> Layers:
    wave = _band(c.y - 0.4 * np.sin(4.0 * c.x), 0.14) * _band(c.x, 1.1)
    return {"violet": 0.5 * wave, "red": 0.8 * wave}


def _rosette(c: Canvas) -> Layers:
    petals = _ring(c, 0.65, 0.28) * _soft(np.cos(6 * c.t) + 0.1, 0.2)
    return {"red": petals, "white": 0.9 * _disc(c, 0.25)}


def _mottled(c: Canvas) -> Layers:
    return {"brown": _disc(c, 1.1) * _soft(c.noise(9), 0.15), "white": 0.7 * _disc(c, 1.1) * _soft(-0.5 - c.noise(9), 0.2)}


def _haloed(c: Canvas) -> Layers:
    return {"dark": 0.8 * _disc(c, 0.38), "white": 0.9 * _ring(c, 0.75, 0.2)}


def _twin(c: Canvas) -> Layers:
    left, right = np.hypot(c.x + 0.55, c.y), np.hypot(c.x - 0.55, c.y)
    return {"red": 0.9 * _soft(0.42 - left), "dark": 0.4 * _soft(0.2 - left), "brown": 0.9 * _soft(0.42 - right)}


_CONDITIONS: dict[str, Callable[[Canvas], Layers]] = {
    "annular": _annular,
    "papular": _papular,
    "scaly plaque": _scaly_plaque,
    "reticular": _reticular,
    "vesicular": _vesicular,
    "linear": _linear,
    "target": _target,
    "nodular": _nodular,
    "ulcerated": _ulcerated,
}
_OTHERS: dict[str, Callable[[Canvas], Layers]] = {
    "blushing": _blushing,
    "dusky": _dusky,
    "pale": _pale,
    "striped": _striped,
    "crescent": _crescent,
    "stellate": _stellate,
    "speckled": _speckled,
    "serpentine": _serpentine,
    "rosette": _rosette,
    "mottled": _mottled,
    "haloed": _haloed,
    "twin": _twin,
}
CONDITIONS: tuple[str, ...] = tuple(_CONDITIONS)
MALIGNANT: tuple[str, ...] = ("nodular", "ulcerated")
PRETRAINING_PATTERNS: tuple[str, ...] = tuple(_OTHERS)


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB under D65 (…, 3) to sRGB in [0, 1], clipped to the gamut. Source: IEC 61966-2-1 and CIE 15."""
    fy = (lab[..., 0] + 16.0) / 116.0
    f = np.stack([fy + lab[..., 1] / 500.0, fy, fy - lab[..., 2] / 200.0], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array([0.95047, 1.0, 1.08883])
    to_rgb = [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    rgb = np.clip(xyz @ np.array(to_rgb).T, 0.0, 1.0)
    return np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


def _lesion(pattern: str, rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """The CIELAB difference (size, size, 3) that the lesion adds to the skin, at full contrast."""
    scale, squeeze, turn = rng.uniform(0.15, 0.235), rng.uniform(0.75, 1.33), rng.uniform(0, 2 * np.pi)
    wobble = rng.uniform(0.04, 0.16) * scale
    x, y = x + wobble * _smooth_noise(rng, 5, size), y + wobble * _smooth_noise(rng, 5, size)
    u = (np.cos(turn) * x + np.sin(turn) * y) / scale * squeeze**0.5
    v = (np.cos(turn) * y - np.sin(turn) * x) / scale / squeeze**0.5
    canvas = Canvas(u, v, np.hypot(u, v), np.arctan2(v, u), rng, lambda cells: _smooth_noise(rng, cells * 2, size))
    layers = {**_CONDITIONS, **_OTHERS}[pattern](canvas)
    delta = np.zeros((size, size, 3))
    for name, weight in layers.items():
        # hue and strength of every layer wander, so that colour alone does not tell the patterns apart
        colour = np.array(LAYERS[name]) * rng.uniform(0.65, 1.15) + rng.normal(0, 3.5, 3)
        delta += weight[..., None] * colour
    blotch = np.clip(0.5 + _smooth_noise(rng, 7, size), 0, 2) * _disc(canvas, 1.3, 0.3)
    return delta + rng.uniform(0.0, 0.55) * blotch[..., None] * np.array(LAYERS[str(rng.choice(list(LAYERS)))])


def _hair(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """Coverage (size, size) of 0 to 5 thin, slightly bent hairs."""
    cover = np.zeros((size, size))
    for _ in range(int(rng.integers(1, 6)) if rng.random() < 0.2 else 0):
        angle, offset, bend = rng.uniform(0, np.pi), rng.uniform(-0.45, 0.45), rng.uniform(-0.5, 0.5)
        along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        cover = np.maximum(cover, np.exp(-(((across - offset - bend * along**2) / 0.009) ** 2)))
    return cover


def _check(condition: str, fst: int, size: int) -> None:
    known = CONDITIONS + PRETRAINING_PATTERNS
    if condition not in known:
        near = difflib.get_close_matches(str(condition), known, 1, 0.0)[0]
        raise ValueError(f"unknown condition {condition!r}: nearest is {near!r}; the phantoms are {', '.join(CONDITIONS)}")
    if fst not in ITA_OF_TYPE:
        raise ValueError(f"fst is {fst!r}: a phantom has a Fitzpatrick skin type from 1 to 6")
    if size < 16:
        raise ValueError(f"size is {size}: a phantom needs at least 16 pixels")


def draw(condition: str, fst: int, seed: int, size: int = 64, shift: float = 0.0, view: int = 0) -> Phantom:
    """Draw one phantom; the same arguments give the same bytes.

    condition: one of `CONDITIONS` or `PRETRAINING_PATTERNS`. fst: 1-6. size: pixels a side.
    shift: 0 is the demo's camera; 1 another one (warmer, flatter, softer), for training on one source and testing on another;
    the planted ita then describes the skin, not the picture. view: another photograph of the same lesion on the same skin.
    Raises ValueError for an unknown condition (with the nearest name), skin type or a size below 16.
    """
    _check(condition, fst, size)
    number = (CONDITIONS + PRETRAINING_PATTERNS).index(condition)
    lesion_rng, photo_rng = np.random.default_rng([seed, fst, number]), np.random.default_rng([seed, fst, number, view + 1])
    centre, half = ITA_OF_TYPE[fst]
    ita, b = lesion_rng.uniform(centre - half, centre + half), lesion_rng.uniform(13.0, 19.0)
    b = min(b, 34.0 / max(np.tan(np.radians(ita)), 1e-6)) if ita > 0 else b  # keeps the lightest skin inside sRGB
    skin = np.array([50.0 + b * np.tan(np.radians(ita)), lesion_rng.uniform(8.0, 13.0), b])
    contrast = CONTRAST_OF_TYPE[fst] * lesion_rng.uniform(0.6, 1.05)

    step = (np.arange(size) + 0.5) / size - 0.5
    x, y = np.meshgrid(step, step)
    dx, dy = photo_rng.normal(0, 0.03, 2)
    delta = _lesion(condition, lesion_rng, x - dx, y - dy, size)
    mask = np.linalg.norm(delta, axis=-1) > MASK_THRESHOLD
    texture = 1.0 * _smooth_noise(lesion_rng, 9, size) + 0.8 * _smooth_noise(lesion_rng, 24, size)
    angle = photo_rng.uniform(0, 2 * np.pi)
    light = photo_rng.uniform(0, 9) * (np.cos(angle) * x + np.sin(angle) * y) - photo_rng.uniform(0, 6) * (x**2 + y**2)
    light = light + texture
    light -= light[~mask].mean() if not mask.all() else 0.0  # so that the planted ITA is the picture's, too
    lab = skin + contrast * delta
    lab[..., 0] += light + photo_rng.normal(0, 0.8, (size, size))
    lab = lab + _hair(photo_rng, x, y, size)[..., None] * (np.array([0.35, 0.3, 0.3]) * skin - skin) * 0.8
    lab = (1 - 0.15 * shift) * lab + shift * np.array([8.0, 2.0, 4.0])
    image = Image.fromarray((lab_to_srgb(lab) * 255 + 0.5).astype(np.uint8))
    softness = photo_rng.uniform(0.0, 0.9) + 0.8 * shift
    image = image.filter(ImageFilter.GaussianBlur(softness * size / 64))
    return Phantom(np.asarray(image), mask, float(ita), float(np.clip(1.05 - contrast, 0.0, 1.0)))
