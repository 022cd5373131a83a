"""Compiled chains of linear layers and pointwise functions against pair by pair, which compiles nothing."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_pairwise import assert_close_to_pair_by_pair, fill, joined, normal
from threadpoolctl import threadpool_info
from torch import nn

from mixupe_theory import chains, pairwise, straightline, tracing_rules

LAYERS = {"tanh": nn.Tanh, "softplus": nn.Softplus, "gelu": nn.GELU, "relu": nn.ReLU}
LAYERS |= {"dropout": nn.Dropout, "softmax": lambda: nn.Softmax(1)}


@pytest.fixture(autouse=True)
def compile_everything(monkeypatch):
    monkeypatch.setattr(tracing_rules, "COMPILE_FROM", 0)


def random_network(rng, d):
    """Up to five blocks, each of none to two linear layers and a function, of 1 to 6 neurons."""
    modules, width = [], d
    for _ in range(rng.integers(1, 6)):
        for _ in range(rng.integers(0, 3)):
            fan_out = int(rng.integers(1, 7))
            modules.append(nn.Linear(width, fan_out, bias=bool(rng.integers(2))))
            width = fan_out
        modules.append(LAYERS[rng.choice([*LAYERS])]())
    return nn.Sequential(*modules, nn.Linear(width, 2))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, monkeypatch):
    """Random depths, widths, functions, orders, numbers of points and sizes of the parts a chain is worked off in."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(chains, "AT_ONCE", int(2 ** rng.uniform(0, 10)))
    d = int(rng.integers(1, 5))
    f, x = fill(random_network(rng, d), rng), normal(rng, int(rng.integers(1, 8)), d)
    assert_close_to_pair_by_pair(f, x, int(rng.integers(1, 6)))


def steps(f, x, order=2):
    """(nodes that are steps, of which compiled)."""
    nodes = [node for node in pairwise.trace(f, x, order).nodes if node.step]
    return len(nodes), sum(node.step.__module__ == chains.__name__ for node in nodes)


def test_what_is_one_chain():
    """A multilayer perceptron is one step, with or without dropout; what is used twice, or cannot compile, ends one."""
    rng = np.random.default_rng(0)
    x = normal(rng, 4, 3)
    layers = [nn.Linear(3, 5), nn.Tanh(), nn.Dropout(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2)]
    plain = fill(nn.Sequential(*layers), rng)
    assert steps(plain, x) == (1, 1)
    assert steps(fill(nn.Sequential(*layers[:5], nn.Softmax(1), *layers[5:]), rng), x) == (4, 1)
    assert steps(lambda x: plain[:5](x) + plain[5](plain[:5](x)), x) == (3, 2)

    def residual(x):
        u = plain[:4](x)
        return u + torch.tanh(u)

    assert steps(residual, x) == (3, 2)


def test_links_of_other_shapes():
    """A linear layer on sequences, matrices on the right in either layout, one column, an input by columns."""
    rng = np.random.default_rng(1)
    w, v, x = normal(rng, 3, 4), normal(rng, 1, 4), normal(rng, 3, 5).T
    assert_close_to_pair_by_pair(lambda x: torch.tanh(torch.tanh(x @ w) @ v.T) @ v, x, 3)
    sequences = fill(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.GELU(), nn.Flatten()), rng)
    x = normal(rng, 4, 6, 3)
    assert_close_to_pair_by_pair(sequences, x, 3)
    assert steps(sequences, x)[1] == 1


def test_new_threads_have_memory_of_their_own():
    """A chain that needs none, then one that needs more than the one before, in a thread that has had none yet."""
    rng = np.random.default_rng(7)
    x = normal(rng, 4, 3)
    networks = [fill(nn.Sequential(*([nn.Linear(3, 3), nn.Tanh()] * depth)), rng) for depth in (1, 3)]

    def check():
        for f in networks:
            assert_close_to_pair_by_pair(f, x, 2)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(check).result()


