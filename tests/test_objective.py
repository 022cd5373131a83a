"""MixupE's seven variants by hand and against loops over samples; how it draws and mixes; its state."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import (
    INF,
    NAN,
    SEEDS,
    TARGETS,
    L,
    close,
    every_variant,
    gradient,
    literal,
    literal_terms,
    problem,
    tensor,
)
from scipy.stats import beta as beta_distribution
from scipy.stats import chisquare, kstest
from torch import nn
from torch.autograd.forward_ad import unpack_dual

from mixupe_theory import MixupE
from mixupe_theory.objective import VARIANTS, eta_hat, regularizer

pytestmark = pytest.mark.usefixtures("forward_mode")
# --- the variants

BY_HAND = [  # variant, threshold, P / ln 3, first row of its gradient / ln 3
    ("deck", 1, 1 / 5, ((1 / 4 - 3 * L / 16) / 5, -(3 / 4 + 3 * L / 16) / 5)),
    ("exact", 1, 1 / 5, ((1 / 4 - 3 * L / 16) / 5, -(3 / 4 + 3 * L / 16) / 5)),
    ("deck_detached", 1, 1 / 5, (1 / 20, -3 / 20)),
    ("official_v1", 1, -1 / 10, (1 / 20, 3 / 20)),
    ("official_v1", 0, -3 / 20, (0.0, 3 / 20)),
    ("official_v1", -1, 0.0, (0.0, 0.0)),
    ("official_v2", 1, 1 / 5, (1 / 20, -3 / 20)),
    ("official_v3", 1, 1 / 10, (-(1 / 4 - 3 * L / 16) / 5, -(3 / 4 + 3 * L / 16) / 5)),
    ("official_v3", 0, 3 / 20, (0.0, -(3 / 4 + 3 * L / 16) / 5)),
    ("official_v4", 1, 1 / 10, (-1 / 20, -3 / 20)),
]


@pytest.mark.parametrize(("variant", "threshold", "penalty", "slope"), BY_HAND)
def test_linear_model_by_hand(variant, threshold, penalty, slope):
    """W = identity, x = (ln 3, 0), (0, ln 3), both of class 0, lambda = 1/2, alpha = 2 (E[a] = 2/5), eta = 1/2.

    Both mixed inputs are (ln 3, ln 3)/2: L_mix = ln 2, with gradient (1/2 - 1, 1/2) (ln 3, ln 3)^T / 2.
    Clean: g = (3, 1)/4 and (1, 3)/4, so q_hat = (ln 3)/4 and -3 (ln 3)/4, which are q as x_mean = 0. In f, q_hat has
    the gradient (y - g) - (diag g - g g^T) f, = (1/4 - 3/16 ln 3)(1, -1) and (3/4 + 3/16 ln 3)(1, -1), the last term
    absent where detached; times x^T, each fills one column of W. The second row is minus the first.
    """
    model = nn.Linear(2, 2, bias=False).double()
    model.weight = nn.Parameter(torch.eye(2, dtype=torch.float64))
    x, y = tensor([L, 0], [0, L]), torch.tensor([0, 0])
    criterion = MixupE(2.0, eta=0.5, variant=variant, threshold=threshold)
    terms = criterion.terms(model, x, y, lam=0.5, permutation=torch.tensor([1, 0]))
    torch.testing.assert_close(torch.stack(terms), tensor(math.log(2), penalty * L), rtol=0, atol=1e-15)
    loss = criterion(model, x, y, lam=0.5, permutation=torch.tensor([1, 0]))
    torch.testing.assert_close(loss, tensor(math.log(2))[0], rtol=0, atol=1e-15)
    first = tensor(-L / 4, -L / 4) + 0.5 * L * tensor(*slope)
    scale = math.log(2) / (math.log(2) + 0.5 * penalty * L)
    torch.testing.assert_close(gradient(loss, model), scale * torch.cat([first, -first]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("variant", ["official_v1", "official_v3"])
@pytest.mark.parametrize(("threshold", "counts"), [(0.0, False), (1e-300, True)])
def test_threshold_is_strict(variant, threshold, counts):
    """With W = 0 both q and q_hat are exactly 0, while their gradients are not."""
    model = nn.Linear(2, 2, bias=False).double()
    model.weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    criterion = MixupE(variant=variant, threshold=threshold)
    penalty = criterion.penalty(model, tensor([1, 2]), torch.tensor([0]))
    assert penalty == 0
    assert gradient(penalty, model).any() == counts


@pytest.mark.parametrize("kind", TARGETS)
@every_variant
@settings(max_examples=6)
@given(
    seed=SEEDS,
    law=st.tuples(st.floats(0.1, 5), st.one_of(st.none(), st.floats(0.1, 5))),
    eta=st.sampled_from([0, 1e-3, 0.5, 4.0]),
    threshold=st.sampled_from([1.0, 0.1, 0.0, -0.2, INF, -INF]),
    per_sample=st.booleans(),
    with_mean=st.booleans(),
    positions=st.sampled_from([(), (3,)]),
)
def test_value_and_gradient_equal_loops_over_samples(
    variant, kind, seed, law, eta, threshold, per_sample, with_mean, positions
):
    model, x, y, head, rows, x_mean, permutation, lam = problem(kind, seed, positions=positions)
    beta = law[0] if law[1] is None else law[1]
    settings_of = {"eta": eta, "threshold": threshold}
    criterion = MixupE(*law, **settings_of, variant=variant, head=head, x_mean=x_mean if with_mean else None)
    x_mean = x_mean if with_mean else torch.zeros_like(x_mean)
    lam, lams = (lam, lam) if per_sample else (lam[0].item(), lam[:1].expand(len(x)))
    loss = criterion(model, x, y, lam=lam, permutation=permutation)
    wanted = literal(variant, model, x, rows, lams, permutation, alpha=law[0], beta=beta, x_mean=x_mean, **settings_of)
    assert loss.shape == ()
    close(loss, wanted)
    close(gradient(loss, model), gradient(wanted, model))
    mixup, penalty = criterion.terms(model, x, y, lam=lam, permutation=permutation)
    close(loss, mixup if mixup + eta * penalty > 0 else -mixup)


def test_loops_over_samples_tell_the_variants_apart():
    """Negative control: each variant's penalty or its gradient is far from every other variant's."""
    model, x, y, head, rows, x_mean, permutation, lam = problem(n=6)
    own, reference = [], []
    for variant in VARIANTS:
        criterion = MixupE(0.7, 2.0, variant=variant, threshold=0.1, x_mean=x_mean, head=head)
        more = {"alpha": 0.7, "beta": 2.0, "threshold": 0.1, "x_mean": x_mean}
        own.append(gradient(criterion.penalty(model, x, y), model))
        reference.append(gradient(literal_terms(variant, model, x, rows, lam, permutation, **more)[1], model))
    for i, one in enumerate(own):
        assert [k for k, other in enumerate(reference) if (one - other).norm() < 1e-2 * one.norm()] == [i]


@every_variant
@pytest.mark.parametrize("kind", ["indices", "sigmoid soft"])
def test_eta_zero_is_plain_mixup(variant, kind):
    """Against torch's own losses at the mixed input and label."""
    model, x, y, head, rows, _, permutation, lam = problem(kind)
    loss = MixupE(eta=0, variant=variant, head=head)(model, x, y, lam=lam, permutation=permutation)
    mixed, label = (lam[:, None] * t + (1 - lam[:, None]) * t[permutation] for t in (x, rows))
    of_torch = nn.functional.cross_entropy if head == "softmax" else nn.functional.binary_cross_entropy_with_logits
    close(loss, of_torch(model(mixed), label))
    close(gradient(loss, model), gradient(of_torch(model(mixed), label), model))


