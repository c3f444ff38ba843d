"""Where a number stands: the row of a saved table that holds it, and the notebook's cell that makes it.

Both are found again from what was saved, by value and by name, so that the numbers of any run, also of an old one, can be
traced: a row counts only where it holds the very number and the very interval.
"""

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..run import paths, sources, tables

__all__ = ["KEYS", "Row", "cell_of", "find", "load", "saving_cell"]

# Tables that readers see: who makes each, and what names a row of it.
KEYS = {
    "flow": ("01_data_prep", ["stage"]),
    "counts": ("01_data_prep", ["condition", "fst_group", "source", "split"]),
    "quality": ("01_data_prep", ["fact"]),
    "generators": ("02_dreambooth", ["task", "generator", "condition"]),
    "distances": ("03_generation", ["method", "generator", "scope"]),
    "recognition": ("03_generation", ["generator", "method"]),
    "learning_curves": ("04_training_grid", ["arm"]),
    "grid_by_group": ("04_training_grid", ["task", "arm", "n", "group"]),
    "tests": ("05_fairness_stats", ["family", "id"]),
    "gains_by_group": ("05_fairness_stats", ["task", "group"]),
    "accuracy_by_group": ("05_fairness_stats", ["arm", "task", "group"]),
    "dose_response": ("05_fairness_stats", ["part", "dose"]),
    "dose_verdict": ("05_fairness_stats", ["verdict"]),
    "distributions": ("06_fidelity", ["body", "method", "generator", "scope"]),
    "memorised_by_model": ("06_fidelity", ["method", "generator", "scope"]),
    "lightening": ("06_fidelity", ["method", "generator", "scope", "fst_group"]),
    "diversity": ("06_fidelity", ["method", "generator", "scope", "group"]),
    "label_fidelity": ("06_fidelity", ["method", "generator", "scope", "condition", "fst_group"]),
    "classification_accuracy": ("06_fidelity", ["method", "generator", "scope"]),
    "usefulness": ("06_fidelity", ["measure"]),
    "optimal_ratio": ("07_open_questions", ["method", "n", "transforms", "condition"]),
    "against_gan": ("07_open_questions", ["id"]),
    "transfer": ("07_open_questions", ["data", "group"]),
    "long_tail_relation": ("07_open_questions", ["over"]),
    "worst_group": ("07_open_questions", ["group"]),
    "ledger": ("08_paper", ["claim"]),
}


class Row(NamedTuple):
    """A row that holds a number: in which table, made by which notebook, its place, what names it, and the column."""

    table: str
    made_by: str
    place: int
    names: str
    column: str
    values: dict


def load(profile: str) -> dict[str, pd.DataFrame]:
    """The readers' tables of a run, by name; those that it does not have are left out."""
    there = {name: made_by for name, (made_by, _) in KEYS.items() if tables.path(profile, name).exists()}
    return {name: tables.read(profile, name, made_by) for name, made_by in there.items()}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def find(loaded: Mapping[str, pd.DataFrame], name: str, given: Mapping) -> Row | None:
    """The row that holds a number (of `numbers.read`), None where none does, or where several do and none fits its id.

    Its own notebook's tables come first; a number with an interval, or with decimals, may stand in an earlier one's.
    """
    exact = given["low"] is not None or isinstance(given["value"], float)
    own = [table for table in loaded if KEYS[table][0] == given["made_by"]]
    others = [table for table in loaded if exact and KEYS[table][0] < given["made_by"]][::-1]
    for group in (own, others):
        found = [hit for table in group for hit in _hits(table, loaded[table], name, given)]
        best = max((score for score, _ in found), default=0)
        at_best = [row for score, row in found if score == best]
        if len({row[:3] for row in at_best}) == 1 and (exact or best > 0):
            return at_best[0]
    return None


