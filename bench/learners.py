"""The peer of the grid: a cell as its authors write it with fastai, `ImageDataLoaders` and `vision_learner`, from
files.

It runs in a process of its own with as many torch threads as there are cores and fastai's own number of loading
workers.
"""

import contextlib
import importlib.util
import io
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skinsyn.classifier import features, training
from skinsyn.classifier.settings import Training
from skinsyn.run import compute

__all__ = ["INSTALL", "PeerCell", "available", "demand", "fit", "train_cell"]

INSTALL = "pip install 'skinsyn[peers]'"


class PeerCell(NamedTuple):
    """One cell of the grid as fastai trains it: the folder of its pictures and their rows (file, label, part), see
    `study.save_pngs`; the settings that it shares with ours."""

    folder: str
    rows: list[tuple[str, str, str]]
    training: Training
    transforms: bool
    seed: int
    threads: int


def available() -> bool:
    """True where fastai is installed (`INSTALL`)."""
    return importlib.util.find_spec("fastai") is not None


def demand() -> None:
    """Raises ImportError where fastai is not installed."""
    if not available():
        raise ImportError(f"fastai is not installed: {INSTALL}")


def fit(learn: Any, settings: Training, callbacks: Sequence = ()) -> int:
    """Train fastai's learner with early stopping, the best epoch restored and nothing printed; epochs run."""
    from fastai.vision import all as vision

    stop = vision.EarlyStoppingCallback(monitor="valid_loss", patience=settings.patience)
    keep = vision.SaveModelCallback(monitor="valid_loss", with_opt=False)
    quiet = contextlib.redirect_stdout(io.StringIO())  # one of its callbacks prints each time it keeps a model
    with learn.no_bar(), learn.no_logging(), quiet:
        learn.fit(settings.epochs, settings.learning_rate, cbs=[keep, stop, *callbacks])
        return len(learn.recorder.values)  # before the test images, whose pass begins a new record


def train_cell(cell: PeerCell) -> dict[str, float]:
    """Train one cell and let it answer its test images: seconds from files to answers, images seen, epochs, accuracy.

    The body is EfficientNet-Lite0 from its package. Where only the head is trained, `train_bn=False` and `BnFreeze`
    keep the body as it is, batch statistics too.
    """
    from fastai.vision import all as vision

    # As in a script on Linux. A spawned process hands "spawn" on to its loading workers, which then take seconds per
    # epoch.
    multiprocessing.set_start_method("fork", force=True)
    compute.set_threads(cell.threads)
    body, begun = features.shared_body(features.LITE0)[0], time.perf_counter()
    frame = pd.DataFrame(cell.rows, columns=["name", "label", "part"])
    counts = frame["part"].value_counts()
    vision.set_seed(cell.seed)
    with tempfile.TemporaryDirectory() as place:
        learn = _learner(vision, cell, frame, body, Path(place))
        epochs = fit(learn, cell.training, [vision.BnFreeze()] if cell.training.trainable == "head" else [])
        test = frame[frame["part"] == "test"]
        p, _ = learn.get_preds(dl=learn.dls.test_dl([Path(cell.folder) / name for name in test["name"]]))
    right = np.array(learn.dls.vocab)[p.argmax(1).numpy()] == test["label"].to_numpy()
    seen = epochs * int(counts["training"] + counts["validation"]) + int(counts["test"])
    return {"seconds": time.perf_counter() - begun, "seen": seen, "epochs": epochs, "accuracy": float(right.mean())}


def _learner(vision: Any, cell: PeerCell, frame: pd.DataFrame, body: Any, place: Path) -> Any:
    """The loaders and the learner, the body's weights in it. fastai's own defaults hold where nothing is said."""
    used = frame[frame["part"] != "test"].assign(held=lambda rows: rows["part"] == "validation")
    shown = int((~used["held"]).sum())
    stats = vision.Normalize.from_stats(body.pretrained_cfg["mean"], body.pretrained_cfg["std"])
    batches = [*vision.aug_transforms(), stats] if cell.transforms else [stats]
    dls = vision.ImageDataLoaders.from_df(
        used[["name", "label", "held"]],
        cell.folder,
        valid_col="held",
        item_tfms=vision.Resize(cell.training.image_size),
        batch_tfms=batches,
        bs=min(training.batch_size(shown), shown),
    )
    bn = cell.training.trainable == "head+bn"
    learn = vision.vision_learner(dls, features.LITE0, pretrained=False, train_bn=bn, path=place)
    learn.model[0].model.load_state_dict(body.state_dict(), strict=True)
    learn.freeze()
    return learn
