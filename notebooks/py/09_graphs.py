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
# # Graphs, trained again
#
# *Slide "Other tasks" (Table 6).* Under a minute. Figures: `training_graphs`, `training_graphs_selection`,
# `training_graphs_curves`, `training_graphs_ranks`.
#
# The claim: over six sets of graphs MixupE's test error is below ERM's and, but for PTC, below mixup's.
#
# What we find: with ten paired folds no difference in any row is significant. Taken together over the six sets, MixupE's errors
# are lower by 2.0 ± 2.4 points than ERM's and 1.9 ± 1.7 than mixup's where the epoch is chosen on training parts (p = 0.09 and 0.06
# after Holm), almost all of it on MUTAG and PTC, the two smallest sets; at the last epoch, or with the epoch chosen on the test
# folds, the same runs show half a point or less. How the epoch is chosen moves the errors by as much as the deck's
# methods differ, and more.
#
# A sentence for a referee: *trained again with paired folds, Table 6 does not show that MixupE improves on ERM or mixup; the two
# points that it gains under the fair choice of the epoch are not significant after correction, and are gone when the same
# runs are read in either of two other usual ways.*

# %% [markdown]
# ## Symbols
#
# | term | code |
# |:--|:--|
# | everything behind the table: data sets, methods, folds | `STUDIES["graphs"]` |
# | the committed records, one line a run | `recorded(study)` |
# | ours beside the deck's, under a selection of the epoch | `replication(study, records, selection)` |
# | all rows together, fold by fold | `replication.on_average(method, baseline)` |
# | what fewer epochs do to the error | `shortened(records, selection)` |

# %%
import numpy as np
from IPython.display import Markdown
from tabulate import tabulate

from mixupe_theory import report
from mixupe_theory.claims import recompute, select
from mixupe_theory.figures import regenerate
from mixupe_theory.training.replication_text import as_markdown
from mixupe_theory.training.studies import STUDIES, live, recorded, replication
from mixupe_theory.training.studies.graphs import shortened

# %% [markdown]
# ## Parameters
#
# The deck's: the six sets, and ± over what must be folds (notebook 06). Ours: the graph isomorphism network of Xu et al. (2019),
# five layers counting the input, one fixed configuration for each family of data: hidden width 32 for molecules and proteins,
# 64 for social networks, dropout 0.5, batches of 32, 50 of them an epoch, Adam with a rate of 0.01 halved six times. Ten
# stratified folds, the same for every method, as are first weights, order, $\lambda$ and partners. Mixup and MixupE mix the
# pooled readouts; $\alpha = 1$, $\eta = 0.1$.

# %%
study = STUDIES["graphs"]
rows = {}
for run in study.runs:
    rows.setdefault((run.data, run.recipe.epochs, run.model_options["hidden"]), set()).add(run.title)
print(
    tabulate([[*key, ", ".join(sorted(found))] for key, found in rows.items()], ["data", "epochs", "hidden", "methods"])
)

# %% [markdown]
# MUTAG and PTC are trained for the full 350 epochs of Xu et al., the others for 50; to see what that changes, MUTAG and PTC are
# trained for 50 as well (below).
#
# **Which epoch counts?** Folds are small (19 graphs in MUTAG's), and their error jumps from epoch to epoch. Xu et al. take one epoch
# for all folds, that of the smallest mean *test* error: optimistic. The fair way is nested: for each fold a second network is
# trained on nine tenths of the training part, and its best epoch on the rest of it is the epoch of the first. Here are both,
# and the nested one decides.
#
# ## One row, live
#
# MUTAG, three methods, three folds, 4 epochs: nine networks as one stack, in some ten seconds.

# %% tags=["nbval-ignore-output"]
wanted = [run for run in study.runs if run.data == "mutag" and study.main(run) and not run.held_out and run.fold < 3]
print(live(study, wanted, epochs=4))

# %% [markdown]
# ## The table
#
# The rest is read from `figures/data/runs/graphs.jsonl`, which
#
# ```
# mixupe-theory study graphs --workers 2 --records figures/data/runs/graphs.jsonl
# ```
#
# made; the same command, killed and typed again, goes on where it stopped. `mixupe-theory tables graphs` prints what follows.

# %%
entries = recorded(study)
tables = {selection: replication(study, entries, selection) for selection in study.selections}
Markdown(as_markdown(tables["nested"]))

# %% [markdown]
# And with the epoch chosen on the test folds:

# %%
Markdown(as_markdown(tables["optimistic"]))

# %% [markdown]
# **Check.** Every number of the first table is the mean over ten folds of a recorded test error, at an epoch that only the inner
# run has chosen; all methods have the same folds.

