"""Distances between samples against plain formulas and an oracle library, and what they must do whatever the
numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from skinsyn.fidelity import distributions, floor


def samples(n=60, m=45, d=12, shift=0.3, seed=0):
    rng = np.random.default_rng(seed)
    x = np.abs(rng.standard_normal((n, d))) * rng.uniform(0.5, 2, d)
    y = np.abs(rng.standard_normal((m, d))) * rng.uniform(0.5, 2, d) + shift
    return x.astype(np.float32), y.astype(np.float32)


def test_kid_is_torchmetrics():
    """On the same embeddings, all of them in one subset."""
    kid = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics is for tests alone (requirements.txt)")
    import torch

    x, y = samples(50, 50)

    class Given(torch.nn.Module):
        num_features = x.shape[1]

        def forward(self, images):
            return images

    oracle = kid.KernelInceptionDistance(Given(), subsets=1, subset_size=50)
    oracle.update(torch.from_numpy(x), real=True)
    oracle.update(torch.from_numpy(y), real=False)
    assert distributions.kid(x, y).value == pytest.approx(float(oracle.compute()[0]), rel=1e-4)


def test_kid_is_its_formula_with_unequal_numbers():
    x, y = (part.astype(float) for part in samples())
    k = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3  # noqa: E731
    off = lambda a: (k(a, a).sum() - np.trace(k(a, a))) / (len(a) * (len(a) - 1))  # noqa: E731
    assert distributions.kid(x, y).value == pytest.approx(off(x) + off(y) - 2 * k(x, y).mean(), rel=1e-4)


def test_blocks_change_nothing(monkeypatch):
    x, y = samples()
    whole = distributions.kid(x, y, draws=50), distributions.rbf_mmd(x, y)
    monkeypatch.setattr(distributions, "BLOCK", 700)
    parts = distributions.kid(x, y, draws=50), distributions.rbf_mmd(x, y)
    assert parts[0].value == pytest.approx(whole[0].value, rel=1e-6) and parts[0].p == whole[0].p
    assert parts[1] == pytest.approx(whole[1], rel=1e-6)


def test_rbf_mmd_is_its_formula_and_named_after_its_embeddings():
    x, y = samples()
    a, b = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x.astype(float), y.astype(float)))
    k = lambda a, b: np.exp(-cdist(a, b, "sqeuclidean") / 200).mean()  # noqa: E731
    assert distributions.rbf_mmd(x, y) == pytest.approx(1000 * (k(a, a) + k(b, b) - 2 * k(a, b)), abs=1e-4)
    assert floor.rbf_name("vit_base_patch16_clip_224.openai") == "CMMD" and floor.rbf_name("resnet50") == "RBF-MMD"


def test_prdc_is_its_definition():
    x, y = samples(40, 30, d=3)
    k, within = 4, cdist(x, y)
    reach = [np.sort(cdist(part, part), axis=1)[:, k] for part in (x, y)]
    expected = (
        np.mean([(within[:, j] < reach[0]).any() for j in range(30)]),
        np.mean([(within[i] < reach[1]).any() for i in range(40)]),
        sum((within[:, j] < reach[0]).sum() for j in range(30)) / (k * 30),
        np.mean([within[i].min() < reach[0][i] for i in range(40)]),
    )
    assert distributions.prdc(x, y, k) == pytest.approx(expected, abs=1e-4)
    assert 0 < min(expected) and expected[0] < 1


def test_vendi_counts_what_differs():
    """n orthogonal images count n; copies count once; and the n × n definition, where n is above d and below."""
    assert distributions.vendi(np.eye(7)) == pytest.approx(7)
    assert distributions.vendi(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(3)
    for n in (6, 40):
        x = samples(n)[0].astype(float)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        values = np.linalg.eigvalsh(unit @ unit.T / n)
        values = values[values > 1e-12]
        assert distributions.vendi(x) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-6)


def rooted(covariance):
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


@pytest.mark.parametrize("n", [60, 8])
def test_frechet_is_its_formula(n):
    """Also where covariances are singular, which the plain root of their product bears badly."""
    x, y = (part.astype(float) for part in samples(n, n, d=5 if n == 60 else 12))
    first, second = np.cov(x.T), np.cov(y.T)
    root = rooted(first) @ rooted(second)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second)
    expected -= 2 * np.linalg.svd(root, compute_uv=False).sum()
    assert distributions.frechet(x, y) == pytest.approx(expected, abs=1e-4)


def test_equal_samples_are_at_no_distance():
    x, _ = samples()
    assert distributions.rbf_mmd(x, x) == pytest.approx(0, abs=1e-6)
    assert distributions.frechet(x, x) == pytest.approx(0, abs=1e-6)
    same = distributions.prdc(x, x)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    # The unbiased estimate leaves out pairs of a row with itself on two sides of three: it falls below zero by just
    # those.
    k = (x.astype(float) @ x.T / x.shape[1] + 1) ** 3
    off = (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))
    assert distributions.kid(x, x).value == pytest.approx(2 * (off - k.mean()), abs=1e-4) and off < k.mean()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(7, 40), st.integers(7, 40), st.integers(2, 20))
def test_distances_grow_with_a_planted_shift_and_have_no_sides(seed, n, m, d):
    x, y = samples(n, m, d, 0.0, seed)
    near, far = (y + np.float32(shift) for shift in (1.0, 4.0))
    for distance in (distributions.frechet, lambda a, b: distributions.kid(a, b).value):
        assert distance(x, near) < distance(x, far)
        assert distance(x, far) == pytest.approx(distance(far, x), rel=1e-4)
    there, back = distributions.prdc(x, near), distributions.prdc(near, x)
    assert (there.precision, there.recall) == pytest.approx((back.recall, back.precision))
    assert all(0 <= value <= 1 for value in (there.precision, there.recall, there.coverage)) and there.density >= 0
    assert 1 - 1e-6 <= distributions.vendi(x) <= n + 1e-6


def test_the_size_and_the_power_of_the_permutation_test():
    null = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        null.append(distributions.kid(rng.standard_normal((12, 4)), rng.standard_normal((9, 4)), 99, seed).p)
    assert 0.02 <= np.mean(np.array(null) <= 0.05) <= 0.09
    x, y = samples(shift=2.0)
    assert distributions.kid(x, y, draws=199).p == 1 / 200


def test_nearest_finds_a_planted_copy():
    x, y = samples(40, 30)
    y[7] = 3 * x[11]  # cosine: length does not matter
    similarity, place = distributions.nearest(y, x, k=2)
    assert place[7, 0] == 11 and similarity[7, 0] == pytest.approx(1, abs=1e-6)
    assert np.allclose(similarity[:, 0], 1 - cdist(y, x, "cosine").min(1), atol=1e-5)
    assert (similarity[:, 0] >= similarity[:, 1]).all()


def test_refusals():
    x, y = samples()
    with pytest.raises(ValueError, match=r"\(60, 12\) and \(45, 11\)"):
        distributions.kid(x, y[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        distributions.frechet(x, np.where(y > 3, np.nan, y))
    with pytest.raises(ValueError, match="at least 6"):
        distributions.prdc(x[:5], y)
