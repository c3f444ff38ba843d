"""The claims ledger: what the study claimed, what this run estimates, and a verdict by rules that were declared before.

A rule of the params file names the tested hypotheses that carry a claim, and what decides:

    C1: {rule: above, tests: [C1], margin: 3.0, alpha: 0.05}
    C2: {rule: bounded, tests: [C2], alpha: 0.05}
    C6: {rule: nearer, alpha: 0.05}
    C7: {rule: at least, count: 458920}

above     reproduced where the estimate is above 0 and its adjusted p at most alpha; not reproduced where it is below 0
          with such a p, or where the interval ends below `margin` (points: no gain worth having); else not identified.
bounded   the claim is that a gain has stopped, tested as non-superiority: reproduced where its adjusted p is at most
          alpha; not reproduced where the interval of the gain lies above 0; else not identified.
nearer    reproduced where the paired distance is below the permuted one with p at most alpha and an interval (where
          there is one) below 0; not reproduced where neither it nor its interval is below; else not identified.
at least  reproduced where the run made `count` synthetic images or more; else not reproduced.

`tests` are the beginnings of the hypotheses' ids, `family` the beginning of their family's name. A claim with several
hypotheses holds where all do, and falls where one falls. `show: first | least` says whose estimate the ledger prints.
A claim whose arms or numbers are missing is 'not run'.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

__all__ = ["CLAIMS", "VERDICTS", "ledger", "rule_in_words", "shown_test"]

CLAIMS = {
    "C1": (
        "synthetic images raise accuracy most when real data are few",
        "up to +13.2 points at 32 real images per class",
    ),
    "C2": ("gains saturate", "no more gain above 10 synthetic per real"),
    "C3": (
        "malignancy accuracy rises in every skin-type group",
        "+6.9 to +11.9 points by Fitzpatrick group; one comparison left significant after correction",
    ),
    "C4": ("traditional transforms help more than synthetic images alone", "transforms > synthetic"),
    "C5": ("adding real images beats adding synthetic ones", "real > synthetic"),
    "C6": (
        "a synthetic image lies nearer to its source than to a random real one",
        "paired < permuted cosine distance",
    ),
    "C7": ("scale", "458,920 synthetic images over two data sets"),
}
REPRODUCED, FAILED, OPEN, NOT_RUN = VERDICTS = ("reproduced", "not reproduced", "not identified", "not run")
KEYS = {
    "above": {"rule", "tests", "family", "margin", "alpha", "show"},
    "bounded": {"rule", "tests", "family", "alpha", "show"},
    "nearer": {"rule", "alpha"},
    "at least": {"rule", "count"},
}


def ledger(
    tests: pd.DataFrame | None,
    numbers: Mapping[str, Mapping],
    rules: Mapping[str, Mapping],
    synthetic: int | None = None,
) -> pd.DataFrame:
    """One row a claim, C1 to C7: claim, published, estimate, low, high, verdict.

    tests: the table of 05 (family, id, estimate, low, high in points, p_adjusted, verdict), or None. numbers: as saved,
    of which c6.paired, c6.permuted and c6.p decide C6. rules: as above, one a claim. synthetic: images made, for C7.
    Estimates are in percentage points, for C6 a difference of cosine distances (paired minus permuted), for C7 images.
    Raises ValueError for a rule that is missing, unknown or has unknown keys.
    """
    lacking = sorted(set(CLAIMS) ^ set(rules))
    if lacking:
        raise ValueError(
            f"verdict_rules: {lacking[0]} is {'missing' if lacking[0] in CLAIMS else 'not a claim'}; give {[*CLAIMS]}"
        )
    rows = []
    for claim, (words, published) in CLAIMS.items():
        rule = _checked(claim, rules[claim])
        if rule["rule"] == "nearer":
            found = _nearer(numbers, rule)
        elif rule["rule"] == "at least":
            found = _at_least(synthetic, rule)
        else:
            found = _tested(tests, rule)
        rows.append({"claim": f"{claim}: {words}", "published": published} | found)
    return pd.DataFrame(rows, columns=["claim", "published", "estimate", "low", "high", "verdict"])


def rule_in_words(rule: Mapping) -> str:
    """The rule as a sentence for the paper."""
    alpha = rule.get("alpha", 0.05)
    if rule["rule"] == "above":
        extra = (
            f"; not reproduced: below 0 so, or the interval ends below {rule['margin']:g} points"
            if "margin" in rule
            else ""
        )
        return f"every estimate above 0 with adjusted p ≤ {alpha:g}{extra}"
    if rule["rule"] == "bounded":
        return f"non-superiority with adjusted p ≤ {alpha:g}; not reproduced: the interval of the gain lies above 0"
    if rule["rule"] == "nearer":
        return f"paired distance below permuted with p ≤ {alpha:g}; not reproduced: not below"
    return f"at least {rule['count']:,} synthetic images; not reproduced: fewer"


def _checked(claim: str, rule: Mapping) -> Mapping:
    kind = rule.get("rule")
    if kind not in KEYS:
        raise ValueError(f"verdict_rules: {claim} has rule {kind!r}, expected one of {', '.join(KEYS)}")
    unknown = sorted(set(rule) - KEYS[kind])
    if unknown:
        raise ValueError(f"verdict_rules: {claim} has the unknown key {unknown[0]!r}, expected {sorted(KEYS[kind])}")
    if kind in ("above", "bounded") and not (rule.get("tests") or rule.get("family")):
        raise ValueError(f"verdict_rules: {claim} names no tests and no family")
    if kind == "at least" and "count" not in rule:
        raise ValueError(f"verdict_rules: {claim} names no count")
    if rule.get("show", "first") not in ("first", "least"):
        raise ValueError(f"verdict_rules: {claim} has show={rule['show']!r}, expected first or least")
    return rule


def _result(verdict: str, estimate: float = np.nan, low: float = np.nan, high: float = np.nan) -> dict:
    return {"estimate": estimate, "low": low, "high": high, "verdict": verdict}


def _carrying(tests: pd.DataFrame | None, rule: Mapping) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The hypotheses that carry a claim, and those of them that were run."""
    if tests is None or tests.empty:
        return pd.DataFrame(), pd.DataFrame()
    chosen = tests["id"].str.startswith(tuple(rule.get("tests") or [""]))
    chosen &= tests["family"].str.startswith(rule.get("family", ""))
    found = tests[chosen]
    return found, found[found["verdict"] != NOT_RUN] if "verdict" in found.columns else found


