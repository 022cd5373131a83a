"""Certificates of Theorem 1 against mpmath at 60 digits, closed forms, the float64 library and planted errors."""

import dataclasses
import itertools
import sys

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mixupe_theory
from mixupe_theory import BetaLaw
from mixupe_theory.certificates import certify
from mixupe_theory.theorem1 import expand

flint = pytest.importorskip("flint")
enclosures = pytest.importorskip("mixupe_theory.enclosures")

MP_ACTIVATIONS = {
    nn.Tanh: mp.tanh,
    nn.Sigmoid: lambda u: 1 / (1 + mp.exp(-u)),
    nn.Softplus: lambda u: mp.log(1 + mp.exp(u)),
    nn.SiLU: lambda u: u / (1 + mp.exp(-u)),
    nn.GELU: lambda u: u * mp.ncdf(u),
}


def network(seed, activation=nn.Tanh, sizes=(2, 4, 3)):
    rng = np.random.default_rng(seed)
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    f = nn.Sequential(*layers[:-1]).double().requires_grad_(False)
    for p in f.parameters():
        p.copy_(torch.from_numpy(rng.normal(0, 0.7, p.shape)))
    return f


def pair(seed, d=2):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.8, (2, d)))


def phi_of(f, x_i, x_j, y, head):
    """The loss along the pair, written out in mpmath."""
    start, end = ([mp.mpf(t) for t in x.tolist()] for x in (x_i, x_j))

    def phi(a):
        u = [s + a * (e - s) for s, e in zip(start, end, strict=True)]
        for layer in f:
            if isinstance(layer, nn.Linear):
                rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
                u = [b + mp.fdot(w, u) for w, b in rows]
            else:
                u = [MP_ACTIVATIONS[type(layer)](t) for t in u]
        h = mp.log(1 + mp.exp(u[0])) if head == "sigmoid" else mp.log(sum(mp.exp(t) for t in u))
        return h - mp.fdot(y, u)

    return phi


def beta_mean(g, p, q):
    """E[g(a)], a ~ Beta(p, q): each half of [0, 1] with its singular power substituted away."""
    low = mp.quad(lambda u: g(u ** (1 / p)) * (1 - u ** (1 / p)) ** (q - 1), [0, mp.mpf(0.5) ** p]) / p
    high = mp.quad(lambda u: g(1 - u ** (1 / q)) * (1 - u ** (1 / q)) ** (p - 1), [0, mp.mpf(0.5) ** q]) / q
    return (low + high) / mp.beta(p, q)


def tilted_mean(g, law):
    """E[g(1 - lambda)] from the definition of D_lambda."""
    alpha, beta = mp.mpf(law.alpha), mp.mpf(law.beta)
    return (alpha * beta_mean(g, beta, alpha + 1) + beta * beta_mean(g, alpha, beta + 1)) / (alpha + beta)


def assert_inside(ball, reference):
    """The reference, right to 45 digits, lies in the ball, and the ball is small."""
    middle, radius = (mp.mpf(t.str(60, radius=False)) for t in (ball.mid(), ball.rad()))
    assert radius < 1e-30
    assert abs(middle - reference) <= radius + mp.mpf(10) ** -45


@pytest.mark.parametrize(
    ("activation", "alpha", "beta", "head"),
    [
        (nn.Tanh, 0.1, None, "softmax"),
        (nn.Sigmoid, 0.7, 1.2, "sigmoid"),
        (nn.Softplus, 20.0, None, "softmax"),
        (nn.SiLU, 0.1, 2.0, "softmax"),
        (nn.GELU, 1.0, None, "sigmoid"),
    ],
)
def test_balls_contain_a_60_digit_reference(activation, alpha, beta, head):
    law, order = BetaLaw(alpha, beta), 3
    f = network(1, activation, (2, 3, 3 if head == "softmax" else 1))
    x_i, x_j = pair(2)
    y = [0.125, 0.625, 0.25] if head == "softmax" else [0.375]
    certificate = certify(f, x_i, x_j, torch.tensor(y, dtype=torch.float64), law, order, head)
    assert certificate.proved
    with mp.workdps(60):
        phi = phi_of(f, x_i, x_j, y, head)
        mixup = tilted_mean(phi, law)
        assert_inside(certificate.mixup, mixup)
        assert_inside(certificate.standard, phi(mp.mpf(0)))
        left = mixup - phi(mp.mpf(0))
        for k, c in enumerate(mp.taylor(phi, 0, order)[1:], start=1):
            moment = tilted_mean(lambda a, k=k: a**k, law)
            left -= moment * c
            assert_inside(certificate.collected[k - 1], moment * c)
            assert_inside(certificate.taylor_remainder[k - 1], left)


