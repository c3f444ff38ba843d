"""What a task names instead of holding: base models, images and prompts, found again by any worker from JSON-able
words."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from skinsyn import images
from skinsyn.run import compute, files, paths, seeds, store

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


def prepare_base(name: str, task: str, frame: pd.DataFrame, settings: dict, seed: int, threads: int) -> dict:
    """A reference to a base model: {name, revision, autoencoder, offline, unit, digest}. Logs what was read.

    name: 'tiny' (shipped), 'pretrain' (pretrained here on `frame`, the training split; kept as unit 'base_model'), a
    folder, or a hub id. settings: revision, autoencoder ('' for the base's own), offline, and pretrain (steps, threads
    and the like, as keywords of base_model.pretrain).
    """
    from . import base_model

    unit = (
        _pretrained(frame, settings["autoencoder"], settings["pretrain"], seed, threads) if name == "pretrain" else ""
    )
    about = {
        "revision": settings["revision"],
        "autoencoder": "" if unit else settings["autoencoder"],
        "offline": settings["offline"],
    }
    reference = {"name": name, **about, "unit": unit, "digest": ""}
    for model in ("" if unit else name, settings["autoencoder"]):
        if folder := base_model.SHIPPED if model == "tiny" else model and paths.model_dir(model):
            files.log_access("read", folder)
    return {**reference, "digest": _digest(load_base(reference, task))}


def _pretrained(frame: pd.DataFrame, autoencoder: str, settings: dict, seed: int, threads: int) -> str:
    """Key of the kept base model pretrained on the images of `frame`, without their conditions' names."""
    from . import base_model

    threads = settings.get("threads", threads)
    folder = paths.model_dir(autoencoder) if autoencoder else None
    if autoencoder and folder is None:
        raise FileNotFoundError(
            f"no folder of the autoencoder {autoencoder!r}; set SKINSYN_MODELS to the folder that holds it"
        )
    rows = json.loads(frame.sort_values("image_id")[["image_id", "unit", "row", "fst"]].to_json(orient="records"))
    start = settings.get("start", "")
    inputs = {
        "autoencoder": files.digest_tree(folder) if folder else "",
        "start": _digest(base_model.load(start)) if start else "",
    }
    key = store.key_of("base_model", RECIPE, {**settings, "seed": seed, "images": rows}, inputs, threads)
    prompts = [prompt_of("", row["fst"], GENERIC_PROMPT, True) for row in rows]

    def make(output: Path) -> dict:
        compute.set_threads(threads)
        kept = {"threads": threads, **settings, "autoencoder": autoencoder, "seed": seed}
        return base_model.pretrain(
            images.pixels(rows), prompts, output / "model", about="pretrained on this run's training split", **kept
        )

    store.keep("base_model", key, make, {**settings, "autoencoder": autoencoder, "seed": seed, "images": rows})
    return key


def _digest(base: "base_model.Base") -> str:
    return seeds.digest(base.digest)[:24]


def load_base(reference: dict, task: str, dtype: str = "float32") -> "base_model.Base":
    """The base model of a reference. Raises ValueError where its weights are no longer those that the reference
    names."""
    from . import base_model

    where = str(store.folder("base_model", reference["unit"]) / "model") if reference["unit"] else reference["name"]
    base = base_model.load(where, task, reference["revision"], reference["autoencoder"], reference["offline"], dtype)
    if reference["digest"] and _digest(base) != reference["digest"]:
        raise ValueError(
            f"base {reference['name']!r}: its weights are not those that this was planned for; run 02_dreambooth again"
        )
    return base
