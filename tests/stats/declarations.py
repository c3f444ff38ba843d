"""Declarations for the tests of stats/: the primary contrast of the simulated predictions, and more hypotheses."""

from skinsyn.stats.hypotheses import Hypotheses

SYNTHETIC = {"task": "condition", "n": 8, "ratio": 10, "transforms": True}
CONTROL = {"task": "condition", "n": 8, "ratio": 0, "transforms": True}


def declare(*hypotheses: dict, families: dict | None = None, arms: dict | None = None, **sections) -> Hypotheses:
    """Hypotheses about the arms `synthetic` and `control` and `arms`, of family F where they name none."""
    whole = [{"family": "F", "estimand": "synthetic - control", **one} for one in hypotheses]
    given = {"families": families or {"F": {"correction": "holm"}}, "hypotheses": whole, **sections}
    return Hypotheses.read({"arms": {"synthetic": SYNTHETIC, "control": CONTROL, **(arms or {})}, **given}, "mine.yml")
