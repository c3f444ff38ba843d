"""Training of one classifier: a head on kept features, or body and head end to end on images, by one and the same
loop."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from skinsyn.run import seeds

from . import augment, features
from .heads import OPTIMISER, decays, make_head
from .settings import Training

__all__ = [
    "Features", "History", "Images", "Part", "Trained", "batch_size", "batches", "make_optimiser", "pick_device",
    "train",
]  # fmt: skip

DEFAULT = Training()


class Part(NamedTuple):
    """Images of one part: rows in the source (n,), labels (n,), integers from 0, and weights in the loss, float32
    (n,)."""

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None  # of training images; None: all the same


class Trained(NamedTuple):
    """Probabilities of the test (n_test, classes) and validation images, epochs run, the best one (from 1), its
    validation loss, and the loss by epoch."""

    probabilities: np.ndarray
    validation: np.ndarray
    epochs: int
    best_epoch: int
    validation_loss: float
    losses: list[float]


class Source(Protocol):
    """Where inputs come from: `batch` gives those of some rows, `model` a fresh network that takes them."""

    device: torch.device

    def batch(self, rows: np.ndarray, seed: int, view: int) -> torch.Tensor: ...

    def model(self, classes: int, settings: Training) -> nn.Module: ...


class History:
    """The validation losses of one classifier by epoch, its best epoch, and its state there where that is restored."""

    def __init__(self, settings: Training) -> None:
        self.settings = settings
        self.losses: list[float] = []
        self.best = 0
        self.state: dict[str, torch.Tensor] = {}

    def goes_on(self, loss: float, state: Callable[[], dict[str, torch.Tensor]]) -> bool:
        """Whether training goes on after an epoch with this loss. Raises ValueError for one that is not finite."""
        self.losses.append(loss)
        epoch = len(self.losses)
        if not np.isfinite(loss):
            raise ValueError(f"the validation loss is {loss} after epoch {epoch}; lower the learning rate")
        if loss < min(self.losses[:-1], default=np.inf):
            self.best = epoch
            if self.settings.best_model == "restore":
                self.state = {name: value.detach().clone() for name, value in state().items()}
        return epoch < self.settings.epochs and epoch - self.best < self.settings.patience

    def trained(self, *logits: torch.Tensor) -> Trained:
        """The result. logits: of the test images, then of the validation images."""
        test, validation = (part.softmax(1).cpu().numpy() for part in logits)
        return Trained(test, validation, len(self.losses), self.best, self.losses[self.best - 1], self.losses)


def pick_device(device: str = "auto") -> torch.device:
    """`auto`: the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


class Features:
    """Kept features (views, n, d): view 0 for no transforms; with transforms, each image in one random view per epoch.

    places: rows of the array in the order that rows of a `Part` count; None: all, in the array's own order.
    """

    def __init__(self, array: np.ndarray, device: str = "auto", places: np.ndarray | None = None) -> None:
        self.array, self.device = array, pick_device(device)
        self.places = np.arange(array.shape[1]) if places is None else places

    def where(self, rows: np.ndarray, seed: int, view: int) -> tuple[np.ndarray, np.ndarray]:
        """(view, row in the array) of some rows; `view` counts epochs from 1, 0 is without transforms."""
        if view and len(self.array) < 2:
            raise ValueError("transforms were asked for, but the features hold the untransformed view only")
        # Drawn for all images and then picked, so that an image's view does not depend on the others in the batch.
        drawn = seeds.generator(seed, "views", view).integers(1, len(self.array), len(self.places)) if view else None
        return np.zeros(len(rows), int) if drawn is None else drawn[rows], self.places[rows]

    def batch(self, rows: np.ndarray, seed: int, view: int) -> torch.Tensor:
        """Features of some rows, as `where` says."""
        return torch.from_numpy(self.array[self.where(rows, seed, view)]).to(self.device)

    def model(self, classes: int, settings: Training) -> nn.Module:
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

    def model(self, classes: int, settings: Training) -> nn.Module:
        """A copy of the body, frozen as `trainable` says, with a fresh head."""
        body = copy.deepcopy(self.body).to(memory_format=torch.channels_last)
        body.requires_grad_(settings.trainable == "all")
        if settings.trainable == "head+bn":
            for layer in _norms(body):
                layer.requires_grad_(True)
        return nn.Sequential(body, make_head(features.width(body), classes, settings.head))


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
    settings: Training = DEFAULT,
    transforms: bool = False,
    epoch_images: int | None = None,
) -> Trained:
    """Train one classifier and let it answer the test images. The same seed gives the same answers.

    classes: number of classes; labels are below it. transforms: of training images only. epoch_images: images shown per
    epoch; None shows each once, a larger number shows them again in another order (`steps: matched`).
    Raises ValueError for an empty part, labels out of range or a validation loss that is not finite.
    """
    check(training, validation, test, classes)
    cuda = [source.device.index or 0] if source.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        model = source.model(classes, settings).to(source.device)
        learner = torch.compile(model) if settings.compile else model
        groups: dict[bool, list[torch.Tensor]] = {}
        for value in filter(lambda value: value.requires_grad, model.parameters()):
            groups.setdefault(decays(settings.head, value.shape), []).append(value)
        optimiser, history, going = make_optimiser(groups.items(), settings), History(settings), True
        while going:
            epoch = len(history.losses) + 1
            _set_mode(model, settings.trainable)
            for at in batches(len(training.rows), epoch_images, seed, epoch):
                inputs = source.batch(training.rows[at], seed, epoch if transforms else 0)
                labels = torch.from_numpy(training.labels[at]).to(source.device)
                weights = None if training.weights is None else torch.from_numpy(training.weights[at]).to(source.device)
                optimiser.zero_grad(set_to_none=True)
                losses = F.cross_entropy(_logits(learner, inputs, settings.dtype), labels, reduction="none")
                # Each image by its weight: Σ w·loss / Σ w.
                loss = losses.mean() if weights is None else (losses * weights).sum() / weights.sum()
                loss.backward()
                optimiser.step()
            going = history.goes_on(_loss(source, model, validation, settings.dtype), model.state_dict)
        if history.state:
            model.load_state_dict(history.state)
        return history.trained(*(_predict(source, model, part.rows, settings.dtype) for part in (test, validation)))


