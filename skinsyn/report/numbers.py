"""The numbers of the paper: saved raw by notebooks, formatted in one place."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from fnmatch import fnmatchcase
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..run import files, paths, tables

__all__ = ["Origin", "contradiction", "equals_p", "lookup", "number", "place_of_row", "read", "save"]
__all__ += ["show", "show_cells", "show_p"]

MINUS = "\N{MINUS SIGN}"
NOT_RUN = "not run"
NOT_ESTIMABLE = "not estimable"
DECLARED = Path(__file__).parents[1] / "assets" / "paper" / "numbers.yml"
ORIGIN = ("cell", "table", "table_made_by", "row", "column")
NO_ROW = "the table has no such row"


def number(value: float | None, unit: str = "", low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """One number of the paper, raw: {value, unit, low, high}.

    value: None says that it could not be estimated; then there is no interval. low, high: its interval, or None.
    Raises ValueError on NaN or infinity, on half an interval, and on one that does not run from low to high.

    >>> number(2.5, "points", -1, 6)
    {'value': 2.5, 'unit': 'points', 'low': -1, 'high': 6}
    """
    value, low, high = (_plain(part, name) for part, name in ((value, "value"), (low, "low"), (high, "high")))
    if (low is None) != (high is None):
        raise ValueError(f"an interval needs both ends, got low={low} and high={high}")
    if low is not None and high is not None and (value is None or low > high):
        raise ValueError(f"the interval {low} to {high} of {value} is impossible; give value=None, or ends in order")
    return {"value": value, "unit": unit, "low": low, "high": high}


def _plain(value: object, name: str) -> float | int | None:
    """A Python number from a NumPy or Python one."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}={value!r} is {type(value).__name__}, expected a number or None")
    if isinstance(value, Integral):
        return int(value)
    if not math.isfinite(value):
        raise ValueError(f"{name}={value!r}; save what cannot be estimated as value=None, without an interval")
    return float(value)


def _present(*values: Any) -> list[Any]:
    """Cells of a table, None where one is missing."""
    return [None if value is None or pd.isna(value) else value for value in values]


@dataclass(frozen=True)
class Origin:
    """Where numbers are made: a run, a notebook, and the id of the notebook's cell; every number made here carries it.

    The id is that of the notebook cell in which the `Origin` is made; a test compares the two in every notebook.
    """

    profile: str
    notebook: str
    cell: str
    _read: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    def computed(
        self, value: float | None, unit: str = "", low: float | None = None, high: float | None = None
    ) -> dict[str, Any]:
        """A number that the cell itself computes: `number`, and that it stands in no table.

        >>> Origin("demo", "01_data_prep", "numbers").computed(7, "images")["cell"]
        'numbers'
        """
        return number(value, unit, low, high) | dict.fromkeys(ORIGIN) | {"cell": self.cell}

    def from_row(
        self,
        table: str,
        where: Mapping[str, Any],
        column: str,
        unit: str = "",
        low: str = "",
        high: str = "",
        made_by: str = "",
        optional: bool = False,
    ) -> dict[str, Any]:
        """The number in one row of a saved table of this run, with that row as its origin.

        where: column → value, which exactly one row has. low, high: the columns of its interval; a missing value has
        none, nor has one whose ends are missing. made_by: the notebook that saved the table (default: this one).
        optional: where no row has it, the number is 'not estimable'. Raises ValueError where there is not one row.
        """
        made_by = made_by or self.notebook
        if table not in self._read:
            self._read[table] = tables.read(self.profile, table, made_by)
        frame = self._read[table]
        where = {key: value.item() if isinstance(value, np.generic) else value for key, value in where.items()}
        count = int(_matches(frame, where).sum())
        if count > 1 or (count == 0 and not optional):
            raise ValueError(f"{self.notebook}: {count} rows of the table {table!r} have {where}, expected one")
        row = frame[_matches(frame, where).to_numpy()].iloc[0] if count else {}
        value, *ends = _present(*(row.get(name) for name in ((column, low, high) if low else (column,))))
        own = number(value, unit, *(ends if value is not None and None not in ends else ()))
        return own | dict(zip(ORIGIN, (self.cell, table, made_by, where, column), strict=True))


