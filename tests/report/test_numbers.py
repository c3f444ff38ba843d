"""Numbers of the paper: what is shown is what was saved, rounded, and nothing half-true is saved."""

import json
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinsyn.report import numbers
from skinsyn.report.numbers import number, show

HERE = numbers.Origin("demo", "05_x", "numbers")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SKINSYN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SKINSYN_FIGURES", str(tmp_path / "figures"))
    return tmp_path


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.25, 2, "0.25"),
        (0.125, 2, "0.12"),
        (0.375, 2, "0.38"),
        (2.675, 2, "2.68"),  # the double lies below 2.675, and format() would print 2.67
        (-0.001, 2, "0.00"),
        (-3.14159, 1, "\N{MINUS SIGN}3.1"),
        (458920, 2, "458,920"),
        (1234.5, 0, "1,234"),
        (1e-7, 3, "0.000"),
        (1e22, 0, "10,000,000,000,000,000,000,000"),
    ],
)
def test_shown_number(value, digits, text):
    assert show(number(value), digits) == text


@given(st.floats(-1e12, 1e12, allow_nan=False), st.integers(0, 6))
def test_round_trip_of_every_number(value, digits):
    """Text → number gives the saved value, rounded half to even at that many decimals; so the text cannot disagree."""
    shown = Decimal(show(number(value), digits).replace(numbers.MINUS, "-").replace(",", ""))
    assert shown == Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    assert abs(shown - Decimal(repr(value))) <= Decimal(5).scaleb(-digits - 1)


def test_round_trip_through_the_file(folders):
    saved = {
        "c1": HERE.computed(np.float32(0.25), "points", -1, np.float64(0.1) * 3),
        "n": HERE.computed(np.int64(7)),
        "none": HERE.computed(None),
    }
    path = numbers.save("demo", "05_x", saved)
    held = json.loads(path.read_text())
    assert {name: {k: v for k, v in held[name].items() if k != "made_by"} for name in held} == saved
    assert held == numbers.read("demo") and held["n"]["made_by"] == "05_x"
    assert show(held["c1"], 1, interval=True) == "0.2 (\N{MINUS SIGN}1 to 0.3)"
    assert show(held["c1"], 2, sign=True, unit=True) == "+0.25 points"
    assert show(held["none"]) == "not estimable" and show(held.get("absent")) == "not run"


def test_notebooks_merge_and_replace_their_own(folders):
    numbers.save("demo", "01_a", {"a": HERE.computed(1), "gone": HERE.computed(2)})
    numbers.save("demo", "02_b", {"b": HERE.computed(3)})
    numbers.save("demo", "01_a", {"a": HERE.computed(4)})
    assert {name: held["value"] for name, held in numbers.read("demo").items()} == {"a": 4, "b": 3}
    assert set(numbers.read("demo", before="02_b")) == {"a"}
    with pytest.raises(ValueError, match="'a' is already saved by 01_a"):
        numbers.save("demo", "02_b", {"a": HERE.computed(1)})


@pytest.mark.parametrize(
    "bad",
    [
        (float("nan"),),
        (np.inf,),
        ("1",),
        (True,),
        (1.0, "", 0.0),
        (1.0, "", 2.0, 1.0),
        (None, "", 0.0, 1.0),
        (1.0, "", np.nan, 1.0),
    ],
)
def test_half_truths_are_refused(bad):
    with pytest.raises(ValueError):
        number(*bad)


def test_damaged_file_is_named(folders):
    path = numbers.save("demo", "01_a", {"a": HERE.computed(1)})
    (folders / "runs/demo/numbers/01_a.json").write_text('{"a"')
    with pytest.raises(ValueError, match="01_a.json is damaged"):
        numbers.read("demo")
    assert path.exists()


@pytest.mark.parametrize(
    ("p", "text"), [(0.05, "0.050"), (0.0004, "< 0.001"), (1.0, "1.000"), (float("nan"), "not estimable")]
)
def test_shown_p(p, text):
    assert numbers.show_p(p) == text
