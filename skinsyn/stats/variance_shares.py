"""What makes accuracy vary, in shares: generator, real subset, seed and test images (Bouthillier et al. 2021).

One trained classifier, asked for one sample of test images, is the unit. Its accuracy varies because its generator, its
real images, its initial weights and the test images might have been others; a crossed layout (generators × subsets ×
seeds) tells these apart. Runs that each have a generator, a subset and a seed of their own tell only their sum, and
where runs share their generators that source is not in the sum at all: it is then not separable, and said to be so.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from .clusters import NOT_ESTIMABLE, cluster_means

__all__ = ["Layout", "layout_of", "of_runs", "shares"]

DRAWS = 4000
IMAGES = "images"
COLUMNS = ["part", "levels", "variance", "share", "low", "high", "flags"]
WHOLE = "generator, subset and seed"


class Layout(NamedTuple):
    """Factors of a balanced design with their numbers of levels, and its terms: sets of factors, nested ones with
    those they are nested in. `order` sorts the models so that their answers take the shape of the levels."""

    factors: tuple[str, ...]
    levels: tuple[int, ...]
    terms: dict[str, tuple[str, ...]]
    order: np.ndarray
    flags: str


def layout_of(models: pd.DataFrame) -> Layout:
    """The layout of trained models: which sources it separates.

    models: one row per model, columns generator, subset, seed. Crossed (every generator with every subset, two of each
    or more, the same number of seeds, two or more, in each combination): all are separate; a seed is nested in its
    combination. One subset per generator with several seeds: generator and subset together, and seed. One seed: the sum
    of all. Raises ValueError where a design is unbalanced, or a column is missing.

    >>> rows = [(g, s, k) for g in "ab" for s in "xy" for k in (0, 1)]
    >>> list(layout_of(pd.DataFrame(rows, columns=["generator", "subset", "seed"])).terms)
    ['generator', 'subset', 'generator × subset', 'seed']
    """
    if missing := {"generator", "subset", "seed"} - set(models.columns):
        raise ValueError(f"models need columns generator, subset, seed; missing: {', '.join(sorted(missing))}")
    order = np.lexsort([models[name].astype(str) for name in ("seed", "subset", "generator")])
    cells = models.groupby(["generator", "subset"], sort=True).size()
    sizes = set(cells)
    if len(sizes) > 1:
        raise ValueError(f"unbalanced: between {min(sizes)} and {max(sizes)} seeds per generator and subset")
    seeds, generators, subsets = sizes.pop(), models["generator"].nunique(), models["subset"].nunique()
    if min(generators, subsets, seeds) > 1 and len(cells) == generators * subsets:
        factors, levels = ("generator", "subset", "seed"), (generators, subsets, seeds)
        terms = {"generator": factors[:1], "subset": factors[1:2], "generator × subset": factors[:2], "seed": factors}
        return Layout(factors, levels, terms, order, "")
    if seeds > 1 and len(cells) > 1:
        what = _several(generators, subsets)
        return Layout((what, "seed"), (len(cells), seeds), {what: (what,), "seed": (what, "seed")}, order, _apart(what))
    what = _several(generators, subsets, "seed") if len(cells) > 1 else "seed"
    return Layout((what,), (len(models),), {what: (what,)}, order, _apart(what))


def shares(
    answers: npt.ArrayLike, cluster_ids: npt.ArrayLike, models: pd.DataFrame, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Random-effects ANOVA (Searle, Casella and McCulloch 1992, ch. 4): shares of the variance of one model's accuracy.

    answers: (models, images), 1 where right, or differences of two arms; cluster_ids: one per image; models: as for
    `layout_of`. Test images are crossed with all else; their share holds every term with images in it, by the number of
    clusters, each of which counts the same. Components are solved from the mean squares and cut at 0; intervals are
    generalised ones (Weerahandi 1993), from the chi-squared distributions of the mean squares: with three levels of a
    source they are wide, and simulated they cover .90 to .98 at a nominal .95.
    Returns part, levels, variance (squared points), share, low, high (of the share), flags. Fewer than two models or
    clusters are not estimable. Raises ValueError where shapes do not fit.

    >>> models = pd.DataFrame({"generator": 0, "subset": [0, 1, 2], "seed": 0})
    >>> shares([[1, 0, 1], [0, 0, 1], [1, 1, 1]], list("abc"), models)["part"].tolist()
    ['subset and seed', 'images']
    """
    values = np.asarray(answers, float)
    if values.ndim != 2 or len(values) != len(models):
        raise ValueError(f"expected (models, images) answers of {len(models)} models, got shape {values.shape}")
    design = layout_of(models)
    means = cluster_means(values, cluster_ids, "clusters", 0).means[design.order]
    clusters = means.shape[1]
    if len(models) < 2 or clusters < 2:
        what = "model" if len(models) < 2 else "cluster"
        row = {"part": WHOLE, "levels": len(models), "flags": f"{NOT_ESTIMABLE}: one {what} only"}
        return pd.DataFrame([row]).reindex(columns=COLUMNS)
    factors, levels = (*design.factors, IMAGES), (*design.levels, clusters)
    terms = [*design.terms.values(), (IMAGES,), *[(*term, IMAGES) for term in design.terms.values()]]
    square, df, expected = _mean_squares(means.reshape(levels), factors, terms)
    sizes = [int(np.prod([levels[factors.index(name)] for name in term])) for term in design.terms.values()]
    table = pd.DataFrame({"part": [*design.terms, IMAGES], "levels": [*sizes, clusters], "flags": design.flags})
    if not square.any():
        return table.assign(flags=f"{NOT_ESTIMABLE}: every answer is the same").reindex(columns=COLUMNS)
    solve = np.linalg.inv(expected)
    found = _parts(square @ solve.T, len(design.terms), clusters)
    rng = np.random.default_rng(seed)
    drawn = _parts(square * df / rng.chisquare(df, (DRAWS, len(df))) @ solve.T, len(design.terms), clusters)
    spread = drawn / drawn.sum(1, keepdims=True)
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return table.assign(variance=1e4 * found, share=found / found.sum(), low=low, high=high)[COLUMNS]


