"""The GAN baseline: FastGAN on the same images and budget as fine-tuning, kept, sampled and listed as its models are.

Budget: as many optimiser steps of as many images, or as many floating-point operations (`equal`). A GAN knows one
condition; its images belong to a source as those made from text do, of which they take the condition alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from skinsyn.images import pixels
from skinsyn.run import compute, seeds, store

from . import batches, checkpoints, dreambooth
from .fastgan import LATENT, Discriminator, Generator, augment

__all__ = ["NO_BASE", "checked", "key_of", "operations", "plan", "sample", "train"]

RECIPE = 1
RATE, BETAS = 2e-4, (0.5, 0.999)  # of Adam, as published
DECAY = 0.999  # of the weights' moving average, less at first
NO_BASE = {"name": "", "revision": "", "autoencoder": "", "offline": True, "unit": "", "digest": ""}
SETTINGS = ("image_size", "batch_size", "flip", "seed", "prompt", "add_skin_type", "checkpoint_every")


def checked(given: dict) -> dict:
    """equal (steps | arithmetic), steps (0: by `equal`) and width, complete.

    Raises ValueError for another key or a value out of range.
    """
    whole = {"equal": "steps", "steps": 0, "width": 32} | given
    if len(whole) > 3 or whole["steps"] < 0 or whole["width"] < 8 or whole["equal"] not in ("steps", "arithmetic"):
        raise ValueError(
            f"gan is {given}: expected {{equal: steps, steps: 0, width: 32}}, equal steps or arithmetic, steps of at "
            "least "
            "0 and width of at least 8"
        )
    return whole


def plan(tasks: Sequence[dict], asked: dict) -> list[dict]:
    """One JSON-able task of `train` for each single condition that `tasks` (of `dreambooth.plan`) fine-tune, images
    alike.

    asked: {equal, steps, width}. Raises ValueError where the image size is no power of two from 32 to 512.
    """
    whole, found, worth = checked(asked), {}, 1.0
    for task in tasks:
        size = task["image_size"]
        if size not in (32, 64, 128, 256, 512):
            raise ValueError(f"gan: image_size is {size}; FastGAN draws 32, 64, 128, 256 or 512 pixels a side")
        name = (task["condition"], task.get("n", 0), task.get("run", -1))
        if task["condition"] != "all" and name not in found:
            same = {k: task[k] for k in (*SETTINGS, "images", "condition", "threads", "n", "run") if k in task}
            mine = {**same, "steps": whole["steps"], "width": whole["width"], "task": "gan", "base": NO_BASE}
            if not found and not whole["steps"] and whole["equal"] == "arithmetic":  # alike for all conditions
                worth = operations(task) / operations(mine)
            found[name] = mine | {"steps": whole["steps"] or max(1, round(dreambooth.steps_of(task) * worth))}
    return list(found.values())


def operations(task: dict) -> int:
    """Floating-point operations of one optimiser step of a fine-tuning or a GAN, forward and backward, as PyTorch
    counts."""
    train_, counted = _train if task["task"] == "gan" else dreambooth._train, []
    few = {**task, "checkpoint_every": 0, "compile": False, "images": task["images"][: task["batch_size"]]}
    for steps in (1, 2):  # their difference is a step without what comes before the first
        with FlopCounterMode(display=False) as counter, torch.random.fork_rng(devices=[]):
            train_({**few, "steps": steps}, checkpoints.folder_of("generator", "counted"))
        counted.append(counter.get_total_flops())
    return counted[1] - counted[0]


def key_of(task: dict) -> str:
    """The key of the generator that a task makes."""
    unused = {"base", "threads", "checkpoint_every", "prompt", "add_skin_type", "n", "run"}
    return store.key_of("generator", RECIPE, {k: v for k, v in task.items() if k not in unused}, {}, task["threads"])


def train(task: dict) -> str:
    """Make the generator of a task from `plan` where it is not kept, and return its key.

    The unit holds `gan.safetensors` (the moving average of the generator's weights) and `losses.parquet` (step, loss:
    the discriminator's hinge loss). The same bytes also where it was stopped and went on from a checkpoint.
    """
    key = key_of(task)
    saved = checkpoints.folder_of("generator", key)

    def make(folder: Path) -> dict:
        compute.set_threads(task["threads"])
        with torch.random.fork_rng(devices=[]):
            average, curve = _train(task, saved)
        save_file(
            {name: value.cpu().contiguous() for name, value in average.state_dict().items()}, folder / "gan.safetensors"
        )
        steps = np.arange(1, len(curve) + 1)
        pd.DataFrame({"step": steps, "loss": curve}).to_parquet(folder / "losses.parquet", index=False)
        tenth = max(1, len(curve) // 10)
        return {
            "steps": len(curve),
            "loss_first": float(np.mean(curve[:tenth])),
            "loss_last": float(np.mean(curve[-tenth:])),
        }

    store.keep("generator", key, make, task)
    checkpoints.clear(saved)
    return key


def _train(task: dict, saved: Path) -> tuple[Generator, list[float]]:
    """Alternate discriminator and generator, one step each; returns the generator's moving average and a loss a
    step."""
    torch.manual_seed(seeds.seed_of(task["seed"], "gan", task["condition"]))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size, width = task["image_size"], task["width"]
    makers = [Generator(size, width).to(device) for _ in range(2)]
    made, average = makers[0], makers[1].requires_grad_(True)
    average.load_state_dict(made.state_dict())
    judge = Discriminator(size, width).to(device)
    models = {"generator": made, "average": average, "discriminator": judge}
    adam = {
        name: torch.optim.Adam(models[name].parameters(), lr=RATE, betas=BETAS)
        for name in ("generator", "discriminator")
    }
    done, state = checkpoints.load(saved, models, adam)
    waiting, curve = state.get("waiting", []), state.get("curve", [])
    stock = torch.from_numpy(pixels(task["images"], size)).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
    order = batches.order(len(stock), task["batch_size"], waiting)
    for step in range(done + 1, task["steps"] + 1):
        real = stock[next(order)]
        if len(real) == 1:  # batch normalisation needs two
            real = real.repeat(2, 1, 1, 1)
        if task["flip"]:
            real = torch.where((torch.rand(len(real)) < 0.5).to(device)[:, None, None, None], real.flip(-1), real)
        curve.append(_step(made, judge, adam, real))
        _follow(average, made, min(DECAY, (1 + step) / (10 + step)))
        if task["checkpoint_every"] and step % task["checkpoint_every"] == 0 and step < task["steps"]:
            checkpoints.save(saved, step, models, adam, {"waiting": waiting, "curve": curve})
    if not np.isfinite(curve).all():
        raise FloatingPointError(f"{task['condition']}, gan: the loss is not finite")
    return average.eval(), curve


def _step(made: Generator, judge: Discriminator, adam: dict, real: torch.Tensor) -> float:
    """One step of the discriminator (hinge loss, and rebuilding the real images), then one of the generator."""
    fake = made(torch.randn(len(real), LATENT).to(real))
    shown = augment(real)
    (seen, rebuilt), (found, _) = judge(shown), judge(augment(fake.detach()))
    hinge = F.relu(1 - seen).mean() + F.relu(1 + found).mean()
    loss = hinge + F.l1_loss(rebuilt, F.avg_pool2d(shown, 2))
    adam["discriminator"].zero_grad(set_to_none=True)
    loss.backward()
    adam["discriminator"].step()
    adam["generator"].zero_grad(set_to_none=True)
    (-judge(augment(fake))[0].mean()).backward()
    adam["generator"].step()
    return float(hinge.detach())


@torch.no_grad()
def _follow(average: Generator, made: Generator, decay: float) -> None:
    """Move the average towards the generator; running means and the like are copied."""
    for ours, theirs in zip(average.parameters(), made.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)
    for ours, theirs in zip(average.buffers(), made.buffers(), strict=True):
        ours.copy_(theirs)


@lru_cache(maxsize=1)
def _load(key: str) -> Generator:
    about = store.manifest("generator", key)["about"]
    found = Generator(about["image_size"], about["width"])
    found.load_state_dict(load_file(store.folder("generator", key) / "gan.safetensors"))
    return found.eval().to("cuda" if torch.cuda.is_available() else "cpu")


@torch.no_grad()
def sample(key: str, seeds_: Sequence[int]) -> np.ndarray:
    """One image for each seed by a kept GAN, float (n, s, s, 3) in [0, 1] or NaN."""
    drawn = [torch.randn(LATENT, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds_]
    made = _load(key)
    images = made(torch.stack(drawn).to(next(made.parameters()).device))
    return ((images.permute(0, 2, 3, 1) + 1) / 2).clamp(0, 1).float().cpu().numpy()
