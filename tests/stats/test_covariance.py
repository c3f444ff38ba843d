"""Covariances of estimates that share runs and images: those of the tests, recomputed, and what is not estimable."""

import numpy as np
import pytest
from simulated import answers

from skinsyn.stats import covariance, mrmc
from skinsyn.stats.estimands import Parts


def sums(values, clusters, weight=1.0, count="clusters"):
    return Parts([np.asarray(values)], [np.asarray(clusters)], [weight], np.shape(values)[1], [], count)


def shared(rng, runs=6, images=60, contrasts=3):
    """Differences (contrasts, runs, images) with effects of runs and images that all contrasts share."""
    common = rng.standard_normal((1, runs, 1)) + rng.standard_normal((1, 1, images))
    return common + rng.standard_normal((contrasts, runs, images))


def test_variances_are_those_of_the_tests_and_differences_too():
    rng = np.random.default_rng(1000)
    values, ids = shared(rng), np.repeat(np.arange(30), 2)
    joint = covariance.of_parts([sums(one, ids) for one in values])
    for i, first in enumerate(values):
        alone = mrmc.gain_from_groups([first], [ids], [1.0])
        assert joint.estimates[i] == pytest.approx(alone.estimate)
        assert joint.covariance[i, i] == pytest.approx(alone.se**2) and joint.df[i, i] == pytest.approx(alone.df)
        for j, second in enumerate(values[:i]):
            apart = mrmc.gain_from_groups([first - second], [ids], [1.0])
            spread = joint.covariance[i, i] + joint.covariance[j, j] - 2 * joint.covariance[i, j]
            assert spread == pytest.approx(apart.se**2) and joint.df[i, j] == pytest.approx(apart.df)


def test_the_covariance_is_that_of_repeated_studies():
    """Against the covariance of the estimates themselves over simulated studies, where runs and images are shared."""
    rng, runs, images = np.random.default_rng(1001), 6, 40
    estimates = np.array([shared(rng, runs, images).mean((1, 2)) for _ in range(3000)])
    studies = [[sums(one, np.arange(images)) for one in shared(rng, runs, images)] for _ in range(120)]
    truth = 1 / runs + 1 / images + np.eye(3) / (runs * images)
    assert np.cov(estimates.T) == pytest.approx(truth, rel=0.1)
    assert np.mean([covariance.of_parts(one).covariance for one in studies], axis=0) == pytest.approx(truth, rel=0.2)


def test_groups_and_weights_of_each_estimate_may_differ():
    """Gains in two groups of images and their sum: the covariance of a part with the whole is the part's variance where
    the groups share nothing."""
    rng = np.random.default_rng(1002)
    first, second = rng.standard_normal((2, 8, 30)) + 0.2
    a, b = sums(first, np.arange(30)), sums(second, np.arange(30, 60))
    whole = Parts([*a.values, *b.values], [*a.clusters, *b.clusters], [1.0, 1.0], 60, [], "clusters")
    joint = covariance.of_parts([a, b, whole])
    by_run = np.array([first.mean(1), second.mean(1)])
    assert joint.estimates[2] == pytest.approx(joint.estimates[:2].sum())
    assert joint.covariance[0, 1] == pytest.approx(np.cov(by_run)[0, 1] / 8)


def test_the_same_estimate_twice_and_one_that_never_varies():
    rng = np.random.default_rng(1003)
    one, none = sums(rng.standard_normal((4, 9)), np.arange(9)), sums(np.zeros((4, 9)), np.arange(9))
    joint = covariance.of_parts([one, one, none])
    assert joint.covariance[:2, :2] == pytest.approx(joint.covariance[0, 0])
    assert joint.covariance[2] == pytest.approx(0) and joint.df[2, 2] == np.inf and joint.df[0, 1] == np.inf


def test_what_is_not_estimable_is_said():
    right, ids = answers(np.random.default_rng(1004), 3, 8)[0], np.arange(8)
    copied = np.repeat(right[:1], 3, axis=0)
    for first, second, clusters, reason in (
        (right[:1], right[:1], ids, "one run"),
        (right, right, np.zeros(8), "one cluster"),
        (right, right[:2], ids, "different runs"),
        (right, copied, ids, "identical runs"),
    ):
        joint = covariance.of_parts([sums(first, clusters), sums(second, clusters)])
        assert reason in joint.flags and np.isnan(joint.covariance).all() and np.isfinite(joint.estimates).all()
    with pytest.raises(ValueError, match="at least one"):
        covariance.of_parts([])
