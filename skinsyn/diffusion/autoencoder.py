"""The tiny autoencoder: its initial weights, its training, and its reconstruction error."""

from typing import TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import nn

from skinsyn.diffusion.optimiser import minimise

__all__ = ["Vae", "decode", "encode", "new_autoencoder", "psnr", "scaling", "to_tensor", "train_autoencoder"]

Vae: TypeAlias = AutoencoderKL | AutoencoderTiny
CROP = 32  # side of the training crops in pixels: a quarter of the work
SHIFT = 10  # largest offset of a crop from the centre, where the lesion is, in pixels
GAIN = 0.6  # spread of the latents at the start: inside the decoder's soft clip at 3
NOISE = (
    0.2  # added to latents in training: the decoder must bear the errors of a small UNet, and grain is not worth a code
)
WHITE, PLAIN, LOOK, SPREAD = 0.1, 0.3, 0.5, 0.02  # weights of the loss: whitened colour, plain error, features, spread


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, s, s, 3) to float32 (n, 3, s, s) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def scaling(vae: Vae) -> float:
    """What latents are multiplied by before the UNet sees them."""
    return float(vae.config.scaling_factor or 1.0)


@torch.no_grad()
def encode(vae: Vae, pixels: torch.Tensor, batch: int = 32) -> torch.Tensor:
    """Scaled latents (n, 4, h, w) of pixels (n, 3, s, s) in [-1, 1]: the posterior's mean."""
    parts = []
    for some in pixels.split(batch):
        out = vae.encode(some)
        parts.append(out.latent_dist.mean if hasattr(out, "latent_dist") else out.latents)
    return torch.cat(parts) * scaling(vae)


