"""The encoders of many graph isomorphism networks of one shape in one pass, since a small one's step is all overhead.

Networks that see the same batch are computed side by side: features are (n, P, h), for n nodes, P networks and h
features, so that a neighbour sum, a BatchNorm or a ReLU of all P is one call of the P h features of a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mixupe_theory.training.data.graph_inputs import GraphInputs

_NORM = nn.BatchNorm1d(1)  # for torch's epsilon and momentum


@dataclass(frozen=True)
class Sums:
    """A sum of rows for each row of a result, y_i = Σ_j x_{rows[j]} over starts[i] ≤ j < starts[i + 1].

    Attributes:
        rows: What is summed, (terms,).
        starts: Where each sum's terms begin, and their number last, (sums + 1,).

    Example:
        >>> Sums.over(torch.tensor([1, 1, 0]), torch.tensor([0, 2, 2]), 3)(torch.tensor([[1.0], [2.0], [4.0]]))
        tensor([[4.],
                [5.],
                [0.]])
    """

    rows: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def over(cls, results: torch.Tensor, rows: torch.Tensor, number: int) -> Sums:
        """The ``number`` sums in which row rows[j] is a term of result results[j]."""
        ends = torch.bincount(results, minlength=number).cumsum(0)
        return cls(rows[results.argsort(stable=True)], functional.pad(ends, (1, 0)))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The sums (sums, ...) of rows of x, (rows, ...)."""
        flat = x.reshape(len(x), -1)  # embedding_bag adds up rows as it reads them: no tensor of all terms
        sums = functional.embedding_bag(self.rows, flat, self.starts, mode="sum", include_last_offset=True)
        return sums.view(-1, *x.shape[1:])


@dataclass(frozen=True)
class Batches:
    """K batches of graphs; their readouts are padded to the number of graphs G of the largest one.

    Attributes:
        nodes: Per batch, features of the nodes, (n, d).
        neighbours: Per batch, sums over a node and those with an edge to it; and the transposed sums.
        pools: Per batch, sums over a graph's nodes; and the transposed sums.
    """

    nodes: tuple[torch.Tensor, ...]
    neighbours: tuple[tuple[Sums, Sums], ...]
    pools: tuple[tuple[Sums, Sums], ...]

    @property
    def graphs(self) -> int:
        """G."""
        return max(len(pool.starts) - 1 for pool, _ in self.pools)


def batched(collections: Sequence[GraphInputs], dtype: torch.dtype) -> Batches:
    """Batches of graphs as :func:`encode` takes them.

    Args:
        collections: The batches, collections of one data set.
        dtype: Of the features.
    """
    batches = [collection.batch(dtype) for collection in collections]
    neighbours, pools = [], []
    for batch, collection in zip(batches, collections, strict=True):
        nodes = len(batch.x)
        every = torch.arange(nodes, device=batch.x.device)
        start, to = torch.cat([every.expand(2, -1), batch.edge_index], dim=1)
        neighbours.append((Sums.over(to, start, nodes), Sums.over(start, to, nodes)))
        pools.append((Sums.over(batch.batch, every, len(collection)), Sums.over(every, batch.batch, nodes)))
    return Batches(tuple(batch.x for batch in batches), tuple(neighbours), tuple(pools))


