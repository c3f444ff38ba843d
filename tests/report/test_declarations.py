"""Declare, look, change: what 05, 08 and the paper say of it; every date from the files, nothing rewritten."""

import json
import sys

import pandas as pd
import papermill
import pytest
import yaml

from skinsyn.__main__ import main
from skinsyn.report import cards, declarations, manuscript, rules
from skinsyn.run import declaration, looks, params, paths, pipeline, tables
from skinsyn.stats.declaration import changes, content

sys.path.insert(0, str(paths.project_root() / "tests" / "stats"))
from simulated import predictions as simulated  # noqa: E402

ROOT = paths.project_root()


@pytest.fixture
def clock(monkeypatch):
    minutes = iter(range(60))
    monkeypatch.setattr(declaration, "now", lambda: f"2026-01-01T10:{next(minutes):02}:00+00:00")


@pytest.fixture
def demo(study, clock):
    """A project whose profiles nobody has declared."""
    for file in (study / "params").glob("*/declaration.json"):
        file.unlink()
    return study


def edit(study, change, profile="demo"):
    file = study / f"params/{profile}/hypotheses.yml"
    given = yaml.safe_load(file.read_text())
    change(given)
    file.write_text(yaml.safe_dump(given, sort_keys=False))


def set_rules(study, **rules):
    every = params.of_profile("demo")["08_paper"]["verdict_rules"]
    (study / "params/demo/08_paper.yml").write_text(yaml.safe_dump({"verdict_rules": every | rules}))


def look(profile="demo", value=1):
    """As 04 does; then as 05 does."""
    file = tables.save(profile, "predictions", pd.DataFrame({"correct": [value]}), made_by="04_training_grid")
    looks.note(profile, file, "04_training_grid")
    tables.read(profile, "predictions", made_by="04_training_grid", read_by="05_fairness_stats")


def said(profile="demo"):
    """What 05 and 08 save and print, and what the paper takes from it."""
    every = params.of_profile(profile)
    of_05 = every["05_fairness_stats"]
    one = declarations.of_analysis(profile, of_05["hypotheses"], of_05["level"], of_05["margin"])
    tables.save(profile, "declaration", one, made_by="05_fairness_stats", csv=True)
    both = declarations.with_rules(profile, every["08_paper"]["verdict_rules"])
    tables.save(profile, "declaration_and_rules", both, made_by="08_paper", csv=True)
    return declarations.of_run(profile), both


def fewer(given):
    given["arms"]["control few"]["n"] = given["arms"]["synthetic few"]["n"] = 1


def test_without_a_declaration_nothing_is_called_registered(demo):
    look()
    about, table = said()
    assert "fixed by the package's defaults" in about["words"] and "not a pre-registration" in about["words"]
    assert about["status"] == "no declaration" and not about["by_person"] and len(table) == 1
    assert not declaration.path("demo").exists()


def test_declared_looked_at_changed_and_listed(demo, capsys):
    assert main(["declare", "demo", "--by", "Ada"]) == 0
    assert "Declared before any look on record" in capsys.readouterr().out
    assert said()[0]["words"].startswith(
        "Hypotheses, margins, level and verdict rules were declared on 2026-01-01 10:00 UTC by Ada (as invoked, not "
        "verified); no look at test predictions is on record."
    )
    look()
    about, table = said()
    assert "before the first look at test predictions on 2026-01-01 10:01 UTC" in about["words"] and about["by_person"]
    assert "can be deleted" in about["words"] and not about["changed"]

    edit(demo, fewer)
    about, table = said()
    assert table["status"].tolist()[1:] == ["not declared"] and table["date"][1] == ""
    assert table["words"][1] == (
        "F0 claims: C1 fewest minus most real images, C2 above ten per real image: n 2 became n 1 in arms 1, 2"
    )
    assert "Changes since: 1, of which 1 not declared." in about["words"]

    set_rules(demo, C7={"rule": "at least", "count": 5})
    assert main(["declare", "--profile", "demo", "--by", "Ada"]) == 0
    assert "Changed since 2026-01-01 10:00 UTC: verdict rules: C7: count 0 became 5" in capsys.readouterr().out
    look()
    about, table = said()
    assert "before the first look" in about["words"] and "Changes since: 3, of which 0 not declared" in about["words"]
    assert set(table["status"][1:]) == {"changed after 1 look at test predictions"}
    assert set(table["date"][1:]) == {"2026-01-01 10:02 UTC"}
    assert [one.declaration for one in looks.on_record("demo")] == [one.chain for one in declaration.read("demo")]


def test_declared_after_looks_says_so_for_good(demo):
    look()
    look(value=0)
    main(["declare", "demo", "--by", "Ada"])
    told = "by Ada (as invoked, not verified), after 2 looks at test predictions, the first on 2026-01-01 10:00 UTC"
    assert told in said()[0]["words"] and said()[0]["status"] == "declared after the first look"
    looks.path("demo").unlink()
    assert told in said()[0]["words"], "the declaration remembers what a deleted log no longer says"


