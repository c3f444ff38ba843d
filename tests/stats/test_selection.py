"""The winner's curse: known answers, properties, ties, what is refused, and coverage near and far from ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from skinsyn.stats import selection
from skinsyn.stats.selection import best, maximum, simultaneous

THREE = np.array([[1.0, 0.5, 0.3], [0.5, 2.0, 0.6], [0.3, 0.6, 1.5]])


def test_five_independent_estimates_agree_with_multiple_inference():
    """RankCondition(arange(5), identity) of multiple-inference 1.2.0: conditional, and hybrid with beta = .005."""
    index, estimate, low, high = maximum(np.arange(5), np.eye(5), share=0)
    assert index == 4 and (low, estimate, high) == pytest.approx((0.06742731, 3.68627552, 5.93267239), abs=5e-8)
    _, estimate, low, high = maximum(np.arange(5), np.eye(5))
    assert (low, estimate, high) == pytest.approx((0.87131038, 3.68742998, 5.97693924), abs=0.01)  # both simulate c


def test_three_correlated_estimates_agree_with_forty_digits():
    """The conditional quantiles, computed with mpmath at 40 digits; the truncation point is 11/7."""
    index, estimate, low, _ = maximum([1.2, 2.0, 1.7], THREE, share=0)
    assert index == 1 and (low, estimate) == pytest.approx((-15.313635318746798, -0.9046347457653568), abs=1e-7)
    _, estimate, low, high = maximum([1.2, 2.0, 1.7], THREE)
    assert (low, estimate, high) == pytest.approx((-2.4256, -0.8086, 4.4006), abs=0.02)


def test_hybrid_quantiles_solve_their_equation_with_scipys_truncated_normal():
    y, reach, first = 1.0, 3.0, 0.4

    def above(mu):
        lower, upper = max(first, mu - reach) - mu, reach
        return stats.truncnorm.sf(y, lower, upper, loc=mu)

    for chance in (0.02, 0.5, 0.98):
        root = selection._quantile(y, first, np.inf, reach, 1.0, chance)
        assert above(root) == pytest.approx(chance, abs=1e-7)


def test_projection_of_independent_estimates_has_a_closed_form():
    for k, level in ((1, 0.95), (5, 0.95), (5, 0.995), (9, 0.95)):
        exact = stats.norm.ppf((1 + level ** (1 / k)) / 2)
        assert simultaneous(np.eye(k), level) == pytest.approx(exact, abs=0.015)
    for df in (3, 6, 40):
        assert simultaneous(np.eye(1), 0.95, df) == pytest.approx(stats.t.ppf(0.975, df), abs=0.01)
    assert simultaneous(np.ones((4, 4)), 0.95) == pytest.approx(1.96, abs=0.01)  # one error, four times


def test_far_from_a_tie_the_interval_is_that_of_a_single_estimate():
    """The projection costs little: its alpha is (.05 - beta)/(1 - beta), that is 2.00 standard errors for 1.96."""
    _, estimate, low, high = maximum([0, 1, 50], np.diag([1.0, 1.0, 4.0]))
    assert estimate == pytest.approx(50, abs=1e-6) and high - 50 == pytest.approx(50 - low)
    assert 2 * 1.96 < high - 50 < 2 * 2.005
    _, _, low, high = maximum([0, 50], np.eye(2), df=6, share=0)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 6, 50, 1))
    assert maximum([3], [[1]], share=0)[1:] == pytest.approx((3, *stats.norm.interval(0.95, 3)))


@settings(max_examples=40, deadline=None)
@given(
    x=st.lists(st.floats(-5, 5).map(lambda value: round(value, 3)), min_size=2, max_size=6),
    seed=st.integers(0, 999),
    shift=st.floats(-10, 10),
    scale=st.floats(0.1, 10),
)
def test_order_unit_and_origin_do_not_matter(x, seed, shift, scale):
    rng = np.random.default_rng(seed)
    x, root = np.array(x), rng.standard_normal((len(x), len(x) + 2))
    covariance = root @ root.T / len(x)
    won = maximum(x, covariance)
    half = simultaneous(covariance, 0.95 + 0.9 * 0.05) * np.sqrt(covariance[won.index, won.index])
    assert won.low <= won.estimate <= won.high and won.index == int(np.argmax(x))
    assert won.low >= x[won.index] - half - 1e-9 and won.high <= x[won.index] + half + 1e-9
    moved = maximum(scale * x + shift, scale**2 * covariance)
    assert moved[1:] == pytest.approx(tuple(scale * np.array(won[1:]) + shift), abs=1e-5 * scale + 1e-7)
    order = rng.permutation(len(x))
    again = maximum(x[order], covariance[np.ix_(order, order)])
    if (x == x.max()).sum() == 1:
        assert order[again.index] == won.index
        assert again[1:] == pytest.approx(won[1:], abs=0.1 * np.sqrt(covariance[won.index, won.index]))


def test_the_estimate_falls_as_the_second_best_comes_near():
    found = [maximum([second, 1.0], np.eye(2)).estimate for second in (-4.0, 0.0, 0.5, 0.9)]
    assert found[0] == pytest.approx(1.0, abs=1e-4) and (np.diff(found) < 0).all()


def test_an_exact_tie_has_the_projection_interval():
    index, estimate, low, high = maximum([1, 1, -9], np.eye(3))
    half = simultaneous(np.eye(3))
    assert index == 0 and (low, high) == pytest.approx((1 - half, 1 + half))
    assert estimate == pytest.approx(1 - stats.norm.ppf(np.sqrt(0.5)), abs=0.01)  # the median of the larger of two


def test_copies_of_one_estimate_are_one_estimate():
    assert maximum([2, 2, 2], np.ones((3, 3)))[1:] == pytest.approx(maximum([2], [[1]])[1:], abs=0.01)


def test_no_variance_no_interval_and_what_is_refused():
    index, estimate, low, high = maximum([1, 2], np.diag([1.0, 0.0]))
    assert (index, estimate) == (1, 2) and np.isnan([low, high]).all()
    for x, covariance, message in (
        ([1, 2], np.eye(3), "shapes"),
        ([1, np.nan], np.eye(2), "finite"),
        ([1, 2], [[1, 0.5], [0.1, 1]], "symmetric"),
        ([], np.eye(0), "shapes"),
    ):
        with pytest.raises(ValueError, match=message):
            maximum(x, covariance)
    with pytest.raises(ValueError, match="level"):
        maximum([1], [[1]], level=1.0)


def test_the_set_of_the_best_has_dunnetts_critical_value():
    """Equal variances, k - 1 = 4 differences from one, correlation 1/2: one-sided 5 % points of Dunnett (1955)."""
    for df, critical in ((np.inf, 2.16), (10, 2.47)):
        edge = critical * np.sqrt(2)
        assert best([0, 0, 0, 0, edge - 0.05], np.eye(5), df=df).all()
        assert best([0, 0, 0, 0, edge + 0.05], np.eye(5), df=df).tolist() == [False] * 4 + [True]


def test_a_difference_without_variance_rejects_nothing():
    assert best([0, 1], np.ones((2, 2))).all() and best([3], [[0.0]]).all()


@settings(max_examples=25, deadline=None)
@given(x=st.lists(st.floats(-4, 4).map(lambda value: round(value, 2)), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_the_observed_best_is_always_in_the_set_and_a_higher_level_keeps_more(x, seed):
    root = np.random.default_rng(seed).standard_normal((len(x), len(x) + 1))
    narrow, wide = best(x, root @ root.T, 0.8), best(x, root @ root.T, 0.99)
    assert narrow[int(np.argmax(x))] and (wide | ~narrow).all()


def covered(rng, truth, covariance, sets, df=None):
    """Shares of data sets whose interval holds the winner's truth: (selection adjusted, not adjusted), and of those
    whose estimate lies above it. df: the covariance is estimated, a Wishart matrix of so many degrees of freedom."""
    root, found = np.linalg.cholesky(covariance), []
    for _ in range(sets):
        x, estimated = truth + root @ rng.standard_normal(len(truth)), covariance
        if df:
            spread = root @ rng.standard_normal((len(truth), df))
            estimated = spread @ spread.T / df
        won = maximum(x, estimated, df=df or np.inf)
        own = truth[won.index]
        half = stats.t.ppf(0.975, df or np.inf) * np.sqrt(estimated[won.index, won.index])
        found.append((won.low <= own <= won.high, abs(x[won.index] - own) <= half, won.estimate > own))
    return np.mean(found, axis=0)


def correlated(k, rho):
    return (1 - rho) * np.eye(k) + rho


def test_coverage_where_all_tie():
    adjusted, plain, above = covered(np.random.default_rng(1), np.zeros(5), correlated(5, 0.2), 500)
    assert adjusted > 0.93 and plain < 0.92 and 0.44 < above < 0.56


@pytest.mark.slow
@pytest.mark.parametrize("k, rho", [(5, 0.5), (9, 0.3)])
@pytest.mark.parametrize("lead", [0.0, 1.0, 5.0])
def test_coverage_near_ties_and_far_from_them(k, rho, lead):
    truth = np.zeros(k)
    truth[-1] = lead
    adjusted, _, above = covered(np.random.default_rng(1000), truth, correlated(k, rho), 1000)
    assert 0.93 <= adjusted <= 0.97 and 0.45 <= above <= 0.55


@pytest.mark.slow
@pytest.mark.parametrize("df", [4, 9])
@pytest.mark.parametrize("lead", [0.0, 1.0])
def test_coverage_with_an_estimated_covariance(df, lead):
    truth = np.zeros(5)
    truth[-1] = lead
    adjusted, _, _ = covered(np.random.default_rng(1000), truth, correlated(5, 0.3), 1000, df)
    assert 0.93 <= adjusted <= 0.985
