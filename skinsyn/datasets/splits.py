"""Splits that do not leak: a fixed test set, validation and training by cluster, low-data subsets nested in each run.

A cluster (patient, lesion, near-duplicates) lies in one of train, validation and test; images that no split needs
are 'unused' and counted. Deterministic by seed and image_id; the order of rows changes nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..run import seeds

__all__ = ["check", "counts", "overlap", "split", "subsets"]


def _fill(free: pd.DataFrame, wanted: dict[str, int], rng: np.random.Generator, name: str) -> pd.Series:
    """Give whole clusters to the split `name` until it has as many images of each condition as wanted.

    free: image_id, condition, cluster_id, sorted. First clusters that fit exactly are taken, then larger ones, whose
    surplus images become 'unused'. Returns image index → `name` or 'unused', for the images of the clusters taken.
    """
    names = sorted({*wanted, *free["condition"]})
    clusters, of = np.unique(free["cluster_id"].to_numpy(dtype=object), return_inverse=True)
    holds = np.zeros((len(clusters), len(names)), int)  # images of each condition in each cluster
    np.add.at(holds, (of, pd.Index(names).get_indexer(free["condition"])), 1)
    left = np.array([wanted.get(condition, 0) for condition in names])
    is_in = np.zeros(len(clusters), bool)
    order = rng.permutation(len(clusters))
    for exact in (True, False):
        for cluster in order[~is_in[order]]:
            has = holds[cluster]
            if ((left > 0) & (has > 0)).any() and (not exact or (has <= left).all()):
                is_in[cluster] = True
                left = left - has
    for condition, more in zip(names, left, strict=True):
        if more > 0:
            have = int((free["condition"] == condition).sum())
            raise ValueError(
                f"{name}: {wanted[condition]} images of {condition!r} asked for, {have} are left to choose from"
                f" (whole clusters only; {wanted[condition] - more} could be taken). Ask for fewer, or bring more."
            )
    members = free[free["cluster_id"].isin(clusters[is_in])]
    members = members.iloc[rng.permutation(len(members))]
    rank = members.groupby("condition").cumcount()
    surplus = rank >= members["condition"].map(wanted).fillna(0)
    return pd.Series(np.where(surplus, "unused", name), index=members.index)


def _share(free: pd.DataFrame, fraction: float, rng: np.random.Generator) -> list[str]:
    """About `fraction` of the clusters, stratified by the rarest condition that each holds; at least one of each."""
    rarity = free["condition"].map(free["condition"].value_counts())
    ordered = free.assign(rarity=rarity).sort_values(["rarity", "condition", "image_id"])
    stratum = ordered.groupby("cluster_id")["condition"].first()
    clusters: list[str] = []
    for _, members in stratum.groupby(stratum):
        number = max(1, round(fraction * len(members)))
        clusters += list(members.index[rng.permutation(len(members))[:number]])
    return clusters


def split(
    table: pd.DataFrame,
    seed: int,
    test_per_condition: int,
    validation_per_condition: int,
    train_per_condition: int,
    test_fraction: float = 0.0,
) -> pd.Series:
    """The split of each row of the table: 'train', 'validation', 'test' or 'unused'.

    table: image_id, condition, cluster_id, malignancy_only. The numbers are images of each condition.
    test_per_condition 0 takes `test_fraction` of the clusters, stratified by condition, instead; train_per_condition 0
    takes all that is left. Conditions of malignancy only are split in the same proportions as all others together, and
    none is 'unused' for want of a number. Raises ValueError naming the condition, how many there are and how many were
    asked for.

    >>> rows = pd.DataFrame({"image_id": list("abcd"), "cluster_id": list("xxyz"), "condition": "target"})
    >>> sorted(split(rows.assign(malignancy_only=False), 0, 1, 1, 0))
    ['test', 'train', 'train', 'validation']
    """
    if (test_per_condition > 0) == (test_fraction > 0) or not 0 <= test_fraction < 1:
        raise ValueError(
            f"give either test_per_condition or a test_fraction below 1 (the other 0);"
            f" got {test_per_condition} and {test_fraction}"
        )
    if min(validation_per_condition, train_per_condition) < 0 or validation_per_condition == 0:
        raise ValueError(
            "validation_per_condition must be at least 1 and train_per_condition at least 0 (0: all that is left)"
        )
    ordered = table.sort_values("image_id")
    result = pd.Series("", index=ordered.index, dtype="str")
    extra = ordered["malignancy_only"]
    total = ordered[~extra].groupby("condition").size()
    extras = ordered[extra].groupby("condition").size()

    def wanted(per_condition: int) -> dict[str, int]:
        share = per_condition * len(total) / max(int(total.sum()), 1)
        return {name: per_condition for name in total.index} | {n: int(share * size) for n, size in extras.items()}

    def take(name: str, per_condition: int) -> None:
        free = ordered[result == ""]
        result.update(_fill(free, wanted(per_condition), seeds.generator(seed, "split", name), name))

    if test_per_condition:
        take("test", test_per_condition)
    else:
        test_clusters = _share(ordered, test_fraction, seeds.generator(seed, "split", "test"))
        result[ordered["cluster_id"].isin(test_clusters)] = "test"
    take("validation", validation_per_condition)
    if train_per_condition:
        take("train", train_per_condition)
        result[result == ""] = "unused"
    else:
        result[result == ""] = "train"
    for name in total.index:
        if not ((result == "train") & (ordered["condition"] == name)).any():
            raise ValueError(
                f"train: no image of {name!r} is left of {total[name]}; ask for fewer in test or validation"
            )
    return result.reindex(table.index)


def subsets(table: pd.DataFrame, runs: int, seed: int) -> pd.DataFrame:
    """The order in which each run takes real training images: run, condition, image_id, rank (0, 1, …).

    The real images of run r at n per class are those with rank < n, so that they are nested within a run. Conditions
    that count in malignancy only are ranked as well. Each run is an independent random order.

    >>> train = pd.DataFrame({"image_id": list("abc"), "condition": "target", "split": "train"})
    >>> subsets(train, runs=2, seed=0).groupby("run")["rank"].agg(list).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    train = table[table["split"] == "train"].sort_values("image_id")
    rows = []
    for run in range(runs):
        for condition, members in train.groupby("condition"):
            order = seeds.generator(seed, "subset", run, condition).permutation(len(members))
            ids = members["image_id"].to_numpy()[order]
            one = {"run": run, "condition": condition, "image_id": ids, "rank": np.arange(len(ids))}
            rows.append(pd.DataFrame(one))
    return pd.concat(rows, ignore_index=True)


