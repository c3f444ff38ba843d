"""Label fidelity: do synthetic images show the prompted condition, and can a classifier learn it from them?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skinsyn.run import seeds

from . import MODEL, clustered, distances, groups

__all__ = ["COLUMNS", "REAL", "classification_accuracy", "recognition", "shown"]

COLUMNS = ["recognised", "low", "high", "images", "clusters"]
REAL = {"method": "real", "generator": "test", "scope": ""}  # the row of real test images in `recognition`


def shown(
    rows: pd.DataFrame,
    right: np.ndarray,
    clusters: Sequence | np.ndarray,
    by: Sequence[str] = (*MODEL, "condition"),
    level: float = 0.95,
) -> pd.DataFrame:
    """The share of images in which the recogniser sees the prompted condition, by group, with interval.

    rows: images with the columns `by`; right: bool (n,), of `distances.recognised`; clusters: of the bootstrap, one an
    image (the source's). Returns by and COLUMNS.

    >>> rows = pd.DataFrame({"method": ["text", "text", "inpaint"]})
    >>> shown(rows, np.array([True, False, True]), ["x", "y", "x"], ["method"])["recognised"].tolist()
    [1.0, 0.5]
    """
    correct, cluster, records = np.asarray(right), np.asarray(clusters), []
    for group, at in groups(rows, by):
        share = clustered.share(correct[at], cluster[at], level)
        records.append(group | dict(zip(COLUMNS, share, strict=True)))
    return pd.DataFrame(records)


def recognition(
    rows: pd.DataFrame,
    synthetic: np.ndarray,
    images: pd.DataFrame,
    real: np.ndarray,
    views: np.ndarray,
    by: Sequence[Sequence[str]] = ((),),
    level: float = 0.95,
) -> pd.DataFrame:
    """The share of images in which a recogniser, fitted on real ones alone, sees the prompted condition: by MODEL.

    rows: synthetic images (MODEL, condition, parent, columns of `by`), synthetic: float (n, d), their embeddings;
    images: real ones (image_id, cluster_id, split, condition, columns of `by`), real: float (m, d). views: float
    (views, images that are not of the test split, d), of which it learns. Real test images are the row REAL. Clusters:
    the source's, and a test image's own. by: further columns, one table each, 'all' in the others. NaN and blank
    images count as not made. Returns MODEL, every column of `by`, COLUMNS.

    >>> names, x = list("abcd"), np.array([[0.0, 1], [1, 0], [0, 1], [1, 0]])
    >>> images = pd.DataFrame({"image_id": names, "cluster_id": names, "condition": ["target", "none"] * 2})
    >>> images["split"] = ["train", "train", "test", "test"]
    >>> rows = images.head(2).rename(columns={"image_id": "parent"}).assign(flags="", **dict.fromkeys(MODEL, "text"))
    >>> recognition(rows, x[:2], images, x, x[None, :2])[["method", "recognised"]].values.tolist()
    [['real', 1.0], ['text', 1.0]]
    """
    known, made = (images["split"] != "test").to_numpy(), ~rows["flags"].isin(["nan", "constant"]).to_numpy()
    sources = images["cluster_id"].to_numpy()[distances.places(rows.loc[made, "parent"], images)]
    test, labels = images[~known].assign(**REAL), pd.concat([images.loc[known, "condition"]] * len(views))
    names = [*MODEL, *dict.fromkeys(name for over in by for name in over)]
    both = pd.concat([rows.loc[made], test])[[*dict.fromkeys(["condition", *names])]]
    shown_to = np.concatenate([synthetic[made], real[~known]])
    predicted = distances.recognised(views.reshape(-1, views.shape[-1]), labels, shown_to)
    clusters = np.concatenate([sources, test["cluster_id"]])
    right = predicted == both["condition"].to_numpy()
    tables = [shown(both, right, clusters, [*MODEL, *over], level) for over in by]
    return (
        pd.concat(tables, ignore_index=True).reindex(columns=[*names, *COLUMNS]).fillna(dict.fromkeys(names[3:], "all"))
    )


def classification_accuracy(
    rows: pd.DataFrame,
    synthetic: np.ndarray,
    images: pd.DataFrame,
    real: np.ndarray,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """CAS (Ravuri and Vinyals 2019, arXiv 1905.10887): accuracy on real test images after learning from synthetic ones.

    rows: synthetic images (MODEL, condition), synthetic: their embeddings; images: real ones (split, condition,
    cluster_id), real: theirs. Beside each score stands that of as many real training images, drawn alike: as many of
    each condition as both kinds have. Logistic regression in both. Returns MODEL, accuracy, low, high, real, real_low,
    real_high (accuracies over test images), trained_on (images, of each kind), images, clusters. Conditions without
    synthetic images are not learned and count as errors.

    >>> x = np.repeat([[0.0, 1.0], [1.0, 0.0]], 4, axis=0)
    >>> images = pd.DataFrame({"condition": ["target"] * 4 + ["linear"] * 4, "split": ["train", "test"] * 4})
    >>> rows = images[["condition"]].assign(method="text", generator="base", scope="all")
    >>> swapped = classification_accuracy(rows, 1 - x, images.assign(cluster_id=range(8)), x)
    >>> swapped[["accuracy", "real", "trained_on"]].to_numpy().tolist()
    [[0.0, 1.0, 4.0]]
    """
    train, test = ((images["split"] == split).to_numpy() for split in ("train", "test"))
    truth, clusters = images.loc[test, "condition"].to_numpy(), images.loc[test, "cluster_id"].to_numpy()
    pool, records = images[train].reset_index(drop=True), []
    for row, at in groups(rows, MODEL):
        part = rows.iloc[at].reset_index(drop=True)
        both = [frame["condition"].value_counts() for frame in (part, pool)]
        per_condition = pd.concat(both, axis=1).dropna().min(axis=1).astype(int)
        mine, theirs = (_drawn(frame, per_condition, seed) for frame in (part, pool))
        training_sets = {"": (synthetic[at][mine], part["condition"][mine])}
        training_sets["real_"] = real[train][theirs], pool["condition"][theirs]
        for name, (features, labels) in training_sets.items():
            if labels.nunique() < 2:
                value, low, high, n, k = (float("nan"),) * 3 + (int(test.sum()), len(set(clusters)))
            else:
                right = distances.recognised(features, labels, real[test]) == truth
                value, low, high, n, k = clustered.share(right, clusters, level)
            row |= {name.rstrip("_") or "accuracy": value, f"{name}low": low, f"{name}high": high}
        records.append(row | {"trained_on": len(mine), "images": n, "clusters": k})
    return pd.DataFrame(records)


def _drawn(frame: pd.DataFrame, counts: pd.Series, seed: int) -> np.ndarray:
    """Places of so many rows of each condition, drawn without replacement."""
    order = seeds.generator("classification accuracy", seed).permutation(len(frame))
    shuffled = frame.iloc[order]
    keep = shuffled.groupby("condition").cumcount() < shuffled["condition"].map(counts).fillna(0)
    return np.sort(order[keep.to_numpy()])
