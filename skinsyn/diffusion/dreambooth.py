"""DreamBooth: a base model's UNet taught one condition (or all), as a kept unit of the store, kind `generator`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn import functional as F

from skinsyn.run import seeds, store

from . import batches, checkpoints, lora, prior
from .base_model import Base
from .hub import load_whole
from .references import GENERIC_PROMPT, load_base, prompt_of
from .settings import TASKS, FineTune, Reference, Training, Tuning, trained

__all__ = ["contexts", "encode", "fine_tune", "key_of", "load_unet", "losses", "plan", "row_of", "table"]

RECIPE = 2  # 2: AdamW's fused form, whose sums round otherwise
CLIP_NORM = 1.0  # of the gradient, as in diffusers' DreamBooth examples that the study used
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
IMAGE = ["image_id", "condition", "fst", "unit", "row"]


def plan(
    frame: pd.DataFrame,
    conditions: Sequence[str],
    bases: Mapping[str, Reference],
    settings: FineTune,
    threads: int,
    n: int = 0,
    run: int = -1,
) -> list[Tuning]:
    """One fine-tuning per condition and task ('all' is the one model of all conditions), in that order.

    frame: the images to learn from (IMAGE's columns). bases: task → base model (`prepare_base`). n, run: of models of
    a run's own. Raises ValueError for a condition without images.
    """
    steps = {"text-to-image": settings.steps, "inpainting": settings.inpainting_steps or settings.steps}
    shared = {name: getattr(settings, name) for name in FineTune.names()} | {"inpainting_steps": 0}
    tunings = []
    for condition in conditions:
        mine = frame if condition == "all" else frame[frame["condition"] == condition]
        if mine.empty:
            raise ValueError(f"no training image of {condition!r}; known: {sorted(frame['condition'].unique())}")
        rows = json.loads(mine.sort_values("image_id")[IMAGE].to_json(orient="records"))
        about = {**shared, "condition": condition, "images": rows, "threads": threads, "n": n, "run": run}
        tunings += [
            Tuning(**{**about, "task": task, "base": base, "steps": steps[task]}) for task, base in bases.items()
        ]
    return tunings


def key_of(tuning: Training) -> str:
    """The key of the generator that a fine-tuning makes: a digest of its recipe, never of the weights that result."""
    base = {"base": tuning.base.digest}
    return store.key_of("generator", RECIPE, tuning.deciding(tuning.task), base, tuning.threads)


def fine_tune(tuning: Tuning) -> str:
    """Make the generator of a fine-tuning from `plan`, where it is not kept yet; its key. Source: PROTOCOL, Generator.

    The unit holds `unet/` (diffusers' own layout, weights in float16, which is also what samples are drawn from), or
    with LoRA `lora/`, and `losses.parquet` (step, loss). On one machine type, pins and threads the same task gives the
    same bytes, also where it was stopped and resumed from a checkpoint.
    """

    def save(unet: UNet2DConditionModel, folder: Path) -> None:
        if tuning.lora:
            lora.save(unet, folder / "lora", tuning.lora)
        else:
            _save(unet, folder / "unet")

    return checkpoints.keep(key_of(tuning), tuning, lambda saved: _train(tuning, saved), save)


def _save(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write float16 safetensors and a config that names no path of this machine, so that the bytes are the same
    anywhere."""
    unet.to("cpu", torch.float16, memory_format=torch.contiguous_format).save_pretrained(folder)
    file = folder / "config.json"
    config = {k: v for k, v in json.loads(file.read_text()).items() if k != "_name_or_path"}
    file.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def load_unet(key: str, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    """The fine-tuned UNet of a kept generator. Raises FileNotFoundError where it has not been made."""
    tuning, folder = trained(store.manifest("generator", key)["about"]), store.folder("generator", key)
    if isinstance(tuning, Tuning) and tuning.lora:
        unet = load_base(tuning.base, tuning.task).unet.float()
        return lora.merge(unet, folder / "lora").to(dtype).eval()
    return load_whole(UNet2DConditionModel, folder / "unet", dtype)


def losses(key: str) -> pd.DataFrame:
    """Loss of each step (step, loss) of a kept generator."""
    return pd.read_parquet(store.folder("generator", key) / "losses.parquet")


@torch.no_grad()
def encode(vae: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Scaled latents (n, 4, h, w) of pixels in [-1, 1]: drawn from the posterior, or what a tiny autoencoder gives."""
    out = vae.encode(pixels)
    drawn = out.latents if hasattr(out, "latents") else _draw(out.latent_dist)
    return drawn * (vae.config.scaling_factor or 1.0)


def _draw(posterior: Any) -> torch.Tensor:
    """A draw of the posterior with noise of the CPU's generator, whatever the device."""
    return posterior.mean + posterior.std * torch.randn(posterior.mean.shape).to(posterior.mean)


def _train(tuning: Tuning, saved: Path) -> tuple[UNet2DConditionModel, list[float]]:
    """Fine-tune; all random draws come from CPU generators seeded by the task. Returns the UNet and a loss per step.

    saved: folder of the checkpoints; training resumes from one that is there.
    """
    seed = seeds.seed_of(tuning.seed, "dreambooth", tuning.task, tuning.condition)
    remembered = prior.rows(prior.keep(tuning)) if tuning.prior else []
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = load_base(tuning.base, tuning.task)
    unet = base.unet.float().to(device).train().requires_grad_(True)
    if tuning.lora:
        lora.attach(unet, tuning.lora)
    if tuning.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    vae, noise = base.vae.float().to(device).eval(), DDPMScheduler.from_config(base.scheduler)
    learner = _compiled(unet, vae, tuning.batch_size) if tuning.compile else unet
    learned = [weight for weight in unet.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=tuning.learning_rate, fused=True)  # a tenth of a small step
    *words, generic = contexts(base, tuning.images, tuning.prompt, tuning.add_skin_type, device)
    done, state = checkpoints.load(saved, {"unet": unet}, {"adamw": optimiser})
    shapes, waiting, curve = np.random.default_rng(seed), state.get("waiting", [[], []]), state.get("curve", [])
    shapes.bit_generator.state = state.get("shapes", shapes.bit_generator.state)
    shown = batches.endless(tuning, tuning.images, words, shapes, waiting[0], device)
    others = batches.endless(tuning, remembered, [generic] * len(remembered), shapes, waiting[1], device)
    last = tuning.optimiser_steps()
    for step in range(done + 1, last + 1):
        parts = []
        for _ in range(tuning.accumulation):
            with torch.autocast(device.type, DTYPES[tuning.dtype], enabled=tuning.dtype != "fp32"):
                whole = loss = _loss(learner, vae, noise, *next(shown))
                if tuning.prior:
                    whole = loss + tuning.prior.weight * _loss(learner, vae, noise, *next(others))
            (whole / tuning.accumulation).backward()
            parts.append(float(loss.detach()))
        _clip(learned)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        curve.append(float(np.mean(parts)))
        if checkpoints.due(tuning.checkpoint_every, step, last) and np.isfinite(curve[-1]):
            more = {"waiting": waiting, "curve": curve, "shapes": shapes.bit_generator.state}
            checkpoints.save(saved, step, {"unet": unet}, {"adamw": optimiser}, more)
    return unet, curve


def _compiled(unet: UNet2DConditionModel, vae: torch.nn.Module, batch: int) -> Callable:
    """The UNet through torch.compile for whole batches; an epoch's last, of any size, goes through the UNet itself.

    With what lies between convolutions fused, those are quicker with the channels last; the autoencoder's are always.
    """
    for model in (unet, vae):
        model.to(memory_format=torch.channels_last)
    on_cpu = next(unet.parameters()).device.type == "cpu"  # where the calls of a thousand small kernels would show
    quick = torch.compile(unet, dynamic=False, options={"cpp_wrapper": on_cpu})
    return lambda noisy, t, context: (quick if len(noisy) == batch else unet)(noisy, t, context)


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
    pixels: torch.Tensor,
    mask: torch.Tensor | None,
    context: torch.Tensor,
) -> torch.Tensor:
    """The denoising loss of a batch: noise or velocity, as the base's scheduler says; with a mask, of nine channels."""
    latents = encode(vae, pixels)
    epsilon = torch.randn(latents.shape).to(latents)
    t = torch.randint(0, noise.config.num_train_timesteps, (len(latents),)).to(latents.device)
    noisy = noise.add_noise(latents, epsilon, t)
    if mask is not None:
        small = F.interpolate(mask, size=latents.shape[-2:])
        noisy = torch.cat([noisy, small, encode(vae, pixels * (mask < 0.5))], dim=1)
    velocity = noise.config.prediction_type == "v_prediction"
    target = noise.get_velocity(latents, epsilon, t) if velocity else epsilon
    return F.mse_loss(unet(noisy, t, context).sample.float(), target.float())


def contexts(
    base: Base, rows: Sequence[Mapping[str, Any]], prompt: str, add_skin_type: bool, device: torch.device
) -> list[torch.Tensor]:
    """The text encoder's output for each row's prompt and, last, the prior's, (tokens, width); it is not trained."""
    encoder = base.text_encoder.float().to(device).eval()

    @cache
    def context(prompt: str) -> torch.Tensor:
        padded = {"padding": "max_length", "truncation": True, "max_length": base.tokenizer.model_max_length}
        tokens = base.tokenizer(prompt, return_tensors="pt", **padded).input_ids.to(device)
        with torch.no_grad():
            return encoder(tokens)[0][0]

    prompts = [prompt_of(row["condition"], row["fst"], prompt, add_skin_type) for row in rows]
    return [context(text) for text in [*prompts, GENERIC_PROMPT]]


def table(trainings: Sequence[Training], keys: Sequence[str], generator_data: str = "all") -> pd.DataFrame:
    """The table `generators`: one row per fine-tuned model or GAN, and one ('base', key '') per untouched base.

    n, run: of models of a run's own (`exposure.plan_own`), 0 and -1 of those that all runs share. weights: digest of
    the kept unit's bytes, '' of a base, whose weights `base_digest` names.
    """
    rows = []
    for training, key in zip(trainings, keys, strict=True):
        about = {"images": len(training.images), **store.manifest("generator", key)["result"]}
        rows.append(row_of(training, key, store.content("generator", key), generator_data, **about))
    untouched = {training.task: training for training in trainings if training.task in TASKS}
    nothing = {"images": 0, "steps": 0, "loss_first": np.nan, "loss_last": np.nan}
    return pd.DataFrame(rows + [row_of(training, "", "", "none", **nothing) for training in untouched.values()])


def row_of(training: Training, key: str, weights: str, generator_data: str, **more: Any) -> dict[str, Any]:
    """A row of the table: of the model of this key, or where that is empty, of the untouched base.

    reference: the base as JSON, from which 03 loads it again.
    """
    return {
        "task": training.task,
        "generator": "fine-tuned" if key else "base",
        "base": training.base.name,
        "key": key,
        "base_digest": training.base.digest,
        "image_size": training.image_size,
        "prompt": training.prompt,
        "add_skin_type": training.add_skin_type,
        "n": training.n if key else 0,
        "run": training.run if key else -1,
        "reference": json.dumps(training.base.json(), sort_keys=True),
        "generator_data": "matched" if training.n and key else generator_data,
        "weights": weights,
        "condition": training.condition if key else "all",
        **more,
    }
