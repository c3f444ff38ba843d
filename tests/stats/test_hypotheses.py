"""Declared hypotheses: those of every profile are the ones declared before they had a file; errors name their place."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from declarations import CONTROL, SYNTHETIC, declare

from skinsyn.run import params, paths
from skinsyn.stats.hypotheses import Hypotheses, Hypothesis

PINS = json.loads((Path(__file__).parent / "pinned_hypotheses.json").read_text())
FLIP = {"+": "-", "-": "+"}


def text(settings: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def signed_arms(one: Hypothesis, arms: dict) -> str:
    """Both arms of each gain with their sign and settings, and where."""
    places = [(one.where, False)] + [({**one.where, **one.against}, True)] * bool(one.against)
    sides = []
    for where, minus in places:
        for pair in zip(one.terms[::2], one.terms[1::2], strict=True):
            both = [f"{FLIP[sign] if minus else sign} [{text(arms[name])}]" for sign, name in pair]
            sides.append(" ".join(both) + (f" where {text(where)}" if where else ""))
    return "; ".join(sides)


def lines(profile: str, declared: Hypotheses) -> dict[str, str]:
    """Every hypothesis with all that decides how it is tested, one line each."""
    found = {}
    asked = [(one, name, family.min_images, "") for name, family in declared.families.items()
             for one in declared.of_family(name)]  # fmt: skip
    asked += [(variant, "sensitivity", 0, variant.run) for variant in declared.sensitivity]
    for whole, family, least, run in asked:
        for one in whole.spread({}):
            parts = (profile, family, one.id, one.kind, one.average, one.count, least, one.margin, run)
            found[f"{family} | {one.id}"] = " | ".join(map(str, (*parts, signed_arms(one, declared.arms))))
    series = {name: value for name, value in declared.arms[declared.dose.series].items() if name != "ratio"}
    found["dose"] = f"{profile} | dose | {declared.dose.average} | {text(series)} | "
    found["dose"] += text(declared.arms[declared.dose.control])
    families = {name: (family.correction, family.simultaneous) for name, family in declared.families.items()}
    found["families"] = f"{profile} | families | {families}"
    return found


@pytest.mark.parametrize("profile", PINS)
def test_the_hypotheses_of_a_profile_are_pinned(profile):
    """Digests of the terms that the declarations of 05's parameters cell meant, before they had a file."""
    asked = params.of_profile(profile)["05_fairness_stats"]
    made = lines(profile, Hypotheses.load(asked["hypotheses"], asked["margin"]))
    changed = [
        name for name, line in made.items() if PINS[profile][name] != hashlib.sha256(line.encode()).hexdigest()[:12]
    ]
    assert list(made) == list(PINS[profile]) and not changed


@pytest.mark.parametrize("profile", PINS)
def test_a_file_reads_back_from_its_json(profile):
    declared = Hypotheses.load(f"params/{profile}/hypotheses.yml", 0.03)
    assert Hypotheses.read(json.loads(json.dumps(declared.json()))) == declared
    assert len(declared.sentences()) == len(declared.hypotheses)


def test_sentences_name_the_null_hypothesis_and_the_arms():
    declared = declare(
        {"id": "primary"},
        {"id": "C1", "estimand": "synthetic - control - few + none"},
        {"id": "C2", "test": "non-superiority", "margin": 0.03, "where": {"fst_group": ["I-II", "V-VI"]}},
        {"id": "same", "test": "equivalence", "margin": 0.05, "count": "images"},
        {"id": "more", "average": "micro", "by": {"fst_group": ["V-VI"]}, "against": {"fst_group": "I-II"}},
        arms={"few": {"like": "synthetic", "n": 2}, "none": {"like": "control", "n": 2}},
    )
    synthetic = "[synthetic: task condition, n 8, ratio 10, transforms True]"
    control = "[control: task condition, n 8, ratio 0, transforms True]"
    primary, c1, c2, same, more = declared.sentences()
    assert primary == f"primary (F, superiority, macro): H0: accuracy of {synthetic} equals that of {control}"
    few = "[few: task condition, n 2, ratio 10, transforms True]"
    assert f"the sum of accuracies {synthetic} - {control} - {few} + [none: " in c1 and c1.endswith("equals 0")
    assert c2.startswith("C2 (F, non-superiority, margin 3 points, macro): H0: accuracy of ")
    assert c2.endswith(f"is above that of {control} by 3 points or more, where fst_group I-II or V-VI")
    assert "each image counts the same" in same and same.endswith(
        "differs from that of " + control + " by 5 points or more"
    )
    assert more.endswith("is the same as where fst_group I-II, for each fst_group (V-VI)")


def test_an_estimand_is_a_sum_of_gains():
    one = Hypothesis(id="x", estimand="a + b - c - d")
    assert one.pairs == [("a", "c"), ("b", "d")] and one.kind == "difference"
    assert Hypothesis(id="x", estimand="in-then-outpaint x10 - a+b").pairs == [("in-then-outpaint x10", "a+b")]
    assert Hypothesis(id="x", estimand="a - b", against={"fst_group": "I-II"}).kind == "difference"
    assert Hypothesis(id="x", estimand="a - b", test="equivalence").kind == "equivalence"