def check(table: pd.DataFrame, ranked: pd.DataFrame | None = None) -> None:
    """Raises ValueError where a cluster crosses splits, an image is repeated, or a subset is not of training images.

    table: image_id, cluster_id, split. ranked: of `subsets`; its ranks must be 0, 1, … once each in every run and
    condition.

    >>> check(pd.DataFrame({"image_id": ["a", "b"], "cluster_id": ["x", "x"], "split": ["train", "test"]}))
    Traceback (most recent call last):
    ValueError: splits: the cluster x crosses test, train (a, b); 1 clusters do
    """
    if table["image_id"].duplicated().any():
        raise ValueError(f"splits: {table['image_id'][table['image_id'].duplicated()].iloc[0]} stands in two rows")
    used = table[table["split"] != "unused"]
    sides = used.groupby("cluster_id")["split"].nunique()
    if (sides > 1).any():
        cluster = sides.index[sides > 1][0]
        where = used[used["cluster_id"] == cluster]
        raise ValueError(
            f"splits: the cluster {cluster} crosses {', '.join(sorted(set(where['split'])))}"
            f" ({', '.join(where['image_id'][:4])}); {int((sides > 1).sum())} clusters do"
        )
    if ranked is None:
        return
    strange = set(ranked["image_id"]) - set(table["image_id"][table["split"] == "train"])
    if strange:
        raise ValueError(f"subsets: {len(strange)} images are not of the training split, e.g. {min(strange)}")
    ranks = ranked.sort_values(["run", "condition", "rank"])
    expected = ranks.groupby(["run", "condition"]).cumcount()
    if (ranks["rank"] != expected).any() or ranks.duplicated(["run", "image_id"]).any():
        raise ValueError("subsets: in each run and condition every image must have one rank, from 0 without gaps")


def overlap(ranked: pd.DataFrame, sizes: Sequence[int]) -> pd.DataFrame:
    """How many real images two runs share at n per class, as a mean proportion over pairs of runs: n, shared.

    Two runs of the same images are not independent; 1 says that all runs see the same. Empty for a single run.

    >>> ranked = pd.DataFrame({"run": [0, 0, 1, 1], "image_id": list("abbc"), "rank": [0, 1, 0, 1]})
    >>> overlap(ranked, [1, 2]).to_numpy().tolist()
    [[1.0, 0.0], [2.0, 0.5]]
    """
    rows = []
    for n in sizes:
        subsets = [set(members["image_id"]) for _, members in ranked[ranked["rank"] < n].groupby("run")]
        pairs = [(a, b) for i, a in enumerate(subsets) for b in subsets[i + 1 :]]
        if pairs:
            rows.append((int(n), float(np.mean([len(a & b) / len(a) for a, b in pairs]))))
    return pd.DataFrame(rows, columns=["n", "shared"])


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Images of each condition, skin-type group, source and split, zeros left out: …, images, clusters.

    >>> row = {"condition": "target", "fst_group": "I-II", "source": "phantom", "split": "test"}
    >>> counts(pd.DataFrame([row | {"image_id": i, "cluster_id": "x"} for i in "ab"])).iloc[0, 4:].tolist()
    [2, 1]
    """
    keys = ["condition", "fst_group", "source", "split"]
    sizes = table.groupby(keys, observed=True).agg(images=("image_id", "size"), clusters=("cluster_id", "nunique"))
    return sizes.reset_index().sort_values(keys, ignore_index=True)
