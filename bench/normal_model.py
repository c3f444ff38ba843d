"""Simulated studies from the model that the primary test is made for: latent normal effects of images and runs.

An answer is right where a latent value is above 0: mean of the arm + image + run + arm × image + arm × run + arm × run
× group effects and unit noise, all normal. Runs share their effects over all images, images (or their clusters) over
all runs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from skinsyn.stats.clusters import influence

SD = (1.0, 0.3, 0.3, 0.3, 0.0)  # image, run, arm × image, arm × run, arm × run × group
CELLS = 2**18  # answers made at once: they stay in the processor's cache

Test = tuple[list[np.ndarray], list[float]]  # tables and weights, as `mrmc.paired_gains` takes them


class Study(NamedTuple):
    """One design. contrasts: weights of the groups, one row per hypothesis; None tests the macro average over groups.

    kind: what is looked at, a key of `operating_characteristics.GOALS`.
    """

    kind: str
    images: int
    runs: int
    accuracy: float
    gain: float = 0.0  # aimed at, as a proportion; the truth follows from the latent means
    sd: tuple = SD
    groups: tuple | None = None  # one per image
    clusters: tuple | None = None  # one per image
    contrasts: tuple | None = ((1.0,),)
    correction: str = "holm"

    @property
    def described(self) -> dict[str, object]:
        """Columns that say what was simulated."""
        ids = np.arange(self.images) if self.clusters is None else np.asarray(self.clusters)
        groups = np.zeros(self.images, int) if self.groups is None else np.asarray(self.groups)
        fewest = min(len(set(ids[groups == name].tolist())) for name in set(groups.tolist()))
        made: dict[str, object] = {"model": "normal", "study": self.kind, "images": self.images}
        many = len(set(ids.tolist()))
        made |= {"clusters": many, "fewest": fewest, "photographs": round(self.images / many, 2)}
        return made | {"runs": self.runs, "accuracy": self.accuracy, "gain": 100 * self.gain}

    def simulate(self, rng: np.random.Generator, sets: int) -> Iterator[tuple[list[Test], list[float]]]:
        """Blocks of data sets: the tests of each hypothesis, and their truths."""
        truths = [0.0 if sum(weights) == 0 else self.gain for weights in self.contrasts or ((1.0,),)]
        block = max(1, CELLS // (self.runs * self.images))
        for start in range(0, sets, block):
            first, second = answers(rng, min(block, sets - start), self)
            yield tests_of(self, first.astype(float) - second), truths


def latent_mean(accuracy: float, sd: Sequence[float] = SD) -> float:
    """Mean of the latent value that gives this accuracy."""
    return float(norm.ppf(accuracy) * np.sqrt(1 + np.square(sd).sum()))


def answers(rng: np.random.Generator, sets: int, study: Study) -> np.ndarray:
    """(2 arms, sets, runs, images) of right answers; the first arm is better by the study's gain."""
    image, run, arm_image, arm_run, arm_run_group = study.sd
    index = np.arange(study.images) if study.clusters is None else np.unique(study.clusters, return_inverse=True)[1]
    groups = np.zeros(study.images, int) if study.groups is None else np.unique(study.groups, return_inverse=True)[1]
    many = index.max() + 1

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    means = [latent_mean(a, study.sd) for a in (study.accuracy + study.gain, study.accuracy)]
    shared = image * draw(sets, 1, many)[..., index] + run * draw(sets, study.runs, 1)
    made = np.empty((2, sets, study.runs, study.images), bool)
    for arm, mean in enumerate(means):
        latent = shared + (mean + arm_image * draw(sets, 1, many)[..., index] + arm_run * draw(sets, study.runs, 1))
        if arm_run_group:
            latent = latent + arm_run_group * draw(sets, study.runs, groups.max() + 1)[..., groups]
        made[arm] = latent + draw(sets, study.runs, study.images) > 0
    return made


def tests_of(study: Study, difference: np.ndarray) -> list[Test]:
    """Tables and weights of each hypothesis, from (sets, runs, images) differences."""
    groups = np.zeros(study.images, int) if study.groups is None else np.asarray(study.groups)
    names = list(dict.fromkeys(groups.tolist()))
    split = [difference[..., groups == name] for name in names] if len(names) > 1 else [difference]
    found = []
    for weights in study.contrasts or ((1 / len(names),) * len(names),):
        used = [(name, table, weight) for name, table, weight in zip(names, split, weights, strict=True) if weight]
        shares, values = [weight for *_, weight in used], [table for _, table, _ in used]
        if study.clusters is not None:
            ids = np.asarray(study.clusters)
            values, shares = influence(values, [ids[groups == name] for name, *_ in used], shares)
        found.append((values, shares))
    return found
