"""Fine-tuning beyond the study: LoRA, prior preservation, gradient checkpointing; what is usual changes nothing."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import dreambooth, prior, references
from skinsyn.diffusion.settings import FineTune
from skinsyn.run import seeds, store

LORA = {"rank": 4, "alpha": 8}
PRIOR = {"weight": 1.0, "images": 3, "steps": 2}


def test_defaults_are_in_no_key(study):
    plain, said = study.tune(), study.tune(lora={}, prior={}, gradient_checkpointing=False, compile=False)
    assert [dreambooth.key_of(task) for task in said] == [dreambooth.key_of(task) for task in plain]
    assert dreambooth.key_of(plain[0].but(checkpoint_every=3)) == dreambooth.key_of(plain[0]), "it changes no byte"
    for change in ({"lora": LORA}, {"prior": PRIOR}, {"gradient_checkpointing": True}, {"compile": True}):
        assert dreambooth.key_of(study.tune(**change)[0]) != dreambooth.key_of(plain[0])


def test_a_lora_is_small_and_merges_into_what_was_learned(study, monkeypatch):
    train, kept = dreambooth._train, []
    monkeypatch.setattr(dreambooth, "_train", lambda *given: kept.append(train(*given)) or kept[-1])
    task = study.tune(lora=LORA, steps=3, learning_rate=1e-2)[1]
    key = dreambooth.fine_tune(task)
    assert set(study.digest("generator", key)) == {"lora/adapter.safetensors", "lora/adapter.json", "losses.parquet"}
    before, after, learned = (
        references.load_base(task.base, task.task).unet,
        dreambooth.load_unet(key),
        kept[0][0],
    )
    random = torch.Generator().manual_seed(0)
    given = torch.randn(2, 9, 16, 16, generator=random), 10, torch.randn(2, 4, 16, generator=random)
    with torch.no_grad():
        plain, merged, taught = (unet.eval()(*given).sample for unet in (before, after, learned))
    assert torch.allclose(merged, taught, atol=1e-5) and not torch.allclose(merged, plain, atol=1e-4)
    changed = [n for n, w in after.state_dict().items() if not torch.equal(w, before.state_dict()[n])]
    assert changed and all(".to_" in name for name in changed)


def test_prior_preservation_shows_images_of_the_untouched_base(study):
    for task in study.tune(prior=PRIOR):
        key = prior.keep(task)
        rows, pictures = images.read_shard(key)
        assert list(rows["image_id"]) == ["prior-0000", "prior-0001", "prior-0002"] and pictures.std() > 1
        assert (rows["prompt"] == references.GENERIC_PROMPT).all() and prior.keep(task) == key
    plain, kept = (dreambooth.fine_tune(study.tune(**more)[0]) for more in ({}, {"prior": PRIOR}))
    assert study.digest("generator", plain) != study.digest("generator", kept)


def test_gradient_checkpointing_learns_the_same(study):
    tasks = [study.tune(gradient_checkpointing=way)[0] for way in (False, True)]
    weights = [dreambooth.load_unet(dreambooth.fine_tune(task)).state_dict() for task in tasks]
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*(w.values() for w in weights), strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled_it_learns_the_same_and_goes_on_in_the_same_bytes(study, monkeypatch, tmp_path):
    """Three images, two a batch: the second of an epoch is short and goes through the UNet as it is."""
    more = {"steps": 5, "checkpoint_every": 2, "batch_size": 2}
    plain, task = (study.tune(**more, compile=way)[0] for way in (False, True))
    assert len(task.images) % 2, "or no batch is short"
    before = counters["stats"]["unique_graphs"]
    keys = [dreambooth.fine_tune(each) for each in (plain, task)]
    assert counters["stats"]["unique_graphs"] > before, "nothing was compiled"
    weights = [dreambooth.load_unet(key).state_dict() for key in keys]
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*(w.values() for w in weights), strict=True))
    whole, clip = study.digest("generator", keys[1]), dreambooth._clip
    store.unit_dir("generator", keys[1]).rename(tmp_path / "whole")
    steps = []

    def stops(learned):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        clip(learned)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dreambooth, "_clip", stops)
        dreambooth.fine_tune(task)
    assert dreambooth.fine_tune(task) == keys[1] and study.digest("generator", keys[1]) == whole


@pytest.mark.parametrize("length", [0.5, 1.0, 3.0, float("nan")])
def test_clipping_gives_the_bits_of_pytorchs_own(length):
    random, weights = torch.Generator().manual_seed(0), [torch.nn.Parameter(torch.zeros(n)) for n in (3, 50, 1)]
    given = [torch.randn(weight.shape, generator=random) for weight in weights]
    norm = torch.nn.utils.get_total_norm(given)
    found = []
    for clip in (dreambooth._clip, lambda all_: torch.nn.utils.clip_grad_norm_(all_, dreambooth.CLIP_NORM)):
        for weight, gradient in zip(weights, given, strict=True):
            weight.grad = gradient * (length / norm)
        clip([*weights, torch.nn.Parameter(torch.zeros(2))])  # the last has learned nothing
        found.append(torch.cat([weight.grad for weight in weights]))
    assert found[0].numpy().tobytes() == found[1].numpy().tobytes() and (length != 3.0 or found[0].norm() < 1.001)


@pytest.mark.parametrize(
    "name, value, fault",
    [
        ("lora", {"rank": 0}, "rank is 0"),
        ("lora", {"r": 4}, "unknown key 'r'"),
        ("prior", {"n": 1}, "unknown key 'n'"),
        ("prior", {"weight": 0}, "weight is 0"),
    ],
)
def test_strange_settings_are_refused(study, name, value, fault):
    with pytest.raises(ValueError, match=f"{name}: .*{fault}"):
        study.tune(**{name: value})


def test_images_of_any_size_are_learned_from(study):
    task = study.tune()[0]
    small = dreambooth.plan(
        study.frame, [phantom.CONDITIONS[0]], {"text-to-image": task.base}, FineTune(image_size=32, steps=2), 1
    )
    assert dreambooth.fine_tune(small[0])


# What prior images of the small base are, under these pins and these kinds of processor, for this RECIPE.
PINNED = {
    "recipe": 1,
    "pins": "271ae2fe6bf5",
    "sha256": {"AVX2": "b2aa5a6823e39325da7ca2b723944c57cee21f1afd2fd112595a76f9d436a957"},
}


def test_pinned_bytes_of_prior_images(study):
    here = {"recipe": prior.RECIPE, "pins": seeds.digest(store.pins())[:12]}
    cpu = torch.backends.cpu.get_cpu_capability()
    if {k: PINNED[k] for k in here} != here or cpu not in PINNED["sha256"]:
        pytest.skip(f"pinned under {PINNED}, here {here} and {cpu}")
    assert study.digest("shard", prior.keep(study.tune(prior=PRIOR)[0]))["images.tar"] == PINNED["sha256"][cpu]
