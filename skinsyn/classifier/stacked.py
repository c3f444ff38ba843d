"""Heads of many cells as one stacked problem: what `training.train` does to each, in a fraction of its time.

Where the body is frozen a cell is a few thousand numbers, and PyTorch spends more time on starting its sums than on
them. Here the heads of many cells stand in one tensor and take their steps together: batched products, each cell with
its own batch statistics, its own random numbers (those that `train` would draw) and its own early stop, at which it
leaves. Only cells whose batches are as long take part in one sum, for a longer sum would round otherwise: on one thread
a cell's bytes do not depend on which other cells it was stacked with.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .heads import Dropout, decays
from .settings import Training
from .training import DEFAULT, Features, History, Part, Trained, batches, check, make_optimiser, pick_device

__all__ = ["Job", "train_heads"]

# Bytes of one step's inputs. More cells at once would not be faster (the inputs leave the cache), only larger.
WORKING = 8 << 20
ALIGNED = 16  # a cell's numbers begin at whole vectors, so that its rounding is the same at any place of the stack


class Job(NamedTuple):
    """One cell: `places` are the bank's rows of its images; rows of the parts count in them. The rest as in `train`."""

    places: np.ndarray
    training: Part
    validation: Part
    test: Part
    seed: int
    transforms: bool = False
    epoch_images: int | None = None

    def batches(self, epoch: int) -> list[np.ndarray]:
        """`training.batches` of one epoch."""
        return batches(len(self.training.rows), self.epoch_images, self.seed, epoch)


class _Learner:
    """A cell that is still learning: its place among the jobs, its history, and its generator, which goes on where the
    making of its head ended; all as `train` has them."""

    def __init__(self, place: int, job: Job, bank: np.ndarray, settings: Training, device: torch.device) -> None:
        self.place, self.job, self.history = place, job, History(settings)
        self.source, self.generator = Features(bank, "cpu", job.places), torch.Generator(device)

    def begin(self, classes: int) -> nn.Module:
        """A fresh head."""
        device = self.generator.device
        with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
            torch.manual_seed(self.job.seed)
            head = self.source.model(classes, self.history.settings)
            if device.type == "cpu":
                self.generator.set_state(torch.get_rng_state())
            else:
                self.generator.manual_seed(self.job.seed)
        return head

    def rows(self, epoch: int) -> np.ndarray:
        """Rows of its training images in the flattened bank (views × images)."""
        views, places = self.source.where(self.job.training.rows, self.job.seed, epoch if self.job.transforms else 0)
        return views * self.source.array.shape[1] + places


