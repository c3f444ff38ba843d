"""LoRA: not the whole UNet, but a low-rank change of its attention is learned, by peft (Hu et al. 2021, 2106.09685)."""

import importlib.metadata
import json
from pathlib import Path

from diffusers import UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from skinsyn.run import files

__all__ = ["attach", "checked", "merge", "save"]

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]  # as in diffusers' DreamBooth example with LoRA
NAME = "adapter.safetensors"


def checked(given: dict) -> dict:
    """rank, alpha (default: rank) and peft's version. Raises ValueError for another key or a rank below 1."""
    rank = given.get("rank")
    if set(given) - {"rank", "alpha"} or not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ValueError(f"lora is {given}: expected {{rank: 8, alpha: 8}}, rank a whole number of at least 1")
    return {"rank": rank, "alpha": given.get("alpha", rank), "peft": importlib.metadata.version("peft")}


def attach(unet: UNet2DConditionModel, rank: int, alpha: float) -> None:
    """Freeze the UNet and add a low-rank adapter, which alone is trained; it begins as no change at all."""
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=TARGETS))


def save(unet: UNet2DConditionModel, folder: Path, rank: int, alpha: float) -> None:
    """Write the adapter alone: float32 safetensors, and rank and alpha as JSON."""
    folder.mkdir()
    weights = {name: value.detach().cpu().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    save_file(weights, folder / NAME)
    files.write_json(folder / "adapter.json", {"rank": rank, "alpha": alpha, "targets": TARGETS})


def merge(unet: UNet2DConditionModel, folder: Path) -> UNet2DConditionModel:
    """Add a kept adapter to the float32 UNet that it was learned on: W + alpha / rank · B A, in place."""
    scale = json.loads((folder / "adapter.json").read_text())
    weights = load_file(folder / NAME)
    own = unet.state_dict()
    for name in sorted(name for name in weights if name.endswith(".lora_A.weight")):
        down, up = weights[name], weights[name.replace(".lora_A.", ".lora_B.")]
        own[name.replace(".lora_A.weight", ".weight")].add_(up @ down, alpha=scale["alpha"] / scale["rank"])
    return unet
