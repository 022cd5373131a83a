"""What records of runs on images hold besides errors, method beside method: losses, robustness, calibration, logits.

The last epoch's ``objective`` is the mean over its steps of what was minimized: for mixup the mixed loss, for MixupE
eta_hat (L_mix + eta R), which by the choice of eta_hat has the value of L_mix on that batch. The other losses are of
clean images, neither mixed nor augmented, after the epoch: those trained on (or a sample, as the record's ``split``
says) and those of the test part; the generalization gap is between these two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mixupe_theory import _validation as check
from mixupe_theory.tables_data import Table
from mixupe_theory.training.calibration import Calibration
from mixupe_theory.training.outcomes import measured
from mixupe_theory.training.replication import BASELINES, Replication, Row, compare


class Measure(NamedTuple):
    """A number of a run.

    Attributes:
        unit: What it is, its unit in parentheses.
        read: Reads it off the run's record.
    """

    unit: str
    read: Callable[[dict], float]


def _loss(unit: str, name: str) -> Measure:
    return Measure(unit, lambda entry: entry["epochs"][-1][name])


def _logits(unit: str, name: str) -> Measure:
    return Measure(unit, lambda entry: entry["examination"]["logits"][name])


def _gap(entry: dict) -> float:
    last = entry["epochs"][-1]
    return last["test_loss"] - last["train_loss"]


def _deformed(entry: dict) -> float:
    return 100 * (1 - float(np.mean(list(entry["examination"]["deformations"].values()))))


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "objective": _loss("training objective (nats)", "objective"),
        "train_loss": _loss("training loss on clean images (nats)", "train_loss"),
        "test_loss": _loss("test loss (nats)", "test_loss"),
        "gap": Measure("generalization gap (nats)", _gap),
        "deformed": Measure("mean accuracy over deformations (%)", _deformed),
        "ece": Measure("expected calibration error (%)", lambda entry: 100 * Calibration.recorded(entry).ece),
        "overconfidence": Measure("overconfidence (%)", lambda entry: 100 * Calibration.recorded(entry).overconfidence),
        "entropy": _logits("mean entropy of predictions (nats)", "entropy"),
        "q_hat": _logits("mean of q_hat (1)", "q_hat"),
        "abs_q_hat": _logits("mean of |q_hat| (1)", "abs_q_hat"),
        "margin": _logits("mean margin of logits (1)", "margin"),
    }
)
"""By name; from "deformed" on they are of the test part."""


def measure(
    records: Iterable[dict], rows: Mapping[str, Row], name: str, baselines: Sequence[str] = BASELINES
) -> Replication:
    """A measure for each method and row, with paired tests of MixupE, Holm's correction over all of them.

    Args:
        records: Of runs on images.
        rows: What was run for each row; one without records has no numbers.
        name: A key of ``MEASURES``.
        baselines: Titles of the methods that MixupE is compared with.

    Raises:
        ValueError: If there is no such measure, or as :func:`mixupe_theory.training.outcomes.measured` does.
    """
    unit, read = MEASURES[check.choice("name", name, MEASURES)]
    found = measured(records, read)
    table = Table(
        id=name,
        title="Images",
        slide="",
        runs_statement="",
        runs=None,
        unit=unit,
        spread_unit=None,
        methods=(),
        rows={},
    )
    samples = {title: found.get((row.data, row.model), {}) for title, row in rows.items()}
    return compare(table, rows, samples, "last", baselines)
