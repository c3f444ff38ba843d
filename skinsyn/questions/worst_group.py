"""Fairness at equal budget: synthetic images conditioned on skin type, against showing real images more often.

Both arms show a classifier as many images an epoch (`steps: matched`). One repeats its real images, the other adds
children of the same images, made with their skin type in the prompt.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from skinsyn.report.numbers import number, show
from skinsyn.stats import contrasts
from skinsyn.stats.bootstrap import two_way_means
from skinsyn.stats.by_group import gains_by_group
from skinsyn.stats.predictions import Block

__all__ = ["answer", "compare"]

WORST = "worst group"


def compare(
    prepared: Mapping[str, Block],
    synthetic: Mapping,
    oversampled: Mapping,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of both arms and its change, in all images, in each skin-type group, and in whichever group is the
    worst.

    synthetic, oversampled: settings of one arm each, of the same task. Columns: group, with_synthetic,
    with_oversampling (proportions), estimate, low, high (points), p, images, clusters, runs, flags. The rows of groups
    are the MRMC test's. In 'worst group' each arm has its own worst one, found anew in every draw of runs and clusters
    (percentile interval, no p): the least of several estimates is too low, in both arms alike, and most where groups
    are small.
    """
    task = synthetic["task"]
    found = gains_by_group(prepared, synthetic, oversampled, tasks=[task], level=level)
    kept = found[["group", "estimate", "low", "high", "p", "images", "clusters", "runs", "verdict", "flags"]]
    levels = {"with_synthetic": np.nan, "with_oversampling": np.nan}
    if (kept["verdict"] == "not run").any():
        return kept.head(1).assign(**levels)
    answers = [contrasts.answers(prepared, arm) for arm in (synthetic, oversampled)]
    images = answers[0][1]
    for name, (correct, _) in zip(levels, answers, strict=True):
        means = {g: correct[:, at].mean() for g, at in images.groupby("fst_group").indices.items()} | {
            "all": correct.mean()
        }
        kept = kept.assign(**{name: kept["group"].map(means)})
    known = np.flatnonzero(images["fst_group"] != "unknown")
    groups = images["fst_group"].iloc[known]
    if groups.nunique() < 2:
        return kept
    worst = _worst([c[:, known] for c, _ in answers], images.iloc[known], draws, seed, level)
    return pd.concat([kept, pd.DataFrame([worst])], ignore_index=True)


def _worst(correct: list[np.ndarray], images: pd.DataFrame, draws: int, seed: int, level: float) -> dict:
    """The row of the worst group. correct: (runs, images) of both arms."""
    keys = pd.MultiIndex.from_frame(images[["fst_group", "cluster_id"]].astype(str))
    codes, names = pd.factorize(keys, sort=True)
    strata = np.asarray(names.get_level_values(0))
    groups = sorted(set(strata))
    cells = np.zeros((len(names), correct[0].shape[0], 2 * len(groups)))
    for arm, values in enumerate(correct):
        sums = np.zeros((len(names), len(values)))
        np.add.at(sums, codes, values.T)
        means = sums / np.bincount(codes)[:, None]
        for place, group in enumerate(groups):
            cells[strata == group, :, arm * len(groups) + place] = means[strata == group]
    # A column is zero outside its group, so that with weight 1 the sum over groups is that group's own mean.
    weights = dict.fromkeys(groups, 1.0)
    size = {group: (strata == group).sum() for group in groups}
    shares = np.array([1 / size[group] for group in strata])
    point = np.einsum("crk,c->k", cells, shares) / cells.shape[1]
    lowest = point.reshape(2, -1).min(1)
    row = {"group": WORST, "with_synthetic": lowest[0], "with_oversampling": lowest[1]}
    row |= {
        "estimate": 100 * (lowest[0] - lowest[1]),
        "low": np.nan,
        "high": np.nan,
        "p": np.nan,
        "images": len(images),
    }
    row |= {"clusters": images["cluster_id"].nunique(), "runs": cells.shape[1], "verdict": "", "flags": ""}
    named = [groups[int(part.argmin())] for part in point.reshape(2, -1)]
    row["flags"] = f"worst: {named[0]} with synthetic images, {named[1]} with oversampling"
    if cells.shape[1] < 2 or min(size.values()) < 2:
        return row | {"flags": row["flags"] + "; not estimable: one run or one cluster only"}
    drawn = two_way_means(cells.transpose(1, 0, 2), strata, draws, np.random.default_rng(seed), weights)
    change = 100 * np.diff(drawn.reshape(draws, 2, -1).min(2)[:, ::-1], axis=1)[:, 0]
    low, high = np.quantile(change, [(1 - level) / 2, (1 + level) / 2])
    return row | {"low": float(low), "high": float(high)}


def answer(found: pd.DataFrame) -> str:
    """The answer in plain words."""
    row = found.iloc[-1]
    if row.get("verdict") == "not run":
        return f"Not run: {row['flags']}."
    if row["group"] != WORST:
        return "Not estimable: fewer than two skin-type groups are known among the test images."
    ours, theirs = (show(number(100 * float(row[key])), 1) for key in ("with_synthetic", "with_oversampling"))
    ends = [None if pd.isna(row[key]) else float(row[key]) for key in ("low", "high")]
    change = show(number(float(row["estimate"]), "points", *ends), 1, sign=True, interval=True, unit=True)
    text = f"With as many images shown, the worst skin-type group is right in {ours} % with synthetic images and in "
    text += f"{theirs} % with real ones shown again: a change of {change}; {row['flags']}. "
    if pd.isna(row["low"]) or row["low"] <= 0 <= row["high"]:
        return text + "Either may be better for it; these images do not tell."
    better = "synthetic images" if row["estimate"] > 0 else "real images shown again"
    return text + f"For it, {better} are expected to be better."