def train_heads(
    bank: np.ndarray, jobs: Sequence[Job], classes: int, settings: Training = DEFAULT, device: str = "auto"
) -> Iterator[tuple[int, Trained | ValueError]]:
    """(place in jobs, what became of it), each as soon as it stops: `Trained`, or the ValueError that ended this one
    alone.

    bank: kept features, float32 (1 + views, n, d). Raises ValueError where settings are wrong for all.
    """
    if settings.trainable != "head":
        raise ValueError(f"trainable {settings.trainable!r} needs images: kept features are of a frozen body")
    stacks: dict[tuple, list[int]] = {}
    for number, job in enumerate(jobs):
        try:
            check(job.training, job.validation, job.test, classes)
            lengths = tuple(map(len, job.batches(1)))
        except ValueError as error:
            yield number, error
            continue
        shared = (job.places[job.validation.rows], job.places[job.test.rows], job.validation.labels)
        stacks.setdefault((lengths, *(part.tobytes() for part in shared)), []).append(number)
    for (lengths, *_), numbers in stacks.items():
        width = max(1, WORKING // (8 * lengths[0] * bank.shape[-1]))
        for start in range(0, len(numbers), width):
            stack = {number: jobs[number] for number in numbers[start : start + width]}
            yield from _Stack(bank, stack, classes, settings, pick_device(device)).run()


class _Stack:
    """Cells that are still learning. `flat` holds all that is learned, (cells, numbers) of what weight decay shrinks
    and of what it leaves; `moving` the running statistics."""

    def __init__(
        self, bank: np.ndarray, jobs: Mapping[int, Job], classes: int, settings: Training, device: torch.device
    ) -> None:
        self.settings, self.device = settings, device
        self.bank = torch.from_numpy(bank).view(-1, bank.shape[-1])
        self.cells = [_Learner(place, job, bank, settings, device) for place, job in jobs.items()]
        job, heads = self.cells[0].job, [cell.begin(classes) for cell in self.cells]
        self.validation, self.test = (
            self.bank[torch.from_numpy(job.places[part.rows])].to(device) for part in (job.validation, job.test)
        )
        self.labels = torch.from_numpy(job.validation.labels).to(device)
        self.layout: dict[str, tuple[int, int, torch.Size]] = {}
        ends = [0, 0]
        for name, value in heads[0].named_parameters():
            part = 0 if decays(settings.head, value.shape) else 1
            self.layout[name] = (part, ends[part], value.shape)
            ends[part] += -(-value.numel() // ALIGNED) * ALIGNED
        flat = [torch.zeros(len(heads), end) for end in ends]
        for name, value in self._named(flat).items():
            value.copy_(torch.stack([head.get_parameter(name).detach() for head in heads]))
        self.moving = {
            name: torch.stack([head.get_buffer(name) for head in heads]).to(device)
            for name, _ in heads[0].named_buffers()
            if "running" in name
        }
        self.head = heads[0].to(device)
        self._learn([part.to(device) for part in flat])

    def _learn(self, flat: Sequence[torch.Tensor], states: Sequence[dict] = ({}, {})) -> None:
        """Go on with these numbers and these states of the optimiser."""
        self.flat = [part.requires_grad_() for part in flat]
        groups = [(decayed, [part]) for decayed, part in zip((True, False), self.flat, strict=True) if part.shape[1]]
        self.optimiser = make_optimiser(groups, self.settings)
        for part, state in zip(self.flat, states, strict=True):
            if state:
                self.optimiser.state[part] = state

    def _named(self, flat: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each layer's numbers, (cells, …)."""
        return {
            name: flat[part][:, start : start + shape.numel()].unflatten(1, shape)
            for name, (part, start, shape) in self.layout.items()
        }

    def run(self) -> Iterator[tuple[int, Trained | ValueError]]:
        """Train until all have stopped; (place among the jobs, what became of it)."""
        epoch = 0
        while self.cells:
            epoch += 1
            self._epoch(epoch)
            left = []
            for number, cell in enumerate(self.cells):
                try:
                    going = self._judge(number)
                except ValueError as error:
                    yield cell.place, error
                    continue
                if going:
                    left.append(number)
                else:
                    yield cell.place, self._answer(number)
            if len(left) < len(self.cells):
                self._keep(left)

    def _epoch(self, epoch: int) -> None:
        """One epoch of every cell, step by step."""
        parts = [cell.job.training for cell in self.cells]
        rows = [cell.rows(epoch) for cell in self.cells]
        for batch in zip(*(cell.job.batches(epoch) for cell in self.cells), strict=True):
            index = np.stack([row[at] for row, at in zip(rows, batch, strict=True)])
            labels = np.stack([part.labels[at] for part, at in zip(parts, batch, strict=True)])
            weights = np.ones(index.shape, np.float32)
            for row, part, at in zip(weights, parts, batch, strict=True):
                row[:] = 1 if part.weights is None else part.weights[at]
            inputs = self.bank.index_select(0, torch.from_numpy(index).flatten()).view(*index.shape, -1)
            self._step(*(x.to(self.device) for x in (inputs, torch.from_numpy(labels), torch.from_numpy(weights))))

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> None:
        """One step of every cell. inputs (cells, batch, d); labels and weights (cells, batch)."""
        self.optimiser.zero_grad(set_to_none=True)
        logits = self._forward(inputs)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        # A cell's loss depends on its own numbers alone, so that the gradient of the sum is each cell's own.
        ((losses * weights).sum(1) / weights.sum(1)).sum().backward()
        self.optimiser.step()

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (cells, batch, classes) in training mode, by batched forms of the head's layers."""
        numbers, layers = self._named(self.flat), list(self.head.named_children())
        blocks = zip(layers[0::4], layers[1::4], layers[2::4], strict=True)
        for block, ((name, norm), (_, dropout), (of, linear)) in enumerate(blocks):
            x = x.relu() if block else x
            centred, scale = self._centre(name, norm, x)
            mask = self._mask(dropout, x.shape)
            gamma, beta, weight = numbers[f"{name}.weight"] * scale, numbers[f"{name}.bias"], numbers[f"{of}.weight"]
            if not block and linear.out_features < ALIGNED * 2:
                # ((x - mean)·γ·scale + β)·mask·W, ordered so that no gradient of the width of the inputs is made.
                both = torch.cat([centred * mask, mask], 2)
                wide = torch.cat([gamma.unsqueeze(1) * weight, beta.unsqueeze(1) * weight], 2)
            else:
                both, wide = (centred * gamma.unsqueeze(1) + beta.unsqueeze(1)) * mask, weight
            x = torch.bmm(both, wide.transpose(1, 2))
            x = x if linear.bias is None else x + numbers[f"{of}.bias"].unsqueeze(1)
        return x

    def _centre(self, name: str, norm: nn.BatchNorm1d, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs minus their batch's mean, and 1 / standard deviation (cells, d); moves the running statistics."""
        count = x.shape[1]
        mean = x.sum(1) / count
        centred = x - mean.unsqueeze(1)
        variance = (centred * centred).sum(1) / count
        with torch.no_grad():
            self.moving[f"{name}.running_mean"].lerp_(mean, norm.momentum)
            self.moving[f"{name}.running_var"].lerp_(variance * (count / (count - 1)), norm.momentum)
        return centred, (variance + norm.eps).rsqrt()

    def _mask(self, dropout: Dropout, shape: torch.Size) -> torch.Tensor:
        """What dropout multiplies by, each cell's from its own generator and as `Dropout` draws it: 0 or 1 / (1 -
        share)."""
        count, *each = shape
        words = torch.empty(count, -(-math.prod(each) // 8), dtype=torch.int64, device=self.device)
        for row, cell in zip(words, self.cells, strict=True):
            row.random_(-(2**63), None, generator=cell.generator)
        mask = words.view(torch.uint8)[:, : math.prod(each)].reshape(shape) >= dropout.limit
        return mask * dropout.scale

    def _judge(self, cell: int) -> bool:
        """Whether a cell goes on, by its validation loss. Raises ValueError where that is not finite."""
        state = self._state(cell)
        with torch.inference_mode():
            loss = float(F.cross_entropy(self._logits(state, self.validation), self.labels))
        return self.cells[cell].history.goes_on(loss, lambda: state)

    def _state(self, cell: int) -> dict[str, torch.Tensor]:
        """One cell's own numbers and statistics, under the names of its head."""
        one = self._named([part.detach()[cell : cell + 1] for part in self.flat])
        return {name: value[0] for name, value in one.items()} | {
            name: value[cell] for name, value in self.moving.items()
        }

    def _logits(self, state: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(self.head.eval(), state, (rows,))

    def _answer(self, cell: int) -> Trained:
        history = self.cells[cell].history
        state = history.state or self._state(cell)
        with torch.inference_mode():
            return history.trained(*(self._logits(state, rows) for rows in (self.test, self.validation)))

    def _keep(self, left: list[int]) -> None:
        """Go on with these cells alone."""
        self.cells = [self.cells[cell] for cell in left]
        self.moving = {name: value[left] for name, value in self.moving.items()}
        states = [self.optimiser.state.get(part, {}) for part in self.flat]
        fewer = [{k: v[left] if v.dim() > 1 else v for k, v in state.items()} for state in states]
        self._learn([part.detach()[left] for part in self.flat], fewer)
