"""Problems, a literal reference and comparisons that the tests of the objective share."""

import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from mixupe_theory.objective import VARIANTS

NAN, INF, L = math.nan, math.inf, math.log(3)
SEEDS = st.integers(0, 2**32 - 1)
TARGETS = ["indices", "soft", "sigmoid", "sigmoid soft"]
GRAPH_BREAKS = ("official_v1", "official_v2")  # torch.compile has no double backward
jacobian = torch.autograd.functional.jacobian
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def targets(kind, shape, rng, c=3):
    """(y as a user passes it, the same as rows of floats, head)."""
    if kind.startswith("sigmoid"):
        y = rng.random(shape) if kind.endswith("soft") else rng.integers(2, size=shape).astype(float)
        y = torch.from_numpy(y)
        return (y[..., None] if kind.endswith("column") else y), y[..., None], "sigmoid"
    if kind == "soft":
        y = torch.from_numpy(rng.dirichlet(np.ones(c), size=shape))
        return y, y, "softmax"
    indices = torch.from_numpy(rng.integers(c, size=shape))
    rows = torch.eye(c, dtype=torch.float64)[indices]
    return {"indices": indices, "one-hot": rows, "whole one-hot": rows.long()}[kind], rows, "softmax"


def network(rng, *layers):
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
    return model


def problem(kind="indices", seed=0, n=4, positions=()):
    """(model, x, y, head, y as rows, x_mean, permutation, lam of each sample)."""
    rng = np.random.default_rng(seed)
    y, rows, head = targets(kind, (n, *positions), rng)
    model = network(rng, nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, rows.shape[-1]))
    x, x_mean = (torch.from_numpy(rng.normal(size=s)) for s in ((n, *positions, 2), (*positions, 2)))
    return model, x, y, head, rows, x_mean, torch.from_numpy(rng.permutation(n)), torch.from_numpy(rng.random(n))


def literal_terms(variant, model, x, rows, lam, permutation, *, alpha, beta, threshold, x_mean):
    """(L_mix, P) as DESIGN.md (deck, exact) and RECIPES.md (official) have them: sums over samples and positions."""
    n, c = len(x), rows.shape[-1]
    respond = lambda f: 1 / (1 + (-f).exp()) if c == 1 else f.exp() / f.exp().sum()
    partition = lambda f: (f.exp().sum() + (c == 1)).log()  # log(exp f + 1) for one logit
    partner = [int(j) for j in permutation]
    mix = lambda t: torch.stack([lam[i] * t[i] + (1 - lam[i]) * t[partner[i]] for i in range(n)])
    pairs = list(zip(model(mix(x)).reshape(-1, c), mix(rows).reshape(-1, c), strict=True))
    mixup = sum(partition(f) - y @ f for f, y in pairs) / len(pairs)
    detached = variant in ("deck_detached", "official_v1", "official_v2", "official_v4")
    by_q = variant in ("exact", "official_v1", "official_v2")
    values = []
    for x_i, y_i in zip(x, rows, strict=True):
        f_i = model(x_i[None])[0].reshape(-1, c)
        residuals = [respond(f) - y for f, y in zip(f_i, y_i.reshape(-1, c), strict=True)]
        vectors = -f_i  # q_hat = (g - y) . (-f)
        if by_q:
            whole = jacobian(lambda z: model(z[None])[0], x_i, create_graph=True)
            vectors = (whole.reshape(f_i.numel(), -1) @ (x_mean - x_i).flatten()).reshape(-1, c)
        of_sample = [(r.detach() if detached else r) @ v for r, v in zip(residuals, vectors, strict=True)]
        values += [sum(of_sample) / len(of_sample)] if variant in GRAPH_BREAKS else of_sample
    if variant in ("deck", "deck_detached", "exact", "official_v2"):
        total = sum(abs(v) for v in values)
    elif variant == "official_v4":
        total = -sum(values)
    else:
        total = sum((v if variant == "official_v1" else -v) for v in values if v < threshold) + 0 * values[0]
    return mixup, 2 * alpha * beta / (alpha + beta) / (alpha + beta + 1) / len(values) * total


def literal(variant, *args, eta, **kwargs):
    mixup, penalty = literal_terms(variant, *args, **kwargs)
    total = mixup + eta * penalty
    return (abs(mixup) / abs(total)).detach() * total


def gradient(value, model):
    grads = torch.autograd.grad(value, list(model.parameters()), retain_graph=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


def close(got, expected):
    """1e-9 relative to the largest entry: some hundred roundings, times derivatives of order 100."""
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9 * (expected.abs().max().item() + 1e-3))
