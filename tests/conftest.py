"""What tests share: a runs folder of their own, and a small project to run pipelines in."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from skinsyn.run import params, paths, pipeline

ROOT = paths.project_root()


@pytest.fixture(autouse=True)
def own_runs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's runs and figures."""
    place = tmp_path_factory.mktemp("runs")
    monkeypatch.setenv("SKINSYN_RUNS", str(place / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(place / "figures"))
    return place


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole smoke profile, run once for all of xdist's processes. Returns the folder of `runs` and `figures`."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    with FileLock(f"{place}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINSYN_RUNS", str(place / "runs"))
        patch.setenv("SKINSYN_FIGURES", str(place / "figures"))
        if not (place / "complete").exists():
            assert set(pipeline.run("smoke")) == set(pipeline.choose([book.stem for book in params.notebooks()], []))
            (place / "complete").touch()
    return place


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A project of two notebooks: 01 saves a table of `rows` rows, 02 sums it. Returns its folder."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    (tmp_path / "skinsyn").symlink_to(ROOT / "skinsyn")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    write_notebook(
        tmp_path / "notebooks/01_first.ipynb",
        'profile: str = "tiny"  # run\nrows: int = 3  # rows to make\nrate: float = 0.5  # a rate',
        "import pandas as pd\nfrom skinsyn.run import tables",
        'tables.save(profile, "numbers", pd.DataFrame({"n": range(rows)}), made_by="01_first", csv=True);',
    )
    write_notebook(
        tmp_path / "notebooks/02_second.ipynb",
        'profile: str = "tiny"  # run\nfactor: int = 2  # multiplies the sum',
        "import pandas as pd\nfrom skinsyn.run import tables",
        'total = int(tables.read(profile, "numbers", made_by="01_first").n.sum() * factor)\nassert factor != 13, '
        '"unlucky"',
        'tables.save(profile, "total", pd.DataFrame({"total": [total]}), made_by="02_second");',
    )
    for name, text in {"common": "profile: tiny", "01_first": "rate: 1"}.items():
        (tmp_path / "params/tiny").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"params/tiny/{name}.yml").write_text(text + "\n")
    return tmp_path


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the study's own notebooks and profiles, whose params/ and data/ a test may write."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    for name in ("notebooks", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    # A copy, so that kernels, too, take this folder for the project's root, and the test's own params with it.
    shutil.copytree(ROOT / "skinsyn", tmp_path / "skinsyn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("demo", "smoke", "pad_ufes_20", "fitzpatrick17k", "ddi"):
        shutil.copytree(ROOT / "params" / name, tmp_path / "params" / name)
    monkeypatch.setenv("SKINSYN_DATA", str(tmp_path / "data"))
    return tmp_path


def write_notebook(file: Path, parameters: str, *cells: str) -> None:
    """A notebook with a sentence of prose, a parameters cell and code cells."""
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    book = new_notebook(cells=[new_markdown_cell("Prose."), tagged, *map(new_code_cell, cells)])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, file)
