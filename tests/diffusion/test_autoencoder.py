"""The tiny autoencoder: it starts with the colours right, learns, and the shipped one keeps lesions."""

import numpy as np
import torch

from skinsyn.datasets import phantom
from skinsyn.diffusion import autoencoder, base_model


def phantoms(per: int, seed: int, names: tuple[str, ...] = phantom.CONDITIONS) -> np.ndarray:
    labels = [name for name in names for _ in range(per)]
    return np.stack([phantom.draw(n, i % 6 + 1, seed + i).image for i, n in enumerate(labels)])


def back(vae: autoencoder.Vae, images: np.ndarray) -> np.ndarray:
    return autoencoder.decode(vae, autoencoder.encode(vae, autoencoder.to_tensor(images)))


def test_it_starts_as_an_average_with_the_colours_right():
    images = phantoms(2, 0)
    torch.manual_seed(0)
    vae = autoencoder.new_autoencoder(images).eval()
    error = back(vae, images).astype(float) - images
    assert (
        autoencoder.psnr(vae, images) > 30 and np.abs(error.mean((1, 2))).mean() < 4
    )  # grey levels of an image's mean colour
    assert autoencoder.encode(vae, autoencoder.to_tensor(images)).shape == (18, 4, 16, 16)


def test_training_is_the_same_twice_and_its_latents_have_unit_spread():
    images = phantoms(2, 0, phantom.PRETRAINING_PATTERNS)
    with torch.random.fork_rng(devices=[]):
        made = [autoencoder.train_autoencoder(images, steps, 4, 2e-3, seed=1)[0] for steps in (30, 30)]
    assert all(torch.equal(a, b) for a, b in zip(*(vae.state_dict().values() for vae in made), strict=True))
    scaled = autoencoder.encode(made[0], autoencoder.to_tensor(images))
    assert 0.9 < float(scaled.std()) < 1.1


def test_psnr_of_a_known_error():
    class Off(torch.nn.Module):
        config = type("Config", (), {"scaling_factor": 1.0})

        def encode(self, pixels):
            return type("Out", (), {"latents": pixels})

        def decode(self, latents):
            return type("Out", (), {"sample": latents + 5 * 2 / 255})  # five grey levels everywhere

    images = np.full((2, 16, 16, 3), 100, np.uint8)
    assert abs(autoencoder.psnr(Off(), images) - 20 * np.log10(255 / 5)) < 0.01


def test_shipped_autoencoder_keeps_lesions_that_it_never_saw():
    shown = phantoms(1, 0)
    assert autoencoder.psnr(base_model.load("tiny").vae, shown) > 26
