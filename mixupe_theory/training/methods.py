"""The training methods: what each mixes, what it does with the clean batch, and its loss on one batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mixupe_theory import _validation as check
from mixupe_theory.losses import pointwise_loss
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.objective import VARIANTS, MixupE, eta_hat, mix
from mixupe_theory.training.batch_norm import separate_halves
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.ranks import Ranks


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        title: As in a table.
        mixes: What is mixed: "" for nothing, "input", or "hidden", a layer drawn at each step.
        clean: What the clean batch is for: "" for nothing, "penalty" (MixupE's P), or "forward", a forward pass without
            gradient whose one effect is on BatchNorm's running statistics: the control for MixupE's second forward.
    """

    title: str
    mixes: str = ""
    clean: str = ""


METHODS = {
    "erm": Method("ERM"),
    "mixup": Method("mixup", mixes="input"),
    "manifold_mixup": Method("manifold mixup", mixes="hidden"),
    "mixupe": Method("MixupE", mixes="input", clean="penalty"),
    "mixup_clean_forward": Method("mixup + clean forward", mixes="input", clean="forward"),
}

LOSSES = ("cross_entropy", "bce")


def binary_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy on softmax, the mean over batch x classes: the official loss of ERM and manifold mixup.

    -1/(n c) sum_ij [t_ij log p_ij + (1 - t_ij) log(1 - p_ij)], p = softmax(logits), each logarithm at least -100.

    Args:
        logits: (n, c).
        targets: In [0, 1], (n, c).

    Example:
        >>> binary_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item()  # log 2
        0.6931...
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.binary_cross_entropy(logits.softmax(-1), targets.to(logits.dtype))


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean of h(f(x)) - y^T f(x), in float32 at least; (n, c) both."""
    logits = check.batch_logits(logits, "softmax")
    return pointwise_loss(logits, targets.to(logits.dtype), "softmax").mean()


@dataclass(frozen=True)
class Mixture:
    """What is drawn for one batch.

    Attributes:
        lam: Lambda, () or (n,), one for each sample.
        partner: Each sample's partner, a permutation of 0..n-1.
        place: Where they are mixed (:class:`mixupe_theory.training.models.staged.Staged`).
    """

    lam: torch.Tensor
    partner: torch.Tensor
    place: int

    def rows(self, rows: slice) -> Mixture:
        """What concerns some samples; their partners are still counted in the whole batch."""
        return Mixture(self.lam[rows] if self.lam.ndim else self.lam, self.partner[rows], self.place)


def draw_mixture(
    method: Method, law: BetaLaw, n: int, model: Staged, generator: np.random.Generator, *, per_sample: bool = False
) -> Mixture:
    """Draw lambda, the partners and the place for a batch of n.

    Lambda and the partners of a given generator are the same for every method.
    """
    lam = torch.from_numpy(law.sample(n, generator)) if per_sample else torch.tensor(law.sample(1, generator)[0])
    partner = torch.from_numpy(generator.permutation(n))
    hidden = method.mixes == "hidden"
    return Mixture(lam, partner, int(generator.choice(model.manifold_places)) if hidden else model.input_place)


class Objective(nn.Module):
    """A method's loss on one batch, as a module around the network, so that DistributedDataParallel can wrap it whole.

    Args:
        model: The network.
        method: Of ``METHODS``.
        loss: "cross_entropy" or "bce".
        criterion: MixupE's, where the method has its penalty.
        ranks: The processes that share the batch.
        joint: Whether a penalty made of q_hat is computed by one pass over the mixed and the clean batch together: half
            as many operations, twice as large. The network's BatchNorms are then changed to treat the two halves apart
            (:mod:`mixupe_theory.training.batch_norm`), so that values, gradients and running statistics stay the same.
    """

    def __init__(
        self,
        model: Staged,
        method: Method,
        loss: str = "cross_entropy",
        criterion: MixupE | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        *,
        joint: bool = False,
    ):
        super().__init__()
        self.model, self.method, self.criterion, self.ranks = model, method, criterion, ranks
        self.joint = joint and method.clean == "penalty" and VARIANTS[criterion.variant].of == "q_hat"
        if self.joint:
            for stage in model.stages[model.input_place :]:
                separate_halves(stage)
        self.loss = {"cross_entropy": cross_entropy, "bce": binary_cross_entropy}[loss]

    def forward(self, x, y: torch.Tensor, mixture: Mixture | None = None) -> torch.Tensor:
        """The loss of this process's rows; averaged over processes, values and gradients are those of the whole batch.

        Args:
            x: This process's inputs.
            y: Their classes.
            mixture: What was drawn, of this process's rows; None where the method mixes nothing.
        """
        x = self.model.embed(x)  # graphs only: both passes below then share their encoder
        if mixture is None:
            logits = self.model.after(x)
            return self.loss(logits, _one_hot(y, logits))

        def mixed(t: torch.Tensor) -> torch.Tensor:
            return mix(t, self.ranks.gather(t)[mixture.partner], mixture.lam)

        # the mixed batch comes first, as in the official code: BatchNorm's running statistics remember the order
        if self.joint:
            logits, clean = self.model.after(torch.cat((mixed(x), x))).chunk(2)
        else:
            logits = self.model.after(x, mixture.place, mixed)
        mixup = self.loss(logits, mixed(_one_hot(y, logits)))
        if self.method.clean == "forward":
            with torch.no_grad():
                self.model.after(x)
        if self.method.clean != "penalty":
            return mixup
        penalty = self.criterion.penalty((lambda _: clean) if self.joint else self.model.after, x, y)
        eta = self.criterion.eta
        return eta_hat(self.ranks.mean(mixup), self.ranks.mean(penalty), eta) * (mixup + eta * penalty)


def _one_hot(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(y, logits.shape[1]).to(torch.promote_types(logits.dtype, torch.float32))
