"""The drawn lesion patterns of the phantoms: each gives how much of which colour lies where. Invented names."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["CONDITIONS", "OTHERS", "Canvas", "disc", "smooth_noise"]


class Canvas(NamedTuple):
    """Lesion coordinates x, y, radius r (1 at the nominal edge), angle t, each (size, size); generator; noise."""

    x: np.ndarray
    y: np.ndarray
    r: np.ndarray
    t: np.ndarray
    rng: np.random.Generator
    noise: Callable[[int], np.ndarray]


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Noise of about unit variance that varies over 1/cells of the side; the same picture at any size."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)) * 1.3


def _soft(distance: np.ndarray, width: float = 0.08) -> np.ndarray:
    """1 where the distance is well above 0, 0 well below, an edge `width` wide between."""
    return 1.0 / (1.0 + np.exp(np.clip(-distance / width, -30, 30)))


def disc(c: Canvas, radius: float = 1.0, width: float = 0.08) -> np.ndarray:
    """A filled disc [share of colour, 0 to 1] about the lesion's centre, with a soft edge of `width`."""
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
    return {"red": 1.1 * _ring(c, 0.85, 0.22), "brown": 0.25 * disc(c, 0.7)}


def _papular(c: Canvas) -> Layers:
    dots = _dots(c, int(c.rng.integers(6, 11)), 0.2, spread=0.95)
    return {"red": 0.8 * dots + 0.1 * disc(c), "brown": 0.45 * dots}


def _scaly_plaque(c: Canvas) -> Layers:
    scale = disc(c, 0.85) * _soft(c.noise(14) - 0.2, 0.25)
    return {"red": 0.9 * disc(c), "white": 1.2 * scale}


def _reticular(c: Canvas) -> Layers:
    pitch = c.rng.uniform(6.5, 8.5)
    net = np.maximum(np.cos(pitch * c.x + 0.5 * c.noise(6)), np.cos(pitch * c.y + 0.5 * c.noise(6)))
    return {"violet": disc(c) * (0.2 + 0.95 * _soft(net - 0.6, 0.12))}


def _vesicular(c: Canvas) -> Layers:
    state = c.rng.bit_generator.state
    count = int(c.rng.integers(5, 9))
    rims = _dots(c, count, 0.28, spread=0.75)
    c.rng.bit_generator.state = state  # the same blisters again, smaller: their pale tops
    tops = _dots(c, int(c.rng.integers(5, 9)), 0.15, spread=0.75)
    return {"red": 0.45 * disc(c, 1.0, 0.15) + 0.5 * rims * (1 - tops), "white": 1.2 * tops}


def _linear(c: Canvas) -> Layers:
    bend = 0.25 * c.noise(4)
    streak = _band(c.y + bend, 0.2) * _band(c.x, 1.15)
    side = _band(c.y + bend - 0.55, 0.09) * _band(c.x - 0.2, 0.6)
    return {"red": 0.7 * (streak + side), "brown": 0.5 * streak}


def _target(c: Canvas) -> Layers:
    return {"red": 0.85 * _ring(c, 0.92, 0.16), "violet": 0.95 * disc(c, 0.42), "white": 0.3 * _ring(c, 0.62, 0.12)}


def _nodular(c: Canvas) -> Layers:
    shine = np.exp(-(((c.x + 0.3) ** 2 + (c.y + 0.3) ** 2) / 0.1))
    dome, edge = disc(c, 0.85), _ring(c, 0.85, 0.15)
    return {"red": 0.55 * dome, "white": 0.9 * shine, "brown": 0.7 * edge, "violet": 0.2 * dome}


def _ulcerated(c: Canvas) -> Layers:
    ragged = c.r + 0.2 * c.noise(8)
    pit, shore = _soft(0.5 - ragged, 0.08), _soft(1.0 - ragged, 0.1)
    return {"dark": 0.95 * pit, "red": 0.7 * shore, "white": 0.4 * _ring(c, 0.75, 0.12)}


# --- the twelve others, for the base model only ---------------------------------------------------------------------
def _blushing(c: Canvas) -> Layers:
    return {"red": disc(c, 0.9, 0.25)}


def _dusky(c: Canvas) -> Layers:
    return {"brown": disc(c, 0.9) * (0.9 + 0.2 * c.noise(8)), "violet": 0.2 * disc(c)}


def _pale(c: Canvas) -> Layers:
    return {"white": 1.1 * disc(c, 0.95, 0.06), "brown": 0.4 * _ring(c, 1.1, 0.12)}


def _striped(c: Canvas) -> Layers:
    return {"brown": disc(c) * (0.15 + 0.85 * _soft(np.cos(7.0 * c.y) - 0.1, 0.15)), "red": 0.3 * disc(c)}


def _crescent(c: Canvas) -> Layers:
    hole = _soft(0.75 - np.sqrt((c.x - 0.4) ** 2 + c.y**2))
    return {"violet": disc(c) * (1 - hole), "red": 0.3 * disc(c) * (1 - hole)}


def _stellate(c: Canvas) -> Layers:
    arms = _soft(0.5 + 0.35 * np.cos(5 * c.t) - c.r, 0.06)
    return {"brown": 0.5 * arms, "dark": 0.6 * arms}


def _speckled(c: Canvas) -> Layers:
    return {"dark": 0.85 * _dots(c, 14, 0.09, spread=1.05, edge=0.04), "brown": 0.25 * disc(c)}


def _serpentine(c: Canvas) -> Layers:
    wave = _band(c.y - 0.4 * np.sin(4.0 * c.x), 0.14) * _band(c.x, 1.1)
    return {"violet": 0.5 * wave, "red": 0.8 * wave}


def _rosette(c: Canvas) -> Layers:
    petals = _ring(c, 0.65, 0.28) * _soft(np.cos(6 * c.t) + 0.1, 0.2)
    return {"red": petals, "white": 0.9 * disc(c, 0.25)}


def _mottled(c: Canvas) -> Layers:
    spread = disc(c, 1.1)
    return {"brown": spread * _soft(c.noise(9), 0.15), "white": 0.7 * spread * _soft(-0.5 - c.noise(9), 0.2)}


def _haloed(c: Canvas) -> Layers:
    return {"dark": 0.8 * disc(c, 0.38), "white": 0.9 * _ring(c, 0.75, 0.2)}


def _twin(c: Canvas) -> Layers:
    left, right = np.hypot(c.x + 0.55, c.y), np.hypot(c.x - 0.55, c.y)
    return {"red": 0.9 * _soft(0.42 - left), "dark": 0.4 * _soft(0.2 - left), "brown": 0.9 * _soft(0.42 - right)}


CONDITIONS: dict[str, Callable[[Canvas], Layers]] = {
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
OTHERS: dict[str, Callable[[Canvas], Layers]] = {
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
