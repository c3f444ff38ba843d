"""The ledger's verdicts follow from the rules alone."""

import numpy as np
import pandas as pd
import pytest

from skinsyn.report.inference import Inference
from skinsyn.report.ledger import VERDICTS, AtLeast, Claim, Evidence, HypothesisRule, claims, ledger
from skinsyn.run import params
from skinsyn.stats.hypotheses import Hypotheses

RULES = {
    "C1": {"rule": "above", "tests": ["C1"]},
    "C2": {"rule": "bounded", "tests": ["C2"]},
    "C3": {"rule": "above", "family": "F1", "show": "least"},
    "C4": {"rule": "above", "tests": ["C4"]},
    "C5": {"rule": "above", "tests": ["C5"]},
    "C6": {"rule": "nearer"},
    "C7": {"rule": "at least", "count": 458920},
}


def hypotheses(*rows) -> pd.DataFrame:
    names = ["family", "id", "estimate", "low", "high", "p_adjusted", "verdict"]
    return pd.DataFrame(rows, columns=names)


def verdict(claim, tests=None, numbers=None, synthetic=None, **chosen) -> str:
    table = ledger(claims(RULES), Evidence(tests, numbers or {}, synthetic, Inference(**chosen)))
    assert list(table.columns) == ["claim", "published", "estimate", "low", "high", "verdict"]
    assert table["claim"].str[:2].tolist() == list(RULES) and set(table["verdict"]) <= set(VERDICTS)
    return table.set_index(table["claim"].str[:2])["verdict"][claim]


@pytest.mark.parametrize(
    ("estimate", "low", "high", "p", "expected"),
    [
        (5, 1, 9, 0.01, "reproduced"),
        (5, -1, 11, 0.2, "not identified"),
        (-5, -9, -1, 0.01, "not reproduced"),
        (0, -2, 2, 1.0, "not reproduced"),  # an interval that ends below the margin leaves no gain worth having
        (4, 1, 7, 0.2, "not identified"),  # Holm, not the interval, decides
        (4, np.nan, np.nan, np.nan, "not identified"),
    ],
)
def test_above(estimate, low, high, p, expected):
    assert verdict("C1", hypotheses(("F0 claims", "C1 primary", estimate, low, high, p, ""))) == expected


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [(-2, 2, 0.01, "reproduced"), (1, 9, 0.9, "not reproduced"), (-3, 6, 0.4, "not identified")],
)
def test_bounded(low, high, p, expected):
    assert verdict("C2", hypotheses(("F0 claims", "C2 non-superiority", 0.5, low, high, p, ""))) == expected


def test_every_hypothesis_of_a_claim_counts():
    good = ("F1 malignancy", "malignancy I-II", 8.0, 4, 12, 0.01, "gain")
    other = ("F1 malignancy", "malignancy III-IV", 6.0, 2, 10, 0.02, "gain")
    table = ledger(claims(RULES), Evidence(hypotheses(good, other)))
    assert table.iloc[2][["estimate", "low", "high", "verdict"]].tolist() == [6, 2, 10, "reproduced"]
    lost = ("F1 malignancy", "malignancy V-VI", -6.0, -9, -3, 0.01, "loss")
    assert verdict("C3", hypotheses(good, other, lost)) == "not reproduced"
    absent = ("F1 malignancy", "malignancy V-VI", np.nan, np.nan, np.nan, np.nan, "not run")
    assert verdict("C3", hypotheses(good, other, absent)) == "not identified"
    assert verdict("C3", hypotheses(absent)) == "not run"
    assert verdict("C3") == "not run"


def test_distances_decide_c6():
    def numbers(paired, permuted, p):
        return {f"c6.{name}": {"value": v} for name, v in (("paired", paired), ("permuted", permuted), ("p", p))}

    assert verdict("C6", numbers=numbers(0.2, 0.3, 0.001)) == "reproduced"
    assert verdict("C6", numbers=numbers(0.2, 0.3, 0.3)) == "not identified"
    assert verdict("C6", numbers=numbers(0.3, 0.2, 0.999)) == "not reproduced"
    assert verdict("C6", numbers=numbers(None, 0.2, 0.1)) == "not run"
    assert ledger(claims(RULES), Evidence(numbers=numbers(0.2, 0.3, 0.001))).loc[5, "estimate"] == pytest.approx(-0.1)


def test_scale_is_a_count():
    assert [verdict("C7", synthetic=n) for n in (458920, 458919, 0, None)] == [
        "reproduced",
        "not reproduced",
        "not reproduced",
        "not run",
    ]


