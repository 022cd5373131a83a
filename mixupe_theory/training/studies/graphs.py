"""Table 6, graphs: six data sets, GIN, ten folds.

One fixed configuration for each family of data: hidden width 32 for molecules and proteins, 64 for social networks, 50
batches of 32 an epoch, dropout 0.5, the recipe "graphs". Each run has an inner run, trained on nine tenths of its
training part and tested on the rest, which chooses its epoch (nested selection). MUTAG and PTC are trained for the full
350 epochs and, to see whether that matters, for as few as the others.
"""

from __future__ import annotations

from collections.abc import Iterable

from mixupe_theory.tables_data import TABLES
from mixupe_theory.training.grids import grid
from mixupe_theory.training.outcomes import errors
from mixupe_theory.training.paired_tests import PairedTest, paired_test
from mixupe_theory.training.recipes import RECIPES
from mixupe_theory.training.replication import Row
from mixupe_theory.training.runs import Run
from mixupe_theory.training.studies.study import Study

FOLDS = 10
FEWER_EPOCHS = 50
HELD_OUT = 0.1
ETA = 0.1
SETS = {  # the deck's name -> ours, hidden width
    "MUTAG": ("mutag", 32),
    "NCI1": ("nci1", 32),
    "PTC": ("ptc_mr", 32),
    "PROTEINS": ("proteins", 32),
    "IMDB-BINARY": ("imdb_binary", 64),
    "IMDB-MULTI": ("imdb_multi", 64),
}
FULL = ("mutag", "ptc_mr")


def _runs(name: str, hidden: int, epochs: int):
    return [
        run
        for held_out in (0.0, HELD_OUT)
        for run in grid(
            methods=("erm", "mixup", "mixupe"),
            settings={"eta": (ETA,)},
            folds=range(FOLDS),
            recipes=(RECIPES["graphs"].scaled(epochs),),
            data=name,
            model="gin",
            model_options={"hidden": hidden},
            held_out=held_out,
        )
    ]


def _plan() -> list[Run]:
    return [
        run
        for name, hidden in SETS.values()
        for epochs in ((RECIPES["graphs"].epochs, FEWER_EPOCHS) if name in FULL else (FEWER_EPOCHS,))
        for run in _runs(name, hidden, epochs)
    ]


GRAPHS = Study(
    table=TABLES["graphs"],
    rows={title: Row(name, "gin") for title, (name, _) in SETS.items()},
    plan=_plan,
    together=True,
    selections=("nested", "optimistic"),
    main=lambda run: run.data not in FULL or run.recipe.epochs == RECIPES["graphs"].epochs,
)


def shortened(records: Iterable[dict], selection: str) -> dict[str, dict[str, PairedTest]]:
    """What fewer epochs do to the error: few minus full, fold by fold, of each data set of ``FULL`` and each method.

    Args:
        records: Of the study's runs.
        selection: One of :data:`mixupe_theory.training.outcomes.SELECTIONS`.

    Raises:
        ValueError: If runs are missing.
    """
    ids = {run.id: run for run in GRAPHS.runs if run.data in FULL}
    own = [record for record in records if record["id"] in ids]
    full, few = (
        errors([record for record in own if GRAPHS.main(ids[record["id"]]) == main], selection)
        for main in (True, False)
    )
    return {
        name: {
            title: paired_test(sample.values, full[name, "gin"][title].values, sample.overlap)
            for title, sample in few[name, "gin"].items()
        }
        for name in FULL
    }
