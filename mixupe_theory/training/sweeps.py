"""Many runs: side by side, taken up where they stopped, none repeated and none lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm.auto import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.training import records
from mixupe_theory.training.execution import execute
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.trainer import Diverged, Trainer

RECORDS = "records.jsonl"
_SHARED = (Diverged, ValueError)  # of one run, in all of its processes alike; the other runs go on
_EXPECTED = (*_SHARED, OSError)  # of a run in one process


@dataclass
class Outcome:
    """What came of a sweep.

    Attributes:
        records: Of the runs asked for that are finished, in the order asked for.
        failures: Of each run that failed, why.
    """

    records: list[dict]
    failures: list[str]


def sweep(
    runs: Iterable[Run],
    folder: Path,
    *,
    workers: int = 1,
    dask: str | None = None,
    recorded: Path | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    **settings,
) -> Outcome:
    """Do the runs that are not recorded yet, and record each as soon as it is finished.

    Killed at any moment and called again, it goes on: finished runs are not repeated, unfinished ones are taken up at
    their last checkpoint. A run that fails (a NaN loss, say) does not stop the others.

    Args:
        runs: What to do; equal runs are done once.
        folder: Where a folder for each run is kept, with its checkpoints. With Dask all machines must share it.
        workers: Processes side by side, each with its share of the cores.
        dask: Address of a Dask scheduler, or "local" for a cluster of ``workers`` processes on this machine.
        recorded: The file of records; None means ``folder/records.jsonl``.
        ranks: Under torchrun, the processes that share each batch; ``workers`` is then 1.
        **settings: As in :func:`mixupe_theory.training.execution.execute`.

    Raises:
        CorruptRecords: If the records cannot be read.
        ChildProcessError: If a worker process was killed; what it had done is kept.
    """
    folder = Path(folder)
    check.integer("workers", workers, least=1)
    if ranks.size > 1 and (workers > 1 or dask):
        raise ValueError("workers must be 1 and dask None under torchrun, whose processes share each batch")
    recorded = folder / RECORDS if recorded is None else recorded
    unique = {run.id: run for run in runs}
    done = {entry["id"] for entry in records.read(recorded)}
    pending = [run for key, run in unique.items() if key not in done]
    if workers == 1 and not dask:
        attempts = (_attempt(run, folder, ranks, bar=ranks.rank == 0, **settings) for run in pending)
    else:
        attempts = _side_by_side(pending, folder, workers, dask, settings)
    failures = []
    bar = tqdm(total=len(unique), initial=len(unique) - len(pending), desc="runs", unit="run", disable=ranks.rank > 0)
    with bar:
        for attempt in attempts:
            if isinstance(attempt, str):
                failures.append(attempt)
            elif ranks.rank == 0:
                records.add(recorded, [attempt])
            bar.update()
    ranks.wait()  # for the first, which writes
    finished = {entry["id"]: entry for entry in records.read(recorded)}
    return Outcome([finished[key] for key in unique if key in finished], failures)


def _attempt(
    run: Run,
    folder: Path,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    *,
    bar: bool = False,
    parent: int | None = None,
    **settings,
) -> dict | str:
    """A run's record, or why it failed; a worker ends where ``parent``, the process that it works for, is gone."""
    expected = _EXPECTED if ranks.size == 1 else _SHARED
    try:
        with _limited(run), _bar_of_steps(run, bar) as show:

            def progress(trainer: Trainer) -> None:
                if parent is not None and os.getppid() != parent:
                    os._exit(1)  # else it would go on, and keep the command that is typed again from its run
                show(trainer)

            return execute(run, folder, ranks=ranks, progress=progress, **settings)
    except expected as error:
        message = str(error)
        return message if str(run) in message else f"{run}: {message}"


@contextmanager
def _limited(run: Run) -> Iterator[None]:
    """Give small networks one thread: a second would only wait for the first."""
    before = torch.get_num_threads()
    if run.family in ("tabular", "graphs"):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _side_by_side(runs: list[Run], folder: Path, workers: int, dask: str | None, settings: dict) -> Iterator:
    """The runs' records, or why they failed, as they come."""
    with ExitStack() as stack:
        if dask:
            client = stack.enter_context(_dask_client(dask, workers))
            stack.enter_context(joblib.parallel_config("dask", client=client))
            workers, parent = len(client.nthreads()), None
        else:  # each worker gets its share of the cores
            stack.enter_context(joblib.parallel_config("loky"))
            parent = os.getpid()
        parallel = joblib.Parallel(workers, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
        try:
            yield from parallel(
                joblib.delayed(_attempt)(run, folder.absolute(), parent=parent, **settings) for run in runs
            )
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"a worker process was killed, perhaps for want of memory ({error}); what was done is kept, and the "
                "same command goes on from there"
            ) from error


@contextmanager
def _dask_client(address: str, workers: int) -> Iterator:
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; Dask needs `pip install "mixupe-theory[dask]"`') from error
    with ExitStack() as stack:
        if address == "local":
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            address = stack.enter_context(cluster).scheduler_address
        client = stack.enter_context(Client(address))
        if set(client.nthreads().values()) != {1}:  # torch's settings belong to a process
            raise ValueError(f"dask must have workers of one thread each (`dask worker --nthreads 1`), got {client}")
        yield client


@contextmanager
def _bar_of_steps(run: Run, shown: bool) -> Iterator[Callable[[Trainer], None]]:
    """A progress bar over the steps of one run, with the test error."""
    with tqdm(desc=str(run), unit="step", leave=False, disable=not shown) as bar:

        def progress(trainer: Trainer) -> None:
            if bar.total is None:
                bar.reset(trainer.steps_per_epoch * run.recipe.epochs)
            bar.update(trainer.position - bar.n)
            if trainer.history:
                bar.set_postfix_str(f"test error {100 * trainer.history[-1]['test_error']:.2f} %", refresh=False)

        yield progress
