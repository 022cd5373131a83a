"""The commands ``mixupe-theory train`` and ``mixupe-theory data``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

from tabulate import tabulate

SHOWN_FAILURES = 10
EXAMPLES = """examples:
  mixupe-theory train --data iris --model mlp --method erm mixup mixupe --seeds 5
  mixupe-theory train --data cifar10 --model preact_resnet18 --method mixupe --variant deck official_v3 --epochs 80
  mixupe-theory train --data letter --model mlp --method mixupe --eta 0.001 0.01 0.1 --choose 0.2 --seeds 5
  torchrun --standalone --nproc-per-node 2 -m mixupe_theory train --data cifar10 --model wrn28_10 --method mixupe

The same command again goes on where it stopped."""


def add_train(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``train``."""
    parser.set_defaults(run=train)
    parser.epilog = f"{EXAMPLES}\n\n{parser.epilog}"
    what = parser.add_argument_group("what")
    what.add_argument("--data", required=True, metavar="NAME", help="a data set; see `mixupe-theory data status`")
    what.add_argument("--model", required=True, metavar="NAME", help="mlp, lenet, vgg11, preact_resnet18, gin, ...")
    what.add_argument(
        "--option", metavar="NAME=VALUE", nargs="+", default=[], help="of the model, such as width=0.25 official=true"
    )
    what.add_argument(
        "--method",
        nargs="+",
        default=["erm"],
        metavar="NAME",
        help="erm, mixup, manifold_mixup, mixupe, mixup_clean_forward (default: erm)",
    )
    what.add_argument("--variant", nargs="+", metavar="NAME", help="of MixupE (default: deck)")
    for name, help in (
        ("alpha", "lambda ~ Beta(alpha, alpha) (default: 1)"),
        ("eta", "weight of MixupE's penalty (default: 0.001)"),
        ("threshold", "of official_v1 and official_v3 (default: 1)"),
    ):
        what.add_argument(f"--{name}", type=float, nargs="+", metavar="X", help=help)
    what.add_argument("--lam-per-sample", action="store_true", help="a lambda for each sample, not for each batch")
    what.add_argument("--loss", default="cross_entropy", help="cross_entropy, or bce: the official one of ERM")
    what.add_argument("--seeds", type=int, default=1, metavar="N", help="number of seeds (default: 1)")
    what.add_argument("--first-seed", type=int, default=0, metavar="S", help="(default: 0)")
    what.add_argument("--folds", type=int, metavar="N", help="the first N folds of cross-validation (graphs)")
    what.add_argument("--subset", type=int, metavar="N", help="train on N examples only, stratified by class")
    what.add_argument(
        "--held-out", type=float, default=0.0, metavar="SHARE", help="test on a share of the training set"
    )
    what.add_argument(
        "--choose",
        type=float,
        metavar="SHARE",
        help="first choose among the values given (of alpha, eta, the learning rate, ...) for each method and variant, "
        "by the first seed's and fold's error on this share of the training set, held out",
    )
    how = parser.add_argument_group("recipe")
    how.add_argument("--recipe", metavar="NAME", help="images, images-400, tabular, speech, graphs, graphs-128")
    how.add_argument("--epochs", type=int, metavar="N", help="shorten the schedule in proportion")
    for name, kind in (("batch-size", int), ("learning-rate", float), ("weight-decay", float)):
        how.add_argument(f"--{name}", type=kind, nargs="+", metavar="X", help="in place of the recipe's")
    how.add_argument("--no-augmentation", action="store_true", help="training images as they are")
    how.add_argument("--precision", default="float32", help="float32, float64, or bfloat16 (autocast)")
    where = parser.add_argument_group("where")
    add_places(where)
    where.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler; local: a cluster on this machine")
    where.add_argument("--fast", action="store_true", help="one joint pass, compiled, on a GPU one CUDA graph")
    where.add_argument("--together", action="store_true", help="tabular data, graphs: all runs in one pass")
    where.add_argument("--list", action="store_true", help="print the runs, train nothing")


def add_places(where: argparse._ArgumentGroup) -> None:
    """Declare where runs are made and recorded."""
    where.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER", help="(default: %(default)s)")
    where.add_argument("--records", type=Path, metavar="FILE", help="(default: records.jsonl in that folder)")
    where.add_argument("--workers", type=int, default=1, metavar="N", help="runs side by side (default: 1)")
    where.add_argument("--device", default="auto", help="auto, cpu or cuda")
    where.add_argument("--deterministic", action="store_true", help="exact resume on a GPU too, slower")
    where.add_argument("--checkpoint-seconds", type=float, default=60.0, metavar="S", help="(default: %(default)s)")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``data``."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, run, help in (
        ("status", data_status, "verify the data sets that are there, and say where the others belong"),
        ("fetch", data_fetch, "download data sets from their canonical sources, and verify them"),
    ):
        action = actions.add_parser(name, help=help, description=help)
        action.set_defaults(run=run)
        action.add_argument("names", nargs="*" if name == "status" else "+", metavar="NAME", help="data sets")


