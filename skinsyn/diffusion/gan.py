"""The GAN baseline: FastGAN on the same images and budget as fine-tuning, kept, sampled and listed as its models are.

Budget: as many optimiser steps of as many images, or as many floating-point operations (`equal`). A GAN knows one
condition; its images belong to a source as those made from text do, of which they take the condition alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from skinsyn.images import pixels
from skinsyn.run import seeds, store

from . import batches, checkpoints, dreambooth
from .fastgan import LATENT, Discriminator, Generator, augment
from .settings import Gan, GanTraining, Learning, Training, Tuning

__all__ = ["key_of", "operations", "plan", "sample", "train"]

RECIPE = 1
RATE, BETAS = 2e-4, (0.5, 0.999)  # of Adam, as published
DECAY = 0.999  # of the weights' moving average, less at first
SIZES = (32, 64, 128, 256, 512)


def plan(tunings: Sequence[Training], settings: Gan) -> list[GanTraining]:
    """One GAN for each single condition that `tunings` (of `dreambooth.plan`) teach, of the same images.

    Raises ValueError where the image size is no power of two from 32 to 512.
    """
    trainings: dict[tuple, GanTraining] = {}
    ratio = 1.0
    for tuning in tunings:
        if tuning.image_size not in SIZES:
            raise ValueError(
                f"gan: image_size is {tuning.image_size}; FastGAN draws 32, 64, 128, 256 or 512 pixels a side"
            )
        whose = (tuning.condition, tuning.n, tuning.run)
        if tuning.condition == "all" or whose in trainings:
            continue
        names = (*Learning.names(), "images", "condition", "threads", "n", "run")
        about = {name: getattr(tuning, name) for name in names}
        training = GanTraining(**{**about, "task": "gan", "steps": settings.steps, "width": settings.width})
        if not trainings and not settings.steps and settings.equal == "arithmetic":  # alike for all conditions
            ratio = operations(tuning) / operations(training)
        trainings[whose] = training.but(steps=settings.steps or max(1, round(tuning.optimiser_steps() * ratio)))
    return list(trainings.values())


def operations(training: Training) -> int:
    """Floating-point operations of one optimiser step, forward and backward, as PyTorch counts them."""
    counts = []
    few = training.but(checkpoint_every=0, images=training.images[: training.batch_size])
    nowhere = checkpoints.folder_of("generator", "counted")
    for steps in (1, 2):  # their difference is a step without what comes before the first
        with FlopCounterMode(display=False) as counter, torch.random.fork_rng(devices=[]):
            if isinstance(few, Tuning):
                dreambooth._train(few.but(steps=steps, compile=False), nowhere)
            elif isinstance(few, GanTraining):
                _train(few.but(steps=steps), nowhere)
        counts.append(counter.get_total_flops())
    return counts[1] - counts[0]


def key_of(training: GanTraining) -> str:
    """The key of the generator that a training makes."""
    return store.key_of("generator", RECIPE, training.deciding("gan"), {}, training.threads)


def train(training: GanTraining) -> str:
    """Make the generator of a training from `plan` where it is not kept yet; its key.

    The unit holds `gan.safetensors` (the moving average of the generator's weights) and `losses.parquet` (step, loss:
    the discriminator's hinge loss). The same bytes also where it was stopped and resumed from a checkpoint.
    """

    def save(average: Generator, folder: Path) -> None:
        weights = {name: value.cpu().contiguous() for name, value in average.state_dict().items()}
        save_file(weights, folder / "gan.safetensors")

    return checkpoints.keep(key_of(training), training, lambda saved: _train(training, saved), save)


def _train(training: GanTraining, saved: Path) -> tuple[Generator, list[float]]:
    """Alternate discriminator and generator, one step each; the generator's moving average, and a loss per step."""
    torch.manual_seed(seeds.seed_of(training.seed, "gan", training.condition))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size, width = training.image_size, training.width
    generator, average = (Generator(size, width).to(device) for _ in range(2))
    average.load_state_dict(generator.state_dict())
    discriminator = Discriminator(size, width).to(device)
    models = {"generator": generator, "average": average, "discriminator": discriminator}
    adam = {
        name: torch.optim.Adam(models[name].parameters(), lr=RATE, betas=BETAS)
        for name in ("generator", "discriminator")
    }
    done, state = checkpoints.load(saved, models, adam)
    waiting, curve = state.get("waiting", []), state.get("curve", [])
    stock = torch.from_numpy(pixels(training.images, size)).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
    order = batches.order(len(stock), training.batch_size, waiting)
    for step in range(done + 1, training.steps + 1):
        real = stock[next(order)]
        if len(real) == 1:  # batch normalisation needs two
            real = real.repeat(2, 1, 1, 1)
        if training.flip:
            real = torch.where((torch.rand(len(real)) < 0.5).to(device)[:, None, None, None], real.flip(-1), real)
        curve.append(_step(generator, discriminator, adam, real))
        _follow(average, generator, min(DECAY, (1 + step) / (10 + step)))
        if checkpoints.due(training.checkpoint_every, step, training.steps):
            checkpoints.save(saved, step, models, adam, {"waiting": waiting, "curve": curve})
    return average.eval(), curve


def _step(generator: Generator, discriminator: Discriminator, adam: dict, real: torch.Tensor) -> float:
    """One step of the discriminator (hinge loss, and rebuilding the real images), then one of the generator."""
    fake = generator(torch.randn(len(real), LATENT).to(real))
    augmented = augment(real)
    (on_real, rebuilt), (on_fake, _) = discriminator(augmented), discriminator(augment(fake.detach()))
    hinge = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
    loss = hinge + F.l1_loss(rebuilt, F.avg_pool2d(augmented, 2))
    adam["discriminator"].zero_grad(set_to_none=True)
    loss.backward()
    adam["discriminator"].step()
    adam["generator"].zero_grad(set_to_none=True)
    (-discriminator(augment(fake))[0].mean()).backward()
    adam["generator"].step()
    return float(hinge.detach())


@torch.no_grad()
def _follow(average: Generator, generator: Generator, decay: float) -> None:
    """Move the average towards the generator; running means and the like are copied."""
    for ours, theirs in zip(average.parameters(), generator.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)
    for ours, theirs in zip(average.buffers(), generator.buffers(), strict=True):
        ours.copy_(theirs)


@lru_cache(maxsize=1)
def _load(key: str) -> Generator:
    training = GanTraining.read(store.manifest("generator", key)["about"])
    generator = Generator(training.image_size, training.width)
    generator.load_state_dict(load_file(store.folder("generator", key) / "gan.safetensors"))
    return generator.eval().to("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def sample(key: str, seeds_: Sequence[int]) -> np.ndarray:
    """One image per seed by a kept GAN, float (n, s, s, 3) in [0, 1] or NaN."""
    latents = [torch.randn(LATENT, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds_]
    generator = _load(key)
    images = generator(torch.stack(latents).to(next(generator.parameters()).device))
    return ((images.permute(0, 2, 3, 1) + 1) / 2).clamp(0, 1).float().cpu().numpy()
