"""The primary gain at each n, and the largest of them adjusted for its selection."""

import numpy as np
import pytest
from declarations import declare
from simulated import predictions

from skinsyn.stats import contrasts, gain_by_n
from skinsyn.stats.predictions import blocks

TABLE = predictions()
BLOCKS = blocks(TABLE)
DECLARED = declare({"id": "primary"})


def test_each_n_is_its_own_gain_and_the_last_row_is_the_largest():
    found = gain_by_n.gain_by_n(BLOCKS, DECLARED.primary, DECLARED.arms)
    assert list(found.columns) == gain_by_n.COLUMNS
    each, largest = found[found["which"] == "as it is"], found.iloc[-1]
    for row in each.to_dict("records"):
        arms = [DECLARED.arms[name] | {"n": row["n"]} for name in DECLARED.primary.pairs[0]]
        alone = contrasts.gain(BLOCKS, *arms)
        assert row["estimate"] == pytest.approx(100 * alone.estimate) and row["low"] == pytest.approx(100 * alone.low)
    assert len(each) >= 2 and largest["n"] == each.loc[each["estimate"].idxmax(), "n"]
    assert largest["which"] == gain_by_n.LARGEST and largest["estimate"] <= each["estimate"].max() + 1e-9
    assert largest["low"] < largest["estimate"] < largest["high"]


def test_one_n_has_nothing_to_select():
    found = gain_by_n.gain_by_n(TABLE[TABLE["n"] == 8], DECLARED.primary, DECLARED.arms)
    assert len(found) == 2 and found["estimate"][0] == pytest.approx(found["estimate"][1])
    assert found["high"].tolist() == pytest.approx([found["high"][0]] * 2)


def test_what_was_not_run_or_is_not_estimable_has_no_interval():
    (absent,) = gain_by_n.gain_by_n(TABLE[TABLE["ratio"] == 0], DECLARED.primary, DECLARED.arms).to_dict("records")
    assert absent["flags"].startswith("not run: no arm with") and np.isnan(absent["estimate"])
    one = gain_by_n.gain_by_n(TABLE[TABLE["run"] == TABLE["run"].iloc[0]], DECLARED.primary, DECLARED.arms)
    assert one[["low", "high"]].isna().all(axis=None) and one["flags"].str.contains("one run only").all()
    assert len(one) > 2 and np.isnan(one["estimate"].iloc[-1])