# %%
lines = {entry["id"]: entry for entry in entries}
for cell in (cell for cells in tables["nested"].ours.values() for cell in cells.values()):
    outer, inner = ([lines[id] for id in part] for part in (cell.ids[:10], cell.ids[10:]))
    assert [o["run"]["fold"] for o in outer] == [i["run"]["fold"] for i in inner] == list(range(10))
    assert all(i["run"]["held_out"] and not o["run"]["held_out"] for o, i in zip(outer, inner, strict=True))
    judged = [[(epoch["test_error"], epoch["test_loss"]) for epoch in i["epochs"]] for i in inner]
    chosen = [min(range(len(of_fold)), key=of_fold.__getitem__) for of_fold in judged]
    errors = [100 * o["epochs"][k]["test_error"] for o, k in zip(outer, chosen, strict=True)]
    assert np.isclose(np.mean(errors), cell.mean)

# %% [markdown]
# There is no control with a second, clean forward pass: the pass would only change statistics of BatchNorm behind the place
# where graphs are mixed, and there is none behind it, so such runs would be those of mixup.
#
# ## Row by row
#
# Differences fold by fold with 95 % intervals; filled where significant after Holm. Training sets of folds overlap, so the
# variance is Nadeau and Bengio's (2003). The axis is linear up to one point and logarithmic beyond.

# %%
regenerate("training_graphs")

# %% [markdown]
# ## What the choice of the epoch does
#
# The same runs, once with each selection, minus the deck's printed means. On MUTAG the deck's numbers are where the optimistic choice
# puts ours; NCI1 is undertrained here (see the limits).

# %%
regenerate("training_graphs_selection")

# %%
means = {name: table.means(table.ranked).mean(0) for name, table in tables.items()}
gains = dict(zip(tables["nested"].ranked, (means["nested"] - means["optimistic"]).round(2).tolist(), strict=True))
print("points gained by choosing on the test folds, mean over rows:", gains)
columns = tables["nested"].table.methods
deck = np.array([[cells[column].mean for column in columns] for cells in tables["nested"].deck.values()])
for name, table in tables.items():
    print(f"{name}: {np.abs(table.means(table.ranked) - deck).mean():.1f} points from the deck's means, on average")

# %% [markdown]
# The nested choice is fair but noisy: on MUTAG it looks at 17 graphs. The last epoch needs no choice at all. MixupE's difference to
# the others on average over rows, under each (p-values before Holm):

# %%
tables["last"] = replication(study, entries, "last")
for selection, table in tables.items():
    for baseline in ("ERM", "mixup"):
        test = table.on_average("MixupE deck", baseline)
        print(
            f"{selection}: MixupE - {baseline} {test.difference:+.2f} ± {test.half_width:.2f} points, p = {test.p:.2f}"
        )

# %% [markdown]
# ## Do fewer epochs matter?
#
# Of MUTAG and PTC: the error after the short schedule minus that after the full one, fold by fold, in points. After Holm's
# correction none of the differences is significant (the smallest p, 0.01, is of MixupE under the nested choice); the intervals are
# wide, and two small sets do not speak for a large one.

# %%
few = {selection: shortened(entries, selection) for selection in tables}
cells = [
    [selection, name, title, f"{test.difference:+.2f} ± {test.half_width:.2f}", f"{test.p:.2f}"]
    for selection, sets in few.items()
    for name, titles in sets.items()
    for title, test in titles.items()
]
Markdown(tabulate(cells, ["selection", "data", "method", "few − full", "p"], "github"))

# %% [markdown]
# Mean test errors by epoch: on PTC ERM's rises again under the long schedule and MixupE's does not, a difference of some points that
# ten folds cannot tell from none; NCI1 is still falling at the end of the short one.

# %%
regenerate("training_graphs_curves")

# %% [markdown]
# ## All rows together
#
# With six rows Wilcoxon's test cannot go below 1/32, and Holm's correction for two of them makes that 1/16. So the rows are also
# taken together fold by fold: the paired test of the means over rows ("on average" in the notes above), which speaks of these six
# sets and no others.

# %%
regenerate("training_graphs_ranks")

# %% [markdown]
# ## Verdicts

# %%
verdicts = [recompute(claim) for claim in select(["training.graphs"])]
assert all(row.sound for row in verdicts), [row.complaint for row in verdicts]
Markdown(report.verdict_markdown(verdicts))

# %% tags=["nbval-ignore-output"]
Markdown(report.evidence_markdown(verdicts))

# %% [markdown]
# ## Limits
#
# - The deck's network, schedule, $\alpha$, $\eta$ and selection of the epoch are unknown; ours are proxies, not tuned for any method.
# - One seed for each fold: what is measured is the spread over folds and first weights together.
# - Four sets are trained for a seventh of the epochs of Xu et al. That costs MUTAG and PTC nothing that can be seen, but NCI1, with
#   4,110 graphs, is passed through some twenty times only, and its errors lie 7 to 9 points above the deck's for every method.
# - Ten folds of small sets cannot show differences below some points in a row (the figure has the intervals); "not significant"
#   does not mean "none".
