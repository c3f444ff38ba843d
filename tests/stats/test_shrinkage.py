"""Shrunken gains: Rubin's eight schools by another integration, properties, what is refused, coverage and error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from simulated import predictions

from skinsyn.stats import shrinkage
from skinsyn.stats.hypotheses import Hypothesis
from skinsyn.stats.predictions import blocks
from skinsyn.stats.shrinkage import shrink

SCHOOLS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
FEW = {"task": "condition", "n": 8, "ratio": 10, "transforms": True}
ARMS = {"a": FEW, "b": {**FEW, "ratio": 0}}
GAIN = Hypothesis(id="cell", estimand="a - b")


def given_tau(tau):
    """Density of tau (unnormalised), conditional means and variances of the schools; Gelman et al. 2013, sec. 5.4."""
    y, se = SCHOOLS
    total = se**2 + tau**2
    spread = 1 / (1 / total).sum()
    mean = spread * (y / total).sum()
    kept = tau**2 / total
    density = np.sqrt(spread) * np.prod(np.exp(-((y - mean) ** 2) / total / 2) / np.sqrt(total))
    return density, kept * y + (1 - kept) * mean, kept * se**2 + (1 - kept) ** 2 * spread


def integral(function):
    return integrate.quad(lambda tau: given_tau(tau)[0] * function(tau), 0, np.inf, limit=200)[0]


def test_eight_schools_by_adaptive_integration():
    shrunken, whole = shrink(*SCHOOLS), integral(lambda tau: 1.0)
    for school in range(8):
        mean = integral(lambda tau: given_tau(tau)[1][school]) / whole  # noqa: B023
        assert shrunken.estimate[school] == pytest.approx(mean, abs=2e-3)
        for end, chance in ((shrunken.low[school], 0.025), (shrunken.high[school], 0.975)):
            law = lambda tau: stats.norm.cdf(end, given_tau(tau)[1][school], np.sqrt(given_tau(tau)[2][school]))  # noqa
            assert integral(law) / whole == pytest.approx(chance, abs=2e-4)
    assert shrunken.tau == pytest.approx(integral(lambda tau: tau) / whole, abs=2e-3)


def test_a_shared_error_widens_every_interval_and_moves_no_estimate():
    """ses² = own + shared: the same own errors with more in common give the same estimates, and longer intervals."""
    y, se = SCHOOLS
    alone, joined = shrink(y, se), shrink(y, np.sqrt(se**2 + 30), shared=30)
    assert joined.estimate == pytest.approx(alone.estimate) and joined.tau == pytest.approx(alone.tau)
    assert ((joined.high - joined.low) > (alone.high - alone.low)).all()


@settings(max_examples=30, deadline=None)
@given(
    y=st.lists(st.floats(-20, 20).map(lambda value: round(value, 2)), min_size=5, max_size=12),
    seed=st.integers(0, 999),
    shift=st.floats(-30, 30),
    scale=st.floats(0.05, 20),
)
def test_unit_and_origin_do_not_matter_and_all_move_towards_the_mean(y, seed, shift, scale):
    y, se = np.array(y), np.random.default_rng(seed).uniform(1, 6, len(y))
    shrunken, moved = shrink(y, se), shrink(scale * y + shift, scale * se)
    assert (shrunken.low < shrunken.estimate).all() and (shrunken.estimate < shrunken.high).all()
    assert shrunken.estimate.min() >= y.min() - 1e-9 and shrunken.estimate.max() <= y.max() + 1e-9
    for name in ("estimate", "low", "high"):
        expected = scale * np.asarray(getattr(shrunken, name)) + shift
        assert getattr(moved, name) == pytest.approx(expected, abs=1e-6 * scale + 1e-6)


def test_what_is_refused():
    for y, se, message in (
        ([1, 2, 3], [1, 1, 1], "5 or more"),
        ([1.0] * 5, [1.0, 1, 1, 1, 0], "positive"),
        ([1.0] * 4 + [np.nan], [1.0] * 5, "finite"),
        ([1.0] * 5, [1.0] * 4, "5 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            shrink(y, se)


@pytest.fixture(scope="module")
def grid():
    return blocks(predictions(seed=1000, ratios=(0, 10), ns=(8,)))


def test_every_cell_has_a_row_whose_raw_gain_is_its_own_test(grid):
    table = shrinkage.gains(grid, GAIN, ARMS)
    fit = table[~table["flags"].str.contains("not estimable")]
    assert len(table) == 27 and fit["shrunken"].notna().all() and table.drop(fit.index)["shrunken"].isna().all()
    assert len(fit) >= 20 and fit["shrunken"].between(fit["shrunken_low"], fit["shrunken_high"]).all()
    assert fit["shrunken"].var() < fit["estimate"].var()
    raw = (fit["high"] - fit["low"]).mean()
    assert (fit["shrunken_high"] - fit["shrunken_low"]).mean() < raw
    assert table["mean"].nunique() == 1 and (table["tau"] >= 0).all()


def test_small_cells_and_arms_not_run_keep_their_rows(grid):
    table = shrinkage.gains(grid, GAIN, ARMS, min_images=10)
    assert len(table) == 27 and table["shrunken"].isna().all()
    assert table["flags"].str.contains("fewer than 10 images").all()
    missing = shrinkage.gains(grid, GAIN, {**ARMS, "a": {**FEW, "ratio": 99}})
    assert len(missing) == 1 and missing["flags"].iloc[0].startswith("not run")
    groups = shrinkage.gains(grid, GAIN, ARMS, over=("fst_group",))
    assert len(groups) == 3 and groups["flags"].str.contains("fewer than 5 cells").all()


def study(rng, effects, runs=10, patients=12, sd=(1.0, 0.2, 0.3, 0.2), photographs=2):
    """(cells' differences, patients, true gains): probit answers with effects of images, runs, arm × image, arm × run.

    Every cell has patients of its own and the same runs; `effects`: what the arm adds, by cell.
    """
    image, run, arm_image, arm_run = sd
    total, normal = np.sqrt(1 + np.square(sd).sum()), rng.standard_normal
    cells, ids = len(effects), np.repeat(np.arange(patients), photographs)
    hard = image * normal((cells, 1, 1, patients)) + arm_image * normal((cells, 2, 1, patients))
    latent = hard[..., ids] + run * normal((1, 1, runs, 1)) + arm_run * normal((1, 2, runs, 1))
    latent = latent + normal((cells, 2, runs, patients * photographs))
    latent[:, 0] += np.asarray(effects)[:, None, None]
    right = (latent > 0).astype(float)
    return right[:, 0] - right[:, 1], ids, stats.norm.cdf(np.asarray(effects) / total) - 0.5


def coverage(rng, law, sets, cells=18, patients=12):
    """(coverage and mean squared error of the shrunken gains, the same of the raw ones). law: rng, cells → effects."""
    found = []
    for _ in range(sets):
        differences, ids, truth = study(rng, law(rng, cells), patients=patients)
        sums = [shrinkage.estimands.Parts([one], [ids], [1.0], len(ids), [], "clusters") for one in differences]
        tests = [shrinkage._tested(one) for one in sums]
        fit = np.array([gain.estimable for gain in tests])
        se, df, y = (np.array([getattr(gain, name) for gain in tests])[fit] for name in ("se", "df", "estimate"))
        pooled = shrinkage._of_mean([one for one, used in zip(sums, fit, strict=True) if used])
        shared = shrinkage._shared(se, pooled) * float(shrinkage._widening(np.array(pooled.df), 0.95)) ** 2
        made = shrink(y, se * shrinkage._widening(df, 0.95), 0.95, shared)
        half, truth = stats.t.isf(0.025, df) * se, truth[fit]
        inside, plain = (made.low <= truth) & (truth <= made.high), np.abs(y - truth) <= half
        errors = ((made.estimate - truth) ** 2).mean(), ((y - truth) ** 2).mean()
        found.append((inside.mean(), errors[0], plain.mean(), errors[1]))
    return np.mean(found, axis=0)


LAWS = {
    "none": lambda rng, k: np.full(k, 0.3),
    "normal": lambda rng, k: 0.2 + 0.3 * rng.standard_normal(k),
    "one large": lambda rng, k: np.where(np.arange(k) == 0, 1.0, 0.1),
    "two kinds": lambda rng, k: np.where(rng.random(k) < 0.3, 0.8, 0.0),
}


def test_coverage_and_error_where_cells_do_not_differ():
    inside, error, plain, raw_error = coverage(np.random.default_rng(1000), LAWS["none"], 12)
    assert inside > 0.9 and plain > 0.9 and error < raw_error


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_coverage_on_average_over_cells_and_error_not_above_that_of_raw_gains(law):
    inside, error, _, raw_error = coverage(np.random.default_rng(1000), LAWS[law], 60, patients=10)
    assert 0.93 <= inside <= 0.99 and error < 1.05 * raw_error
