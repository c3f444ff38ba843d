"""The paper's tables of claims and of tests: estimates, intervals or bounds by name, and verdicts, as rows of text."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from .claims import Claim
from .inference import Inference
from .ledger import estimate_text
from .numbers import NOT_ESTIMABLE, NOT_RUN, number, show, show_cells, show_p
from .rules import HypothesisRule

__all__ = ["Mark", "estimate", "ledger_table", "rules_table", "section", "table", "tests_table"]

# (row of the saved table, its column, text) → the text, marked with the id of the number that it shows, if any
Mark = Callable[[int, str, str], str]


def table(widths: Mapping[str, float], rows: Iterable[Iterable]) -> dict:
    """widths: head of a column → its share of the width. Cells become text, whole numbers with thousands separators."""

    def text(cell: object) -> str:
        return (
            show(number(int(cell))) if isinstance(cell, int | np.integer) and not isinstance(cell, bool) else str(cell)
        )

    listed = [[text(cell) for cell in row] for row in rows]
    return {"head": list(widths), "rows": listed, "widths": list(widths.values())}


def section(name: str, widths: Mapping[str, float]) -> list[str]:
    """A row that heads those below it."""
    return [f"§{name}"] + [""] * (len(widths) - 1)


def estimate(row: Mapping, digits: int = 1, sign: bool = True) -> str:
    """The estimate of a row with its own interval, '' where there is none.

    >>> estimate({"estimate": 2.0, "low": 0.5, "high": 3.5})
    '+2.0 (+0.5 to +3.5)'
    """
    return "" if pd.isna(row["estimate"]) else show_cells(row["estimate"], row["low"], row["high"], digits, sign)


def _with_bound(row: Mapping) -> str:
    """The estimate of a one-sided test, its bound and the margin."""
    value = show_cells(row["estimate"], sign=True)
    if pd.isna(row["upper_bound"]):
        return value
    return f"{value} (at most {show_cells(row['upper_bound'], sign=True)}; margin {show_cells(row['margin'])})"


def _over_family(row: Mapping) -> str:
    """The interval or bound that holds over the whole family, by name; the simultaneous one where it is declared."""
    ends = [("low_simultaneous", "high_simultaneous", "simultaneous, Bonferroni-t")]
    ends += [("low_adjusted", "high_adjusted", row["bound"])]
    for low, high, name in ends:
        if pd.notna(row[low]) and pd.notna(row[high]):
            return f"{show_cells(row[low], sign=True)} to {show_cells(row[high], sign=True)} ({name})"
    return (
        ""
        if pd.isna(row["high_adjusted"])
        else f"at most {show_cells(row['high_adjusted'], sign=True)} ({row['bound']})"
    )


def ledger_table(frame: pd.DataFrame, marked: Mark) -> dict:
    """The claims ledger (see `ledger.ledger`): one row per claim, its estimates linked to where they come from."""
    widths = {"claim": 2.4, "published": 1.8, "this run (interval or bound)": 1.9, "direction": 1.2, "size": 1.2}
    widths |= {"no worthwhile gain": 1.2, "reason": 2.6}
    rows = []
    for place, row in enumerate(frame.to_dict("records")):
        claim = row["claim"] + (f" ({row['task']})" if row["task"] else "")
        shown = marked(place, "estimate", estimate_text(row)) or NOT_RUN
        shown += f"; {row['interval']}" if row["interval"] else ""
        verdicts = (row[name] for name in ("direction", "magnitude", "no_worthwhile_gain"))
        rows.append([claim, row["published"], shown, *verdicts, row["reason"]])
    return table(widths, rows)


def rules_table(claims: Sequence[Claim], inference: Inference) -> dict:
    """The rule behind the direction of each claim, and the hypotheses that it is about."""
    rows = []
    for claim in claims:
        basis = "numbers of the run"
        if isinstance(claim.rule, HypothesisRule):
            family = [f"family {claim.rule.family}"] if claim.rule.family else []
            basis = "; ".join(family + [f"id begins with {start}" for start in claim.rule.tests])
        rows.append([claim.id, basis, claim.rule.sentence(inference)])
    return table({"claim": 0.5, "hypotheses": 1.6, "direction: reproduced where": 4}, rows)


def tests_table(frame: pd.DataFrame, marked: Mark, inference: Inference) -> dict:
    """The declared hypotheses by family; a one-sided test with its bound, cells of the last family as a count."""
    widths = {"hypothesis": 1.9, f"points ({inference.percent} interval or bound)": 1.7, "over its family": 1.5}
    widths |= {"p": 0.7, "adjusted p": 0.8, "images": 0.65, "clusters": 0.7, "runs": 0.45, "remark": 2.6}
    rows: list[list] = []
    family, blank = None, [""] * (len(widths) - 2)
    cells = frame["id"].str.startswith("cell")
    for place, row in enumerate(frame.to_dict("records")):
        if cells.iloc[place]:
            continue
        if row["family"] != family:
            family = row["family"]
            rows.append(section(family, widths))
        if row["verdict"] == NOT_RUN:
            rows.append([row["id"], NOT_RUN, *blank])
            continue
        one_sided = row["alternative"] == "less"
        text = _with_bound(row) if one_sided else estimate(row)
        shown = marked(place, "estimate", text) if pd.notna(row["estimate"]) else NOT_ESTIMABLE
        p = ["" if pd.isna(row[key]) else marked(place, key, show_p(row[key])) for key in ("p", "p_adjusted")]
        p = [f"{cell} (one-sided)" if one_sided and cell else cell for cell in p]
        sizes = [int(row[key]) for key in ("images", "clusters", "runs")]
        shared = f"shared by runs: {row['shared']}" if row.get("shared") else ""
        # Why nothing was tested says enough; what flags say besides stands in the saved table.
        flags = row["flags"].split("; ")[0] if row["verdict"] == NOT_ESTIMABLE else row["flags"]
        verdict = "" if row["verdict"] == NOT_ESTIMABLE and flags else row["verdict"]
        remark = "; ".join(filter(None, [verdict, flags, shared]))
        rows.append([row["id"], shown, _over_family(row), *p, *sizes, remark])
    if cells.any():
        ran = int((frame.loc[cells, "verdict"] != NOT_RUN).sum())
        rows.append([f"{show(number(int(cells.sum())))} cells", f"{show(number(ran))} run", *blank])
    return table(widths, rows)
