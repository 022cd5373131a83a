"""Theorem 1's expansion against sums and integrals that share no code with it; radii against exact ones."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import roots_jacobi
from torch import nn

from mixupe_theory import BetaLaw, mixup_loss, standard_loss
from mixupe_theory.losses import log_partition, pointwise_loss
from mixupe_theory.theorem1 import convergence_radius, expand


def network(seed, inputs=2, outputs=3, activation=nn.Tanh):
    rng = np.random.default_rng(seed)
    f = nn.Sequential(nn.Linear(inputs, 4), activation(), nn.Linear(4, outputs)).double()
    with torch.no_grad():
        for p in f.parameters():
            p.copy_(torch.from_numpy(rng.normal(0, 0.7, p.shape)))
    return f


def problem(seed, n, head):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(0, 0.8, (n, 2)))
    y = torch.from_numpy(rng.dirichlet(np.ones(3), n) if head == "softmax" else rng.uniform(0, 1, (n, 1)))
    return network(seed, outputs=y.shape[1]), x, y


def nested_jvp(g, order):
    """[g(0), g'(0), ..., g^(order)(0)]."""
    out, one = [], torch.ones((), dtype=torch.float64)
    for k in range(order + 1):
        h = g
        for _ in range(k):
            h = (lambda inner: lambda t: torch.func.jvp(inner, (t,), (one,))[1])(h)
        out.append(h(torch.zeros((), dtype=torch.float64)))
    return out


def printed_regularizer(f, x, y, alpha, beta, order, head):
    """The deck's formula, pair by pair and node by node, D_lambda from Beta(alpha, beta) with both labels."""
    nodes, weights = roots_jacobi(40, beta - 1, alpha - 1)
    lam, weights = (1 + nodes) / 2, weights / weights.sum()
    total = 0.0
    for i, j in itertools.product(range(len(x)), repeat=2):
        derivatives = nested_jvp(lambda t, i=i, j=j: f((x[i] + t * (x[j] - x[i]))[None])[0], order)
        for t, w in zip(lam, weights, strict=True):
            # label y_i weighs lambda with a = 1 - lambda; exchanging i and j, label y_j does with a = lambda
            for a, share in ((1 - t, t), (t, 1 - t)):
                delta = sum(a ** (k - 1) / math.factorial(k) * derivatives[k] for k in range(1, order + 1))
                h = nested_jvp(
                    lambda s, d=derivatives[0], delta=delta: log_partition(d + s * delta, head),
                    order,
                )
                value = sum(a**k / math.factorial(k) * h[k] for k in range(1, order + 1)) - a * (y[i] * delta).sum()
                total += w * share * value.item()
    return total / len(x) ** 2


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_nested_is_the_printed_formula(order, head):
    """Equal up to rounding of some thousand terms."""
    f, x, y = problem(order, 2, head)
    expansion = expand(f, x, y, BetaLaw(0.7, 1.6), order, head)
    expected = printed_regularizer(f, x, y, 0.7, 1.6, order, head)
    assert expansion.nested[-1].item() == pytest.approx(expected, rel=1e-11)


@given(st.integers(0, 10**6), st.floats(0.05, 20), st.floats(0.05, 20), st.sampled_from(["softmax", "sigmoid"]))
def test_collected_is_the_taylor_series_of_the_pair_loss(seed, alpha, beta, head):
    """Order k is E[a^k] times the mean k-th derivative over k!, moments from the defining integral with both labels."""
    f, x, y = problem(seed, 3, head)
    expansion = expand(f, x, y, BetaLaw(alpha, beta), 4, head, rtol=1e-6)
    nodes, weights = roots_jacobi(12, beta - 1, alpha - 1)
    lam, weights = (1 + nodes) / 2, weights / weights.sum()
    i, j = (torch.from_numpy(t).flatten() for t in np.indices((3, 3)))
    derivatives = nested_jvp(lambda t: pointwise_loss(f(x[i] + t * (x[j] - x[i])), y[i], head).mean(), 4)
    for k in range(1, 5):
        moment = weights @ (lam * (1 - lam) ** k + (1 - lam) * lam**k)
        expected = moment * derivatives[k].item() / math.factorial(k)
        assert expansion.collected[k - 1].item() == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_lower_orders_do_not_depend_on_the_highest():
    f, x, y = problem(0, 4, "softmax")
    low, high = (expand(f, x, y, BetaLaw(1.0), order) for order in (3, 8))
    torch.testing.assert_close(high.nested[:3], low.nested, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(high.collected[:3], low.collected, rtol=1e-12, atol=1e-15)


def test_remainder_closes_the_sum():
    f, x, y = problem(1, 4, "softmax")
    expansion = expand(f, x, y, BetaLaw(0.5), 5)
    assert expansion.standard.item() == standard_loss(f, x, y).item()
    assert expansion.mixup.item() == mixup_loss(f, x, y, BetaLaw(0.5)).item()
    assert torch.equal(expansion.remainder, expansion.mixup - expansion.standard - expansion.nested)


def test_remainder_falls_with_the_data_s_extent():
    """Inputs shrunk by t about a point shrink order k by t^k: both remainders by t^(K + 1), to leading order."""
    f, x, y = problem(2, 4, "softmax")
    sizes = np.array([0.02, 0.01, 0.005])
    runs = [expand(f, t * x, y, BetaLaw(1.0), 3, rtol=1e-14) for t in sizes]
    for misses in (
        [run.remainder for run in runs],
        [run.mixup - run.standard - run.collected.cumsum(0) for run in runs],
    ):
        misses = torch.stack(misses).detach().numpy()
        for k in (1, 2, 3):
            slopes = np.diff(np.log(np.abs(misses[:, k - 1]))) / np.diff(np.log(sizes))
            assert 2 * slopes[-1] - slopes[-2] == pytest.approx(k + 1, abs=0.25)  # orders are whole numbers


def test_gradients_flow():
    f, x, y = problem(3, 3, "softmax")
    expansion = expand(f, x, y, BetaLaw(1.0), 2)
    step = 1e-6
    (gradient,) = torch.autograd.grad(expansion.nested[-1] + expansion.collected.sum(), f[0].bias)

    def value(shift):
        with torch.no_grad():
            f[0].bias[0] += shift
            e = expand(f, x, y, BetaLaw(1.0), 2)
            f[0].bias[0] -= shift
        return (e.nested[-1] + e.collected.sum()).item()

    assert gradient[0].item() == pytest.approx((value(step) - value(-step)) / (2 * step), rel=1e-6)  # O(step^2)


@pytest.mark.parametrize("order", [24, 40])
def test_radius_of_a_logistic_model_is_exact(order):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(0, 2, (15, 3)))
    w = torch.from_numpy(rng.normal(0, 1, (3, 1)))
    u = (x @ w)[:, 0]
    exact = (u**2 + math.pi**2).sqrt()[:, None] / (u[None] - u[:, None]).abs()
    radius = convergence_radius(lambda z: z @ w, x, order, head="sigmoid")
    torch.testing.assert_close(radius, exact, rtol=1e-6 if order == 40 else 1e-3, atol=0)
    two_logits = convergence_radius(lambda z: torch.cat([z @ w, 0 * (z @ w)], 1), x, order)
    torch.testing.assert_close(two_logits, radius, rtol=1e-6 if order == 40 else 1e-3, atol=0)


def test_radius_of_a_linear_softmax_is_the_nearest_zero_of_the_partition_function():
    """Three logits; zeros of sum_j exp(b_j + a d_j) found by Newton from a grid of complex starting points."""
    rng = np.random.default_rng(1)
    x, w = torch.from_numpy(rng.normal(0, 2, (5, 2))), torch.from_numpy(rng.normal(0, 1, (2, 3)))
    radius = convergence_radius(lambda z: z @ w, x)
    logits = (x @ w).numpy()
    axis = np.linspace(-1, 1, 31)
    for i, j in itertools.permutations(range(5), 2):
        b, d = logits[i], logits[j] - logits[i]
        found = np.inf
        for scale in (2, 10, 40):
            z = scale * (axis[:, None] + 1j * axis[None]).ravel()
            for _ in range(50):
                e = np.exp(b[:, None] + d[:, None] * z - (b[:, None] + d[:, None] * z).real.max(0))
                with np.errstate(all="ignore"):
                    z = np.nan_to_num(z - e.sum(0) / (d[:, None] * e).sum(0), nan=1e6, posinf=1e6, neginf=1e6)
                z = np.where(np.abs(z) < 1e6, z, 1e6)
            e = np.exp(b[:, None] + d[:, None] * z - (b[:, None] + d[:, None] * z).real.max(0))
            found = min(found, np.abs(z[np.abs(e.sum(0)) < 1e-10]).min(initial=np.inf))
        assert radius[i, j].item() == pytest.approx(found, rel=1e-6)


def test_radius_of_a_tanh_unit_is_its_nearest_pole():
    x = torch.tensor([[0.3], [1.7], [-1.0]], dtype=torch.float64)
    radius = convergence_radius(torch.tanh, x)  # one logit: the radius of f alone, poles at u = +- i pi/2
    exact = (x**2 + (math.pi / 2) ** 2).sqrt() / (x.T - x).abs()
    torch.testing.assert_close(radius, exact, rtol=1e-6, atol=0)


def test_radius_is_infinite_where_nothing_changes():
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 3.0]], dtype=torch.float64)
    radius = convergence_radius(lambda z: torch.cat([z, z], 1), x)  # equal logits up to a shift: g is constant
    assert torch.isinf(radius.diagonal()).all()
    assert torch.isinf(radius[0, 1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"order": 0}, ValueError, "order must be an integer >= 1, got 0"),
        ({"order": 1.5}, TypeError, "order"),
        ({"law": BetaLaw(1.0).tilted()}, TypeError, "law must be a BetaLaw"),
        ({"law": "uniform"}, TypeError, "law must be a BetaLaw"),
        ({"head": "relu"}, ValueError, "head"),
        ({"x": torch.zeros(0, 2)}, ValueError, "x must have shape"),
        ({"x": torch.full((3, 2), torch.nan)}, ValueError, "x must be finite"),
        ({"y": torch.tensor([0, 1, 5])}, ValueError, "y of class indices"),
        ({"f": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()}, ValueError, "layer '1'"),
        ({"f": nn.Sequential(nn.Linear(2, 3), nn.ELU()).double()}, ValueError, "layer '1' \\(ELU\\)"),
    ],
    ids=str,
)
def test_bad_input(change, error, message):
    f, x, y = problem(0, 3, "softmax")
    arguments = {"f": f, "x": x, "y": y, "law": BetaLaw(1.0), "order": 2} | change
    with pytest.raises(error, match=message):
        expand(**arguments)


def test_bad_input_to_the_radius():
    with pytest.raises(ValueError, match="order must be an integer >= 24"):
        convergence_radius(torch.tanh, torch.zeros(2, 1, dtype=torch.float64), 10)
    with pytest.raises(TypeError, match="x must be float64"):
        convergence_radius(torch.tanh, torch.zeros(2, 1), 40)
