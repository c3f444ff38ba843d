"""`python -m skinsyn declare`: what is tested and by which rules, in readable form, and every later change in words."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skinsyn.run import declaration, looks, params, tables
from skinsyn.run.declaration import Declaration

from .hypotheses import Family, Hypotheses, Hypothesis, Variant, in_words

__all__ = ["changes", "content", "declare"]

RULES = "verdict_rules"
SECTIONS = ("arms", "families", "hypotheses", "sensitivity", "dose")  # of Hypotheses, which `content` resolves itself
# A field that a record got after a declaration was made, and that has its default, is no change.
DEFAULTS = {field.name: field.default for kind in (Family, Variant) for field in dataclasses.fields(kind)}
DEFAULTS |= dict.fromkeys(("by", "where", "against"), {})
SENTENCE = 60  # characters from which a value is quoted
Path = tuple[str, ...]


def content(hypotheses: str, level: float, margin: float, verdict_rules: Mapping[str, Any] | None = None) -> dict:
    """What a declaration holds: level, margin, families with their hypotheses, sensitivity, dose, verdict rules.

    hypotheses: the file, its path from the project's root. verdict_rules: of 08, None where there are none. A
    hypothesis holds every field of its record and the settings of its arms, whatever the arms are called.
    Raises ValueError and FileNotFoundError as `Hypotheses.load`.
    """
    declared = Hypotheses.load(hypotheses)
    families = {
        name: family.json() | {"hypotheses": _named(declared.of_family(name), declared, margin)}
        for name, family in declared.families.items()
    }
    first = declared.primary
    found: dict[str, Any] = {"level": level, "margin": margin, "families": families}
    found["primary"] = f"{first.family}: {first.id}"
    found["sensitivity"] = _named(declared.sensitivity, declared, margin)
    if dose := declared.dose:
        found["dose"] = {name: declared.arms[getattr(dose, name)] for name in ("series", "control")}
        found["dose"] |= {"average": dose.average}
    found |= {name: value for name, value in declared.json().items() if name not in SECTIONS}
    return found if verdict_rules is None else found | {RULES: {name: dict(one) for name, one in verdict_rules.items()}}


def _named(every: Iterable[Hypothesis], declared: Hypotheses, margin: float) -> dict[str, dict]:
    """Hypotheses by id; a second one of an id gets a number. margin: for the sentences of those that name none."""
    found: dict[str, dict] = {}
    for one in every:
        about = {key: value for key, value in one.json().items() if key not in ("id", "family", "estimand")}
        terms = [{"sign": sign, "called": arm, "settings": declared.arms[arm]} for sign, arm in one.terms]
        again = sum(name.split(" (again")[0] == one.id for name in found)
        name = f"{one.id} (again, {again})" if again else one.id
        whole = one.but(margin=one.margin or margin)
        found[name] = about | {"terms": terms, "sentence": Hypothesis.sentence(whole, declared.arms)}
    return found


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two contents, in words; the same change of several hypotheses is one line.

    >>> changes({"margin": 0.03, "level": 0.95}, {"margin": 0.05, "level": 0.95})
    ['margin 0.03 became 0.05']
    """
    before, after = dict(_members(old)), dict(_members(new))
    told: dict[str, list[Path]] = {}
    for path in [*before, *(path for path in after if path not in before)]:
        for text in _differences(before.get(path), after.get(path)):
            told.setdefault(text, []).append(path)
    return [f"{_places(where)}{text}" for text, where in told.items()]


def _members(content: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """(where, what) of each part that can be added, removed or changed on its own."""
    for part, value in content.items():
        if part == "families":
            for family, about in value.items():
                yield (family,), {key: one for key, one in about.items() if key != "hypotheses"}
                yield from (((family, name), one) for name, one in about["hypotheses"].items())
        elif part in ("sensitivity", RULES):
            yield from (((part.replace("_", " "), name), one) for name, one in value.items())
        else:
            apart = (
                {f"{part}, {key}": one for key, one in value.items()} if isinstance(value, Mapping) else {part: value}
            )
            yield ("", part), apart


def _differences(old: Any, new: Any) -> list[str]:
    if old is None or new is None:
        about = new if old is None else old
        words = about.get("sentence") or in_words(about)
        return [f"{'was added' if old is None else 'was removed'} ({words})"]
    old, new = _flat(old), _flat(new)
    keys = [*old, *(key for key in new if key not in old and new[key] != DEFAULTS.get(key, old))]
    told: dict[str, list[str]] = {}
    for key in keys:
        if old.get(key) != new.get(key):
            arm, name = key if isinstance(key, tuple) else ("", key)
            again = f"{name} " if arm else ""
            text = f"{name} {_text(old.get(key))} became {again}{_text(new.get(key))}"
            told.setdefault(text, []).append(arm)
    return [
        f"{text} in arm{'s'[: len(arms) > 1]} {', '.join(arms)}" if all(arms) else text for text, arms in told.items()
    ]


def _flat(one: Mapping[str, Any]) -> dict[Any, Any]:
    """Key → value of a part; of the terms of an estimand, (number of the arm, setting) → value."""
    found: dict[Any, Any] = {}
    for key, value in declaration.bare(one).items():
        if key == "terms":
            found["estimand"] = " ".join(f"{term['sign']} arm {n}" for n, term in enumerate(value, 1))
            for number, term in enumerate(value, 1):
                found |= {(str(number), name): about for name, about in term["settings"].items()}
        elif isinstance(value, Mapping) and key not in ("by", "where", "against"):
            found |= {f"{key}: {name}": about for name, about in value.items()}
        else:
            found[key] = value
    return found


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return in_words(value) or "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return "nothing" if value in (None, "") else f"“{value}”" if len(str(value)) > SENTENCE else str(value)


def _places(where: list[Path]) -> str:
    """'F0 claims: primary, C1; F2 conditions: conditions: ', the heads of a line that holds for all of them."""
    by_head: dict[str, list[str]] = {}
    for path in where:
        if path[0]:
            by_head.setdefault(path[0], []).extend(path[1:])
    text = "; ".join(": ".join(filter(None, [head, ", ".join(names)])) for head, names in by_head.items())
    return f"{text}: " if text else ""


def declare(
    profile: str, verdict_rules: Mapping[str, Any], by: str = "", automatic: bool = False, note: str = ""
) -> tuple[Declaration, bool]:
    """Append what the files of a profile or variant say now to its declarations; (the last one, whether it is new).

    verdict_rules: those of 08, with whatever else makes them readable.
    by: who declares ('' asks git, then the login). automatic: as the package's defaults, by no person. Nothing is added
    where the last declaration says the same, unless a person confirms what was automatic.
    Raises params.ParameterError, and ValueError where the file of declarations or of hypotheses is broken.
    """
    of_05 = params.of_profile(profile)["05_fairness_stats"]
    now = content(of_05["hypotheses"], of_05["level"], of_05["margin"], verdict_rules)
    kept = declaration.read(profile)
    if kept and not changes(kept[-1].content, now) and (automatic or not kept[-1].automatic):
        return kept[-1], False
    seen = looks.on_record(profile)
    hidden = looks.unlogged(profile, tables.path(profile, "predictions"))
    made = Declaration(
        date=declaration.now(),
        by=by or ("the package" if automatic else declaration.invoker()),
        automatic=automatic,
        looks=len(seen) + hidden,
        first_look="" if hidden or not seen else seen[0].date,
        note=note,
        content=now,
        digests=declaration.digests(now),
    )
    return declaration.append(profile, made), True
