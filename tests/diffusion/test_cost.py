"""What a plan costs is counted by the planners themselves."""

import pytest
from diffusers import AutoencoderTiny

from skinsyn.datasets import fitzpatrick17k
from skinsyn.diffusion import cost
from skinsyn.run import params


@pytest.fixture(scope="module")
def fitzpatrick():
    return cost.estimate("fitzpatrick17k", price=2.0)


def test_the_published_profile_is_counted_without_its_images(fitzpatrick):
    entries = params.of_profile("fitzpatrick17k")["03_generation"]["plan"]
    children = sum(fitzpatrick17k.PUBLISHED_TRAINING.values()) - 9 * 40  # validation images have none
    each = sum(entry["replicates"] * (2 if entry["method"] == "in-then-outpaint" else 1) for entry in entries)
    assert fitzpatrick["images"] == children * each
    assert fitzpatrick["models"] == 2 * (9 + 1)
    assert fitzpatrick["images"] == sum(v for k, v in fitzpatrick.items() if k.startswith("  "))
    assert "published for one A100" in fitzpatrick["rate"]


def test_hours_follow_from_passes_and_the_rate(fitzpatrick):
    """Text alone: 50 steps, guided; inpainting: 48 of 50 steps; outpainting: 47."""
    n = 2979
    passes = 2 * n * ((75 + 10) * 50 + 10 * 2 * (48 + 47))
    assert fitzpatrick["GPU-hours, generation"] == pytest.approx(passes / (3.04 * 32) / 3600, rel=1e-3)
    steps = sum(-(-count // 4) * 4 for count in fitzpatrick17k.PUBLISHED_TRAINING.values()) + -(-3339 // 4) * 4
    assert fitzpatrick["optimiser steps"] == 2 * steps
    learning = 2 * steps * 4 * cost.RECOMPUTED / (3.04 * 32) / 3600
    assert fitzpatrick["GPU-hours, fine-tuning"] == pytest.approx(learning, abs=0.006)
    hours = fitzpatrick["GPU-hours, generation"] + fitzpatrick["GPU-hours, fine-tuning"]
    assert fitzpatrick["money"] == pytest.approx(2 * hours, abs=0.05)


def test_more_replicates_cost_more_and_the_fast_preset_less(fitzpatrick):
    ten = cost.estimate("fitzpatrick17k", {"ratio": 10})
    fast = cost.estimate("fitzpatrick17k", {"preset": "fast"}, gpu="V100")
    assert ten["images"] < fitzpatrick["images"] == fast["images"]
    share = fast["GPU-hours, generation"] / fitzpatrick["GPU-hours, generation"] * cost.GPUS["V100"] / cost.GPUS["A100"]
    assert 0.2 < share < 0.25


def test_the_demo_is_measured_on_this_machine():
    found = cost.estimate("smoke")
    assert "measured here" in found["rate"] and found["models"] == 20 and "parameters of 01" in found["real images"]


def test_a_base_that_is_pretrained_here_counts():
    told = {
        "text_to_image_base": "tiny",
        "inpainting_base": "pretrain",
        "pretrain": {"steps": 10, "inpainting_steps": 5},
    }
    usual = cost.Pretrain()
    made = usual.steps + usual.inpainting_steps
    assert cost._pretraining_passes(told) == cost.STEP * usual.batch * 15
    assert cost._pretraining_passes({**told, "inpainting_base": "tiny"}) == 0
    assert cost._pretraining_passes({**told, "pretrain": {}}) == cost.STEP * 16 * made
    assert not any("pretraining" in name for name in cost.estimate("smoke"))


def test_an_autoencoder_decides_how_many_latents_are_timed(tmp_path):
    narrow = {"encoder_block_out_channels": (4, 4, 4, 4), "decoder_block_out_channels": (4, 4, 4, 4)}
    AutoencoderTiny(**narrow).save_pretrained(tmp_path / "eight")  # 8 pixels to a latent; the tiny base has 4
    loaded = [cost.base_model.load("tiny", autoencoder=name) for name in ("", str(tmp_path / "eight"))]
    assert [cost._latents(base, 256, 2).shape for base in loaded] == [(2, 4, 64, 64), (2, 4, 32, 32)]
    assert cost.measure("tiny", 64, str(tmp_path / "eight")).passes > 0


def test_what_cannot_be_known_is_said():
    with pytest.raises(FileNotFoundError, match="only 01"):
        cost.estimate("pad_ufes_20")
    with pytest.raises(ValueError, match="A100, V100"):
        cost.estimate("fitzpatrick17k", gpu="H1000")
