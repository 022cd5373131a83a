"""What is measured on the finished network of a run on images, so that no analysis needs the network again.

A record's ``examination`` holds, on the test part, with the network in evaluation mode:

- ``deformations``: the error, a fraction, on each row of the deck's robustness table; every run of a data set sees the
  same deformed images.
- ``calibration``: ``count``, ``confidence`` and ``correct``, see
  :class:`mixupe_theory.training.calibration.Calibration`.
- ``logits``: means over examples of the ``entropy`` of the prediction, of ``q_hat`` and its absolute value, and of the
  ``margin``, the true class's logit minus the largest other.
"""

from __future__ import annotations

from dataclasses import asdict

import torch

from mixupe_theory.first_order import q_hat
from mixupe_theory.training.calibration import Calibration
from mixupe_theory.training.data import Dataset
from mixupe_theory.training.deformations import DEFORMATIONS, deform
from mixupe_theory.training.evaluation import BATCH, outputs
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.streams import stream


@torch.no_grad()
def examine(model: Staged, dataset: Dataset, run: Run, ranks: Ranks = Ranks()) -> dict:  # noqa: B008 - frozen
    """A record's ``examination``.

    Args:
        model: The network; it is put back in the mode it was in.
        dataset: Its data.
        run: For the precision.
        ranks: Each process takes its share of the batches.
    """
    training, test = model.training, dataset.test
    model.eval()
    n, device = len(test), test.targets.device
    drawn = {
        name: how.draw(n, stream(0, "deformation", place)) for place, (name, how) in enumerate(DEFORMATIONS.items())
    }
    wrong = torch.zeros(len(drawn), dtype=torch.float64, device=device)
    means = torch.zeros(4, dtype=torch.float64, device=device)
    parts = [Calibration.none()]  # a process may have no share
    for indices in torch.arange(n, device=device).split(BATCH)[ranks.rank :: ranks.size]:
        batch = dataset.prepared(test[indices], run.dtype)
        clean = outputs(model, batch.inputs, run)
        parts.append(Calibration.of(clean, batch.targets))
        means += _logits(clean, batch.targets)
        for place, matrices in enumerate(drawn.values()):
            deformed = deform(batch.inputs, matrices[indices.cpu().numpy()])
            wrong[place] += (outputs(model, deformed, run).argmax(1) != batch.targets).sum()
    model.train(training)
    wrong, means = (ranks.sum(sums) / n for sums in (wrong, means))
    counts = asdict(Calibration.sum(parts))
    counts = {name: ranks.sum(torch.from_numpy(values).to(device)).tolist() for name, values in counts.items()}
    return {
        "deformations": dict(zip(drawn, wrong.tolist(), strict=True)),
        "calibration": counts,
        "logits": dict(zip(("entropy", "q_hat", "abs_q_hat", "margin"), means.tolist(), strict=True)),
    }


def _logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sums over examples of what ``logits`` names, (4,)."""
    values, own = q_hat(logits, targets), targets[:, None]
    logarithms = logits.log_softmax(-1)
    entropy = -(logarithms.exp() * logarithms).sum(-1)
    others = logits.scatter(1, own, -torch.inf).amax(1)
    margin = logits.gather(1, own).squeeze(1) - others
    return torch.stack([each.sum() for each in (entropy, values, values.abs(), margin)])