def test_every_verdict_follows_the_level_and_the_margin():
    tests = hypotheses(
        ("F0", "C1 primary", 5, 1, 9, 0.1, ""),
        ("F0", "C2 non-superiority", 0.5, -2, 4, 0.1, ""),
        ("F0", "C4 transforms", 0, -4, 4, 1.0, ""),
    )
    near = {f"c6.{name}": {"value": value} for name, value in (("paired", 0.2), ("permuted", 0.3), ("p", 0.1))}
    for claim in ("C1", "C2", "C6"):
        assert [verdict(claim, tests, near, level=level) for level in (0.95, 0.8)] == ["not identified", "reproduced"]
    assert [verdict("C4", tests, margin=margin) for margin in (0.03, 0.05)] == ["not identified", "not reproduced"]


def test_the_estimates_do_not_follow_the_level():
    tests = hypotheses(("F0", "C1 primary", 5, 1, 9, 0.1, ""))
    one, other = (ledger(claims(RULES), Evidence(tests, inference=Inference(level=level))) for level in (0.95, 0.8))
    pd.testing.assert_frame_equal(one.drop(columns="verdict"), other.drop(columns="verdict"))


@pytest.mark.parametrize(
    ("claim", "rule", "match"),
    [
        ("C1", {"rule": "abov"}, "expected one of above"),
        ("C1", {"rule": "above", "test": ["C1"]}, "unknown key 'test'"),
        ("C1", {"rule": "above"}, "names no tests"),
        ("C7", {"rule": "at least"}, "count is 0, expected a finite number at least 1"),
        ("C9", {"rule": "nearer"}, "C9 is not a claim"),
    ],
)
def test_a_bad_rule_is_refused(claim, rule, match):
    with pytest.raises(ValueError, match=match):
        claims(RULES | {claim: rule})
    with pytest.raises(ValueError, match="C2 is missing"):
        claims({k: v for k, v in RULES.items() if k != "C2"})
    with pytest.raises(ValueError, match="verdict_rules: C1: .*show is 'most', expected one of first, least"):
        claims(RULES | {"C1": RULES["C1"] | {"show": "most"}})


def test_a_rule_is_a_sentence_that_follows_level_and_margin():
    listed = {claim.id: claim.rule for claim in claims(RULES)}
    usual, other = Inference(), Inference(level=0.8, margin=0.05)
    assert "3 points" in listed["C1"].sentence(usual) and "458,920" in listed["C7"].sentence(usual)
    for name in ("C1", "C2"):
        said = listed[name].sentence(other)
        assert "80 %" in said and "5 points" in said and "≤ 0.2" in said and "95" not in said
    assert "≤ 0.2 " in listed["C6"].sentence(other) and "≤ 0.05 " in listed["C6"].sentence(usual)


def test_a_claim_is_a_record():
    first, *_, last = claims(RULES)
    assert isinstance(first, Claim) and isinstance(first.rule, HypothesisRule) and isinstance(last.rule, AtLeast)
    assert first.json()["rule"] == {"tests": ["C1"], "family": "", "show": "first"}
    assert last.rule.json() == {"count": 458920} and last.rule.but(count=1000).count == 1000


@pytest.mark.parametrize("profile", ["smoke", "demo", "pad_ufes_20", "fitzpatrick17k"])
def test_the_rules_of_a_profile_name_hypotheses_that_it_declares(profile):
    """A misspelt id would make a claim 'not run' without a word."""
    every = params.of_profile(profile)
    declared = Hypotheses.load(every["05_fairness_stats"]["hypotheses"]).hypotheses
    for claim, rule in every["08_paper"]["verdict_rules"].items():
        for start in rule.get("tests", [""] if "family" in rule else []):
            fits = [h for h in declared if h.family.startswith(rule.get("family", "")) and h.id.startswith(start)]
            assert fits, f"{claim}: no hypothesis of {profile} begins with {start!r}"


@pytest.mark.parametrize(
    ("difference", "low", "high", "p", "expected"),
    [
        (-0.1, -0.2, -0.05, 0.001, "reproduced"),
        (-0.1, -0.3, 0.1, 0.001, "not identified"),
        (-0.1, -0.2, -0.05, 0.2, "not identified"),
        (0.1, -0.1, 0.3, 0.9, "not identified"),
        (0.1, 0.05, 0.2, 0.9, "not reproduced"),
    ],
)
def test_nearness_needs_p_and_interval_to_agree(difference, low, high, p, expected):
    found = {"c6.paired": {"value": 0.5 + difference}, "c6.permuted": {"value": 0.5}, "c6.p": {"value": p}}
    found["c6.difference"] = {"value": difference, "low": low, "high": high}
    assert verdict("C6", numbers=found) == expected
