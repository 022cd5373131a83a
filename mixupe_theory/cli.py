"""The command ``mixupe-theory`` (also ``python -m mixupe_theory``)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from mixupe_theory import cli_studies, cli_training

EPILOG = """exit status: 0 all is well; 1 a verdict is not supported, a control passed, a notebook, a figure or a
training run failed, data is damaged; 2 the command was not understood or cannot run here."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (ValueError, ModuleNotFoundError, OSError) as error:
        print(f"mixupe-theory: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mixupe-theory: stopped; what was finished is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mixupe-theory",
        description="Recompute what the MixupE paper claims: its ledger, its notebooks, its figures.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help, description=help, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.set_defaults(run=run)
        return sub

    claims = command("claims", _claims, "recompute the verdict on every claim and print the table")
    claims.add_argument("--only", metavar="ID", nargs="+", help="claims whose id begins so, for example theorem1")
    claims.add_argument("--list", action="store_true", help="show the published verdicts, recompute nothing")
    claims.add_argument("--json", action="store_true", help="print evidence and controls as JSON")
    claims.add_argument("--readme", metavar="FILE", type=Path, help="also write the published verdicts into FILE")
    _add_workers(claims)

    notebooks = command("notebooks", _notebooks, "execute the notebooks from their sources and write them")
    notebooks.add_argument("names", nargs="*", metavar="NAME", help="only these, for example 02 (default: all)")
    _add_workers(notebooks)

    figures = command("figures", _figures, "recompute every figure; rewrite those that changed")
    figures.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    figures.add_argument("--redraw", action="store_true", help="rewrite also those that did not change")

    train = command("train", None, "train networks by ERM, mixup, manifold mixup and MixupE, and record the runs")
    cli_training.add_train(train)
    cli_studies.add_study(command("study", None, "train what is behind one of the deck's tables; again, it goes on"))
    cli_studies.add_tables(command("tables", None, "the deck's tables trained again, beside the printed ones"))
    cli_training.add_data(command("data", None, "the training data: what is there, and how to get the rest"))

    networks = command("networks", _networks, "train the small networks of the claims anew (about half a minute)")
    networks.add_argument("--out", metavar="FOLDER", type=Path, help="where to write (default: the package's weights)")

    bench = command(
        "bench",
        None,
        "time Taylor mode, the mixup loss, descent on a linear model, training steps, or runs together against peers",
    )
    subjects = bench.add_subparsers(required=True, metavar="WHAT")
    for name, run, help in (
        ("taylor", _bench_taylor, "all Taylor coefficients of all pairs, against the peers that are installed"),
        ("mixup-loss", _bench_mixup_loss, "the exact mixup loss, against the plain sum, JAX and Monte Carlo"),
        ("implicit-bias", _bench_implicit_bias, "descent on a linear model, against a plain loop"),
        ("train", _bench_train, "training steps, against plain ones after the official code"),
        ("stacks", _bench_stacks, "runs of small networks trained together, against the same runs one by one"),
    ):
        subject = subjects.add_parser(name, help=help, description=help)
        subject.set_defaults(run=run)
        subject.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="(default: %(default)s)")
        if name == "implicit-bias":
            subject.add_argument("--n", type=int, default=30, help="data sets (default: %(default)s)")
            continue
        subject.add_argument("--rounds", type=int, default=7, help="alternating rounds (default: %(default)s)")
        subject.add_argument("--save", action="store_true", help="write the record that the figure is drawn from")
        if name == "mixup-loss":
            subject.add_argument("--n", type=int, nargs="+", metavar="N", help="digits (default: 25 50 100 200)")
        elif name == "stacks":
            subject.set_defaults(threads=1)  # as in a sweep
            subject.add_argument("--data", nargs="+", metavar="NAME", help="data sets (default: five of the studies')")
        else:
            subject.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: %(default)s)")
        if name == "train":
            subject.add_argument(
                "--networks", nargs="+", metavar="NAME", help="preact_resnet18 wrn28_10 preact_resnet50"
            )
            subject.add_argument("--methods", nargs="+", metavar="NAME", help="erm, deck, ...")
            subject.add_argument("--batch-size", type=int, default=100, help="(default: %(default)s)")
            subject.add_argument("--minutes", type=float, help="leave out what would take longer")
            subject.add_argument("--plan", action="store_true", help="print what would run, and run nothing")
            subject.add_argument("--profile", metavar="FOLDER", type=Path, help="write tables of operations there")
    return parser


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="parallel processes, one thread each (default: %(default)s)",
    )


