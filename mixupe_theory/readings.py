"""What "mixup on a linear model" can mean: five losses of one form.

With signed inputs z_i = (2 y_i - 1) x_i and margins m_i = w^T z_i, the logistic loss of f_w(x) = w^T x under each
reading of the toy experiment is

    L(w) = sum_{i,j} P_ij E_{lambda ~ nu} softplus(-(lambda m_i + (1 - lambda) sigma_ij m_j)),

a logistic loss on the *signed mixed points* lambda z_i + (1 - lambda) sigma_ij z_j, all with label 1:

| reading          | pairs P_ij                  | sign sigma_ij | law nu of lambda      |
|------------------|-----------------------------|---------------|-----------------------|
| "erm"            | i = j                       |               |                       |
| "full"           | all                         | s_i s_j       | D_lambda              |
| "same_class"     | those with y_i = y_j        | 1             | D_lambda              |
| "label_absorbed" | all                         | 1             | D_lambda              |
| "hard_label"     | all                         | s_i s_j       | max(lambda, 1-lambda) |

"full" is the deck's mixup loss by the change of law (claim ``mixup_loss.change-of-law``): label y_i alone under
D_lambda. Written so, the loss is a sum of positive terms and keeps its digits however small it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.special import betainc, expit

from mixupe_theory import _validation as check
from mixupe_theory.mixing import BetaLaw, check_law
from mixupe_theory.separable import signed_inputs

READINGS = ("erm", "full", "same_class", "label_absorbed", "hard_label")
FIRST_RULE, MAX_NODES = 16, 1024


@dataclass(frozen=True)
class LinearLoss:
    """A reading's loss on given data, with one quadrature rule for lambda.

    Attributes:
        z: Signed inputs, (n, d).
        pairs: P, (n, n), summing to 1.
        signs: sigma, (n, n), of -1 and 1, 1 on the diagonal.
        nodes: Nodes of lambda, (m,).
        weights: Weights of the rule, (m,), summing to 1.
    """

    z: np.ndarray
    pairs: np.ndarray
    signs: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What the compiled kernels take."""
        return self.z, self.pairs, self.signs, self.nodes, self.weights

    def __call__(self, w) -> np.ndarray:
        """L(w) for w of shape (..., d), giving (...)."""
        margins = np.asarray(w) @ self.z.T
        return sum(
            weight * (np.logaddexp(0, -self._mixed(margins, lam)) * self.pairs).sum((-2, -1))
            for lam, weight in self._rule()
        )

    def gradient(self, w) -> np.ndarray:
        """grad L(w) for w of shape (..., d), the same shape."""
        margins = np.asarray(w) @ self.z.T
        in_margins = 0.0
        for lam, weight in self._rule():
            pull = weight * self.pairs * expit(-self._mixed(margins, lam))
            in_margins = in_margins - lam * pull.sum(-1) - (1 - lam) * (pull * self.signs).sum(-2)
        return in_margins @ self.z

    def pull(self, w) -> np.ndarray:
        """E sigmoid(-margin) over the signed mixed points; times max_i ||z_i|| it bounds the gradient, (...)."""
        margins = np.asarray(w) @ self.z.T
        return sum(
            weight * (expit(-self._mixed(margins, lam)) * self.pairs).sum((-2, -1)) for lam, weight in self._rule()
        )

    def hessian(self, w) -> np.ndarray:
        """The Hessian of L at one w of shape (d,), (d, d)."""
        margins = np.asarray(w) @ self.z.T
        in_margins = np.zeros(self.pairs.shape)
        for lam, weight in self._rule():
            response = expit(self._mixed(margins, lam))
            curvature = weight * self.pairs * response * (1 - response)
            cross = lam * (1 - lam) * curvature * self.signs
            in_margins += np.diag(lam**2 * curvature.sum(1) + (1 - lam) ** 2 * curvature.sum(0)) + cross + cross.T
        return self.z.T @ in_margins @ self.z

    def _rule(self):
        return zip(self.nodes, self.weights, strict=True)

    def _mixed(self, margins, lam):
        return lam * margins[..., :, None] + (1 - lam) * self.signs * margins[..., None, :]


