"""Figures of the statistics: metrics by group, calibration, and what a study of another size would find."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .style import GREY, canvas, colours, columns, styled

__all__ = ["calibration", "group_metrics", "power"]

ORDER = {"all": 0, "I-II": 1, "III-IV": 2, "V-VI": 3, "unknown": 4}
NAMES = {
    "tpr": "TPR: malignant called malignant",
    "fpr": "FPR: benign called malignant",
    "ppv": "PPV: called malignant and is",
    "auroc": "AUROC",
    "brier": "Brier score (lower is better)",
    "ece": "calibration error (grey: by chance)",
}


def _sorted(groups) -> list:
    return sorted(dict.fromkeys(groups), key=lambda name: (ORDER.get(name, 9), str(name)))


@styled
def group_metrics(
    frame: pd.DataFrame, title: str = "Malignant or benign, by skin-type group", note: str = ""
) -> Figure:
    """One panel a metric, one mark an arm. Columns: group, arm, metric, estimate, low, high; optional chance."""
    columns(frame, ("group", "arm", "metric", "estimate", "low", "high"), "group_metrics")
    metrics, groups = [m for m in NAMES if (frame["metric"] == m).any()], _sorted(frame["group"])
    rows = -(-len(metrics) // 3)
    figure, axes = canvas(2.1 * rows + 0.4, title, note, rows=rows, cols=min(3, len(metrics)))
    shade = colours(frame["arm"])
    for ax, metric in zip(axes, metrics, strict=False):
        for number, (arm, colour) in enumerate(shade.items()):
            part = frame[(frame["metric"] == metric) & (frame["arm"] == arm)].set_index("group").reindex(groups)
            x = np.arange(len(groups)) + 0.4 * ((number + 0.5) / len(shade) - 0.5)
            ax.vlines(x, part["low"], part["high"], color=colour, linewidth=1.4)
            ax.plot(x, part["estimate"], "o", color=colour, label=arm)
            if "chance" in part:
                ax.plot(x, part["chance"], "_", color=GREY, markersize=9)
        ax.set_xticks(range(len(groups)), groups, fontsize=7)
        ax.set_title(NAMES[metric], fontsize=8)
        ax.grid(axis="x", visible=False)
    for ax in axes[len(metrics) :]:
        ax.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(shade), fontsize=7.5)
    return figure


@styled
def calibration(
    frame: pd.DataFrame, title: str = "Of those given this probability, how many are malignant?", note: str = ""
) -> Figure:
    """One panel a group, one line an arm, bins of equal mass. Columns: group, arm, score, observed."""
    columns(frame, ("group", "arm", "score", "observed"), "calibration")
    groups, shade = _sorted(frame["group"]), colours(frame["arm"])
    figure, axes = canvas(2.5, title, note, cols=len(groups), sharey=True)
    for ax, group in zip(axes, groups, strict=True):
        ax.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1)
        for arm, colour in shade.items():
            part = frame[(frame["group"] == group) & (frame["arm"] == arm)].sort_values("score")
            ax.plot(part["score"], part["observed"], marker="o", markersize=3.5, color=colour, label=arm)
        ax.set(title=group, xlabel="probability given", xlim=(0, 1), ylim=(-0.02, 1.02))
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes[0].set_ylabel("share malignant")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1, 0))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(shade), fontsize=7.5)
    return figure


@styled
def power(
    frame: pd.DataFrame, title: str = "The least gain that a study of another size would find", note: str = ""
) -> Figure:
    """Detectable gain against clusters, one line a number of runs. Columns: runs, clusters, detectable (points),
    in_hand."""
    columns(frame, ("runs", "clusters", "detectable", "in_hand"), "power")
    figure, (ax,) = canvas(2.6, title, note)
    for runs, colour in colours(sorted(frame["runs"].unique())).items():
        part = frame[frame["runs"] == runs].sort_values("clusters")
        ax.plot(part["clusters"], part["detectable"], marker="o", color=colour, label=f"{runs} runs")
    here = frame[frame["in_hand"].astype(bool)]
    ax.plot(here["clusters"], here["detectable"], "s", color="black", fillstyle="none", markersize=10, label="this run")
    ax.set_xscale("log", base=2)
    ticks = sorted(frame["clusters"].unique())
    ax.set_xticks(ticks, [f"{n:g}" for n in ticks])
    ax.minorticks_off()
    ax.set(xlabel="test patients or lesions", ylabel="percentage points", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=4, fontsize=7.5)
    return figure
