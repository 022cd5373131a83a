"""The training benchmark's structure: what is compared, counted, refused and left out. No time is asserted."""

import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from mixupe_theory import bench_records, bench_train, bench_train_cases, bench_train_report, cli, flops, paths
from mixupe_theory.bench_train_cases import Contender, contenders, random_images, within, work_of_a_step
from mixupe_theory.environment import environment
from mixupe_theory.training.methods import Objective
from mixupe_theory.training.plain import plain_step
from mixupe_theory.training.trainer import Trainer

SMALL = ({}, {"official": True, "depth": 10, "widen_factor": 1}, 60)
BATCH = 4


@pytest.fixture
def small(monkeypatch):
    """One narrow network, few images, small products, no process for memory, a compiler that is quick."""
    monkeypatch.setattr(bench_train_cases, "NETWORKS", only := {"wrn28_10": SMALL})
    monkeypatch.setattr(bench_train, "NETWORKS", only)
    monkeypatch.setattr(bench_train_cases, "EXAMPLES", 100)
    monkeypatch.setattr(bench_train, "random_images", lambda device: random_images(device, 100))
    monkeypatch.setitem(bench_train.MATRIX, "cpu", 64)
    monkeypatch.setitem(bench_train.COPY, "cpu", 1000)
    monkeypatch.setattr(bench_train, "AT_LEAST", 0.0)
    monkeypatch.setattr(bench_train, "peak_extra_memory", lambda *case: 1.5)
    compile_, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, **how: compile_(f, backend=backend, **how))
    return graphs


def measure(**changes):
    settings = {"rounds": 2, "threads": 1, "networks": ["wrn28_10"], "methods": ["erm", "deck"], "batch_size": BATCH}
    return bench_train.measure(**(settings | changes))


def keys(rows):
    return [(row["method"], row["way"], row["precision"]) for row in rows]


def test_both_ways_of_every_method_are_compared_and_timed(small, tmp_path):
    record = measure(methods=["erm", "mixup", "deck", "official_v3", "exact"], profiles=tmp_path / "profiles")
    assert len(record["rows"]) == 12
    assert set(keys(record["rows"])) >= {("deck", "plain", "bfloat16"), ("deck", "fast", "float32")}
    for row in record["rows"]:
        assert "note" not in row, row
        assert row["difference"] <= row["rounding"]
        assert len(row["seconds"]) == 2
        assert row["MiB"] == 1.5
        shares = [share for _, share in row["operations"]]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1.001
    assert len(small) == 6  # one graph for each fast way
    assert len(list((tmp_path / "profiles").glob("wrn28_10_*.txt"))) == 12
    plain = [row["difference"] for row in record["rows"] if (row["way"], row["precision"]) == ("plain", "float32")]
    assert plain == [0.0] * 5
    bench_records.save("train", record, tmp_path)
    assert bench_records.load("train", tmp_path) == record
    text = bench_train.table(record)
    assert all(
        word in text
        for word in ("times plain", "MFU %", "target on one H200", "ceilings", record["environment"]["cpu"])
    )


PLANTED = {
    "another class": lambda n, o, x, y, *mixed, **how: plain_step(n, o, x, (y + 1) % 10, *mixed, **how),
    "no penalty": lambda n, o, x, y, *mixed, **how: plain_step(n, o, x, y, *mixed, **how | {"eta": 0.0}),
    "the penalty's sign": lambda n, o, x, y, *mixed, **how: plain_step(n, o, x, y, *mixed, **how | {"eta": -1.0}),
    "lambda swapped": lambda n, o, x, y, lam, partner, **how: plain_step(n, o, x, y, 1 - lam, partner, **how),
}


@pytest.mark.parametrize("error", PLANTED)
def test_a_step_that_computes_something_else_is_not_timed(error, small, monkeypatch):
    """An error in the plain way is one of ours to it."""
    monkeypatch.setattr(
        bench_train_cases,
        "plain_step",
        lambda *a, lam=None, partner=None, **how: PLANTED[error](*a, lam, partner, **how),
    )
    _, fast = measure(methods=["official_v3"], batch_size=32)["rows"]
    assert fast["note"] == "disagrees"
    assert "seconds" not in fast