def test_logistic_regression_has_a_closed_form():
    """a ~ Beta(1, 2), density 2 (1 - a): two integrations of softplus give Li_2 and Li_3."""
    f = nn.Linear(1, 1, dtype=torch.float64).requires_grad_(False)
    f.weight.fill_(2.5)
    f.bias.fill_(-0.75)
    x_i, x_j = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    certificate = certify(f, x_i, x_j, 1.0, BetaLaw(1.0), order=2, head="sigmoid")
    with mp.workdps(60):
        z = [mp.mpf("1.75"), mp.mpf("-2")]
        change = z[1] - z[0]
        first, second = ([-mp.polylog(s, -mp.exp(t)) / change ** (s - 1) for t in z] for s in (2, 3))
        softplus = 2 * (-first[0] + second[1] - second[0])
        assert_inside(certificate.mixup, softplus - (z[0] + change / 3))


@given(
    st.integers(0, 10**6),
    st.floats(0.05, 30),
    st.floats(0.05, 30),
    st.sampled_from(list(enclosures.ACTIVATIONS)),
    st.sampled_from(["softmax", "sigmoid"]),
)
@settings(max_examples=12)
def test_proved_and_equal_to_the_float64_library(seed, alpha, beta, activation, head):
    """All four ordered pairs of two points make up expand's means, whose mixup loss mixes labels too."""
    law, order, x = BetaLaw(alpha, beta), 3, pair(seed)
    f = network(seed, activation, (2, 5, 5, 3 if head == "softmax" else 1))
    y = torch.tensor([2, 0]) if head == "softmax" else torch.tensor([1.0, 0.25], dtype=torch.float64)
    certificates = [certify(f, x[i], x[j], y[i], law, order, head) for i in range(2) for j in range(2)]
    assert all(c.proved for c in certificates)
    expansion = expand(f, x, y, law, order, head, rtol=1e-12)
    for name in ("standard", "mixup", "collected", "nested", "remainder"):
        balls = np.atleast_2d(np.array([np.vectorize(float)(getattr(c, name)) for c in certificates]).T)
        library = np.atleast_1d(getattr(expansion, name).numpy())
        # rtol of the mixup loss, and 1000 roundings of the terms summed
        size = expansion.mixup.item() + float(expansion.nested.abs().max() + expansion.collected.abs().max())
        np.testing.assert_allclose(library, balls.mean(1), rtol=0, atol=(1e-12 + 1e3 * 2.3e-16) * size)


def test_a_long_pair_whose_terms_explode():
    """Orders far beyond the radius of convergence: the terms reach 1e14 and the identity still holds."""
    x_i, x_j = pair(0)
    certificate = certify(network(1, sizes=(2, 8, 8, 3)), x_i, 6 * x_j, 2, BetaLaw(0.1), order=10)
    assert float(abs(certificate.nested[-1])) > 1e12
    assert certificate.proved


@pytest.mark.parametrize("law", [BetaLaw(1e-12), BetaLaw(1e-3, 1e6), BetaLaw(1000.0)])
def test_extreme_laws(law):
    assert certify(network(3), *pair(3), 1, law, order=2).proved


def test_a_pair_of_one_point_leaves_nothing():
    x_i, _ = pair(4)
    certificate = certify(network(4), x_i, x_i, 1, BetaLaw(0.5), order=2)
    assert certificate.proved
    assert all(float(abs(t).upper()) < 1e-30 for t in (*certificate.collected, *certificate.remainder))


