"""The expected cost of a profile's generators and images: images, shards, GPU-hours, disk, money.

Counts come from the real planners, run on names alone. A rate is measured where a GPU and the base are at hand, or
where the base is the tiny one; else it is a published one, named in what is printed.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from skinsyn.datasets import fitzpatrick17k
from skinsyn.run import params, tables

from . import base_model, dreambooth, exposure, gan, generation
from .settings import ByRun, FineTune, Gan, Pretrain, Reference, Sampling, ShardTask, Training, Tuning, read_plan

__all__ = ["GPUS", "Rate", "estimate", "measure", "sources"]

# Denoising iterations per second of 16 images of 512 px with guidance in half precision, so 32 passes of the UNet each:
# diffusers, documentation "PyTorch 2.0" (docs/source/en/optimization/torch2.0.md), batch size 16, torch 2.0, no
# compile.
GPUS = {"A100": 3.04, "V100": 1.66, "RTX 3090": 1.70, "RTX 4090": 3.17}
PASSES = 32
# A backward pass costs about two forward ones (Kaplan et al. 2020, arXiv 2001.08361, section 2.1); recomputing adds
# one.
STEP, RECOMPUTED = 3, 4
# Bytes per pixel of a lossless WebP: the authors' PNG files take 0.6 MB at 512 px (README of synderm: over 600 GB for
# over a million), WebP 26 % less (developers.google.com/speed/webp).
BYTES = 0.6e6 * 0.74 / 512**2
WEIGHTS = {"tiny": 2.73e6, "other": 0.87e9}  # of a UNet; Stable Diffusion 1.5 has 860 million, 2.1 has 866


class Rate(NamedTuple):
    """Passes of one 512 px image through the UNet per second, and the number's source."""

    passes: float
    source: str


def sources(profile: str, values: dict[str, dict[str, Any]]) -> tuple[pd.DataFrame, str]:
    """Images a generator may learn from or draw children of (image_id, condition, split, rank …), and where they are
    from.

    The table of 01 where it was made; else as many names as the profile's parameters or the publication say.
    Raises FileNotFoundError where nobody can say before 01 has run.
    """
    prep = values["01_data_prep"]
    if tables.path(profile, "images").exists():
        frame = tables.read(profile, "images", made_by="01_data_prep")
        frame = frame[frame["split"].isin(["train", "validation"])]
        return frame.assign(rank=frame.groupby(["condition", "split"]).cumcount()), "the table of 01_data_prep"
    validation = prep["validation_per_condition"]
    if prep["train_per_condition"]:
        counts = dict.fromkeys(prep["conditions"], prep["train_per_condition"] + validation)
        origin = "the parameters of 01_data_prep"
    elif prep["dataset"] == "fitzpatrick17k":
        counts = {name: fitzpatrick17k.PUBLISHED_TRAINING[name] for name in prep["conditions"]}
        origin = "the study's own counts (its cleaning rule is not published)"
    else:
        raise FileNotFoundError(
            f"how many images {profile!r} has is not known before 01_data_prep has read them: "
            f"python -m skinsyn run --profile {profile} --only 01"
        )
    parts = [
        pd.DataFrame({"image_id": [f"{name}-{i:05d}" for i in range(count)], "condition": name, "rank": range(count)})
        for name, count in counts.items()
    ]
    frame = pd.concat(parts, ignore_index=True).assign(fst=-1, fst_group="unknown", unit="", row=0)
    frame["split"] = np.where(frame["rank"] < validation, "validation", "train")
    frame["rank"] = (frame["rank"] - validation).clip(lower=0)
    return frame, origin


def _tasks(frame: pd.DataFrame, values: dict[str, dict[str, Any]]) -> tuple[list[Training], list[ShardTask]]:
    """Trainings and shards as 02 and 03 would plan them."""
    tuning, drawing = values["02_dreambooth"], values["03_generation"]
    splits = ["train", "validation"] if tuning["generator_data"] == "all" else ["train"]
    learned, children = frame[frame["split"].isin(splits)], frame[frame["split"] == "train"]
    named = tuning["conditions"] or sorted(frame["condition"].unique())
    learned, children = (part[part["condition"].isin(named)] for part in (learned, children))
    taught = [*named, *(["all"] if tuning["one_for_all"] else [])]
    bases = {task: Reference(name=tuning[f"{task.replace('-', '_')}_base"], digest=task) for task in tuning["tasks"]}
    settings = FineTune.take(tuning)
    shared = [] if tuning["generator_data"] == "matched" else dreambooth.plan(learned, taught, bases, settings, 1)
    by_run = ByRun.read(tuning["by_run"] or {"n": [], "runs": 0}, "by_run")
    ranked = [children[["image_id", "rank"]].assign(run=run) for run in range(by_run.runs)]
    subsets = pd.concat([pd.DataFrame({"image_id": [], "rank": [], "run": []}), *ranked])
    tunings = shared + exposure.plan_own(learned, subsets, by_run, taught, bases, settings, 1)
    rivals = gan.plan(tunings, Gan.read(tuning["gan_baseline"], "gan_baseline")) if tuning["gan_baseline"] else []
    models = [*tunings, *rivals]
    rows = [dreambooth.row_of(training, f"model-{i}", "", "") for i, training in enumerate(models)]
    rows += [dreambooth.row_of(one, "", "", "") for one in {one.task: one for one in tunings}.values()]
    entries = read_plan(drawing["plan"], drawing["ratio"])
    able = generation.generators(pd.DataFrame(rows))
    return models, generation.plan(children, able, entries, Sampling.take(drawing), 1, subsets)