def _hits(table: str, frame: pd.DataFrame, name: str, given: Mapping) -> list[tuple[float, Row]]:
    """(how well its words fit the id, row) for each cell of a table that holds the number.

    A number alone may be there by chance: without an interval the row must also have the words of the id's last part,
    and where nothing was estimated all of its words.
    """
    made_by, keys = KEYS[table]
    value = given["value"]
    numeric = frame.select_dtypes("number").drop(columns=keys, errors="ignore").astype(float)
    held = numeric.isna() if value is None else numeric == value
    for end in ("low", "high"):
        if given[end] is not None:
            held = held & (numeric == given[end]).any(axis=1).to_numpy()[:, None]
    asked = _words(name)
    last = _words(name.rpartition(".")[2])
    needed = asked - {"p", "adjusted"} if value is None else last if given["low"] is None else set()
    # pandas 3 keeps missing values through astype(str): a study without malignancy has rows without a condition.
    texts = frame.select_dtypes(exclude=["number", "bool"]).astype(str).fillna("")
    found = []
    for place, column in np.argwhere(held.to_numpy()):
        of_row, of_column = _words(" ".join(texts.iloc[place])), _words(numeric.columns[column])
        if not needed <= of_row | of_column:
            continue
        names = " / ".join(str(frame[key].iloc[place]) for key in keys if key in frame)
        score = len(asked & (of_row | of_column | _words(table))) - 0.1 * len(of_column - asked)
        # What names the row weighs more than what else it says: a cell's row speaks of its condition, too.
        score -= (0.01 * len(of_row - asked) + 0.1 * len(_words(names) - asked)) if asked & of_row else 0
        values = frame.iloc[place].to_dict()
        found.append((score, Row(table, made_by, int(place), names, str(numeric.columns[column]), values)))
    return found


def _ids(source: str) -> list[ast.AST]:
    """The expressions of a cell that may be ids: keys of dicts, what is set by a subscript, and texts with a name."""
    found: list[ast.AST] = []
    for node in ast.walk(ast.parse("\n".join("pass" if x.startswith(("%", "!")) else x for x in source.splitlines()))):
        if isinstance(node, ast.Dict):
            found += [key for key in node.keys if key is not None]
        elif isinstance(node, ast.DictComp):
            found.append(node.key)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.append(node.slice)
        elif isinstance(node, ast.Assign) and any(isinstance(part, ast.JoinedStr) for part in ast.walk(node.value)):
            found += [part for part in ast.walk(node.value) if isinstance(part, ast.JoinedStr)]
    return found


def _patterns(source: str) -> list[tuple[int, str]]:
    """(letters, pattern) of each id that a cell may make; what an f-string fills in matches anything."""
    found = []
    for node in _ids(source):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node] if isinstance(node, ast.Constant) else []
        texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        if texts and all(isinstance(text, str | None) for text in texts):
            letters = sum(len(text or "") for text in texts)
            found.append((letters, "".join(".+" if text is None else re.escape(text) for text in texts)))
    return found


@lru_cache(maxsize=32)
def _cells(notebook: Path, stamp: int) -> tuple[list[tuple[int, int, str]], int | None]:
    """((cell, letters, pattern) of each id that a notebook's cells may make, the cell that saves). stamp: of the file."""
    found, saving = [], None
    for number, source in enumerate(sources.code_cells(notebook), 1):
        if "numbers.number" in source:
            found += [(number, *pattern) for pattern in _patterns(source)]
        if re.search(r"\b(numbers\.save|save_numbers)\(", source):
            saving = number
    return found, saving


def cell_of(stem: str, name: str) -> int | None:
    """The code cell of a notebook that makes a number, counted from 1: the one whose texts come closest to the number's id.

    Where none does, the cell that saves the notebook's numbers; None where there is no such notebook or cell.
    """
    notebook = paths.project_root() / "notebooks" / f"{stem}.ipynb"
    if not notebook.exists():
        return None
    found, saving = _cells(notebook, notebook.stat().st_mtime_ns)
    fits = [(letters, cell) for cell, letters, pattern in found if re.fullmatch(pattern, name)]
    return max(fits, key=lambda fit: fit[0])[1] if fits and max(fits)[0] else saving


@lru_cache(maxsize=64)
def _saves(notebook: Path, stamp: int) -> dict[str, int]:
    """Table → the code cell of a notebook that saves it, counted from 1. stamp: of the file."""
    saved = r"tables\.save\(\s*profile,\s*\"(\w+)\""
    cells = enumerate(sources.code_cells(notebook), 1)
    return {name: number for number, source in cells for name in re.findall(saved, source)}


def saving_cell(stem: str, table: str) -> int | None:
    """The code cell of a notebook that saves a table, counted from 1; None where no cell names it."""
    notebook = paths.project_root() / "notebooks" / f"{stem}.ipynb"
    return _saves(notebook, notebook.stat().st_mtime_ns).get(table) if notebook.exists() else None
