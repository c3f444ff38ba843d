"""Timing by turns, in a store of its own: what a minute of the machine does, it does to all contestants."""

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from diffusers import UNet2DConditionModel

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import references
from skinsyn.diffusion.settings import TASKS, Reference
from skinsyn.run import compute, store

from . import ratios

__all__ = [
    "all_of", "bases", "by_turns", "dask_beside_processes", "in_unet", "own_store", "phantoms", "processes",
    "seconds_of", "share", "side_by_side", "unet_of",
]  # fmt: skip


@contextlib.contextmanager
def own_store() -> Iterator[Path]:
    """A store in a temporary folder, for this process and the workers that it starts meanwhile; removed at the end."""
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.dict(os.environ, {"SKINSYN_RUNS": str(Path(place) / "runs")}),
    ):
        yield Path(place)


@contextlib.contextmanager
def processes(count: int, threads: int = 1) -> Iterator[Executor]:
    """Bare processes, started as Dask starts its own (spawned, glibc told to keep memory), with nothing around them."""
    keep = {**compute.KEEP_MEMORY, "OMP_NUM_THREADS": str(threads)}
    with mock.patch.dict(os.environ, keep), ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        yield pool


def all_of(executor: Executor, work: Callable, tasks: Sequence) -> list:
    """`work(task)` of all tasks at once; results in their order."""
    return [future.result() for future in [executor.submit(work, task) for task in tasks]]


def by_turns(works: Mapping[str, Callable[[int], object]], runs: int) -> tuple[pd.DataFrame, dict[str, list]]:
    """Time works in turn: seconds (one row per run, one column per work), and what each returned, run by run.

    works: name → a function of the run's number. Run 0 is the warm-up: it loads and starts what is needed, and does not
    count; what it took is in `attrs["warm-up"]` of the seconds.
    """
    seconds, returned = [], {name: [] for name in works}
    for run in range(runs + 1):
        row = {}
        for name, work in works.items():
            begun = time.perf_counter()
            found = work(run)
            row[name] = time.perf_counter() - begun
            if run:
                returned[name].append(found)
        seconds.append(row)
        print(f"run {run} of {runs}: " + ", ".join(f"{name} {value:.2f} s" for name, value in row.items()), flush=True)
    found = pd.DataFrame(seconds[1:], index=range(1, runs + 1))
    found.attrs["warm-up"] = seconds[0]
    return found, returned


def seconds_of(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def in_unet(work: Callable[[], object]) -> tuple[object, float]:
    """What `work` returns, and the seconds of it in the UNet's own arithmetic: its forward passes, and backward
    ones."""
    spent = 0.0

    def timed(function: Callable) -> Callable:
        def call(*given: object, **named: object) -> object:
            nonlocal spent
            begun = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent += time.perf_counter() - begun

        return torch.compiler.disable(call, recursive=False)  # a compiled UNet is compiled below it

    forward, backward = timed(UNet2DConditionModel.forward), timed(torch.Tensor.backward)
    with (
        mock.patch.object(UNet2DConditionModel, "forward", forward),
        mock.patch.object(torch.Tensor, "backward", backward),
    ):
        return work(), spent


def phantoms(conditions: Sequence[str], count: int, seed: int) -> pd.DataFrame:
    """`count` phantoms of each condition, in the store: image_id, condition, fst, fst_group, unit, row."""
    rows = [(f"p{seed}-{c}-{i:04d}", name, i % 6 + 1) for c, name in enumerate(conditions) for i in range(count)]
    frame = pd.DataFrame(rows, columns=["image_id", "condition", "fst"]).assign(fst_group="unknown")
    key = store.key_of("shard", images.RECIPE, {"phantoms": rows, "seed": seed}, {}, 0)

    def make(folder: Path) -> None:
        drawn = [phantom.draw(name, fst, seed=seed * 100_003 + i).image for i, (_, name, fst) in enumerate(rows)]
        images.write_shard(folder, np.stack(drawn), frame[["image_id"]])

    store.keep("shard", key, make)
    return frame.assign(unit=key, row=range(len(rows)))


def bases(name: str = "tiny") -> dict[str, Reference]:
    """References to a base model for both tasks, task → reference."""
    return {task: references.prepare_base(Reference(name), task, pd.DataFrame(), {}, 0, 1) for task in TASKS}


def share(part: float, whole: float) -> str:
    """A part of a whole, in per cent, for a note."""
    return f"{100 * part / whole:.0f} %"


def unet_of(runs: Sequence[Sequence[tuple[object, float]]]) -> float:
    """Median seconds in the UNet of runs of two workers side by side; each run a list of (made, seconds) of its
    tasks."""
    return float(np.median([sum(spent for _, spent in tasks) / 2 for tasks in runs]))


def _ready(_number: int) -> None:
    """Nothing; a worker that has done it has imported all that the work needs."""


def side_by_side(
    work: Callable, tasks_of: Callable[[int], list], runs: int
) -> tuple[pd.DataFrame, dict[str, list], dict[str, float]]:
    """The same work over two Dask workers (`ours`) and over two bare processes (`peer`), one thread each, by turns.

    tasks_of: a number → tasks; 2 · run for ours, 2 · run + 1 for the peer. Returns what `by_turns` does, and what it
    took to start each engine, with all imports; both are started before and stay.
    """
    start: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        engines = {}
        for name, opened in (("ours", compute.get_executor("dask:2")), ("peer", processes(2))):
            begun = time.perf_counter()
            engines[name] = stack.enter_context(opened)
            all_of(engines[name], _ready, range(2))
            start[name] = time.perf_counter() - begun
        works = {
            name: lambda run, number=number, name=name: all_of(engines[name], work, tasks_of(2 * run + number))
            for number, name in enumerate(engines)
        }
        return *by_turns(works, runs), start


def dask_beside_processes(
    what: str, work: Callable, tasks_of: Callable[[int], list], images_: int, runs: int, goal: float
) -> tuple[dict, pd.DataFrame]:
    """The row `<what>_dask2_vs_processes`, by `side_by_side`.

    work: a task → (what it made, seconds in the UNet). tasks_of: a number, never the same twice → tasks. images_: those
    of one run, for the rate.
    """
    seconds, made, start = side_by_side(work, tasks_of, runs)
    middle, unet = seconds.median(), {name: unet_of(found) for name, found in made.items()}
    note = (
        f"{images_} images, {runs} runs by turns; two one-thread workers on both sides, started before and kept (start "
        f"and imports: {start['ours']:.1f} s against {start['peer']:.1f} s); UNet's own arithmetic: "
        f"{share(unet['ours'], middle['ours'])} of Dask's time, {share(unet['peer'], middle['peer'])} of the "
        f"processes'; floor (workers doing nothing else): ratio {middle['peer'] / unet['ours']:.2f}"
    )
    rates = images_ / middle["ours"], images_ / middle["peer"]
    return ratios.row(f"{what}_dask2_vs_processes", "images/s", *rates, goal, note, "more"), seconds
