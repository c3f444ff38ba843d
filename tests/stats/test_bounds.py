"""Bounds beside Holm's p: closed forms, agreement with the p values, and joint coverage by simulation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skinsyn.stats.bounds import BONFERRONI, HOLM, family_bounds, step_down_bounds
from skinsyn.stats.families import adjust


def family(estimates, se=1.0, df=np.inf, alternative="two-sided", margin=np.nan) -> pd.DataFrame:
    rows = pd.DataFrame({"estimate": np.asarray(estimates, float), "se": se, "df": df, "margin": margin})
    rows["alternative"] = alternative
    two = 2 * stats.t.sf(np.abs(rows["estimate"] / rows["se"]), rows["df"])
    less = stats.t.cdf((rows["estimate"] - rows["margin"]) / rows["se"], rows["df"])
    return rows.assign(p=np.where(rows["alternative"] == "two-sided", two, less))


def test_step_down_bounds_in_closed_form():
    """Example of the package gMCP: three means of ten values, one-sided at .025, Holm."""
    means, deviations = [0.860382, 0.9161474, 0.9732953], np.array([0.8759528, 1.291310, 0.8570892])
    found = step_down_bounds(means, deviations / np.sqrt(10), 9, 0.0, [1, 1, 1], 0.025)
    assert found.rejected.tolist() == [True, False, True] and found.informative.tolist() == [False, True, False]
    alone = means[1] - stats.t.ppf(0.975, 9) * deviations[1] / np.sqrt(10)  # all of the error is left for it
    assert found.bound == pytest.approx([0, alone, 0])
    every = step_down_bounds([5.0, 4.0], 1.0, np.inf, 0.0, [1, 1], 0.05)
    assert every.bound == pytest.approx(np.array([5, 4]) - stats.norm.ppf(0.975)) and every.informative.all()
    with pytest.raises(ValueError, match="weights must be above 0"):
        step_down_bounds([1.0], 1.0, 9, 0.0, [0.0], 0.05)


@given(estimates=st.lists(st.floats(-5, 5), min_size=1, max_size=7))
@settings(max_examples=40, deadline=None)
def test_the_lower_bounds_agree_with_one_sided_holm(estimates):
    """The unweighted step-down test is statsmodels' Holm, and a bound lies above the limit only where it rejects."""
    p = stats.norm.sf(estimates)
    found = step_down_bounds(estimates, 1.0, np.inf, 0.0, np.ones(len(p)), 0.05)
    assert found.rejected.tolist() == (adjust(p, "holm") <= 0.05).tolist()
    assert (found.bound[found.rejected] >= 0).all() and (found.bound[~found.rejected] < 1e-9).all()


def test_what_was_shown_beside_what_was_not_has_the_interval_of_bonferroni():
    found = family_bounds(family([5.0, 1.0, 0.5]))
    assert found["bound"].tolist() == [BONFERRONI, HOLM, HOLM]
    assert found.loc[0, "low_adjusted"] == pytest.approx(5 - stats.norm.ppf(1 - 0.05 / 6))
    # Of the lower side, the first is settled, so that the others share its error; of the upper side, none is.
    assert found.loc[1, "low_adjusted"] == pytest.approx(1 - stats.norm.ppf(1 - 0.025 / 2))
    assert found.loc[1, "high_adjusted"] == pytest.approx(1 + stats.norm.ppf(1 - 0.025 / 3))
    assert found["upper_adjusted"].to_numpy() == pytest.approx([5, 1, 0.5] + stats.norm.ppf(1 - 0.05 / 3))


def test_a_family_that_is_shown_whole_or_not_at_all_has_compatible_bounds_throughout():
    for estimates in ([6.0, 5.0], [0.5, -0.5]):
        found = family_bounds(family(estimates))
        half = stats.norm.ppf(1 - 0.05 / 4)
        assert (found["bound"] == HOLM).all()
        assert (found["high_adjusted"] - estimates).to_numpy() == pytest.approx([half, half])
    assert family_bounds(family([2.1]))["low_adjusted"][0] == pytest.approx(2.1 - stats.norm.ppf(0.975))


def test_a_one_sided_test_has_one_bound_at_its_own_error():
    rows = family([0.5, 3.0], alternative=["less", "two-sided"], margin=[3.0, np.nan])
    found = family_bounds(rows)
    assert np.isnan(found.loc[0, "low_adjusted"]) and found.loc[0, "high_adjusted"] < 3
    assert found.loc[0, "high_adjusted"] == pytest.approx(0.5 + stats.norm.ppf(1 - 0.05 / 2))
    alone = family_bounds(rows.iloc[:1])
    assert alone.loc[0, "high_adjusted"] == pytest.approx(0.5 + stats.norm.ppf(0.95))
    same = family_bounds(family([0.1], alternative="within", margin=3.0))
    assert same.loc[0, ["low_adjusted", "high_adjusted"]].tolist() == pytest.approx([0.1 - 1.96, 0.1 + 1.96], abs=1e-3)


def test_what_was_not_tested_has_no_bound_and_does_not_count():
    rows = family([2.5, 1.0])
    rows.loc[1, ["p", "se"]] = np.nan
    found = family_bounds(rows)
    assert found.loc[1].drop("bound").isna().all() and found.loc[1, "bound"] == ""
    assert found.loc[0, "low_adjusted"] == pytest.approx(2.5 - stats.norm.ppf(0.975))
    discovery = family_bounds(family([2.5, 1.0]), "fdr_bh")
    assert (discovery["bound"] == "").all() and discovery["low_adjusted"].isna().all()
    assert (family_bounds(family([2.5, 1.0]), "bonferroni")["bound"] == BONFERRONI).all()
    assert family_bounds(rows.assign(p=np.nan))["bound"].tolist() == ["", ""]


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("truth", [(0, 0, 0, 0), (4, 4, 0, 0), (2, 2, 2, 2), (6, -6, 0, 1)])
def test_each_kind_of_bound_holds_jointly(truth, correlation):
    """1,500 families under normal errors: the step-down bounds and Bonferroni's, each over the whole family."""
    rng, truth = np.random.default_rng(1000), np.asarray(truth, float)
    shared = rng.standard_normal((1500, 1)) * np.sqrt(correlation)
    estimates = truth + shared + rng.standard_normal((1500, 4)) * np.sqrt(1 - correlation)
    held = [
        (step_down_bounds(row, 1.0, np.inf, 0.0, np.ones(4), 0.05).bound <= np.maximum(truth, 1e-12)).all()
        & ~((truth == 0) & step_down_bounds(row, 1.0, np.inf, 0.0, np.ones(4), 0.05).rejected).any()
        for row in estimates
    ]
    assert np.mean(held) >= 0.935
