"""The GAN baseline: learns, is the same twice and after a stop, and each image has a seed of its own."""

import numpy as np
import pandas as pd
import pytest
import torch

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import checkpoints, fastgan, gan
from skinsyn.diffusion.settings import Gan, GanTraining
from skinsyn.run import seeds, store


@pytest.fixture
def task():
    """A task on four phantoms of 32 px."""
    pictures = np.stack([phantom.draw("annular", 2, seed=i, size=32).image for i in range(4)])
    rows = pd.DataFrame({"image_id": list("abcd")})
    unit = store.key_of("shard", images.RECIPE, {"test": "gan"}, {}, 0)
    store.keep("shard", unit, lambda folder: images.write_shard(folder, pictures, rows))
    about = {"image_size": 32, "batch_size": 3, "flip": True, "seed": 0, "prompt": "", "add_skin_type": False}
    rows = [{"image_id": i, "condition": "annular", "fst": 2, "unit": unit, "row": n} for n, i in enumerate("abcd")]
    more = {"steps": 3, "width": 8, "task": "gan", "threads": 1, "checkpoint_every": 1}
    return GanTraining(**about, **more, condition="annular", images=rows)


def digest(key):
    return {name: about["sha256"] for name, about in store.manifest("generator", key)["files"].items()}


@pytest.mark.parametrize("size", [32, 64, 128])
def test_networks_have_the_shapes_they_say(size):
    made = fastgan.Generator(size, 8)(torch.randn(2, fastgan.LATENT))
    judged, rebuilt = fastgan.Discriminator(size, 8)(made)
    assert made.shape == (2, 3, size, size) and made.abs().max() <= 1
    assert judged.shape == (2, 1, 5, 5) and rebuilt.shape == (2, 3, size // 2, size // 2)
    judged.mean().backward()


def test_augmentation_moves_images_and_lets_gradients_through():
    torch.manual_seed(0)
    given = torch.rand(4, 3, 32, 32, requires_grad=True)
    out = fastgan.augment(given)
    assert out.shape == given.shape and not torch.allclose(out, given)
    out.sum().backward()
    assert torch.isfinite(given.grad).all() and (given.grad != 0).float().mean() > 0.5


def test_the_same_task_gives_the_same_bytes_also_after_a_stop(task, monkeypatch, tmp_path):
    key = gan.train(task)
    whole = digest(key)
    store.unit_dir("generator", key).rename(tmp_path / "whole")
    step, calls = gan._step, []

    def stops(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gan, "_step", stops)
        gan.train(task)
    assert [f.name[:13] for f in checkpoints.folder_of("generator", key).iterdir()] == ["step-00000002"]
    torch.manual_seed(5)
    assert gan.train(task) == key and digest(key) == whole
    assert digest(gan.train(task.but(seed=1))) != whole


def test_each_image_has_its_own_seed_whatever_its_batch(task):
    key = gan.train(task)
    together, alone = gan.sample(key, [1, 2, 3]), gan.sample(key, [3])
    assert together.shape == (3, 32, 32, 3) and together.min() >= 0 and together.max() <= 1
    assert np.abs(together[2] - alone[0]).max() <= 1 / 255 and not np.allclose(together[0], together[1])


@pytest.mark.slow
def test_it_learns_the_colours_of_what_it_sees(task):
    """After some hundred steps its images are nearer to the real ones' mean and spread than at the start."""
    real = images.read_shard(task.images[0]["unit"])[1] / 255
    off = []
    for steps in (1, 400):
        drawn = gan.sample(gan.train(task.but(steps=steps, width=16, batch_size=4)), range(16))
        off.append(np.abs(drawn.mean((0, 1, 2)) - real.mean((0, 1, 2))).mean())
    assert off[1] < off[0] / 2


def test_equal_arithmetic_is_as_many_operations_as_fine_tuning_takes(study):
    tuned = study.tune(steps=40)
    (same,), (equal,) = (gan.plan(tuned, Gan(equal=equal, width=8)) for equal in ("steps", "arithmetic"))
    theirs, ours = 40 * gan.operations(tuned[0]), gan.operations(equal)
    assert same.steps == 40 and abs(equal.steps * ours - theirs) <= ours / 2
    assert gan.operations(equal.but(width=16)) > 2 * ours and gan.operations(equal.but(steps=7)) == ours
    assert gan.key_of(same) == gan.key_of(gan.plan(tuned, Gan(steps=40, width=8))[0]) != gan.key_of(equal)


def test_strange_settings_are_refused(task):
    for settings, fault in (
        ({"width": 2}, "width is 2, expected a finite number at least 8"),
        ({"step": 3}, "unknown key 'step'; did you mean 'steps'"),
        ({"equal": "time"}, "equal is 'time', expected one of steps, arithmetic"),
    ):
        with pytest.raises(ValueError, match=f"gan_baseline: .*{fault}"):
            Gan.read(settings, "gan_baseline")
    with pytest.raises(ValueError, match="32, 64, 128"):
        gan.plan([task.but(image_size=48)], Gan(steps=1))


# What three steps give, under these pins and these kinds of processor, for this RECIPE.
PINNED = {
    "recipe": 1,
    "pins": "271ae2fe6bf5",
    "sha256": {"AVX2": "6c767e9d13c5e80fc4334c7497f91b511a8d01a94415342c5a73ea302cbd7436"},
}


def test_pinned_bytes_of_a_tiny_unit(task):
    here = {"recipe": gan.RECIPE, "pins": seeds.digest(store.pins())[:12]}
    cpu = torch.backends.cpu.get_cpu_capability()
    if {k: PINNED[k] for k in here} != here or cpu not in PINNED["sha256"]:
        pytest.skip(f"pinned under {PINNED}, here {here} and {cpu}")
    assert digest(gan.train(task))["gan.safetensors"] == PINNED["sha256"][cpu]
