"""What the claim "higher training loss, lower test loss" measures: losses of MixupE "deck", from committed records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from mixupe_theory.claims.ledger import Evidence
from mixupe_theory.claims.training_measurements import BASELINES, LEVEL, read_records, scipy_agrees
from mixupe_theory.summary_tests import holm

STUDY = "images-small"
METHOD = "MixupE deck"
READINGS = ("objective", "train_loss")  # of "training loss": as it is minimized, and on clean images
_NONE: Mapping[str, float] = MappingProxyType({})


class Signs:
    """In which losses after the last epoch MixupE lies significantly above a baseline, and in which below.

    Attributes:
        of: (row, loss, baseline) -> 1 above, -1 below, 0 where the difference is not significant.
        rows: Of the table.
        measured: For evidence.
        agrees: Whether SciPy's paired t tests of the raw records have the same p-values.
        tolerance: What "significant" means.
    """

    def __init__(self, names: Sequence[str], baselines: Sequence[str], factors: Mapping[str, float]):
        """Of the committed records, with planted ``factors`` of MixupE's losses."""
        from mixupe_theory.training.measures import measure
        from mixupe_theory.training.studies import STUDIES

        entries, rows, tests, self.agrees = read_records(STUDY), STUDIES[STUDY].rows, {}, True
        for entry in entries:
            if entry["run"]["method"] == "mixupe":
                entry["epochs"][-1] |= {name: by * entry["epochs"][-1][name] for name, by in factors.items()}
        for name in names:
            found = measure(entries, rows, name, baselines)
            self.agrees &= scipy_agrees(found, entries, lambda own, name=name: _raw(own, name))
            tests |= {(c.row, name, c.baseline): c.test for c in found.comparisons if c.title == METHOD}
        adjusted = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
        self.of = {key: int(np.sign(test.difference)) * (adjusted[key] <= LEVEL) for key, test in tests.items()}
        self.rows = tuple(rows)
        self.measured = {
            f"{name} − {baseline}'s, {row}, nats": f"{test.difference:+.3f} (p {adjusted[row, name, baseline]:.2g})"
            for (row, name, baseline), test in tests.items()
        }
        self.tolerance = f"Holm's 5 % over the {len(tests)} paired t tests, which are SciPy's"


def higher_and_lower(factors: Mapping[str, float] = _NONE) -> Evidence:
    """Is there *no* row and no reading in which MixupE's training loss is above both others', its test loss below?

    Args:
        factors: Of MixupE's losses: planted differences.
    """
    signs = Signs((*READINGS, "test_loss"), BASELINES, factors)
    shown = [
        f"{row}, {reading}"
        for row in signs.rows
        for reading in READINGS
        if all(signs.of[row, reading, b] == 1 and signs.of[row, "test_loss", b] == -1 for b in BASELINES)
    ]
    measured = signs.measured | {"shown in": "; ".join(shown) or "no row"}
    return Evidence(signs.agrees and not shown, measured, signs.tolerance)


def against_erm(factors: Mapping[str, float] = _NONE) -> Evidence:
    """Are, in all rows, both training losses above ERM's, and the generalization gap below ERM's?

    Args:
        factors: Of MixupE's losses: planted differences.
    """
    wanted = dict.fromkeys(READINGS, 1) | {"gap": -1}
    signs = Signs(tuple(wanted), ("ERM",), factors)
    right = all(signs.of[row, name, "ERM"] == sign for row in signs.rows for name, sign in wanted.items())
    return Evidence(signs.agrees and right, signs.measured, signs.tolerance)


def _raw(entries: list[dict], name: str) -> list[float]:
    last = [entry["epochs"][-1] for entry in entries]
    return [e["test_loss"] - e["train_loss"] if name == "gap" else e[name] for e in last]
