"""The paper's tables: saved tables turned into rows of text, every number through `numbers.show`."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from ..run import files, paths, sources, tables
from ..stats.predictions import GROUPS
from .claims import Claim
from .inference import Inference, parameters_on_record
from .links import mark
from .numbers import NOT_RUN, contradiction, place_of_row, show, show_cells, show_p
from .result_tables import Mark, estimate, ledger_table, rules_table, section, table, tests_table

__all__ = ["MADE_BY", "SPLITS", "exists", "maker", "optional", "origin_in_words", "sources_of"]

MADE_BY = {
    "images": "01_data_prep",
    "flow": "01_data_prep",
    "attrition": "01_data_prep",
    "generators": "02_dreambooth",
    "synthetic": "03_generation",
    "distances": "03_generation",
    "learning_curves": "04_training_grid",
    "variation": "04_training_grid",
    "cells": "04_training_grid",
    "tests": "05_fairness_stats",
    "gain_by_n": "05_fairness_stats",
    "summary": "05_fairness_stats",
    "declaration": "05_fairness_stats",
    "description": "05b_description",
    "table_one": "05b_description",
    "accuracy_by_group": "05b_description",
    "rates_by_group": "05b_description",
    "open_answers": "07_open_questions",
    "declaration_and_rules": "08_paper",
}
SPLITS = ("train", "validation", "test")
# Parameters that say how images are made; the appendix shows all.
SETTINGS = ("02_dreambooth", "03_generation")
APART = ("profile", "seed", "executor", "threads")


def optional(profile: str, name: str) -> pd.DataFrame | None:
    """A saved table, or None where this run does not have it. Raises ValueError where it is damaged."""
    return tables.read(profile, name, MADE_BY[name]) if exists(profile, name) else None


def sources_of(profile: str) -> list[str]:
    """Names of the data sets of a run's images; [] before 01 has run."""
    images = optional(profile, "images")
    return [] if images is None else sorted(images["source"].astype(str).unique())


def exists(profile: str, name: str) -> bool:
    """Whether a run has this table. Its absence is an input as well: once it is there, what was made without it is
    stale."""
    file = tables.path(profile, name)
    if not file.exists():
        files.log_access("read", file)
    return file.exists()


def maker(
    profile: str, ledger: pd.DataFrame, claims: Sequence[Claim], numbers: Mapping[str, Mapping]
) -> Callable[[str], dict]:
    """A function name → table, as `manuscript.blocks` wants it; tables of what was not run say so."""
    record, inference = parameters_on_record(profile), Inference.of_run(profile)
    cited = {saved["table"]: saved["table_made_by"] for saved in numbers.values() if saved["table"]}
    loaded = {name: tables.read(profile, name, made_by) for name, made_by in cited.items() if exists(profile, name)}
    ids = {
        (saved["table"], place_of_row(loaded[saved["table"]], saved["row"]), saved["column"]): name
        for name, saved in sorted(numbers.items(), reverse=True)
        if saved["table"] in loaded and not contradiction(saved, loaded[saved["table"]])
    }
    estimates = [f"ledger.{claim[:2].lower()}" for claim in ledger["claim"]]
    ids |= {("ledger", i, "estimate"): name for i, name in enumerate(estimates) if name in numbers}

    def marker(table: str) -> Mark:
        return lambda place, column, text: (
            mark(ids[table, place, column], text) if (table, place, column) in ids else text
        )

    makers: dict[str, Callable[[], dict]] = {
        "ledger": lambda: ledger_table(ledger, marker("ledger")),
        "rules": lambda: rules_table(claims, inference),
        "settings": lambda: _parameters({name: record[name] for name in SETTINGS if name in record}, APART),
        "parameters": lambda: _parameters(record, APART[:1]),
        "numbers": lambda: _numbers(numbers, loaded),
    }
    from_table: dict[str, tuple[str, Callable[[pd.DataFrame], dict]]] = {
        "attrition": ("attrition", _attrition),
        "counts": ("images", _counts),
        "generators": ("generators", _generators),
        "synthetic": ("synthetic", _synthetic),
        "distances": ("distances", lambda frame: _distances(frame, marker("distances"))),
        "arms": ("learning_curves", lambda frame: _arms(frame, marker("learning_curves"))),
        "tests": ("tests", lambda frame: tests_table(frame, marker("tests"), inference)),
        "summary": ("summary", lambda frame: table({"result": 1, "summary": 4.6}, frame.to_numpy())),
        "changes": ("declaration_and_rules", _changes),
        "description": ("description", lambda frame: table({"result": 1, "summary": 4.6}, frame.to_numpy())),
        "open_answers": ("open_answers", lambda frame: table({"question": 1, "answer": 4.6}, frame.to_numpy())),
    }

    def make(name: str) -> dict:
        if name in makers:
            return makers[name]()
        source, draw = from_table[name]
        frame, made_by = optional(profile, source), MADE_BY[source]
        if frame is None:
            return {"missing": f"{NOT_RUN}: the table {source!r} is made by {made_by}"}
        cell = sources.saving_cell(paths.project_root() / "notebooks" / f"{made_by}.ipynb", source)
        origin = f"{made_by}{f', cell {cell}' if cell else ''}, table {source}"
        return draw(frame) | {"origin": origin} if len(frame) else {"missing": "none"}

    return make


