"""Errors of classifiers: confusion matrices, calibration, and the worst errors with the synthetic images nearest to
them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.metrics import confusion_matrix

from skinsyn.run import compute

from . import features
from .arms import Arm
from .settings import Training

__all__ = ["calibration", "confusion", "nearest", "worst"]


def _scores(part: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """The classes of one task and their probabilities, float (n, classes)."""
    p = part.filter(like="p_").dropna(axis=1, how="all")
    return [name[2:] for name in p.columns], p.to_numpy(float)


def _called(part: pd.DataFrame) -> np.ndarray:
    """The class that each row was called: right rows by the truth, wrong ones by the likeliest other class."""
    classes, p = _scores(part)
    others = np.where(np.array(classes) == part["y_true"].to_numpy()[:, None], -np.inf, p).argmax(1)
    return np.where(part["correct"], part["y_true"], np.array(classes, object)[others])


def confusion(predictions: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Truth against call, all runs together: arm (label), task, y_true, called, images (run × image), share of its
    truth.

    arms: names, of one or more tasks. In malignancy the cell's own threshold decides, as for `correct`.
    """
    rows = []
    for arm in arms:
        part = predictions[predictions["arm"] == arm]
        classes, _ = _scores(part)
        counts = confusion_matrix(part["y_true"], _called(part), labels=classes)
        pairs = pd.MultiIndex.from_product([classes, classes], names=["y_true", "called"])
        one = pd.DataFrame({"images": counts.ravel()}, index=pairs).reset_index()
        one["share"] = one["images"] / one.groupby("y_true")["images"].transform("sum").clip(lower=1)
        rows.append(one.assign(arm=Arm.of_row(part.iloc[0]).label, task=part["task"].iloc[0]))
    return pd.concat(rows, ignore_index=True)[["arm", "task", "y_true", "called", "images", "share"]]


def calibration(predictions: pd.DataFrame, arms: Sequence[str], bins: int = 8) -> pd.DataFrame:
    """The reliability diagram of the likeliest class: arm (label), task, bin, images, sure, right.

    Bins of equal numbers of answers, all runs together. sure, right: mean highest probability and accuracy
    [proportions]; no threshold is used, since the calibration of the probabilities themselves is shown.
    """
    rows = []
    for arm in arms:
        part = predictions[predictions["arm"] == arm]
        classes, p = _scores(part)
        sure, right = p.max(1), np.array(classes, object)[p.argmax(1)] == part["y_true"].to_numpy()
        order = np.lexsort((part["image_id"].to_numpy(str), part["run"], sure))
        label = Arm.of_row(part.iloc[0]).label
        for number, members in enumerate(np.array_split(order, min(bins, len(order)))):
            about = {"arm": label, "task": part["task"].iloc[0], "bin": number, "images": len(members)}
            rows.append(about | {"sure": sure[members].mean(), "right": right[members].mean()})
    return pd.DataFrame(rows)


def worst(predictions: pd.DataFrame, arm: str, count: int = 8) -> pd.DataFrame:
    """The test images to whose true class an arm gave the lowest probability, over its runs: image_id, y_true, called,
    p_true, wrong.

    p_true: mean probability of the truth over runs; called: the class it was called most often; wrong: share of runs.
    """
    part = predictions[predictions["arm"] == arm].reset_index(drop=True)
    if part.empty:
        raise ValueError(f"no predictions of the arm {arm!r}")
    classes, p = _scores(part)
    own = pd.Categorical(part["y_true"], classes).codes
    part = part.assign(p_true=p[np.arange(len(p)), own], called=_called(part), wrong=~part["correct"].astype(bool))
    images = part.groupby(["image_id", "y_true"], as_index=False).agg(
        called=("called", lambda names: names.value_counts().sort_index().idxmax()),
        p_true=("p_true", "mean"),
        wrong=("wrong", "mean"),
    )
    return images.sort_values(["p_true", "image_id"], ignore_index=True).head(count)


def nearest(images: pd.DataFrame, among: pd.DataFrame, training: Training, executor: str = "serial") -> pd.DataFrame:
    """For each image the one of `among` with the most similar features: image_id, nearest (image_id), unit, row,
    distance.

    images, among: image_id, unit (shard), row. distance: cosine, between untransformed features;
    the body is as it came from ImageNet, also where the grid trained it further.
    """
    tasks = [training.extraction(unit) for unit in _units(pd.concat([images, among]))]
    keys = compute.fan_out(executor, features.extract, [(task,) for task in tasks], "features")
    place, bank = features.bank(tuple(keys))
    first, second = (bank[0, [place[name] for name in frame["image_id"]]] for frame in (images, among))
    distance = cdist(first, second, "cosine")
    closest = among.iloc[distance.argmin(1)].reset_index(drop=True)
    table = (
        closest[["image_id", "unit", "row"]].rename(columns={"image_id": "nearest"}).assign(distance=distance.min(1))
    )
    table.insert(0, "image_id", images["image_id"].to_numpy())
    return table


def _units(frame: pd.DataFrame) -> list[str]:
    return sorted(frame["unit"].unique())