# --- R, eta_hat and what is made of them


@pytest.mark.parametrize(
    ("mixup", "penalty", "eta", "expected"),
    [
        (1.0, 3.0, 1.0, 0.25),
        (1.0, 3.0, 0.0, 1.0),
        (1.0, -3.0, 1.0, 0.5),
        (1.0, -3.0, 0.25, 4.0),
        (0.0, 3.0, 2.0, 0.0),
        (0.0, 0.0, 1.0, 1.0),
        (2.0, -1.0, 2.0, 1.0),
        (NAN, 1.0, 1.0, NAN),
        (1.0, NAN, 1.0, NAN),
    ],
)
def test_eta_hat_and_the_loss_made_with_it(mixup, penalty, eta, expected):
    """Whole numbers: exact. The gradients are eta_hat and eta_hat eta, finite also where the total is 0."""
    terms = [torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (mixup, penalty)]
    ratio = eta_hat(*terms, eta)
    loss = MixupE(eta=eta).combine(*terms)
    loss.backward()
    got = torch.stack([ratio.detach(), loss.detach(), *(t.grad for t in terms)])
    wanted = tensor(expected, expected * (mixup + eta * penalty), expected, expected * eta)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("penalty", "slopes"), [(0.3, (1.0, 0.0)), (-1.5, (1.0, 0.5))], ids=["total > 0", "total 0"])
