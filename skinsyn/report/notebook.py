"""How tables and figures look in a notebook: registered once, when skinsyn.report is imported under IPython."""

import html
import sys
import zlib
from numbers import Integral

import pandas as pd

from .numbers import show_p

__all__ = ["show_in_notebooks", "table_html"]

ROWS = 40  # of a longer table, its beginning is shown; the whole of it lies on disk
P_VALUES = ("p", "p_adjusted")


def show_in_notebooks() -> None:
    """Let a notebook show a Figure that is the last line of a cell (without pyplot, nothing has told it how), and
    tables."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"retina"})
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, table_html)


def table_html(frame: pd.DataFrame) -> str:
    """A table for people: every word escaped, three decimals, no p of zero, a dash where there is nothing, verdicts
    bold.

    An index that only counts is left out. The same table gives the same HTML.
    """
    if frame.empty or not (frame.index.is_unique and frame.columns.is_unique):  # which pandas cannot style
        return frame.to_html(max_rows=ROWS, float_format="{:.3f}".format, na_rep="–") + (
            "<p>no rows</p>" if frame.empty else ""
        )
    special = {name: _p for name in frame.columns if name in P_VALUES and pd.api.types.is_float_dtype(frame[name])}
    style = frame.style.format(precision=3, thousands=",", na_rep="–", escape="html")
    style = style.format(special, subset=list(special)) if special else style
    style = style.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    if frame.index.nlevels == 1 and frame.index.name is None and all(isinstance(i, Integral) for i in frame.index):
        style = style.hide(axis="index")
    if "verdict" in frame.columns:
        style = style.map(lambda _: "font-weight: 600", subset=["verdict"])
    words = list(frame.select_dtypes(exclude=["number", "bool"]).columns)
    style = style.set_properties(subset=words, **{"text-align": "left", "white-space": "normal", "max-width": "28em"})
    name = f"t{zlib.crc32(frame.to_csv().encode()):08x}"
    text = style.to_html(table_uuid=name, max_rows=ROWS, sparse_index=False)
    more = f"<p>{ROWS} of {len(frame):,} rows</p>" if len(frame) > ROWS else ""
    return f'<div style="overflow-x: auto">{text}{more}</div>'


def _p(value: float) -> str:
    return "–" if pd.isna(value) else html.escape(show_p(value))
