"""Pretraining a tiny Stable Diffusion from images and prompts: autoencoder, then text-to-image, then inpainting.

Counted in steps, never by the clock, so that the same images, seed and threads give the same weights on one machine.
"""

import copy
import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn.functional import interpolate, mse_loss
from transformers import CLIPTextModel, CLIPTokenizer

from skinsyn.diffusion.tiny import new_autoencoder

LOG = logging.getLogger(__name__)
DROP_PROMPT = 0.10  # share of empty prompts, for classifier-free guidance (Ho & Salimans 2022)
DROP_TYPE = 0.40  # share of prompts that lose their ", Fitzpatrick skin type n"
CROP = 32  # pixels a side that the autoencoder trains on: a quarter of the work
HUE = 10.0  # weight of hue in the autoencoder's loss: redness is a small part of the squared error, but the point
SCHEDULE = {  # Stable Diffusion's own noise
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",  # learns colour and layout in far fewer steps than noise (Salimans & Ho 2022)
    "clip_sample": False,
    "steps_offset": 1,
}
Vae = AutoencoderKL | AutoencoderTiny


class Latents(NamedTuple):
    """Scaled latents: clean and mirrored (n, 2, 4, h, w); k masked versions (n, k, 4, h, w); masks (n, k, 1, h, w)."""

    clean: torch.Tensor
    masked: torch.Tensor
    masks: torch.Tensor


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, s, s, 3) to float32 (n, 3, s, s) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def scaling(vae: Vae) -> float:
    """What latents are multiplied by before the UNet sees them."""
    return float(vae.config.scaling_factor or 1.0)


@torch.no_grad()
def encode(vae: Vae, pixels: torch.Tensor, batch: int = 32) -> torch.Tensor:
    """Scaled latents (n, 4, s/8, s/8) of pixels (n, 3, s, s) in [-1, 1]: the posterior's mean."""
    parts = []
    for some in pixels.split(batch):
        out = vae.encode(some)
        parts.append(out.latent_dist.mean if hasattr(out, "latent_dist") else out.latents)
    return torch.cat(parts) * scaling(vae)


