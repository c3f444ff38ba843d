"""Keys of units and seeds of images, pinned: a change of how settings are held must not make anything anew."""

import hashlib
import importlib.metadata
import json

import pandas as pd
import pytest

from skinsyn.diffusion import dreambooth, exposure, gan, generation, prior, published, references
from skinsyn.diffusion.settings import METHODS, TASKS, ByRun, FineTune, Gan, Reference, Sampling, read_plan
from skinsyn.run import store

TUNING = {
    "image_size": 64, "steps": 7, "epochs": 3, "batch_size": 2, "learning_rate": 1e-3, "accumulation": 1,
    "prompt": "An image of {condition}, a skin disease", "add_skin_type": True, "crop_scale": [0.9, 1.1],
    "crop_ratio": [0.9, 1.1], "jitter": 0.05, "flip": True, "mask_fraction": 0.25, "dtype": "fp32", "seed": 3,
    "mask_shares": {"rectangle": 0.4, "ellipse": 0.4, "centre": 0.2},
}  # fmt: skip
DRAWING = {
    "sampling_steps": 5, "guidance_scale": 3.0, "mask_fraction": 0.25, "strength_inpaint": 0.97,
    "strength_outpaint": 0.95, "outpaint_border": 1 / 32, "batch_size": 2, "near_copy_distance": 0, "dtype": "fp32",
    "seed": 3,
}  # fmt: skip
NAMES = ("annular", "linear")
PUBLISHED = {
    "of": "published images", "method": "inpaint", "generator": "fine-tuned", "scope": "condition",
    "condition": "annular", "replicate": 1, "image_size": 64, "near_copy_distance": 0, "seen": ["a", "b"],
    "members": [published.Member("x.tar", 512, 9, "0" * 64, "a-inpaint")],
    "parents": [{"image_id": "a", "fst": 1, "fst_group": "I-II", "unit": "u" * 24, "row": 0}],
}  # fmt: skip
TUNED = {  # what is changed in TUNING; each for both tasks, one condition
    "plain": {}, "epochs": {"steps": 0}, "inpainting steps": {"inpainting_steps": 4},
    "masks": {"mask_shares": {"centre": 1.0}, "mask_fraction": 0.2},
    "lora": {"lora": {"rank": 4}}, "lora, alpha": {"lora": {"rank": 4, "alpha": 8}}, "prior": {"prior": {"images": 9}},
    "prior, whole": {"prior": {"weight": 0.5, "images": 9, "steps": 2}}, "compiled": {"compile": True},
    "gradient checkpointing": {"gradient_checkpointing": True}, "checkpoints": {"checkpoint_every": 5},
    "bf16": {"dtype": "bf16", "jitter": 0.0, "flip": False, "accumulation": 2},
}  # fmt: skip
DRAWN = {  # what is changed in DRAWING
    "plain": {}, "scheduler": {"scheduler": "ddim"}, "fast": {"preset": "fast"},
    "both": {"scheduler": "euler", "preset": "fast"},
    "painting": {"mask_fraction": 0.2, "strength_inpaint": 0.5, "strength_outpaint": 0.6, "outpaint_border": 0.0},
    "img2img": {"strength_img2img": 0.3}, "steps": {"sampling_steps": 9, "guidance_scale": 1.0, "dtype": "bf16"},
    "said": {"scheduler": "dpm-solver", "preset": "exact", "strength_img2img": 0.6},
}  # fmt: skip
KEYS = {
    ("fine-tuning", "plain"): ["a34efcc5e2e12d570dc4fce4", "857411941c6c486d7c1da0ff"],
    ("fine-tuning", "epochs"): ["74a47eba9598025a49a0f913", "ed641ef376e8aebb15f7a850"],
    ("fine-tuning", "inpainting steps"): ["a34efcc5e2e12d570dc4fce4", "8a3ed2d2d740d5beed78404b"],
    ("fine-tuning", "masks"): ["a34efcc5e2e12d570dc4fce4", "a02cd4d60aae4104914620ac"],
    ("fine-tuning", "lora"): ["99f148ed54267a7cac35eb4f", "95ecf9aaa52403f2bf421bff"],
    ("fine-tuning", "lora, alpha"): ["7292df96d7b2d88d9bae07f5", "e65f8be02308fe672135217f"],
    ("fine-tuning", "prior"): ["d1507d875121761ac3a6ae52", "72d22da6f03b4d1ece933db1"],
    ("fine-tuning", "prior, whole"): ["babaab61e2fdfe3f6b6fa0d9", "039381edbd22d3e80c88e47f"],
    ("fine-tuning", "compiled"): ["abced0e4b786ecee4b533f33", "17c9956e2d2855c7d50e1ef3"],
    ("fine-tuning", "gradient checkpointing"): ["5bb02bba2675e8bc9025ae39", "fb60662d023647dbdf2d33f3"],
    ("fine-tuning", "checkpoints"): ["a34efcc5e2e12d570dc4fce4", "857411941c6c486d7c1da0ff"],
    ("fine-tuning", "bf16"): ["5a11c9f82bd0a2c441a0414e", "2147a33b28e80fbd1371f7be"],
    ("fine-tuning", "all, own"): "e0101d5562e39bfd",
    ("fine-tuning", "gan"): "3fc96d13d9fff9d9",
    "prior and base": [
        "9c4cb2c90502c1e03cf75977",
        "5f0550ceaf59008a63d78548",
        "e094a1a66fa13e31051c5103",
        "e99c166fd615f3693a5a675f",
    ],
    ("generation", "plain"): {
        "text-to-image": "38baf1b137b73dce",
        "img2img": "9da6ee9a4c20c532",
        "inpaint": "21744e7cfc701f4c",
        "in-then-outpaint": "2176a0032191598f",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "scheduler"): {
        "text-to-image": "0a5fe0db3150f839",
        "img2img": "e5aff1c208e91dd4",
        "inpaint": "4356167befdc1ffa",
        "in-then-outpaint": "ae4403b61c5ecb2d",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "fast"): {
        "text-to-image": "f6694f3b786b6121",
        "img2img": "05e4279d71bdd28d",
        "inpaint": "316936c8ac8f0115",
        "in-then-outpaint": "91c63ec0731d3611",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "both"): {
        "text-to-image": "35eeee6ef402c60d",
        "img2img": "457f93ca0dd7b6f1",
        "inpaint": "d0f673f9d2988198",
        "in-then-outpaint": "8b8fa4efea5609cc",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "painting"): {
        "text-to-image": "38baf1b137b73dce",
        "img2img": "9da6ee9a4c20c532",
        "inpaint": "a20acda80c8a59cf",
        "in-then-outpaint": "7dad3db5527c8bb7",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "img2img"): {
        "text-to-image": "38baf1b137b73dce",
        "img2img": "3e594e168fa3c49f",
        "inpaint": "21744e7cfc701f4c",
        "in-then-outpaint": "2176a0032191598f",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "steps"): {
        "text-to-image": "9d8ab785fd2dc6f2",
        "img2img": "d9a0f541f9f989f1",
        "inpaint": "64f947a8304251f4",
        "in-then-outpaint": "04df00fbbd944231",
        "gan": "e4a3fdb6c23d84ff",
    },
    ("generation", "said"): {
        "text-to-image": "38baf1b137b73dce",
        "img2img": "9da6ee9a4c20c532",
        "inpaint": "21744e7cfc701f4c",
        "in-then-outpaint": "2176a0032191598f",
        "gan": "e4a3fdb6c23d84ff",
    },
    "seeds": {
        "text-to-image": "96630efba148b0d2",
        "img2img": "a1d73a661e3e4644",
        "inpaint": "f46647c6b327a572",
        "in-then-outpaint": "55801a574f719b5b",
        "gan": "fb10aba6369a6f3a",
    },
    ("generation", "one plan"): "7497bc80e00696fb",
    "published": "a1c1e4e9b044a0b8e229d365",
}


