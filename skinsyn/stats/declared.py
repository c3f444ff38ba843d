"""How families of hypotheses are written in the params file, and how they are read.

A family is declared before looking, in YAML:

    arms:                             # names for settings; each must single out one arm of the grid
      control: {task: condition, n: 8, ratio: 0, transforms: true}
      synthetic: {like: control, ratio: 10, method: in-then-outpaint, generator: fine-tuned}
    families:
      F0 claims:
        correction: holm              # holm | bonferroni | fdr_bh | fdr_by
        simultaneous: false           # true adds Bonferroni-t intervals
        treatment: synthetic          # what stands at the family is every hypothesis's default
        control: control
        average: macro                # macro: every class counts the same | micro: every cluster counts the same
        hypotheses:
          - {id: primary}
          - {id: few images gain more, kind: difference, minus: {treatment: {n: 64}, control: {n: 64}}}
          - {id: no more above 10, kind: non-superiority, margin: 0.03, treatment: {ratio: 75}, control: synthetic}
          - {id: gain, each: {fst_group: [I-II, III-IV, V-VI]}}       # one hypothesis for each value; or `all`
          - {id: darkest minus lightest, kind: difference, where: {fst_group: V-VI}, minus: {where: {fst_group: I-II}}}

kind: gain (treatment minus control; the default) | difference (that gain, minus the gain that `minus` describes) |
non-superiority (is it below `margin`, a proportion?) | equivalence (is it within ± `margin`?). `treatment` and
`control` are a name from `arms`, or settings that change the default key by key ({like: name, …} changes a named arm);
`minus` changes its own hypothesis in the same way. A setting of null matches an empty cell. `where` chooses images by
fst_group, condition, y_true or source. `min_images` leaves smaller cells untested.
"""

import difflib
from collections.abc import Iterable, Mapping

from .predictions import Block

KINDS = ("gain", "difference", "non-superiority", "equivalence")
_DEFAULTS = ("kind", "treatment", "control", "where", "minus", "average", "margin", "each", "min_images", "count")
_FAMILY = ("correction", "simultaneous", "hypotheses", *_DEFAULTS)
_SIDES = ("treatment", "control", "where")


def hypotheses(
    name: str, family: Mapping, prepared: Mapping[str, Block], arms: Mapping | None = None, margin: float | None = None
) -> list[dict]:
    """All hypotheses of a family, defaults filled in, `each` spread out, names of arms replaced by settings.

    `minus`, where given, is a whole {treatment, control, where}. margin: for hypotheses that need one and name none.
    Raises ValueError on an unknown key or name (with the nearest known one) and on what is missing.
    """
    check_keys(family, _FAMILY, f"family {name!r}")
    for key in ("correction", "hypotheses"):
        if not family.get(key):
            raise ValueError(f"family {name!r} lacks {key!r}")
    if family["correction"] == "max_t":
        raise ValueError(f"family {name!r}: max_t ignores training runs; take another correction, see given_models")
    made = []
    for declared in family["hypotheses"]:
        made += _expand(prepared, _whole(name, family, declared, arms or {}, margin))
    ids = [hypothesis["id"] for hypothesis in made]
    twice = [one for one in ids if ids.count(one) > 1]
    if twice:
        raise ValueError(f"family {name!r} has two hypotheses of the id {twice[0]!r}")
    return made


def _whole(name: str, family: Mapping, declared: Mapping, arms: Mapping, margin: float | None) -> dict:
    """One hypothesis with its family's defaults filled in."""
    if "id" not in declared:
        raise ValueError(f"a hypothesis of family {name!r} lacks its id: {dict(declared)}")
    what = f"hypothesis {declared['id']!r}"
    check_keys(declared, ("id", *_DEFAULTS), what)
    whole = {"kind": "gain", "average": "macro", "count": "clusters", "min_images": 0, "margin": margin}
    whole |= {key: family[key] for key in _DEFAULTS if key in family} | dict(declared)
    for key in _SIDES:
        base = settings(family.get(key), {}, arms if key != "where" else {}, what)
        whole[key] = settings(declared.get(key), base, arms if key != "where" else {}, what)
        if key != "where" and not whole[key]:
            raise ValueError(f"{what} of family {name!r} names no {key}")
    if whole["kind"] not in KINDS:
        raise ValueError(f"{what}: kind {whole['kind']!r} is none of {', '.join(KINDS)}")
    if whole["kind"] == "difference" and not whole.get("minus"):
        raise ValueError(f"{what}: a difference needs `minus`")
    if whole["kind"] in ("non-superiority", "equivalence") and whole["margin"] is None:
        raise ValueError(f"{what}: {whole['kind']} needs a margin")
    if whole.get("minus"):
        check_keys(whole["minus"], _SIDES, f"`minus` of {what}")
        whole["minus"] = {
            key: settings(whole["minus"].get(key), whole[key], arms if key != "where" else {}, what) for key in _SIDES
        }
    return whole


def settings(value: str | Mapping | None, base: Mapping, arms: Mapping, what: str) -> dict:
    """Settings of an arm from a name in `arms`, from changes to `base`, or from changes to a named arm.

    what: whose settings they are, for the message of the ValueError that an unknown name raises.
    """
    if isinstance(value, str):
        value = {"like": value}
    if value is None or "like" not in value:
        return {**base, **(value or {})}
    check_keys([value["like"]], tuple(arms), f"{what}: arms")
    rest = {name: arm for name, arm in arms.items() if name != value["like"]}  # no arm is like itself
    return {
        **settings(arms[value["like"]], {}, rest, what),
        **{key: changed for key, changed in value.items() if key != "like"},
    }


def _expand(prepared: Mapping[str, Block], hypothesis: dict) -> list[dict]:
    """One hypothesis for each value (or combination of values) that `each` names."""
    made = [hypothesis]
    for column, wanted in (hypothesis.get("each") or {}).items():
        if wanted == "all":
            task = hypothesis["treatment"].get("task", next(iter(prepared)))
            known = set(prepared[task].images[column]) - {"unknown"} if task in prepared else set()
            wanted = sorted(known, key=str) or ["all"]  # none known: one row, which says so
        made = [_for_value(h, column, value) for h in made for value in wanted]
    return made


def _for_value(hypothesis: dict, column: str, value: object) -> dict:
    changed = {"id": f"{hypothesis['id']}, {value}", "where": {**hypothesis["where"], column: value}}
    if hypothesis.get("minus") and column not in hypothesis["minus"]["where"]:
        changed["minus"] = {**hypothesis["minus"], "where": {**hypothesis["minus"]["where"], column: value}}
    return hypothesis | changed


def check_keys(given: Iterable, known: tuple, what: str) -> None:
    """Refuse a key that is not known, with the nearest one that is.

    >>> check_keys(["arms"], ("arms", "families"), "key")
    """
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), map(str, known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(map(str, known))}"
            raise ValueError(f"{what}: unknown key {key!r}; {hint}")