def test_weights_that_need_gradients():
    rng = np.random.default_rng(2)
    w, v, x = nn.Parameter(normal(rng, 3, 4)), nn.Linear(4, 2).double(), normal(rng, 4, 3)
    f = lambda x: v(torch.tanh(torch.tanh(x @ w) @ w.T @ w))
    with torch.no_grad():
        assert_close_to_pair_by_pair(f, x, 3)
        assert steps(f, x) == (1, 1)


def test_half_precision_is_not_compiled():
    """Two bytes, to a few roundings of 2^-8 in each of few sums."""
    rng = np.random.default_rng(3)
    f, x = fill(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), rng), normal(rng, 4, 3)
    expected = joined(f.to(torch.bfloat16).double(), x.to(torch.bfloat16).double(), 2)[2]
    value = joined(f.to(torch.bfloat16), x.to(torch.bfloat16), 2)[2]
    assert value.dtype == torch.bfloat16
    assert (value.double() - expected).abs().max() <= 16 * 2**-8 * expected.abs().max()


def test_blas_has_its_threads_back(monkeypatch):
    """Also where an iteration in chunks is given up, or another has begun meanwhile."""
    monkeypatch.setitem(pairwise.AT_ONCE, "cpu", 1)
    monkeypatch.setattr(pairwise, "LEAST", 1)
    threads = lambda: [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    rng = np.random.default_rng(4)
    f, x = fill(random_network(rng, 3), rng), normal(rng, 4, 3)
    with pairwise.one_thread():
        assert set(threads()) == {1}
    before = threads()
    first, second = pairwise.run(pairwise.trace(f, x, 2)), pairwise.run(pairwise.trace(f, x, 2))
    next(first), next(second)
    assert set(threads()) == {1}
    first.close()
    assert set(threads()) == {1}
    second.close()
    assert threads() == before


PLANTED = [
    ("between[1", "between[0"),
    ("j : j + partners", ": partners"),
    ("c0[i:]", "c0"),
    ("done += rows", "done += 1"),
]


@pytest.mark.parametrize("wrong", PLANTED, ids=[wrong for _, wrong in PLANTED])
def test_a_wrong_chain_is_seen(wrong, monkeypatch):
    """The same comparison reports memory or an anchor mixed up."""
    right = chains.source

    def planted(*args):
        code = right(*args)
        assert wrong[0] in code
        return code.replace(*wrong)

    monkeypatch.setattr(chains, "source", planted)
    monkeypatch.setattr(chains, "AT_ONCE", 60)
    chains.compiled.cache_clear()
    rng = np.random.default_rng(5)
    layers = [nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)]
    f, x = fill(nn.Sequential(*layers), rng), normal(rng, 4, 3)
    try:
        with pytest.raises((AssertionError, ValueError)):  # memory never written to may hold NaN
            assert_close_to_pair_by_pair(f, x, 4)
    finally:
        chains.compiled.cache_clear()


def test_the_code_as_plain_python():
    """The text that numba compiles, run by Python on the same arrays, with its kernels run by Python too."""
    shape, order = (("tanh", 3, True), (None, 2, False), ("gelu", 2, False)), 2
    rng = np.random.default_rng(6)
    u, matrix, v = normal(rng, 4, 3), normal(rng, 3, 2), normal(rng, 4, 2)
    tables = [
        torch.stack([*straightline.tables(name, value, affine=affine)[1].values()], 1).flatten(1).numpy()
        for name, value, affine in (("tanh", u, True), ("gelu", v, False))
    ]
    parts, results = np.array([(1, 1, 0, 2), (1, 1, 2, 1)]), []
    for plain in (True, False):
        out = np.zeros((3 * order, 2))
        arguments = u.numpy(), np.zeros((1, 3 * order * 3)), out, parts, tables[0], matrix.numpy(), tables[1]
        chain = chains.compiled(shape, order, torch.float64)
        (chain.py_func if plain else chain)(*arguments)
        results.append(out)
    assert np.abs(results[0] - results[1]).max() <= 1e-15 * np.abs(results[0]).max()
    assert results[0].any()
