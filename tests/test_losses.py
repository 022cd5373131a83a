"""The losses against torch's own, and against loops over all n^2 ordered pairs with scipy's quadrature."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import beta as beta_function
from scipy.special import roots_jacobi
from scipy.stats import beta as beta_distribution
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from mixupe_theory import BetaLaw, losses, mixup_loss, mixup_loss_mc, standard_loss
from mixupe_theory.losses import AccuracyNotReached

EPS = torch.finfo(torch.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
TARGETS = ["indices", "one-hot", "soft", "sigmoid", "sigmoid column", "sigmoid soft"]
LAWS = [BetaLaw(1.0), BetaLaw(0.2), BetaLaw(7.0), BetaLaw(0.3, 2.5), BetaLaw(20.0, 1.5)]


def net(rng, d=2, c=3, activation=nn.Tanh, width=4):
    f = nn.Sequential(nn.Linear(d, width), activation(), nn.Linear(width, c)).double()
    with torch.no_grad():
        for p in f.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
    return f


def targets(kind, n, rng, c=3):
    """(y as a user passes it, y as rows of floats, head)."""
    if kind.startswith("sigmoid"):
        y = rng.random(n) if kind.endswith("soft") else rng.integers(2, size=n).astype(float)
        y = torch.from_numpy(y)
        return (y[:, None] if kind.endswith("column") else y), y[:, None], "sigmoid"
    if kind == "soft":
        y = torch.from_numpy(rng.dirichlet(np.ones(c), size=n))
        return y, y, "softmax"
    indices = torch.from_numpy(rng.integers(c, size=n))
    rows = torch.eye(c, dtype=torch.float64)[indices]
    return (indices if kind == "indices" else rows), rows, "softmax"


def problem(kind="indices", n=3, seed=0, activation=nn.Tanh):
    """(f, x, y, head, y as rows) of a small random problem."""
    rng = np.random.default_rng(seed)
    y, rows, head = targets(kind, n, rng)
    f = net(rng, c=rows.shape[1], activation=activation)
    return f, torch.from_numpy(rng.normal(size=(n, 2))), y, head, rows


def torch_loss(f, x, rows, head):
    """Each row's loss by torch's own functions."""
    if head == "sigmoid":
        return F.binary_cross_entropy_with_logits(f(x), rows, reduction="none").squeeze(1)
    return F.cross_entropy(f(x), rows, reduction="none")


def pair_loss(f, x, rows, head, i, j, lam):
    """Losses at lambda x_i + (1 - lambda) x_j with the label mixed likewise, for a vector lambda."""
    lam = torch.as_tensor(lam, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    label = lam.reshape(-1, 1)
    return torch_loss(f, lam * x[i] + (1 - lam) * x[j], label * rows[i] + (1 - label) * rows[j], head)


def by_adaptive_quadrature(f, x, rows, head, law):
    """(mixup loss, bound of its error): scipy's adaptive rule for densities with powers at the ends."""
    total, error = 0.0, 0.0
    powers, norm = (law.alpha - 1, law.beta - 1), beta_function(law.alpha, law.beta)
    with torch.no_grad():
        for i in range(len(x)):
            for j in range(len(x)):
                value = lambda lam, i=i, j=j: pair_loss(f, x, rows, head, i, j, lam).item()
                integral, bound = quad(value, 0, 1, weight="alg", wvar=powers, epsabs=0, epsrel=1e-12)
                total, error = total + integral / norm, error + bound / norm
    return total / len(x) ** 2, error / len(x) ** 2


def by_jacobi_rule(f, x, rows, head, law, nodes=60):
    """The mixup loss by loops over ordered pairs and scipy's Gauss-Jacobi rule on [-1, 1]; differentiable."""
    t, w = roots_jacobi(nodes, law.beta - 1, law.alpha - 1)
    lam, w = (1 + t) / 2, torch.from_numpy(w / w.sum())
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            total = total + w @ pair_loss(f, x, rows, head, i, j, lam)
    return total / len(x) ** 2


def by_trapezoid(f, x, rows, head, law, intervals=4000):
    """(mixup loss, 0): the trapezoidal rule, exact to rounding for densities that vanish at both ends."""
    lam = np.arange(1, intervals) / intervals
    w = torch.from_numpy(beta_distribution.pdf(lam, law.alpha, law.beta) / intervals)
    with torch.no_grad():
        total = sum(w @ pair_loss(f, x, rows, head, i, j, lam) for i, j in np.ndindex(len(x), len(x)))
    return total.item() / len(x) ** 2, 0.0


