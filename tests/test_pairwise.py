"""All pairs at once against pair by pair, which shares neither the tracing nor the compiled code."""

import os
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mixupe_theory import chains, pairwise, straightline, taylor, tracing_rules
from mixupe_theory.taylor import pairwise_jet, taylor_coefficients
from mixupe_theory.tracing import NotTraced

EPS = torch.finfo(torch.float64).eps
ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus}
ACTIVATIONS |= {"silu": nn.SiLU, "gelu": nn.GELU, "relu": nn.ReLU}
FLAT, IMAGE = (3,), (2, 6, 6)


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def fill(module, rng):
    """Random parameters and running statistics, float64, evaluation mode, no gradients."""
    module = module.double().eval().requires_grad_(False)
    for name, t in [*module.named_parameters(), *module.named_buffers()]:
        if t.is_floating_point():
            t.copy_(normal(rng, *t.shape).abs() + 0.5 if name.endswith("var") else normal(rng, *t.shape) / 2)
    return module


def mlp(activation=nn.Tanh, d=3):
    return nn.Sequential(nn.Linear(d, 5), activation(), nn.Linear(5, 4), activation(), nn.Linear(4, 2))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.shortcut = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.norm, self.pool = nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1)
        self.last = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        x = F.silu(self.norm(self.conv(x)) + self.shortcut(x))
        x = x + torch.tanh(x) * 0.5 - x.sigmoid()
        return self.last(self.pool(x)).view(x.size(0), -1)


