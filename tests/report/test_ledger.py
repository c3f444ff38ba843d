"""The ledger's verdicts follow from the rules alone, and no two of them contradict each other."""

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from skinsyn.report import published
from skinsyn.report.claims import Claim, claims
from skinsyn.report.inference import Inference
from skinsyn.report.ledger import COLUMNS, estimate_text, ledger
from skinsyn.report.rules import AtLeast, Evidence, HypothesisRule
from skinsyn.report.verdicts import DIRECTIONS, MAGNITUDES, WORTHWHILE
from skinsyn.run import params
from skinsyn.stats.contrasts import with_corrections
from skinsyn.stats.hypotheses import Hypotheses

RULES = {
    "C1": {"rule": "above", "tests": ["primary", "C1"]},
    "C2": {"rule": "bounded", "tests": ["C2"]},
    "C3": {"rule": "above", "family": "F1", "enough": "one", "show": "least"},
    "C4": {"rule": "above", "tests": ["C4"]},
    "C5": {"rule": "above", "tests": ["C5"]},
    "C6": {"rule": "nearer"},
    "C7": {"rule": "at least"},
}
REAL = ("fitzpatrick17k",)


def judged(*rows: tuple, level: float = 0.95) -> pd.DataFrame:
    """Rows of the table of tests, each (family, id, kind, estimate, se), normal, through the corrections of the study;
    a kind 'not run' or 'not estimable' is a verdict."""
    table = pd.DataFrame(rows, columns=["family", "id", "kind", "estimate", "se"])
    untested = table["kind"].isin(["not run", "not estimable"])
    table["verdict"] = table["kind"].where(untested, "")
    table["alternative"] = np.where(table["kind"] == "non-superiority", "less", "two-sided")
    table = table.assign(df=np.inf, margin=3.0, task="condition", n="8", flags=table["verdict"])
    table.loc[table["family"].str.startswith("F1"), "task"] = "malignancy"
    two = 2 * stats.norm.sf((table["estimate"] / table["se"]).abs())
    one = stats.norm.cdf((table["estimate"] - table["margin"]) / table["se"])
    half = stats.norm.ppf(0.5 + level / 2) * table["se"]
    table = table.assign(p=np.where(table["alternative"] == "less", one, two))
    table = table.assign(low=table["estimate"] - half, high=table["estimate"] + half)
    parts = [with_corrections(part, "holm", level) for _, part in table.groupby("family", sort=False)]
    return pd.concat(parts, ignore_index=True)


def row_of(claim: str, tests=None, numbers=None, synthetic=None, sources=REAL, largest=None, **chosen) -> pd.Series:
    evidence = Evidence(tests, numbers or {}, synthetic, Inference(**chosen), sources, largest)
    table = ledger(claims(RULES), evidence)
    assert list(table.columns) == COLUMNS and table["claim"].str[:2].tolist() == list(RULES)
    for column, known in (("direction", DIRECTIONS), ("magnitude", MAGNITUDES), ("no_worthwhile_gain", WORTHWHILE)):
        assert set(table[column]) <= set(known)
    return table.set_index(table["claim"].str[:2]).loc[claim]


def verdict(claim: str, *given, **more) -> str:
    return row_of(claim, *given, **more)["direction"]


def hypothesis(family="F0", name="C4", kind="gain", **values) -> pd.DataFrame:
    """One row whose intervals and p are given, and not computed."""
    usual = {"family": family, "id": name, "kind": kind, "alternative": "two-sided", "verdict": "", "flags": ""}
    usual |= {"task": "condition", "n": "8", "margin": 3.0, "bound": "Holm-compatible", "p": values.get("p_adjusted")}
    ends = {"low_adjusted": values["low"], "high_adjusted": values["high"], "upper_adjusted": values["high"]}
    return pd.DataFrame([usual | ends | values])


