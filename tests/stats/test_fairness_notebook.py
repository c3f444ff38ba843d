"""05_fairness_stats and 05b_description run on simulated predictions and write what the paper reads."""

import json

import pandas as pd
import papermill
import pytest
from simulated import predictions

from skinsyn.run import paths, tables


@pytest.mark.slow
@pytest.mark.parametrize("thin", [False, True])
def test_notebook(tmp_path, monkeypatch, thin):
    """thin: one dose, one task, skin type unknown. Rows become 'not run' or 'not estimable', and nothing stops."""
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(tmp_path / "figures"))
    table = predictions(ratios=(0, 10) if thin else (0, 1, 5, 10, 25))
    table = table[table["task"] == "condition"].assign(fst_group="unknown") if thin else table
    tables.save("demo", "predictions", table, made_by="04_training_grid")
    for stem in ("05_fairness_stats", "05b_description"):
        notebook = paths.project_root() / "notebooks" / f"{stem}.ipynb"
        papermill.execute_notebook(notebook, tmp_path / "out.ipynb", parameters={"draws": 200}, progress_bar=False)
    tests = pd.read_csv(tmp_path / "figures" / "demo" / "05_fairness_stats-tests.csv")
    silent = tests["p"].isna() & ~tests["verdict"].isin(["not run", "not estimable"])
    assert not silent.any() and tests.loc[tests["p"].isna(), "flags"].notna().all()
    verdicts = tests[tests["family"] == "F1 malignancy"]["verdict"]
    assert (verdicts == "not run").all() if thin else (verdicts == "gain").all()
    found = json.loads((tmp_path / "figures" / "demo" / "numbers.json").read_text())
    assert found["F0.primary"]["value"] == pytest.approx(tests["estimate"][0]) and found["F0.primary"]["low"] > 0
    for name in ("gains_by_group", "accuracy_by_group", "dose_response", "dose_verdict"):
        assert len(tables.read("demo", name, made_by="05 or 05b"))
    no_silent_gap_in_a_table(tmp_path / "figures" / "demo")


def no_silent_gap_in_a_table(folder):
    """Where a table has flags, an estimate without an interval says why; where it has none, words and counts are
    whole."""
    for file in folder.glob("05*.csv"):
        table = pd.read_csv(file)
        assert len(table), f"{file.name} is empty"
        if {"flags", "low"} <= set(table.columns):
            silent = table["low"].isna() & table["flags"].isna()
            assert not silent.any(), f"{file.name}: {table[silent].iloc[0].to_dict()}"
    parts = [folder / "05_fairness_stats-summary.csv", folder / "05b_description-description.csv"]
    words = pd.concat(map(pd.read_csv, parts))
    assert len(words) >= 10 and not words["words"].str.contains(r"\b(?:nan|None|inf)\b", regex=True).any()
