"""One loop for heads and whole networks: it learns, stops, restores, repeats itself, and finds what was planted
only."""

import shutil

import numpy as np
import pytest
import torch

from skinsyn.classifier import features, heads, training
from skinsyn.classifier.settings import Training
from skinsyn.classifier.training import Features, Images, Part, train


def blobs(per_class: int, classes: int = 3, width: int = 20, spread: float = 1.0, seed: int = 0):
    """Normal features around class means at distance about 3: (features, labels)."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(0, 0.5, (classes, width))
    labels = np.repeat(np.arange(classes), per_class)
    return (means[labels] + rng.normal(0, spread, (len(labels), width))).astype(np.float32), labels


def problem(n: int, spread: float = 1.0, seed: int = 0, views: int = 1):
    """A source with n training, 10 validation and 60 test images per class, and the three parts."""
    found = [blobs(size, spread=spread, seed=1000 * seed + i) for i, size in enumerate((n, 10, 60))]
    array = np.concatenate([x for x, _ in found])
    ends = np.cumsum([0, *(len(y) for _, y in found)])
    parts = [Part(np.arange(a, b), y) for a, b, (_, y) in zip(ends, ends[1:], found, strict=False)]
    return Features(np.stack([array] * views), "cpu"), parts


def accuracy(done: training.Trained, test: Part) -> float:
    return float((done.probabilities.argmax(1) == test.labels).mean())


@pytest.mark.parametrize("head", ["linear", "fastai"])
def test_it_learns_what_can_be_told_apart(head):
    source, parts = problem(16, spread=0.4)
    done = train(source, *parts, 3, 0, Training(head=head, learning_rate=1e-2))
    assert accuracy(done, parts[2]) > 0.95
    np.testing.assert_allclose(done.probabilities.sum(1), 1, atol=1e-5)


def test_the_same_seed_gives_the_same_answers_and_another_does_not():
    source, parts = problem(8)
    first, again, other = (train(source, *parts, 3, seed, Training(epochs=3)).probabilities for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(source, *parts, 3, 1, Training(epochs=1))
    assert torch.equal(before, torch.get_rng_state()), "training must leave the caller's random numbers alone"


def test_early_stopping_restores_the_best_epoch():
    source, parts = problem(4, spread=3.0)
    settings = Training(learning_rate=0.05, patience=3)
    restored = train(source, *parts, 3, 0, settings)
    assert restored.epochs == restored.best_epoch + 3 < 50
    assert restored.validation_loss == min(restored.losses)
    best = train(source, *parts, 3, 0, settings.but(epochs=restored.best_epoch, best_model="last"))
    assert np.array_equal(best.probabilities, restored.probabilities)
    last = train(source, *parts, 3, 0, settings.but(best_model="last"))
    assert last.losses == restored.losses and not np.array_equal(last.probabilities, restored.probabilities)


def test_transforms_need_views_and_use_them():
    source, parts = problem(8)
    with pytest.raises(ValueError, match="untransformed view only"):
        train(source, *parts, 3, 0, transforms=True)
    viewed, _ = problem(8, views=3)
    viewed.array[1:] += 1.0
    plain, moved = (train(viewed, *parts, 3, 0, Training(epochs=2), transforms=t).probabilities for t in (False, True))
    assert not np.array_equal(plain, moved)


def test_bad_input_is_named():
    source, (training_part, validation, test) = problem(4)
    empty = Part(np.array([], int), np.array([], int))
    with pytest.raises(ValueError, match="validation part holds 0 images"):
        train(source, training_part, empty, test, 3, 0)
    with pytest.raises(ValueError, match="labels of the training part"):
        train(source, training_part, validation, test, 2, 0)
    with pytest.raises(ValueError, match="trainable is 'body'"):
        train(source, training_part, validation, test, 3, 0, Training(trainable="body"))
    with pytest.raises(ValueError, match="needs images"):
        train(source, training_part, validation, test, 3, 0, Training(trainable="all"))
    source.array[:] = np.nan
    with pytest.raises(ValueError, match="validation loss is nan"):
        train(source, training_part, validation, test, 3, 0)


@pytest.mark.parametrize("images", [2, 9, 17, 33, 100, 600])
def test_every_image_is_shown_once_an_epoch_and_no_batch_is_one(images):
    batches = training.batches(images, None, 0, 1)
    assert sorted(np.concatenate(batches)) == list(range(images)) and min(map(len, batches)) > 1
    again = np.concatenate(training.batches(images, images * 3, 0, 1))
    assert (np.bincount(again) == 3).all()


def test_dropout_drops_its_share():
    torch.manual_seed(0)
    layer = heads.Dropout(0.25)
    found = layer(torch.ones(200, 501))
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert found.max().item() == pytest.approx(4 / 3)
    assert torch.equal(layer.eval()(found), found)


def mean_gain(make, runs: int = 8) -> float:
    """Accuracy with ten more images for each of two real ones, minus real only shown as often, over runs."""
    gains = []
    for seed in range(runs):
        source, (real, validation, test) = problem(2, seed=seed)
        more, labels = make(source.array[0][real.rows], real.labels, seed)
        places = np.arange(len(source.array[0]), len(source.array[0]) + len(more))
        both = Part(np.concatenate([real.rows, places]), np.concatenate([real.labels, labels]))
        larger = Features(np.concatenate([source.array, more[None]], axis=1), "cpu")
        settings = Training(learning_rate=1e-2)
        treated = train(larger, both, validation, test, 3, seed, settings)
        control = train(source, real, validation, test, 3, seed, settings, epoch_images=len(both.rows))
        gains.append(accuracy(treated, test) - accuracy(control, test))
    return float(np.mean(gains))


def test_a_planted_gain_is_found():
    assert mean_gain(lambda x, y, seed: blobs(20, seed=5000 + seed)) > 0.1


def test_copies_of_real_images_show_no_gain_where_steps_are_matched():
    assert abs(mean_gain(lambda x, y, seed: (np.tile(x, (10, 1)), np.tile(y, 10)))) < 0.02


def red_ones(count: int = 8):
    """A small body's source of pictures of which every second is red, and the part that holds them all."""
    body = features.load_body("test_efficientnet", pretrained=False)
    pixels = np.random.default_rng(0).integers(0, 128, (count, 40, 40, 3), dtype=np.uint8)
    labels = np.arange(count) % 2
    pixels[labels == 1, :, :, 0] += 120
    return Images(pixels, [f"i{i}" for i in range(count)], body, 32, "cpu"), Part(np.arange(count), labels)


