"""The two-way bootstrap: against drawing by hand, against SciPy's, and what is refused."""

import numpy as np
import pytest
from scipy import stats

from skinsyn.stats import bootstrap


def test_picks_draw_with_replacement():
    counts = bootstrap.picks(7, 4000, np.random.default_rng(0))
    assert (counts.sum(1) == 7).all() and counts.mean(0) == pytest.approx(1, abs=0.05)
    assert counts.var() == pytest.approx(6 / 7, abs=0.03)


def test_agrees_with_scipy():
    """SciPy resamples two samples of indices, runs and clusters, independently: the same bootstrap, one by one."""
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, (6, 40, 3)).astype(float) + rng.standard_normal((6, 1, 3)) * 0.2
    estimate, low, high = bootstrap.two_way_intervals(values, draws=20000)
    assert estimate == pytest.approx(values.mean((0, 1)))
    for k in range(3):
        table = values[:, :, k]

        def mean(runs, clusters, axis=-1, table=table):
            return table[runs[..., :, None], clusters[..., None, :]].mean((-1, -2))

        drawn = (np.arange(6), np.arange(40))
        peer = stats.bootstrap(drawn, mean, n_resamples=20000, vectorized=True, method="percentile", rng=1)
        width = peer.confidence_interval.high - peer.confidence_interval.low
        assert low[k] == pytest.approx(peer.confidence_interval.low, abs=0.03 * width)
        assert high[k] == pytest.approx(peer.confidence_interval.high, abs=0.03 * width)


def test_blocks_of_draws_change_nothing_but_the_draws(monkeypatch):
    values = np.random.default_rng(1).standard_normal((4, 30, 2))
    whole = bootstrap.two_way_means(values, np.zeros(30, int), 600, np.random.default_rng(2))
    monkeypatch.setattr(bootstrap, "BLOCK", 1000)
    parts = bootstrap.two_way_means(values, np.zeros(30, int), 600, np.random.default_rng(2))
    assert parts.shape == whole.shape and parts.std(0) == pytest.approx(whole.std(0), rel=0.15)


def test_strata_are_resampled_within():
    """A stratum of one cluster never loses it: a mean over strata that differ only between them has no spread."""
    values = np.repeat([[0.0], [1.0], [1.0]], 1, axis=1)[None].repeat(2, axis=0)
    _, low, high = bootstrap.two_way_intervals(values, ["a", "b", "b"], 200)
    assert low[0] == high[0] == pytest.approx(0.5)


def test_refused():
    good = np.zeros((2, 3, 1))
    with pytest.raises(ValueError, match="without NaN"):
        bootstrap.two_way_intervals(good * np.nan)
    with pytest.raises(ValueError, match="two runs, two clusters"):
        bootstrap.two_way_intervals(good[:1])
    with pytest.raises(ValueError, match="as many strata"):
        bootstrap.two_way_intervals(good, ["a"])
