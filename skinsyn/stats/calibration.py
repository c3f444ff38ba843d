"""Calibration of predicted probabilities: in the large, its slope, and the reliability diagram.

Binned calibration errors are not reported: above zero by construction, they have no interval that covers (Kumar, Liang
and Ma 2019), and depend on the bins.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import statsmodels.api as sm
from scipy.special import logit

EXTREME = 1e-6  # probabilities nearer to 0 or 1 enter the slope as this far from it: a logit of 13.8


def in_the_large(y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Van Calster et al. 2019, mean calibration: (runs, images) outcome minus probability, whose mean is 0 if right.

    y: (images,) of 0 and 1; scores: (runs, images). Above zero, probabilities are too low.

    >>> in_the_large(np.array([1, 0]), np.array([[0.75, 0.5]])).tolist()
    [[0.25, -0.5]]
    """
    return y - scores


def slope(y: np.ndarray, scores: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Cox 1958, calibration slope: (runs, images) linearised values, whose weighted mean in each run is its slope.

    The slope is that of a logistic regression of y (images,) on the logit of scores (runs, images); weight: (images,),
    summing to 1. 1 is right, below 1 probabilities are too extreme. Values of a run are NaN where it has no slope:
    scores that separate the classes or are all the same.

    >>> values = slope(np.array([1, 0, 1, 0]), np.array([[0.8, 0.2, 0.2, 0.8]]), np.full(4, 0.25))
    >>> abs(round(float(values.mean()), 6))
    0.0
    """
    return np.stack([_slope(y, one, weight) for one in scores])


def _slope(y: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`slope` of one run: the estimate plus each image's influence (Huber 1967) on it."""
    x = logit(np.clip(score.astype(float), EXTREME, 1 - EXTREME))
    high, low = x[y == 1], x[y == 0]
    overlap = len(high) and len(low) and high.min() < low.max() and low.min() < high.max()
    if not overlap:
        return np.full(len(y), np.nan)
    design = sm.add_constant(x, has_constant="add")
    fitted = sm.GLM(y, design, family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-12)
    mu = fitted.mu
    information = (design * (weight * mu * (1 - mu))[:, None]).T @ design
    return fitted.params[1] + (y - mu) * (design @ np.linalg.inv(information)[1])


def reliability(y_true: npt.ArrayLike, scores: npt.ArrayLike, group_ids: npt.ArrayLike, bins: int = 5) -> pd.DataFrame:
    """Reliability diagram (Murphy and Winkler 1977) by group, runs pooled, bins of about equal mass.

    Equal scores share a bin, so that the order of the rows does not matter. Columns: group, bin, score (mean), observed
    (share positive), answers.

    >>> table = reliability([0, 1], np.array([[0.25, 0.75]]), ["I", "I"], bins=2)
    >>> table[["score", "observed", "answers"]].values.tolist()
    [[0.25, 0.0, 1.0], [0.75, 1.0, 1.0]]
    """
    y, scores, groups = np.asarray(y_true), np.asarray(scores, float), np.asarray(group_ids).astype(str)
    rows = []
    for name in sorted(set(groups)):
        members = np.flatnonzero(groups == name)
        flat, truth = scores[:, members].ravel(), np.tile(y[members], len(scores))
        for number, part in enumerate(_bins(flat, bins)):
            row = {"group": name, "bin": number, "score": flat[part].mean(), "observed": truth[part].mean()}
            rows.append(row | {"answers": len(part)})
    return pd.DataFrame(rows)


def _bins(score: np.ndarray, bins: int) -> list[np.ndarray]:
    """Members of bins of about equal mass: a score belongs where the middle of its ties lies."""
    _, at, ties = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(ties) - ties / 2
    number = np.minimum((middle * bins / len(score)).astype(int), bins - 1)[at]
    return [np.flatnonzero(number == k) for k in np.unique(number)]