class Shared(nn.Module):
    """Values of one memory, needed again after another use of it: it must not be written to meanwhile."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.last = (nn.Linear(*s) for s in ((3, 4), (4, 4), (4, 4), (4, 2)))

    def forward(self, x):
        u = self.second(torch.tanh(self.first(x)))
        shifted, shaped = u + 1.0, u.view(len(u), 2, 2)
        w = self.third(torch.tanh(self.third(torch.tanh(u))))
        return self.last(w + shifted + shaped.flatten(1))


W = torch.tensor([[0.3, -1.2], [1.1, 0.4], [-0.8, 0.2]], dtype=torch.float64)
TRACED = {  # name: (f's factory, shape of one input)
    **{name: (lambda activation=activation: mlp(activation), FLAT) for name, activation in ACTIVATIONS.items()},
    "linear": (lambda: nn.Linear(3, 2), FLAT),
    "two linear layers": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2)), FLAT),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)), FLAT),
    "batch norm of a curve": (lambda: nn.Sequential(mlp(), nn.BatchNorm1d(2)), FLAT),
    "residual block": (Residual, IMAGE),
    "shared memory": (Shared, FLAT),
    "LeNet": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 2), nn.Softplus(), nn.Flatten()
        ),
        IMAGE,
    ),
    "in place": (lambda: mlp(lambda: nn.ReLU(inplace=True)), FLAT),
    "softplus, beta": (lambda: mlp(lambda: nn.Softplus(beta=3.0)), FLAT),
    "gelu, tanh": (lambda: mlp(lambda: nn.GELU(approximate="tanh")), FLAT),
    "log softmax": (lambda: nn.Sequential(mlp(), nn.LogSoftmax(1)), FLAT),
    "by hand": (lambda: lambda x: torch.exp((x - 0.5) @ W / 2) * torch.sin(-x @ W) / (2 + (x @ W) ** 2) + W[0], FLAT),
    "constants": (lambda: lambda x: (1.5 - torch.tanh(x @ W)) * W[1] - W[2] + 2.0, FLAT),
    "sum of affine and curved": (lambda: lambda x: x @ W + torch.cos(x @ W) - 2 * (x @ W), FLAT),
}


def joined(f, x, order):
    """(i, j, coefficients) of all chunks together."""
    i, j, coefficients = zip(*pairwise_jet(f, x, order), strict=True)
    return torch.cat(i), torch.cat(j), torch.cat(coefficients, 1)


def assert_close_to_pair_by_pair(f, x, order, units=300):
    """Every order within some hundred roundings of the largest number of that order.

    Order 1 of an affine value is a difference of two values at points, here of like size.
    """
    i, j, value = joined(f, x, order)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == list(np.ndindex(len(x), len(x)))
    reference = taylor_coefficients(f, x[i], x[j] - x[i], order)
    for k in range(order + 1):
        scale = reference[k].abs().max() if reference[k].any() else 1.0
        assert (value[k] - reference[k]).abs().max() <= units * EPS * scale, k
    assert (value[1:, i == j] == 0).all()


@pytest.mark.parametrize("compile_from", [0, 2**60], ids=["compiled", "plain"])
@pytest.mark.parametrize("name", TRACED)
def test_traced_functions_match_pair_by_pair(name, compile_from, monkeypatch):
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", compile_from)
    make, shape = TRACED[name]
    rng = np.random.default_rng(len(name))
    f = make()
    f = fill(f, rng) if isinstance(f, nn.Module) else f
    x = normal(rng, 5, *shape)
    pairwise.trace(f, x, 2)  # or NotTraced
    for order in (1, 2, 5):
        assert_close_to_pair_by_pair(f, x, order)


REFUSED = {
    "mean over features": lambda x: x * x.mean(1, keepdim=True),
    "indexing": lambda x: x[:, :2] * x[:, 1:],
    "concatenation": lambda x: torch.cat([x, x.sin()], 1),
    "matrix from the left": lambda x: (torch.eye(3, dtype=torch.float64) @ x.unsqueeze(-1)).squeeze(-1),
    "constant in each row": lambda x: x.tanh() * torch.ones(len(x), 3, dtype=torch.float64),
    "an option of add": lambda x: torch.add(x.sin(), x, alpha=2.0),
    "logsumexp over a tuple": lambda x: x - torch.logsumexp(x.sin(), (1,), keepdim=True),
    "no x in it": lambda x: torch.ones(len(x), 3, dtype=torch.float64),
    "power of different shapes": lambda x: x / (2 + x.square()).flatten().view(x.shape),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_traced_is_expanded_pair_by_pair(name):
    f, x = REFUSED[name], normal(np.random.default_rng(0), 4, 3)
    if name != "power of different shapes":
        with pytest.raises(NotTraced):
            pairwise.trace(f, x, 2)
    assert_close_to_pair_by_pair(f, x, 4)


def test_f_is_called_once_on_the_points():
    rng = np.random.default_rng(0)
    network, rows = fill(mlp(), rng), []

    def f(x):
        rows.append(len(x))
        return network(x)

    joined(f, normal(rng, 6, 3), 3)
    assert rows == [6]


@pytest.mark.parametrize("numbers", [1, 100, 333, 2**17])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("compile_from", [0, 2**60], ids=["compiled", "plain"])
def test_chunks_and_threads_change_nothing(numbers, threads, compile_from, monkeypatch):
    """Rectangles of 1 to n^2 pairs, dividing n and not: bit for bit the same series where products' shapes agree."""
    rng = np.random.default_rng(1)
    f, x = fill(mlp(), rng), normal(rng, 7, 3)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", compile_from)
    monkeypatch.setattr(chains, "AT_ONCE", numbers // 2)
    try:
        monkeypatch.setitem(pairwise.AT_ONCE, "cpu", numbers)
        assert_close_to_pair_by_pair(f, x, 3)
        first, second = (joined(f, x, 3) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_abandoned_iteration_is_not_carried_on(monkeypatch):
    monkeypatch.setitem(pairwise.AT_ONCE, "cpu", 1)
    rng = np.random.default_rng(1)
    f, x, done = fill(mlp(), rng), normal(rng, 20, 3), []
    replay = pairwise.Trace.replay
    monkeypatch.setattr(pairwise.Trace, "replay", lambda *args: done.append(args) or replay(*args))
    iteration = pairwise_jet(f, x, 3)
    next(iteration)
    iteration.close()
    assert len(done) < 50  # of 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own():
    """In the child numpy sums, since torch's own threads do not survive a fork either."""
    rng = np.random.default_rng(1)
    f, x = fill(mlp(), rng), normal(rng, 300, 3)
    total = lambda: sum(c.numpy().sum() for _, _, c in pairwise_jet(f, x, 3))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = total()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads: it is what is tested
            child = os.fork()
        if child == 0:
            os._exit(0 if total() == expected else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(before)


def test_equal_inputs_have_no_higher_orders():
    """Exactly, wherever they stand in the batch, and in whatever block of a matrix product they fall."""
    rng = np.random.default_rng(2)
    x = normal(rng, 40, 64)
    x[[3, 17, 39]] = x[0].clone()
    i, j, value = joined(fill(mlp(d=64), rng), x, 2)
    same = torch.isin(i, torch.tensor([0, 3, 17, 39])) & torch.isin(j, torch.tensor([0, 3, 17, 39]))
    assert (value[1:, same] == 0).all()
    assert (value[1:, ~same & (i != j)] != 0).all()


@pytest.mark.parametrize("compile_from", [0, 2**60], ids=["compiled", "plain"])
@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-8])
def test_close_pairs_lose_no_digits(distance, compile_from, monkeypatch):
    """W x_j - W x_i would lose all of eps / distance; at most those of 1e-3 may be lost, times order."""
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", compile_from)
    rng = np.random.default_rng(3)
    f, x = fill(mlp(), rng), normal(rng, 1, 3)
    x = torch.cat([x, normal(rng, 2, 3), x + distance * normal(rng, 1, 3)])
    i, j, value = joined(f, x, 3)
    for a, b in ((0, 3), (3, 0)):
        pair = value[:, (i == a) & (j == b)][:, 0]
        reference = taylor_coefficients(f, x[[a]], x[[b]] - x[[a]], 3)[:, 0]
        for k in (1, 2, 3):
            allowed = 20 * k * EPS * (1 / distance if distance > taylor.CLOSE else 1)
            assert (pair[k] - reference[k]).norm() <= allowed * reference[k].norm()


@pytest.mark.parametrize("mode", ["backward", "torch.func.grad", "torch.func.jvp"])
@pytest.mark.parametrize("wanted", ["parameters", "inputs"])
def test_derivatives_of_the_coefficients(mode, wanted, monkeypatch):
    """Directional derivatives by three modes against a central difference: 1e-9 is its accuracy at a step of 1e-5."""
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", 0)
    rng = np.random.default_rng(4)
    f, x = fill(mlp(), rng), normal(rng, 4, 3)
    if wanted == "parameters":
        at = {name: p.detach() for name, p in f.named_parameters()}
        value = lambda at: sum(
            c[1:].sin().sum() for _, _, c in pairwise_jet(lambda x: torch.func.functional_call(f, at, (x,)), x, 2)
        )
    else:
        at = {"x": x}
        value = lambda at: sum(c[1:].sin().sum() for _, _, c in pairwise_jet(f, at["x"], 2))
    along = {name: normal(rng, *t.shape) for name, t in at.items()}
    h = 1e-5
    plus, minus = (value({name: t + s * along[name] for name, t in at.items()}) for s in (h, -h))
    if mode == "torch.func.jvp":
        derivative = torch.func.jvp(value, (at,), (along,))[1]
    else:
        leaves = {name: t.clone().requires_grad_() for name, t in at.items()}
        if mode == "backward":
            gradient = dict(zip(leaves, torch.autograd.grad(value(leaves), [*leaves.values()]), strict=True))
        else:
            gradient = torch.func.grad(value)(at)
        derivative = sum((gradient[name] * along[name]).sum() for name in at)
    assert abs(derivative - (plus - minus) / (2 * h)) <= 1e-8 * abs(derivative)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus, nn.GELU])
