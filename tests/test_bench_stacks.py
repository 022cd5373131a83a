"""The benchmark of runs trained together: what is timed, compared, refused and shown. No time is asserted."""

import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from training_cases import SHORT, features, register

from mixupe_theory import bench_records, bench_stacks, bench_stacks_report, paths
from mixupe_theory.environment import environment
from mixupe_theory.training import data
from mixupe_theory.training.data import MissingData
from mixupe_theory.training.grids import grid
from mixupe_theory.training.stacks import evaluation
from mixupe_theory.training.stacks import trainer as stack_module
from mixupe_theory.training.stacks.networks import StackedNetworks
from mixupe_theory.training.trainer import initial_network

register()
TOLERANCE = 1e-10  # of weights in float64, as for runs together and alone
METHODS = ("erm", "mixup", "mixup_clean_forward", "mixupe")
OF_GRAPHS = {"methods": METHODS[::3], "folds": range(2), "model": "gin", "model_options": {"hidden": 3}}
OF_FEATURES = {"methods": METHODS, "variants": ("deck", "official_v3"), "seeds": range(2)}
OF_FEATURES |= {"model": "mlp", "model_options": {"hidden": [4]}}


@pytest.fixture
def small(monkeypatch):
    """Two toy cases in place of the studies, no new process; counts how often this one is told to keep memory."""
    recipes = (replace(SHORT, learning_rate=0.01, warmup=0),)  # by SGD, as Adam blows up rounding
    runs = [
        run
        for name, settings in (("toy_features", OF_FEATURES), ("toy_graphs", OF_GRAPHS))
        for run in grid(data=name, recipes=recipes, precision="float64", **settings)
    ]
    told, toy, halves = [], features(), torch.arange(len(features().test)).chunk(2)

    def load(folder, *, seed, fold):
        return replace(toy, test=toy.test[halves[seed]])

    class Here(nullcontext):
        def __init__(self, workers, context):
            super().__init__(self)

        def submit(self, function, *arguments):
            return SimpleNamespace(result=lambda: function(*arguments))

    monkeypatch.setattr(bench_stacks, "STUDIES", {"toys": SimpleNamespace(runs=runs, together=True)})
    monkeypatch.setattr(bench_stacks, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(bench_stacks, "keep_freed_memory", lambda: told.append("") or True)
    monkeypatch.setattr(bench_stacks, "STEPS", 4)
    monkeypatch.setitem(data.SOURCES, "toy_features", replace(data.SOURCES["toy_features"], load=load))
    bench_stacks._stack_here.cache_clear()
    return told


def measure(names=("toy_features",)):
    return bench_stacks.measure(2, 1, names)


def test_what_is_timed_is_the_same_work(small, monkeypatch, tmp_path):
    """Both ways of the same runs have made as many steps in the end, and have come to the same weights."""
    right, made = bench_stacks.both_ways, []
    monkeypatch.setattr(bench_stacks, "both_ways", lambda *given: made.append(right(*given)) or made[-1])
    record = measure(("toy_features", "toy_graphs"))
    assert [row["runs"] for row in record["rows"]] == [10, 4]
    assert len(small) == 4  # of each case its row and one of its two processes
    for row, (stack, alone) in zip(record["rows"], made[1::2], strict=True):  # the first pair of each was compared
        assert row["difference"] < TOLERANCE
        assert row["steps"] == stack.steps_per_epoch
        for way in ("step alone", "step together", "evaluation alone", "evaluation together", "kept", "returned"):
            assert len(row[way]) == 2
            assert min(row[way]) > 0
        steps = 3 * bench_stacks.STEPS  # a warm-up and two rounds
        assert {trainer.position for trainer in (stack, *alone)} == {steps}
        for trainer, member in zip(alone, stack.members(), strict=True):
            assert trainer.run == member.run
            ours, theirs = member.model.state_dict(), trainer.model.state_dict()
            assert all((ours[name] - theirs[name]).abs().max() < TOLERANCE for name in ours)
            first = initial_network(member.run, member.dataset, bench_stacks.CPU).state_dict()
            assert all((ours[name] - first[name]).abs().max() > 1e-4 for name in ours if name.endswith("2.weight"))
    bench_records.save("stacks", record, tmp_path)
    assert bench_records.load("stacks", tmp_path) == record
    text = bench_stacks.table(record)
    assert all(word in text for word in ("toy_graphs", "gin", "2 alternating rounds", record["environment"]["cpu"]))


def plant_swapped_lambda(monkeypatch):
    right = stack_module.mix
    monkeypatch.setattr(stack_module, "mix", lambda t, partner, lam: right(t, partner, 1 - lam))


def plant_no_steps(monkeypatch):
    monkeypatch.setattr(StackedNetworks, "update", lambda self, losses, epoch: None)


def plant_the_first_seed_s_test(monkeypatch):
    right = evaluation.evaluate
    monkeypatch.setattr(
        evaluation, "evaluate", lambda networks, parts, owner, classes: right(networks, parts, 0 * owner, classes)
    )


@pytest.mark.parametrize("plant", [plant_swapped_lambda, plant_no_steps, plant_the_first_seed_s_test])
def test_ways_that_disagree_are_not_timed(plant, small, monkeypatch):
    plant(monkeypatch)
    record = measure()
    (row,) = record["rows"]
    assert row["difference"] > 1e2 * bench_stacks.TOLERANCE
    assert "step alone" not in row
    assert "toy_features: not timed, the ways disagree" in bench_stacks.table(record)


def test_missing_data_is_said_and_the_others_go_on(small, monkeypatch, capsys):
    def missing(folder, *, seed, fold):
        raise MissingData("toy_graphs: /a/folder/toy.csv is missing; fetch it")

    monkeypatch.setitem(data.SOURCES, "toy_graphs", replace(data.SOURCES["toy_graphs"], load=missing))
    monkeypatch.setattr(bench_stacks, "keep_freed_memory", lambda: False)
    record = measure(("toy_graphs", "toy_features"))
    assert "/a/folder/toy.csv is missing; fetch it" in capsys.readouterr().err
    first, second = record["rows"]
    assert first == {"data": "toy_graphs", "note": "not measured, its files are missing"}
    assert "step alone" in second
    assert "kept" not in second
    for case in (record, measure(("toy_graphs",))):
        text = bench_stacks.table(case)
        assert "toy_graphs: not measured, its files are missing" in text
        assert "so many times as long: not measured" in text


def test_the_cases_are_runs_of_the_studies():
    for name in bench_stacks.CASES:
        runs = bench_stacks.runs_of(name)
        assert len(runs) == (30 if name in ("mutag", "proteins") else 25)
        assert len({(run.title, run.seed, run.fold) for run in runs}) == len(runs)
        assert len({stack_module.stack_key(run) for run in runs}) == 1
        assert len({run.recipe.learning_rate for run in runs}) == 1
        assert not any(run.held_out for run in runs)


def _record():
    row = {"data": "cmc", "model": "mlp", "runs": 25, "difference": 1e-15, "steps": 10}
    row |= {"step alone": [0.012, 0.010, 0.011], "step together": [0.002, 0.0025, 0.002]}  # ratios 6, 4 and 5.5
    row |= {"evaluation alone": [0.04, 0.04, 0.04], "evaluation together": [0.02, 0.04, 0.01]}
    row |= {"kept": [0.002, 0.002, 0.002], "returned": [0.003, 0.0025, 0.0026]}
    return {"environment": environment(1, "cpu"), "setup": {"rounds": 3, "steps": 10}, "rows": [row]}


def shown(record):
    """The cells of the table's only line, and the gain of memory."""
    lines = bench_stacks.table(record).splitlines()
    (memory,) = (line.split()[-1] for line in lines if "so many times as long" in line)
    (cells,) = (line.split()[3:] for line in lines if line.split()[:1] == ["cmc"])
    return [*cells, memory]


# an epoch takes 0.16, 0.14 and 0.15 s alone, 0.04, 0.065 and 0.03 together
EXPECTED = ["11", "2", "5.50", "40", "20", "2.00", "4.00", "1.30"]


def test_the_table_shows_the_ratios_of_the_record():
    assert shown(_record()) == EXPECTED


WRONG = {
    "upside down": lambda slow, fast: min(fast) / max(slow),
    "of the means": lambda slow, fast: sum(slow) / sum(fast),
}


@pytest.mark.parametrize("error", WRONG)
def test_a_wrong_ratio_is_noticed(error, monkeypatch):
    monkeypatch.setattr(bench_stacks_report, "_ratio", WRONG[error])
    assert shown(_record()) != EXPECTED


def test_bad_arguments():
    for changes, error, message in (
        ({"rounds": 0}, ValueError, "rounds must be an integer >= 1"),
        ({"threads": math.pi}, TypeError, "threads must be an integer >= 1"),
        ({"names": ["mutaq"]}, ValueError, "names must be one of .*did you mean 'mutag'"),
        ({"names": ["speech_commands"]}, ValueError, "names must be one of"),  # whose runs are not trained together
    ):
        with pytest.raises(error, match=message):
            bench_stacks.measure(**changes)


def test_readme_shows_the_committed_record():
    readme, record = (paths.ROOT / "README.md").read_text(encoding="utf-8"), bench_records.load("stacks")
    lines = [line.split() for line in bench_stacks.table(record).splitlines()]
    rows = [f"| {' | '.join(cells)} |" for cells in lines if cells[:1] in [[name] for name in bench_stacks.CASES]]
    assert len(rows) == len(bench_stacks.CASES)
    assert all(row in readme for row in rows)
