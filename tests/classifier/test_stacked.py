"""Stacked heads: each cell as if it were trained alone, whoever stands beside it, and no cell harms another."""

import numpy as np
import pytest
import torch

from skinsyn.classifier import stacked
from skinsyn.classifier.settings import Training
from skinsyn.classifier.stacked import Job, train_heads
from skinsyn.classifier.training import Features, Part, train

CLASSES, WIDTH = 3, 64


@pytest.fixture(scope="module")
def bank():
    """Features of 400 images in the untransformed view and two random ones, three classes that overlap."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.35, (CLASSES, WIDTH))
    labels = np.arange(400) % CLASSES
    return (means[labels] + rng.normal(0, 1, (3, 400, WIDTH))).astype(np.float32)


def job(images: int, seed: int, classes: int = CLASSES, **more) -> Job:
    """A cell that trains on some of the first 300 images; all validate on the same 40 and answer the same 60."""
    rng = np.random.default_rng([images, seed])
    chosen = rng.permutation(300)[:images]
    places = np.concatenate([chosen, np.arange(300, 400)])
    ends = (0, images, images + 40, images + 100)
    parts = [Part(np.arange(a, b), (places % classes)[a:b]) for a, b in zip(ends, ends[1:], strict=False)]
    if more.pop("weighted", False):
        parts[0] = parts[0]._replace(weights=np.where(np.arange(images) % 2, 0.25, 1).astype(np.float32))
    return Job(places, *parts, seed, **more)


def many() -> list[Job]:
    """Cells of five shapes, some differing in their last batch alone; one weighs its images, one is shown them
    again."""
    made = [job(30, seed) for seed in range(3)] + [job(29, 3), job(90, 0), job(90, 1, transforms=True), job(84, 2)]
    return made + [job(90, 4, weighted=True), job(30, 5, epoch_images=90, transforms=True), job(7, 6)]


def alone(bank: np.ndarray, one: Job, settings: Training):
    source = Features(bank, "cpu", one.places)
    parts = (one.training, one.validation, one.test)
    return train(source, *parts, CLASSES, one.seed, settings, one.transforms, one.epoch_images)


@pytest.mark.parametrize("head", ["linear", "fastai"])
@pytest.mark.parametrize("best_model", ["restore", "last"])
def test_each_cell_is_as_if_trained_alone(bank, head, best_model):
    rate = {"linear": 5e-2, "fastai": 1e-2}[head]
    settings = Training(head=head, learning_rate=rate, epochs=12, patience=2, best_model=best_model)
    jobs = many()
    found = dict(train_heads(bank, jobs, CLASSES, settings, "cpu"))
    assert sorted(found) == list(range(len(jobs)))
    assert len({found[i].epochs for i in found}) > 1, "cells are meant to stop at different epochs"
    for number, one in enumerate(jobs):
        expected, got = alone(bank, one, settings), found[number]
        assert (got.epochs, got.best_epoch) == (expected.epochs, expected.best_epoch)
        np.testing.assert_allclose(got.losses, expected.losses, rtol=2e-4)
        np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=2e-4)
        np.testing.assert_allclose(got.validation, expected.validation, atol=2e-4)


@pytest.mark.parametrize("head", ["linear", "fastai"])
def test_the_bytes_do_not_depend_on_the_company(bank, head, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = Training(head=head, learning_rate=3e-3, epochs=5)
    jobs = many()
    together = dict(train_heads(bank, jobs, CLASSES, settings, "cpu"))
    for number in (0, 3, 5, 7):
        ((_, one),) = train_heads(bank, [jobs[number]], CLASSES, settings, "cpu")
        assert (
            np.array_equal(one.probabilities, together[number].probabilities) and one.losses == together[number].losses
        )
    monkeypatch.setattr(stacked, "WORKING", 1)  # each cell its own stack: what a grid larger than memory comes to
    single = dict(train_heads(bank, jobs, CLASSES, settings, "cpu"))
    assert all(np.array_equal(single[i].probabilities, together[i].probabilities) for i in together)
    torch.set_num_threads(before)


def test_cells_whose_last_batches_differ_do_not_share_a_sum():
    """198 and 216 images both take seven steps of at most 32; sums over 6 and 24 images would round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    wide = np.random.default_rng(3).normal(0, 1, (1, 400, 1280)).astype(np.float32)
    jobs = [job(216, seed, 9) for seed in range(3)] + [job(198, seed, 9) for seed in range(3, 10)]
    together = dict(train_heads(wide, jobs, 9, Training(epochs=5), "cpu"))
    for number, one in enumerate(jobs):
        ((_, single),) = train_heads(wide, [one], 9, Training(epochs=5), "cpu")
        assert single.losses == together[number].losses
        assert np.array_equal(single.probabilities, together[number].probabilities)
    torch.set_num_threads(before)


def test_a_cell_that_fails_leaves_the_others_as_they_were(bank):
    spoilt = bank.copy()
    jobs = [job(30, 0), job(30, 1), job(30, 2)]
    only = set(jobs[1].places[:30]) - set(jobs[0].places[:30]) - set(jobs[2].places[:30])
    spoilt[:, min(only)] = np.nan
    empty = jobs[0]._replace(training=Part(np.array([], int), np.array([], int)))
    settings = Training(epochs=3)
    found = dict(train_heads(spoilt, [*jobs, empty], CLASSES, settings, "cpu"))
    assert isinstance(found[1], ValueError) and "validation loss is nan after epoch 1" in str(found[1])
    assert isinstance(found[3], ValueError) and "training part holds 0 images" in str(found[3])
    for number in (0, 2):
        ((_, one),) = train_heads(bank, [jobs[number]], CLASSES, settings, "cpu")
        np.testing.assert_allclose(found[number].probabilities, one.probabilities, atol=1e-6)


def test_a_body_that_learns_too_and_views_that_are_not_there_are_refused(bank):
    with pytest.raises(ValueError, match="needs images"):
        list(train_heads(bank, [job(30, 0)], CLASSES, Training(trainable="head+bn"), "cpu"))
    with pytest.raises(ValueError, match="untransformed view only"):
        list(train_heads(bank[:1], [job(30, 0, transforms=True)], CLASSES, Training(), "cpu"))


def test_the_callers_random_numbers_are_left_alone(bank):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(train_heads(bank, [job(30, 0)], CLASSES, Training(epochs=1), "cpu"))
    assert torch.equal(before, torch.get_rng_state())
