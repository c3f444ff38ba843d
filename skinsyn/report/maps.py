"""Figures of fidelity: embeddings, distances between synthetic and real images, and skin tone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .style import GREY, PALE, PALETTE, canvas, colours, columns, dodge, in_order, legend, styled

__all__ = ["beside_floor", "embedding_map", "skin_tone"]

NAMES = {
    "kid": "KID's distance",
    "rbf_mmd": "RBF-MMD",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "vendi": "Vendi score",
    "frechet": "Fréchet distance",
}
MARKERS = "osv^D<>ph*XP"


@styled
def embedding_map(
    frame: pd.DataFrame, title: str = "Real and synthetic images: two principal components", note: str = ""
) -> Figure:
    """Two panels of the same points, coloured by kind and by condition. Columns: x, y, kind, condition.

    Optional attrs: `explained`, the shares of variance of the two components.
    """
    columns(frame, ("x", "y", "kind", "condition"), "embedding_map")
    figure, axes = canvas(4.0, title, note, cols=2, sharex=True, sharey=True)
    for ax, by in zip(axes, ("kind", "condition"), strict=True):
        for number, (name, colour) in enumerate(colours(in_order(frame[by], ("real",))).items()):
            part = frame[frame[by] == name]
            marker = MARKERS[number // len(PALETTE)] if by == "condition" else MARKERS[number % len(MARKERS)]
            ax.scatter(
                part["x"], part["y"], s=7, color=colour, marker=marker, alpha=0.45, linewidth=0, label=name,
                rasterized=True,
            )  # fmt: skip
        ax.set(title=by, xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=6.5, markerscale=1.8)
    if explained := frame.attrs.get("explained"):
        axes[0].set(xlabel=f"first, {explained[0]:.0%} of the variance", ylabel=f"second, {explained[1]:.0%}")
    return figure


@styled
def beside_floor(
    frame: pd.DataFrame,
    title: str = "Distance of synthetic (blue) and of training images (grey) to held-out real images",
    note: str = "",
    names: Mapping[str, str] = NAMES,
) -> Figure:
    """One panel per measure, one line per model. Columns: model, and for each measure its name and floor_<name>."""
    measures = [name for name in names if name in frame.columns]
    columns(frame, ("model", *[f"floor_{name}" for name in measures]), "beside_floor")
    rows = -(-len(measures) // 4)
    figure, axes = canvas(rows * (0.85 + 0.2 * len(frame)) + 0.3, title, note, rows=rows, cols=4, sharey=True)
    places = np.arange(len(frame))
    for ax, name in zip(axes, measures, strict=False):
        ax.hlines(places, frame[f"floor_{name}"], frame[name], color=PALE, linewidth=1)
        ax.plot(frame[f"floor_{name}"], places, "|", color=GREY, markersize=10, markeredgewidth=1.6)
        ax.plot(frame[name], places, "o", color=PALETTE[0])
        ax.set_title(names[name], fontsize=8)
        ax.tick_params(axis="x", labelsize=6.5)
        ax.set(ylim=(len(frame) - 0.5, -0.5))
        ax.locator_params(axis="x", nbins=3)
        ax.grid(axis="y", visible=False)
    for ax in axes[len(measures) :]:
        ax.set_visible(False)
    for ax in axes[::4]:
        ax.set_yticks(places, frame["model"], fontsize=7)
    return figure


@styled
def skin_tone(
    frame: pd.DataFrame, title: str = "Skin tone of real and synthetic images by requested skin type", note: str = ""
) -> Figure:
    """Median, quartiles and 10-90 % of the typology angle. Columns: kind, fst, q10, q25, median, q75, q90 (degrees)."""
    columns(frame, ("kind", "fst", "q10", "q25", "median", "q75", "q90"), "skin_tone")
    kinds, types = in_order(frame["kind"], ("real",)), sorted(frame["fst"].unique())
    figure, (ax,) = canvas(3.0, title, note)
    for number, (kind, colour) in enumerate(colours(kinds).items()):
        rows = frame[frame["kind"] == kind].set_index("fst").reindex(types)
        x = np.arange(len(types)) + dodge(number, len(kinds), 0.7)
        ax.vlines(x, rows["q10"], rows["q90"], color=colour, linewidth=1)
        ax.vlines(x, rows["q25"], rows["q75"], color=colour, linewidth=3.5)
        ax.plot(x, rows["median"], "o", color="white", markeredgecolor=colour, markersize=4.5, label=kind, zorder=3)
    ax.set_xticks(range(len(types)), ["unknown" if fst == -1 else str(fst) for fst in types])
    ax.set(xlabel="requested Fitzpatrick skin type", ylabel="typology angle, degrees\n(higher is lighter)")
    ax.grid(axis="x", visible=False)
    legend(figure, ncols=3)
    return figure