def test_a_failure_is_noted_and_the_others_go_on(small, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no such kernel\nand much more")

    monkeypatch.setitem(bench_train.WAYS, "fast", fails)
    plain, fast = measure(methods=["erm"])["rows"]
    assert fast["note"] == "RuntimeError: no such kernel"
    assert "seconds" in plain
    assert "RuntimeError: no such kernel" in bench_train.table(measure(methods=["erm"]))


def test_what_does_not_fit_is_left_out(small, monkeypatch):
    """By plan, and, where the plan was too hopeful, by the clock."""
    record = measure(minutes=100 / 60)
    assert keys(row for row in record["rows"] if "seconds" in row) == [
        ("erm", "plain", "float32"),
        ("erm", "fast", "bfloat16"),
    ]
    assert {row.get("note") for row in record["rows"]} == {None, "no time left"}
    clock = iter([0.0, 0.0, 90.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    late = measure(methods=["erm"], minutes=2)
    assert [row.get("note") for row in late["rows"]] == [None, "no time left"]


def test_no_network_is_too_many_for_the_compiler(small, monkeypatch):
    """torch gives up at the ninth graph of one function; here are nine."""
    both = {"wrn28_10": SMALL, "preact_resnet18": ({}, {"width": 0.0625}, 60)}
    for module in (bench_train, bench_train_cases):
        monkeypatch.setattr(module, "NETWORKS", both)
    record = measure(networks=list(both), methods=["erm", "mixup", "deck", "official_v3"], rounds=1, batch_size=32)
    assert all("seconds" in row for row in record["rows"]), [row.get("note") for row in record["rows"]]
    assert len(small) == 9


def test_the_plan_is_what_fits():
    wanted = contenders(["preact_resnet18", "wrn28_10"], ["erm", "deck", "mixup"])
    assert len(wanted) == 14
    assert len(set(wanted)) == 14
    chosen, left = within(5, wanted)
    assert sum(contender.seconds for contender in chosen) <= 300
    assert sorted(chosen + left, key=str) == sorted(wanted, key=str)
    assert within(None, wanted) == (wanted, [])
    first, second = left[:2]
    assert sum(contender.seconds for contender in (*chosen, first, second)) > 300
    assert {contender.method for contender in wanted[:8]} == {"erm", "deck"}  # what the targets are about comes first


def test_the_plan_is_printed(capsys):
    assert cli.main(["bench", "train", "--device", "cuda", "--plan", "--minutes", "9"]) == 0
    text = capsys.readouterr().out
    assert "together about 9 minutes" in text
    assert "no time for preact_resnet50 exact" in text
    assert cli.main(["bench", "train", "--plan", "--minutes", "-1"]) == 2
    assert "minutes must be" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["erm", "deck", "exact"])
@pytest.mark.parametrize("way", [("plain", "float32"), ("fast", "bfloat16")], ids=lambda way: way[0])
def test_the_work_of_a_step_is_extrapolated_exactly(small, method, way):
    """From two and four examples to ten, against a step of ten."""
    contender = Contender("wrn28_10", method, *way)
    run, data = contender.run("cpu", 10), random_images("cpu", 20)
    trainer = Trainer(run, data, torch.device("cpu"))
    objective = Objective(trainer.model, run.how, run.loss, trainer.objective.criterion, joint=way[0] == "fast")
    draws = trainer.draws()
    batch = data.prepared(data.train[draws.indices], run.dtype)
    with run.autocast("cpu"):
        loss = flops.work(lambda: objective(batch.inputs, batch.targets, draws.mixture).backward())
    assert work_of_a_step(contender, "cpu", 10) == loss


def test_bytes_are_those_of_products():
    """A convolution and its two gradients, counted by hand: 3 to 4 channels, 3 x 3, five images of 8 x 8."""
    layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    x = torch.zeros(5, 3, 8, 8, requires_grad=True)
    inputs, outputs, weight = 5 * 3 * 64, 5 * 4 * 64, 4 * 3 * 9
    forward = flops.work(lambda: layer(x))
    assert forward == (2 * outputs * 27, 4 * (inputs + weight + outputs))
    both = flops.work(lambda: torch.relu(layer(x)).sum().backward())
    assert both.flops == 3 * forward.flops
    assert both.bytes == forward.bytes + 4 * (outputs + inputs + weight + inputs + weight)
    assert flops.work(lambda: torch.relu(x)) == (0, 0)


def test_random_images_have_cifar_s_form():
    data = random_images("cpu", 100)
    assert data.train.inputs.dtype == torch.uint8
    assert data.shape == (3, 32, 32)
    assert np.bincount(data.train.targets).tolist() == [10] * 10


def _record():
    """Known times: the fast way takes 5 ms for ERM, 10 for "deck", the plain one four times and five times as long."""
    rows = []
    for method, way, precision, ms in (
        ("erm", "plain", "float32", 20),
        ("erm", "fast", "bfloat16", 5),
        ("deck", "plain", "float32", 50),
        ("deck", "fast", "bfloat16", 10),
        ("official_v3", "fast", "bfloat16", 12),
    ):
        row = {"network": "wrn28_10", "method": method, "way": way, "precision": precision, "MiB": None}
        row |= {"flops": 10**9 if method == "erm" else 2 * 10**9, "bytes": 10**7, "first step": 1.0, "difference": 0.0}
        rows.append(row | {"seconds": [ms / 1e3] * 3})
    rows.append({"network": "wrn28_10", "method": "exact", "way": "fast", "precision": "bfloat16", "note": "disagrees"})
    setup = {"device": "cpu", "batch_size": 100, "networks": {"wrn28_10": {}}, "rounds": 3, "minutes": None}
    ceilings = {"float32": 1e11, "bfloat16": 1e12, "copy": 2e9}
    return {"environment": environment(1, "cpu"), "setup": setup, "ceilings": ceilings, "rows": rows}


def test_the_summary_is_ratios_of_what_was_measured():
    entries = {(row["method"], row["way"]): row for row in bench_train_report.summary(_record())}
    deck, v3 = entries["deck", "fast"], entries["official_v3", "fast"]
    assert deck["images"] == pytest.approx(10_000)
    assert deck["faster"] == pytest.approx(5)
    assert deck["times"] == pytest.approx(2)
    assert deck["mfu"] == pytest.approx(0.2)
    assert deck["floor"] == pytest.approx(0.5)  # 10 MB at 2 GB/s take 5 ms, longer than the products' 2 ms
    assert v3["faster"] is None  # its plain way was not timed
    assert v3["times"] == pytest.approx(2.4)
    assert entries["erm", "plain"]["mfu"] == pytest.approx(0.5)
    measured = {what: value for what, value, _ in bench_train_report.targets(_record())}
    assert measured == {
        "wrn28_10 deck: times the plain step's images/s": "5.00",
        "wrn28_10 deck: times ERM's time for an image": "2.00",
        "wrn28_10 official_v3: times ERM's time for an image": "2.40",
    }
    assert "wrn28_10 exact fast bfloat16: disagrees" in bench_train.table(_record())


def test_bad_arguments():
    for changes, message in (
        ({"rounds": 0}, "rounds must be"),
        ({"batch_size": 1}, "batch_size must be an integer >= 2"),
        ({"device": "tpu"}, "device must be one of"),
        ({"networks": ["lenet"]}, "networks must be one of"),
        ({"methods": ["mixupe"]}, "methods must be one of"),
        ({"minutes": math.nan}, "minutes must be"),
    ):
        with pytest.raises(ValueError, match=message):
            bench_train.measure(**changes)


def readme_rows(record):
    """The rows of README's table, from the committed record."""
    entries = {
        (row["network"], row["method"], row["way"], row["precision"]): row for row in bench_train_report.summary(record)
    }
    rows = []
    for (network, method, way, precision), fast in entries.items():
        if (way, precision) == ("fast", "bfloat16"):
            plain = entries[network, method, "plain", "float32"]
            cells = [f"{row['images']:.0f}" for row in (plain, fast)] + [f"**{fast['faster']:.2f}**"]
            cells += [f"{row['times']:.2f}" for row in (plain, fast)]
            cells += [f"{100 * row['mfu']:.0f} %" for row in (plain, fast)]
            cells += [f"{row['MiB']:.0f}" for row in (plain, fast)]
            rows.append(f"| {network} | {method} | {' | '.join(cells)} |")
    return rows


def test_readme_shows_the_committed_record():
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    rows = readme_rows(bench_records.load("train"))
    assert len(rows) == len(bench_train_cases.NETWORKS) * len(bench_train_cases.TRAINED_BY)
    for row in rows:
        assert row in readme
