"""What the runs and images in hand could have found, and how many would be needed, from variance components.

The differences of two arms are runs × clusters: estimate = gain + run effect + cluster effect + residual. Their
variances are those of the two-way table (mean squares); other numbers of runs and clusters follow from them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from . import mrmc


class Components(NamedTuple):
    """Variances of a contrast; NaN with a flag where one run or one cluster leaves nothing to estimate them from."""

    run: float  # between runs, of the whole contrast
    cluster: np.ndarray  # between clusters, one a group
    residual: np.ndarray  # run × cluster, one a group
    sizes: np.ndarray  # clusters of each group
    weights: np.ndarray  # of each group in the contrast
    runs: int
    shapes: tuple[
        np.ndarray, ...
    ] = ()  # cluster means of each group, of mean 0 and variance 1: few clusters are not normal
    flags: tuple[str, ...] = ()

    @property
    def estimable(self) -> bool:
        """True where there are variances to plan with."""
        return bool(np.isfinite(self.run))


def components(differences: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> Components:
    """Searle, Casella and McCulloch 1992, sec. 4.3: variance components from the tables that `mrmc.paired_gain` takes.

    differences: (runs, clusters) a group, or (sets, runs, clusters), whose mean squares are averaged. A negative
    estimate is set to 0 and flagged (expected mean squares of the two-way random-effects table).

    >>> found = components(np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    >>> found.runs, found.sizes.tolist()
    (2, [3])
    """
    tables = [np.asarray(t, float) for t in ([differences] if isinstance(differences, np.ndarray) else differences)]
    weights = np.full(len(tables), 1 / len(tables)) if weights is None else np.asarray(weights, float)
    runs, sizes = tables[0].shape[-2], np.array([t.shape[-1] for t in tables])
    mrmc.check_tables([t.reshape(-1, t.shape[-1]) for t in tables], weights)
    if runs < 2 or sizes.min() < 2:
        nothing, what = np.full(len(tables), np.nan), "one run only" if runs < 2 else "one cluster only in a group"
        return Components(np.nan, nothing, nothing, sizes, weights, runs, (), (f"{mrmc.NOT_ESTIMABLE}: {what}",))
    squares = [[np.mean(part) for part in mrmc.mean_squares(table)] for table in tables]
    residual = np.array([part[2] for part in squares])
    cluster = (np.array([part[1] for part in squares]) - residual) / runs
    by_run = sum(weight * table.mean(-1) for weight, table in zip(weights, tables, strict=True))
    spread = float(np.mean(by_run.var(-1, ddof=1)))
    run = spread - float((weights**2 * residual / sizes).sum())
    flags = [
        f"no variance between {name} found" for name, value in (("runs", run), ("clusters", cluster.min())) if value < 0
    ]
    shapes = tuple(_shape(table) for table in tables)
    return Components(max(run, 0.0), np.maximum(cluster, 0.0), residual, sizes, weights, runs, shapes, tuple(flags))


def pooled(parts: Sequence[Components]) -> Components:
    """The mean of components of one design, e.g. of blocks of simulated studies.

    >>> part = components(np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    >>> pooled([part, part]).run == part.run
    True
    """
    run, cluster, residual = (
        np.mean([getattr(part, name) for part in parts], axis=0) for name in Components._fields[:3]
    )
    shapes = tuple(_thinned(np.concatenate(group)) for group in zip(*(part.shapes for part in parts), strict=True))
    return parts[0]._replace(run=float(run), cluster=cluster, residual=residual, shapes=shapes, flags=())


def _shape(table: np.ndarray) -> np.ndarray:
    """Cluster means of (..., runs, clusters), centred in each table and scaled to variance 1 together."""
    means = table.mean(-2)
    centred = (means - means.mean(-1, keepdims=True)).ravel()
    size = np.sqrt((centred**2).mean())
    return _thinned(centred / size) if size > 0 else np.zeros(1)


def _thinned(values: np.ndarray, most: int = 20_000) -> np.ndarray:
    """At most so many of the sorted values, evenly."""
    return np.sort(values)[:: max(1, -(-len(values) // most))]


def power(
    given: Components,
    gain: float | Sequence[float],
    runs: int | None = None,
    clusters: int | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> np.ndarray:
    """Share of new studies whose two-sided test finds a true gain [proportion]; an array where `gain` is a list.

    runs, clusters: of the new study; None takes those in hand, and groups keep their shares of the clusters. Estimate
    and mean squares are drawn from the components (normal, but for the clusters, whose means are resampled: a few hard
    images carry most of the spread, and then a large gain comes with a large standard error) and tested as
    `paired_gain` does.

    >>> given = components(np.random.default_rng(0).normal(0, 0.1, (5, 40)))
    >>> power(given, [0.0, 0.5], draws=200).round(1).tolist()
    [0.0, 1.0]
    """
    noise, critical = _draws(given, runs, clusters, level, draws, seed)
    if noise is None:
        return np.full(np.shape(gain), np.nan)
    return np.array([(np.abs(g + noise) > critical).mean() for g in np.ravel(gain)]).reshape(np.shape(gain))


def detectable_gain(
    given: Components,
    target: float = 0.8,
    runs: int | None = None,
    clusters: int | None = None,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """The least true gain [proportion] that a study of this size finds with probability `target`; NaN beyond 1.

    >>> given = components(np.random.default_rng(0).normal(0, 0.1, (5, 40)))
    >>> 0 < detectable_gain(given, draws=200) < 0.1
    True
    """
    if not 0 < target < 1:
        raise ValueError(f"target must lie between 0 and 1, got {target}")
    noise, critical = _draws(given, runs, clusters, level, draws, seed)
    if noise is None or (np.abs(1 + noise) > critical).mean() < target:
        return float("nan")
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if (np.abs(middle + noise) > critical).mean() >= target else (middle, high)
    return high


def needed(
    given: Components,
    gain: float,
    target: float = 0.8,
    level: float = 0.95,
    most_runs: int = 100,
    most_clusters: int = 100_000,
    draws: int = 10_000,
    seed: int = 0,
) -> dict[str, float]:
    """How many runs (with the clusters in hand), and how many clusters (with the runs in hand), find this gain.

    Returns runs and clusters; infinity where `most_runs` or `most_clusters` do not suffice: no number of runs replaces
    patients, nor the other way round. NaN where nothing is estimable.

    >>> given = components(np.random.default_rng(0).normal(0, 0.1, (5, 40)))
    >>> needed(given, 0.5, draws=200)
    {'runs': 2.0, 'clusters': 2.0}
    """
    if not given.estimable:
        return {"runs": float("nan"), "clusters": float("nan")}

    def reached(**size: int) -> bool:
        return float(power(given, gain, level=level, draws=draws, seed=seed, **size)) >= target

    return {
        "runs": _least(lambda n: reached(runs=n), 2, most_runs),
        "clusters": _least(lambda n: reached(clusters=n), 2 * len(given.sizes), most_clusters),
    }


def plan(
    given: Components,
    gain: float,
    runs: Sequence[int],
    factors: Sequence[float] = (0.5, 1, 2, 4),
    target: float = 0.8,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Power at `gain` and the least detectable gain [points] for runs × multiples of the clusters in hand.

    Columns: runs, clusters, gain, power, detectable, in_hand.

    >>> given = components(np.random.default_rng(0).normal(0, 0.1, (5, 40)))
    >>> len(plan(given, 0.05, runs=[5, 10], factors=(1, 2), draws=200))
    4
    """
    rows, hand = [], int(given.sizes.sum())
    for many in runs:
        for factor in factors:
            size = {"runs": int(many), "clusters": max(2 * len(given.sizes), round(factor * hand))}
            options = {"level": level, "draws": draws, "seed": seed}
            row = {**size, "gain": 100 * gain, "power": float(power(given, gain, **size, **options))}
            row["detectable"] = 100 * detectable_gain(given, target, **size, **options)
            rows.append(row | {"in_hand": many == given.runs and factor == 1})
    return pd.DataFrame(rows)


def summary(given: Components) -> Mapping[str, float]:
    """Standard deviations in points: between runs, and (for the whole contrast) between clusters and residual.

    >>> sorted(summary(components(np.random.default_rng(0).normal(0, 0.1, (5, 40)))))
    ['cluster', 'residual', 'run']
    """
    total = given.sizes.sum()
    parts = {"cluster": given.cluster, "residual": given.residual}
    found = {
        name: float(np.sqrt((given.weights**2 * value / given.sizes).sum() * total)) for name, value in parts.items()
    }
    return {name: 100 * value for name, value in {"run": float(np.sqrt(given.run)), **found}.items()}


def _cluster_moments(shape: np.ndarray | None, many: int, draws: int, rng: np.random.Generator) -> tuple:
    """(mean, variance) of `many` cluster means of variance 1, resampled from their shape; normal if many."""
    if shape is None or many > 400:
        return rng.standard_normal(draws) / np.sqrt(many), rng.chisquare(many - 1, draws) / (many - 1)
    drawn = shape[rng.integers(0, len(shape), (draws, many))]
    return drawn.mean(1), drawn.var(1, ddof=1)


def _least(reached, low: int, high: int) -> float:
    """The least whole number for which `reached` is true, which it stays; infinity where it is not at `high`."""
    if not reached(high):
        return float("inf")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return float(high)


def _draws(given: Components, runs, clusters, level, draws, seed) -> tuple:
    """(estimate minus gain, critical value) of many studies; (None, None) where nothing is estimable."""
    if not given.estimable:
        return None, None
    runs = given.runs if runs is None else int(runs)
    share = 1.0 if clusters is None else clusters / given.sizes.sum()
    sizes = np.maximum(2, np.rint(given.sizes * share))
    if runs < 2:
        raise ValueError(f"power needs two runs, got {runs}")
    rng, w2 = np.random.default_rng(seed), given.weights**2
    spread = given.run + float((w2 * given.residual / sizes).sum())
    noise = np.sqrt(given.run / runs) * rng.standard_normal(draws)
    between, drawn = given.residual + runs * given.cluster, np.zeros(draws)
    for group, many in enumerate(sizes.astype(int)):
        mean, variance = _cluster_moments(given.shapes[group] if given.shapes else None, many, draws, rng)
        noise += given.weights[group] * np.sqrt(between[group] / runs) * mean
        residual_ms = given.residual[group] * rng.chisquare((runs - 1) * (many - 1), draws) / ((runs - 1) * (many - 1))
        drawn += w2[group] * np.maximum(between[group] * variance - residual_ms, 0.0) / many
    spreads = spread * rng.chisquare(runs - 1, draws) / (runs - 1)
    se, df, *_ = mrmc.student(noise, spreads, drawn, runs, level)
    return noise, stats.t.ppf(0.5 + level / 2, df) * se
