"""Paired comparisons of methods: within one row of a table over seeds or folds, and over the rows of a table.

Student's paired t test is the primary one. An exact sign-flip test, which assumes no law but symmetry, stands beside
it; with 5 seeds its p-value cannot be below 2/2^5 = 0.0625 however large the difference, so it can only confirm.

Where every run has a split of its own of the same data (folds, splits by seed), training sets overlap, differences
are correlated, and the plain t test is anti-conservative (Dietterich 1998). Nadeau and Bengio (2003, "Inference for the
generalization error") replace the variance s^2/n of the mean by s^2 (1/n + n_test/n_train). The sign-flip test
has no such correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from mixupe_theory import _validation as check

LEVEL = 0.05
MOST_FLIPS = 16  # pairs: 65536 flips
_DIGITS = 10  # means of the same errors, summed in other orders, agree so far and are ties


@dataclass(frozen=True)
class PairedTest:
    """A method's errors against another's, pair by pair, in the errors' unit.

    Attributes:
        n: Number of pairs.
        difference: Mean of first - second.
        half_width: Of its 95 % interval (Student), with the corrected variance where training sets overlap.
        p: Two-sided p-value of "no difference", of the same test.
        p_plain: The same without the correction.
        p_flips: By the exact sign-flip test.
    """

    n: int
    difference: float
    half_width: float
    p: float
    p_plain: float
    p_flips: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.difference - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.difference + self.half_width


def paired_test(first: Sequence[float], second: Sequence[float], overlap: float = 0.0) -> PairedTest:
    """Compare two methods whose k-th runs share a seed or fold.

    t = d / sqrt(s^2 (1/n + overlap)), n - 1 degrees of freedom, with d and s mean and standard deviation of the
    differences.

    Args:
        first: Errors of one method, (n,), n >= 2.
        second: Of the other, in the same order.
        overlap: n_test / n_train where training sets overlap, else 0.

    Raises:
        TypeError: If an argument is no number.
        ValueError: If the samples have not the same length between 2 and 16, or overlap is negative.

    Example:
        >>> folds = [[4.0, 6.0, 5.0, 7.0], [5.0, 7.5, 6.5, 8.0]]
        >>> [round(paired_test(*folds, overlap).p, 4) for overlap in (0.0, 1 / 3)]
        [0.0032, 0.0109]
    """
    samples = [check.real_array(name, sample) for name, sample in (("first", first), ("second", second))]
    overlap = check.nonnegative("overlap", overlap)
    if samples[0].ndim != 1 or samples[0].shape != samples[1].shape or len(samples[0]) < 2:
        shapes = " and ".join(str(sample.shape) for sample in samples)
        raise ValueError(f"first and second must be vectors of one length, 2 at least, got shapes {shapes}")
    differences = samples[0] - samples[1]
    n = len(differences)
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))

    def student(variance_factor: float) -> tuple[float, float]:
        """Half width and p."""
        error = spread * math.sqrt(variance_factor)
        half = float(special.stdtrit(n - 1, 1 - LEVEL / 2)) * error
        if error == 0:  # the limits of t: nothing differs, or every pair by the same
            return half, float(mean == 0)
        return half, float(2 * special.stdtr(n - 1, -abs(mean) / error))

    half, p = student(1 / n + overlap)
    return PairedTest(n, mean, half, p, student(1 / n)[1], sign_flips(differences))


def sign_flips(differences: Sequence[float]) -> float:
    """Exact two-sided p-value of symmetry about 0: the share of all 2^n sign patterns with no smaller |sum|.

    With n pairs it is at least 2/2^n: 0.0625 for 5, 0.002 for 10.

    Args:
        differences: (n,), 1 <= n <= 16.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If there are none or more than 16.

    Example:
        >>> sign_flips([0.3, 0.1, 0.2, 0.5, 0.4]), sign_flips([0.0, 0.0])
        (0.0625, 1.0)
    """
    differences = check.real_array("differences", differences)
    n = len(differences)
    if differences.ndim != 1 or not 1 <= n <= MOST_FLIPS:
        raise ValueError(f"differences must be a vector of 1 to {MOST_FLIPS} numbers, got shape {differences.shape}")
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    slack = 1e-12 * np.abs(differences).sum()  # sums that are equal but for rounding
    return float((np.abs(signs @ differences) >= abs(differences.sum()) - slack).mean())


def signed_rank(first: Sequence[float], second: Sequence[float]) -> float:
    """Wilcoxon's signed-rank test of two methods over the rows of a table (Demšar 2006, section 3.1.3): exact p-value.

    Rows without a difference are left out and equal differences share their mean rank; the law of the rank sum is that
    over all sign patterns, so ties cost no approximation. 1 where no row differs.

    Args:
        first: Mean of each row, (rows,).
        second: Of the other method.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If they have not the same shape, or more than 16 rows differ.

    Example:
        >>> signed_rank([4.0, 2.0, 7.0, 3.0], [5.0, 4.0, 10.0, 7.0])
        0.125
    """
    first, second = check.real_array("first", first), check.real_array("second", second)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"first and second must be vectors of one length, got shapes {first.shape} and {second.shape}")
    differences = (first - second).round(_DIGITS)
    differences = differences[differences != 0]
    if len(differences) == 0:
        return 1.0
    return sign_flips(np.sign(differences) * stats.rankdata(np.abs(differences)))


@dataclass(frozen=True)
class Ranks:
    """Methods ranked in every row of a table; 1 is the smallest error, equal ones share their mean rank.

    Attributes:
        titles: The methods.
        average: Average rank of each over rows, (k,).
        rows: Number of rows.
        p: Friedman's test of "all methods are alike" (chi-square approximation, corrected for ties).
        critical_difference: Nemenyi's, at 5 %: average ranks that differ by less are not distinguished.
    """

    titles: tuple[str, ...]
    average: np.ndarray
    rows: int
    p: float
    critical_difference: float


def ranks(titles: Sequence[str], means: np.ndarray) -> Ranks:
    """Rank methods over the rows of a table (Demšar 2006, section 3.2.2).

    Friedman's statistic is 12 N / (k (k+1)) (sum of squared average ranks - k (k+1)^2 / 4), chi-square with k - 1
    degrees of freedom, divided by 1 - sum of (t^3 - t) / (N (k^3 - k)) for groups of t ties; with few
    rows or methods the approximation is rough.

    Args:
        titles: Names of k >= 3 methods.
        means: Their mean errors in N >= 2 rows, (N, k).

    Raises:
        TypeError: If means are no numbers.
        ValueError: If the shapes do not fit.

    Example:
        >>> found = ranks(("a", "b", "c"), [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [2.0, 2.0, 4.0], [1.0, 2.0, 3.0]])
        >>> found.average.tolist(), round(found.p, 3), round(found.critical_difference, 3)
        ([1.125, 2.125, 2.75], 0.057, 1.657)
    """
    means = check.real_array("means", means)
    k = len(titles)
    if means.ndim != 2 or len(means) < 2 or k < 3 or means.shape[1] != k:
        raise ValueError(
            f"means must have shape (rows >= 2, methods >= 3), got {means.shape} with {k} titles; "
            "compare two methods by signed_rank"
        )
    rounded = means.round(_DIGITS)
    average = stats.rankdata(rounded, axis=1).mean(0)
    alike = (rounded == rounded[:, :1]).all()  # then Friedman's statistic is 0/0
    p = 1.0 if alike else float(stats.friedmanchisquare(*rounded.T).pvalue)
    return Ranks(tuple(titles), average, len(means), p, critical_difference(k, len(means)))


def critical_difference(methods: int, rows: int) -> float:
    """Nemenyi's critical difference of average ranks, q sqrt(k (k+1) / (6 N)) (Demšar 2006, section 3.2.2), at 5 %.

    q is the studentized range's upper 5 % point with infinite degrees of freedom, divided by sqrt(2).

    Args:
        methods: k >= 2.
        rows: N >= 1.

    Raises:
        TypeError: If they are no integers.
        ValueError: If they are too small.

    Example:
        >>> round(critical_difference(4, 14), 2)  # Demšar's own example, 2.569 sqrt(20/84)
        1.25
    """
    k, n = check.integer("methods", methods, 2), check.integer("rows", rows, 1)
    q = stats.studentized_range.isf(LEVEL, k, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(k * (k + 1) / (6 * n)))
