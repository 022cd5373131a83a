"""The graph isomorphism network (Xu et al. 2019, How Powerful are Graph Neural Networks?)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from mixupe_theory import _validation as check
from mixupe_theory.training.models import arguments
from mixupe_theory.training.models.staged import Staged

LAYERS = 5  # counting the input


def _geometric():
    """``torch_geometric.nn``, imported when a network of graphs is built."""
    try:
        import torch_geometric.nn
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('model "gin" needs torch_geometric: pip install "mixupe-theory[train]"') from error
    return torch_geometric.nn


class Encoder(nn.Module):
    """A batch of graphs -> the sums over each graph's nodes of every layer's features, side by side.

    Args:
        widths: Features of a node in each layer, the input first.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        geometric = _geometric()
        self.pool = geometric.global_add_pool
        self.layers = nn.ModuleList(
            geometric.GINConv(nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Linear(b, b)))
            for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in widths[1:])

    def forward(self, graphs) -> torch.Tensor:
        """Pooled readouts (number of graphs, sum of widths) of a ``torch_geometric.data.Batch``."""
        x = graphs.x
        readouts = [self.pool(x, graphs.batch, graphs.num_graphs)]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.relu(norm(layer(x, graphs.edge_index)))
            readouts.append(self.pool(x, graphs.batch, graphs.num_graphs))
        return torch.cat(readouts, dim=1)


class Head(nn.Module):
    """Pooled readouts -> the sum over layers of a linear map of the layer's readout, with dropout after it.

    Args:
        widths: Features of each layer.
        classes: Number of classes.
        dropout: Probability.
    """

    def __init__(self, widths: Sequence[int], classes: int, dropout: float):
        super().__init__()
        self.widths = tuple(widths)
        self.linears = nn.ModuleList(nn.Linear(width, classes) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, readouts: torch.Tensor) -> torch.Tensor:
        """Logits (number of graphs, classes)."""
        parts = readouts.split(self.widths, dim=1)
        return sum(self.dropout(linear(part)) for linear, part in zip(self.linears, parts, strict=True))


def gin(shape: Sequence[int], classes: int, *, hidden: int = 64, dropout: float = 0.5) -> Staged:
    """Five layers counting the input, each but the first relu(BatchNorm(MLP(own features + sum of neighbours'))).

    The MLPs have two linear layers with BatchNorm and ReLU between them; epsilon is 0 and not learned; readouts are
    sums over nodes; dropout comes after the linear maps of the readouts: as in weihua916/powerful-gnns,
    models/graphcnn.py. PyTorch's default initialization. Examples are mixed at place 1, as pooled readouts, by mixup,
    MixupE and manifold mixup alike, since graphs themselves cannot be added.

    Args:
        shape: (features of a node,).
        classes: Number of classes.
        hidden: Features of a node in each layer but the first.
        dropout: Probability, in [0, 1).

    Raises:
        ModuleNotFoundError: Without torch_geometric, which the extra "train" installs.

    Example:
        >>> gin((7,), 2, hidden=16).stages[1].widths
        (7, 16, 16, 16, 16)
    """
    (features,) = arguments.array_shape(shape, ("node features",))
    if check.nonnegative("dropout", dropout) >= 1:
        raise ValueError(f"dropout must be a number in [0, 1), got {dropout}")
    widths = (features, *(LAYERS - 1) * (check.integer("hidden", hidden, least=1),))
    return Staged([Encoder(widths), Head(widths, classes, dropout)], manifold_places=(1,), input_place=1)
