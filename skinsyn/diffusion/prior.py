"""Prior preservation: images of skin disease in general, by the untouched base, that a fine-tuning must not unlearn.

Source: Ruiz et al. 2022, DreamBooth (arXiv 2208.12242), section 3.2. The study did without.
"""

import json

import numpy as np
import pandas as pd
import torch

from skinsyn import images
from skinsyn.run import compute, seeds, store

from .base_model import build_pipeline
from .references import GENERIC_PROMPT, load_base

__all__ = ["checked", "keep", "rows"]

RECIPE = 1
BATCH = 8
GUIDANCE = 3.0


def checked(given: dict) -> dict:
    """weight, images and steps, complete. Raises ValueError for another key, or for one that is not above 0."""
    whole = {"weight": 1.0, "images": 100, "steps": 50} | given
    if len(whole) > 3 or min(whole.values()) <= 0 or whole["images"] > images.SHARD_IMAGES:
        raise ValueError(
            f"prior is {given}: expected {{weight: 1.0, images: 100, steps: 50}}, above 0, at most 1,000 images"
        )
    return whole


def keep(task: dict) -> str:
    """Key of the shard of prior images of a fine-tuning task's base: the generic prompt, one seed an image, made
    once."""
    asked = {name: task["prior"][name] for name in ("images", "steps")}
    asked |= {"of": "prior", "task": task["task"], "image_size": task["image_size"], "seed": task["seed"]}
    key = store.key_of("shard", RECIPE, asked, {"base": task["base"]["digest"]}, task["threads"])

    def make(folder) -> None:
        compute.set_threads(task["threads"])
        names = [f"prior-{i:04d}" for i in range(asked["images"])]
        found = [_draw(task, asked, names[start : start + BATCH]) for start in range(0, len(names), BATCH)]
        images.write_shard(folder, np.concatenate(found), pd.DataFrame({"image_id": names, "prompt": GENERIC_PROMPT}))

    store.keep("shard", key, make, {**asked, "base": task["base"]})
    return key


def _draw(task: dict, asked: dict, names: list[str]) -> np.ndarray:
    pipeline = build_pipeline(load_base(task["base"], task["task"]))
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    size = task["image_size"]
    given = {} if task["task"] == "text-to-image" else _everything_painted(len(names), size)
    drawn = pipeline(
        [GENERIC_PROMPT] * len(names),
        num_inference_steps=asked["steps"],
        guidance_scale=GUIDANCE,
        generator=[torch.Generator("cpu").manual_seed(seeds.seed_of(asked["seed"], "prior", name)) for name in names],
        height=size,
        width=size,
        output_type="np",
        **given,
    ).images
    return (np.nan_to_num(drawn) * 255).round().astype(np.uint8)


def _everything_painted(count: int, size: int) -> dict:
    """An inpainting pipeline's input where nothing is shown: a grey image under a mask of all of it."""
    return {
        "image": torch.full((count, 3, size, size), 0.5),
        "mask_image": torch.ones(count, 1, size, size),
        "strength": 1.0,
    }


def rows(key: str) -> list[dict]:
    """The prior images as rows that `images.pixels` reads."""
    names = pd.read_parquet(store.folder("shard", key) / "rows.parquet", columns=["image_id"])["image_id"]
    return json.loads(
        pd.DataFrame({"image_id": names, "unit": key, "row": range(len(names))}).to_json(orient="records")
    )
