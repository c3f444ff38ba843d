"""Tests that hold for these trained models only: one run at a time, and many hypotheses with whole clusters flipped.

They say nothing about training again: under a simulated null they find differences between two runs of the same recipe.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from . import estimands, families
from .hypotheses import Hypotheses
from .predictions import Block, select

NOTE = "given these trained models"


def by_run(
    predictions: pd.DataFrame | Mapping[str, Block],
    treatment: Mapping,
    control: Mapping,
    where: Mapping | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Each run's own paired table: run, images, clusters, both, gained, lost, neither, and what is tested on them.

    estimate, low, high: gain in points over images, with Newcombe's interval; exact and mid_p: McNemar's tests of
    gained against lost. Images of one cluster count as if they were independent, and the flag says so. NotRun where
    an arm was not run.
    """
    prepared = estimands.as_blocks(predictions)
    block = estimands.block_of(prepared, treatment)
    images = select(block.images, **(where or {}))
    if images.empty:
        raise ValueError(f"no test image with {dict(where or {})}")
    first, second = (block.correct[estimands.arm_of(block, arm)][:, images.index] for arm in (treatment, control))
    rows, clusters = [], images["cluster_id"].nunique()
    for run, a, b in zip(block.runs, first, second, strict=True):
        both, gained, lost, neither = (int(((a == x) & (b == y)).sum()) for x in (1, 0) for y in (1, 0))
        test, ends = families.mcnemar(gained, lost), families.newcombe_paired(both, gained, lost, neither, level)
        row = {"run": run, "images": len(images), "clusters": clusters}
        row |= {"both": both, "gained": gained, "lost": lost, "neither": neither}
        row |= {"estimate": 100 * (gained - lost) / len(images), "low": 100 * ends[0], "high": 100 * ends[1]}
        flags = [NOTE] + [f"{len(images)} images of {clusters} clusters count as independent"] * (
            clusters < len(images)
        )
        rows.append(row | {"exact": test.exact, "mid_p": test.mid_p, "flags": "; ".join(flags)})
    return pd.DataFrame(rows)


def max_t_table(
    predictions: pd.DataFrame | Mapping[str, Block],
    declared: Hypotheses,
    chosen: Sequence[str],
    draws: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """All hypotheses of the chosen families tested together by `families.max_t`: family, id, estimate, p_max_t, flags.

    Their own correction is not used. estimate in points.
    """
    prepared, rows, columns = estimands.as_blocks(predictions), [], []
    for one in (one for name in chosen for one in declared.of_family(name)):
        for member in estimands.spread(prepared, one, declared.arms):
            row = {"family": one.family, "id": member.id, "estimate": np.nan, "flags": NOTE}
            try:
                columns.append(estimands.contributions(estimands.parts(prepared, member, declared.arms)))
                row["estimate"] = 100 * float(columns[-1].sum())
            except (estimands.NotRun, estimands.NoData) as missing:
                columns.append(pd.Series(dtype=float))
                row["flags"] = f"not estimable: {missing}"
            rows.append(row)
    frame = pd.DataFrame(rows, columns=["family", "id", "estimate", "p_max_t", "flags"])
    if rows:
        frame["p_max_t"] = families.max_t(pd.concat(columns, axis=1).fillna(0.0).to_numpy(), draws, seed)
    silent = frame["p_max_t"].isna() & frame["estimate"].notna()
    frame.loc[silent, "flags"] = "not estimable: all differences are zero"
    return frame
