"""q_hat, q and the official q: by hand, against one Jacobian for each sample, and against digits of mpmath."""

import copy

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import SEEDS, L, jacobian, targets, tensor
from objective_cases import network as random_weights
from torch import nn

from mixupe_theory.first_order import official_q, q, q_hat

EPS = torch.finfo(torch.float64).eps
TARGETS = ["indices", "one-hot", "whole one-hot", "soft", "sigmoid", "sigmoid column", "sigmoid soft"]
pytestmark = pytest.mark.usefixtures("forward_mode")


def network(name, c, rng):
    """(model in training mode, shape of one input)."""
    conv = [nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, c)]
    layers, shape = {
        "linear": ([nn.Linear(3, c)], (3,)),
        "tanh": ([nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, c)], (3,)),
        "conv": (conv, (2, 4, 4)),
        "homogeneous": ([nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, c, bias=False)], (3,)),
        "batch norm": ([nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, c)], (3,)),
    }[name]
    return random_weights(rng, *layers), shape


def problem(name, kind, seed=0, n=4):
    """(model, x, y, head, y as rows, x_mean)."""
    rng = np.random.default_rng(seed)
    y, rows, head = targets(kind, n, rng)
    model, shape = network(name, rows.shape[-1], rng)
    x, x_mean = (torch.from_numpy(rng.normal(size=s)) for s in ((n, *shape), shape))
    return model, x, y, head, rows, x_mean


def response(logits):
    """Softmax or sigmoid, from exponentials."""
    return 1 / (1 + (-logits).exp()) if logits.shape[-1] == 1 else logits.exp() / logits.exp().sum(-1, keepdim=True)


def reference_q(model, x, rows, x_mean, *, create_graph=False, detached=False):
    """sum over classes of (g - y) (J (x_mean - x)), one sample and one Jacobian at a time."""
    values = []
    for x_i, y_i in zip(x, rows, strict=True):
        f = lambda z: model(z[None])[0]
        residual = response(f(x_i)) - y_i
        slopes = jacobian(f, x_i, create_graph=create_graph).flatten(1) @ (x_mean - x_i).flatten()
        values.append((residual.detach() if detached else residual) @ slopes)
    return torch.stack(values)


def reference_official_q(model, x, rows, x_mean, *, create_graph=False):
    """The recipe's <grad_{x_i} sum_j (g - y)_j . f_j, x_mean - x_i>, from the Jacobian of the whole batch."""
    residual = (response(model(x)) - rows).detach()
    whole = jacobian(model, x, create_graph=create_graph)  # (j, class, i, ...)
    n, c = residual.shape
    values = []
    for i in range(n):
        gradient = sum(residual[j, k] * whole[j, k, i] for j in range(n) for k in range(c))
        values.append((gradient * (x_mean - x[i])).sum())
    return torch.stack(values)


def gradient(values, model):
    """Of an uneven sum."""
    weights = torch.linspace(-1, 2, values.numel(), dtype=values.dtype).reshape(values.shape)
    grads = torch.autograd.grad((weights * values).sum(), list(model.parameters()), materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


def close(got, expected):
    """1e-9 relative to the largest entry: some hundred roundings, times derivatives of order 100."""
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9 * (expected.abs().max().item() + 1e-3))


# --- by hand

BY_HAND = {  # head, y, q_hat / ln 3, and q = a + b ln 3 as (a, b)
    "class 0": ("softmax", torch.tensor([0]), 1 / 4, (-7 / 4, 1 / 4)),
    "class 1": ("softmax", torch.tensor([1]), -3 / 4, (21 / 4, -3 / 4)),
    "class 1 in a byte": ("softmax", torch.tensor([1], dtype=torch.uint8), -3 / 4, (21 / 4, -3 / 4)),
    "whole one-hot": ("softmax", torch.tensor([[0, 1]]), -3 / 4, (21 / 4, -3 / 4)),
    "soft": ("softmax", tensor([0.25, 0.75]), -1 / 2, (7 / 2, -1 / 2)),
    "fitted": ("softmax", tensor([0.75, 0.25]), 0.0, (0.0, 0.0)),
    "sigmoid 1": ("sigmoid", tensor(1.0), 1 / 4, (-3.0, 1 / 4)),
    "sigmoid 0 in a column": ("sigmoid", tensor([0.0]), -3 / 4, (9.0, -3 / 4)),
    "sigmoid soft": ("sigmoid", tensor(0.25), -1 / 2, (6.0, -1 / 2)),
    "sigmoid whole": ("sigmoid", torch.tensor([1]), 1 / 4, (-3.0, 1 / 4)),
}