def test_the_same_interval_is_not_reproduced_and_refuted_by_turns():
    """+1.5 (.1 to 2.9) was reproduced with adjusted p .04 and 'not reproduced' with .06."""
    near = {"estimate": 1.5, "low": 0.1, "high": 2.9, "low_adjusted": -0.1, "high_adjusted": 3.1}
    shown = row_of("C4", hypothesis(**near | {"p_adjusted": 0.04}))
    not_shown = row_of("C4", hypothesis(**near | {"p_adjusted": 0.06}))
    assert shown["direction"] == "reproduced" and not_shown["direction"] == "not identified"
    assert "excludes 0, but not after correction" in not_shown["reason"] and "0.060" in not_shown["reason"]
    assert "includes 0" in shown["reason"]  # the adjusted interval beside a p that shows it
    # Whether a gain of 3 points is left is a verdict of its own, by its own bound, and the same in both.
    assert shown["no_worthwhile_gain"] == not_shown["no_worthwhile_gain"] == "shown"


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        ((0.4, -2.0, 2.8), "incompatible"),
        ((0.4, -14.0, 14.8), "too imprecise"),
        ((12.0, 8.0, 16.0), "compatible"),
        ((12.0, 4.0, 20.0), "too imprecise"),  # half-width 8, more than half of 13.2
        (None, "too imprecise"),
    ],
)
def test_a_small_gain_is_not_compatible_with_a_large_published_one(largest, expected):
    found = row_of(
        "C1", judged(("F0", "primary", "gain", 0.4, 0.1), ("F0", "C1", "difference", 1, 0.1)), largest=largest
    )
    assert (
        found["direction"] == "reproduced"
        and found["magnitude"] == expected
        and found["reason"].startswith("at 8 real images")
    )
    assert ("selection not adjusted" in found["reason"]) == (largest is None)


def test_phantoms_have_no_published_size_and_no_published_count():
    tests = judged(("F0", "primary", "gain", 13.0, 1.0), ("F0", "C1", "difference", 9.0, 1.0))
    found = row_of("C1", tests, sources=("phantom",), largest=(13.0, 11.0, 15.0))
    assert found["direction"] == "reproduced" and found["magnitude"] == "not applicable"
    assert verdict("C7", synthetic=10**6, sources=("phantom",)) == "not applicable"
    assert row_of("C4", judged(("F0", "C4", "gain", 5, 1)))["magnitude"] == "not applicable"  # an order was published


@pytest.mark.parametrize(
    ("estimate", "se", "expected"),
    [(5, 1, "reproduced"), (5, 4, "not identified"), (-5, 1, "not reproduced"), (0, 0.5, "not identified")],
)
def test_direction_follows_holms_p(estimate, se, expected):
    found = row_of("C4", judged(("F0 claims", "C4", "gain", estimate, se)))
    assert found["direction"] == expected
    assert found["no_worthwhile_gain"] == ("shown" if expected == "not reproduced" or se == 0.5 else "not shown")
    assert found["interval"] == "95 % interval, Holm-compatible, family of 1"


def test_the_bound_of_no_worthwhile_gain_is_adjusted_over_the_family():
    alone = judged(("F0", "C4", "gain", 1.0, 1.0))
    family = judged(("F0", "C4", "gain", 1.0, 1.0), *[("F0", f"x{i}", "gain", 1.0, 1.0) for i in range(4)])
    assert row_of("C4", alone)["no_worthwhile_gain"] == "shown"  # 1 + 1.645 is below 3, 1 + 2.326 is not
    assert row_of("C4", family)["no_worthwhile_gain"] == "not shown"
    assert row_of("C4", family, margin=0.04)["no_worthwhile_gain"] == "shown"


@pytest.mark.parametrize(
    ("estimate", "se", "expected"),
    [(0, 1, "reproduced"), (6, 1, "not reproduced"), (2, 3, "not identified"), (1.8, 0.5, "reproduced")],
)
def test_bounded(estimate, se, expected):
    found = row_of("C2", judged(("F0", "C2", "non-superiority", estimate, se)))
    assert found["direction"] == expected and np.isnan(found["low"]) and "one-sided bound" in found["interval"]
    assert estimate_text(found).startswith(f"{'+' if estimate else ''}{estimate:.1f} (at most +")


def groups(*gains, se=2.0):
    return judged(*(("F1", f"malignancy, {i}", "gain", gain, se) for i, gain in enumerate(gains)))


