"""Simulated answers by true skin type that no test assumes: beta difficulty, patients, run × skin type slopes."""

import functools

import numpy as np
from scipy.special import expit

GROUPS = ["I-II", "III-IV", "V-VI"]
GAIN, BASE = np.array([0.3, 0.6, 0.9]), np.array([1.0, 0.5, 0.0])  # logits by true group
OF_CONDITION = np.array([[0.5, 0.4, 0.1], [0.4, 0.4, 0.2], [0.3, 0.4, 0.3]])  # share of groups in three conditions
RECORDED = np.array([[0.92, 0.08, 0], [0.30, 0.58, 0.12], [0, 0.08, 0.92]])  # P(recorded | true)


def drawn(rng: np.random.Generator, kinds: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """One category for each, with the shares of its row."""
    return (rng.random(len(kinds))[:, None] > np.cumsum(shares, 1)[kinds]).sum(1).clip(max=shares.shape[1] - 1)


def gains(rng: np.random.Generator, runs: int, patients: int, per_patient: int = 2):
    """(runs, images) differences of two arms; true group, patient and condition of each image, as numbers."""
    patient = np.repeat(np.arange(patients), per_patient)
    condition = rng.integers(0, 3, patients)
    group = drawn(rng, condition, OF_CONDITION)
    easy = BASE[group] - (3 * rng.beta(2, 2, patients) - 1.5)
    control = expit(easy + rng.normal(0, 0.2, (runs, 1)))
    slope = rng.normal(0, 0.3, (runs, 3))
    luck = np.log(control / (1 - control))
    treatment = expit(luck + GAIN[group] + slope[:, group])
    right = [rng.random((runs, len(patient))) < p[:, patient] for p in (treatment, control)]
    return right[0].astype(float) - right[1], group[patient], patient, condition[patient]


@functools.cache
def truth(draws: int = 400_000) -> dict[str, float]:
    """Expected gain of each group and difference from the first, under `gains`."""
    rng, found = np.random.default_rng(5), []
    for gain, base in zip(GAIN, BASE, strict=True):
        logit = base - (3 * rng.beta(2, 2, draws) - 1.5) + rng.normal(0, 0.2, draws)
        found.append(float(np.mean(expit(logit + gain + rng.normal(0, 0.3, draws)) - expit(logit))))
    differences = {f"{name} minus I-II": one - found[0] for name, one in zip(GROUPS[1:], found[1:], strict=True)}
    return dict(zip(GROUPS, found, strict=True)) | differences
