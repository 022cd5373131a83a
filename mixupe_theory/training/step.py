"""One step of training: from what was drawn for it to the changed weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from mixupe_theory.training.data import Dataset
from mixupe_theory.training.draws import Draws
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run

WARM_UP = 3  # steps before a CUDA graph is captured: they allocate the optimizer's state and choose the kernels


class Step:
    """Gather the batch, augment, normalize and mix it; the loss, its gradient, the optimizer's update.

    Everything after the draws happens on the device, and nothing waits for it.

    Args:
        run: How.
        dataset: On the device.
        objective: The loss, from inputs, classes and the mixture.
        optimizer: Of the network's parameters.
        ranks: The processes that share each batch.
        compiled: Whether torch.compile fuses what leads to the loss, and its gradient.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        *,
        compiled: bool = False,
    ):
        self.run, self.dataset, self.objective, self.optimizer, self.ranks = run, dataset, objective, optimizer, ranks
        self.loss = torch.compile(self._loss, dynamic=False) if compiled else self._loss

    def __call__(self, packed: torch.Tensor, place: int | None) -> torch.Tensor:
        """Make one step.

        Args:
            packed: As :meth:`mixupe_theory.training.draws.Draws.packed` gives it, on the device.
            place: Of the mixture; None where nothing is mixed.

        Returns:
            The loss, 0-d.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(packed, place)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, packed: torch.Tensor, place: int | None) -> torch.Tensor:
        draws = Draws.unpacked(packed, place, per_sample=bool(self.run.lam_per_sample))
        rows = self.ranks.rows(len(draws.indices))
        numbers = draws.numbers if self.run.recipe.augment else None
        batch = self.dataset.prepared(self.dataset.train[draws.indices], self.run.dtype, numbers, rows)
        mixture = None if draws.mixture is None else draws.mixture.rows(rows)
        with self.run.autocast(packed.device.type):
            return self.objective(batch.inputs, batch.targets, mixture)


@dataclass
class _Graph:
    packed: torch.Tensor  # what the graph reads
    steps: int = 0
    replay: Callable[[], None] | None = None
    loss: torch.Tensor | None = None  # what the graph writes


class Captured:
    """A step as CUDA graphs, one for each size of batch and place: one launch from the host in place of hundreds.

    The first ``WARM_UP`` steps of each are made as they stand, and are steps like any other. A capture changes nothing;
    its graph then makes the step.

    Args:
        step: What is captured; its optimizer must be one that can be.
    """

    def __init__(self, step: Callable[[torch.Tensor, int | None], torch.Tensor]):
        self.step = step
        self._stream = torch.cuda.Stream()
        self._graphs: dict[tuple, _Graph] = {}

    def __call__(self, packed: torch.Tensor, place: int | None) -> torch.Tensor:
        """Make one step; arguments as :class:`Step` takes them."""
        key = (packed.shape, place)
        if key not in self._graphs:
            self._graphs[key] = _Graph(torch.empty_like(packed))
        graph = self._graphs[key]
        graph.packed.copy_(packed)
        if graph.steps < WARM_UP:
            graph.steps += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self.step(graph.packed, place)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if graph.replay is None:
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured, stream=self._stream):
                graph.loss = self.step(graph.packed, place)
            graph.replay = captured.replay
        graph.replay()
        return graph.loss.clone()
