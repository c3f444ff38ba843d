"""Sensitivity analysis: the primary hypothesis under each switch of the protocol."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from . import bootstrap, contrasts, estimands
from .hypotheses import Family, Hypotheses, Hypothesis, Variant
from .predictions import FACTS, Block

COLUMNS = "run id kind average estimate low high low_bootstrap high_bootstrap p images clusters runs verdict flags"


def analyse(
    runs: Mapping[str, Mapping[str, Block]],
    declared: Hypotheses,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Each variant of `declared.sensitivity`, uncorrected: one question, and all of them are shown.

    runs: name → predictions as blocks; "" is the run in hand, others are those that variants name (e.g. with the last
    epoch instead of the best). Columns: run, those of `contrasts.test_families` from id to flags without correction,
    and low_bootstrap, high_bootstrap (two-way; flagged with few runs). A variant whose arms or run are not there is
    'not run'.
    """
    rows = []
    for variant in declared.sensitivity:
        missing = _missing(runs, variant)
        if missing:
            row = {"id": variant.id, "verdict": "not run", "flags": missing, "run": variant.run}
            rows.append(pd.DataFrame([row]))
            continue
        blocks, family = runs[variant.run], {"sensitivity": Family(correction="bonferroni")}
        alone = Hypotheses(arms=declared.arms, families=family, hypotheses=(variant.but(family="sensitivity"),))
        table = contrasts.test_families(blocks, alone, level)
        members = estimands.spread(blocks, variant, declared.arms)
        ends = [_bootstrap(blocks, one, declared.arms, draws, seed, level) for one in members]
        table[["low_bootstrap", "high_bootstrap"]] = 100 * np.array(ends)
        flags = [
            "; ".join(filter(None, (f, *bootstrap.few_runs(n))))
            for f, n in zip(table["flags"], table["runs"], strict=True)
        ]
        rows.append(table.assign(run=variant.run, flags=flags))
    return pd.concat(rows or [pd.DataFrame()], ignore_index=True).reindex(columns=COLUMNS.split())


def _missing(runs: Mapping[str, Mapping[str, Block]], variant: Variant) -> str:
    """The run, or the fact about images, that a variant needs and nobody has; '' where all is known."""
    if variant.run not in runs:
        return f"there is no run {variant.run!r}"
    known = set.union(*(set(block.images.columns) for block in runs[variant.run].values()))
    lost = [name for name in {**variant.where, **variant.by} if name in FACTS and name not in known]
    return f"these predictions do not know the {lost[0]} of an image" if lost else ""


def _bootstrap(
    blocks: Mapping[str, Block], one: Hypothesis, arms: estimands.Arms, draws: int, seed: int, level: float
) -> tuple[float, float]:
    """Two-way bootstrap interval of a hypothesis; (NaN, NaN) where it has no data, as `test_families` says."""
    try:
        tables, weights = estimands.tables(blocks, one, arms)
    except (estimands.NotRun, estimands.NoData):
        return np.nan, np.nan
    return bootstrap.contrast_interval(tables, weights, draws, seed, level)
