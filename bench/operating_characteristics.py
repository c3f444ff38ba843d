"""Type I error, coverage and power of the primary test: simulated studies with known truth, tested by `stats.mrmc`.

An answer is right where a latent value is above 0: mean of the arm + image + run + arm × image + arm × run + arm × run
× group effects and unit noise, all normal. Runs share their effects over all images, images (or their clusters) over
all runs.
"""

import gc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from skinsyn.stats import families, mrmc, power
from skinsyn.stats.clusters import influence
from skinsyn.stats.predictions import GROUPS

SD = (1.0, 0.3, 0.3, 0.3, 0.0)  # image, run, arm × image, arm × run, arm × run × group
GOALS = {  # from to, of the share of data sets rejected; of coverage; distance of the power from its prediction
    "size": (0.03, 0.07),
    "coverage and power": (0.93, 0.97),
    "coverage towards the ceiling": (0.93, 0.97),
    "no variance between images": (0.0, 0.07),
    "ceiling accuracy": (0.0, 0.07),
    "unequal clusters": (0.0, 0.07),
    "familywise, F1 malignancy by group": (0.0, 0.06),
    "familywise, F2 conditions by group": (0.0, 0.06),
    "familywise, F3 differences between groups": (0.0, 0.06),
}
POWER = 0.05
CELLS = 2**18  # answers made at once: they stay in the processor's cache


class Study(NamedTuple):
    """One design. contrasts: weights of the groups, one row per hypothesis; None tests the macro average over groups.

    kind: what is looked at, a key of GOALS.
    """

    kind: str
    images: int
    runs: int
    accuracy: float
    gain: float = 0.0  # aimed at, as a proportion; the truth follows from the latent means
    sd: tuple = SD
    groups: tuple | None = None  # one per image
    clusters: tuple | None = None  # one per image
    contrasts: tuple = ((1.0,),)


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


def tables_of(study: Study, difference: np.ndarray) -> list[tuple[list[np.ndarray], list[float]]]:
    """For each hypothesis (tables, weights), as `mrmc.paired_gain` takes them, from (sets, runs, images)
    differences."""
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


def run(study: Study, sets: int, seed: int, level: float = 0.95) -> tuple[list[mrmc.Gains], power.Components | None]:
    """(`Gains` of all data sets for each hypothesis; where there is a gain, pooled variance components of the
    first)."""
    rng, parts, pooled = np.random.default_rng(seed), [], []
    block = max(1, CELLS // (study.runs * study.images))
    for start in range(0, sets, block):
        first, second = answers(rng, min(block, sets - start), study)
        made = tables_of(study, first.astype(float) - second)
        parts.append([mrmc.paired_gains(tables, weights, level) for tables, weights in made])
        if study.gain:
            pooled.append(power.components(*made[0]))
    gains = [mrmc.Gains(*(np.concatenate(part) for part in zip(*one, strict=True))) for one in zip(*parts, strict=True)]
    if not pooled:
        return gains, None
    return gains, power.pooled(pooled)


def row(study: Study, sets: int, seed: int, level: float = 0.95) -> dict:
    """One line of the benchmark: what a design's tests did, beside what they should do.

    rejected: share of data sets with a hypothesis rejected after Holm (a familywise error where nothing is there).
    covered: share of intervals, of those that exist, that hold the truth. predicted: `power.power` from the components.
    met: rejected (or covered; and in "coverage and power" the power within POWER of its prediction) lies within the
    goal.
    """
    gains, pooled = run(study, sets, seed, level)
    p = np.column_stack([gain.p for gain in gains])
    several = p.shape[1] > 1
    candidates = p[(p <= 1 - level).any(1)]  # no correction rejects where no raw p would
    gc.freeze()  # multipletests collects garbage at every call; what lives already need not be looked through again
    adjusted = [families.adjust(one, "holm") for one in candidates] if several else candidates
    gc.unfreeze()
    rejected = sum(bool((np.asarray(one) <= 1 - level).any()) for one in adjusted) / sets
    tested, truth = np.isfinite(p), [0.0 if sum(w) == 0 else study.gain for w in study.contrasts or ((1.0,),)]
    inside = [(gain.low <= true) & (true <= gain.high) for gain, true in zip(gains, truth, strict=True)]
    covered = float(np.column_stack(inside)[tested].mean())
    clusters = study.images if study.clusters is None else len(set(study.clusters))
    predicted = float(power.power(pooled, study.gain, level=level)) if study.gain and not several else np.nan
    low, high = GOALS[study.kind]
    met = low <= (covered if study.kind.startswith("coverage") else rejected) <= high
    met = met and not (study.kind == "coverage and power" and abs(rejected - predicted) > POWER)
    made = {"study": study.kind, "images": study.images, "clusters": clusters, "runs": study.runs}
    made |= {"accuracy": study.accuracy, "gain": 100 * study.gain, "hypotheses": p.shape[1], "sets": sets}
    made |= {"estimable": float(tested.mean()), "rejected": rejected, "covered": covered, "predicted": predicted}
    return made | {"goal_low": low, "goal_high": high, "met": met}


def studies(images: Sequence[int], runs: Sequence[int], accuracies: Sequence[float]) -> list[Study]:
    """All designs of the benchmark: the primary test over images × runs × accuracies, its edges, and the families.

    Towards the ceiling (90 against 95 %) and with three runs nothing is promised: those lines stand for what they show.

    Groups of the families are unequal, 45 %, 35 % and 20 % of the images, and differ from run to run by themselves.
    """
    found = []
    for many in images:
        for r in runs:
            for accuracy in accuracies:
                found.append(Study("size", many, r, accuracy))
                found.append(
                    Study("coverage and power", many, r, min(accuracy, 0.8), 0.1)
                )  # the better arm at most 90 %
            found.append(Study("no variance between images", many, r, accuracies[0], sd=(0.0, 0.3, 0.0, 0.3, 0.0)))
            found.append(Study("ceiling accuracy", many, r, 0.98))
    one_each, against = tuple(map(tuple, np.eye(3))), ((-1.0, 1.0, 0.0), (-1.0, 0.0, 1.0))
    for r in runs:
        for average in (((1.0,),), None):  # every cluster the same; every class the same
            patients = np.repeat(np.arange(60), np.random.default_rng(9).integers(1, 7, 60))
            classes = (patients + np.random.default_rng(10).integers(0, 3, len(patients))) % 5
            groups = None if average else tuple(classes.tolist())
            sd = (0.5, 0.3, 0.2, 0.3, 0.0)
            found.append(
                Study("unequal clusters", len(patients), r, 0.6, 0.0, sd, groups, tuple(patients.tolist()), average)
            )
        for many in (min(images) * 3, max(images)):
            sizes = [round(0.45 * many), round(0.35 * many), many - round(0.45 * many) - round(0.35 * many)]
            groups = tuple(np.repeat(GROUPS[:3], sizes).tolist())
            settings = {"sd": (1.0, 0.3, 0.3, 0.3, 0.2), "groups": groups}
            names = [name for name in GOALS if name.startswith("familywise")]
            found.append(Study(names[0], many, r, 0.8, **settings, contrasts=one_each))
            found.append(Study(names[1], many, r, 0.5, **settings, contrasts=one_each))
            found += [Study(names[2], many, r, 0.5, gain, **settings, contrasts=against) for gain in (0.0, 0.1)]
    return found + [Study("coverage towards the ceiling", many, r, 0.9, 0.05) for many in images for r in runs]
