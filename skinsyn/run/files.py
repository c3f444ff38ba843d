"""Files written whole or not at all, digests of what lies on disk, and the log of what a notebook read and wrote."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["atomic", "digest_file", "digest_tree", "log_access", "sweep", "sync", "write_json"]


def sync(path: Path) -> None:
    """Force a file or folder to disk, so that a rename after it never shows half of it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed onto it (after fsync) when the block ends without an error.

    >>> with tempfile.TemporaryDirectory() as place, atomic(Path(place) / "a.txt") as half:
    ...     _ = half.write_text("whole")
    ...     (Path(place) / "a.txt").exists()
    False
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{os.getpid()}-"  # the process, so that `sweep` can tell a killed one's
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> list[Path]:
    """Remove what `atomic` left below `folder` when its process was killed; returns the removed paths, sorted."""
    left = [
        path for path in sorted(folder.rglob(".*"))
        if (made := re.search(r"\.(\d+)-[a-z0-9_]{8}(\.[^.]*)?$", path.name)) and not psutil.pid_exists(int(made[1]))
    ]  # fmt: skip
    for path in left:
        path.unlink(missing_ok=True)
    return left


def write_json(path: Path, content: object) -> None:
    """Write JSON with sorted keys, atomically: the same content is the same bytes.

    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_json(Path(place) / "a.json", {"b": 1, "a": [2]})
    ...     json.loads((Path(place) / "a.json").read_text())
    {'a': [2], 'b': 1}
    """
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    >>> with tempfile.NamedTemporaryFile() as empty:
    ...     digest_file(Path(empty.name))[:16]
    'e3b0c44298fc1c14'
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_tree(folder: Path) -> str:
    """SHA-256 over relative names and contents of all files below a folder, in sorted order, in hex.

    >>> with tempfile.TemporaryDirectory() as empty:
    ...     digest_tree(Path(empty))[:16]
    'e3b0c44298fc1c14'
    """
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(folder).as_posix()}\0{digest_file(path)}\n".encode())
    return total.hexdigest()


def log_access(kind: str, path: Path) -> None:
    """Note that this notebook did `kind` ('read' or 'write') with a file or folder.

    The pipeline sets SKINSYN_ACCESS_LOG and takes the freshness of a notebook from it; elsewhere nothing is noted.
    """
    log = os.environ.get("SKINSYN_ACCESS_LOG")
    if log:
        with open(log, "a") as handle:
            handle.write(json.dumps([kind, str(path)]) + "\n")
