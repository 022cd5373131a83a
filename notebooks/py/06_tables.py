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
# # The printed tables: which differences stand out?
#
# *Slides "Image Classification Test Error (%)", "Other tasks" (Tables 4, 5, 6), "Robustness – Generalize to Novel
# Deformations".* A few seconds. Figures: `tables_images`, `tables_tabular`, `tables_graphs`, `tables_runs`,
# `tables_robustness`.
#
# The claim: MixupE has lower test errors than ERM and mixup on images, tabular data, speech and graphs, and "generalizes to
# novel deformations". Here nothing is trained: we ask what the printed numbers themselves support.
#
# What we find: on images and speech MixupE's mean is the lowest in every row, and most differences are far larger than the
# printed spread. In Table 4 another mean is lower in six of 15 rows, and no difference is significant at the printed five
# trials; over all sets together MixupE is below ERM, but not shown to be below mixup. In Table 6 the ± cannot be percents, as
# the errors are; as fractions they leave no difference significant. Of eight deformations MixupE leads in five and is last in two.

# %% [markdown]
# ## Symbols
#
# | term | code |
# |:--|:--|
# | mean ± spread of one cell | `cell(table, row, method)` |
# | difference of means with its interval, Welch's t-test | `welch(...)`, for a whole table `compare(table, method)` |
# | the same for runs paired with an assumed correlation | `paired(...)`, `compare(..., correlation=...)` |
# | Hedges' $g$: the difference in standard deviations, unbiased | `hedges_g(...)` |
# | Holm's correction for many comparisons | `holm(p_values)` |
# | Wilcoxon's signed ranks over the rows of a table | `signed_rank(table, baseline)` |
# | least spread that folds' errors with a given mean can have | `least_fold_spread(mean, sizes)` |

# %%
from IPython.display import Markdown
from tabulate import tabulate

from mixupe_theory import report, tables
from mixupe_theory.claims import recompute, select
from mixupe_theory.figures import regenerate
from mixupe_theory.tables_data import GRAPH_CLASSES, TABLES

# %% [markdown]
# ## Parameters
#
# The deck's: what it prints about the number of runs. Ours, to be changed at will: `RUNS` behind each ± of the image table,
# where it prints none; and what ± is, a sample standard deviation (`"std"`), one divided by $n$ instead of $n-1$
# (`"population"`, numpy's default) or a standard error (`"sem"`). The figures below use 5 and `"std"`.

# %%
RUNS = 5
SPREAD = "std"
for table in TABLES.values():
    print(f"{table.title}: {table.runs_statement or 'no number of runs printed'}")

# %% [markdown]
# ## Images and speech
#
# Two methods' runs are taken as independent, with means $\bar a,\bar b$, standard deviations $s_a,s_b$, $n$ runs each. Welch:
#
# $$t=\frac{\bar a-\bar b}{\sqrt{(s_a^2+s_b^2)/n}},\qquad
# \nu=\frac{(n-1)(s_a^2+s_b^2)^2}{s_a^4+s_b^4}\ \text{degrees of freedom.}$$
#
# Eighteen such tests at 5 % would find one difference by chance where there is none. Holm (1979): of $m$ sorted p-values the
# $k$-th must not exceed $0.05/(m-k+1)$, nor any before it; then the chance of even one false finding is at most 5 %.

# %%
images, speech = tables.compare("images", runs=RUNS, spread=SPREAD), tables.compare("speech", spread=SPREAD)
for name, found in (("images", images), ("speech", speech)):
    sure = sum(c.better and c.p_holm <= 0.05 for c in found)
    print(f"{name}: {sure} of {len(found)} differences significantly in MixupE's favour")

# %% [markdown]
# **Check.** MixupE's mean is the lowest in every row; Holm's correction only ever makes p-values larger; the interval of a
# difference excludes 0 exactly where its uncorrected p-value is below 5 %.

# %%
assert tables.not_best("images") == tables.not_best("speech") == {}
assert all(c.p_holm >= c.p for c in images + speech)
assert all((c.low > 0 or c.high < 0) == (c.p < 0.05) for c in images + speech)

# %%
regenerate("tables_images")

# %% [markdown]
# The least clear rows. Hedges' $g$ counts the difference in standard deviations of a run. Its interval (from the non-central
# $t$ law, for equal variances) is wide with so few runs: a $g$ of −20 may as well be −11 or −30.

# %% tags=["nbval-ignore-output"]
unclear = sorted(images, key=lambda c: -c.p_holm)[:5]
lines = [(c.row, c.baseline, c.difference, f"[{c.g_low:.1f}, {c.g_high:.1f}]", c.p_holm) for c in unclear]
Markdown(tabulate(lines, ("row", "against", "difference", "Hedges' g, 95 %", "p (Holm)"), "pipe", floatfmt=".2g"))

# %% [markdown]
# ## How many runs?
#
# The image table prints no number of runs, and it matters: with two runs the same means and spreads make fewer than half of
# the differences significant, with eight all of them. The other tables print their number (dots).

