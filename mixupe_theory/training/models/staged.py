"""A network as a chain of stages, between which hidden layers can be mixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class Staged(nn.Module):
    """A network as a chain of stages: f = stage_m o ... o stage_1.

    Place k lies before stage k, so place 0 is the input. Manifold mixup mixes the hidden layer at one of
    ``manifold_places``; a method that mixes "inputs" does so at ``input_place``, which is 0 unless examples can only be
    mixed later (graphs, whose pooled readouts are mixed).

    Args:
        stages: The stages; each maps a batch (n, ...) to a batch.
        manifold_places: Places where manifold mixup may mix, each in input_place..len(stages) - 1.
        input_place: The first place where mixing two examples is defined.

    Example:
        >>> net = Staged([nn.Linear(2, 3), nn.Linear(3, 2)], manifold_places=(0, 1))
        >>> x = torch.ones(4, 2)
        >>> torch.equal(net(x), net.after(net.embed(x)))
        True
        >>> net(x, mix_at=1, mix=torch.zeros_like).std(0).tolist()
        [0.0, 0.0]
    """

    def __init__(self, stages: Sequence[nn.Module], manifold_places: tuple[int, ...], input_place: int = 0):
        super().__init__()
        if not all(input_place <= place < len(stages) for place in manifold_places):
            raise ValueError(f"manifold_places must lie in {input_place}..{len(stages) - 1}, got {manifold_places}")
        self.stages = nn.ModuleList(stages)
        self.manifold_places = manifold_places
        self.input_place = input_place

    def forward(self, x, mix_at: int | None = None, mix: Callable | None = None) -> torch.Tensor:
        """Logits (n, c); ``mix`` changes the hidden layer at place ``mix_at``, if given."""
        return self.after(self.embed(x), mix_at, mix)

    def embed(self, x):
        """What lies at the input place: the input itself unless examples are embedded before they can be mixed."""
        for stage in self.stages[: self.input_place]:
            x = stage(x)
        return x

    def after(self, x: torch.Tensor, mix_at: int | None = None, mix: Callable | None = None) -> torch.Tensor:
        """Logits of what lies at the input place."""
        if mix_at is not None and not self.input_place <= mix_at < len(self.stages):
            raise ValueError(f"mix_at must lie in {self.input_place}..{len(self.stages) - 1}, got {mix_at}")
        for place, stage in enumerate(self.stages[self.input_place :], start=self.input_place):
            if place == mix_at:
                x = mix(x)
            x = stage(x)
        return x
