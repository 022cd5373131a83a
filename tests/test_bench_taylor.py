"""The benchmarks' structure: what is compared, what is refused, what memory is seen. No time is asserted."""

import getpass
import json
import math
import re
import socket
import sys

import bench_cases
import mpmath
import numpy as np
import pytest
import torch

from mixupe_theory import bench_mixup_loss, bench_records, bench_taylor, environment, flops
from mixupe_theory.bench_peers import (
    PEERS,
    NotAvailable,
    Problem,
    agree,
    collect,
    dense,
    differences,
    gemm_floor,
    ours,
)
from mixupe_theory.bench_timing import alternating, limited_to, peak_extra_memory
from mixupe_theory.figures import bench as figures

WIDTHS = (3, 8, 8, 2)
CASES = (("float64", 4, 1), ("float64", 4, 2), ("float64", 4, 3), ("float32", 4, 2), ("float64", 3, 3))


@pytest.fixture(scope="module")
def record():
    return bench_taylor.measure(rounds=1, threads=1, cases=CASES, memory_cases=(), widths=WIDTHS)


def _installed(name: str, problem: Problem, chunk=None):
    try:
        return PEERS[name](problem, chunk)
    except NotAvailable as reason:
        pytest.skip(f"{name}: {reason}")


def _by_mpmath(problem: Problem, i: int, j: int) -> np.ndarray:
    """Coefficients along one line, by numerical differentiation in 60 digits of a network written out."""
    layers = [layer for layer in problem.network() if isinstance(layer, torch.nn.Linear)]
    start, end = problem.points()[[i, j]].tolist()

    def output(a, k):
        x = [mpmath.mpf(s) + a * (mpmath.mpf(e) - mpmath.mpf(s)) for s, e in zip(start, end, strict=True)]
        for depth, layer in enumerate(layers):
            x = [
                mpmath.fsum(mpmath.mpf(w) * v for w, v in zip(row, x, strict=True)) + mpmath.mpf(b)
                for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            ]
            x = [mpmath.tanh(v) for v in x] if depth < len(layers) - 1 else x
        return x[k]

    with mpmath.workdps(60):
        columns = [mpmath.taylor(lambda a, k=k: output(a, k), 0, problem.order) for k in range(WIDTHS[-1])]
    return np.array(columns, dtype=float).T


@pytest.mark.parametrize("name", ["ours", *PEERS])
@pytest.mark.parametrize("chunk", [None, 5])
def test_every_contender_gives_the_coefficients_of_all_pairs(name, chunk):
    problem = Problem(WIDTHS, 3, 3)
    result = collect(ours(problem) if name == "ours" else _installed(name, problem, chunk))
    assert result.shape == (4, 9, 2)
    for i, j in ((0, 2), (2, 1)):
        expected = _by_mpmath(problem, i, j)
        scale = np.abs(expected).max(1, keepdims=True)
        assert (np.abs(result[:, 3 * i + j] - expected) <= 1e3 * np.finfo(float).eps * scale).all()


def test_a_wrong_peer_is_flagged_and_not_timed(monkeypatch):
    def derivatives(problem, chunk=None):  # J^k f v^k without 1/k!
        right = dense(problem, chunk)
        factorials = torch.tensor([math.factorial(k) for k in range(problem.order + 1)])[:, None, None]
        return lambda: (c * factorials for c in right())

    def reversed_lines(problem, chunk=None):  # from x_i away from x_j: odd orders change sign
        right = dense(problem, chunk)
        signs = torch.tensor([(-1.0) ** k for k in range(problem.order + 1)])[:, None, None]
        return lambda: (c * signs for c in right())

    planted = {"right": dense, "no factorials": derivatives, "reversed": reversed_lines}
    monkeypatch.setattr(bench_taylor, "PEERS", planted)
    rows = {r["who"]: r for r in bench_taylor._case(Problem(WIDTHS, 4, 2), planted, {"GEMM floor": 16}, 1)}
    assert "seconds" in rows["right"]
    for name, order in (("no factorials", 2), ("reversed", 1)):
        assert rows[name]["note"] == "disagrees"
        assert "seconds" not in rows[name]
        assert rows[name]["differences"][order] > 0.5
    assert not agree(np.ones((2, 1, 1)), [0.0, float("nan")])
    with pytest.raises(ValueError, match="result must have the reference's shape"):
        differences(np.ones((3, 4, 2)), np.ones((2, 4, 2)))


