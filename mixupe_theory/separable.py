"""Separable data without an intercept, and its hard-margin direction with a certificate.

Labels are y in {0, 1}; signs s_i = 2 y_i - 1 and signed inputs z_i = s_i x_i make every statement one about margins
m_i = w^T z_i. The hard-margin vector is

    w_hat = argmin ||w||^2  subject to  w^T z_i >= 1,

the direction to which gradient descent on the logistic loss converges (Soudry et al. 2018, Theorem 3).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from mixupe_theory import _validation as check

KKT_TOLERANCE = 1e-9  # rounding of a least-squares solve, times condition numbers up to about 1e6
_INSEPARABLE, _UNDECIDED = 1e-12, 1e-7  # distance of 0 to the unit signed inputs' convex hull: rounding, and its root
SUPPORT_VECTORS = np.array([[0.5, 1.5], [1.5, 0.5], [-0.5, -1.5], [-1.5, -0.5]])


class NotSeparable(ValueError):
    """No w has w^T z_i > 0 for all i.

    Attributes:
        weights: The certificate (Gordan's theorem), (n,): non-negative, summing to 1, with sum_i weights_i z_i = 0.
    """

    def __init__(self, weights: np.ndarray, largest: float):
        self.weights = weights
        rows = np.flatnonzero(weights)
        named = ", ".join(f"{weights[i]:.3g} z_{i}" for i in rows[:6]) + (", ..." if len(rows) > 6 else "")
        super().__init__(
            "x, y are not linearly separable without an intercept: the signed inputs z_i = (2 y_i - 1) x_i have a "
            f"convex combination of norm {largest:.1e}, of {named}; every row must satisfy w^T z_i > 0 for one w"
        )


def signed_inputs(x, y) -> np.ndarray:
    """z_i = (2 y_i - 1) x_i as a float64 array (n, d), after checking x and y.

    Raises:
        TypeError: If x or y does not hold real numbers.
        ValueError: If x is not (n, d) with n, d >= 1, finite and within 1e+-120, or y is not (n,) in {0, 1}.

    Example:
        >>> signed_inputs([[1, 2], [3, 4]], [1, 0])
        array([[ 1.,  2.],
               [-3., -4.]])
    """
    x, y = (check.real_array(name, value) for name, value in (("x", x), ("y", y)))
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"x must have shape (n, d) with n, d >= 1, got {x.shape}")
    if np.abs(x).max() > 1e120 or 0 < np.abs(x).max() < 1e-120:
        raise ValueError(f"x must have a largest entry between 1e-120 and 1e120, got {np.abs(x).max():.3g}; scale it")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must have shape ({len(x)},), one label for each row of x, got {y.shape}")
    wrong = ~np.isin(y, (0, 1))
    if wrong.any():
        raise ValueError(f"y must hold only the labels 0 and 1, got {y[wrong][0]:g} in row {np.flatnonzero(wrong)[0]}")
    return (2 * y - 1)[:, None] * x


def default_learning_rate(x) -> float:
    """n/sigma_max(X)^2 for the mean loss, that is Soudry et al.'s 1/sigma_max(X)^2 for the summed one.

    Example:
        >>> round(default_learning_rate(SUPPORT_VECTORS), 12)
        0.5
    """
    return float(len(x) / np.linalg.norm(np.asarray(x), 2) ** 2)


def max_margin(x, y) -> np.ndarray:
    """The hard-margin vector w_hat, scaled to min_i w^T z_i = 1; its margin is 1/||w_hat||.

    Lawson and Hanson's least-distance programming (1974, chapter 23): the residual of one non-negative
    least-squares problem (SciPy's active-set ``nnls``) is the solution, or proves that there is none. The result is
    accepted only if it satisfies the KKT conditions (see :func:`kkt`), which for this convex problem prove it optimal.

    Args:
        x: Inputs, (n, d), finite. Duplicates are allowed.
        y: Labels in {0, 1}, (n,). One class alone is allowed.

    Returns:
        w, float64 (d,).

    Raises:
        NotSeparable: (a ValueError) with a certificate; a zero row, or one input with both labels, is such a case.
        ArithmeticError: If the KKT conditions are not met, for margins at the limit of float64.
        TypeError: If x or y does not hold real numbers.
        ValueError: If a shape or value is not allowed.

    Example:
        >>> max_margin(SUPPORT_VECTORS, [1, 1, 0, 0]).round(12)
        array([0.5, 0.5])
    """
    z = signed_inputs(x, y)
    n, scale = len(z), np.abs(z).max() or 1.0
    z = z / scale
    length = np.linalg.norm(z, axis=1)
    unit = z / np.where(length > 0, length, 1)[:, None]
    combination, distance = _least_distance(unit, np.ones(n))  # of unit vectors first: are the data separable at all?
    if distance < _INSEPARABLE:
        weights = combination / np.where(length > 0, length, 1)
        weights /= weights.sum()
        raise NotSeparable(weights, float(np.linalg.norm(weights @ z)))
    if distance < _UNDECIDED:
        raise ArithmeticError(f"the data are separable by an angle of {distance:.1e} only, too little for float64")
    combination, _ = _least_distance(unit, length.min() / length)
    active = combination > 0
    w = np.linalg.lstsq(unit[active], 1 / length[active], rcond=None)[0] / scale  # without the solver's rounding
    _, residual = kkt(x, y, w)
    if residual > KKT_TOLERANCE:
        raise ArithmeticError(f"the hard-margin vector misses its KKT conditions by {residual:.1e}")
    return w


def _least_distance(rows: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, float]:
    """Multipliers of min ||w|| subject to rows @ w >= least, and the distance that is 0 if there is no such w."""
    try:
        return nnls(np.vstack([rows.T, least]), np.eye(rows.shape[1] + 1)[-1], maxiter=100 * len(rows))
    except RuntimeError as error:
        raise ArithmeticError(f"the hard-margin problem was not solved: {error}") from None


def kkt(x, y, w) -> tuple[np.ndarray, float]:
    """Multipliers of the hard-margin problem at w, and by how much w misses the KKT conditions.

    w is optimal if and only if min_i w^T z_i >= 1 and w = sum_i mu_i z_i with mu_i >= 0 and mu_i (w^T z_i - 1) = 0.
    Only points within 1e-6 of margin 1 get a multiplier.

    Args:
        x: Inputs, (n, d).
        y: Labels in {0, 1}, (n,).
        w: The vector to certify, (d,).

    Returns:
        ``(mu, residual)``: the multipliers (n,), and the largest of: how far a margin is below 1, how far one with a
        multiplier is from 1, and the relative residual of stationarity.

    Example:
        >>> mu, residual = kkt(SUPPORT_VECTORS, [1, 1, 0, 0], [0.5, 0.5])
        >>> round(float(mu.sum()), 12), residual < 1e-15  # the multipliers sum to ||w||^2
        (0.5, True)
    """
    z = signed_inputs(x, y)
    w = check.vector("w", w, z.shape[1])
    margins = z @ w
    support = np.flatnonzero(np.abs(margins - 1) <= 1e-6)
    mu = np.zeros(len(z))
    if len(support) == 0:
        return mu, float("inf")
    length = np.linalg.norm(z[support], axis=1)
    scaled, missed = nnls((z[support] / length[:, None]).T, w / np.linalg.norm(w), maxiter=100 * len(z))
    mu[support] = scaled * np.linalg.norm(w) / length
    return mu, float(max(1 - margins.min(), np.abs(margins[mu > 0] - 1).max(initial=0), missed))


def soudry_data(generator: np.random.Generator, *, others: int = 12, margin: float = 0.2):
    """The data of Soudry et al. 2018, Figure 1: four support vectors, and other points off the margin.

    Support vectors are (0.5, 1.5) and (1.5, 0.5) with label 1 and their negatives with label 0, so that
    w_hat = (1/2, 1/2). Half of the others have label 1 (of an odd number, one more). The paper does not give their law;
    ours: z = (1 + margin + u)(1, 1) + v (1, -1), u uniform on (0, 1), v standard normal.

    Args:
        generator: Source of randomness.
        others: Number of further points.
        margin: w_hat^T z >= 1 + margin for each of them, margin >= 0.

    Returns:
        ``(x, y)``: float64 (4 + others, 2), int (4 + others,).

    Example:
        >>> x, y = soudry_data(np.random.default_rng(0))
        >>> x.shape, max_margin(x, y).round(12)
        ((16, 2), array([0.5, 0.5]))
    """
    rng = check.generator(generator)
    others = check.integer("others", others, least=0)
    margin = check.nonnegative("margin", margin)
    along, across = 1 + margin + rng.random(others), rng.normal(size=others)
    z = np.outer(along, [1.0, 1.0]) + np.outer(across, [1.0, -1.0])
    y = (np.arange(others) % 2 == 0).astype(int)
    x = (2 * y - 1)[:, None] * z
    return np.vstack([SUPPORT_VECTORS, x]), np.concatenate([[1, 1, 0, 0], y])


def separable_data(generator: np.random.Generator, *, n: int, d: int, margin: float = 0.2):
    """Standard normal inputs in d dimensions, both classes, separated by a random direction with at least ``margin``.

    Row i is drawn from N(0, I), labelled by its side of a uniformly random unit vector u, and moved away from the
    separator by ``margin``; the first two rows get labels 1 and 0. The largest margin is at least ``margin``.

    Args:
        generator: Source of randomness.
        n: Number of points, at least 2.
        d: Dimension, at least 1.
        margin: Least distance from the separator {u^T x = 0}, >= 0.

    Returns:
        ``(x, y)``: float64 (n, d), int (n,).

    Example:
        >>> x, y = separable_data(np.random.default_rng(0), n=5, d=3, margin=0.5)
        >>> bool(1 / np.linalg.norm(max_margin(x, y)) >= 0.5), sorted(set(y.tolist()))
        (True, [0, 1])
    """
    rng = check.generator(generator)
    n, d = check.integer("n", n, least=2), check.integer("d", d, least=1)
    margin = check.nonnegative("margin", margin)
    u = rng.normal(size=d)
    u /= np.linalg.norm(u)
    x = rng.normal(size=(n, d))
    side = np.sign(x @ u)
    flip = np.where(np.arange(n) < 2, side * np.where(np.arange(n) == 0, 1, -1), 1)[:, None]
    x = x * flip
    side = np.sign(x @ u)
    return x + margin * side[:, None] * u, (side > 0).astype(int)