def _matches(frame: pd.DataFrame, where: Mapping[str, Any]) -> pd.Series:
    matches = pd.Series(True, index=range(len(frame)))
    for key, value in where.items():
        matches &= (frame[key] == value).fillna(False).to_numpy(dtype=bool)
    return matches


def place_of_row(frame: pd.DataFrame, where: Mapping[str, Any]) -> int | None:
    """The place (from 0) of the one row that has these values; None where no row, or more than one, has them.

    >>> place_of_row(pd.DataFrame({"arm": ["real", "mixed"], "n": [8, 8]}), {"arm": "mixed"})
    1
    """
    matches = _matches(frame, where) if set(where) <= set(frame.columns) else pd.Series(dtype=bool)
    return int(matches.argmax()) if matches.sum() == 1 else None


def contradiction(saved: Mapping[str, Any], frame: pd.DataFrame | None) -> str:
    """What is wrong with a saved number's origin, '' where nothing is: its row must be there and hold its value.

    frame: the table that it names, None where the run does not have it.

    >>> saved = {"value": 2.0, "table": "t", "row": {"arm": "real"}, "column": "gain"}
    >>> contradiction(saved, pd.DataFrame({"arm": ["real"], "gain": [2.5]}))
    'the row holds np.float64(2.5), not 2.0'
    """
    if saved["table"] is None:
        return ""
    at = None if frame is None or saved["column"] not in frame else place_of_row(frame, saved["row"])
    if frame is None or at is None:
        absent = saved["value"] is None and frame is not None and saved["column"] in frame
        return "" if absent and frame is not None and not _matches(frame, saved["row"]).any() else NO_ROW
    value = frame[saved["column"]].iloc[at]
    right = pd.isna(value) if saved["value"] is None else value == saved["value"]
    return "" if right else f"the row holds {value!r}, not {saved['value']!r}"


@cache
def _declared() -> list[str]:
    return [name for names in yaml.safe_load(DECLARED.read_text()).values() for name in names]


def lookup(saved: Mapping[str, dict], name: str) -> dict[str, Any] | None:
    """The number saved under an id; None ('not run') for one that a notebook declares and this run did not save.

    Ids are declared in assets/paper/numbers.yml, by notebook. Raises ValueError for one that stands nowhere.

    >>> lookup({}, "data.test") is None
    True
    """
    if name not in saved and not any(fnmatchcase(name, pattern) for pattern in _declared()):
        raise ValueError(f"no notebook declares the number {name!r}; the ids are in {DECLARED.name}")
    return saved.get(name)


def save(profile: str, made_by: str, numbers: Mapping[str, Mapping[str, Any]]) -> Path:
    """Save all numbers of one notebook, in place of those that it saved before.

    Each is kept with its origin: the notebook, the id of the cell that made it, and the row and column of the table
    that holds it, if any. Written whole to runs/<profile>/numbers/<made_by>.json; the numbers of all notebooks together
    go to figures/<profile>/numbers.json. Returns the latter. Raises ValueError where two notebooks save the same id,
    and for a number without an origin.

    >>> save("demo", "01_data_prep", {"data.test": number(7)})
    Traceback (most recent call last):
    ValueError: 01_data_prep: the number 'data.test' has no origin; make it with numbers.Origin
    """
    content = {}
    for name, saved in numbers.items():
        if not saved.get("cell"):
            raise ValueError(f"{made_by}: the number {name!r} has no origin; make it with numbers.Origin")
        checked = number(*(saved[key] for key in ("value", "unit", "low", "high")))
        content[name] = checked | {"made_by": made_by} | {key: saved[key] for key in ORIGIN}
    for other, members in _by_notebook(profile).items():
        twice = sorted(set(members) & set(content)) if other != made_by else []
        if twice:
            hint = f"ids name one number each; where it has moved, delete runs/{profile}/numbers/{other}.json"
            raise ValueError(f"{made_by}: the number {twice[0]!r} is already saved by {other}; {hint}")
    own = paths.run_dir(profile) / "numbers" / f"{made_by}.json"
    files.write_json(own, content)
    files.log_access("write", own)
    merged = paths.figures_dir(profile) / "numbers.json"
    # Every notebook writes the merged file, so that it is no one's output: freshness is judged by the notebook's own.
    files.write_json(
        merged, {name: saved for members in _by_notebook(profile).values() for name, saved in members.items()}
    )
    return merged


