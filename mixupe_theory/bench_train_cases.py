"""What ``mixupe-theory bench train`` compares: methods, networks, and the two ways of making a step.

The plain way is eager, in float32, two passes for MixupE, after the official code
(:mod:`mixupe_theory.training.plain`). It starts from batches that are augmented and normalized already. The fast way is
``mixupe-theory train --fast --precision bfloat16``, from raw pixels on the device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from mixupe_theory import flops
from mixupe_theory.training.data import Dataset, Part
from mixupe_theory.training.data.cifar import CIFAR10
from mixupe_theory.training.methods import Objective
from mixupe_theory.training.plain import plain_step
from mixupe_theory.training.recipes import RECIPES
from mixupe_theory.training.runs import Run
from mixupe_theory.training.streams import own_torch
from mixupe_theory.training.trainer import Trainer, mean_input

# of each network, its form on a GPU (the official code's), its smaller form on the CPU, seconds to compile it (guessed)
NETWORKS = {
    "preact_resnet18": ({"official": True}, {"official": True, "width": 0.25}, 60),
    "wrn28_10": ({"official": True}, {"official": True, "widen_factor": 2}, 80),
    "preact_resnet50": ({"official": True}, {"official": True, "width": 0.125}, 150),
}
TRAINED_BY = {
    "erm": ("erm", None),
    "mixup": ("mixup", None),
    "deck": ("mixupe", "deck"),
    "official_v3": ("mixupe", "official_v3"),
    "exact": ("mixupe", "exact"),
}
TARGETS = ("erm", "deck", "official_v3")  # that the targets are about
ETA = 1.0  # no time depends on it; a large one makes the penalty count where steps are compared
PLAIN_SECONDS, ROUNDS_SECONDS = 6, 6  # to set up a plain contender, to time one (guessed)
EXAMPLES, BATCHES = 50_000, 8


@dataclass(frozen=True)
class Contender:
    """One way of training one network by one method.

    Attributes:
        network: A key of ``NETWORKS``.
        method: A key of ``TRAINED_BY``.
        way: "plain" or "fast".
        precision: "float32" or "bfloat16".
    """

    network: str
    method: str
    way: str
    precision: str

    @property
    def seconds(self) -> int:
        """About how long it takes to set it up and time it."""
        return ROUNDS_SECONDS + (NETWORKS[self.network][2] if self.way == "fast" else PLAIN_SECONDS)

    def run(self, device: str, batch_size: int) -> Run:
        """As a training run."""
        method, variant = TRAINED_BY[self.method]
        return Run(
            data="cifar10",
            model=self.network,
            model_options=NETWORKS[self.network][device == "cpu"],
            method=method,
            variant=variant,
            eta=ETA if method == "mixupe" else None,
            precision=self.precision,
            recipe=replace(RECIPES["images"], batch_size=batch_size),
        )


def contenders(networks: Iterable[str], methods: Iterable[str]) -> list[Contender]:
    """Both ways of each in pairs, the most telling first; last, the first network's "deck", precisions exchanged."""
    networks, methods = list(networks), list(methods)
    found = []
    for group in (TARGETS, set(TRAINED_BY) - set(TARGETS)):
        for network in networks:
            for method in (name for name in methods if name in group):
                found += [Contender(network, method, *way) for way in (("plain", "float32"), ("fast", "bfloat16"))]
    if "deck" in methods:
        found += [Contender(networks[0], "deck", *way) for way in (("plain", "bfloat16"), ("fast", "float32"))]
    return found


def within(minutes: float | None, wanted: list[Contender]) -> tuple[list[Contender], list[Contender]]:
    """The pairs that should fit into so many minutes, in their order, and those that are left out."""
    chosen, left, seconds = [], [], 0
    for pair in zip(wanted[::2], wanted[1::2], strict=True):
        needed = sum(contender.seconds for contender in pair)
        fits = minutes is None or seconds + needed <= 60 * minutes
        (chosen if fits else left).extend(pair)
        seconds += needed if fits else 0
    return chosen, left


def random_images(device: str, examples: int = EXAMPLES) -> Dataset:
    """Images of random bytes in CIFAR-10's form, on the device."""
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (examples, 3, 32, 32), dtype=np.uint8))
    part = Part(pixels, torch.from_numpy(generator.permutation(np.arange(examples) % 10)))
    few, classes = part[torch.arange(10)], tuple("0123456789")
    return Dataset("cifar10", part, few, classes, CIFAR10.mean, CIFAR10.std, ("flip", "crop")).to(device)


