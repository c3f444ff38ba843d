"""What was drawn anew in each run, by arm: real images, and the generators behind the synthetic ones."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from .arms import Cell

__all__ = ["table"]

COLUMNS = "arm runs real pool_low pool_high shared_real generators shared_generators".split()


def table(
    uses: Iterable[tuple[Cell, Iterable[str]]], generator_of: Mapping[str, str], images: pd.DataFrame
) -> pd.DataFrame:
    """How far the runs of an arm are replications: one row per arm.

    uses: (cell, ids of the images it trains on). generator_of: id of a synthetic image → key of its generator. images:
    the table of 01. Columns: arm, runs; real (mean number of real images per run), pool_low, pool_high (fewest and most
    training images of a condition, from which they are drawn), shared_real (mean share of its real images that a run
    has in common with another); generators (distinct ones over all runs), shared_generators (mean share of a run's
    generators that another uses, too). NaN where there is one run, or nothing to share.
    """
    split = images.set_index("image_id")["split"]
    used = images[images["split"] == "train"]
    pool = used["condition"].value_counts()
    real: dict[str, list[set[str]]] = {}
    made: dict[str, list[set[str]]] = {}
    for cell, ids in uses:
        trained = list(ids)
        real.setdefault(cell.arm, []).append({one for one in trained if one in split.index})
        made.setdefault(cell.arm, []).append({generator_of[one] for one in trained if one in generator_of})
    rows = []
    for arm, of_run in real.items():
        low, high = (int(pool.min()), int(pool.max())) if len(pool) and any(of_run) else (0, 0)
        row = {"arm": arm, "runs": len(of_run), "real": float(np.mean([len(one) for one in of_run]))}
        row |= {"pool_low": low, "pool_high": high, "shared_real": _shared(of_run)}
        rows.append(row | {"generators": len(set().union(*made[arm])), "shared_generators": _shared(made[arm])})
    return pd.DataFrame(rows, columns=COLUMNS)


def _shared(of_run: list[set[str]]) -> float:
    """Mean over ordered pairs of runs of the share of the first's members that are the second's, too."""
    pairs = [(a, b) for i, a in enumerate(of_run) for j, b in enumerate(of_run) if i != j and a]
    return float(np.mean([len(a & b) / len(a) for a, b in pairs])) if pairs else np.nan
