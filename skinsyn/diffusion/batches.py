"""Batches of a fine-tuning: which images, how they are cut and coloured, what of them is masked."""

from collections.abc import Iterator

import numpy as np
import torch
from torchvision.transforms import v2

from skinsyn.images import pictures

from . import masks

__all__ = ["endless", "order"]


def _transforms(task: dict) -> v2.Transform:
    """The study's augmentation, from torchvision as in the study's code.

    A crop's scale above 1 asks for a window larger than the photograph: torchvision draws again, ten times at most,
    until the window fits, and else takes the whole image, so 0.9 to 1.1 acts as 0.9 to 1.0. It never zooms out.
    """
    crop = v2.RandomResizedCrop(task["image_size"], scale=task["crop_scale"], ratio=task["crop_ratio"], antialias=True)
    jitter = [v2.ColorJitter(*[task["jitter"]] * 4)] if task["jitter"] else []
    return v2.Compose([crop, *jitter, *([v2.RandomHorizontalFlip()] if task["flip"] else [])])


def order(count: int, batch: int, waiting: list[list[int]] | None = None) -> Iterator[list[int]]:
    """Batches of row numbers without end: each epoch a new permutation, its last batch as small as is left.

    waiting: the epoch's batches that are still to come; kept up to date, so that a stopped training can go on from
    there.
    """
    waiting = [] if waiting is None else waiting
    while True:
        if not waiting:
            waiting.extend(part.tolist() for part in torch.randperm(count).split(batch))
        yield waiting.pop(0)


def endless(
    task: dict,
    rows: list[dict],
    words: list[torch.Tensor],
    shapes: np.random.Generator,
    waiting: list[list[int]],
    device: torch.device,
) -> Iterator[tuple]:
    """Batches without end: pixels (b, 3, s, s) in [-1, 1], masks (b, 1, s, s) or None, text (b, tokens, width)."""
    stock = [torch.from_numpy(image).permute(2, 0, 1) for image in pictures(rows)]
    augment = _transforms(task)
    for chosen in order(len(stock), task["batch_size"], waiting):
        shown = torch.stack([augment(stock[i]) for i in chosen]).to(device).float() / 127.5 - 1
        painted = None
        if task["task"] == "inpainting":
            drawn = [masks.draw(shapes, task["image_size"], task["mask_shares"], task["mask_fraction"]) for _ in chosen]
            painted = torch.from_numpy(np.stack(drawn))[:, None].to(device).float()
        yield shown, painted, torch.stack([words[i] for i in chosen])