def test_c3_asks_what_was_published():
    assert verdict("C3", groups(7, 3, 1)) == "reproduced"  # one significant, all above 0
    assert verdict("C3", groups(7, 3, -1)) == "not identified"
    assert verdict("C3", groups(3, 3, 1)) == "not identified"
    assert verdict("C3", groups(7, 7, -9)) == "not reproduced"
    found = row_of("C3", groups(7, 3, 1))
    assert found["estimate"] == 1 and "shown in 1 of 3 hypotheses, 3 of the estimates above 0" in found["reason"]
    gone = pd.concat([groups(7, 3), judged(("F1", "malignancy, V-VI", "not run", np.nan, np.nan))])
    assert verdict("C3", gone) == "not identified"
    few = gone.assign(
        verdict=gone["verdict"].replace("not run", "not estimable"), estimate=gone["estimate"].fillna(-20)
    )
    found = row_of("C3", few)
    assert found["estimate"] == 3 and "malignancy, V-VI: not" in found["reason"], "three images are no least gain"
    assert verdict("C3", gone[gone["verdict"] == "not run"]) == "not run" == verdict("C3")
    assert row_of("C3", groups(9, 9, 9, se=1.0))["magnitude"] == "compatible"
    assert row_of("C3", groups(9, 9, 9))["magnitude"] == "too imprecise"
    assert row_of("C3", groups(9, 9, 1, se=1.0))["magnitude"] == "incompatible"


def test_the_published_results_are_reproduced_by_the_same_rules():
    everything = params.of_profile("demo")["08_paper"]["verdict_rules"]
    for sources, made in ((("ddi", "fitzpatrick17k"), 458_920), (("fitzpatrick17k",), 445_000), (("ddi",), 13_920)):
        evidence = Evidence(published.tests(), synthetic=made, sources=sources, stated=frozenset(published.stated()))
        table = ledger(claims(everything), evidence)
        assert (table["direction"] == "reproduced").all(), table[["claim", "direction", "reason"]]
        assert not table["magnitude"].isin(["incompatible"]).any()
    assert verdict("C7", synthetic=444_999) == "not reproduced"


def test_every_published_row_has_its_source_and_says_what_is_reconstructed():
    rows = published.rows()
    assert set(rows["claim"]) == set(RULES) and (rows["source"] != "").all()
    sized = rows["estimate"].notna()
    assert (sized != (rows["stated"] != "")).all(), "a size, or an order that was stated"
    assert rows.loc[rows["se"].notna(), "reconstructed"].str.contains("standard error").all()
    assert published.counts()["fitzpatrick17k"] + published.counts()["ddi"] == 458_920


def test_a_profile_that_tests_another_task_shows_no_claim_about_conditions():
    rows = judged(
        ("F0", "primary", "gain", 9, 1), ("F0", "C1", "difference", 5, 1), ("F1", "malignancy, I-II", "gain", 9, 1)
    )
    other = rows.assign(task="malignancy")
    found = row_of("C1", other)
    assert found["direction"] == found["magnitude"] == found["no_worthwhile_gain"] == "not run"
    assert "naming the condition" in found["reason"] and "telling malignant from benign" in found["reason"]
    assert found["task"] == "naming the condition" and verdict("C3", other) == "reproduced"
    declared = Hypotheses.load("params/ddi/hypotheses.yml", 0.03)
    arms = {name for one in declared.hypotheses for _, name in one.terms}
    assert {declared.arms[name]["task"] for name in arms} == {"malignancy"}
    assert not [one.id for one in declared.hypotheses if one.id[:2] in RULES], "no claim is named that is not tested"


def test_distances_decide_c6():
    def numbers(paired, permuted, p):
        return {f"c6.{name}": {"value": v} for name, v in (("paired", paired), ("permuted", permuted), ("p", p))}

    assert verdict("C6", numbers=numbers(0.2, 0.3, 0.001)) == "reproduced"
    assert verdict("C6", numbers=numbers(0.2, 0.3, 0.3)) == "not identified"
    assert verdict("C6", numbers=numbers(0.3, 0.2, 0.999)) == "not reproduced"
    assert verdict("C6", numbers=numbers(None, 0.2, 0.1)) == "not run"
    assert row_of("C6", numbers=numbers(0.2, 0.3, 0.001))["estimate"] == pytest.approx(-0.1)


