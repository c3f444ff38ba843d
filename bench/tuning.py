"""Fine-tuning timed: two one-thread workers beside synderm on two threads, and Dask's workers beside bare processes."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn import functional as F

from skinsyn import images
from skinsyn.diffusion import dreambooth, references
from skinsyn.diffusion.hub import load_whole
from skinsyn.diffusion.settings import FineTune, Reference, Tuning
from skinsyn.run import compute

from . import peers, ratios, timing

__all__ = ["COMPILER", "SETTINGS", "against_processes", "against_synderm", "validation_loss"]

# The study's fine-tuning (PROTOCOL, Generator) at the tiny base's size; its learning rate is a parameter of 09.
SETTINGS = FineTune(image_size=64, mask_shares={"rectangle": 0.2, "ellipse": 0.2, "centre": 0.3, "outside": 0.3})
COMPILER = bool(shutil.which("g++"))  # without one nothing can be compiled
LEVELS = 8  # noise levels at which each image that was not learned from is shown


def tune(task: Tuning) -> tuple[str, float]:
    """A task of `dreambooth.plan`, for a worker: the key of what it made, and the seconds in the UNet."""
    return timing.in_unet(lambda: dreambooth.fine_tune(task))


@torch.no_grad()
def validation_loss(unet: UNet2DConditionModel, base: Reference, rows: list[dict], prompt: str) -> float:
    """Mean squared error of denoising images that were not learned from, at the same noise for every UNet.

    rows: images in the store (condition, fst, unit, row). Each is shown at LEVELS noise levels, evenly spread. float32.
    """
    whole = references.load_base(base, "text-to-image")
    noise, latents = DDPMScheduler.from_config(whole.scheduler), images.pixels(rows)
    latents = dreambooth.encode(whole.vae.float(), torch.from_numpy(latents).permute(0, 3, 1, 2).float() / 127.5 - 1)
    words = dreambooth.contexts(whole, rows, prompt, False, torch.device("cpu"))
    words, random, found = torch.stack(words[:-1]), torch.Generator().manual_seed(0), []
    span = noise.config.num_train_timesteps
    for level in range(LEVELS):
        when = torch.full((len(rows),), int((level + 0.5) * span / LEVELS))
        grain = torch.randn(latents.shape, generator=random)
        velocity = noise.config.prediction_type == "v_prediction"
        target = noise.get_velocity(latents, grain, when) if velocity else grain
        found.append(F.mse_loss(unet(noise.add_noise(latents, grain, when), when, words).sample, target).item())
    return float(np.mean(found))


def _plan(frame: pd.DataFrame, base: Reference, settings: dict, run: int) -> list[Tuning]:
    """Tasks of all conditions of the frame, each run's own: another seed is another key, so nothing is found made."""
    names = sorted(frame["condition"].unique())
    return dreambooth.plan(frame, names, {"text-to-image": base}, SETTINGS.but(**settings, seed=run), 1)


def against_synderm(
    conditions: Sequence[str], count: int, held_out: int, settings: dict, runs: int, threads: int = 2, goal: float = 3
) -> tuple[dict, pd.DataFrame]:
    """The row `fine_tune_vs_synderm`, and its runs: seconds, and the loss on images that were not learned from.

    Ours: one fine-tuning per condition, over two Dask workers of one thread, each with its base loaded, trained and
    kept. The peer: the same conditions, images, epochs, batch and learning rate, one after another with `threads`
    threads. count, held_out: images of each condition that are learned from, and that the loss is taken on. settings:
    what differs from SETTINGS. Raises ImportError where the extra `peers` is missing.
    """
    if not peers.available():
        raise ImportError(f"synderm and tensorboard are not installed: {peers.INSTALL}")
    with timing.own_store() as place:
        frame, other = timing.phantoms(conditions, count, 1), timing.phantoms(conditions, held_out, 2)
        base = timing.bases()["text-to-image"]
        rows = {c: part.to_dict("records") for c, part in other.groupby("condition")}
        folder = peers.save_folder(place / "base", base, "text-to-image")
        about = {**SETTINGS.but(**settings).json(), "threads": threads, "base": str(folder)}
        about |= {"images": images.pixels(frame.to_dict("records")), "labels": list(frame["condition"])}
        with compute.get_executor("dask:2") as ours, timing.processes(1, threads) as theirs:

            def peer(run: int) -> dict[str, float]:
                task = {**about, "seed": run, "output": str(place / f"peer-{run}")}
                return theirs.submit(peers.tune_with_synderm, task).result()

            works = {"ours": lambda run: timing.all_of(ours, tune, _plan(frame, base, settings, run)), "peer": peer}
            seconds, made = timing.by_turns(works, runs)
        models = {
            "ours": [[dreambooth.load_unet(key) for key, _ in one] for one in made["ours"]],
            "peer": [_of_peer(place / f"peer-{run}", rows) for run in seconds.index],
        }
        found = {
            name: [_mean_loss(unets, rows, base, about["prompt"]) for unets in several]
            for name, several in models.items()
        }
    losses = pd.DataFrame(found, seconds.index)
    return _row(seconds, made, losses, len(frame), about, goal), seconds.join(losses, rsuffix="_loss")


