"""The line of notebooks: which are stale and why, and running them headlessly, in order, each kept with its outputs."""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import papermill

from . import compute, files, params, paths, sources

__all__ = ["NotebookFailed", "choose", "figures", "run", "run_one", "stale", "stamps", "status"]

# Remarks of libraries that would drown the log of a long run; errors are still shown.
QUIET = {"DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
BENCHMARKS = "09"  # timed, so never the same bytes twice: run by `make bench` only
UNWATCHED = {"SKINSYN_HEADLESS": "1", **QUIET, **compute.KEEP_MEMORY}


class NotebookFailed(RuntimeError):
    """A notebook stopped with an error; the message shows the cell, the error and where the executed copy lies."""


def _pins() -> dict[str, str]:
    """Installed versions of all that requirements.txt names, and of Python."""
    lines = (paths.project_root() / "requirements.txt").read_text().splitlines()
    names = [match[0] for line in lines if (match := re.match(r"[A-Za-z0-9_.-]+", line))]
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _stamp_file(profile: str, stem: str) -> Path:
    return paths.run_dir(profile) / "stamps" / f"{stem}.json"


def _digest(path: str) -> str | None:
    there = paths.located(path)
    if not there.exists():
        return None
    return files.digest_tree(there) if there.is_dir() else files.digest_file(there)


def _needs(notebook: Path, values: dict[str, Any]) -> dict[str, Any]:
    """All that decides what the notebook makes, but for the data that it reads."""
    return {
        "code": sources.code_digest(notebook),
        "parameters": values,
        "modules": sources.module_digests(notebook),
        "pins": _pins(),
    }


def _first_difference(what: str, old: dict, new: dict) -> str:
    names = sorted(
        name for name in {*old, *new} if old.get(name, _first_difference) != new.get(name, _first_difference)
    )
    if what == "parameters":
        return "; ".join(f"{n} changed from {old.get(n, 'nothing')!r} to {new.get(n, 'nothing')!r}" for n in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} changed: {', '.join(names[:3])}{more}"


def stale(profile: str, notebook: Path, values: dict[str, Any]) -> str:
    """Why the notebook must run, '' where it need not: its code, parameters, modules, pins, inputs or outputs changed.

    Kept units that it read or made count by their manifests, which name the digests of all their files: a deleted,
    remade or edited unit is noticed here, a flipped bit in its files when the unit is next read (`store.folder`).
    Hashing whole units here would take minutes where nothing is to do.
    """
    file = _stamp_file(profile, notebook.stem)
    try:
        stamp = json.loads(file.read_text())
        needs = _needs(notebook, values)
        if stamp["code"] != needs["code"]:
            return "a code cell changed"
        for what in ("parameters", "modules", "pins"):
            if stamp[what] != needs[what]:
                return _first_difference(what, stamp[what], needs[what])
        for what, verb in (("reads", "an input"), ("writes", "an output")):
            for path, digest in stamp[what].items():
                now = _digest(path)
                if now != digest:
                    return f"{verb} {'is missing' if now is None else 'changed'}: {path}"
    except FileNotFoundError:
        return "it has not run to its end"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"its stamp is damaged: {file}"
    return ""


def status(profile: str, changed: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """(notebook, why it is stale or '') for each notebook, in order. Raises params.ParameterError."""
    every = params.of_profile(profile, changed)
    return [(stem, stale(profile, _notebook(stem), every[stem])) for stem in choose(list(every), [])]


def _notebook(stem: str) -> Path:
    return paths.project_root() / "notebooks" / f"{stem}.ipynb"


def choose(stems: list[str], only: list[str]) -> list[str]:
    """The notebooks that `only` names by number or stem; where it names none, all but the benchmarks.

    Raises params.ParameterError.
    """
    for name in only:
        if not any(stem.startswith(name) for stem in stems):
            raise params.ParameterError(f"--only {name}: no such notebook; there are {', '.join(stems)}")
    wanted = only or [stem for stem in stems if not stem.startswith(BENCHMARKS)]
    return [stem for stem in stems if any(stem.startswith(name) for name in wanted)]


@contextlib.contextmanager
def _alone(profile: str) -> Iterator[None]:
    """Let one process at a time run a profile: two would write the same tables.

    A killed one leaves no lock behind; the halves of files that it was writing are removed.
    """
    folder = paths.run_dir(profile)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        with lock.acquire(timeout=5):
            for place in (folder, paths.figures_dir(profile)):
                files.sweep(place)
            yield
    except filelock.Timeout as error:
        raise NotebookFailed(f"another process is running the profile {profile!r}; wait for it or stop it") from error


def _execute(profile: str, notebook: Path, values: dict[str, Any]) -> None:
    """Run one notebook in a fresh kernel from the project's root; the executed copy is kept, also where it fails."""
    copy = paths.run_dir(profile) / "notebooks" / notebook.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(notebook), str(copy), values, kernel_name="python3", cwd=str(paths.project_root()), progress_bar=False,
            stdout_file=sys.stdout, stderr_file=sys.stderr, extra_arguments=["--log-level=40"], start_timeout=600,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        where = "\n".join("    " + line for line in error.source.splitlines())
        message = f"{notebook.name} stopped in cell {error.exec_count}:\n{where}\n{error.ename}: {error.evalue}\n"
        raise NotebookFailed(f"{message}The executed copy, with the whole traceback: {copy}") from None


@contextlib.contextmanager
def _headless(log: Path) -> Iterator[None]:
    """The kernel's environment: where to note what it reads and writes, and that nobody watches a progress bar."""
    kept = dict(os.environ)
    os.environ.update(SKINSYN_ACCESS_LOG=str(log), **UNWATCHED)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _accessed(log: Path) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Digests of what the log says was read (and not also written) and written, by path."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    wrote = {paths.portable(path) for verb, path in lines if verb == "write"}
    read = {paths.portable(path) for verb, path in lines if verb == "read"} - wrote
    return {p: _digest(p) for p in sorted(read)}, {p: _digest(p) for p in sorted(wrote)}


def _run_one(profile: str, notebook: Path, values: dict[str, Any]) -> None:
    file = _stamp_file(profile, notebook.stem)
    file.unlink(missing_ok=True)
    needs = _needs(notebook, values)
    log = file.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with _headless(log):
        _execute(profile, notebook, values)
    reads, writes = _accessed(log)
    log.unlink(missing_ok=True)
    files.write_json(file, {**needs, "reads": reads, "writes": writes})


def run_one(profile: str, stem: str, values: dict[str, Any]) -> None:
    """Run one notebook of a run with these parameters, fresh or not. Raises NotebookFailed."""
    with _alone(profile):
        _run_one(profile, _notebook(stem), values)


def run(
    profile: str, only: list[str] | None = None, changed: dict[str, Any] | None = None, force: bool = False
) -> dict[str, float]:
    """Run the stale notebooks of a profile in order; returns notebook → seconds for those that ran.

    Raises params.ParameterError before any kernel starts, NotebookFailed where one fails (later ones do not run).
    """
    every = params.of_profile(profile, changed)
    seconds: dict[str, float] = {}
    with _alone(profile):
        for stem in choose(list(every), only or []):
            notebook = _notebook(stem)
            reason = "asked for" if force else stale(profile, notebook, every[stem])
            if not reason:
                print(f"{stem}: fresh", flush=True)
                continue
            print(f"{stem}: running, since {reason}", flush=True)
            begun = time.monotonic()
            _run_one(profile, notebook, every[stem])
            seconds[stem] = time.monotonic() - begun
            print(f"{stem}: done in {seconds[stem]:.0f} s", flush=True)
    return seconds


def stamps(profile: str) -> dict[str, dict[str, Any]]:
    """Notebook → its stamp (parameters, modules, pins, reads, writes), for those that ran to their end, in order.

    Raises FileNotFoundError where none did, ValueError where a stamp is damaged; both name the command that runs them.
    """
    found, folder = {}, paths.run_dir(profile) / "stamps"
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem] = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file} is damaged; make it again: python -m skinsyn run --profile {profile}") from error
    if not found:
        raise FileNotFoundError(
            f"no run {profile!r} in {folder.parent}; make it: python -m skinsyn run --profile {profile}"
        )
    return found


def figures(profile: str) -> list[tuple[str, str]]:
    """(file, notebook that made it or '') for every file that lies in the figures folder of a run, from the stamps."""
    made: dict[Path, str] = {}
    for stem, stamp in stamps(profile).items():
        made |= dict.fromkeys(map(paths.located, stamp["writes"]), stem)
    folder = paths.figures_dir(profile)
    return [(str(p.relative_to(folder)), made.get(p, "")) for p in sorted(folder.rglob("*")) if p.is_file()]
