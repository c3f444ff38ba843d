"""External validation: the grid's classifiers, with and without synthetic images, on test images of another source.

The test images of the other data set join the run's own, so that the grid's own machinery trains the two arms again
(kept features, kept cells) and each classifier answers both. That they answer the run's own images as 04's did is
checked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinsyn.datasets import audit, match, table
from skinsyn.images import keep_shards
from skinsyn.run import store, tables
from skinsyn.stats import contrasts
from skinsyn.stats.by_group import gains_by_group
from skinsyn.stats.predictions import Block, blocks, select

from . import grid, members
from .arms import Cell
from .settings import Training

__all__ = ["COLUMNS", "KEYS", "check", "compare", "external_images", "restrict", "retrain"]

KEYS = {"dataset", "data_folder", "per_condition", "shift", "seed", "fst_weights"}
COLUMNS = ["data", "group", "with_synthetic", "without", "estimate", "low", "high", "p", "images", "clusters", "runs"]
COLUMNS += ["conditions", "flags"]


def external_images(
    other: Mapping, classes: Sequence[str], task: str, image_size: int
) -> tuple[pd.DataFrame | None, pd.DataFrame, str]:
    """(images of the other data set as rows of the table of images, all of them test images; attrition; the reason
    where there are none).

    other: dataset, and data_folder, or of phantoms per_condition, shift (0 the demo's camera, 1 another one), seed and
    fst_weights. classes: conditions of the run. For the task `condition` only conditions of both sets are taken; for
    `malignancy` all, marked malignancy_only. Images are decoded, clustered and kept as shards as in 01.
    Raises ValueError for an unknown key.
    """
    nothing = match.excluded([], "selection", "")
    if not other:
        return None, nothing, "not run: no other data set is named (other)"
    if set(other) - KEYS or "dataset" not in other:
        raise ValueError(
            f"other is {dict(other)}: expected dataset and some of {', '.join(sorted(KEYS - {'dataset'}))}"
        )
    name = other["dataset"]
    try:
        folder = _folder(other, image_size)
        present = table.conditions_of(name, folder)
        shared = present if task == "malignancy" else [condition for condition in present if condition in classes]
        if not shared:
            return None, nothing, f"not run: {name} shares no condition with this run"
        rows, attrition = table.load(name, folder, shared)
    except FileNotFoundError as error:
        return None, nothing, f"not run: {name} is not here ({str(error).splitlines()[0]})"
    facts, unreadable = audit.measure(rows, folder)
    rows = rows[rows["image_id"].isin(facts["image_id"])].reset_index(drop=True)
    rows["cluster_id"] = audit.clusters(rows, facts, audit.near_duplicates(facts, -1))
    source = f"{name}, shifted" if other.get("shift") else name
    rows = rows.assign(split="test", source=source, malignancy_only=task == "malignancy")
    places = keep_shards(rows.assign(file_sha256=facts["file_sha256"]), folder, image_size)
    attrition = pd.concat([attrition, unreadable], ignore_index=True)
    return rows.assign(unit=places["unit"], row=places["row"]), attrition, ""


def _folder(other: Mapping, size: int) -> Path:
    """The folder of the other data set; phantoms are drawn and kept."""
    if other["dataset"] != "phantom":
        return table.find(other["dataset"], other.get("data_folder", ""))
    weights = other.get("fst_weights", [1, 1, 1, 1, 1, 1])
    return table.keep_phantoms(other["seed"], other["per_condition"], size, weights, other.get("shift", 0.0))


def retrain(
    profile: str, arms: Sequence[Mapping[str, Any]], training: Training, more: pd.DataFrame, executor: str = "serial"
) -> pd.DataFrame:
    """Predictions of the arms on the run's own test images and on `more` (of `external_images`), as of `grid.collect`.

    arms: settings that name one arm of 04 each (task, n, ratio, method …). training: of 04. Features of the run's
    images are those that 04 kept. Raises ValueError where settings name no arm, or several.
    """
    wanted = [cell for arm in arms for cell in _cells(profile, arm)]
    data = members.with_test(grid.read_tables(profile, wanted), more)
    prepared = grid.prepare(wanted, data, training, executor)
    return grid.collect(wanted, grid.train_cells(profile, wanted, prepared, data), data.images)[0]


def _cells(profile: str, arm: Mapping[str, Any]) -> list[Cell]:
    """The cells of one arm as 04 trained them: `steps: matched` depends on all the arms that it declared."""
    saved = tables.read(profile, "cells", made_by="04_training_grid")
    rows = select(saved, **arm)
    if rows["arm"].nunique() != 1:
        raise ValueError(f"04_training_grid has {rows['arm'].nunique() or 'no'} arms with {dict(arm)}; name one of it")
    shown = [store.manifest("cell", key)["about"]["cell"]["shown_ratio"] for key in rows["key"]]
    return [Cell.of_row(row) for row in rows.assign(shown_ratio=shown).to_dict("records")]


def check(retrained: pd.DataFrame, predictions: pd.DataFrame, most: float = 1e-3) -> None:
    """Raises ValueError where the retrained classifiers answer the run's own test images otherwise than 04's did.

    retrained: of `retrain`; predictions: the table of 04. most: the largest difference of a probability that rounding
    explains.
    """
    both = retrained.merge(predictions, on=["arm", "run", "image_id"], suffixes=("", "_04"))
    if both.empty:
        raise ValueError(
            f"04_training_grid has no arm {', '.join(sorted(retrained['arm'].unique()))}; name arms that it has"
        )
    names = [name for name in retrained if name.startswith("p_") and retrained[name].notna().any()]
    far = max(float((both[name] - both[f"{name}_04"]).abs().max()) for name in names)
    if not far <= most:
        raise ValueError(
            "the classifiers trained again do not answer as those of 04_training_grid did "
            f"(a probability differs by {far:.3g}); run 04_training_grid again"
        )


def restrict(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Predictions of images of these classes alone, answered among these classes alone: probabilities scaled to sum 1.

    A class that one data set lacks would else count as an error in that set only.

    >>> frame = pd.DataFrame({"y_true": ["a", "c"], "correct": False, "p_a": 0.3, "p_b": 0.1, "p_c": 0.6})
    >>> restrict(frame, ["a", "b"])["p_a"].round(2).tolist()
    [0.75]
    """
    names = [f"p_{name}" for name in classes]
    part = predictions[predictions["y_true"].isin(list(classes))].copy()
    p = part[names].to_numpy(float)
    part[names] = p / p.sum(axis=1, keepdims=True)
    part["correct"] = np.asarray(classes, object)[p.argmax(1)] == part["y_true"].to_numpy()
    return part.drop(columns=[name for name in part if name.startswith("p_") and name not in names])


def compare(
    predictions: pd.DataFrame, more: pd.DataFrame, treatment: Mapping, control: Mapping, level: float = 0.95
) -> pd.DataFrame:
    """Gain on the run's own test images and on the other set's, overall and by skin type, and how much the two differ.

    predictions: of `retrain`. Returns COLUMNS: data ('own' | the other's source | 'other minus own'), group, accuracy
    of both arms (proportions, mean over classes for 'all'), the MRMC test's estimate [points], interval, p, and what it
    rests on.
    """
    task, other = treatment["task"], str(more["source"].iloc[0])
    external = predictions["image_id"].isin(more["image_id"])
    shared = sorted(predictions.loc[external, "y_true"].unique())
    predictions = predictions.assign(source=np.where(external, other, "own"))
    if task == "condition":
        predictions = restrict(predictions, shared)
    rows = []
    for data in ("own", other):
        prepared = blocks(predictions[predictions["source"] == data])
        for average in ("macro", "micro"):
            tested = gains_by_group(prepared, treatment, control, [task], average, level)
            tested = tested[(tested["group"] == "all") == (average == "macro")]
            for row in tested.to_dict("records"):
                rows.append(row | _levels(prepared, treatment, control, row["group"]) | {"data": data})
    rows.append(_difference(predictions, other, treatment, control, level))
    return pd.DataFrame(rows).assign(conditions=", ".join(shared)).reindex(columns=COLUMNS)


def _levels(prepared: Mapping[str, Block], treatment: Mapping, control: Mapping, group: str) -> dict[str, float]:
    """Accuracy of both arms, counted as the test does: clusters alike; over all images the mean over classes."""
    levels = {}
    for name, arm in (("with_synthetic", treatment), ("without", control)):
        correct, images = contrasts.answers(prepared, arm)
        images = images.assign(correct=correct.mean(0), part=images["y_true"] if group == "all" else "")
        images = images if group == "all" else images[images["fst_group"] == group]
        levels[name] = float(images.groupby(["part", "cluster_id"])["correct"].mean().groupby("part").mean().mean())
    return levels


def _difference(
    predictions: pd.DataFrame, other: str, treatment: Mapping, control: Mapping, level: float
) -> dict[str, Any]:
    """The row of 'other minus own', macro-averaged."""
    where, against = {"source": other}, {"source": "own"}
    gain = contrasts.gain(blocks(predictions), treatment, control, where=where, level=level, against=against)
    row: dict[str, Any] = {key: 100 * getattr(gain, key) for key in ("estimate", "low", "high")}
    row |= {"p": gain.p, "clusters": gain.clusters, "runs": gain.runs, "images": predictions["image_id"].nunique()}
    return row | {"data": "other minus own", "group": "all", "flags": "; ".join(gain.flags)}
