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
# # The ledger: every claim of the deck, and what the numbers say
#
# *Zou, Verma et al., "MixupE: Understanding and Improving Mixup from Directional Derivative Perspective", UAI 2023.*
# About a minute on two cores. No figures of its own.
#
# Each claim of the authors' slides has a row. A **check** measures it on real input, within a tolerance that theory
# dictates; a **control** runs the same check on a planted error and must not pass, or the check could not fail.
# The verdicts are: *holds*, *holds if ...*, *fails as printed* (the corrected statement is a row of its own), and
# *open* for what nobody has checked here yet.

# %% [markdown]
# ## Symbols
#
# | deck | code | meaning |
# |:--|:--|:--|
# | $\ell(\theta,(\mathbf x,\mathbf y))=h(f_\theta(\mathbf x))-\mathbf y^\top f_\theta(\mathbf x)$ | `pointwise_loss` | loss |
# | $L_n^{std}$, $L_n^{mix}$ | `standard_loss`, `mixup_loss` | without and with mixup |
# | $\lambda\sim\mathrm{Beta}(\alpha,\beta)$, $D_\lambda$ | `BetaLaw`, `.tilted()` | laws of the mixing coefficient |
# | $a_\lambda=1-\lambda$ | `a` | share of the other point |
# | $q,\hat q,R,\hat\eta$ | `objective.q`, `q_hat`, `regularizer`, `eta_hat` | parts of the MixupE objective |
#
# The claims live in `mixupe_theory/claims`, one file for each topic; `mixupe-theory claims` prints the same table.

# %%
from IPython.display import Markdown
from tqdm.auto import tqdm

from mixupe_theory import report
from mixupe_theory.claims import select

# %% [markdown]
# ## Recompute
#
# Two processes, one thread each. Nothing below is read from a file but the weights of the small trained networks
# (`mixupe-theory networks` makes them) and the records of the tables trained again (`mixupe-theory study`).

# %% tags=["nbval-ignore-output"]
claims = select()
rows = list(tqdm(report.recompute_all(claims, workers=2), total=len(claims)))

# %% [markdown]
# **Check.** Every published verdict is supported, every planted error noticed.

# %%
complaints = [row.complaint for row in rows if not row.sound]
assert not complaints, complaints

# %% [markdown]
# ## Mixing and the mixup loss
# Story and figures: [01_mixup_loss](01_mixup_loss.ipynb).

# %%
topics = {topic: [row for row in rows if row.claim.topic == topic] for topic in {c.topic for c in claims}}
Markdown(report.verdict_markdown(topics["mixup_loss"]))

# %% [markdown]
# ## Theorem 1
# Story and figures: [02_theorem1](02_theorem1.ipynb).

# %%
Markdown(report.verdict_markdown(topics["theorem1"]))

# %% [markdown]
# ## The MixupE objective
# Story and figures: [03_objective](03_objective.ipynb).

# %%
Markdown(report.verdict_markdown(topics["objective"]))

# %% [markdown]
# ## Implicit bias
# Story and figures: [04_implicit_bias](04_implicit_bias.ipynb).

# %%
Markdown(report.verdict_markdown(topics["implicit_bias"]))

# %% [markdown]
# ## Theorem 2
# Story and figures: [05_theorem2](05_theorem2.ipynb).

# %%
Markdown(report.verdict_markdown(topics["theorem2"]))

# %% [markdown]
# ## The printed tables
# What their own numbers support. Story and figures: [06_tables](06_tables.ipynb).

# %%
Markdown(report.verdict_markdown(topics["tables"]))

# %% [markdown]
# ## The tables, trained again
# From the committed records of real runs. Story and figures: [08_tabular](08_tabular.ipynb),
# [09_graphs](09_graphs.ipynb), [10_speech](10_speech.ipynb).

# %%
Markdown(report.verdict_markdown(row for row in topics["training"] if not row.claim.is_open))

# %% [markdown]
# ## Open: not checked yet
# The experiments, by training: each keeps its row until a check takes its place.

# %%
Markdown(report.verdict_markdown(row for row in rows if row.claim.is_open))

# %% [markdown]
# ## Evidence
# What was measured, rounded to two digits, and where each tolerance comes from.

# %% tags=["nbval-ignore-output"]
Markdown(report.evidence_markdown(rows))

# %% [markdown]
# ## Limits
#
# - The claims on trained networks speak of small networks on digits and two-moons; the figures say which.
# - A tolerance bounds what theory allows (rounding, quadrature, a confidence level); each row names it.
# - *Holds* means that the check did not fail and could have: it is a proof only where the row says so
#   (exact rational arithmetic, free symbols).