def test_float32_is_kept_and_is_float32(activation, monkeypatch):
    """Compiled arithmetic in float32 too: some hundred roundings of 6e-8 from float64."""
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", 0)
    rng = np.random.default_rng(5)
    f, x = fill(mlp(activation), rng), normal(rng, 5, 3)
    reference = joined(f, x, 4)[2]
    value = joined(f.float(), x.float(), 4)[2]
    assert value.dtype == torch.float32
    for k in range(5):
        error = (value[k].double() - reference[k]).abs().max() / reference[k].abs().max()
        assert error <= 2e-5
    assert (value.double() != reference).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_gpu_gives_the_same(dtype, monkeypatch):
    """In chunks of a few pairs and of all; some hundred roundings, as between any two orders of summation."""
    rng = np.random.default_rng(8)
    f, x = fill(mlp(), rng).to(dtype), normal(rng, 9, 3).to(dtype)
    expected = joined(f, x, 4)[2]
    for numbers in (100, 2**25):
        monkeypatch.setattr(pairwise, "ON_ACCELERATORS", numbers)
        i, j, value = joined(f.cuda(), x.cuda(), 4)
        assert value.device.type == i.device.type == j.device.type == "cuda"
        for k in range(5):
            error = (value[k].cpu() - expected[k]).abs().max()
            assert error <= 300 * torch.finfo(dtype).eps * expected[k].abs().max()
        f.cpu()


@pytest.mark.parametrize("wrong", [("slope * w", "-slope * w"), ("inverse3", "inverse2"), ("number2 * (", "(")])
def test_a_wrong_recurrence_is_seen(wrong, monkeypatch):
    """The same comparison reports a planted sign, factor or missing symmetry."""
    right = straightline.source

    def planted(*args, **kwargs):
        code = right(*args, **kwargs)
        assert wrong[0] in code
        return code.replace(*wrong)

    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", 0)
    monkeypatch.setattr(straightline, "source", planted)
    chains.compiled.cache_clear()
    straightline.kernel.cache_clear()
    rng = np.random.default_rng(6)
    try:
        with pytest.raises(AssertionError):
            assert_close_to_pair_by_pair(fill(mlp(), rng), normal(rng, 4, 3), 4)
    finally:
        chains.compiled.cache_clear()
        straightline.kernel.cache_clear()


def test_close_pairs_are_found():
    """Against all distances, with equal points, a zero, and distances on both sides of the threshold."""
    x = np.random.default_rng(9).normal(size=(6, 3))
    x = np.concatenate([x, x[:2], 0 * x[:1], x[3:5] * (1 + 0.9e-3), x[5:] * (1 + 1.1e-3), 1e-5 * x[:1]])
    distance = np.abs(x[:, None] - x).max(-1)
    expected = (distance > 0) & (distance < taylor.CLOSE * np.abs(x).max(1)[:, None])
    assert expected.any()
    assert sorted(taylor._close_pairs(x).tolist()) == np.flatnonzero(expected).tolist()


def test_coefficients_that_are_not_finite():
    """Reported for what they are; large ones whose sum is infinite are finite."""
    largest = torch.finfo(torch.float64).max
    f = lambda x: x * torch.tensor([largest / 4, largest / 4], dtype=torch.float64)
    x = torch.ones(3, 1, dtype=torch.float64)
    assert torch.isfinite(joined(f, x, 2)[2]).all()
    with pytest.raises(ValueError, match="must be finite"):
        joined(lambda x: torch.exp(1000 * x), x, 2)