# --- planted errors ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate():
    certificate = certify(network(5), *pair(5), 0, BetaLaw(0.5), order=3)
    assert certificate.proved
    return certificate


def assert_refuted(certificate):
    """Not for want of precision."""
    assert certificate.refuted
    assert not certificate.proved


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("field", ["collected", "taylor_remainder", "nested", "remainder"])
def test_a_wrong_factor_is_noticed(certificate, field, k):
    terms = list(getattr(certificate, field))
    with flint.ctx.workprec(certificate.precision):
        terms[k] *= 1 + flint.arb(2) ** -60  # no float64 comparison could see it
    assert_refuted(dataclasses.replace(certificate, **{field: tuple(terms)}))


def test_a_wrong_moment_is_noticed(certificate):
    """E[lambda^k] under Beta in place of E[a^k] under D_lambda."""
    law = BetaLaw(0.5)
    ratio = [law.moment(k) / law.tilted().a_moment(k) for k in (1, 2, 3)]
    planted = tuple(r * c for r, c in zip(ratio, certificate.collected, strict=True))
    assert_refuted(dataclasses.replace(certificate, collected=planted))


def test_a_wrong_law_is_noticed(monkeypatch):
    """a ~ Beta(alpha, alpha) in both integrals, moments of D_lambda in the terms."""
    right = enclosures._mean_chebyshev
    monkeypatch.setattr(enclosures, "_mean_chebyshev", lambda p, q, degree: right(p, q - 1, degree))
    assert_refuted(certify(network(5), *pair(5), 0, BetaLaw(0.5), order=3))


def test_one_rounding_of_one_weight_is_noticed(certificate):
    f = network(5)
    f[0].weight[0, 0] = np.nextafter(f[0].weight[0, 0].item(), 9)
    other = certify(f, *pair(5), 0, BetaLaw(0.5), order=3)
    assert other.proved
    assert_refuted(dataclasses.replace(certificate, mixup=other.mixup))


def test_a_wide_ball_proves_nothing(certificate):
    for ball in (certificate.mixup + flint.arb(0, 1e-29), flint.arb("nan"), flint.arb(0, "inf")):
        wide = dataclasses.replace(certificate, mixup=ball)
        assert not wide.proved
        assert not wide.refuted
    last = dataclasses.replace(certificate, nested=(*certificate.nested[:-1], flint.arb("nan")))
    assert not last.proved


# --- the steps of the proof -------------------------------------------------------------------------------------


def logistic_path():
    """softplus(4 (a - 1/2)): the nearest singularities are 1/2 +- i pi/4."""
    return enclosures.Path([([[4.0]], [-2.0])], [0.0], [1.0], [0.0], "sigmoid")


def test_an_ellipse_about_a_singularity_is_refused():
    with enclosures.arithmetic(64):
        path = logistic_path()
        assert enclosures._slope_bound(path, 0.8) is None
        bound = enclosures._slope_bound(path, 0.6)
    angle = np.linspace(0, 2 * np.pi, 999)
    a = 0.5 + np.sqrt(0.25 + 0.36) * np.cos(angle) + 0.6j * np.sin(angle)
    assert np.abs(4 / (1 + np.exp(-4 * (a - 0.5)))).max() <= float(bound.upper())
    # only a guess: at order 24 the root test is right to some 10 %
    assert enclosures._height_by_root_test(path) == pytest.approx(np.pi / 4, rel=0.15)


@pytest.mark.parametrize("activation", list(enclosures.ACTIVATIONS))
def test_a_box_about_a_singularity_of_an_activation_is_not_finite(activation):
    """tanh has a pole at i pi/2, the others (but for entire GELU) one at i pi; softplus has a cut to its right."""
    series = enclosures.ACTIVATIONS[activation][1]

    def on(real, imag):
        box = flint.acb(flint.arb(real, 0.01), flint.arb(imag, 0.01))
        return all(c.is_finite() for c in series(flint.acb_series([box, 1], prec=2)).coeffs())

    singularity = np.pi / 2 if activation is nn.Tanh else np.pi
    assert on(0.1, singularity / 2)
    assert on(0.0, singularity) == (activation is nn.GELU)
    assert on(3.0, np.pi) == (activation is not nn.Softplus)


