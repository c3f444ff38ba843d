"""Models of a run's own see no other image, and what every model saw is read from manifests that cannot be edited
unseen."""

import json

import numpy as np
import pandas as pd
import pytest
import small_base

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import dreambooth, exposure, gan, generation, references, sampling
from skinsyn.diffusion.settings import ByRun, FineTune, Gan, Reference, Sampling, read_plan
from skinsyn.run import files, store

CONDITIONS = ("annular", "linear")
TUNING = {
    "image_size": 64, "steps": 1, "epochs": 1, "batch_size": 2, "learning_rate": 1e-4, "accumulation": 1,
    "prompt": "An image of {condition}, a skin disease", "add_skin_type": True, "crop_scale": [0.9, 1.1],
    "crop_ratio": [0.9, 1.1], "jitter": 0.0, "flip": True, "mask_fraction": 0.25, "dtype": "fp32", "seed": 0,
    "mask_shares": {"centre": 1.0},
}  # fmt: skip
DRAWING = {
    "sampling_steps": 2, "guidance_scale": 3.0, "mask_fraction": 0.25, "strength_inpaint": 0.97,
    "strength_outpaint": 0.95,
    "outpaint_border": 1 / 32, "batch_size": 8, "near_copy_distance": -1, "dtype": "fp32", "seed": 0,
}  # fmt: skip
OWN = {"method": "text-to-image", "generator": "fine-tuned", "scope": "condition", "replicates": 1, "by_run": 2}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A store with two conditions of four images, two runs' subsets, and tasks of shared models and of each run's
    own."""
    root = tmp_path_factory.mktemp("exposure")
    patch = pytest.MonkeyPatch()
    patch.setenv("SKINSYN_RUNS", str(root / "runs"))
    named = [{"image_id": f"{c[0]}{i}", "condition": c, "fst": 1 + i} for c in CONDITIONS for i in range(4)]
    frame = pd.DataFrame(named)
    pictures = np.stack(
        [phantom.draw(c, f, seed=f).image for c, f in zip(frame["condition"], frame["fst"], strict=True)]
    )
    unit = store.key_of("shard", images.RECIPE, {"test": "exposure"}, {}, 0)
    store.keep("shard", unit, lambda folder: images.write_shard(folder, pictures, frame[["image_id"]]))
    frame = frame.assign(unit=unit, row=range(8), fst_group="unknown")
    ranked = [
        {"run": run, "condition": c, "image_id": f"{c[0]}{(i + 2 * run) % 4}", "rank": i}
        for run in range(2) for c in CONDITIONS for i in range(4)
    ]  # fmt: skip
    folder = Reference(name=small_base.write(root / "base"))
    bases = {"text-to-image": references.prepare_base(folder, "text-to-image", frame, {}, 0, 1)}
    subsets = pd.DataFrame(ranked)
    shared = dreambooth.plan(frame, [*CONDITIONS, "all"], bases, FineTune.read(TUNING), 1)
    own = exposure.plan_own(frame, subsets, ByRun([0, 2], 2), CONDITIONS, bases, FineTune.read(TUNING), 1)
    patch.undo()
    return root / "runs", frame, subsets, shared, own


@pytest.fixture
def house(built, own_runs, monkeypatch):
    monkeypatch.setenv("SKINSYN_RUNS", str(built[0]))
    exposure.seen_by_generator.cache_clear()
    return built[1:]


def ids(task):
    return [row["image_id"] for row in task.images]


def test_a_models_own_images_are_the_runs(house):
    _, subsets, shared, own = house
    assert [(t.n, t.run, t.condition) for t in own] == [(n, r, c) for r in range(2) for n in (0, 2) for c in CONDITIONS]
    for task in own:
        mine = subsets[(subsets["run"] == task.run) & (subsets["condition"] == task.condition)]
        assert ids(task) == sorted(mine.loc[mine["rank"] < (task.n or 99), "image_id"])
    keys = {dreambooth.key_of(task) for task in [*shared, *own]}
    assert len(keys) == 3 + 8, "each run has a seed of its own"


def test_images_of_own_models_are_made_and_told_apart(house):
    frame, subsets, shared, own = house
    plan = [shared[0], shared[1], *own]
    table = dreambooth.table(plan, [dreambooth.fine_tune(task) for task in plan], "train")
    assert table.loc[table["n"] > 0, "generator_data"].eq("matched").all() and set(table["run"]) == {-1, 0, 1}
    models = generation.generators(table)
    base = {**OWN, "generator": "base", "by_run": None, "sources": 1}
    entries = read_plan([OWN, {**OWN, "by_run": 0}, {**OWN, "by_run": None}, base])
    work = generation.plan(frame.assign(rank=0), models, entries, Sampling.read(DRAWING), 1, subsets)
    assert [task.own for task in work if task.generator == "base"] == [{}, {}], "a base is nobody's own"
    work = [task for task in work if task.generator != "base"]
    made = generation.table([generation.generate(task) for task in work])
    assert made.groupby(["n", "run"]).size().to_dict() == {(0, -1): 8, (0, 0): 8, (0, 1): 8, (2, 0): 4, (2, 1): 4}
    assert made["image_id"].is_unique
    told, seen = exposure.table(made)
    saw = {name: set(part) for name, part in seen.groupby("saw")["image_id"]}
    for (n, run, condition), part in told.groupby(["n", "run", "condition"]):
        (name,) = part["saw"].unique()
        mine = subsets[(subsets["run"] == max(run, 0)) & (subsets["condition"] == condition)]
        assert saw[name] == set(mine.loc[mine["rank"] < (n or 99), "image_id"])
        if n:
            assert set(part["parent"]) == saw[name]
    with pytest.raises(ValueError, match="by_run of 02_dreambooth"):
        generation.plan(frame, models, read_plan([{**OWN, "by_run": 3}]), Sampling(), 1, subsets)


def test_an_edited_manifest_is_seen(house):
    _, _, shared, _ = house
    key = dreambooth.fine_tune(shared[0].but(seed=5))
    assert exposure.seen_by_generator(key) == set(ids(shared[0]))
    exposure.seen_by_generator.cache_clear()
    file = store.unit_dir("generator", key) / "manifest.json"
    content = json.loads(file.read_text())
    content["about"]["images"] = content["about"]["images"][:1]
    files.write_json(file, content)
    with pytest.raises(ValueError, match="does not have the digest that it holds"):
        exposure.seen_by_generator(key)
    files.write_json(file, {**content, "digest": store._seal(content)})
    with pytest.raises(ValueError, match="its manifest was changed"):
        exposure.seen_by_generator(key)


def drawn_by(frame, task):
    """The models that `plan` wants of one fine-tuning, and the task of its shard."""
    models = generation.generators(dreambooth.table([task], [dreambooth.fine_tune(task)]))
    entry = {name: value for name, value in OWN.items() if name != "by_run"}
    mine = frame[frame["condition"] == task.condition]
    return models, generation.plan(mine, models, read_plan([entry]), Sampling.read(DRAWING), 1)[0]


def test_the_weights_name_a_shard_and_never_its_seeds(house):
    frame, _, shared, _ = house
    models, work = drawn_by(frame, shared[0])
    other = work.but(weights="0" * 24)
    assert work.weights == store.content("generator", work.key)
    assert generation.key_of(other) != generation.key_of(work), "other weights must not be taken for these"
    parents = [row["image_id"] for row in work.parents]
    assert [generation.seed_of(other, p) for p in parents] == [generation.seed_of(work, p) for p in parents]
    with pytest.raises(ValueError, match="its weights are not those that this was planned for"):
        generation.generate(other)


def test_a_flipped_bit_in_a_kept_unet_is_noticed_and_mended(house, capsys):
    frame, _, shared, _ = house
    _, work = drawn_by(frame, shared[0].but(seed=6))
    sampling._pipeline.cache_clear()
    (file,) = store.unit_dir("generator", work.key).rglob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-3] ^= 64
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"generator/{work.key} is damaged.*\.safetensors does not have the bytes"):
        generation.generate(work)
    assert not store.unit_dir("shard", generation.key_of(work)).exists(), "no image of damaged weights is kept"
    assert drawn_by(frame, shared[0].but(seed=6))[1] == work, "made again, the same bytes"
    assert "is damaged" in capsys.readouterr().out and generation.generate(work) == generation.key_of(work)


def test_a_base_that_was_pretrained_here_saw_its_images(house, monkeypatch):
    frame, *_ = house
    few = {"start": "", "threads": 1, "steps": 1, "inpainting_steps": 1, "autoencoder_steps": 1, "batch": 2}
    base = references.prepare_base(Reference(name="pretrain"), "text-to-image", frame.head(3), few, 0, 1)
    assert exposure._seen_by_base(base) == {"a0", "a1", "a2"}
    task = dreambooth.plan(frame.tail(2), ["linear"], {"text-to-image": base}, FineTune.read(TUNING), 1)[0]
    assert exposure.seen_by_generator(dreambooth.fine_tune(task)) == {"a0", "a1", "a2", "l2", "l3"}


def test_a_gan_has_its_place_in_plan_tables_and_manifest(house):
    frame, _, shared, _ = house
    tasks = gan.plan(shared, Gan(steps=2, width=8))
    assert [task.condition for task in tasks] == list(CONDITIONS), "one a condition, none of all"
    plan = [*shared, *tasks]
    keys = [*(dreambooth.fine_tune(task) for task in shared), *(gan.train(task) for task in tasks)]
    table = dreambooth.table(plan, keys)
    assert table["task"].tolist() == ["text-to-image"] * 3 + ["gan"] * 2 + ["text-to-image"]
    entry = {"method": "gan", "generator": "fine-tuned", "scope": "condition", "replicates": 2}
    work = generation.plan(frame, generation.generators(table), read_plan([entry]), Sampling.read(DRAWING), 1)
    told, seen = exposure.table(generation.table([generation.generate(task) for task in work]))
    assert len(told) == 16 and set(told["method"]) == {"gan"} and told["seed"].is_unique
    assert set(seen.loc[seen["saw"] == told["saw"][0], "image_id"]) == {"a0", "a1", "a2", "a3"}
    changed = generation.plan(
        frame,
        generation.generators(table),
        read_plan([entry]),
        Sampling.read({**DRAWING, "sampling_steps": 9, "preset": "fast"}),
        1,
    )
    assert [generation.key_of(t) for t in changed] == [generation.key_of(t) for t in work], "a GAN has no steps"


@pytest.mark.parametrize("by_run", [{"n": 2, "runs": 1}, {"n": [2]}, {"n": [9], "runs": 1}, {"n": [2], "runs": 3}])
def test_what_runs_cannot_give_is_refused(house, by_run):
    frame, subsets, shared, _ = house
    with pytest.raises(ValueError, match="by_run"):
        own = ByRun.read(by_run, "by_run")
        exposure.plan_own(frame, subsets, own, CONDITIONS, {"text-to-image": shared[0].base}, FineTune.read(TUNING), 1)
