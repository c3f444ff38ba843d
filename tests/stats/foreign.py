"""Predictions as somebody else writes them: any arms, groups and classes, right and wrong answers or probabilities."""

import numpy as np
import pandas as pd


def answers(arms=("app A", "app B"), groups=("light", "dark"), images=40, runs=0, seed=0) -> pd.DataFrame:
    """Right or wrong of each arm on the same images; without a column run where runs is 0."""
    rng = np.random.default_rng(seed)
    image = pd.DataFrame({"image_id": [f"photo {k}" for k in range(images)]})
    image["cluster_id"] = [f"patient {k // 2}" for k in range(images)]
    image["y_true"] = np.resize(["melanoma", "nevus", "wart"], images)
    image["fst_group"] = np.resize(groups, images)
    every = []
    for number, arm in enumerate(arms):
        for run in range(max(runs, 1)):
            right = rng.random(images) < 0.5 + 0.1 * number
            every.append(image.assign(arm=arm, run=run, correct=right.astype(int)))
    table = pd.concat(every, ignore_index=True)
    return table if runs else table.drop(columns="run")


def binary(classes=("0", "1"), arms=("ours", "theirs"), images=60, runs=3, decimals=None, seed=0) -> pd.DataFrame:
    """Probabilities of two classes, the second of them the more probable where it is true; no skin type."""
    rng = np.random.default_rng(seed)
    truth = np.resize([0, 1, 0], images)
    every = []
    for arm in arms:
        for run in range(runs):
            score = 1 / (1 + np.exp(-rng.normal(1.5 * (2 * truth - 1), 1.5)))
            part = pd.DataFrame({"image_id": [f"photo {k}" for k in range(images)], "arm": arm, "run": run})
            part["cluster_id"], part["y_true"] = part["image_id"], np.array(classes)[truth]
            part[f"p_{classes[0]}"], part[f"p_{classes[1]}"] = 1 - score, score
            part["correct"] = ((score >= 0.5) == truth).astype(int)
            every.append(part)
    table = pd.concat(every, ignore_index=True)
    return table if decimals is None else table.round({f"p_{name}": decimals for name in classes})
