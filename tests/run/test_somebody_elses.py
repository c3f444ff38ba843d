"""The worked example of the README: four applications, 231 images, the published McNemar and Holm p to the digits."""

import re

import pandas as pd
import pytest

from skinsyn.__main__ import main
from skinsyn.run import paths, reanalysis, tables
from skinsyn.stats import all_pairs, given_models
from skinsyn.stats.hypotheses import Hypotheses
from skinsyn.stats.predictions import blocks


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The folder in which README's recipe was run as it stands."""
    try:
        source = paths.data_dir("apps") / "fitzpatrick_231.csv"
    except FileNotFoundError as absent:
        pytest.skip(str(absent))
    folder, monkeypatch = tmp_path_factory.mktemp("apps"), pytest.MonkeyPatch()
    (folder / source.name).symlink_to(source)
    section = (paths.project_root() / "README.md").read_text().split("## Somebody else's predictions")[1]
    with monkeypatch.context() as here:
        here.chdir(folder)
        exec(re.search(r"```python\n(.*?)```", section, re.S)[1], {})
    return folder


def as_published(pairs: pd.DataFrame) -> None:
    row = pairs.set_index("id").loc["a - m"]
    assert (row["gained"], row["lost"], len(pairs)) == (18, 70, 6)
    found = [f"{row[name]:.3e}" for name in ("mcnemar", "exact", "mcnemar_holm")]
    assert found == ["5.430e-08", "2.078e-08", "3.258e-07"]
    assert row["both"] + row["gained"] == 85 and row["images"] == 231


def test_published_discordances_mcnemar_and_holm(recipe):
    frame, remarks = reanalysis.read(recipe / "apps.csv")
    grid = blocks(frame)
    as_published(given_models.all_pairs(grid, Hypotheses.read(all_pairs.hypotheses(grid))))
    assert any("groups are those of fst" in remark for remark in remarks)
    assert grid["answers"].images["fst_group"].value_counts()["I-II"] == 81


@pytest.mark.slow
def test_the_command_of_the_readme(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(tmp_path / "figures"))
    assert main(["stats", str(recipe / "apps.csv"), "-p", "draws=100"]) == 0
    assert "every pair of arms (6)" in capsys.readouterr().out
    as_published(tables.read("apps", "pairs_given_models", made_by="05_fairness_stats"))
    tests = tables.read("apps", "tests", made_by="05_fairness_stats")
    assert tests["verdict"].eq("not estimable").all() and tests["flags"].str.contains("one run").all()
    rates = tables.read("apps", "rates_by_group", made_by="05b_description")
    assert rates["flags"][0].startswith("not run: ")
    assert pd.read_csv(tmp_path / "figures" / "apps" / "05_fairness_stats-pairs_given_models.csv").shape[0] == 6
