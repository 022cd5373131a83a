"""A run that was killed at any step ends with the bits of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_cases import SHORT

from mixupe_theory.cli import main
from mixupe_theory.training import checkpoints, execution
from mixupe_theory.training.checkpoints import CorruptCheckpoint
from mixupe_theory.training.execution import AlreadyRunning, execute
from mixupe_theory.training.runs import Run

PROGRAM = Path(__file__).with_name("training_cases.py")
NARROW = {"width": 0.0625}
RUNS = {
    "BatchNorm": Run(data="toy_images", model="preact_resnet18", method="mixupe", model_options=NARROW, recipe=SHORT),
    "dropout": Run(
        data="toy_images", model="lenet", method="manifold_mixup", model_options={"width": 0.25}, recipe=SHORT
    ),
    "graphs": Run(data="toy_graphs", model="gin", method="mixupe", model_options={"hidden": 8}, recipe=SHORT),
    "Adam": Run(data="toy_features", model="mlp", method="mixup", lam_per_sample=True, seed=3),
}


def ends_alike(one, other):
    """Whether two finished runs have the same bits: weights, optimizer, all that was measured but time."""
    first, second = (checkpoints.load_newest(folder) for folder in (one, other))
    for state in (first, second):
        for entry in state["history"]:
            del entry["seconds"]
        del state["resumed"], state["seconds"]
    return _equal(first, second)


def _equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def stop_after(step):
    """A progress function that stops a run there, as Ctrl-C does."""

    def progress(trainer):
        if trainer.position == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("name", RUNS)
def test_stopped_between_checkpoints_and_taken_up(name, tmp_path, monkeypatch):
    run = RUNS[name]
    whole = execute(run, tmp_path / "whole")
    save, steps = execution.Keeper.save, []

    def every_third(keeper, trainer):
        steps.append(trainer.position)
        if len(steps) % 3 == 0 or trainer.finished:
            save(keeper, trainer)

    monkeypatch.setattr(execution.Keeper, "save", every_third)
    for step in (4, 8, 11):  # of 12: in both epochs, and once more after a resume
        with pytest.raises(KeyboardInterrupt):
            execute(run, tmp_path / "parts", checkpoint_seconds=0, progress=stop_after(step))
    parts = execute(run, tmp_path / "parts", checkpoint_seconds=0)
    assert ends_alike(tmp_path / "whole" / run.id, tmp_path / "parts" / run.id)
    assert parts["resumed"] == 3
    assert parts["summary"] == whole["summary"]


def test_another_seed_does_not_end_alike(tmp_path):
    """The comparison can fail."""
    runs = [Run(data="toy_features", model="mlp", seed=seed, recipe=SHORT) for seed in (0, 1)]
    for run in runs:
        execute(run, tmp_path)
    assert not ends_alike(*(tmp_path / run.id for run in runs))


def test_killed_at_a_random_step(tmp_path, one_thread):
    """SIGKILL, sent when a random number of checkpoints has been written; then the same command again."""
    words = [
        *("train", "--data", "toy_images", "--model", "preact_resnet18", "--option", "width=0.0625"),
        *("--method", "mixupe", "--epochs", "20", "--batch-size", "10", "--out"),
    ]
    command = [sys.executable, str(PROGRAM), *words, str(tmp_path / "parts")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(
        [*command, "--checkpoint-seconds", "0"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    steps = 120
    least, deadline = random.SystemRandom().randrange(1, steps // 2), time.monotonic() + 120
    while _position(tmp_path / "parts") < least:
        assert killed.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    at = _position(tmp_path / "parts")
    assert least <= at < steps
    assert not (tmp_path / "parts" / "records.jsonl").exists()
    again = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "records:" in again.stdout
    assert main([*words, str(tmp_path / "whole")]) == 0
    (whole,), (parts,) = ((tmp_path / name).glob("*/") for name in ("whole", "parts"))
    assert ends_alike(whole, parts), f"killed at step {at}"


@pytest.fixture
def one_thread():
    """As many as the processes that are started have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _position(folder):
    """Of the newest checkpoint."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob("*/checkpoint-*.pt")), default=0)


def _stopped_run(folder):
    """A run that was stopped with two checkpoints."""
    run = Run(data="toy_features", model="mlp", recipe=SHORT)
    with pytest.raises(KeyboardInterrupt):
        execute(run, folder, checkpoint_seconds=0, progress=stop_after(7))
    return run, sorted((folder / run.id).glob("checkpoint-*.pt"))


@pytest.mark.parametrize("damage", ["truncated", "one byte", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(damage, tmp_path):
    run, files = _stopped_run(tmp_path / "parts")
    assert [path.name for path in files] == ["checkpoint-0000000006.pt", "checkpoint-0000000007.pt"]
    content = bytearray(files[-1].read_bytes())
    content[len(content) // 2] ^= 1
    files[-1].write_bytes({"truncated": content[:-100], "one byte": content, "empty": b""}[damage])
    with pytest.warns(
        RuntimeWarning, match=r"checkpoint-0000000007.pt is damaged.*going on from checkpoint-0000000006"
    ):
        execute(run, tmp_path / "parts")
    execute(run, tmp_path / "whole")
    assert ends_alike(tmp_path / "parts" / run.id, tmp_path / "whole" / run.id)


def test_no_good_checkpoint_left(tmp_path):
    run, files = _stopped_run(tmp_path)
    for path in files:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptCheckpoint, match=r"0000000007.pt is damaged.*0000000006.pt is damaged.*delete .* anew"):
        execute(run, tmp_path)


def test_a_finished_run_is_read_not_repeated(tmp_path):
    run = Run(data="toy_features", model="mlp", recipe=SHORT)
    first = execute(run, tmp_path)
    assert execute(run, tmp_path, progress=stop_after(1)) == first


def test_two_processes_at_one_run(tmp_path):
    run = Run(data="toy_features", model="mlp", recipe=SHORT)

    def meanwhile(trainer):
        with pytest.raises(AlreadyRunning, match=run.id):
            execute(run, tmp_path)

    execute(run, tmp_path, progress=meanwhile)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    run, files = _stopped_run(tmp_path)

    def full(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"cannot write .*checkpoint-0000000008.pt: No space left on device; make"):
            execute(run, tmp_path, checkpoint_seconds=0)
    assert sorted((tmp_path / run.id).glob("checkpoint-*.pt")) == files
    execute(run, tmp_path)


def test_a_checkpoint_of_another_run(tmp_path):
    one, other = (Run(data="toy_features", model="mlp", seed=seed, recipe=SHORT) for seed in (0, 1))
    execute(one, tmp_path)
    (tmp_path / one.id).rename(tmp_path / other.id)
    (tmp_path / other.id / "record.json").unlink()
    with pytest.raises(ValueError, match="belongs to another run"):
        execute(other, tmp_path)


def test_other_threads_are_warned_of(tmp_path):
    run, _ = _stopped_run(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.warns(RuntimeWarning, match=f"begun with threads {before}, taken up with {before + 1}"):
            execute(run, tmp_path)
    finally:
        torch.set_num_threads(before)


def test_the_trained_network_can_be_had(tmp_path):
    run = Run(data="toy_features", model="mlp", recipe=SHORT)
    record = execute(run, tmp_path)
    network = execution.trained_network(tmp_path / run.id)
    assert sum(p.numel() for p in network.parameters()) == record["parameters"]
    assert not network.training
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        execution.trained_network(tmp_path)
