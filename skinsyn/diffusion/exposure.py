"""Which real images a generator saw: planned for models of each run's own, read from the manifests afterwards."""

from collections.abc import Mapping, Sequence
from functools import cache

import pandas as pd

from skinsyn.run import seeds, store

from . import dreambooth, gan, generation
from .settings import ByRun, FineTune, GanTraining, Reference, ShardTask, Training, Tuning, trained

__all__ = ["plan_own", "seen_by_generator", "seen_by_shard", "table"]


def plan_own(
    frame: pd.DataFrame,
    subsets: pd.DataFrame,
    by_run: ByRun,
    conditions: Sequence[str],
    bases: Mapping[str, Reference],
    settings: FineTune,
    threads: int,
) -> list[Tuning]:
    """Fine-tunings of models of each run's own, with `n` and `run`, each with a seed of its run.

    frame: the images that shared models learn from. subsets: run, image_id, rank (table of 01). A model of n above 0
    learns from the run's first n real images of each class alone, as its classifiers do; of 0 from all of `frame`.
    Raises ValueError where the table holds fewer runs or images.
    """
    tunings = []
    for run in range(by_run.runs):
        ranked = subsets[subsets["run"] == run]
        for n in by_run.n:
            own = frame[frame["image_id"].isin(ranked.loc[ranked["rank"] < n, "image_id"])] if n else frame
            few = own.groupby("condition").size().reindex([c for c in conditions if c != "all"], fill_value=0)
            if len(few) and few.min() < max(n, 1):
                raise ValueError(f"by_run: run {run} has {few.min()} training images of {few.idxmin()!r}, not {n}")
            seeded = settings.but(seed=seeds.seed_of(settings.seed, "generator of run", run))
            tunings += dreambooth.plan(own, conditions, bases, seeded, threads, n, run)
    return tunings


@cache
def seen_by_generator(key: str) -> frozenset[str]:
    """Ids of the real images that a kept generator learned from, or its base was pretrained on here, by its manifest.

    Raises ValueError where the manifest is not the one that the key is a digest of.
    """
    training = trained(store.manifest("generator", key)["about"])
    if _key_of(training) != key:
        raise ValueError(
            f"generator/{key}: its manifest was changed, or the pinned versions were; run 02_dreambooth again"
        )
    return frozenset(row["image_id"] for row in training.images) | _seen_by_base(training.base)


def _key_of(training: Training) -> str:
    return gan.key_of(training) if isinstance(training, GanTraining) else dreambooth.key_of(training)


def _seen_by_base(base: Reference) -> frozenset[str]:
    """Images of this study that a base was pretrained on here; of one that came from elsewhere none is known."""
    if not base.unit:
        return frozenset()
    return frozenset(row["image_id"] for row in store.manifest("base_model", base.unit)["about"]["images"])


def seen_by_shard(key: str) -> frozenset[str]:
    """As `seen_by_generator`, of the generators of a kept shard of synthetic images and of its first stage."""
    about = store.manifest("shard", key)["about"]
    if about.get("of") == "published images":
        return frozenset(about["seen"])
    task = ShardTask.read(about)
    if generation.key_of(task) != key:
        raise ValueError(f"shard/{key}: its manifest was changed, or the pinned versions were; run 03_generation again")
    stages = task.stages()
    return frozenset().union(*(seen_by_generator(one.key) if one.key else _seen_by_base(one.base) for one in stages))


def table(synthetic: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table `synthetic` with `saw`, and the table `exposure`: one row (saw, image_id) per real image that a model
    saw.

    `saw` names what an image's generator learned from, '' for nothing of this study; that its parent's pixels were
    shown where a method takes them is not in it. Raises ValueError where a manifest is not what its key is a digest of.
    """
    seen = {unit: seen_by_shard(unit) for unit in synthetic["unit"].unique()}
    names = {ids: seeds.digest(sorted(ids))[:16] if ids else "" for ids in set(seen.values())}
    pairs = sorted((name, image_id) for ids, name in names.items() for image_id in ids)
    exposure = pd.DataFrame(pairs, columns=["saw", "image_id"], dtype="str")
    return synthetic.assign(saw=synthetic["unit"].map({unit: names[ids] for unit, ids in seen.items()})), exposure
