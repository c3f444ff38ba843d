"""Training of one classifier: a head on kept features, or body and head end to end on images, by one and the same loop."""

import copy
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from skinsyn.run import seeds

from . import augment, features

__all__ = ["Features", "Images", "Part", "Settings", "Trained", "batch_size", "pick_device", "train"]

TRAINABLE = ("head", "head+bn", "all")


class Settings(NamedTuple):
    """How a classifier is trained; the defaults are the study's where it states them."""

    trainable: str = "head"  # head | head+bn | all
    head: str = "linear"  # linear | fastai
    epochs: int = 50  # at most
    patience: int = 3  # epochs without a lower validation loss, then stop
    best_model: str = "restore"  # restore | last
    learning_rate: float = 1e-3  # of AdamW, fastai's default
    weight_decay: float = 1e-2  # fastai's default


DEFAULT = Settings()


class Part(NamedTuple):
    """Images of one part: rows in the source (n,) and labels (n,), integers from 0."""

    rows: np.ndarray
    labels: np.ndarray


class Trained(NamedTuple):
    """Probabilities (n_test, classes), epochs run, the best one (from 1), its validation loss, and the loss by epoch."""

    probabilities: np.ndarray
    epochs: int
    best_epoch: int
    validation_loss: float
    losses: list[float]


class Source(Protocol):
    """Where inputs come from: `batch` gives those of some rows, `model` a fresh network that takes them."""

    device: torch.device

    def batch(self, rows: np.ndarray, seed: int, view: int) -> torch.Tensor: ...

    def model(self, classes: int, settings: Settings) -> nn.Module: ...


def pick_device(device: str = "auto") -> torch.device:
    """`auto`: the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


class Features:
    """Kept features (views, n, d): view 0 for no transforms; with transforms, each image in a random view each epoch."""

    def __init__(self, array: np.ndarray, device: str = "auto") -> None:
        self.array, self.device = array, pick_device(device)

    def batch(self, rows: np.ndarray, seed: int, view: int) -> torch.Tensor:
        """Features of some rows; `view` counts epochs from 1, 0 is without transforms."""
        views = 0
        if view:
            if len(self.array) < 2:
                raise ValueError("transforms were asked for, but the features hold the untransformed view only")
            # Drawn for all images and then picked, so that an image's view does not depend on the others in the batch.
            views = seeds.generator(seed, "views", view).integers(1, len(self.array), self.array.shape[1])[rows]
        return torch.from_numpy(self.array[views, rows]).to(self.device)

    def model(self, classes: int, settings: Settings) -> nn.Module:
        """A head alone. Raises ValueError where more than the head is to be trained."""
        if settings.trainable != "head":
            raise ValueError(f"trainable {settings.trainable!r} needs images: kept features are of a frozen body")
        return make_head(self.array.shape[-1], classes, settings.head)


class Images:
    """Images, uint8 (n, s, s, 3) array or memmap; transforms are drawn afresh each epoch.

    ids: of the images in the order of `places`, their rows in the array; without places, in the array's own order.
    """

    def __init__(
        self,
        images: np.ndarray,
        ids: Sequence[str],
        body: nn.Module,
        image_size: int,
        device: str = "auto",
        places: np.ndarray | None = None,
    ) -> None:
        self.images, self.ids, self.body = images, list(ids), body
        self.image_size, self.device = image_size, pick_device(device)
        self.places = np.arange(len(images)) if places is None else places

    def batch(self, rows: np.ndarray, seed: int, view: int) -> torch.Tensor:
        """Normalised pictures of some rows; `view` counts epochs from 1, 0 is without transforms."""
        pixels = features.to_tensor(self.images[self.places[rows]], self.image_size).to(self.device)
        if view:
            pixels = augment.apply(pixels, [augment.draw(seed, self.ids[row], view) for row in rows])
        return features.normalise(pixels, self.body)

    def model(self, classes: int, settings: Settings) -> nn.Module:
        """A copy of the body, frozen as `trainable` says, with a fresh head."""
        body = copy.deepcopy(self.body).to(memory_format=torch.channels_last)
        body.requires_grad_(settings.trainable == "all")
        if settings.trainable == "head+bn":
            for layer in _norms(body):
                layer.requires_grad_(True)
        return nn.Sequential(body, make_head(body.num_features, classes, settings.head))


class Dropout(nn.Module):
    """Dropout by random bytes, exact for shares that are multiples of 1/256: torch's own took a third of a small cell."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.limit, self.scale = round(share * 256), 1 / (1 - share)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.limit
        return x * (kept * self.scale)