@pytest.mark.parametrize("trainable", ["head+bn", "all"])
def test_bf16_learns_as_float32_does_to_its_own_precision(trainable):
    source, part = red_ones()
    settings = Training(trainable=trainable, epochs=40, patience=40, learning_rate=1e-2)
    plain, short = (train(source, part, part, part, 2, 0, settings.but(dtype=d)) for d in ("fp32", "bf16"))
    assert plain.validation_loss < 0.4 and short.validation_loss < 0.4
    assert short.losses[0] == pytest.approx(plain.losses[0], rel=0.05) and short.losses != plain.losses
    assert short.probabilities.dtype == np.float32
    np.testing.assert_allclose(short.probabilities.sum(1), 1, atol=1e-5)
    model = source.model(2, settings)
    inputs = source.batch(part.rows, 0, 0)
    assert torch.equal(training._logits(model.eval(), inputs, "fp32"), model(inputs)), "float32 is left as it was"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_is_the_same_step():
    source, part = red_ones()
    settings = Training(trainable="head+bn", epochs=3)
    plain, compiled = (train(source, part, part, part, 2, 0, settings.but(compile=c)) for c in (False, True))
    np.testing.assert_allclose(compiled.losses, plain.losses, rtol=1e-3)
    np.testing.assert_allclose(compiled.probabilities, plain.probabilities, atol=1e-3)


def test_a_precision_that_is_unknown_or_of_no_use_is_refused():
    source, parts = problem(4)
    with pytest.raises(ValueError, match="dtype is 'fp16', expected one of fp32, bf16"):
        train(source, *parts, 3, 0, Training(trainable="all", dtype="fp16"))
    for more in ({"dtype": "bf16"}, {"compile": True}):
        with pytest.raises(ValueError, match="are for trainable head.bn or all"):
            train(source, *parts, 3, 0, Training(**more))


@pytest.mark.parametrize("trainable", ["head+bn", "all"])
def test_body_and_head_train_end_to_end_on_images(trainable):
    source, part = red_ones()
    body, before = source.body, features.body_digest(source.body)
    settings = Training(trainable=trainable, epochs=40, patience=40, learning_rate=1e-2)
    done = train(source, part, part, part, 2, 0, settings, transforms=True)
    assert done.validation_loss < 0.4 and features.body_digest(body) == before, "the shared body must not be changed"
    model = source.model(2, settings)
    free = {name for name, p in model[0].named_parameters() if p.requires_grad}
    total = {name for name, _ in model[0].named_parameters()}
    assert free == total if trainable == "all" else free and all("bn" in name for name in free)


def test_only_batch_normalisation_of_a_frozen_body_moves():
    body = features.load_body("test_efficientnet", pretrained=False)
    model = Images(np.zeros((1, 8, 8, 3), np.uint8), ["a"], body, 32, "cpu").model(2, Training(trainable="head+bn"))
    training._set_mode(model, "head+bn")
    moving = {id(m) for m in model[0].modules() if m.training}
    norms = [layer for norm in training._norms(model[0]) for layer in norm.modules()]
    assert moving == {id(layer) for layer in norms} and len(norms) > 5 and model[1].training