def linear_loss(x, y, law: BetaLaw | None, reading: str, nodes: int) -> LinearLoss:
    """The loss of one reading, with a rule of ``nodes`` nodes for lambda (twice as many if alpha and beta differ).

    Args:
        x: Inputs, (n, d).
        y: Labels in {0, 1}, (n,).
        law: The law of lambda; None for "erm", which has none.
        reading: One of READINGS.
        nodes: Nodes of the Gauss rule.

    Raises:
        TypeError: If an argument has the wrong type; a law given to "erm" too.
        ValueError: If a value is not allowed.

    Example:
        >>> loss = linear_loss([[1.0, 0.0], [0.0, 1.0]], [1, 0], BetaLaw(1.0), "full", 16)
        >>> round(float(loss(np.array([2.0, -2.0]))), 4), loss.gradient(np.zeros(2))
        (0.3197, array([-0.16666667,  0.16666667]))
    """
    z = signed_inputs(x, y)
    check.choice("reading", reading, READINGS)
    nodes = check.integer("nodes", nodes, least=1)
    s = 2 * check.real_array("y", y) - 1
    n = len(z)
    if reading == "erm":
        if law is not None:
            raise TypeError(f"law must be None for reading 'erm', which mixes nothing, got {law!r}")
        return LinearLoss(z, np.eye(n) / n, np.ones((n, n)), np.ones(1), np.ones(1))
    check_law(law)
    same = np.equal.outer(s, s)
    pairs = same if reading == "same_class" else np.ones((n, n))
    signs = np.ones((n, n)) if reading in ("same_class", "label_absorbed") else np.outer(s, s)
    rule = _larger_weight(law, nodes) if reading == "hard_label" else _own_weight(law, nodes)
    return LinearLoss(z, pairs / pairs.sum(), signs, *rule)


def separating_direction(x, y, reading: str) -> np.ndarray | None:
    """A w along which the loss never rises and somewhere falls: no minimizer is finite then; None if there is none.

    Such a w has w^T q >= 0 at every signed mixed point q, not always 0. It is enough to look at the ends of segments:
    z_i (lambda = 1), and sigma_ij z_j (lambda = 0; for "hard_label" the midpoint). A linear programme decides: the sum
    of min(w^T q, 1) over the ends is unbounded by scaling up to at least 1 if such a w exists, and 0 otherwise.
    """
    loss = linear_loss(x, y, None if reading == "erm" else BetaLaw(1.0), reading, 1)
    z, back = whitened(loss.z)
    i, j = np.nonzero(loss.pairs)
    least = 0.5 if reading == "hard_label" else 0.0
    ends = np.vstack([z, least * z[i] + (1 - least) * loss.signs[i, j, None] * z[j]])
    length = np.linalg.norm(ends, axis=1)
    ends = np.unique(ends[length > 1e-12 * length.max(initial=0)], axis=0)  # a shorter one is rounding of 0
    if len(ends) == 0:
        return None
    ends = ends / np.linalg.norm(ends, axis=1, keepdims=True)
    k, d = ends.shape
    programme = linprog(
        np.concatenate([np.zeros(d), -np.ones(k)]),
        A_ub=np.hstack([-ends, np.eye(k)]),
        b_ub=np.zeros(k),
        bounds=[(None, None)] * d + [(0, 1)] * k,
    )
    if programme.status != 0:
        raise ArithmeticError(f"the linear programme for separability failed: {programme.message}")
    direction = programme.x[:d]
    if -programme.fun < 0.5 or (ends @ direction).min() < -1e-6 * np.linalg.norm(direction):
        return None
    return back @ direction


def whitened(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed inputs in orthonormal coordinates of their span, (n, rank), and the map (d, rank) of vectors w back.

    Losses of linear models depend on margins alone, and z w = U c for z = U S V^T and w = V S^-1 c: in these
    coordinates nothing depends on the inputs' scales or correlations.
    """
    u, singular, rows = np.linalg.svd(z, full_matrices=False)
    rank = int((singular > max(z.shape) * np.finfo(float).eps * singular[0]).sum())
    return u[:, :rank], rows[:rank].T / singular[:rank]


def _own_weight(law: BetaLaw, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule of D_lambda; for beta = alpha its two components are one."""
    if law.alpha == law.beta:
        return BetaLaw(law.alpha + 1, law.alpha).quadrature(m)
    return law.tilted().quadrature(m)


def _larger_weight(law: BetaLaw, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Rule of max(lambda, 1 - lambda): on a in (0, 1/2) the density is a^(alpha-1) (1-a)^(beta-1), and exchanged.

    Gauss-Jacobi for a^(alpha-1) on (0, 1/2); the other factor is analytic there and is left to the nodes.
    """
    nodes, weights = [], []
    for alpha, beta in dict.fromkeys([(law.alpha, law.beta), (law.beta, law.alpha)]):
        rule, rule_weights = BetaLaw(alpha, 1.0).quadrature(m)
        a = rule / 2
        exponent = (beta - 1) * np.log1p(-a)
        mass = rule_weights * np.exp(exponent - exponent.max())
        nodes.append(1 - a)
        weights.append(mass / mass.sum() * betainc(alpha, beta, 0.5))
    return np.concatenate(nodes), np.concatenate(weights) / np.sum(np.concatenate(weights))
