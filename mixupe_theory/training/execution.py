"""One run from beginning to end, in a folder: taken up where it was killed, finished once, recorded."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import torch

from mixupe_theory import _validation as check
from mixupe_theory.environment import environment
from mixupe_theory.files import write_atomically
from mixupe_theory.training import checkpoints, data, models, records
from mixupe_theory.training.examination import examine
from mixupe_theory.training.memory import keep_freed_memory
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.trainer import Trainer

CHECKPOINT_SECONDS = 60.0
VERSIONS = ("mixupe-theory", "torch", "torch-geometric", "numpy", "scipy", "scikit-learn")


class AlreadyRunning(OSError):
    """Another process is at this run."""


def execute(
    run: Run,
    folder: Path,
    *,
    device: str = "auto",
    deterministic: bool = False,
    fast: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    progress: Callable[[Trainer], None] = lambda trainer: None,
) -> dict:
    """Do a run in ``folder/<id>``, or what is left of it, and return its record.

    A finished run is not repeated: its record is read. The weights at the end are a checkpoint
    (:func:`trained_network`). A run that was killed at any step ends with the very bits of one that was not, on the CPU
    with as many threads, on a GPU where ``deterministic``.

    Args:
        run: What to do.
        folder: Where the runs' folders are.
        device: "cpu", "cuda", or "auto": a GPU where there is one.
        deterministic: Whether a GPU may use deterministic algorithms only, which takes longer.
        fast: Whether steps are made in the fast way (:class:`mixupe_theory.training.trainer.Trainer`), which first
            compiles for a minute or so.
        checkpoint_seconds: Time between checkpoints; 0 means one after each step.
        ranks: The processes that share each batch; the first one writes.
        progress: Called after each step.

    Raises:
        AlreadyRunning: If another process is at it.
        Diverged: If the loss is NaN or infinite; the last checkpoint before that is kept.
        MissingData, CorruptData, CorruptCheckpoint, OSError, ValueError: Saying what to do.
    """
    own = Path(folder) / run.id
    place = chosen_device(device)
    with exclusive(own, ranks), settings(place, deterministic, fast):
        if (own / "record.json").is_file():
            return records.read(own / "record.json")[0]
        begun_in = environment(torch.get_num_threads(), place.type, VERSIONS)  # now, the code may change meanwhile
        trainer = Trainer(run, data.load(run.data, seed=run.seed, fold=run.fold), place, ranks, fast=fast)
        keeper = Keeper(own, checkpoint_seconds, ranks)
        keeper.take_up(trainer)

        def after_step(trainer: Trainer) -> None:
            keeper.after_step(trainer)
            progress(trainer)

        trainer.advance(after_step)
        keeper.save(trainer)
        record = records.record(trainer, begun_in, keeper.resumed)
        if run.family == "images":
            record["examination"] = examine(trainer.model, trainer.dataset, run, ranks)
        if ranks.rank == 0:
            write_atomically(own / "record.json", records.line(record).encode())
        return record


def trained_network(folder: Path) -> Staged:
    """The network of a run's newest checkpoint, in evaluation mode, on the CPU.

    Args:
        folder: The run's own folder.

    Raises:
        FileNotFoundError: If it has no checkpoint.
        CorruptCheckpoint: If none is good.
    """
    state = checkpoints.load_newest(Path(folder))
    if state is None:
        raise FileNotFoundError(f"{folder} has no checkpoint")
    run = Run.from_dict(state["run"])
    network = models.build(run.model, tuple(state["shape"]), state["classes"], **run.model_options)
    network.to(run.dtype).load_state_dict(state["model"])
    return network.eval()


def chosen_device(name: str) -> torch.device:
    """The device called "cpu", "cuda" or "auto"; under torchrun, this process's GPU.

    Raises:
        ValueError: If there is no such device here.
    """
    check.choice("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be 'cpu' or 'auto' here, where torch finds no GPU, got 'cuda'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def exclusive(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Keep other processes from the run; the lock goes with the process, however it ends."""
    if ranks.rank > 0:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(error.errno, f"cannot make the folder {folder}: {error.strerror}") from error
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise AlreadyRunning(f"another process is at the run in {folder}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def settings(device: torch.device, deterministic: bool, fast: bool) -> Iterator[None]:
    """Deterministic algorithms where they are asked for, and always on the CPU, where they cost nothing.

    Elsewhere the fast way lets cuDNN time its algorithms and choose.
    """
    keep_freed_memory()
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    wanted = deterministic or device.type == "cpu"
    if wanted and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = fast and not deterministic
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for what reads it, a twentieth of the time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = before[1]
        if fast:
            torch.compiler.reset()  # else it gives up, silently, at the ninth network that a process compiles


class Keeper:
    """Keeps the checkpoints of a run, or of a stack of runs.

    Args:
        folder: Its own.
        seconds: Time between checkpoints.
        ranks: The processes that share each batch; the first one writes.
    """

    def __init__(self, folder: Path, seconds: float, ranks: Ranks):
        self.folder, self.seconds, self.ranks = folder, seconds, ranks
        self.resumed = 0
        self._last = time.monotonic()

    def take_up(self, trainer: Trainer) -> None:
        """Go on from the newest good checkpoint, if there is one."""
        if self.ranks.rank == 0:
            for unfinished in self.folder.glob(".*.tmp"):  # of a process that was killed while it wrote
                unfinished.unlink()
        state = checkpoints.load_newest(self.folder)
        if state is None:
            return
        trainer.load(state)
        self.resumed = state["resumed"] + 1
        for name, value in self._way(trainer).items():
            if state.get(name, value) != value:
                warnings.warn(
                    f"{trainer.run}: begun with {name} {state[name]}, taken up with {value}: the last digits may "
                    "differ from those of a run that was not interrupted",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def _way(self, trainer: Trainer) -> dict:
        """What a run's last digits depend on besides the run."""
        return {
            "threads": torch.get_num_threads(),
            "processes": self.ranks.size,
            "device": trainer.device.type,
            "fast": trainer.fast,
        }

    def after_step(self, trainer: Trainer) -> None:
        """Write a checkpoint if it is time."""
        if time.monotonic() - self._last >= self.seconds:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint."""
        self._last = time.monotonic()
        if self.ranks.rank > 0:
            return
        state = trainer.state() | {"resumed": self.resumed} | self._way(trainer)
        checkpoints.save(self.folder, trainer.position, state, keep=1 if trainer.finished else checkpoints.KEPT)
