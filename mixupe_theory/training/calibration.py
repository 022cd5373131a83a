"""How far a classifier's confidence is from its accuracy, from counts in bins of confidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from mixupe_theory import _validation as check

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Predictions by confidence p = max_k softmax(f(x))_k; bin b of B holds b/B < p <= (b+1)/B.

    Attributes:
        count: Predictions in each bin, (B,).
        confidence: Sums of their confidences, (B,).
        correct: How many of them are right, (B,).
    """

    count: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray

    @classmethod
    def of(cls, logits: torch.Tensor, targets: torch.Tensor, bins: int = BINS) -> Calibration:
        """Of logits (n, c) and classes (n,).

        Raises:
            TypeError: If bins is no integer.
            ValueError: If bins is not positive.

        Example:
            >>> logits = torch.tensor([[0.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
            >>> found = Calibration.of(logits, torch.tensor([0, 1]), bins=2)
            >>> found.count.tolist(), found.correct.tolist(), round(found.ece, 3)
            ([1, 1], [1, 1], 0.274)
        """
        bins = check.integer("bins", bins, least=1)
        confidence, predicted = logits.double().softmax(-1).max(-1)
        place = (confidence * bins).ceil().long().clamp(1, bins) - 1
        sums = (torch.bincount(place, weight, bins) for weight in (None, confidence, (predicted == targets).double()))
        count, total, correct = (found.cpu().numpy() for found in sums)
        return cls(count.astype(np.int64), total, correct.astype(np.int64))

    @classmethod
    def recorded(cls, entry: dict) -> Calibration:
        """Of the test part, from the record of a run on images."""
        found = entry["examination"]["calibration"]
        return cls(*(np.array(found[name]) for name in cls.__dataclass_fields__))

    @classmethod
    def none(cls, bins: int = BINS) -> Calibration:
        """Of no predictions."""
        return cls(np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins, np.int64))

    @classmethod
    def sum(cls, parts: Iterable[Calibration]) -> Calibration:
        """Of several sets of predictions together."""
        parts = list(parts)
        return cls(*(np.sum([getattr(part, name) for part in parts], axis=0) for name in cls.__dataclass_fields__))

    @property
    def ece(self) -> float:
        """Expected calibration error, sum over bins of (count / n) |accuracy - mean confidence| (Guo et al. 2017)."""
        return float(np.abs(self.correct - self.confidence).sum() / self.count.sum())

    @property
    def overconfidence(self) -> float:
        """Mean confidence - accuracy over all predictions: positive where the network is too sure."""
        return float((self.confidence.sum() - self.correct.sum()) / self.count.sum())
