"""Fine-tuning on real phantoms and a small base: the same bytes, the right loss, plain refusals."""

import json

import numpy as np
import pandas as pd
import pytest
import small_base
import torch
from hypothesis import given
from hypothesis import strategies as st

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import batches, dreambooth, masks, references
from skinsyn.diffusion.settings import TASKS, FineTune, Reference
from skinsyn.run import compute, seeds, store

SETTINGS = {
    "image_size": 64, "steps": 2, "epochs": 1, "batch_size": 2, "learning_rate": 1e-4, "accumulation": 1,
    "prompt": "An image of {condition}, a skin disease", "add_skin_type": True, "crop_scale": [0.9, 1.1],
    "crop_ratio": [0.9, 1.1], "jitter": 0.05, "flip": True, "mask_fraction": 0.25, "dtype": "fp32", "seed": 0,
    "mask_shares": {"rectangle": 0.4, "ellipse": 0.4, "centre": 0.2},
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A store of its own with four phantoms in a shard, and a small base."""
    root = tmp_path_factory.mktemp("dreambooth")
    patch = pytest.MonkeyPatch()
    patch.setenv("SKINSYN_RUNS", str(root / "runs"))
    names = phantom.CONDITIONS[:2]
    frame = pd.DataFrame({"image_id": ["d", "b", "c", "a"], "condition": [*names, *names], "fst": [1, 5, -1, 6]})
    pictures = np.stack(
        [phantom.draw(c, abs(f), seed=i).image for i, (c, f) in enumerate(zip(frame.condition, frame.fst, strict=True))]
    )
    unit = store.key_of("shard", images.RECIPE, {"test": "dreambooth"}, {}, 0)
    store.keep("shard", unit, lambda folder: images.write_shard(folder, pictures, frame[["image_id"]]))
    patch.undo()
    return root / "runs", frame.assign(unit=unit, row=range(4)), small_base.write(root / "base")


@pytest.fixture
def house(built, own_runs, monkeypatch):
    """(frame, base folder), with that store in use."""
    monkeypatch.setenv("SKINSYN_RUNS", str(built[0]))
    return built[1:]


@pytest.fixture
def tasks(house):
    """Text-to-image and inpainting tasks of one condition."""
    frame, folder = house
    bases = {task: references.prepare_base(Reference(name=folder), task, frame, {}, 0, 1) for task in TASKS}
    return dreambooth.plan(frame, [phantom.CONDITIONS[0]], bases, FineTune.read(SETTINGS), 1)


def digest(key):
    """What the unit holds, file by file."""
    return {name: about["sha256"] for name, about in store.manifest("generator", key)["files"].items()}


def test_same_task_gives_the_same_bytes_and_another_seed_others(tasks, monkeypatch, tmp_path):
    first = [dreambooth.fine_tune(task) for task in tasks]
    kept = [digest(key) for key in first]
    with monkeypatch.context() as patch, pytest.raises(FileNotFoundError):
        patch.setenv("SKINSYN_RUNS", str(tmp_path / "elsewhere"))
        dreambooth.fine_tune(tasks[0])  # the images are not in that store
    torch.manual_seed(99)  # the state of the process decides nothing
    for key in first:
        store.unit_dir("generator", key).rename(tmp_path / key)
    assert [dreambooth.fine_tune(task) for task in reversed(tasks)] == first[::-1]
    assert [digest(key) for key in first] == kept
    other = dreambooth.fine_tune(tasks[0].but(seed=1))
    assert other != first[0] and digest(other) != kept[0]


def test_the_whole_unet_learns_and_nothing_else_is_stored(tasks):
    for task in tasks:
        key = dreambooth.fine_tune(task.but(steps=3, learning_rate=1e-3))
        before, after = references.load_base(task.base, task.task).unet, dreambooth.load_unet(key)
        assert after.config.in_channels == {"text-to-image": 4, "inpainting": 9}[task.task]
        changed = [
            name for name, weight in after.state_dict().items() if not torch.equal(weight, before.state_dict()[name])
        ]
        assert len(changed) > 0.95 * len(before.state_dict())
        assert set(digest(key)) == {"unet/config.json", "unet/diffusion_pytorch_model.safetensors", "losses.parquet"}
        curve = dreambooth.losses(key)
        assert list(curve["step"]) == [1, 2, 3] and curve["loss"].between(0, 10).all()


def test_training_on_one_image_lowers_its_loss(tasks):
    task = tasks[0].but(images=tasks[0].images[:1], batch_size=6, steps=24, learning_rate=2e-3, jitter=0.0)
    made = store.manifest("generator", dreambooth.fine_tune(task.but(crop_scale=[1.0, 1.0])))["result"]
    assert made["steps"] == 24 and made["loss_last"] < 0.9 * made["loss_first"]


def test_text_to_image_does_not_depend_on_the_masks(tasks):
    changed = {"mask_shares": {"centre": 1.0}}
    assert dreambooth.key_of(tasks[0].but(**changed)) == dreambooth.key_of(tasks[0])
    assert dreambooth.key_of(tasks[1].but(**changed)) != dreambooth.key_of(tasks[1])


def test_steps_come_from_epochs_unless_given(tasks):
    task = tasks[0].but(images=[{}] * 9, steps=0, batch_size=4, epochs=4)
    assert task.optimiser_steps() == 12
    assert task.but(accumulation=5).optimiser_steps() == 3
    assert task.but(steps=7).optimiser_steps() == 7


def test_batches_see_every_image_once_an_epoch():
    torch.manual_seed(0)
    order = batches.order(7, 3, [])
    for _ in range(3):
        epoch = [next(order) for _ in range(3)]
        assert sorted(sum(epoch, [])) == list(range(7)) and [len(part) for part in epoch] == [3, 3, 1]


def test_the_prompt_is_the_studys():
    ask = references.prompt_of
    template = "An image of {condition}, a skin disease"
    assert ask("basal-cell_carcinoma", 3, template, False) == "An image of basal cell carcinoma, a skin disease"
    assert ask("psoriasis", 3, template, True).endswith(", Fitzpatrick skin type 3")
    assert ask("psoriasis", -1, template, True).endswith(", Fitzpatrick skin type unknown")
    with pytest.raises(ValueError, match="place for the condition"):
        ask("psoriasis", 3, "An image", False)


def test_velocity_is_the_target_where_the_scheduler_says_so(tasks):
    noise = dreambooth.DDPMScheduler.from_config({**references.load_base(tasks[0].base, "text-to-image").scheduler})
    shown, words = torch.randn(2, 4, 8, 8), torch.zeros(2, 1, 1)

    class Echo(torch.nn.Module):  # answers 0, so that the loss is the mean square of the target
        def forward(self, given, when, words):
            return type("Out", (), {"sample": torch.zeros_like(given)})

    class Plain(torch.nn.Module):  # latents are the pixels
        config = type("Config", (), {"scaling_factor": 1.0})

        def encode(self, pixels):
            return type("Out", (), {"latents": pixels})

    for kind in ("epsilon", "v_prediction"):
        noise = dreambooth.DDPMScheduler.from_config(noise.config, prediction_type=kind)
        torch.manual_seed(3)
        found = float(dreambooth._loss(Echo(), Plain(), noise, shown, None, words))
        torch.manual_seed(3)
        grain, when = torch.randn(shown.shape), torch.randint(0, 1000, (2,))
        a = noise.alphas_cumprod[when].view(2, 1, 1, 1)
        target = grain if kind == "epsilon" else a.sqrt() * grain - (1 - a).sqrt() * shown
        assert found == pytest.approx(float((target**2).mean()), rel=1e-5)


def test_refusals_name_what_is_wrong(house, tasks):
    frame, folder = house
    with pytest.raises(ValueError, match="no training image of 'warts'"):
        dreambooth.plan(frame, ["warts"], {}, FineTune.read(SETTINGS), 1)
    with pytest.raises(ValueError, match="learning_rate"):
        FineTune.read({**SETTINGS, "learning_rat": 1e-4})
    with pytest.raises(ValueError, match="not those"):
        references.load_base(tasks[0].base.but(digest="0" * 24), "text-to-image")
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        dreambooth.fine_tune(tasks[0].but(learning_rate=1e30, steps=4))


def test_the_table_names_models_and_bases(tasks):
    keys = compute.fan_out("serial", dreambooth.fine_tune, [(task,) for task in tasks], "test")
    table = dreambooth.table(tasks, keys)
    assert list(table["generator"]) == ["fine-tuned", "fine-tuned", "base", "base"] and list(table["key"]) == [
        *keys,
        "",
        "",
    ]
    assert json.loads(table["reference"][0]) == tasks[0].base.json() and list(table["images"]) == [2, 2, 0, 0]


def test_a_base_is_pretrained_on_the_training_split_and_kept(house):
    frame, folder = house
    few = {"start": "", "threads": 1, "steps": 1, "inpainting_steps": 1, "autoencoder_steps": 1, "batch": 2}
    here = Reference(name="pretrain")
    reference = references.prepare_base(here, "inpainting", frame, few, 0, 1)
    assert references.prepare_base(here, "text-to-image", frame, few, 0, 1).unit == reference.unit
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        references.prepare_base(here, "inpainting", frame, {"step": 1}, 0, 1)
    assert [row["image_id"] for row in store.manifest("base_model", reference.unit)["about"]["images"]] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert references.load_base(reference, "inpainting").unet.config.in_channels == 9


@pytest.mark.slow
def test_dask_makes_the_same_bytes(tasks, tmp_path):
    keys = [dreambooth.fine_tune(task) for task in tasks]
    kept = [digest(key) for key in keys]
    for key in keys:
        store.unit_dir("generator", key).rename(tmp_path / key)
    assert compute.fan_out("dask:1", dreambooth.fine_tune, [(task,) for task in tasks], "test") == keys
    assert [digest(key) for key in keys] == kept


# What two steps on fixed pixels and weights give, under these pins and this kind of processor, for this RECIPE.
PINNED = {
    "recipe": 2,
    "pins": "271ae2fe6bf5",
    "sha256": {
        "AVX2": "3ff567caef96d4b73f8868072fe5a87b77727faf9ba08af5cdf52daa8a8c15b9",
    },
}


def test_pinned_bytes_of_a_tiny_unit(tasks):
    here = {
        "recipe": dreambooth.RECIPE,
        "pins": seeds.digest(store.pins())[:12],
    }
    cpu = torch.backends.cpu.get_cpu_capability()
    if {k: PINNED[k] for k in here} != here or cpu not in PINNED["sha256"]:
        pytest.skip(f"pinned under {PINNED}, here {here} and {cpu}")
    assert digest(dreambooth.fine_tune(tasks[1]))["unet/diffusion_pytorch_model.safetensors"] == PINNED["sha256"][cpu]


@pytest.mark.parametrize(("size", "border", "start", "end"), [(64, 2, 16, 48), (512, 16, 128, 384), (128, 4, 32, 96)])
def test_masks_have_the_studys_geometry(size, border, start, end):
    inside, outside = masks.centre_square(size), masks.outside_square(size)
    assert inside[start:end, start:end].all() and inside.sum() == (end - start) ** 2
    assert not (inside & outside).any()
    left = ~(inside | outside)
    assert left.sum() == size**2 - (size - 2 * border) ** 2 and left[:border].all() and left[:, -border:].all()


@given(st.integers(0, 2**32), st.sampled_from([16, 64, 65]), st.sampled_from(masks.KINDS))
def test_training_masks_are_of_the_kind_asked_for(seed, size, kind):
    mask = masks.draw(np.random.default_rng(seed), size, {kind: 2.0})
    assert mask.shape == (size, size) and mask.dtype == bool
    assert np.array_equal(mask, masks.draw(np.random.default_rng(seed), size, {kind: 1.0}))
    if kind == "rectangle" and mask.any():
        ys, xs = np.where(mask)
        assert mask.sum() == (np.ptp(ys) + 1) * (np.ptp(xs) + 1)


@pytest.mark.parametrize("shares", [{}, {"circle": 1.0}, {"centre": -1.0, "ellipse": 2.0}, {"centre": 0.0}])
def test_mask_shares_are_checked(shares):
    with pytest.raises(ValueError, match="mask shares"):
        masks.draw(np.random.default_rng(0), 64, shares)


def test_a_mask_that_paints_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to paint"):
        masks.centre_square(64, 0.5)
