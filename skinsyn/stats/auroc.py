"""The gain in AUROC of one arm over another, training runs and clusters of images random."""

import numpy as np
import numpy.typing as npt

from .auc import placements
from .intervals import once
from .mrmc import Gain, gain_from_groups


def gain(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    cluster_ids: npt.ArrayLike,
    level: float = 0.95,
    df: str = "satterthwaite",
) -> tuple[list[float], Gain]:
    """Obuchowski and Rockette 1995 for clustered data (Obuchowski 1997): ([AUROC of both arms], gain), runs as readers.

    y_true: 1 or 0 per image; scores: (2 arms, runs, images), higher means 1; cluster_ids: one per image; df: as in
    `mrmc`. DeLong's structural components enter the two-way analysis of runs and clusters: a cluster's are averaged
    within its class, where it counts once, and added where it has both classes. With one image per cluster, standard
    error and estimate are those of `mrmc.obuchowski_rockette` with DeLong's covariances (but that each class's variance
    is kept from being negative, not their sum).
    Raises ValueError where shapes do not fit, scores are not finite, or a class is absent.

    >>> scores = np.array([[[0.9, 0.8, 0.2, 0.1]] * 2, [[0.9, 0.1, 0.2, 0.8]] * 2])
    >>> gain([1, 1, 0, 0], scores, range(4))[1].estimate
    0.5
    """
    y, scores, clusters = np.asarray(y_true), np.asarray(scores, float), np.asarray(cluster_ids).astype(str)
    if scores.ndim != 3 or len(scores) != 2 or not scores.shape[2] == len(y) == len(clusters):
        raise ValueError(f"scores {scores.shape}, {len(y)} labels and {len(clusters)} cluster ids do not fit")
    if not np.isfinite(scores).all() or set(np.unique(y)) != {0, 1}:
        raise ValueError("scores must be finite, and y_true 0 or 1 with images of both")
    ids = [clusters[y == label] for label in (1, 0)]
    weights = [once(names) for names in ids]
    v10, v01 = zip(*(placements(arm[:, y == 1], arm[:, y == 0], *weights) for arm in scores), strict=True)
    areas = [positive @ weights[0] for positive in v10]  # (runs,) of each arm
    difference = (areas[0] - areas[1])[:, None]
    result = gain_from_groups([v10[0] - v10[1], v01[0] - v01[1] - difference], ids, [1.0, 1.0], level, df=df)
    return [float(area.mean()) for area in areas], result
