"""Loss curves of two ways of doing the same runs, compared seed by seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mixupe_theory.summary_tests import holm

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Curves of two ways, and how far the second lies above the first.

    Attributes:
        seeds: Of the runs, ascending, (s,).
        first: Curves of the first way, (s, epochs).
        second: Of the second.
        p: Of each epoch, by Student's paired t test over seeds, adjusted by Holm's rule over all epochs, (epochs,).
    """

    seeds: np.ndarray
    first: np.ndarray
    second: np.ndarray
    p: np.ndarray

    @property
    def same(self) -> bool:
        """Whether no epoch's difference is significant at 5 %, all epochs together."""
        return bool((self.p > LEVEL).all())

    @property
    def difference(self) -> np.ndarray:
        """Mean over seeds of second - first, (epochs,)."""
        return (self.second - self.first).mean(0)

    @property
    def half_width(self) -> np.ndarray:
        """Of the 95 % interval (Student) of each epoch's difference, (epochs,)."""
        spread = stats.sem(self.second - self.first, axis=0)
        return stats.t.ppf(1 - LEVEL / 2, len(self.seeds) - 1) * spread

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of the first way's curves over seeds, to compare differences with, (epochs,)."""
        return self.first.std(0, ddof=1)


def compare(first: Iterable[dict], second: Iterable[dict], *, name: str = "objective") -> Comparison:
    """Compare records of two ways of doing the same runs, which may differ in nothing but precision and speed.

    Args:
        first: Records of one way.
        second: Records of the other, with the same seeds.
        name: Of the curve: "objective" (the training loss as it is minimized), "train_loss", "test_loss", "test_error".

    Raises:
        ValueError: If the runs differ in more, or are not paired.
    """
    ways = [{entry["run"]["seed"]: entry for entry in records} for records in (first, second)]
    if ways[0].keys() != ways[1].keys() or len(ways[0]) < 2:
        raise ValueError(
            f"first and second must have the same seeds, two at least, got {sorted(ways[0])} and {sorted(ways[1])}"
        )
    seeds = sorted(ways[0])
    common, *others = (_settings(way[seed]) for way in ways for seed in seeds)
    for settings in others:
        if settings != common:
            named = [setting for setting, value in settings.items() if value != common[setting]]
            raise ValueError(f"first and second must differ in precision alone, got runs that differ in {named}")
    curves = [np.array([[epoch[name] for epoch in way[seed]["epochs"]] for seed in seeds]) for way in ways]
    return Comparison(np.array(seeds), *curves, holm([_p(epoch) for epoch in (curves[1] - curves[0]).T]))


def _settings(record: dict) -> dict:
    return {setting: value for setting, value in record["run"].items() if setting not in ("precision", "seed")}


def _p(differences: np.ndarray) -> float:
    """Student's two-sided p for a mean of 0; 1 where all are 0."""
    return stats.ttest_1samp(differences, 0).pvalue if differences.any() else 1.0
