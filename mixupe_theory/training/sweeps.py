"""Many runs: side by side, taken up where they stopped, none repeated and none lost."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import torch
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm.auto import tqdm

from mixupe_theory import _validation as check
from mixupe_theory.training import records
from mixupe_theory.training.budget import Budget
from mixupe_theory.training.execution import execute
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.stacks.execution import execute_together
from mixupe_theory.training.stacks.trainer import StackTrainer, stack_key
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
        left: Runs for which there was no time.
    """

    records: list[dict]
    failures: list[str]
    left: list[Run] = field(default_factory=list)


def sweep(
    runs: Iterable[Run],
    folder: Path,
    *,
    workers: int = 1,
    dask: str | None = None,
    recorded: Path | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    together: bool = False,
    brief: bool = False,
    budget: Budget | None = None,
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
        together: Whether runs of one data set and network are trained as a stack, in one process
            (:mod:`mixupe_theory.training.stacks`): for small networks many times faster.
        brief: Whether records are added without their epochs, as will do for trials.
        budget: Where given, a run is begun only if there is time for all of it; for single runs.
        **settings: As in :func:`mixupe_theory.training.execution.execute`.

    Raises:
        CorruptRecords: If the records cannot be read.
        ValueError: If a run cannot be trained together with others.
        ChildProcessError: If a worker process was killed; what it had done is kept.
    """
    folder = Path(folder)
    check.integer("workers", workers, least=1)
    if ranks.size > 1 and (workers > 1 or dask):
        raise ValueError("workers must be 1 and dask None under torchrun, whose processes share each batch")
    if together and (ranks.size > 1 or settings.pop("fast", False)):
        raise ValueError("together must be False under torchrun and with fast")
    if together and budget:
        raise ValueError("budget must be None for runs that are trained together")
    recorded = folder / RECORDS if recorded is None else recorded
    unique = {run.id: run for run in runs}
    done = {entry["id"] for entry in records.read(recorded)}
    pending = [run for key, run in unique.items() if key not in done]
    jobs = _stacks(pending) if together else budget.fitting(pending) if budget else pending
    if workers == 1 and not dask:
        attempts = (_attempt(job, folder, ranks, bar=ranks.rank == 0, **settings) for job in jobs)
    else:
        attempts = _side_by_side(jobs, folder, workers, dask, settings)
    failures = []
    bar = tqdm(total=len(unique), initial=len(unique) - len(pending), desc="runs", unit="run", disable=ranks.rank > 0)
    with bar:
        for attempt in attempts:
            failures += [found for found in attempt if isinstance(found, str)]
            done = [found for found in attempt if not isinstance(found, str)]
            if done and ranks.rank == 0:
                records.add(recorded, [found | {"epochs": []} for found in done] if brief else done)
            if budget and done:
                budget.ended(Run.from_dict(done[0]["run"]))
            bar.update(len(attempt))
    ranks.wait()  # for the first, which writes
    finished = {entry["id"]: entry for entry in records.read(recorded)}
    found = [finished[key] for key in unique if key in finished]
    return Outcome(found, failures, budget.left if budget else [])


def _stacks(runs: list[Run]) -> list[list[Run]]:
    """The runs by what can be trained together."""
    stacks: dict[tuple, list[Run]] = {}
    for run in runs:
        stacks.setdefault(stack_key(run), []).append(run)
    return list(stacks.values())


def _attempt(
    job: Run | list[Run],
    folder: Path,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    *,
    bar: bool = False,
    parent: int | None = None,
    **settings,
) -> list[dict | str]:
    """For each run of a job its record, or why it failed.

    A worker ends where ``parent``, the process that it works for, is gone.
    """
    expected = _EXPECTED if ranks.size == 1 else _SHARED
    runs = [job] if isinstance(job, Run) else job
    try:
        with _limited(runs[0]), _bar_of_steps(bar) as show:

            def progress(trainer: Trainer | StackTrainer) -> None:
                if parent is not None and os.getppid() != parent:
                    os._exit(1)  # else it would go on, and keep the command that is typed again from its run
                show(trainer)

            if isinstance(job, Run):
                return [execute(job, folder, ranks=ranks, progress=progress, **settings)]
            return execute_together(job, folder, progress=progress, **settings)
    except expected as error:
        message = str(error)
        return [message if str(run) in message else f"{run}: {message}" for run in runs]


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


def _side_by_side(jobs: Iterable, folder: Path, workers: int, dask: str | None, settings: dict) -> Iterator:
    """The runs' records, or why they failed, as they come."""
    with ExitStack() as stack, warnings.catch_warnings():
        if dask:
            client = stack.enter_context(_dask_client(dask, workers))
            stack.enter_context(joblib.parallel_config("dask", client=client))
            workers, parent = len(client.nthreads()), None
        else:  # each worker gets its share of the cores
            stack.enter_context(joblib.parallel_config("loky"))
            parent = os.getpid()
        parallel = joblib.Parallel(workers, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
        # each worker keeps its freed memory, which looks like a leak to loky: it takes another and says so
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        try:
            yield from parallel(
                joblib.delayed(_attempt)(job, folder.absolute(), parent=parent, **settings) for job in jobs
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
def _bar_of_steps(shown: bool) -> Iterator[Callable[[Trainer | StackTrainer], None]]:
    """A progress bar over the steps of a run, or a stack of runs, with the test error."""
    with tqdm(unit="step", leave=False, disable=not shown) as bar:

        def progress(trainer: Trainer | StackTrainer) -> None:
            if bar.total is None:
                bar.set_description(str(trainer.run), refresh=False)
                bar.reset(trainer.steps)
            bar.update(trainer.position - bar.n)
            if trainer.epoch:
                bar.set_postfix_str(f"test error {100 * trainer.test_error:.2f} %", refresh=False)

        yield progress
