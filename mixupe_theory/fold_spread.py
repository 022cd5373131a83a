"""How little the errors of cross-validation's folds can differ, given their mean: they are counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from itertools import product

from mixupe_theory import _validation as check


def fold_sizes(classes: Iterable[int], folds: int = 10, *, by_class: bool = False) -> tuple[int, ...]:
    """Sizes of stratified folds.

    Args:
        classes: Number of samples of each class.
        folds: Number of folds, >= 2.
        by_class: False: sizes differ by at most 1 (scikit-learn from 0.22). True: each class is dealt out on its own,
            what is left over going to the first folds, so that sizes may differ by the number of classes (before).

    Example:
        >>> fold_sizes((63, 125)), fold_sizes((63, 125), by_class=True)
        ((19, 19, 19, 19, 19, 19, 19, 19, 18, 18), (20, 20, 20, 19, 19, 18, 18, 18, 18, 18))
    """
    counts = [check.integer("classes", count, 1) for count in classes]
    folds = check.integer("folds", folds, 2)
    dealt = counts if by_class else [sum(counts)]
    return tuple(sum(count // folds + (fold < count % folds) for count in dealt) for fold in range(folds))


def least_fold_spread(mean: float, sizes: Iterable[int], *, half_width: float = 0.005) -> float:
    """The least population standard deviation of fold errors whose mean is printed as ``mean``, percentage points.

    Fold k errs on e_k of its sizes_k samples; minimized over all integers e_k with
    abs(100/K sum_k e_k/sizes_k - mean) <= half_width, in exact arithmetic. Among folds of one size the most even split
    of their errors is best, so the totals of each size are searched, outward until no total outside can do better.

    Args:
        mean: The printed mean error, percent.
        sizes: Samples in each fold; at most four different sizes, since all combinations of totals are looked at.
        half_width: Half a unit of the mean's last digit, percent.

    Returns:
        The least spread; infinity where no errors have that mean.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed, there is no fold, or folds have too many sizes.

    Example:
        >>> round(least_fold_spread(25.60, [100] * 10), 3)  # 4 folds with 25 errors, 6 with 26
        0.49
    """
    mean, half = (
        Fraction(str(check.nonnegative(*pair))) / 100 for pair in (("mean", mean), ("half_width", half_width))
    )
    groups = Counter(check.integer("sizes", size, 1) for size in sizes)
    if not groups:
        raise ValueError("sizes must hold at least one fold, got none")
    if len(groups) > 4:
        raise ValueError(f"sizes must hold at most four different sizes, got {sorted(groups)}")
    folds, unit = sum(groups.values()), math.lcm(*groups)
    low, high = ((mean + sign * half) * folds * unit for sign in (-1, 1))
    attained: list[int] = []
    for window in range(1, max(groups) + 1):
        if math.ceil(low) > high:  # the sum of rates is a multiple of 1/unit
            break
        choices = [_even_splits(size, count, unit // size, mean, window) for size, count in groups.items()]
        attained = [
            folds * sum(squares for _, squares in choice) - total**2
            for choice in product(*choices)
            if low <= (total := sum(part for part, _ in choice)) <= high
        ]
        # Folds with a total outside have a mean that is at least window/size, less the rounding, off the whole mean.
        outside = min(count * max(Fraction(window, size) - half, 0) ** 2 * folds for size, count in groups.items())
        if attained and min(attained) <= outside * unit**2:
            break
    return 100 * math.sqrt(min(attained)) / (folds * unit) if attained else math.inf


def _even_splits(size: int, count: int, scale: int, mean: Fraction, window: int) -> list[tuple[int, int]]:
    """Totals of ``count`` folds of one size near the mean, split evenly: (sum, sum of squares), times ``scale``."""
    centre = math.floor(mean * size)
    least, most = max(centre - window, 0) * count, min(centre + 1 + window, size) * count
    splits = []
    for total in range(least, most + 1):
        errors, more = divmod(total, count)
        squares = (count - more) * errors**2 + more * (errors + 1) ** 2
        splits.append((scale * total, scale**2 * squares))
    return splits
