"""The store: units of work that are kept, each in `runs/store/<kind>/<key>/`, made once, whole or not at all.

A unit is a folder with a `manifest.json` that is written last and names every file with its size and SHA-256. The key is
a digest of what decides the bytes: parameters, digests of inputs, torch threads, pinned versions and the making module's
RECIPE. Editing a comment remakes nothing; what changes the bytes must raise RECIPE, and a test of the unit sees to it.
"""

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from . import files, paths, seeds

__all__ = ["key_of", "keep", "manifest", "missing", "pins", "unit_dir"]

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
    """
    return seeds.digest(kind, recipe, dict(parameters), dict(inputs), threads, pins())[:24]


def unit_dir(kind: str, key: str) -> Path:
    """Where the unit lies, whether or not it has been made."""
    return paths.store_dir() / kind / key


def manifest(kind: str, key: str) -> dict:
    """The manifest of a kept unit. Raises FileNotFoundError where it has not been made."""
    file = unit_dir(kind, key) / "manifest.json"
    if not file.exists():
        maker = MADE_BY.get(kind, "the notebook that names it")
        raise FileNotFoundError(
            f"the unit {kind}/{key} is not in the store {paths.store_dir()}.\nIt is made by {maker}."
            " Run that again (python -m skinsyn run --force --only and its two digits): what is still kept is used."
        )
    return json.loads(file.read_text())


def faults(kind: str, key: str) -> list[str]:
    """What is wrong with a unit on disk, a line each: [] is intact. Reads every byte (SHA-256)."""
    folder = unit_dir(kind, key)
    try:
        listed = json.loads((folder / "manifest.json").read_text())["files"]
    except FileNotFoundError:
        return ["no manifest"]
    except (ValueError, KeyError, TypeError):
        return ["manifest.json is damaged"]
    found = []
    for name, expected in listed.items():
        file = folder / name
        if not file.is_file():
            found.append(f"{name} is missing")
        elif file.stat().st_size != expected["bytes"] or files.digest_file(file) != expected["sha256"]:
            found.append(f"{name} does not have the bytes that the manifest names")
    return found


def missing(kind: str, key: str) -> bool:
    """True where the unit must be made (again). A damaged one is set aside, never deleted, and said aloud."""
    folder = unit_dir(kind, key)
    if not folder.exists():
        return True
    wrong = faults(kind, key)
    if not wrong:
        return False
    number = 0
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    folder.rename(aside)
    print(f"store: {kind}/{key} is damaged ({'; '.join(wrong)}); set aside as {aside.name} and made again", flush=True)
    return True


def keep(kind: str, key: str, make: Callable[[Path], dict | None], about: Mapping | None = None) -> Path:
    """The unit's folder, made by `make(folder)` where it is missing.

    make: writes its files into the folder it is given and may return a JSON-able dict, kept in the manifest as 'result'.
    about: JSON-able; kept in the manifest as 'about' (parameters, inputs), for people and for audits.
    Killed at any moment, the unit is absent or whole. Two makers at once: the first to finish is kept.
    """
    folder = unit_dir(kind, key)
    if not missing(kind, key):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=folder.parent))
    try:
        result = make(work)
        made = sorted(p for p in work.rglob("*") if p.is_file())
        listed = {}
        for path in made:
            files.sync(path)
            name = path.relative_to(work).as_posix()
            listed[name] = {"bytes": path.stat().st_size, "sha256": files.digest_file(path)}
        content = {
            "kind": kind,
            "key": key,
            "about": dict(about or {}),
            "files": listed,
            "pins": pins(),
            "result": result,
        }
        files.write_json(work / "manifest.json", content)
        work.chmod(0o755)
        try:
            work.rename(folder)
        except OSError:
            if missing(kind, key):
                raise
        files.sync(folder.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder
