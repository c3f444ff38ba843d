"""The one optimiser of all pretraining here, counted in steps and never by the clock."""

import logging
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

__all__ = ["minimise"]

LOG = logging.getLogger(__name__)


def minimise(
    models: list[nn.Module],
    loss_of: Callable[[int], torch.Tensor],
    steps: int,
    lr: float,
    what: str,
    decay: float = 0.995,
) -> float:
    """Train models in place for so many steps; returns the mean loss of the last tenth.

    loss_of: step number → loss of a batch. AdamW with warm-up and cosine decay to 2 % of lr; gradients clipped to norm
    1. It leaves the weights' exponential moving average behind (decay: its memory). what: the name in the log.
    """
    weights = [p for model in models for p in model.parameters()]
    average = [p.detach().clone() for p in weights]
    optimiser = torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.99), weight_decay=1e-3)
    warm = max(1, min(100, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * i / steps)))
    )
    losses = []
    for step in range(steps):
        loss = loss_of(step)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        torch._foreach_lerp_(average, [p.detach() for p in weights], 1 - min(decay, (step + 1) / (step + 10)))
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            LOG.info("%s: step %d of %d, loss %.5f", what, step + 1, steps, np.mean(losses[-100:]))
    for weight, mean in zip(weights, average, strict=True):
        weight.data.copy_(mean)
    return float(np.mean(losses[-max(1, steps // 10) :]))
