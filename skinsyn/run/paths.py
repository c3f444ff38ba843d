"""Where things lie: the project's root, runs, figures, the store of kept units, and the user's data."""

import os
from pathlib import Path

__all__ = [
    "data_dir",
    "figures_dir",
    "figures_root",
    "inside",
    "located",
    "model_dir",
    "portable",
    "project_root",
    "resolve",
    "run_dir",
    "runs_dir",
    "store_dir",
]


def project_root() -> Path:
    """The folder that holds `pyproject.toml`, `params/` and `notebooks/`, whatever the working directory is."""
    return Path(__file__).resolve().parents[2]


def runs_dir() -> Path:
    """Folder of all runs; the environment variable SKINSYN_RUNS moves it (tests, a cluster's scratch disk)."""
    return Path(os.environ.get("SKINSYN_RUNS") or project_root() / "runs").resolve()


def run_dir(profile: str) -> Path:
    """Folder of one run: executed notebooks, tables, numbers, stamps."""
    return runs_dir() / profile


def store_dir() -> Path:
    """Folder of kept units, shared by all profiles."""
    return runs_dir() / "store"


def figures_root() -> Path:
    """Folder of what a reader looks at, of all runs; the environment variable SKINSYN_FIGURES moves it."""
    return Path(os.environ.get("SKINSYN_FIGURES") or project_root() / "figures").resolve()


def figures_dir(profile: str) -> Path:
    """Folder of what a reader looks at, of one run."""
    return figures_root() / profile


def portable(path: str | Path) -> str:
    """A path as it stands in a stamp: `runs/…` or `figures/…` wherever these folders lie, or below the project's root.

    `located` gives the path back, on this machine or where the run was copied to. Paths elsewhere stay as they are.
    """
    for name, root in (("runs", runs_dir()), ("figures", figures_root()), ("", project_root())):
        if Path(path).is_relative_to(root):
            short = (Path(name) / Path(path).relative_to(root)).as_posix()
            return short if located(short) == Path(path) else str(path)
    return str(path)


def located(name: str) -> Path:
    """Where the path of a stamp lies now (see `portable`)."""
    first, _, rest = name.partition("/")
    root = {"runs": runs_dir(), "figures": figures_root()}.get(first)
    return root / rest if root and rest else project_root() / name


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one is taken from the project's root, so that JupyterLab and papermill agree."""
    return (project_root() / Path(path).expanduser()).resolve()


def inside(root: Path, name: str | Path) -> Path:
    """The path `root/name`, refused with ValueError where it leaves `root` (`..`, absolute, or a link out)."""
    path, root = (Path(root) / name).resolve(), Path(root).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"{name}: lies outside its folder {root}; image paths must stay inside it")
    return path


def data_dir(name: str) -> Path:
    """The folder of a data set that the user brings, by name, e.g. `pad_ufes_20`, or by path.

    Looked for in `$SKINSYN_DATA/<name>`, `<project>/data/<name>`, `<project>/../shared/data/<name>`, then as a path.
    Raises FileNotFoundError naming every place.
    """
    places = [project_root() / "data" / name, project_root().parent / "shared" / "data" / name, resolve(name)]
    if os.environ.get("SKINSYN_DATA"):
        places.insert(0, Path(os.environ["SKINSYN_DATA"]).expanduser() / name)
    for place in places:
        if place.is_dir():
            return place.resolve()
    looked = "\n  ".join(map(str, places))
    raise FileNotFoundError(
        f"no data folder for {name!r}. Looked in:\n  {looked}\n"
        f"Put the data set in one of these, or set SKINSYN_DATA to the folder that holds {name}/ (README, section "
        "Data)."
    )


def model_dir(name: str) -> Path | None:
    """The folder of a model that the user brings, by name, e.g. `taesd`; None where there is none (it may be a hub id).

    Looked for in `$SKINSYN_MODELS/<name>`, `<project>/models/<name>`, `<project>/../shared/models/<name>`, then as a
    path.
    """
    places = [project_root() / "models" / name, project_root().parent / "shared" / "models" / name, resolve(name)]
    if os.environ.get("SKINSYN_MODELS"):
        places.insert(0, Path(os.environ["SKINSYN_MODELS"]).expanduser() / name)
    return next((place.resolve() for place in places if place.is_dir()), None)