def test_a_log_deleted_before_declaring_does_not_undo_the_look(demo):
    look()
    looks.path("demo").unlink()
    main(["declare", "demo", "--by", "Ada"])
    assert "after 1 look at test predictions, the first at a date that is not on record" in said()[0]["words"]


def test_again_with_nothing_changed_no_byte_changes(demo, capsys):
    main(["declare", "demo", "--by", "Ada"])
    look()
    said()
    watched = [declaration.path("demo"), looks.path("demo"), *paths.figures_dir("demo").glob("*")]
    watched += [tables.path("demo", name) for name in ("declaration", "declaration_and_rules")]
    before = [file.read_bytes() for file in watched]
    assert main(["declare", "demo", "--by", "Grace"]) == 0 and "nothing was written" in capsys.readouterr().out
    look()
    said()
    assert [file.read_bytes() for file in watched] == before


def test_the_package_declares_by_nobody_and_a_person_may_confirm(demo):
    look()
    main(["declare", "demo", "--automatic", "--note", "C1 was another one before."])
    about, table = said()
    assert "fixed by the package's defaults (on record since 2026-01-01 10:01 UTC), not a pre-reg" in about["words"]
    assert "10:00" not in about["words"], "a look of this machine would make the demo's paper differ elsewhere"
    assert table["words"][1] == "C1 was another one before." and "Changes since" not in about["words"]
    edit(demo, fewer)
    main(["declare", "demo", "--automatic"])
    assert said()[1]["status"].tolist() == ["package defaults", "noted", "changed by the package"]
    main(["declare", "demo", "--by", "Ada"])
    assert len(declaration.read("demo")) == 3 and said()[0]["status"] == "declared after the first look"
    main(["declare", "demo", "--automatic"])
    assert len(declaration.read("demo")) == 3, "what a person declared is not made automatic again"


def test_two_profiles_and_a_variant_do_not_mix(demo):
    params.save_variant("demo", "wide", {"margin": 0.1})
    main(["declare", "demo", "--by", "Ada"])
    look("smoke")
    assert said("smoke")[0]["status"] == said("demo-wide")[0]["status"] == "no declaration"
    main(["declare", "demo-wide", "--by", "Ada"])
    assert said("demo-wide")[0]["by_person"] and declaration.read("demo-wide")[0].content["margin"] == 0.1
    assert said("demo")[0]["by_person"] and declaration.read("demo")[0].content["margin"] == 0.03


def test_a_hand_edited_declaration_stops_verb_and_notebook_alike(demo, capsys):
    main(["declare", "demo", "--by", "Ada"])
    file = declaration.path("demo")
    file.write_text(file.read_text().replace('"margin": 0.03', '"margin": 0.3', 1))
    assert main(["declare", "demo"]) == 1
    assert "was edited by hand: declaration 1, of 2026-01-01" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'margin' does not have its digest; restore it"):
        said()


def test_an_unknown_profile_is_refused(demo, capsys):
    assert main(["declare", "dmeo"]) == 2 and "did you mean 'demo'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda g: g["families"]["F2 conditions"].update(correction="fdr_bh"),
         "F2 conditions: correction holm became fdr_bh"),
        (lambda g: g["hypotheses"].pop(4), "F0 claims: C5 real over synthetic: was removed (C5 real over"),
        (lambda g: g["hypotheses"][2].update(margin=0.1),
         "F0 claims: C2 above ten per real image: margin nothing became 0.1"),
        (lambda g: g["hypotheses"].insert(0, g["hypotheses"].pop(1)),
         "primary F0 claims: primary became F0 claims: C1"),
        (lambda g: g["hypotheses"][0].update(average="micro"), "sensitivity: as declared, "),
        (lambda g: g["hypotheses"][7].update(against={"fst_group": "V-VI"}),
         "F3 heterogeneity: more than in I-II: against fst_group I-II became fst_group V-VI"),
        (lambda g: g["sensitivity"].pop(1), "sensitivity: equivalent within the margin?: was removed"),
        (lambda g: g["dose"].update(control="control few"), "dose, control: n 8 became 2"),
    ],
)  # fmt: skip
def test_every_kind_of_change_is_told_in_words(demo, change, told):
    before = content("params/demo/hypotheses.yml", 0.95, 0.03)
    edit(demo, change)
    after = content("params/demo/hypotheses.yml", 0.95, 0.03)
    found = changes(json.loads(json.dumps(before, sort_keys=True)), after)
    assert any(told in line for line in found), found
    assert declaration.digests(before) != declaration.digests(after)


def test_a_renamed_arm_and_another_order_of_keys_change_nothing(demo):
    before = content("params/demo/hypotheses.yml", 0.95, 0.03)
    file = demo / "params/demo/hypotheses.yml"
    file.write_text(file.read_text().replace("synthetic few", "few with synthetic"))
    edit(demo, lambda given: given.update(arms=dict(reversed(given["arms"].items()))))
    after = content("params/demo/hypotheses.yml", 0.95, 0.03)
    assert changes(before, after) == [] and declaration.digests(before) == declaration.digests(after)