def test_eta_hat_differentiated_through_makes_the_penalty_inert(penalty, slopes):
    """Except where the total is 0: there eta_hat is the constant 1."""
    mixup, penalty = (torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in (0.75, penalty))
    (eta_hat(mixup, penalty, 0.5) * (mixup + 0.5 * penalty)).backward()
    torch.testing.assert_close(torch.stack([mixup.grad, penalty.grad]), tensor(*slopes), rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3)], ids=str)
def test_regularizer_is_mean_a_times_the_mean_of_absolute_values(shape):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    expected = 0.4 * math.fsum(abs(v) for v in values.flatten().tolist()) / values.numel()
    assert abs(regularizer(values, 0.4).item() - expected) <= 1e-15


@every_variant
def test_perfectly_fitted_batch_has_loss_zero_and_a_finite_gradient(variant):
    """Logits so far apart that L_mix, q_hat and q are 0 in floating point: 0/0 counts as 1."""
    model = nn.Linear(2, 2, bias=False).double()
    model.weight = nn.Parameter(tensor([2000, 2000], [0, 0]))
    x, y = tensor([1, 0], [0, 1]), torch.tensor([0, 0])
    loss = MixupE(eta=0.1, variant=variant)(model, x, y, lam=0.3, permutation=torch.tensor([1, 0]))
    assert loss == 0
    assert torch.equal(gradient(loss, model), torch.zeros(4, dtype=torch.float64))


@every_variant
@pytest.mark.parametrize("call", [0, 1])
def test_nan_logits_give_a_nan_loss(variant, call):
    """In the mixed or in the clean forward; thresholds must not drop them."""
    model, x, y, *_ = problem()
    calls = iter([NAN, 0.0] if call == 0 else [0.0, NAN])
    spoilt = lambda x: model(x) + next(calls)
    assert MixupE(variant=variant)(spoilt, x, y, lam=0.3, permutation=torch.arange(4)).isnan()


# --- mixing and drawing


class Recorder(nn.Module):
    """A network that keeps the inputs it saw."""

    def __init__(self, model=None):
        super().__init__()
        self.model, self.seen = model or (lambda x: torch.cat([x, 0 * x], -1)), []

    def forward(self, x):
        self.seen.append(unpack_dual(x).primal.detach().clone())
        return self.model(x)


@every_variant
@pytest.mark.parametrize("per_sample", [False, True])
def test_model_sees_the_mixed_batch_and_then_the_clean_one(variant, per_sample):
    """lambda in quarters and whole inputs: exact."""
    model = Recorder()
    x, y, permutation = tensor([8], [16], [32]), torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1])
    lam, mixed = (tensor(0.25, 0.5, 1), [26, 12, 32]) if per_sample else (0.75, [14, 14, 28])
    MixupE(variant=variant)(model, x, y, lam=lam, permutation=permutation)
    assert [seen.flatten().tolist() for seen in model.seen] == [mixed, [8, 16, 32]]


