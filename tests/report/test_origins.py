"""A number carries the cell and the row that it comes from; a wrong origin and an undeclared id are told."""

import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from skinsyn.report import cards, manuscript, numbers, paper_tables
from skinsyn.run import params, paths, tables

TESTS = pd.DataFrame(
    {
        "family": ["F0 claims", "F0 claims", "F1 malignancy"],
        "id": ["primary", "C4 transforms over synthetic alone", "malignancy, V-VI"],
        "estimate": [2.5, 2.5, np.nan],
        "low": [-1.0, 1.5, np.nan],
        "high": [6.0, 3.5, np.nan],
        "p": [0.25, 0.0625, np.nan],
        "images": [12, 12, 4],
        "verdict": ["no difference shown", "gain", "not estimable"],
    }
)
FIVE = "05_fairness_stats"
PRIMARY = {"family": "F0 claims", "id": "primary"}
SILENT = {"family": "F1 malignancy", "id": "malignancy, V-VI"}


@pytest.fixture
def origin(tmp_path, monkeypatch):
    """The cell of a notebook in a run that has saved its tests."""
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(tmp_path / "figures"))
    tables.save("tiny", "tests", TESTS, FIVE)
    return numbers.Origin("tiny", FIVE, "zzc-numbers")


def test_a_number_carries_its_row(origin):
    made = origin.from_row("tests", PRIMARY, "estimate", "points", "low", "high")
    assert made == {
        "value": 2.5,
        "unit": "points",
        "low": -1.0,
        "high": 6.0,
        "cell": "zzc-numbers",
        "table": "tests",
        "table_made_by": FIVE,
        "row": PRIMARY,
        "column": "estimate",
    }
    numbers.save("tiny", FIVE, {"F0.primary": made})
    assert numbers.read("tiny")["F0.primary"] == made | {"made_by": FIVE}
    assert numbers.contradiction(made, TESTS) == ""
    assert paper_tables.origin_in_words(made) == "tests: F0 claims / primary, estimate"


def test_the_order_of_rows_does_not_matter(origin):
    made = origin.from_row("tests", PRIMARY, "p")
    assert made["value"] == 0.25 and numbers.contradiction(made, TESTS[::-1]) == ""
    assert numbers.place_of_row(TESTS, PRIMARY) == 0 and numbers.place_of_row(TESTS[::-1], PRIMARY) == 2


def test_what_is_missing_in_the_row_is_not_estimable(origin):
    made = origin.from_row("tests", SILENT, "estimate", "points", "low", "high")
    assert made["value"] is made["low"] is made["high"] is None and made["row"] == SILENT
    assert numbers.contradiction(made, TESTS) == ""
    absent = origin.from_row("tests", {"id": "elsewhere"}, "p", optional=True)
    assert absent["value"] is None and numbers.contradiction(absent, TESTS) == ""


def test_integers_stay_integers_and_rows_are_plain(origin):
    made = origin.from_row("tests", {"images": np.int64(4)}, "images")
    assert made["value"] == 4 and isinstance(made["value"], int) and json.dumps(made["row"]) == '{"images": 4}'


@pytest.mark.parametrize("where", [{"family": "F0 claims"}, {"id": "elsewhere"}])
def test_not_exactly_one_row_is_refused(origin, where):
    with pytest.raises(ValueError, match="rows of the table 'tests' have"):
        origin.from_row("tests", where, "estimate")
    with pytest.raises(ValueError, match="2 rows"):
        origin.from_row("tests", {"family": "F0 claims"}, "estimate", optional=True)


