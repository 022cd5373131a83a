"""Table 4, tabular data: fifteen data sets, a multilayer perceptron, ten seeds (five for large sets).

The deck states neither network nor optimizer, so both are ours (:mod:`mixupe_theory.training.models.mlp`, the recipe
"tabular"). For each data set and method learning rate, weight decay and, where the method has them, alpha and eta are
chosen from one grid, by the error on a fifth of the first seed's training part. A seed is a split, first weights, an
order and draws of lambda and partners, the same for every method.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from mixupe_theory.tables_data import TABLES
from mixupe_theory.training.data.tabular_sets import TABULAR_SETS
from mixupe_theory.training.grids import grid
from mixupe_theory.training.recipes import RECIPES
from mixupe_theory.training.replication import Row
from mixupe_theory.training.runs import Run
from mixupe_theory.training.studies.study import Study

SEEDS, SEEDS_OF_LARGE = 10, 5
EPOCHS = {"letter": 50, "mnist_784": 15, "volkert": 15, "pendigits": 50}  # of the large sets; 100 of the others
LEARNING_RATES, WEIGHT_DECAYS = (1e-3, 1e-2), (0.0, 1e-3)
SETTINGS = {"alpha": (0.2, 1.0), "eta": (0.001, 0.1)}


def _recipes(name: str):
    """The recipe under each setting of the grid."""
    recipe = RECIPES["tabular"]
    recipe = recipe.scaled(EPOCHS.get(name, recipe.epochs))
    grid = product(LEARNING_RATES, WEIGHT_DECAYS)
    return [replace(recipe, learning_rate=rate, weight_decay=decay) for rate, decay in grid]


def _runs() -> list[Run]:
    return [
        run
        for table in sorted(TABULAR_SETS, key=lambda table: -table.rows)  # the longest first: workers end together
        for run in grid(
            methods=("erm", "mixup", "mixup_clean_forward", "mixupe"),
            variants=("deck", "official_v3"),
            seeds=range(SEEDS_OF_LARGE if table.name in EPOCHS else SEEDS),
            settings=SETTINGS,
            recipes=_recipes(table.name),
            data=table.name,
            model="mlp",
        )
    ]


TABULAR = Study(
    table=TABLES["tabular"],
    rows={
        table.title: Row(table.name, "mlp", absent="" if table.sha256 else "data not at hand") for table in TABULAR_SETS
    },
    plan=_runs,
    choose=0.2,
    together=True,
)
