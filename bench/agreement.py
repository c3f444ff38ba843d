"""Do heads trained at once answer as well as fastai's, each trained alone by its `Learner`?

A body that is frozen whole sees the same picture in the same way in every epoch, so that without transforms fastai's
cell on pictures and fastai's head on kept features are one and the same training; the latter takes seconds.
"""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from skinsyn.classifier import features, grid, training
from skinsyn.run import compute

from . import classifying, learners, ratios, study, timing

__all__ = ["against_fastai", "train_head"]


def train_head(chunk: grid.Chunk) -> dict[str, str | float]:
    """fastai's head in fastai's loop on a cell's kept features: arm, run, peer (accuracy on the test images), epochs.

    chunk: of one cell. Batches, rate, patience and epochs are the cell's; what is left over at an epoch's end is
    dropped, as `ImageDataLoaders` does. The weights begin as those of `vision_learner`.
    """
    from fastai.vision import all as vision

    compute.set_threads(1)
    one = grid.plan(chunk.cells[0], chunk.prepared, grid.read_tables(chunk.profile, chunk.cells))
    parts, ids = one.parts()
    row, bank = features.bank(chunk.prepared.plain)
    seen = bank[0, [row[name] for name in ids]]
    shown, validation = (list(zip(seen[part.rows], part.labels, strict=True)) for part in parts[:2])
    size = min(training.batch_size(len(shown)), len(shown))
    vision.set_seed(one.cell.run)
    dls = vision.DataLoaders(
        vision.DataLoader(shown, bs=size, shuffle=True, drop_last=True),
        vision.DataLoader(validation, bs=len(validation)),
    )
    head = vision.create_head(bank.shape[-1] // 2, len(one.images.classes))[2:]  # without its pooling, the body's here
    vision.apply_init(head, vision.nn.init.kaiming_normal_)
    with tempfile.TemporaryDirectory() as folder:
        learn = vision.Learner(dls, head, loss_func=vision.CrossEntropyLossFlat(), path=Path(folder))
        epochs = learners.fit(learn, chunk.prepared.training)
    head.eval()
    with vision.torch.inference_mode():
        answers = head(vision.torch.from_numpy(seen[parts[2].rows])).argmax(1).numpy()
    right = float((answers == parts[2].labels).mean())
    return {"arm": one.cell.arm, "run": one.cell.run, "peer": right, "epochs": epochs}


def against_fastai(shape: study.Shape, settings: dict[str, Any], goal: float = 0.99) -> tuple[dict, pd.DataFrame]:
    """The row `grid_head_accuracy_vs_fastai`, and the accuracy [%] of both in each cell.

    Cells of sizes × {real, with synthetic} × runs without transforms, the same images on both sides. The standard error
    is over runs: the test images are shared. Raises ImportError where the extra `peers` is missing.
    """
    learners.demand()
    how = classifying.TRAINING.but(**settings)
    with timing.own_store():
        wanted = shape.make({"transforms": [False]})
        data = grid.read_tables(study.PROFILE, wanted)
        prepared = grid.prepare(wanted, data, how, "dask:2")
        predictions, cells = grid.collect(wanted, grid.run(study.PROFILE, wanted, prepared, "dask:2"), data.images)
        with timing.processes(2) as pool:
            chunks = [grid.Chunk(study.PROFILE, prepared, (cell,)) for cell in wanted]
            peer = pd.DataFrame(timing.all_of(pool, train_head, chunks))
    table = cells[["arm", "run", "n", "epochs"]].merge(study.mean_accuracy(predictions).rename("ours").reset_index())
    table = table.merge(peer, on=["arm", "run"], suffixes=("", "_peer"))
    table[["ours", "peer"]] *= 100
    difference = (table["ours"] - table["peer"]).groupby(table["run"]).mean()
    note = (
        f"{len(table)} cells of {shape}, alone and with {shape.ratio} synthetic ones each (stand-ins), no transforms, "
        f"{how.image_size} px; ours: all heads at once; peer: fastai's head and Learner on the same features of the "
        f"frozen body, a cell alone; ours - peer: {difference.mean():+.2f} points, standard error "
        f"{difference.sem():.2f} over {shape.runs} runs; epochs: {table['epochs'].mean():.1f} of ours, "
        f"{table['epochs_peer'].mean():.1f} of the peer's"
    )
    means = [table[name].mean() for name in ("ours", "peer")]
    return ratios.row("grid_head_accuracy_vs_fastai", "% right", *means, goal, note, "more"), table
