"""Sensitivity analysis: one declared hypothesis under each switch of the protocol, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from . import bootstrap, contrasts, declared, estimands
from .predictions import FACTS, Block

HERE = ""  # name of the run in hand


def side_by_side(
    runs: Mapping[str, Mapping[str, Block]],
    variants: Sequence[Mapping],
    treatment: str | Mapping,
    control: str | Mapping,
    arms: Mapping | None = None,
    average: str = "macro",
    margin: float | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """The contrast of two arms under each variant, uncorrected: one question, and none is chosen after looking.

    runs: name → predictions as blocks; "" is the run in hand. variants: hypotheses as `declared` writes them, in which
    `run` may name another run (e.g. with the last epoch instead of the best). margin: of equivalence. Columns: run,
    those of `contrasts.test_families` from id to flags without correction, and low_bootstrap, high_bootstrap (two-way).
    A variant whose arms or run are not there is 'not run'. Raises ValueError for a variant that is wrong.
    """
    rows = []
    for variant in variants:
        here = str(variant.get("run", HERE))
        family = {"correction": "bonferroni", "treatment": treatment, "control": control, "average": average}
        family["hypotheses"] = [{key: value for key, value in variant.items() if key != "run"}]
        missing = f"there is no run {here!r}" if here not in runs else _unknown_fact(runs[here], variant)
        if missing:
            rows.append(pd.DataFrame([{"id": variant.get("id"), "verdict": "not run", "flags": missing, "run": here}]))
            continue
        table = contrasts.test_families(runs[here], {"sensitivity": family}, arms, margin, level)
        members = declared.hypotheses("sensitivity", family, runs[here], arms, margin)
        ends = [_bootstrap(runs[here], one, draws, seed, level) for one in members]
        table[["low_bootstrap", "high_bootstrap"]] = 100 * np.array(ends)
        rows.append(table.assign(run=here))
    kept = "run id kind average estimate low high low_bootstrap high_bootstrap p images clusters runs verdict flags"
    return pd.concat(rows, ignore_index=True).reindex(columns=kept.split())


def _unknown_fact(prepared: Mapping[str, Block], variant: Mapping) -> str:
    """What is asked of the images that these predictions do not say of any; '' where all is known."""
    asked = {**(variant.get("where") or {}), **(variant.get("each") or {})}
    known = set.union(*(set(block.images.columns) for block in prepared.values()))
    lost = [name for name in asked if name in FACTS and name not in known]
    return f"these predictions do not know the {lost[0]} of an image" if lost else ""


def _bootstrap(prepared: Mapping[str, Block], hypothesis: Mapping, draws: int, seed: int, level: float) -> tuple:
    """Two-way bootstrap interval of a declared hypothesis; (NaN, NaN) where it has no data."""
    try:
        tables, weights = estimands.tables(prepared, hypothesis)
    except (KeyError, ValueError):  # test_families has said why, or raised
        return np.nan, np.nan
    return bootstrap.contrast_interval(tables, weights, draws, seed, level)
