"""All directions of the plane from K + 2: against jets along the pairs themselves, sympy, and closed forms."""

import itertools

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mixupe_theory import networks, planar
from mixupe_theory.planar import planar_jet, planar_series
from mixupe_theory.taylor import NoTaylorRule, pairwise_jet, taylor_coefficients

EPS = torch.finfo(torch.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS = [nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.SiLU]


def normal(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def network(rng, activation, c=3):
    f = nn.Sequential(nn.Linear(2, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, c)).double()
    for p in f.requires_grad_(False).parameters():
        p.copy_(normal(rng, *p.shape))
    return f


def collect(chunks, n):
    """Chunks of pairs as (K + 1, n, n, c), NaN where a pair was not visited."""
    chunks = list(chunks)
    out = chunks[0][2].new_full((len(chunks[0][2]), n, n, chunks[0][2].shape[2]), torch.nan)
    for i, j, coefficients in chunks:
        out[:, i, j] = coefficients
    return out


def along_pairs(f, x, order):
    """(K + 1, n, n, c), one jet for every pair."""
    n = len(x)
    i, j = torch.arange(n).repeat_interleave(n), torch.arange(n).repeat(n)
    return taylor_coefficients(f, x[i], x[j] - x[i], order).unflatten(1, (n, n))


def largest_over_directions(f, x, order, directions=180):
    """Largest |J^k f(x_i) v^k / k!| over unit directions, (K + 1, n), from jets along many of them."""
    angle = torch.pi / directions * torch.arange(directions, dtype=x.dtype)
    v = torch.stack([angle.cos(), angle.sin()], -1).repeat(len(x), 1)
    c = taylor_coefficients(f, x.repeat_interleave(directions, 0), v, order)
    return c.unflatten(1, (len(x), directions)).abs().amax((2, 3))


def excess(value, f, x, order):
    """Largest error, in roundings of what the docstring promises: of (k + 1) max over directions of |c_k| |v|^k.

    k + 1: the angle of v, right to a rounding, is multiplied by frequencies up to k, and K + 2 numbers are summed.
    """
    k = torch.arange(order + 1, dtype=x.dtype)
    length = torch.cdist(x, x)[None] ** k[:, None, None]
    scale = largest_over_directions(f, x, order)[:, :, None] * length * (k + 1)[:, None, None]
    error = (value - along_pairs(f, x, order)).abs().amax(3)
    return torch.where(error == 0, 0, error / (EPS * scale)).max().item()


ROUNDINGS = 100  # what jets of three layers lose, and sums of K + 2 of them: some tens measured


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=6)
@given(seed=SEEDS, order=st.integers(1, 12))
def test_every_pair_matches_a_jet_along_it(activation, seed, order):
    rng = np.random.default_rng(seed)
    f, x = network(rng, activation), normal(rng, 5, 2)
    value = collect(planar_jet(f, x, order), 5)
    assert excess(value, f, x, order) <= ROUNDINGS
    assert (value[1:].diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_order_40_matches_a_jet_along_the_pair(activation):
    rng = np.random.default_rng(0)
    f, x = network(rng, activation), normal(rng, 6, 2)
    assert excess(collect(planar_jet(f, x, 40), 6), f, x, 40) <= ROUNDINGS


@pytest.mark.parametrize("order", [1, 4, 12])
def test_the_comparison_sees_a_frequency_missing(order, monkeypatch):
    """Control: without the highest frequency of each order, and with the angles off by 1e-9, it fails."""
    rng = np.random.default_rng(0)
    f, x = network(rng, nn.Tanh), normal(rng, 5, 2)
    series = planar_series(f, x, order)
    turned = torch.tensor([[1.0, 1e-9], [-1e-9, 1.0]], dtype=torch.float64)
    assert excess(series.along((x[None] - x[:, None]) @ turned).contiguous(), f, x, order) > ROUNDINGS
    complete = planar._frequencies
    monkeypatch.setattr(planar, "_frequencies", lambda K: complete(K) & (torch.arange(K + 1) < K).repeat(2))
    monkeypatch.setattr(planar, "_refuse_kinks", lambda *_: None)
    assert excess(collect(planar_jet(f, x, order), 5), f, x, order) > 1e9


@settings(max_examples=10)
@given(seed=SEEDS)
def test_polynomials_match_sympy(seed):
    """Small integers: exact values up to 1e5 or so. Orders above the degree, 5, vanish up to rounding."""
    rng = np.random.default_rng(seed)
    order, x = 7, rng.integers(-3, 4, size=(4, 2))
    table = {(p, q): int(rng.integers(-4, 5)) for p in range(6) for q in range(6 - p)}
    t = sympy.Symbol("t")
    polynomial = lambda a, b: sum(c * a**p * b**q for (p, q), c in table.items())
    f = lambda z: polynomial(z[:, :1], z[:, 1:])
    exact = np.zeros((order + 1, 4, 4, 1))
    for i, j in itertools.product(range(4), range(4)):
        (a, b), (da, db) = x[i].tolist(), (x[j] - x[i]).tolist()
        for (k,), c in sympy.Poly(polynomial(a + t * da, b + t * db), t).terms():
            exact[k, i, j] = float(c)
    x = torch.from_numpy(x).double()
    value = collect(planar_jet(f, x, order), 4)
    size = sum(abs(c) for c in table.values()) * 12.0**5  # of all terms at any point between two of them
    torch.testing.assert_close(value, torch.from_numpy(exact), rtol=0, atol=100 * EPS * size)


@settings(max_examples=10)
@given(seed=SEEDS, turn=st.floats(0, 2 * np.pi))
def test_turning_the_plane_changes_nothing(seed, turn):
    """f in turned coordinates at turned points: all directions of jets differ, the pairs' coefficients do not."""
    rng = np.random.default_rng(seed)
    f, x = network(rng, nn.Tanh), normal(rng, 5, 2)
    q = torch.tensor([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    value = collect(planar_jet(lambda z: f(z @ q.T), x @ q, 8), 5)
    assert excess(value, f, x, 8) <= 2 * ROUNDINGS  # turned points are rounded once more


@pytest.mark.parametrize("order", [1, 2, 7, 40])
def test_all_directions_of_a_geometric_series(order):
    """1/(1 - w.x) at 0 has c_k = (w.v)^k: its rose of radii of convergence is 1/|w.v|."""
    w, angle = torch.tensor([0.6, -0.8], dtype=torch.float64), torch.linspace(0, 6, 50, dtype=torch.float64)
    v = 3 * torch.stack([angle.cos(), angle.sin()], -1)[None]
    x = torch.zeros(1, 2, dtype=torch.float64)
    value = planar_series(lambda z: torch.reciprocal(1 - (z @ w[:, None])), x, order).along(v)[:, 0, :, 0]
    for k in range(order + 1):
        assert (value[k] - (v[0] @ w) ** k).abs().max() <= ROUNDINGS * (k + 1) * EPS * 3.0**k


def test_digits_are_those_of_the_direction_that_converges_least():
    """tanh(8 x_1) + tanh(x_2): along x_2 the radius is 8 times as large, so order k has k log10(8) digits fewer.

    By order 40 none is left of the pair's own value, which a jet along the pair has to 12 digits; relative to the
    largest direction all are there.
    """
    f = lambda z: torch.tanh(8 * z[:, :1]) + torch.tanh(z[:, 1:])
    x = torch.tensor([[0.1, 0.2], [0.1, 1.2]], dtype=torch.float64)
    value, own = collect(planar_jet(f, x, 40), 2)[:, 0, 1, 0], along_pairs(f, x, 40)[:, 0, 1, 0]
    alone = taylor_coefficients(torch.tanh, x[:1, 1:], x[1:, 1:] - x[:1, 1:], 40)[:, 0, 0]
    assert ((own - alone)[1:].abs() <= 1e-12 * alone[1:].abs()).all()
    lost = ((value - own) / own).abs()
    assert lost[4] <= ROUNDINGS * EPS * 8**5
    assert lost[40] > 1
    assert excess(collect(planar_jet(f, x, 40), 2), f, x, 40) <= ROUNDINGS


def test_of_two_moons_the_largest_pairs_keep_their_digits():
    """What sums over all pairs see: the error of order k <= 16 over the largest pair's, on the committed network."""
    f, x = networks.load("moons-tanh-erm"), networks.moons()[0][:40]
    value, reference = (collect(c(f, x, 16), 40) for c in (planar_jet, pairwise_jet))
    error, largest = ((t).abs().amax((1, 2, 3)) for t in (value - reference, reference))
    assert (error <= 1e-11 * largest).all()


# --- kinks


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_a_kink_at_a_point_is_refused_whatever_its_direction(order):
    """Also where the kink runs along one of the directions expanded, or between the last and the first."""
    expanded = np.arange(order + 2) * np.pi / (order + 2)
    x = torch.tensor([[3.0, -1.0], [0.0, 0.0], [-1.0, 2.0]], dtype=torch.float64)
    for turn in [*np.linspace(0, 2 * np.pi, 41), *expanded, *(expanded + np.pi / 2)]:
        w = torch.tensor([[np.cos(turn)], [np.sin(turn)]])
        for f in (lambda z, w=w: torch.relu(z @ w), lambda z, w=w: 3 + torch.relu(z @ w) + torch.relu(-z @ w)):
            with pytest.raises(ValueError, match=r"^f must be analytic.*\[0\.0, 0\.0\].*kink"):
                planar_jet(f, x, order)


def test_a_kink_that_shows_first_at_the_highest_order_is_refused():
    x = torch.zeros(1, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="order 2 is no polynomial"):
        planar_jet(lambda z: torch.relu(z[:, :1] ** 2 - z[:, 1:] ** 2), x, 2)


@pytest.mark.parametrize(("jump", "refused"), [(1e-6, True), (1e-10, False)])
def test_a_kink_is_seen_down_to_the_square_root_of_a_rounding(jump, refused):
    """eps^1/2 = 1.5e-8 of f: the stated limit, from both sides."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    f = lambda z: torch.cos(z.sum(1, keepdim=True)) + jump * torch.relu(z[:, :1])
    if refused:
        with pytest.raises(ValueError, match="kink"):
            planar_jet(f, x, 3)
    else:
        assert len(list(planar_jet(f, x, 3))) == 1


@settings(max_examples=20)
@given(seed=SEEDS)
def test_relu_away_from_kinks_is_not_refused(seed):
    rng = np.random.default_rng(seed)
    f, x = network(rng, nn.ReLU), normal(rng, 5, 2)
    torch.testing.assert_close(collect(planar_jet(f, x, 4), 5), along_pairs(f, x, 4), rtol=1e-11, atol=1e-11)


# --- interface


@pytest.mark.parametrize(("jets", "pairs"), [(1, 1), (12, 10), (1024, 4096)])
def test_chunks_change_nothing_and_visit_each_pair_once(jets, pairs, monkeypatch):
    rng = np.random.default_rng(0)
    f, x = network(rng, nn.GELU), normal(rng, 7, 2)
    monkeypatch.setattr(planar, "JETS", jets)
    monkeypatch.setattr(planar, "PAIRS", pairs)
    chunks = list(planar_jet(f, x, 3))
    visited = [pair for i, j, _ in chunks for pair in zip(i.tolist(), j.tolist(), strict=True)]
    assert sorted(visited) == list(np.ndindex(7, 7))
    assert (len(chunks) == 1) == (pairs == 4096)
    assert excess(collect(chunks, 7), f, x, 3) <= ROUNDINGS


@pytest.mark.parametrize(("n", "order"), [(1, 1), (10, 5), (300, 5), (300, 12)])
def test_n_times_k_plus_2_rows_are_evaluated(n, order):
    rows = []

    def f(z):
        rows.append(z.shape[0])
        return torch.sin(z)

    list(planar_jet(f, normal(np.random.default_rng(0), n, 2), order))
    assert sum(rows) == n * (order + 3) + 1  # the points, the ends of their directions, one to try


def test_coinciding_points():
    """Directions of length 0 have the value alone; no length is taken from the points."""
    x = torch.ones(3, 2, dtype=torch.float64)
    value = collect(planar_jet(torch.sin, x, 3), 3)
    torch.testing.assert_close(value[0], torch.sin(x).expand(3, 3, 2), rtol=4 * EPS, atol=0)
    assert (value[1:] == 0).all()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_float32_and_devices(device):
    """Against float64: some hundred roundings of float32, relative to each order's largest."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    rng = np.random.default_rng(0)
    f, x = network(rng, nn.Tanh), normal(rng, 5, 2)
    reference = along_pairs(f, x, 6)
    value = collect(planar_jet(f.float().to(device), x.float().to(device), 6), 5)
    assert value.dtype == torch.float32
    assert value.device.type == device
    error, largest = ((t).abs().amax((1, 2, 3)) for t in (value.cpu().double() - reference, reference))
    assert (error <= ROUNDINGS * torch.finfo(torch.float32).eps * largest).all()


X = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.sin, torch.ones(2, 3), 2), ValueError, r"^x must have shape \(n, 2\).*\(2, 3\)"),
        ((torch.sin, torch.ones(2, 1), 2), ValueError, r"^x must have shape \(n, 2\)"),
        ((torch.sin, torch.ones(2, 2, 2), 2), ValueError, r"^x must have shape \(n, 2\)"),
        ((torch.sin, torch.ones(2, 2).long(), 2), TypeError, "^x must be real floating point"),
        ((torch.sin, X * torch.nan, 2), ValueError, "^x must be finite"),
        ((torch.sin, X, 0), ValueError, "^order"),
        ((torch.sin, X, 2.0), TypeError, "^order"),
        ((torch.abs, X, 2), NoTaylorRule, "abs"),
        ((3, X, 2), TypeError, "^f must be a callable"),
    ],
)
def test_bad_arguments_are_named_at_the_call(arguments, error, message):
    with pytest.raises(error, match=message):
        planar_jet(*arguments)


@pytest.mark.parametrize(
    ("v", "error"),
    [
        (torch.ones(2, 1, 2).double(), TypeError),
        ([[0.0, 1.0]], TypeError),
        (torch.ones(2, 2), ValueError),
        (torch.ones(3, 1, 2), ValueError),
        (torch.ones(2, 1, 3), ValueError),
    ],
)
def test_bad_directions_are_named(v, error):
    with pytest.raises(error, match=r"^v must"):
        planar_series(torch.sin, X, 2).along(v)