def _row(seconds: pd.DataFrame, made: dict, losses: pd.DataFrame, shown: int, about: dict, goal: float) -> dict:
    """The row of `against_synderm`. shown: images of an epoch."""
    middle, loss, images = seconds.median(), losses.median(), shown * about["epochs"]
    unet, loop = timing.unet_of(made["ours"]), np.median([one["loop"] for one in made["peer"]])
    theirs = timing.share(np.median([one["unet"] for one in made["peer"]]), middle["peer"])
    apart = 100 * (loss["ours"] / loss["peer"] - 1)
    compiled = (
        f", UNet compiled in the warm-up ({seconds.attrs['warm-up']['ours']:.0f} s)" if about.get("compile") else ""
    )
    note = (
        f"{len(set(about['labels']))} conditions, {shown} phantoms, {about['epochs']} epochs, batch "
        f"{about['batch_size']}, learning rate {about['learning_rate']:g}, {len(seconds)} runs by turns; ours: two "
        f"one-thread Dask workers, from loading the base to the kept model{compiled}; peer: synderm 0.1.4, "
        f"{about['threads']} threads, with one validation image per condition, the fewest "
        f"that it can (its training loop alone: ratio "
        f"{loop / middle['ours']:.2f}), and with our autoencoder under the name that it knows; validation loss "
        f"{loss['ours']:.5f} against {loss['peer']:.5f} "
        f"({apart:+.2f} %); UNet's arithmetic: {timing.share(unet, middle['ours'])} of our time, {theirs} of the "
        f"peer's; floor (our workers doing nothing else): ratio {middle['peer'] / unet:.2f}"
    )
    rates = images / middle["ours"], images / middle["peer"]
    return ratios.row("fine_tune_vs_synderm", "images/s", *rates, goal, note, "more")


def _of_peer(folder: Path, rows: dict[str, list]) -> list[UNet2DConditionModel]:
    return [load_whole(UNet2DConditionModel, folder / name / "unet", torch.float32) for name in sorted(rows)]


def _mean_loss(unets: Sequence[UNet2DConditionModel], rows: dict[str, list], base: Reference, prompt: str) -> float:
    """Validation loss averaged over the conditions, in their sorted order."""
    return float(np.mean([validation_loss(u, base, rows[c], prompt) for u, c in zip(unets, sorted(rows), strict=True)]))


def against_processes(
    conditions: Sequence[str], count: int, settings: dict, runs: int, goal: float = 0.9
) -> tuple[dict, pd.DataFrame]:
    """The row `fine_tune_dask2_vs_processes`: the same tasks over two Dask workers and over two bare processes.

    Arguments as in `against_synderm`.
    """
    with timing.own_store():
        frame, base = timing.phantoms(conditions, count, 1), timing.bases()["text-to-image"]
        images = len(frame) * SETTINGS.but(**settings).epochs
        planned = lambda number: _plan(frame, base, settings, number)  # noqa: E731
        return timing.dask_beside_processes("fine_tune", tune, planned, images, runs, goal)
