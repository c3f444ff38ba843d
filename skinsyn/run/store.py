"""The store: units of work that are kept, each in `runs/store/<kind>/<key>/`, made once, whole or not at all.

A unit is a folder with a `manifest.json` that is written last, names every file with its size and SHA-256, and holds a
digest of its own content. The key is a digest of what decides the bytes: parameters, digests of inputs, torch threads,
pinned versions and the making module's RECIPE. Editing a comment remakes nothing; what changes the bytes must raise
RECIPE, and a test of the unit sees to it. Readers take a unit's folder from `folder`, which verifies it first.
"""

import importlib.metadata
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from . import files, paths, seeds

__all__ = ["content", "faults", "folder", "keep", "key_of", "manifest", "missing", "pins", "unit_dir"]

# Which notebook makes units of a kind, for whoever finds one missing.
MADE_BY = {
    "phantoms": "notebooks/01_data_prep.ipynb",
    "shard": "notebooks/01_data_prep.ipynb (real images) or notebooks/03_generation.ipynb (synthetic ones)",
    "base_model": "notebooks/02_dreambooth.ipynb",
    "generator": "notebooks/02_dreambooth.ipynb",
    "memmap": "notebooks/04_training_grid.ipynb",
    "features": "notebooks/03_generation.ipynb or notebooks/04_training_grid.ipynb",
    "cell": "notebooks/04_training_grid.ipynb",
    "looks": "notebooks/06_fidelity.ipynb",
}
# Files without which a unit of a kind cannot be read.
HOLDS = {
    "shard": ("images.tar", "rows.parquet"),
    "memmap": ("images.npy", "index.parquet"),
    "features": ("features.npy", "rows.parquet"),
    "cell": ("predictions.parquet",),
    "generator": ("losses.parquet",),
}
# Libraries whose version may change the bytes of a unit.
DECISIVE = ("torch", "torchvision", "diffusers", "transformers", "timm", "numpy", "pillow", "scikit-learn")


@cache
def pins() -> dict[str, str]:
    """Installed versions of the libraries that may change the bytes of a unit."""
    return {name: importlib.metadata.version(name) for name in DECISIVE}


def key_of(kind: str, recipe: int, parameters: Mapping, inputs: Mapping[str, str], threads: int) -> str:
    """The key (24 hex digits) of a unit.

    kind: the store's folder, e.g. 'generator'. recipe: the making module's RECIPE. parameters: JSON-able, all that the
    caller decides. inputs: name → digest or key of what the unit is made from. threads: torch threads that make it.

    >>> one = key_of("cell", 1, {"seed": 1}, {"body": "00"}, threads=1)
    >>> len(one), one == key_of("cell", 1, {"seed": 2}, {"body": "00"}, threads=1)
    (24, False)
    """
    return seeds.digest(kind, recipe, dict(parameters), dict(inputs), threads, pins())[:24]


def unit_dir(kind: str, key: str) -> Path:
    """Where the unit lies, whether or not it has been made, and unchecked: to read it, use `folder`."""
    return paths.store_dir() / kind / key


def manifest(kind: str, key: str) -> dict:
    """The manifest of a kept unit, checked; the unit's other files are not (see `folder`).

    Raises FileNotFoundError where the unit has not been made, ValueError where the manifest is damaged or that of
    another unit.
    """
    content, wrong = _read_manifest(kind, key)
    files.log_access("read", unit_dir(kind, key) / "manifest.json")
    if not unit_dir(kind, key).exists():
        raise FileNotFoundError(f"the unit {kind}/{key} is not in the store {paths.store_dir()}.\n{_how_made(kind)}")
    if wrong:
        raise ValueError(_damaged(kind, key, wrong))
    return content


def folder(kind: str, key: str) -> Path:
    """The folder of a kept unit, for reading: its manifest and the SHA-256 of every file were checked by this process.

    A second call costs a `stat` per file as long as nothing changes. Raises as `manifest` does, and ValueError where a
    file is damaged, missing or not listed; each error names the command that makes the unit (again).
    """
    manifest(kind, key)
    if wrong := faults(kind, key):
        raise ValueError(_damaged(kind, key, wrong))
    return unit_dir(kind, key)


def content(kind: str, key: str) -> str:
    """A digest (24 hex digits) of the bytes that a kept unit holds: names, sizes and SHA-256 of its files.

    Raises as `manifest` does.
    """
    return seeds.digest(manifest(kind, key)["files"])[:24]


def _how_made(kind: str) -> str:
    maker = MADE_BY.get(kind, "the notebook that names it")
    calls = [f"python -m skinsyn run --force --only {digits}" for digits in re.findall(r"notebooks/(\d\d)_", maker)]
    call = f" ({' or '.join(calls)})" if calls else ""
    return f"It is made by {maker}. Run that again{call}: what is still kept is used."


