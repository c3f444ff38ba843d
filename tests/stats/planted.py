"""Predictions with planted accuracies, for the tests of the open questions."""

from collections.abc import Callable

import numpy as np
import pandas as pd

CLASSES = ["a", "b", "c"]
GROUPS = ("I-II", "III-IV", "V-VI")
REAL = dict.fromkeys(("method", "generator", "scope", "parents", "generator_data", "filter"), "none")
MADE = {
    "method": "inpaint",
    "generator": "fine-tuned",
    "scope": "condition",
    "parents": "subset",
    "generator_data": "any",
}
MADE |= {"filter": "flags"}


def arm(n: int = 8, ratio: int = 0, **more: object) -> dict:
    """Settings of an arm as 04 saves them, with its name."""
    settings = {"task": "condition", "n": n, "ratio": ratio, "weight": 1.0, "transforms": True, "steps": "epochs"}
    settings |= {"sources": n, **(MADE if ratio else REAL), **more}
    return settings | {"arm": "/".join(map(str, settings.values()))}


def predictions(
    arms: dict[str, dict],
    accuracy: Callable[[str, pd.DataFrame], np.ndarray],
    runs: int = 4,
    per_cell: int = 12,
    seed: int = 0,
    classes: list[str] = CLASSES,
) -> pd.DataFrame:
    """One row per arm × run × image; `accuracy(name of the arm, images)` is each image's chance to be right."""
    rng = np.random.default_rng(seed)
    rows = [(c, g, k) for c in classes for g in GROUPS for k in range(per_cell)]
    images = pd.DataFrame(rows, columns=["condition", "fst_group", "k"])
    images["image_id"] = [f"i{k:04d}" for k in range(len(images))]
    images = images.assign(cluster_id=images["image_id"], fst=1, source="phantom", y_true=images["condition"])
    images = images.drop(columns="k")
    found = []
    for name, settings in arms.items():
        for run in range(runs):
            right = rng.random(len(images)) < accuracy(name, images)
            one = images.assign(run=run, correct=right, threshold=np.nan, **settings)
            for place, own in enumerate(classes):
                other = classes[(place + 1) % len(classes)]
                one[f"p_{own}"] = np.where((one["y_true"] == own) == right, 0.6, 0.1)
                one.loc[~right & (one["y_true"] != own), f"p_{own}"] = 0.1
                one.loc[~right & (one["y_true"] == other), f"p_{own}"] = 0.6
            p = [f"p_{own}" for own in classes]
            one[p] = one[p].div(one[p].sum(axis=1), axis=0)
            found.append(one)
    return pd.concat(found, ignore_index=True)