def test_what_is_declared_can_be_read():
    members = content("params/demo/hypotheses.yml", 0.95, 0.07)["families"]["F0 claims"]["hypotheses"]
    told = members["C2 above ten per real image"]["sentence"]
    assert "non-superiority, margin 7 points" in told and "by 7 points or more" in told


def test_a_field_that_is_added_is_no_change_but_another_default_is():
    now = content("params/demo/hypotheses.yml", 0.95, 0.03)
    before = json.loads(json.dumps(now))
    for about in before["families"]["F0 claims"]["hypotheses"].values():
        del about["count"]
    assert changes(before, now) == [], "a field that this version has and the declaration has not"
    before["families"]["F1 malignancy"]["min_images"] = 0
    assert changes(before, now) == ["F1 malignancy: min_images 0 became 10"]


def test_a_rule_that_says_something_else_is_a_change(demo, monkeypatch):
    main(["declare", "demo", "--by", "Ada"])
    monkeypatch.setattr(rules.Nearer, "sentence", lambda self, inference: "the distance is below one half")
    look()
    (told,) = said()[1]["words"][1:]
    assert told.startswith("verdict rules: C6: at 95 % and 3 points “the paired distance is below")
    assert told.endswith("became the distance is below one half")


def test_paper_and_checklist_take_the_sentence_from_the_tables(demo):
    words = manuscript.context("demo", {}, {}, [])
    assert words["declaration"]["words"] == "Declarations: not run."
    main(["declare", "demo", "--by", "Ada"])
    look()
    edit(demo, fewer)
    about, _ = said()
    every = manuscript.blocks("demo", manuscript.context("demo", {}, {}, []), lambda name: {"missing": name})
    text = " ".join(str(block.get("text", block.get("items", ""))) for block in every)
    assert about["words"] in text and "before the results" not in text and "local records" in text
    assert any(block.get("missing") == "changes" for block in every)
    items = cards.checklist(cards._words("demo", "A title"), "demo").set_index(["list", "item"])["where"]
    for item in (("TRIPOD+AI", "18c"), ("CLAIM", "41"), ("STARD-AI", "37")):
        assert about["words"] in items[item], item
    for item in (("TRIPOD+AI", "18d"), ("CLAIM", "40"), ("STARD-AI", "36")):
        assert "no registry" in items[item] and "needs author" in items[item], item


def test_no_text_claims_what_only_a_declaration_can():
    """Static text cannot know what was declared when."""
    untrue = ("before a result", "before the results", "before results", "before looking")
    places = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("params/*/*.yml"), *ROOT.glob("skinsyn/assets/**/*.yml")]
    places += [*ROOT.glob("skinsyn/**/*.py"), ROOT / "README.md"]
    own = [ROOT / "skinsyn/report/declarations.py"]
    for place in places:
        text = "" if place in own else place.read_text()
        assert not [words for words in untrue if words in text], place


def test_shipped_declarations_are_the_packages_and_whole():
    for profile in params.profiles():
        for one in declaration.read(profile):
            assert one.automatic, f"{profile}: a declaration by a person would call itself one in every clone"


@pytest.mark.slow
def test_papermill_alone_logs_the_look_and_prints_the_sentence(tmp_path):
    tables.save("demo", "predictions", simulated(ratios=(0, 10), per_cell=2, runs=3), made_by="04_training_grid")
    book = ROOT / "notebooks" / "05_fairness_stats.ipynb"
    papermill.execute_notebook(book, tmp_path / "out.ipynb", parameters={"draws": 100}, progress_bar=False)
    (one,) = looks.on_record("demo")
    assert one.notebook == "05_fairness_stats"
    saved = tables.read("demo", "declaration", made_by="05_fairness_stats")
    assert "not a pre-registration" in saved["words"][0]
    assert (paths.figures_dir("demo") / "05_fairness_stats-declaration.csv").exists()


@pytest.mark.slow
def test_a_declaration_makes_05_stale_and_the_second_run_is_fresh(demo):
    tables.save("demo", "predictions", simulated(ratios=(0, 10), per_cell=2, runs=3), made_by="04_training_grid")
    changed = {"draws": 100}
    for change, why in (
        (lambda: None, "it has not run to its end"),
        (lambda: main(["declare", "demo", "--by", "Ada"]), "an input changed: params/demo/declaration.json"),
        (lambda: (set_rules(demo, C7={"rule": "at least", "count": 5}), main(["declare", "demo"])),
         "an input changed: params/demo/declaration.json"),
    ):  # fmt: skip
        change()
        assert dict(pipeline.status("demo", changed))["05_fairness_stats"] == why
        assert "05_fairness_stats" in pipeline.run("demo", ["05_"], changed)
        assert pipeline.run("demo", ["05_"], changed) == {}, "its own look must not make it stale"
    assert len(looks.on_record("demo")) == 3
    looks.path("demo").unlink()
    assert "looks.jsonl" in dict(pipeline.status("demo", changed))["05_fairness_stats"]
