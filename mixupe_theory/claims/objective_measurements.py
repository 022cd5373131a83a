"""What the claims about the MixupE objective measure, and its figures draw: q against q_hat, penalties, gradients."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mixupe_theory.losses import mixup_loss_mc
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.networks import DATA, RECIPES, build, load
from mixupe_theory.objective import VARIANTS, MixupE, q, q_hat

STATES = {"before": "before training", "erm": "after ERM", "mixup-1": "after mixup"}
ARCHITECTURES = {
    "centred-relu-biasfree": "ReLU, no biases",
    "channelwise-relu-biasfree": "same, one mean for all pixels",
    "digits-relu-biasfree": "same, not centred",
    "centred-relu": "ReLU, biases",
    "centred-relu-batchnorm": "ReLU, BatchNorm",
    "centred-tanh": "tanh, biases",
    "digits-tanh": "same, not centred",
}
EXACT, BATCH_NORM = "centred-relu-biasfree", "centred-relu-batchnorm"
CASES = {  # (architecture, whether BatchNorm is in training mode): name
    **{(architecture, False): name for architecture, name in ARCHITECTURES.items()},
    (BATCH_NORM, True): "same, in training mode",
}
LAW = BetaLaw(1.0)
MEAN_A = LAW.tilted().a_moment(1)


@cache
def _network(architecture: str, state: str) -> nn.Module:
    recipe = RECIPES[f"{architecture}-{'erm' if state == 'before' else state}"]
    if state == "before":
        return build(recipe, np.random.default_rng(recipe.seed)).eval()
    return load(recipe.name)


def network(architecture: str, state: str) -> nn.Module:
    """A fresh copy of a network before or after training, in evaluation mode, with gradients."""
    return copy.deepcopy(_network(architecture, state)).requires_grad_(True)


def images(architecture: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The 1000 training images as the architecture sees them, and their classes."""
    return DATA[architecture.split("-")[0]]()


@cache
def approximation(architecture: str, state: str, training: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """q and q_hat at every training image, E[x'] the mean image; BatchNorm in training mode if asked for."""
    x, y = images(architecture)
    with torch.no_grad():
        net = network(architecture, state).train(training)
        return q(net, x, y, x.mean(0)).numpy(), q_hat(net(x), y).numpy()


def relative_error(architecture: str, state: str, training: bool = False) -> float:
    """Mean error of q_hat, in units of mean |q|: 1 is what the approximation "0" would have."""
    return mean_error(*approximation(architecture, state, training))


def mean_error(exact: np.ndarray, approximate: np.ndarray) -> float:
    """Mean |approximate - exact| / mean |exact|."""
    return float(np.abs(approximate - exact).mean() / np.abs(exact).mean())


def gradient(value: torch.Tensor, net: nn.Module) -> torch.Tensor:
    """Gradient in all parameters, one vector."""
    parts = torch.autograd.grad(value, list(net.parameters()), retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def penalty_gradients(net: nn.Module, x: torch.Tensor, y: torch.Tensor, x_mean: torch.Tensor) -> torch.Tensor:
    """Gradients of each variant's penalty P, in the order of VARIANTS, (7, parameters)."""
    penalties = [MixupE(1.0, variant=variant, x_mean=x_mean).penalty(net, x, y) for variant in VARIANTS]
    return torch.stack([gradient(penalty, net) for penalty in penalties])


def cosines(vectors: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Cosines of the angles between rows, 0 where a row vanishes."""
    return functional.normalize(vectors, dim=-1) @ functional.normalize(others, dim=-1).mT


@cache
def variant_cosines(architecture: str, state: str) -> np.ndarray:
    """Cosines between the penalties' gradients on all training images, (7, 7)."""
    x, y = images(architecture)
    gradients = penalty_gradients(network(architecture, state), x, y, x.mean(0))
    return cosines(gradients, gradients).numpy()


@cache
def chain(architecture: str, state: str) -> np.ndarray:
    """From the implicit regularizer to the deck's: L_mix - L_std, E[a] mean q, E[a] mean |q_hat|."""
    x, y = images(architecture)
    net = _network(architecture, state)
    with torch.no_grad():
        mixup, _ = mixup_loss_mc(net, x, y, LAW, samples=200_000, generator=np.random.default_rng(0))
        implicit = mixup - functional.cross_entropy(net(x), y)
    exact, approximate = approximation(architecture, state)
    return np.array([implicit.item(), MEAN_A * exact.mean(), MEAN_A * np.abs(approximate).mean()])


@cache
def training_angles(seed: int, steps: int = 1000, records: int = 24) -> dict[str, np.ndarray]:
    """A ReLU network trained on centred digits with MixupE "deck": angles between the variants' penalty gradients.

    Adam at 0.005, batches of 100, alpha = 1, eta = 0.001. Gradients are those on all training images, recorded at
    log-spaced steps: cosines with the deck's penalty (steps, 7), and with the clean cross-entropy (steps, 7).
    """
    x, y = images("centred-relu")
    rng = np.random.default_rng(seed)
    net = build(RECIPES["centred-relu-mixup-1"], rng)
    criterion = MixupE(1.0, eta=1e-3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    at = np.unique(np.geomspace(1, steps + 1, records).round().astype(int) - 1)
    deck, clean = [], []
    batches = (batch for _ in iter(int, 1) for batch in torch.from_numpy(rng.permutation(len(x))).split(100))
    for step, batch in zip(range(steps + 1), batches, strict=False):
        if step in at:
            gradients = penalty_gradients(net, x, y, x.mean(0))
            erm = gradient(functional.cross_entropy(net(x), y), net)
            deck.append(cosines(gradients, gradients[:1])[:, 0].numpy())
            clean.append(cosines(gradients, erm[None])[:, 0].numpy())
        optimizer.zero_grad()
        criterion(net, x[batch], y[batch], generator=rng).backward()
        optimizer.step()
    return {"step": at, "deck": np.array(deck), "clean": np.array(clean)}
