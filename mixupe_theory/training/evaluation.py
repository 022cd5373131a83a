"""Loss and error of a network on clean data."""

from __future__ import annotations

import torch

from mixupe_theory.losses import pointwise_loss
from mixupe_theory.training.data import Dataset, Part
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run

BATCH = 500


@torch.no_grad()
def evaluate(model: Staged, dataset: Dataset, part: Part, run: Run, ranks: Ranks) -> tuple[float, float]:
    """Mean cross-entropy and share of errors on a part, neither mixed nor augmented, in evaluation mode.

    In the run's precision. Each process takes its share of the batches. The model is put back in the mode it was in.

    Returns:
        ``(loss, error)``, the error in [0, 1].
    """
    training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=part.targets.device)
    for indices in torch.arange(len(part), device=part.targets.device).split(BATCH)[ranks.rank :: ranks.size]:
        batch = dataset.prepared(part[indices], run.dtype)
        with run.autocast(indices.device.type):
            logits = model(batch.inputs).double()
        targets = torch.nn.functional.one_hot(batch.targets, logits.shape[1]).double()
        sums[0] += pointwise_loss(logits, targets, "softmax").sum()
        sums[1] += (logits.argmax(1) != batch.targets).sum()
    model.train(training)
    loss, error = (ranks.sum(sums) / len(part)).tolist()
    return loss, error
