"""A run of training on a linear model: w(t) at recorded steps, and the four quantities that the deck plots of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixupe_theory import _validation as check


class Diverged(ArithmeticError):
    """The training loss rose above both its value at the start and that at w = 0.

    Attributes:
        step: The recorded step at which this was seen.
    """

    def __init__(self, step: int, loss: float, learning_rate: float, safe: float):
        self.step = step
        super().__init__(
            f"training diverged: at step {step} the loss is {loss:.3g}, above what it was at the start and at w = 0; "
            f"learning_rate = {learning_rate:g}, and without eta or momentum gradient descent is safe up to "
            f"{safe:.3g} = 6 n/sigma_max(X)^2"
        )


@dataclass(frozen=True)
class Trajectory:
    """w(t) of one run at recorded steps, and what the deck plots of it.

    Attributes:
        z: Signed inputs, (n, d).
        w_hat: The hard-margin vector, (d,).
        step: Recorded steps t (times, for the flow), (T,).
        w: w(t), (T, d).
        loss: The training loss L(w(t)), (T,).
        converged_at: The step at which the gradient's norm fell below the tolerance; None if it did not.
    """

    z: np.ndarray
    w_hat: np.ndarray
    step: np.ndarray
    w: np.ndarray
    loss: np.ndarray
    converged_at: float | None = None

    @cached_property
    def norm(self) -> np.ndarray:
        """||w(t)||, (T,)."""
        return np.linalg.norm(self.w, axis=1)

    @property
    def normalized_norm(self) -> np.ndarray:
        """||w(t)|| / ||w(t_last)||, the deck's "normalized w(t)", (T,)."""
        return self.norm / self.norm[-1]

    @property
    def angle_gap(self) -> np.ndarray:
        """The angle between w(t) and w_hat in radians, NaN at w = 0, (T,); Soudry et al. plot 1 - cos of it."""
        return angle(self.w, self.w_hat)

    @property
    def margin_gap(self) -> np.ndarray:
        """Largest margin less that of w(t), 1/||w_hat|| - min_i w^T z_i/||w||, NaN at w = 0, (T,)."""
        with np.errstate(invalid="ignore"):
            return 1 / np.linalg.norm(self.w_hat) - (self.w @ self.z.T).min(1) / self.norm


def angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The angle between vectors (..., d) in radians, to some 1e-16 also near 0 and pi (Kahan's formula)."""
    with np.errstate(invalid="ignore"):
        a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (first, second))
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))


def log_spaced(steps: int, per_decade: int = 8) -> np.ndarray:
    """0, 1, ... and about ``per_decade`` steps in each decade, up to ``steps``."""
    steps = check.integer("steps", steps, least=1)
    per_decade = check.integer("per_decade", per_decade, least=1)
    count = int(np.ceil(np.log10(steps) * per_decade)) + 1
    return np.unique(np.concatenate([[0], np.geomspace(1, steps, max(count, 2)).round()]).astype(np.int64))