def _damaged(kind: str, key: str, wrong: list[str]) -> str:
    where = unit_dir(kind, key)
    return f"the unit {kind}/{key} is damaged: {where} ({'; '.join(wrong)}).\n{_how_made(kind)}"


def _seal(content: Mapping) -> str:
    """The digest that a manifest holds of its own content."""
    return seeds.digest({name: value for name, value in content.items() if name != "digest"})


def _read_manifest(kind: str, key: str) -> tuple[dict, list[str]]:
    """(the manifest of a unit, what is wrong with it): ({}, …) where it cannot be read."""
    try:
        content = json.loads((unit_dir(kind, key) / "manifest.json").read_text())
    except FileNotFoundError:
        return {}, ["no manifest"]
    except ValueError:
        return {}, ["manifest.json is damaged"]
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict) or not content["files"]:
        return {}, ["manifest.json is damaged: it lists no files"]
    if content.get("digest") != _seal(content):
        return {}, ["manifest.json is damaged: its content does not have the digest that it holds"]
    if (content["kind"], content["key"]) != (kind, key):
        return {}, [f"manifest.json is that of another unit, {content['kind']}/{content['key']}"]
    return content, []


# Folder → state of its files when this process found the unit intact.
_intact: dict[Path, tuple] = {}


def _state(where: Path) -> tuple:
    """What changes when a file below a folder is written, replaced, added or removed."""
    every = [(path, path.stat()) for path in sorted(where.rglob("*")) if path.is_file()]
    return tuple((str(path), s.st_ino, s.st_size, s.st_mtime_ns) for path, s in every)


def faults(kind: str, key: str) -> list[str]:
    """What is wrong with a unit on disk, one line per fault: [] is intact.

    Hashes every byte, once per process as long as names, inodes, sizes and times of the files stay as they are.
    """
    where = unit_dir(kind, key)
    state = _state(where)
    if state and _intact.get(where) == state:
        return []
    content, wrong = _read_manifest(kind, key)
    if wrong:
        return wrong
    listed = content["files"]
    for name, expected in listed.items():
        file = where / name
        if not file.is_file():
            wrong.append(f"{name} is missing")
        elif file.stat().st_size != expected["bytes"] or files.digest_file(file) != expected["sha256"]:
            wrong.append(f"{name} does not have the bytes that the manifest names")
    wrong += [f"{name} is not listed in the manifest" for name in HOLDS.get(kind, ()) if name not in listed]
    # Hidden files are what file managers and network disks leave.
    present = {Path(name).relative_to(where).as_posix() for name, *_ in state if not Path(name).name.startswith(".")}
    wrong += [f"{name} is not listed in the manifest" for name in sorted(present - {*listed, "manifest.json"})]
    if not wrong:
        _intact[where] = state
    return wrong


def missing(kind: str, key: str) -> bool:
    """True where the unit must be made (again). A damaged one is set aside, never deleted, and the fault is printed.

    Who asks is the maker: a unit that is there counts as written by the notebook.
    """
    where = unit_dir(kind, key)
    if not where.exists():
        return True
    wrong = faults(kind, key)
    if not wrong:
        files.log_access("write", where / "manifest.json")
        return False
    number = 0
    while (aside := where.with_name(f"{where.name}.damaged-{number}")).exists():
        number += 1
    where.rename(aside)
    print(f"store: {kind}/{key} is damaged ({'; '.join(wrong)}); set aside as {aside.name} and made again", flush=True)
    return True


def keep(kind: str, key: str, make: Callable[[Path], dict | None], about: Mapping | None = None) -> Path:
    """The unit's folder, made by `make(folder)` where it is missing.

    make: writes its files into the folder it is given and may return a JSON-able dict, the manifest's 'result'.
    about: JSON-able; kept in the manifest as 'about' (parameters, inputs), for people and for audits.
    Killed at any moment, the unit is absent or whole. Two makers at once: the first to finish is kept.
    """
    where = unit_dir(kind, key)
    if not missing(kind, key):
        return where
    where.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=where.parent))
    try:
        result = make(work)
        made = sorted(p for p in work.rglob("*") if p.is_file())
        listed = {}
        for path in made:
            files.sync(path)
            name = path.relative_to(work).as_posix()
            listed[name] = {"bytes": path.stat().st_size, "sha256": files.digest_file(path)}
        if not listed or not set(HOLDS.get(kind, ())) <= set(listed):
            needed = ", ".join(HOLDS.get(kind, ())) or "at least one file"
            raise ValueError(f"{kind}/{key}: its maker wrote {sorted(listed)}, expected {needed}")
        content = {
            "kind": kind,
            "key": key,
            "about": dict(about or {}),
            "files": listed,
            "pins": pins(),
            "result": result,
        }
        files.write_json(work / "manifest.json", {**content, "digest": _seal(content)})
        work.chmod(0o755)
        try:
            work.rename(where)
        except OSError:
            if missing(kind, key):
                raise
        files.sync(where.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    files.log_access("write", where / "manifest.json")
    return where
