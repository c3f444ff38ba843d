"""The claims ledger: the published claims, this run's estimates, and three verdicts on each (`verdicts`), by the
rules of 08's parameters (`rules`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .claims import Claim
from .numbers import show_cells
from .rules import TASKS, Evidence

__all__ = ["COLUMNS", "estimate_text", "ledger"]

COLUMNS = ["claim", "task", "published", "estimate", "low", "high", "interval"]
COLUMNS += ["direction", "magnitude", "no_worthwhile_gain", "reason"]


def ledger(listed: Sequence[Claim], evidence: Evidence) -> pd.DataFrame:
    """One row per claim: claim, task, published, estimate, low, high, interval (what low to high is), direction,
    magnitude, no_worthwhile_gain, reason (see `verdicts.Finding`)."""
    rows = [
        {"claim": f"{one.id}: {one.statement}", "task": TASKS.get(one.task, ""), "published": one.published}
        | one.decide(evidence)._asdict()
        for one in listed
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def estimate_text(row: Mapping[str, Any]) -> str:
    """The estimate of a row of the ledger with its interval or bound, '' where there is none: points to one decimal,
    cosine distances to three, images as they are.

    >>> estimate_text({"claim": "C2: gains saturate", "estimate": 0.5, "low": float("nan"), "high": 2.0})
    '+0.5 (at most +2.0)'
    """
    digits, sign = {"C6": (3, True), "C7": (0, False)}.get(row["claim"][:2], (1, True))
    if pd.isna(row["estimate"]):
        return ""
    if pd.isna(row["low"]) and pd.notna(row["high"]):
        value, bound = (show_cells(row[end], digits=digits, sign=sign) for end in ("estimate", "high"))
        return f"{value} (at most {bound})"
    return show_cells(row["estimate"], row["low"], row["high"], digits, sign)
