"""The published claims, each with the rule (`rules`) behind the verdict on its direction."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..run.records import Record, setting
from . import published as results
from .numbers import NOT_RUN
from .rules import RULES, Evidence, Rule
from .verdicts import REPRODUCED, Finding

__all__ = ["Claim", "claims"]

STATEMENTS = Path(__file__).parents[1] / "assets" / "paper" / "claims.yml"


@dataclass(frozen=True)
class Claim(Record):
    """A published claim and the rule behind its verdict."""

    id: str = setting(about="C1 to C7")
    statement: str = setting(about="what the study claims")
    task: str = setting(about="of the classifiers, which the claim is about; '' for none")
    published: str = setting(about="the result that it published")
    rule: Rule = setting(about="what decides the claim in this run")

    def decide(self, evidence: Evidence) -> Finding:
        """The three verdicts on this evidence."""
        found = self.rule.decide(evidence, self.task, results.size(self.id))
        if found.direction == NOT_RUN and self.id in evidence.stated:
            return found._replace(direction=REPRODUCED, reason="stated, without an estimate")
        return found


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
