"""Where a grid stands: notes that its workers leave beside the run, and each cell as done, running, failed or missing.

What counts is the store: a kept cell is done, whatever a note says. Notes lie in runs/<profile>/grid:
`running-<host>-<pid>.json` while a worker trains some cells, touched at every kept one, and `failed-<key>.json` of a
cell that failed twice.
"""

import contextlib
import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import pandas as pd
import psutil

from skinsyn.run import files, paths, store

from .arms import Cell

__all__ = ["at_work", "failures", "forget", "in_words", "note_failure", "running", "states", "time_left"]

SILENT = 1800.0  # seconds without a kept cell, after which a worker on another machine counts as gone


def _folder(profile: str) -> Path:
    return paths.run_dir(profile) / "grid"


@contextlib.contextmanager
def at_work(profile: str, keys: Sequence[str]) -> Iterator[Callable[[Future], None]]:
    """Note that this process trains the cells `keys`; give what is yielded the future of each cell's keeping, its key.

    All are waited for at the end. An error of keeping, as of a full disk, is raised here or by the next call.
    """
    note = _folder(profile) / f"running-{socket.gethostname()}-{os.getpid()}.json"
    waiting: deque[Future] = deque()

    def settle() -> None:
        forget(profile, waiting.popleft().result())
        note.touch()

    def keeping(future: Future) -> None:
        waiting.append(future)
        while waiting and waiting[0].done():
            settle()

    if not keys:
        yield keeping
        return
    files.write_json(
        note, {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time(), "cells": list(keys)}
    )
    try:
        yield keeping
        while waiting:
            settle()
    finally:
        note.unlink(missing_ok=True)


def note_failure(profile: str, key: str, about: Mapping) -> None:
    """Note that a cell failed: {cell, parameters, error}."""
    files.write_json(_folder(profile) / f"failed-{key}.json", dict(about))


def forget(profile: str, key: str) -> None:
    """Take back the note of a cell's failure."""
    (_folder(profile) / f"failed-{key}.json").unlink(missing_ok=True)


def failures(profile: str) -> dict[str, dict]:
    """Key → {cell, parameters, error} of the cells whose last attempt failed."""
    notes = sorted(_folder(profile).glob("failed-*.json"))
    cells = {note.stem.removeprefix("failed-"): json.loads(note.read_text()) for note in notes}
    return {key: about for key, about in cells.items() if store.missing("cell", key)}


def running(profile: str) -> dict[str, float]:
    """Key → since when (seconds of the epoch), of the cells that some process is training.

    On this machine the process must be alive; on another its note must have been touched within SILENT seconds.
    """
    cells: dict[str, float] = {}
    for path in _folder(profile).glob("running-*.json"):
        try:
            note, age = json.loads(path.read_text()), time.time() - path.stat().st_mtime
        except FileNotFoundError:  # it has just ended
            continue
        if psutil.pid_exists(note["pid"]) if note["host"] == socket.gethostname() else age < SILENT:
            cells |= dict.fromkeys(note["cells"], note["since"])
    return cells


def states(profile: str, wanted: Sequence[Cell], keys: Sequence[str]) -> pd.DataFrame:
    """One row per cell: arm, run, state (done, running, failed, missing), key, error. keys: '' where none can be given
    yet."""
    in_training, failed = running(profile), failures(profile)
    rows = []
    for cell, key in zip(wanted, keys, strict=True):
        if key and not store.missing("cell", key):
            state = "done"
        else:
            state = "running" if key in in_training else "failed" if key in failed else "missing"
        error = failed[key]["error"] if state == "failed" else ""
        rows.append({"arm": cell.arm, "run": cell.run, "state": state, "key": key, "error": error})
    return pd.DataFrame(rows)


def time_left(profile: str, table: pd.DataFrame) -> float | None:
    """Seconds until all cells will be done, at the pace since the oldest worker began; None where nobody works."""
    begun = min(running(profile).values(), default=None)
    if begun is None:
        return None
    manifests = [store.unit_dir("cell", key) / "manifest.json" for key in table.loc[table["state"] == "done", "key"]]
    new = sum(manifest.stat().st_mtime >= begun for manifest in manifests)
    return (time.time() - begun) / new * int((table["state"] != "done").sum()) if new else None


def in_words(profile: str, table: pd.DataFrame) -> str:
    """The counts, the time left, arms that are not complete, and each failure with its cell's parameters."""
    counts = {state: int((table["state"] == state).sum()) for state in ("done", "running", "failed", "missing")}
    lines = [f"{len(table)} cells: " + ", ".join(f"{number} {state}" for state, number in counts.items())]
    left = time_left(profile, table)
    lines += [f"about {left / 60:.0f} min left"] if left is not None else []
    by_arm = table.groupby("arm", sort=False)["state"].value_counts().unstack(fill_value=0)
    open_arms = by_arm[by_arm.drop(columns="done", errors="ignore").sum(axis=1) > 0]
    lines += [open_arms.to_string()] if len(open_arms) else []
    parameters = {key: about["parameters"] for key, about in failures(profile).items()}
    for row in table[table["state"] == "failed"].itertuples():
        lines += [f"failed: {row.arm}, run {row.run} (cell {row.key}): {row.error}"]
        lines += ["  " + json.dumps(parameters[row.key], sort_keys=True)]
    if counts["failed"]:
        lines += [f"They are tried again by: python -m skinsyn run --profile {profile} --force --only 04"]
    return "\n".join(lines)