@pytest.mark.parametrize(("p", "q"), [(0.1, 1.1), (2.5, 0.3), (30.0, 20.0)])
def test_mean_chebyshev_polynomials(p, q):
    with mp.workdps(60):
        with enclosures.arithmetic(400):
            means = enclosures._mean_chebyshev(flint.arb(p), flint.arb(q), 20)
        for m in (0, 1, 2, 3, 10, 20):
            series = mp.hyp3f2(-m, m, q, 0.5, mp.mpf(p) + mp.mpf(q), 1)  # T_m(2a - 1) = 2F1(-m, m; 1/2; 1 - a)
            assert_inside(means[m], series)


def test_integrated_chebyshev_polynomials():
    """For the functional g -> g(0.3)."""
    with mp.workdps(60):
        x = 2 * mp.mpf(0.3) - 1
        with enclosures.arithmetic(200):
            values = [(flint.arb(0.3) * 2 - 1).acos() * m for m in range(8)]
            integrated = enclosures._integrated([t.cos() for t in values])
        for m, ball in enumerate(integrated):
            assert_inside(ball, mp.quad(lambda t, m=m: mp.chebyt(m, t), [-1, x]) / 2)


# --- arguments --------------------------------------------------------------------------------------------------

F, X_I, X_J = network(0), *pair(0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"f": torch.tanh}, TypeError, "f must be an nn.Sequential"),
        ({"f": nn.Sequential(nn.Linear(2, 3), nn.ReLU()).double()}, ValueError, r"layer '1' \(ReLU\)"),
        ({"f": nn.Sequential(nn.Linear(2, 3), nn.GELU("tanh")).double()}, ValueError, "exact GELU"),
        ({"f": nn.Sequential(nn.Linear(2, 3), nn.Softplus(beta=2)).double()}, ValueError, "beta=1"),
        ({"x_i": [0.0, 1.0]}, TypeError, "x_i must be a torch.Tensor"),
        ({"x_i": X_I[None]}, ValueError, "x_i must have shape"),
        ({"x_j": X_J[:1]}, ValueError, "x_j must have shape"),
        ({"x_j": X_J.float()}, ValueError, "x_j must have shape"),
        ({"x_j": X_J / 0}, ValueError, "x_j must be finite"),
        ({"y_i": 3}, ValueError, "y of class indices"),
        ({"y_i": [0.5, 0.2, 0.2]}, ValueError, "simplex"),
        ({"law": 1.0}, TypeError, "law must be a BetaLaw"),
        ({"order": 0}, ValueError, "order must be"),
        ({"head": "tanh"}, ValueError, "head must be"),
        ({"precision": 53}, ValueError, "precision must be"),
        ({"x_j": 1e5 * X_J}, ValueError, "could not be shown to be analytic"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    arguments = {"f": F, "x_i": X_I, "x_j": X_J, "y_i": 0, "law": BetaLaw(1.0), "order": 2} | change
    with pytest.raises(error, match=message):
        certify(**arguments)


def test_settings_of_flint_are_put_back():
    before = flint.ctx.prec, flint.ctx.cap
    certificate = certify(F, X_I, X_J, 0, BetaLaw(1.0), order=2)
    assert certificate.proved
    with pytest.raises(ValueError, match="analytic"):
        certify(F, X_I, 1e5 * X_J, 0, BetaLaw(1.0), order=2)
    assert (flint.ctx.prec, flint.ctx.cap) == before


def test_without_flint_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delitem(sys.modules, "mixupe_theory.enclosures")
    monkeypatch.delattr(mixupe_theory, "enclosures")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mixupe-theory\[certify\]"'):
        certify(F, X_I, X_J, 0, BetaLaw(1.0), order=2)
