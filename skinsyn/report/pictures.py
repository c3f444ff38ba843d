"""Figures made of images: contact sheets, synthetic images beside their parents, before and after fine-tuning."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import GREY, WIDTH, styled

__all__ = ["before_after", "contact_sheet", "sheet_with_parents"]


@styled
def contact_sheet(
    images: np.ndarray, labels: Sequence[str], columns: int = 9, title: str = "Training images", note: str = ""
) -> Figure:
    """Images in rows of `columns`, each with its label below. images: uint8 (n, size, size, 3), one label each."""
    images = _checked(images, labels, "contact_sheet")
    rows = math.ceil(len(images) / columns)
    tiles = [
        [(images[i], labels[i]) if i < len(images) else None for i in range(r * columns, (r + 1) * columns)]
        for r in range(rows)
    ]
    return _grid(tiles, title, note, labelled=any(labels))


@styled
def sheet_with_parents(
    parents: np.ndarray,
    children: Mapping[str, np.ndarray],
    labels: Sequence[str],
    title: str = "Synthetic images and the real images from which they were made",
    note: str = "",
) -> Figure:
    """One column per parent image (about ten are readable): the parent, below it its synthetic images by each method.

    parents: uint8 (n, size, size, 3), labels: one each. children: row's title → (n, size, size, 3), in the parents'
    order; or (n, k, size, size, 3) for k images of each parent, in k rows. Sizes may differ between rows.
    """
    rows = {"real": _checked(parents, labels, "sheet_with_parents")}
    for name, images in children.items():
        images = np.asarray(images)
        images = images[:, None] if images.ndim == 4 else images
        if images.ndim != 5 or len(images) != len(rows["real"]):
            raise ValueError(
                f"sheet_with_parents: {name!r} has shape {images.shape}, expected {len(labels)} images or rows"
            )
        for number in range(images.shape[1]):
            rows[name if images.shape[1] == 1 else f"{name} {number + 1}"] = images[:, number]
    tiles = [[(image, "") for image in row] for row in rows.values()]
    return _grid(tiles, title, note, heads=list(labels), row_labels=list(rows))


@styled
def before_after(
    before: np.ndarray,
    after: np.ndarray,
    labels: Sequence[str],
    real: np.ndarray | None = None,
    title: str = "Samples with the same seeds before and after fine-tuning",
    note: str = "",
) -> Figure:
    """Rows 'real' (optional), 'before' and 'after', one column per label; uint8 (n, size, size, 3) each."""
    rows = {} if real is None else {"real": real}
    rows |= {"before": before, "after": after}
    tiles = [
        [(image, "") for image in _checked(images, labels, f"before_after: {name}")] for name, images in rows.items()
    ]
    return _grid(tiles, title, note, heads=list(labels), row_labels=list(rows))


def _checked(images: np.ndarray, labels: Sequence, what: str) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"{what}: expected uint8 (n, size, size, 3) with n > 0, got {images.dtype} {images.shape}")
    if len(labels) != len(images):
        raise ValueError(f"{what}: {len(images)} images with {len(labels)} labels")
    return images


def _grid(
    tiles: Sequence[Sequence[tuple[np.ndarray, str] | None]],
    title: str,
    note: str,
    heads: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    labelled: bool = False,
) -> Figure:
    """Tiles (image, label) or None on a regular grid, in inches from the top left, so that nothing depends on
    layout."""
    columns = max(len(row) for row in tiles)
    left = 0.12 + (0.072 * min(16, max(len(str(name)) for name in row_labels)) if row_labels else 0)
    gap, cap = 0.05, 0.02
    side = min(1.15, (WIDTH - left - gap * columns) / columns, max(0.4, 7.4 / len(tiles)))
    letters = max(6, int((side + gap) / 0.062))
    texts = {tile[1] for row in tiles for tile in row if tile} | set(heads)
    wrap = {text: textwrap.fill(str(text), letters) for text in texts}
    below = (0.1 * max(1, *(wrap[t[1]].count("\n") + 1 for row in tiles for t in row if t)) + 0.05) if labelled else 0
    head = (0.115 * max(wrap[h].count("\n") + 1 for h in heads) + 0.04) if heads else 0
    lines = textwrap.wrap(title, 88)
    top = 0.1 + 0.17 * len(lines) + 0.05
    height = top + head + len(tiles) * (side + gap + below) + (0.2 if note else 0.05)
    figure = Figure(figsize=(WIDTH, height))

    def write(x: float, y: float, text: str, **kwargs: Any) -> None:
        figure.text(x / WIDTH, 1 - y / height, text, **kwargs)

    write(0.07, 0.1, "\n".join(lines), va="top", fontsize=10, fontweight="bold")
    for column, name in enumerate(heads):
        x = left + column * (side + gap) + side / 2
        write(
            x, top + head - cap, wrap[name], va="bottom", ha="center", fontsize=6.8, color="#333333", linespacing=1.05
        )
    for number, row in enumerate(tiles):
        y = top + head + number * (side + gap + below)
        if row_labels:
            text = textwrap.fill(str(row_labels[number]), 16)
            write(left - 0.06, y + side / 2, text, va="center", ha="right", fontsize=6.8, color="#333333")
        for column, tile in enumerate(row):
            if tile is None:
                continue
            x = left + column * (side + gap)
            axes = figure.add_axes((x / WIDTH, 1 - (y + side) / height, side / WIDTH, side / height))
            axes.imshow(tile[0], interpolation="none")
            axes.set_axis_off()
            if labelled:
                write(x + side / 2, y + side + cap, wrap[tile[1]], va="top", ha="center", fontsize=6, linespacing=1.05)
    if note:
        write(WIDTH - 0.07, height - 0.04, note, ha="right", va="bottom", fontsize=7.5, color=GREY, fontstyle="italic")
    return figure