def gradient(value, f):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(f.parameters()))])


class Counted:
    """f, recording how many rows each call brought."""

    def __init__(self, f):
        self.f, self.rows = f, []

    def __call__(self, x):
        self.rows.append(len(x))
        return self.f(x)


# --- the pointwise loss


@pytest.mark.parametrize("kind", TARGETS)
@given(seed=SEEDS, scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_standard_loss_equals_torch(kind, seed, scale):
    """Rounding: h(f) - y^T f subtracts numbers as large as the logits."""
    f, x, y, head, rows = problem(kind, n=5, seed=seed)
    scaled = lambda x: scale * f(x)
    value, reference = standard_loss(scaled, x, y, head), torch_loss(scaled, x, rows, head).mean()
    assert value.shape == ()
    assert abs(value - reference) <= 8 * EPS * (1 + scaled(x).abs().max())
    error = (gradient(value, f) - gradient(reference, f)).norm()
    assert error <= 100 * EPS * scale * (1 + f(x).abs().max() + x.abs().max())


@pytest.mark.parametrize(("head", "c"), [("softmax", 4), ("sigmoid", 1)])
@given(seed=SEEDS)
def test_mean_response_is_the_gradient_of_the_log_partition(head, c, seed):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(scale=5, size=(6, c))).requires_grad_()
    (slope,) = torch.autograd.grad(losses.log_partition(logits, head).sum(), logits)
    torch.testing.assert_close(losses.mean_response(logits, head), slope, rtol=0, atol=4 * EPS)


# --- the exact mixup loss


@pytest.mark.parametrize("kind", TARGETS)
@settings(max_examples=8)
@given(seed=SEEDS, alpha=st.floats(0.1, 20), beta=st.floats(0.1, 20), symmetric=st.booleans())
def test_mixup_loss_matches_adaptive_quadrature(kind, seed, alpha, beta, symmetric):
    """Tolerance: rtol as promised, plus scipy's bound of its own error."""
    f, x, y, head, rows = problem(kind, seed=seed)
    law = BetaLaw(alpha, alpha if symmetric else beta)
    reference, error = by_adaptive_quadrature(f, x, rows, head, law)
    assert abs(mixup_loss(f, x, y, law, head).item() - reference) <= 1e-10 * reference + error


@pytest.mark.parametrize(
    ("alpha", "beta", "reference"),
    [
        pytest.param(0.01, 0.01, by_adaptive_quadrature, id="0.01-0.01"),
        pytest.param(0.01, 1000.0, by_adaptive_quadrature, id="0.01-1000"),
        pytest.param(1000.0, 0.01, by_adaptive_quadrature, id="1000-0.01"),
        pytest.param(1000.0, 1000.0, by_trapezoid, id="1000-1000"),
        pytest.param(1000.0, 300.0, by_trapezoid, id="1000-300"),
        pytest.param(50.0, 20.0, by_trapezoid, id="50-20"),
    ],
)
@pytest.mark.parametrize("kind", ["soft", "sigmoid"])
def test_mixup_loss_of_extreme_laws(kind, alpha, beta, reference):
    """Tolerance as above; 1e-12 for the rounding of scipy's density, whose logarithm is of order 1000."""
    f, x, y, head, rows = problem(kind, seed=3)
    law = BetaLaw(alpha, beta)
    value, error = reference(f, x, rows, head, law)
    assert abs(mixup_loss(f, x, y, law, head).item() - value) <= (1e-10 + 1e-12) * value + error


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("kind", ["indices", "soft", "sigmoid soft"])
def test_gradient_matches_brute_force(kind, law):
    """The rule in use has twice the nodes of one within 1e-10 in value; its gradient is far within 1e-9."""
    f, x, y, head, rows = problem(kind, n=4, seed=3)
    reference = gradient(by_jacobi_rule(f, x, rows, head, law), f)
    error = (gradient(mixup_loss(f, x, y, law, head), f) - reference).norm()
    assert error <= 1e-9 * reference.norm()


