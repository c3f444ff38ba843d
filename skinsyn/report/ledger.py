"""The claims ledger: the published claims, this run's estimates, and verdicts by the rules of 08's parameters.

The parameter `verdict_rules` of 08 gives each claim a rule:

    C1: {rule: above, family: F0, tests: [primary, C1]}
    C2: {rule: bounded, tests: [C2]}
    C6: {rule: nearer}
    C7: {rule: at least, count: 458920}

`tests` are the beginnings of the ids of the hypotheses that carry a claim, `family` is the beginning of their family's
name. A claim with several hypotheses is reproduced where all of them are, and not reproduced where one of them is not.
A claim whose arms or numbers are missing is 'not run'. Level and margin are those of 05 (`inference.Inference`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from ..run.records import Record, setting
from .inference import Inference
from .numbers import show_cells

__all__ = [
    "RULES",
    "VERDICTS",
    "Claim",
    "Evidence",
    "Result",
    "Rule",
    "HypothesisRule",
    "claims",
    "estimate_text",
    "ledger",
]

STATEMENTS = Path(__file__).parents[1] / "assets" / "paper" / "claims.yml"
REPRODUCED, FAILED, OPEN, NOT_RUN = VERDICTS = ("reproduced", "not reproduced", "not identified", "not run")


class Evidence(NamedTuple):
    """What the verdicts rest on: the table of tests of 05 (estimates in points) or None, the numbers as saved, the
    number of synthetic images or None, and the level and margin of 05."""

    tests: pd.DataFrame | None = None
    numbers: Mapping[str, Mapping] = {}
    synthetic: int | None = None
    inference: Inference = Inference()


class Result(NamedTuple):
    """A verdict and the estimate beside it: in points, for `nearer` in cosine distance, for `at least` in images."""

    verdict: str
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class Rule(Record):
    """What decides a claim."""

    def decide(self, evidence: Evidence) -> Result:
        """The verdict on this evidence."""
        raise NotImplementedError

    def sentence(self, inference: Inference) -> str:
        """The rule as printed in the paper."""
        raise NotImplementedError


@dataclass(frozen=True)
class HypothesisRule(Rule):
    """A rule over declared hypotheses."""

    tests: tuple = setting((), "beginnings of the ids of the hypotheses that carry the claim")
    family: str = setting("", "beginning of their family's name")
    show: str = setting("first", "hypothesis whose estimate the ledger prints", choices=("first", "least"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.tests or self.family):
            raise ValueError("names no tests and no family")

    def hypotheses(self, tests: pd.DataFrame | None) -> pd.DataFrame:
        """The rows of the table of tests that carry the claim, run or not."""
        if tests is None or tests.empty:
            return pd.DataFrame({"verdict": []})
        ids = tests["id"].str.startswith(self.tests or "")
        return tests[ids & tests["family"].str.startswith(self.family)]

    def shown(self, tests: pd.DataFrame | None) -> pd.Series:
        """The row whose estimate the ledger prints, for a claim that was run."""
        rows = self.hypotheses(tests)
        rows = rows[rows["verdict"] != NOT_RUN]
        least = self.show == "least" and rows["estimate"].notna().any()
        return rows.loc[rows["estimate"].idxmin()] if least else rows.iloc[0]

    def decide(self, evidence: Evidence) -> Result:
        rows = self.hypotheses(evidence.tests)
        verdicts = {
            NOT_RUN if row["verdict"] == NOT_RUN else self.verdict_of(row, evidence.inference)
            for row in rows.to_dict("records")
        }
        if verdicts <= {NOT_RUN}:
            return Result(NOT_RUN)
        verdict = FAILED if FAILED in verdicts else REPRODUCED if verdicts == {REPRODUCED} else OPEN
        shown = self.shown(rows)
        return Result(verdict, *(float(shown[end]) for end in ("estimate", "low", "high")))

    def verdict_of(self, row: Mapping[str, Any], inference: Inference) -> str:
        """The verdict of one hypothesis that was run."""
        raise NotImplementedError


class Above(HypothesisRule):
    """A gain. Where it is not shown, an interval that ends below the margin leaves no gain of interest."""

    def verdict_of(self, row: Mapping[str, Any], inference: Inference) -> str:
        if row["p_adjusted"] <= inference.alpha:
            return REPRODUCED if row["estimate"] > 0 else FAILED
        return FAILED if row["high"] < inference.points else OPEN

    def sentence(self, inference: Inference) -> str:
        return (
            f"every estimate is above 0 with adjusted p ≤ {inference.alpha:g}; not reproduced where an estimate is"
            f" below 0 with such a p, or where its {inference.percent} interval ends below {inference.points:g} points"
        )


class Bounded(HypothesisRule):
    """Gains that have stopped, tested as non-superiority."""

    def verdict_of(self, row: Mapping[str, Any], inference: Inference) -> str:
        if row["p_adjusted"] <= inference.alpha:
            return REPRODUCED
        return FAILED if row["low"] > 0 else OPEN

    def sentence(self, inference: Inference) -> str:
        return (
            f"non-superiority within {inference.points:g} points is shown with adjusted p ≤ {inference.alpha:g}; not"
            f" reproduced where the {inference.percent} interval of the gain lies above 0"
        )


class Nearer(Rule):
    """The paired distance of c6.paired lies below the permuted one; p and interval must agree."""

    def decide(self, evidence: Evidence) -> Result:
        of = {part: evidence.numbers.get(f"c6.{part}", {}) for part in ("paired", "permuted", "p", "difference")}
        paired, permuted, p = (of[part].get("value") for part in ("paired", "permuted", "p"))
        if paired is None or permuted is None:
            return Result(NOT_RUN)
        low, high = (np.nan if of["difference"].get(end) is None else of["difference"][end] for end in ("low", "high"))
        difference = of["difference"].get("value")
        difference = paired - permuted if difference is None else difference
        if difference >= 0:
            return Result(OPEN if low < 0 else FAILED, difference, low, high)
        shown = p is not None and p <= evidence.inference.alpha and not high >= 0
        return Result(REPRODUCED if shown else OPEN, difference, low, high)

    def sentence(self, inference: Inference) -> str:
        return (
            f"the paired distance is below the permuted one with p ≤ {inference.alpha:g} and an interval below 0; not"
            " reproduced where neither the difference nor its interval is below 0"
        )


@dataclass(frozen=True)
class AtLeast(Rule):
    """The scale of the run."""

    count: int = setting(0, "synthetic images", low=1)

    def decide(self, evidence: Evidence) -> Result:
        if evidence.synthetic is None:
            return Result(NOT_RUN)
        return Result(REPRODUCED if evidence.synthetic >= self.count else FAILED, float(evidence.synthetic))

    def sentence(self, inference: Inference) -> str:
        return f"the run has at least {self.count:,} synthetic images; not reproduced where it has fewer"


RULES: dict[str, type[Rule]] = {"above": Above, "bounded": Bounded, "nearer": Nearer, "at least": AtLeast}


@dataclass(frozen=True)
class Claim(Record):
    """A published claim and the rule behind its verdict."""

    id: str = setting(about="C1 to C7")
    statement: str = setting(about="what the study claims")
    published: str = setting(about="the result that it published")
    rule: Rule = setting(about="what decides the claim in this run")


def claims(verdict_rules: Mapping[str, Mapping[str, Any]]) -> list[Claim]:
    """The claims in order, each with its rule: {'rule': name, then the fields of that rule}.

    Raises ValueError for a claim that is missing or unknown, a rule of no known name, and what its record refuses.
    """
    known = yaml.safe_load(STATEMENTS.read_text())
    if lacking := sorted(set(known) ^ set(verdict_rules)):
        fault = "missing" if lacking[0] in known else "not a claim"
        raise ValueError(f"verdict_rules: {lacking[0]} is {fault}; the claims are {', '.join(known)}")
    listed = []
    for name, about in known.items():
        fields = dict(verdict_rules[name])
        rule = fields.pop("rule", None)
        if rule not in RULES:
            raise ValueError(f"verdict_rules: {name} has rule {rule!r}, expected one of {', '.join(RULES)}")
        listed.append(Claim(id=name, **about, rule=RULES[rule].read(fields, where=f"verdict_rules: {name}")))
    return listed


def ledger(listed: Sequence[Claim], evidence: Evidence) -> pd.DataFrame:
    """One row per claim: claim, published, estimate, low, high, verdict (see `Result` for units)."""
    rows = [
        {"claim": f"{one.id}: {one.statement}", "published": one.published} | one.rule.decide(evidence)._asdict()
        for one in listed
    ]
    return pd.DataFrame(rows, columns=["claim", "published", "estimate", "low", "high", "verdict"])


def estimate_text(row: Mapping[str, Any]) -> str:
    """The estimate of a row of the ledger with its interval, '' where there is none: points to one decimal, cosine
    distances to three, images as they are."""
    digits, sign = {"C6": (3, True), "C7": (0, False)}.get(row["claim"][:2], (1, True))
    return "" if pd.isna(row["estimate"]) else show_cells(row["estimate"], row["low"], row["high"], digits, sign)
