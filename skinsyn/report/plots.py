"""One function a figure: each takes a saved table and returns a matplotlib Figure; nothing is computed here but layout.

Pictures made of images live in `pictures`, looks and saving in `style`; both are reached from here, so that a notebook
needs `plots` alone. Every function takes `title` (what is seen, in words) and `note` (e.g. 'Phantoms, not patients').
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from .pictures import before_after, contact_sheet, sheet_with_parents
from .style import GREY, PALETTE, canvas, colours, columns, save, styled

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

GROUPS = {"I-II": "#9ecae1", "III-IV": "#4292c6", "V-VI": "#08306b", "unknown": "#c9c9c9"}
SPLITS = ("train", "validation", "test", "unused")


@styled
def counts(frame: pd.DataFrame, title: str = "Images by condition, skin type and split", note: str = "") -> Figure:
    """Stacked bars, one panel a split. Columns: condition, fst_group, split, images (number; rows are added up)."""
    columns(frame, ("condition", "fst_group", "split", "images"), "counts")
    splits = [s for s in SPLITS if (frame["split"] == s).any()] + sorted(set(frame["split"]) - set(SPLITS))
    names = sorted(frame["condition"].unique())
    height = 0.9 + 0.22 * len(names)
    figure, axes = canvas(height, title, note, cols=len(splits), sharey=True)
    table = frame.pivot_table(index="condition", columns=["split", "fst_group"], values="images", aggfunc="sum").fillna(
        0
    )
    shades = {g: c for g, c in GROUPS.items() if (frame["fst_group"] == g).any()}
    shades |= {g: GREY for g in frame["fst_group"].unique() if g not in GROUPS}
    for ax, split in zip(axes, splits, strict=True):
        left = np.zeros(len(names))
        for group, colour in shades.items():
            if (split, group) in table.columns:
                width = table[(split, group)].reindex(names).to_numpy()
                ax.barh(names, width, left=left, color=colour, label=group, height=0.72)
                left += width
        for y, total in enumerate(left):
            ax.annotate(f"{total:.0f}", (total, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
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
    total = max(float(frame["images"].max()), 1.0)
    figure, (ax,) = canvas(0.7 + 0.32 * len(frame), title, note)
    places = np.arange(len(frame))
    ax.barh(places, frame["images"], color=PALETTE[5], height=0.62)
    for y, images in enumerate(frame["images"]):
        lost = frame["images"].iloc[y - 1] - images if y else 0
        text = f"{images:,.0f}" + (f"   (\N{MINUS SIGN}{lost:,.0f})" if lost > 0 else "")
        ax.annotate(text, (images, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(places, frame["stage"])
    ax.set(xlim=(0, total * 1.18), xlabel="images")
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return figure


@styled
def losses(frame: pd.DataFrame, title: str = "Fine-tuning loss, one line a generator", note: str = "") -> Figure:
    """A running mean of each generator's loss. Columns: condition, task, step, loss."""
    columns(frame, ("condition", "task", "step", "loss"), "losses")
    tasks = list(dict.fromkeys(frame["task"]))
    figure, axes = canvas(2.6, title, note, cols=len(tasks), sharey=True)
    shade = colours(sorted(frame["condition"].unique()))
    for ax, task in zip(axes, tasks, strict=True):
        for number, (condition, rows) in enumerate(frame[frame["task"] == task].groupby("condition", sort=True)):
            rows = rows.sort_values("step")
            window = max(1, len(rows) // 12)
            smooth = rows["loss"].rolling(window, min_periods=1, center=True).mean()
            dash = "-" if number < len(PALETTE) else "--"
            ax.plot(rows["step"], smooth, dash, color=shade[condition], label=condition, linewidth=1.2)
        ax.set(title=task, xlabel="optimiser step")
    axes[0].set_ylabel("loss (running mean)")
    # Handles of one panel: a condition has one colour in all of them.
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", fontsize=7)
    return figure


@styled
def distances(
    frame: pd.DataFrame,
    title: str = "Does a synthetic image lie nearer to its source than to another real image?",
    note: str = "",
) -> Figure:
    """Cosine distances to the own source and to another real image. Columns: kind, distance; optional: method.

    kind: e.g. 'paired', 'permuted'; one violin each, with quartiles, one group a method.
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
    title: str = "Accuracy on the test images, by real training images",
    note: str = "",
    xlabel: str = "real training images per class",
    ylabel: str = "accuracy",
) -> Figure:
    """Accuracy against n, one line an arm. Columns: arm (label), n, accuracy (proportion); optional: run, low, high.

    Rows of several runs are drawn as faint points and joined by their mean; low and high are drawn as bars.
    """
    columns(frame, ("arm", "n", "accuracy"), "learning_curves")
    figure, (ax,) = canvas(3.1, title, note)
    shade = colours(frame["arm"])
    for number, (arm, rows) in enumerate((arm, frame[frame["arm"] == arm]) for arm in shade):
        mean = rows.groupby("n", sort=True)["accuracy"].mean()
        # A small step aside on the logarithmic axis, so that intervals of two arms do not hide each other.
        aside = 1.025 ** (number - (len(shade) - 1) / 2)
        ax.plot(mean.index * aside, mean, marker="o", color=shade[arm], label=arm, zorder=3)
        if {"low", "high"} <= set(rows.columns):
            ax.vlines(rows["n"] * aside, rows["low"], rows["high"], color=shade[arm], linewidth=1, alpha=0.7)
        if len(rows) > len(mean):
            ax.scatter(rows["n"] * aside, rows["accuracy"], s=9, color=shade[arm], alpha=0.28, linewidth=0)
    ax.set_xscale("log", base=2)
    ticks = sorted(frame["n"].unique())
    ax.set_xticks(ticks, [f"{n:g}" for n in ticks])
    ax.minorticks_off()
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    figure.legend(loc="outside lower center", ncols=min(2, len(shade)), fontsize=7.5)
    return figure


@styled
def forest(
    frame: pd.DataFrame,
    title: str = "",
    note: str = "",
    xlabel: str = "percentage points",
    level: float = 0.95,
) -> Figure:
    """One line per hypothesis. Columns: id, estimate, low, high (points); optional: family, p_adjusted, verdict.

    level: of the intervals; a mark is filled where the adjusted p is at most 1 - level, which the axis says where there
    is such a p. A row without interval shows its verdict in words. title: '' says what is drawn, with the level.
    """
    columns(frame, ("id", "estimate", "low", "high"), "forest")
    title = title or f"Gains with {100 * level:g} % intervals, in percentage points"
    if "p_adjusted" in frame.columns:
        xlabel += f" (filled mark: adjusted p at most {1 - level:g})"
    rows = []
    for family, members in frame.groupby("family", sort=False) if "family" in frame.columns else [("", frame)]:
        rows += [(family, None)] if family else []
        rows += [("", row) for _, row in members.iterrows()]
    figure, (ax,) = canvas(0.75 + 0.21 * len(rows), title, note)
    texts: list[tuple[int, pd.Series]] = []
    for y, (family, row) in enumerate(rows):
        if row is None:
            ax.annotate(
                family, (0, y), xycoords=("axes fraction", "data"), xytext=(-6, 0), textcoords="offset points",
                ha="right", va="center", fontweight="bold", fontsize=8, color="#222222",
            )  # fmt: skip
            continue
        _forest_row(ax, y, row, 1 - level)
        texts.append((y, row))
    ax.axvline(0, color="#444444", linewidth=0.9, zorder=1)
    ax.set_yticks([y for y, _ in texts], [str(row["id"]) for _, row in texts], fontsize=7.5)
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel=xlabel)
    ax.grid(axis="y", visible=False)
    return figure


def _forest_row(ax: Axes, y: int, row: pd.Series, alpha: float) -> None:
    """Mark, interval and adjusted p of one hypothesis; words where it was not estimated."""
    p = row.get("p_adjusted", np.nan)
    sure = np.isfinite(p) and p <= alpha
    if np.isfinite(row["estimate"]):
        colour = PALETTE[0] if np.isfinite(row["low"]) else GREY
        ax.plot(row["estimate"], y, "o", color=colour, markerfacecolor=colour if sure else "white", zorder=3)
    if np.isfinite(row["low"]):
        ax.hlines(y, row["low"], row["high"], color=PALETTE[0], linewidth=1.5, zorder=2)
    text = (
        ("p < 0.001" if p < 0.001 else f"p = {p:.3f}")
        if np.isfinite(p)
        else str(row.get("verdict", "") or "not estimable")
    )
    ax.annotate(
        text, (1, y), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points", va="center",
        fontsize=7, color="#222222" if sure else GREY,
    )  # fmt: skip


@styled
def dose_response(
    points: Mapping | pd.DataFrame,
    curve: Mapping | pd.DataFrame | None = None,
    title: str = "Accuracy by synthetic images per real one",
    note: str = "",
    marks: Mapping[str, float] | None = None,
    unit: float = 1.0,
    level: float = 0.95,
) -> Figure:
    """Measured accuracy at each dose, and the fitted curve with its band.

    points: x, y, low, high (equal lists). curve: the same, or None or empty where no curve is identified. marks: label
    → dose of a dashed line, e.g. ED90. unit: 1 where y is a proportion, 100 where it is in per cent.
    """
    figure, (ax,) = canvas(2.9, title, note)
    points = pd.DataFrame(dict(points))
    columns(points, ("x", "y", "low", "high"), "dose_response")
    curve = pd.DataFrame(dict(curve)) if curve is not None and len(curve) else None
    if curve is not None and len(curve):
        ax.plot(curve["x"], curve["y"], color=PALETTE[0], label="fitted curve")
        if {"low", "high"} <= set(curve.columns):
            ax.fill_between(curve["x"], curve["low"], curve["high"], color=PALETTE[0], alpha=0.13, linewidth=0)
    ax.vlines(points["x"], points["low"], points["high"], color=PALETTE[1], linewidth=1.3, zorder=3)
    ax.plot(points["x"], points["y"], "o", color=PALETTE[1], label=f"measured, {100 * level:g} % interval", zorder=4)
    if curve is None:
        ax.plot(points["x"], points["y"], ":", color=GREY, linewidth=1, label="no curve identified")
    for label, dose in (marks or {}).items():
        if dose is not None and np.isfinite(dose) and dose <= 1.2 * points["x"].max():
            ax.axvline(dose, color=GREY, linestyle="--", linewidth=1)
            ax.annotate(
                label, (dose, 0), xycoords=("data", "axes fraction"), xytext=(4, 5), textcoords="offset points",
                fontsize=7.5, color=GREY,
            )  # fmt: skip
    ax.set_xticks(sorted(points["x"].unique()), [f"{x:g}" for x in sorted(points["x"].unique())])
    ax.set(xlabel="synthetic images per real one", ylabel="accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(unit, 0))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def accuracy_by_group(
    frame: pd.DataFrame, title: str = "Accuracy by skin-type group", note: str = "", ylabel: str = "accuracy"
) -> Figure:
    """Accuracy with intervals, one mark an arm. Columns: group, accuracy, low, high (proportions).

    Optional columns: arm, task (one panel each), images. Groups stand in the order of the skin types.
    """
    columns(frame, ("group", "accuracy", "low", "high"), "accuracy_by_group")
    frame = frame.assign(**{name: frame.get(name, "") for name in ("arm", "task")})
    tasks, shade = list(dict.fromkeys(frame["task"])), colours(frame["arm"])
    groups = [g for g in GROUPS if (frame["group"] == g).any()] + sorted(set(frame["group"]) - set(GROUPS))
    figure, axes = canvas(2.9, title, note, cols=len(tasks), sharey=True)
    for ax, task in zip(axes, tasks, strict=True):
        part = frame[frame["task"] == task]
        for number, (arm, colour) in enumerate(shade.items()):
            rows = part[part["arm"] == arm].set_index("group").reindex(groups)
            x = np.arange(len(groups)) + 0.5 * ((number + 0.5) / len(shade) - 0.5)
            ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=1.6)
            ax.plot(x, rows["accuracy"], "o", color=colour, label=arm or "all")
        sizes = part.drop_duplicates("group").set_index("group").get("images", pd.Series(dtype=float))
        ax.set_xticks(range(len(groups)), [f"{g}\n{sizes[g]:.0f} images" if g in sizes else g for g in groups])
        ax.set(title=task, xlim=(-0.5, len(groups) - 0.5))
        ax.grid(axis="x", visible=False)
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes[0].set_ylabel(ylabel)
    if len(shade) > 1:
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(2, len(shade)), fontsize=7.5
        )
    return figure
