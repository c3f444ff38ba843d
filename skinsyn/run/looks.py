"""Looks at the test predictions of a run: runs/<profile>/looks.jsonl, one line per new state of what was looked at.

A state is the table of predictions together with the declaration in force; reading the same state again adds no line.
The log is local and can be deleted: that results are there without a look on record is noticed (`unlogged`), a log that
was deleted together with them is not.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from . import declaration, files, paths
from .records import Record, setting

__all__ = ["Look", "note", "on_record", "path", "unlogged"]


@dataclass(frozen=True, kw_only=True)
class Look(Record):
    """The first reading of one state of the test predictions."""

    date: str = setting(about="when, UTC, ISO 8601")
    notebook: str = setting(about="who read them; '' where the reader gave no name")
    predictions: str = setting(about="SHA-256 of the table of predictions")
    declaration: str = setting(about="chain of the declaration in force, or 'none'")


def path(profile: str) -> Path:
    """Where the looks at a run's predictions are logged."""
    return paths.run_dir(profile) / "looks.jsonl"


def on_record(profile: str) -> list[Look]:
    """The looks that are logged, in order. The log, or its absence, is noted as an input of whoever asks.

    Raises ValueError naming the line that cannot be read.
    """
    files.log_access("read", path(profile))
    return _read(profile)


def _read(profile: str) -> list[Look]:
    file = path(profile)
    found = []
    for number, line in enumerate(file.read_text().splitlines() if file.exists() else (), 1):
        try:
            found.append(Look.read(json.loads(line)))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}, line {number}, is no look ({error}); restore the file, or remove it") from error
    return found


def note(profile: str, predictions: Path, notebook: str = "") -> None:
    """Log that `notebook` reads this file of test predictions of a run; nothing where this state was logged before.

    A folder that cannot be written to is told as a warning: who reads somebody's run need not own it.
    """
    known = _read(profile)
    state = (files.digest_file(predictions), declaration.in_force(profile))
    if state in {(one.predictions, one.declaration) for one in known}:
        return
    look = Look(date=declaration.now(), notebook=notebook, predictions=state[0], declaration=state[1])
    try:
        with files.atomic(path(profile)) as temporary:
            temporary.write_text("".join(f"{json.dumps(one.json())}\n" for one in [*known, look]))
    except OSError as error:
        warnings.warn(f"this look at the test predictions of {profile!r} is not on record: {error}", stacklevel=2)


def unlogged(profile: str, predictions: Path) -> bool:
    """Whether results of a run are there that no look on record accounts for: predictions, or the tests of 05."""
    logged = {one.predictions for one in _read(profile)}
    if predictions.exists():
        return files.digest_file(predictions) not in logged
    return not logged and (paths.figures_dir(profile) / "05_fairness_stats-tests.csv").exists()
