"""The grid timed: many cells on frozen features and single cells with their body, beside fastai; Dask beside
processes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from skinsyn.classifier import grid
from skinsyn.classifier.arms import Cell
from skinsyn.classifier.settings import Training
from skinsyn.run import compute, store

from . import body, learners, ratios, study, timing

__all__ = ["TRAINING", "against_fastai", "against_processes", "cell_by_cell", "extrapolate"]

# The study's classifier (PROTOCOL, Classifier) on the body that needs no network, with fastai's head and rate.
TRAINING = Training(image_size=224, device="cpu", head="fastai", learning_rate=1e-3)


def extrapolate(measured: pd.DataFrame, wanted: pd.DataFrame) -> np.ndarray:
    """Seconds (n,) of wanted cells: so much a cell, so much an image that passes, more of it with transforms.

    measured: seconds, seen, transforms; fitted by least squares without negative parts. wanted: seen, transforms.
    """
    parts = [
        np.column_stack([np.ones(len(f)), f["seen"].astype(float), f["seen"] * f["transforms"].astype(float)])
        for f in (measured, wanted)
    ]
    return parts[1] @ optimize.nnls(parts[0], measured["seconds"].to_numpy(float))[0]


def against_fastai(
    shape: study.Shape,
    settings: dict[str, Any],
    peer_sizes: Sequence[int],
    peer_runs: int,
    threads: int = 2,
    goal: float = 100,
) -> tuple[dict, pd.DataFrame]:
    """The row `grid_head_vs_fastai`, and the cells that the peer was measured on.

    Ours: a grid of sizes × {real, with synthetic} × {none, transforms} × runs, from its tables to its predictions,
    workers and features included. The peer: fastai trains the cells of `peer_sizes` in the first `peer_runs` runs, a
    third of them before our features, a third between these and our training, a third after; the others follow by
    `extrapolate`. settings: what differs from TRAINING. Raises ImportError where the extra `peers` is missing.
    """
    learners.demand()
    how = TRAINING.but(**settings)
    with timing.own_store() as place, timing.processes(1, threads) as peer:
        wanted = shape.make()
        sample = [cell for cell in wanted if cell.n in peer_sizes and cell.run < peer_runs]
        tasks = _peer_cells(place / "pictures", sample, how, threads)
        thirds, seconds, answers = np.array_split(np.arange(len(sample)), 3), [], []
        peer.submit(learners.train_cell, tasks[0]._replace(training=how.but(epochs=1))).result()  # the warm-up
        for turn, work in enumerate((_features, _train, None)):
            for number in thirds[turn]:
                answers.append(peer.submit(learners.train_cell, tasks[number]).result())
                print(f"fastai, {sample[number].arm}, run {sample[number].run}: {answers[-1]}", flush=True)
            if work:
                seconds.append(timing.seconds_of(lambda work=work: work(wanted, how)))
        predictions, cells = _train(wanted, how)
    table = _cells(cells, predictions, shape.held * len(shape.conditions))
    measured = pd.DataFrame(answers).assign(arm=[cell.arm for cell in sample], run=[cell.run for cell in sample])
    measured = measured.merge(table, on=["arm", "run"], suffixes=("", "_ours"))
    return _row(seconds, measured, table, how, threads, goal), measured


def _features(wanted: list[Cell], how: Training) -> grid.Prepared:
    return grid.prepare(wanted, grid.read_tables(study.PROFILE, wanted), how, "dask:2")


def _train(wanted: list[Cell], how: Training) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What 04 does after the features, which are kept by now: cells are trained and collected."""
    keys = grid.run(study.PROFILE, wanted, _features(wanted, how), "dask:2")
    return grid.collect(wanted, keys, grid.read_tables(study.PROFILE, wanted).images)


def _peer_cells(folder: Path, sample: list[Cell], how: Training, threads: int) -> list[learners.PeerCell]:
    """The same cells for fastai, on the images of ours and with their settings."""
    data = grid.read_tables(study.PROFILE, sample)
    rows = study.save_pngs(folder, [grid.plan(cell, grid.Prepared(how, ""), data) for cell in sample])
    return [
        learners.PeerCell(str(folder), of_cell, how, cell.transforms, cell.run, threads)
        for cell, of_cell in zip(sample, rows, strict=True)
    ]


