"""The table of benchmarks, figures/<profile>/09_benchmarks-ratios.csv, and its figure."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from skinsyn.report.style import GREY, PALETTE, canvas, columns, styled
from skinsyn.run import files, paths

__all__ = ["figure", "row", "save"]

COLUMNS = ("work", "unit", "ours", "peer", "ratio", "goal", "note")


def row(
    work: str, unit: str, ours: float, peer: float, goal: float | None = None, note: str = "", better: str = "less"
) -> dict:
    """One row of the benchmark table: ratio > 1 says that ours is better than the peer.

    work: what was timed, one row each. better: 'less' (seconds, bytes: ratio = peer / ours) or 'more' (images per
    second, coverage: ratio = ours / peer). goal: the ratio to reach. Raises ValueError where a measure is not above 0.
    """
    if better not in ("less", "more"):
        raise ValueError(f"{work}: better={better!r}, expected 'less' or 'more'")
    ours, peer = float(ours), float(peer)
    if not (0 < ours < math.inf and 0 < peer < math.inf):
        raise ValueError(f"{work}: ours={ours} and peer={peer} must be above 0 and finite")
    ratio = peer / ours if better == "less" else ours / peer
    return {"work": work, "unit": unit, "ours": ours, "peer": peer, "ratio": ratio, "goal": goal, "note": note}


def save(rows: Sequence[Mapping] = (), profile: str = "demo") -> Path:
    """Put rows of `row` into figures/<profile>/09_benchmarks-ratios.csv, in place of those of the same `work`.

    The rows of other works stand as they are; without rows, a file with the header alone. Sorted by work.
    """
    path = paths.figures_dir(profile) / "09_benchmarks-ratios.csv"
    old = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame(columns=COLUMNS)
    if list(old.columns) != list(COLUMNS):
        raise ValueError(f"{path}: columns {list(old.columns)}, expected {list(COLUMNS)}; move the file away")
    new = pd.DataFrame([_checked(row) for row in rows], columns=COLUMNS)
    if new["work"].duplicated().any():
        raise ValueError(f"{path.name}: the work {new['work'][new['work'].duplicated()].iloc[0]!r} is given twice")
    kept = pd.concat([old[~old["work"].isin(new["work"])], new]).sort_values("work")
    with files.atomic(path) as temporary:
        kept.to_csv(temporary, index=False, lineterminator="\n")
    files.log_access("write", path)
    return path


def _checked(row: Mapping) -> dict[str, str]:
    """A row as text, numbers with six significant digits."""
    if set(row) != set(COLUMNS):
        raise ValueError(f"a row of benchmarks has {sorted(row)}, expected {sorted(COLUMNS)}; make it with ratios.row")
    return {key: "" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for key, v in row.items()}


@styled
def figure(frame: pd.DataFrame, title: str = "How many times as good as the peer", note: str = "") -> Figure:
    """One bar per row on a logarithmic axis, from 1, with its goal as a line. Columns: work, ratio, goal (NaN where
    none)."""
    columns(frame, ("work", "ratio", "goal"), "ratios")
    drawn, (ax,) = canvas(0.9 + 0.3 * len(frame), title, note)
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
    return drawn
