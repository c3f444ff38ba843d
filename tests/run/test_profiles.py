"""Profiles hold differences from the notebooks' parameters cells; plain papermill and skinsyn resolve them alike."""

import hashlib
import json
import shutil

import papermill
import pytest
import yaml

from skinsyn.__main__ import main
from skinsyn.run import params, paths, profiles

ROOT = paths.project_root()
PROFILES = ("demo", "smoke", "pad_ufes_20", "fitzpatrick17k", "ddi")


def by_papermill(profile: str, notebook) -> dict:
    """What a notebook's cells hold after papermill put the files of a profile in, as with -f for each that is there."""
    values: dict = {}
    for name in ("common", notebook.stem):
        file = ROOT / "params" / profile / f"{name}.yml"
        if file.exists():
            values |= papermill.iorw.read_yaml_file(str(file))
    book = papermill.parameterize.parameterize_notebook(papermill.iorw.load_notebook_node(str(notebook)), values)
    namespace: dict = {}
    for cell in book.cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, {}, namespace)
    return {name: value for name, value in namespace.items() if name != "__annotations__"}


@pytest.mark.parametrize("profile", ["smoke", "fitzpatrick17k"])
def test_plain_papermill_resolves_what_skinsyn_resolves(profile):
    for notebook in params.notebooks():
        mine, theirs = params.for_notebook(profile, notebook), by_papermill(profile, notebook)
        assert mine == theirs and list(mine) == list(theirs)
        assert repr(mine) == repr(theirs), "of the same types, too: 3 and 3.0 make two keys of the store"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_holds_differences_only(profile):
    for notebook in params.notebooks():
        defaults = {name: about["default"] for name, about in params.declared(notebook).items()}
        contents = params.differences(profile, notebook)
        assert contents["common"]["profile"] == profile
        assert not [key for key, value in contents[notebook.stem].items() if value == defaults[key]]
    assert sum(len(yaml.safe_load(f.read_text())) for f in (ROOT / "params/demo").glob("[c0-9]*.yml")) == 1


@pytest.mark.parametrize(
    ("profile", "digest"),
    [("pad_ufes_20", "eee583b5fc73f6e6"), ("fitzpatrick17k", "565c0ea3ff812107"), ("ddi", "57755b5e50966538")],
)
def test_what_decides_the_generators_of_real_photographs_is_pinned(profile, digest):
    """A profile takes what it does not say from the demo: a changed demo must not move the others unnoticed."""
    every = params.of_profile(profile)
    text = json.dumps([every["02_dreambooth"], every["03_generation"]], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_whole_files_are_written_read_as_the_profile_and_refused_as_a_profile(study, capsys):
    before = params.of_profile("smoke")
    assert main(["params", "smoke", "--write", str(study / "params/whole")]) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == len(before) + 1 and all(file.endswith(".yml") for file in written)
    folder = study / "params/whole"
    for stem, values in before.items():
        text = (folder / "common.yml").read_text() + (folder / f"{stem}.yml").read_text()
        assert repr({name: yaml.safe_load(text)[name] for name in values}) == repr(values)
        known = params.declared(study / f"notebooks/{stem}.ipynb")
        own = set(known) - {"profile", "seed"}  # common.yml says what these two mean in the first notebook
        assert all(f"# {known[name]['type']}: {known[name]['help']}\n" in text for name in own)
    assert main(["params", "smoke", "--write", str(folder)]) == 1 and "is there already" in capsys.readouterr().err

    common = folder / "common.yml"
    assert main(["run", "--profile", "whole"]) == 2
    assert "whole/common.yml: profile = 'smoke', expected profile: whole" in capsys.readouterr().err
    common.write_text(common.read_text().replace("profile: smoke", "profile: whole"))
    assert main(["run", "--profile", "whole"]) == 2
    assert "Rewrite it: python -m skinsyn params whole --rewrite" in capsys.readouterr().err
    stats = folder / "05b_description.yml"
    stats.write_text(stats.read_text().replace("min_images: 2", "# fewer than in a clinic\nmin_images: 2"))
    assert main(["params", "whole", "--rewrite"]) == 0
    assert "values differ from the notebooks' own and stay" in capsys.readouterr().out
    after = params.of_profile("whole")
    assert after == {stem: values | {"profile": "whole"} for stem, values in before.items()}
    assert "min_images: 2  # int: " in stats.read_text() and "level" not in yaml.safe_load(stats.read_text())
    assert main(["params", "whole", "--rewrite"]) == 0, "a second time changes nothing"
    assert params.of_profile("whole") == after


def test_a_profile_that_differs_in_nothing_is_its_name(study):
    files = sorted(file.name for file in (study / "params/demo").iterdir())
    assert files == ["common.yml", "declaration.json", "hypotheses.yml"], "no file of a notebook"
    every = params.of_profile("demo")
    named = {stem: values | {"profile": "again"} for stem, values in every.items()}
    assert sorted(file.name for file in profiles.write("again", named, "The same.").iterdir()) == ["common.yml"]


def test_a_rewrite_that_cannot_keep_the_lines_is_refused(study, capsys):
    file = study / "params/smoke/04_training_grid.yml"
    text = "{runs: 2, epochs: 50, patience: 3}\n"
    file.write_text(text)
    assert main(["params", "smoke", "--rewrite"]) == 2
    assert "write each key on a line of its own" in capsys.readouterr().err and file.read_text() == text


def test_hypotheses_among_the_parameters_are_refused_with_the_name_of_their_file(study, capsys):
    file = study / "params/smoke/05_fairness_stats.yml"
    for key in ("arms", "families", "sensitivity", "dose"):
        file.write_text(f"{key}: {{}}\n")
        for verb in (["params", "smoke"], ["params", "smoke", "--rewrite"], ["run", "--profile", "smoke"]):
            assert main(verb) == 2
            told = capsys.readouterr().err
            assert f"unknown parameter '{key}'; it stands in hypotheses.yml" in told and "stats/hypotheses.py" in told


def test_files_that_no_notebook_reads_and_profiles_without_a_name_are_refused(project, capsys):
    shutil.copytree(project / "params/tiny", project / "params/other")
    assert main(["status", "--profile", "other"]) == 2
    assert "other/common.yml: profile = 'tiny', expected profile: other" in capsys.readouterr().err
    (project / "params/tiny/02_secnd.yml").write_text("factor: 3\n")
    assert main(["status", "--profile", "tiny"]) == 2
    assert "02_secnd.yml: no such notebook; did you mean 02_second.yml?" in capsys.readouterr().err
    (project / "params/tiny/02_secnd.yml").unlink()
    (project / "params/tiny/common.yml").write_text("")
    assert main(["status", "--profile", "tiny"]) == 2
    assert "profile = None, expected profile: tiny" in capsys.readouterr().err


def test_a_computed_default_is_refused(project):
    notebook = project / "notebooks/02_second.ipynb"
    notebook.write_text(notebook.read_text().replace("factor: int = 2", "factor: int = 1 + 1"))
    with pytest.raises(params.ParameterError, match="factor is not a plain value"):
        params.for_notebook("tiny", notebook)
