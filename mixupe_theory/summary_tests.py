"""Comparing methods of which only means, standard deviations and numbers of runs are known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from mixupe_theory import _validation as check


@dataclass(frozen=True)
class MeanDifference:
    """A difference of two means, in the means' unit.

    Attributes:
        difference: mean_a - mean_b.
        low: Lower end of its confidence interval.
        high: Upper end.
        df: Degrees of freedom.
        p: Two-sided p-value of "no difference".
    """

    difference: float
    low: float
    high: float
    df: float
    p: float


def welch(
    mean_a: float, std_a: float, n_a: int, mean_b: float, std_b: float, n_b: int, *, confidence: float = 0.95
) -> MeanDifference:
    """Welch's t-test from means and sample standard deviations.

    t = (mean_a - mean_b) / sqrt(std_a^2/n_a + std_b^2/n_b), Student's law with the Satterthwaite degrees of freedom.

    Args:
        mean_a: Mean of the first method's runs, any unit.
        std_a: Their sample standard deviation, same unit.
        n_a: Their number, >= 2.
        mean_b: Mean of the second method's runs.
        std_b: Their sample standard deviation.
        n_b: Their number, >= 2.
        confidence: Level of the interval.

    Raises:
        TypeError: If an argument is no number, or a number of runs no integer.
        ValueError: If a value is not allowed, or both standard deviations are 0.

    Example:
        >>> result = welch(2.94, 0.048, 5, 3.03, 0.091, 5)
        >>> f"{result.difference:.2f} [{result.low:.2f}, {result.high:.2f}], p = {result.p:.3f}"
        '-0.09 [-0.20, 0.02], p = 0.098'
    """
    confidence = check.probability("confidence", confidence)
    difference, (var_a, var_b), (n_a, n_b) = _two_samples(mean_a, std_a, n_a, mean_b, std_b, n_b)
    p = stats.ttest_ind_from_stats(mean_a, std_a, n_a, mean_b, std_b, n_b, equal_var=False).pvalue
    var_a, var_b = var_a / n_a, var_b / n_b
    df = (var_a + var_b) ** 2 / (var_a**2 / (n_a - 1) + var_b**2 / (n_b - 1))
    return _with_interval(difference, math.sqrt(var_a + var_b), df, p, confidence)


def paired(
    mean_a: float, std_a: float, mean_b: float, std_b: float, n: int, *, correlation: float, confidence: float = 0.95
) -> MeanDifference:
    """The paired t-test, had the n runs of both methods been paired (same seeds or folds) with this correlation.

    t = (mean_a - mean_b) / sqrt((std_a^2 + std_b^2 - 2 correlation std_a std_b)/n), n - 1 degrees of freedom.

    Args:
        mean_a: Mean of the first method's runs, any unit.
        std_a: Their sample standard deviation, same unit.
        mean_b: Mean of the second method's runs.
        std_b: Their sample standard deviation.
        n: Number of pairs, >= 2.
        correlation: Sample correlation of the pairs, > -1 and < 1.
        confidence: Level of the interval.

    Raises:
        TypeError: If an argument is no number, or the number of pairs no integer.
        ValueError: If a value is not allowed, or both standard deviations are 0.

    Example:
        >>> [round(paired(2.94, 0.048, 3.03, 0.091, 5, correlation=r).p, 3) for r in (0.0, 0.8)]
        [0.122, 0.028]
    """
    confidence = check.probability("confidence", confidence)
    n = check.integer("n", n, 2)
    difference, variances, _ = _two_samples(mean_a, std_a, n, mean_b, std_b, n)
    if not -1 < check.real("correlation", correlation) < 1:
        raise ValueError(f"correlation must be > -1 and < 1, got {correlation}")
    error = math.sqrt((sum(variances) - 2 * correlation * std_a * std_b) / n)
    p = 2 * stats.t.sf(abs(difference) / error, n - 1)
    return _with_interval(difference, error, n - 1, p, confidence)


def _with_interval(difference: float, error: float, df: float, p: float, confidence: float) -> MeanDifference:
    half = stats.t.isf((1 - confidence) / 2, df) * error
    return MeanDifference(difference, float(difference - half), float(difference + half), float(df), float(p))


def hedges_g(
    mean_a: float, std_a: float, n_a: int, mean_b: float, std_b: float, n_b: int, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Hedges' g, the difference in pooled standard deviations without small-sample bias, and a confidence interval.

    g = J(nu) (mean_a - mean_b) / s, s^2 = ((n_a - 1) std_a^2 + (n_b - 1) std_b^2) / nu, nu = n_a + n_b - 2,
    J(nu) = Gamma(nu/2) / (sqrt(nu/2) Gamma((nu - 1)/2)). The interval inverts the non-central t law of g/J, exact for
    normal runs of equal variances and approximate otherwise. At n = 5 it is wide: g = -20 may be anything from -11 to
    -30, so the size of so large an effect is hardly known, only that it is large.

    Args:
        mean_a: Mean of the first method's runs, any unit.
        std_a: Their sample standard deviation, same unit.
        n_a: Their number, >= 2.
        mean_b: Mean of the second method's runs.
        std_b: Their sample standard deviation.
        n_b: Their number, >= 2.
        confidence: Level of the interval.

    Returns:
        g, lower end, upper end; no unit.

    Raises:
        TypeError: If an argument is no number, or a number of runs no integer.
        ValueError: If a value is not allowed, or both standard deviations are 0.

    Example:
        >>> [round(value, 2) for value in hedges_g(2.94, 0.048, 5, 3.03, 0.091, 5)]
        [-1.12, -2.33, 0.15]
    """
    tail = (1 - check.probability("confidence", confidence)) / 2
    difference, (var_a, var_b), (n_a, n_b) = _two_samples(mean_a, std_a, n_a, mean_b, std_b, n_b)
    nu = n_a + n_b - 2
    d = difference / math.sqrt(((n_a - 1) * var_a + (n_b - 1) * var_b) / nu)
    per_d = math.sqrt(n_a * n_b / (n_a + n_b))
    unbiased = math.exp(math.lgamma(nu / 2) - math.lgamma((nu - 1) / 2)) / math.sqrt(nu / 2)
    size = abs(d) * per_d  # the law of -t is that of t with the opposite centre

    def end(probability: float) -> float:
        """The centre at which a non-central t falls below the observed one with the given probability."""
        least, most = -stats.norm.isf(tail), 2 * size + 10  # at t = 0 the lower end is the first of them
        while stats.nct.cdf(size, nu, most) > probability:
            most *= 2
        return brentq(lambda centre: stats.nct.cdf(size, nu, centre) - probability, least - 1e-6, most)

    low, high = (unbiased * end(probability) / per_d for probability in (1 - tail, tail))
    return (unbiased * d, low, high) if d >= 0 else (unbiased * d, -high, -low)


