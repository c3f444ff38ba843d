"""Each distance with its floor: the distance between samples of real images, at equal sample size."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skinsyn.run import seeds

from . import MODEL, distributions, groups

__all__ = ["MEASURES", "by_group", "rbf_name"]

MEASURES = ("kid", "rbf_mmd", "precision", "recall", "density", "coverage", "vendi", "frechet")


def rbf_name(body: str) -> str:
    """What `rbf_mmd` is called on the embeddings of a body: CMMD on CLIP's alone.

    >>> rbf_name("vit_base_patch16_clip_224.openai"), rbf_name("tf_efficientnet_lite0")
    ('CMMD', 'RBF-MMD')
    """
    return "CMMD" if "clip" in body else "RBF-MMD"


def _measures(reference: np.ndarray, sample: np.ndarray, k: int) -> dict[str, float]:
    """MEASURES of a sample against a reference, both (n, d); Vendi is of the sample alone."""
    return {
        "kid": distributions.kid(reference, sample).value,
        "rbf_mmd": distributions.rbf_mmd(reference, sample),
        **distributions.prdc(reference, sample, k)._asdict(),
        "vendi": distributions.vendi(sample),
        "frechet": distributions.frechet(reference, sample),
    }


def by_group(
    rows: pd.DataFrame,
    synthetic: np.ndarray,
    images: pd.DataFrame,
    real: np.ndarray,
    over: Sequence[str] = (),
    k: int = 5,
    repeats: int = 10,
    draws: int = 999,
    min_images: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """MEASURES of synthetic images against held-out real ones, and of training images against the same: the floor.

    rows: synthetic images (MODEL, over), synthetic (n, d); images: real ones (split, over), real (m, d). The reference
    are real images that no generator saw (validation and test). All three samples are drawn anew to the same number,
    the smallest that is there, `repeats` times; the values are means over the draws. `p` is the permutation p of the
    kernel distance between synthetic and held-out images in the first draw, which takes images as independent and so is
    too small where many share a source. Groups below min_images, or without k neighbours, are flagged and hold NaN.
    Returns MODEL, over, images (in each sample), each of MEASURES, floor_<measure>, p, flags.

    >>> real, images = np.random.default_rng(0).normal(size=(40, 4)), pd.DataFrame({"split": ["train", "test"] * 20})
    >>> rows = pd.DataFrame(dict.fromkeys(MODEL, ["m"] * 20))
    >>> far = by_group(rows, real[:20] + 9, images, real, repeats=2, draws=9)
    >>> bool(far["kid"][0] > far["floor_kid"][0]), far["images"][0].item()
    (True, 20)
    """
    keys, records = [*MODEL, *over], []
    training = (images["split"] == "train").to_numpy()
    held_out = images["split"].isin(["validation", "test"]).to_numpy()
    for group, at in groups(rows, keys):
        same = np.ones(len(images), bool)
        for name in over:
            same &= (images[name] == group[name]).to_numpy()
        pools = [real[held_out & same], synthetic[at], real[training & same]]
        n = min(map(len, pools))
        row = group | {"images": n, "flags": ""}
        if n < max(min_images, k + 1):
            records.append(row | {"flags": f"not estimable: fewer than {max(min_images, k + 1)} images"})
            continue
        rng, values_per_draw = seeds.generator("floor", seed, list(map(str, group.values()))), []
        for repeat in range(repeats):
            reference, ours, theirs = (pool[rng.permutation(len(pool))[:n]] for pool in pools)
            floors = {f"floor_{name}": value for name, value in _measures(reference, theirs, k).items()}
            values_per_draw.append(_measures(reference, ours, k) | floors)
            if repeat == 0:
                row["p"] = distributions.kid(reference, ours, draws, seed).p
        records.append(row | pd.DataFrame(values_per_draw).mean().to_dict())
    values = [name for measure in MEASURES for name in (measure, f"floor_{measure}")]
    return pd.DataFrame(records, columns=[*keys, "images", *values, "p", "flags"])
