"""Batches of a fine-tuning: which images, their crops and colours, and the masks of inpainting."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from skinsyn.images import pictures

from . import masks
from .settings import FineTune, Tuning

__all__ = ["endless", "order"]


def _transforms(settings: FineTune) -> v2.Transform:
    """The study's augmentation, from torchvision as in the study's code.

    A crop's scale above 1 asks for a window larger than the photograph: torchvision draws again, ten times at most,
    until the window fits, and else takes the whole image, so 0.9 to 1.1 acts as 0.9 to 1.0. It never zooms out.
    """
    size, scale, ratio = settings.image_size, settings.crop_scale, settings.crop_ratio
    crop = v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=True)
    jitter = [v2.ColorJitter(*[settings.jitter] * 4)] if settings.jitter else []
    return v2.Compose([crop, *jitter, *([v2.RandomHorizontalFlip()] if settings.flip else [])])


def order(count: int, batch: int, waiting: list[list[int]]) -> Iterator[list[int]]:
    """Batches of row numbers without end: each epoch a new permutation, its last batch as small as what remains.

    waiting: the epoch's batches that are still to come; kept up to date, so that a stopped training can resume there.
    """
    while True:
        if not waiting:
            waiting.extend(part.tolist() for part in torch.randperm(count).split(batch))
        yield waiting.pop(0)


def endless(
    tuning: Tuning,
    rows: Sequence[Mapping[str, Any]],
    contexts: Sequence[torch.Tensor],
    shapes: np.random.Generator,
    waiting: list[list[int]],
    device: torch.device,
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]:
    """Batches without end: pixels (b, 3, s, s) in [-1, 1], masks (b, 1, s, s) or None, text (b, tokens, width)."""
    stock = [torch.from_numpy(image).permute(2, 0, 1) for image in pictures(rows)]
    augment = _transforms(tuning)
    for batch in order(len(stock), tuning.batch_size, waiting):
        pixels = torch.stack([augment(stock[i]) for i in batch]).to(device).float() / 127.5 - 1
        mask = None
        if tuning.task == "inpainting":
            drawn = [masks.draw(shapes, tuning.image_size, tuning.mask_shares, tuning.mask_fraction) for _ in batch]
            mask = torch.from_numpy(np.stack(drawn))[:, None].to(device).float()
        yield pixels, mask, torch.stack([contexts[i] for i in batch])