@pytest.mark.parametrize("law", [BetaLaw(0.5), BetaLaw(0.3, 2.5)], ids=str)
def test_all_pairs_of_a_larger_batch(law):
    """n = 50: enough pairs that the number of nodes comes from a pilot."""
    f, x, y, head, rows = problem("soft", n=50, seed=5)
    with torch.no_grad():
        reference = by_jacobi_rule(f, x, rows, head, law, nodes=40)
        assert abs(mixup_loss(f, x, y, law, head) - reference) <= 1e-10 * reference


@pytest.mark.parametrize("wrong", ["law", "pairs", "label"])
def test_brute_force_tells_wrong_losses_apart(wrong):
    """Negative control: another law, off-diagonal pairs alone, unmixed labels are all far outside rtol."""
    f, x, y, head, rows = problem(seed=3)
    law = BetaLaw(0.3, 2.5)
    reference = by_jacobi_rule(f, x, rows, head, law)
    n = len(x)
    other = {
        "law": lambda: mixup_loss(f, x, y, BetaLaw(0.3), head),
        "pairs": lambda: (n * mixup_loss(f, x, y, law, head) - standard_loss(f, x, y, head)) / (n - 1),
        "label": lambda: by_jacobi_rule(f, x, rows[:1].expand_as(rows), head, law),
    }[wrong]()
    assert abs(other - reference) > 1e-3 * reference


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_one_point_gives_the_standard_loss(kind, activation):
    f, x, y, head, _ = problem(kind, n=1, activation=activation)
    mixed, standard = mixup_loss(f, x, y, BetaLaw(0.3), head), standard_loss(f, x, y, head)
    torch.testing.assert_close(mixed, standard, rtol=4 * EPS, atol=0)
    torch.testing.assert_close(gradient(mixed, f), gradient(standard, f), rtol=4 * EPS, atol=0)


@pytest.mark.parametrize("chunk", [1, 7, 100, 10**9])
def test_chunk_changes_nothing(chunk):
    """Only the order of some thousand additions: 1e-13."""
    f, x, y, head, _ = problem(n=7)
    whole, parts = (mixup_loss(f, x, y, BetaLaw(0.4, 1.0), head, chunk=k) for k in (None, chunk))
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient(parts, f), gradient(whole, f), rtol=1e-12, atol=1e-14)


@given(seed=SEEDS, alpha=st.floats(0.05, 30), beta=st.floats(0.05, 30))
def test_swapping_alpha_and_beta_changes_nothing(seed, alpha, beta):
    """(i, j, lambda) and (j, i, 1 - lambda) are the same mixed point; tolerance: both within rtol."""
    f, x, y, head, _ = problem("soft", n=4, seed=seed)
    one, other = (mixup_loss(f, x, y, law, head) for law in (BetaLaw(alpha, beta), BetaLaw(beta, alpha)))
    torch.testing.assert_close(one, other, rtol=2e-10, atol=0)


