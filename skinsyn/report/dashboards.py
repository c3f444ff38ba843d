"""Figures of the statistics: metrics by group, calibration, minimum detectable gains, and gains of small cells."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import (
    GREY,
    PALETTE,
    canvas,
    colours,
    columns,
    dodge,
    in_order,
    intervals,
    legend,
    log_ticks,
    percent,
    styled,
    zero,
)

__all__ = ["bounds", "calibration", "group_metrics", "power", "reliability", "shrunken_gains"]

NAMES = {
    "tpr": "sensitivity (TPR)",
    "fpr": "false-positive rate (FPR)",
    "ppv": "predictive value (PPV)",
    "auroc": "AUROC",
    "brier": "Brier score (lower is better)",
    "citl": "mean calibration (0 is right)",
    "slope": "calibration slope (1 is right)",
}


@styled
def group_metrics(
    frame: pd.DataFrame, title: str = "Malignant against benign, by skin-type group", note: str = ""
) -> Figure:
    """One panel per metric, one mark per arm. Columns: group, arm, metric, estimate, low, high."""
    columns(frame, ("group", "arm", "metric", "estimate", "low", "high"), "group_metrics")
    metrics, groups = [name for name in NAMES if (frame["metric"] == name).any()], in_order(frame["group"])
    rows = -(-len(metrics) // 3)
    figure, axes = canvas(2.1 * rows + 0.4, title, note, rows=rows, cols=min(3, len(metrics)))
    shade = colours(frame["arm"])
    for ax, metric in zip(axes, metrics, strict=False):
        for number, (arm, colour) in enumerate(shade.items()):
            part = frame[(frame["metric"] == metric) & (frame["arm"] == arm)].set_index("group").reindex(groups)
            x = np.arange(len(groups)) + dodge(number, len(shade), 0.4)
            intervals(ax, x, part, "estimate", colour, arm)
        ax.set_xticks(range(len(groups)), groups, fontsize=7)
        ax.set_title(NAMES[metric], fontsize=8)
        ax.grid(axis="x", visible=False)
    for ax in axes[len(metrics) :]:
        ax.set_visible(False)
    legend(figure, ncols=len(shade))
    return figure


@styled
def calibration(
    frame: pd.DataFrame, title: str = "Calibration: share of malignant images by predicted probability", note: str = ""
) -> Figure:
    """One panel per group, one line per arm, bins of equal mass. Columns: group, arm, score, observed."""
    columns(frame, ("group", "arm", "score", "observed"), "calibration")
    groups = in_order(frame["group"])
    figure, axes = canvas(2.5, title, note, cols=len(groups), sharey=True)
    reliability(axes, frame, {"group": groups}, "score", "observed", "predicted probability", "share malignant")
    legend(figure)
    return figure


def reliability(
    axes: Sequence[Axes], frame: pd.DataFrame, panels: Mapping[str, Sequence], x: str, y: str, xlabel: str, ylabel: str
) -> None:
    """Reliability diagram: column y against x, one line per arm. panels: the column of the panels → their values."""
    [(by, names)] = panels.items()
    shade = colours(frame["arm"])
    for ax, name in zip(axes, names, strict=True):
        ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=0.9)
        for arm, rows in frame[frame[by] == name].groupby("arm", sort=False):
            rows = rows.sort_values(x)
            ax.plot(rows[x], rows[y], marker="o", markersize=3.5, color=shade[arm], label=arm)
        ax.set(title=name, xlabel=xlabel, xlim=(0, 1), ylim=(-0.02, 1.02))
        percent(ax.xaxis, ax.yaxis)
    axes[0].set_ylabel(ylabel)


@styled
def power(
    frame: pd.DataFrame, title: str = "Minimum detectable gain by number of runs and patients", note: str = ""
) -> Figure:
    """Detectable gain against clusters, one line per number of runs. Columns: runs, clusters, detectable (points),
    in_hand."""
    columns(frame, ("runs", "clusters", "detectable", "in_hand"), "power")
    figure, (ax,) = canvas(2.6, title, note)
    for runs, colour in colours(sorted(frame["runs"].unique())).items():
        part = frame[frame["runs"] == runs].sort_values("clusters")
        ax.plot(part["clusters"], part["detectable"], marker="o", color=colour, label=f"{runs} runs")
    here = frame[frame["in_hand"].astype(bool)]
    ax.plot(here["clusters"], here["detectable"], "s", color="black", fillstyle="none", markersize=10, label="this run")
    log_ticks(ax, frame["clusters"])
    ax.set(xlabel="test patients or lesions", ylabel="percentage points", ylim=(0, None))
    legend(figure, ncols=4)
    return figure


@styled
def shrunken_gains(
    frame: pd.DataFrame, title: str = "Gains by condition and skin type, alone and shrunken", note: str = ""
) -> Figure:
    """One line per cell, its own estimate in grey and the shrunken one in colour, with intervals; dashed: their mean.

    Columns: id, estimate, low, high, shrunken, shrunken_low, shrunken_high, mean (points). Cells that were not shrunken
    show their own estimate alone.
    """
    needed = ("id", "estimate", "low", "high", "shrunken", "shrunken_low", "shrunken_high", "mean")
    columns(frame, needed, "shrunken_gains")
    figure, (ax,) = canvas(0.9 + 0.19 * len(frame), title, note)
    for aside, colour, label, names in (
        (0.16, GREY, "the cell alone", ("estimate", "low", "high")),
        (-0.16, PALETTE[0], "shrunken", ("shrunken", "shrunken_low", "shrunken_high")),
    ):
        centre, low, high = (frame[name].to_numpy(float) for name in names)
        y = np.arange(len(frame)) + aside
        ax.hlines(y, low, high, color=colour, linewidth=1.2)
        ax.plot(centre, y, "o", color=colour, markersize=3.5, label=label, zorder=3)
    zero(ax.axvline)
    if frame["mean"].notna().any():
        ax.axvline(frame["mean"].dropna().iloc[0], color=PALETTE[0], linewidth=0.8, linestyle="--")
    ax.set_yticks(range(len(frame)), frame["id"], fontsize=7)
    ax.set(ylim=(len(frame) - 0.4, -0.6), xlabel="percentage points (dashed: mean over cells)")
    ax.grid(axis="y", visible=False)
    legend(figure)
    return figure


@styled
def bounds(
    frame: pd.DataFrame, title: str = "Gain by skin-type group, whoever the unknown types are", note: str = ""
) -> Figure:
    """Worst-case bounds as bars with their interval as lines; dots: known types only. One panel per task.

    Columns: task, group, estimate, lower, upper, low, high (points).
    """
    columns(frame, ("task", "group", "estimate", "lower", "upper", "low", "high"), "bounds")
    tasks, groups = list(dict.fromkeys(frame["task"])), list(dict.fromkeys(frame["group"]))
    figure, axes = canvas(0.9 + 0.36 * len(groups), title, note, cols=len(tasks), sharey=True)
    for ax, task in zip(axes, tasks, strict=True):
        part = frame[frame["task"] == task].set_index("group").reindex(groups)
        y = np.arange(len(groups))
        ax.hlines(y, part["low"], part["high"], color=GREY, linewidth=1.2)
        ax.barh(y, part["upper"] - part["lower"], left=part["lower"], height=0.36, color="#9ecae1")
        ax.plot(part["estimate"], y, "o", color="black")
        ax.axvline(0, color=GREY, linewidth=0.9, linestyle="--")
        ax.set_yticks(y, groups)
        ax.set(title=task, xlabel="percentage points")
        ax.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    return figure