def make_optimiser(groups: Iterable[tuple[bool, list[torch.Tensor]]], settings: Training) -> torch.optim.AdamW:
    """AdamW as fastai has it where the head is fastai's, otherwise as PyTorch has it. groups: (whether weight decay
    shrinks them, parameters)."""
    params = [{"params": values, "weight_decay": settings.weight_decay * decayed} for decayed, values in groups]
    return torch.optim.AdamW(params, lr=settings.learning_rate, fused=True, **OPTIMISER[settings.head])


def check(training: Part, validation: Part, test: Part, classes: int) -> None:
    """Raises ValueError naming the part that cannot be trained on."""
    for name, part in (("training", training), ("validation", validation), ("test", test)):
        if len(part.rows) != len(part.labels) or len(part.rows) == 0:
            raise ValueError(
                f"the {name} part holds {len(part.rows)} images and {len(part.labels)} labels; expected 1 each"
            )
        if part.weights is not None and (len(part.weights) != len(part.rows) or not part.weights.min() > 0):
            raise ValueError(f"weights of the {name} part: expected one above 0 for each of {len(part.rows)} images")
        if part.labels.min() < 0 or part.labels.max() >= classes:
            raise ValueError(f"labels of the {name} part lie outside 0..{classes - 1}")
    if len(training.rows) < 2:
        raise ValueError("one training image is too few: normalising over a batch needs two")


def batches(images: int, epoch_images: int | None, seed: int, epoch: int) -> list[np.ndarray]:
    """Places in the training part, batch by batch; every image once before any comes twice.

    images: of the part; epoch_images: shown per epoch, at least all of them. A last batch of one is joined to the one
    before: it could not be normalised.
    """
    shown = max(epoch_images or 0, images)
    rng, size = seeds.generator(seed, "order", epoch), batch_size(shown)
    order = np.concatenate([rng.permutation(images) for _ in range(-(-shown // images))])[:shown]
    cuts = list(range(size, shown, size))
    if cuts and shown - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def _norms(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


def _set_mode(model: nn.Module, trainable: str) -> None:
    """Training mode, but a frozen body stays as it is: only its batch normalisation moves, and only where it is
    trained."""
    model.train()
    if len(model) == 2 and trainable != "all":  # (body, head); a head alone has three layers or more
        model[0].eval()
        for layer in _norms(model[0]) if trainable == "head+bn" else []:
            layer.train()


def _logits(model: nn.Module, inputs: torch.Tensor, dtype: str) -> torch.Tensor:
    """float32 logits, whatever the arithmetic before them."""
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=dtype == "bf16"):
        return model(inputs).float()


def _predict(source: Source, model: nn.Module, rows: np.ndarray, dtype: str) -> torch.Tensor:
    """Logits (n, classes), without transforms."""
    model.eval()
    size = 512 if isinstance(source, Features) else 64
    with torch.inference_mode():
        starts = range(0, len(rows), size)
        return torch.cat([_logits(model, source.batch(rows[i : i + size], 0, 0), dtype) for i in starts])


def _loss(source: Source, model: nn.Module, part: Part, dtype: str) -> float:
    labels = torch.from_numpy(part.labels).to(source.device)
    return float(F.cross_entropy(_predict(source, model, part.rows, dtype), labels))
