"""Declarations in words: whether hypotheses and rules were declared before the first look, and what changed since.

Every date comes from the declarations of the profile and from the log of looks, never from a clock, so that running
again changes no byte.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from ..run import declaration, looks, params
from ..run.declaration import Declaration
from ..stats.declaration import RULES, changes, content, declare
from . import paper_tables
from .claims import claims
from .inference import Inference
from .numbers import NOT_RUN

__all__ = ["COLUMNS", "of_analysis", "of_run", "report", "sentence", "with_rules"]

COLUMNS = ["date", "status", "words"]
BEFORE, AFTER, DEFAULTS, NONE = (
    "declared before the first look", "declared after the first look", "package defaults", "no declaration",
)  # fmt: skip
WORDING = f"at {Inference().percent} and {Inference().points:g} points"
NOTED, UNDECLARED = "noted", "not declared"
WHAT = "Hypotheses, margins, level and verdict rules"
LOCAL = "The declaration and the log of looks are local records, which can be deleted."


def of_analysis(profile: str, hypotheses: str, level: float, margin: float) -> pd.DataFrame:
    """How what 05 tests stands to what was declared: date, status and words; the first row is the sentence.

    hypotheses: the file, its path from the project's root; with level and margin as this run uses them. The rows after
    the first are the changes since, each with its date, and at the end those that nobody declared. Verdict rules are
    left to `with_rules`. Raises ValueError where the file of declarations was edited by hand.
    """
    return _table(profile, content(hypotheses, level, margin), False)


def with_rules(profile: str, verdict_rules: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What `of_analysis` gave 05, and the same of the verdict rules that 08 uses. Without 05's, the rules alone."""
    own = _table(profile, {RULES: _readable(verdict_rules)}, True)
    of_05 = paper_tables.optional(profile, "declaration")
    every = own if of_05 is None else pd.concat([of_05, own.iloc[1:]], ignore_index=True)
    return every.drop_duplicates(ignore_index=True)


def report(profile: str, by: str = "", automatic: bool = False, note: str = "") -> list[str]:
    """Declare (see `stats.declaration.declare`) and say what was put on record, for a terminal."""
    before = declaration.read(profile)
    rules = _readable(params.of_profile(profile)["08_paper"][RULES])
    one, new = declare(profile, rules, by, automatic, note)
    file = declaration.path(profile)
    if not new:
        return [f"{profile}: nothing changed since {_date(one.date)}; nothing was written.", f"On record in {file}"]
    families = one.content["families"].values()
    lines = [
        f"{profile}: on record since {_date(one.date)}, by {one.by} (not verified): "
        f"{sum(len(family['hypotheses']) for family in families)} hypotheses in {len(families)} families, "
        f"{len(one.content['sensitivity'])} sensitivity analyses, {len(one.content[RULES])} verdict rules"
    ]
    when = f"{_after(one.looks)}, and the paper will say so" if one.looks else "before any look on record"
    lines.append("As the package's defaults: no pre-registration." if one.automatic else f"Declared {when}.")
    told = changes(before[-1].content, one.content) if before else []
    lines += [f"Changed since {_date(before[-1].date)}: {text}" for text in told]
    return [*lines, f"{file}: commit it, so that its date can be checked against the history"]


def _readable(verdict_rules: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rules with what each says, so that a rule whose code changes is seen to change; level and margin stand apart,
    so that these words do not follow them."""
    said = {claim.id: claim.rule.sentence(Inference()) for claim in claims(verdict_rules)}
    return {name: {**rule, WORDING: said[name]} for name, rule in verdict_rules.items()}


def of_run(profile: str) -> dict[str, Any]:
    """What the paper says of declarations: {words, status, by_person, changed}, from the table that 08 saved."""
    saved = paper_tables.optional(profile, "declaration_and_rules")
    if saved is None:
        return {"words": f"Declarations: {NOT_RUN}.", "status": NOT_RUN, "by_person": False, "changed": False}
    status = str(saved["status"].iloc[0])
    about = {"words": sentence(saved), "status": status, "by_person": status in (BEFORE, AFTER)}
    return about | {"changed": len(saved) > 1}


def sentence(frame: pd.DataFrame) -> str:
    """The first row in words, and how many changes follow. frame: of `of_analysis` or `with_rules`.

    >>> sentence(pd.DataFrame([("", NONE, "No declaration."), ("", "not declared", "margin")], columns=COLUMNS))
    'No declaration. Changes since: 1, of which 1 not declared.'
    """
    since = frame["status"].iloc[1:]
    count, undeclared = int((since != NOTED).sum()), int((since == UNDECLARED).sum())
    return str(frame["words"].iloc[0]) + (f" Changes since: {count}, of which {undeclared} not declared." * bool(count))


def _table(profile: str, used: Mapping[str, Any], rules: bool) -> pd.DataFrame:
    every, seen = declaration.read(profile), looks.on_record(profile)
    rows = [_standing(profile, every, seen)]
    for before, after in zip([None, *every], every, strict=False):
        rows += [(_date(after.date), NOTED, after.note)] * bool(after.note)
        if before is not None:
            told = changes(_part(before.content, rules), _part(after.content, rules))
            rows += [(_date(after.date), _when(after), text) for text in told]
    if every:
        rows += [("", UNDECLARED, text) for text in changes(_part(every[-1].content, rules), used)]
    return _frame(rows)


def _frame(rows: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS, dtype="str")


def _part(content: Mapping[str, Any], rules: bool) -> dict[str, Any]:
    return {part: value for part, value in content.items() if (part == RULES) == rules}


def _date(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M UTC")


def _when(one: Declaration) -> str:
    if one.automatic:
        return "changed by the package"
    return f"changed {_after(one.looks)}" if one.looks else "changed before the first look"


def _after(looks: int) -> str:
    return f"after {looks} look{'s'[: looks > 1]} at test predictions"


def _standing(profile: str, every: Sequence[Declaration], seen: Sequence[looks.Look]) -> tuple[str, str, str]:
    """The first row: of the first declaration that a person made, else of the package's."""
    if not every:
        text = f"No declaration was made under the profile “{profile}”. {WHAT} are fixed by the package's defaults, "
        return "", NONE, f"{text}or by whoever edited its files, which is not a pre-registration."
    one = next((one for one in every if not one.automatic), None)
    if one is None:
        date = _date(every[0].date)
        return (
            date,
            DEFAULTS,
            f"{WHAT} are fixed by the package's defaults (on record since {date}), not a pre-registration.",
        )
    head = f"{WHAT} were declared on {_date(one.date)} by {one.by} (as invoked, not verified)"
    if one.looks or (seen and seen[0].date < one.date):
        first = one.first_look or (seen[0].date if seen and seen[0].date < one.date else "")
        when = f"the first on {_date(first)}" if first else "the first at a date that is not on record"
        return _date(one.date), AFTER, f"{head}, {_after(max(one.looks, 1))}, {when}. {LOCAL}"
    if not seen:
        return _date(one.date), BEFORE, f"{head}; no look at test predictions is on record. {LOCAL}"
    return (
        _date(one.date),
        BEFORE,
        f"{head}, before the first look at test predictions on {_date(seen[0].date)}. {LOCAL}",
    )
