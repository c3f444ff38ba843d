"""Masks of inpainting: painted pixels (True) and visible pixels (False), boolean arrays of the image's size."""

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["KINDS", "centre_square", "draw", "outside_square", "random_shape"]

KINDS = ("rectangle", "ellipse", "centre", "outside")


def centre_square(size: int, fraction: float = 0.25) -> np.ndarray:
    """The centre square from `fraction` to `1 - fraction` of each side, bool (size, size).

    Raises ValueError where nothing would be painted. Source: PROTOCOL, Generator; the study's code cuts the same
    indices.
    """
    start, end = int(size * fraction), int(size * (1 - fraction))
    if not 0 <= start < end <= size:
        raise ValueError(f"mask_fraction {fraction} of {size} px leaves nothing to paint; expected 0 to below 0.5")
    mask = np.zeros((size, size), dtype=bool)
    mask[start:end, start:end] = True
    return mask


def outside_square(size: int, fraction: float = 0.25, border: float = 1 / 32) -> np.ndarray:
    """Everything outside the centre square but the outermost `border` of each side, bool (size, size).

    The border is 16 of 512 px and 2 of 64 px: the frame that is still shown. Source: PROTOCOL, Generator.
    """
    edge = round(size * border)
    mask = np.zeros((size, size), dtype=bool)
    mask[edge : size - edge, edge : size - edge] = True
    return mask & ~centre_square(size, fraction)


def random_shape(rng: np.random.Generator, size: int, shape: str) -> np.ndarray:
    """A filled `rectangle` or `ellipse` of random sides (0 to all of the image) somewhere inside, bool (size, size).

    Source: `random_mask` of diffusers' DreamBooth example for inpainting, which the study used.
    """
    width, height = (int(n) for n in rng.integers(0, size, 2, endpoint=True))
    x = int(rng.integers(width // 2, size - width // 2, endpoint=True))
    y = int(rng.integers(height // 2, size - height // 2, endpoint=True))
    canvas = Image.new("1", (size, size))
    box = (x - width // 2, y - height // 2, x + width // 2, y + height // 2)
    getattr(ImageDraw.Draw(canvas), shape)(box, fill=1)
    return np.asarray(canvas)


def draw(rng: np.random.Generator, size: int, shares: dict[str, float], fraction: float = 0.25) -> np.ndarray:
    """One training mask, bool (size, size), of a kind drawn with the given shares (`KINDS`; they need not add to 1).

    Raises ValueError for an unknown kind, a negative share, or shares that are all zero.
    """
    unknown = sorted(set(shares) - set(KINDS))
    weights = np.array([float(shares.get(kind, 0)) for kind in KINDS])
    if unknown or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError(f"mask shares {shares}: expected shares above 0 of {', '.join(KINDS)}")
    kind = KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]
    if kind == "centre":
        return centre_square(size, fraction)
    return outside_square(size, fraction) if kind == "outside" else random_shape(rng, size, kind)
