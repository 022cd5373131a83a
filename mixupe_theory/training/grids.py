"""Grids of runs, and the choice of hyper-parameters on held-out training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product

from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.runs import Run, applicable


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


def choose(candidates: Iterable[Run], held_out: float, sweep: Callable) -> list[Run]:
    """For each method and variant the candidate with the smallest error on held-out training data.

    Each candidate is trained under its own seed on the rest of the training part, and judged by the mean error of the
    last ten epochs, then by the loss; the test part is never looked at.

    Args:
        candidates: Runs that differ in hyper-parameters.
        held_out: Share of the training part that is held out.
        sweep: A function of a list of runs that does them and returns an
            :class:`mixupe_theory.training.sweeps.Outcome`.

    Returns:
        The chosen runs, with ``held_out`` as they came.

    Raises:
        ValueError: If one of the candidates' runs failed.
    """
    candidates = list(candidates)
    trials = [replace(run, held_out=held_out) for run in candidates]
    outcome = sweep(trials)
    if outcome.failures:
        raise ValueError(
            f"hyper-parameters cannot be chosen, {len(outcome.failures)} runs failed: {outcome.failures[0]}"
        )
    results = {entry["id"]: entry["summary"]["mean_of_last_10"] for entry in outcome.records}

    def order(pair) -> tuple[float, float]:
        result = results[pair[1].id]
        return result["test_error"], result["test_loss"]

    best: dict[tuple, tuple] = {}
    for pair in zip(candidates, trials, strict=True):
        key = (pair[0].method, pair[0].variant)
        best[key] = min(best.get(key, pair), pair, key=order)
    return [candidate for candidate, _ in best.values()]
