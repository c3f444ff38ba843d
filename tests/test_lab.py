"""A real JupyterLab, started by `make lab`, in a real browser: open, Run All, no error, tables and figures on the
page."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import papermill
import pytest
from browser import chromium, needs_browser, screenshot

from skinsyn.run import params, paths, pipeline

pytestmark = [pytest.mark.slow, needs_browser]
ROOT = paths.project_root()
STEMS = pipeline.choose([notebook.stem for notebook in params.notebooks()], [])
PATIENCE = 900  # seconds that a notebook may take, on a busy machine
# Whether a progress bar was ever on the page: it leaves when its work is done.
WATCH = """() => { window.bars = new Set(); new MutationObserver(() => {
  for (const bar of document.querySelectorAll('.widget-hprogress')) window.bars.add(bar.parentElement.textContent); })
  .observe(document.body, {childList: true, subtree: true, characterData: true}); }"""


class Lab:
    """A running JupyterLab: its address, the folder of its notebooks, and a page of the browser."""

    def __init__(self, folder: Path, home: Path, runs: Path, browser) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.folder = folder
        port = self.address.rpartition(":")[2]
        asked = f"--no-browser --allow-root --port={port} --ServerApp.port_retries=0 --ServerApp.token=t"
        # READY: this Python stands for .venv, whatever it is called, so that no test installs anything.
        words = [f"VENV={sys.prefix}", "READY=LICENSE", f"NOTEBOOKS={folder}", f"LAB={asked} --expose-app-in-browser"]
        own = {"HOME": str(home), "SKINSYN_RUNS": str(runs / "runs"), "SKINSYN_FIGURES": str(runs / "figures")}
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "SKINSYN_HEADLESS"))} | own
        environment["PYTHONPATH"] = str(ROOT)
        self.log = (home / "lab.log").open("w")
        self.process = subprocess.Popen(
            ["make", "--no-print-directory", "lab", *words], cwd=ROOT, env=environment, stdout=self.log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})

    def open(self, name: str = "") -> None:
        """Open a notebook, or the page that JupyterLab opens by itself."""
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/api/status?token=t", timeout=5).close()
                break
            except OSError:
                assert self.process.poll() is None, (Path(self.log.name)).read_text()
                assert time.monotonic() < deadline, "JupyterLab did not start"
                time.sleep(0.3)
        place = f"lab/tree/{name}?token=t&reset" if name else "?token=t"
        self.page.goto(f"{self.address}/{place}")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
        # Whoever runs a cell before the kernel is there is asked for one.
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
        news = self.page.locator(".Toastify").get_by_role("button", name="No", exact=True)
        if news.is_visible():  # JupyterLab asks once whether it may fetch its news
            news.click()

    def run_all(self, name: str) -> nbformat.NotebookNode:
        """Run > Run All Cells, as a person does; the notebook as saved when its last cell, or a failed one, is done."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(2)
            self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
            book = nbformat.read(self.folder / name, as_version=4)
            cells = [cell for cell in book.cells if cell.cell_type == "code"]
            if all(cell.execution_count for cell in cells) or any(errors(cell) for cell in cells):
                return book
        raise AssertionError(f"{name} was not done after {PATIENCE} s")

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


def errors(cell) -> list[str]:
    return [f"{out.ename}: {out.evalue}" for out in cell.outputs if out.output_type == "error"]


def pictures(cell) -> bool:
    return any("image/png" in out.get("data", {}) for out in cell.outputs)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def lab(tmp_path, browser):
    """Starts a JupyterLab on copies of the notebooks, in a home whose own kernel `python3` is broken."""
    started = []

    def start(runs: Path) -> Lab:
        decoy = tmp_path / "home/.local/share/jupyter/kernels/python3/kernel.json"
        decoy.parent.mkdir(parents=True)
        decoy.write_text(json.dumps({"argv": ["false"], "display_name": "Another Python", "language": "python"}))
        shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
        started.append(Lab(tmp_path / "notebooks", tmp_path / "home", runs, browser))
        return started[-1]

    yield start
    for one in started:
        one.page.close()
        one.stop()


def give_smoke(folder: Path) -> None:
    """The smoke profile's values in the notebooks' parameters cells, where a person would type them."""
    for notebook in params.notebooks():
        book = papermill.iorw.load_notebook_node(str(folder / notebook.name))
        book = papermill.parameterize.parameterize_notebook(book, params.for_notebook("smoke", notebook))
        nbformat.write(book, folder / notebook.name)


def test_make_lab_opens_the_start_page_and_01_runs_with_its_own_values(lab, tmp_path):
    here = lab(tmp_path)
    here.open()
    book = here.run_all("00_start_here.ipynb")
    assert not [e for c in book.cells if c.cell_type == "code" for e in errors(c)], "the right kernel has skinsyn"
    here.page.wait_for_selector(".jp-OutputArea-output img", timeout=30_000)
    here.page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0)")
    screenshot(here.page, "lab-00_start_here")
    here.open("01_data_prep.ipynb")
    here.page.evaluate(WATCH)
    book = here.run_all("01_data_prep.ipynb")
    assert not [e for c in book.cells if c.cell_type == "code" for e in errors(c)]
    assert params.for_notebook("demo", ROOT / "notebooks/01_data_prep.ipynb")["profile"] == "demo"
    assert (tmp_path / "runs/demo/tables/images.parquet").exists(), "it read and wrote the run that its parameters name"
    assert (tmp_path / "figures/demo/01_data_prep-counts.svg").exists()
    assert any("shards" in bar for bar in here.page.evaluate("() => [...window.bars]")), "no progress bar was seen"


def test_every_notebook_runs_on_what_the_others_made(lab, smoke, tmp_path):
    here = lab(smoke)
    give_smoke(here.folder)
    for stem in reversed(STEMS):  # in any order, once its inputs exist
        here.open(f"{stem}.ipynb")
        book = here.run_all(f"{stem}.ipynb")
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert not [e for c in code for e in errors(c)], f"{stem} failed in JupyterLab"
        tables = [
            out for c in code for out in c.outputs if "<table" in "".join(out.get("data", {}).get("text/html", ""))
        ]
        assert tables, f"{stem} shows no table"
        drawn = [number for number, cell in enumerate(book.cells) if cell.cell_type == "code" and pictures(cell)]
        if stem != "08_paper":  # which makes files
            assert drawn, f"{stem} shows no figure"
        for number in drawn[:1]:
            shown = here.page.locator(f'.jp-Cell[data-windowed-list-index="{number}"] .jp-OutputArea-output img').first
            shown.scroll_into_view_if_needed(timeout=30_000)
            assert shown.evaluate("image => image.complete && image.naturalWidth") > 300
            time.sleep(0.5)
        screenshot(here.page, f"lab-{stem}")


def test_a_notebook_without_inputs_names_what_makes_them(lab, tmp_path):
    here = lab(tmp_path / "empty")
    needs = {"05_fairness_stats": "04_training_grid", "03_generation": "01_data_prep", "02_dreambooth": "01_data_prep"}
    for stem, maker in needs.items():
        here.open(f"{stem}.ipynb")
        book = here.run_all(f"{stem}.ipynb")
        told = [e for c in book.cells if c.cell_type == "code" for e in errors(c)]
        assert len(told) == 1 and f"It is made by notebooks/{maker}.ipynb" in told[0], told
        here.page.get_by_text(f"notebooks/{maker}.ipynb").first.scroll_into_view_if_needed(timeout=30_000)
    screenshot(here.page, "lab-what-is-missing")
