"""A study of phantoms in the shape of the real one: tables and shards as 01 and 03 leave them, and pictures as files.

Synthetic images are stand-ins, further phantoms of their parent's condition and skin type: what is timed here is
training, which takes as long whoever drew them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from skinsyn import images
from skinsyn.classifier import grid
from skinsyn.classifier.arms import Cell
from skinsyn.datasets import phantom, table
from skinsyn.run import seeds, store, tables

from . import timing

__all__ = ["METHOD", "PROFILE", "Shape", "arms", "make", "mean_accuracy", "save_pngs"]

PROFILE = "benchmark"  # the run that its tables belong to, in a store of its own
METHOD = {"method": "in-then-outpaint"}  # whose place the stand-ins take
SHARD = 500  # images per shard: several for each of two workers


class Shape(NamedTuple):
    """A study's size. sizes: real images per condition; ratio: synthetic images per real one; runs: replicates of every
    arm; held: validation images per condition, and as many test images."""

    conditions: Sequence[str]
    sizes: Sequence[int]
    ratio: int
    runs: int
    held: int

    def make(self, changes: Mapping[str, object] | None = None) -> list[Cell]:
        """Save the study's tables and keep its shards; its cells, of arms with some settings changed."""
        make(PROFILE, self.conditions, max(self.sizes), self.held, self.ratio, self.runs)
        return grid.cells([arm | (changes or {}) for arm in arms(self.sizes, self.ratio)], self.runs)

    def __str__(self) -> str:
        return f"{min(self.sizes)} to {max(self.sizes)} real images per class"


def arms(sizes: Sequence[int], ratio: int) -> list[dict]:
    """Real images alone and with synthetic ones, each with and without transforms: declared as for `grid.cells`."""
    both = {"n": list(sizes), "transforms": [False, True]}
    return [both, {**both, "ratios": [ratio], **METHOD}]


def draw_shard(rows: list[tuple[str, str, int, int]]) -> str:
    """Key of a shard of phantoms. rows: (image_id, condition, skin type, seed of the drawing)."""
    key = store.key_of("shard", images.RECIPE, {"phantoms": rows}, {}, 0)

    def make_it(folder: Path) -> None:
        drawn = [phantom.draw(condition, fst, seed=seed).image for _, condition, fst, seed in rows]
        images.write_shard(folder, np.stack(drawn), pd.DataFrame({"image_id": [row[0] for row in rows]}))

    store.keep("shard", key, make_it)
    return key


def _kept(frame: pd.DataFrame, first: int) -> pd.DataFrame:
    """Rows (image_id, condition, fst) with their unit and row, drawn by two processes. first: seed of the first
    drawing."""
    drawings = range(first, first + len(frame))
    told = list(zip(frame["image_id"], frame["condition"], frame["fst"].tolist(), drawings, strict=True))
    parts = [told[start : start + SHARD] for start in range(0, len(told), SHARD)]
    with timing.processes(min(2, len(parts))) as pool:
        keys = timing.all_of(pool, draw_shard, parts)
    units = np.repeat(keys, [len(part) for part in parts])
    return frame.assign(unit=units, row=np.arange(len(frame)) % SHARD, fst_group=table.fst_group(frame["fst"]))


def make(profile: str, conditions: Sequence[str], train: int, held: int, ratio: int, runs: int) -> None:
    """Save the tables images, subsets and synthetic of a run, and keep their shards.

    train: real images of each condition that a cell may learn from; every run has its own order of them. held: of each
    for validation, and as many for the test. ratio: synthetic images of each real one.
    """
    rows = [
        (f"r{c}-{i:04d}", name, i % 6 + 1, "train" if i < train else "validation" if i < train + held else "test")
        for c, name in enumerate(conditions)
        for i in range(train + 2 * held)
    ]
    real = _kept(pd.DataFrame(rows, columns=["image_id", "condition", "fst", "split"]), 0)
    real = real.assign(
        malignant=real["condition"].isin(phantom.MALIGNANT), source="phantom", cluster_id=real["image_id"]
    )
    real = real.assign(patient_id="", path="", malignancy_only=False)
    tables.save(profile, "images", real, made_by="01_data_prep")
    members = real[real["split"] == "train"]
    orders = [
        pd.DataFrame(
            {"run": run, "condition": name, "image_id": _shuffled(part["image_id"], run), "rank": range(train)}
        )
        for run in range(runs)
        for name, part in members.groupby("condition")
    ]
    tables.save(profile, "subsets", pd.concat(orders, ignore_index=True), made_by="01_data_prep")
    if not ratio:
        return
    several = [
        members[["image_id", "condition", "fst"]].rename(columns={"image_id": "parent"}).assign(replicate=replicate)
        for replicate in range(ratio)
    ]
    made = pd.concat(several, ignore_index=True)
    made.insert(0, "image_id", [f"s{r}-{parent}" for r, parent in zip(made["replicate"], made["parent"], strict=True)])
    made = _kept(made, 10_000_000).assign(**METHOD, generator="fine-tuned", scope="condition", generator_key="stand-in")
    tables.save(profile, "synthetic", made.assign(seed=0, flags="", n=0, run=-1), made_by="03_generation")


def _shuffled(names: pd.Series, run: int) -> np.ndarray:
    return seeds.generator(0, "benchmark order", run, names.iloc[0]).permutation(names.to_numpy())


def save_pngs(folder: Path, planned: Sequence[grid.Planned]) -> list[list[tuple[str, str, str]]]:
    """Write the images of some cells as PNG files, as a peer reads them; a cell's (file, label, part) rows, cell by
    cell."""
    folder.mkdir(parents=True, exist_ok=True)
    told, wanted = [], {}
    for one in planned:
        parts = zip(("training", "validation", "test"), one.images[:3], strict=True)
        several = pd.concat([frame.assign(part=part) for part, frame in parts])
        names = [one.images.classes[label] for label in several["label"]]
        told.append(list(zip(several["image_id"] + ".png", names, several["part"], strict=True)))
        for unit, part in several.groupby("unit"):
            wanted.setdefault(unit, {}).update(zip(part["image_id"], part["row"], strict=True))
    for unit, places in wanted.items():
        pixels = images.read_shard(unit)[1]
        for name, row in places.items():
            Image.fromarray(pixels[row]).save(folder / f"{name}.png")
    return told


def mean_accuracy(predictions: pd.DataFrame) -> pd.Series:
    """Share of right answers by (arm, run)."""
    return predictions.groupby(["arm", "run"], sort=False)["correct"].mean()
