"""The rules that decide the direction of a claim, and the evidence that they judge.

The parameter `verdict_rules` of 08 gives each claim a rule:

    C1: {rule: above, family: F0, tests: [primary, C1]}
    C2: {rule: bounded, tests: [C2]}
    C3: {rule: above, family: F1, enough: one, show: least}
    C6: {rule: nearer}
    C7: {rule: at least}

`tests` are the beginnings of the ids of the hypotheses that carry a claim, `family` is the beginning of their family's
name; hypotheses on another task of the classifiers than the claim's do not count. `enough: one` is what was published
for C3: every estimate above 0, and one of them significant. Level and margin are those of 05 (`inference.Inference`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..run.records import Record, setting
from . import published
from .inference import Inference
from .numbers import NOT_ESTIMABLE, NOT_RUN, show, show_cells
from .published import Size
from .verdicts import (
    FAILED,
    IMPRECISE,
    NOT_APPLICABLE,
    OPEN,
    REPRODUCED,
    Finding,
    direction,
    disagreement,
    magnitude,
    worthwhile,
)

__all__ = ["RULES", "TASKS", "Evidence", "AtLeast", "HypothesisRule", "Rule"]

TASKS = {"condition": "naming the condition", "malignancy": "telling malignant from benign"}


class Evidence(NamedTuple):
    """What the verdicts rest on: the table of tests of 05 (estimates in points) or None, the numbers as saved, the
    number of synthetic images or None, level and margin of 05, the data sets of the run's images, the largest gain over
    numbers of real images (estimate, low, high in points, selection adjusted) or None, and claims that were only
    stated."""

    tests: pd.DataFrame | None = None
    numbers: Mapping[str, Mapping] = {}
    synthetic: int | None = None
    inference: Inference = Inference()
    sources: tuple[str, ...] = ()
    largest: tuple[float, float, float] | None = None
    stated: frozenset[str] = frozenset()

    @property
    def phantoms(self) -> bool:
        """Whether the images are drawn by a program."""
        return any(source.startswith("phantom") for source in self.sources)


@dataclass(frozen=True)
class Rule(Record):
    """What decides the direction of a claim."""

    def decide(self, evidence: Evidence, task: str, size: Size | None) -> Finding:
        """The finding on this evidence. task: that the claim is about, '' for none; size: as published."""
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
    enough: str = setting("all", "how many must be shown", choices=("all", "one"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.tests or self.family):
            raise ValueError("names no tests and no family")

    def hypotheses(self, tests: pd.DataFrame | None, task: str = "") -> pd.DataFrame:
        """The rows of the table of tests that carry the claim, run or not. task: only those on it."""
        if tests is None or tests.empty:
            return pd.DataFrame({"verdict": [], "task": []})
        rows = tests[tests["id"].str.startswith(self.tests or "") & tests["family"].str.startswith(self.family)]
        return rows[rows["task"] == task] if task and "task" in rows else rows

    def shown(self, tests: pd.DataFrame | None, task: str = "") -> pd.Series:
        """The row whose estimate the ledger prints, for a claim that was run."""
        rows = self.hypotheses(tests, task)
        rows = rows[rows["verdict"] != NOT_RUN]
        tested = rows[rows["p"].notna()]  # three images have an estimate, too
        return tested.loc[tested["estimate"].idxmin()] if self.show == "least" and len(tested) else rows.iloc[0]

    def decide(self, evidence: Evidence, task: str, size: Size | None) -> Finding:
        rows, inference = self.hypotheses(evidence.tests, task), evidence.inference
        ran = rows[rows["verdict"] != NOT_RUN]
        if ran.empty:
            return Finding(NOT_RUN, magnitude=NOT_RUN, no_worthwhile_gain=NOT_RUN, reason=self._absent(evidence, task))
        records, shown = ran.to_dict("records"), self.shown(evidence.tests, task)
        judged = [direction(row, inference.alpha) for row in rows.to_dict("records")]
        gains = ran[ran["kind"].isin(["gain", "non-superiority"])]
        verdict, why = self._size(evidence, ran, size)
        reasons = [f"at {shown['n']} real images per class" if shown.get("n") else "", self._counted(judged, ran)]
        reasons += [
            f"{row['id']}: {row['flags'].split('; ')[0] or row['verdict']}"
            for row in records
            if row["verdict"] == NOT_ESTIMABLE
        ]
        for row in records:
            if found := disagreement(row, inference.alpha):
                reasons.append(f"{row['id']}: {found}" if len(records) > 1 else found)
        estimate, low, high = (float(shown[end]) for end in ("estimate", "low_adjusted", "high_adjusted"))
        return Finding(
            self._combined(judged, ran),
            estimate,
            low,
            high,
            _interval_name(shown, inference, evidence.tests),
            verdict,
            worthwhile(gains, inference.points, inference.alpha),
            "; ".join(filter(None, [*reasons, why])),
        )

    def _absent(self, evidence: Evidence, task: str) -> str:
        """Why no hypothesis on the claim was run."""
        others = self.hypotheses(evidence.tests)
        if evidence.tests is None:
            return "05_fairness_stats was not run"
        if others.empty:
            return "no such hypothesis is declared"
        if not (others["task"] == task).any():
            tested = " and ".join(TASKS.get(name, name) for name in others["task"].unique())
            return f"the claim is about {TASKS.get(task, task)}; this profile tests {tested}"
        return str(others.loc[others["task"] == task, "flags"].iloc[0])

    def _combined(self, judged: list[str], ran: pd.DataFrame) -> str:
        if FAILED in judged:
            return FAILED
        if self.enough == "one" and len(ran) == len(judged):
            return REPRODUCED if REPRODUCED in judged and (ran["estimate"] > 0).all() else OPEN
        return REPRODUCED if set(judged) == {REPRODUCED} else OPEN

    def _counted(self, judged: list[str], ran: pd.DataFrame) -> str:
        if len(judged) == 1:
            return ""
        above = f", {int((ran['estimate'] > 0).sum())} of the estimates above 0" if self.enough == "one" else ""
        return f"shown in {judged.count(REPRODUCED)} of {len(judged)} hypotheses{above}"

    def _size(self, evidence: Evidence, ran: pd.DataFrame, size: Size | None) -> tuple[str, str]:
        """The verdict on the size; what was published as the largest of several is compared with the largest here."""
        if size is None or not size.maximum or evidence.phantoms:
            ends = [(row["low_adjusted"], row["high_adjusted"]) for row in ran.to_dict("records")]
            return magnitude(ends, size, evidence.phantoms)
        if evidence.largest is None:
            return IMPRECISE, "size: selection not adjusted"
        verdict, why = magnitude([evidence.largest[1:]], size)
        value, low, high = evidence.largest
        largest = f"largest gain over n, adjusted for its selection: {show_cells(value, low, high, sign=True)}"
        return verdict, "; ".join(filter(None, [largest, why]))


def _interval_name(row: pd.Series, inference: Inference, tests: pd.DataFrame | None) -> str:
    """What the adjusted interval or bound of a row is."""
    if not row["bound"]:
        return ""
    count = 0 if tests is None else int(tests.loc[tests["family"] == row["family"], "p"].notna().sum())
    ends = "one-sided bound" if row["alternative"] == "less" else "interval"
    return f"{inference.percent} {ends}, {row['bound']}, family of {count}"


class Above(HypothesisRule):
    """A gain."""

    def sentence(self, inference: Inference) -> str:
        if self.enough == "one":
            return (
                f"every estimate is above 0 and one or more has an adjusted p ≤ {inference.alpha:g}; not reproduced"
                " where an estimate is below 0 with such a p"
            )
        return (
            f"every estimate is above 0 with adjusted p ≤ {inference.alpha:g}; not reproduced where an estimate is"
            " below 0 with such a p"
        )


class Bounded(HypothesisRule):
    """Gains that have stopped, tested as non-superiority."""

    def sentence(self, inference: Inference) -> str:
        return (
            f"non-superiority within {inference.points:g} points is shown with one-sided adjusted p ≤"
            f" {inference.alpha:g}; not reproduced where the adjusted one-sided lower bound of the gain is above 0"
        )


class Nearer(Rule):
    """The paired distance of c6.paired lies below the permuted one; p and interval must agree."""

    def decide(self, evidence: Evidence, task: str, size: Size | None) -> Finding:
        of = {part: evidence.numbers.get(f"c6.{part}", {}) for part in ("paired", "permuted", "p", "difference")}
        paired, permuted, p = (of[part].get("value") for part in ("paired", "permuted", "p"))
        if paired is None or permuted is None:
            return Finding(NOT_RUN, magnitude=NOT_RUN, no_worthwhile_gain=NOT_RUN, reason="no distances were saved")
        low, high = (np.nan if of["difference"].get(end) is None else of["difference"][end] for end in ("low", "high"))
        difference = of["difference"].get("value")
        difference = paired - permuted if difference is None else difference
        name = "" if np.isnan(low) else "interval of the difference in cosine distance"
        why = magnitude([], size, evidence.phantoms)[1]
        if difference >= 0:
            return Finding(OPEN if low < 0 else FAILED, difference, low, high, name, reason=why)
        shown = p is not None and p <= evidence.inference.alpha and not high >= 0
        return Finding(REPRODUCED if shown else OPEN, difference, low, high, name, reason=why)

    def sentence(self, inference: Inference) -> str:
        return (
            f"the paired distance is below the permuted one with p ≤ {inference.alpha:g} and an interval below 0; not"
            " reproduced where neither the difference nor its interval is below 0"
        )


@dataclass(frozen=True)
class AtLeast(Rule):
    """The scale of the run, data set by data set."""

    count: int = setting(0, "synthetic images; 0: as many as were published for the run's data sets", low=0)

    def decide(self, evidence: Evidence, task: str, size: Size | None) -> Finding:
        if evidence.synthetic is None:
            return Finding(NOT_RUN, magnitude=NOT_RUN, no_worthwhile_gain=NOT_RUN, reason="03_generation was not run")
        made, needed = float(evidence.synthetic), self.count
        about = ""
        if not needed:
            per_set = {name: n for name, n in published.counts().items() if name in evidence.sources}
            if not per_set:
                names = ", ".join(evidence.sources) or "unknown"
                return Finding(NOT_APPLICABLE, made, reason=f"the study has no data set of this run ({names})")
            needed = sum(per_set.values())
            about = "published for " + " and ".join(f"{name}: {_whole(n)}" for name, n in per_set.items())
        return Finding(REPRODUCED if made >= needed else FAILED, made, reason=about)

    def sentence(self, inference: Inference) -> str:
        if self.count:
            return f"the run has at least {_whole(self.count)} synthetic images; not reproduced where it has fewer"
        listed = ", ".join(f"{_whole(count)} of {name}" for name, count in published.counts().items())
        return (
            f"the run has as many synthetic images of its data set as were published ({listed}); not reproduced where"
            " it has fewer"
        )


def _whole(count: int) -> str:
    return show({"value": count, "unit": "", "low": None, "high": None})


RULES: dict[str, type[Rule]] = {"above": Above, "bounded": Bounded, "nearer": Nearer, "at least": AtLeast}
