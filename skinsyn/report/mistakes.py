"""Figures of errors: confusion matrices and calibration. Drawn from the tables of `skinsyn.classifier.errors`."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .style import GREY, canvas, colours, columns, styled

__all__ = ["calibration", "confusion"]


@styled
def confusion(frame: pd.DataFrame, title: str = "What each condition was taken for", note: str = "") -> Figure:
    """One matrix an arm: rows are the truth, columns the call. Columns: arm, y_true, called, share (of the row, 0 to
    1)."""
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
        ax.set_xlabel("called")
        ax.grid(visible=False)
    axes[0].set_ylabel("truth (per cent of each row)")
    return figure


@styled
def calibration(frame: pd.DataFrame, title: str = "Can its probabilities be believed?", note: str = "") -> Figure:
    """How often it is right against how sure it is, one line an arm, one panel a task. Columns: arm, task, sure,
    right."""
    columns(frame, ("arm", "task", "sure", "right"), "calibration")
    tasks, shade = list(dict.fromkeys(frame["task"])), colours(frame["arm"])
    figure, axes = canvas(3.2, title, note, cols=len(tasks), sharey=True)
    for ax, task in zip(axes, tasks, strict=True):
        ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=0.9)
        for arm, rows in frame[frame["task"] == task].groupby("arm", sort=False):
            ax.plot(rows["sure"], rows["right"], marker="o", color=shade[arm], label=arm)
        ax.set(title=task, xlabel="how sure (highest probability)", xlim=(0, 1), ylim=(0, 1))
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes[0].set_ylabel("how often right")
    handles = {name: line for ax in axes for line, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=min(2, len(handles)), fontsize=7.5
    )
    return figure