@pytest.mark.parametrize("leading", [(1,), (3,), (2, 3), (2, 1, 2)], ids=str)
@pytest.mark.parametrize(("head", "y", "of_q_hat", "of_q"), BY_HAND.values(), ids=BY_HAND)
def test_linear_model_by_hand(head, y, of_q_hat, of_q, leading):
    """W = [[1, 2], [0, 1]], x = (ln 3, 0), x_mean = (2, 5).

    f = W x = (ln 3, 0), so g = (3, 1)/4 and q_hat = (y - g) . f = (y_0 - 3/4) ln 3. W x_mean = (12, 5), so
    J (x_mean - x) = (12 - ln 3, 5) and, as g - y sums to 0, q = (3/4 - y_0)(7 - ln 3).
    Head "sigmoid" has the first row alone: f = ln 3, g = 3/4, q_hat = (y - 3/4) ln 3, q = (3/4 - y)(12 - ln 3).
    All positions are alike here, so their mean, the official q, is q. Tolerance: some roundings.
    """
    weight = tensor([1, 2], [0, 1])[: 2 if head == "softmax" else 1]
    model = lambda x: x @ weight.T
    x, x_mean = tensor(L, 0).repeat(*leading, 1), tensor(2, 5).expand(*leading[1:], 2)
    y = y[0].expand(*leading, *y.shape[1:])
    by_hand = of_q[0] + of_q[1] * L
    for value, shape, wanted in (
        (q_hat(model(x), y, head), leading, of_q_hat * L),
        (q(model, x, y, x_mean, head), leading, by_hand),
        (official_q(model, x, y, x_mean, head), leading[:1], by_hand),
    ):
        torch.testing.assert_close(value, torch.full(shape, wanted, dtype=torch.float64), rtol=0, atol=64 * EPS)


# --- q_hat


@pytest.mark.parametrize("kind", TARGETS)
@given(seed=SEEDS)
def test_q_hat_is_residual_times_logits(kind, seed):
    """Value, and gradient through both factors or through the logits alone; tolerance: some roundings."""
    rng = np.random.default_rng(seed)
    y, rows, head = targets(kind, (3, 2), rng)
    logits = torch.from_numpy(rng.normal(scale=3, size=rows.shape)).requires_grad_()
    weights = torch.from_numpy(rng.normal(size=(3, 2)))
    slope = lambda values: torch.autograd.grad((weights * values).sum(), logits, retain_graph=True)[0]
    residual = rows - response(logits)
    literal = {False: (residual * logits).sum(-1), True: (residual.detach() * logits).sum(-1)}
    for detached, wanted in literal.items():
        value = q_hat(logits, y, head, residual_detached=detached)
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-13)
        torch.testing.assert_close(slope(value), slope(wanted), rtol=0, atol=1e-13)
    assert (slope(literal[True]) - slope(literal[False])).norm() > 1e-3  # negative control: the two differ


@given(seed=SEEDS)
def test_q_hat_is_entropy_minus_cross_entropy(seed):
    """H(g) + y . log g = sum (y - g) log g; roundings."""
    rng = np.random.default_rng(seed)
    y, rows, _ = targets("soft", 5, rng, c=4)
    logits = torch.from_numpy(rng.normal(scale=3, size=(5, 4)))
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    expected = entropy - nn.functional.cross_entropy(logits, rows, reduction="none")
    torch.testing.assert_close(q_hat(logits, y), expected, rtol=0, atol=1e-13)


def digits_of_q_hat(logits, rows):
    """(y - g) . f of one row to 50 digits."""
    with mpmath.workdps(50):
        f = [mpmath.mpf(v) for v in logits.tolist()]
        g = [mpmath.exp(v - f[0]) for v in f]
        return float(sum((y - v / sum(g)) * u for y, v, u in zip(map(mpmath.mpf, rows.tolist()), g, f, strict=True)))


@pytest.mark.parametrize("shift", [0.0, 1e6, -1e6])
@pytest.mark.parametrize("rows", [tensor(0, 1, 0), tensor(0.5, 0.25, 0.25)], ids=["one-hot", "soft"])
@given(whole=st.lists(st.integers(-5120, 5120), min_size=3, max_size=3))
def test_q_hat_keeps_its_digits_under_a_common_shift(rows, shift, whole):
    """Logits are multiples of 2^-9, so the shift is exact and only logits counted from their maximum, <= 20, round.

    The gradient, (y - g) - diag(g)(f - ...) of the shifted logits, keeps its digits as well.
    """
    logits = (torch.tensor([whole], dtype=torch.float64) / 512 + shift).requires_grad_()
    near = (logits.detach() - shift).requires_grad_()
    value = q_hat(logits, rows[None])
    assert abs(value.item() - digits_of_q_hat(logits[0], rows)) <= 8 * EPS * 20
    slopes = [torch.autograd.grad(v, at)[0] for v, at in ((value, logits), (q_hat(near, rows[None]), near))]
    torch.testing.assert_close(*slopes, rtol=0, atol=8 * EPS * 20)


def test_the_naive_product_loses_digits_under_the_shift():
    """Negative control of the tolerance above: (y - g) . f written down as it stands."""
    logits, rows = tensor(0.3125, 1.5, 2.75) + 1e6, tensor(0.0, 1.0, 0.0)
    naive = ((rows - logits.softmax(-1)) * logits).sum().item()
    assert abs(naive - digits_of_q_hat(logits, rows)) > 8 * EPS * 20


# --- q and the official q

