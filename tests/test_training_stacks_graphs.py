"""Stacked encoders against separate ones of torch_geometric: values, gradients, running statistics; planted errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from mixupe_theory.training.data.graph_inputs import GraphInputs
from mixupe_theory.training.models.gin import Encoder
from mixupe_theory.training.stacks import graphs as stacks

train_and_eval = pytest.mark.parametrize("training", [False, True])
TINY = {"rtol": 1e-9, "atol": 1e-9}


def data_set(rng, features):
    """Directed graphs of 1 to 40 nodes, some with isolated nodes, some without edges, one with a node twice joined."""
    sizes = [1, 40, *rng.integers(1, 9, 10)]
    edges = [np.stack(np.nonzero(rng.random((n, n)) < rng.choice([0, 0.1, 0.5]))) for n in sizes]
    edges.append(np.array([[0, 0, 1], [1, 1, 0]]))
    sizes.append(2)
    starts = [torch.tensor([0, *np.cumsum(counts)]) for counts in (sizes, [e.shape[1] for e in edges])]
    nodes = torch.from_numpy(rng.normal(size=(sum(sizes), features)))
    return GraphInputs(nodes, torch.from_numpy(np.concatenate(edges, 1)), *starts, torch.arange(len(sizes)))


def case(seed, dtype=torch.float64):
    """Collections of 1 to 13 graphs, one that nobody sees, five networks in no order, weights of the readouts."""
    rng = np.random.default_rng(seed)
    widths = (int(rng.integers(1, 5)), *rng.integers(2, 7) * np.ones(rng.integers(1, 5), int))
    whole = data_set(rng, widths[0])
    chosen = [[1], [12, 0, 4, 0], [2, 3], rng.permutation(13)]
    collections = [whole[torch.as_tensor(places)] for places in chosen]
    encoders = [Encoder(tuple(map(int, widths))).to(dtype) for _ in range(5)]
    for encoder in encoders:
        for key, value in encoder.state_dict().items():
            if value.is_floating_point() and not key.endswith("eps"):
                noise = torch.from_numpy(rng.normal(size=value.shape)).to(dtype)
                value.copy_(0.5 + noise.abs() if key.endswith("running_var") else value + 0.3 * noise)
    weights = torch.from_numpy(rng.normal(size=(5, 13, sum(widths)))).to(dtype)
    return encoders, collections, torch.tensor([3, 0, 3, 1, 0]), weights


def stacked(encoders, collections, owner, weights, training, change=lambda batches: batches):
    """Readouts, gradients and buffers of the encoders in one."""
    dtype = weights.dtype
    own = [
        {name: torch.stack([dict(tensors(e))[name].detach() for e in encoders]) for name, _ in tensors(encoders[0])}
        for tensors in (Encoder.named_parameters, Encoder.named_buffers)
    ]
    for parameter in own[0].values():
        parameter.requires_grad_()
    readouts = stacks.encode(*own, change(stacks.batched(collections, dtype)), owner, training=training)
    gradients = torch.autograd.grad((readouts * weights).sum(), list(own[0].values()))
    return readouts.detach(), dict(zip(own[0], gradients, strict=True)), own[1]


def separate(encoders, collections, owner, weights, training):
    """The same of one encoder after another."""
    readouts = torch.zeros_like(weights)
    for k, encoder in enumerate(encoders):
        collection = collections[owner[k]]
        out = encoder.train(training)(collection.batch(weights.dtype))
        readouts[k, : len(collection)] = out.detach()
        encoder.zero_grad()
        (out * weights[k, : len(collection)]).sum().backward()
    gradients = {n: torch.stack([dict(e.named_parameters())[n].grad for e in encoders]) for n in names(encoders)}
    buffers = {n: torch.stack([dict(e.named_buffers())[n] for e in encoders]) for n, _ in encoders[0].named_buffers()}
    return readouts, gradients, buffers


def names(encoders):
    return [name for name, _ in encoders[0].named_parameters()]


def agree(left, right):
    try:
        torch.testing.assert_close(left, right, **TINY)
    except AssertionError:
        return False
    return True


@train_and_eval
@pytest.mark.parametrize("seed", range(8))
def test_stacked_encoders_are_separate_ones(seed, training):
    given = case(seed)
    found, expected = stacked(*given, training), separate(*given, training)
    torch.testing.assert_close(found, expected, **TINY)
    assert found[0][1, 1:].abs().max() == 0  # one graph, twelve of padding
    assert training == bool(found[2]["norms.0.num_batches_tracked"].eq(1).all())


@train_and_eval
def test_single_precision_is_close_to_double(training):
    given = case(3)
    double = stacked(*given, training)
    single = stacked([e.float() for e in given[0]], *given[1:3], given[3].float(), training)
    for left, right in zip(single, double, strict=True):
        for a, b in zip(*(t.values() if isinstance(t, dict) else [t] for t in (left, right)), strict=True):
            assert (a - b).abs().max() <= 2e-5 * (1 + b.abs().max())


def padding_counted(batches):
    """Nodes that are none, without features and edges."""

    def more(sums):
        return stacks.Sums(sums.rows, functional.pad(sums.starts, (0, 3), value=len(sums.rows)))

    neighbours = tuple((more(a), more(b)) for a, b in batches.neighbours)
    return replace(batches, neighbours=neighbours, pools=tuple((a, more(b)) for a, b in batches.pools))


def edges_turned(batches):
    return replace(batches, neighbours=tuple(pair[::-1] for pair in batches.neighbours))


def edges_turned_in_the_gradient(batches):
    return replace(batches, neighbours=tuple((a, a) for a, _ in batches.neighbours))


@pytest.mark.parametrize(
    ("change", "what_differs"),
    [
        (lambda batches: batches, ()),
        (padding_counted, (0, 1, 2)),
        (edges_turned, (0, 1, 2)),
        (edges_turned_in_the_gradient, (1,)),
    ],
)
def test_planted_errors_in_the_batches_are_noticed(change, what_differs):
    given = case(4)
    found = stacked(*given, True, change)
    expected = separate(*given, True)
    assert tuple(k for k in range(3) if not agree(found[k], expected[k])) == what_differs


def test_an_ignored_owner_is_noticed():
    encoders, collections, owner, weights = case(5)
    expected = separate(encoders, collections, owner, weights, False)
    wrong = stacked(encoders, collections, torch.full_like(owner, 3), weights, False)
    assert agree(wrong[0][owner == 3], expected[0][owner == 3])
    assert not agree(wrong[0], expected[0])


def test_a_biased_running_variance_is_noticed():
    given = case(6)
    _, _, buffers = stacked(*given, True)
    before = torch.stack([e.norms[0].running_var.clone() for e in given[0]])
    expected = separate(*given, True)[2]["norms.0.running_var"]
    n = torch.tensor([len(given[1][k].batch().x) for k in given[2]])[:, None]
    biased = 0.9 * before + (expected - 0.9 * before) * (n - 1) / n
    assert agree(buffers["norms.0.running_var"], expected)
    assert not agree(buffers["norms.0.running_var"], biased)


def test_one_node_is_too_few_to_train_on():
    encoders, collections, owner, _ = case(7)
    batches = stacks.batched([collections[0][torch.tensor([0])][torch.tensor([0])], *collections[1:]], torch.float64)
    small = replace(batches, nodes=(batches.nodes[0][:1], *batches.nodes[1:]))
    own = [
        {name: torch.stack([dict(tensors(e))[name].detach() for e in encoders]) for name, _ in tensors(encoders[0])}
        for tensors in (Encoder.named_parameters, Encoder.named_buffers)
    ]
    with pytest.raises(ValueError, match="batch 0 has one node only"):
        stacks.encode(*own, small, owner, training=True)
