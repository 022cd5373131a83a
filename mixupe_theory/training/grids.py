"""Grids of runs, and the choice of hyper-parameters on held-out training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product

from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.runs import Run, applicable

_CRITERIA = ("test_error", "test_loss")


def grid(
    *,
    methods: Sequence[str],
    variants: Sequence[str] = ("deck",),
    seeds: Sequence[int] = (0,),
    folds: Sequence[int | None] = (None,),
    recipes: Sequence[Recipe | None] = (None,),
    settings: dict[str, Sequence] | None = None,
    **fixed,
) -> list[Run]:
    """Every run of the given methods, variants (of MixupE), settings, folds and seeds, each once.

    Args:
        methods: Names of methods.
        variants: Names of MixupE's variants.
        seeds: Seeds.
        folds: Folds of cross-validation.
        recipes: Recipes to try with every method.
        settings: For "alpha", "eta", "threshold" or "lam_per_sample" the values to try; each goes to the methods that
            have a use for it.
        fixed: What is the same for all, as in :class:`mixupe_theory.training.runs.Run`.

    Example:
        >>> etas = {"eta": (0.1, 0.2)}
        >>> runs = grid(data="iris", model="mlp", methods=("erm", "mixupe"), seeds=(0, 1), settings=etas)
        >>> [(run.method, run.eta, run.seed) for run in runs]
        [('erm', None, 0), ('erm', None, 1), ('mixupe', 0.1, 0), ('mixupe', 0.1, 1), ('mixupe', 0.2, 0), ...]
    """
    runs = []
    for method in methods:
        for variant in variants if "variant" in applicable(method) else (None,):
            own = {"variant": (variant,)} if variant else {}
            meaningful = applicable(method, variant)
            own |= {name: values for name, values in (settings or {}).items() if name in meaningful}
            own["recipe"] = recipes
            for values in product(*own.values()):
                chosen = dict(zip(own, values, strict=True))
                runs += [
                    Run(method=method, seed=seed, fold=fold, **chosen, **fixed) for fold in folds for seed in seeds
                ]
    return list({run.id: run for run in runs}.values())


def choose(runs: Iterable[Run], held_out: float, sweep: Callable) -> list[Run]:
    """Of the runs of each data set, model, method and variant those with the settings that do best on held-out data.

    All settings are tried under the first run's seed and fold, on the rest of the training part, and judged by the mean
    error of the last ten epochs, then by the loss; the test part is never looked at.

    Args:
        runs: Runs that differ in settings, seeds and folds.
        held_out: Share of the training part that is held out.
        sweep: A function of a list of runs that does them and returns an
            :class:`mixupe_theory.training.sweeps.Outcome`.

    Returns:
        Those with the chosen settings, of every seed and fold.

    Raises:
        ValueError: If one of the trials failed.
    """
    runs = list(runs)
    trial = {"seed": runs[0].seed, "fold": runs[0].fold, "held_out": held_out}
    trials = [replace(run, **trial) for run in runs]
    outcome = sweep(trials)
    if outcome.failures:
        raise ValueError(
            f"hyper-parameters cannot be chosen, {len(outcome.failures)} runs failed: {outcome.failures[0]}"
        )
    results = {entry["id"]: entry["summary"]["mean_of_last_10"] for entry in outcome.records}
    best: dict[tuple, Run] = {}
    for run in trials:
        key = _chosen_for(run)
        best[key] = min(best.get(key, run), run, key=lambda run: tuple(results[run.id][name] for name in _CRITERIA))
    return [run for run, tried in zip(runs, trials, strict=True) if best[_chosen_for(run)] == tried]


def _chosen_for(run: Run) -> tuple:
    return run.data, run.model, run.method, run.variant