def test_a_computed_number_names_its_cell_and_no_row(origin):
    made = origin.computed(12, "images")
    assert made["table"] is made["row"] is None and numbers.contradiction(made, None) == ""
    assert paper_tables.origin_in_words(made) == "computed in cell zzc-numbers"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"row": SILENT}, "the row holds"),
        ({"row": PRIMARY | {"id": "elsewhere"}}, "no such row"),
        ({"row": {"family": "F0 claims"}}, "no such row"),
        ({"row": {"stage": "train"}}, "no such row"),
        ({"column": "p"}, "the row holds"),
        ({"column": "gone"}, "no such row"),
        ({"value": 2.0}, "not 2.0"),
        ({"value": float(np.nextafter(2.5, 3)), "low": -1.0}, "the row holds"),
        ({"value": None, "low": None, "high": None}, "not None"),
    ],
)
def test_a_wrong_origin_is_told(origin, wrong, said):
    made = origin.from_row("tests", PRIMARY, "estimate", "points", "low", "high") | wrong
    assert said in numbers.contradiction(made, TESTS)
    assert numbers.contradiction(made, None) == "the table has no such row"
    numbers.save("tiny", FIVE, {"F0.primary": made})
    ledger = pd.DataFrame({"claim": []})
    table = paper_tables.maker("tiny", ledger, [], numbers.read("tiny"))("numbers")
    assert "wrong origin" in table["page_rows"][0][-1]


def test_a_number_without_an_origin_is_not_saved(origin):
    with pytest.raises(ValueError, match="'F0.primary' has no origin"):
        numbers.save("tiny", FIVE, {"F0.primary": numbers.number(1)})


def test_an_unknown_id_raises_and_a_declared_one_is_not_run(origin):
    saved = {"mine.gain": origin.computed(1)}
    assert numbers.lookup(saved, "mine.gain")["value"] == 1
    for name in ("c6.p", "accuracy.real.n8", "F0.primary", "ledger.c7", "data.annotators.kappa"):
        assert numbers.lookup(saved, name) is None
    for name in ("chance", "ledger.c8", "recognised.chanse", "mine.loss"):
        with pytest.raises(ValueError, match=f"declares the number '{name}'"):
            numbers.lookup(saved, name)
    words = manuscript.context("tiny", saved, {}, [])
    assert words["bare"]("recognised.chance") == "not run"
    for show in ("v", "n", "bare", "p", "percent", "estimated"):
        with pytest.raises(ValueError, match="declares the number 'chance'"):
            words[show]("chance")
    with pytest.raises(ValueError, match="declares the number 'chance'"):
        cards._words("tiny", "title")["v"]("chance")


def test_every_id_of_the_manuscript_and_the_cards_is_declared():
    texts = [manuscript.MANUSCRIPT, *(manuscript.MANUSCRIPT.parents[1] / "cards").iterdir()]
    found = [
        name
        for text in texts
        for name in re.findall(r"\b(?:v|n|bare|p|percent|shift|estimated)\('([^']+)'", text.read_text())
    ]
    assert len(found) > 60 and all(numbers.lookup({}, name) is None for name in found)


def test_declared_ids_name_notebooks():
    declared = yaml.safe_load(numbers.DECLARED.read_text())
    names = [name for group in declared.values() for name in group]
    assert set(declared) <= {notebook.stem for notebook in params.notebooks()} and len(names) == len(set(names))


@pytest.mark.parametrize(
    "notebook", [b for b in params.notebooks() if b.stem < "09"], ids=lambda notebook: notebook.stem
)
def test_numbers_are_made_in_the_cell_that_they_name(notebook):
    makes = re.compile(r"origin\.(?:computed|from_row)\(|^\s*keep\(|save_numbers\(", re.M)
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and makes.search(cell.source):
            named = re.findall(r'^origin = numbers\.Origin\(profile, (?:NOTEBOOK|me), "([^"]+)"\)$', cell.source, re.M)
            assert named == [cell.id], f"{notebook.stem}: the cell {cell.id} makes numbers as {named}"
            assert cell.source.index("origin = ") < makes.search(cell.source).start()
        assert cell.cell_type != "code" or "numbers.number(" not in cell.source


def test_numbers_lie_in_the_run(origin):
    path = numbers.save("tiny", FIVE, {"F0.primary.p": origin.from_row("tests", PRIMARY, "p")})
    assert path == paths.figures_dir("tiny") / "numbers.json" and json.loads(path.read_text()) == numbers.read("tiny")