def _cells(cells: pd.DataFrame, predictions: pd.DataFrame, held: int) -> pd.DataFrame:
    """Cells with their accuracy, and `seen`, the images that pass: training and validation every epoch, the test
    once."""
    shown = cells["n_real"] + cells["n_synthetic"]
    right = study.mean_accuracy(predictions).rename("accuracy").reset_index()
    table = cells[["arm", "run", "n", "transforms", "epochs"]].assign(shown=shown, held=held)
    return table.assign(seen=table["epochs"] * (shown + held) + held).merge(right, on=["arm", "run"])


def _row(
    seconds: list[float], measured: pd.DataFrame, table: pd.DataFrame, how: Training, threads: int, goal: float
) -> dict:
    """The row of `against_fastai`. Where the peer was not measured, its epochs are ours times its own share of ours."""
    longer = measured["epochs"].sum() / measured["epochs_ours"].sum()
    expected = table.assign(seen=table["epochs"] * longer * (table["shown"] + table["held"]) + table["held"])
    theirs, ours = float(extrapolate(measured, expected).sum()), sum(seconds)
    difference = 100 * (measured["accuracy_ours"] - measured["accuracy"])
    rate = measured["seen"].sum() / measured["seconds"].sum()
    note = (
        f"{len(table)} cells of {table['n'].min()} to {table['n'].max()} real images per class at {how.image_size} px, "
        f"phantoms, synthetic images are stand-ins (further phantoms); ours: {ours:.0f} s over two one-thread Dask "
        f"workers from tables to predictions, {timing.share(seconds[0], ours)} of it the features (once); peer: "
        f"fastai's ImageDataLoaders and vision_learner, train_bn=False and BnFreeze, {threads} threads; "
        f"{len(measured)} cells of up to {measured['shown'].max()} images measured ({measured['seconds'].sum():.0f} s, "
        f"{rate:.0f} images/s), all cells extrapolated by a line through images seen: {theirs / 3600:.1f} h; epochs: "
        f"{longer:.2f} times ours; accuracy in the measured cells: ours {100 * measured['accuracy_ours'].mean():.1f} "
        f"%, fastai {100 * measured['accuracy'].mean():.1f} % ({difference.mean():+.1f} points, standard error "
        f"{difference.sem():.1f})"
    )
    rates = [3600 * len(table) / total for total in (ours, theirs)]
    return ratios.row("grid_head_vs_fastai", "cells/h", *rates, goal, note, "more")


def cell_by_cell(
    conditions: Sequence[str],
    size: int,
    held: int,
    epochs: int,
    settings: dict[str, Any],
    runs: int,
    threads: int = 2,
    goal: float = 1.5,
) -> tuple[dict, pd.DataFrame]:
    """The row `grid_head_bn_vs_fastai` and its turns: two cells of `size` real images per class, body frozen but its
    norms.

    Ours: the two cells side by side over two one-thread Dask workers, in float32, and in bf16 where this CPU is faster
    in it; the peer: one after the other with `threads` threads; the floor: the body's own passes alone, on the same
    workers. Every cell runs all of its epochs.
    """
    learners.demand()
    how = TRAINING.but(**{"trainable": "head+bn", "epochs": epochs, "patience": epochs, **settings})
    cells = grid.cells([{"n": size}], 2)
    with timing.own_store() as place:
        study.make(study.PROFILE, conditions, size, held, 0, 2)
        prepared, peers = _features(cells, how), _peer_cells(place / "pictures", cells, how, threads)
        shown, kept = size * len(conditions), held * len(conditions)
        bare = body.Passes(how.body, how.image_size, shown, kept, epochs)
        with compute.get_executor("dask:2") as ours, timing.processes(1, threads) as theirs:
            gain = min(timing.all_of(ours, body.gain_of_bf16, _twice(bare, 0)))
            works: dict[str, Callable[[int], object]] = {
                dtype: lambda run, dtype=dtype: timing.all_of(
                    ours, grid.run_cells, _chunks(cells, prepared, dtype, run)
                )
                for dtype in ("fp32", "bf16")
                if dtype == "fp32" or gain > 1
            }
            works["peer"] = lambda run: [
                theirs.submit(learners.train_cell, one._replace(seed=2 * run + number)).result()
                for number, one in enumerate(peers)
            ]
            works["floor"] = lambda run: timing.all_of(ours, body.passes, _twice(bare, run))
            seconds, results = timing.by_turns(works, runs)
        images = grid.read_tables(study.PROFILE, cells).images
        right = [grid.collect(cells, [key for (key,) in run], images)[0]["correct"].mean() for run in results["fp32"]]
    theirs_right = np.mean([one["accuracy"] for run in results["peer"] for one in run])
    middle = seconds.median()
    best = middle.drop(["peer", "floor"]).idxmin()
    note = (
        f"seconds per image and epoch; {len(cells)} cells of {shown} training and {kept} validation images at "
        f"{how.image_size} px, {epochs} epochs, {len(seconds)} runs by turns; ours: {best}, two one-thread Dask "
        f"workers, a cell each; peer: fastai, {threads} threads, a cell after the other; bf16 is {gain:.2f} times as "
        f"fast as fp32 in the body on this CPU{', and was timed' if gain > 1 else ', so it was left out'}; floor (the "
        f"body's own forward and backward passes alone, fp32): ratio {middle['peer'] / middle['floor']:.2f}, "
        f"{timing.share(middle['floor'], middle['fp32'])} of our time in fp32; accuracy: ours (fp32) "
        f"{100 * np.mean(right):.1f} %, fastai {100 * theirs_right:.1f} %"
    )
    each = [middle[name] / (2 * epochs * shown) for name in (best, "peer")]
    return ratios.row("grid_head_bn_vs_fastai", "s/image", *each, goal, note), seconds


