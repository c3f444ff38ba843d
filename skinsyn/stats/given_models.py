"""Tests that hold for these trained models only: one run at a time, and many hypotheses with whole clusters flipped.

They say nothing about training again: under a simulated null they find differences between two runs of the same recipe.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from statsmodels.stats import contingency_tables

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


def all_pairs(
    predictions: pd.DataFrame | Mapping[str, Block], declared: Hypotheses, level: float = 0.95
) -> pd.DataFrame:
    """McNemar 1947 for every declared gain of one arm over another, run by run, Holm-adjusted within family and run.

    Columns: family, id, those of `by_run` up to mid_p, and `mcnemar`, the p with continuity correction (Edwards 1948),
    `mcnemar_holm` and `exact_holm`; flags. A sum of gains has no paired table and no row; an arm that was not run is a
    row with a flag. Images of one cluster count as if they were independent.
    """
    prepared, tables = estimands.as_blocks(predictions), []
    for name in declared.families:
        chosen = [one for one in declared.of_family(name) if len(one.pairs) == 1 and not one.against]
        for one in (member for part in chosen for member in estimands.spread(prepared, part, declared.arms)):
            treatment, control = declared.named(one.pairs[0])
            try:
                table = by_run(prepared, treatment, control, one.where, level)
            except (estimands.NotRun, ValueError) as missing:
                table = pd.DataFrame([{"run": None, "images": 0, "flags": f"not run: {missing}"}])
            tables.append(table.assign(family=name, id=one.id))
    columns = "family id run images clusters both gained lost neither estimate low high mcnemar mcnemar_holm exact"
    columns += " exact_holm mid_p flags"
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    table = table.reindex(columns=columns.split())
    table["mcnemar"] = [corrected(*pair) for pair in table[["gained", "lost"]].to_numpy(float)]
    for name in ("mcnemar", "exact"):
        by = table.groupby(["family", "run"], sort=False)[name]
        table[f"{name}_holm"] = by.transform(lambda p: families.adjust(p, "holm"))
    return table


def corrected(gained: float, lost: float) -> float:
    """McNemar 1947 with Edwards' continuity correction, by statsmodels: two-sided p of gained against lost pairs.

    NaN where a count is missing.

    >>> f"{corrected(18, 70):.3e}", corrected(0, 0)
    ('5.430e-08', 1.0)
    """
    if np.isnan([gained, lost]).any():
        return float("nan")
    if gained == lost:  # the correction never makes a difference where there is none
        return 1.0
    test = contingency_tables.mcnemar([[0, gained], [lost, 0]], exact=False, correction=True)
    return float(test.pvalue)


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