@pytest.fixture(autouse=True)
def same_versions(monkeypatch):
    """Keys as under one fixed set of versions, whatever is installed; and nothing is made."""
    monkeypatch.setattr(store, "pins", lambda: {"torch": "1"})
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1")
    monkeypatch.setattr(store, "keep", lambda *given: None)


@pytest.fixture(scope="module")
def frame():
    rows = [{"image_id": f"{c[0]}{i}", "condition": c, "fst": i - 1} for c in NAMES for i in range(4)]
    return pd.DataFrame(rows).assign(unit="u" * 24, row=range(8), fst_group="unknown", rank=[0, 1, 2, 3] * 2)


@pytest.fixture(scope="module")
def subsets(frame):
    return pd.concat([frame[["image_id", "rank"]].assign(run=run) for run in range(2)], ignore_index=True)


def base(task):
    """A reference to a base that nobody reads."""
    return Reference(name=f"models/{task}-base/", digest=task)


BASES = {task: base(task) for task in TASKS}


def plan(frame, names=("annular",), **changed):
    return dreambooth.plan(frame, names, BASES, FineTune.read({**TUNING, **changed}), 1)


def short(keys):
    """One value for many keys: 16 hex digits of their digest, in their order."""
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", TUNED)
def test_keys_of_fine_tuning(frame, name):
    assert [dreambooth.key_of(task) for task in plan(frame, **TUNED[name])] == KEYS["fine-tuning", name]