def _products(x: torch.Tensor, matrices: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """x_p matrices_p for x (n, P, a) and matrices (P, a, b), side by side, (n, P, b)."""
    out = x.new_empty(*x.shape[:2], matrices.shape[2]) if out is None else out
    torch.bmm(x.transpose(0, 1), matrices, out=out.transpose(0, 1))
    return out


def _unit(x, weight, bias, scale, shift, running_mean, running_var, training):
    """relu(BatchNorm(x weightᵀ + bias)) of P networks side by side, (n, P, b), and what :func:`_unit_backward` needs.

    BatchNorm takes the linear map's bias away again while training: its gradient is 0 and only the running mean sees
    it, so it is never added to the n P b numbers.

    Args:
        x: (n, P, a).
        weight: (P, b, a).
        bias: (P, b), as all that follow.
        scale: BatchNorm's weight.
        shift: BatchNorm's bias.
        running_mean: Updated in place while training.
        running_var: Likewise.
        training: Whether BatchNorm takes the batch's statistics.
    """
    linear = _products(x, weight.mT)
    running = running_mean if training else running_mean - bias, running_var
    running = [statistic.view(-1) for statistic in running]
    out, *batch = torch.native_batch_norm(
        linear.flatten(1), scale.view(-1), shift.view(-1), *running, training, _NORM.momentum, _NORM.eps
    )
    if training:
        running_mean.add_(bias, alpha=_NORM.momentum)
    out = out.relu_().view_as(linear)
    unchanged = [None, None] if training else running
    return out, (x, weight, scale, linear, out, *unchanged, *batch)


def _unit_backward(gradient, kept, training):
    """Gradients in x, weight, bias, scale and shift; overwrites the one given, as new memory costs most."""
    x, weight, scale, linear, out, *statistics = kept
    torch.ops.aten.threshold_backward.grad_input(gradient, out, 0, grad_input=gradient)
    to_linear, to_scale, to_shift = torch.ops.aten.native_batch_norm_backward(
        gradient.flatten(1), linear.flatten(1), scale.view(-1), *statistics, training, _NORM.eps, [True] * 3
    )
    to_linear = to_linear.view_as(linear)
    to_weight = torch.bmm(to_linear.permute(1, 2, 0), x.transpose(0, 1))
    to_bias = torch.zeros_like(scale) if training else to_linear.sum(0)
    to_x = _products(to_linear, weight, gradient if x.shape == gradient.shape else None)
    return to_x, to_weight, to_bias, to_scale.view_as(scale), to_shift.view_as(scale)


class _Layer(torch.autograd.Function):
    """A layer of P networks side by side and its readout: x (n, P, a), or one for all, -> (n, P, b), (graphs, P, b).

    Written out, with its gradient, since embedding_bag's own gradient and new tensors for each step of it are slow.
    """

    @staticmethod
    def forward(ctx, x, neighbours, pool, running, training, *parameters):
        summed = neighbours[0](x).expand(-1, len(parameters[0]), -1)
        hidden, first = _unit(summed, *parameters[:4], *running[:2], training)
        out, second = _unit(hidden, *parameters[4:], *running[2:], training)
        ctx.save_for_backward(*first, *second)
        ctx.neighbours, ctx.pool, ctx.training = neighbours, pool, training
        ctx.set_materialize_grads(False)
        return out, pool[0](out)

    @staticmethod
    @once_differentiable
    def backward(ctx, to_out, to_readout):
        gradient = ctx.pool[1](to_readout)
        if to_out is not None:
            gradient += to_out
        half = len(ctx.saved_tensors) // 2
        gradient, *second = _unit_backward(gradient, ctx.saved_tensors[half:], ctx.training)
        gradient, *first = _unit_backward(gradient, ctx.saved_tensors[:half], ctx.training)
        to_x = ctx.neighbours[1](gradient) if ctx.needs_input_grad[0] else None
        return to_x, None, None, None, None, *first, *second


def encode(
    parameters: dict[str, torch.Tensor],
    buffers: dict[str, torch.Tensor],
    batches: Batches,
    owner: torch.Tensor,
    *,
    training: bool,
) -> torch.Tensor:
    """What M separate ``gin.Encoder`` give, each for its batch: readouts (M, G, sum of widths), 0 for padded graphs.

    Args:
        parameters: By the names in an Encoder, stacked: (M, ...).
        buffers: Likewise; while training, BatchNorm's are updated in place.
        batches: K batches.
        owner: Which batch each network sees, int64, (M,).
        training: Whether BatchNorm takes a batch's own statistics rather than the running ones.

    Raises:
        ValueError: If a batch to train on has one node only, which has no variance.
    """
    order = owner.argsort(stable=True)
    counts = owner.bincount(minlength=len(batches.nodes)).tolist()
    running = {name: value[order] for name, value in buffers.items() if "running" in name}
    ordered = running | {name: value.index_select(0, order) for name, value in parameters.items()}
    groups = {name: value.split(counts) for name, value in ordered.items()}
    readouts = [
        _side_by_side({name: values[k] for name, values in groups.items()}, batches, k, training)
        for k, networks in enumerate(counts)
        if networks
    ]
    if training:
        for name, value in running.items():
            buffers[name][order] = value
        for name in buffers.keys() - running.keys():
            if name.endswith("num_batches_tracked"):
                buffers[name] += 1
    return torch.cat(readouts).index_select(0, order.argsort())


def _side_by_side(state: dict[str, torch.Tensor], batches: Batches, k: int, training: bool) -> torch.Tensor:
    """Readouts (P, G, sum of widths) of the networks that see batch k; updates the running statistics in place."""
    x, neighbours, pool = batches.nodes[k][:, None], batches.neighbours[k], batches.pools[k]
    if training and len(x) == 1:
        raise ValueError(f"batch {k} has one node only: BatchNorm needs two to train on")
    readouts = [pool[0](x).expand(-1, len(state["norms.0.weight"]), -1)]
    for layer in takewhile(lambda layer: f"norms.{layer}.weight" in state, count()):
        units = [(f"layers.{layer}.nn.0", f"layers.{layer}.nn.1"), (f"layers.{layer}.nn.3", f"norms.{layer}")]
        running = [state[f"{norm}.running_{kind}"] for _, norm in units for kind in ("mean", "var")]
        weights = [state[f"{name}.{kind}"] for unit in units for name in unit for kind in ("weight", "bias")]
        x, readout = _Layer.apply(x, neighbours, pool, running, training, *weights)
        readouts.append(readout)
    joined = torch.cat(readouts, dim=2).transpose(0, 1)
    return functional.pad(joined, (0, 0, 0, batches.graphs - joined.shape[1]))
