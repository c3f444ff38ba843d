"""Prose: every sentence is written from the numbers and says no more than they carry."""

import numpy as np
import pandas as pd
import pytest

from skinsyn.report import words

ROW = {"id": "primary", "kind": "gain", "estimate": 3.14159, "low": -1.0, "high": 7.25, "p": 0.04, "p_adjusted": 0.125}
ROW |= {"images": 360, "clusters": 300, "runs": 5, "verdict": "no difference shown", "flags": "", "upper_bound": 2.0}
ROW |= {"margin": 3.0, "p_by": 0.2}


def row(**changes):
    return ROW | changes


def test_a_gain():
    text = words.gain(row())
    assert "+3.1 percentage points (−1.0 to +7.2; p = 0.125)" in text and "360 test images of 300" in text
    assert "not that there is none" in text and "anything from −1.0 to +7.2" in text
    better = words.gain(row(verdict="gain", low=1.0, p_adjusted=0.0002))
    assert "expected to be higher" in better and "p < 0.001" in better and "none" not in better
    assert "lower" in words.gain(row(verdict="loss", estimate=-3.0))
    assert "not run (no arm)" in words.gain(row(verdict="not run", flags="no arm", estimate=np.nan, low=np.nan))
    silent = words.gain(row(verdict="not estimable", low=np.nan, high=np.nan, flags="not estimable: one run only"))
    assert "+3.1" in silent and "cannot be estimated" in silent and "one run only" in silent
    for text in (better, silent):
        assert "nan" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "loss", "estimate": -3.0}, "lower in the first arm"),
        ({"low": 0.4}, "but not after correction within its family"),
        ({"verdict": "not run", "flags": "no arm"}, "The difference: not run (no arm)"),
        ({"kind": "difference", "verdict": "larger"}, "expected to be larger"),
        ({"kind": "difference"}, "shows no difference"),
        ({"kind": "non-superiority", "verdict": "no gain above the margin"}, "any gain lies below +2.0 points"),
        (
            {"kind": "non-superiority", "alternative": "less", "verdict": "not shown", "high_adjusted": 3.5},
            "(one-sided upper bound +2.0, +3.5 over its family; one-sided p",
        ),
        (
            {"kind": "gain", "verdict": "gain", "low_simultaneous": 0.5, "high_simultaneous": 7.5},
            "; simultaneously +0.5 to +7.5;",
        ),
        ({"kind": "non-superiority", "verdict": "not shown"}, "a gain of up to +2.0 points cannot be excluded"),
        ({"kind": "equivalence", "verdict": "not shown"}, "equivalence is not shown"),
        ({"kind": "equivalence", "verdict": "equivalent"}, "points; equivalent"),
    ],
)
def test_claims_of_every_kind(changes, expected):
    assert expected in words.claim(row(**changes))


def test_groups_and_heterogeneity():
    rows = pd.DataFrame(
        [
            row(id="gain, I-II", verdict="gain"),
            row(id="gain, III-IV"),
            row(id="gain, V-VI", verdict="not estimable", low=np.nan, flags="x"),
        ]
    )
    text = words.groups(rows, "Naming")
    assert (
        "a gain in I-II" in text
        and "no difference shown in III-IV" in text
        and "no conclusion for V-VI (not estimable)" in text
    )
    assert "is not a difference between them" in text
    assert "no such hypothesis" in words.groups(rows.head(0), "Naming")
    assert "up to 7.2 points remain possible" in words.heterogeneity(rows.iloc[1:2])
    assert "V-VI (larger" in words.heterogeneity(
        pd.DataFrame([row(id="more, V-VI", kind="difference", verdict="larger")])
    )
    assert "cannot be estimated" in words.heterogeneity(rows.iloc[2:])


