"""Prior preservation: images of skin disease in general, by the untouched base, that a fine-tuning must not unlearn.

Source: Ruiz et al. 2022, DreamBooth (arXiv 2208.12242), section 3.2. The study did without.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from skinsyn import images
from skinsyn.run import compute, seeds, store

from .base_model import build_pipeline
from .references import GENERIC_PROMPT, load_base
from .settings import Prior, Tuning

__all__ = ["keep", "rows"]

RECIPE = 1
BATCH = 8


def keep(tuning: Tuning) -> str:
    """Key of the shard of prior images of a fine-tuning's base: the generic prompt, one seed per image, made once."""
    prior = tuning.prior or Prior()
    about = {"images": prior.images, "steps": prior.steps, "of": "prior", "task": tuning.task}
    about |= {"image_size": tuning.image_size, "seed": tuning.seed}
    key = store.key_of("shard", RECIPE, about, {"base": tuning.base.digest}, tuning.threads)

    def make(folder: Path) -> None:
        compute.set_threads(tuning.threads)
        names = [f"prior-{i:04d}" for i in range(prior.images)]
        parts = [_draw(tuning, prior, names[start : start + BATCH]) for start in range(0, len(names), BATCH)]
        images.write_shard(folder, np.concatenate(parts), pd.DataFrame({"image_id": names, "prompt": GENERIC_PROMPT}))

    store.keep("shard", key, make, {**about, "base": tuning.base.json()})
    return key


def _draw(tuning: Tuning, prior: Prior, names: list[str]) -> np.ndarray:
    """uint8 (n, s, s, 3); by an inpainting UNet, to which nothing is shown: a grey image under a mask of all of it."""
    pipeline = build_pipeline(load_base(tuning.base, tuning.task))
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    size, inputs = tuning.image_size, {}
    if tuning.task == "inpainting":
        grey, mask = torch.full((len(names), 3, size, size), 0.5), torch.ones(len(names), 1, size, size)
        inputs = {"image": grey, "mask_image": mask, "strength": 1.0}
    drawn = pipeline(
        [GENERIC_PROMPT] * len(names),
        generator=[torch.Generator("cpu").manual_seed(seeds.seed_of(tuning.seed, "prior", name)) for name in names],
        height=size,
        width=size,
        output_type="np",
        **prior.sampling().arguments(),
        **inputs,
    ).images
    return (np.nan_to_num(drawn) * 255).round().astype(np.uint8)


def rows(key: str) -> list[dict[str, Any]]:
    """The prior images as rows that `images.pixels` reads."""
    names = pd.read_parquet(store.folder("shard", key) / "rows.parquet", columns=["image_id"])["image_id"]
    frame = pd.DataFrame({"image_id": names, "unit": key, "row": range(len(names))})
    return json.loads(frame.to_json(orient="records"))
