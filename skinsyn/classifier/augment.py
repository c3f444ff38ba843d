"""The transforms of the study: fastai's `aug_transforms` (flip, rotate, zoom, warp, lighting), drawn per image and
view.

Draws depend on the image's id and the view's number only; pictures are transformed in batches, on any device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional as F

from skinsyn.run import seeds

__all__ = ["Draw", "apply", "draw", "matrix"]

# fastai 2 `aug_transforms()` defaults (fastai/vision/augment.py), against which tests/classifier/test_fastai.py holds
# them: each but the flip happens with probability .75.
MAX_ROTATE, MAX_ZOOM, MAX_WARP, MAX_LIGHTING, PROBABILITY = 10.0, 1.1, 0.2, 0.2, 0.75


class Draw(NamedTuple):
    """One random transform: `warp` maps output to input places (3, 3; x and y in [-1, 1]), then lighting in logit
    space."""

    warp: np.ndarray
    brightness: float  # added to the logit of a pixel
    contrast: float  # times the logit of a pixel


def draw(seed: int, image_id: str, view: int) -> Draw:
    """The transform of one image in one view; the same wherever and whenever it is drawn."""
    rng = seeds.generator(seed, "view", image_id, view)
    flip, turns, zooms, tilts_x, tilts_y, lights, contrasts = rng.random(7) < np.array([0.5, *[PROBABILITY] * 6])
    degrees = rng.uniform(-MAX_ROTATE, MAX_ROTATE) * turns
    zoom = 1 + (rng.uniform(1, MAX_ZOOM) - 1) * zooms
    centre = rng.uniform(0, 1, 2)
    tilt = rng.uniform(-MAX_WARP, MAX_WARP, 2) * [tilts_x, tilts_y]  # each on its own, as fastai has it
    level = rng.uniform(0.5 * (1 - MAX_LIGHTING), 0.5 * (1 + MAX_LIGHTING))
    spread = np.log(1 - MAX_LIGHTING)
    contrast = np.exp(rng.uniform(spread, -spread) * contrasts)
    warp = matrix(bool(flip), degrees, zoom, centre, (tilt[0], tilt[1]))
    return Draw(warp, float(np.log(level / (1 - level)) * lights), float(contrast))


def matrix(flip: bool, degrees: float, zoom: float, centre: ArrayLike, tilt: Sequence[float]) -> np.ndarray:
    """The homography (3, 3) from output to input places of fastai's flip, rotation, zoom and warp, in its order.

    zoom: at least 1. centre: of the zoom, x and y as shares of the picture. tilt: of the warp, x and y.
    """
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])
    shift = (1 - 1 / zoom) * (2 * np.asarray(centre) - 1)
    closer = np.array([[1 / zoom, 0, shift[0]], [0, 1 / zoom, shift[1]], [0, 0, 1.0]])
    return _perspective(*tilt) @ np.diag([-1.0 if flip else 1.0, 1.0, 1.0]) @ turned @ closer


def _perspective(x: float, y: float) -> np.ndarray:
    """The homography that takes the square's corners, tilted by x and y, to the square: fastai's `Warp`."""
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1.0]])
    tilted = np.array([[-1 - y, -1 - x], [-1 + y, 1 + x], [1 + y, -1 + x], [1 - y, 1 - x]])
    rows = []
    for (u, v), (a, b) in zip(tilted, corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -a * u, -a * v], [0, 0, 0, u, v, 1, -b * u, -b * v]]
    return np.append(np.linalg.solve(np.array(rows), corners.ravel()), 1.0).reshape(3, 3)


def apply(pixels: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Transform pictures: float (n, 3, s, s) in [0, 1] → the same; bilinear, mirrored beyond the edge, as fastai does
    it."""
    if len(pixels) != len(draws):
        raise ValueError(f"{len(pixels)} pictures but {len(draws)} draws; one each is needed")
    n, _, height, width = pixels.shape
    warp = torch.from_numpy(np.stack([d.warp for d in draws])).to(pixels)
    # As fastai: -1 and 1 are the centres of the outermost pixels.
    ys, xs = (torch.linspace(-1, 1, side, device=pixels.device) for side in (height, width))
    plane = torch.stack([*torch.meshgrid(xs, ys, indexing="xy"), torch.ones(height, width).to(pixels)], dim=-1)
    places = plane.reshape(1, -1, 3) @ warp.transpose(1, 2)
    grid = (places[..., :2] / places[..., 2:]).reshape(n, height, width, 2)
    moved = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    brightness, contrast = (
        torch.tensor([getattr(d, name) for d in draws]).to(pixels).view(n, 1, 1, 1)
        for name in ("brightness", "contrast")
    )
    return torch.sigmoid((torch.logit(moved, 1e-6) + brightness) * contrast)
