"""Areas under ROC curves of many scores on the same cases, with their covariances."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata


def delong(y_true: Sequence[int], scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson 1988: AUROC theta (m,) and its covariance S10/m + S01/n for m scores.

    y_true: 1 or 0 per case; scores: (m, cases), higher means 1. Placement values come from mid-ranks.
    Raises ValueError on NaN, other labels, or fewer than two cases of a class.
    Source: DeLong, DeLong and Clarke-Pearson 1988; mid-rank form of Sun and Xu 2014.

    >>> theta, covariance = delong([1, 1, 0, 0], np.array([[0.9, 0.4, 0.5, 0.1]]))
    >>> float(theta[0]), float(covariance[0, 0])
    (0.75, 0.125)
    """
    y, scores = np.asarray(y_true), np.asarray(scores, float)
    if scores.ndim != 2 or y.shape != scores.shape[1:]:
        raise ValueError(f"expected (scores, {y.size} cases), got shape {scores.shape}")
    if not np.isfinite(scores).all() or not np.isin(y, (0, 1)).all():
        raise ValueError("scores must be finite and y_true 0 or 1")
    positive, negative = scores[:, y == 1], scores[:, y == 0]
    m, n = positive.shape[1], negative.shape[1]
    if min(m, n) < 2:
        raise ValueError(f"AUROC needs two cases of each class, got {m} positive and {n} negative")
    every = rankdata(np.hstack([positive, negative]), axis=1)
    above = (every[:, :m] - rankdata(positive, axis=1)) / n  # share of negatives below each positive
    below = 1 - (every[:, m:] - rankdata(negative, axis=1)) / m  # share of positives above each negative
    return above.mean(1), np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n


def jackknife(y_true: Sequence[int], scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quenouille-Tukey jackknife, one case left out at a time: (AUROC (m,), covariance (m, m)); arguments as `delong`.

    Source: Quenouille and Tukey's jackknife as Hillis, Obuchowski, Schartz and Berbaum 2005 use it for readers.

    >>> theta, _ = jackknife([1, 1, 1, 0, 0, 0], np.array([[0.9, 0.8, 0.4, 0.5, 0.2, 0.1]]))
    >>> round(float(theta[0]), 3)
    0.889
    """
    y, scores = np.asarray(y_true), np.asarray(scores, float)
    area, _ = delong(y, scores)
    without = [delong(np.delete(y, k), np.delete(scores, k, axis=1))[0] for k in range(len(y))]
    return area, np.atleast_2d(np.cov(np.transpose(without))) * (len(y) - 1) ** 2 / len(y)
