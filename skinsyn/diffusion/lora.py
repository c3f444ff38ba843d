"""LoRA: a low-rank change of the UNet's attention is trained, by peft (Hu et al. 2021, arXiv 2106.09685)."""

import json
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from skinsyn.run import files

from .settings import Lora

__all__ = ["attach", "merge", "save"]

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]  # as in diffusers' DreamBooth example with LoRA
NAME = "adapter.safetensors"


def attach(unet: UNet2DConditionModel, settings: Lora) -> None:
    """Freeze the UNet and add a low-rank adapter, which alone is trained; it begins as no change at all."""
    unet.requires_grad_(False)
    scale: Any = settings.alpha  # peft's hint says int; it takes any number
    unet.add_adapter(
        LoraConfig(r=settings.rank, lora_alpha=scale, init_lora_weights="gaussian", target_modules=TARGETS)
    )


def save(unet: UNet2DConditionModel, folder: Path, settings: Lora) -> None:
    """Write the adapter alone: float32 safetensors, and rank and alpha as JSON."""
    folder.mkdir()
    weights = {name: value.detach().cpu().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    save_file(weights, folder / NAME)
    files.write_json(folder / "adapter.json", {"rank": settings.rank, "alpha": settings.alpha, "targets": TARGETS})


def merge(unet: UNet2DConditionModel, folder: Path) -> UNet2DConditionModel:
    """Add a kept adapter to the float32 UNet that it was learned on: W + alpha / rank · B A, in place."""
    scale = json.loads((folder / "adapter.json").read_text())
    weights = load_file(folder / NAME)
    own = unet.state_dict()
    for name in sorted(name for name in weights if name.endswith(".lora_A.weight")):
        down, up = weights[name], weights[name.replace(".lora_A.", ".lora_B.")]
        own[name.replace(".lora_A.weight", ".weight")].add_(up @ down, alpha=scale["alpha"] / scale["rank"])
    return unet
