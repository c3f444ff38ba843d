"""A number is found again in the row that holds it, and nowhere else; and its notebook's cell by its id."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinsyn.report import numbers, rows
from skinsyn.report.links import linked, mark, plain
from skinsyn.run import params

TESTS = pd.DataFrame(
    {
        "family": ["F0 claims", "F0 claims", "F1 malignancy"],
        "id": ["primary", "C4 transforms over synthetic alone", "malignancy, V-VI"],
        "estimate": [2.5, 2.5, np.nan],
        "low": [-1.0, 1.5, np.nan],
        "high": [6.0, 3.5, np.nan],
        "p": [0.25, 0.0625, np.nan],
        "p_adjusted": [0.5, 0.25, np.nan],
        "verdict": ["no difference shown", "gain", "not estimable"],
    }
)
FLOW = pd.DataFrame({"stage": ["rows of the data set", "test", "train"], "images": [40, 12, 12]})
SEEN = pd.DataFrame({"generator": ["real", "base"], "method": ["test", "text-to-image"], "recognised": [0.5, 0.25]})
LOADED = {"tests": TESTS, "flow": FLOW, "recognition": SEEN.assign(low=[0.25, 0.125], high=[0.75, 0.5])}


def found(name: str, made_by: str, *number) -> tuple | None:
    row = rows.find(LOADED, name, numbers.number(*number) | {"made_by": made_by})
    return row and (row.table, row.place, row.column)


@pytest.mark.parametrize(
    ("name", "made_by", "number", "place"),
    [
        ("F0.primary", "05_fairness_stats", (2.5, "points", -1.0, 6.0), ("tests", 0, "estimate")),
        ("F0.C4-transforms-over-synthetic-alone", "05_fairness_stats", (2.5, "", 1.5, 3.5), ("tests", 1, "estimate")),
        ("F0.primary.p", "05_fairness_stats", (0.25,), ("tests", 0, "p")),
        ("F0.C4-transforms-over-synthetic-alone.p_adjusted", "05_fairness_stats", (0.25,), ("tests", 1, "p_adjusted")),
        ("F1.malignancy.V-VI", "05_fairness_stats", (None,), ("tests", 2, "estimate")),
        ("F1.malignancy.V-VI.p_adjusted", "05_fairness_stats", (None,), ("tests", 2, "p_adjusted")),
        ("data.test", "01_data_prep", (12,), ("flow", 1, "images")),
        ("recognised.base", "03_generation", (0.25, "", 0.125, 0.5), ("recognition", 1, "recognised")),
        ("ledger.c1", "08_paper", (2.5, "points", -1.0, 6.0), ("tests", 0, "estimate")),
        # The value is there by chance, or in a row with other words, or with another interval: no row is claimed.
        ("recognised.chance", "03_generation", (0.25,), None),
        ("data.excluded", "01_data_prep", (12,), None),
        ("F0.primary", "05_fairness_stats", (2.5, "points", -1.0, 6.5), None),
        ("F0.primary", "05_fairness_stats", (np.nextafter(2.5, 3), "points", -1.0, 6.0), None),
        ("F0.elsewhere", "05_fairness_stats", (None,), None),
    ],
)
def test_the_row_of_a_number(name, made_by, number, place):
    assert found(name, made_by, *number) == place


def test_the_order_of_rows_and_tables_does_not_matter():
    turned = {name: frame[::-1].reset_index(drop=True) for name, frame in reversed(LOADED.items())}
    for name, *number in [("F0.primary", 2.5, "points", -1.0, 6.0), ("F0.primary.p", 0.25)]:
        given = numbers.number(*number) | {"made_by": "05_fairness_stats"}
        assert rows.find(turned, name, given).names == rows.find(LOADED, name, given).names == "F0 claims / primary"


@pytest.mark.parametrize(
    ("stem", "name", "contains"),
    [
        ("01_data_prep", "data.subset_overlap.8", 'f"data.subset_overlap.{n}"'),
        ("03_generation", "c6.paired", "cosine distance"),
        ("04_training_grid", "accuracy.real.n8", 'f"accuracy.{row.task}'),
        ("05_fairness_stats", "F0.primary", "for row in tests.to_dict"),
        ("05_fairness_stats", "F4.cell.annular.I-II.p_adjusted", "for row in tests.to_dict"),
        ("05_fairness_stats", "dose.ed90", '"dose.ed90"'),
        ("05_fairness_stats", "tests.not_run", '"tests.not_run"'),
        ("08_paper", "ledger.c1", "save_numbers"),
    ],
)
def test_the_cell_of_a_number(stem, name, contains):
    file = next(notebook for notebook in params.notebooks() if notebook.stem == stem)
    sources = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert contains in sources[rows.cell_of(stem, name) - 1]


def test_a_row_that_only_speaks_of_the_words_is_not_the_one_that_is_named_by_them():
    frame = pd.DataFrame(
        {
            "family": "F4 exploratory",
            "id": ["cell, plaque, V-VI", "condition, plaque"],
            "images": [0, 4],
            "estimate": [np.nan, 0.0],
            "verdict": ["condition not met", "not estimable"],
        }
    )
    given = numbers.number(0.0) | {"made_by": "05_fairness_stats"}
    row = rows.find({"tests": frame}, "F4.condition.plaque", given)
    assert (row.place, row.column) == (1, "estimate")


def test_no_notebook_no_cell():
    assert rows.cell_of("55_none", "x") is None


def test_the_cell_is_kept_with_the_number(project):
    file = project / "notebooks/01_first.ipynb"
    book = nbformat.read(file, as_version=4)
    book.cells[3].source += '\nnumbers.save(profile, "01_first", {"a.b": numbers.number(1)})'
    nbformat.write(book, file)
    numbers.save("tiny", "01_first", {"a.b": numbers.number(1), "other": numbers.number(2)})
    held = numbers.read("tiny")
    assert held["a.b"]["cell"] == held["other"]["cell"] == 3


words = st.text('ab<>&"{} é', max_size=6)


@given(st.lists(st.tuples(words, words.filter(bool), words), max_size=4), words)
def test_marks_never_change_what_is_read(parts, end):
    text = "".join(before + mark(name, shown) for before, name, shown in parts) + end
    assert plain(text) == "".join(before + shown for before, _, shown in parts) + end
    page = linked(text)
    assert page.count('<a class="number"') == len(parts) == page.count("</a>")


def test_a_hostile_id_stays_an_attribute():
    page = linked("x <b> " + mark('"><script>', "<i>") + " & y")
    assert page == 'x &lt;b&gt; <a class="number" href="#n-&#34;&gt;&lt;script&gt;">&lt;i&gt;</a> &amp; y'
