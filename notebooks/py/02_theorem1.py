# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Theorem 1: what mixup regularizes, order by order
#
# *Slides "Theorem 1", "Implication of Theorem 1", "Limitation", "Proposed MixupE".* About two minutes on two cores.
# Figures: `theorem1_remainder`, `theorem1_shares`, `theorem1_divergence`, `theorem1_radius`, `theorem1_radius_map`,
# `bench_taylor`.
#
# The claim: $L_n^{mix}=L_n^{std}+R$ with
#
# $$R=\frac1n\sum_{i=1}^n\mathbb E_{\lambda\sim D_\lambda,\,\mathbf x'\sim D_X}\Big(\sum_{k=1}^K\frac{a_\lambda^k}{k!}
# \mathbf J_h^k(f_\theta)\Delta_i^{\otimes k}-a_\lambda\mathbf y_i^\top\Delta_i+a_\lambda^K\hat\psi_{i,\mathbf x'}\Big),
# \qquad\Delta_i=\sum_{k=1}^K\frac{a_\lambda^{k-1}}{k!}\mathbf J_{f_\theta}^k(\mathbf x_i)(\mathbf x'-\mathbf x_i)^{\otimes k}
# +a_\lambda^{K-1}\psi_{i,\mathbf x'} .$$

# %% [markdown]
# ## Symbols
#
# | deck | code |
# |:--|:--|
# | $\frac1{k!}\mathbf J_f^k\,(\mathbf x'-\mathbf x_i)^{\otimes k}$ | `taylor.taylor_coefficients`, `taylor.pairwise_jet` |
# | $R$, remainders dropped, both sums truncated at $k$ | `expand(...).nested[k-1]` |
# | the term of order $k$ of $a\mapsto\ell(\mathbf x_i+a(\mathbf x'-\mathbf x_i),\mathbf y_i)$ | `expand(...).collected[k-1]` |
# | what $\psi,\hat\psi$ contribute | `expand(...).remainder[k-1]` |
# | both sides of the identity for one pair, as rigorous balls | `theorem1.certify` |
# | the distance from $a=0$ to the nearest complex singularity | `theorem1.convergence_radius`, `radius.radius_by_contour` |

# %%
import torch
from IPython.display import Markdown

from mixupe_theory import BetaLaw, report
from mixupe_theory.claims import recompute, select
from mixupe_theory.figures import regenerate
from mixupe_theory.networks import balanced, digits, load
from mixupe_theory.radius import radius_by_contour
from mixupe_theory.theorem1 import certify, convergence_radius, expand

# %% [markdown]
# ## Parameters
#
# The deck's: $K$, $\alpha$. Ours: digits and two-moons, tanh networks trained with ERM and with mixup at
# $\alpha=0.2,1,2$; a ReLU network for the question of smoothness.

# %%
torch.set_num_threads(1)  # networks this small leave a second thread waiting
law = BetaLaw(1.0)
x, y = balanced(*digits(), 100)  # 10,000 ordered pairs
f = load("digits-tanh-mixup-1")

# %% [markdown]
# ## The identity
#
# One call gives both losses and the expansion to order $K$. Expectations are exact: each order is a polynomial in $a$
# against the moments of $D_\lambda$. The truth of `remainder` is tested against Taylor's integral remainder, computed
# by nested forward-mode differentiation that shares no code with the expansion (row "Mixup loss = standard loss + R").

# %%
expansion = expand(f, x, y, law, order=8, rtol=1e-8)
implicit_regularizer = (expansion.mixup - expansion.standard).item()

# %% tags=["nbval-ignore-output"]
print(f"L_std {expansion.standard:.4f}   L_mix {expansion.mixup:.4f}   R {implicit_regularizer:.4f}")
print("order      ", "".join(f"{k:12d}" for k in range(1, 9)))
print("collected/R", "".join(f"{v:12.3g}" for v in expansion.collected / implicit_regularizer))
print("nested/R   ", "".join(f"{v:12.3g}" for v in expansion.nested / implicit_regularizer))

# %% [markdown]
# **Check.** The two forms agree at order 1, where they are the same thing, and by definition nothing is left over.

# %%
assert torch.allclose(expansion.nested[0], expansion.collected[0], rtol=1e-12)
left_over = expansion.mixup - expansion.standard - expansion.nested - expansion.remainder
assert left_over.abs().max() <= 1e-12 * expansion.nested.abs().max()

# %% [markdown]
# ## The identity, proved for one pair
#
# In ball arithmetic (python-flint) every number is an interval that contains the exact one. For a pair of real images the
# certificate encloses the pair's term of $L_n^{mix}$, each order, and the remainder, the latter as the expectation of the
# iterated integral of the $(K+1)$-th derivative along the whole segment, not by subtraction. Both sides of the identity
# are then enclosed independently, in both forms and for every $k\le K$: that their balls overlap is a proof to
# $10^{-30}$ for this pair, and a wrong factor or law is refuted (row "The identity, certified").

# %%
certificate = certify(f, x[0], x[1], y[0], law, order=3)
print("proved to 1e-30, both forms, k = 1..3:", certificate.proved and certificate.gap < 1e-30)