def test_arms_like_others():
    arms = {"other": {"like": "synthetic", "n": 32}, "base": {"like": "other", "generator": "base"}}
    declared = declare({"id": "x"}, arms=arms)
    assert declared.arms["base"] == {**SYNTHETIC, "n": 32, "generator": "base"} and declared.arms["control"] == CONTROL
    with pytest.raises(ValueError, match="arm 'loop': like is unknown arm 'loop'"):
        declare({"id": "x"}, arms={"loop": {"like": "loop"}})
    with pytest.raises(ValueError, match="arm 'b': like is unknown arm 'a'"):
        declare({"id": "x"}, arms={"a": {"like": "b"}, "b": {"like": "a"}})


@pytest.mark.parametrize(
    ("hypothesis", "more", "told"),
    [
        ({"averege": "macro"}, {}, "mine.yml: hypothesis 'x': unknown key 'averege'; did you mean 'average'"),
        (
            {"estimand": "synthetics - control"},
            {},
            "mine.yml: hypothesis 'x': unknown arm 'synthetics'; .* 'synthetic'",
        ),
        ({"estimand": "synthetic"}, {}, "as many arms added as subtracted"),
        ({"estimand": "synthetic - control - control"}, {}, "as many arms added as subtracted"),
        ({"estimand": "synthetic - "}, {}, "as many arms added as subtracted"),
        ({"family": "f"}, {}, "mine.yml: hypothesis 'x': unknown family 'f'"),
        ({"test": "superior"}, {}, "hypothesis 'x': .*test is 'superior', expected one of superiority"),
        ({"average": "mean"}, {}, "average is 'mean', expected one of macro, micro"),
        ({"margin": 0.0}, {}, "margin is 0.0, expected a proportion above 0"),
        ({"margin": 3.0}, {}, "margin is 3.0, expected a finite number at most 1"),
        ({}, {"families": {"F": {}}}, "mine.yml: family 'F': .*correction"),
        ({}, {"families": {"F": {"correction": "max_t"}}}, "max_t ignores training runs"),
        ({}, {"families": {"F": {"correction": "holm"}, "G": {"correction": "holm"}}}, "family 'G' has no hypothesis"),
        ({}, {"arms": {"a": {"ratios": 3}}}, "mine.yml: arm 'a': unknown key 'ratios'; did you mean 'ratio'"),
        ({}, {"dose": {"series": "synthetic", "control": "controls"}}, "dose: unknown arm 'controls'; .* 'control'"),
        ({}, {"doses": {}}, "mine.yml: unknown key 'doses'; did you mean 'dose'"),
        ({}, {"sensitivity": [{"id": "y", "estimand": "a - b"}]}, "hypothesis 'y': unknown arm 'a'"),
    ],
)
def test_declarations_that_are_wrong_are_refused(hypothesis, more, told):
    with pytest.raises(ValueError, match=told):
        declare({"id": "x", **hypothesis}, **more)


def test_ids_are_unique_and_sections_present():
    with pytest.raises(ValueError, match="two hypotheses of the id 'x'"):
        declare({"id": "x"}, {"id": "x"})
    with pytest.raises(ValueError, match="mine.yml: lacks 'families'"):
        Hypotheses.read({"arms": {"a": {}}, "hypotheses": [{"id": "x"}]}, "mine.yml")


def test_what_is_not_given_follows_the_primary_hypothesis_and_the_notebook():
    file = paths.project_root() / "runs" / "own_hypotheses.yml"
    declared = Hypotheses.read(
        {
            "arms": {"a": {"n": 8}, "b": {"n": 2}},
            "families": {"F": {"correction": "holm"}},
            "hypotheses": [
                {"id": "x", "family": "F", "estimand": "a - b", "average": "micro"},
                {"id": "y", "family": "F", "estimand": "a - b", "test": "equivalence"},
                {"id": "z", "family": "F", "estimand": "a - b", "test": "equivalence", "margin": 0.1},
            ],
        },
        margin=0.05,
    )
    assert (declared.dose.series, declared.dose.control) == ("a", "b")
    assert [(v.id, v.estimand, v.average) for v in declared.sensitivity] == [("as declared", "a - b", "micro")]
    assert [one.margin for one in declared.hypotheses] == [None, 0.05, 0.1]
    with pytest.raises(FileNotFoundError, match="own_hypotheses.yml: no such file of hypotheses"):
        Hypotheses.load(str(file))


def test_a_file_is_read_as_yaml(tmp_path):
    file = tmp_path / "mine.yml"
    for content, told in (("a: [", "not YAML"), ("- a", "expected the keys arms")):
        file.write_text(content)
        with pytest.raises(ValueError, match=f"mine.yml: {told}"):
            Hypotheses.load(str(file))
    one = {"id": "x", "family": "F", "estimand": "a - b"}
    arms, families = {"a": {"n": 8}, "b": {"n": 2}}, {"F": {"correction": "holm"}}
    file.write_text(yaml.safe_dump({"arms": arms, "families": families, "hypotheses": [one]}))
    assert Hypotheses.load(str(file)).primary.id == "x"
