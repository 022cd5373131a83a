"""The studies behind the deck's tables: fair, paired, complete, and conducted by one command that goes on."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from image_cases import image_records
from training_cases import register

from mixupe_theory import cli
from mixupe_theory.training import data, models, records
from mixupe_theory.training.outcomes import errors
from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.replication import Row
from mixupe_theory.training.runs import Run
from mixupe_theory.training.studies import STUDIES, at_hand, conduct, recorded, replication
from mixupe_theory.training.studies.graphs import FOLDS, FULL, HELD_OUT
from mixupe_theory.training.sweeps import sweep

register()
SHORT = Recipe(epochs=2, batch_size=20, learning_rate=0.01, optimizer="adam")


@pytest.fixture(params=STUDIES)
def study(request):
    return STUDIES[request.param]


def by_row(study):
    def key(run):
        return run.data, run.model, run.recipe.epochs, run.held_out

    return {row: list(runs) for row, runs in groupby(sorted(study.runs, key=key), key)}


def test_rows_are_the_deck_s(study):
    assert set(study.rows) >= set(study.table.rows)
    planned = {(run.data, run.model) for run in study.runs}
    assert planned <= {(row.data, row.model) for row in study.rows.values()}
    assert planned >= {(row.data, row.model) for row in study.rows.values() if not row.absent}
    assert all(row.data in data.SOURCES and row.model in models.MODELS for row in study.rows.values())


def test_every_method_has_the_same_seeds_folds_and_grid(study):
    for runs in by_row(study).values():
        settings = {}
        for run in runs:
            rate, decay = run.recipe.learning_rate, run.recipe.weight_decay
            settings.setdefault(run.title, set()).add((run.seed, run.fold, rate, decay))
        assert {"ERM", "mixup", "MixupE deck"} <= set(settings)
        assert len({frozenset(found) for found in settings.values()}) == 1
        alphas = [{run.alpha for run in runs if run.title == title} for title in settings if title != "ERM"]
        assert all(found == alphas[0] for found in alphas)


def test_there_are_five_seeds_or_ten_folds_at_least(study):
    """Three where a GPU is needed."""
    for runs in by_row(study).values():
        units = {(run.seed, run.fold) for run in runs}
        assert len(units) >= {"graphs": 10, "images": 3}.get(study.table.id, 5)


def test_every_graph_run_has_one_inner_run():
    runs = STUDIES["graphs"].runs
    final, inner = ({run for run in map(replaced, runs, [share] * len(runs)) if run} for share in (0.0, HELD_OUT))
    assert len(final) == len(inner) == len(runs) / 2 == 8 * 3 * FOLDS
    assert final == inner
    assert {run.data for run in runs if run.recipe.epochs == 350} == set(FULL)


def replaced(run, share):
    return replace(run, held_out=0.0).id if run.held_out == share else None


def test_two_variants_and_the_control_on_tabular_data():
    titles = {run.title for run in STUDIES["tabular"].runs}
    assert titles == {"ERM", "mixup", "mixup + clean forward", "MixupE deck", "MixupE official_v3"}


@pytest.mark.parametrize("name", ["images", "images-small"])
def test_every_variant_and_the_control_on_images(name):
    """Seed by seed, so that whatever is finished is paired."""
    found = STUDIES[name].runs
    for rows in (found[k : k + 8] for k in range(0, len(found), 8)):
        variants = {f"MixupE {name}" for name in ("deck", "deck_detached", "exact", "official_v3")}
        assert {run.title for run in rows} == {"ERM", "mixup", "manifold mixup", "mixup + clean forward", *variants}
        assert len({(run.data, run.model, run.seed) for run in rows}) == 1
    assert len(found) == len({run.id for run in found})


def test_the_exact_q_is_not_trained_in_bfloat16():
    for run in STUDIES["images"].runs:
        assert run.precision == ("float32" if run.variant == "exact" else "bfloat16")


def test_missing_data_is_left_out_and_named(study, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path))
    runs, missing = at_hand(study.runs)
    assert not runs
    assert len(missing) == len({run.data for run in study.runs})
    assert all(str(tmp_path) in message for message in missing)
    name = study.runs[0].data
    assert {run.data for run in at_hand(study.runs, {name})[0]} == {name}


def toy(runs, **settings):
    """A study of two of Table 5's rows, on made-up features."""
    rows = {"LeNet": Row("toy_features", "mlp"), "VGG-11": Row("iris", "mlp"), "VGG-13": Row("iris", "mlp", "no data")}
    return replace(STUDIES["speech"], rows=rows, plan=lambda: runs, **settings)


def toy_runs(rates=(0.01,)):
    return [
        Run(data="toy_features", model="mlp", method=method, seed=seed, recipe=replace(SHORT, learning_rate=rate))
        for method in ("erm", "mixup", "mixupe")
        for seed in range(3)
        for rate in rates
    ]


