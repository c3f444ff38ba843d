"""The designs of `operating_characteristics`: which studies are simulated."""

from collections.abc import Sequence

import numpy as np

from skinsyn.stats import mrmc
from skinsyn.stats.predictions import GROUPS

from .beta_model import Cell, Effects, Trial
from .normal_model import Study

EACH = {many: tuple(map(tuple, np.eye(many).tolist())) for many in (3, 27)}  # every group a hypothesis
AGAINST = ((-1.0, 1.0, 0.0), (-1.0, 0.0, 1.0))  # F3
CONDITIONS = (0.3, 0.4, 0.5, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8)  # accuracies of the nine conditions
SIZES = ((10,) * 9, (13,) * 9, (40,) * 9, (9, 12, 15, 18, 21, 25, 30, 35, 40))  # clusters of F4's cells by condition
FAMILIES = {
    "familywise, F1 malignancy by group": (0.8, EACH[3]),
    "familywise, F2 conditions by group": (0.5, EACH[3]),
    "familywise, F3 differences between groups": (0.5, AGAINST),
}


def normal(images: Sequence[int], runs: Sequence[int], accuracies: Sequence[float]) -> list[Study]:
    """The primary test over images × runs × accuracies, its edges, unequal clusters, and the families.

    Towards the ceiling (90 against 95 %) nothing is promised: those lines stand for what they show. Groups of the
    families are unequal, 45 %, 35 % and 20 % of the images, and differ from run to run by themselves.
    """
    found = []
    for many in images:
        for r in runs:
            for accuracy in accuracies:
                found.append(Study("size", many, r, accuracy))
                found.append(Study("coverage and power", many, r, min(accuracy, 0.8), 0.1))  # at most 90 %
            found.append(Study("no variance between images", many, r, accuracies[0], sd=(0.0, 0.3, 0.0, 0.3, 0.0)))
            found.append(Study("ceiling accuracy", many, r, 0.98))
            found.append(Study("coverage towards the ceiling", many, r, 0.9, 0.05))
    for r in runs:
        for average in (((1.0,),), None):  # every cluster the same; every class the same
            found.append(_unequal(r, average))
        for many in (min(images) * 3, max(images)):
            sizes = [round(0.45 * many), round(0.35 * many), many - round(0.45 * many) - round(0.35 * many)]
            groups = tuple(np.repeat(GROUPS[:3], sizes).tolist())
            for kind, (accuracy, contrasts) in FAMILIES.items():
                for gain in (0.0, 0.1) if contrasts is AGAINST else (0.0,):
                    sd = (1.0, 0.3, 0.3, 0.3, 0.2)
                    found.append(Study(kind, many, r, accuracy, gain, sd, groups, contrasts=contrasts))
    return found


def _unequal(runs: int, average: tuple | None) -> Study:
    """60 patients of 1-6 photographs in up to three of five classes."""
    patients = np.repeat(np.arange(60), np.random.default_rng(9).integers(1, 7, 60))
    classes = (patients + np.random.default_rng(10).integers(0, 3, len(patients))) % 5
    groups, sd = None if average else tuple(classes.tolist()), (0.5, 0.3, 0.2, 0.3, 0.0)
    return Study("unequal clusters", len(patients), runs, 0.6, 0.0, sd, groups, tuple(patients.tolist()), average)


