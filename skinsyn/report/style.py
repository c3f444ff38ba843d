"""How every figure looks and is saved: one palette that colour-blind readers can use, and the same bytes every time."""

import functools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..run import files, paths
from ..stats.predictions import natural

__all__ = [
    "GREY",
    "PALETTE",
    "WIDTH",
    "canvas",
    "colours",
    "columns",
    "dodge",
    "in_order",
    "intervals",
    "legend",
    "log_ticks",
    "percent",
    "save",
    "styled",
    "zero",
]

WIDTH = 6.7  # inches, the text width of the paper
# Okabe and Ito 2008, in an order whose neighbours differ in lightness as well.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
GREY, PALE = "#6b6b6b", "#bdbdbd"
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center"}  # a text beside a mark
STYLE = Path(__file__).parents[1] / "assets" / "figures.mplstyle"
GROUPS = ("all", "I-II", "III-IV", "V-VI", "unknown")


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the house style, whatever the caller's settings are."""

    @functools.wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Figure:
        with mpl.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return wrapped


def canvas(
    height: float, title: str, note: str = "", rows: int = 1, cols: int = 1, **kwargs: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of the paper's width [height in inches], its title, and a note in grey (e.g. that images are phantoms).

    Axes beyond those that are drawn on may be left over in a grid: hide them.
    """
    lines = textwrap.wrap(title, 88)
    figure = Figure(figsize=(WIDTH, height + 0.16 * (len(lines) - 1)), layout="constrained")
    axes = figure.subplots(rows, cols, squeeze=False, **kwargs)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10, fontweight="bold")
    if note:
        figure.supxlabel(note, x=0.99, ha="right", fontsize=7.5, color=GREY, fontstyle="italic")
    return figure, list(axes.flat)


def columns(frame: pd.DataFrame, needed: Sequence[str], what: str) -> None:
    """Raises ValueError where a table cannot be drawn: a column is missing, or there is no row."""
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise ValueError(f"{what}: the table has no column {lacking[0]!r}; it has {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"{what}: the table has no rows")


def colours(labels: Iterable) -> dict[Any, str]:
    """Label → colour, in the order of the labels; the palette repeats after eight."""
    return {label: PALETTE[number % len(PALETTE)] for number, label in enumerate(dict.fromkeys(labels))}


def in_order(names: Iterable, first: Sequence[str] = GROUPS) -> list:
    """Distinct names, those of `first` in its order, then the others by name, `unknown` last.

    >>> in_order(["unknown", "V-VI", "I-II", "V-VI"]), in_order(["unknown", "light", "all", "dark"])
    (['I-II', 'V-VI', 'unknown'], ['all', 'dark', 'light', 'unknown'])
    """

    def place(name: Any) -> tuple:
        return name == "unknown", first.index(name) if name in first else len(first), natural(str(name))

    return sorted(set(names), key=place)


def dodge(number: int, total: int, width: float) -> float:
    """How far series `number` (from 0) of `total` stands beside its place on the axis."""
    return width * ((number + 0.5) / total - 0.5)


def intervals(ax: Axes, x: Any, rows: pd.DataFrame | Mapping, value: str, colour: str, label: str = "") -> None:
    """Estimates as dots with their intervals as bars. rows: `value`, low, high."""
    ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=1.4)
    ax.plot(x, rows[value], "o", color=colour, label=label or None, zorder=3)


def legend(figure: Figure, ncols: int = 2, **options: Any) -> None:
    """One legend for all axes of a figure, each label once, below them unless `loc` says otherwise."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        layout: dict[str, Any] = {
            "loc": "outside lower center",
            "ncols": min(ncols, len(handles)),
            "fontsize": 7.5,
        } | options
        figure.legend(list(handles.values()), list(handles), **layout)


def log_ticks(ax: Axes, values: Iterable[float]) -> None:
    """A logarithmic x axis with a tick at each value, written as a number."""
    ax.set_xscale("log", base=2)
    ticks = sorted(set(values))
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


def percent(*axis: Axis, unit: float = 1) -> None:
    """Ticks in per cent. unit: 1 where values are proportions, 100 where they are in per cent."""
    for one in axis:
        one.set_major_formatter(PercentFormatter(unit, 0))


def zero(draw: Callable[..., Any]) -> None:
    """The line of no difference; draw: `axvline` or `axhline` of the axes."""
    draw(0, color="#444444", linewidth=0.9, zorder=1)


def save(profile: str, figure: Figure, stem: str) -> Path:
    """Save as figures/<profile>/<stem>.svg and .png; the same figure gives the same bytes. Returns the SVG's path.

    stem: '<NOTEBOOK>-what'. Raises ValueError for a stem that leaves the folder.
    """
    target = paths.inside(paths.figures_dir(profile), f"{stem}.svg")
    forms: dict[str, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    with mpl.style.context(STYLE, after_reset=True):
        for form, metadata in forms.items():
            path = target.with_suffix(f".{form}")
            with files.atomic(path) as temporary:
                figure.savefig(temporary, format=form, dpi=150, metadata=metadata)
            files.log_access("write", path)
    return target
