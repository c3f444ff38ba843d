"""The walkthrough: where one is, what to try, solutions that are folded; and a start page that `make paper` leaves
alone."""

import re
import shutil

import nbformat
import pytest

from skinsyn.run import params, paths, pipeline

ROOT = paths.project_root()
START = ROOT / "notebooks" / "00_start_here.ipynb"
STEMS = pipeline.choose([notebook.stem for notebook in params.notebooks()], [])  # without the benchmarks
NOTEBOOKS = [notebook for notebook in params.notebooks() if notebook.stem in STEMS]
CELLS = {book.stem: nbformat.read(book, as_version=4).cells for book in (START, *NOTEBOOKS)}


def the_map(stem: str) -> list[str]:
    """The places on a notebook's map, in order: file names, and `here` where one is."""
    line = next((line for line in CELLS[stem][0].source.splitlines() if line.startswith("Map: ")), "")
    return re.findall(r"\[[^\]]+\]\((\w+)\.ipynb\)|\*\*[^*]+(here)\)\*\*", line)


@pytest.mark.parametrize("stem", [START.stem, *STEMS])
def test_the_map_shows_every_notebook_and_where_one_is(stem):
    places = [file or here for file, here in the_map(stem)]
    expected = [START.stem, *STEMS]
    assert places == ["here" if name == stem else name for name in expected], (
        f"the line that begins with 'Map: ' in {stem} should name {expected} in this order, with itself in bold"
    )


@pytest.mark.parametrize("stem", STEMS)
def test_an_opening_says_what_goes_in_what_comes_out_and_how_long(stem):
    opening = CELLS[stem][0].source
    assert re.search(r"^\*\*[^*]+\?\*\*", opening, re.M), "what it answers is a question, in bold"
    for word in ("- **In**: ", "- **Out**: ", "- **Takes** "):
        assert word in opening


@pytest.mark.parametrize("stem", STEMS)
def test_exercises_change_a_real_parameter_and_solutions_are_folded(stem):
    asked, solved = CELLS[stem][-2:]
    assert asked.cell_type == solved.cell_type == "markdown" and asked.source.startswith("## Try it")
    exercises = re.findall(r"^\d\. (.+)", asked.source, re.M)
    assert len(exercises) in (2, 3) and "write down what you expect" in asked.source
    known = set(params.declared(ROOT / "notebooks" / f"{stem}.ipynb"))
    for exercise in exercises:
        assert known & set(re.findall(r"`(\w+)`", exercise)), f"no parameter of {stem} is changed: {exercise}"
        assert exercise.rstrip().endswith("?"), f"no prediction is asked for: {exercise}"
    assert "Solution" not in asked.source
    folded = re.findall(r"<details>\n<summary>Solution \d</summary>\n\n.+?\n\n</details>", solved.source, re.S)
    assert len(folded) == len(exercises) and solved.source == "\n\n".join(folded), "a solution lies open"


def test_the_start_page_is_clean_links_everything_and_runs_in_no_pipeline():
    book = nbformat.read(START, as_version=4)
    nbformat.validate(book)
    assert START not in params.notebooks()
    assert all(not c.outputs and c.execution_count is None for c in book.cells if c.cell_type == "code")
    words = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    assert {f"{stem}.ipynb" for stem in STEMS} <= set(re.findall(r"\((\w+\.ipynb)\)", words))
    assert "nothing about patients" in words
    assert "tables.save" not in "".join(c.source for c in book.cells)


def test_copies_that_jupyterlab_makes_are_left_alone(project):
    names = [notebook.name for notebook in params.notebooks()]
    for copy in ("01_first-Copy1.ipynb", "00_start.ipynb", "Untitled.ipynb"):
        shutil.copy(project / "notebooks/01_first.ipynb", project / "notebooks" / copy)
    assert [notebook.name for notebook in params.notebooks()] == names == ["01_first.ipynb", "02_second.ipynb"]


@pytest.mark.parametrize("notebook", [START, *NOTEBOOKS], ids=lambda notebook: notebook.stem)
def test_links_between_notebooks_lead_somewhere(notebook):
    for cell in CELLS[notebook.stem]:
        for name in re.findall(r"\]\((\w+\.ipynb)\)", cell.source):
            assert (ROOT / "notebooks" / name).exists(), f"{notebook.stem} links to {name}"
