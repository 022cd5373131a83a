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
from mixupe_theory.objective import MixupE, eta_hat, mix
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
        lam: Lambda, () or one for each of this process's rows.
        partner: For each of this process's rows, its partner's place in the whole batch.
        place: Where it is mixed (:class:`mixupe_theory.training.models.staged.Staged`).
    """

    lam: torch.Tensor
    partner: torch.Tensor
    place: int


def draw_mixture(
    method: Method,
    law: BetaLaw,
    n: int,
    model: Staged,
    generator: np.random.Generator,
    *,
    per_sample: bool = False,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    device: torch.device | str = "cpu",
) -> Mixture:
    """Draw lambda, the partners and the place for a batch of n; every process draws the same and keeps its rows.

    Lambda and the partners of a given generator are the same for every method.
    """
    lam = torch.from_numpy(law.sample(n, generator)) if per_sample else torch.tensor(law.sample(1, generator)[0])
    partner = torch.from_numpy(generator.permutation(n))
    hidden = method.mixes == "hidden"
    place = int(generator.choice(model.manifold_places)) if hidden else model.input_place
    rows = ranks.rows(n)
    lam = lam[rows] if per_sample else lam
    return Mixture(lam.to(device), partner[rows].to(device), place)


class Objective(nn.Module):
    """A method's loss on one batch, as a module around the network, so that DistributedDataParallel can wrap it whole.

    Args:
        model: The network.
        method: Of ``METHODS``.
        loss: "cross_entropy" or "bce".
        criterion: MixupE's, where the method has its penalty.
        ranks: The processes that share the batch.
    """

    def __init__(
        self,
        model: Staged,
        method: Method,
        loss: str = "cross_entropy",
        criterion: MixupE | None = None,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ):
        super().__init__()
        self.model, self.method, self.criterion, self.ranks = model, method, criterion, ranks
        self.loss = {"cross_entropy": cross_entropy, "bce": binary_cross_entropy}[loss]

    def forward(self, x, y: torch.Tensor, mixture: Mixture | None = None) -> torch.Tensor:
        """The loss of this process's rows; averaged over processes, values and gradients are those of the whole batch.

        Args:
            x: This process's inputs.
            y: Their classes.
            mixture: What was drawn; None where the method mixes nothing.
        """
        x = self.model.embed(x)  # graphs only: both passes below then share their encoder
        if mixture is None:
            logits = self.model.after(x)
            return self.loss(logits, _one_hot(y, logits))

        def mixed(t: torch.Tensor) -> torch.Tensor:
            return mix(t, self.ranks.gather(t)[mixture.partner], mixture.lam)

        # the mixed pass comes first, as in the official code: BatchNorm's running statistics remember the order
        logits = self.model.after(x, mixture.place, mixed)
        mixup = self.loss(logits, mixed(_one_hot(y, logits)))
        if self.method.clean == "forward":
            with torch.no_grad():
                self.model.after(x)
        if self.method.clean != "penalty":
            return mixup
        penalty = self.criterion.penalty(self.model.after, x, y)
        eta = self.criterion.eta
        return eta_hat(self.ranks.mean(mixup), self.ranks.mean(penalty), eta) * (mixup + eta * penalty)


def _one_hot(y: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(y, logits.shape[1]).to(torch.promote_types(logits.dtype, torch.float32))