def shown_test(tests: pd.DataFrame | None, rule: Mapping) -> pd.Series:
    """The row of the tests whose estimate the ledger prints for a claim that was run."""
    _, ran = _carrying(tests, rule)
    if rule.get("show") == "least" and ran["estimate"].notna().any():
        return ran.loc[ran["estimate"].idxmin()]
    return ran.iloc[0]


def _tested(tests: pd.DataFrame | None, rule: Mapping) -> dict:
    """The verdict over the hypotheses that carry the claim, and the estimate to print."""
    found, ran = _carrying(tests, rule)
    if ran.empty:
        return _result(NOT_RUN)
    decide = _above if rule["rule"] == "above" else _bounded
    verdicts = {decide(row, rule) for _, row in ran.iterrows()} | ({NOT_RUN} if len(ran) < len(found) else set())
    if FAILED in verdicts:
        verdict = FAILED
    else:
        verdict = REPRODUCED if verdicts == {REPRODUCED} else OPEN
    shown = shown_test(tests, rule)
    return _result(verdict, *(float(shown[key]) for key in ("estimate", "low", "high")))


def _sure(row: pd.Series, rule: Mapping) -> bool:
    return bool(np.isfinite(row["p_adjusted"]) and row["p_adjusted"] <= rule.get("alpha", 0.05))


def _above(row: pd.Series, rule: Mapping) -> str:
    if _sure(row, rule):
        return REPRODUCED if row["estimate"] > 0 else FAILED
    return FAILED if row["high"] < rule.get("margin", -np.inf) else OPEN


def _bounded(row: pd.Series, rule: Mapping) -> str:
    if _sure(row, rule):
        return REPRODUCED
    return FAILED if row["low"] > 0 else OPEN


def _nearer(numbers: Mapping[str, Mapping], rule: Mapping) -> dict:
    paired, permuted, p = (numbers.get(f"c6.{part}", {}).get("value") for part in ("paired", "permuted", "p"))
    if paired is None or permuted is None:
        return _result(NOT_RUN)
    interval = numbers.get("c6.difference", {})
    ends = [np.nan if interval.get(end) is None else interval[end] for end in ("low", "high")]
    difference = interval.get("value")
    difference = paired - permuted if difference is None else difference
    if difference >= 0:
        return _result(OPEN if ends[0] < 0 else FAILED, difference, *ends)
    held = p is not None and p <= rule.get("alpha", 0.05) and not ends[1] >= 0  # the printed interval must agree
    return _result(REPRODUCED if held else OPEN, difference, *ends)


def _at_least(synthetic: int | None, rule: Mapping) -> dict:
    if synthetic is None:
        return _result(NOT_RUN)
    return _result(REPRODUCED if synthetic >= rule["count"] else FAILED, float(synthetic))
