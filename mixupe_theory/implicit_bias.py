"""Implicit bias on separable data: where training goes on a linear model (deck, "Toy example").

``max_margin`` is where gradient descent on the standard loss goes, ``mixup_minimizer`` where mixup goes if it goes to a
point at all. A reading's loss (see ``readings``) is a logistic loss on signed mixed points q, all with label 1, so

- it has a finite minimizer if and only if no w has w^T q >= 0 everywhere and > 0 somewhere;
- the minimizer is then unique on the span of the inputs, where the Hessian is positive definite.

For the deck's mixup with both classes present, an opposite pair puts weight on q and on -q all along its segment. A w
as above is then orthogonal to all of them, hence to every input: the loss is coercive on the span.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixupe_theory import _validation as check
from mixupe_theory.descent import descend, descend_stochastic, gradient_flow
from mixupe_theory.mixing import BetaLaw, check_law
from mixupe_theory.readings import (
    FIRST_RULE,
    MAX_NODES,
    READINGS,
    LinearLoss,
    linear_loss,
    separating_direction,
    whitened,
)
from mixupe_theory.separable import (
    SUPPORT_VECTORS,
    NotSeparable,
    default_learning_rate,
    kkt,
    max_margin,
    separable_data,
    signed_inputs,
    soudry_data,
)
from mixupe_theory.trajectory import Diverged, Trajectory, angle, log_spaced

__all__ = [
    "SUPPORT_VECTORS",
    "Diverged",
    "LinearLoss",
    "Minimizer",
    "NoFiniteMinimizer",
    "NotSeparable",
    "Trajectory",
    "angle",
    "default_learning_rate",
    "descend",
    "descend_stochastic",
    "gradient_flow",
    "kkt",
    "linear_loss",
    "log_spaced",
    "max_margin",
    "mixup_minimizer",
    "separable_data",
    "signed_inputs",
    "soudry_data",
]

# of w in white coordinates, estimated by a rule twice as fine: what is aimed at, and what must be reached
_ACCURACY, _LEAST = 1e-12, 1e-8
_ITERATIONS = 200


class NoFiniteMinimizer(ValueError):
    """The reading's loss is not coercive: it falls for ever along a direction.

    Attributes:
        direction: Such a direction, a unit vector (d,).
    """

    def __init__(self, reading: str, y: np.ndarray, direction: np.ndarray):
        self.direction = direction / np.linalg.norm(direction)
        if len(set(y.tolist())) == 1:
            why = f"y holds one class only, {y[0]:g}, and all inputs lie in one closed half-space"
        elif reading == "hard_label":
            why = "one w gives every point the same margin, so it labels each half of every segment rightly"
        else:
            why = "all signed inputs (2 y_i - 1) x_i, and their mixtures with them, lie in one closed half-space"
        super().__init__(
            f"reading {reading!r} has no finite minimizer: {why}; the loss falls for ever along "
            f"{np.array2string(self.direction, precision=4, threshold=6)}"
        )


@dataclass(frozen=True)
class Minimizer:
    """A certified minimizer of a reading's loss.

    Attributes:
        w: The minimizer, of least norm if it is not unique, (d,).
        loss: L(w).
        gradient_norm: ||grad L(w)||, by a quadrature rule twice as fine as the one w was found with.
        hessian: The Hessian at w, (d, d).
        least_eigenvalue: The Hessian's least eigenvalue on the span of the inputs, > 0.
        accuracy: ||H^-1 grad L(w)||, an estimate of the distance to the exact minimizer.
        unique: Whether the inputs span R^d; if not, any vector orthogonal to them can be added to w.
    """

    w: np.ndarray
    loss: float
    gradient_norm: float
    hessian: np.ndarray
    least_eigenvalue: float
    accuracy: float
    unique: bool


def mixup_minimizer(x, y, law: BetaLaw, reading: str = "full") -> Minimizer:
    """The minimizer of the exact mixup loss on a linear model, by Newton's method, with its certificates.

    Minimizes L_n^mix(w) = 1/n^2 sum_{i,j} E_lambda ell(w, (x_ij, y_ij)), ell the logistic loss (deck, "Implicit
    Regularization of Mixup"), or another reading of it, on the span of the inputs. That the loss is coercive there is
    decided first, by a linear programme; Newton's method with backtracking follows, in coordinates in which the inputs
    are white; the rule for lambda is refined until one twice as fine moves w there by at most 1e-12 of its length (1e-8
    where rounding allows no more).

    Args:
        x: Inputs, (n, d), finite; they need not be separable. Zero and repeated rows are allowed.
        y: Labels in {0, 1}, (n,).
        law: The law of lambda.
        reading: "full" (the deck's), "same_class", "label_absorbed" or "hard_label".

    Returns:
        The minimizer with its certificates.

    Raises:
        NoFiniteMinimizer: (a ValueError) if there is none, with the condition that fails and a direction.
        ArithmeticError: If the accuracy is not reached, for data at the limit of float64.
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.

    Example:
        >>> found = mixup_minimizer([[1.0, 0.0], [-7.0, -1.0]], [1, 0], BetaLaw(1.0))
        >>> bool(abs(found.w @ [1, 0] - found.w @ [7, 1]) < 1e-9), found.unique  # equal margins
        (True, True)
    """
    z, y = signed_inputs(x, y), check.real_array("y", y)
    check_law(law)
    check.choice("reading", reading, [name for name in READINGS if name != "erm"])
    direction = separating_direction(x, y, reading)
    if direction is not None:
        raise NoFiniteMinimizer(reading, y, direction)
    d = z.shape[1]
    coordinates, back = whitened(z)
    unique = back.shape[1] == d
    if back.shape[1] == 0:  # every input is zero, and the loss constant
        return Minimizer(np.zeros(d), float(np.log(2)), 0.0, np.zeros((d, d)), np.inf, 0.0, unique)
    c, m, accuracy, before, scale = np.zeros(back.shape[1]), FIRST_RULE, np.inf, np.inf, 1.0
    while m < MAX_NODES and accuracy > _ACCURACY * scale and not (accuracy > before / 4 and accuracy <= _LEAST * scale):
        coarse, fine = (linear_loss(x, y, law, reading, nodes) for nodes in (m, 2 * m))
        c = _newton(replace(coarse, z=coordinates), c)
        white = replace(fine, z=coordinates)
        step = np.linalg.solve(white.hessian(c), white.gradient(c))
        m, before, accuracy, scale = 2 * m, accuracy, np.linalg.norm(step), max(np.linalg.norm(c), 1.0)
    if not accuracy <= _LEAST * scale:
        raise ArithmeticError(f"mixup_minimizer reached a relative accuracy of {accuracy / scale:.1e} with {m} nodes")
    w, span = back @ c, np.linalg.qr(back)[0]
    hessian = fine.hessian(w)
    return Minimizer(
        w=w,
        loss=float(fine(w)),
        gradient_norm=float(np.linalg.norm(fine.gradient(w))),
        hessian=hessian,
        least_eigenvalue=float(np.linalg.eigvalsh(span.T @ hessian @ span)[0]),
        accuracy=float(np.linalg.norm(back @ step)),
        unique=unique,
    )


def _newton(loss: LinearLoss, w: np.ndarray) -> np.ndarray:
    """Newton steps in whitened coordinates, damped until the loss would fall by less than its rounding shows."""
    value = loss(w)
    for _ in range(_ITERATIONS):
        gradient = loss.gradient(w)
        step = np.linalg.solve(loss.hessian(w), gradient)
        decrease, factor = gradient @ step, 1.0
        while decrease > 1e-10 * value and loss(w - factor * step) > value - 0.25 * factor * decrease:
            factor /= 2
        w = w - factor * step
        value = loss(w)
        if factor == 1 and np.linalg.norm(step) <= 1e-9 * max(np.linalg.norm(w), 1.0):
            break  # convergence is quadratic: the next step would be rounding
    return w
