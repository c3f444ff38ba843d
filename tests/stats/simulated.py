"""Simulated answers and predictions with known truth, for the tests of stats/ and of its notebook."""

import numpy as np
import pandas as pd
from scipy.stats import norm

GROUPS = ("I-II", "III-IV", "V-VI")


def answers(rng, runs: int, images: int, means=(0.0, 0.0), sd=(1.0, 0.3, 0.3, 0.3), clusters=None) -> np.ndarray:
    """(2 arms, runs, images) of 0/1 from a probit model: image, run, arm × image and arm × run effects, unit noise.

    clusters: whole numbers, one an image; images of a cluster then share their image effects.
    """
    image, run, arm_image, arm_run = sd
    clusters = np.arange(images) if clusters is None else clusters
    latent = np.asarray(means)[:, None, None] + image * rng.standard_normal((1, 1, clusters.max() + 1))[:, :, clusters]
    latent = (
        latent
        + run * rng.standard_normal((1, runs, 1))
        + arm_image * rng.standard_normal((2, 1, clusters.max() + 1))[:, :, clusters]
    )
    latent = latent + arm_run * rng.standard_normal((2, runs, 1)) + rng.standard_normal((2, runs, images))
    return (latent > 0).astype(float)


def expected_gain(means, sd=(1.0, 0.3, 0.3, 0.3)) -> float:
    """True gain of the first arm over the second under `answers`."""
    total = np.sqrt(1 + np.square(sd).sum())
    return float(norm.cdf(means[0] / total) - norm.cdf(means[1] / total))


def mean_for(accuracy: float, sd=(1.0, 0.3, 0.3, 0.3)) -> float:
    """Latent mean that gives this accuracy under `answers`."""
    return float(norm.ppf(accuracy) * np.sqrt(1 + np.square(sd).sum()))


def predictions(
    seed: int = 0,
    per_cell: int = 4,
    runs: int = 5,
    ns=(8, 32),
    ratios=(0, 1, 5, 10, 25),
    gain: float = 0.8,
    classes: int = 9,
) -> pd.DataFrame:
    """A table under the predictions contract: `classes` conditions (two malignant) × 3 skin types, both tasks."""
    rng = np.random.default_rng(seed)
    names = [f"pattern {k}" for k in range(classes)]
    images = pd.MultiIndex.from_product(
        [names, GROUPS, range(per_cell)], names=["condition", "fst_group", "k"]
    ).to_frame(index=False)
    images["image_id"] = [f"image{k:04d}" for k in range(len(images))]
    images["cluster_id"] = [f"patient{k // 2:04d}" for k in range(len(images))]
    images["fst"] = images["fst_group"].map({"I-II": 2, "III-IV": 3, "V-VI": 5})
    images["source"] = "phantom"
    hard = rng.standard_normal(len(images)) + images["fst_group"].eq("V-VI") * 0.3
    tables = []
    for task, labels in (("condition", names), ("malignancy", ["benign", "malignant"])):
        truth = (
            images["condition"]
            if task == "condition"
            else images["condition"].isin(names[:2]).map({True: "malignant", False: "benign"})
        )
        for n in ns:
            for transforms in (False, True):
                for ratio in ratios:
                    arm = {"task": task, "n": n, "ratio": ratio, "transforms": transforms}
                    arm |= {
                        "method": "in-then-outpaint" if ratio else None,
                        "generator": "fine-tuned" if ratio else None,
                    }
                    name = "-".join(str(v) for v in arm.values())
                    level = 0.2 * np.log2(n / 8) + 0.3 * transforms + gain * (8 / n) * ratio / (2 + ratio)
                    for run in range(runs):
                        luck = 0.2 * np.random.default_rng([seed, run, n]).standard_normal()
                        right = level + luck - hard + rng.standard_normal(len(images)) > 0
                        tables.append(
                            _rows(
                                rng, images, arm | {"arm": name, "run": run}, labels, truth.to_numpy(), right.to_numpy()
                            )
                        )
    return pd.concat(tables, ignore_index=True)


def _rows(rng, images, settings, labels, truth, right) -> pd.DataFrame:
    """Probabilities that agree with who is right."""
    p = rng.dirichlet(np.ones(len(labels)), len(images)) * 0.4
    own = pd.Categorical(truth, labels).codes
    chosen = np.where(right, own, (own + 1 + rng.integers(0, len(labels) - 1, len(own))) % len(labels))
    p[np.arange(len(p)), chosen] += 0.6
    frame = images.drop(columns="k").assign(**settings, y_true=truth, correct=right.astype(int))
    return frame.join(pd.DataFrame(p, columns=[f"p_{name}" for name in labels]))
