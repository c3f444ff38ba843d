"""The verb `stats`: somebody's predictions, read, refused where they are broken, and analysed as 05 does."""

import sys

import pandas as pd
import pytest
import yaml

from skinsyn.__main__ import main
from skinsyn.run import params, paths, reanalysis, tables

sys.path.insert(0, str(paths.project_root() / "tests" / "stats"))
from simulated import predictions  # noqa: E402


@pytest.fixture(scope="module")
def table():
    return predictions(ratios=(0, 10), per_cell=2, runs=3)


def test_csv_and_parquet_read_alike(table, tmp_path):
    numbered = table.assign(cluster_id=table["cluster_id"].str.removeprefix("patient"))  # 0007 must stay 0007
    numbered.to_csv(tmp_path / "own.csv", index=False)
    numbered.to_parquet(tmp_path / "own.parquet", index=False)
    csv, parquet = (reanalysis.read(tmp_path / name).frame for name in ("own.csv", "own.parquet"))
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)


def test_what_cannot_be_read_is_named(table, tmp_path, capsys):
    (tmp_path / "bad.parquet").write_text("no table")
    assert (
        main(["stats", str(tmp_path / "bad.parquet")]) == 1 and "bad.parquet: cannot be read" in capsys.readouterr().err
    )
    assert main(["stats", str(tmp_path / "gone.csv")]) == 1 and "gone.csv: no such file" in capsys.readouterr().err
    table.drop(columns="cluster_id").to_csv(tmp_path / "lacking.csv", index=False)
    assert main(["stats", str(tmp_path / "lacking.csv")]) == 1
    assert "lacking.csv: predictions lack the columns ['cluster_id']" in capsys.readouterr().err
    table.iloc[1:].to_csv(tmp_path / "unpaired.csv", index=False)
    assert main(["stats", str(tmp_path / "unpaired.csv")]) == 1 and "unpaired arms" in capsys.readouterr().err


def test_parameters_are_checked_before_anything_runs(tmp_path, capsys):
    (tmp_path / "mine.yml").write_text("margn: 0.02\n")
    assert main(["stats", "own.csv", "--params", str(tmp_path / "mine.yml")]) == 2
    assert "mine.yml: unknown parameter 'margn'; did you mean 'margin'?" in capsys.readouterr().err
    assert main(["stats", "own.csv", "--name", "demo"]) == 2 and "a profile of that name" in capsys.readouterr().err
    (tmp_path / "mine.yml").write_text("margin: 1\n")
    values, lacking = reanalysis.parameters("own", [tmp_path / "mine.yml"], {"draws": 100})
    assert (
        values["05_fairness_stats"] == {"margin": 1.0, "draws": 100, "profile": "own"}
        and values["05b_description"] == {"draws": 100, "profile": "own"}
        and "hypotheses" in lacking
        and "profile" not in lacking
    )
    with pytest.raises(params.ParameterError, match="missing"):
        reanalysis.parameters("own", [tmp_path / "gone.yml"])


@pytest.mark.slow
def test_a_csv_becomes_tables_and_figures(table, tmp_path, capsys):
    table.to_csv(tmp_path / "own_study.csv", index=False)
    hypotheses = {
        "arms": {"control": {"task": "condition", "n": 8, "ratio": 0, "transforms": True},
                 "synthetic": {"like": "control", "ratio": 10}},
        "families": {"F0": {"correction": "holm"}},
        "hypotheses": [{"id": "primary", "family": "F0", "estimand": "synthetic - control"},
                       {"id": "bounded", "family": "F0", "estimand": "synthetic - control", "test": "non-superiority"}],
    }  # fmt: skip
    (tmp_path / "declared.yml").write_text(yaml.safe_dump(hypotheses))
    (tmp_path / "mine.yml").write_text(
        yaml.safe_dump({"draws": 100, "min_images": 4, "hypotheses": str(tmp_path / "declared.yml")})
    )
    call = ["stats", str(tmp_path / "own_study.csv"), "--params", str(tmp_path / "mine.yml"), "-p", "margin=0.05"]
    assert main(call) == 0
    assert "left to the notebooks' own values" in capsys.readouterr().out
    tests = tables.read("own_study", "tests", made_by="05_fairness_stats")
    assert tests.loc[0, "verdict"] in ("gain", "no difference shown") and tests["margin"].dropna().eq(5).all()
    for name in ("table_one", "rates_by_group", "sensitivity", "summary", "deployment", "power", "single_runs"):
        assert len(tables.read("own_study", name, made_by="05_fairness_stats or 05b_description")), name
    assert (paths.figures_dir("own_study") / "05_fairness_stats-forest.svg").exists()