@pytest.mark.usefixtures("forward_mode")
@pytest.mark.parametrize("kind", ["soft", "sigmoid soft"])
def test_concentrated_law_approaches_midpoint_mixing_at_the_rate_of_its_variance(kind):
    """L - L_midpoint = Var/2 * (mean second derivative in lambda) + O(Var^2), Var = 1/(8 alpha + 4) = 1.2e-4.

    So the ratio of the two sides is 1 + O(Var): 1 % leaves room for derivatives a hundred times larger.
    """
    f, x, y, head, rows = problem(kind, n=4, seed=2)
    half, one = torch.tensor(0.5, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    midpoint, curvature = 0.0, 0.0
    for i in range(4):
        for j in range(4):
            loss = lambda lam, i=i, j=j: pair_loss(f, x, rows, head, i, j, lam[None]).sum()
            slope = lambda lam, loss=loss: torch.func.jvp(loss, (lam,), (one,))[1]
            midpoint = midpoint + loss(half) / 16
            curvature = curvature + torch.func.jvp(slope, (half,), (one,))[1] / 16
    distance = mixup_loss(f, x, y, BetaLaw(1000.0), head) - midpoint
    assert abs(curvature) > 1e-2
    torch.testing.assert_close(distance, curvature / 2 / 8004, rtol=1e-2, atol=0)


# --- cost


def test_every_unordered_pair_is_visited_once():
    """One rule of m nodes costs n (n - 1)/2 m rows, less than half of all pairs."""
    n, m = 20, 6
    f, x, _, head, rows = problem(n=n)
    counted = Counted(f)
    with torch.no_grad():
        losses.pair_sum(counted, x, rows, head, BetaLaw(1.0).quadrature(m), range(n * (n - 1) // 2), chunk=64)
    assert sum(counted.rows) == n * (n - 1) // 2 * m < n * n * m / 2


def test_largest_call_holds_each_unordered_pair_once():
    """With an unlimited chunk the finest rule is one call: all pairs i < j, times its nodes."""
    n = 9
    f, x, y, head, _ = problem(n=n)
    counted = Counted(f)
    mixup_loss(counted, x, y, BetaLaw(1.0), head, chunk=10**9)
    nodes, left = divmod(max(counted.rows), n * (n - 1) // 2)
    assert left == 0
    assert 1 < nodes <= 64


@pytest.mark.parametrize("n", [10, 40])
def test_memory_is_bounded_by_the_chunk(n):
    """Forward and backward, f never gets more than ``chunk`` rows; no activation outlives its chunk."""
    f, x, y, head, _ = problem(n=n)
    counted, kept = Counted(f), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        value = mixup_loss(counted, x, y, BetaLaw(1.0), head, chunk=512)
    gradient(value, f)
    assert max(counted.rows) <= 512
    assert sum(counted.rows) > 10 * 512
    assert sum(kept) <= 512


def test_chunk_below_the_number_of_nodes_bounds_the_rows_too():
    f, x, y, head, _ = problem(n=4)
    counted = Counted(f)
    mixup_loss(counted, x, y, BetaLaw(1.0), head, chunk=2)
    assert max(counted.rows) <= 2


def test_gradient_of_300_digits():
    """Directional derivative against a central difference: error h^2 third derivatives, rounding eps/h."""
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(pixels[:300] / 16), torch.from_numpy(labels[:300])
    rng = np.random.default_rng(0)
    f = net(rng, d=64, c=10, width=8)
    slope = gradient(mixup_loss(f, x, y, BetaLaw(1.0), rtol=1e-5), f)
    step = torch.from_numpy(rng.normal(size=len(slope)))
    step, h = step / step.norm(), 1e-4
    start, shifted = nn.utils.parameters_to_vector(f.parameters()).detach(), []
    with torch.no_grad():
        for sign in (1, -1):
            nn.utils.vector_to_parameters(start + sign * h * step, f.parameters())
            shifted.append(mixup_loss(f, x, y, BetaLaw(1.0), rtol=1e-5))
    difference = (shifted[0] - shifted[1]) / (2 * h)
    assert abs(slope @ step - difference) <= 1e-6 * slope.norm()


# --- accuracy that cannot be reached


@pytest.mark.parametrize(("n", "slack"), [(4, 1.01), (60, 2.0)])
def test_relu_is_refused_with_the_accuracy_reached_and_accepted_at_it(n, slack):
    """n = 60 is refused from a pilot sample, whose estimate holds up to the factor two of the message."""
    f, x, y, head, rows = problem("soft", n=n, seed=1, activation=nn.ReLU)
    with pytest.raises(AccuracyNotReached, match=r"rtol=1e-10 was asked.*pass rtol >=") as refused:
        mixup_loss(f, x, y, BetaLaw(1.0), head)
    assert 1e-10 < refused.value.reached < 1e-3
    with torch.no_grad():
        value = mixup_loss(f, x, y, BetaLaw(1.0), head, rtol=slack * refused.value.reached)
        if n == 4:  # the midpoint rule on N points: error below 1/(8 N^2) per kink and unit of slope
            grid = (np.arange(100_000) + 0.5) / 100_000
            reference = sum(pair_loss(f, x, rows, head, *pair, grid).mean() for pair in np.ndindex(n, n))
            assert abs(value - reference / n**2) <= slack * refused.value.reached * value


def test_feature_between_the_nodes_of_the_first_rules_is_seen():
    """Smooth, but a bump over a twentieth of the segment, around the midpoint, where no even rule has a node."""
    x, rows = torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    f = lambda x: torch.cat([0 * x, 5 * torch.exp(-(((x - 0.5) / 0.03) ** 2))], 1)
    reference = by_jacobi_rule(f, x, rows, "softmax", BetaLaw(1.0), nodes=400)
    assert abs(mixup_loss(f, x, rows, BetaLaw(1.0)) - reference) <= 1e-10 * reference


def test_perfectly_fitted_class_has_loss_zero():
    """All labels 0 and logits so confident that h(f) - y^T f is 0 in floating point, at every mixed point."""
    x, y = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    assert mixup_loss(lambda x: torch.stack([x[:, 0] + 1000, x[:, 1]], 1), x, y, BetaLaw(1.0)) == 0


def test_float32_keeps_its_dtype_and_accuracy():
    """float32 carries 6e-8 per operation; rtol = 1e-5 is within its reach."""
    f, x, y, head, _ = problem("soft", n=5)
    exact = mixup_loss(f, x, y, BetaLaw(0.7), head)
    single = mixup_loss(f.float(), x.float(), y, BetaLaw(0.7), head, rtol=1e-5)
    assert single.dtype == standard_loss(f, x.float(), y, head).dtype == torch.float32
    assert abs(single.double() - exact) <= 1e-5 * exact


def test_image_shaped_inputs():
    f, x, y, head, _ = problem(n=4)
    images = lambda z: f(z.flatten(1))
    value = mixup_loss(images, x.reshape(4, 1, 2, 1), y, BetaLaw(0.5), head)
    torch.testing.assert_close(value, mixup_loss(f, x, y, BetaLaw(0.5), head), rtol=1e-14, atol=0)


# --- Monte Carlo


@pytest.mark.parametrize(
    ("kind", "law", "activation"),
    [
        ("soft", BetaLaw(0.5, 2.0), nn.Tanh),
        ("sigmoid", BetaLaw(0.1), nn.Tanh),
        ("indices", BetaLaw(1.0), nn.ReLU),
    ],
    ids=["soft-tanh", "sigmoid-tanh", "indices-relu"],
)
def test_intervals_of_monte_carlo_cover_as_they_say(kind, law, activation):
    """200 fixed seeds: 95 % intervals cover 90 to 99 % (3 standard errors of a share of 200 are 4.6 %).

    Control: they cover the standard loss less often. The mean of all runs is within 4 standard errors.
    """
    f, x, y, head, _ = problem(kind, n=4, seed=4, activation=activation)
    with torch.no_grad():
        exact, standard = mixup_loss(f, x, y, law, head, rtol=1e-4), standard_loss(f, x, y, head)
        runs = [
            torch.stack(mixup_loss_mc(f, x, y, law, head, samples=500, generator=np.random.default_rng(seed)))
            for seed in range(200)
        ]
    estimates, errors = torch.stack(runs).T
    coverage = lambda truth: ((estimates - truth).abs() <= 1.96 * errors).double().mean().item()
    assert 0.90 <= coverage(exact) <= 0.99
    assert coverage(standard) < 0.90
    assert abs(estimates.mean() - exact) <= 4 * errors.mean() / math.sqrt(200)


def test_monte_carlo_is_reproducible_and_free_of_the_chunk():
    f, x, y, head, _ = problem("soft", n=5)
    runs = [
        mixup_loss_mc(f, x, y, BetaLaw(0.4), head, samples=100, generator=np.random.default_rng(s), chunk=chunk)
        for s, chunk in ((1, None), (1, None), (1, 7), (2, None))
    ]
    assert runs[0] == runs[1]
    torch.testing.assert_close(runs[0], runs[2], rtol=1e-13, atol=0)
    assert runs[0][0] != runs[3][0]


def test_monte_carlo_gradient_is_that_of_the_same_draws():
    """Central difference with common random numbers; error h^2, rounding eps/h: 1e-8 at h = 1e-5."""
    f, x, y, head, _ = problem("soft", n=5)
    draws = lambda: {"samples": 50, "generator": np.random.default_rng(1)}
    loss = lambda: mixup_loss_mc(f, x, y, BetaLaw(0.4), head, **draws())[0]
    slope, bias, h = torch.autograd.grad(loss(), f[2].bias)[0][0], f[2].bias, 1e-5
    with torch.no_grad():
        bias[0] += h
        above = loss()
        bias[0] -= 2 * h
        below = loss()
    torch.testing.assert_close((above - below) / (2 * h), slope, rtol=0, atol=1e-8)