def holm(p_values: Iterable[float]) -> np.ndarray:
    """P-values after Holm's step-down correction (1979), which bounds the chance of any false rejection.

    With p_(1) <= ... <= p_(m): adjusted p_(k) = max over j <= k of min(1, (m - j + 1) p_(j)).

    Args:
        p_values: At least one number in [0, 1].

    Returns:
        The adjusted values, in the order given, float64.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If there is none, or one lies outside [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    p = check.real_array("p_values", p_values)
    if p.ndim != 1 or p.size == 0:
        raise ValueError(f"p_values must be a non-empty vector, got shape {p.shape}")
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"p_values must lie in [0, 1], got values from {p.min():g} to {p.max():g}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def _two_samples(mean_a, std_a, n_a, mean_b, std_b, n_b) -> tuple[float, tuple[float, float], tuple[int, int]]:
    """Difference of means, variances, numbers of runs, all checked."""
    means = [_finite(name, value) for name, value in (("mean_a", mean_a), ("mean_b", mean_b))]
    stds = [check.nonnegative(name, value) for name, value in (("std_a", std_a), ("std_b", std_b))]
    if not any(stds):
        raise ValueError("std_a and std_b must not both be 0: there is nothing to compare the difference with")
    runs = tuple(check.integer(name, value, 2) for name, value in (("n_a", n_a), ("n_b", n_b)))
    return means[0] - means[1], tuple(std**2 for std in stds), runs


def _finite(name: str, value) -> float:
    if not math.isfinite(check.real(name, value)):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)
