"""Do heads trained at once answer as well as fastai's, each trained alone by its `Learner`?

A body that is frozen whole sees the same picture in the same way in every epoch, so that without transforms fastai's
cell on pictures and fastai's head on kept features are one and the same training; the latter takes seconds.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from skinsyn.classifier import features, grid, training
from skinsyn.classifier.settings import Training
from skinsyn.run import compute

from . import classifying, learners, ratios, study, timing

__all__ = ["against_fastai", "train_head"]


def train_head(task: dict) -> dict[str, str | float]:
    """fastai's head in fastai's loop on a cell's kept features: arm, run, peer (accuracy on the test images), epochs.

    task: cell, how (of `grid.prepare`). Batches, rate, patience and epochs are the cell's; what is left over at an
    epoch's end is dropped, as `ImageDataLoaders` does. The weights begin as those of `vision_learner`.
    """
    from fastai.vision import all as vision

    compute.set_threads(1)
    one = grid.plan(task["cell"], task["how"], grid.read_tables(study.PROFILE, [task["cell"]]))
    parts, ids = one.parts()
    place, bank = features.bank(task["how"].plain)
    rows = np.array([place[name] for name in ids])
    shown, held, asked = (
        *(list(zip(bank[0, rows[p.rows]], p.labels, strict=True)) for p in parts[:2]),
        task["how"].training,
    )
    size = min(training.batch_size(len(shown)), len(shown))
    vision.set_seed(one.cell.run)
    dls = vision.DataLoaders(
        vision.DataLoader(shown, bs=size, shuffle=True, drop_last=True), vision.DataLoader(held, bs=len(held))
    )
    head = vision.create_head(bank.shape[-1] // 2, len(one.images.classes))[2:]  # without its pooling, the body's here
    vision.apply_init(head, vision.nn.init.kaiming_normal_)
    stop = vision.EarlyStoppingCallback(monitor="valid_loss", patience=asked.patience)
    keep = vision.SaveModelCallback(monitor="valid_loss", with_opt=False)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        learn = vision.Learner(dls, head, loss_func=vision.CrossEntropyLossFlat(), path=Path(folder))
        with learn.no_bar(), learn.no_logging():
            learn.fit(asked.epochs, asked.learning_rate, cbs=[keep, stop])
            epochs = len(learn.recorder.values)
    head.eval()
    with vision.torch.inference_mode():
        answers = head(vision.torch.from_numpy(bank[0, rows[parts[2].rows]])).argmax(1).numpy()
    right = float((answers == parts[2].labels).mean())
    return {"arm": one.cell.arm, "run": one.cell.run, "peer": right, "epochs": epochs}


def against_fastai(
    conditions: Sequence[str],
    sizes: Sequence[int],
    ratio: int,
    runs: int,
    held: int,
    settings: dict,
    goal: float = 0.99,
) -> tuple[dict, pd.DataFrame]:
    """The row `grid_head_accuracy_vs_fastai`, and the accuracy [%] of both in each cell.

    Cells of sizes × {real, with synthetic} × runs without transforms, the same images on both sides. held: validation
    images of each condition, and as many test images. The standard error is over runs: the test images are shared.
    Raises ImportError where the extra `peers` is missing.
    """
    if not learners.available():
        raise ImportError(f"fastai is not installed: {learners.INSTALL}")
    asked = {**classifying.SETTINGS, **settings}
    with timing.own_store():
        study.make(study.PROFILE, conditions, max(sizes), held, ratio, runs)
        wanted = grid.cells([arm | {"transforms": [False]} for arm in study.arms(sizes, ratio)], runs)
        given = grid.read_tables(study.PROFILE, wanted)
        how = grid.prepare(wanted, given, Training.read(asked), "dask:2")
        predictions, cells = grid.collect(wanted, grid.run(study.PROFILE, wanted, how, "dask:2"), given.images)
        with timing.processes(2) as theirs:
            found = timing.all_of(theirs, train_head, [{"cell": cell, "how": how} for cell in wanted])
    table = cells[["arm", "run", "n", "epochs"]].merge(study.mean_accuracy(predictions).rename("ours").reset_index())
    table = table.merge(pd.DataFrame(found), on=["arm", "run"], suffixes=("", "_peer"))
    table[["ours", "peer"]] *= 100
    apart = (table["ours"] - table["peer"]).groupby(table["run"]).mean()
    note = (
        f"{len(table)} cells of {min(sizes)} to {max(sizes)} real images a class, alone and with {ratio} synthetic "
        "ones "
        f"each (stand-ins), no transforms, {asked['image_size']} px; ours: all heads at once; peer: fastai's head and "
        f"Learner on the same features of the frozen body, a cell alone; ours - peer: {apart.mean():+.2f} points, "
        "standard "
        f"error {apart.sem():.2f} over {runs} runs; epochs: {table['epochs'].mean():.1f} of ours, "
        f"{table['epochs_peer'].mean():.1f} of the peer's"
    )
    middle = [table[name].mean() for name in ("ours", "peer")]
    return ratios.row("grid_head_accuracy_vs_fastai", "% right", *middle, goal, note, "more"), table
