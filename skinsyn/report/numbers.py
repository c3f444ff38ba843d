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

import numpy as np
import pandas as pd
import yaml

from ..run import files, paths, tables

__all__ = [
    "Origin",
    "contradiction",
    "equals_p",
    "lookup",
    "number",
    "place_of_row",
    "read",
    "save",
    "show",
    "show_p",
    "show_percent",
    "show_shift",
]

MINUS = "\N{MINUS SIGN}"
NOT_RUN = "not run"
NOT_ESTIMABLE = "not estimable"
DECLARED = Path(__file__).parents[1] / "assets" / "paper" / "numbers.yml"
ORIGIN = ("cell", "table", "table_made_by", "row", "column")


def number(value: float | int | None, unit: str = "", low: float | None = None, high: float | None = None) -> dict:
    """One number of the paper, raw: {value, unit, low, high}.

    value: None says that it could not be estimated; then there is no interval. low, high: its interval, or None.
    Raises ValueError on NaN or infinity, on half an interval, and on one that does not run from low to high.
    """
    value, low, high = (_plain(part, name) for part, name in ((value, "value"), (low, "low"), (high, "high")))
    if (low is None) != (high is None):
        raise ValueError(f"an interval needs both ends, got low={low} and high={high}")
    if low is not None and (value is None or low > high):
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
        raise ValueError(
            f"{name}={value!r}; a number that cannot be estimated is saved as value=None, without an interval"
        )
    return float(value)


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
        self, value: float | int | None, unit: str = "", low: float | None = None, high: float | None = None
    ) -> dict:
        """A number that the cell itself computes: `number`, and that it stands in no table."""
        return number(value, unit, low, high) | dict.fromkeys(ORIGIN) | {"cell": self.cell}

    def from_row(
        self,
        table: str,
        where: Mapping[str, object],
        column: str,
        unit: str = "",
        low: str = "",
        high: str = "",
        made_by: str = "",
        optional: bool = False,
    ) -> dict:
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
        at = place_of_row(frame, where)
        if at is None and not (optional and not _matches(frame, where).any()):
            count = int(_matches(frame, where).sum())
            raise ValueError(f"{self.notebook}: {count} rows of the table {table!r} have {where}, expected one")
        names = (column, low, high) if low else (column,)
        value, *ends = [None if at is None or pd.isna(frame[name].iloc[at]) else frame[name].iloc[at] for name in names]
        made = number(value, unit, *(ends if value is not None and None not in ends else ()))
        origin = (self.cell, table, made_by, where, column)
        return made | dict(zip(ORIGIN, origin, strict=True))


def _matches(frame: pd.DataFrame, where: Mapping[str, object]) -> pd.Series:
    matches = pd.Series(True, index=range(len(frame)))
    for key, value in where.items():
        matches &= (frame[key] == value).fillna(False).to_numpy(dtype=bool)
    return matches


def place_of_row(frame: pd.DataFrame, where: Mapping[str, object]) -> int | None:
    """The place (from 0) of the one row that has these values; None where no row, or more than one, has them.

    >>> place_of_row(pd.DataFrame({"arm": ["real", "mixed"], "n": [8, 8]}), {"arm": "mixed"})
    1
    """
    matches = _matches(frame, where) if set(where) <= set(frame.columns) else pd.Series(dtype=bool)
    return int(matches.argmax()) if matches.sum() == 1 else None


def contradiction(given: Mapping, frame: pd.DataFrame | None) -> str:
    """What is wrong with a saved number's origin, '' where nothing is: its row must be there and hold its value.

    frame: the table that it names, None where the run does not have it.
    """
    if given["table"] is None:
        return ""
    at = None if frame is None or given["column"] not in frame else place_of_row(frame, given["row"])
    if at is None:
        absent = given["value"] is None and frame is not None and given["column"] in frame
        return "" if absent and not _matches(frame, given["row"]).any() else "the table has no such row"
    value = frame[given["column"]].iloc[at]
    right = pd.isna(value) if given["value"] is None else value == given["value"]
    return "" if right else f"the row holds {value!r}, not {given['value']!r}"


@cache
def _declared() -> list[str]:
    return [name for names in yaml.safe_load(DECLARED.read_text()).values() for name in names]


def lookup(saved: Mapping[str, dict], name: str) -> dict | None:
    """The number saved under an id; None ('not run') for one that a notebook declares and this run did not save.

    Ids are declared in assets/paper/numbers.yml, by notebook. Raises ValueError for one that stands nowhere.
    """
    if name not in saved and not any(fnmatchcase(name, pattern) for pattern in _declared()):
        raise ValueError(f"no notebook declares the number {name!r}; the ids are in {DECLARED.name}")
    return saved.get(name)


