"""Diffusion against a GAN: fidelity of the images and gain of the classifiers, at equal images and equal training
steps."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from skinsyn.classifier.arms import Arm
from skinsyn.stats import contrasts, variation
from skinsyn.stats.hypotheses import Family, Hypotheses, Hypothesis
from skinsyn.stats.predictions import Block

from . import MODEL

__all__ = ["GAN", "NOT_RUN", "fidelity", "gains"]

GAN = "gan"
# What both arms of a comparison share; `sources` is n in arms with real images.
EQUAL = [name for name in Arm.names() if name not in (*MODEL, "parents", "generator_data", "sources")]
FAMILY = "diffusion minus GAN"
TASK = {GAN: GAN, "text-to-image": "text-to-image", "img2img": "text-to-image"}  # method → fine-tuning; else inpainting
NOT_RUN = (
    "not run: no classifier of this run learned from images of a GAN. Set gan_baseline in 02_dreambooth, add the "
    "method gan to plan in 03_generation, and give 04_training_grid an arm with method gan beside one of diffusion "
    "with as many images"
)


def gains(prepared: Mapping[str, Block], level: float = 0.95, varied: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracy with images of diffusion minus accuracy with as many of a GAN: one row per pair of arms.

    prepared: of `predictions.blocks`. Both arms see the same real images and as many synthetic ones, in the same runs.
    varied: the table `variation` of 04.
    Columns: EQUAL, method, generator, parents (of the diffusion arm), then those of `contrasts.test_families` and
    `variation.beside`, Holm-adjusted over all pairs. One row with the verdict 'not run' where there is no pair.
    """
    tables = [table for block in prepared.values() if len(table := _pairs(block))]
    if not tables:
        return pd.DataFrame([{"family": FAMILY, "id": "all", "verdict": "not run", "flags": NOT_RUN}])
    pairs = pd.concat(tables, ignore_index=True)
    arms: dict[str, dict[str, Any]] = {}
    hypotheses = []
    for at, (task, *both) in enumerate(zip(pairs["task"], pairs.pop("arm"), pairs.pop("arm_gan"), strict=True)):
        names = f"{at} diffusion", f"{at} {GAN}"
        arms |= {name: {"task": task, "arm": arm} for name, arm in zip(names, both, strict=True)}
        hypotheses.append(Hypothesis(id=str(at), family=FAMILY, estimand=" - ".join(names)))
    families = {FAMILY: Family(correction="holm")}
    declared = Hypotheses(arms=arms, families=families, hypotheses=tuple(hypotheses))
    tested = variation.beside(contrasts.test_families(prepared, declared, level), declared, prepared, varied)
    labels = pairs["task"] + ", n " + pairs["n"].astype(str) + ", " + pairs["ratio"].astype(str) + " " + pairs["method"]
    labels += pairs["transforms"].map({True: ", transforms", False: ""})
    return pd.concat([pairs, tested.assign(id=labels)], axis=1)


def _pairs(block: Block) -> pd.DataFrame:
    """One row per pair of a diffusion arm and a GAN arm of one task: EQUAL, method …, arm, arm_gan (names)."""
    same = [key for key in EQUAL if key in block.arms]
    arms = block.arms[(block.arms["ratio"] > 0) & (block.arms["n"] > 0)]
    gan = arms[arms["method"] == GAN]
    pairs = arms[~arms["method"].str.contains(GAN)].merge(gan[[*same, "arm"]], on=same, suffixes=("", "_gan"))
    columns = [*same, "method", "generator", "parents", "arm", "arm_gan"]
    return pairs[[key for key in columns if key in pairs]]


def fidelity(distributions: pd.DataFrame, recognition: pd.DataFrame, generators: pd.DataFrame) -> pd.DataFrame:
    """What 06 measured per model, and the training steps of 02 behind it; flags says where there is no GAN.

    distributions, recognition: the tables `distributions` and `label_fidelity` of 06; generators: that of 02. Returns
    MODEL, images, kid, floor_kid, precision, recall, recognised, steps (mean over conditions; NaN of an untouched
    base), flags. Steps of a GAN and of diffusion differ in arithmetic; by default 02 gives both the same number.

    >>> model = {"method": "text-to-image", "generator": "fine-tuned", "scope": "all"}
    >>> row = model | {"body": "b", "images": 9, "kid": 0.1, "floor_kid": 0.0, "precision": 1.0, "recall": 1.0}
    >>> label = model | {"condition": "all", "fst_group": "all", "recognised": 0.5}
    >>> steps = {"generator": "fine-tuned", "task": "text-to-image", "steps": 50}
    >>> table = fidelity(pd.DataFrame([row]), pd.DataFrame([label]), pd.DataFrame([steps]))
    >>> table["steps"].item(), table["flags"].item() == NOT_RUN
    (50.0, True)
    """
    first = distributions[distributions["body"] == distributions["body"].iloc[0]]
    whole = recognition[(recognition["condition"] == "all") & (recognition["fst_group"] == "all")]
    table = first[[*MODEL, "images", "kid", "floor_kid", "precision", "recall"]]
    table = table.merge(whole[[*MODEL, "recognised"]], on=MODEL, how="left")
    steps = generators[generators["generator"] == "fine-tuned"].groupby("task")["steps"].mean()
    tasks = table["method"].map(TASK).fillna("inpainting")
    table["steps"] = tasks.map(steps).where(table["generator"] != "base")
    return table.assign(flags="" if (table["method"] == GAN).any() else NOT_RUN)
