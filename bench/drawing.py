"""Generation timed: two one-thread workers beside the authors' loop on two threads, and Dask's workers beside
processes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinsyn import images
from skinsyn.classifier import features
from skinsyn.diffusion import dreambooth, generation, references
from skinsyn.diffusion.settings import Model, Sampling, ShardTask, Taught, read_plan
from skinsyn.fidelity import distributions
from skinsyn.run import compute, store

from . import peers, ratios, timing, tuning

__all__ = ["against_loop", "against_processes"]

TAUGHT = {name: getattr(tuning.SETTINGS, name) for name in ("image_size", "prompt", "add_skin_type")}


def draw(task: ShardTask) -> tuple[str, float]:
    """A task of `generation.plan`, for a worker: the key of the shard that it made, and the seconds in the UNet."""
    return timing.in_unet(lambda: generation.generate(task))


def _generators(executor: object, frame: pd.DataFrame, steps: int) -> dict[Model, Taught]:
    """An inpainting generator of each condition, taught for so many steps: what `generation.plan` wants."""
    base, names = timing.bases()["inpainting"], sorted(frame["condition"].unique())
    settings = tuning.SETTINGS.but(steps=steps, learning_rate=5e-4)
    tasks = dreambooth.plan(frame, names, {"inpainting": base}, settings, 1)
    keys = timing.all_of(executor, dreambooth.fine_tune, tasks)
    return {
        Model(task="inpainting", condition=c): Taught(
            key=key, weights=store.content("generator", key), base=base, **TAUGHT
        )
        for c, key in zip(names, keys, strict=True)
    }


def _plan(frame: pd.DataFrame, models: dict[Model, Taught], settings: dict, run: int) -> list[ShardTask]:
    """Tasks of the study's method for all conditions, one image of each source; another seed per run."""
    entry = {"method": "in-then-outpaint", "generator": "fine-tuned", "scope": "condition", "replicates": 1}
    return generation.plan(frame, models, read_plan([entry]), Sampling.read({**settings, "seed": run}), 1)


def _seen(pixels: np.ndarray) -> np.ndarray:
    return features.embed(pixels, features.shared_body(features.LITE0)[0], 128, 2).astype(float)


def _shards(made: list[tuple[str, float]]) -> np.ndarray:
    return np.concatenate([images.read_shard(key)[1] for key, _ in made])


def _pngs(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted((folder / "outpaint").rglob("*.png"))])


def against_loop(
    conditions: Sequence[str],
    sources: int,
    settings: dict,
    runs: int,
    real: int = 200,
    steps: int = 100,
    threads: int = 2,
    goals: tuple[float, float] = (1.4, 4),
) -> tuple[list[dict], pd.DataFrame]:
    """The rows `generate_exact_vs_diffusers` and `generate_fast_vs_diffusers`, and their runs: seconds, KID to real
    images.

    Ours: in-then-outpaint over two Dask workers of one thread, both stages kept as shards; the peer: the authors' loop
    with `threads` threads and PNG files. Every model is loaded in the warm-up. sources: images of each condition that
    are changed, one synthetic image each. settings: what differs from the study's `Sampling`. real: phantoms of each
    condition, not sources, that KID compares with. steps: optimiser steps of the generators.
    """
    with timing.own_store() as place, compute.get_executor("dask:2") as ours, timing.processes(1, threads) as theirs:
        frame, other = timing.phantoms(conditions, sources, 1), timing.phantoms(conditions, real, 2)
        models = _generators(ours, frame, steps)
        parts = [
            {
                "folder": str(peers.save_folder(place / f"model-{number}", taught.base, "inpainting", taught.key)),
                "images": images.pixels(frame[frame["condition"] == model.condition].to_dict("records")),
                "prompt": references.prompt_of(model.condition, -1, taught.prompt, False),
            }
            for number, (model, taught) in enumerate(models.items())
        ]
        about = {
            **Sampling.read(settings).json(),
            "image_size": TAUGHT["image_size"],
            "parts": parts,
            "threads": threads,
        }

        def peer(run: int) -> float:
            task = {**about, "seed": run, "output": str(place / f"peer-{run}")}
            return theirs.submit(peers.authors_loop, task).result()

        def by(preset: str) -> object:
            return lambda run: timing.all_of(ours, draw, _plan(frame, models, {**settings, "preset": preset}, run))

        seconds, made = timing.by_turns({"exact": by("exact"), "peer": peer, "fast": by("fast")}, runs)
        truth = _seen(images.pixels(other.to_dict("records")))
        drawn = {name: [_shards(one) for one in made[name]] for name in ("exact", "fast")}
        drawn["peer"] = [_pngs(place / f"peer-{run}") for run in seconds.index]
        found = {
            name: [distributions.kid(_seen(one), truth).value for one in several] for name, several in drawn.items()
        }
        distance = pd.DataFrame(found, seconds.index)
    goal = dict(zip(("exact", "fast"), goals, strict=True))
    rows = [_row(name, seconds, made, distance, len(frame), about, goal[name]) for name in goal]
    return rows, seconds.join(distance.add_suffix("_kid"))


def _row(
    name: str, seconds: pd.DataFrame, made: dict, distance: pd.DataFrame, images_: int, about: dict, goal: float
) -> dict:
    """One row of `against_loop`: the exact way or the fast one, beside the same peer."""
    middle, kids = seconds.median(), distance.mean()
    unet = timing.unet_of(made[name])
    apart = 100 * (distance["fast"] - distance["exact"]) / kids["exact"]
    note = (
        f"{images_} images by in-then-outpaint, batch {about['batch_size']}, {about['sampling_steps']} steps, "
        f"{len(seconds)} runs by turns, models loaded before; ours: two one-thread Dask workers, both stages kept; "
        f"peer: the authors' loop in plain diffusers, {about['threads']} threads, PNG files; UNet's own arithmetic: "
        f"{timing.share(unet, middle[name])} of our time, {timing.share(np.median(made['peer']), middle['peer'])} of "
        f"the peer's; floor (our workers doing nothing else): ratio {middle['peer'] / unet:.2f}; KID to real phantoms "
        f"(EfficientNet-Lite0): exact {kids['exact']:.4f}, fast {kids['fast']:.4f} ({apart.mean():+.1f} %, standard "
        f"error {apart.sem():.1f} %), peer {kids['peer']:.4f}"
    )
    rates = images_ / middle[name], images_ / middle["peer"]
    return ratios.row(f"generate_{name}_vs_diffusers", "images/s", *rates, goal, note, "more")


def against_processes(
    conditions: Sequence[str], sources: int, settings: dict, runs: int, goal: float = 0.9
) -> tuple[dict, pd.DataFrame]:
    """The row `generate_dask2_vs_processes`, by the untaught base. Arguments as in `against_loop`."""
    with timing.own_store():
        frame, base = timing.phantoms(conditions, sources, 1), timing.bases()["inpainting"]
        models = {Model(task="inpainting", condition=c): Taught(base=base, **TAUGHT) for c in conditions}
        planned = lambda number: _plan(frame, models, settings, number)  # noqa: E731
        return timing.dask_beside_processes("generate", draw, planned, len(frame), runs, goal)