def read(profile: str, before: str = "") -> dict[str, dict[str, Any]]:
    """All numbers saved so far: {id: {value, unit, low, high, made_by, cell, table, table_made_by, row, column}}.

    before: only of notebooks whose name sorts before it, so that a notebook does not take its own output as its input.

    >>> read("a run that was never made")
    {}
    """
    saved: dict[str, dict[str, Any]] = {}
    for made_by, members in _by_notebook(profile).items():
        if not before or made_by < before:
            files.log_access("read", paths.run_dir(profile) / "numbers" / f"{made_by}.json")
            saved |= members
    return saved


def _by_notebook(profile: str) -> dict[str, dict[str, dict]]:
    """Notebook → its saved numbers, sorted by name."""
    members: dict[str, dict[str, dict]] = {}
    for path in sorted((paths.run_dir(profile) / "numbers").glob("*.json")):
        try:
            members[path.stem] = json.loads(path.read_text())
        except ValueError as error:
            hint = f"delete it and run notebooks/{path.stem}.ipynb again"
            raise ValueError(f"{path} is damaged ({error}); {hint}") from error
    return members


def show(saved: Mapping | None, digits: int = 2, sign: bool = False, interval: bool = False, unit: bool = False) -> str:
    """A saved number as text for people; every number of the manuscript passes here.

    saved: as `number` returns; None (nothing saved under that id) shows as 'not run', value None as 'not estimable'.
    Floats are rounded half to even in decimal, from their shortest decimal form, so that .125 is 0.12 and 2.675 is
    2.68; integers get thousands separators. sign: '+' before gains. interval: ' (low to high)' where there is one.

    >>> show(number(2.25, "points", 1.0, 3.5), 1, sign=True, interval=True, unit=True), show(number(458920)), show(None)
    ('+2.2 points (+1.0 to +3.5)', '458,920', 'not run')
    """
    if saved is None:
        return NOT_RUN
    if saved["value"] is None:
        return NOT_ESTIMABLE
    text = _text(saved["value"], digits, sign)
    text += f" {saved['unit']}" if unit and saved["unit"] else ""
    if interval and saved["low"] is not None:
        text += f" ({_text(saved['low'], digits, sign)} to {_text(saved['high'], digits, sign)})"
    return text


def show_cells(
    value: Any, low: Any = None, high: Any = None, digits: int = 1, sign: bool = False, unit: str = ""
) -> str:
    """Cells of a table as text: an estimate, and its interval where there is one. A missing cell is NaN or None.

    >>> show_cells(7.5, 2.0, 13.0, sign=True), show_cells(7.5, float("nan"), float("nan")), show_cells(float("nan"))
    ('+7.5 (+2.0 to +13.0)', '7.5', 'not estimable')
    """
    value, low, high = _present(value, low, high)
    ends = () if None in (value, low, high) else (low, high)
    return show(number(value, unit, *ends), digits, sign, interval=True, unit=True)


def show_p(p: float | None) -> str:
    """A p value with three decimals, never rounded to nothing; an empty one is 'not estimable'.

    >>> show_p(0.0004), show_p(0.05)
    ('< 0.001', '0.050')
    """
    if p is None or math.isnan(p):
        return NOT_ESTIMABLE
    return "< 0.001" if p < 0.001 else _text(float(p), 3, False)


def equals_p(p: float | None) -> str:
    """What follows the letter p in a sentence.

    >>> equals_p(0.0004), equals_p(0.05)
    ('< 0.001', '= 0.050')
    """
    shown = show_p(p)
    return f"= {shown}" if shown[0].isdigit() else shown


def _text(value: float | int, digits: int, sign: bool) -> str:
    if isinstance(value, int):
        text = f"{abs(value):,}"
    else:
        text = f"{abs(Decimal(repr(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,f}"
    zero = not text.strip("0.,")
    return ("" if zero else MINUS if value < 0 else "+" if sign else "") + text
