"""How every figure looks and is saved: one palette that colour-blind readers can use, and the same bytes every time."""

import functools
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..run import files, paths

__all__ = ["GREY", "PALETTE", "WIDTH", "canvas", "columns", "colours", "save", "styled"]

WIDTH = 6.7  # inches, the text width of the paper
# Okabe and Ito 2008, in an order whose neighbours differ in lightness as well.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
GREY = "#6b6b6b"
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "text.parse_math": False,  # a condition's name may hold a $; it is a name, not a formula
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.color": "#4a4a4a",
    "ytick.color": "#4a4a4a",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "skinsyn",
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the house style, whatever the caller's settings are."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return wrapped


def canvas(
    height: float, title: str, note: str = "", rows: int = 1, cols: int = 1, **kwargs
) -> tuple[Figure, list[Axes]]:
    """A figure of the paper's width [height in inches], its title, and a note in grey (e.g. that images are
    phantoms)."""
    lines = textwrap.wrap(title, 88)
    figure = Figure(figsize=(WIDTH, height + 0.16 * (len(lines) - 1)), layout="constrained")
    axes = figure.subplots(rows, cols, squeeze=False, **kwargs)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10, fontweight="bold")
    if note:
        figure.supxlabel(note, x=0.99, ha="right", fontsize=7.5, color=GREY, fontstyle="italic")
    return figure, list(axes.flat)


def columns(frame: pd.DataFrame, needed: Sequence[str], what: str) -> pd.DataFrame:
    """The frame, if it can be drawn. Raises ValueError where a column is missing or there is no row."""
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise ValueError(f"{what}: the table has no column {lacking[0]!r}; it has {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"{what}: the table has no rows")
    return frame


def colours(labels: Sequence) -> dict:
    """Label → colour, in the order of the labels; the palette repeats after eight."""
    return {label: PALETTE[number % len(PALETTE)] for number, label in enumerate(dict.fromkeys(labels))}


def save(profile: str, figure: Figure, stem: str) -> Path:
    """Save as figures/<profile>/<stem>.svg and .png; the same figure gives the same bytes. Returns the SVG's path.

    stem: '<NOTEBOOK>-what'. Raises ValueError for a stem that leaves the folder.
    """
    target = paths.inside(paths.figures_dir(profile), f"{stem}.svg")
    forms = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        for form, metadata in forms.items():
            path = target.with_suffix(f".{form}")
            with files.atomic(path) as temporary:
                figure.savefig(temporary, format=form, dpi=150, metadata=metadata)
            files.log_access("write", path)
    return target
