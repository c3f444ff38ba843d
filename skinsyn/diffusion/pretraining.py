"""Pretraining a tiny Stable Diffusion's UNets on latents and prompts: text-to-image, then inpainting.

Counted in steps, never by the clock, so that the same images, seed and threads give the same weights on one machine.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn.functional import interpolate, mse_loss
from transformers import CLIPTextModel, CLIPTokenizer

from skinsyn.diffusion.autoencoder import Vae, encode, to_tensor
from skinsyn.diffusion.optimiser import minimise

DROP_PROMPT = 0.10  # share of empty prompts, for classifier-free guidance (Ho & Salimans 2022)
DROP_TYPE = 0.40  # share of prompts that lose their ", Fitzpatrick skin type n"
# Stable Diffusion's noise, but that its last step is noise alone (Lin et al. 2024, arXiv 2305.08891): else a trace of
# the image's mean shows through to the end, the UNet reads the skin's brightness there, and never from the prompt.
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",  # learns colour and layout in far fewer steps than noise (Salimans & Ho 2022)
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",  # sampling begins at that last step
    "clip_sample": False,
    "steps_offset": 1,
}


class Latents(NamedTuple):
    """Scaled latents: clean and mirrored (n, 2, 4, h, w); k masked versions (n, k, 4, h, w); masks (n, k, 1, h, w)."""

    clean: torch.Tensor
    masked: torch.Tensor
    masks: torch.Tensor


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


def tokenize(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Token numbers (n, model_max_length), padded and cut as the diffusers pipelines do."""
    padded = {"padding": "max_length", "truncation": True, "max_length": tokenizer.model_max_length}
    return tokenizer(prompts, return_tensors="pt", **padded).input_ids


class Data(NamedTuple):
    """What both UNets are trained on, and how: latents and prompts, batch size, and the seed."""

    latents: Latents
    prompts: list[str]
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    batch: int
    seed: int


def train_unet(unet: UNet2DConditionModel, data: Data, steps: int, lr: float, train_text: bool) -> float:
    """Train a text-to-image (4 channels) or inpainting (9) UNet in place to predict velocity; the last tenth's loss.

    train_text: train the text encoder along with it. Inpainting must not, as both tasks share one.
    """
    torch.manual_seed(data.seed)
    rng = np.random.default_rng([data.seed, 2])
    noise, latents, text_encoder = DDPMScheduler(**SCHEDULE), data.latents, data.text_encoder
    pairs = [text for prompt in data.prompts for text in (prompt, prompt.split(", Fitzpatrick")[0])]
    tokens = tokenize(data.tokenizer, pairs).view(len(data.prompts), 2, -1)
    empty = tokenize(data.tokenizer, [""])[0]
    text_encoder.requires_grad_(train_text)
    inpainting = unet.config.in_channels == 9

    def loss_of(step: int) -> torch.Tensor:
        rows = torch.from_numpy(rng.integers(0, len(data.prompts), data.batch))
        words = tokens[rows, torch.from_numpy((rng.random(data.batch) < DROP_TYPE).astype(int))]
        words[torch.from_numpy(rng.random(data.batch) < DROP_PROMPT)] = empty
        context = text_encoder(words)[0]
        flips = 0 if inpainting else torch.from_numpy(rng.integers(0, 2, data.batch))
        clean = latents.clean[rows, flips]
        epsilon = torch.randn_like(clean)
        t = torch.randint(0, noise.config.num_train_timesteps, (data.batch,))
        noisy = noise.add_noise(clean, epsilon, t)
        if inpainting:
            which = torch.from_numpy(rng.integers(0, latents.masks.shape[1], data.batch))
            noisy = torch.cat([noisy, latents.masks[rows, which], latents.masked[rows, which]], dim=1)
        return mse_loss(unet(noisy, t, context).sample, noise.get_velocity(clean, epsilon, t))

    trained = [unet, text_encoder] if train_text else [unet]
    loss = minimise(trained, loss_of, steps, lr, "inpainting" if inpainting else "text-to-image")
    unet.eval()
    text_encoder.requires_grad_(True).eval()
    return loss


def copy_matching(source: nn.Module, target: nn.Module) -> int:
    """Copy every weight whose name and shape agree; returns how many tensors were copied."""
    own, other = target.state_dict(), source.state_dict()
    same = {name: weight for name, weight in other.items() if name in own and own[name].shape == weight.shape}
    target.load_state_dict({**own, **copy.deepcopy(same)})
    return len(same)
