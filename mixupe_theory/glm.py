"""Generalized linear models as the deck has them: h(f_theta(x)) = A(theta^T x), loss A(u) - y u at u = theta^T x.

Deck, "Generalization Guarantee" (after Zhang et al., 2020). A is the log-partition function, A' the mean response.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from mixupe_theory import _validation as check

_GRID = 2001  # points at which A is examined
_ROUNDING = 1e-9  # of the size of the compared numbers: A may come with its own rounding


@dataclass(frozen=True)
class GLM:
    """A generalized linear model with one output.

    Args:
        name: What to call it in messages.
        log_partition: A, a convex function applied to numpy arrays elementwise.
        mean_response: A', its derivative, likewise.
        lipschitz_A: The deck's L_A, a bound on abs(A') on the range that is used.

    Raises:
        TypeError: If A or A' is not callable, or L_A not a number.
        ValueError: If L_A is negative or not finite.

    Example:
        >>> gaussian = GLM("gaussian", lambda u: u**2 / 2, lambda u: u, lipschitz_A=3.0)
        >>> gaussian.loss_range(3.0)  # y u - u^2/2 at y in [0, 1], u in [-3, 3]
        (-0.5, 7.5)
    """

    name: str
    log_partition: Callable[[np.ndarray], np.ndarray]
    mean_response: Callable[[np.ndarray], np.ndarray]
    lipschitz_A: float

    def __post_init__(self):
        for name in ("log_partition", "mean_response"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} must be a function of an array, got {type(getattr(self, name)).__name__}")
        object.__setattr__(self, "lipschitz_A", check.nonnegative("lipschitz_A", self.lipschitz_A))

    def loss(self, u, y) -> np.ndarray:
        """The deck's ell = A(u) - y u, elementwise."""
        return self.log_partition(u) - y * u

    def q_hat(self, u, y) -> np.ndarray:
        """The deck's q_hat = (y - A'(u)) u, elementwise."""
        return (y - self.mean_response(u)) * u

    def slope(self, bound_u: float) -> float:
        """sup abs(A'(u) - y) over abs(u) <= bound_u and y in [0, 1], by which the loss is Lipschitz in u."""
        low, high = self._ends(bound_u)  # A' increases
        return float(max(high, 1 - low))

    def centre(self, bound_u: float) -> tuple[float, float]:
        """The middle a_0 of A' on abs(u) <= bound_u, and rho, half its span: A(u) - a_0 u is rho-Lipschitz."""
        low, high = self._ends(bound_u)
        return float(high + low) / 2, float(high - low) / 2

    def loss_range(self, bound_u: float) -> tuple[float, float]:
        """Least and largest loss over abs(u) <= bound_u and y in [0, 1].

        The loss is affine in y and convex in u: largest at the four corners, least at y in {0, 1} where A' = y or at an
        end.
        """
        ends = np.array([-bound_u, bound_u])
        corners = np.concatenate([self.loss(ends, y) for y in (0.0, 1.0)])
        low, high = self._ends(bound_u)
        least = [
            self.loss(brentq(lambda u, y=y: float(self.mean_response(np.asarray(u))) - y, *ends), y)
            for y in (0.0, 1.0)
            if low < y < high
        ]
        return float(min([*corners, *least])), float(corners.max())

    def require(self, bound_u: float) -> None:
        """Examine A on abs(u) <= bound_u: finite, convex, with derivative A', and L_A-Lipschitz.

        Raises:
            ValueError: If one of these fails at a point of a grid; the message names the point.
        """
        u = np.linspace(-bound_u, bound_u, _GRID) if bound_u > 0 else np.zeros(1)
        values, slopes = (np.asarray(function(u), dtype=float) for function in (self.log_partition, self.mean_response))
        if values.shape != u.shape or slopes.shape != u.shape:
            raise ValueError(f"glm {self.name!r}: A and A' must map an array to one of its shape {u.shape}")
        if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
            raise ValueError(f"glm {self.name!r}: A and A' must be finite for abs(u) <= {bound_u:g}")
        size = max(float(np.abs(slopes).max()), 1.0)
        falls = np.diff(slopes) < -_ROUNDING * size
        if falls.any():
            raise ValueError(
                f"glm {self.name!r}: A must be convex, its slope A' falls near u = {u[falls.argmax()]:.4g}"
            )
        steep = np.abs(slopes) > self.lipschitz_A + _ROUNDING * size
        if steep.any():
            at = np.abs(slopes).argmax()
            raise ValueError(
                f"glm {self.name!r}: A must be {self.lipschitz_A:g}-Lipschitz for abs(u) <= {bound_u:g}, but A'"
                f"({u[at]:.4g}) = {slopes[at]:.4g}"
            )
        # of a convex function each secant lies between the derivatives at its ends
        secant, step = np.diff(values), np.diff(u)
        rounding = _ROUNDING * size * step + 1e-13 * float(np.abs(values).max())
        wrong = (secant < slopes[:-1] * step - rounding) | (secant > slopes[1:] * step + rounding)
        if wrong.any():
            raise ValueError(f"glm {self.name!r}: A' is not the derivative of A near u = {u[wrong.argmax()]:.4g}")

    def _ends(self, bound_u: float) -> np.ndarray:
        return np.asarray(self.mean_response(np.array([-bound_u, bound_u])), dtype=float)


def _softplus(u) -> np.ndarray:
    return np.logaddexp(0, u)


LOGISTIC = GLM("logistic", _softplus, expit, lipschitz_A=1.0)


def require_glm(glm) -> None:
    """Raise a TypeError unless ``glm`` is a GLM."""
    if not isinstance(glm, GLM):
        raise TypeError(f"glm must be a GLM, got {type(glm).__name__}")
