"""Dose-response: published fits, and verdicts on curves whose truth is known."""

import numpy as np
import pytest

from skinsyn.stats import dose_response as dr

MISRA_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
PUROMYCIN_X = np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.1], 2)
PUROMYCIN_Y = [76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200]
DOSES = np.array([0, 1, 5, 10, 25, 75.0])


def answers(curve, runs=8, clusters=300, seed=0):
    return (np.random.default_rng(seed).random((runs, clusters, len(curve))) < curve).astype(float)


def test_misra1a():
    fit = dr.fit(dr.EXPONENTIAL, MISRA_X, MISRA_Y, e0=0)
    assert fit.estimates == pytest.approx({"a": 238.94212918, "k": 5.5015643181e-4}, rel=1e-9)
    assert fit.se == pytest.approx({"a": 2.7070075241, "k": 7.2668688436e-6}, rel=1e-8)
    assert fit.residual_sd == pytest.approx(0.10187876330, rel=1e-8) and fit.df == 12


def test_puromycin():
    fit = dr.fit(dr.EMAX, PUROMYCIN_X, PUROMYCIN_Y, e0=0)
    assert fit.estimates["emax"] == pytest.approx(212.7, abs=0.05) and fit.se["emax"] == pytest.approx(6.947, abs=5e-4)
    assert fit.estimates["ed50"] == pytest.approx(0.06412, abs=5e-6)
    assert fit.se["ed50"] == pytest.approx(0.008281, abs=5e-7)


@pytest.mark.parametrize("e0", [None, 0.4])
def test_exact_curves_are_found_again(e0):
    emax = dr.fit(dr.EMAX, DOSES, dr.EMAX(DOSES, 0.2, 3.0, 0.4), e0).estimates
    assert emax == pytest.approx({"emax": 0.2, "ed50": 3.0} | ({"e0": 0.4} if e0 is None else {}))
    exponential = dr.fit(dr.EXPONENTIAL, DOSES, dr.EXPONENTIAL(DOSES, 0.2, 0.3, 0.4), e0).estimates
    assert exponential == pytest.approx({"a": 0.2, "k": 0.3} | ({"e0": 0.4} if e0 is None else {}))


def test_fast_profile_agrees_with_least_squares():
    rng = np.random.default_rng(1)
    y = dr.EMAX(DOSES, 0.3, 4.0, 0.4) + 0.01 * rng.standard_normal((5, len(DOSES)))
    for row, (e0, emax, ed50) in zip(y, dr.profile(dr.EMAX, DOSES, y), strict=True):
        fit = dr.fit(dr.EMAX, DOSES, row).estimates
        assert (e0, emax, ed50) == pytest.approx((fit["e0"], fit["emax"], fit["ed50"]), rel=2e-3)


def test_fast_exponential_agrees_with_least_squares():
    rng = np.random.default_rng(1)
    y = dr.EXPONENTIAL(DOSES, 0.3, 0.15, 0.4) + 0.005 * rng.standard_normal((5, len(DOSES)))
    for row, (e0, a, slow) in zip(y, dr.profile(dr.EXPONENTIAL, DOSES, y), strict=True):
        fit = dr.fit(dr.EXPONENTIAL, DOSES, row).estimates
        assert (e0, a, 1 / slow) == pytest.approx((fit["e0"], fit["a"], fit["k"]), rel=2e-3)


def test_an_exponential_truth_is_found_by_the_exponential_curve():
    result = dr.analyse(DOSES, answers(dr.EXPONENTIAL(DOSES, 0.35, 0.12, 0.4)), draws=500)
    ed90, low, high, failed = result.exponential
    assert low < np.log(10) / 0.12 < high and failed <= dr.FAILURES
    flat = dr.analyse(DOSES, answers(np.full(6, 0.5)), draws=300)
    assert np.isnan(flat.exponential[:3]).all() and flat.exponential[3] > dr.FAILURES


def test_a_curve_that_bends_saturates():
    result = dr.analyse(DOSES, answers(dr.EMAX(DOSES, 0.3, 2.0, 0.4)), draws=500)
    assert result.verdict == "saturates" and result.failed <= dr.FAILURES
    assert result.ed90 == pytest.approx(9 * result.ed50) and result.ed90_low <= 18 <= result.ed90_high
    assert result.page_p < 1e-6 and (np.diff(result.points["isotonic"]) >= 0).all()
    assert len(result.curve["x"]) == len(result.curve["low"]) == 101


