"""Areas under ROC curves of many scores on the same cases, with their covariances."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata


def delong(y_true: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson 1988: AUROC theta (k,) of k scores and its covariance S10/m + S01/n (k, k).

    y_true: 1 or 0 per case (m of 1, n of 0); scores: (k, cases), higher means 1. The structural components V10 and V01
    come from mid-ranks (Sun and Xu 2014). Raises ValueError on NaN, other labels, or fewer than two cases of a class.

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
    pooled = rankdata(np.hstack([positive, negative]), axis=1)
    v10 = (pooled[:, :m] - rankdata(positive, axis=1)) / n  # share of negatives below each positive
    v01 = 1 - (pooled[:, m:] - rankdata(negative, axis=1)) / m  # share of positives above each negative
    return v10.mean(1), np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


def placements(
    positive: np.ndarray, negative: np.ndarray, positive_weight: np.ndarray, negative_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """DeLong et al. 1988, structural components V10 (k, m), V01 (k, n), in which cases have weights.

    positive, negative: (k, m) and (k, n) scores; weights: (m,) and (n,), each summing to 1, e.g. so that a patient with
    several photographs counts once. The weighted mean of either component is the AUROC; a tie counts one half.

    >>> v10, v01 = placements(np.array([[0.9, 0.4]]), np.array([[0.5, 0.1]]), np.full(2, 0.5), np.full(2, 0.5))
    >>> v10.tolist(), v01.tolist()
    ([[1.0, 0.5]], [[0.5, 1.0]])
    """
    below = _weight_below(positive, negative, negative_weight)
    return below, 1 - _weight_below(negative, positive, positive_weight)


def jackknife(y_true: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Jackknife over cases (Hillis, Obuchowski, Schartz and Berbaum 2005): AUROC (k,), covariance (k, k); see `delong`.

    >>> theta, _ = jackknife([1, 1, 1, 0, 0, 0], np.array([[0.9, 0.8, 0.4, 0.5, 0.2, 0.1]]))
    >>> round(float(theta[0]), 3)
    0.889
    """
    y, scores = np.asarray(y_true), np.asarray(scores, float)
    area, _ = delong(y, scores)
    without = [delong(np.delete(y, k), np.delete(scores, k, axis=1))[0] for k in range(len(y))]
    return area, np.atleast_2d(np.cov(np.transpose(without))) * (len(y) - 1) ** 2 / len(y)


def _weight_below(scores: np.ndarray, others: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(k, scores): the weight of the others that lie below each score, half of those that equal it."""
    below = np.empty(scores.shape)
    for row, (mine, theirs) in enumerate(zip(scores, others, strict=True)):
        order = np.argsort(theirs, kind="stable")
        total = np.append(0.0, np.cumsum(weight[order]))
        ends = [total[np.searchsorted(theirs[order], mine, side)] for side in ("left", "right")]
        below[row] = (ends[0] + ends[1]) / 2
    return below
