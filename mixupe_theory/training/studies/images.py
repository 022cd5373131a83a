"""The deck's image table, for a GPU, and a small stand-in for two CPU cores.

``IMAGES``: the deck's networks but PreActResNet-101, and PreActResNet-18, on all of CIFAR-10 and CIFAR-100 (and SVHN
where its data is), with schedules shortened in proportion to the deck's, in bfloat16 but for the exact q, whose
derivative bfloat16 spoils; the cheapest rows first, seed by seed, so that whatever is finished is paired.

``SMALL``: LeNet, whose dropout keeps it from fitting the 10,000 images that it is trained on, and a PreActResNet-18 of
an eighth of its width, which overfits 2,000 of CIFAR-10; both tested on the whole test part.
"""

from __future__ import annotations

from dataclasses import replace

from mixupe_theory.tables_data import TABLES, Table
from mixupe_theory.training.grids import grid
from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.replication import BASELINES, CONTROL, Row
from mixupe_theory.training.runs import Run, default_recipe
from mixupe_theory.training.studies.study import Study

METHODS = ("erm", "mixup", "manifold_mixup", "mixupe", "mixup_clean_forward")
VARIANTS = ("deck", "deck_detached", "exact", "official_v3")
SETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "SVHN": "svhn"}
ETA = 0.1  # at the official README's 0.001 the penalty's gradient is a thousandth of the loss's

SEEDS = 3
NETWORKS = {  # ours, epochs on a GPU
    "PreActResNet18": ("preact_resnet18", 30),
    "PreActResNet50": ("preact_resnet50", 30),
    "WRN-28-10": ("wrn28_10", 30),
}

SMALL_SEEDS = 5
SMALL_NETWORKS = {  # ours, options, images, epochs, on
    "LeNet": ("lenet", {}, 10_000, 20, ("CIFAR-10", "CIFAR-100")),
    "PreActResNet18 / 8": ("preact_resnet18", {"width": 0.125}, 2_000, 40, ("CIFAR-10",)),
}

LENET_RATE = 0.03  # at the recipe's 0.1 LeNet, which has no BatchNorm, stays at chance

_PASSES = {"erm": 1, "mixup": 1, "manifold_mixup": 1, "mixup_clean_forward": 1.5, "mixupe": 2}
_EXACT = 3  # passes of MixupE with the exact q
_FLOAT32 = 2  # times as long as bfloat16 on a GPU; a guess, which a sweep within a time corrects
_SETUP = 60  # seconds on a GPU, mostly of compiling
_EPOCH = {"preact_resnet18": 0.5, "preact_resnet50": 1.95, "wrn28_10": 3.96}  # of ERM on an H200, in seconds, targets
_SMALL_EPOCH = {"lenet": (4.5, 4.5), "preact_resnet18": (4.9, 6.8)}  # on a core, training and evaluation, measured


def _recipe(model: str, epochs: int) -> Recipe:
    recipe = default_recipe("images", model).scaled(epochs)
    if model == "lenet":
        return replace(recipe, learning_rate=LENET_RATE, origin=f"{recipe.origin}; learning_rate chosen by us")
    return recipe


def _runs(model: str, data: str, epochs: int, seed: int, **fixed) -> list[Run]:
    return grid(
        methods=METHODS,
        variants=VARIANTS,
        settings={"eta": (ETA,)},
        seeds=(seed,),
        recipes=(_recipe(model, epochs),),
        data=data,
        model=model,
        **fixed,
    )


def _plan() -> list[Run]:
    return [
        run if run.variant == "exact" else replace(run, precision="bfloat16")
        for model, epochs in NETWORKS.values()
        for data in SETS.values()
        for seed in range(SEEDS)
        for run in _runs(model, data, epochs, seed)
    ]


def _small_plan() -> list[Run]:
    return [
        run
        for model, options, images, epochs, sets in SMALL_NETWORKS.values()
        for data in sets
        for seed in range(SMALL_SEEDS)
        for run in _runs(model, SETS[data], epochs, seed, subset=images, model_options=options)
    ]


def _passes(run: Run) -> float:
    """Times ERM's FLOPs for a step."""
    return _EXACT if run.variant == "exact" else _PASSES[run.method]


def _cost(run: Run) -> float:
    slower = 1 if run.precision == "bfloat16" else _FLOAT32
    return _SETUP + run.recipe.epochs * slower * _passes(run) * _EPOCH[run.model]


def _small_cost(run: Run) -> float:
    training, evaluation = _SMALL_EPOCH[run.model]
    return run.recipe.epochs * (_passes(run) * training + evaluation)


_BASELINES = (*BASELINES, CONTROL)

IMAGES = Study(
    table=TABLES["images"],
    rows={
        f"{network}, {title}": Row(data, model, absent="needs a GPU, not yet run")
        for network, (model, _) in NETWORKS.items()
        for title, data in SETS.items()
    }
    | {
        f"PreActResNet101, {title}": Row(data, "preact_resnet101", absent="needs a GPU, left out to save time")
        for title, data in SETS.items()
    },
    plan=_plan,
    baselines=_BASELINES,
    cost=_cost,
    fast=True,
)

SMALL = Study(
    table=Table(
        id="images-small",
        title="Images, small networks and few images (the deck has no such table)",
        slide=TABLES["images"].slide,
        runs_statement="",
        runs=None,
        unit=TABLES["images"].unit,
        spread_unit=None,
        methods=(),
        rows={},
    ),
    rows={
        f"{network}, {title}": Row(SETS[title], model)
        for network, (model, _, _, _, sets) in SMALL_NETWORKS.items()
        for title in sets
    },
    plan=_small_plan,
    baselines=_BASELINES,
    cost=_small_cost,
)
