"""The arithmetic's floor of a cell whose body learns: the body's own passes over as many images, and nothing around
them."""

import time
from typing import NamedTuple

import numpy as np
import torch

from skinsyn.classifier import features, training
from skinsyn.classifier.settings import Training
from skinsyn.run import compute

__all__ = ["Passes", "gain_of_bf16", "passes"]


class Passes(NamedTuple):
    """What one cell passes through its body: `shown` training and `held` validation images per epoch, `held` test
    images."""

    body: str
    image_size: int
    shown: int
    held: int
    epochs: int
    seed: int = 0  # of the pictures; Dask runs a task of the same arguments once only


def _prepared(about: Passes) -> torch.nn.Module:
    """The body as a cell of `head+bn` has it, all but its norms frozen."""
    compute.set_threads(1)
    body = features.shared_body(about.body, "catavgmax")[0]
    source = training.Images(np.zeros((1, 8, 8, 3), np.uint8), ["none"], body, about.image_size, "cpu")
    model = source.model(2, Training(trainable="head+bn", head="fastai"))
    training._set_mode(model, "head+bn")
    return model[0]


def _pictures(count: int, about: Passes) -> torch.Tensor:
    random = torch.Generator().manual_seed(about.seed)
    pixels = torch.randn(count, 3, about.image_size, about.image_size, generator=random)
    return pixels.contiguous(memory_format=torch.channels_last)


def passes(about: Passes) -> None:
    """Forward and backward over the training images of all epochs, forward over the others, in a cell's own batches."""
    body, size = _prepared(about), min(training.batch_size(about.shown), about.shown)
    pixels, held = _pictures(size, about), _pictures(min(64, about.held), about)
    for _ in range(about.epochs):
        for start in range(0, about.shown, size):
            body(pixels[: about.shown - start]).sum().backward()
    body.eval()
    with torch.inference_mode():
        for _ in range(about.epochs + 2):  # and at the end validation and test images once more
            for start in range(0, about.held, len(held)):
                body(held[: about.held - start])


def gain_of_bf16(about: Passes) -> float:
    """How many times as fast one forward and backward pass is under bf16 as in float32; below 1 where the CPU lacks
    it."""
    body, pixels = _prepared(about), _pictures(8, about)

    def step(dtype: str) -> float:
        begun = time.perf_counter()
        training._logits(body, pixels, dtype).sum().backward()
        return time.perf_counter() - begun

    spent = [(step("fp32"), step("bf16")) for _ in range(4)][1:]  # the first one prepares
    plain, short = np.median(spent, axis=0)
    return float(plain / short)
