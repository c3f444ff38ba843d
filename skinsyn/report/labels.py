"""What tables, figures and sentences call the arms of a study, whatever arms it has."""

from typing import Any

import pandas as pd

from ..stats.hypotheses import Hypotheses
from .numbers import equals_p, show_cells

__all__ = ["change", "of_pair", "pairs"]


def of_pair(declared: Hypotheses) -> dict[str, dict[str, Any]]:
    """Name → settings of both arms, the treatment first: what they train on, or their names as declared.

    >>> arms = {"A": {"arm": "app A"}, "B": {"arm": "app B"}}
    >>> one = {"id": "A - B", "family": "pairs", "estimand": "A - B"}
    >>> given = {"arms": arms, "families": {"pairs": {"correction": "holm"}}, "hypotheses": [one]}
    >>> list(of_pair(Hypotheses.read(given)))
    ['A', 'B']
    """
    names = list(declared.primary.pairs[0])
    treatment, control = declared.named(names)
    if _adds_synthetic(treatment, control):
        names = ["real and synthetic", "real only"]
    return dict(zip(names, (treatment, control), strict=True))


def change(declared: Hypotheses) -> str:
    """The primary contrast as the subject of a sentence: 'Adding synthetic images', or 'A instead of B'."""
    first, second = declared.primary.pairs[0]
    adds = _adds_synthetic(*declared.named((first, second)))
    return "Adding synthetic images" if adds else f"{first} instead of {second}"


def pairs(rows: pd.DataFrame, most: int = 10) -> str:
    """McNemar's tests of one run in words: the `most` with the smallest p. rows: of `given_models.all_pairs`."""
    tested = rows[rows["mcnemar"].notna()].sort_values("mcnemar", kind="stable")
    parts = []
    for row in tested.head(most).to_dict("records"):
        gained, lost = (show_cells(int(row[name])) for name in ("gained", "lost"))
        p, holm = equals_p(row["mcnemar"]), equals_p(row["mcnemar_holm"])
        counts = f"{row['id']}: {gained} images right by the first alone, {lost} by the second alone"
        parts.append(f"{counts} (McNemar with continuity correction: p {p}, Holm-adjusted p {holm})")
    rest = f" {show_cells(len(tested) - most)} more pairs are in the table." * (len(tested) > most)
    if not parts:
        return "No pair of arms has a table of discordant answers."
    return f"{'; '.join(parts)}.{rest} These tests hold for these trained models only."


def _adds_synthetic(treatment: dict[str, Any], control: dict[str, Any]) -> bool:
    return bool(treatment.get("ratio")) and control.get("ratio") == 0
