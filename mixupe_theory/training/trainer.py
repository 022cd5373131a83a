"""One run: its state, its steps, its epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mixupe_theory.training import models
from mixupe_theory.training.data import Dataset, Part
from mixupe_theory.training.data.augmentation import drawn
from mixupe_theory.training.draws import Draws
from mixupe_theory.training.evaluation import BATCH, evaluate
from mixupe_theory.training.layout import memory_format
from mixupe_theory.training.methods import Objective, draw_mixture
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.order import Order
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.step import Captured, Step
from mixupe_theory.training.streams import own_torch, seed_torch, stream

TRAINING_SAMPLE = 10_000  # training examples on which the clean training loss is measured, stratified, always the same
UNREAD = 100  # losses that may wait on a GPU before they are read


class Diverged(ArithmeticError):
    """The loss is NaN or infinite; the message names the run, the epoch and the step."""


class Trainer:
    """A run in progress; all that is random comes from the seed and the position (epoch, step).

    Args:
        run: What to do.
        dataset: Its data, loaded with the run's seed and fold, before ``held_out`` and ``subset``.
        device: Where.
        ranks: The processes that share each batch.
        fast: Whether steps are made in the fast way: one joint pass over the mixed and the clean batch,
            torch.compile, on a GPU one CUDA graph. The same mathematics; the last digits differ.

    Attributes:
        model: The network.
        epoch: Epochs finished.
        step: Steps finished in the present epoch.
        history: One entry for each finished epoch.

    Raises:
        ValueError: If a batch would have a single example and the network has BatchNorm, or cannot be shared equally,
            or if there is no fast way.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        device: torch.device,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        *,
        fast: bool = False,
    ):
        self.run, self.device, self.ranks, self.fast = run, device, ranks, fast
        if fast and (ranks.size > 1 or run.family == "graphs"):
            raise ValueError(f"fast must be False for graphs, and where processes share a batch, got {run}, {ranks}")
        self.dataset = dataset = trained_on(run, dataset).to(device)
        self.training_sample = training_sample(dataset)
        self.order = Order(run.recipe, len(dataset.train), run.seed)
        self.model = initial_network(run, dataset, device).to(device, run.dtype).train()
        self.model.to(memory_format=memory_format(self.model))
        self._check_batches()
        x_mean = mean_input(dataset, run.dtype) if run.needs_mean else None
        self.objective = Objective(self.model, run.how, run.loss, run.criterion(x_mean), ranks, joint=fast).to(device)
        objective = DistributedDataParallel(self.objective) if ranks.size > 1 else self.objective
        graphed = fast and device.type == "cuda"
        self.optimizer = run.recipe.make_optimizer(self.model, capturable=graphed)
        step = Step(run, dataset, objective, self.optimizer, ranks, compiled=fast)
        self._make_step = Captured(step) if graphed else step
        self.law = run.law()
        self.epoch = self.step = 0
        self.history: list[dict] = []
        self._objective_sum, self._seconds = 0.0, 0.0
        self._unread: list[torch.Tensor] = []

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self.order.steps_per_epoch

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.steps_per_epoch * self.run.recipe.epochs

    @property
    def test_error(self) -> float:
        """After the last finished epoch."""
        return self.history[-1]["test_error"]

    @property
    def position(self) -> int:
        """Steps done since the beginning."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch == self.run.recipe.epochs

    def advance(self, after_step: Callable[[Trainer], None] = lambda trainer: None) -> None:
        """Go on to the end; ``after_step`` is called after each step, and after the evaluation that ends an epoch.

        Raises:
            Diverged: If a loss is NaN or infinite.
        """
        with own_torch(self.device):
            while not self.finished:
                started = time.perf_counter()
                self.one_step()
                if self.step == self.steps_per_epoch:
                    self._end_epoch()
                    self._seconds += time.perf_counter() - started
                    self.history[-1]["seconds"] = round(self._seconds, 3)
                    self._seconds = 0.0
                else:
                    self._seconds += time.perf_counter() - started
                after_step(self)

    def draws(self) -> Draws:
        """What is drawn for the next step; every process draws the same."""
        seed, position, indices = self.run.seed, (self.epoch, self.step), self.order.indices(self.epoch, self.step)
        names = self.dataset.augmentation if self.run.recipe.augment else ()
        numbers = drawn(names, len(indices), stream(seed, "augmentation", *position))
        mixture = None
        if self.law is not None:
            generator, per_sample = stream(seed, "mixing", *position), bool(self.run.lam_per_sample)
            mixture = draw_mixture(self.run.how, self.law, len(indices), self.model, generator, per_sample=per_sample)
        return Draws(indices, numbers, mixture)

    def one_step(self) -> torch.Tensor:
        """Make the next step of the present epoch, inside :func:`mixupe_theory.training.streams.own_torch`.

        Returns:
            Its loss, 0-d, on the device.
        """
        seed_torch(self.run.seed, "dropout", self.epoch, self.step, self.ranks.rank)
        draws = self.draws()
        packed, place = draws.packed(), None if draws.mixture is None else draws.mixture.place
        if self.device.type == "cuda":
            packed = packed.pin_memory().to(self.device, non_blocking=True)
        self._set_learning_rate()
        loss = self.ranks.mean(self._make_step(packed, place))
        self._unread.append(loss)
        self.step += 1
        if self.device.type == "cpu" or len(self._unread) == UNREAD:  # reading waits for a GPU
            self._read_losses()
        return loss

    def state(self) -> dict:
        """All that the rest of the run depends on.

        Raises:
            Diverged: If a loss since the last time is NaN or infinite: such a state is never given out.
        """
        self._read_losses()
        return {
            "run": self.run.as_dict(),
            "shape": list(self.dataset.shape),
            "classes": len(self.dataset.classes),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "objective_sum": self._objective_sum,
            "seconds": self._seconds,
            "history": self.history,
        }

    def load(self, state: dict) -> None:
        """Take up where ``state`` was given out.

        Raises:
            ValueError: If it belongs to another run.
        """
        if Run.from_dict(state["run"]).id != self.run.id:
            raise ValueError(f"the checkpoint belongs to another run than {self.run}: {state['run']}")
        self.model.load_state_dict(state["model"])
        # settings of this process: the way of stepping is no part of a run
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
        for parameter, kept in self.optimizer.state.items():  # in the parameters' order in memory, too
            kept.update(
                {k: torch.empty_like(parameter).copy_(v) for k, v in kept.items() if v.shape == parameter.shape}
            )
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        self._objective_sum, self._seconds = state["objective_sum"], state["seconds"]

    def _check_batches(self) -> None:
        """Refuse sizes that BatchNorm or the processes cannot do with, before any time is spent."""
        recipe, n = self.run.recipe, len(self.dataset.train)
        if recipe.steps_per_epoch and recipe.batch_size > n:
            raise ValueError(
                f"batch_size must be at most the number of training examples, {n}, got {recipe.batch_size}"
            )
        sizes = {min(recipe.batch_size, n)}
        if not recipe.steps_per_epoch and n % recipe.batch_size:
            sizes.add(n % recipe.batch_size)
        for size in sizes:
            share = len(range(size)[self.ranks.rows(size)])
            if share == 1 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.model.modules()):
                raise ValueError(
                    f"batch_size {recipe.batch_size} leaves a batch of one example ({n} training examples, "
                    f"{self.ranks.size} processes), which BatchNorm cannot normalize; choose another batch_size"
                )

    def _set_learning_rate(self) -> None:
        rate = self.run.recipe.learning_rate_at(self.epoch)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):  # which a CUDA graph reads
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _read_losses(self) -> None:
        """Add up the losses not yet read, in order, so that the sum does not depend on when they are read."""
        if not self._unread:
            return
        losses, first = torch.stack(self._unread).tolist(), self.step - len(self._unread)
        self._unread.clear()
        for step, loss in enumerate(losses, start=first):
            if not math.isfinite(loss):
                raise Diverged(
                    f"{self.run}: the loss is {loss} at step {step} of epoch {self.epoch}; the last checkpoint "
                    "before it is kept; a smaller learning_rate may help"
                )
            self._objective_sum += loss

    def _end_epoch(self) -> None:
        self._read_losses()
        train, test = (
            evaluate(self.model, self.dataset, part, self.run, self.ranks)
            for part in (self.training_sample, self.dataset.test)
        )
        if not math.isfinite(train[0] + test[0]):
            raise Diverged(f"{self.run}: the loss on clean data is not finite after epoch {self.epoch}")
        self.history.append(
            {
                "epoch": self.epoch,
                "learning_rate": self.run.recipe.learning_rate_at(self.epoch),
                "objective": self._objective_sum / self.steps_per_epoch,
                "train_loss": train[0],
                "train_error": train[1],
                "test_loss": test[0],
                "test_error": test[1],
            }
        )
        self.epoch, self.step, self._objective_sum = self.epoch + 1, 0, 0.0


def trained_on(run: Run, dataset: Dataset) -> Dataset:
    """What a run trains and tests on, of its data set."""
    if run.held_out:
        dataset = dataset.held_out(run.held_out, run.seed)
    return dataset if run.subset is None else dataset.subset(run.subset)


def training_sample(dataset: Dataset) -> Part:
    """The training examples on which the clean training loss is measured."""
    few = len(dataset.train) < TRAINING_SAMPLE + len(dataset.classes)  # a subset leaves one example of each class
    return (dataset if few else dataset.subset(TRAINING_SAMPLE)).train


def initial_network(run: Run, dataset: Dataset, device: torch.device) -> Staged:
    """A run's network with its first weights, on the CPU; the same for every method under one seed and any device."""
    with own_torch(device):
        seed_torch(run.seed, "initialization")
        return models.build(run.model, dataset.shape, len(dataset.classes), **run.model_options)


def mean_input(dataset: Dataset, dtype: torch.dtype) -> torch.Tensor:
    """E[x'], the mean of the normalized training inputs without augmentation, of one input's shape."""
    total = torch.zeros(dataset.shape, dtype=torch.float64, device=dataset.train.targets.device)
    for indices in torch.arange(len(dataset.train), device=total.device).split(BATCH):
        total += dataset.prepared(dataset.train[indices], torch.float64).inputs.sum(0)
    return (total / len(dataset.train)).to(dtype)
