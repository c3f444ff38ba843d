"""The gain in AUROC with clustered images: DeLong's with one image per patient, Obuchowski's with several."""

import numpy as np
import pytest

from skinsyn.stats import auc, auroc, mrmc


def made(seed=0, patients=60, photographs=1, runs=4, both=False):
    """(y, scores (2, runs, images), patients): no gain; photographs of one patient share most of their difficulty."""
    rng, ids = np.random.default_rng(seed), np.repeat(np.arange(patients), photographs)
    y = (np.arange(patients) % 2)[ids] if not both else np.arange(len(ids)) % 2
    shared = rng.normal(0, 1, (2, 1, patients)) + rng.normal(0, 0.5, (2, runs, patients))
    return y, y + shared[:, :, ids] + rng.normal(0, 0.4, (2, runs, len(ids))), ids


def covariance_after_obuchowski(y, scores, ids):
    """Obuchowski 1997 (Biometrics 53:567-578), S10/M + S01/N + (S11 + S11')/(MN), of (k, images) scores, as printed."""
    positive, negative = scores[:, y == 1], scores[:, y == 0]
    kernel = (positive[:, :, None] > negative[:, None]) + 0.5 * (positive[:, :, None] == negative[:, None])
    theta, m, n = kernel.mean((1, 2)), positive.shape[1], negative.shape[1]
    members = np.unique(ids)
    x = np.stack([(kernel.mean(2) - theta[:, None])[:, ids[y == 1] == i].sum(1) for i in members], 1)
    z = np.stack([(kernel.mean(1) - theta[:, None])[:, ids[y == 0] == i].sum(1) for i in members], 1)
    i10, i01, total = len(set(ids[y == 1])), len(set(ids[y == 0])), len(members)
    s10, s01 = i10 / ((i10 - 1) * m) * x @ x.T, i01 / ((i01 - 1) * n) * z @ z.T
    s11 = total / (total - 1) * x @ z.T
    return theta, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def standard_error(covariance, areas, runs):
    """Of Obuchowski and Rockette's gain: variance between runs plus R (Cov2 - Cov3), as in `mrmc`."""
    blocks, other = covariance.reshape(2, runs, 2, runs), ~np.eye(runs, dtype=bool)
    same = (blocks[0, :, 0][other].mean() + blocks[1, :, 1][other].mean()) / 2
    spread = np.var(areas[:runs] - areas[runs:], ddof=1)
    return np.sqrt((spread + 2 * runs * (same - blocks[0, :, 1][other].mean())) / runs)


def test_one_photograph_per_patient_is_delong():
    y, scores, ids = made()
    areas, gain = auroc.gain(y, scores, ids)
    theta, covariance = auc.delong(y, scores.reshape(8, -1))
    known = mrmc.obuchowski_rockette(y, scores)
    assert areas == pytest.approx([theta[:4].mean(), theta[4:].mean()]) and gain.estimate == pytest.approx(
        known.estimate
    )
    assert gain.se == pytest.approx(known.se) == pytest.approx(standard_error(covariance, theta, 4))
    assert covariance_after_obuchowski(y, scores.reshape(8, -1), ids)[1] == pytest.approx(covariance)


@pytest.mark.parametrize("both", [False, True])
def test_several_photographs_per_patient_are_obuchowskis(both):
    """As many photographs of each patient, so that patients and images count alike; `both`: of both classes."""
    y, scores, ids = made(photographs=4, both=both, patients=200)
    theta, covariance = covariance_after_obuchowski(y, scores.reshape(8, -1), ids)
    _, gain = auroc.gain(y, scores, ids)
    assert gain.se == pytest.approx(standard_error(covariance, theta, 4), rel=1e-6 if not both else 0.01)


def test_a_repeated_photograph_changes_nothing():
    y, scores, ids = made(40)
    again = np.r_[np.arange(60), np.arange(0, 60, 4)]
    (one, first), (two, second) = auroc.gain(y, scores, ids), auroc.gain(y[again], scores[:, :, again], ids[again])
    assert one == pytest.approx(two) and np.allclose(first[:7], second[:7])


def test_size_with_several_photographs():
    """400 nulls at four photographs per patient: with images as cases, one in five was rejected."""
    tests = [auroc.gain(*made(1000 + seed, 60, 4, 5))[1] for seed in range(400)]
    assert 0.02 <= np.mean([test.p <= 0.05 for test in tests]) <= 0.08


def test_refused():
    y, scores, ids = made()
    with pytest.raises(ValueError, match="do not fit"):
        auroc.gain(y, scores, ids[:-1])
    with pytest.raises(ValueError, match="images of both"):
        auroc.gain(np.ones(60), scores, ids)
