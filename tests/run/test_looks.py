"""Declarations and looks as files: appended to, never rewritten; edits by hand are refused; reading is logged once."""

import json

import pandas as pd
import pytest

from skinsyn.run import declaration, files, looks, paths, tables
from skinsyn.run.declaration import Declaration

CONTENT = {"margin": 0.03, "level": 0.95, "families": {}, "sensitivity": {}, "verdict_rules": {"C1": {"rule": "above"}}}


@pytest.fixture(autouse=True)
def clock(tmp_path, monkeypatch):
    """A project of its own, and a clock that each reading of it puts on by a minute."""
    (tmp_path / "params").mkdir()
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    minutes = iter(range(60))
    monkeypatch.setattr(declaration, "now", lambda: f"2026-01-01T10:{next(minutes):02}:00+00:00")
    return tmp_path


def put(profile="tiny", **changed):
    content = CONTENT | changed
    one = Declaration(date=declaration.now(), by="Ada", content=content, digests=declaration.digests(content))
    return declaration.append(profile, one)


def predict(value, profile="tiny"):
    return tables.save(profile, "predictions", pd.DataFrame({"correct": [value]}), made_by="04_training_grid")


def look(profile="tiny"):
    tables.read(profile, "predictions", made_by="04_training_grid", read_by="05_fairness_stats")
    return looks.on_record(profile)


def test_one_line_per_state_of_predictions_and_declaration():
    predict(1)
    (first,) = look()
    assert (first.notebook, first.declaration, first.date) == ("05_fairness_stats", "none", "2026-01-01T10:00:00+00:00")
    bytes_of = looks.path("tiny").read_bytes()
    assert look() == [first] and looks.path("tiny").read_bytes() == bytes_of, "the same state adds no line"
    kept = put()
    assert [one.declaration for one in look()] == ["none", kept.chain]
    predict(0)
    assert len(look()) == 3 and len({one.predictions for one in look()}) == 2
    predict(1)
    assert len(look()) == 3, "an earlier state was looked at before"


def test_another_profile_has_its_own_log_and_declarations():
    predict(1)
    predict(1, "other")
    put()
    look()
    assert not looks.path("other").exists() and declaration.read("other") == []
    assert look("other")[0].declaration == "none"


def test_only_predictions_are_looks():
    tables.save("tiny", "cells", pd.DataFrame({"arm": ["a"]}), made_by="04_training_grid")
    tables.read("tiny", "cells", made_by="04_training_grid")
    assert not looks.path("tiny").exists()


def test_results_that_no_log_accounts_for_are_noticed():
    file = predict(1)
    assert looks.unlogged("tiny", file), "predictions are there, and nobody is on record for reading them"
    look()
    assert not looks.unlogged("tiny", file)
    looks.path("tiny").unlink()
    assert looks.unlogged("tiny", file), "a deleted log"
    file.unlink()
    assert not looks.unlogged("tiny", file)
    figures = paths.figures_dir("tiny")
    figures.mkdir(parents=True)
    (figures / "05_fairness_stats-tests.csv").write_text("id\n")
    assert looks.unlogged("tiny", file), "results of 05 were passed on without the run"


def test_a_log_that_cannot_be_written_is_told(monkeypatch):
    predict(1)

    def refuse(path):
        raise PermissionError(f"read-only: {path}")

    monkeypatch.setattr(files, "atomic", refuse)
    with pytest.warns(UserWarning, match="this look .* 'tiny' is not on record: read-only"):
        look()


def test_a_damaged_log_names_its_line():
    predict(1)
    look()
    looks.path("tiny").write_text(looks.path("tiny").read_text() + '{"date": 3}\n')
    with pytest.raises(ValueError, match=r"looks\.jsonl, line 2, is no look"):
        look()


def test_declarations_are_appended_and_read_back():
    first, second = put(), put(margin=0.05)
    assert declaration.read("tiny") == [first, second] and declaration.in_force("tiny") == second.chain
    assert first.digests["verdict rule C1"] == second.digests["verdict rule C1"]
    assert first.digests["margin"] != second.digests["margin"]
    assert declaration.path("tiny").read_text().startswith("[\n {\n")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            lambda all_: all_[0]["content"].update(margin=0.1),
            "declaration 1, of 2026.*'margin' does not have its digest",
        ),
        (lambda all_: all_[0]["content"]["verdict_rules"].pop("C1"), "'verdict rule C1' does not have its digest"),
        (lambda all_: all_[0].update(date="2025-01-01T10:00:00+00:00"), "declaration 1.*does not follow"),
        (lambda all_: all_[0].update(looks=0, by="Grace"), "declaration 1.*does not follow"),
        (lambda all_: all_.pop(0), "declaration 1.*does not follow from the one before it"),
        (lambda all_: all_.reverse(), "does not follow from the one before it"),
        (lambda all_: all_[1].update(automatik=True), "declaration 2: unknown key 'automatik'; did you mean"),
    ],
)
def test_an_edit_by_hand_is_refused(edit, told):
    put()
    put(margin=0.05)
    file = declaration.path("tiny")
    listed = json.loads(file.read_text())
    edit(listed)
    file.write_text(json.dumps(listed))
    with pytest.raises(
        ValueError, match=rf"(?s)declaration\.json .*{told}.*git checkout -- params/tiny/declaration.json"
    ):
        declaration.read("tiny")
    predict(1)
    with pytest.raises(ValueError, match="git checkout"):
        look()


def test_what_is_no_json_is_refused():
    put()
    declaration.path("tiny").write_text("[{")
    with pytest.raises(ValueError, match="cannot be read as declarations"):
        declaration.read("tiny")


def test_declarations_and_looks_are_inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINSYN_ACCESS_LOG", str(tmp_path / "access"))
    assert declaration.read("tiny") == [] and looks.on_record("tiny") == []
    noted = {tuple(json.loads(line)) for line in (tmp_path / "access").read_text().splitlines()}
    assert noted == {("read", str(declaration.path("tiny"))), ("read", str(looks.path("tiny")))}, "absent ones, too"


def test_a_variant_has_a_file_beside_its_own(tmp_path):
    (tmp_path / "params/tiny-patient.yml").write_text("of: tiny\n")
    put("tiny-patient")
    assert (tmp_path / "params/tiny-patient.declaration.json").exists()
    assert declaration.read("tiny-patient") and not declaration.read("tiny")


def test_who_declares_is_asked_of_git_then_of_the_login(monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Ada Lovelace")
    assert declaration.invoker() == "Ada Lovelace"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LOGNAME", "ada")
    assert declaration.invoker() == "ada"
