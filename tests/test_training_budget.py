"""A sweep within a time: whole runs alone, none begun that would not end in it, none lost."""

from dataclasses import replace

import pytest
from training_cases import SHORT, write_iris

from mixupe_theory.cli import main
from mixupe_theory.training import sweeps
from mixupe_theory.training.budget import Budget
from mixupe_theory.training.execution import execute
from mixupe_theory.training.grids import grid
from mixupe_theory.training.sweeps import sweep

RUNS = grid(data="toy_features", model="mlp", methods=("erm", "mixupe"), seeds=range(3), recipes=(SHORT,))


class Clock:
    """Time passes where it is said to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def slow(monkeypatch):
    """Runs that take 30 seconds of a clock, MixupE's 90."""
    clock = Clock()

    def timed(run, *arguments, **settings):
        clock.now += 30 if run.method == "erm" else 90
        return execute(run, *arguments, **settings)

    monkeypatch.setattr(sweeps, "execute", timed)
    return clock


@pytest.mark.parametrize("unit", [30, 10, 1e-3])
def test_runs_begin_only_if_they_end_in_time(unit, slow, tmp_path):
    """Whatever the unit of costs: with a cost that is too small, only the first is begun on trust."""
    budget = Budget(4, lambda run: unit * (1 if run.method == "erm" else 3), clock=slow)
    outcome = sweep(RUNS, tmp_path, budget=budget)
    assert [entry["run"]["method"] for entry in outcome.records] == ["erm"] * 3 + ["mixupe"]
    assert slow.now == 180 <= 4 * 60
    assert outcome.left == RUNS[4:]
    again = sweep(RUNS, tmp_path, budget=Budget(4, lambda run: 90, clock=slow))
    assert len(again.records) == 6
    assert again.left == []


def test_a_cost_that_misjudges_is_corrected_by_the_slowest_seen(slow):
    budget = Budget(10, lambda run: 30.0, clock=slow)
    runs = budget.fitting(iter(RUNS))
    for took in (30, 120, 30):
        run = next(runs)
        slow.now += took
        budget.ended(run)
    slow.now = 479.0
    assert next(runs) == RUNS[3]
    slow.now = 481.0
    assert list(runs) == []
    assert budget.left == RUNS[4:]


def test_a_cheaper_run_may_take_the_place_of_a_dearer_one(slow):
    budget = Budget(1, lambda run: 30.0 if run.method == "erm" else 90.0, clock=slow)
    assert [run.method for run in budget.fitting(reversed(RUNS))] == ["erm"] * 3
    assert len(budget.left) == 3


def test_side_by_side(tmp_path, monkeypatch):
    """No time for MixupE's runs, ample time for the others."""
    write_iris(tmp_path)
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path))
    budget = Budget(10, lambda run: 1.0 if run.method == "erm" else 1e6)
    runs = [replace(run, data="iris") for run in RUNS]
    outcome = sweep(runs, tmp_path / "runs", workers=2, budget=budget)
    assert not outcome.failures
    assert [entry["run"]["method"] for entry in outcome.records] == ["erm"] * 3
    assert outcome.left == runs[3:]


def test_stacks_have_no_budget(tmp_path):
    with pytest.raises(ValueError, match="budget must be None for runs that are trained together"):
        sweep(RUNS, tmp_path, together=True, budget=Budget(1, lambda run: 1.0))


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_a_time_is_positive(minutes):
    with pytest.raises(ValueError, match="minutes must be"):
        Budget(minutes, lambda run: 1.0)


def test_the_command_says_what_is_left(capsys, monkeypatch, tmp_path):
    assert main(["study", "graphs", "--minutes", "1"]) == 2
    assert "minutes must be left out for graphs; allowed for images, images-small" in capsys.readouterr().err
    monkeypatch.setattr("mixupe_theory.training.studies.at_hand", lambda runs, known: (runs, []))
    assert main(["study", "images-small", "--minutes", "0.01", "--out", str(tmp_path)]) == 0
    assert "120 runs left, no time" in capsys.readouterr().err
