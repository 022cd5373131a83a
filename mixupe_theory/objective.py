"""The MixupE objective (deck, "Proposed MixupE", "MixupE Implementation"): q, q_hat, R, eta_hat, and seven variants.

The deck's loss is eta_hat (L_mix + eta R), with

    q(x_i)     = (g(f(x_i)) - y_i)^T J_f(x_i) (E[x'] - x_i)            the first-order directional derivative,
    q_hat(x_i) = (y_i - g(f(x_i)))^T f(x_i)                            its approximation,
    R          = E_{lambda ~ D_lambda}[a] / n  sum_i |q_hat(x_i)|,      a = 1 - lambda,
    eta_hat    = |L_mix| / |L_mix + eta R|.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mixupe_theory import _validation as check
from mixupe_theory.first_order import official_q, q, q_hat
from mixupe_theory.losses import pointwise_loss
from mixupe_theory.mixing import BetaLaw

__all__ = ["VARIANTS", "MixupE", "Variant", "eta_hat", "mix", "official_q", "q", "q_hat", "regularizer"]


@dataclass(frozen=True)
class Variant:
    """How a variant's penalty P, in L_mix + eta P, is made of the values of q or q_hat.

    Attributes:
        of: "q_hat"; "q", by one forward-mode derivative; or "official q", by the official code's double backward.
        sign: P = sign E[a]/n sum_i (...).
        absolute: Whether absolute values are summed.
        below_threshold: Whether only values below the threshold are summed (and still divided by n).
        residual_detached: Whether y - g counts as a constant in the gradient.
    """

    of: str
    sign: int = 1
    absolute: bool = False
    below_threshold: bool = False
    residual_detached: bool = False


VARIANTS = {
    "deck": Variant("q_hat", absolute=True),
    "deck_detached": Variant("q_hat", absolute=True, residual_detached=True),
    "exact": Variant("q", absolute=True),
    "official_v1": Variant("official q", below_threshold=True, residual_detached=True),
    "official_v2": Variant("official q", absolute=True, residual_detached=True),
    "official_v3": Variant("q_hat", sign=-1, below_threshold=True),
    "official_v4": Variant("q_hat", sign=-1, residual_detached=True),
}


def regularizer(values: torch.Tensor, mean_a: float) -> torch.Tensor:
    """R = E_{lambda ~ D_lambda}[a] / n  sum_i |values_i| (slide "Proposed MixupE").

    Args:
        values: q_hat or q of each sample, any shape.
        mean_a: E[a], ``law.tilted().a_moment(1)``; alpha/(2 alpha + 1) for lambda ~ Beta(alpha, alpha).

    Returns:
        A 0-d tensor.

    Example:
        >>> regularizer(torch.tensor([0.5, -1.0]), BetaLaw(1.0).tilted().a_moment(1)).item()
        0.25
    """
    return mean_a * values.abs().mean()


def eta_hat(mixup: torch.Tensor, penalty: torch.Tensor, eta: float) -> torch.Tensor:
    """The scaling factor |L_mix| / |L_mix + eta P| (slide "Proposed MixupE"; P = R), and 1 where that is x/0.

    Detach it before multiplying a loss with it: differentiated through, eta_hat (L_mix + eta P) has the gradient of
    L_mix, and P no effect at all.

    Example:
        >>> eta_hat(torch.tensor(1.0), torch.tensor(3.0), 1.0).item()
        0.25
    """
    total = (mixup + eta * penalty).abs()
    nothing = total == 0
    return torch.where(nothing, 1.0, mixup.abs() / torch.where(nothing, 1.0, total))


def mix(t: torch.Tensor, partner: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    """lam t + (1 - lam) partner in t's dtype, computed in float32 at least (slide "MixupE Implementation", step 2).

    Args:
        t: Inputs, hidden layers or targets, (n, ...), floating point.
        partner: What each is mixed with, of t's shape.
        lam: One lambda for the batch, (), or one for each sample, (n,).

    Example:
        >>> mix(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([0.25, 1.0])).flatten().tolist()
        [0.75, 0.0]
    """
    lam = lam.to(torch.promote_types(t.dtype, torch.float32)).reshape(lam.shape + (1,) * (t.ndim - lam.ndim))
    return (lam * t + (1 - lam) * partner).to(t.dtype)


class MixupE(nn.Module):
    """The MixupE training loss, eta_hat (L_mix + eta P): the deck's and the official code's variants.

    Mixed inputs are lam x + (1 - lam) x[permutation], and labels likewise. The model runs on the mixed batch and then
    on the clean one, so that in training mode BatchNorm's running statistics are updated twice. P, with
    c = E_{D_lambda}[a] and q_hat, q as in this module, is

    ===============  ====================================================================================
    variant          P
    ===============  ====================================================================================
    "deck"           c/n sum abs(q_hat), differentiated through both factors of q_hat
    "deck_detached"  the same with y - g detached
    "exact"          c/n sum abs(q), q by one forward-mode derivative, differentiated through both factors
    "official_v1"    c/n sum of the q below the threshold; q by double backward, g - y detached
    "official_v2"    c/n sum abs(q), the same q
    "official_v3"    -c/n sum of the q_hat below the threshold, nothing detached (the official README's)
    "official_v4"    -c/n sum q_hat with y - g detached
    ===============  ====================================================================================

    eta_hat is detached in each, so the loss's value is L_mix (where L_mix + eta P > 0) and its gradient
    eta_hat (grad L_mix + eta grad P). Where L_mix + eta P is exactly 0, eta_hat is 1.

    Logits of half precision, as autocast gives them, are converted to float32 before any loss. Nothing waits for a
    device: shapes and types are always checked, values (of lam, permutation and y) where they lie on the CPU outside
    torch.compile; elsewhere a value that is not allowed makes the loss NaN. NaN or infinite logits give a NaN loss.

    Under torch.compile pass lam as a tensor, and permutation; the official q runs as a graph break, since torch.compile
    has no double backward. "exact" needs a forward-mode rule of each of the model's operations that can itself be
    differentiated, and v1 and v2 a second derivative; torch 2.13 lacks the first for softmax inside a model and both
    for fused attention, and activation checkpointing excludes "exact"; each then raises an error.

    Args:
        alpha: First parameter of lambda ~ Beta(alpha, beta).
        beta: Second parameter; None means alpha.
        eta: Weight of P, >= 0.
        variant: A key of ``VARIANTS``.
        threshold: Of "official_v1" and "official_v3".
        x_mean: E[x'], of one input's shape, for "exact", "official_v1" and "official_v2"; None means zeros. A buffer:
            it moves with ``criterion.to(device)``.
        head: "softmax", or "sigmoid" for logits (n, ..., 1) and targets in [0, 1].

    Raises:
        TypeError, ValueError: On bad arguments, naming them.

    Example:
        >>> criterion = MixupE(alpha=1.0, eta=0.1)
        >>> model = nn.Linear(2, 3)
        >>> x, y = torch.randn(8, 2), torch.arange(8) % 3
        >>> loss = criterion(model, x, y, generator=np.random.default_rng(0))
        >>> loss.backward()
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float | None = None,
        *,
        eta: float = 1e-3,
        variant: str = "deck",
        threshold: float = 1.0,
        x_mean: torch.Tensor | None = None,
        head: str = "softmax",
    ):
        super().__init__()
        self.law = BetaLaw(alpha, beta)
        self.mean_a = self.law.tilted().a_moment(1)
        self.eta = check.nonnegative("eta", eta)
        self.variant = check.choice("variant", variant, VARIANTS)
        self.threshold = check.real("threshold", threshold)
        if x_mean is not None and not (isinstance(x_mean, torch.Tensor) and x_mean.is_floating_point()):
            raise TypeError(f"x_mean must be a floating-point tensor of one input's shape, got {check.kind(x_mean)}")
        self.register_buffer("x_mean", x_mean)
        self.head = check.head(head)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.law.alpha:g}, {self.law.beta:g}, eta={self.eta:g}, variant={self.variant!r}"

    def forward(
        self,
        model: Callable,
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        lam: float | torch.Tensor | None = None,
        permutation: torch.Tensor | None = None,
        generator: np.random.Generator | None = None,
    ) -> torch.Tensor:
        """The loss of one batch.

        Args:
            model: A callable (n, ...) -> logits (n, ..., c).
            x: Inputs, (n, ...), floating point.
            y: Class indices (n, ...) or targets (n, ..., c) in the simplex; with head "sigmoid" values in [0, 1] of
                shape (n, ...) or (n, ..., 1).
            lam: One lambda for the batch, or a tensor (n,) with one for each sample, in [0, 1]; None draws one.
            permutation: The partner of each sample, a permutation of 0..n-1; None draws one.
            generator: Source of randomness for what is None; None means numpy's and torch's default generators.

        Returns:
            A 0-d tensor, in float32 at least.

        Raises:
            TypeError, ValueError: On bad arguments, naming them.
        """
        mixup, penalty = self.terms(model, x, y, lam=lam, permutation=permutation, generator=generator)
        return self.combine(mixup, penalty)

    def terms(self, model, x, y, *, lam=None, permutation=None, generator=None) -> tuple[torch.Tensor, torch.Tensor]:
        """L_mix and P of one batch, each 0-d and attached to the graph; arguments as in :meth:`forward`."""
        check.batch(model, x, self.head)
        if generator is not None:
            check.generator(generator)
        lam = self._lam(x, lam, generator)
        if permutation is None:
            permutation = _draw_permutation(len(x), x.device, generator)
        else:
            given = permutation  # a wrong one that nobody may look at shows as lam, and so the loss, being NaN
            lam = check.or_nan(lam, _is_permutation(given, len(x)), lambda: _no_permutation(given))
            permutation = given % len(x)  # what nobody could look at must not be out of range
        lam, permutation = (t.to(x.device, non_blocking=True) for t in (lam, permutation))
        logits = check.batch_logits(model(mix(x, x[permutation], lam)), self.head, len(x))
        targets = check.batch_targets(y, logits, self.head)
        mixup = pointwise_loss(logits, mix(targets, targets[permutation], lam), self.head).mean()
        return mixup, self.penalty(model, x, y)

    def penalty(self, model: Callable, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """P on a clean batch, 0-d; arguments as in :meth:`forward`."""
        check.batch(model, x, self.head)
        how = VARIANTS[self.variant]
        if how.of == "q_hat":
            values = q_hat(model(x), y, self.head, residual_detached=how.residual_detached)
        else:
            values = {"q": q, "official q": official_q}[how.of](model, x, y, self.x_mean, self.head)
        return self.penalty_of(values)

    def penalty_of(self, values: torch.Tensor) -> torch.Tensor:
        """P of the values of q or q_hat, whichever the variant is made of, of any shape; 0-d."""
        how = VARIANTS[self.variant]
        if how.absolute:
            return regularizer(values, self.mean_a)
        if how.below_threshold:  # written so that NaN is kept
            values = torch.where(values >= self.threshold, 0.0, values)
        return how.sign * self.mean_a * values.mean()

    def combine(self, mixup: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """eta_hat (L_mix + eta P) with eta_hat detached; average the two terms over processes first, if there are."""
        return eta_hat(mixup, penalty, self.eta).detach() * (mixup + self.eta * penalty)

    def _lam(self, x, lam, generator) -> torch.Tensor:
        """lambda as a tensor, () or (n,)."""
        if lam is None:
            beta = np.random.beta if generator is None else generator.beta
            lam = float(beta(self.law.alpha, self.law.beta))
        if isinstance(lam, numbers.Real) and not isinstance(lam, bool):
            lam = torch.full((), lam, dtype=torch.promote_types(x.dtype, torch.float32))
        if not isinstance(lam, torch.Tensor) or not lam.is_floating_point():
            raise TypeError(f"lam must be a number or a floating-point tensor, got {check.kind(lam)}")
        if lam.shape not in ((), (len(x),)):
            raise ValueError(f"lam must have shape () or ({len(x)},), got {tuple(lam.shape)}")
        return check.or_nan(lam, (lam >= 0) & (lam <= 1), lambda: f"lam must lie in [0, 1], got {lam}")


def _draw_permutation(n: int, device: torch.device, generator: np.random.Generator | None) -> torch.Tensor:
    return torch.randperm(n, device=device) if generator is None else torch.from_numpy(generator.permutation(n))


def _is_permutation(permutation, n: int) -> torch.Tensor:
    """Whether each of 0..n-1 occurs once, 0-d, after a check of type and shape."""
    if not isinstance(permutation, torch.Tensor) or permutation.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"permutation must be an int64 tensor of shape ({n},), got {check.kind(permutation)}")
    if permutation.shape != (n,):
        raise ValueError(f"permutation must have shape ({n},), got {tuple(permutation.shape)}")
    return (permutation.sort().values == torch.arange(n, device=permutation.device)).all()


def _no_permutation(permutation: torch.Tensor) -> str:
    return f"permutation must hold each of 0..{len(permutation) - 1} once, got {permutation}"
