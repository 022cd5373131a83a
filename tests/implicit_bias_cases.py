"""Random data, brute-force references and bad input that the tests of the implicit bias share.

The references mix inputs and labels as the readings' definitions say, pair by pair, and know nothing of signed inputs.
"""

import math

import numpy as np
import torch
from hypothesis import strategies as st
from scipy.special import beta as beta_function
from scipy.special import expit, roots_jacobi

from mixupe_theory import BetaLaw

NAN, INF = math.nan, math.inf
SEEDS = st.integers(0, 2**32 - 1)
LAWS = [BetaLaw(1.0), BetaLaw(0.2), BetaLaw(3.0, 0.5), BetaLaw(0.4, 2.5)]
MIXING = ("full", "same_class", "label_absorbed", "hard_label")
PLUS_MINUS = ([[1.0, 0.0], [0.0, 1.0]], [1, 0])  # the smallest separable data with both classes
BAD_DATA = [  # id, x, y, error, words of its message
    ("x of one dimension", [1.0, 2.0], [1, 0], ValueError, r"x must have shape \(n, d\).*got \(2,\)"),
    ("x empty", np.zeros((0, 2)), [], ValueError, r"x must have shape \(n, d\).*got \(0, 2\)"),
    ("x without columns", np.zeros((2, 0)), [1, 0], ValueError, r"x must have shape \(n, d\).*got \(2, 0\)"),
    ("x NaN", [[NAN, 0.0], [0.0, 1.0]], [1, 0], ValueError, "x must be finite, got 1"),
    ("x infinite", [[INF, 0.0], [0.0, -INF]], [1, 0], ValueError, "x must be finite, got 2"),
    ("x strings", [["a", "b"], ["c", "d"]], [1, 0], TypeError, "x must be an array of real numbers"),
    ("x complex", [[1j, 0.0], [0.0, 1.0]], [1, 0], TypeError, "x must be an array of real numbers.*complex"),
    ("x None", None, [1, 0], TypeError, "x must be an array of real numbers"),
    ("x ragged", [[1.0, 0.0], [1.0]], [1, 0], ValueError, r"\bx\b"),
    ("y of two dimensions", np.eye(2), [[1], [0]], ValueError, r"y must have shape \(2,\).*got \(2, 1\)"),
    ("y too short", np.eye(2), [1], ValueError, r"y must have shape \(2,\).*got \(1,\)"),
    ("y signs", np.eye(2), [1, -1], ValueError, "y must hold only the labels 0 and 1, got -1 in row 1"),
    ("y soft", np.eye(2), [0.5, 1], ValueError, "y must hold only the labels 0 and 1, got 0.5 in row 0"),
    ("y NaN", np.eye(2), [NAN, 1], ValueError, "y must be finite"),
    ("y strings", np.eye(2), ["0", "1"], TypeError, "y must be an array of real numbers"),
]
BAD_ROWS = [case[1:] for case in BAD_DATA]
BAD_IDS = [case[0] for case in BAD_DATA]
NOT_SEPARABLE = {
    "a zero row": ([[1.0, 0.0], [0.0, 0.0]], [1, 0]),
    "one input, both labels": ([[1.0, 2.0], [1.0, 2.0], [3.0, 0.0]], [1, 0, 1]),
    "one class around 0": ([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]], [1, 1, 1]),
    "xor": ([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]], [1, 1, 0, 0]),
    "an intercept is needed": ([[1.0], [2.0]], [0, 1]),
}


def cloud(seed, n=5, d=2):
    """Standard normal inputs, both classes, at random: seldom separable."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.concatenate([[0, 1], rng.integers(2, size=n - 2)]))
    return rng.normal(size=(n, d)), y


def separable(seed, n=5, d=2, margin=0.3):
    """Inputs at a distance of at least ``margin`` from {u^T x = 0}, u random; both classes for n >= 2."""
    rng = np.random.default_rng(seed)
    u, x = rng.normal(size=d), rng.normal(size=(n, d))
    u /= np.linalg.norm(u)
    y = rng.permutation(np.concatenate([[0, 1], rng.integers(2, size=n)]))[:n]
    y[:2] = [0, 1][:n]
    along = (2 * y - 1) * (margin + np.abs(rng.normal(size=n)))
    return x - np.outer(x @ u, u) + np.outer(along, u), y


def rotation(seed, d):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def halves(law, m=60):
    """[(lambda, weight, whether i has the larger weight), ...] of Gauss-Jacobi rules on (0, 1/2) and (1/2, 1)."""
    rule = []
    for own, other, above in ((law.alpha, law.beta, False), (law.beta, law.alpha, True)):
        t, weights = roots_jacobi(m, 0, own - 1)  # (1 + t)^(own - 1) on (-1, 1)
        u = (1 + t) / 4  # the small one of lambda and 1 - lambda
        weights = weights * (1 - u) ** (other - 1) / 4**own / beta_function(law.alpha, law.beta)
        rule += [(1 - v if above else v, p, above) for v, p in zip(u, weights, strict=True)]
    return rule


def mixed(x, y, reading, i, j, lam, above):
    """(input, label) of the mixture of samples i and j; above: whether i has the larger weight."""
    if reading == "label_absorbed":
        return lam * (2 * y[i] - 1) * x[i] + (1 - lam) * (2 * y[j] - 1) * x[j], 1.0
    point = lam * x[i] + (1 - lam) * x[j]
    if reading == "hard_label":
        return point, float(y[i] if above else y[j])
    return point, lam * y[i] + (1 - lam) * y[j]


def index_pairs(y, reading):
    every = [(i, j) for i in range(len(y)) for j in range(len(y))]
    return [(i, j) for i, j in every if y[i] == y[j]] if reading == "same_class" else every


class Reference:
    """Loss, gradient and Hessian of a reading as sums over all pairs and all nodes of a fine rule for lambda.

    The rule has 60 nodes on each half of (0, 1). The logistic function's poles lie at margins +-i pi, so with margins
    that change by M along half a segment its error is below about exp(-4 * 60 pi/M): rounding for M up to 20.
    """

    def __init__(self, x, y, law, reading):
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if reading == "erm":
            self.points, self.labels, self.weights = x, y, np.full(len(x), 1 / len(x))
            return
        rule, pairs = halves(law), index_pairs(y, reading)
        rows = [(*mixed(x, y, reading, i, j, lam, up), p / len(pairs)) for i, j in pairs for lam, p, up in rule]
        self.points, self.labels, self.weights = (np.array(column) for column in zip(*rows, strict=True))

    def __call__(self, w):
        f = self.points @ w
        return self.weights @ (np.logaddexp(0, f) - self.labels * f)

    def gradient(self, w):
        return (self.weights * (expit(self.points @ w) - self.labels)) @ self.points

    def hessian(self, w):
        f = self.points @ w
        return (self.weights * expit(f) * expit(-f) * self.points.T) @ self.points


def linear_model(w):
    """(f, weight): x -> x w as a torch module with head "sigmoid"."""
    model = torch.nn.Linear(len(w), 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.as_tensor(np.asarray(w))[None])
    return model


def tensors(x, y):
    return torch.as_tensor(np.asarray(x, dtype=float)), torch.as_tensor(np.asarray(y, dtype=float))


def close(got, expected, tolerance):
    """Equal up to ``tolerance`` of the largest entry, or of 1 where all are smaller."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))
