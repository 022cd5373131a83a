"""A stack of runs: its state, its steps, its epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mixupe_theory.first_order import q_hat
from mixupe_theory.losses import pointwise_loss
from mixupe_theory.objective import VARIANTS, eta_hat, mix
from mixupe_theory.training.data import Dataset, Part
from mixupe_theory.training.methods import draw_mixture
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.order import Order
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.stacks.evaluation import evaluate
from mixupe_theory.training.stacks.networks import StackedNetworks
from mixupe_theory.training.streams import own_torch, seed_torch, stream
from mixupe_theory.training.trainer import initial_network, trained_on, training_sample

MEASURED = ("objective", "train_loss", "train_error", "test_loss", "test_error")
DIGITS = 7  # of what is recorded: more would not be the same as in runs trained alone


@dataclass(frozen=True)
class Split:
    """What some runs of a stack have in common: the data, the sample of it for the clean loss, the order."""

    dataset: Dataset
    sample: Part
    order: Order

    @property
    def test(self) -> Part:
        """What is tested on."""
        return self.dataset.test


@dataclass(frozen=True)
class Member:
    """One run of a stack, with what its record tells."""

    run: Run
    dataset: Dataset
    training_sample: Part
    model: Staged
    history: list[dict]
    ranks: Ranks = Ranks()  # noqa: RUF009 - frozen
    fast: bool = False


def stack_key(run: Run) -> tuple:
    """Runs with equal keys can be in one stack.

    Raises:
        ValueError: If the run can be in none; the message says why.
    """
    if run.family not in ("tabular", "graphs") or run.precision == "bfloat16":
        raise ValueError(f"together must be False for {run.family} and in bfloat16, got {run}")
    if run.how.mixes == "hidden" or (run.how.clean == "penalty" and VARIANTS[run.variant].of != "q_hat"):
        raise ValueError(
            f"together must be False for {run.title}, which takes other operations at each step, got {run}"
        )
    if run.loss != "cross_entropy":
        raise ValueError(f"together must be False for loss {run.loss!r}, got {run}")
    recipe = run.recipe
    model = (run.data, run.model, *sorted((name, str(value)) for name, value in run.model_options.items()))
    settings = (recipe.epochs, recipe.batch_size, recipe.steps_per_epoch, run.subset, run.precision)
    # without fixed steps an epoch's number of batches depends on the size of the training part
    return (*model, *settings, None if recipe.steps_per_epoch else run.held_out)


class StackTrainer:
    """Runs in progress, side by side in one process; the interface of :class:`mixupe_theory.training.trainer.Trainer`.

    The networks have no BatchNorm behind the place where examples are mixed (an MLP has none, a graph network's are all
    before it), so the control's clean forward pass has no effect, and is not made.

    Args:
        runs: What to do; their :func:`stack_key` is the same.
        load: ``load(run)`` -> its data set, before ``held_out`` and ``subset``; runs of one seed and fold share it.
        device: Where.

    Attributes:
        runs: Those with a penalty come last.
        networks: The networks of ``runs``, whose weights are up to date where ``finished``.
        histories: Of each run, one entry for each finished epoch.
        diverged: Of a run whose loss was NaN or infinite, the epoch; the others go on.
        epoch: Epochs finished.
        step: Steps finished in the present epoch.

    Raises:
        ValueError: If the runs do not fit together.
    """

    fast = False

    def __init__(self, runs: Sequence[Run], load: Callable[[Run], Dataset], device: torch.device):
        if len({stack_key(run) for run in runs}) != 1:
            raise ValueError(f"runs must have the same data, model, epochs and batches, got {[str(r) for r in runs]}")
        self.device = device
        self.runs = sorted(runs, key=lambda run: run.how.clean == "penalty")
        self.plain = sum(run.how.clean != "penalty" for run in self.runs)  # where those with a penalty begin
        self._splits(load)
        networks = [
            initial_network(run, split.dataset, device).to(device, run.dtype)
            for run, split in zip(self.runs, self._split_of(), strict=True)
        ]
        self._check(networks[0])
        self.networks = StackedNetworks(networks, [run.recipe for run in self.runs])
        self.criteria = [run.criterion(None) for run in self.runs[self.plain :]]
        self.epoch = self.step = 0
        self.histories: list[list[dict]] = [[] for _ in self.runs]
        self.diverged: dict[int, int] = {}
        self._sums = torch.zeros(len(self.runs), dtype=torch.float64, device=device)
        self._seconds = 0.0

    @property
    def run(self) -> str:
        """The runs in words, as messages name them."""
        return f"{self.runs[0].data}, {self.runs[0].model}, {len(self.runs)} runs"

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters and inputs."""
        return self.runs[0].dtype

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self.splits[0].order.steps_per_epoch

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.steps_per_epoch * self.runs[0].recipe.epochs

    @property
    def test_error(self) -> float:
        """After the last finished epoch, the mean over runs."""
        return sum(history[-1]["test_error"] for history in self.histories) / len(self.runs)

    @property
    def position(self) -> int:
        """Steps done since the beginning."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch == self.runs[0].recipe.epochs

    def advance(self, after_step: Callable[[StackTrainer], None] = lambda trainer: None) -> None:
        """Go on to the end; ``after_step`` is called after each step, and after the evaluation that ends an epoch."""
        with own_torch(self.device):
            while not self.finished:
                started = time.perf_counter()
                self.one_step()
                if self.step == self.steps_per_epoch:
                    self._end_epoch(started)
                else:
                    self._seconds += time.perf_counter() - started
                after_step(self)

    def members(self) -> list[Member]:
        """The runs with their networks and histories."""
        return [
            Member(run, split.dataset, split.sample, network, history)
            for run, split, network, history in zip(
                self.runs, self._split_of(), self.networks.unstack(), self.histories, strict=True
            )
        ]

    def one_step(self) -> torch.Tensor:
        """Make the next step of every run; return their losses, (m,)."""
        seed_torch(self.runs[0].seed, "dropout", self.epoch, self.step, 0)
        lam, partner = self._mixtures()
        batches = [
            split.dataset.train[split.order.indices(self.epoch, self.step).to(self.device)] for split in self.splits
        ]
        parameters = self.networks.parameters()
        x = self.networks.embed(parameters, batches, self.owner)
        y = torch.stack([batch.targets for batch in batches])[self.owner]
        targets = nn.functional.one_hot(y, self.classes).to(torch.promote_types(self.dtype, torch.float32))
        rows = torch.arange(len(self.runs), device=self.device)[:, None]
        mixed = [mix(t, t[rows, partner], lam) for t in (x, targets)]
        losses = pointwise_loss(self.networks.after(parameters, mixed[0]), mixed[1]).mean(1)
        if self.criteria:
            losses = torch.cat([losses[: self.plain], self._penalized(parameters, losses, x, targets)])
        self.networks.update(losses, self.epoch)
        self._sums += losses.detach()
        self.step += 1
        return losses.detach()

    def state(self) -> dict:
        """All that the rest of the runs depends on."""
        return {
            "runs": [run.as_dict() for run in self.runs],
            "networks": self.networks.state(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self._sums,
            "seconds": self._seconds,
            "histories": self.histories,
            "diverged": self.diverged,
        }

    def load(self, state: dict) -> None:
        """Take up where ``state`` was given out.

        Raises:
            ValueError: If it belongs to other runs.
        """
        if [Run.from_dict(settings).id for settings in state["runs"]] != [run.id for run in self.runs]:
            raise ValueError(f"the checkpoint belongs to other runs than {self.run}")
        self.networks.load(state["networks"])
        self.epoch, self.step, self.histories = state["epoch"], state["step"], state["histories"]
        self._sums, self._seconds = state["sums"].to(self.device), state["seconds"]
        self.diverged = state["diverged"]

    def _splits(self, load: Callable[[Run], Dataset]) -> None:
        """Each split once, and which one each run has."""
        keys = [(run.seed, run.fold, run.held_out) for run in self.runs]
        distinct = list(dict.fromkeys(keys))
        self.owner = torch.tensor([distinct.index(key) for key in keys], device=self.device)
        self.splits = []
        for key in distinct:
            run = self.runs[keys.index(key)]
            dataset = trained_on(run, load(run)).to(self.device)
            order = Order(run.recipe, len(dataset.train), run.seed)
            self.splits.append(Split(dataset, training_sample(dataset), order))
        if len({(split.order.n if split.order.recipe.steps_per_epoch is None else 0) for split in self.splits}) > 1:
            raise ValueError("runs must have as many training examples each, where an epoch is a pass through them")
        self.classes = len(self.splits[0].dataset.classes)

    def _split_of(self) -> list[Split]:
        """Of each run."""
        return [self.splits[k] for k in self.owner.tolist()]

    def _check(self, network: Staged) -> None:
        behind = [m for stage in network.stages[network.input_place :] for m in stage.modules()]
        if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in behind):
            raise ValueError(f"together must be False for {self.runs[0].model}, which has BatchNorm behind its input")
        if any(isinstance(m, nn.modules.dropout._DropoutNd) for m in behind) and len({r.seed for r in self.runs}) > 1:
            raise ValueError(
                f"runs of {self.runs[0].model}, which has dropout, must have one seed to be trained together"
            )

    def _mixtures(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lambda (m, n) and the partners (m, n) of every run; where nothing is mixed lambda is 1."""
        n, network = len(self.splits[0].order.indices(self.epoch, self.step)), self.networks.networks[0]
        nothing = torch.ones(n, dtype=torch.float64), torch.arange(n)
        drawn = {}
        for run in self.runs:
            key = (run.seed, run.alpha, run.lam_per_sample)
            if run.law() is not None and key not in drawn:
                generator = stream(run.seed, "mixing", self.epoch, self.step)
                mixture = draw_mixture(run.how, run.law(), n, network, generator, per_sample=bool(run.lam_per_sample))
                drawn[key] = mixture.lam.expand(n), mixture.partner
        chosen = [drawn.get((run.seed, run.alpha, run.lam_per_sample), nothing) for run in self.runs]
        lam, partner = (torch.stack(tensors).to(self.device) for tensors in zip(*chosen, strict=True))
        return lam, partner

    def _penalized(self, parameters: dict, mixup: torch.Tensor, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """eta_hat (L_mix + eta P) of the runs with a penalty, from L_mix of all."""
        last = slice(self.plain, None)
        clean = self.networks.after({name: tensor[last] for name, tensor in parameters.items()}, x[last])
        values = {
            detached: q_hat(clean, targets[last], residual_detached=detached)
            for detached in {VARIANTS[criterion.variant].residual_detached for criterion in self.criteria}
        }
        penalty = torch.stack(
            [
                criterion.penalty_of(values[VARIANTS[criterion.variant].residual_detached][k])
                for k, criterion in enumerate(self.criteria)
            ]
        )
        eta = penalty.new_tensor([criterion.eta for criterion in self.criteria])
        return eta_hat(mixup[last], penalty, eta).detach() * (mixup[last] + eta * penalty)

    def _end_epoch(self, started: float) -> None:
        objective = (self._sums / self.steps_per_epoch).tolist()
        train, test = (
            evaluate(self.networks, [getattr(split, name) for split in self.splits], self.owner, self.classes)
            for name in ("sample", "test")
        )
        self._seconds += time.perf_counter() - started
        measured = zip(objective, *train, *test, strict=True)
        for k, (run, history, values) in enumerate(zip(self.runs, self.histories, measured, strict=True)):
            if not math.isfinite(sum(values)):
                self.diverged.setdefault(k, self.epoch)
            rounded = dict(zip(MEASURED, (float(f"{value:.{DIGITS}g}") for value in values), strict=True))
            rate = run.recipe.learning_rate_at(self.epoch)
            seconds = round(self._seconds / len(self.runs), 3)
            history.append({"epoch": self.epoch, "learning_rate": rate, **rounded, "seconds": seconds})
        self._sums.zero_()
        self.epoch, self.step, self._seconds = self.epoch + 1, 0, 0.0