def test_scale_is_a_count_of_each_data_set():
    counts = (445_000, 444_999, 0, None)
    expected = ["reproduced", "not reproduced", "not reproduced", "not run"]
    assert [verdict("C7", synthetic=n) for n in counts] == expected
    assert verdict("C7", synthetic=13_920, sources=("ddi",)) == "reproduced"
    assert verdict("C7", synthetic=13_920, sources=("pad_ufes_20",)) == "not applicable"
    own = claims(RULES | {"C7": {"rule": "at least", "count": 1000}})
    assert ledger(own, Evidence(synthetic=1000)).iloc[6]["direction"] == "reproduced"


def test_every_verdict_follows_the_level_and_the_margin():
    rows = [("F0", "C1", "difference", 5, 3.0), ("F0", "C2", "non-superiority", 0, 2.0)]
    near = {f"c6.{name}": {"value": value} for name, value in (("paired", 0.2), ("permuted", 0.3), ("p", 0.1))}
    found = {}
    for level in (0.95, 0.8):
        found[level] = [row_of(claim, judged(*rows, level=level), near, level=level) for claim in ("C1", "C2", "C6")]
    assert [row["direction"] for row in found[0.95]] == ["not identified"] * 3
    assert [row["direction"] for row in found[0.8]] == ["reproduced"] * 3
    assert [row["estimate"] for row in found[0.95]] == [row["estimate"] for row in found[0.8]]


@pytest.mark.parametrize(
    ("claim", "rule", "match"),
    [
        ("C1", {"rule": "abov"}, "expected one of above"),
        ("C1", {"rule": "above", "test": ["C1"]}, "unknown key 'test'"),
        ("C1", {"rule": "above"}, "names no tests"),
        ("C7", {"rule": "at least", "count": -1}, "count is -1, expected a finite number at least 0"),
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
    assert "3 points" in listed["C2"].sentence(usual) and "445,000 of fitzpatrick17k" in listed["C7"].sentence(usual)
    assert "5 points" in listed["C2"].sentence(other) and "one-sided" in listed["C2"].sentence(usual)
    for name in ("C1", "C2", "C3"):
        assert "≤ 0.2" in listed[name].sentence(other) and "95" not in listed[name].sentence(other)
    assert "one or more" in listed["C3"].sentence(usual)
    assert "≤ 0.2 " in listed["C6"].sentence(other) and "≤ 0.05 " in listed["C6"].sentence(usual)


def test_a_claim_is_a_record():
    first, *_, last = claims(RULES)
    assert isinstance(first, Claim) and isinstance(first.rule, HypothesisRule) and isinstance(last.rule, AtLeast)
    assert first.json()["rule"] == {"tests": ["primary", "C1"], "family": "", "show": "first", "enough": "all"}
    assert last.rule.json() == {"count": 0} and last.rule.but(count=1000).count == 1000


@pytest.mark.parametrize("profile", ["smoke", "demo", "pad_ufes_20", "fitzpatrick17k"])
def test_the_rules_of_a_profile_name_hypotheses_that_it_declares(profile):
    """A misspelt id would make a claim 'not run' without a word."""
    every = params.of_profile(profile)
    hypotheses = Hypotheses.load(every["05_fairness_stats"]["hypotheses"])
    tasks = {name: about["task"] for name, about in yaml.safe_load(open("skinsyn/assets/paper/claims.yml")).items()}
    for claim, rule in every["08_paper"]["verdict_rules"].items():
        for start in rule.get("tests", [""] if "family" in rule else []):
            declared = hypotheses.hypotheses
            fits = [h for h in declared if h.family.startswith(rule.get("family", "")) and h.id.startswith(start)]
            assert fits, f"{claim}: no hypothesis of {profile} begins with {start!r}"
            assert {hypotheses.arms[h.terms[0][1]]["task"] for h in fits} == {tasks[claim]}


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
