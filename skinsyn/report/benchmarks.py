"""What 09_benchmarks measured: its figure, and the table that notebooks show from figures/demo."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..run import files, paths
from .style import GREY, PALETTE, canvas, columns, styled

__all__ = ["ratios", "simulation"]


def simulation() -> pd.DataFrame | None:
    """How the primary test did on simulated studies (columns of stats.simulation.row); None where it was not run."""
    file = paths.project_root() / "figures" / "demo" / "09_benchmarks-simulation.csv"
    files.log_access("read", file)
    return pd.read_csv(file) if file.exists() else None


@styled
def ratios(frame: pd.DataFrame, title: str = "How many times as good as the peer", note: str = "") -> Figure:
    """A bar a row on a logarithmic axis, from 1, with its goal as a line. Columns: work, ratio, goal (NaN where none)."""
    columns(frame, ("work", "ratio", "goal"), "ratios")
    figure, (ax,) = canvas(0.9 + 0.3 * len(frame), title, note)
    for place, row in enumerate(frame.itertuples()):
        reached = not row.ratio < row.goal
        ax.barh(place, row.ratio - 1, left=1, color=PALETTE[0] if reached else PALETTE[1], height=0.6)
        ax.plot([row.goal] * 2, [place - 0.42, place + 0.42], color="black", linewidth=1.6)
        end = (np.nanmax([row.ratio, row.goal, 1]), place)
        ax.annotate(f"{row.ratio:.2f}", end, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.axvline(1, color=GREY, linewidth=0.8)
    ax.set(xscale="log", xlabel="ratio (above 1: ours is better; black line: the goal; orange: not reached)")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(min(0.5, 0.8 * frame["ratio"].min()), 1.6 * max(frame["ratio"].max(), frame["goal"].max()))
    ax.set_yticks(range(len(frame)), frame["work"])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return figure
