"""A small run to train on: tables and shards as 01 and 03 write them, of phantoms or of planted colours."""

from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pandas as pd

from skinsyn import images
from skinsyn.classifier.settings import Training
from skinsyn.datasets import phantom
from skinsyn.run import store, tables

HOW = Training(image_size=32, device="cpu", views=1, epochs=4)


def shard(rows: pd.DataFrame, pixels: np.ndarray) -> pd.DataFrame:
    """Keep pictures as one shard; the rows with their unit and row."""
    key = store.key_of(
        "shard", 1, {"test": rows["image_id"].tolist()}, {"pixels": sha256(pixels.tobytes()).hexdigest()}, 0
    )
    store.keep("shard", key, lambda folder: images.write_shard(folder, pixels, rows[["image_id"]]))
    return rows.assign(unit=key, row=np.arange(len(rows)))


def noise(condition: str, fst: int, seed: int, size: int):
    """A picture that no change of the phantoms can change, in place of `phantom.draw`."""
    return SimpleNamespace(image=np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def hues(condition: str, fst: int, seed: int, size: int, strength: float = 22.0):
    """A patch in its condition's colour, which varies so much from picture to picture that a few do not teach it.

    strength: grey levels by which conditions differ (standard deviation); pictures of one condition differ by 30.
    """
    rng = np.random.default_rng(seed)
    own = np.random.default_rng(list(condition.encode())).normal(0, strength, 3)
    colour = 128 + own + rng.normal(0, 30, 3) + rng.normal(0, 12, (size, size, 3))
    return SimpleNamespace(image=colour.clip(0, 255).astype(np.uint8))


def make_run(
    profile="tiny",
    train=4,
    validation=2,
    test=3,
    runs=2,
    replicates=2,
    conditions=phantom.CONDITIONS,
    size=32,
    draw=phantom.draw,
    copies=False,
    methods=("in-then-outpaint",),
):
    """Save the tables images, subsets and synthetic.

    Synthetic images are further pictures of the parent's condition, or with `copies` the parent's own pixels again.
    """
    rows, pixels = [], []
    for condition in conditions:
        for i in range(train + validation + test):
            split = "train" if i < train else "validation" if i < train + validation else "test"
            one = {"image_id": f"r_{condition.replace(' ', '_')}_{i}", "condition": condition, "split": split}
            rows.append(one | {"malignant": condition in phantom.MALIGNANT, "fst": 1 + i % 6})
            pixels.append(draw(condition, 1 + i % 6, len(rows), size).image)
    real = shard(pd.DataFrame(rows), np.stack(pixels))
    real = real.assign(fst_group=real["fst"].map(lambda f: ("I-II", "III-IV", "V-VI")[(f - 1) // 2]), source="phantom")
    real = real.assign(cluster_id=real["image_id"], patient_id="", path="", malignancy_only=False)
    tables.save(profile, "images", real, made_by="01_data_prep")
    members = real[real["split"] == "train"]
    ranked = [
        pd.DataFrame({"run": run, "condition": name, "image_id": np.roll(part["image_id"], run), "rank": range(train)})
        for run in range(runs)
        for name, part in members.groupby("condition")
    ]
    subsets = pd.concat(ranked, ignore_index=True)
    tables.save(profile, "subsets", subsets, made_by="01_data_prep")
    made = []
    own = dict(zip(real["image_id"], pixels, strict=True))
    for place, method in enumerate(methods):
        for replicate in range(replicates):
            one = members[["image_id", "condition", "fst", "fst_group"]].rename(columns={"image_id": "parent"})
            one.insert(
                0, "image_id", [f"s{place or ''}{'x' * bool(place)}{replicate}_{parent}" for parent in one["parent"]]
            )
            first = 9000 + 500 * replicate + 100_000 * place
            drawn = [
                own[parent] if copies else draw(c, f, first + i, size).image
                for i, (parent, c, f) in enumerate(one[["parent", "condition", "fst"]].values)
            ]
            made.append(shard(one.reset_index(drop=True), np.stack(drawn)).assign(replicate=replicate, method=method))
    synthetic = pd.concat(made, ignore_index=True).assign(
        generator="fine-tuned", scope="condition", generator_key="k", seed=0, flags="", n=0, run=-1
    )
    tables.save(profile, "synthetic", synthetic, made_by="03_generation")
    return real, subsets, synthetic
