"""Training by ERM, mixup, manifold mixup and MixupE: methods, models, real data, records, exact resume.

- ``data``: data sets in their official layouts, verified; ``models``: the networks of the deck's tables.
- ``methods``: what each method does with a batch; ``recipes``: optimizers and schedules, as data.
- ``runs``: one run, as data; ``trainer``: its steps; ``execution``: its checkpoints and its record.
- ``grids``: many runs, and the choice of hyper-parameters on held-out data; ``sweeps``: many runs side by side.

``SOURCES``, ``MODELS`` and ``RECIPES`` are plain dictionaries: put your own entries in, and they can be named in a run.
"""

from mixupe_theory.training.data import SOURCES, load
from mixupe_theory.training.execution import execute, trained_network
from mixupe_theory.training.grids import choose, grid
from mixupe_theory.training.methods import METHODS
from mixupe_theory.training.models import MODELS, build
from mixupe_theory.training.recipes import RECIPES, Recipe
from mixupe_theory.training.runs import Run
from mixupe_theory.training.sweeps import sweep
from mixupe_theory.training.tabulation import table

__all__ = [
    "METHODS",
    "MODELS",
    "RECIPES",
    "SOURCES",
    "Recipe",
    "Run",
    "build",
    "choose",
    "execute",
    "grid",
    "load",
    "sweep",
    "table",
    "trained_network",
]
