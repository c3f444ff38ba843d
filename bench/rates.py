"""Type I error of AUROC's gain and of gaps, coverage of rates by group: simulated patients with several photographs.

Scores come from a model that no interval assumes: patients' difficulty is Beta, each run has a shift, a stretch and a
strength of its own, and photographs of one patient share most of what makes them difficult. The truth is that of many
runs and patients. `python -m bench.rates 200` adds designs that bench/rates.csv lacks.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from skinsyn.stats import auroc, fairness, metrics

FILE = Path(__file__).with_suffix(".csv")
THRESHOLD = 0.45
DESIGNS = [(patients, photographs, runs) for photographs in (4, 2, 1) for runs in (5, 10) for patients in (60, 120)]


def scores(
    rng: np.random.Generator, patients: int, photographs: int, runs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y (images,), scores (2 arms, runs, images), patient of each image); the arms do not differ."""
    ids, y = np.repeat(np.arange(patients), photographs), (rng.random(patients) < 0.4).astype(int)
    difficulty = 4 * rng.beta(2, 1.3, patients) - 2.4
    shift, strength = rng.normal(-0.3, 0.25, (2, runs, 1)), 1.6 + rng.normal(0, 0.5, (2, runs, 1))
    stretch = np.exp(rng.normal(0, 0.15, (2, runs, 1)))
    own = rng.normal(0, 0.7, (2, runs, patients)) + rng.normal(0, 0.6, (2, 1, patients))
    seen = (strength * (y - 0.5) + difficulty + own)[:, :, ids] + rng.normal(0, 0.3, (2, runs, len(ids)))
    return y[ids], expit(1.1 * (shift + stretch * (seen + rng.normal(0, 0.3, len(ids))))), ids


def truth(seed: int = 5, samples: int = 60) -> dict[str, float]:
    """Each metric over many runs and patients; PPV as a ratio of sums."""
    rng, found, hits, calls = np.random.default_rng(seed), [], 0.0, 0.0
    for _ in range(samples):
        y, s, ids = scores(rng, 4000, 1, 4)
        values = metrics.linearised(y, s.reshape(8, -1), np.full(8, THRESHOLD), ids.astype(str))
        found.append([sum(part.mean() for part in values[name]) for name in metrics.METRICS])
        hits, calls = hits + ((s >= THRESHOLD) * y).sum(), calls + (s >= THRESHOLD).sum()
    return dict(zip(metrics.METRICS, np.mean(found, axis=0), strict=True)) | {"ppv": hits / calls}


def rates(right: dict[str, float], patients: int, photographs: int, runs: int, sets: int) -> dict[str, float]:
    """Size of AUROC's gain; coverage of each metric (its name) and of its change between arms (`change of …`)."""
    rows = []
    for number in range(sets):
        y, s, ids = scores(
            np.random.default_rng([1000 + number, patients, photographs, runs]), patients, photographs, runs
        )
        cut, one = np.full((2, runs), THRESHOLD), np.full(len(y), "all")
        table = metrics.by_group(y, s, cut, one, ids).set_index(["arm", "metric"])
        inside = {}
        for metric in metrics.METRICS:
            for arm, name, value in (("with", metric, right[metric]), ("change", f"change of {metric}", 0.0)):
                row = table.loc[(arm, metric)]
                inside[name] = np.nan if np.isnan(row["low"]) else float(row["low"] <= value <= row["high"])
        rows.append(inside | {"AUROC's gain rejected": float(auroc.gain(y, s, ids)[1].p <= 0.05)})
    return pd.DataFrame(rows).mean().to_dict()


def gap(photographs: int, runs: int, sets: int, draws: int = 500, patients: int = 90) -> float:
    """Size of `fairness.gap_null`, three groups of unequal sizes and mixes of two conditions, no difference within."""
    rejected = 0
    for number in range(sets):
        rng = np.random.default_rng([1000 + number, photographs, runs])
        group, ids = rng.choice(3, patients, p=[0.5, 0.3, 0.2]), np.repeat(np.arange(patients), photographs)
        hard = rng.random(patients) >= np.array([0.3, 0.5, 0.7])[group]
        chance = np.where(hard, rng.beta(1.2, 1.2, patients), rng.beta(3, 1, patients)).clip(1e-6, 1 - 1e-6)
        latent = np.log(chance / (1 - chance)) + rng.normal(0, 0.3, (runs, 1)) + rng.normal(0, 0.4, (runs, patients))
        correct = (rng.random((runs, len(ids))) < expit(latent)[:, ids]).astype(float)
        rejected += fairness.gap_null(correct, group[ids], ids, hard[ids], draws, number).p <= 0.05
    return rejected / sets


def main(sets: int) -> None:
    """Add the designs that the file lacks, one after the other."""
    right = truth()
    for patients, photographs, runs in DESIGNS:
        done = pd.read_csv(FILE) if FILE.exists() else pd.DataFrame(columns=["patients", "photographs", "runs"])
        if (done[["patients", "photographs", "runs"]] == [patients, photographs, runs]).all(axis=1).any():
            continue
        row = {"patients": patients, "photographs": photographs, "runs": runs, "sets": sets}
        row |= rates(right, patients, photographs, runs, sets)
        if patients == 120:
            row["gap rejected (90 patients)"] = gap(photographs, runs, sets)
        pd.concat([done, pd.DataFrame([row])]).round(3).to_csv(FILE, index=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
