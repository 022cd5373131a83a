"""Two processes on one batch do what one does: weights, losses, and eta_hat of the whole batch."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from training_cases import SHORT, features

from mixupe_theory import MixupE
from mixupe_theory.training import checkpoints, records
from mixupe_theory.training.execution import execute
from mixupe_theory.training.methods import METHODS, Mixture, Objective
from mixupe_theory.training.models import build
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.trainer import Trainer

PROGRAM = Path(__file__).with_name("training_cases.py")


def test_two_processes_are_one(tmp_path):
    """torchrun with gloo, no BatchNorm, float64: equal to rounding after 18 steps of each method."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(PROGRAM), "train", "--data", "toy_images", "--model", "mlp", "--precision", "float64"),
        *("--method", "erm", "mixup", "manifold_mixup", "mixupe", "--variant", "deck", "exact", "--eta", "0.5"),
        *("--epochs", "3", "--batch-size", "20", "--learning-rate", "0.01", "--out", str(tmp_path / "two")),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
    entries = records.read(tmp_path / "two" / "records.jsonl")
    assert [entry["processes"] for entry in entries] == [2] * 5
    for entry in entries:
        run = Run.from_dict(entry["run"])
        alone = execute(run, tmp_path / "one")
        assert alone["id"] == entry["id"]
        for one, two in zip(alone["epochs"], entry["epochs"], strict=True):
            for name in ("objective", "train_loss", "test_loss", "test_error"):
                assert two[name] == pytest.approx(one[name], rel=1e-10), (str(run), name)
        one, two = (checkpoints.load_newest(tmp_path / place / run.id)["model"] for place in ("one", "two"))
        for name in one:
            torch.testing.assert_close(two[name], one[name], rtol=1e-9, atol=1e-11, msg=f"{run}, {name}")


@dataclass(frozen=True)
class Simulated(Ranks):
    """One of two processes, told what the other one has."""

    everything: dict = None
    local: bool = False

    def gather(self, t):
        return self.everything[t.shape[1]]

    def mean(self, t):
        return t.detach() if self.local else self.everything[t.item()]


@pytest.mark.parametrize("local", [False, True], ids=["reduced", "planted error: eta_hat of its own rows"])
def test_eta_hat_is_that_of_the_whole_batch(local):
    """The mean over processes of gradients is the whole batch's only if L_mix and R are reduced before eta_hat."""
    torch.manual_seed(0)
    model = build("mlp", (4,), 3).double()
    x, y = features().train.inputs[:8].double(), features().train.targets[:8]
    criterion = MixupE(1.0, eta=50.0)
    mixture = Mixture(torch.tensor(0.3, dtype=torch.float64), torch.tensor([3, 2, 7, 0, 6, 1, 4, 5]), 0)
    whole = _gradient(model, Objective(model, METHODS["mixupe"], criterion=criterion)(x, y, mixture))

    targets = torch.nn.functional.one_hot(y, 3).double()
    everything, terms = {4: x, 3: targets}, []
    for rank in range(2):  # first what each has, then its loss
        rows = slice(4 * rank, 4 * rank + 4)
        partner = mixture.partner[rows]
        mixed = model(0.3 * x[rows] + 0.7 * x[partner]).log_softmax(1)
        penalty = criterion.penalty(model, x[rows], y[rows])
        terms.append((-((0.3 * targets[rows] + 0.7 * targets[partner]) * mixed).sum(1).mean(), penalty))
    parts = []
    for rank in range(2):
        rows = slice(4 * rank, 4 * rank + 4)
        ranks = Simulated(rank, 2, _Means(everything, terms), local)
        objective = Objective(model, METHODS["mixupe"], criterion=criterion, ranks=ranks)
        parts.append(_gradient(model, objective(x[rows], y[rows], Mixture(mixture.lam, mixture.partner[rows], 0))))
    equal = torch.allclose((parts[0] + parts[1]) / 2, whole, rtol=1e-10, atol=1e-12)
    assert equal is not local


class _Means(dict):
    """Looks a term up by its value, to rounding, and gives the mean of both processes'."""

    def __init__(self, everything, terms):
        super().__init__(everything)
        self.terms = terms

    def __missing__(self, value):
        for kind in zip(*self.terms, strict=True):
            if any(abs(term.item() - value) < 1e-12 for term in kind):
                return torch.stack(kind).mean().detach()
        raise KeyError(value)


def _gradient(model, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def test_a_batch_that_cannot_be_shared():
    run = Run(data="toy_features", model="mlp", recipe=SHORT)
    with pytest.raises(ValueError, match="a batch of 10 cannot be shared equally by 3 processes"):
        Trainer(run, features(), torch.device("cpu"), Ranks(0, 3))


def test_rows_are_shared():
    assert [list(range(6)[Ranks(rank, 3).rows(6)]) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
