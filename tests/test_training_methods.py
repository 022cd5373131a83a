"""The methods' losses against sums written out sample by sample, which share no code with them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mixupe_theory import BetaLaw, MixupE
from mixupe_theory.training.methods import METHODS, Mixture, Objective, binary_cross_entropy, draw_mixture
from mixupe_theory.training.models.staged import Staged

N, D, H, C, ETA, ALPHA = 6, 4, 5, 3, 0.3, 1.5
MEAN_A = ALPHA / (2 * ALPHA + 1)


def network():
    stages = [nn.Sequential(nn.Linear(D, H), nn.Tanh()), nn.Sequential(nn.Linear(H, H), nn.Tanh()), nn.Linear(H, C)]
    model = Staged(stages, manifold_places=(0, 1, 2)).double()
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(generator.normal(0, 0.7, p.shape)))
    return model


def batch():
    generator = np.random.default_rng(1)
    return torch.from_numpy(generator.normal(size=(N, D))), torch.from_numpy(generator.integers(0, C, N))


MIXTURE = Mixture(torch.tensor(0.3, dtype=torch.float64), torch.tensor([2, 0, 1, 5, 3, 4]), place=0)


def dense(layer, x):
    """A linear layer, entry by entry, on lists of 0-d tensors."""
    return [
        sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(layer.weight, layer.bias, strict=True)
    ]


def logits_of(model, x, partner=None, lam=1.0, place=0):
    """The network on one sample mixed with its partner at a place, written out."""
    for k, stage in enumerate(model.stages):
        if partner is not None and k == place:
            x = [lam * u + (1 - lam) * v for u, v in zip(x, partner, strict=True)]
            partner = None
        linear = stage if isinstance(stage, nn.Linear) else stage[0]
        x = dense(linear, x)
        x = x if stage is linear else [torch.tanh(v) for v in x]
        if partner is not None:
            partner = dense(linear, partner)
            partner = partner if stage is linear else [torch.tanh(v) for v in partner]
    return x


def softmax(f):
    total = sum(torch.exp(v) for v in f)
    return [torch.exp(v) / total for v in f]


def written_out(method, model, x, y, mixture, loss="cross_entropy", variant="deck"):
    total, r = 0.0, 0.0
    lams = mixture.lam.expand(N)
    for i in range(N):
        j = int(mixture.partner[i])
        lam = float(lams[i]) if method != "erm" else 1.0
        target = [lam * (y[i] == k).double() + (1 - lam) * (y[j] == k).double() for k in range(C)]
        place = mixture.place if method == "manifold_mixup" else 0
        p = softmax(logits_of(model, list(x[i]), list(x[j]), lam, place))
        if loss == "bce":
            total += sum(-t * torch.log(q) - (1 - t) * torch.log(1 - q) for t, q in zip(target, p, strict=True)) / C
        else:
            total += sum(-t * torch.log(q) for t, q in zip(target, p, strict=True))
        f = logits_of(model, list(x[i]))
        g = softmax(f)
        q_hat = sum(((y[i] == k).double() - g[k]) * f[k] for k in range(C))
        if variant == "deck":
            r += abs(q_hat)
        elif variant == "official_v3":
            r -= q_hat * (q_hat < 1.0)
    mixup, r = total / N, MEAN_A * r / N
    if method != "mixupe":
        return mixup
    return (abs(mixup) / abs(mixup + ETA * r)).detach() * (mixup + ETA * r)


def objective(model, method, loss="cross_entropy", variant="deck"):
    criterion = MixupE(ALPHA, eta=ETA, variant=variant) if METHODS[method].clean == "penalty" else None
    return Objective(model, METHODS[method], loss, criterion)


def gradients(model, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


CASES = [
    ("erm", "cross_entropy", "deck", MIXTURE),
    ("erm", "bce", "deck", MIXTURE),
    ("mixup", "cross_entropy", "deck", MIXTURE),
    ("mixup", "bce", "deck", MIXTURE),
    ("mixup", "cross_entropy", "deck", Mixture(torch.linspace(0, 1, N).double(), MIXTURE.partner, 0)),
    ("manifold_mixup", "cross_entropy", "deck", Mixture(MIXTURE.lam, MIXTURE.partner, 1)),
    ("manifold_mixup", "bce", "deck", Mixture(MIXTURE.lam, MIXTURE.partner, 2)),
    ("mixupe", "cross_entropy", "deck", MIXTURE),
    ("mixupe", "cross_entropy", "official_v3", MIXTURE),
    ("mixup_clean_forward", "cross_entropy", "deck", MIXTURE),
]
IDS = [f"{method}-{loss}-{variant}-{mixture.lam.ndim}-{mixture.place}" for method, loss, variant, mixture in CASES]


@pytest.mark.parametrize(("method", "loss", "variant", "mixture"), CASES, ids=IDS)
def test_loss_and_gradient_are_those_written_out(method, loss, variant, mixture):
    model, (x, y) = network(), batch()
    ours = objective(model, method, loss, variant)(x, y, None if method == "erm" else mixture)
    theirs = written_out(method, model, x, y, mixture, loss, variant)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-13)  # a few hundred roundings
    torch.testing.assert_close(gradients(model, ours), gradients(model, theirs), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "planted",
    [
        {"method": "mixup"},  # without R
        {"variant": "official_v3"},  # R of the other sign
        {"mixture": Mixture(1 - MIXTURE.lam, MIXTURE.partner, 0)},  # lambda on the partner
        {"mixture": Mixture(MIXTURE.lam, MIXTURE.partner.argsort(), 0)},  # the inverse permutation
    ],
    ids=["no R", "sign", "lambda", "permutation"],
)
def test_the_comparison_sees_planted_errors(planted):
    model, (x, y) = network(), batch()
    ours = gradients(model, objective(model, "mixupe")(x, y, MIXTURE))
    wrong = {"method": "mixupe", "mixture": MIXTURE} | planted
    theirs = gradients(model, written_out(wrong.pop("method"), model, x, y, wrong.pop("mixture"), **wrong))
    assert not torch.allclose(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("variant", ["deck", "deck_detached", "exact", "official_v1", "official_v2", "official_v4"])
def test_mixupe_is_the_public_criterion(variant):
    """Value and gradient of MixupE's own forward, which draws and mixes by itself."""
    model, (x, y) = network(), batch()
    x_mean = x.mean(0)
    criterion = MixupE(ALPHA, eta=ETA, variant=variant, x_mean=x_mean)
    ours = Objective(model, METHODS["mixupe"], criterion=criterion)(x, y, MIXTURE)
    theirs = criterion(model, x, y, lam=MIXTURE.lam, permutation=MIXTURE.partner)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-14)
    torch.testing.assert_close(gradients(model, ours), gradients(model, theirs), rtol=1e-12, atol=1e-14)