def of_runs(
    answers: npt.ArrayLike, cluster_ids: npt.ArrayLike, shared_generators: bool, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """`shares` of one arm's runs, (runs, images), each with real images and a seed of its own.

    Generators of each run's own are a part of the variance between runs; those that runs share are in no part, which
    the flag says.

    >>> of_runs([[1, 0, 1], [0, 0, 1]], list("abc"), True)["flags"].iloc[0]
    'not separable: subset and seed; not varied: generator'
    """
    runs = np.arange(len(np.asarray(answers)))
    models = pd.DataFrame({"generator": 0 if shared_generators else runs, "subset": runs, "seed": runs})
    return shares(answers, cluster_ids, models, level, seed)


def _several(generators: int, subsets: int, *more: str) -> str:
    """What varies together."""
    parts = ["generator"] * (generators > 1) + ["subset"] * (subsets > 1) + list(more)
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _apart(what: str) -> str:
    """Which sources the layout does not separate, and which it does not vary."""
    names = ("generator", "subset", "seed")
    joined, held = [name for name in names if name in what], [name for name in names[:2] if name not in what]
    text = [f"not separable: {what}"] * (len(joined) > 1) + [f"not varied: {', '.join(held)}"] * bool(held)
    return "; ".join(text)


def _mean_squares(
    cube: np.ndarray, factors: Sequence[str], terms: Sequence[Sequence[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares and degrees of freedom of the terms of a balanced design; E(MS) as a matrix of the components."""
    levels = dict(zip(factors, cube.shape, strict=True))
    effects: dict[frozenset, np.ndarray] = {frozenset(): cube.mean(keepdims=True)}
    freedom: dict[frozenset, int] = {frozenset(): 1}
    square = []
    sets = [frozenset(term) for term in terms]
    for term in sorted(sets, key=len):
        averaged = cube.mean(axis=tuple(i for i, name in enumerate(factors) if name not in term), keepdims=True)
        within = [other for other in effects if other < term]
        effects[term] = averaged - sum(effects[other] for other in within)
        freedom[term] = int(np.prod([levels[name] for name in term])) - sum(freedom[other] for other in within)
    for term in sets:
        square.append((effects[term] ** 2).sum() * cube.size / effects[term].size / freedom[term])
    expected = np.zeros((len(sets), len(sets)))
    for (i, term), (j, other) in itertools.product(enumerate(sets), repeat=2):
        if term <= other:
            expected[i, j] = cube.size / np.prod([levels[name] for name in other])
    return np.array(square), np.array([freedom[term] for term in sets]), expected


def _parts(components: np.ndarray, several: int, clusters: int) -> np.ndarray:
    """(..., parts) variances of one model's accuracy: the terms without images, and all that images add."""
    rounding = 1e-12 * np.abs(components).max(-1, keepdims=True)
    kept = np.where(components > rounding, components, 0.0)
    return np.concatenate([kept[..., :several], kept[..., several:].sum(-1, keepdims=True) / clusters], axis=-1)