def test_rows_cover_every_case_and_contender(record):
    for dtype, n, order in CASES:
        rows = bench_taylor.timings(record, dtype=dtype, n=n, order=order)
        peers = PEERS if n == 4 else bench_taylor.BY_SIZE
        assert list(rows) == ["ours", "one plain forward", "GEMM floor", *peers]
        for row in rows.values():
            assert ("note" in row) != (len(row.get("seconds", [])) == 1), row
            if row["who"] in peers and "seconds" in row:
                assert len(row["differences"]) == order + 1
    assert record["environment"]["threads"] == 1


def test_tables_name_what_is_missing(record, monkeypatch):
    text = bench_taylor.table(record)
    for words in ("float64, n = 4", "float32, n = 4", "GEMM floor", "times as long as ours", "difference", "Targets"):
        assert words in text

    def absent(problem, chunk=None):
        raise NotAvailable("not installed")

    assert bench_taylor._memory_run(absent, Problem(WIDTHS, 2, 2), 1) is None
    monkeypatch.setattr(bench_taylor, "PEERS", {"a peer": absent})
    rows = bench_taylor._case(Problem(WIDTHS, 2, 2), ["a peer"], {"GEMM floor": 4}, 1)
    assert rows[-1] == {"dtype": "float64", "n": 2, "order": 2, "who": "a peer", "note": "not installed"}


@pytest.mark.parametrize("chunk", [4, 7, 16, 100])
def test_the_floor_does_the_products_of_the_stacked_orders_and_no_others(chunk):
    problem = Problem((3, 8, 6, 2), 4, 3)
    with limited_to(1):  # the counter sees its own thread alone
        run = gemm_floor(problem, chunk)
        # orders 1..3 of 16 pairs through 8 x 6 and 6 x 2
        assert flops.count(lambda: list(run())) == 2 * 3 * 16 * (8 * 6 + 6 * 2)
    with limited_to(2):
        list(gemm_floor(problem, chunk)())


def test_records_round_trip(record, tmp_path):
    path = bench_records.save("taylor", record, tmp_path)
    assert bench_records.load("taylor", tmp_path) == record == json.loads(path.read_text())
    with pytest.raises(ValueError, match="not JSON compliant"):
        bench_records.save("taylor", {"rows": [float("nan")]}, tmp_path)
    assert bench_records.load("taylor", tmp_path) == record  # what was there is kept
    with pytest.raises(FileNotFoundError, match="mixupe-theory bench mixup-loss --save"):
        bench_records.load("mixup_loss", tmp_path)


