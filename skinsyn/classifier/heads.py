"""Heads on pooled features, and what moves them: the linear one, and fastai's."""

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["OPTIMISER", "POOL", "Dropout", "decays", "make_head"]

POOL = {"linear": "avg", "fastai": "catavgmax"}  # head → how its body pools
# head → AdamW's numbers beside the learning rate and the decay, where they are not PyTorch's. fastai 2.8: `Adam`.
OPTIMISER = {"linear": {}, "fastai": {"betas": (0.9, 0.99), "eps": 1e-5}}


class Dropout(nn.Module):
    """Dropout by random bytes, exact for shares that are multiples of 1/256: torch's own took a third of a small
    cell."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.limit, self.scale = round(share * 256), 1 / (1 - share)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        mask = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.limit
        return x * (mask * self.scale)


def make_head(inputs: int, classes: int, kind: str) -> nn.Module:
    """A fresh head on pooled features (n, inputs).

    linear: normalise each feature over the batch, drop a quarter, one linear layer. fastai: its `create_head`, two
    layers with 512 between them, begun as in its `vision_learner`: Kaiming's normal distribution, norms at 0.001. The
    pooling before it, means and maxima, is the body's (POOL).
    """
    if kind == "linear":
        return nn.Sequential(nn.BatchNorm1d(inputs), Dropout(0.25), nn.Linear(inputs, classes))
    if kind == "fastai":
        first = (nn.BatchNorm1d(inputs), Dropout(0.25), nn.Linear(inputs, 512, bias=False), nn.ReLU())
        head = nn.Sequential(*first, nn.BatchNorm1d(512), Dropout(0.5), nn.Linear(512, classes, bias=False))
        for norm, linear in ((head[0], head[2]), (head[4], head[6])):
            nn.init.constant_(norm.bias, 1e-3)
            nn.init.kaiming_normal_(linear.weight)
        return head
    raise ValueError(f"head {kind!r}: expected linear or fastai")


def decays(kind: str, shape: Sequence[int]) -> bool:
    """Whether weight decay shrinks parameters of this shape: under fastai's head not norms and biases
    (`wd_bn_bias`)."""
    return kind != "fastai" or len(shape) > 1
