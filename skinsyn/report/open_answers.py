"""Summaries of the open questions, each written from the table of its results; every number through `numbers.show`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from skinsyn.fidelity.gan_comparison import GAN, NOT_RUN
from skinsyn.stats.optimal_ratio import of_series
from skinsyn.stats.worst_group import WORST

from . import words
from .numbers import equals_p, show_cells

__all__ = ["external_validation", "gan_comparison", "long_tail", "optimal_ratio", "worst_group"]

UNITS = {"condition": "condition", "cell": "condition × skin type"}


def optimal_ratio(optima: pd.DataFrame, arm: Mapping[str, Any]) -> str:
    """Which ratios may be the best in the series of one arm, and the gain of the best. optima: of
    `optimal_ratio.optima`."""
    estimable = of_series(optima, arm).query("flags == ''")
    overall, single = (estimable[(estimable["condition"] == "all") == whole] for whole in (True, False))
    if overall.empty:
        return "Not run: no series of arms with the primary settings has two ratios above none, a control and two runs."
    row = overall.iloc[0]
    text = f"Of the tested ratios ({row['tested']}), {row['best']:g} synthetic images per real one were best "
    text += f"at {row['n']} real images per class. {_may_be_best(row)}. The largest gain over none, {_selected(row)}. "
    if single.empty:
        return text.rstrip()
    text += f"By condition the best tested ratio ranges from {single['best'].min():g} to {single['best'].max():g}; "
    text += f"for {int(single['none'].sum())} of {len(single)} conditions no synthetic image at all, and for "
    return text + f"{int(single['top'].sum())} the largest tested ratio, is not rejected as the best."


def _may_be_best(row: pd.Series) -> str:
    """Which ratios are not rejected as the best."""
    if row["not_rejected"] == row["tested"]:
        return "None of them is rejected as the best: these data do not identify the optimum"
    only = ", " not in row["not_rejected"]
    text = f"Not rejected as the best {'is' if only else 'are'} {row['not_rejected']}{' alone' if only else ''}"
    return text + (", and larger ratios were not tested" if row["top"] else "")


def _selected(row: pd.Series) -> str:
    """The largest gain, as observed and adjusted for its selection."""
    observed = show_cells(row["gain"], sign=True, unit="percentage points")
    if pd.isna(row["gain_low"]):
        return f"{observed}, has no interval"
    adjusted = show_cells(row["gain_adjusted"], row["gain_low"], row["gain_high"], sign=True)
    return f"{observed}, was selected as the largest; adjusted for that it is {adjusted}"


def gan_comparison(gains: pd.DataFrame, fidelity: pd.DataFrame | None) -> str:
    """The first pair of arms, and the images. gains, fidelity: of `gan_comparison`."""
    row = gains.iloc[0]
    if row["verdict"] == "not run":
        return f"Diffusion against a GAN was {NOT_RUN}."
    text = f"With as many images of {row['method']} as of a GAN: " + words.claim(row)
    if fidelity is None:
        return text
    own = fidelity[(fidelity["method"] == row["method"]) & (fidelity["generator"] == row["generator"])]
    kids = pd.concat([own.head(1), fidelity[fidelity["method"] == GAN].head(1)])["kid"].tolist()
    if len(kids) < 2 or any(pd.isna(kid) for kid in kids):
        return text
    nearer = "nearer to" if kids[0] < kids[1] else "farther from"
    return text + f" Its images lie {nearer} held-out real ones than the GAN's."


def external_validation(gains: pd.DataFrame) -> str:
    """The gain on images of another source. gains: of `external_validation.compare`."""
    row = gains.iloc[0]
    if str(row["flags"]).startswith("not run"):
        return f"Whether the gain carries over was {row['flags']}."
    own, other, change = gains[gains["group"] == "all"].to_dict("records")
    levels = [show_cells(100 * side["without"]) for side in (own, other)]
    text = f"On images of another source ({other['data']}; {show_cells(int(other['images']))} images) synthetic "
    text += f"images change accuracy by {_points(other)}; on the run's own test images by {_points(own)}. "
    text += f"Without them, accuracy is {levels[0]} % on the run's own images and {levels[1]} % on the others. "
    if pd.isna(change["p"]):
        return text + "Whether the two gains differ cannot be estimated."
    if change["low"] <= 0 <= change["high"]:
        return text + f"No difference between the gains is shown ({_points(change)})."
    return text + f"The gain is {'larger' if change['estimate'] > 0 else 'smaller'} there ({_points(change)})."


def long_tail(gains: pd.DataFrame, relation: pd.DataFrame) -> str:
    """The correlation by condition, then by condition × skin type. gains, relation: of `long_tail`."""
    if (gains["verdict"] == "not run").all():
        return "Not run: the grid of this run lacks the primary arm or its control."
    sentences = []
    for row in relation.to_dict("records"):
        unit = UNITS[row["over"]]
        if pd.isna(row["rho"]):
            sentences.append(f"By {unit}, whether the rare ones gain more cannot be told ({row['flags']})")
            continue
        rho, low, high = (show_cells(row[key], digits=2, sign=True) for key in ("rho", "low", "high"))
        sentences.append(
            f"Over {row['units']} units of {unit} the gain and the number of own training images have a rank "
            f"correlation of {rho} ({low} to {high}; p {equals_p(row['p'])}; below zero, the rare ones gain more)"
        )
    text = ". ".join(sentences) + "."
    cells = gains[gains["over"] == "cell"]
    if len(cells):
        small = int(cells["p"].isna().sum())
        text += f" {small} of {len(cells)} cells of condition × skin type were too small to test."
    return text


def worst_group(table: pd.DataFrame) -> str:
    """The worst group with synthetic images and with oversampling. table: of `worst_group.compare`."""
    row = table.iloc[-1]
    if str(row["flags"]).startswith("not run"):
        return f"Not run: {row['flags'].removeprefix('not run: ')}."
    if row["group"] != WORST:
        return "Not estimable: fewer than two skin-type groups are known among the test images."
    synthetic, real = (show_cells(100 * row[key]) for key in ("with_synthetic", "with_oversampling"))
    text = f"With as many images shown, accuracy in the worst skin-type group is {synthetic} % with synthetic images "
    text += f"and {real} % with real ones shown again: a change of {_points(row)}; {row['flags']}. "
    if pd.isna(row["low"]) or row["low"] <= 0 <= row["high"]:
        return text + "Either may be better for it; these images do not tell."
    better = "synthetic images" if row["estimate"] > 0 else "real images shown again"
    return text + f"For it, {better} are expected to be better."


def _points(row: Mapping[str, Any]) -> str:
    """A change with its interval, in percentage points."""
    return show_cells(row["estimate"], row["low"], row["high"], sign=True, unit="percentage points")
