"""Against fastai itself (extra `peers`): its transforms are ours, its head is ours, and a cell of it answers alike."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from skinsyn.classifier import augment, features, heads, training
from skinsyn.classifier.settings import Training
from skinsyn.datasets import phantom

pytestmark = pytest.mark.slow  # importing fastai alone takes seconds
vision = pytest.importorskip("fastai.vision.all", reason="fastai is not installed: pip install 'skinsyn[peers]'")

CLASSES, RUNS, BATCH, EPOCHS = phantom.CONDITIONS[:3], 5, 32, 30
PARTS = {"training": 32, "validation": 20, "test": 60}  # images of each class; whole batches, for fastai drops the rest


def test_the_geometry_is_that_of_fastais_transforms():
    """Flip, rotation, zoom and warp with the same draws, composed by fastai's own pipeline."""
    pixels = torch.rand(2, 3, 33, 33, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    draws = {"flip": [1, 0], "degrees": [7.0, -4.0], "zoom": [1.08, 1.02], "x": [0.3, 0.9], "y": [0.7, 0.2]}
    tilts = {"x": [0.15, -0.1], "y": [-0.05, 0.0]}
    theirs = vision.setup_aug_tfms(
        [
            vision.Flip(p=1.0, draw=draws["flip"]),
            vision.Warp(p=1.0, draw_x=tilts["x"], draw_y=tilts["y"]),
            vision.Rotate(p=1.0, draw=draws["degrees"]),
            vision.Zoom(p=1.0, draw=draws["zoom"], draw_x=draws["x"], draw_y=draws["y"]),
        ]
    )
    expected = vision.TensorImage(pixels.clone())
    for tfm in theirs:
        expected = tfm(expected, split_idx=0)
    ours = [
        augment.Draw(augment.matrix(bool(flip), degrees, zoom, (x, y), (tilts["x"][i], tilts["y"][i])), 0.0, 1.0)
        for i, (flip, degrees, zoom, x, y) in enumerate(zip(*draws.values(), strict=True))
    ]
    assert float((augment.apply(pixels, ours) - torch.Tensor(expected)).abs().max()) < 2e-3


def test_the_lighting_is_that_of_fastais_transforms():
    pixels = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    levels, contrasts = [0.58, 0.44], [1.2, 0.85]
    expected = vision.TensorImage(pixels.clone())
    for tfm in vision.setup_aug_tfms([vision.Brightness(p=1.0, draw=levels), vision.Contrast(p=1.0, draw=contrasts)]):
        expected = tfm(expected, split_idx=0)
    ours = [augment.Draw(np.eye(3), float(np.log(a / (1 - a))), c) for a, c in zip(levels, contrasts, strict=True)]
    assert float((augment.apply(pixels, ours) - torch.Tensor(expected)).abs().max()) < 1e-4


def test_the_defaults_are_those_of_aug_transforms():
    defaults = vision.aug_transforms.__defaults__
    names = vision.aug_transforms.__code__.co_varnames[: len(defaults)]
    told = dict(zip(names, defaults, strict=True))
    ours = (augment.MAX_ROTATE, augment.MAX_ZOOM, augment.MAX_WARP, augment.MAX_LIGHTING)
    assert tuple(told[f"max_{name}"] for name in ("rotate", "zoom", "warp", "lighting")) == ours
    assert told["p_affine"] == told["p_lighting"] == augment.PROBABILITY and told["do_flip"] and not told["flip_vert"]


def test_the_head_has_fastais_layers():
    theirs = [layer for layer in vision.create_head(1280, 3).children()][2:]  # after pooling and flattening
    ours = list(heads.make_head(2 * 1280, 3, "fastai").children())
    kinds = lambda layers: [type(layer).__name__ for layer in layers]  # noqa: E731
    assert kinds(theirs) == kinds(ours)
    shapes = lambda layers: [tuple(p.shape) for layer in layers for p in layer.parameters()]  # noqa: E731
    assert shapes(theirs) == shapes(ours)
    shares = [1 - 1 / layer.scale for layer in ours if isinstance(layer, heads.Dropout)]
    assert shares == pytest.approx([layer.p for layer in theirs if isinstance(layer, torch.nn.Dropout)])
    body = features.load_body(pool=heads.POOL["fastai"])
    seen = features.embed(np.zeros((1, 64, 64, 3), np.uint8), body, 64, threads=1)
    assert seen.shape == (1, 2 * 1280) == (1, features.width(body))


def test_the_head_begins_as_fastais_does():
    torch.manual_seed(0)
    theirs, ours = list(vision.create_head(640, 200).children())[2:], list(heads.make_head(2 * 640, 200, "fastai"))
    vision.apply_init(torch.nn.Sequential(*theirs), torch.nn.init.kaiming_normal_)  # `vision_learner` does so
    for a, b in zip(theirs, ours, strict=True):
        for x, y in zip(a.parameters(), b.parameters(), strict=True):
            assert y.std(correction=0).item() == pytest.approx(x.std(correction=0).item(), rel=0.02)
            assert y.mean().item() == pytest.approx(x.mean().item(), abs=5e-4)


def test_a_step_is_fastais_step():
    """The same head, gradients, rate and decay: after each of twenty steps the same numbers, norms and biases
    included."""
    torch.manual_seed(0)
    mine = heads.make_head(6, 3, "fastai").eval()  # without chance
    learn = vision.Learner(vision.DataLoaders([], []), copy.deepcopy(mine), loss_func=vision.CrossEntropyLossFlat())
    learn.create_opt()
    learn.opt.set_hypers(lr=0.05, wd=0.3)
    settings = Training(head="fastai", learning_rate=0.05, weight_decay=0.3)
    optimiser = training._optimiser(mine, settings)
    for _ in range(20):
        inputs, labels = torch.randn(8, 6), torch.randint(0, 3, (8,))
        for model, steps in ((mine, optimiser), (learn.model, learn.opt)):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            steps.step()
        for ours, theirs in zip(mine.parameters(), learn.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A tiny split of phantoms, as files for fastai and as one array: (folder, frame, pixels)."""
    folder, rows, pixels = tmp_path_factory.mktemp("fastai"), [], []
    for part, count in PARTS.items():
        for name in CLASSES:
            for number in range(count):
                pixels.append(phantom.draw(name, number % 6 + 1, seed=len(rows)).image)
                rows.append({"name": f"{len(rows):04d}.png", "label": name, "part": part})
                Image.fromarray(pixels[-1]).save(folder / rows[-1]["name"])
    return folder, pd.DataFrame(rows), np.stack(pixels)


def theirs(pictures, trainable: str, seed: int) -> float:
    """Accuracy of a cell as its authors would write it with fastai."""
    folder, frame, _ = pictures
    body = features.load_body()
    vision.set_seed(seed)
    used = frame[frame["part"] != "test"].assign(held=lambda rows: rows["part"] == "validation")
    stats = vision.Normalize.from_stats(body.pretrained_cfg["mean"], body.pretrained_cfg["std"])
    dls = vision.ImageDataLoaders.from_df(
        used[["name", "label", "held"]],
        folder,
        valid_col="held",
        bs=BATCH,
        val_bs=64,
        batch_tfms=[stats],
        num_workers=0,
    )
    learn = vision.vision_learner(dls, features.LITE0, pretrained=False, train_bn=trainable == "head+bn", path=folder)
    learn.model[0].model.load_state_dict(body.state_dict(), strict=True)
    learn.freeze()
    stop = vision.EarlyStoppingCallback(monitor="valid_loss", patience=3)
    keep = vision.SaveModelCallback(monitor="valid_loss", fname=f"best-{trainable}-{seed}", with_opt=False)
    frozen = [] if trainable == "head+bn" else [vision.BnFreeze()]
    with learn.no_bar(), learn.no_logging():
        learn.fit(EPOCHS, 1e-3, cbs=[keep, stop, *frozen])
        test = frame[frame["part"] == "test"]
        p, _ = learn.get_preds(dl=dls.test_dl([folder / name for name in test["name"]]))
    return float((np.array(dls.vocab)[p.argmax(1).numpy()] == test["label"].to_numpy()).mean())


def ours(pictures, trainable: str, seed: int) -> float:
    _, frame, pixels = pictures
    body = features.load_body(pool="catavgmax")
    labels = pd.Categorical(frame["label"], CLASSES).codes.astype(np.int64)
    parts = [training.Part(at, labels[at]) for at in (np.flatnonzero(frame["part"] == part) for part in PARTS)]
    settings = Training(trainable=trainable, head="fastai", epochs=EPOCHS)
    if trainable == "head":
        source = training.Features(features.embed(pixels, body, 64, threads=1)[None], "cpu")
    else:
        source = training.Images(pixels, frame["name"].tolist(), body, 64, "cpu")
    assert training.batch_size(len(parts[0].rows)) == BATCH
    done = training.train(source, *parts, len(CLASSES), seed, settings)
    return float((done.probabilities.argmax(1) == parts[2].labels).mean())


@pytest.mark.parametrize("trainable", ["head", "head+bn"])
def test_a_cell_agrees_with_fastais_within_noise(pictures, trainable):
    first, second = (np.array([f(pictures, trainable, seed) for seed in range(RUNS)]) for f in (ours, theirs))
    noise = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / RUNS)
    assert min(first.mean(), second.mean()) > 0.45, "both are meant to learn; a third is guessing"
    assert abs(first.mean() - second.mean()) < max(3 * noise, 0.03), (first, second)
