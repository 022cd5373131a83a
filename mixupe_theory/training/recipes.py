"""Recipes: how a network is optimized, as data. Values that no publication states are named as chosen by us."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from mixupe_theory import _validation as check


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule, batches.

    Attributes:
        epochs: Number of epochs.
        batch_size: Examples of a step.
        learning_rate: Base learning rate.
        optimizer: "sgd" (with Nesterov momentum) or "adam".
        momentum: Of SGD.
        weight_decay: On every parameter, in the optimizer.
        warmup: While epoch <= warmup the rate is learning_rate (0.1 + epoch / warmup), as in the official code; it
            passes the base rate at epoch = warmup. 0 for none.
        drops: From each of these epochs on the rate is multiplied by ``factor``.
        factor: See ``drops``.
        steps_per_epoch: Where given, an epoch is so many batches drawn without replacement within each batch, not
            a pass through the data.
        augment: Whether training images are augmented.
        origin: Where the values come from.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: int = 0
    drops: tuple[int, ...] = ()
    factor: float = 0.1
    steps_per_epoch: int | None = None
    augment: bool = True
    origin: str = "chosen by us"

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            check.integer(name, getattr(self, name), least=1)
        check.integer("warmup", self.warmup, least=0)
        if self.steps_per_epoch is not None:
            check.integer("steps_per_epoch", self.steps_per_epoch, least=1)
        for name in ("learning_rate", "factor"):
            check.positive(name, getattr(self, name))
        check.choice("optimizer", self.optimizer, ("sgd", "adam"))
        for name in ("momentum", "weight_decay"):
            check.nonnegative(name, getattr(self, name))
        object.__setattr__(self, "drops", tuple(check.integer("drops", drop, least=0) for drop in self.drops))

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0.

        Example:
            >>> [round(RECIPES["images"].learning_rate_at(epoch), 4) for epoch in (0, 10, 11, 300, 600)]
            [0.01, 0.11, 0.1, 0.01, 0.001]
        """
        rate = self.learning_rate
        if self.warmup and epoch <= self.warmup:
            rate *= 0.1 + epoch / self.warmup
        return rate * self.factor ** sum(epoch >= drop for drop in self.drops)

    def scaled(self, epochs: int) -> Recipe:
        """The recipe with another number of epochs, warm-up and drops moved in proportion.

        Example:
            >>> RECIPES["images"].scaled(80).drops
            (30, 60)
        """
        share = check.integer("epochs", epochs, least=1) / self.epochs
        moved = tuple(round(share * drop) for drop in self.drops)
        origin = self.origin if epochs == self.epochs else f"{self.origin}; {epochs} epochs in proportion"
        return replace(self, epochs=epochs, warmup=round(share * self.warmup), drops=moved, origin=origin)

    def make_optimizer(self, model: nn.Module, *, capturable: bool = False) -> torch.optim.Optimizer:
        """The optimizer of all of the model's parameters.

        Args:
            model: The network.
            capturable: Whether its steps can be part of a CUDA graph: one kernel, the learning rate on the device.
        """
        parameters = list(model.parameters())
        rate, how = self.learning_rate, {}
        if capturable:
            rate, how = torch.tensor(rate, device=parameters[0].device), {"fused": True}
        if self.optimizer == "adam":
            how |= {"capturable": True} if capturable else {}
            return torch.optim.Adam(parameters, rate, weight_decay=self.weight_decay, **how)
        nesterov = self.momentum > 0
        return torch.optim.SGD(
            parameters, rate, self.momentum, weight_decay=self.weight_decay, nesterov=nesterov, **how
        )


_IMAGES = {"batch_size": 100, "learning_rate": 0.1, "weight_decay": 1e-4}
_GIN = {
    "epochs": 350,
    "learning_rate": 0.01,
    "optimizer": "adam",
    "drops": tuple(range(50, 350, 50)),
    "factor": 0.5,
    "steps_per_epoch": 50,
    "origin": "Xu et al. (2019), GIN; one fixed configuration",
}

RECIPES = {
    "images": Recipe(
        epochs=800, warmup=10, drops=(300, 600), origin="official README (CIFAR-100, PreActResNet-50)", **_IMAGES
    ),
    "images-400": Recipe(
        epochs=400, warmup=10, drops=(200, 300), origin="manifold_mixup's repository; warm-up as MixupE's", **_IMAGES
    ),
    "tabular": Recipe(
        epochs=100, batch_size=128, learning_rate=1e-3, optimizer="adam", origin="unknown in the deck: chosen by us"
    ),
    "speech": Recipe(
        epochs=40,
        batch_size=100,
        learning_rate=1e-3,
        optimizer="adam",
        drops=(30,),
        origin="Adam 1e-3 and batch 100 as in public code for mixup on speech commands; epochs and drop chosen by us",
    ),
    "graphs": Recipe(batch_size=32, **_GIN),
    "graphs-128": Recipe(batch_size=128, **_GIN),
}