def test_a_study_is_conducted_and_makes_its_table(tmp_path):
    """Trials first, recorded in brief, then the final runs with what was chosen; other rows say why they are empty."""
    study = toy(toy_runs(rates=(0.01, 1e-5)), choose=0.3, together=True)
    outcome = conduct(study, study.runs, lambda runs, **how: sweep(runs, tmp_path, together=True, **how))
    assert not outcome.failures
    entries = records.read(tmp_path / "records.jsonl")
    trials = [entry for entry in entries if entry["run"]["held_out"]]
    assert len(trials) == 6
    assert not any(entry["epochs"] for entry in trials)
    assert len(entries) - len(trials) == len(outcome.records) == 9
    assert all(entry["epochs"] for entry in outcome.records)
    assert replication(study, trials).rows["LeNet"].absent == "not yet run"
    for title, cell in replication(study, entries).ours["LeNet"].items():
        best = min(
            (entry for entry in trials if Run.from_dict(entry["run"]).title == title),
            key=lambda entry: tuple(entry["summary"]["mean_of_last_10"][name] for name in ("test_error", "test_loss")),
        )
        lines = [entry for entry in outcome.records if entry["id"] in cell.ids]
        assert [entry["run"]["seed"] for entry in lines] == [0, 1, 2]
        assert {entry["run"]["recipe"]["learning_rate"] for entry in lines} == {best["run"]["recipe"]["learning_rate"]}
        assert cell.mean == pytest.approx(100 * sum(e["summary"]["last"]["test_error"] for e in lines) / 3)
    assert [row.absent for row in replication(study, entries).rows.values()] == ["", "not yet run", "no data"]


def test_a_row_is_left_out_while_one_of_its_runs_is_missing(tmp_path):
    study = toy(toy_runs())
    outcome = sweep(study.runs, tmp_path, together=True)
    assert replication(study, outcome.records).rows["LeNet"].absent == ""
    assert replication(study, outcome.records[:-1]).rows["LeNet"].absent == "not yet run"


def test_a_killed_stack_goes_on_and_ends_alike(tmp_path):
    """SIGKILL once the stack has a checkpoint; the same command again ends with the very records."""
    command = [sys.executable, str(Path(__file__).with_name("training_cases.py")), "train", "--out", str(tmp_path)]
    command += ["--data", "toy_features", "--model", "mlp", "--method", "erm", "mixup", "mixupe"]
    command += ["--seeds", "2", "--epochs", "60", "--together", "--checkpoint-seconds", "0.05", "--device", "cpu"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen(command, **quiet)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("stack-*/checkpoint-*.pt")):
        assert killed.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not records.read(tmp_path / "records.jsonl")
    subprocess.run(command, check=True, **quiet)
    again = records.read(tmp_path / "records.jsonl")
    assert [entry["resumed"] for entry in again] == [1] * 6
    whole = sweep([Run.from_dict(entry["run"]) for entry in again], tmp_path / "whole", together=True, device="cpu")
    assert list(map(curves, again)) == list(map(curves, whole.records))


def curves(entry):
    return entry["id"], [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in entry["epochs"]]


def test_the_command_lists_and_chooses_rows(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path))
    assert cli.main(["study", "speech", "--only", "vgg11", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(run.model == "vgg11" for run in STUDIES["speech"].runs)
    assert cli.main(["study", "images", "--only", "wrn28_10", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(run.model == "wrn28_10" for run in STUDIES["images"].runs)
    erm, mixup = (float(re.search(r"about (.*) minutes", line)[1]) for line in lines[:2])
    assert erm == mixup == pytest.approx((60 + 30 * 3.96) / 60, abs=0.05)  # a minute, and what is aimed at for an epoch
    assert cli.main(["study", "speech", "--only", "vgg12"]) == 2
    assert "only must name some of lenet, speech_commands, vgg11, vgg13, got vgg12" in capsys.readouterr().err
    assert cli.main(["study", "speech", "--out", str(tmp_path / "runs")]) == 0
    assert "left out: speech_commands" in capsys.readouterr().err


def test_tables_shows_what_is_recorded(capsys, tmp_path):
    assert cli.main(["tables", "speech", "--records", str(tmp_path)]) == 0
    assert "no numbers of ours: LeNet, VGG-11, VGG-13 (not yet run)" in capsys.readouterr().out
    assert cli.main(["tables", "sharpness"]) == 2
    assert "name must be one of" in capsys.readouterr().err


def test_tables_of_robustness_for_each_row_that_is_complete(capsys, tmp_path):
    """One seed of the last row is missing."""
    *entries, _ = image_records(np.random.default_rng(0))
    records.add(tmp_path / "images-small.jsonl", entries)
    assert cli.main(["tables", "robustness", "--records", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    titles = [line for line in text.splitlines() if line.startswith("Novel deformations")]
    assert [line.partition("ours: ")[2] for line in titles] == [
        f"lenet on {data}, test accuracy (%)" for data in ("cifar10", "cifar100")
    ]
    assert text.count("Zoom Out (140% rescale)") == 2


def test_committed_records_are_the_study_s(study):
    """Every line is one of its runs, or a trial of one; final runs are complete and paired in every row they are in."""
    entries = recorded(study)
    ids = {run.id for run in study.runs}
    for entry in entries:
        run = Run.from_dict(entry["run"])
        assert run.id in ids or (study.choose and run.held_out and replace(run, held_out=0.0).id in ids)
    found = replication(study, entries)
    for title, cells in found.ours.items():
        if found.rows[title].absent:
            assert cells == {}
        else:
            assert {"ERM", "mixup", "MixupE deck"} <= set(cells)
    if entries:
        assert errors([entry for entry in entries if study.main(Run.from_dict(entry["run"]))])
