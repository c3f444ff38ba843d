"""Fairness at equal budget: synthetic images conditioned on skin type, against showing real images more often.

Both arms show a classifier as many images per epoch (`steps: matched`). One repeats its real images, the other adds
children of the same images, made with their skin type in the prompt.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from . import contrasts
from .bootstrap import few_runs, percentile_interval, two_way_means
from .by_group import gains_by_group
from .clusters import within_strata
from .intervals import once
from .predictions import Block

__all__ = ["WORST", "compare"]

WORST = "worst group"


def compare(
    prepared: Mapping[str, Block],
    synthetic: Mapping,
    oversampled: Mapping,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Accuracy of both arms and its change: overall, by skin-type group, and in the group of lowest accuracy.

    synthetic, oversampled: settings of one arm each, of the same task. Columns: group, with_synthetic,
    with_oversampling (proportions), estimate, low, high (points), p, images, clusters, runs, flags. Every row counts a
    cluster once within its group. The rows of groups are the MRMC test's, uncorrected. In 'worst group' each arm has
    its own worst one, identified anew in every resample of runs and clusters (percentile interval, no p): the minimum
    of several estimates is biased downwards, in both arms alike, and most where groups are small.
    """
    table = gains_by_group(prepared, synthetic, oversampled, tasks=[synthetic["task"]], level=level)
    table = table[["group", "estimate", "low", "high", "p", "images", "clusters", "runs", "flags"]]
    arms = {"with_synthetic": synthetic, "with_oversampling": oversampled}
    if table["flags"].str.startswith("not run").any():
        return table.head(1).assign(**dict.fromkeys(arms, np.nan))
    correct = []
    for name, arm in arms.items():
        values, images = contrasts.answers(prepared, arm)
        means = {"all": _accuracy(values, images)}
        means |= {group: _accuracy(values[:, at.index], at) for group, at in images.groupby("fst_group")}
        table = table.assign(**{name: table["group"].map(means)})
        correct.append(values)
    known = np.flatnonzero(images["fst_group"] != "unknown")
    if images["fst_group"].iloc[known].nunique() < 2:
        return table
    worst = _worst([values[:, known] for values in correct], images.iloc[known], draws, seed, level)
    return pd.concat([table, pd.DataFrame([worst])], ignore_index=True)


def _accuracy(values: np.ndarray, images: pd.DataFrame) -> float:
    """Mean over runs and clusters of (runs, images) values, as the test counts them."""
    return float((values @ once(images["cluster_id"])).mean())


def _worst(correct: list[np.ndarray], images: pd.DataFrame, draws: int, seed: int, level: float) -> dict[str, Any]:
    """The row of the worst group. correct: (runs, images) of both arms."""
    answers = np.stack(correct, axis=2)
    means, strata = within_strata(answers, images["fst_group"].astype(str), images["cluster_id"])
    groups, at, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    # (runs, clusters, arms × groups). A column is zero outside its group, so that with weight 1 the sum over groups is
    # that group's own mean.
    own = (strata[:, None] == groups)[:, None]
    cells = np.where(own, means[..., None], 0.0).reshape(*means.shape[:2], -1)
    runs = len(cells)
    point = np.einsum("rck,c->k", cells, 1 / sizes[at]) / runs
    lowest = point.reshape(2, -1).min(1)
    first, second = (groups[part.argmin()] for part in point.reshape(2, -1))
    row = {"group": WORST, "with_synthetic": lowest[0], "with_oversampling": lowest[1]}
    row |= {"estimate": 100 * (lowest[0] - lowest[1])} | dict.fromkeys(("low", "high", "p"), np.nan)
    row |= {"images": len(images), "clusters": images["cluster_id"].nunique(), "runs": runs}
    flags = [f"worst: {first} with synthetic images, {second} with oversampling", *few_runs(runs)]
    row |= {"flags": "; ".join(flags)}
    if runs < 2 or sizes.min() < 2:
        return row | {"flags": row["flags"] + "; not estimable: one run or one cluster only"}
    weights = dict.fromkeys(groups.tolist(), 1.0)
    resampled = two_way_means(cells, strata, draws, np.random.default_rng(seed), weights)
    change = 100 * np.diff(resampled.reshape(draws, 2, -1).min(2)[:, ::-1], axis=1)[:, 0]
    low, high = percentile_interval(change, level)
    return row | {"low": float(low), "high": float(high)}
