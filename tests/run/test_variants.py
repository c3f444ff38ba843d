"""A named variant runs beside its profile, shows only what differs, and is never written over."""

import shlex

import pytest
import yaml

from skinsyn import trace
from skinsyn.__main__ import main
from skinsyn.report import numbers
from skinsyn.run import params, paths, pipeline, tables


def total(profile: str) -> int:
    return int(tables.read(profile, "total", made_by="02_second").total[0])


def test_a_variant_runs_beside_the_original(project, capsys):
    assert main(["run", "--profile", "tiny"]) == 0
    original = tables.path("tiny", "total").read_bytes()
    assert main(["run", "--profile", "tiny", "--name", "five", "-p", "factor=5"]) == 0
    assert total("tiny") == 6 and total("tiny-five") == 15
    assert tables.path("tiny", "total").read_bytes() == original
    assert yaml.safe_load((project / "params/tiny-five.yml").read_text()) == {"of": "tiny", "factor": 5}
    assert (paths.figures_dir("tiny-five") / "01_first-numbers.csv").exists()
    capsys.readouterr()
    # Under its own name it is a profile like any other, and nothing of it or of the original is stale.
    assert main(["status", "--profile", "tiny-five"]) == 0 and "stale" not in capsys.readouterr().out
    assert main(["run", "--profile", "tiny", "--name", "five"]) == 0
    assert pipeline.status("tiny") == [("01_first", ""), ("02_second", "")]
    # When the profile changes, so does what its variant takes from it.
    (project / "params/tiny/01_first.yml").write_text("rows: 4\nrate: 1\n")
    assert dict(pipeline.status("tiny-five"))["01_first"] == "rows changed from 3 to 4"


def test_parameters_of_a_variant(project):
    params.save_variant("tiny", "five", {"02.factor": 5, "rate": 2})
    given = params.of_profile("tiny-five")
    assert given["01_first"] == {"profile": "tiny-five", "rows": 3, "rate": 2.0}
    assert given["02_second"] == {"profile": "tiny-five", "factor": 5}
    assert params.of_profile("tiny-five", {"factor": 7})["02_second"]["factor"] == 7
    params.save_variant("tiny-five", "more", {"rows": 9})
    assert params.of_profile("tiny-five-more")["01_first"] == {"profile": "tiny-five-more", "rows": 9, "rate": 2.0}
    assert params.profiles() == ["tiny", "tiny-five", "tiny-five-more"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "five"], "changes nothing; give what differs"),
        (["--name", "fi/ve", "-p", "factor=5"], "expected letters, digits and _"),
        (["--name", "five", "-p", "factr=5"], "did you mean 'factor'"),
        (["--name", "five", "-p", "factor=x"], "expected int"),
        (["--name", "six", "-p", "factor=7"], "is there and changes other parameters"),
        (["--name", "own", "-p", "factor=7"], "is a profile of its own"),
    ],
)
def test_a_bad_variant_is_refused_and_leaves_nothing(project, words, told, capsys):
    params.save_variant("tiny", "six", {"factor": 6})
    (project / "params/tiny-own").mkdir()
    before = sorted((project / "params").iterdir())
    assert main(["run", "--profile", "tiny", *words]) == 2
    assert told in capsys.readouterr().err
    assert sorted((project / "params").iterdir()) == before and not paths.run_dir("tiny-five").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("factor: 5", "of = None, expected the name of another profile"),
        ("of: bad\nfactor: 5", "of = 'bad', expected the name of another profile"),
        ("of: tinny\nfactor: 5", "no profile 'tinny'; did you mean 'tiny'"),
        ("of: tiny\nfactr: 5", "params/bad.yml: factr: unknown parameter 'factr'; did you mean 'factor'"),
        ("of: tiny\n9.factor: 5", "params/bad.yml: 9.factor: no notebook 9"),
    ],
)
def test_a_bad_file_of_a_variant_is_named(project, text, told, capsys):
    (project / "params/bad.yml").write_text(text)
    assert main(["run", "--profile", "bad"]) == 2
    assert told in capsys.readouterr().err


def test_variants_in_a_circle_are_refused(project):
    (project / "params/a.yml").write_text("of: b")
    (project / "params/b.yml").write_text("of: a")
    with pytest.raises(params.ParameterError, match="expected the name of another profile"):
        params.of_profile("a")


def units() -> dict[str, set[str]]:
    return {kind.name: {unit.name for unit in kind.iterdir()} for kind in paths.store_dir().iterdir()}


@pytest.mark.slow
def test_a_variant_of_the_whole_line_shares_all_that_did_not_change(study, capsys):
    """Another guidance makes other images; phantoms, generators and classifiers of real images alone are those of
    smoke."""
    assert main(["run", "--profile", "smoke"]) == 0
    before, held = units(), numbers.read("smoke")
    assert main(["run", "--profile", "smoke", "--name", "guidance7", "-p", "guidance_scale=7"]) == 0
    after = units()
    assert after["phantoms"] == before["phantoms"] and after["generator"] == before["generator"]
    assert after["shard"] > before["shard"] and numbers.read("smoke") == held
    cells = {run: tables.read(run, "cells", made_by="04_training_grid") for run in ("smoke", "smoke-guidance7")}
    alone = [set(frame.loc[frame["ratio"] == 0, "key"]) for frame in cells.values()]
    mixed = [set(frame.loc[frame["ratio"] > 0, "key"]) for frame in cells.values()]
    assert alone[0] == alone[1] and not mixed[0] & mixed[1]

    capsys.readouterr()
    assert main(["compare", "smoke", "smoke-guidance7"]) == 0
    out = capsys.readouterr().out
    assert "03 guidance_scale: 3.0 → 7.0" in out and "C1" in out
    found = trace.trace("smoke-guidance7", "F0.primary")
    file = paths.run_dir("smoke-guidance7") / "numbers/05_fairness_stats.json"
    whole = file.read_bytes()
    file.unlink()
    assert main(shlex.split(found.again[0])[3:]) == 0, "the command of trace makes the number again"
    assert file.read_bytes() == whole