def test_a_curve_still_rising():
    result = dr.analyse(DOSES, answers(dr.EMAX(DOSES, 0.5, 60.0, 0.2)), draws=500)
    assert result.verdict == "still rising" and result.last_step[1] > 0


@pytest.mark.parametrize("curve", [np.full(6, 0.5), np.linspace(0.7, 0.4, 6), np.array([0.4, 0.7, 0.7, 0.7, 0.7, 0.7])])
def test_flat_falling_or_all_at_once_is_not_identified(curve):
    """The last jumps before the first dose above 0: its ED50 lies where nothing was tested."""
    result = dr.analyse(DOSES, answers(curve), draws=500)
    assert result.verdict == "not identified" and np.isnan(result.ed90) and result.reason and result.curve == {}


def test_no_resample_is_left_out_of_the_interval_of_ed90():
    """One resample in twenty bends beyond the last dose: left out, the interval ended before it, and it saturated."""
    early, late = (dr.EMAX(DOSES, 0.3, ed50, 0.4) for ed50 in (3.0, 200.0))
    resampled = np.vstack([np.tile(early, (95, 1)), np.tile(late, (5, 1))])
    (ed90, low, high, failed), _ = dr._ed90(dr.EMAX, DOSES, early, resampled, 0.95)
    assert failed == pytest.approx(0.05) and low == pytest.approx(27, rel=0.01) and high > DOSES[-1]
    falling = np.vstack([np.tile(early, (95, 1)), np.tile(early[::-1], (5, 1))])
    (ed90, low, high, failed), _ = dr._ed90(dr.EMAX, DOSES, early, falling, 0.95)
    assert low == 0 and np.isinf(high) and ed90 == pytest.approx(27, rel=0.01)


def test_few_runs_are_flagged():
    assert "3 runs" in dr.summary(dr.analyse(DOSES, answers(DOSES / 100, runs=3), draws=50))["flags"][0]


def test_few_doses_or_one_run():
    result = dr.analyse(DOSES[:2], answers(np.array([0.4, 0.6])), draws=200)
    assert result.verdict == "not identified" and "2 doses" in result.reason and np.isnan(result.page_p)
    assert dr.analyse(DOSES[:3], answers(np.array([0.2, 0.4, 0.6])), draws=200).verdict == "still rising"
    assert np.isnan(dr.analyse(DOSES, answers(np.full(6, 0.5), runs=1), draws=200).page_p)


def test_strata_count_the_same():
    correct = np.zeros((2, 10, 2))
    correct[:, :2] = 1
    strata = np.repeat(["rare", "common"], [2, 8])
    assert dr.analyse([0, 10], correct, strata, draws=50).points["y"] == pytest.approx([0.5, 0.5])
    assert dr.analyse([0, 10], correct, draws=50).points["y"] == pytest.approx([0.2, 0.2])


def test_bootstrap_is_shared_by_all_doses():
    """Doses that are equal cell by cell stay equal in every resample."""
    one = answers(np.full(1, 0.5))
    means = dr.two_way_means(np.repeat(one, 3, axis=2), np.zeros(300, int), 100, np.random.default_rng(0))
    assert np.ptp(means, axis=1).max() < 1e-12 and means.std(0).min() > 0.005


def test_tables_of_a_result():
    result = dr.analyse(DOSES, answers(dr.EMAX(DOSES, 0.3, 2.0, 0.4)), draws=200)
    table = dr.table(result)
    assert (table["part"] == "measured").sum() == 6 and (table["part"] == "curve").sum() == 101
    assert (
        dr.summary(result)["verdict"][0] == "saturates"
        and dr.summary(result)["last_step_low"][0] == result.last_step[1]
    )
    nothing = dr.not_run("no arm")
    assert dr.table(nothing).empty and dr.summary(nothing)["reason"][0] == "no arm"


def test_refused():
    with pytest.raises(ValueError, match="2 distinct doses cannot identify 3 parameters"):
        dr.fit(dr.EMAX, [0, 10, 10], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="finite"):
        dr.fit(dr.EXPONENTIAL, [0, 1, np.nan], [0, 1, 2], e0=0)
    with pytest.raises(ValueError, match="one length"):
        dr.fit(dr.EMAX, [0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="increase from 0"):
        dr.analyse([1, 5], np.zeros((2, 3, 2)))
    with pytest.raises(ValueError, match="without NaN"):
        dr.analyse([0, 5], np.full((2, 3, 2), np.nan))