@torch.no_grad()
def psnr(vae: Vae, images: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of images uint8 (n, s, s, 3) after the autoencoder."""
    pixels = to_tensor(images)
    back = torch.cat([vae.decode(z / scaling(vae)).sample for z in encode(vae, pixels).split(32)]).clamp(-1, 1)
    error = ((back - pixels) ** 2).flatten(1).mean(1) / 4.0
    return float((-10 * torch.log10(error)).mean())


def draw_mask(rng: np.random.Generator, size: int, kind: int) -> np.ndarray:
    """What is to be painted, bool (size, size): the centre square (kind 0), all but it and the rim (1), any (2)."""
    y, x = np.mgrid[:size, :size] / size
    centre = (abs(x - 0.5) < 0.25) & (abs(y - 0.5) < 0.25)
    if kind == 0:
        return centre
    if kind == 1:
        rim = np.minimum.reduce([x, y, 1 - x, 1 - y]) < 1 / 32
        return ~centre & ~rim
    (cx, cy), (w, h) = rng.uniform(0.2, 0.8, 2), rng.uniform(0.12, 0.45, 2)
    if rng.random() < 0.5:
        return (abs(x - cx) < w) & (abs(y - cy) < h)
    return ((x - cx) / w) ** 2 + ((y - cy) / h) ** 2 < 1


def make_latents(vae: Vae, images: np.ndarray, seed: int, masks_per_image: int = 3) -> Latents:
    """Encode images, their mirror images, and masked versions once, so that the UNets' training reads latents alone."""
    rng = np.random.default_rng([seed, 77])
    pixels = to_tensor(images)
    clean = torch.stack([encode(vae, pixels), encode(vae, pixels.flip(-1))], dim=1)
    masked, masks = [], []
    size, small = pixels.shape[-1], clean.shape[-1]
    for kind in range(masks_per_image):
        shapes = torch.from_numpy(np.stack([draw_mask(rng, size, kind) for _ in images]))[:, None].float()
        masked.append(encode(vae, pixels * (shapes < 0.5)))
        masks.append(interpolate(shapes, size=(small, small)))
    return Latents(clean, torch.stack(masked, dim=1), torch.stack(masks, dim=1))


def _loop(
    models: list[nn.Module],
    loss_of: Callable[[int], torch.Tensor],
    steps: int,
    lr: float,
    what: str,
    decay: float = 0.995,
) -> float:
    """Adam with warm-up and cosine decay; leaves the weights' moving average (EMA) behind; the last tenth's loss."""
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


def train_autoencoder(images: np.ndarray, steps: int, batch: int, lr: float, seed: int) -> tuple[AutoencoderTiny, float]:
    """Train a new autoencoder on crops of images uint8 (n, s, s, 3). → it, its last loss

    It has no normalisation, so what is learned on crops holds for whole images. A little noise on the latents keeps
    their space smooth, and they are held near zero mean and unit spread; the scaling factor does the rest.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    vae, pixels = new_autoencoder(), to_tensor(images)

    def loss_of(step: int) -> torch.Tensor:
        some = pixels[torch.from_numpy(rng.integers(0, len(pixels), batch))]
        row, column = rng.integers(0, max(1, some.shape[-1] - CROP + 1), 2)
        some = some[..., row : row + CROP, column : column + CROP]
        some = some.flip(-1) if rng.random() < 0.5 else some
        z = vae.encode(some).latents
        back = vae.decode(z + 0.05 * torch.randn_like(z)).sample
        spread = (z.mean((0, 2, 3)) ** 2 + (z.std((0, 2, 3)) - 1) ** 2).mean()
        error = back - some
        hue = error - error.mean(1, keepdim=True)
        return (error**2).mean() + 0.05 * error.abs().mean() + HUE * (hue**2).mean() + 0.003 * spread

    loss = _loop([vae], loss_of, steps, lr, "autoencoder")
    vae.eval()
    vae.register_to_config(scaling_factor=round(1.0 / float(encode(vae, pixels[:512]).std() / scaling(vae)), 5))
    return vae, loss


def tokenize(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Token numbers (n, model_max_length), padded and cut as the diffusers pipelines do."""
    kept = {"padding": "max_length", "truncation": True, "max_length": tokenizer.model_max_length}
    return tokenizer(prompts, return_tensors="pt", **kept).input_ids


def train_unet(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: Latents,
    prompts: list[str],
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    train_text: bool,
) -> float:
    """Train a text-to-image (4 channels) or inpainting (9) UNet in place to predict velocity; the last tenth's loss.

    train_text: train the text encoder along with it. Inpainting must not, as both tasks share one.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    noise = DDPMScheduler(**SCHEDULE)
    tokens = tokenize(tokenizer, [p for prompt in prompts for p in (prompt, prompt.split(", Fitzpatrick")[0])]).view(
        len(prompts), 2, -1
    )
    empty = tokenize(tokenizer, [""])[0]
    text_encoder.requires_grad_(train_text)

    def loss_of(step: int) -> torch.Tensor:
        rows = torch.from_numpy(rng.integers(0, len(prompts), batch))
        words = tokens[rows, torch.from_numpy((rng.random(batch) < DROP_TYPE).astype(int))]
        words[torch.from_numpy(rng.random(batch) < DROP_PROMPT)] = empty
        context = text_encoder(words)[0]
        inpainting = unet.config.in_channels == 9
        flips = 0 if inpainting else torch.from_numpy(rng.integers(0, 2, batch))
        clean = latents.clean[rows, flips]
        grain = torch.randn_like(clean)
        when = torch.randint(0, SCHEDULE["num_train_timesteps"], (batch,))
        given = noise.add_noise(clean, grain, when)
        if inpainting:
            which = torch.from_numpy(rng.integers(0, latents.masks.shape[1], batch))
            given = torch.cat([given, latents.masks[rows, which], latents.masked[rows, which]], dim=1)
        return mse_loss(unet(given, when, context).sample, noise.get_velocity(clean, grain, when))

    trained = [unet, text_encoder] if train_text else [unet]
    loss = _loop(trained, loss_of, steps, lr, "inpainting" if unet.config.in_channels == 9 else "text-to-image")
    unet.eval()
    text_encoder.requires_grad_(True).eval()
    return loss


def copy_matching(source: nn.Module, target: nn.Module) -> int:
    """Copy every weight whose name and shape agree; returns how many tensors were copied."""
    own, other = target.state_dict(), source.state_dict()
    same = {name: weight for name, weight in other.items() if name in own and own[name].shape == weight.shape}
    target.load_state_dict({**own, **copy.deepcopy(same)})
    return len(same)