def _learning_passes(training: Training) -> float:
    if not isinstance(training, Tuning):  # a GAN
        return 0.0
    each = (RECOMPUTED if training.gradient_checkpointing else STEP) * (2 if training.prior else 1)
    return training.optimiser_steps() * training.batch_size * training.accumulation * each


def _pretraining_passes(tuning: dict[str, Any]) -> float:
    """Passes for the UNets of a base that is pretrained here, as `base_model.pretrain` makes them; 0 where none is."""
    if "pretrain" not in (tuning["text_to_image_base"], tuning["inpainting_base"]):
        return 0.0
    how = Pretrain.read(tuning["pretrain"], "pretrain")
    return STEP * how.batch * (how.steps + how.inpainting_steps)


def _latents(base: base_model.Base, size: int, batch: int) -> torch.Tensor:
    """Noise of the shape of the latents of `batch` images of `size` px."""
    side = size // base_model.build_pipeline(base).vae_scale_factor
    return torch.randn(batch, 4, side, side)


def measure(name: str, size: int, autoencoder: str = "", batch: int = 4, times: int = 3) -> Rate:
    """Rate of a base's text-to-image UNet on this machine, from some passes of `batch` images of `size` px.

    autoencoder: in place of the base's own; it decides how many latents the UNet sees. Raises FileNotFoundError where
    the base or the autoencoder is not at hand.
    """
    base = base_model.load(name, autoencoder=autoencoder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unet = base.unet.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    noise = _latents(base, size, batch).to(unet.device, unet.dtype)
    context = torch.zeros(batch, 8, unet.config.cross_attention_dim).to(noise)
    seconds = []
    with torch.no_grad():
        for _ in range(times + 1):
            begun = time.perf_counter()
            float(unet(noise, 10, context).sample.sum())  # reading the sum waits for the GPU
            seconds.append(time.perf_counter() - begun)
    each = float(np.median(seconds[1:])) / batch * (512 / size) ** 2
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"a CPU, {torch.get_num_threads()} threads"
    return Rate(1 / each, f"measured here on {where}: {times} passes of {batch} images")


def _rate(values: dict[str, dict[str, Any]], gpu: str) -> Rate:
    if gpu not in GPUS:
        raise ValueError(f"gpu is {gpu!r}; a published rate is known of {', '.join(GPUS)}")
    base, size, autoencoder = (
        values["02_dreambooth"][name] for name in ("text_to_image_base", "image_size", "autoencoder")
    )
    if base in ("tiny", "pretrain"):
        return measure("tiny", size, autoencoder)
    if torch.cuda.is_available():
        return measure(base, size, autoencoder)
    source = f"published for one {gpu}, half precision, batch 16: diffusers' documentation, PyTorch 2.0"
    return Rate(GPUS[gpu] * PASSES, source)


def estimate(
    profile: str, changed: dict[str, Any] | None = None, gpu: str = "A100", price: float = 0.0
) -> dict[str, Any]:
    """The whole plan of 02 and 03 in numbers: name → value, in order.

    gpu: of which a published rate is taken where none is measured. price: of a GPU-hour, in any currency. Raises
    params.ParameterError, FileNotFoundError, ValueError.
    """
    values = params.of_profile(profile, changed)
    tuning = values["02_dreambooth"]
    frame, origin = sources(profile, values)
    models, work = _tasks(frame, values)
    stages = {generation.key_of(stage): stage for task in work for stage in task.stages()}.values()
    rate = _rate(values, gpu)
    count = sum(len(stage.parents) for stage in stages)
    per_pass = (tuning["image_size"] / 512) ** 2 / rate.passes / 3600
    hours = {
        "pretraining the base": _pretraining_passes(tuning) * per_pass,
        "fine-tuning": sum(map(_learning_passes, models)) * per_pass,
        "generation": sum(len(stage.parents) * stage.passes(stage.method) for stage in stages) * per_pass,
    }
    weights = WEIGHTS["tiny" if tuning["text_to_image_base"] in ("tiny", "pretrain") else "other"]
    whole = sum(1 for training in models if isinstance(training, Tuning) and not training.lora)
    image = tuning["image_size"] ** 2 * BYTES
    disk = {"models": whole * weights * 2, "images": count * image, "one checkpoint per worker": weights * 12}
    by: dict[str, int] = {}
    for name, images in sorted((f"  {stage.method}, {stage.generator}", len(stage.parents)) for stage in stages):
        by[name] = by.get(name, 0) + images
    return {
        "real images": f"{len(frame)}, from {origin}",
        "models": len(models),
        "optimiser steps": sum(training.optimiser_steps() for training in models),
        "images": count,
        **by,
        "shards": len(stages),
        "rate": f"{rate.passes:.1f} passes of the UNet per second at 512 px, {rate.source}",
        **{f"GPU-hours, {name}": round(value, 2) for name, value in hours.items() if value},
        "not in it": "decoding and encoding (a few per cent), the optimiser, loading, queues; a GAN's own training",
        **{f"disk, {name}": f"{value / 1e9:.2f} GB" for name, value in disk.items()},
        **({"money": round(sum(hours.values()) * price, 2)} if price else {}),
    }