# %%
few = tables.significant("images", runs=2, spread=SPREAD)
many = tables.significant("images", runs=30, spread=SPREAD)
assert few.better < few.of / 2 < many.better
assert many.worse == 0
regenerate("tables_runs")

# %% [markdown]
# ## Tabular data (Table 4)
#
# Row by row, nothing stands out from the spread of five trials. Trials of two methods might have shared their splits of the
# data; then differences would be surer than Welch's test says. The deck does not say so; a correlation of 0.7 would still
# leave nothing significant.

# %%
for correlation in (None, 0.7):
    found = tables.significant("tabular", spread=SPREAD, correlation=correlation)
    print(f"correlation {correlation}: {found.better} better, {found.worse} worse, of {found.of}")
print("another mean is lower:", ", ".join(f"{row} ({winner})" for row, winner in tables.not_best("tabular").items()))

# %%
regenerate("tables_tabular")

# %% [markdown]
# Two methods over several data sets are usually compared by Wilcoxon's signed ranks of the differences (Demšar 2006), one per
# set; no ± is needed. The law of the rank sum is exact here, ties included.
#
# **Check.** Below ERM; not shown to be below mixup.

# %%
against_erm, against_mixup = (tables.signed_rank("tabular", baseline) for baseline in ("ERM", "Mixup"))
assert 2 * against_erm < 0.05 < against_mixup

# %% [markdown]
# ## Graphs (Table 6): the unit of ±
#
# Errors are printed in percent, as in MUTAG $10.15\pm0.06$, from ten folds. Could 0.06 be in percent too? A fold's error rate
# is a whole number of errors over the fold's size. MUTAG has 188 graphs, so folds of 18 to 20: one error is some 5 points, and
# ten such rates with mean 10.15 % cannot agree to 0.06 points. Among folds of one size $N$ the most even split is best: a total
# of $10a+r$ errors gives a spread of at least $\sqrt{r(10-r)}/(10N)$. With unequal folds a search over the totals of each size,
# in exact arithmetic, finds the least spread.

# %%
possible = {"percent": 0, "fraction": 0}
for row, classes in GRAPH_CLASSES.items():
    for mean, spread in (tables.cell("graphs", row, method) for method in TABLES["graphs"].methods):
        least = min(tables.least_fold_spread(mean, tables.fold_sizes(classes, by_class=old)) for old in (False, True))
        possible["percent"] += spread + 0.005 >= least
        possible["fraction"] += 100 * (spread + 0.005) >= least
print("cells in which ± is possible, read as", possible)

# %% [markdown]
# **Check.** Read as percents no cell is possible; read as fractions (0.06 is 6 points) all are. And ± as a fraction is what
# counting errors on one fold gives by itself, $\sqrt{p(1-p)/N}$ (ticks in the figure).

# %%
assert possible["percent"] == 0
assert possible["fraction"] == len(GRAPH_CLASSES) * len(TABLES["graphs"].methods)
regenerate("tables_graphs")

# %% [markdown]
# The reading decides the conclusion.

# %%
for unit in ("percent", "fraction"):
    found = tables.significant("graphs", spread_unit=unit, spread=SPREAD)
    print(f"± as {unit}: {found.better} significantly better, {found.worse} significantly worse, of {found.of}")
print("another mean is lower:", tables.not_best("graphs"))

# %% [markdown]
# ## Robustness
#
# No ± is printed, so there is nothing to test: we count. **Check.** MixupE is not the most accurate everywhere, but in more
# than half of the rows.

# %%
behind = tables.not_best("robustness")
assert 0 < len(behind) < len(TABLES["robustness"].rows) / 2
regenerate("tables_robustness")

# %% [markdown]
# ## Verdicts

# %%
rows = [recompute(claim) for claim in select(["tables."]) if not claim.is_open]
assert all(row.sound for row in rows), [row.complaint for row in rows]
Markdown(report.verdict_markdown(rows))

# %% tags=["nbval-ignore-output"]
Markdown(report.evidence_markdown(rows))

# %% [markdown]
# ## Limits
#
# - These are verdicts on printed numbers, not on the method: whether training gives such numbers is the subject of the
#   notebooks that train. "Not significant" means that the numbers do not show a difference, not that there is none.
# - The single runs are not printed. We take them as independent between methods and roughly normal; runs that shared seeds or
#   folds with a strong correlation (above 0.8 for Table 6, near 0.8 for Table 4) would make a few more differences significant.
# - The ten folds of cross-validation share training data, so their errors are not independent and no unbiased estimate of
#   their spread exists (Bengio and Grandvalet 2004): Welch's test is, if anything, too ready to find a difference in Table 6.
# - That ± as percents is impossible assumes one error rate per fold and folds dealt as scikit-learn does (either way); that ±
#   is of the order of the binomial spread needs neither.
# - The tables' best numbers may have been selected (hyper-parameters, epochs); nothing printed says how, and no test here can
#   correct for it.
# - Printed digits are rounded; at the worst ends of the rounding, for and against MixupE, the counts above stay the same.
# - Names: the deck's text prints NCI1 as "NCII"; data sets' usual names are used throughout.
