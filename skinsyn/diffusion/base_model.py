"""Base models: the tiny Stable Diffusion that is shipped, how it is made, and the real ones, loaded by one function."""

import copy
import json
import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import (
    AutoencoderTiny,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils.logging import disable_progress_bar

from skinsyn.datasets import phantom
from skinsyn.diffusion import autoencoder as autoencoders
from skinsyn.diffusion import pretraining
from skinsyn.diffusion.hub import NEEDED, SHIPPED, demand, folder_of, load_autoencoder, load_whole
from skinsyn.diffusion.settings import TASKS, Pretrain
from skinsyn.diffusion.tiny import PROMPT_TOKENS, make_tokenizer, new_text_encoder, new_unet, widen
from skinsyn.run import files

__all__ = ["PROMPT_TOKENS", "SHIPPED", "Base", "build_pipeline", "load", "make", "make_tokenizer", "pretrain"]

LOG = logging.getLogger(__name__)
IMAGES = 4032  # phantoms that the shipped weights were pretrained on
MINUTES = 25.0  # that its pretraining takes on 2 cores


class Base(NamedTuple):
    """One task's components. scheduler: config of the noise schedule. digest: SHA-256 of each part's weight file."""

    unet: UNet2DConditionModel
    vae: autoencoders.Vae
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: dict[str, Any]
    task: str
    name: str
    digest: dict[str, str]


def load(
    base: str = "tiny",
    task: str = "text-to-image",
    revision: str = "",
    autoencoder: str = "",
    offline: bool = True,
    dtype: str = "float32",
) -> Base:
    """Load what one task needs.

    base: `tiny` (shipped), a folder in diffusers' layout (also one that `pretrain` wrote), or a hub id, whose known
    mirror is tried, too. task: `text-to-image` or `inpainting`; where the real bases differ, load each task from its
    own base. autoencoder: a folder or hub id that takes the place of the base's own. offline: never ask the network.
    dtype: float32, bfloat16 or float16.
    Raises FileNotFoundError (which model, where looked for, what to do), ValueError (unknown task, dtype, wrong UNet).
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: one of {', '.join(TASKS)}")
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"unknown dtype {dtype!r}: one of float32, bfloat16, float16")
    disable_progress_bar()  # a bar for each small model would drown the log
    number = getattr(torch, dtype)
    folder = folder_of(base, revision, offline, f"{task} base model", NEEDED)
    part = "inpainting_unet" if task == "inpainting" and (folder / "inpainting_unet").is_dir() else "unet"
    own = [name for name in NEEDED if not (autoencoder and name.startswith("vae/"))]
    demand(folder, [name.replace("unet/", f"{part}/") for name in own], f"{task} base model")
    unet = load_whole(UNet2DConditionModel, folder / part, number)
    channels = {"text-to-image": 4, "inpainting": 9}[task]
    if unet.config.in_channels != channels:
        raise ValueError(
            f"{base!r} cannot do {task}: its UNet has {unet.config.in_channels} input channels, not {channels}"
        )
    vae_folder = folder / "vae"
    if autoencoder:
        vae_folder = folder_of(
            autoencoder, "", offline, "autoencoder", ["config.json", "diffusion_pytorch_model.safetensors"]
        )
    weights = {
        "unet": folder / part / "diffusion_pytorch_model.safetensors",
        "vae": vae_folder / "diffusion_pytorch_model.safetensors",
        "text_encoder": folder / "text_encoder" / "model.safetensors",
    }
    return Base(
        unet=unet,
        vae=load_autoencoder(vae_folder, number),
        text_encoder=load_whole(CLIPTextModel, folder / "text_encoder", number),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        scheduler=json.loads((folder / "scheduler" / "scheduler_config.json").read_text()),
        task=task,
        name=base,
        digest={name: files.digest_file(path) for name, path in weights.items()},
    )


def build_pipeline(
    base: Base, unet: UNet2DConditionModel | None = None
) -> StableDiffusionPipeline | StableDiffusionInpaintPipeline:
    """The real diffusers pipeline of a base, or of a fine-tuned `unet` in it: PROTOCOL's sampler, no checker, no bar.

    The safety checker is off because it takes photographs of skin for nudity, as the study found.
    """
    kind = StableDiffusionInpaintPipeline if base.task == "inpainting" else StableDiffusionPipeline
    pipeline = kind(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=unet or base.unet,
        scheduler=DPMSolverMultistepScheduler.from_config(base.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _save(model: Any, folder: Path) -> str:
    """Write a model as fp16 safetensors; its weights' SHA-256."""
    copy.deepcopy(model).half().save_pretrained(folder, safe_serialization=True)
    if isinstance(model, AutoencoderTiny):  # diffusers derives this entry, saves it, and warns when it reads it
        config = json.loads((folder / "config.json").read_text())
        kept = {k: v for k, v in config.items() if k not in ("block_out_channels", "_name_or_path")}
        files.write_json(folder / "config.json", kept)
    return files.digest_file(next(folder.glob("*.safetensors")))


def _pretrained_autoencoder(
    images: np.ndarray, autoencoder: str, steps: int, seed: int, card: dict[str, Any]
) -> autoencoders.Vae:
    """The named autoencoder, or a new one trained on the images; its quality is written on the card."""
    if autoencoder:
        vae = load_autoencoder(folder_of(autoencoder, "", True, "autoencoder", []), torch.float32)
    else:
        vae, card["autoencoder_loss"] = autoencoders.train_autoencoder(images, steps, 16, 2e-3, seed)
        vae = vae.half().float()  # as it is kept: the UNets learn the latents of those weights
    card["autoencoder"] = autoencoder or f"trained here, {steps} steps"
    card["autoencoder_psnr_db"] = autoencoders.psnr(vae, images[:128])
    return vae


def pretrain(
    images: np.ndarray,
    prompts: list[str],
    output: Path,
    how: Pretrain,
    autoencoder: str = "",
    seed: int = 0,
    about: str = "",
) -> dict[str, Any]:
    """Pretrain a tiny base on images and write it to `output` in diffusers' layout, whole or not at all.

    images: uint8 (n, s, s, 3), s a multiple of 16. prompts: one per image. inpainting starts
    from the text-to-image UNet, and with `start` every weight of matching shape is that base's.
    autoencoder: "" trains a new one; else a folder or hub id whose latents are used. about: a sentence for the card.
    Returns the card, as written to card.json. Raises ValueError where images and prompts disagree or the shape is
    wrong.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[1] % 16:
        raise ValueError(f"images are {images.dtype} {images.shape}: expected uint8 (n, s, s, 3), s a multiple of 16")
    if len(images) != len(prompts) or not prompts:
        raise ValueError(f"{len(images)} images but {len(prompts)} prompts: one prompt per image, at least one")
    card: dict[str, Any] = {
        "about": about,
        "images": len(images),
        "size": images.shape[1],
        "seed": seed,
        "batch": how.batch,
    }
    before = torch.get_num_threads()
    torch.set_num_threads(how.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            parts, tokenizer = _pretrained_parts(images, prompts, how, autoencoder, seed, card)
    finally:
        torch.set_num_threads(before)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as work:
        folder = Path(work) / output.name
        card["digest"] = {name: _save(model, folder / name) for name, model in parts.items()}
        tokenizer.save_pretrained(folder / "tokenizer")
        DDPMScheduler(**pretraining.SCHEDULE).save_pretrained(folder / "scheduler")
        files.write_json(folder / "card.json", card)
        _set_aside(output)
        folder.rename(output)
    return card


def _pretrained_parts(
    images: np.ndarray, prompts: list[str], how: Pretrain, autoencoder: str, seed: int, card: dict[str, Any]
) -> tuple[dict[str, Any], CLIPTokenizer]:
    """The parts of a base, by name, and its tokenizer; losses and steps are written on the card."""
    vae = _pretrained_autoencoder(images, autoencoder, how.autoencoder_steps, seed, card)
    latents = pretraining.make_latents(vae, images, seed)
    if latents.clean.shape[2] != 4 or latents.clean.shape[-1] % 4:
        shape = tuple(latents.clean.shape[2:])
        raise ValueError(f"latents are {shape}: expected 4 channels and sides that are a multiple of 4")
    parent = load(how.start) if how.start else None
    torch.manual_seed(seed)
    tokenizer = parent.tokenizer if parent else make_tokenizer()
    text_encoder = parent.text_encoder if parent else new_text_encoder(tokenizer)
    unet = new_unet(latents.clean.shape[-1]).to(memory_format=torch.channels_last)  # a tenth faster on CPUs
    if parent:
        copied = pretraining.copy_matching(parent.unet, unet)
        card["start"] = f"{how.start}: {copied} of {len(unet.state_dict())} tensors copied"
    card |= {"threads": how.threads, "steps": {"text-to-image": how.steps, "inpainting": how.inpainting_steps}}
    data = pretraining.Data(latents, prompts, text_encoder, tokenizer, how.batch, seed)
    card["text_to_image_loss"] = pretraining.train_unet(unet, data, how.steps, how.lr, train_text=True)
    wide = widen(unet)
    card["inpainting_loss"] = pretraining.train_unet(wide, data, how.inpainting_steps, how.lr / 2, train_text=False)
    return {"vae": vae, "text_encoder": text_encoder, "unet": unet, "inpainting_unet": wide}, tokenizer


def _set_aside(folder: Path) -> None:
    """Rename what already lies there: an earlier base is somebody's work."""
    number = 0
    while folder.exists() and (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    if folder.exists():
        folder.rename(aside)


def make(output: Path, minutes: float | None = None, seed: int = 0) -> dict[str, Any]:
    """Make the shipped base again from phantoms of `PRETRAINING_PATTERNS`, never of the nine conditions.

    minutes: None is the shipped recipe (MINUTES); else its steps are cut in proportion. Returns the card
    with `shipped`, the shipped card's measures beside this one's, and `same_bytes`. Run by `make base-model`.
    """
    share = 1.0 if minutes is None else min(1.0, minutes / MINUTES)
    old = json.loads((SHIPPED / "card.json").read_text()) if (SHIPPED / "card.json").is_file() else {}
    patterns, images, prompts = phantom.PRETRAINING_PATTERNS, [], []
    for i in range(IMAGES):
        name, fst = patterns[i % len(patterns)], i // len(patterns) % 6 + 1
        images.append(phantom.draw(name, fst, seed=seed * 1_000_003 + i).image)
        prompts.append(f"An image of {name}, a skin disease, Fitzpatrick skin type {fst}")
    steps = ("steps", "inpainting_steps", "autoencoder_steps")
    how = Pretrain.read({name: max(1, int(getattr(Pretrain, name) * share)) for name in steps})
    about = f"Phantoms of the patterns {', '.join(patterns)}; never of the nine conditions, and not of patients."
    card = pretrain(np.stack(images), prompts, output, how, seed=seed, about=about)
    measures = ("autoencoder_psnr_db", "text_to_image_loss", "inpainting_loss")
    compared = {name: {"shipped": old.get(name), "made": card[name]} for name in measures}
    return {**card, "shipped": compared, "same_bytes": old.get("digest") == card["digest"]}
