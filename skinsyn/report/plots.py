"""One function per figure: each takes a saved table and returns a matplotlib Figure; only layout is computed here.

Pictures made of images live in `pictures`, the common style and saving in `style`; both are re-exported, so that a
notebook needs `plots` alone. Every function takes `title` and `note` (e.g. 'Phantoms, not patients').
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .forest import forest
from .pictures import before_after, contact_sheet, sheet_with_parents
from .style import (
    BESIDE,
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
    save,
    styled,
)

__all__ = [
    "accuracy_by_group",
    "before_after",
    "contact_sheet",
    "counts",
    "distances",
    "dose_response",
    "flow",
    "forest",
    "learning_curves",
    "losses",
    "save",
    "sheet_with_parents",
]

SHADES = {"I-II": "#9ecae1", "III-IV": "#4292c6", "V-VI": "#08306b", "unknown": "#c9c9c9"}
SPLITS = ("train", "validation", "test", "unused")


@styled
def counts(frame: pd.DataFrame, title: str = "Images by condition, skin type and split", note: str = "") -> Figure:
    """Stacked bars, one panel per split. Columns: condition, fst_group, split, images (number; rows are added up)."""
    columns(frame, ("condition", "fst_group", "split", "images"), "counts")
    splits, names = in_order(frame["split"], SPLITS), sorted(frame["condition"].unique())
    figure, axes = canvas(0.9 + 0.22 * len(names), title, note, cols=len(splits), sharey=True)
    totals = frame.groupby(["split", "fst_group", "condition"], observed=True)["images"].sum()
    shades = {group: SHADES.get(group, GREY) for group in in_order(frame["fst_group"])}
    for ax, split in zip(axes, splits, strict=True):
        table = totals[split].unstack("fst_group").reindex(names).fillna(0)
        left = np.zeros(len(names))
        for group in [group for group in shades if group in table]:
            ax.barh(names, table[group], left=left, color=shades[group], label=group, height=0.72)
            left += table[group].to_numpy()
        for y, total in enumerate(left):
            ax.annotate(f"{total:.0f}", (total, y), xytext=(3, 0), fontsize=7, **BESIDE)
        ax.set(title=split, xlabel="images", xlim=(0, max(left.max(), 1) * 1.16))
        ax.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    handles = [Patch(color=colour) for colour in shades.values()]
    figure.legend(handles, list(shades), title="skin type", loc="outside right upper", title_fontsize=8)
    return figure


@styled
def flow(
    frame: pd.DataFrame, title: str = "From the rows of the data to the images of the study", note: str = ""
) -> Figure:
    """Images left after each stage. Columns: stage (in order), images (number)."""
    columns(frame, ("stage", "images"), "flow")
    figure, (ax,) = canvas(0.7 + 0.32 * len(frame), title, note)
    ax.barh(range(len(frame)), frame["images"], color=PALETTE[5], height=0.62)
    lost = -frame["images"].diff().fillna(0)
    for y, (images, fewer) in enumerate(zip(frame["images"], lost, strict=True)):
        text = f"{images:,.0f}" + (f"   (\N{MINUS SIGN}{fewer:,.0f})" if fewer > 0 else "")
        ax.annotate(text, (images, y), xytext=(4, 0), fontsize=8, **BESIDE)
    ax.set_yticks(range(len(frame)), frame["stage"])
    ax.set(xlim=(0, max(float(frame["images"].max()), 1.0) * 1.18), xlabel="images")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return figure


@styled
def losses(frame: pd.DataFrame, title: str = "Fine-tuning loss by generator", note: str = "") -> Figure:
    """A running mean of each generator's loss. Columns: condition, task, step, loss."""
    columns(frame, ("condition", "task", "step", "loss"), "losses")
    tasks = list(dict.fromkeys(frame["task"]))
    figure, axes = canvas(2.6, title, note, cols=len(tasks), sharey=True)
    shade = colours(sorted(frame["condition"].unique()))
    for ax, task in zip(axes, tasks, strict=True):
        for number, (condition, rows) in enumerate(frame[frame["task"] == task].groupby("condition", sort=True)):
            rows = rows.sort_values("step")
            smooth = rows["loss"].rolling(max(1, len(rows) // 12), min_periods=1, center=True).mean()
            dash = "-" if number < len(PALETTE) else "--"
            ax.plot(rows["step"], smooth, dash, color=shade[condition], label=condition, linewidth=1.2)
        ax.set(title=task, xlabel="optimiser step")
    axes[0].set_ylabel("loss (running mean)")
    legend(figure, ncols=1, loc="outside right upper")
    return figure


@styled
def distances(
    frame: pd.DataFrame,
    title: str = "Cosine distance of synthetic images to their source and to another real image",
    note: str = "",
) -> Figure:
    """Cosine distances to the own source and to another real image. Columns: kind, distance; optional: method.

    kind: e.g. 'paired', 'permuted'; one violin each, with quartiles, one group per method.
    """
    columns(frame, ("kind", "distance"), "distances")
    data = frame.assign(method=frame["method"] if "method" in frame.columns else "synthetic images")
    methods, kinds = list(dict.fromkeys(data["method"])), list(dict.fromkeys(data["kind"]))
    figure, (ax,) = canvas(0.9 + 0.28 * len(methods) * len(kinds), title, note)
    sns.violinplot(
        data, x="distance", y="method", hue="kind", order=methods, hue_order=kinds, ax=ax, cut=0, inner="quart",
        density_norm="width", linewidth=0.8, palette=[PALETTE[0], "#bdbdbd", PALETTE[4], PALETTE[2]][: len(kinds)],
    )  # fmt: skip
    ax.set(xlabel="cosine distance between embeddings", ylabel="")
    ax.legend(title="", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def learning_curves(
    frame: pd.DataFrame,
    title: str = "Accuracy on the test images by number of real training images",
    note: str = "",
    xlabel: str = "real training images per class",
    ylabel: str = "accuracy",
) -> Figure:
    """Accuracy against n, one line per arm. Columns: arm (label), n, accuracy (proportion); optional: run, low, high.

    Rows of several runs are drawn as faint points and joined by their mean; low and high are drawn as bars.
    """
    columns(frame, ("arm", "n", "accuracy"), "learning_curves")
    figure, (ax,) = canvas(3.1, title, note)
    shade = colours(frame["arm"])
    for number, (arm, colour) in enumerate(shade.items()):
        rows = frame[frame["arm"] == arm]
        mean = rows.groupby("n", sort=True)["accuracy"].mean()
        # A small step aside on the logarithmic axis, so that intervals of two arms do not hide each other.
        aside = 1.025 ** dodge(number, len(shade), len(shade))
        ax.plot(mean.index * aside, mean, marker="o", color=colour, label=arm, zorder=3)
        if {"low", "high"} <= set(rows.columns):
            ax.vlines(rows["n"] * aside, rows["low"], rows["high"], color=colour, linewidth=1, alpha=0.7)
        if len(rows) > len(mean):
            ax.scatter(rows["n"] * aside, rows["accuracy"], s=9, color=colour, alpha=0.28, linewidth=0)
    log_ticks(ax, frame["n"])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    percent(ax.yaxis)
    legend(figure)
    return figure


@styled
def dose_response(
    points: Mapping | pd.DataFrame,
    curve: Mapping | pd.DataFrame | None = None,
    title: str = "Accuracy by ratio of synthetic to real images",
    note: str = "",
    marks: Mapping[str, float] | None = None,
    unit: float = 1.0,
    level: float = 0.95,
) -> Figure:
    """Measured accuracy at each dose, and the fitted curve with its band.

    points: x, y, low, high (equal lists). curve: the same, or None or empty where no curve is identified. marks: label
    → dose of a dashed line, e.g. ED90. unit: 1 where y is a proportion, 100 where it is in per cent. level: of low to
    high.
    """
    figure, (ax,) = canvas(2.9, title, note)
    points = pd.DataFrame(dict(points))
    columns(points, ("x", "y", "low", "high"), "dose_response")
    fitted = pd.DataFrame(dict(curve)) if curve is not None and len(curve) else pd.DataFrame()
    if len(fitted):
        ax.plot(fitted["x"], fitted["y"], color=PALETTE[0], label="fitted curve")
        if {"low", "high"} <= set(fitted.columns):
            ax.fill_between(fitted["x"], fitted["low"], fitted["high"], color=PALETTE[0], alpha=0.13, linewidth=0)
    else:
        ax.plot(points["x"], points["y"], ":", color=GREY, linewidth=1, label="no curve identified")
    intervals(ax, points["x"], points, "y", PALETTE[1], f"measured, {100 * level:g} % interval")
    for label, dose in (marks or {}).items():
        if dose is not None and np.isfinite(dose) and dose <= 1.2 * points["x"].max():
            ax.axvline(dose, color=GREY, linestyle="--", linewidth=1)
            ax.annotate(
                label, (dose, 0), xycoords=("data", "axes fraction"), xytext=(4, 5), textcoords="offset points",
                fontsize=7.5, color=GREY,
            )  # fmt: skip
    ticks = sorted(points["x"].unique())
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.set(xlabel="synthetic images per real image", ylabel="accuracy")
    percent(ax.yaxis, unit=unit)
    legend(figure, ncols=3)
    return figure


@styled
def accuracy_by_group(
    frame: pd.DataFrame, title: str = "Accuracy by skin-type group", note: str = "", ylabel: str = "accuracy"
) -> Figure:
    """Accuracy with intervals, one mark per arm. Columns: group, accuracy, low, high (proportions).

    Optional columns: arm, task (one panel each), images. Groups stand in the order of the skin types.
    """
    columns(frame, ("group", "accuracy", "low", "high"), "accuracy_by_group")
    frame = frame.assign(**{name: frame.get(name, "") for name in ("arm", "task")})
    tasks, shade, groups = list(dict.fromkeys(frame["task"])), colours(frame["arm"]), in_order(frame["group"])
    figure, axes = canvas(2.9, title, note, cols=len(tasks), sharey=True)
    for ax, task in zip(axes, tasks, strict=True):
        part = frame[frame["task"] == task]
        for number, (arm, colour) in enumerate(shade.items()):
            rows = part[part["arm"] == arm].set_index("group").reindex(groups)
            intervals(ax, np.arange(len(groups)) + dodge(number, len(shade), 0.5), rows, "accuracy", colour, arm)
        sizes = part.drop_duplicates("group").set_index("group").get("images", pd.Series(dtype=float))
        ax.set_xticks(range(len(groups)), [f"{g}\n{sizes[g]:.0f} images" if g in sizes else g for g in groups])
        ax.set(title=task, xlim=(-0.5, len(groups) - 0.5))
        ax.grid(axis="x", visible=False)
        percent(ax.yaxis)
    axes[0].set_ylabel(ylabel)
    legend(figure)
    return figure
