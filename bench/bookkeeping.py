"""What a grid costs beside training: time and memory of a thousand cells, and a memmap as long as the study's."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from skinsyn.classifier import features, grid, stacked, training
from skinsyn.classifier.settings import Training
from skinsyn.run import compute

from . import classifying, ratios, study, timing

__all__ = ["memmap", "memory", "thousand_cells", "while_running"]

GIGA = 10**9


def memory() -> int:
    """Anonymous resident memory of this process in bytes: RssAnon of Linux' /proc, without pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def while_running(work: Callable[[], object], every: float = 0.01) -> int:
    """Bytes by which `memory` exceeds its value at the beginning, at most, looked at every so many seconds."""
    over, begun, most = threading.Event(), memory(), [0]

    def look() -> None:
        while not over.wait(every):
            most[0] = max(most[0], memory() - begun)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    return max(most[0], memory() - begun)


@contextlib.contextmanager
def _in_training() -> Iterator[list[float]]:
    """A list whose only number is the seconds that heads have been in training since."""
    spent, true = [0.0], stacked.train_heads

    def timed(*given: object) -> Iterator:
        going = true(*given)
        while True:
            begun = time.perf_counter()
            found = next(going, None)
            spent[0] += time.perf_counter() - begun
            if found is None:
                return
            yield found

    with mock.patch.object(stacked, "train_heads", timed):
        yield spent


@contextlib.contextmanager
def _in_keeping() -> Iterator[list[float]]:
    """A list whose only number is the processor's seconds that cells have been kept for since, in a thread of its
    own."""
    spent, true = [0.0], grid._keep

    def timed(*given: object) -> str:
        begun = time.thread_time()
        key = true(*given)
        spent[0] += time.thread_time() - begun
        return key

    with mock.patch.object(grid, "_keep", timed):
        yield spent


def _all_cells(about: dict) -> dict:
    """Train cells in this process, a quarter after another: cells, seconds, those in training and of keeping, memory
    after each quarter."""
    grown, begun = [], time.perf_counter()
    with _in_training() as spent, _in_keeping() as keeping:
        wanted = grid.cells(about["arms"], about["runs"])
        given = grid.read_tables(study.PROFILE, wanted)
        keys = []
        for part in np.array_split(np.arange(len(wanted)), 4):
            keys += grid.run(study.PROFILE, [wanted[i] for i in part], about["how"])
            grown.append(memory())
        grid.collect(wanted, keys, given.images)
        seconds = time.perf_counter() - begun
    return {"cells": len(wanted), "seconds": seconds, "training": spent[0], "keeping": keeping[0], "memory": grown}


def thousand_cells(
    conditions: Sequence[str], sizes: Sequence[int], ratio: int, runs: int, held: int, settings: dict, limit: float = 5
) -> dict:
    """The row `grid_bookkeeping_vs_limit`: 4 · sizes · runs cells on kept features, in one process.

    Bookkeeping is all that is not training, in % of the time: naming the cells, their images and keys, asking the
    store, collecting, and the processor's time of keeping, which a thread does beside the training. The body sees small
    images here, which changes nothing: its features, as many as ever, are kept before. limit: in place of a peer, in %.
    """
    asked = {**classifying.SETTINGS, **settings}
    with timing.own_store():
        study.make(study.PROFILE, conditions, max(sizes), held, ratio, runs)
        arms = study.arms(sizes, ratio)
        wanted = grid.cells(arms, runs)
        how = grid.prepare(wanted, grid.read_tables(study.PROFILE, wanted), Training.read(asked), "dask:2")
        with timing.processes(1) as alone:
            found = alone.submit(_all_cells, {"arms": arms, "runs": runs, "how": how}).result()
    other, each = found["seconds"] - found["training"] + found["keeping"], 1000 / found["cells"]
    grown = (found["memory"][3] - found["memory"][0]) / 1e6
    note = (
        f"{found['cells']} cells of {min(sizes)} to {max(sizes)} real images a class on kept features, limit in place "
        "of a "
        f"peer; {each * other:.1f} ms of bookkeeping ({each * found['keeping']:.1f} of them in the thread that keeps) "
        "and "
        f"{each * found['training']:.0f} ms of training a cell, {each * found['seconds']:.0f} ms in all; anonymous "
        "memory "
        f"after the last quarter of the cells over that after the first: {grown:+.0f} MB"
    )
    share = 100 * other / (other + found["training"])
    return ratios.row("grid_bookkeeping_vs_limit", "% of the time", share, limit, 1, note)


def _on_memmap(about: dict) -> dict[str, float]:
    """Peak growth in bytes of training on `count` of `images` pictures in a sparse file, and on as many in memory."""
    compute.set_threads(1)
    body = features.shared_body(about["body"], "catavgmax")[0]
    side, count, total = about["image_size"], about["count"], about["images"]
    random = np.random.default_rng(0)
    settings = Training(trainable=about["trainable"], head="fastai", epochs=1)
    labels = np.arange(count) % 2
    rows = training.Part(np.arange(count), labels)
    names = [f"i{number}" for number in range(count)]

    def train(pixels: np.ndarray, places: np.ndarray) -> None:
        source = training.Images(pixels, names, body, side, "cpu", places)
        training.train(source, rows, rows, rows, 2, 0, settings, transforms=True)

    def on_file() -> None:
        pixels = np.load(about["file"], mmap_mode="r")
        index = pd.DataFrame({"image_id": [f"i{number}" for number in range(total)]})  # as `images.memmap` gives it
        chosen = index["image_id"].iloc[np.sort(random.choice(total, count, replace=False))]
        train(pixels, pd.Series(np.arange(total), index=index["image_id"]).loc[chosen].to_numpy())

    train(random.integers(0, 256, (count, side, side, 3), dtype=np.uint8), np.arange(count))  # the warm-up
    plain = while_running(lambda: train(np.zeros((count, side, side, 3), np.uint8), np.arange(count)))
    return {"file": while_running(on_file), "plain": plain}


def memmap(images: int, settings: dict, count: int = 60, limit: float = 1) -> dict:
    """The row `grid_memmap_vs_limit`: growth of anonymous memory while one cell learns from `count` images of so many.

    The file is sparse: as large as the study's, and holding nothing but zeros. Trained as grid cells are, body and
    head.
    limit: in place of a peer, in GB.
    """
    asked = {**classifying.SETTINGS, "trainable": "head+bn", **settings}
    side = asked["image_size"]
    with timing.own_store() as place:
        file = place / "sparse.npy"
        np.lib.format.open_memmap(file, "w+", np.uint8, (images, side, side, 3)).flush()
        about = {name: asked[name] for name in ("body", "image_size", "trainable")}
        with timing.processes(1) as alone:
            found = alone.submit(_on_memmap, about | {"file": str(file), "images": images, "count": count}).result()
    note = (
        f"RssAnon while body and head learn from {count} of {images} images of {side} px in a sparse memmap, limit in "
        "place "
        f"of a peer; with the {count} images in memory: {found['plain'] / GIGA:.2f} GB"
    )
    return ratios.row("grid_memmap_vs_limit", "GB", found["file"] / GIGA, limit, 1, note)
