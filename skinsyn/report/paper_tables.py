"""The paper's tables: saved tables turned into rows of text, every number through `numbers.show`."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from ..run import files, paths, sources, tables
from ..stats.predictions import GROUPS
from .inference import Inference, parameters_on_record
from .ledger import Claim, HypothesisRule
from .links import mark
from .numbers import NOT_ESTIMABLE, NOT_RUN, contradiction, number, place_of_row, show, show_p

__all__ = ["MADE_BY", "SPLITS", "exists", "maker", "optional", "origin_in_words"]

MADE_BY = {
    "images": "01_data_prep",
    "flow": "01_data_prep",
    "attrition": "01_data_prep",
    "generators": "02_dreambooth",
    "synthetic": "03_generation",
    "distances": "03_generation",
    "learning_curves": "04_training_grid",
    "cells": "04_training_grid",
    "tests": "05_fairness_stats",
    "plain_words": "05_fairness_stats",
    "table_one": "05_fairness_stats",
    "accuracy_by_group": "05_fairness_stats",
    "rates_by_group": "05_fairness_stats",
    "open_answers": "07_open_questions",
}
SPLITS = ("train", "validation", "test")
# (row of the saved table, its column, text) → the text, marked with the id of the number that it shows, where it has
# one.
Mark = Callable[[int, str, str], str]
# Parameters that say how images are made; the appendix shows all.
SETTINGS = ("02_dreambooth", "03_generation")
APART = ("profile", "seed", "executor", "threads")


def optional(profile: str, name: str) -> pd.DataFrame | None:
    """A saved table, or None where this run does not have it. Raises ValueError where it is damaged."""
    return tables.read(profile, name, MADE_BY[name]) if exists(profile, name) else None


def exists(profile: str, name: str) -> bool:
    """Whether a run has this table. Its absence is an input as well: once it is there, what was made without it is
    stale."""
    file = tables.path(profile, name)
    if not file.exists():
        files.log_access("read", file)
    return file.exists()


def maker(profile: str, ledger: pd.DataFrame, claims: Sequence[Claim], numbers: Mapping[str, Mapping]):
    """A function name → table, as `manuscript.blocks` wants it; tables of what was not run say so."""
    record = parameters_on_record(profile)
    cited = {given["table"]: given["table_made_by"] for given in numbers.values() if given["table"]}
    loaded = {name: tables.read(profile, name, made_by) for name, made_by in cited.items() if exists(profile, name)}
    ids = {
        (given["table"], place_of_row(loaded[given["table"]], given["row"]), given["column"]): name
        for name, given in sorted(numbers.items(), reverse=True)
        if given["table"] in loaded and not contradiction(given, loaded[given["table"]])
    }
    inference = Inference.of_run(profile)
    estimates = [f"ledger.{claim[:2].lower()}" for claim in ledger["claim"]]
    ids |= {("ledger", i, "estimate"): name for i, name in enumerate(estimates) if name in numbers}

    def marker(table: str) -> Mark:
        return lambda place, column, text: (
            mark(ids[table, place, column], text) if (table, place, column) in ids else text
        )

    makers = {
        "ledger": lambda: _ledger(ledger, marker("ledger")),
        "rules": lambda: _rules(claims, inference),
        "settings": lambda: _parameters({k: v for k, v in record.items() if k in SETTINGS}),
        "parameters": lambda: _parameters(record, APART[:1]),
        "numbers": lambda: _numbers(numbers, loaded),
    }
    from_table = {
        "attrition": ("attrition", _attrition),
        "counts": ("images", _counts),
        "generators": ("generators", _generators),
        "synthetic": ("synthetic", _synthetic),
        "distances": ("distances", lambda frame: _distances(frame, marker("distances"))),
        "arms": ("learning_curves", lambda frame: _arms(frame, marker("learning_curves"))),
        "tests": ("tests", lambda frame: _tests(frame, marker("tests"), inference)),
        "plain_words": (
            "plain_words",
            lambda frame: _table(["result", "summary"], frame.to_numpy().tolist(), [1, 4.6]),
        ),
        "open_answers": (
            "open_answers",
            lambda frame: _table(["question", "answer"], frame.to_numpy().tolist(), [1, 4.6]),
        ),
    }

    def make(name: str) -> dict:
        if name in makers:
            return makers[name]()
        source, draw = from_table[name]
        frame = optional(profile, source)
        if frame is None:
            return {"missing": f"{NOT_RUN}: the table {source!r} is made by {MADE_BY[source]}"}
        cell = sources.saving_cell(paths.project_root() / "notebooks" / f"{MADE_BY[source]}.ipynb", source)
        origin = f"{MADE_BY[source]}{f', cell {cell}' if cell else ''}, table {source}"
        return draw(frame) | {"origin": origin} if len(frame) else {"missing": "none"}

    return make


def _table(head: list[str], rows: list[list], widths: list[float]) -> dict:
    return {"head": head, "rows": [[str(cell) for cell in row] for row in rows], "widths": widths}


def _value(value: float | None, digits: int = 1, sign: bool = False) -> str:
    return show(number(None if value is None or pd.isna(value) else value), digits, sign)


def _interval(row: Mapping, digits: int, sign: bool = True) -> str:
    if pd.isna(row["estimate"]):
        return ""
    ends = (None, None) if pd.isna(row["low"]) else (row["low"], row["high"])
    return show(number(row["estimate"], "", *ends), digits, sign, interval=True)


def _ledger(frame: pd.DataFrame, marked: Mark) -> dict:
    digits = {"C6": (3, True), "C7": (0, False)}
    rows = []
    for place, row in enumerate(frame.to_dict("records")):
        estimate = _interval(row, *digits.get(row["claim"][:2], (1, True)))
        shown = marked(place, "estimate", estimate) if estimate else NOT_RUN
        rows.append([row["claim"], row["published"], shown, row["verdict"]])
    return _table(["claim", "published", "this run (interval)", "verdict"], rows, [3.2, 2.6, 1.8, 1.4])


def _rules(claims: Sequence[Claim], inference: Inference) -> dict:
    rows = []
    for claim in claims:
        basis = "numbers of the run"
        if isinstance(claim.rule, HypothesisRule):
            family = [f"family {claim.rule.family}"] if claim.rule.family else []
            basis = "; ".join([f"id begins with {start}" for start in claim.rule.tests] + family)
        rows.append([claim.id, basis, claim.rule.sentence(inference)])
    return _table(["claim", "hypotheses", "reproduced where"], rows, [0.5, 1.6, 4])


def _parameters(record: Mapping[str, Mapping], apart: tuple = APART) -> dict:
    if not record:
        return {"missing": "not on record: these notebooks were not run by the pipeline"}
    rows = [
        [notebook, name, json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value]
        for notebook, values in record.items()
        for name, value in sorted(values.items())
        if name not in apart
    ]
    return _table(["notebook", "parameter", "value"], rows, [1.3, 1.6, 4])


def origin_in_words(given: Mapping) -> str:
    """The row and column of a table that hold a number, or the cell that computes it."""
    if given["table"] is None:
        return f"computed in cell {given['cell']}"
    names = " / ".join(str(value) for value in given["row"].values())
    return f"{given['table']}: {names + ', ' if names else ''}{given['column']}"


def _numbers(numbers: Mapping[str, Mapping], loaded: Mapping[str, pd.DataFrame]) -> dict:
    """Each number with the notebook, cell and table row that it comes from; numbers in text and tables link here."""
    lines = []
    for name, given in sorted(numbers.items()):
        wrong = contradiction(given, loaded.get(given["table"]))
        where = origin_in_words(given) + (f" (wrong origin: {wrong})" if wrong else "")
        maker = f"{given['made_by']}, cell {given['cell']}"
        lines.append([name, show(given, 4, interval=True), given["unit"], maker, where])
    if not lines:
        return {"missing": NOT_RUN}
    # On paper, those of single hypotheses (F0. to F4.) and of single arms stand in tables of their own and nowhere
    # else.
    printed = [line for line in lines if not re.match(r"(F\d|accuracy)\.", line[0])]
    made = _table(["number", "value (interval)", "unit", "made by", "table row"], printed, [1.8, 1.9, 1, 1.6, 2])
    return made | {"page_rows": lines, "anchors": True}


def _attrition(frame: pd.DataFrame) -> dict:
    found = frame.groupby(["stage", "reason"], sort=False, observed=True).size()
    rows = [[stage, reason, show(number(int(n)))] for (stage, reason), n in found.items()]
    return _table(["stage", "reason", "left out"], rows, [1.5, 4, 0.8])


def _counts(frame: pd.DataFrame) -> dict:
    splits = [s for s in (*SPLITS, "unused") if (frame["split"] == s).any()]
    groups = [g for g in GROUPS if (frame["fst_group"] == g).any()]
    test = frame[frame["split"] == "test"]
    rows = []
    for name, members in [*frame.groupby("condition", sort=True, observed=True), ("all", frame)]:
        held = test if name == "all" else test[test["condition"] == name]
        malignant = members["malignant"]
        kind = "" if name == "all" else "yes" if malignant.all() else "some" if malignant.any() else "no"
        numbers = [(members["split"] == s).sum() for s in splits] + [(held["fst_group"] == g).sum() for g in groups]
        rows.append([name, kind, *(show(number(int(n))) for n in numbers)])
    return _table(
        ["condition", "malignant", *splits, *(f"test, {g}" for g in groups)],
        rows,
        [2, 1.1] + [1] * len(splits + groups),
    )


def _generators(frame: pd.DataFrame) -> dict:
    digits = {"images": 0, "steps": 0, "loss_first": 3, "loss_last": 3}  # the untouched base has none of these
    rows = [
        [r["condition"], r["task"], r["generator"], r["base"]]
        + ["" if pd.isna(r[key]) else _value(r[key], places) for key, places in digits.items()]
        for r in frame.to_dict("records")
    ]
    head = ["condition", "task", "generator", "base", "images", "steps", "first loss", "last loss"]
    return _table(head, rows, [1.5, 1.2, 1, 1.3, 0.7, 0.7, 0.9, 0.9])


def _synthetic(frame: pd.DataFrame) -> dict:
    rows = []
    for (method, generator), members in frame.groupby(["method", "generator"], sort=True, observed=True):
        flagged = (members["flags"].fillna("") != "").sum()
        sources = members["parent"].nunique()
        rows.append([method, generator, *(show(number(int(n))) for n in (len(members), sources, flagged))])
    return _table(["method", "generator", "images", "source images", "flagged"], rows, [1.6, 1.2, 1, 1, 1])


def _distances(frame: pd.DataFrame, marked: Mark) -> dict:
    rows = [
        [r["method"], r["generator"], *(marked(i, k, _value(r[k], 3)) for k in ("paired", "permuted"))]
        + [marked(i, "difference", _interval({"estimate": r["difference"], **r}, 3)), marked(i, "p", show_p(r["p"]))]
        for i, r in enumerate(frame.to_dict("records"))
    ]
    return _table(
        ["method", "generator", "paired", "permuted", "difference (interval)", "p"], rows, [1.5, 1.2, 0.9, 0.9, 2, 0.8]
    )


def _arms(frame: pd.DataFrame, marked: Mark) -> dict:
    rows, task = [], None
    for place, row in enumerate(frame.to_dict("records")):
        if row["task"] != task:
            task = row["task"]
            rows.append([f"§{task}", "", "", ""])
        shares = {"estimate": 100 * row["accuracy"], "low": 100 * row["low"], "high": 100 * row["high"]}
        share = marked(place, "accuracy", _interval(shares, 1, sign=False))
        rows.append([row["label"], _value(row["n"], 0), _value(int(row["runs"])), share])
    return _table(["trained on", "real images / class", "runs", "accuracy, % (interval)"], rows, [3.2, 1.1, 0.6, 1.8])


def _tests(frame: pd.DataFrame, marked: Mark, inference: Inference) -> dict:
    rows, family = [], None
    cells = frame["id"].str.startswith("cell")
    for place, row in enumerate(frame.to_dict("records")):
        if cells.iloc[place]:
            continue
        if row["family"] != family:
            family = row["family"]
            rows.append([f"§{family}"] + [""] * 7)
        if row.get("verdict") == NOT_RUN:
            rows.append([row["id"], NOT_RUN] + [""] * 6)
            continue
        p = [("" if pd.isna(row[k]) else marked(place, k, show_p(row[k]))) for k in ("p", "p_adjusted")]
        remark = row["flags"] or row.get("verdict", "") or ""
        sizes = [_value(int(row[k])) for k in ("images", "clusters", "runs")]
        estimate = _interval(row, 1)
        shown = marked(place, "estimate", estimate) if estimate else NOT_ESTIMABLE
        rows.append([row["id"], shown, *p, *sizes, remark])
    if cells.any():
        ran = int((frame.loc[cells, "verdict"] != NOT_RUN).sum())
        rows.append([f"{show(number(int(cells.sum())))} cells", f"{show(number(ran))} run"] + [""] * 6)
    estimate = f"points ({inference.percent} interval)"
    head = ["hypothesis", estimate, "p", "adjusted p", "images", "clusters", "runs", "remark"]
    return _table(head, rows, [2.2, 1.9, 0.8, 0.8, 0.75, 0.8, 0.55, 1.6])
