"""Which runs a limited time has room for: whole ones only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from mixupe_theory import _validation as check
from mixupe_theory.training.runs import Run


class Budget:
    """A time in which runs may be started, each only if it should end within it.

    A run is expected to take ``cost(run)`` seconds times the largest ratio of time to cost of those that have ended;
    1 before any has.

    Args:
        minutes: The time, from now.
        cost: About how many seconds a run takes; what matters is how they compare.
        clock: In seconds.

    Attributes:
        left: Runs for which there was no time.

    Raises:
        TypeError: If minutes is no number.
        ValueError: If minutes is not positive.

    Example:
        >>> now = [0.0]
        >>> short, long = Run(data="iris", model="mlp"), Run(data="letter", model="mlp")
        >>> budget = Budget(1, lambda run: 50.0 if run is long else 10.0, clock=lambda: now[0])
        >>> for run in budget.fitting([short, long, short]):
        ...     now[0] += 20  # twice what was expected
        ...     budget.ended(run)
        >>> now[0], budget.left == [long]
        (40.0, True)
    """

    def __init__(self, minutes: float, cost: Callable[[Run], float], clock: Callable[[], float] = time.monotonic):
        self._cost, self._clock = cost, clock
        self._deadline = clock() + 60 * check.positive("minutes", minutes)
        self._begun: dict[str, float] = {}
        self._slowness: float | None = None
        self.left: list[Run] = []

    def fitting(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Those runs that should end in time, judged as each is asked for; the others go to ``left``."""
        for run in runs:
            expected = self._cost(run) * (self._slowness or 1.0)
            if self._clock() + expected <= self._deadline:
                self._begun[run.id] = self._clock()
                yield run
            else:
                self.left.append(run)

    def ended(self, run: Run) -> None:
        """A run that was begun has ended."""
        seconds = self._clock() - self._begun[run.id]
        self._slowness = max(self._slowness or 0.0, seconds / self._cost(run))
