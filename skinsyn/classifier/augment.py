"""The transforms of the study: fastai's `aug_transforms` (flip, rotate, zoom, warp, lighting), drawn per image and view.

Draws depend on the image's id and the view's number only; pictures are transformed in batches, on any device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from skinsyn.run import seeds

__all__ = ["Draw", "apply", "draw"]

# fastai 2 `aug_transforms()` defaults (fastai/vision/augment.py): each but the flip happens with probability .75.
MAX_ROTATE, MAX_ZOOM, MAX_WARP, MAX_LIGHTING, PROBABILITY = 10.0, 1.1, 0.2, 0.2, 0.75


class Draw(NamedTuple):
    """One random transform: `warp` maps output to input places (3, 3; x and y in [-1, 1]), then lighting in logit space."""

    warp: np.ndarray
    brightness: float  # added to the logit of a pixel
    contrast: float  # times the logit of a pixel


def draw(seed: int, image_id: str, view: int) -> Draw:
    """The transform of one image in one view; the same wherever and whenever it is drawn."""
    rng = seeds.generator(seed, "view", image_id, view)
    happens = rng.random(6) < np.array([0.5, *[PROBABILITY] * 5])
    angle = np.deg2rad(rng.uniform(-MAX_ROTATE, MAX_ROTATE)) * happens[1]
    zoom = 1 / (1 + (rng.uniform(1, MAX_ZOOM) - 1) * happens[2])
    shift = (1 - zoom) * rng.uniform(-1, 1, 2)
    tilt = rng.uniform(-MAX_WARP, MAX_WARP, 2) * happens[3]
    level = rng.uniform(0.5 * (1 - MAX_LIGHTING), 0.5 * (1 + MAX_LIGHTING))
    spread = np.log(1 - MAX_LIGHTING)
    contrast = np.exp(rng.uniform(spread, -spread) * happens[5])
    flip = np.diag([-1.0 if happens[0] else 1.0, 1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    closer = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1.0]])
    return Draw(_perspective(*tilt) @ flip @ turn @ closer, float(np.log(level / (1 - level)) * happens[4]), float(contrast))


def _perspective(x: float, y: float) -> np.ndarray:
    """The homography that takes the square's corners, tilted by x and y, to the square: fastai's `Warp`."""
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1.0]])
    tilted = np.array([[-1 - y, -1 - x], [-1 + y, 1 + x], [1 + y, -1 + x], [1 - y, 1 - x]])
    rows = []
    for (u, v), (a, b) in zip(tilted, corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -a * u, -a * v], [0, 0, 0, u, v, 1, -b * u, -b * v]]
    return np.append(np.linalg.solve(np.array(rows), corners.ravel()), 1.0).reshape(3, 3)


def apply(pixels: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Transform pictures: float (n, 3, s, s) in [0, 1] → the same; bilinear, mirrored beyond the edge, as fastai does it."""
    if len(pixels) != len(draws):
        raise ValueError(f"{len(pixels)} pictures but {len(draws)} draws; one each is needed")
    n, _, height, width = pixels.shape
    warp = torch.from_numpy(np.stack([d.warp for d in draws])).to(pixels)
    ys = (torch.arange(height, device=pixels.device) * 2 + 1) / height - 1
    xs = (torch.arange(width, device=pixels.device) * 2 + 1) / width - 1
    plane = torch.stack([*torch.meshgrid(xs, ys, indexing="xy"), torch.ones(height, width).to(pixels)], dim=-1)
    places = plane.reshape(1, -1, 3) @ warp.transpose(1, 2)
    grid = (places[..., :2] / places[..., 2:]).reshape(n, height, width, 2)
    moved = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    brightness, contrast = (
        torch.tensor([getattr(d, name) for d in draws]).to(pixels).view(n, 1, 1, 1) for name in ("brightness", "contrast")
    )
    return torch.sigmoid((torch.logit(moved, 1e-6) + brightness) * contrast)