def _changes(frame: pd.DataFrame) -> dict:
    """What was changed since the first declaration; the first row of the frame says how that one stands."""
    return table({"date": 1.2, "status": 1.2, "change": 4.6}, frame.iloc[1:][["date", "status", "words"]].to_numpy())


def _parameters(record: Mapping[str, Mapping], apart: Sequence[str]) -> dict:
    if not record:
        return {"missing": "not on record: these notebooks were not run by the pipeline"}
    rows = [
        [notebook, name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
        for notebook, values in record.items()
        for name, value in sorted(values.items())
        if name not in apart
    ]
    return table({"notebook": 1.3, "parameter": 1.6, "value": 4}, rows)


def origin_in_words(saved: Mapping) -> str:
    """The row and column of a table that hold a number, or the cell that computes it."""
    if saved["table"] is None:
        return f"computed in cell {saved['cell']}"
    names = " / ".join(str(value) for value in saved["row"].values())
    return f"{saved['table']}: {names + ', ' if names else ''}{saved['column']}"


def _numbers(numbers: Mapping[str, Mapping], loaded: Mapping[str, pd.DataFrame]) -> dict:
    """Each number with the notebook, cell and table row that it comes from; numbers in text and tables link here."""
    lines = []
    for name, saved in sorted(numbers.items()):
        wrong = contradiction(saved, loaded.get(saved["table"]))
        where = origin_in_words(saved) + (f" (wrong origin: {wrong})" if wrong else "")
        maker = f"{saved['made_by']}, cell {saved['cell']}"
        lines.append([name, show(saved, 4, interval=True), saved["unit"], maker, where])
    if not lines:
        return {"missing": NOT_RUN}
    # On paper, numbers of single hypotheses (F0. to F4.) and of single arms stand in tables of their own only.
    printed = [line for line in lines if not re.match(r"(F\d|accuracy)\.", line[0])]
    widths = {"number": 1.8, "value (interval)": 1.9, "unit": 1, "made by": 1.6, "table row": 2}
    return table(widths, printed) | {"page_rows": lines, "anchors": True}


def _attrition(frame: pd.DataFrame) -> dict:
    counts = frame.groupby(["stage", "reason"], sort=False, observed=True).size().reset_index(name="n")
    return table({"stage": 1.5, "reason": 4, "left out": 0.8}, counts.itertuples(index=False))


def _counts(frame: pd.DataFrame) -> dict:
    splits = [split for split in (*SPLITS, "unused") if (frame["split"] == split).any()]
    groups = [group for group in GROUPS if (frame["fst_group"] == group).any()]
    rows = []
    for name, members in [*frame.groupby("condition", sort=True, observed=True), ("all", frame)]:
        malignant = members["malignant"]
        kind = "" if name == "all" else "yes" if malignant.all() else "some" if malignant.any() else "no"
        tested = members.loc[members["split"] == "test", "fst_group"]
        rows.append([name, kind, *(sum(members["split"] == s) for s in splits), *(sum(tested == g) for g in groups)])
    widths = {"condition": 2, "malignant": 1.1} | dict.fromkeys([*splits, *(f"test, {g}" for g in groups)], 1.0)
    return table(widths, rows)


def _generators(frame: pd.DataFrame) -> dict:
    names = ["condition", "task", "generator", "base"]
    digits = {"images": 0, "steps": 0, "loss_first": 3, "loss_last": 3}  # the untouched base has none of these
    rows = [
        [row[name] for name in names]
        + ["" if pd.isna(row[key]) else show_cells(row[key], digits=places) for key, places in digits.items()]
        for row in frame.to_dict("records")
    ]
    widths = dict(zip(names, (1.5, 1.2, 1, 1.3), strict=True))
    return table(widths | {"images": 0.7, "steps": 0.7, "first loss": 0.9, "last loss": 0.9}, rows)


def _synthetic(frame: pd.DataFrame) -> dict:
    rows = [
        [method, generator, len(members), members["parent"].nunique(), int((members["flags"].fillna("") != "").sum())]
        for (method, generator), members in frame.groupby(["method", "generator"], sort=True, observed=True)
    ]
    return table({"method": 1.6, "generator": 1.2, "images": 1, "source images": 1, "flagged": 1}, rows)


def _distances(frame: pd.DataFrame, marked: Mark) -> dict:
    rows = []
    for place, row in enumerate(frame.to_dict("records")):
        texts = {key: show_cells(row[key], digits=3) for key in ("paired", "permuted")}
        texts |= {"difference": estimate({"estimate": row["difference"], **row}, 3), "p": show_p(row["p"])}
        cells = (marked(place, key, text) for key, text in texts.items())
        rows.append([row["method"], row["generator"], *cells])
    widths = {"method": 1.5, "generator": 1.2, "paired": 0.9, "permuted": 0.9, "difference (interval)": 2, "p": 0.8}
    return table(widths, rows)


def _arms(frame: pd.DataFrame, marked: Mark) -> dict:
    widths = {"trained on": 3.2, "real images / class": 1.1, "runs": 0.6, "accuracy, % (interval)": 1.8}
    rows: list[list] = []
    task = None
    for place, row in enumerate(frame.to_dict("records")):
        if row["task"] != task:
            task = row["task"]
            rows.append(section(task, widths))
        percent = [100 * row[key] for key in ("accuracy", "low", "high")]
        share = "" if pd.isna(row["accuracy"]) else show_cells(*percent)
        rows.append([row["label"], show_cells(row["n"], digits=0), int(row["runs"]), marked(place, "accuracy", share)])
    return table(widths, rows)