@torch.no_grad()
def decode(vae: Vae, latents: torch.Tensor, batch: int = 32) -> np.ndarray:
    """Images uint8 (n, s, s, 3) of scaled latents (n, 4, h, w)."""
    pixels = torch.cat([vae.decode(some / scaling(vae)).sample for some in latents.split(batch)]).clamp(-1, 1)
    return ((pixels + 1) * 127.5 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def psnr(vae: Vae, images: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of images uint8 (n, s, s, 3) after the autoencoder."""
    error = ((decode(vae, encode(vae, to_tensor(images))) / 255.0 - images / 255.0) ** 2).mean((1, 2, 3))
    return float((-10 * np.log10(error + 1e-12)).mean())


def new_autoencoder(images: np.ndarray) -> AutoencoderTiny:
    """An autoencoder of 0.4 M weights, 4 pixels to a latent (64 px become 4 x 16 x 16), that starts as a 4 x 4 average.

    Its first three latents begin as the images' decorrelated colours and are decoded back to them, so that training
    only adds what an average loses. From random weights all output has the lesion's mean hue for a thousand steps.
    images: uint8 (n, s, s, 3), for their colours. It has no normalisation: what is learned on crops holds for whole
    images.
    """
    vae = AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(0, 2, 4),
        num_decoder_blocks=(5, 2, 0),
    )
    colours = torch.from_numpy(images[:: max(1, len(images) // 400)].reshape(-1, 3).astype(np.float32) / 255)
    mean, (spread, axes) = colours.mean(0), torch.linalg.eigh(torch.cov(colours.T))
    mix = GAIN * (axes / spread.clamp_min(1e-6).sqrt()).T  # (3, 3): colour to latent
    with torch.no_grad():
        for layer in (*vae.encoder.layers, *vae.decoder.layers):
            if hasattr(layer, "conv"):  # a residual block: its last convolution leaves the colours alone
                layer.conv[-1].weight[:3], layer.conv[-1].bias[:3] = 0, 0
        first, *downs, last = [layer for layer in vae.encoder.layers if isinstance(layer, nn.Conv2d)]
        _pass(first, torch.eye(3))
        first.bias[:3] = 0
        for down in downs:
            down.weight[:3] = 0
            down.weight[:3, :3, 1:, 1:] = torch.eye(3)[..., None, None] / 4
        _pass(last, mix)
        last.bias[:3] = -(mix @ mean)
        first, *ups, last = [layer for layer in vae.decoder.layers if isinstance(layer, nn.Conv2d)]
        _pass(first, torch.linalg.inv(mix))
        first.bias[:3] = mean
        for up in ups:
            _pass(up, torch.eye(3))
        last.weight.mul_(0.1)
        _pass(last, torch.eye(3), others=True)
        last.bias.zero_()
    return vae.to(memory_format=torch.channels_last)


def _pass(layer: nn.Conv2d, mix: torch.Tensor, others: bool = False) -> None:
    """Let the first three channels of a 3 x 3 convolution be mix (3, 3) of the first three below.

    others: keep what they take from the channels beyond.
    """
    layer.weight[:3, : 3 if others else None] = 0
    layer.weight[:3, :3, 1, 1] = mix


def _whitening(images: np.ndarray) -> torch.Tensor:
    """(3, 3) that gives differences of colour within images uint8 (n, s, s, 3) unit variance in every direction.

    Lightness varies ten times as much as hue; a plain error would leave hue for last, and lesions differ by it.
    """
    pixels = images[:600].astype(np.float32) / 127.5 - 1
    spread, axes = np.linalg.eigh(np.cov((pixels - pixels.mean((1, 2), keepdims=True)).reshape(-1, 3).T))
    return torch.from_numpy(axes / np.sqrt(np.maximum(spread, 1e-6))).float()


def _look(body: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Features of the first stages of an ImageNet body, of pixels in [-1, 1]."""
    from skinsyn.classifier import features  # here: timm takes seconds to import, and only this training needs it

    seen = [body.bn1(body.conv_stem(features.normalise((pixels + 1) / 2, body)))]
    for block in body.blocks[:3]:
        seen.append(block(seen[-1]))
    return seen


def _perceptual(body: nn.Module, back: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Squared differences of features, each channel by its size. Source: Johnson et al. 2016, arXiv 1603.08155, eq.
    2."""
    with torch.no_grad():
        wanted = _look(body, given)
    pairs = zip(_look(body, back), wanted, strict=True)
    return torch.stack(
        [((a - b) ** 2 / (b.square().mean((0, 2, 3), keepdim=True) + 1e-4)).mean() for a, b in pairs]
    ).mean()


def train_autoencoder(
    images: np.ndarray, steps: int, batch: int, lr: float, seed: int
) -> tuple[AutoencoderTiny, float]:
    """Train a new autoencoder on crops of images uint8 (n, s, s, 3) about their middle. → it, its last loss

    The loss is that of latent diffusion's autoencoders (Rombach et al. 2022, appendix G) without the adversary: plain
    and whitened error, the features of an ImageNet body, and a hold on the latents' mean and spread.
    """
    from skinsyn.classifier import features

    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    vae, pixels, white = new_autoencoder(images), to_tensor(images), _whitening(images)
    body = features.shared_body(features.LITE0)[0].eval()
    middle = max(0, pixels.shape[-1] - CROP) // 2
    reach = min(SHIFT, middle)

    def loss_of(step: int) -> torch.Tensor:
        some = pixels[torch.from_numpy(rng.integers(0, len(pixels), batch))]
        row, column = middle + rng.integers(-reach, reach + 1, 2)
        some = some[..., row : row + CROP, column : column + CROP]
        turned = [axis for axis in (-1, -2) if rng.random() < 0.5]
        some = some.flip(turned).contiguous(memory_format=torch.channels_last)
        z = vae.encode(some).latents
        back = vae.decode(z + NOISE * torch.randn_like(z)).sample
        error = back - some
        hue = torch.einsum("bchw,cd->bdhw", error, white)
        spread = (z.mean((0, 2, 3)) ** 2 + (z.std((0, 2, 3)) - 1) ** 2).mean()
        seen = _perceptual(body, back, some)
        return PLAIN * error.abs().mean() + WHITE * hue.abs().mean() + LOOK * seen + SPREAD * spread

    loss = minimise([vae], loss_of, steps, lr, "autoencoder")
    vae.eval()
    vae.register_to_config(scaling_factor=round(1.0 / float(encode(vae, pixels[:512]).std() / scaling(vae)), 5))
    return vae, loss