def beta(clusters: Sequence[int], photographs: Sequence[int], runs: Sequence[int]) -> list[Trial]:
    """Single groups, macro averages and the families over clusters × photographs per patient × runs."""
    found = []
    for r in runs:
        for each in photographs:
            for many in clusters:
                for accuracy in (0.5, 0.8):
                    cells = (Cell(accuracy, many, 1.0),)
                    found += [Trial("size", cells, r, each, ((1.0,),))]
                    found += [Trial("coverage and power", cells, r, each, ((1.0,),), 0.1)]
            for sizes in ((40, 25, 12), (13, 13, 13), (40, 40, 40)):
                for kind, (accuracy, contrasts) in FAMILIES.items():
                    cells = tuple(Cell(accuracy, size, score) for size, score in zip(sizes, (-1, 0, 1), strict=True))
                    found += [Trial(kind, cells, r, each, contrasts)]
        for each in sorted({min(photographs), max(photographs)}):  # the rest lies between, and these take long
            for many in (min(clusters) + 1, max(clusters)):
                found += [Trial("size", _macro(many), r, each, (_mean(9),))]
                found += [Trial("coverage and power", _macro(many), r, each, (_mean(9),), 0.1)]
            for sizes in SIZES:
                kind = "familywise, F4 cells, Benjamini-Hochberg"
                found += [Trial(kind, _cells(sizes), r, each, EACH[27], correction="fdr_bh")]
    return found


def unlike(runs: Sequence[int]) -> list[Trial]:
    """F4 with effects of arm × run and slopes twice as large: beyond what is promised, for what it shows."""
    effects, kind = Effects(arm_run=0.4, slope=0.6), "familywise, F4 cells, runs twice as unlike"
    return [Trial(kind, _cells((40,) * 9), r, 4, EACH[27], effects=effects, correction="fdr_bh") for r in runs]


def every(
    images: Sequence[int],
    clusters: Sequence[int],
    photographs: Sequence[int],
    runs: Sequence[int],
    accuracies: Sequence[float],
) -> list[Study | Trial]:
    """All designs; few runs, whose tests are flagged, in the normal model only."""
    enough = [r for r in runs if r >= mrmc.ENOUGH_RUNS]
    return [*normal(images, runs, accuracies), *beta(clusters, photographs, enough), *shared(enough), *unlike(enough)]


def shared(runs: Sequence[int]) -> list[Trial]:
    """What all runs share: 9 × 40 patients, macro, a generator effect (sd .2 logit) or two thirds of the variance of
    arm × run; F3 with a generator × skin type slope. Each against the gain given it, and over new draws."""
    found = []
    training, generator, slope = Effects(shared=0.665), Effects(generator=0.2), Effects(generator_slope=0.2)
    three = tuple(Cell(0.5, 40, score) for score in (-1.0, 0.0, 1.0))
    for r in runs:
        for given, words in ((True, "given them"), (False, "over new ones")):
            for kind, effects in (("shared generators", generator), ("shared training images", training)):
                kind = f"{kind}, gain {words}"
                found.append(Trial(kind, _macro(40), r, 1, (_mean(9),), effects=effects, given=given))
            kind = f"shared generators, F3 {words}"
            found.append(Trial(kind, three, r, 1, AGAINST, effects=slope, given=given))
    return found


def subset(designs: Sequence[Study | Trial]) -> list[Study | Trial]:
    """A fixed part for a test of minutes: the least and the most of clusters, photographs and runs of each kind."""
    few, most = [], {"runs": (5, 20), "photographs": (1, 4), "fewest": (10, 40)}
    for design in designs:
        described = design.described
        if described["model"] == "normal":
            chosen = design.runs == 5 and (described["images"] <= 120 or described["photographs"] > 1)
        else:
            chosen = "unlike" in design.kind or "shared" in design.kind
            chosen = chosen or all(described[name] in ends for name, ends in most.items())
        few += [design] if chosen else []
    return few


def _macro(clusters: int) -> tuple[Cell, ...]:
    """Nine conditions, of one skin type."""
    return tuple(Cell(accuracy, clusters) for accuracy in CONDITIONS)


def _mean(many: int) -> tuple[float, ...]:
    return (1 / many,) * many


def _cells(sizes: Sequence[int]) -> tuple[Cell, ...]:
    """27 cells: nine conditions in three skin types, whose sizes are turned so that no condition is small in all."""
    turned = [np.roll(sizes, 3 * place) for place in range(3)]
    scored = zip(turned, (-1.0, 0.0, 1.0), strict=True)
    return tuple(Cell(a, int(n), score) for of, score in scored for a, n in zip(CONDITIONS, of, strict=True))
