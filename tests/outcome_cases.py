"""Made-up records of runs, for the tests of outcomes and of the deck's tables trained again."""

from dataclasses import replace

import numpy as np

from mixupe_theory.training.records import summary
from mixupe_theory.training.runs import Run

METHODS = {
    "ERM": {"method": "erm"},
    "mixup": {"method": "mixup"},
    "mixup + clean forward": {"method": "mixup_clean_forward"},
    "MixupE deck": {"method": "mixupe"},
    "MixupE official_v3": {"method": "mixupe", "variant": "official_v3"},
}
ROWS = {"Iris": "iris", "Letter": "letter", "CMC": "cmc"}


def record(errors, title="ERM", *, losses=None, epochs=None, split=None, **settings):
    """A record with these test errors, one for each epoch, and test losses (all 1 by default)."""
    run = Run(**{"data": "iris", "model": "mlp", "seed": 0} | METHODS[title] | settings)
    run = replace(run, recipe=replace(run.recipe, epochs=len(errors) if epochs is None else epochs))
    losses = [1.0] * len(errors) if losses is None else losses
    entries = [
        {"epoch": k, "test_error": error, "test_loss": loss}
        for k, (error, loss) in enumerate(zip(errors, losses, strict=True))
    ]
    own = {"fold": run.fold} if run.family == "graphs" else {"seed": run.seed}
    sizes = {"train": 90, "test": 10} if run.family == "graphs" else {"train": 120, "test": 30}
    return {
        "id": run.id,
        "run": run.as_dict(),
        "split": sizes | (own if split is None else split),
        "summary": summary(entries),
        "epochs": entries,
    }


def fold(errors, number, title="ERM", **how):
    """The same of one fold of MUTAG."""
    return record(errors, title, data="mutag", model="gin", fold=number, **how)


def table(shifts, *, rows=ROWS, seeds=5, noise=0.002, generator=None):
    """Final runs of one epoch: (title -> shift of its error) for each row; all share their seeds' and rows' parts."""
    generator = np.random.default_rng(0) if generator is None else generator
    found = []
    for data in rows.values():
        level = generator.uniform(0.1, 0.3)
        for seed in range(seeds):
            of_seed = generator.normal(0, 0.01)
            for title, shift in shifts.items():
                error = level + of_seed + shift + generator.normal(0, noise)
                found.append(record([error], title, data=data, seed=seed))
    return found
