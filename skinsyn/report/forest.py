"""The forest plot: one line per hypothesis."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .numbers import equals_p
from .style import BESIDE, GREY, PALETTE, canvas, columns, styled, zero

__all__ = ["forest"]


@styled
def forest(
    frame: pd.DataFrame, title: str = "", note: str = "", xlabel: str = "percentage points", level: float = 0.95
) -> Figure:
    """One line per hypothesis. Columns: id, estimate, low, high (points); optional: family, p_adjusted, verdict,
    low_simultaneous, high_simultaneous (a thin line), alternative, upper_bound, margin.

    level: of the intervals; a mark is filled where the adjusted p is at most 1 - level, which the axis says where there
    is such a p. A one-sided test (alternative "less") has a hollow square and its bound, against the margin. A row
    without interval shows its verdict in words. title: '' says what is drawn, with the level.
    """
    columns(frame, ("id", "estimate", "low", "high"), "forest")
    title = title or f"Gains with {100 * level:g} % intervals, in percentage points"
    if "p_adjusted" in frame.columns:
        xlabel += f" (filled mark: adjusted p at most {1 - level:g})"
    if "alternative" in frame.columns and frame["alternative"].eq("less").any():
        xlabel += "\nsquare and bracket: one-sided test, from the estimate to its upper bound; tick: the margin"
    if "low_simultaneous" in frame.columns and frame["low_simultaneous"].notna().any():
        xlabel += "\nthin line: simultaneous interval (Bonferroni-t)"
    lines: list[tuple[str, pd.Series | None]] = []
    for family, members in frame.groupby("family", sort=False) if "family" in frame.columns else [("", frame)]:
        lines += [(str(family), None)] if family else []
        lines += [(str(row["id"]), row) for _, row in members.iterrows()]
    figure, (ax,) = canvas(0.75 + 0.21 * len(lines), title, note)
    for y, (name, row) in enumerate(lines):
        if row is not None:
            _forest_row(ax, y, row, 1 - level)
            continue
        ax.annotate(
            name, (0, y), xycoords=("axes fraction", "data"), xytext=(-6, 0), ha="right", fontweight="bold",
            fontsize=8, color="#222222", **BESIDE,
        )  # fmt: skip
    zero(ax.axvline)
    labels = {y: name for y, (name, row) in enumerate(lines) if row is not None}
    ax.set_yticks(list(labels), list(labels.values()), fontsize=7.5)
    ax.set(ylim=(len(lines) - 0.4, -0.6), xlabel=xlabel)
    ax.grid(axis="y", visible=False)
    return figure


def _forest_row(ax: Axes, y: int, row: pd.Series, alpha: float) -> None:
    """Mark, interval and adjusted p of one hypothesis; words where it was not estimated."""
    p = row.get("p_adjusted", np.nan)
    sure = np.isfinite(p) and p <= alpha
    one_sided = row.get("alternative", "") == "less" and np.isfinite(row["low"])
    if one_sided:
        _one_sided(ax, y, row)
    elif np.isfinite(row["estimate"]):
        colour = PALETTE[0] if np.isfinite(row["low"]) else GREY
        ax.plot(row["estimate"], y, "o", color=colour, markerfacecolor=colour if sure else "white", zorder=3)
    if np.isfinite(row["low"]) and not one_sided:
        ax.hlines(y, row["low"], row["high"], color=PALETTE[0], linewidth=1.5, zorder=2)
    if np.isfinite(row.get("low_simultaneous", np.nan)):
        ax.hlines(y, row["low_simultaneous"], row["high_simultaneous"], color=PALETTE[0], linewidth=0.7, zorder=1)
    text = f"p {equals_p(p)}" if np.isfinite(p) else str(row.get("verdict", "") or "not estimable")
    text = f"one-sided {text}" if one_sided else text
    colour = "#222222" if sure else GREY
    ax.annotate(text, (1, y), xycoords=("axes fraction", "data"), xytext=(4, 0), fontsize=7, color=colour, **BESIDE)


def _one_sided(ax: Axes, y: int, row: pd.Series) -> None:
    """A test of "the gain is below the margin": never a filled mark, which would read as a gain."""
    ax.annotate(
        "",
        (row["upper_bound"], y),
        (row["estimate"], y),
        arrowprops={"arrowstyle": "-[, widthB=0.3", "color": PALETTE[1]},
    )
    ax.plot([row["estimate"], row["upper_bound"]], [y, y], color=PALETTE[1], linewidth=1.5, zorder=2)
    ax.plot(row["estimate"], y, "s", color=PALETTE[1], markerfacecolor="white", zorder=3)
    ax.plot(row["margin"], y, "|", color="#222222", markersize=9, markeredgewidth=1.5, zorder=3)