def save(profile: str, made_by: str, numbers: Mapping[str, dict]) -> Path:
    """Save all numbers of one notebook, in place of those that it saved before.

    Each is kept with its origin: the notebook, the id of the cell that made it, and the row and column of the table
    that holds it, if any. Written whole to runs/<profile>/numbers/<made_by>.json; the numbers of all notebooks together
    go to figures/<profile>/numbers.json. Returns the latter. Raises ValueError where two notebooks save the same id,
    and for a number without an origin.
    """
    content = {}
    for name, given in numbers.items():
        if not given.get("cell"):
            raise ValueError(f"{made_by}: the number {name!r} has no origin; make it with numbers.Origin")
        checked = number(*(given[key] for key in ("value", "unit", "low", "high")))
        content[name] = checked | {"made_by": made_by} | {key: given[key] for key in ORIGIN}
    for other, held in _held(profile).items():
        twice = sorted(set(held) & set(content)) if other != made_by else []
        if twice:
            hint = f"ids name one number each; where it has moved, delete runs/{profile}/numbers/{other}.json"
            raise ValueError(f"{made_by}: the number {twice[0]!r} is already saved by {other}; {hint}")
    own = paths.run_dir(profile) / "numbers" / f"{made_by}.json"
    files.write_json(own, content)
    files.log_access("write", own)
    merged = paths.figures_dir(profile) / "numbers.json"
    # Every notebook writes the merged file, so that it is no one's output: freshness is judged by the notebook's own.
    files.write_json(merged, {name: given for held in _held(profile).values() for name, given in held.items()})
    return merged


def read(profile: str, before: str = "") -> dict[str, dict]:
    """All numbers saved so far: {id: {value, unit, low, high, made_by, cell, table, table_made_by, row, column}}.

    before: only of notebooks whose name sorts before it, so that a notebook does not take its own output as its input.
    """
    found: dict[str, dict] = {}
    for made_by, held in _held(profile).items():
        if not before or made_by < before:
            files.log_access("read", paths.run_dir(profile) / "numbers" / f"{made_by}.json")
            found |= held
    return found


def _held(profile: str) -> dict[str, dict]:
    """Notebook → its saved numbers, sorted by name."""
    found = {}
    for path in sorted((paths.run_dir(profile) / "numbers").glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged ({error}); delete it and run notebooks/{path.stem}.ipynb again"
            ) from error
    return found


def show(given: Mapping | None, digits: int = 2, sign: bool = False, interval: bool = False, unit: bool = False) -> str:
    """A saved number as text for people; every number of the manuscript passes here.

    given: as `number` returns; None (nothing saved under that id) shows as 'not run', value None as 'not estimable'.
    Floats are rounded half to even in decimal, from their shortest decimal form, so that .125 is 0.12 and 2.675 is
    2.68; integers get thousands separators. sign: '+' before gains. interval: ' (low to high)' where there is one.
    """
    if given is None:
        return NOT_RUN
    if given["value"] is None:
        return NOT_ESTIMABLE
    text = _text(given["value"], digits, sign)
    text += f" {given['unit']}" if unit and given["unit"] else ""
    if interval and given["low"] is not None:
        text += f" ({_text(given['low'], digits, sign)} to {_text(given['high'], digits, sign)})"
    return text


def show_percent(given: Mapping | None, digits: int = 0) -> str:
    """A proportion as a percentage, with its interval where there is one.

    >>> show_percent(number(0.125, "", 0.05, 0.2), 1)
    '12.5 % (5.0 to 20.0 %)'
    """
    if given is None or given["value"] is None:
        return show(given)
    value, low, high = (
        None if given[part] is None else _text(float(Decimal(repr(float(given[part]))) * 100), digits, False)
        for part in ("value", "low", "high")
    )
    return f"{value} %" if low is None else f"{value} % ({low} to {high} %)"


def show_shift(given: Mapping | None, up: str, down: str, digits: int = 1) -> str:
    """A difference in degrees in words: `up` says what is above zero, `down` what is below.

    >>> show_shift(number(-1.0, "degrees", -2.5, 0.5), "lighter", "darker")
    'darker by 1.0° (2.5° darker to 0.5° lighter)'
    """
    if given is None or given["value"] is None:
        return show(given)

    def sided(value: float) -> tuple[str, str]:
        return _text(abs(value), digits, False) + "°", up if value > 0 else down

    size, side = sided(given["value"])
    text = f"{side} by {size}"
    if given["low"] is None:
        return text
    return f"{text} ({' to '.join(' '.join(sided(given[end])) for end in ('low', 'high'))})"


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
