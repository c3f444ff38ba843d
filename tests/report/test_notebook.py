"""Tables in a notebook: escaped, rounded, the same each time, and really what IPython shows."""

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure

from skinsyn.report import notebook

FRAME = pd.DataFrame(
    {
        "id": ["<script>x</script>", None],
        "p_adjusted": [1e-9, np.nan],
        "images": [12345, 5],
        "estimate": [1.23456, np.nan],
        "verdict": ["gain", "not estimable"],
    }
)


def test_a_table_is_escaped_rounded_and_stable():
    text = notebook.table_html(FRAME)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert ">1.235<" in text and ">12,345<" in text and ">&lt; 0.001<" in text and ">–<" in text
    assert "nan" not in text and "1.23456" not in text
    assert "row_heading" not in text, "an index that only counts is left out"
    assert notebook.table_html(FRAME.copy()) == text


def test_an_index_with_a_meaning_stays():
    text = notebook.table_html(FRAME.assign(id=["a<b", "c"]).set_index("id"))
    assert "row_heading" in text and "a&lt;b" in text and "a<b" not in text


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"a": []}), pd.concat([FRAME, FRAME]), FRAME.set_axis(list("aabcd"), axis=1)]
)
def test_what_pandas_cannot_style_is_shown_all_the_same(frame):
    text = notebook.table_html(frame)
    assert "<table" in text and "<script" not in text and ("no rows" in text) == frame.empty


def test_a_long_table_says_how_long_it_is():
    text = notebook.table_html(pd.DataFrame({"n": range(1000)}))
    assert text.count("<tr>") < notebook.ROWS + 5 and f"{notebook.ROWS} of 1,000 rows" in text


@pytest.fixture
def shell():
    """An IPython of its own, gone after the test."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_ipython_shows_tables_and_figures_this_way(shell):
    notebook.show_in_notebooks()
    shell.display_formatter.active_types = ["text/html", "image/png"]
    assert shell.display_formatter.format(FRAME)[0]["text/html"] == notebook.table_html(FRAME)
    figure = Figure()
    figure.subplots()
    assert shell.display_formatter.format(figure)[0]["image/png"]
