"""What a task names instead of holding: base models, images and prompts, which any worker reads again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from skinsyn import images
from skinsyn.run import compute, files, paths, seeds, store

from .settings import Pretrain, Reference

if TYPE_CHECKING:  # diffusers takes seconds to import, and who reads pictures alone has no use for it
    from . import base_model

__all__ = ["load_base", "prepare_base", "prompt_of"]

RECIPE = 1  # of the unit 'base_model'
GENERIC_PROMPT = "An image of a skin disease"  # a base pretrained here learns no condition's name


def prompt_of(condition: str, fst: int, template: str, add_skin_type: bool) -> str:
    """The prompt of one image: dashes and underscores of the condition's name become spaces, skin type -1 `unknown`.

    Raises ValueError where there is a condition and the template has no place for it.
    """
    if condition and "{condition}" not in template:
        raise ValueError(f"prompt {template!r}: expected a place for the condition, as in 'An image of {{condition}}'")
    text = template.replace("{condition}", condition.replace("-", " ").replace("_", " "))
    return text + (f", Fitzpatrick skin type {fst if fst in range(1, 7) else 'unknown'}" if add_skin_type else "")


def prepare_base(
    base: Reference, task: str, frame: pd.DataFrame, pretrain: Mapping[str, Any], seed: int, threads: int
) -> Reference:
    """The reference with its digest, and of a base that is named 'pretrain' with its unit. Logs what was read.

    'pretrain' is pretrained here on `frame`, the training split, and kept as unit 'base_model'. pretrain: fields of
    `Pretrain` that are not as usual; they alone are in its key.
    """
    from . import base_model

    for model in ("" if base.name == "pretrain" else base.name, base.autoencoder):
        if folder := base_model.SHIPPED if model == "tiny" else model and paths.model_dir(model):
            files.log_access("read", folder)
    if base.name == "pretrain":  # its autoencoder is then a part of it
        base = base.but(unit=_pretrained(frame, base.autoencoder, pretrain, seed, threads), autoencoder="")
    return base.but(digest=_digest(load_base(base, task)))


def _pretrained(frame: pd.DataFrame, autoencoder: str, pretrain: Mapping[str, Any], seed: int, threads: int) -> str:
    """Key of the kept base model pretrained on the images of `frame`, without their conditions' names."""
    from . import base_model

    how = Pretrain.read({"threads": threads, **pretrain}, "pretrain")
    folder = paths.model_dir(autoencoder) if autoencoder else None
    if autoencoder and folder is None:
        raise FileNotFoundError(
            f"no folder of the autoencoder {autoencoder!r}; set SKINSYN_MODELS to the folder that holds it"
        )
    rows = json.loads(frame.sort_values("image_id")[["image_id", "unit", "row", "fst"]].to_json(orient="records"))
    inputs = {
        "autoencoder": files.digest_tree(folder) if folder else "",
        "start": _digest(base_model.load(how.start)) if how.start else "",
    }
    about = {**pretrain, "seed": seed, "images": rows}
    key = store.key_of("base_model", RECIPE, about, inputs, how.threads)
    prompts = [prompt_of("", row["fst"], GENERIC_PROMPT, True) for row in rows]

    def make(output: Path) -> dict[str, Any]:
        compute.set_threads(how.threads)
        card = "pretrained on this run's training split"
        return base_model.pretrain(images.pixels(rows), prompts, output / "model", how, autoencoder, seed, card)

    store.keep("base_model", key, make, {**about, "autoencoder": autoencoder})
    return key


def _digest(base: "base_model.Base") -> str:
    return seeds.digest(base.digest)[:24]


def load_base(base: Reference, task: str, dtype: str = "float32") -> "base_model.Base":
    """The base model of a reference. Raises ValueError where it has other weights than the reference names."""
    from . import base_model

    where = str(store.folder("base_model", base.unit) / "model") if base.unit else base.name
    loaded = base_model.load(where, task, base.revision, base.autoencoder, base.offline, dtype)
    if base.digest and _digest(loaded) != base.digest:
        raise ValueError(
            f"base {base.name!r}: its weights are not those that this was planned for; run 02_dreambooth again"
        )
    return loaded