@every_variant
def test_batch_norm_is_updated_by_the_mixed_batch_and_then_the_clean_one(variant):
    model, x, y, _, _, _, permutation, _ = problem()
    model = nn.Sequential(nn.BatchNorm1d(2), model).double()
    MixupE(variant=variant)(model, x, y, lam=0.25, permutation=permutation)
    mixed = 0.25 * x + 0.75 * x[permutation]
    for running, of, start in (("mean", lambda t: t.mean(0), 0), ("var", lambda t: t.var(0), 1)):
        expected = 0.9 * (0.9 * start + 0.1 * of(mixed)) + 0.1 * of(x)
        torch.testing.assert_close(getattr(model[0], f"running_{running}"), expected, rtol=1e-14, atol=1e-15)
    assert model[0].num_batches_tracked == 2


@every_variant
def test_generator_draws_lambda_and_then_the_permutation(variant):
    model, x, y, *_ = problem(n=6)
    criterion = MixupE(0.4, 3.0, variant=variant)
    draws = np.random.default_rng(7)
    given_draws = {"lam": draws.beta(0.4, 3.0), "permutation": torch.from_numpy(draws.permutation(6))}
    expected = criterion(model, x, y, **given_draws)
    loss = lambda seed: criterion(model, x, y, generator=np.random.default_rng(seed))
    assert loss(7) == loss(7) == expected != loss(8)


def draw(criterion, generator, times, **given_draws):
    """Mixed inputs of ``times`` calls, (times, 3)."""
    model = Recorder()
    x, y = tensor([0], [1], [3]), torch.tensor([0, 1, 1])
    with torch.no_grad():
        for _ in range(times):
            criterion(model, x, y, generator=generator, **given_draws)
    return torch.stack(model.seen[::2]).squeeze(2).numpy()


@pytest.mark.parametrize("seeded", [True, False], ids=["generator", "default generators"])
def test_laws_of_what_is_drawn(seeded):
    """lambda by Kolmogorov and Smirnov against scipy, the permutation by chi squared; seeds are fixed.

    The level 1e-3 would fail one seed in a thousand; controls: the reflected law is far below it.
    """
    np.random.seed(0)  # noqa: NPY002 (the default generators are what is tested)
    torch.manual_seed(0)
    generator, criterion = np.random.default_rng(0) if seeded else None, MixupE(0.5, 2.0)
    lam = draw(criterion, generator, 600, permutation=torch.tensor([1, 0, 2]))[:, 1]
    assert kstest(lam, beta_distribution(0.5, 2.0).cdf).pvalue > 1e-3
    assert kstest(lam, beta_distribution(2.0, 0.5).cdf).pvalue < 1e-9
    partners = draw(criterion, generator, 600, lam=0.0)
    counts = np.unique(partners, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert chisquare(counts).pvalue > 1e-3


def test_default_generators_follow_their_seeds():
    model, x, y, *_ = problem(n=6)

    def loss(seed):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        return MixupE()(model, x, y)

    assert loss(1) == loss(1) != loss(2)


# --- state


def test_state_moves_with_the_criterion_and_survives_copies():
    x_mean = tensor(0.5, -1)
    criterion = MixupE(0.5, 2, variant="exact", eta=0.25, x_mean=x_mean)
    assert repr(criterion) == "MixupE(0.5, 2, eta=0.25, variant='exact')"
    assert dict(criterion.named_buffers())["x_mean"] is x_mean
    assert list(criterion.parameters()) == []
    model, x, y, *_ = problem()
    wanted = criterion.penalty(model, x, y)
    loaded = MixupE(0.5, 2, variant="exact", eta=0.25, x_mean=torch.zeros(2, dtype=torch.float64))
    assert loaded.penalty(model, x, y) != wanted
    loaded.load_state_dict(criterion.state_dict())
    for other in (loaded, copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert torch.equal(other.x_mean, x_mean)
        assert other.penalty(model, x, y) == wanted
    assert criterion.to(torch.float32).x_mean.dtype == torch.float32
    assert criterion.to("meta").x_mean.device.type == "meta"
