"""GIN against a loop over graphs with dense adjacency matrices; mixing of pooled readouts; determinism."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch_geometric.data import Batch, Data

from mixupe_theory.objective import mix
from mixupe_theory.training.models import build

FEATURES, CLASSES, HIDDEN = 3, 2, 6
train_and_eval = pytest.mark.parametrize("training", [False, True])


def random_graphs(sizes, rng, density=0.4):
    """Directed graphs, some with isolated nodes: features (n, FEATURES), adjacency [to, from]."""
    return [(rng.normal(size=(n, FEATURES)), np.triu(rng.random((n, n)) < density, 1) * 1.0) for n in sizes]


def as_batch(graphs):
    def data(x, adjacency):
        to, start = np.nonzero(adjacency)
        return Data(x=torch.from_numpy(x), edge_index=torch.from_numpy(np.stack([start, to])))

    return Batch.from_data_list([data(x, adjacency) for x, adjacency in graphs])


def prepared(training, **options):
    rng = np.random.default_rng(0)
    net = build("gin", (FEATURES,), CLASSES, hidden=HIDDEN, **options).double().train(training)
    for key, value in net.state_dict().items():
        if value.is_floating_point() and not key.endswith("eps"):
            noise = torch.from_numpy(rng.normal(size=value.shape))
            value.copy_(0.5 + noise.abs() if key.endswith("running_var") else value + 0.3 * noise)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    return net, state, random_graphs((5, 1, 8, 3), rng)


def reference(state, graphs, training, *, epsilon=0.0):
    """Logits and pooled readouts; ``epsilon`` as in (1 + epsilon) x + sum of the neighbours' x."""

    def linear(key, x):
        return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]

    def norm(key, x):
        mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        if training:
            mean, var = x.mean(0), x.var(0, correction=0)
        return (x - mean) / (var + 1e-5).sqrt() * state[f"{key}.weight"] + state[f"{key}.bias"]

    xs = [torch.from_numpy(x) for x, _ in graphs]
    readouts = [torch.stack([x.sum(0) for x in xs])]
    for layer in range(4):
        key = f"stages.0.layers.{layer}.nn"
        sums = [torch.from_numpy(a) @ x + (1 + epsilon) * x for x, (_, a) in zip(xs, graphs, strict=True)]
        hidden = linear(f"{key}.3", norm(f"{key}.1", linear(f"{key}.0", torch.cat(sums))).relu())
        hidden = norm(f"stages.0.norms.{layer}", hidden).relu()
        xs = hidden.split([len(x) for x in xs])
        readouts.append(torch.stack([x.sum(0) for x in xs]))
    scores = [linear(f"stages.1.linears.{layer}", readout) for layer, readout in enumerate(readouts)]
    return sum(functional.dropout(score, 0.5, training) for score in scores), torch.cat(readouts, 1)


def seeded(function):
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        return function()


@train_and_eval
def test_gin_is_its_definition(training):
    net, state, graphs = prepared(training)
    logits, readouts = seeded(lambda: reference(state, graphs, training))
    batch = as_batch(graphs)
    torch.testing.assert_close(seeded(lambda: net.embed(batch)), readouts, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(seeded(lambda: net(batch)), logits, rtol=1e-12, atol=1e-12)
    planted, _ = seeded(lambda: reference(state, graphs, training, epsilon=0.1))
    assert (planted - logits).abs().max() > 1e-3


def test_number_of_parameters():
    """Per layer two linear layers and two BatchNorms; epsilon is not among them."""
    net = build("gin", (7,), 2)
    first, later = (64 * (inputs + 1) + 64 * 65 + 4 * 64 for inputs in (7, 64))
    assert sum(p.numel() for p in net.parameters()) == first + 3 * later + 2 * (7 + 1) + 4 * 2 * (64 + 1)


def test_graphs_are_mixed_as_pooled_readouts():
    net, _, graphs = prepared(training=False)
    batch = as_batch(graphs)
    permutation = torch.tensor([2, 0, 3, 1])
    assert net.input_place == 1
    assert net.manifold_places == (1,)
    assert net.embed(batch).shape == (4, FEATURES + 4 * HIDDEN)
    logits = net(batch)
    assert torch.equal(net(batch, mix_at=1, mix=lambda readouts: readouts), logits)
    swapped = net(batch, mix_at=1, mix=lambda readouts: mix(readouts, readouts[permutation], torch.tensor(0.0)))
    torch.testing.assert_close(swapped, logits[permutation], rtol=1e-12, atol=1e-12)
    # in evaluation mode the head is affine, so mixed readouts have mixed logits
    half = net(batch, mix_at=1, mix=lambda readouts: (readouts + readouts[permutation]) / 2)
    torch.testing.assert_close(half, (logits + logits[permutation]) / 2, rtol=1e-12, atol=1e-12)


def test_every_parameter_has_an_effect():
    net, _, graphs = prepared(training=True, dropout=0.0)
    net(as_batch(graphs)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_two_runs_give_the_same_bits():
    """On two threads, with torch told to raise where an operation is not deterministic."""
    graphs = random_graphs([60] * 16, np.random.default_rng(1), density=0.2)
    threads = torch.get_num_threads()

    def gradients():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = build("gin", (FEATURES,), CLASSES).double()
            logits = net(as_batch(graphs))
        logits.square().mean().backward()
        return torch.cat([logits.detach().flatten(), *(p.grad.flatten() for p in net.parameters())])

    try:
        torch.set_deterministic_debug_mode("error")
        torch.set_num_threads(2)
        assert torch.equal(gradients(), gradients())
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((3, 32, 32), {}, ValueError, r"shape must be \(node features,\) for this model, got \(3, 32, 32\)"),
        (7, {}, TypeError, r"shape must be \(node features,\), got 7 of type int"),
        ((7,), {"hidden": 0}, ValueError, "hidden must be an integer >= 1, got 0"),
        ((7,), {"hidden": (16, 16)}, TypeError, "hidden must be an integer >= 1"),
        ((7,), {"dropout": 1.0}, ValueError, r"dropout must be a number in \[0, 1\), got 1.0"),
        ((7,), {"dropout": "no"}, TypeError, "dropout must be a finite number >= 0, got 'no'"),
        ((7,), {"epsilon": 0.0}, ValueError, r"option of 'gin' must be one of \('hidden', 'dropout'\)"),
    ],
)
def test_bad_arguments_are_named(shape, options, error, message):
    with pytest.raises(error, match=message):
        build("gin", shape, 2, **options)


def test_without_torch_geometric_the_error_says_what_to_install(monkeypatch):
    for name in ("torch_geometric", "torch_geometric.nn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mixupe-theory\[train\]"'):
        build("gin", (7,), 2)