def test_fairness_beside_chance():
    accuracy = pd.DataFrame(
        {"arm": "real", "group": ["I-II", "V-VI"], "accuracy": [0.7, 0.6], "images": [40, 30], "gap": 0.1, "gap_p": 0.4,
         "null_mean": 0.08}
    )  # fmt: skip
    text = words.fairness(accuracy)
    assert (
        "Real: accuracy is lowest in V-VI (60.0 %)" in text
        and "is 10.0 points, against 8.0 expected by chance" in text
        and "p = 0.400" in text
    )
    assert "fewer than two" in words.fairness(accuracy.assign(group="unknown"))


def test_dose():
    given = {
        "verdict": "saturates",
        "reason": "",
        "ed90": 9.0,
        "ed90_low": 4.0,
        "ed90_high": 12.0,
        "exponential_ed90": 8.0,
    }
    given |= {"last_step": 0.01, "last_step_low": -0.02, "last_step_high": 0.04}
    assert "reached at 9.0 (4.0 to 12.0)" in words.dose(given) and "at 8.0" in words.dose(given)
    open_ = words.dose(given | {"verdict": "not identified", "reason": "no sound curve in 40% of resamples"})
    assert "not identified (no sound curve" in open_ and "9.0" not in open_ and "+1.0 points (−2.0 to +4.0)" in open_
    assert "still rising" in words.dose(given | {"verdict": "still rising"})
    assert "not run (no arm)" in words.dose(given | {"verdict": "not run", "reason": "no arm"})


def test_power():
    given = {"detectable": 8.5, "gain": 5.0, "power": 0.42, "needed_runs": np.inf, "needed_clusters": 700.0}
    text = words.power(given, 0.8)
    assert "8.5 points or more in 80 of 100" in text and "in 42" in text
    assert "no number of training runs suffices" in text and "700 patients or lesions" in text
    assert "cannot be estimated" in words.power(given | {"power": np.nan}, 0.8)


def test_sensitivity():
    rows = pd.DataFrame([row(id="as declared"), row(id="otherwise"), row(id="lost", verdict="not run", low=np.nan)])
    assert "Over 2 analyses the gain" in words.sensitivity(rows) and "1 variant was not run" in words.sensitivity(rows)
    turned = pd.concat([rows, pd.DataFrame([row(id="upside", estimate=-4.0, low=-7.0, high=-1.5, p=0.001)])])
    assert "sign reverses under: upside" in words.sensitivity(turned)
    assert "sign reverses" not in words.sensitivity(turned.assign(p=0.1))
    assert "sign reverses" in words.sensitivity(turned.assign(p=0.1), alpha=0.2)
    assert "fewer than two" in words.sensitivity(rows.iloc[:1])


def test_exploratory():
    rows = pd.DataFrame(
        [row(id="cell, a", verdict="gain"), row(id="cell, b"), row(id="cell, c", p=np.nan, p_by=np.nan)]
    )
    text = words.exploratory(rows)
    assert "Of 3 exploratory hypotheses 2 could be tested; 1 remain significant" in text and "cell, a" in text
    assert "and 0 after Benjamini-Yekutieli" in text and "and 2 after" in words.exploratory(rows, alpha=0.2)


def test_shrunken():
    cells = pd.DataFrame({"estimate": [-9.0, 2.0, 14.0], "shrunken": [-1.0, 2.0, np.nan]})
    cells = cells.assign(
        shrunken_low=[-4.0, 0.5, np.nan], shrunken_high=[2.0, 4.0, np.nan], mean=1.5, tau=2.25, flags=""
    )
    text = words.shrunken(cells)
    assert "Over 2 of 3 cells" in text and "is +1.5 points" in text and "standard deviation of 2." in text
    assert (
        "from −9.0 to +2.0; shrunken, from −1.0 to +2.0" in text and "1 shrunken intervals lie above zero and 0" in text
    )
    assert "No cell of 3" in words.shrunken(cells.assign(shrunken=np.nan))
    assert "were not run: no arm" in words.shrunken(cells.assign(flags="not run: no arm"))
