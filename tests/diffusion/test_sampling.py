"""Sampling beyond the study: img2img, schedulers, sources of any size, the fast preset; and one image made again."""

import numpy as np
import pandas as pd
import pytest

from skinsyn import images
from skinsyn.datasets import phantom
from skinsyn.diffusion import generation, remake, sampling
from skinsyn.diffusion.settings import SCHEDULERS, Sampling, read_plan
from skinsyn.run import store, tables


def pixels_of(task):
    return images.read_shard(generation.generate(task))[1].astype(int)


def test_defaults_are_in_no_key(study):
    for method in ("text-to-image", "in-then-outpaint"):
        plain = study.draw(method)[0]
        said = study.draw(method, scheduler="dpm-solver", preset="exact", strength_img2img=0.1)[0]
        assert generation.key_of(plain) == generation.key_of(said)
        for change in ({"scheduler": "ddim"}, {"preset": "fast"}):
            assert generation.key_of(study.draw(method, **change)[0]) != generation.key_of(plain)


def test_img2img_stays_nearer_to_its_source_the_less_noise_it_goes_through(study):
    tasks = [study.draw("img2img", strength_img2img=s, sampling_steps=10)[0] for s in (0.1, 0.9)]
    pixels = sampling._to_tensor(images.pixels(tasks[0].parents)) * 2 - 1
    vae = sampling._pipeline_of(tasks[0]).vae
    back = (
        vae.decode(vae.encode(pixels).latents).sample.detach().permute(0, 2, 3, 1).clamp(-1, 1).numpy()
    )  # the source, as
    near, far = (np.abs(pixels_of(task) / 127.5 - 1 - back).mean() for task in tasks)  # an autoencoder can show it
    assert near < far
    assert generation.key_of(tasks[0]) != generation.key_of(tasks[1])


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "dpm-solver"])
def test_every_scheduler_draws_and_draws_otherwise(study, scheduler):
    usual, other = (study.draw("text-to-image", sampling_steps=5, **more)[0] for more in ({}, {"scheduler": scheduler}))
    assert (pixels_of(usual) != pixels_of(other)).any()


def test_sources_of_another_size_are_resized(study):
    unit = store.key_of("shard", images.RECIPE, {"test": "another size"}, {}, 0)
    pictures = np.stack([phantom.draw("annular", 2, seed=i, size=96).image for i in range(2)])
    rows = pd.DataFrame({"image_id": ["x", "y"]})
    store.keep("shard", unit, lambda folder: images.write_shard(folder, pictures, rows))
    large = study.frame.head(2).assign(image_id=["x", "y"], condition=phantom.CONDITIONS[0], unit=unit, row=[0, 1])
    mixed = pd.concat([large, study.frame[study.frame["condition"] == phantom.CONDITIONS[0]]])
    task = study.draw("in-then-outpaint")[0]
    settings = Sampling(**{name: getattr(task, name) for name in Sampling.names()})
    entry = {"method": "in-then-outpaint", "generator": "base", "scope": "condition", "replicates": 1}
    table = generation.table(study.make(generation.plan(mixed, study.models, read_plan([entry]), settings, 1)))
    assert {"x", "y"} < set(table["parent"])
    assert images.read_shard(table["unit"].iloc[0])[1].shape[1:] == (64, 64, 3)


def test_the_fast_preset_hands_latents_on_and_guides_at_first(study):
    fast = {"preset": "fast", "sampling_steps": 20}
    task = study.draw("in-then-outpaint", batch_size=8, **fast)[0]
    seen = []
    unet = sampling._pipeline_of(task).unet
    hook = unet.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    second = generation.generate(task)
    hook.remove()
    n = len(task.parents)
    assert seen == ([2 * n] * 3 + [n] * 2) * 2, (
        "both stages: 6 steps of 20, of which strength leaves 5 and 3 are guided"
    )
    first = store.unit_dir("shard", generation.key_of(task.first))
    handed = np.load(first / generation.LATENTS)
    assert handed.dtype == np.float16 and handed.shape == (n, 4, 16, 16)
    shown = sampling.to_bytes(sampling.decode(task.first, handed.astype(np.float32))).astype(int)
    assert np.abs(shown - images.read_shard(first.name)[1]).max() <= 2, "the kept images are those latents, decoded"
    alone = study.draw("in-then-outpaint", batch_size=1, **fast)[0]
    assert np.abs(pixels_of(alone) - images.read_shard(second)[1]).max() <= 2


def test_what_is_shown_of_handed_latents_is_near_to_what_pixels_would_show(study):
    """The fast way is nearer to encoding the masked pixels than unmasked latents would be."""
    task = study.draw("in-then-outpaint", preset="fast", batch_size=8)[0]
    pipeline = sampling._pipeline_of(task)
    parents = images.pixels(task.parents)
    pixels = sampling._to_tensor(parents) * 2 - 1
    handed = pipeline.vae.encode(pixels).latents.detach() * (pipeline.vae.config.scaling_factor or 1.0)
    told = sampling._painting(task, pipeline, handed.numpy())
    mask = told["mask_image"]
    truth = pipeline.vae.encode(pixels * (mask < 0.5)).latents.detach() * (pipeline.vae.config.scaling_factor or 1.0)
    off = (told["masked_image_latents"] - truth).abs().mean()
    assert off < (handed[:1] - truth[:1]).abs().mean() / 2


def test_a_second_attempt_replaces_the_latents_too(study, monkeypatch):
    latents, calls = generation.latents, []

    def broken(*given):
        calls.append(latents(*given))
        return np.full_like(calls[-1], np.nan) if len(calls) == 1 else calls[-1]

    monkeypatch.setattr(generation, "latents", broken)
    task = study.draw("inpaint", preset="fast", batch_size=8, seed=5)[0]
    folder = store.unit_dir("shard", generation.generate(task))
    assert len(calls) == 2 and np.array_equal(np.load(folder / generation.LATENTS), calls[1].astype(np.float16))


def test_unknown_presets_and_schedulers_are_refused(study):
    for name in ("scheduler", "preset"):
        with pytest.raises(ValueError, match=f"{name} is 'best'"):
            study.draw("text-to-image", **{name: "best"})


def test_one_image_is_made_again_with_its_batch_and_alone(study, monkeypatch):
    sample, first = generation.sample, []

    def once_broken(task, rows, start, seeds):
        out = sample(task, rows, start, seeds)
        if task.method == "in-then-outpaint" and not first:
            first.append(1)
            out[0] = np.nan
        return out

    with monkeypatch.context() as patch:
        patch.setattr(generation, "sample", once_broken)
        table = generation.table(study.make(study.draw("in-then-outpaint", seed=3)))
    tables.save("tiny", "synthetic", table, made_by="03_generation")
    assert table["made_again"].sum() == 1
    known = table.set_index("image_id")["seed"]
    for image_id in [known.index[table["made_again"]][0], known.index[1], known.index[-1]]:
        again = remake.image("tiny", image_id)
        assert again.identical and again.largest <= 1 and again.file.exists() and again.seed == known[image_id]
    with pytest.raises(ValueError, match="did you mean"):
        remake.image("tiny", known.index[0] + "0")


def test_an_image_of_the_fast_preset_is_made_again(study):
    table = generation.table(study.make(study.draw("in-then-outpaint", preset="fast", seed=4)))
    tables.save("tiny", "synthetic", table, made_by="03_generation")
    for image_id in table.groupby("method")["image_id"].first():
        assert remake.image("tiny", image_id).identical
