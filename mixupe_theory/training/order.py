"""Which examples make each batch."""

from __future__ import annotations

import math

import torch

from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.streams import stream


class Order:
    """The examples of each step, in an order that depends on the seed and the position alone.

    Args:
        recipe: With ``steps_per_epoch`` each batch is drawn without replacement within it; else an epoch is one pass
            through the data in a new order.
        n: Number of training examples.
        seed: Of the run.

    Example:
        >>> order = Order(Recipe(epochs=1, batch_size=2, learning_rate=1.0), n=3, seed=0)
        >>> order.steps_per_epoch, sorted(order.indices(0, 0).tolist() + order.indices(0, 1).tolist())
        (2, [0, 1, 2])
    """

    def __init__(self, recipe: Recipe, n: int, seed: int):
        self.recipe, self.n, self.seed = recipe, n, seed
        self._epoch, self._pass = -1, torch.empty(0, dtype=torch.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self.recipe.steps_per_epoch or math.ceil(self.n / self.recipe.batch_size)

    def indices(self, epoch: int, step: int) -> torch.Tensor:
        """The examples of a step's whole batch, int64, on the CPU."""
        size = self.recipe.batch_size
        if self.recipe.steps_per_epoch:
            generator = stream(self.seed, "order", epoch, step)
            return torch.from_numpy(generator.choice(self.n, size, replace=False))
        if self._epoch != epoch:
            self._pass = torch.from_numpy(stream(self.seed, "order", epoch).permutation(self.n))
            self._epoch = epoch
        return self._pass[step * size :][:size]
