"""Many runs: none repeated, none lost, however they are done and whenever they are killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool
from training_cases import SHORT, write_iris

from mixupe_theory.cli import main
from mixupe_theory.training import execution, records, sweeps
from mixupe_theory.training.grids import choose, grid
from mixupe_theory.training.records import CorruptRecords
from mixupe_theory.training.runs import Run
from mixupe_theory.training.sweeps import Outcome, sweep

RUN = Run(data="toy_features", model="mlp", recipe=SHORT)
RUNS = [replace(RUN, seed=seed) for seed in range(4)]


def without_circumstances(entry):
    """A record without what depends on when and where it was made."""
    entry = json.loads(json.dumps(entry))
    for name in ("seconds", "environment", "resumed"):
        del entry[name]
    for epoch in entry["epochs"]:
        del epoch["seconds"]
    return entry


def test_equal_runs_are_done_once_and_recorded_ones_never_again(tmp_path, monkeypatch):
    done = []

    def counted(run, *args, **settings):
        done.append(run.seed)
        return execution.execute(run, *args, **settings)

    monkeypatch.setattr(sweeps, "execute", counted)
    first = sweep([*RUNS[:2], RUNS[0]], tmp_path)
    assert done == [0, 1]
    again = sweep(RUNS, tmp_path)
    assert done == [0, 1, 2, 3]
    assert [entry["run"]["seed"] for entry in again.records] == [0, 1, 2, 3]
    assert again.records[:2] == first.records
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4


def test_a_run_finished_but_not_recorded_is_recorded_not_repeated(tmp_path):
    """The sweep was killed between the two."""
    finished = execution.execute(RUN, tmp_path)
    outcome = sweep([RUN], tmp_path)
    assert outcome.records == [finished]


def test_a_failing_run_does_not_stop_the_others(tmp_path):
    bad = replace(RUN, recipe=replace(SHORT, learning_rate=1e30, optimizer="adam"), seed=9)
    outcome = sweep([RUNS[0], bad, RUNS[1]], tmp_path)
    assert [entry["run"]["seed"] for entry in outcome.records] == [0, 1]
    (failure,) = outcome.failures
    assert "seed 9" in failure
    assert "the loss" in failure


def command(folder, *more):
    return [
        *(sys.executable, "-m", "mixupe_theory", "train", "--data", "iris", "--model", "mlp"),
        *("--method", "erm", "mixupe", "--seeds", "2", "--epochs", "300", "--out", str(folder), *more),
    ]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """With iris in the data folder."""
    folder = tmp_path_factory.mktemp("data")
    write_iris(folder)
    return {**os.environ, "OMP_NUM_THREADS": "1", "MIXUPE_DATA": str(folder)}


def run_command(environment, folder, *more):
    return subprocess.run(command(folder, *more), env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory, environment):
    """The records of the command's runs, one after the other in this process, by id."""
    folder = tmp_path_factory.mktemp("one by one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXUPE_DATA", environment["MIXUPE_DATA"])
        assert main(command(folder)[3:]) == 0
    entries = records.read(folder / "records.jsonl")
    assert len(entries) == 4
    return {entry["id"]: without_circumstances(entry) for entry in entries}


def test_a_dask_cluster_gives_the_same_records(tmp_path, environment, one_by_one):
    pytest.importorskip("distributed")
    run_command(environment, tmp_path, "--workers", "2", "--dask", "local")
    entries = records.read(tmp_path / "records.jsonl")
    assert {entry["id"]: without_circumstances(entry) for entry in entries} == one_by_one


def test_a_killed_sweep_loses_and_repeats_nothing(tmp_path, environment, one_by_one):
    """SIGKILL to the command after the first record: its two workers end as well; then the same command again."""
    killed = subprocess.Popen(
        command(tmp_path, "--workers", "2", "--checkpoint-seconds", "0.05"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "records.jsonl").exists():
        assert killed.poll() is None, "the sweep ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = (tmp_path / "records.jsonl").read_text().splitlines()
    assert 1 <= len(before) < 4
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/record.json")}
    run_command(environment, tmp_path, "--workers", "2")
    entries = records.read(tmp_path / "records.jsonl")
    assert len(entries) == 4
    assert {entry["id"]: without_circumstances(entry) for entry in entries} == one_by_one
    assert [records.line(entry).strip() for entry in entries[: len(before)]] == before
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())


def test_a_line_that_is_no_record(tmp_path):
    sweep([RUN], tmp_path)
    path = tmp_path / "records.jsonl"
    path.write_text(path.read_text() + '{"id": "half a li')
    with pytest.raises(CorruptRecords, match=r"records.jsonl: line 2 is not a record; delete it"):
        sweep([RUN], tmp_path)


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    outcome = sweep([RUN], tmp_path / "file" / "below")
    assert "cannot make the folder" in outcome.failures[0]


