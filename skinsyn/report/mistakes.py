"""Figures of errors: confusion matrices, and calibration over all classes. From `skinsyn.classifier.errors`."""

import pandas as pd
from matplotlib.figure import Figure

from .dashboards import reliability
from .style import GREY, canvas, columns, legend, styled

__all__ = ["calibration", "confusion"]


@styled
def confusion(frame: pd.DataFrame, title: str = "Confusion matrices", note: str = "") -> Figure:
    """One matrix per arm: rows are true classes, columns predicted ones. Columns: arm, y_true, called, share (of the
    row, 0 to 1)."""
    columns(frame, ("arm", "y_true", "called", "share"), "confusion")
    arms, names = list(dict.fromkeys(frame["arm"])), list(dict.fromkeys(frame["y_true"]))
    figure, axes = canvas(1.5 + 0.2 * len(names), title, note, cols=len(arms), sharey=True)
    for ax, arm in zip(axes, arms, strict=True):
        table = frame[frame["arm"] == arm].pivot(index="y_true", columns="called", values="share").loc[names, names]
        ax.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for y, values in enumerate(table.to_numpy()):
            for x, value in enumerate(values):
                shade = "white" if value > 0.6 else "#222222" if value >= 0.005 else GREY
                ax.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=6.5, color=shade)
        ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=6.8)
        ax.set_yticks(range(len(names)), names, fontsize=6.8)
        ax.set_title(arm, fontsize=7.5)
        ax.set_xlabel("predicted")
        ax.grid(visible=False)
    axes[0].set_ylabel("true (per cent of each row)")
    return figure


@styled
def calibration(frame: pd.DataFrame, title: str = "Calibration: accuracy by confidence", note: str = "") -> Figure:
    """Share of correct answers against confidence, one line per arm, one panel per task. Columns: arm, task, sure,
    right."""
    columns(frame, ("arm", "task", "sure", "right"), "calibration")
    tasks = list(dict.fromkeys(frame["task"]))
    figure, axes = canvas(3.2, title, note, cols=len(tasks), sharey=True)
    reliability(axes, frame, {"task": tasks}, "sure", "right", "confidence (highest probability)", "accuracy")
    legend(figure)
    return figure