# %% tags=["nbval-ignore-output"]
print("term of L_mix   ", certificate.mixup.str(25))
for k in range(3):
    term, left = certificate.collected[k], certificate.taylor_remainder[k]
    print(f"order {k + 1}, remainder", term.str(25), left.str(25))

# %% [markdown]
# ## All pairs at once
#
# Theorem 1 wants every order along all $n^2$ directions. `taylor.pairwise_jet` calls the network once, on the $n$ points:
# order 0 of every intermediate value is known for all pairs from that, and so is the first layer, whose order 1 is the
# difference of two rows; what is left, orders $1..K$ through the other layers, is one matrix product per layer and a
# recurrence, compiled together to one function for pairs that a core's cache holds. The dashed line is the time of those products alone.

# %%
regenerate("bench_taylor")

# %% [markdown]
# ## The order of the remainder
#
# The deck: "remainder terms of order $\mathcal O(K)$". Measured along real pairs of digits, with $a$ a fraction of each
# pair's radius of convergence, what order $K$ misses falls like $a^{K+1}$. For a ReLU network each single pair is exactly
# linear near $\mathbf x_i$, yet the average over pairs falls like $a^2$ whatever $K$: some pair always has a kink closer
# than $a$.

# %%
regenerate("theorem1_remainder")

# %% [markdown]
# ## Does the first order dominate?
#
# "Regularize model with only first-order (dominate) approximation." The share of each order in $R$:

# %%
regenerate("theorem1_shares")

# %% [markdown]
# It never does. On ERM-trained digits order 1 is below 0.1 % of $R$ (the network fits, $g\approx\mathbf y$, and order 1
# carries the factor $g-\mathbf y$); after mixup training it is 6 to 8 %; on two-moons it can have the wrong sign. Nor can
# a small $\alpha$ help, because it does not make $a$ small: $\mathbb E[a^2]/\mathbb E[a]=\frac12$ for *every* symmetric
# $\alpha$, and $\mathbb E[a^k]/\mathbb E[a]\to\frac1k$.

# %%
for alpha in (0.01, 0.2, 1.0, 32.0):
    moment = BetaLaw(alpha).tilted().a_moment
    assert abs(moment(2) / moment(1) - 0.5) < 1e-15

# %% [markdown]
# ## Where the series converges
#
# As a function of complex $a$ the loss along a pair has poles and logarithms: softplus at $\pm i\pi$, tanh at
# $\pm i\pi/2$. The nearest one is the radius of convergence. Between real points it is mostly below 1, and mixup draws
# $a$ up to 1.

# %%
regenerate("theorem1_radius")

# %% [markdown]
# Who converges to whom? Within a class the series often reaches the other image; to another class it almost never does
# (red and blue diagonal blocks against blue ones elsewhere). On two-moons the reason can be seen: around each black point
# the green curve is how far the series converges in each real direction, and it runs along the decision boundary. The
# loss cannot be expanded across the boundary, which is where mixup's mixed points lie.

# %%
regenerate("theorem1_radius_map")

# %% [markdown]
# **Check.** The radius is read off 40 Taylor coefficients. A second estimator uses none: it counts the zeros of
# $\sum_je^{f_j}$ and the poles of tanh inside complex circles by the argument principle, as exactly as one asks.

# %%
radius = convergence_radius(f, x[:20])
assert (radius < 1).double().mean() > 0.5
for j in (1, 5, 11):
    contour = radius_by_contour(f, x[0], x[j] - x[0], rtol=1e-3)
    assert abs(radius[0, j] / contour - 1) < 0.15

# %% [markdown]
# ## What adding orders does
#
# Left: inside the radius more orders help, outside they hurt. Right: under the law that training uses, they hurt; the
# nested form, as printed, explodes, since its truncated $h$ meets a truncated $\Delta$ of degree $K$.

# %%
regenerate("theorem1_divergence")

# %% [markdown]
# ## Verdicts

# %%
rows = [recompute(claim) for claim in select(["theorem1"])]
assert all(row.sound for row in rows), [row.complaint for row in rows]
Markdown(report.verdict_markdown(rows))

# %% tags=["nbval-ignore-output"]
Markdown(report.evidence_markdown(rows))

# %% [markdown]
# ## Limits
#
# - The identity is checked to $K=6$ on small networks and to $K=3$ between two real digits; the symbolic proof goes to
#   order 4 for two outputs.
# - Certificates cover networks of linear layers and tanh, sigmoid, softplus, SiLU or GELU, pair by pair.
# - Radii of networks of several layers are estimates: half are right to 0.2 %, 98 % to 5 %, the worst of a thousand to
#   13 %. Those of linear models are right to $10^{-6}$.
# - "Dominates" is read as "at least half of $R$".

# %% [markdown]
# ## Play
#
# Move $K$ and $a$: the loss between two digits, and its Taylor polynomial of order $K$.

# %% tags=["nbval-ignore-output", "interactive"]
from ipywidgets import interact

from mixupe_theory.figures.interactive import series_panel

interact(series_panel, order=(1, 20), alpha=(0.1, 4.0, 0.1))