def test_the_environment_names_no_host_user_or_folder(record):
    text = json.dumps(record["environment"])
    words = re.findall(r"[\w.-]+", text)
    assert not {socket.gethostname(), getpass.getuser()} & set(words)
    assert not re.search(r"(^|[\s\"])(/|[A-Za-z]:\\)\w+/", text)
    assert set(environment.VERSIONS) <= set(record["environment"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from Linux's /proc")
def test_memory_sees_a_planted_allocation_and_not_what_was_there_before():
    assert peak_extra_memory(bench_cases.allocations, 64, 32) == pytest.approx(32, abs=2)


def test_runs_alternate_and_directions_too():
    calls = []
    seconds = alternating({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert "".join(calls) == "abbaab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with limited_to(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def _synthetic(**milliseconds) -> dict:
    """A record in which all is known: order K takes K times so many milliseconds."""
    rows = [
        {"dtype": "float64", "n": n, "order": order, "who": who.replace("_", " "), "seconds": [order * ms / 1e3] * 3}
        for n, order in [(64, k) for k in bench_taylor.ORDERS] + [(16, 4)]
        for who, ms in milliseconds.items()
    ]
    memory = [
        {"who": who, "dtype": "float64", "n": 64, "order": k, "MiB": m}
        for who, k, m in (("ours", 4, 6.0), ("one plain forward", 0, 12.0))
    ]
    setup = {"widths": [3, 8, 2], "n": 64, "rounds": 3, "chunks": {}}
    return {"environment": environment.environment(1, "cpu"), "setup": setup, "rows": rows, "memory": memory}


def test_targets_are_ratios_of_medians():
    record = _synthetic(ours=2, jax_jet=7, GEMM_floor=1.6, one_plain_forward=1)
    found = {what: value for what, value, _ in bench_taylor.targets(record)}
    assert found["jax jet / ours, K = 4"] == "3.50"
    assert found["ours / GEMM floor, K = 8"] == "1.25"
    assert found["time per order, K = 8 / K = 4"] == "1.00"
    assert found["peak memory, ours / one forward, float64, K = 4"] == "0.50"
    assert "nested jvp / ours, K = 4" not in found  # not timed


def test_mixup_loss_contenders_agree_and_a_wrong_one_is_flagged(monkeypatch, tmp_path):
    wrong = lambda f, x, targets: lambda: 1.001 * bench_mixup_loss.plain(f, x, targets).item()
    monkeypatch.setitem(bench_mixup_loss.PEERS, "wrong", wrong)
    monkeypatch.setattr(bench_mixup_loss, "SAMPLES", (10, 50))
    record = bench_mixup_loss.measure(rounds=1, threads=1, sizes=(3, 5))
    rows = {(row["who"], row["n"]): row for row in record["rows"]}
    assert rows["wrong", 5]["note"] == "disagrees"
    assert "seconds" not in rows["wrong", 5]
    assert all("seconds" in row or row["note"] == "not installed" for (who, _), row in rows.items() if who != "wrong")
    assert [row.get("rule", row.get("samples")) for row in record["accuracy"]] == [2, 4, 8, 16, 10, 50]
    bench_records.save("mixup_loss", record, tmp_path)
    assert bench_records.load("mixup_loss", tmp_path) == record
    assert "ratio to ours" in bench_mixup_loss.table(record)


def test_monte_carlo_is_extrapolated_by_its_square_root():
    accuracy = [{"rule": 16, "error": 1e-6, "seconds": [2.0]}, {"samples": 100, "error": 1e-3, "seconds": [0.5]}]
    found = bench_mixup_loss.against_chance({"accuracy": accuracy})
    assert found["sampled_seconds"] == pytest.approx(0.5e6)
    assert found["sampled_error"] == pytest.approx(5e-4)


def test_figures_show_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_records, "FOLDER", tmp_path)
    bench_records.save("taylor", _synthetic(ours=2, jax_jet=7, GEMM_floor=1.6, one_plain_forward=1))
    spec, *_ = figures.FIGURES
    arrays = spec.arrays()
    assert list(arrays["names_by_order"]) == ["ours", "jax jet", "GEMM floor", "one plain forward"]
    np.testing.assert_allclose(arrays["ms_by_order"][0], np.outer(range(1, 9), [2, 2, 2]))
    assert list(arrays["n"]) == [16, 64]
    spec.draw(arrays)


def test_bad_arguments():
    with pytest.raises(ValueError, match="rounds must be"):
        bench_taylor.measure(rounds=0)
    with pytest.raises(ValueError, match="device must be one of"):
        bench_taylor.measure(device="tpu")
    with pytest.raises(ValueError, match="n must be an integer >= 2"):
        bench_mixup_loss.measure(sizes=(1,))