def runs_of(arguments: argparse.Namespace) -> list:
    """The runs that the arguments describe.

    Raises:
        ValueError: If one of them is not allowed; the message names it.
    """
    from mixupe_theory import _validation as check
    from mixupe_theory.training import data
    from mixupe_theory.training.grids import grid
    from mixupe_theory.training.recipes import RECIPES
    from mixupe_theory.training.runs import default_recipe

    recipe = default_recipe(data.source(arguments.data).family, arguments.model)
    if arguments.recipe:
        recipe = RECIPES[check.choice("recipe", arguments.recipe, RECIPES)]
    if arguments.epochs is not None:
        recipe = recipe.scaled(arguments.epochs)
    if arguments.no_augmentation:
        recipe = replace(recipe, augment=False)
    names = ("batch_size", "learning_rate", "weight_decay")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    changes = [dict(zip(given, values, strict=True)) for values in product(*given.values())]
    origin = f"{recipe.origin}; {' and '.join(given)} given" if given else recipe.origin
    methods = list(arguments.method)
    if arguments.variant and "mixup" in methods and "mixupe" not in methods:
        # mixup with a variant's penalty is MixupE
        print("mixupe-theory: mixup with a variant is MixupE; training method mixupe", file=sys.stderr)
        methods[methods.index("mixup")] = "mixupe"
    settings = {
        name: getattr(arguments, name) for name in ("alpha", "eta", "threshold") if getattr(arguments, name) is not None
    }
    if arguments.lam_per_sample:
        settings["lam_per_sample"] = [True]
    seeds = check.integer("seeds", arguments.seeds, least=1)
    return grid(
        methods=methods,
        variants=arguments.variant or ["deck"],
        seeds=range(arguments.first_seed, arguments.first_seed + seeds),
        folds=[None] if arguments.folds is None else range(check.integer("folds", arguments.folds, least=1)),
        settings=settings,
        data=arguments.data,
        model=arguments.model,
        recipes=[replace(recipe, origin=origin, **change) for change in changes],
        loss=arguments.loss,
        held_out=arguments.held_out,
        subset=arguments.subset,
        model_options=dict(_option(text) for text in arguments.option),
        precision=arguments.precision,
    )


def train(arguments: argparse.Namespace) -> int:
    """Run ``mixupe-theory train``."""
    from mixupe_theory.training.execution import chosen_device
    from mixupe_theory.training.grids import choose
    from mixupe_theory.training.ranks import from_torchrun
    from mixupe_theory.training.sweeps import RECORDS, sweep
    from mixupe_theory.training.tabulation import table

    runs = runs_of(arguments)
    if arguments.list:
        print("\n".join(f"{run.id}  {run}" for run in runs))
        return 0
    recorded = arguments.records or arguments.out / RECORDS
    with from_torchrun(chosen_device(arguments.device)) as ranks:

        def go(runs):
            return sweep(
                runs,
                arguments.out,
                workers=arguments.workers,
                dask=arguments.dask,
                recorded=recorded,
                ranks=ranks,
                device=arguments.device,
                deterministic=arguments.deterministic,
                fast=arguments.fast,
                together=arguments.together,
                checkpoint_seconds=arguments.checkpoint_seconds,
            )

        if arguments.choose is not None:
            runs = choose(runs, arguments.choose, go)
        outcome = go(runs)
    return report(outcome, recorded, table) if ranks.rank == 0 else bool(outcome.failures)


def report(outcome, recorded: Path, text: Callable[[list[dict]], str]) -> int:
    """Print what came of a sweep, the records by ``text``, and return the exit status."""
    if outcome.records:
        print(text(outcome.records))
        print(f"records: {recorded}")
    for failure in outcome.failures[:SHOWN_FAILURES]:
        print(f"mixupe-theory: {failure}", file=sys.stderr)
    if len(outcome.failures) > SHOWN_FAILURES:
        print(f"mixupe-theory: and {len(outcome.failures) - SHOWN_FAILURES} more runs failed", file=sys.stderr)
    if outcome.left:
        print(f"mixupe-theory: {len(outcome.left)} runs left, no time; the same command goes on", file=sys.stderr)
    return 1 if outcome.failures else 0


def data_status(arguments: argparse.Namespace) -> int:
    """Run ``mixupe-theory data status``: exit status 1 if a data set is there and is not what was published."""
    from mixupe_theory.training import data

    folder = data.data_folder()
    rows, damaged = [], False
    for name in arguments.names or data.SOURCES:
        source = data.source(name)
        try:
            rows.append((name, "verified", source.verify(folder)))
        except data.MissingData:
            rows.append((name, "not there", f"belongs in {source.place}"))
        except data.CorruptData as error:
            damaged = True
            rows.append((name, "DAMAGED", str(error)))
    print(f"data folder: {folder} (set by MIXUPE_DATA)")
    print(tabulate(rows, ("data", "", ""), maxcolwidths=[None, None, 90]))
    return 1 if damaged else 0


def data_fetch(arguments: argparse.Namespace) -> int:
    """Run ``mixupe-theory data fetch``."""
    from mixupe_theory.training import data

    for source in [data.source(name) for name in arguments.names]:
        folder = data.data_folder()
        source.fetch(folder)
        print(f"{source.name}: {source.verify(folder)}")
    return 0


def _option(text: str) -> tuple[str, object]:
    """``name=value`` with the value as JSON has it, or a word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"option must be name=value, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
