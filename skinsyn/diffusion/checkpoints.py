"""Checkpoints of a training: all that decides its next step, so that a stopped one resumes and ends in the same bytes.

One safetensors file per checkpoint, beside the unit that is being made: weights, the optimiser's moments and torch's
random state as tensors, everything else as JSON in its header. Nothing is pickled. The name carries the file's digest.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from skinsyn.run import compute, files, store

from .settings import Training, Tuning

__all__ = ["clear", "due", "folder_of", "keep", "load", "save"]

NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.safetensors")


def folder_of(kind: str, key: str) -> Path:
    """Where the checkpoints of a unit lie while it is made: in the store's temporary area (names that begin with a
    dot)."""
    return store.unit_dir(kind, f".{key}.checkpoints")


def due(every: int, step: int, last: int) -> bool:
    """Whether a checkpoint is to be written after `step` of `last` steps; none after the last, and 0 is never."""
    return bool(every) and step % every == 0 and step < last


def save(
    folder: Path, step: int, models: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], more: dict
) -> None:
    """Write the checkpoint after `step` steps, then remove the one before. more: JSON-able state of the caller's
    own."""
    tensors = {
        f"weights/{name}/{key}": value for name, model in models.items() for key, value in _learned(model).items()
    }
    for name, optimiser in optimisers.items():
        for place, state in optimiser.state_dict()["state"].items():
            tensors |= {f"moments/{name}/{place}/{key}": torch.as_tensor(value) for key, value in state.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors |= {f"random/cuda/{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"writing-{step:08d}.safetensors"
    save_file(tensors, temporary, {"step": str(step), "more": json.dumps(more)})
    files.sync(temporary)
    name = f"step-{step:08d}-{files.digest_file(temporary)[:16]}.safetensors"
    temporary.replace(folder / name)
    files.sync(folder)
    for other in folder.iterdir():
        if other.name != name:
            other.unlink(missing_ok=True)


def _learned(model: nn.Module) -> dict[str, torch.Tensor]:
    """What a training changes in a model: the weights that learn, and buffers (running means)."""
    weights = {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
    return weights | dict(model.named_buffers())


def load(
    folder: Path, models: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer]
) -> tuple[int, dict[str, Any]]:
    """Put the newest whole checkpoint into models, optimisers and torch's random state: (step, more); (0, {}) where
    none is.

    A damaged one is reported and skipped.
    """
    for file in sorted(folder.glob("step-*"), reverse=True):
        try:
            name = NAME.fullmatch(file.name)
            if not name:
                continue
            if files.digest_file(file)[:16] != name[2]:
                raise ValueError("it does not have the bytes that its name says")
            return _restore(file, models, optimisers)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            print(f"checkpoint {file} is damaged ({error}); passed over", flush=True)
    return 0, {}


def _restore(
    file: Path, models: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer]
) -> tuple[int, dict]:
    with safe_open(file, "pt") as handle:
        about = handle.metadata()
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}
    for name, model in models.items():
        start = f"weights/{name}/"
        for key, value in _learned(model).items():
            value.copy_(tensors[start + key])
    for name, optimiser in optimisers.items():
        whole = optimiser.state_dict()
        for key, value in tensors.items():
            if key.startswith(f"moments/{name}/"):
                _, _, place, what = key.split("/")
                whole["state"].setdefault(int(place), {})[what] = value
        optimiser.load_state_dict(whole)
        for weight, state in optimiser.state.items():  # a fused step takes moments that lie as their weight does
            state |= {k: torch.empty_like(weight).copy_(v) for k, v in state.items() if v.shape == weight.shape}
    if cuda := sorted(key for key in tensors if key.startswith("random/cuda/")):
        torch.cuda.set_rng_state_all([tensors[key] for key in cuda])
    torch.set_rng_state(tensors["random/cpu"])  # last: loading draws nothing, and this is what the next step draws from
    return int(about["step"]), json.loads(about["more"])


def clear(folder: Path) -> None:
    """Remove a unit's checkpoints once it is kept."""
    shutil.rmtree(folder, ignore_errors=True)


def keep(
    key: str,
    training: Training,
    train: Callable[[Path], tuple[Any, list[float]]],
    save: Callable[[Any, Path], None],
) -> str:
    """Keep a generator where it is not kept yet; returns its key.

    train: folder of the checkpoints → what was trained, and the loss of each step. save: writes that into the unit,
    beside `losses.parquet` (step, loss).
    """
    saved = folder_of("generator", key)

    def make(folder: Path) -> dict[str, Any]:
        compute.set_threads(training.threads)
        with torch.random.fork_rng(devices=[]):
            learner, curve = train(saved)
        if not np.isfinite(curve).all():
            cure = "; lower learning_rate or use dtype fp32" if isinstance(training, Tuning) else ""
            raise FloatingPointError(f"{training.condition}, {training.task}: the loss is not finite{cure}")
        save(learner, folder)
        frame = pd.DataFrame({"step": np.arange(1, len(curve) + 1), "loss": curve})
        frame.to_parquet(folder / "losses.parquet", index=False)
        tenth = max(1, len(curve) // 10)
        first, last = float(np.mean(curve[:tenth])), float(np.mean(curve[-tenth:]))
        return {"steps": len(curve), "loss_first": first, "loss_last": last}

    store.keep("generator", key, make, training.json())
    clear(saved)
    return key
