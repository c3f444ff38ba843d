"""DreamBooth: a base model's UNet taught one condition (or all), as a kept unit of the store, kind `generator`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn import functional as F

from skinsyn.run import compute, seeds, store

from . import batches, checkpoints, lora, prior
from .base_model import Base
from .hub import load_whole
from .references import GENERIC_PROMPT, load_base, prompt_of

__all__ = [
    "TASKS", "contexts", "encode", "fine_tune", "key_of", "load_unet", "losses", "plan", "row_of", "steps_of", "table",
]  # fmt: skip

RECIPE = 2  # 2: AdamW's fused form, whose sums round otherwise
TASKS = ("text-to-image", "inpainting")
CLIP_NORM = 1.0  # of the gradient, as in diffusers' DreamBooth examples that the study used
# What decides a fine-tuning besides base, images and threads; the notebook's parameters of the same names.
SETTINGS = (
    "image_size", "steps", "epochs", "batch_size", "learning_rate", "accumulation", "prompt", "add_skin_type",
    "crop_scale", "crop_ratio", "jitter", "flip", "mask_shares", "mask_fraction", "dtype", "seed", "lora", "prior",
    "gradient_checkpointing", "checkpoint_every", "inpainting_steps", "compile",
)  # fmt: skip
# Settings that may be left out, and what they then are; as such they are in no key.
USUAL = {
    "lora": {}, "prior": {}, "gradient_checkpointing": False, "checkpoint_every": 0, "inpainting_steps": 0,
    "compile": False,
}  # fmt: skip
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def plan(
    frame: pd.DataFrame, conditions: Sequence[str], bases: Mapping[str, dict], settings: dict, threads: int
) -> list[dict]:
    """One JSON-able task a condition and task ('all' is the one model of all conditions), in that order.

    frame: the images to learn from (image_id, condition, fst, unit, row). bases: task → base reference
    (`prepare_base`).
    settings: a value for each of SETTINGS. Raises ValueError for a missing setting, an unknown task, or a condition
    without images.
    """
    settings = {**USUAL, **settings}
    lacking, strange = sorted(set(SETTINGS) - set(settings)), sorted(set(bases) - set(TASKS))
    if lacking or strange:
        raise ValueError(f"fine-tuning: settings missing: {lacking}; unknown tasks: {strange}; known: {TASKS}")
    for name, module in (("lora", lora), ("prior", prior)):
        settings[name] = settings[name] and module.checked(settings[name])
    columns = ["image_id", "condition", "fst", "unit", "row"]
    tasks = []
    for condition in conditions:
        mine = frame if condition == "all" else frame[frame["condition"] == condition]
        if mine.empty:
            raise ValueError(f"no training image of {condition!r}; known: {sorted(frame['condition'].unique())}")
        rows = json.loads(mine.sort_values("image_id")[columns].to_json(orient="records"))
        about = {name: settings[name] for name in SETTINGS if name != "inpainting_steps"}
        steps = {"text-to-image": settings["steps"], "inpainting": settings["inpainting_steps"] or settings["steps"]}
        about |= {"condition": condition, "images": rows, "threads": threads}
        tasks += [{**about, "steps": steps[t], "task": t, "base": b} for t, b in bases.items()]
    return tasks


def key_of(task: dict) -> str:
    """The key of the generator that a task makes: a digest of its recipe, never of the weights that come out."""
    base = {"base": task["base"]["digest"]}
    task = {**USUAL, **task}  # a manifest of before there was a choice
    unused = {"base", "threads", "checkpoint_every", "n", "run"} | {
        name for name, value in USUAL.items() if task[name] == value
    }
    unused |= {"mask_shares", "mask_fraction"} if task["task"] == "text-to-image" else set()
    parameters = {k: v for k, v in task.items() if k not in unused}
    return store.key_of("generator", RECIPE, parameters, base, task["threads"])


def fine_tune(task: dict) -> str:
    """Make the generator of a task from `plan`, if it is not kept already, and return its key. Source: PROTOCOL,
    Generator.

    The unit holds `unet/` (diffusers' own layout, weights in float16, which is also what samples are drawn from), or
    with LoRA `lora/`, and `losses.parquet` (step, loss). On one machine type, pins and threads the same task gives the
    same bytes, also where it was stopped and went on from a checkpoint.
    """
    key = key_of(task)

    def make(folder: Path) -> dict:
        compute.set_threads(task["threads"])
        with torch.random.fork_rng(devices=[]):
            unet, curve = _train(task, checkpoints.folder_of("generator", key))
        if task["lora"]:
            lora.save(unet, folder / "lora", task["lora"]["rank"], task["lora"]["alpha"])
        else:
            _save(unet, folder / "unet")
        pd.DataFrame({"step": np.arange(1, len(curve) + 1), "loss": curve}).to_parquet(
            folder / "losses.parquet", index=False
        )
        head, tail = curve[: max(1, len(curve) // 10)], curve[-max(1, len(curve) // 10) :]
        return {"steps": len(curve), "loss_first": float(np.mean(head)), "loss_last": float(np.mean(tail))}

    store.keep("generator", key, make, task)
    checkpoints.clear(checkpoints.folder_of("generator", key))
    return key


def _save(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write float16 safetensors and a config that names no path of this machine, so that the bytes are the same
    anywhere."""
    unet.to("cpu", torch.float16, memory_format=torch.contiguous_format).save_pretrained(folder)
    file = folder / "config.json"
    config = {k: v for k, v in json.loads(file.read_text()).items() if k != "_name_or_path"}
    file.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def load_unet(key: str, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    """The fine-tuned UNet of a kept generator. Raises FileNotFoundError where it has not been made."""
    about, folder = store.manifest("generator", key)["about"], store.folder("generator", key)
    if about.get("lora"):
        unet = load_base(about["base"], about["task"]).unet.float()
        return lora.merge(unet, folder / "lora").to(dtype).eval()
    return load_whole(UNet2DConditionModel, folder / "unet", dtype)


def losses(key: str) -> pd.DataFrame:
    """Loss of each step (step, loss) of a kept generator."""
    return pd.read_parquet(store.folder("generator", key) / "losses.parquet")


def steps_of(task: dict) -> int:
    """Optimiser steps of a task: `steps` where above 0, else those of `epochs` over its images."""
    per_epoch = -(-len(task["images"]) // task["batch_size"])
    return task["steps"] or max(1, -(-per_epoch * task["epochs"] // task["accumulation"]))


@torch.no_grad()
def encode(vae: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Scaled latents (n, 4, h, w) of pixels in [-1, 1]: drawn from the posterior, or what a tiny autoencoder gives."""
    out = vae.encode(pixels)
    drawn = out.latents if hasattr(out, "latents") else _draw(out.latent_dist)
    return drawn * (vae.config.scaling_factor or 1.0)


def _draw(posterior: object) -> torch.Tensor:
    """A draw of the posterior with noise of the CPU's generator, whatever the device."""
    return posterior.mean + posterior.std * torch.randn(posterior.mean.shape).to(posterior.mean)


def _train(task: dict, saved: Path) -> tuple[UNet2DConditionModel, list[float]]:
    """Fine-tune; all random draws come from CPU generators seeded by the task. Returns the UNet and a loss a step.

    saved: folder of the checkpoints; one that a stopped training left there is gone on from.
    """
    task = {**USUAL, **task}  # as in `key_of`
    seed = seeds.seed_of(task["seed"], "dreambooth", task["task"], task["condition"])
    remembered = prior.rows(prior.keep(task)) if task["prior"] else []
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = load_base(task["base"], task["task"])
    unet = base.unet.float().to(device).train().requires_grad_(True)
    if task["lora"]:
        lora.attach(unet, task["lora"]["rank"], task["lora"]["alpha"])
    if task["gradient_checkpointing"]:
        unet.enable_gradient_checkpointing()
    vae, noise = base.vae.float().to(device).eval(), DDPMScheduler.from_config(base.scheduler)
    learner = _compiled(unet, vae, task["batch_size"]) if task["compile"] else unet
    learned = [weight for weight in unet.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=task["learning_rate"], fused=True)  # a tenth of a small step
    words = contexts(base, task, device)
    done, state = checkpoints.load(saved, {"unet": unet}, {"adamw": optimiser})
    shapes, waiting, curve = np.random.default_rng(seed), state.get("waiting", [[], []]), state.get("curve", [])
    shapes.bit_generator.state = state.get("shapes", shapes.bit_generator.state)
    shown = batches.endless(task, task["images"], words, shapes, waiting[0], device)
    about = task, remembered, [words[-1]] * len(remembered), shapes, waiting[1], device
    others = batches.endless(*about) if remembered else None
    for step in range(done + 1, steps_of(task) + 1):
        parts = []
        for _ in range(task["accumulation"]):
            with torch.autocast(device.type, DTYPES[task["dtype"]], enabled=task["dtype"] != "fp32"):
                loss = _loss(learner, vae, noise, *next(shown))
                whole = loss + task["prior"]["weight"] * _loss(learner, vae, noise, *next(others)) if others else loss
            (whole / task["accumulation"]).backward()
            parts.append(float(loss.detach()))
        _clip(learned)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        curve.append(float(np.mean(parts)))
        due = task["checkpoint_every"] and step % task["checkpoint_every"] == 0 and step < steps_of(task)
        if due and np.isfinite(curve[-1]):
            more = {"waiting": waiting, "curve": curve, "shapes": shapes.bit_generator.state}
            checkpoints.save(saved, step, {"unet": unet}, {"adamw": optimiser}, more)
    if not np.isfinite(curve).all():
        raise FloatingPointError(
            f"{task['condition']}, {task['task']}: the loss is not finite; lower learning_rate or use dtype fp32"
        )
    return unet, curve


def _compiled(unet: UNet2DConditionModel, vae: torch.nn.Module, batch: int) -> Callable:
    """The UNet through torch.compile for whole batches; an epoch's last, of any size, goes through it as it is.

    With what lies between convolutions fused, those are quicker with the channels last; the autoencoder's are always.
    """
    for model in (unet, vae):
        model.to(memory_format=torch.channels_last)
    on_cpu = (
        next(unet.parameters()).device.type == "cpu"
    )  # where calling a thousand small kernels from Python would show
    quick = torch.compile(unet, dynamic=False, options={"cpp_wrapper": on_cpu})
    return lambda given, when, words: (quick if len(given) == batch else unet)(given, when, words)


def _clip(learned: list[torch.nn.Parameter]) -> None:
    """Scale the gradient down to CLIP_NORM where it is longer; torch's `clip_grad_norm_` would multiply by 1 where
    not."""
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in learned if weight.grad is not None])
    if not CLIP_NORM / (norm + 1e-6) >= 1:  # as torch has it; nor where it is not a number
        torch.nn.utils.clip_grads_with_norm_(learned, CLIP_NORM, norm)


def _loss(
    unet: Callable,
    vae: torch.nn.Module,
    noise: DDPMScheduler,
    shown: torch.Tensor,
    mask: torch.Tensor | None,
    words: torch.Tensor,
) -> torch.Tensor:
    """The denoising loss of a batch: noise or velocity, as the base's scheduler says; with a mask, of nine channels."""
    latents = encode(vae, shown)
    grain = torch.randn(latents.shape).to(latents)
    when = torch.randint(0, noise.config.num_train_timesteps, (len(latents),)).to(latents.device)
    given = noise.add_noise(latents, grain, when)
    if mask is not None:
        small = F.interpolate(mask, size=latents.shape[-2:])
        given = torch.cat([given, small, encode(vae, shown * (mask < 0.5))], dim=1)
    velocity = noise.config.prediction_type == "v_prediction"
    target = noise.get_velocity(latents, grain, when) if velocity else grain
    return F.mse_loss(unet(given, when, words).sample.float(), target.float())


def contexts(base: Base, task: dict, device: torch.device) -> list[torch.Tensor]:
    """The text encoder's output for each image's prompt and, last, the prior's, (tokens, width); it is not trained."""
    encoder = base.text_encoder.float().to(device).eval()

    @cache
    def context(prompt: str) -> torch.Tensor:
        kept = {"padding": "max_length", "truncation": True, "max_length": base.tokenizer.model_max_length}
        tokens = base.tokenizer(prompt, return_tensors="pt", **kept).input_ids.to(device)
        with torch.no_grad():
            return encoder(tokens)[0][0]

    asked = [prompt_of(r["condition"], r["fst"], task["prompt"], task["add_skin_type"]) for r in task["images"]]
    return [context(prompt) for prompt in [*asked, GENERIC_PROMPT]]


def table(tasks: Sequence[dict], keys: Sequence[str], generator_data: str = "all") -> pd.DataFrame:
    """The table `generators`: a row a fine-tuned model or GAN, and a row ('base', key '') for each untouched base.

    n, run: of models of a run's own (`exposure.plan_own`), 0 and -1 of those that all runs share. weights: digest of
    the kept unit's bytes, '' of a base, whose weights `base_digest` names.
    """
    rows = []
    for task, key in zip(tasks, keys, strict=True):
        made = store.manifest("generator", key)["result"]
        rows.append(
            row_of(
                task,
                "fine-tuned",
                key,
                generator_data,
                weights=store.content("generator", key),
                condition=task["condition"],
                images=len(task["images"]),
                **made,
            )
        )
    untouched = {task["task"]: task for task in tasks if task["task"] in TASKS}
    nothing = {"weights": "", "images": 0, "steps": 0, "loss_first": np.nan, "loss_last": np.nan}
    return pd.DataFrame(
        rows + [row_of(task, "base", "", "none", condition="all", **nothing) for task in untouched.values()]
    )


def row_of(task: dict, generator: str, key: str, generator_data: str, **more: object) -> dict:
    """A row of the table; reference: the base as JSON, from which 03 loads it again."""
    base = task["base"]
    same = {
        name: task[name] for name in ("image_size", "prompt", "add_skin_type")
    }  # samples are asked for as it was taught
    same |= {"n": task.get("n", 0), "run": task.get("run", -1)}
    generator_data = "matched" if same["n"] else generator_data
    about = {
        "task": task["task"],
        "generator": generator,
        "base": base["name"],
        "key": key,
        "base_digest": base["digest"],
    }
    return {**about, **same, "reference": json.dumps(base, sort_keys=True), "generator_data": generator_data, **more}
