"""Figures of the open questions: the optimal ratio with its interval, and the gain by number of training images."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .style import GREY, PALETTE, canvas, colours, columns, intervals, legend, styled, zero

__all__ = ["gain_by_own_images", "optimal_ratio"]


@styled
def optimal_ratio(
    frame: pd.DataFrame, title: str = "Ratio of synthetic to real images with the highest accuracy", note: str = ""
) -> Figure:
    """One line per series and condition. Columns: id, best, low, high (ratios), top (bool: an arrow, the interval is
    open)."""
    columns(frame, ("id", "best", "low", "high", "top"), "optimal_ratio")
    figure, (ax,) = canvas(0.75 + 0.21 * len(frame), title, note)
    for y, row in enumerate(frame.to_dict("records")):
        x, low, high = (np.log2(1 + row[key]) for key in ("best", "low", "high"))
        if np.isfinite(low):
            ax.hlines(y, low, high, color=PALETTE[0], linewidth=1.5)
        if row["top"]:
            arrow = {"arrowstyle": "->", "color": PALETTE[0], "linewidth": 1.5}
            ax.annotate("", (high + 0.35, y), (high, y), arrowprops=arrow)
        ax.plot(x, y, "o", color=PALETTE[0] if np.isfinite(low) else GREY, zorder=3)
    ticks = sorted({*frame["best"], *frame["low"].dropna(), *frame["high"].dropna()})
    ax.set_xticks([np.log2(1 + x) for x in ticks], [f"{x:g}" for x in ticks])
    ax.set_yticks(range(len(frame)), frame["id"], fontsize=7.5)
    xlabel = "synthetic images per real image (arrow: larger ratios were not tested)"
    ax.set(ylim=(len(frame) - 0.4, -0.6), xlabel=xlabel)
    ax.grid(axis="y", visible=False)
    return figure


@styled
def gain_by_own_images(
    frame: pd.DataFrame, title: str = "Gain by number of training images of the class", note: str = ""
) -> Figure:
    """One panel each for conditions and cells. Columns: over, condition, own (images), estimate, low, high (points)."""
    columns(frame, ("over", "condition", "own", "estimate", "low", "high"), "gain_by_own_images")
    panels = list(dict.fromkeys(frame["over"]))
    figure, axes = canvas(3.1, title, note, cols=len(panels), sharey=True)
    shade = colours(sorted(frame["condition"].unique()))
    for ax, over in zip(axes, panels, strict=True):
        part = frame[frame["over"] == over].reset_index(drop=True)
        # A small step aside within equal counts, so that intervals do not hide each other.
        rank, size = part.groupby("own").cumcount(), part.groupby("own")["own"].transform("size")
        step = 0.7 * np.diff(np.unique(part["own"])).min() if part["own"].nunique() > 1 else 0.7
        places = part["own"] + step * ((rank + 0.5) / size - 0.5)
        for condition, rows in part.groupby("condition", sort=True):
            intervals(ax, places[rows.index], rows, "estimate", shade[condition], str(condition))
        zero(ax.axhline)
        ax.set_xticks(sorted(part["own"].unique()))
        ax.set(title=over, xlabel="training images of the class")
    axes[0].set_ylabel("gain, percentage points")
    legend(figure, ncols=5)
    return figure
