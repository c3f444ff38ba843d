"""Heads on pooled features: the linear one, and fastai's."""

import torch
from torch import nn

__all__ = ["POOL", "Dropout", "make_head"]

POOL = {"linear": "avg", "fastai": "catavgmax"}  # head → how its body pools


class Dropout(nn.Module):
    """Dropout by random bytes, exact for shares that are multiples of 1/256: torch's own took a third of a small cell."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.limit, self.scale = round(share * 256), 1 / (1 - share)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.limit
        return x * (kept * self.scale)


def make_head(inputs: int, classes: int, kind: str) -> nn.Module:
    """A fresh head on pooled features (n, inputs).

    linear: normalise each feature over the batch, drop a quarter, one linear layer. fastai: its `create_head`, two layers
    with 512 between them; the pooling before it, means and maxima, is the body's (POOL).
    """
    if kind == "linear":
        return nn.Sequential(nn.BatchNorm1d(inputs), Dropout(0.25), nn.Linear(inputs, classes))
    if kind == "fastai":
        first = (nn.BatchNorm1d(inputs), Dropout(0.25), nn.Linear(inputs, 512, bias=False), nn.ReLU())
        return nn.Sequential(*first, nn.BatchNorm1d(512), Dropout(0.5), nn.Linear(512, classes, bias=False))
    raise ValueError(f"head {kind!r}: expected linear or fastai")