def test_keys_of_all_conditions_of_each_run_and_of_gans(frame, subsets):
    shared = plan(frame, (*NAMES, "all"))
    own = exposure.plan_own(frame, subsets, ByRun([0, 2], 2), NAMES, BASES, FineTune.read(TUNING), 1)
    rivals = gan.plan([*shared, *own], Gan(width=8, steps=5))
    counted = gan.plan(plan(frame, steps=0), Gan())
    assert [task.optimiser_steps() for task in counted] == [6]
    assert short([dreambooth.key_of(task) for task in [*shared, *own]]) == KEYS["fine-tuning", "all, own"]
    assert short([gan.key_of(task) for task in [*rivals, *counted]]) == KEYS["fine-tuning", "gan"]


def test_keys_of_prior_images_and_pretrained_bases(frame):
    keys = [prior.keep(task) for task in plan(frame, prior={"images": 9})]
    few = {"start": "", "threads": 2, "steps": 1, "batch": 2}
    keys += [references._pretrained(frame, "", settings, 3, 1) for settings in (few, {"start": ""})]
    assert keys == KEYS["prior and base"]


def models(frame, subsets):
    """The table `generators` as it would be of shared models, models of each run's own, GANs and bases."""
    tasks = plan(frame, (*NAMES, "all"))
    tasks += exposure.plan_own(frame, subsets, ByRun([0, 2], 2), NAMES, BASES, FineTune.read(TUNING), 1)
    tasks += gan.plan(tasks, Gan(width=8, steps=5))
    rows = [dreambooth.row_of(t, f"model-{i}", f"w{i}", "train") for i, t in enumerate(tasks)]
    rows += [dreambooth.row_of(t, "", "", "none") for t in tasks[:2]]
    return generation.generators(pd.DataFrame(rows))


def entries():
    """Every method by every kind of model that can do it."""
    same = {"scope": "condition", "replicates": 2}
    every = []
    for method in METHODS:
        every.append({**same, "method": method, "generator": "fine-tuned"})
        every.append({**same, "method": method, "generator": "fine-tuned", "by_run": 2, "replicates": 1})
        every.append({**same, "method": method, "generator": "fine-tuned", "by_run": 0, "replicates": 1, "sources": 1})
        if method != "gan":
            every.append({**same, "method": method, "generator": "base", "rank": 3})
            every.append({**same, "method": method, "generator": "fine-tuned", "scope": "all"})
    return read_plan(every)


def drawn(frame, subsets, **changed):
    """Method → tasks of generation."""
    settings = Sampling.read({**DRAWING, **changed})
    work = [generation.plan(frame, models(frame, subsets), [e], settings, 1, subsets) for e in entries()]
    found = {}
    for entry, tasks in zip(entries(), work, strict=True):
        found.setdefault(entry.method, []).extend(tasks)
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_keys_of_generation(frame, subsets, name):
    work = drawn(frame, subsets, **DRAWN[name])
    assert {method: short(generation.keys_of(tasks)) for method, tasks in work.items()} == KEYS["generation", name]


def test_seeds_of_images(frame, subsets):
    found = {}
    for method, tasks in drawn(frame, subsets).items():
        stages = [task.first or task for task in tasks] + tasks
        seeds = [
            generation.seed_of(task, row["image_id"], again)
            for task in stages for row in task.parents for again in (False, True)
        ]  # fmt: skip
        assert len(set(seeds)) == len(seeds) // (1 if method == "in-then-outpaint" else 2)
        found[method] = short(seeds)
    assert found == KEYS["seeds"]


def test_a_plan_makes_each_shard_once_and_in_one_order(frame, subsets):
    work = generation.plan(frame, models(frame, subsets), entries(), Sampling.read(DRAWING), 1, subsets)
    assert short(generation.keys_of(work)) == KEYS["generation", "one plan"]


def test_key_of_published_images():
    assert published.key_of(published.PublishedShard(**PUBLISHED)) == KEYS["published"]
