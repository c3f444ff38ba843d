"""Diffusion against a GAN: fidelity of the images and gain of the classifiers, at equal images and equal training
steps."""

from collections.abc import Mapping

import pandas as pd

from skinsyn.classifier.arms import Arm
from skinsyn.report import words
from skinsyn.stats import contrasts
from skinsyn.stats.predictions import Block

__all__ = ["NOT_RUN", "answer", "fidelity", "gains"]

GAN = "gan"
MODEL = ["method", "generator", "scope"]
# What both arms of a comparison share; `sources` is n in arms with real images.
EQUAL = [name for name in Arm.names() if name not in (*MODEL, "parents", "generator_data", "sources")]
NOT_RUN = (
    "not run: no classifier of this run learned from images of a GAN. Set gan_baseline in 02_dreambooth, add the "
    "method gan "
    "to plan in 03_generation, and give 04_training_grid an arm with method gan beside one of diffusion with as many "
    "images"
)


def gains(prepared: Mapping[str, Block], level: float = 0.95) -> pd.DataFrame:
    """Accuracy with images of diffusion minus accuracy with as many of a GAN: a row for each pair of arms.

    prepared: of `predictions.blocks`. Both arms see the same real images and as many synthetic ones, in the same runs.
    Columns: EQUAL, method, generator, parents (of the diffusion arm), then those of `contrasts.test_families`,
    Holm-adjusted over all pairs. One row with the verdict 'not run' where there is no pair.
    """
    pairs = [pair for block in prepared.values() for pair in _pairs(block)]
    if not pairs:
        return pd.DataFrame([{"family": "diffusion minus GAN", "id": "all", "verdict": "not run", "flags": NOT_RUN}])
    named = {f"{number}": pair for number, pair in enumerate(pairs)}
    hypotheses = [{"id": name, "treatment": ours, "control": theirs} for name, (ours, theirs, _) in named.items()]
    family = {"correction": "holm", "average": "macro", "hypotheses": hypotheses}
    found = contrasts.test_families(prepared, {"diffusion minus GAN": family}, level=level)
    about = pd.DataFrame([named[name][2] for name in found["id"]])
    labels = about["task"] + ", n " + about["n"].astype(str) + ", " + about["ratio"].astype(str) + " " + about["method"]
    labels += [", transforms" if on else "" for on in about["transforms"]]
    return pd.concat([about, found.assign(id=labels)], axis=1)


def _pairs(block: Block) -> list[tuple[dict, dict, dict]]:
    """(diffusion arm, GAN arm, settings) of one task, arms by their name."""
    same = [key for key in EQUAL if key in block.arms]
    arms = block.arms[(block.arms["ratio"] > 0) & (block.arms["n"] > 0)]
    gan = arms[arms["method"] == GAN]
    both = arms[~arms["method"].str.contains(GAN)].merge(gan[[*same, "arm"]], on=same, suffixes=("", "_gan"))
    about = [key for key in (*same, "method", "generator", "parents") if key in both]
    return [
        (
            {"task": block.task, "arm": row["arm"]},
            {"task": block.task, "arm": row["arm_gan"]},
            {k: row[k] for k in about},
        )
        for row in both.to_dict("records")
    ]


def fidelity(distributions: pd.DataFrame, recognised: pd.DataFrame, generators: pd.DataFrame) -> pd.DataFrame:
    """What 06 measured of each model, and the training steps of 02 behind it; flags says where there is no GAN.

    distributions, recognised: the tables `distributions` and `label_fidelity` of 06; generators: that of 02. Returns
    MODEL, images, kid, floor_kid, precision, recall, recognised, steps (mean over conditions; NaN of an untouched
    base), flags. Steps of a GAN and of diffusion differ in arithmetic; 02 gives both as many unless told otherwise.
    """
    first = distributions[distributions["body"] == distributions["body"].iloc[0]]
    found = first[[*MODEL, "images", "kid", "floor_kid", "precision", "recall"]]
    whole = recognised[(recognised["condition"] == "all") & (recognised["fst_group"] == "all")]
    found = found.merge(whole[[*MODEL, "recognised"]], on=MODEL, how="left")
    kind = (
        found["method"]
        .map({"text-to-image": "text-to-image", "img2img": "text-to-image", GAN: GAN})
        .fillna("inpainting")
    )
    steps = generators[generators["generator"] == "fine-tuned"].groupby("task")["steps"].mean()
    found["steps"] = kind.map(steps).where(found["generator"] != "base")
    return found.assign(flags="" if (found["method"] == GAN).any() else NOT_RUN)


def answer(tested: pd.DataFrame, measured: pd.DataFrame | None) -> str:
    """The answer in plain words: of the first pair of arms, and of the images."""
    row = tested.iloc[0]
    if row["verdict"] == "not run":
        return f"Diffusion against a GAN was {NOT_RUN}."
    text = f"With as many images of {row['method']} as of a GAN: " + words.claim(row)
    if measured is None or not (measured["method"] == GAN).any():
        return text
    ours = measured[(measured["method"] == row["method"]) & (measured["generator"] == row["generator"])]
    gan = measured[measured["method"] == GAN].iloc[0]
    if ours.empty or pd.isna(ours["kid"].iloc[0]) or pd.isna(gan["kid"]):
        return text
    nearer = "nearer to" if ours["kid"].iloc[0] < gan["kid"] else "farther from"
    return text + f" Its images lie {nearer} held-out real ones than the GAN's."