class Plain:
    """The plain way: batches wait on the host, augmented and normalized, as a data loader's workers leave them.

    Args:
        run: How; in bfloat16 its forward passes run under torch.autocast.
        data: On the device.
        device: Where.
    """

    def __init__(self, run: Run, data: Dataset, device: str):
        self.run, self.device = run, device
        self.trainer = Trainer(run, data, torch.device(device))  # for the same initial weights, and first draws
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = run.recipe.learning_rate_at(0)
        self.draws = np.random.default_rng(0)
        self.x_mean = mean_input(data, run.dtype) if run.needs_mean else None
        self.waiting = [self._batch(data, k) for k in range(BATCHES)]
        self.steps = 0

    def _batch(self, data: Dataset, k: int) -> tuple[torch.Tensor, ...]:
        n = self.run.recipe.batch_size
        indices = torch.arange(k * n, (k + 1) * n, device=self.device) % len(data.train)
        part = data.prepared(data.train[indices], self.run.dtype)
        tensors = part.inputs.cpu(), part.targets.cpu()
        return tuple(t.pin_memory() for t in tensors) if self.device == "cuda" else tensors

    def go(self, steps: int) -> None:
        """Make so many steps."""
        for _ in range(steps):
            x, y = (t.to(self.device, non_blocking=True) for t in self.waiting[self.steps % BATCHES])
            mixed = {}
            if self.run.how.mixes:
                partner = torch.from_numpy(self.draws.permutation(len(x))).to(self.device)
                mixed = {"lam": self.draws.beta(self.run.alpha, self.run.alpha), "partner": partner}
            self.step(x, y, **mixed)
            self.steps += 1

    def step(self, x: torch.Tensor, y: torch.Tensor, **mixed) -> None:
        """Make one step."""
        model = self.trainer.model

        def autocast(x: torch.Tensor) -> torch.Tensor:
            with self.run.autocast(self.device):
                return model(x).float()

        how = {"variant": self.run.variant, "alpha": self.run.alpha or 1.0, "eta": ETA, "x_mean": self.x_mean}
        network = model if self.run.precision == "float32" else autocast
        plain_step(network, self.trainer.optimizer, x, y, **mixed, **how)

    def first_step(self) -> torch.Tensor:
        """Make the trainer's first step in the plain way; the change of the last layer's weights."""
        before = _last_weights(self.trainer)
        draws, data = self.trainer.draws(), self.trainer.dataset
        numbers = draws.numbers.to(self.device)
        batch = data.prepared(data.train[draws.indices.to(self.device)], self.run.dtype, numbers)
        mixed = {}
        if draws.mixture is not None:
            mixed = {"lam": draws.mixture.lam.item(), "partner": draws.mixture.partner.to(self.device)}
        self.step(batch.inputs, batch.targets, **mixed)
        return _last_weights(self.trainer) - before


class Fast:
    """The fast way: the trainer's, from what it draws on the host to the changed weights.

    Args:
        run: How.
        data: On the device.
        device: Where.
    """

    def __init__(self, run: Run, data: Dataset, device: str):
        self.trainer = Trainer(run, data, torch.device(device), fast=True)

    def go(self, steps: int) -> None:
        """Make so many steps, of full batches, epoch after epoch without evaluation."""
        full = len(self.trainer.dataset.train) // self.trainer.run.recipe.batch_size
        with own_torch(self.trainer.device):
            for _ in range(steps):
                self.trainer.one_step()
                self.trainer.step %= full

    def first_step(self) -> torch.Tensor:
        """Make the first step; the change of the last layer's weights."""
        before = _last_weights(self.trainer)
        self.go(1)
        return _last_weights(self.trainer) - before


WAYS = {"plain": Plain, "fast": Fast}


def _last_weights(trainer: Trainer) -> torch.Tensor:
    """Of the last layer: its gradient depends on all logits and targets, and rounding in it passes each layer once.

    (In a deep network's first layers nothing of a gradient in bfloat16 may be right before training has begun.)
    """
    return torch.cat([p.detach().flatten() for p in list(trainer.model.parameters())[-2:]])


def rounding(network: nn.Module, precision: str) -> float:
    """How far rounding may move the last layer's step, relative to it: a product rounds what it reads and writes.

    To first order, two unit roundoffs for each layer with weights: 2^-9 in bfloat16; else 2^-12, of TF32, which torch
    lets convolutions have on a GPU.
    """
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules())
    return 2 * layers * (2**-9 if precision == "bfloat16" else 2**-12)


def work_of_a_step(contender: Contender, device: str, batch_size: int) -> flops.Work:
    """What its matrix products and convolutions do, extrapolated from steps of two and of four examples on the CPU."""
    few = [_work(contender, device, n) for n in (2, 4)]
    return flops.Work(*(low + (high - low) // 2 * (batch_size - 2) for low, high in zip(*few, strict=True)))


def _work(contender: Contender, device: str, n: int) -> flops.Work:
    run, data = contender.run(device, n), random_images("cpu", 20)
    trainer = Trainer(run, data, torch.device("cpu"))
    criterion, joint = trainer.objective.criterion, contender.way == "fast"
    objective, draws = Objective(trainer.model, run.how, run.loss, criterion, joint=joint), trainer.draws()
    batch = data.prepared(data.train[draws.indices], run.dtype)

    def step() -> None:
        with run.autocast("cpu"):
            loss = objective(batch.inputs, batch.targets, draws.mixture)
        loss.backward()

    return flops.work(step)
