"""Mean squares of runs × clusters tables, and what the primary test makes of them: variance and degrees of freedom.

With weights c_g and n_g clusters in group g, the estimate's variance is V/R, V = S^2 + sum of c_g^2 max(MSC_g - MSE_g,
0)/n_g. Satterthwaite (1946) gives V the degrees of freedom V^2 / (sum of (coefficient times mean square)^2 / its own),
here over S^2 (R - 1), and of every group whose difference is positive MSC_g (n_g - 1) and MSE_g ((R - 1)(n_g - 1)). The
approximation is made for sums, whose degrees of freedom never lie below the least of their parts'; a difference may, so
that bound, min(R - 1, n_g - 1), is set here (Gaylor and Hopper 1969 on when differences are safe).

The rule was chosen by simulation (seeds from 1000; `bench.beta_model`: difficulty beta-distributed, run × skin-type
slopes). Size: the least and the largest of 135 single groups of 9-40 clusters, 1-4 photographs per patient, 5-20 runs,
3,000 data sets each, and how many lie outside .03-.07. Familywise error: the largest of 24 families of 27 groups under
Benjamini-Hochberg, 2,000 each.

| denominator | size of single groups | outside .03-.07 | familywise |
|---|---|---|---|
| S^2 only (Hillis 2007) | .045-.076 | 13, above | .17 |
| all mean squares, no bound | .004-.058 | 38, below | .05 |
| S^2 and the truncated difference, n_g - 1 | .040-.067 | 0 | .10 |
| all but those of truncated groups | .018-.058 | 28, below | .05 |
| the same with the bound (kept) | .028-.058 | 5, below | .05 |

The five are cells of 9-13 clusters in five runs: answers are discrete there, the test errs on the safe side. With
effects of arm × run and slopes twice as large (sd .4 and .6 logit) one family exceeds .06, at .08 here and .07 in the
table of 09: 27 cells of 40 patients of four photographs in five runs, where S^2 of four degrees of freedom is nearly
all of V.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RULES = ("satterthwaite", "hillis")  # of the degrees of freedom
ZERO = 1e-24  # a variance of proportions this small is rounding, not variance


class Squares(NamedTuple):
    """The parts of one test, or of many of one design: leading axes of data sets everywhere but in `sizes` and `runs`.

    spread: S^2. cluster, residual: c_g^2 MSC_g/n_g and c_g^2 MSE_g/n_g, groups last. sizes: clusters of each group.
    identical: every run holds the same values, so that there is one distinct run.
    """

    estimate: np.ndarray
    spread: np.ndarray
    cluster: np.ndarray
    residual: np.ndarray
    sizes: np.ndarray
    runs: int
    identical: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Hillis 2007's E: what clusters add to the variance beyond the residual, never below 0 in a group."""
        return np.maximum(self.cluster - self.residual, 0.0).sum(-1)

    @property
    def total(self) -> np.ndarray:
        """V: S^2 and E; NaN where there is no variance, or one distinct run only."""
        total = self.spread + self.error
        return np.where((total < ZERO) | self.identical, np.nan, total)


def mean_squares(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two-way ANOVA of (..., runs, clusters) tables, at least two of each: mean squares MS(R), MS(C), MS(RC).

    >>> [float(ms) for ms in mean_squares(np.array([[0.0, 1.0], [1.0, 2.0]]))]
    [1.0, 1.0, 0.0]
    """
    runs, clusters = table.shape[-2:]
    rows, columns, grand = table.mean(-1), table.mean(-2), table.mean((-2, -1))
    residual = table - rows[..., :, None] - columns[..., None, :] + grand[..., None, None]
    return (
        clusters * ((rows - grand[..., None]) ** 2).sum(-1) / (runs - 1),
        runs * ((columns - grand[..., None]) ** 2).sum(-1) / (clusters - 1),
        np.einsum("...rk,...rk->...", residual, residual) / ((runs - 1) * (clusters - 1)),
    )


def squares(tables: Sequence[np.ndarray], weights: Sequence[float] | np.ndarray) -> Squares:
    """Hillis 2007, terms of F: the parts of a weighted sum over groups of (..., runs, clusters) tables.

    >>> parts = squares([np.array([[0.0, 1.0], [1.0, 2.0]])], [1.0])
    >>> float(parts.estimate), float(parts.spread), float(parts.error)
    (1.0, 0.5, 0.5)
    """
    pairs = list(zip(tables, weights, strict=True))
    pairs = [(table, weight) for table, weight in pairs if weight] or pairs
    tables, by_run = [table for table, _ in pairs], np.sum([weight * table.mean(-1) for table, weight in pairs], axis=0)
    sizes, shares = np.array([table.shape[-1] for table in tables]), np.square([weight for _, weight in pairs])
    found = [mean_squares(table) for table in tables]
    cluster, residual = (np.stack([ms[place] for ms in found], axis=-1) * shares / sizes for place in (1, 2))
    identical = np.all([(table == table[..., :1, :]).all((-2, -1)) for table in tables], axis=0)
    spread = by_run.var(-1, ddof=1)
    return Squares(by_run.mean(-1), spread, cluster, residual, sizes, by_run.shape[-1], identical)


def freedom(parts: Squares, rule: str = "satterthwaite") -> np.ndarray:
    """Satterthwaite 1946: degrees of freedom of V = S^2 + E, as the module says; NaN where there is no variance.

    rule: "hillis" puts S^2 alone into the denominator (Hillis 2007, ddf_H), for readers' data and published analyses;
    infinite where every run gives the same estimate. Raises ValueError on another rule.

    >>> one = np.ones(1)
    >>> parts = Squares(np.array(0.1), np.array(0.02), 0.04 * one, 0.02 * one, 9 * one, 5, np.array(False))
    >>> float(freedom(parts, "hillis")), round(float(freedom(parts)), 1)
    (16.0, 5.1)
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule for the degrees of freedom {rule!r}; known: {', '.join(RULES)}")
    total, own, others = parts.total, parts.runs - 1, parts.sizes - 1
    denominator = parts.spread**2 / own
    if rule == "hillis":
        infinite = parts.spread < ZERO
        df = np.where(infinite, np.inf, total**2 / np.where(infinite, 1.0, denominator))
        return np.where(np.isnan(total), np.nan, df)
    both = parts.cluster**2 / others + parts.residual**2 / (own * others)
    denominator = denominator + np.where(parts.cluster > parts.residual, both, 0.0).sum(-1)
    return np.maximum(total**2 / np.where(np.isnan(total), 1.0, denominator), min(own, others.min()))