def make_head(inputs: int, classes: int, kind: str) -> nn.Module:
    """A fresh head on pooled features (n, inputs).

    linear: normalise each feature over the batch, drop a quarter, one linear layer. fastai: its two-layer head (512 hidden)
    but for the pooling, which the body has done.
    """
    if kind == "linear":
        return nn.Sequential(nn.BatchNorm1d(inputs), Dropout(0.25), nn.Linear(inputs, classes))
    if kind == "fastai":
        first = (nn.BatchNorm1d(inputs), Dropout(0.25), nn.Linear(inputs, 512, bias=False), nn.ReLU())
        return nn.Sequential(*first, nn.BatchNorm1d(512), Dropout(0.5), nn.Linear(512, classes, bias=False))
    raise ValueError(f"head {kind!r}: expected linear or fastai")


def batch_size(images: int) -> int:
    """8, 32, 64 or 128 by training-set size. The study names the four sizes and not the borders, which are ours."""
    return next((size for size, border in ((8, 64), (32, 512), (64, 4096)) if images < border), 128)


def train(
    source: Source,
    training: Part,
    validation: Part,
    test: Part,
    classes: int,
    seed: int,
    settings: Settings = DEFAULT,
    transforms: bool = False,
    epoch_images: int | None = None,
) -> Trained:
    """Train one classifier and let it answer the test images. The same seed gives the same answers.

    classes: number of classes; labels are below it. transforms: of training images only. epoch_images: images shown an
    epoch; None shows each once, a larger number shows them again in another order (`steps: matched`).
    Raises ValueError for an empty part, labels out of range or a validation loss that is not finite.
    """
    _check(training, validation, test, classes, settings)
    shown = max(epoch_images or 0, len(training.rows))
    size = min(batch_size(shown), shown)
    cuda = [source.device.index or 0] if source.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        model = source.model(classes, settings).to(source.device)
        optimiser = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        losses, best, state = [], 0, None
        for epoch in range(1, settings.epochs + 1):
            _set_mode(model, settings.trainable)
            for at in _batches(len(training.rows), shown, size, seed, epoch):
                inputs = source.batch(training.rows[at], seed, epoch if transforms else 0)
                labels = torch.from_numpy(training.labels[at]).to(source.device)
                optimiser.zero_grad(set_to_none=True)
                F.cross_entropy(model(inputs), labels).backward()
                optimiser.step()
            losses.append(_loss(source, model, validation))
            if not np.isfinite(losses[-1]):
                raise ValueError(f"the validation loss is {losses[-1]} after epoch {epoch}; lower the learning rate")
            if losses[-1] < min(losses[:-1], default=np.inf):
                best = epoch
                if settings.best_model == "restore":
                    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
            if epoch - best >= settings.patience:
                break
        if state is not None:
            model.load_state_dict(state)
        answers = _predict(source, model, test.rows).softmax(1).cpu().numpy()
    return Trained(answers, len(losses), best, losses[best - 1], losses)


def _check(training: Part, validation: Part, test: Part, classes: int, settings: Settings) -> None:
    for name, part in (("training", training), ("validation", validation), ("test", test)):
        if len(part.rows) != len(part.labels) or len(part.rows) == 0:
            raise ValueError(f"the {name} part holds {len(part.rows)} images and {len(part.labels)} labels; expected 1 each")
        if part.labels.min() < 0 or part.labels.max() >= classes:
            raise ValueError(f"labels of the {name} part lie outside 0..{classes - 1}")
    if len(training.rows) < 2:
        raise ValueError("one training image is too few: normalising over a batch needs two")
    if settings.trainable not in TRAINABLE or settings.best_model not in ("restore", "last"):
        raise ValueError(
            f"trainable {settings.trainable!r}, best_model {settings.best_model!r}: expected one of {', '.join(TRAINABLE)}, "
            "and restore or last"
        )


def _batches(images: int, shown: int, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Places in the training part, batch by batch; every image once before any comes twice.

    A last batch of one is joined to the one before: it could not be normalised.
    """
    rng = seeds.generator(seed, "order", epoch)
    order = np.concatenate([rng.permutation(images) for _ in range(-(-shown // images))])[:shown]
    cuts = list(range(size, shown, size))
    if cuts and shown - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def _norms(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


def _set_mode(model: nn.Module, trainable: str) -> None:
    """Training mode, but a frozen body stays as it is: only its batch normalisation moves, and only where it is trained."""
    model.train()
    if len(model) == 2 and trainable != "all":  # (body, head); a head alone has three layers or more
        model[0].eval()
        for layer in _norms(model[0]) if trainable == "head+bn" else []:
            layer.train()


def _predict(source: Source, model: nn.Module, rows: np.ndarray, size: int = 512) -> torch.Tensor:
    """Logits (n, classes), without transforms."""
    model.eval()
    size = size if isinstance(source, Features) else 64
    with torch.inference_mode():
        return torch.cat([model(source.batch(rows[i : i + size], 0, 0)) for i in range(0, len(rows), size)])


def _loss(source: Source, model: nn.Module, part: Part) -> float:
    labels = torch.from_numpy(part.labels).to(source.device)
    return float(F.cross_entropy(_predict(source, model, part.rows), labels))
