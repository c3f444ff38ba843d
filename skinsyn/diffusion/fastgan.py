"""FastGAN's two networks and its augmentation, for images whose side is a power of two from 32 to 512 pixels.

Source: Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis" (arXiv
2101.04775): skip-layer excitation in the generator, a discriminator that also rebuilds what it sees from its features.
The augmentation is Zhao et al. 2020 (arXiv 2006.10738). Left out: noise injection, and the perceptual loss, whose
network would have to be brought along; the plain L1 distance is in its place.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["LATENT", "Discriminator", "Generator", "augment"]

LATENT = 128  # dimensions of the latent
FIRST = 4  # side of the generator's first feature map
SKIP = 3  # doublings that an excitation spans: 4 px to 32, 8 to 64, 16 to 128 …


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, size, stride, padding, bias=False))


def _width(width: int, side: int) -> int:
    """Channels at a resolution: `width` times 8 at 8 px and below, halved with each doubling, `width` at the least."""
    return width * max(1, min(8, 64 // side))


class _Up(nn.Sequential):
    """Twice the side: nearest pixels, convolution, batch normalisation, gated linear unit."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"),
            _conv(inputs, 2 * outputs),
            nn.BatchNorm2d(2 * outputs),
            nn.GLU(dim=1),
        )


class _Excitation(nn.Sequential):
    """Skip-layer excitation: what small features say about the channels of large ones, (n, c, 1, 1) in 0 to 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(4), _conv(inputs, outputs, 4, 1, 0), nn.LeakyReLU(0.1), _conv(outputs, outputs, 1, 1,
            0),
            nn.Sigmoid(),
        )  # fmt: skip


class Generator(nn.Module):
    """Latents (n, LATENT) to images (n, 3, s, s) in -1 to 1."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        first = _width(width, FIRST)
        self.start = nn.Sequential(
            spectral_norm(nn.ConvTranspose2d(LATENT, 2 * first, FIRST, bias=False)),
            nn.BatchNorm2d(2 * first),
            nn.GLU(dim=1),
        )
        sides = [FIRST << i for i in range(1, size.bit_length() - FIRST.bit_length() + 1)]
        self.ups = nn.ModuleDict({str(s): _Up(_width(width, s // 2), _width(width, s)) for s in sides})
        self.skips = nn.ModuleDict(
            {str(s): _Excitation(_width(width, s >> SKIP), _width(width, s)) for s in sides if s >> SKIP >= FIRST}
        )
        self.end = _conv(_width(width, size), 3)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        features = {FIRST: self.start(latents[..., None, None])}
        for name, up in self.ups.items():
            side = int(name)
            features[side] = up(features[side // 2])
            if name in self.skips:
                features[side] = features[side] * self.skips[name](features[side >> SKIP])
        return torch.tanh(self.end(features[max(features)]))


class _Down(nn.Module):
    """Half the side, two ways that are averaged: strided convolutions, and pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            _conv(inputs, outputs, 4, 2), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2), _conv(outputs, outputs),
            nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.direct = nn.Sequential(
            nn.AvgPool2d(2), _conv(inputs, outputs, 1, 1, 0), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (self.main(features) + self.direct(features)) / 2


class Discriminator(nn.Module):
    """Images (n, 3, s, s) to logits (n, 1, 5, 5), above 0 for real, and what they are rebuilt to, (n, 3, s/2, s/2)."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        sides = [size >> i for i in range(1, size.bit_length() - 3)]  # down to 8 px
        self.start = nn.Sequential(_conv(3, _width(width, size)), nn.LeakyReLU(0.2))
        self.downs = nn.Sequential(*(_Down(_width(width, 2 * s), _width(width, s)) for s in sides))
        last = _width(width, 8)
        self.judge = nn.Sequential(_conv(last, last, 1, 1, 0), nn.LeakyReLU(0.2), _conv(last, 1, 4, 1, 0))
        back = [8 << i for i in range(1, (size // 2).bit_length() - 3)]
        self.rebuild = nn.Sequential(
            *(_Up(_width(width, s // 2), _width(width, s)) for s in back), _conv(_width(width, size // 2), 3), nn.Tanh()
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.downs(self.start(images))
        return self.judge(features), self.rebuild(features)


def augment(images: torch.Tensor) -> torch.Tensor:
    """Random brightness, saturation, contrast and translation of images (n, 3, s, s), such that gradients pass
    through."""
    draw = torch.rand(3, len(images), 1, 1, 1).to(images)
    images = images + draw[0] - 0.5
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * draw[1] * 2 + grey
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * (draw[2] + 0.5) + middle
    side = images.shape[-1]
    most = side // 8
    padded = F.pad(images, [most] * 4)
    corners = torch.randint(0, 2 * most + 1, (len(images), 2)).tolist()
    return torch.stack([one[:, y : y + side, x : x + side] for one, (y, x) in zip(padded, corners, strict=True)])
