"""The threshold of a yes-or-no task: chosen on validation images by a fixed rule, never on test images."""

from collections.abc import Sequence

import numpy as np

__all__ = ["FALLBACK", "LEAST", "youden"]

FALLBACK = 0.5
# With fewer positives (or negatives) the best cut is mostly noise: ours, the sources name no number.
LEAST = 10


def youden(y_true: Sequence[int], score: Sequence[float], least: int = LEAST) -> float:
    """The cut with the largest J = sensitivity + specificity - 1 (Youden 1950, Cancer 3:32), which is balanced
    accuracy.

    y_true: (n,), 1 is positive. score: (n,), probability of it; called positive where score ≥ cut. Cuts are the
    midpoints between neighbouring different scores; of equally good ones the nearest to .5, of two as near the lower.
    .5 where there are fewer than `least` positives or negatives, or where no cut is better than calling all images the
    same (J ≤ 0). Raises ValueError where lengths differ or a score is not finite.
    """
    y, scores = np.asarray(y_true).astype(bool), np.asarray(score, float)
    if y.shape != scores.shape or y.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"expected one finite score for each label, got {scores.shape} scores and {y.shape} labels")
    positives, negatives = int(y.sum()), int((~y).sum())
    if min(positives, negatives) < max(least, 1):
        return FALLBACK
    values, place = np.unique(scores, return_inverse=True)
    below = np.cumsum(np.bincount(place, weights=y)), np.cumsum(np.bincount(place, weights=~y))
    # J times both counts, for the cut above each value but the last: whole numbers, so that ties are ties.
    gain = (negatives * (positives - below[0]) - positives * (negatives - below[1]))[:-1]
    if not len(gain) or gain.max() <= 0:
        return FALLBACK
    cuts = ((values[:-1] + values[1:]) / 2)[gain == gain.max()]
    return float(cuts[np.lexsort((cuts, np.abs(cuts - FALLBACK)))[0]])