def _claims(arguments) -> int:
    from mixupe_theory import report
    from mixupe_theory.claims import select
    from mixupe_theory.files import write_atomically

    report.one_thread()
    claims = select(arguments.only)
    if arguments.list:
        print(report.list_table(claims))
        return 0
    if arguments.readme:
        text = report.with_ledger(arguments.readme.read_text(encoding="utf-8")).encode()
    rows = list(tqdm(report.recompute_all(claims, arguments.workers), "claims", len(claims), unit="claim"))
    print(report.as_json(rows) if arguments.json else report.terminal_table(rows))
    if arguments.readme and text != arguments.readme.read_bytes():
        write_atomically(arguments.readme, text)
    complaints = [row.complaint for row in rows if not row.sound]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _notebooks(arguments) -> int:
    from mixupe_theory import notebook_builder as builder

    failures = builder.build(builder.sources(arguments.names or None), arguments.workers)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _figures(arguments) -> int:
    from mixupe_theory.figures import FIGURES, regenerate
    from mixupe_theory.report import one_thread

    unknown = [name for name in arguments.names if name not in FIGURES]
    if unknown:
        raise ValueError(f"no figure is called {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    one_thread()
    saved = [
        regenerate(name, redraw=arguments.redraw)
        for name in tqdm(arguments.names or list(FIGURES), "figures", unit="figure")
    ]
    for figure in saved:
        print(f"{figure.png.name}: {'written, ' if figure.rewritten else ''}{figure.reason}")
    return 0


def _networks(arguments) -> int:
    from mixupe_theory import networks
    from mixupe_theory.files import write_atomically
    from mixupe_theory.report import one_thread

    one_thread()
    folder = arguments.out or Path(str(networks.WEIGHTS))
    trained = {}
    for name, recipe in tqdm(networks.RECIPES.items(), "training", unit="network"):
        trained[name] = networks.train(recipe)
        tqdm.write(f"{name}: test accuracy {100 * networks.accuracy(trained[name], recipe):.1f} %")
    for file, content in networks.weight_files(trained).items():
        write_atomically(folder / file, content)
    return 0


def _bench_taylor(arguments) -> int:
    from mixupe_theory import bench_taylor

    name = "taylor" if arguments.device == "cpu" else "taylor_cuda"
    return _report(name, bench_taylor, arguments, arguments.rounds, arguments.threads, arguments.device)


def _bench_mixup_loss(arguments) -> int:
    from mixupe_theory import bench_mixup_loss

    sizes = arguments.n or bench_mixup_loss.SIZES
    return _report("mixup_loss", bench_mixup_loss, arguments, arguments.rounds, arguments.threads, sizes)


def _bench_train(arguments) -> int:
    from mixupe_theory import bench_train

    networks = arguments.networks or list(bench_train.NETWORKS)
    methods = arguments.methods or list(bench_train.TRAINED_BY)
    if arguments.plan:
        print(bench_train.plan(networks, methods, arguments.minutes))
        return 0
    name = "_".join(["train", *["cuda"] * (arguments.device == "cuda"), *(arguments.networks or [])])
    settings = {"networks": networks, "methods": methods, "batch_size": arguments.batch_size}
    settings |= {"minutes": arguments.minutes, "profiles": arguments.profile}
    return _report(name, bench_train, arguments, arguments.rounds, arguments.threads, arguments.device, **settings)


def _bench_stacks(arguments) -> int:
    from mixupe_theory import bench_stacks

    name, cases = "_".join(["stacks", *(arguments.data or [])]), arguments.data or bench_stacks.CASES
    return _report(name, bench_stacks, arguments, arguments.rounds, arguments.threads, cases)


def _report(name: str, module, arguments, *settings, **named) -> int:
    from mixupe_theory import bench_records

    record = module.measure(*settings, **named)
    if arguments.save:
        bench_records.save(name, record)
    print(module.table(record))
    return 0


def _bench_implicit_bias(arguments) -> int:
    from mixupe_theory import bench

    print(bench.implicit_bias_table(arguments.n, arguments.threads))
    return 0