def test_mixing_the_hidden_layer_at_the_input_is_mixup():
    model, (x, y) = network(), batch()
    hidden = objective(model, "manifold_mixup")(x, y, MIXTURE)
    assert hidden.item() == objective(model, "mixup")(x, y, MIXTURE).item()
    elsewhere = objective(model, "manifold_mixup")(x, y, Mixture(MIXTURE.lam, MIXTURE.partner, 1))
    assert elsewhere.item() != pytest.approx(hidden.item(), rel=1e-3)


def test_the_control_moves_batchnorm_as_mixupe_does_and_has_mixup_s_gradient():
    """After one step's loss: running statistics of MixupE, gradients of mixup."""
    buffers, grads = {}, {}
    x, y = batch()
    for method in ("mixup", "mixup_clean_forward", "mixupe"):
        base = network()
        stages = [base.stages[0], nn.Sequential(base.stages[1], nn.BatchNorm1d(H)), base.stages[2]]
        model = Staged(stages, (0, 1, 2)).double().train()
        grads[method] = gradients(model, objective(model, method)(x, y, MIXTURE))
        buffers[method] = model.stages[1][1].running_mean.clone()
    assert torch.equal(buffers["mixup_clean_forward"], buffers["mixupe"])
    assert not torch.allclose(buffers["mixup_clean_forward"], buffers["mixup"])
    assert torch.equal(grads["mixup_clean_forward"], grads["mixup"])
    assert not torch.allclose(grads["mixupe"], grads["mixup"])


def test_methods_share_lambda_and_partners():
    model = network()
    drawn = [
        draw_mixture(METHODS[name], BetaLaw(0.7), N, model, np.random.default_rng(3)) for name in ("mixup", "mixupe")
    ]
    hidden = draw_mixture(METHODS["manifold_mixup"], BetaLaw(0.7), N, model, np.random.default_rng(3))
    for other in (drawn[1], hidden):
        assert torch.equal(drawn[0].lam, other.lam)
        assert torch.equal(drawn[0].partner, other.partner)
    assert drawn[0].place == 0


def test_hidden_places_are_drawn_evenly():
    """Counts of 3 places in 300 draws: each within 5 standard deviations of 100."""
    model = network()
    generator = np.random.default_rng(0)
    places = [draw_mixture(METHODS["manifold_mixup"], BetaLaw(1.0), N, model, generator).place for _ in range(300)]
    counts = np.bincount(places, minlength=3)
    assert counts.sum() == 300
    assert (abs(counts - 100) < 5 * math.sqrt(300 * 2 / 9)).all()


def test_a_lambda_for_each_sample_or_for_the_batch():
    model = network()
    one = draw_mixture(METHODS["mixup"], BetaLaw(1.0), N, model, np.random.default_rng(0))
    many = draw_mixture(METHODS["mixup"], BetaLaw(1.0), N, model, np.random.default_rng(0), per_sample=True)
    assert one.lam.shape == ()
    assert many.lam.shape == (N,)
    assert len(set(many.lam.tolist())) == N


def test_binary_cross_entropy_of_certain_logits_is_finite():
    """Each logarithm is at least -100, as in the official code's loss."""
    logits, targets = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert binary_cross_entropy(logits, targets).item() == pytest.approx(100.0)
