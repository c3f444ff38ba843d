"""What a grid costs beside training: time and memory of a thousand cells, and a memmap as long as the study's."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
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


class Costs(NamedTuple):
    """Seconds of all, in training and of keeping; memory after each quarter of the cells, bytes."""

    seconds: float
    training: float
    keeping: float
    memory: list[int]


def _all_cells(chunk: grid.Chunk) -> Costs:
    """Train cells in this process, a quarter after another."""
    memories, begun = [], time.perf_counter()
    with _in_training() as spent, _in_keeping() as keeping:
        images = grid.read_tables(chunk.profile, chunk.cells).images
        keys: list[str] = []
        for part in np.array_split(np.arange(len(chunk.cells)), 4):
            keys += grid.run(chunk.profile, [chunk.cells[i] for i in part], chunk.prepared)
            memories.append(memory())
        grid.collect(chunk.cells, keys, images)
        return Costs(time.perf_counter() - begun, spent[0], keeping[0], memories)


def thousand_cells(shape: study.Shape, settings: dict[str, Any], limit: float = 5) -> dict:
    """The row `grid_bookkeeping_vs_limit`: 4 · sizes · runs cells on kept features, in one process.

    Bookkeeping is all that is not training, in % of the time: the cells' images and keys, asking the store, collecting,
    and the processor's time of keeping, which a thread does beside the training. The body sees small images here, which
    changes nothing: its features, as many as ever, are kept before. limit: in place of a peer, in %.
    """
    with timing.own_store():
        wanted = shape.make()
        how = classifying.TRAINING.but(**settings)
        prepared = grid.prepare(wanted, grid.read_tables(study.PROFILE, wanted), how, "dask:2")
        with timing.processes(1) as alone:
            costs = alone.submit(_all_cells, grid.Chunk(study.PROFILE, prepared, tuple(wanted))).result()
    other, each = costs.seconds - costs.training + costs.keeping, 1000 / len(wanted)
    note = (
        f"{len(wanted)} cells of {shape} on kept features, limit in place of a peer; {each * other:.1f} ms of "
        f"bookkeeping ({each * costs.keeping:.1f} of them in the thread that keeps) and {each * costs.training:.0f} ms "
        f"of training per cell, {each * costs.seconds:.0f} ms in all; anonymous memory after the last quarter of the "
        f"cells over that after the first: {(costs.memory[3] - costs.memory[0]) / 1e6:+.0f} MB"
    )
    share = 100 * other / (other + costs.training)
    return ratios.row("grid_bookkeeping_vs_limit", "% of the time", share, limit, 1, note)


class Sparse(NamedTuple):
    """One cell on a sparse memmap: `count` of `images` pictures in the file."""

    training: Training
    file: str
    images: int
    count: int


def _on_memmap(sparse: Sparse) -> dict[str, float]:
    """Peak growth in bytes of training on pictures of the sparse file, and on as many in memory."""
    compute.set_threads(1)
    how, count, total = sparse.training, sparse.count, sparse.images
    body = features.shared_body(how.body, "catavgmax")[0]
    random = np.random.default_rng(0)
    rows = training.Part(np.arange(count), np.arange(count) % 2)
    names, shape = [f"i{number}" for number in range(count)], (count, how.image_size, how.image_size, 3)

    def train(pixels: np.ndarray, places: np.ndarray) -> None:
        source = training.Images(pixels, names, body, how.image_size, "cpu", places)
        training.train(source, rows, rows, rows, 2, 0, how, transforms=True)

    def on_file() -> None:
        pixels = np.load(sparse.file, mmap_mode="r")
        index = pd.DataFrame({"image_id": [f"i{number}" for number in range(total)]})  # as `images.memmap` gives it
        sample = index["image_id"].iloc[np.sort(random.choice(total, count, replace=False))]
        train(pixels, pd.Series(np.arange(total), index=index["image_id"]).loc[sample].to_numpy())

    train(random.integers(0, 256, shape, dtype=np.uint8), np.arange(count))  # the warm-up
    plain = while_running(lambda: train(np.zeros(shape, np.uint8), np.arange(count)))
    return {"file": while_running(on_file), "plain": plain}


def memmap(images: int, settings: dict[str, Any], count: int = 60, limit: float = 1) -> dict:
    """The row `grid_memmap_vs_limit`: growth of anonymous memory while one cell learns from `count` images of so many.

    The file is sparse: as large as the study's, and holding nothing but zeros. Trained as grid cells are, body and
    head. limit: in place of a peer, in GB.
    """
    how = classifying.TRAINING.but(**{"trainable": "head+bn", "epochs": 1, **settings})
    side = how.image_size
    with timing.own_store() as place:
        file = place / "sparse.npy"
        np.lib.format.open_memmap(file, "w+", np.uint8, (images, side, side, 3)).flush()
        with timing.processes(1) as alone:
            growth = alone.submit(_on_memmap, Sparse(how, str(file), images, count)).result()
    note = (
        f"RssAnon while body and head learn from {count} of {images} images of {side} px in a sparse memmap, limit in "
        f"place of a peer; with the {count} images in memory: {growth['plain'] / GIGA:.2f} GB"
    )
    return ratios.row("grid_memmap_vs_limit", "GB", growth["file"] / GIGA, limit, 1, note)
