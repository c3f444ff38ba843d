"""A crossed layout of one arm: what makes its accuracy vary, generator, real subset, seed or test images?

    python -m bench.crossed

Three fine-tunings of the same base, on the same phantoms but from other seeds, draw the synthetic images; each of three
real subsets is trained on with the children of each, twice from other initial weights. Everything is kept in the run
`crossed`, so that a stopped benchmark goes on where it was. Phantoms say nothing about patients: what is shown is that
the layout separates the sources, and how little three levels of each tell.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from skinsyn.classifier import grid
from skinsyn.classifier.settings import Training
from skinsyn.datasets import phantom
from skinsyn.diffusion import dreambooth, generation
from skinsyn.diffusion.settings import FineTune, Sampling, read_plan
from skinsyn.run import tables
from skinsyn.stats import variance_shares

from . import study, timing

__all__ = ["Size", "answers", "run"]

PROFILE = "crossed"  # the run that everything is kept in
NOTEBOOK = "09_benchmarks"  # whose table it is
METHOD = {"method": "text-to-image"}


class Size(NamedTuple):
    """How much is made: levels of each source, phantoms per condition, and lengths of the trainings."""

    generators: int = 3
    subsets: int = 3
    seeds: int = 2
    conditions: int = 4
    train: int = 5  # real images per condition, from which subsets are drawn
    n: int = 2  # of them in a subset
    held: int = 20  # test images per condition
    ratio: int = 2
    steps: int = 15  # of fine-tuning
    sampling_steps: int = 4


def synthetic(size: Size, seed: int) -> pd.DataFrame:
    """The table `synthetic` of one generator per condition, fine-tuned and sampled from a seed of its own."""
    images = tables.read(PROFILE, "images", made_by="01_data_prep")
    learned = images[images["split"] == "train"]
    bases = {"text-to-image": timing.bases()["text-to-image"]}
    recipe = FineTune(seed=seed, steps=size.steps, batch_size=6, learning_rate=1.2e-3, image_size=64)
    tunings = dreambooth.plan(learned, sorted(learned["condition"].unique()), bases, recipe, 1)
    made = dreambooth.table(tunings, [dreambooth.fine_tune(one) for one in tunings], "train")
    how = Sampling(sampling_steps=size.sampling_steps, guidance_scale=1.0, seed=seed)
    entries = read_plan([{**METHOD, "generator": "fine-tuned", "scope": "condition", "replicates": size.ratio}], 0)
    tasks = generation.plan(learned, generation.generators(made), entries, how, 1)
    for task in tasks:
        generation.generate(task)
    return generation.table(generation.keys_of(tasks))


def answers(size: Size, seed: int = 0) -> tuple[np.ndarray, pd.Series, pd.DataFrame]:
    """(models, images) right answers, the images' clusters, and the models: generator, subset, seed."""
    names = phantom.CONDITIONS[: size.conditions]
    study.make(PROFILE, names, size.train, size.held, 0, size.subsets)
    wanted = grid.cells([{"n": size.n, "ratios": [size.ratio], **METHOD}], size.subsets)
    right, models, clusters = [], [], pd.Series(dtype=str)
    for generator in range(size.generators):
        tables.save(PROFILE, "synthetic", synthetic(size, seed + generator), made_by="03_generation")
        data = grid.read_tables(PROFILE, wanted)
        for number in range(size.seeds):
            # A seed of its own in each combination: seeds are nested, not crossed.
            how = Training(seed=seed + 1000 + number * size.generators + generator, learning_rate=3e-3)
            prepared = grid.prepare(wanted, data, how)
            predictions, _ = grid.collect(wanted, grid.run(PROFILE, wanted, prepared), data.images)
            wide = predictions.pivot(index="run", columns="image_id", values="correct")
            clusters = predictions.drop_duplicates("image_id").set_index("image_id")["cluster_id"].loc[wide.columns]
            right.append(wide.to_numpy(float))
            models += [(generator, subset, number) for subset in wide.index]
    return np.vstack(right), clusters, pd.DataFrame(models, columns=["generator", "subset", "seed"])


def run(size: Size | None = None, profile: str = "demo", seed: int = 0) -> pd.DataFrame:
    """Shares of variance of the layout, saved as figures/<profile>/09_benchmarks-crossed_layout.csv, and of what is
    left of it where every run has one seed, or shares its generator."""
    size = size or Size()
    right, clusters, models = answers(size, seed)
    first = (models["seed"] == 0).to_numpy()
    diagonal = first & (models["generator"] == models["subset"]).to_numpy()
    shared = first & (models["generator"] == 0).to_numpy()
    layouts = {
        "crossed": variance_shares.shares(right, clusters, models),
        "a generator, subset and seed per run": variance_shares.of_runs(right[diagonal], clusters, False),
        "runs share their generator": variance_shares.of_runs(right[shared], clusters, True),
    }
    table = pd.concat([one.assign(layout=name) for name, one in layouts.items()], ignore_index=True)
    table = table.assign(accuracy=100 * right.mean(), models=len(right), source="phantom")
    tables.save(profile, "crossed_layout", table, made_by=NOTEBOOK, csv=True)
    return table


def main() -> None:
    """Print the table, and the accuracy of each combination."""
    with pd.option_context("display.width", 160):
        print(run().round(3).to_string(index=False))


if __name__ == "__main__":
    main()
