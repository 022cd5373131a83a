"""Claims about where the deck's figure does appear: other readings, symmetric data, early stopping, small alpha."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.stats import t as student

from mixupe_theory.asymptotics import stationary_covariance
from mixupe_theory.claims.implicit_bias_measurements import (
    DRAWS,
    exit_time,
    flow,
    general,
    independent,
    minimizer,
    mirrored,
    predicted_exit,
    small_alpha_direction,
    soudry,
    uneven,
)
from mixupe_theory.claims.ledger import Claim, Evidence, any_of
from mixupe_theory.descent import METHODS
from mixupe_theory.implicit_bias import (
    NoFiniteMinimizer,
    angle,
    descend,
    descend_stochastic,
    gradient_flow,
    max_margin,
    mixup_minimizer,
    signed_inputs,
)
from mixupe_theory.mixing import BetaLaw

# --- readings under which the figure appears --------------------------------------------------------------------


def as_in_the_figure(reading: str, alpha: float | None, draws: int = 10, data=uneven) -> Evidence:
    """Does training look as the deck's figure says: t L(w) bounded, norm ~ ||w_hat|| log t, angle and margin ~ 1/log t?

    Measured between 10^12 and 10^15 on the flow, where ERM's own next terms are O(1/log t): each quantity's change from
    the first to the second time is compared with what the law asks for.
    """
    loss, norm, gaps = [], [], []
    for seed in range(draws):
        run = flow(data, seed, reading, alpha)
        first, last = np.searchsorted(run.step, 0.999e12), -1
        ratio = np.log(run.step[last]) / np.log(run.step[first])
        loss.append(np.log(run.loss[last] / run.loss[first]) / np.log(run.step[last] / run.step[first]))
        grown = (run.norm[last] - run.norm[first]) / np.log(run.step[last] / run.step[first])
        norm.append(grown / np.linalg.norm(run.w_hat))
        gaps += [np.log(gap[last] / gap[first]) / np.log(ratio) for gap in (run.angle_gap, run.margin_gap)]
    loss, norm, gaps = (np.array(values) for values in (loss, norm, gaps))
    allowed = 2 / np.log(1e12)
    return Evidence(
        bool((abs(loss + 1) < allowed).all() and (abs(norm - 1) < allowed).all() and (gaps < -0.5).all()),
        {
            "exponent of the loss in t": _range(loss),
            "growth of the norm / (||w_hat|| log t)": _range(norm),
            "exponents of the gaps in log t": _range(gaps),
        },
        "1/log t corrections at 10^12, twice; a gap that stays has exponent 0, one like 1/(c + log t) has one below "
        "-1/2 "
        "unless c exceeds log t",
    )


def _range(values: np.ndarray) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


# --- hard labels ------------------------------------------------------------------------------------------------


def _hard_labels(reading: str = "hard_label") -> Evidence:
    """Finite on general data, none on independent points, where the norm grows like t^(1/3) at alpha = 1."""
    finite, infinite = 0, 0
    for seed in range(DRAWS):
        x, y = general(seed, 2)
        found = _minimizer_or_none(x, y, reading)
        finite += found is not None and found.least_eigenvalue > 0 and found.accuracy < 1e-8 * np.linalg.norm(found.w)
        infinite += _minimizer_or_none(*independent(seed), reading) is None
    x, y = independent(0)
    points = np.linalg.svd(x, full_matrices=False)
    run = gradient_flow(points[0] * points[1], y, BetaLaw(1.0), reading, end=1e7, per_decade=1)
    exponent = np.log(run.norm[-1] / run.norm[-2]) / np.log(run.step[-1] / run.step[-2])
    return Evidence(
        bool(finite == infinite == DRAWS and abs(exponent - 1 / 3) < 0.03),
        {"finite, general data": finite, "none, independent points": infinite, "exponent of the norm": float(exponent)},
        "exact counts; the norm is t^(1/3) up to lower powers, 3 % of the exponent's distance to 0 and 1 in a decade",
    )


def _minimizer_or_none(x, y, reading):
    try:
        return mixup_minimizer(x, y, BetaLaw(1.0), reading)
    except NoFiniteMinimizer:
        return None


# --- symmetry, early stopping, small alpha ----------------------------------------------------------------------


def _symmetric(data=mirrored) -> Evidence:
    pairs = [(minimizer(data, seed, 1.0).w, max_margin(*data(seed))) for seed in range(DRAWS)]
    worst, norms = max(float(angle(*pair)) for pair in pairs), [np.linalg.norm(w) for w, _ in pairs]
    return Evidence(
        worst < 1e-9,
        {"largest angle": worst, "largest norm of a minimizer": float(max(norms))},
        "the minimizer's accuracy, 1e-12 of its norm, times the inputs' condition number, below 10^2",
    )


WINDOW_ALPHAS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def _window(power: float = 1.0) -> Evidence:
    """Time at which mixup lags ERM by 0.1 w_hat, against the first-order prediction, as alpha -> 0."""
    ratios = np.array(
        [
            [exit_time(soudry, seed, alpha) / predicted_exit(*soudry(seed), alpha**power) for alpha in WINDOW_ALPHAS]
            for seed in range(2)
        ]
    )
    off = np.abs(ratios - 1)
    logs = np.log(1 / np.array(WINDOW_ALPHAS))
    return Evidence(
        bool((np.diff(off) < 0).all() and (off <= 3 / logs).all()),
        {
            "time / prediction at alpha = 0.01": _range(ratios[:, 0]),
            "at 1e-6": _range(ratios[:, -1]),
        },
        "the mixing cost at a norm of log t is its limit up to O(1/log t) with log t about log(1/alpha): within "
        "3/log(1/alpha) "
        "and falling",
    )


def _small_alpha(by_margin: bool = False) -> Evidence:
    """(w*(1e-8) - w*(1e-6))/log 100 against w_C, and angles of w_C and w*(1e-8) to the hard margin."""
    errors, angles, last = [], [], []
    for seed in range(5):
        x, y = general(seed, 10)
        w = [minimizer(general, seed, alpha, 10).w for alpha in (1e-6, 1e-8)]
        limit = max_margin(x, y) if by_margin else small_alpha_direction(x, y)
        errors.append(np.linalg.norm((w[1] - w[0]) / np.log(1e2) - limit) / np.linalg.norm(limit))
        angles.append(np.degrees(angle(limit, max_margin(x, y))))
        last.append(np.degrees(angle(w[1], max_margin(x, y))))
    return Evidence(
        bool(max(errors) < 1 / np.log(1e6) and max(angles) > 10),
        {
            "largest relative error of dw/dlog(1/alpha)": float(max(errors)),
            "angle of the limit to the hard margin (degrees)": _range(np.array(angles)),
            "of w*(1e-8)": _range(np.array(last)),
        },
        "w*(alpha) = w_C log(1/alpha) + O(1), the O(1) settling like 1/log(1/alpha): 1/13.8 at 1e-6",
    )


# --- stochastic mixup, other optimizers, MixupE -----------------------------------------------------------------


@cache
def _squared_distances(lambdas: str, steps: int = 300_000) -> np.ndarray:
    """|w(t) - w*|^2 along one long run of stochastic mixup, every 250 steps."""
    found, at = minimizer(soudry, 0, 1.0), np.arange(2000, steps, 250)
    draw = {"generator": np.random.default_rng(0), "lambdas": lambdas, "start": found.w, "at": at}
    return ((descend_stochastic(*soudry(0), BetaLaw(1.0), steps=steps, **draw).w - found.w) ** 2).sum(1)


def _stationary(rate_factor: float = 1.0) -> Evidence:
    """Mean squared distance of w(t) from w* over a long run, with a Student interval from 30 batches."""
    x, y = soudry(0)
    found, rate = minimizer(soudry, 0, 1.0), len(x) / np.linalg.norm(x, 2) ** 2
    measured, passed = {}, True
    for lambdas in ("per_step", "per_sample"):
        squared = _squared_distances(lambdas)
        batches = squared[: len(squared) // 30 * 30].reshape(30, -1).mean(1)
        law = {"lambdas": lambdas, "learning_rate": rate_factor * rate}
        predicted = np.trace(stationary_covariance(x, y, BetaLaw(1.0), found.w, found.hessian, **law))
        interval = student.ppf(0.995, 29) * batches.std(ddof=1) / 30**0.5
        allowed = interval / predicted + rate * np.linalg.eigvalsh(found.hessian)[-1]
        ratio = float(squared.mean() / predicted)
        passed = passed and abs(ratio - 1) < allowed and squared.max() < 0.1 * (found.w @ found.w)
        measured |= {
            f"{lambdas}: E|w - w*|^2 / prediction": ratio,
            f"{lambdas}: allowed": float(allowed),
            f"{lambdas}: spread / norm": float(squared.mean() ** 0.5 / np.linalg.norm(found.w)),
        }
    return Evidence(
        bool(passed),
        measured,
        "99 % Student interval of 30 batch means, plus r lambda_max(H), the order of what the linearization leaves out",
    )


@cache
def _runs(seed: int, steps: int = 5000) -> dict:
    """(loss, method): the end of training, for mixup at alpha = 1 and for ERM."""
    x, y = soudry(seed)
    mixup = {("mixup", m): descend(x, y, BetaLaw(1.0), "full", steps=steps, method=m) for m in METHODS[1:]}
    return mixup | {("erm", m): descend(x, y, steps=steps, method=m) for m in METHODS}


def _optimizers(alpha: float = 1.0) -> Evidence:
    """Momentum and normalized steps end where plain descent ends on mixup's loss; on ERM's they all go to w_hat."""
    momentum, normalized, gaps = [], [], []
    for seed in range(4):
        (x, _), found, runs = soudry(seed), minimizer(soudry, seed, alpha), _runs(seed)
        off = {m: np.linalg.norm(runs["mixup", m].w[-1] - found.w) for m in METHODS[1:]}
        last_step = len(x) / np.linalg.norm(x, 2) ** 2 / runs["mixup", "normalized"].step[-1] ** 0.5
        momentum.append(off["momentum"] / np.linalg.norm(found.w))
        normalized.append(off["normalized"] / last_step / np.linalg.cond(found.hessian))
        gaps.append(runs["erm", "normalized"].angle_gap[-1] / runs["erm", "gradient"].angle_gap[-1])
    return Evidence(
        bool(max(momentum) < 1e-6 and max(normalized) < 1 and max(gaps) < 0.1),
        {
            "momentum: distance / ||w*||": float(max(momentum)),
            "normalized: distance / (last step, condition number)": float(max(normalized)),
            "ERM: angle gap, normalized / plain": float(max(gaps)),
        },
        "the rule for lambda is exact to 1e-10 of the terms, over a least eigenvalue of 1e-3; a normalized step cannot "
        "end nearer than its length, which the condition number amplifies; plain descent's gap falls no faster than "
        "t^(-1/4), normalized steps do in t steps what takes it exp(sqrt t)",
    )


def _mixupe(sign: float = 1.0) -> Evidence:
    """(w_eta - w*)/eta against -H^-1 grad R(w*), its error proportional to eta."""
    errors, norms = [], []
    for seed in range(5):
        x, y = soudry(seed)
        found, z, law = minimizer(soudry, seed, 1.0), signed_inputs(x, y), BetaLaw(1.0)
        m = z @ found.w
        wrong = 1 / (1 + np.exp(m))
        slope = np.sign(m) * wrong * (1 - m * (1 - wrong))  # of |m| sigmoid(-m) = |q_hat|
        predicted = -sign * np.linalg.solve(found.hessian, law.tilted().a_moment(1) * slope @ z / len(z))
        for eta in (0.01, 0.001):
            run = descend(x, y, law, "full", steps=20_000, eta=eta, tolerance=1e-13)
            errors.append(np.linalg.norm((run.w[-1] - found.w) / eta - predicted) / np.linalg.norm(predicted))
            norms.append(run.norm[-1] / np.linalg.norm(found.w))
    ratios = np.array(errors[0::2]) / errors[1::2]
    return Evidence(
        bool((np.abs(ratios / 10 - 1) < 0.1).all()),
        {
            "error at eta = 0.01 / at 0.001": _range(ratios),
            "error at eta = 0.001": float(max(errors[1::2])),
            "norm / mixup's": _range(np.array(norms)),
        },
        "the next term is proportional to eta: a ratio of 10, up to its own next term",
    )


CLAIMS = (
    Claim(
        id="implicit_bias.same-class",
        title="The figure appears: mixing within a class",
        slide="Toy example: Linear Logistic Binary Classification",
        statement="Addition: mixing only points of one class, mixup has ERM's implicit bias, at ERM's rates",
        verdict="holds",
        finding="Mixed points lie in the classes' convex hulls: same support vectors, same hard margin.",
        check=lambda: as_in_the_figure("same_class", 1.0),
        control=lambda: as_in_the_figure("full", 1.0),
    ),
    Claim(
        id="implicit_bias.label-absorbed",
        title="The figure appears: labels absorbed",
        slide="Toy example: Linear Logistic Binary Classification",
        statement="Addition: mixing the signed inputs $z_i=(2y_i-1)x_i$, all with label 1, mixup has ERM's implicit "
        "bias, at "
        "ERM's rates",
        verdict="holds",
        finding="“Without loss of generality $y=1$” is harmless for ERM, but not before mixing: it turns mixing of "
        "opposite classes into mixing within one.",
        check=lambda: as_in_the_figure("label_absorbed", 1.0),
        control=lambda: as_in_the_figure("full", 1.0),
    ),
    Claim(
        id="implicit_bias.hard-label",
        title="Hard labels: half of the figure at most",
        slide="Toy example: Linear Logistic Binary Classification",
        statement="Addition: with the label of the larger weight, separable data have a finite minimizer unless one "
        "$w$ gives "
        "all points the same margin, as with linearly independent points; then the norm explodes, like $t^{1/3}$ at "
        r"$\alpha=1$",
        verdict="holds",
        finding="And that $w$, not the max-margin one, is the direction.",
        check=_hard_labels,
        control=lambda: _hard_labels("full"),
    ),
    Claim(
        id="implicit_bias.symmetric",
        title="Symmetric data: the direction agrees",
        slide="Same implicit bias on Linear Model",
        statement="Addition: if data are their own mirror image in the line of the max-margin vector, mixup's "
        "direction is that "
        "one",
        verdict="holds",
        finding="By uniqueness: the minimizer has the data's symmetry. So has Soudry's figure without its twelve "
        "other points. "
        "The norm stays finite.",
        check=_symmetric,
        control=lambda: _symmetric(soudry),
    ),
    Claim(
        id="implicit_bias.early-stopping",
        title="The window of early stopping",
        slide="Toy example: Linear Logistic Binary Classification",
        statement=r"Addition: mixup follows ERM up to a time proportional to $1/\alpha$: it lags by $0.1\,\hat w$ at "
        r"$t=0.2\lVert\hat w\rVert^2/(\alpha\,r\,C(\hat w))$, $C$ the cost of mixing far out",
        verdict=r"holds if $\alpha\to0$",
        finding=r"To 24 % at $\alpha=0.01$ and 3 % at $10^{-6}$. At $\alpha=1$ the window is over after some ten "
        r"steps.",
        check=_window,
        control=lambda: _window(power=0.9),
    ),
    Claim(
        id="implicit_bias.small-alpha",
        title="α → 0: the norm, not the direction",
        slide="Mixup formulation",
        statement=r"Addition: as $\alpha\to0$, $w^*(\alpha)=w_C\log(1/\alpha)+O(1)$ with $w_C=\arg\min C(w)$ "
        r"subject to $w^\top "
        r"z_i\ge1$, $C(w)=\frac1{n^2}\sum M(1-H(m_i/M))$ over opposite pairs of margins $m_i+m_j=M$, $H$ the entropy",
        verdict="holds",
        finding="The norm explodes as ERM's does, the direction is max-margin for mixup's own cost in place of the "
        "norm: up to "
        r"28° off on general data in $d=10$. That $\alpha\to0$ recovers ERM is true of the loss only.",
        check=_small_alpha,
        control=lambda: _small_alpha(by_margin=True),
    ),
    Claim(
        id="implicit_bias.stochastic",
        title="One λ a step, or a sample",
        slide="Toy example: Linear Logistic Binary Classification",
        statement="Addition: stochastic mixup does not explode either: $w(t)$ fluctuates around the minimizer with the "
        "covariance that the noise at the minimizer predicts",
        verdict="holds",
        finding="2.3 % of the norm with one λ a step, 2.2 % with one a sample, at the step size of the figure.",
        check=_stationary,
        control=lambda: any_of({"r / 2": _stationary(0.5), "2 r": _stationary(2.0)}),
    ),
    Claim(
        id="implicit_bias.optimizers",
        title="Momentum and normalized steps",
        slide="Same implicit bias on Linear Model",
        statement="Addition: with mixup the optimizer does not matter: momentum and normalized gradient descent end "
        "at the same "
        "minimizer",
        verdict="holds",
        finding="So no bias of gradient descent is left; on ERM's loss normalized steps reach the max margin far "
        "sooner.",
        check=_optimizers,
        control=lambda: _optimizers(alpha=0.9),
    ),
    Claim(
        id="implicit_bias.mixupe",
        title="What MixupE changes here",
        slide="Proposed MixupE",
        statement=r"Addition: on a linear model MixupE moves mixup's minimizer by $-\eta H^{-1}\nabla R+O(\eta^2)$; "
        r"the norm "
        "stays finite",
        verdict="holds",
        finding=r"At the README's $\eta=0.001$ the norm changes by less than 0.1 %.",
        check=_mixupe,
        control=lambda: _mixupe(sign=-1.0),
    ),
)
