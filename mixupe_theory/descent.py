"""Training dynamics on a linear model: gradient descent and its variants, compiled, and the gradient flow.

All start at w = 0 unless told otherwise. The learning rate multiplies the gradient of the *mean* loss; its default is
n/sigma_max(X)^2, that is 1/sigma_max(X)^2 for the summed loss as in Soudry et al. 2018. Every reading's loss decreases
with it: its curvature is at most sigma_max(X)^2/(4 n), times up to 1.21 for "same_class" with classes of unequal sizes.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from mixupe_theory import _validation as check
from mixupe_theory.kernels import fill_gradient, iterate, mix_and_step
from mixupe_theory.mixing import BetaLaw, check_law
from mixupe_theory.readings import FIRST_RULE, MAX_NODES, READINGS, LinearLoss, linear_loss
from mixupe_theory.separable import default_learning_rate, max_margin, signed_inputs
from mixupe_theory.trajectory import Diverged, Trajectory, log_spaced

METHODS = ("gradient", "momentum", "normalized")
LAMBDAS = ("per_step", "per_sample")
MOMENTUM = 0.9  # Soudry et al. 2018, Figure 1
RTOL = 1e-10
DRAWN_AT_ONCE = 4096


def descend(
    x,
    y,
    law: BetaLaw | None = None,
    reading: str = "erm",
    *,
    steps: int,
    learning_rate: float | None = None,
    method: str = "gradient",
    eta: float = 0.0,
    tolerance: float = 0.0,
    start=None,
) -> Trajectory:
    """Full-batch training on the exact loss of a reading, compiled.

    "gradient" takes w - r grad L; "momentum" adds 0.9 times the last change (heavy ball); "normalized" takes steps of
    length r/sqrt(t+1) along the gradient (Nacson et al. 2019). eta > 0 trains the deck's MixupE: the step is
    eta_hat (grad L + eta grad R), R = E[a]/n sum_i |q_hat(x_i)|, |q_hat| = |m_i| sigmoid(-m_i) on a linear model,
    eta_hat = L/(L + eta R) held fixed. The expectation over lambda is refined until the gradients of two rules agree
    to 1e-10 of the terms summed, at 16 recorded steps and where ||w|| is largest.

    Args:
        x: Inputs, (n, d), linearly separable under every reading: the gaps are to the hard margin.
        y: Labels in {0, 1}, (n,).
        law: The law of lambda; None for "erm".
        reading: One of ``readings.READINGS``.
        steps: Number of steps; recorded at :func:`log_spaced` ones.
        learning_rate: r; n/sigma_max(X)^2 by default.
        method: "gradient", "momentum" or "normalized".
        eta: Weight of MixupE's penalty, 0 for none; needs reading "full".
        tolerance: Stop when the gradient's norm is at most this; later records repeat the last w.
        start: w(0), zeros by default.

    Returns:
        The trajectory.

    Raises:
        Diverged: (an ArithmeticError) if at a recorded step the loss is above both its first value and that of w = 0.
        NotSeparable: (a ValueError) with a certificate.
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.

    Example:
        >>> from mixupe_theory.separable import SUPPORT_VECTORS
        >>> run = descend(SUPPORT_VECTORS, [1, 1, 0, 0], steps=1000)
        >>> int(run.step[-1]), bool(run.norm[-1] > run.norm[-2]), bool(run.angle_gap[-1] < 1e-12)
        (1000, True, True)
    """
    z, w_hat = signed_inputs(x, y), max_margin(x, y)
    rate, safe = _learning_rate(z, learning_rate)
    check.choice("method", method, METHODS)
    check.choice("reading", reading, READINGS)
    eta, tolerance = check.nonnegative("eta", eta), check.nonnegative("tolerance", tolerance)
    if eta and reading != "full":
        raise ValueError(f"eta > 0 is MixupE, which needs reading 'full', got eta = {eta:g} with reading {reading!r}")
    if eta:
        check_law(law)
    penalty = eta * law.tilted().a_moment(1) if eta else 0.0
    at, w0 = log_spaced(steps), _start(z, start)

    def run(loss):
        w = np.empty((len(at), z.shape[1]))
        momentum = MOMENTUM if method == "momentum" else 0.0
        last = iterate(*loss.arrays, w0, rate, momentum, method == "normalized", penalty, tolerance, at, w)
        return w, (None if last < 0 else float(last))

    w, loss, converged = _with_accurate_rule(x, y, law, reading, run)
    return _trajectory(z, w_hat, at, w, loss, converged, rate, safe)


def descend_stochastic(
    x,
    y,
    law: BetaLaw,
    *,
    steps: int,
    generator: np.random.Generator,
    lambdas: str = "per_step",
    learning_rate: float | None = None,
    start=None,
    at=None,
) -> Trajectory:
    """Mixup as it is trained: each step draws a permutation and lambda, and mixes the whole batch with itself.

    The loss recorded is the exact one.

    Args:
        x: Inputs, (n, d), linearly separable.
        y: Labels in {0, 1}, (n,).
        law: The law of lambda.
        steps: Number of steps.
        generator: Source of randomness.
        lambdas: "per_step" (one lambda for the batch, as the official code does) or "per_sample".
        learning_rate: As in :func:`descend`.
        start: w(0), zeros by default.
        at: Steps to record, increasing integers from 0 to ``steps``, (T,); :func:`log_spaced` ones by default.

    Returns:
        The trajectory.

    Raises:
        Diverged: (an ArithmeticError) as in :func:`descend`, by the exact loss.
        NotSeparable: (a ValueError) with a certificate.
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """
    z, w_hat = signed_inputs(x, y), max_margin(x, y)
    check_law(law)
    rng = check.generator(generator)
    check.choice("lambdas", lambdas, LAMBDAS)
    rate, safe = _learning_rate(z, learning_rate)
    at = log_spaced(steps) if at is None else _recorded_steps(at, steps)
    n = len(z)
    s = 2 * check.real_array("y", y) - 1
    recorded, w = [], _start(z, start)
    for first in range(0, steps + 1, DRAWN_AT_ONCE):
        count = min(DRAWN_AT_ONCE, steps + 1 - first)
        lam = law.sample((count, n if lambdas == "per_sample" else 1), rng) * np.ones((1, n))
        partner = rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)
        path = np.empty((count, z.shape[1]))
        w = mix_and_step(z, s, partner, lam, w, rate, path)
        recorded.append(path[at[(at >= first) & (at < first + count)] - first])
    recorded = np.concatenate(recorded)
    w, loss, _ = _with_accurate_rule(x, y, law, "full", lambda _: (recorded, None))
    return _trajectory(z, w_hat, at, w, loss, None, rate, safe)


def gradient_flow(
    x, y, law: BetaLaw | None = None, reading: str = "erm", *, end: float = 1e15, per_decade: int = 8, start=None
) -> Trajectory:
    """The gradient flow dw/dt = -r grad L(w), whose unit of time is one step of :func:`descend`, to t = ``end``.

    Integrated in log time s = log(1 + t), dw/ds = -(1 + t) r grad L, by SciPy's LSODA with the exact Hessian, at
    tolerances of 1e-10; it stops early, and w stays, if the gradient's norm falls below 1e-13 of the terms summed.

    Args:
        x: Inputs, (n, d), linearly separable.
        y: Labels in {0, 1}, (n,).
        law: The law of lambda; None for "erm".
        reading: One of ``readings.READINGS``.
        end: Last time.
        per_decade: Recorded times in each decade, log-spaced from 1; 0 is recorded first.
        start: w(0), zeros by default.

    Returns:
        The trajectory.

    Raises:
        NotSeparable: (a ValueError) with a certificate.
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
        ArithmeticError: If the integration fails, or lambda needs more than 1024 nodes: so it is for "hard_label" where
            no minimizer is finite, when the norm has grown like a power of t for long enough.

    Example:
        >>> from mixupe_theory.separable import SUPPORT_VECTORS
        >>> flow = gradient_flow(SUPPORT_VECTORS, [1, 1, 0, 0], end=1e15)
        >>> round(float(np.diff(flow.norm[[-9, -1]])[0] / np.log(10)), 6)  # the norm grows by ||w_hat|| log t
        0.707107
    """
    z, w_hat = signed_inputs(x, y), max_margin(x, y)
    rate, safe = _learning_rate(z, None)
    end = check.positive("end", end)
    count = int(np.ceil(np.log10(max(end, 10.0)) * check.integer("per_decade", per_decade, least=1))) + 1
    times, w0 = np.unique(np.append(np.geomspace(min(1.0, end), end, count), 0.0)), _start(z, start)

    def run(loss):
        size = np.linalg.norm(z, axis=1).max()
        margins, pull, gradient = np.empty(len(z)), np.empty(len(z)), np.empty(len(w0))

        def field(s, w):
            fill_gradient(*loss.arrays, w, False, margins, pull, gradient)
            return -np.exp(s) * rate * gradient

        def jacobian(s, w):
            return -np.exp(s) * rate * loss.hessian(w)

        def at_rest(s, w):
            fill_gradient(*loss.arrays, w, False, margins, pull, gradient)
            return np.linalg.norm(gradient) - 1e-13 * size * np.abs(pull).sum()

        at_rest.terminal = True
        grid = np.log1p(times)
        solution = solve_ivp(
            field,
            (0.0, grid[-1]),
            w0,
            "LSODA",
            grid,
            jac=jacobian,
            events=at_rest,
            rtol=1e-10,
            atol=1e-12,
        )
        if solution.status < 0:
            raise ArithmeticError(f"the gradient flow could not be integrated: {solution.message}")
        w, rest = solution.y.T, None
        if solution.status == 1:
            rest = float(np.expm1(solution.t_events[0][0]))
            w = np.vstack([w, np.broadcast_to(solution.y_events[0][0], (len(times) - len(w), len(w0)))])
        return w, rest

    w, loss, converged = _with_accurate_rule(x, y, law, reading, run)
    return _trajectory(z, w_hat, times, w, loss, converged, rate, safe)


def _learning_rate(z: np.ndarray, learning_rate: float | None) -> tuple[float, float]:
    """The learning rate, and the bound below which gradient descent is stable."""
    unit = default_learning_rate(z)
    return (unit if learning_rate is None else check.positive("learning_rate", learning_rate)), 6 * unit


def _start(z: np.ndarray, start) -> np.ndarray:
    return np.zeros(z.shape[1]) if start is None else check.vector("start", start, z.shape[1])


def _recorded_steps(at, steps: int) -> np.ndarray:
    given = check.real_array("at", at)
    recorded = given.astype(np.int64)
    inside = given.ndim == 1 and given.size and given[0] >= 0 and given[-1] <= check.integer("steps", steps, least=1)
    if not inside or (recorded != given).any() or (np.diff(recorded) <= 0).any():
        raise ValueError(f"at must hold increasing integers from 0 to steps = {steps}, got {at!r}")
    return recorded


def _trajectory(z, w_hat, at, w, loss, converged, rate, safe) -> Trajectory:
    wrong = _diverged(w, loss)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise Diverged(at[first], loss[first], rate, safe)
    return Trajectory(z, w_hat, at, w, loss, converged)


def _diverged(w: np.ndarray, loss: np.ndarray) -> np.ndarray:
    return ~np.isfinite(w).all(1) | ~(loss <= max(np.log(2), loss[0]) * (1 + 1e-9))


def _with_accurate_rule(x, y, law, reading, run):
    """(w, L(w), converged) of ``run(loss)`` with the first rule whose gradients a rule twice as fine confirms."""
    m = FIRST_RULE
    while m <= MAX_NODES // 2:
        loss, finer = (linear_loss(x, y, law, reading, nodes) for nodes in (m, 2 * m))
        w, converged = run(loss)
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverged
            values = finer(w)
            if reading == "erm" or _diverged(w, values).any() or _rule_error(loss, finer, w) <= RTOL:
                return w, values, converged
        m *= 2
    raise ArithmeticError(f"the expectation over lambda did not reach a relative accuracy of {RTOL} with {m} nodes")


def _rule_error(coarse: LinearLoss, fine: LinearLoss, w: np.ndarray) -> float:
    """Largest difference of two rules' gradients, in units of the terms summed, at 16 records and the longest w."""
    spread = np.linspace(0, len(w) - 1, 16).astype(int)
    w = w[np.append(spread, np.linalg.norm(w, axis=1).argmax())]
    difference = np.linalg.norm(coarse.gradient(w) - fine.gradient(w), axis=1)
    terms = np.linalg.norm(fine.z, axis=1).max() * fine.pull(w)
    return float((difference / np.maximum(terms, np.finfo(float).tiny)).max())