def test_a_killed_worker_is_told(tmp_path, monkeypatch):
    def killed(*args, **settings):
        raise BrokenProcessPool("gone")

    monkeypatch.setattr(sweeps.joblib, "Parallel", lambda *args, **settings: killed)
    with pytest.raises(ChildProcessError, match=r"a worker process was killed.*same command goes on from there"):
        sweep(RUNS, tmp_path, workers=2)


def test_dask_workers_of_several_threads_are_refused(tmp_path, monkeypatch):
    """torch's settings belong to a process, and Dask would do several runs in one."""
    distributed = pytest.importorskip("distributed")

    class Client(contextlib.nullcontext):
        def nthreads(self):
            return {"one": 1, "another": 2}

    monkeypatch.setattr(distributed, "Client", lambda address: contextlib.nullcontext(Client()))
    with pytest.raises(ValueError, match="dask must have workers of one thread each"):
        sweep(RUNS, tmp_path, dask="tcp://127.0.0.1:1")


def test_summary_of_a_made_up_curve():
    epochs = [{"epoch": k, "test_loss": 2.0 * k, "test_error": abs(k - 3) / 10} for k in range(14)]
    summary = records.summary(epochs)
    assert summary["last"] == {"test_loss": 26.0, "test_error": 1.0}
    assert summary["best"] == {"test_loss": 6.0, "test_error": 0.0, "epoch": 3}
    assert summary["mean_of_last_10"]["test_error"] == pytest.approx(0.55)  # of (1 + ... + 10)/100
    assert summary["mean_of_last_10"]["epochs"] == 10


def test_settings_go_to_the_methods_that_have_a_use_for_them():
    runs = grid(
        data="toy_features",
        model="mlp",
        methods=("erm", "mixup", "mixupe"),
        variants=("deck", "official_v3"),
        settings={"alpha": (0.5, 2.0), "eta": (0.1,), "threshold": (0.7, 0.9)},
    )
    found = [(run.method, run.variant, run.alpha, run.eta, run.threshold) for run in runs]
    assert found[0] == ("erm", None, None, None, None)
    assert found[1:3] == [("mixup", None, alpha, None, None) for alpha in (0.5, 2.0)]
    assert found[3:5] == [("mixupe", "deck", alpha, 0.1, None) for alpha in (0.5, 2.0)]
    assert len(found) == len(set(found)) == 9  # and official_v3 at each alpha and threshold


def test_hyperparameters_are_chosen_on_held_out_data():
    """The settings with the smallest held-out error, ties by the loss, for each method and variant; for all seeds."""
    etas = (0.1, 0.2, 0.3)
    runs = [replace(RUN, method="mixupe", eta=eta, seed=seed) for eta in etas for seed in (3, 4)]
    runs += [replace(RUN, method="mixup", seed=seed) for seed in (3, 4)]
    results = {0.1: (0.3, 1.0), 0.2: (0.2, 2.0), 0.3: (0.2, 1.5), None: (0.9, 9.0)}
    asked = []

    def made_up(runs):
        asked.extend(runs)
        entries = []
        for run in runs:
            error, loss = results[run.eta]
            entries.append({"id": run.id, "summary": {"mean_of_last_10": {"test_error": error, "test_loss": loss}}})
        return Outcome(entries, [])

    chosen = choose(runs, 0.2, made_up)
    assert [(run.method, run.eta, run.seed, run.held_out) for run in chosen] == [
        *(("mixupe", 0.3, seed, 0.0) for seed in (3, 4)),
        *(("mixup", None, seed, 0.0) for seed in (3, 4)),
    ]
    assert {(run.held_out, run.seed) for run in asked} == {(0.2, 3)}
    with pytest.raises(ValueError, match="cannot be chosen, 1 runs failed: why"):
        choose(runs, 0.2, lambda runs: Outcome([], ["why"]))


def test_settings_are_chosen_on_the_first_fold_for_all():
    runs = [
        Run(data="toy_graphs", model="gin", recipe=SHORT, fold=fold, model_options={"hidden": 4}) for fold in (2, 5)
    ]

    def made_up(trials):
        assert {(run.fold, run.held_out) for run in trials} == {(2, 0.2)}
        summary = {"mean_of_last_10": {"test_error": 0.0, "test_loss": 0.0}}
        return Outcome([{"id": run.id, "summary": summary} for run in trials], [])

    assert choose(runs, 0.2, made_up) == runs