SAMPLEWISE = ["linear", "tanh", "conv", "homogeneous"]


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", SAMPLEWISE)
@settings(max_examples=4)
@given(seed=SEEDS, zero_mean=st.booleans())
def test_q_equals_one_jacobian_for_each_sample(name, kind, seed, zero_mean):
    """q with its gradient through both factors, the official q with the residual detached; the values are equal."""
    model, x, y, head, rows, x_mean = problem(name, kind, seed)
    given_mean = None if zero_mean else x_mean
    x_mean = torch.zeros_like(x_mean) if zero_mean else x_mean
    for of, detached in ((q, False), (official_q, True)):
        value = of(model, x, y, given_mean, head)
        wanted = reference_q(model, x, rows, x_mean, create_graph=True, detached=detached)
        assert value.shape == (4,)
        close(value, wanted)
        close(gradient(value, model), gradient(wanted, model))


@pytest.mark.parametrize("kind", ["indices", "soft", "sigmoid soft"])
@given(seed=SEEDS)
def test_q_is_q_hat_for_networks_of_degree_one_and_mean_zero(kind, seed):
    """Without biases a ReLU network has J(x) x = f(x)."""
    model, x, y, head, _, _ = problem("homogeneous", kind, seed)
    close(q(model, x, y, None, head), q_hat(model(x), y, head))


def test_q_is_not_q_hat_with_biases_or_a_mean():
    """Negative control of the above."""
    for name, mean in (("linear", False), ("homogeneous", True)):
        model, x, y, head, _, x_mean = problem(name, "indices")
        assert (q(model, x, y, x_mean if mean else None, head) - q_hat(model(x), y, head)).norm() > 0.1


@pytest.mark.parametrize("kind", ["indices", "soft", "sigmoid soft"])
@given(seed=SEEDS)
def test_official_q_with_batch_norm_is_the_recipe(kind, seed):
    """Samples enter each other's value through the statistics, which move; q holds them fixed and differs."""
    model, x, y, head, rows, x_mean = problem("batch norm", kind, seed)
    value = official_q(model, x, y, x_mean, head)
    wanted = reference_official_q(copy.deepcopy(model), x, rows, x_mean)
    close(value, wanted)
    other = copy.deepcopy(model)
    close(gradient(value, model), gradient(reference_official_q(other, x, rows, x_mean, create_graph=True), other))
    assert (q(model, x, y, x_mean, head) - wanted).norm() > 1e-6 * wanted.norm()


@pytest.mark.parametrize("kind", ["indices", "soft", "sigmoid"])
def test_positions_within_a_sample(kind):
    """Logits (n, T, c) of a model that treats positions apart: q for each, the official q is their mean."""
    rng = np.random.default_rng(0)
    y, rows, head = targets(kind, (3, 5), rng)
    model, _ = network("tanh", rows.shape[-1], rng)
    x, x_mean = (torch.from_numpy(rng.normal(size=s)) for s in ((3, 5, 3), (5, 3)))
    wanted = torch.stack([reference_q(model, x[:, t], rows[:, t], x_mean[t]) for t in range(5)], 1)
    close(q(model, x, y, x_mean, head), wanted)
    close(official_q(model, x, y, x_mean, head), wanted.mean(1))
    close(q_hat(model(x), y, head), ((rows - response(model(x))) * model(x)).sum(-1))


# --- how they are called


@pytest.mark.parametrize("of", [q, official_q])
@pytest.mark.parametrize("name", ["tanh", "batch norm"])
def test_without_gradients_the_values_are_the_same(of, name):
    model, x, y, head, _, x_mean = problem(name, "indices")
    wanted = of(model, x, y, x_mean, head)
    with torch.no_grad():
        got = of(model, x, y, x_mean, head)
    assert torch.equal(got, wanted.detach())
    assert wanted.requires_grad
    assert not got.requires_grad
    assert not x.requires_grad
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_taken_to_float32(dtype):
    """2^-8 = 4e-3 per operation in bfloat16, some in a row."""
    model, x, y, head, rows, x_mean = problem("tanh", "indices")
    wanted = reference_q(model, x, rows, x_mean)
    half = copy.deepcopy(model).to(dtype)
    values = [of(half, x.to(dtype), y, x_mean, head) for of in (q, official_q)]
    assert values[0].dtype == q_hat(half(x.to(dtype)), y, head).dtype == torch.float32
    assert all((value.double() - wanted).norm() <= 10 * 4e-3 * wanted.norm() for value in values)


@pytest.mark.parametrize("of", [q, official_q])
def test_compiled_models_are_taken(of):
    model, x, y, head, _, x_mean = problem("tanh", "indices")
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    value, wanted = of(compiled, x, y, x_mean, head), of(model, x, y, x_mean, head)
    assert torch.equal(value, wanted)
    assert torch.equal(gradient(value, model), gradient(wanted, model))


def test_official_q_of_a_model_that_changes_its_input_in_place():
    x, y = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(4, 2), torch.tensor([0, 1, 1, 0])
    kept = x.clone()
    values = official_q(lambda z: 3 * nn.functional.relu(z, inplace=True), x, y)
    assert torch.equal(values, official_q(lambda z: 3 * nn.functional.relu(z), x, y))
    assert torch.equal(x, kept)
