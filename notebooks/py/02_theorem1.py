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
# *Slides "Theorem 1", "Implication of Theorem 1", "Limitation", "Proposed MixupE".* About a minute on two cores.
# Figures: `theorem1_remainder`, `theorem1_shares`, `theorem1_divergence`, `theorem1_radius`.
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

# %%
import torch
from IPython.display import Markdown

from mixupe_theory import BetaLaw, report
from mixupe_theory.claims import recompute, select
from mixupe_theory.figures import regenerate
from mixupe_theory.networks import balanced, digits, load
from mixupe_theory.theorem1 import convergence_radius, expand

# %% [markdown]
# ## Parameters
#
# The deck's: $K$, $\alpha$. Ours: digits and two-moons, tanh networks trained with ERM and with mixup at
# $\alpha=0.2,1,2$; a ReLU network for the question of smoothness.

# %%
torch.set_num_threads(1)  # networks this small leave a second thread waiting
law = BetaLaw(1.0)
x, y = balanced(*digits(), 40)
f = load("digits-tanh-mixup-1")

# %% [markdown]
# ## The identity
#
# One call gives both losses and the expansion to order $K$. Expectations are exact: each order is a polynomial in $a$
# against the moments of $D_\lambda$. The truth of `remainder` is tested against Taylor's integral remainder, computed
# by nested forward-mode differentiation that shares no code with the expansion (row "Mixup loss = standard loss + R").

# %%
expansion = expand(f, x, y, law, order=6)
implicit_regularizer = (expansion.mixup - expansion.standard).item()

# %% tags=["nbval-ignore-output"]
print(f"L_std {expansion.standard:.4f}   L_mix {expansion.mixup:.4f}   R {implicit_regularizer:.4f}")
print("order      ", "".join(f"{k:12d}" for k in range(1, 7)))
print("collected/R", "".join(f"{v:12.3g}" for v in expansion.collected / implicit_regularizer))
print("nested/R   ", "".join(f"{v:12.3g}" for v in expansion.nested / implicit_regularizer))

# %% [markdown]
# **Check.** The two forms agree at order 1, where they are the same thing, and by definition nothing is left over.

# %%
assert torch.allclose(expansion.nested[0], expansion.collected[0], rtol=1e-12)
left_over = expansion.mixup - expansion.standard - expansion.nested - expansion.remainder
assert left_over.abs().max() <= 1e-12 * expansion.nested.abs().max()

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

# %%
radius = convergence_radius(f, x[:20])
outside = (radius < 1).double().mean().item()
print("most pairs have a radius below 1:", outside > 0.5)

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
# - Radii of networks of several layers are estimates, right to about 5 %; those of linear models are right to $10^{-6}$.
# - "Dominates" is read as "at least half of $R$".

# %% [markdown]
# ## Play
#
# Move $K$ and $a$: the loss between two digits, and its Taylor polynomial of order $K$.

# %% tags=["nbval-ignore-output", "interactive"]
from ipywidgets import interact

from mixupe_theory.figures.interactive import series_panel

interact(series_panel, order=(1, 20), alpha=(0.1, 4.0, 0.1))
