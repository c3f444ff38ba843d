"""The peers: synderm's fine-tuning, and the authors' generating loop, each on this project's base and phantoms.

Both run in a process of their own with as many torch threads as there are cores, the way their readers would start
them.
"""

import importlib.util
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionInpaintPipeline, UNet2DConditionModel
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms.functional import to_tensor
from tqdm.auto import tqdm

from skinsyn.diffusion import base_model, dreambooth, references
from skinsyn.diffusion.hub import load_whole
from skinsyn.diffusion.settings import Reference
from skinsyn.run import compute

from . import timing

__all__ = ["INSTALL", "authors_loop", "available", "save_folder", "tune_with_synderm"]

INSTALL = "pip install 'skinsyn[peers]'"


def available() -> bool:
    """True where synderm and the tracker that it needs on a CPU are installed (`INSTALL`)."""
    return all(importlib.util.find_spec(name) for name in ("synderm", "tensorboard"))


class Pictures(Dataset):
    """Photographs as synderm wants them: PIL image and label."""

    def __init__(self, pixels: Sequence[np.ndarray], labels: Sequence[str]) -> None:
        self.rows = [{"image": Image.fromarray(p), "label": name} for p, name in zip(pixels, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict:
        return self.rows[place]


class Drawn(AutoencoderTiny):
    """The tiny autoencoder with the words of AutoencoderKL, the one class that synderm knows; the arithmetic is the
    same."""

    def encode(self, pixels: torch.Tensor, return_dict: bool = True) -> SimpleNamespace:
        """Latents, also as a distribution of which every draw is the same."""
        latents = super().encode(pixels).latents
        return SimpleNamespace(latents=latents, latent_dist=SimpleNamespace(sample=lambda: latents))


class Bar(tqdm):
    """synderm's progress bar, which is there from its first to its last step: `loop` is how long that took, added
    up."""

    loop = 0.0

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **{**named, "disable": True})
        self.told = time.perf_counter()

    def update(self, steps: float = 1) -> None:
        """Count a step."""
        now = time.perf_counter()
        Bar.loop, self.told = Bar.loop + now - self.told, now


def save_folder(folder: Path, base: Reference, task: str, key: str = "") -> Path:
    """A base model, or a fine-tuned generator in it, as diffusers' own pipeline folder in float32."""
    base_model.build_pipeline(
        references.load_base(base, task), dreambooth.load_unet(key) if key else None
    ).save_pretrained(folder)
    return folder


def tune_with_synderm(task: dict) -> dict[str, float]:
    """synderm's `fine_tune_text_to_image`, one condition after the other: seconds in its loop, and of those in the
    UNet.

    task: base (folder), images and labels, output (folder: unet/ of each condition lies in <output>/<condition>/),
    prompt, image_size, batch_size, learning_rate, epochs, threads, seed. It draws one validation image of 25 steps of
    each condition before it begins: it cannot do without.
    """
    from synderm.fine_tune import text_to_image_diffusion as synderm

    compute.set_threads(task["threads"])
    torch.manual_seed(task["seed"])
    synderm.AutoencoderKL, synderm.tqdm, Bar.loop = Drawn, Bar, 0.0
    prompt = task["prompt"].replace("{condition}", "{}")
    asked = {"instance_prompt": prompt, "validation_prompt_format": prompt, "output_dir": task["output"]}
    asked |= {
        "resolution": task["image_size"],
        "train_batch_size": task["batch_size"],
        "num_train_epochs": task["epochs"],
    }
    asked |= {"num_validation_images": 1, "validation_steps": 10**9, "report_to": "tensorboard", "verbose": False}
    data = Pictures(task["images"], task["labels"])
    _, unet = timing.in_unet(
        lambda: synderm.fine_tune_text_to_image(data, task["base"], learning_rate=task["learning_rate"], **asked)
    )
    return {"loop": Bar.loop, "unet": unet}


@lru_cache(maxsize=4)
def _pipeline(folder: str) -> StableDiffusionInpaintPipeline:
    unet = load_whole(UNet2DConditionModel, Path(folder) / "unet", torch.float32)
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(
        folder, unet=unet, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def authors_loop(task: dict) -> float:
    """Inpaint, save, outpaint, save, batch by batch, as the authors' `generate_synthetic_dataset` does; seconds in the
    UNet.

    task: parts (each a condition's folder of the pipeline and its prompt and images), output, image_size,
    sampling_steps, guidance_scale, strengths, mask_fraction, batch_size, threads, seed. In float32, which a CPU wants.
    Left out: the sheet of each batch that theirs saves.
    """
    compute.set_threads(task["threads"])
    return timing.in_unet(lambda: [_draw(task, number) for number in range(len(task["parts"]))])[1]


@torch.inference_mode()
def _draw(task: dict, number: int) -> None:
    """One condition's images. Both masks are those of the authors' code: a square, and its outside without a border."""
    part, size, count = task["parts"][number], task["image_size"], task["batch_size"]
    pipeline, generator = _pipeline(part["folder"]), torch.Generator().manual_seed(task["seed"] + number)
    begin, end, border = int(size * task["mask_fraction"]), int(size * (1 - task["mask_fraction"])), size // 32
    inside = torch.zeros(1, 1, size, size)
    inside[..., begin:end, begin:end] = 1
    outside = 1 - inside
    outside[..., :border, :] = outside[..., -border:, :] = outside[..., :border] = outside[..., -border:] = 0
    asked = {
        "guidance_scale": task["guidance_scale"],
        "num_inference_steps": task["sampling_steps"],
        "generator": generator,
    }
    for first in range(0, len(part["images"]), count):
        shown = torch.stack([to_tensor(image) for image in part["images"][first : first + count]])
        for stage, mask in (("inpaint", inside), ("outpaint", outside)):
            strength, several = (
                task[f"strength_{stage}"],
                mask.repeat(len(shown), 1, 1, 1),
            )  # written to by the pipeline
            given = {"prompt": [part["prompt"]] * len(shown), "image": shown * 2 - 1, "mask_image": several}
            made = pipeline(**given, strength=strength, height=size, width=size, **asked).images
            folder = Path(task["output"]) / stage / f"{number}"
            folder.mkdir(parents=True, exist_ok=True)
            for place, image in enumerate(made):
                image.save(folder / f"{first + place}.png")
            shown = torch.stack([to_tensor(image) for image in made])
