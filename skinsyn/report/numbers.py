"""The numbers of the paper: saved raw by notebooks, formatted in one place."""

import json
import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from numbers import Integral, Real
from pathlib import Path

from ..run import files, paths
from . import rows

__all__ = ["number", "read", "save", "show", "show_p"]

MINUS = "\N{MINUS SIGN}"
NOT_RUN = "not run"
NOT_ESTIMABLE = "not estimable"


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


def save(profile: str, made_by: str, numbers: Mapping[str, dict]) -> Path:
    """Save all numbers of one notebook, in place of those that it saved before.

    Each is kept with the notebook and the code cell (counted from 1) that made it. Written whole to
    runs/<profile>/numbers/<made_by>.json; the numbers of all notebooks together go to figures/<profile>/numbers.json.
    Returns the latter. Raises ValueError where two notebooks save the same id.
    """
    content = {
        name: number(*(given[key] for key in ("value", "unit", "low", "high"))) for name, given in numbers.items()
    }
    for other, held in _held(profile).items():
        twice = sorted(set(held) & set(content)) if other != made_by else []
        if twice:
            hint = f"ids name one number each; where it has moved, delete runs/{profile}/numbers/{other}.json"
            raise ValueError(f"{made_by}: the number {twice[0]!r} is already saved by {other}; {hint}")
    own = paths.run_dir(profile) / "numbers" / f"{made_by}.json"
    cells = {name: rows.cell_of(made_by, name) for name in content}
    origin = {name: {"made_by": made_by} | ({"cell": cell} if cell else {}) for name, cell in cells.items()}
    files.write_json(own, {name: given | origin[name] for name, given in content.items()})
    files.log_access("write", own)
    merged = paths.figures_dir(profile) / "numbers.json"
    # Every notebook writes the merged file, so that it is no one's output: freshness is judged by the notebook's own.
    files.write_json(merged, {name: given for held in _held(profile).values() for name, given in held.items()})
    return merged


def read(profile: str, before: str = "") -> dict[str, dict]:
    """All numbers saved so far: {id: {value, unit, low, high, made_by, cell}}.

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


def show_p(p: float | None) -> str:
    """A p value with three decimals, never rounded to nothing; an empty one is 'not estimable'."""
    if p is None or math.isnan(p):
        return NOT_ESTIMABLE
    return "< 0.001" if p < 0.001 else _text(float(p), 3, False)


def _text(value: float | int, digits: int, sign: bool) -> str:
    if isinstance(value, int):
        text = f"{abs(value):,}"
    else:
        text = f"{abs(Decimal(repr(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,f}"
    zero = not text.strip("0.,")
    return ("" if zero else MINUS if value < 0 else "+" if sign else "") + text
