"""Calibration from bins against a loop over predictions and bins."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixupe_theory.training.calibration import Calibration


def by_loops(logits, targets, bins):
    """Guo et al.'s formula, bin by bin; and mean confidence - accuracy."""
    predictions = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        top = max(row)
        total = math.fsum(math.exp(v - top) for v in row)
        predictions.append((1 / total, row.index(top) == target))
    error = 0.0
    for b in range(bins):
        inside = [(p, right) for p, right in predictions if b / bins < p <= (b + 1) / bins]
        if inside:
            accuracy, confidence = (
                sum(values) / len(inside) for values in zip(*((r, p) for p, r in inside), strict=True)
            )
            error += len(inside) / len(predictions) * abs(accuracy - confidence)
    n = len(predictions)
    return error, sum(p for p, _ in predictions) / n - sum(right for _, right in predictions) / n


@given(st.integers(1, 40), st.integers(2, 6), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_equal_to_loops(n, classes, bins, seed):
    generator = np.random.default_rng(seed)
    logits = torch.from_numpy(generator.normal(size=(n, classes)) * generator.exponential(3))
    targets = torch.from_numpy(generator.integers(0, classes, n))
    found = Calibration.of(logits, targets, bins)
    error, over = by_loops(logits, targets, bins)
    assert found.ece == pytest.approx(error, abs=1e-12)
    assert found.overconfidence == pytest.approx(over, abs=1e-12)
    assert found.count.sum() == n
    halves = [Calibration.of(logits[part], targets[part], bins) for part in (slice(n // 2), slice(n // 2, None))]
    assert Calibration.sum(halves).ece == pytest.approx(error, abs=1e-12)


def test_a_calibrated_classifier_has_none_and_an_overconfident_one_has():
    """P(right) = p for two classes: the error is below four standard errors; logits doubled, it is not."""
    generator = np.random.default_rng(0)
    n, bins = 100_000, 15
    p = generator.uniform(0.5, 1, n)
    logits = torch.from_numpy(np.stack([np.log(p), np.log1p(-p)], -1))
    targets = torch.from_numpy((generator.random(n) > p).astype(np.int64))
    bound = 4 * math.sqrt(bins * 0.25 / n)  # Cauchy-Schwarz over bins of binomial errors
    assert Calibration.of(logits, targets).ece < bound
    doubled = Calibration.of(2 * logits, targets)
    assert doubled.ece > bound
    assert doubled.overconfidence > 0.05


def test_bad_bins():
    with pytest.raises(ValueError, match="bins must be"):
        Calibration.of(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), 0)
    with pytest.raises(TypeError, match="bins must be"):
        Calibration.of(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), 1.5)
