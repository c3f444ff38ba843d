"""Two runs side by side: every change is shown, nothing else is, and nothing depends on the order of rows."""

import json

import numpy as np
import pandas as pd
import pytest

from skinsyn.__main__ import main
from skinsyn.report import compare
from skinsyn.run import files, paths, tables

MADE = {"tests": "05_fairness_stats", "ledger": "08_paper", "flow": "01_data_prep", "images": "01_data_prep"}
RUNS = ["one", "one-two"]


def fabricate(
    run: str, estimate: float, verdict: str, guidance: float, shuffled: bool = False, **more: pd.DataFrame
) -> None:
    """What a run leaves: three tables and the stamps that tell who made them."""
    ends = {"low": [estimate - 1, np.nan], "high": [estimate + 1, np.nan]}
    tested = {"family": "F0 claims", "id": ["primary", "C4"], "estimate": [estimate, np.nan], **ends}
    claims = {
        "claim": ["C1: more", "C2: less"],
        "estimate": [estimate, np.nan],
        **ends,
        "direction": [verdict, "not run"],
        "magnitude": ["too imprecise", "not run"],
        "no_worthwhile_gain": ["not shown", "not run"],
    }
    frames = {
        "tests": pd.DataFrame(tested | {"images": 36, "verdict": ["gain", "not run"]}),
        "ledger": pd.DataFrame(claims),
        "flow": pd.DataFrame({"stage": ["rows", "used"], "images": [9, 7]}),
        **more,
    }
    if shuffled:
        frames["tests"] = frames["tests"][::-1]
    for name, frame in frames.items():
        tables.save(run, name, frame, MADE[name])
    for stem in set(MADE.values()):
        written = {str(tables.path(run, name)): "" for name in frames if MADE[name] == stem}
        stamp = {"parameters": {"profile": run, "seed": 0, "guidance_scale": guidance}, "writes": written}
        files.write_json(paths.run_dir(run) / "stamps" / f"{stem}.json", stamp)


def test_what_differs_is_shown_and_nothing_else(capsys):
    fabricate("one", 2.0, "not identified", 3.0)
    fabricate("one-two", 4.5, "reproduced", 7.0)
    assert main(["compare", *RUNS]) == 0
    out = capsys.readouterr().out
    assert "guidance_scale: 3.0 → 7.0" in out and " seed: " not in out and " profile: " not in out
    assert "+2.0 (+1.0 to +3.0)" in out and "+4.5 (+3.5 to +5.5)" in out and "not tested" in out
    assert "reproduced; size too imprecise; no worthwhile gain not shown" in out
    folder = paths.figures_dir("one_vs_one-two")
    values = pd.read_csv(folder / "compare-values.csv")
    assert values["column"].tolist() == ["estimate", "low", "high"] and set(values["difference"]) == {2.5}
    assert set(values["row"]) == {"F0 claims / primary"}
    states = pd.read_csv(folder / "compare-tables.csv").set_index("table")["state"].to_dict()
    assert states == {"flow": "same", "ledger": "differs", "tests": "differs"}
    claims = pd.read_csv(folder / "compare-ledger.csv").set_index("claim")
    assert claims["verdict changed"].tolist() == [True, False] and claims.loc["C1: more", "difference"] == 2.5
    assert (folder / "compare-gains.svg").exists() and (folder / "compare-gains.png").exists()


def test_the_order_of_rows_is_no_difference_and_the_same_comparison_is_the_same_bytes():
    fabricate("one", 2.0, "not identified", 3.0)
    fabricate("one-two", 2.0, "not identified", 3.0, shuffled=True)
    found = compare.compare(RUNS)
    assert found["parameters"].empty and found["values"].empty and not found["ledger"]["verdict changed"].any()
    folder = paths.figures_dir(compare.save(RUNS, found))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    compare.save(RUNS, compare.compare(RUNS))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_swapping_the_runs_negates_every_difference():
    fabricate("one", 2.0, "not identified", 3.0)
    fabricate("one-two", 4.5, "reproduced", 7.0)
    forth, back = compare.compare(RUNS), compare.compare(RUNS[::-1])
    for name in ("ledger", "tests", "values"):
        assert forth[name]["difference"].dropna().tolist() == [-x for x in back[name]["difference"].dropna()]


def test_a_table_or_row_that_one_run_lacks():
    more = pd.DataFrame({"stage": ["rows", "used", "extra"], "images": [9, 7, 3]})
    fabricate("one", 2.0, "not identified", 3.0, images=pd.DataFrame({"image_id": ["a"]}))
    fabricate("one-two", 2.0, "not identified", 3.0, flow=more)
    found = compare.compare(RUNS)
    assert found["tables"].set_index("table")["state"]["images"] == "only in one"
    [row] = found["values"].to_dict("records")
    assert row["row"] == "extra" and np.isnan(row["one"]) and row["one-two"] == 3


def test_rows_that_are_named_alike_are_joined_in_their_order():
    for run, last in zip(RUNS, (7, 8), strict=True):
        fabricate(run, 2.0, "x", 3.0, flow=pd.DataFrame({"stage": ["used", "used"], "images": [7, last]}))
    assert compare.rows_of(RUNS, "flow")["difference"].tolist() == [1]


@pytest.mark.parametrize(
    ("runs", "told"),
    [(["one", "one"], "with itself"), (["one", "none"], "make it: python -m skinsyn run --profile none")],
)
def test_what_cannot_be_compared_is_told(runs, told, capsys):
    fabricate("one", 2.0, "x", 3.0)
    assert main(["compare", *runs]) == 1
    assert told in capsys.readouterr().err


def test_a_damaged_stamp_is_named(capsys):
    fabricate("one", 2.0, "x", 3.0)
    fabricate("one-two", 2.0, "x", 3.0)
    stamp = paths.run_dir("one") / "stamps/08_paper.json"
    stamp.write_text(json.dumps({"x": 1})[:-2])
    assert main(["compare", *RUNS]) == 1 and "08_paper.json is damaged" in capsys.readouterr().err
