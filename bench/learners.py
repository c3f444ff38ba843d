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
from pathlib import Path

import numpy as np
import pandas as pd

from skinsyn.classifier import features, training
from skinsyn.run import compute

__all__ = ["INSTALL", "available", "train_cell"]

INSTALL = "pip install 'skinsyn[peers]'"


def available() -> bool:
    """True where fastai is installed (`INSTALL`)."""
    return importlib.util.find_spec("fastai") is not None


def train_cell(task: dict) -> dict:
    """Train one cell and let it answer its test images: seconds from files to answers, images seen, epochs, accuracy.

    task: folder and rows ((file, label, part), see `study.save_pngs`), image_size, transforms, trainable (head |
    head+bn), epochs (at most), patience, learning_rate, threads, seed. The body is EfficientNet-Lite0 from its package.
    Where only the head is trained, `train_bn=False` and `BnFreeze` keep the body as it is, batch statistics too.
    """
    from fastai.vision import all as vision

    # As in a script on Linux. A spawned process hands "spawn" on to its loading workers, which then take seconds an
    # epoch.
    multiprocessing.set_start_method("fork", force=True)
    compute.set_threads(task["threads"])
    body, begun = features.shared_body(features.LITE0)[0], time.perf_counter()
    frame = pd.DataFrame(task["rows"], columns=["name", "label", "part"])
    counts = frame["part"].value_counts()
    vision.set_seed(task["seed"])
    with tempfile.TemporaryDirectory() as place:
        learn = _learner(vision, task, frame, body, Path(place))
        stop = vision.EarlyStoppingCallback(monitor="valid_loss", patience=task["patience"])
        keep = vision.SaveModelCallback(monitor="valid_loss", with_opt=False)
        frozen = [vision.BnFreeze()] if task["trainable"] == "head" else []
        quiet = contextlib.redirect_stdout(io.StringIO())  # one of its callbacks prints each time it keeps a model
        with learn.no_bar(), learn.no_logging(), quiet:
            learn.fit(task["epochs"], task["learning_rate"], cbs=[keep, stop, *frozen])
            epochs = len(learn.recorder.values)  # before the test images, whose pass begins a new record
            test = frame[frame["part"] == "test"]
            p, _ = learn.get_preds(dl=learn.dls.test_dl([Path(task["folder"]) / name for name in test["name"]]))
    right = np.array(learn.dls.vocab)[p.argmax(1).numpy()] == test["label"].to_numpy()
    seen = epochs * int(counts["training"] + counts["validation"]) + int(counts["test"])
    return {"seconds": time.perf_counter() - begun, "seen": seen, "epochs": epochs, "accuracy": float(right.mean())}


def _learner(vision: object, task: dict, frame: pd.DataFrame, body: object, place: Path) -> object:
    """The loaders and the learner, the body's weights in it. fastai's own defaults hold where nothing is said."""
    used = frame[frame["part"] != "test"].assign(held=lambda rows: rows["part"] == "validation")
    shown = int((~used["held"]).sum())
    stats = vision.Normalize.from_stats(body.pretrained_cfg["mean"], body.pretrained_cfg["std"])
    batches = [*vision.aug_transforms(), stats] if task["transforms"] else [stats]
    dls = vision.ImageDataLoaders.from_df(
        used[["name", "label", "held"]],
        task["folder"],
        valid_col="held",
        item_tfms=vision.Resize(task["image_size"]),
        batch_tfms=batches,
        bs=min(training.batch_size(shown), shown),
    )
    bn = task["trainable"] == "head+bn"
    learn = vision.vision_learner(dls, features.LITE0, pretrained=False, train_bn=bn, path=place)
    learn.model[0].model.load_state_dict(body.state_dict(), strict=True)
    learn.freeze()
    return learn
