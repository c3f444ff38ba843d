"""Heads of many cells as one stacked problem: what `training.train` does to each, in a fraction of its time.

Where the body is frozen a cell is a few thousand numbers, and PyTorch spends more time on starting its sums than on
them. Here the heads of many cells stand in one tensor and take their steps together: batched products, each cell with
its own batch statistics, its own random numbers (those that `train` would draw) and its own early stop, at which it
leaves. Only cells whose batches are as long take part in one sum, for a longer sum would round otherwise: on one thread
a cell's bytes do not depend on which other cells it was stacked with.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .heads import OPTIMISER, Dropout, decays, make_head
from .settings import Training
from .training import DEFAULT, Features, Part, Trained, batch_size, batches, check, pick_device

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
            lengths = _lengths(job)
        except ValueError as error:
            yield number, error
            continue
        held = tuple(job.places[part.rows].tobytes() for part in (job.validation, job.test))
        stacks.setdefault((lengths, *held, job.validation.labels.tobytes()), []).append(number)
    for (lengths, *_), numbers in stacks.items():
        width = max(1, WORKING // (8 * lengths[0] * bank.shape[-1]))
        for start in range(0, len(numbers), width):
            chosen = numbers[start : start + width]
            stack = _Stack(bank, [jobs[number] for number in chosen], classes, settings, pick_device(device))
            yield from ((chosen[place], done) for place, done in stack.run())


def _shown(job: Job) -> int:
    return max(job.epoch_images or 0, len(job.training.rows))


def _size(job: Job) -> int:
    """Images of a full batch."""
    return min(batch_size(_shown(job)), _shown(job))


def _lengths(job: Job) -> tuple[int, ...]:
    """Images of each batch of an epoch."""
    return tuple(map(len, batches(len(job.training.rows), _shown(job), _size(job), job.seed, 1)))


class _Stack:
    """Cells that are still learning. `flat` holds all that is learned, (cells, numbers) of what weight decay shrinks
    and of what it leaves; `moving` the running statistics."""

    def __init__(self, bank, jobs: list[Job], classes: int, settings: Training, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.bank = torch.from_numpy(bank).view(-1, bank.shape[-1])
        self.sources = [Features(bank, "cpu", job.places) for job in jobs]
        self.jobs, self.at = jobs, list(range(len(jobs)))
        held = [self.bank[torch.from_numpy(jobs[0].places[part.rows])] for part in (jobs[0].validation, jobs[0].test)]
        self.validation, self.test = (rows.to(device) for rows in held)
        self.labels = torch.from_numpy(jobs[0].validation.labels).to(device)
        begun = [_begin(bank.shape[-1], classes, settings.head, job.seed, device) for job in jobs]
        self.head, self.generators = begun[0][0], [generator for _, generator in begun]
        self.layout, ends = {}, [0, 0]
        for name, value in self.head.named_parameters():
            part = 0 if decays(settings.head, value.shape) else 1
            self.layout[name] = (part, ends[part], value.shape)
            ends[part] += -(-value.numel() // ALIGNED) * ALIGNED
        flat = [torch.zeros(len(jobs), end) for end in ends]
        for cell, (head, _) in enumerate(begun):
            for name, value in head.named_parameters():
                part, start, _ = self.layout[name]
                flat[part][cell, start : start + value.numel()] = value.detach().flatten()
        self.moving = {
            name: torch.stack([head.get_buffer(name) for head, _ in begun]).to(device)
            for name, _ in self.head.named_buffers()
            if "running" in name
        }
        self.head.to(device)
        self._learn([part.to(device) for part in flat])
        self.losses: list[list[float]] = [[] for _ in jobs]
        self.best = [0] * len(jobs)
        self.states: list[dict] = [{} for _ in jobs]

    def _learn(self, flat: Sequence[torch.Tensor], states: Sequence[dict] = ({}, {})) -> None:
        """Go on with these numbers and these states of the optimiser."""
        self.flat = [part.requires_grad_() for part in flat]
        how = {"lr": self.settings.learning_rate, "fused": True, **OPTIMISER[self.settings.head]}
        decay = (self.settings.weight_decay, 0.0)
        groups = [
            {"params": [part], "weight_decay": w} for part, w in zip(self.flat, decay, strict=True) if part.shape[1]
        ]
        self.optimiser = torch.optim.AdamW(groups, **how)
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
        """Train until all have stopped; (place among the stack's first jobs, what became of it)."""
        for epoch in range(1, self.settings.epochs + 1):
            self._epoch(epoch)
            stopped = []
            for cell, place in enumerate(self.at):
                going = self._judge(cell, epoch)
                if isinstance(going, ValueError):
                    yield place, going
                elif not going or epoch == self.settings.epochs:
                    yield place, self._answer(cell)
                if going is not True:
                    stopped.append(cell)
            self._drop(stopped)
            if not self.at:
                return

    def _epoch(self, epoch: int) -> None:
        """One epoch of every cell, step by step."""
        orders = [batches(len(job.training.rows), _shown(job), _size(job), job.seed, epoch) for job in self.jobs]
        rows = []
        for job, source in zip(self.jobs, self.sources, strict=True):
            views, places = source.where(job.training.rows, job.seed, epoch if job.transforms else 0)
            rows.append(views * source.array.shape[1] + places)
        for batch in zip(*orders, strict=True):
            index = np.stack([row[at] for row, at in zip(rows, batch, strict=True)])
            labels = np.stack([job.training.labels[at] for job, at in zip(self.jobs, batch, strict=True)])
            weights = np.ones(index.shape, np.float32)
            for row, job, at in zip(weights, self.jobs, batch, strict=True):
                row[:] = 1 if job.training.weights is None else job.training.weights[at]
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
        given, layers = self._named(self.flat), list(self.head.named_children())
        first = True
        for (name, norm), (_, dropout), (of, linear) in zip(layers[0::4], layers[1::4], layers[2::4], strict=True):
            x = x if first else x.relu()
            centred, scale = self._centre(name, norm, x)
            kept = self._kept(dropout, x.shape)
            gamma, beta = given[f"{name}.weight"] * scale, given[f"{name}.bias"]
            if first and linear.out_features < ALIGNED * 2:
                # ((x - mean)·γ·scale + β)·kept·W, ordered so that no gradient of the width of the inputs is made.
                both = torch.cat([centred * kept, kept], 2)
                wide = torch.cat(
                    [gamma.unsqueeze(1) * given[f"{of}.weight"], beta.unsqueeze(1) * given[f"{of}.weight"]], 2
                )
            else:
                both, wide = (centred * gamma.unsqueeze(1) + beta.unsqueeze(1)) * kept, given[f"{of}.weight"]
            x = torch.bmm(both, wide.transpose(1, 2))
            x = x if linear.bias is None else x + given[f"{of}.bias"].unsqueeze(1)
            first = False
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

    def _kept(self, dropout: Dropout, shape: torch.Size) -> torch.Tensor:
        """What dropout multiplies by, each cell's from its own generator and as `Dropout` draws it: 0 or 1 / (1 -
        share)."""
        cells, *each = shape
        words = torch.empty(cells, -(-math.prod(each) // 8), dtype=torch.int64, device=self.device)
        for row, generator in zip(words, self.generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        kept = words.view(torch.uint8)[:, : math.prod(each)].reshape(shape) >= dropout.limit
        return kept * dropout.scale

    def _judge(self, cell: int, epoch: int) -> bool | ValueError:
        """Whether the cell goes on, by its validation loss; keeps its numbers where they are the best so far."""
        losses, state = self.losses[cell], self._state(cell)
        with torch.inference_mode():
            losses.append(float(F.cross_entropy(self._logits(state, self.validation), self.labels)))
        if not np.isfinite(losses[-1]):
            return ValueError(f"the validation loss is {losses[-1]} after epoch {epoch}; lower the learning rate")
        if losses[-1] < min(losses[:-1], default=np.inf):
            self.best[cell] = epoch
            if self.settings.best_model == "restore":
                self.states[cell] = {name: value.clone() for name, value in state.items()}
        return epoch - self.best[cell] < self.settings.patience

    def _state(self, cell: int) -> dict[str, torch.Tensor]:
        """One cell's own numbers and statistics, under the names of its head."""
        one = self._named([part.detach()[cell : cell + 1] for part in self.flat])
        return {name: value[0] for name, value in one.items()} | {
            name: value[cell] for name, value in self.moving.items()
        }

    def _logits(self, state: dict[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(self.head.eval(), state, (rows,))

    def _answer(self, cell: int) -> Trained:
        state, losses, best = self.states[cell] or self._state(cell), self.losses[cell], self.best[cell]
        with torch.inference_mode():
            test, held = (self._logits(state, rows).softmax(1).cpu().numpy() for rows in (self.test, self.validation))
        return Trained(test, held, len(losses), best, losses[best - 1], losses)

    def _drop(self, stopped: list[int]) -> None:
        """Go on without the cells that have stopped."""
        if not stopped:
            return
        left = [cell for cell in range(len(self.at)) if cell not in stopped]
        for name in ("at", "jobs", "sources", "generators", "losses", "best", "states"):
            setattr(self, name, [getattr(self, name)[cell] for cell in left])
        self.moving = {name: value[left] for name, value in self.moving.items()}
        states = [self.optimiser.state.get(part, {}) for part in self.flat]
        fewer = [{k: v[left] if v.dim() > 1 else v for k, v in state.items()} for state in states]
        self._learn([part.detach()[left] for part in self.flat], fewer)


def _begin(inputs: int, classes: int, kind: str, seed: int, device: torch.device) -> tuple[nn.Module, torch.Generator]:
    """A cell's fresh head, and the generator that goes on where its making ended: both as `train` has them."""
    generator = torch.Generator(device)
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        head = make_head(inputs, classes, kind)
        if device.type == "cpu":
            generator.set_state(torch.get_rng_state())
        else:
            generator.manual_seed(seed)
    return head, generator
