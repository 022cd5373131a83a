"""Loss and error of stacked networks on clean data."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from mixupe_theory.losses import pointwise_loss
from mixupe_theory.training.data import Part
from mixupe_theory.training.evaluation import BATCH
from mixupe_theory.training.stacks.networks import StackedNetworks


@torch.no_grad()
def evaluate(
    networks: StackedNetworks, parts: list[Part], owner: torch.Tensor, classes: int
) -> tuple[list[float], list[float]]:
    """Mean cross-entropy and share of errors of each network on a part, in evaluation mode.

    Args:
        networks: m networks; they are left in training mode.
        parts: Some parts, which may differ in size.
        owner: Which of them is each network's, (m,).
        classes: Their number.

    Returns:
        ``(losses, errors)``, the errors in [0, 1].
    """
    networks.train(False)
    parameters = networks.parameters()
    sums = torch.zeros(2, len(owner), dtype=torch.float64, device=owner.device)
    pieces = -(-max(map(len, parts)) // BATCH)  # of every part as many, so that none is left without examples
    places = [torch.arange(len(part), device=owner.device).tensor_split(pieces) for part in parts]
    for indices in zip(*places, strict=True):
        batches = [part[chosen] for part, chosen in zip(parts, indices, strict=True)]
        logits = networks.after(parameters, networks.embed(parameters, batches, owner)).double()
        y = pad_sequence([batch.targets for batch in batches], batch_first=True, padding_value=-1)[owner]
        real = y >= 0
        targets = functional.one_hot(y.clamp(min=0), classes).double()
        sums[0] += torch.where(real, pointwise_loss(logits, targets), 0.0).sum(1)
        sums[1] += (real & (logits.argmax(-1) != y)).sum(1)
    networks.train()
    sizes = torch.tensor([len(part) for part in parts], device=owner.device)[owner]
    losses, errors = (sums / sizes).tolist()
    return losses, errors