def _twice(bare: body.Passes, run: int) -> list[body.Passes]:
    """The same passes for each of two workers."""
    return [bare._replace(seed=2 * run + number) for number in range(2)]


def _chunks(cells: list[Cell], how: grid.Prepared, dtype: str, run: int) -> list[grid.Chunk]:
    """One chunk per cell, another root seed every run, so that nothing is found made."""
    changed = how.but(training=how.training.but(dtype=dtype, seed=run))
    return [grid.Chunk(study.PROFILE, changed, (cell,)) for cell in cells]


def against_processes(
    shape: study.Shape, settings: dict[str, Any], runs: int, goal: float = 0.9
) -> tuple[dict, pd.DataFrame]:
    """The row `grid_dask2_vs_processes`: the same cells over both engines, whose bytes must be the same (else
    ValueError).

    The features are made before. settings: what differs from TRAINING. runs: turns.
    """
    bytes_of: dict[int, dict[str, str]] = {}
    with timing.own_store():
        wanted = shape.make()
        how = _features(wanted, TRAINING.but(**settings))
        kept = store.unit_dir("cell", "any").parent

        def planned(number: int) -> list[grid.Chunk]:
            """Chunks of a turn; what the turn before it kept is set aside, so that all is trained again."""
            bytes_of[number - 1] = _digests(kept)
            if kept.exists():
                kept.rename(kept.with_name(f"cell-{number - 1}"))
            return grid.chunks(study.PROFILE, wanted, how.but(training=how.training.but(seed=number // 2)))

        seconds, _, start = timing.side_by_side(grid.run_cells, planned, runs)
        bytes_of[2 * runs + 1] = _digests(kept)
    for run in range(runs + 1):
        if bytes_of[2 * run] != bytes_of[2 * run + 1] or len(bytes_of[2 * run]) != len(wanted):
            raise ValueError(f"run {run}: Dask and bare processes gave other bytes, or not all of {len(wanted)} cells")
    middle = seconds.median()
    note = (
        f"{len(wanted)} cells of {shape} on kept features, {runs} runs by turns; two one-thread workers on both sides, "
        f"started before and kept (start and imports: {start['ours']:.1f} s against {start['peer']:.1f} s); the same "
        f"bytes in all {runs + 1} runs"
    )
    rates = [len(wanted) / middle[name] for name in ("ours", "peer")]
    return ratios.row("grid_dask2_vs_processes", "cells/s", *rates, goal, note, "more"), seconds


def _digests(folder: Path) -> dict[str, str]:
    """Key → SHA-256 of its predictions, of kept cells."""
    keys = [manifest.parent.name for manifest in sorted(folder.glob("*/manifest.json"))]
    return {key: store.manifest("cell", key)["files"]["predictions.parquet"]["sha256"] for key in keys}
