"""``mixupe-theory train`` and ``mixupe-theory data``, as a user types them."""

import json
import re

import pytest
from training_cases import write_iris

from mixupe_theory.cli import main
from mixupe_theory.training import records
from mixupe_theory.training.runs import Run

TRAIN = ("train", "--data", "toy_features", "--model", "mlp", "--epochs", "2")


def typed(capsys, *words):
    """Exit status, what was printed, and the errors without progress bars."""
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    errors = "\n".join(line for line in captured.err.splitlines() if line.startswith("mixupe-theory"))
    return status, captured.out, errors


def test_training_prints_a_table_and_writes_records(tmp_path, capsys):
    methods = ("--method", "erm", "mixupe", "--variant", "deck", "official_v3", "--seeds", 2)
    status, out, errors = typed(capsys, *TRAIN, *methods, "--out", tmp_path)
    assert (status, errors) == (0, "")
    entries = records.read(tmp_path / "records.jsonl")
    assert [Run.from_dict(entry["run"]).title for entry in entries] == ["ERM"] * 2 + ["MixupE deck"] * 2 + [
        "MixupE official_v3"
    ] * 2
    assert out.startswith(
        "toy_features, mlp, cross_entropy, float32, epochs 2, batch_size 128, learning_rate 0.001, adam"
    )
    assert re.search(r"^MixupE deck, alpha 1.0, eta 0.001 +2 +\d+\.\d\d ± \d+\.\d\d", out, re.MULTILINE)
    for entry in entries:
        assert set(entry) >= {"id", "run", "split", "summary", "epochs", "seconds", "resumed", "environment"}
        assert set(entry["epochs"][0]) == {
            *("epoch", "learning_rate", "objective", "seconds"),
            *("train_loss", "train_error", "test_loss", "test_error"),
        }
        assert {"revision", "torch", "cpu", "threads"} <= set(entry["environment"])


def test_mixup_with_a_variant_is_mixupe(tmp_path, capsys):
    status, out, errors = typed(capsys, *TRAIN, "--method", "mixup", "--variant", "deck", "--list")
    assert status == 0
    assert "MixupE deck, seed 0" in out
    assert "mixup with a variant is MixupE" in errors
    status, out, _ = typed(capsys, *TRAIN, "--method", "mixup", "mixupe", "--variant", "deck", "--list")
    assert len(out.splitlines()) == 2


def test_hyperparameters_are_chosen_then_trained(tmp_path, capsys):
    grid = ("--method", "mixupe", "--eta", 0.001, 0.1, "--alpha", 0.5, 1, "--choose", 0.25, "--seeds", 2)
    status, out, _ = typed(capsys, *TRAIN, *grid, "--out", tmp_path)
    entries = records.read(tmp_path / "records.jsonl")
    trials = [entry for entry in entries if entry["run"]["held_out"] == 0.25]
    finals = [entry for entry in entries if entry["run"]["held_out"] == 0.0]
    assert (status, len(trials), len(finals)) == (0, 4, 2)
    best = min(trials, key=lambda entry: list(entry["summary"]["mean_of_last_10"].values())[::-1])
    for entry in finals:
        assert (entry["run"]["eta"], entry["run"]["alpha"]) == (best["run"]["eta"], best["run"]["alpha"])
    assert all(entry["split"]["train"] == 45 for entry in trials)
    assert "held out" not in out


def test_a_learning_rate_is_chosen_for_every_method(tmp_path, capsys):
    rates = ("--learning-rate", 1e-9, 0.1, "--batch-size", 10, "--choose", 0.25)
    status, *_ = typed(capsys, *TRAIN, "--method", "erm", "mixup", *rates, "--out", tmp_path)
    finals = [e for e in records.read(tmp_path / "records.jsonl") if not e["run"]["held_out"]]
    assert status == 0
    assert [(entry["run"]["method"], entry["run"]["recipe"]["learning_rate"]) for entry in finals] == [
        ("erm", 0.1),
        ("mixup", 0.1),
    ]


def test_runs_that_differ_in_anything_are_not_averaged(tmp_path, capsys):
    _, out, _ = typed(capsys, *TRAIN, "--learning-rate", 0.01, 0.1, "--out", tmp_path)
    assert re.findall(r"^learning_rate (0.\d+) +1 ", out, re.MULTILINE) == ["0.01", "0.1"]


def test_a_diverging_run_ends_with_status_1(tmp_path, capsys):
    rate = ("--learning-rate", 1e30, "--batch-size", 10)
    status, _, errors = typed(capsys, *TRAIN, *rate, "--out", tmp_path)
    assert status == 1
    assert re.search(r"toy_features, mlp, ERM, seed 0: the loss is (nan|inf) at step \d+ of epoch \d", errors)
    assert not (tmp_path / "records.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "cifar11"), r"data must be one of .*, got 'cifar11'; did you mean 'cifar10'"),
        (("--model", "preact_resnet81"), r"model must be one of .*did you mean 'preact_resnet18'"),
        (("--method", "mixup", "erm", "mixupee"), r"method must be one of .*did you mean 'mixupe'"),
        (("--method", "mixupe", "--variant", "dec"), r"variant must be one of .*did you mean 'deck'"),
        (("--recipe", "image"), r"recipe must be one of .*did you mean 'images'"),
        (("--loss", "bcee"), r"loss must be one of .*did you mean 'bce'"),
        (("--method", "mixupe", "--loss", "bce"), r"loss must be 'cross_entropy' with method 'mixupe'"),
        (("--method", "mixup", "--alpha", "-1"), r"alpha must be a finite number > 0, got -1"),
        (("--method", "mixupe", "--eta", "-1"), r"eta must be a finite number >= 0, got -1"),
        (("--seeds", "0"), r"seeds must be an integer >= 1, got 0"),
        (("--epochs", "0"), r"epochs must be an integer >= 1, got 0"),
        (("--option", "width"), r"option must be name=value, got 'width'"),
        (("--precision", "float16"), r"precision must be one of .*, got 'float16'"),
        (("--held-out", "1.5"), r"held_out must be a number strictly between 0 and 1, got 1.5"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) else "",
)
def test_what_is_not_allowed_is_named_before_anything_is_trained(words, message, tmp_path, capsys):
    status, _, errors = typed(capsys, *TRAIN, *words, "--out", tmp_path / "none")
    assert status == 2
    assert re.search(message, errors), errors
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--option", "widht=2"), r"option of 'mlp' must be one of \('hidden',\), got 'widht'"),
        (("--subset", "60"), r"subset must be at least the number of classes, 3, and below .* 60, got 60"),
    ],
    ids=["option", "subset"],
)
def test_what_only_the_data_or_the_model_can_refuse(words, message, tmp_path, capsys):
    status, _, errors = typed(capsys, *TRAIN, *words, "--out", tmp_path)
    assert status == 1
    assert re.search(message, errors), errors


def test_data_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path))
    status, _, errors = typed(capsys, "train", "--data", "cifar10", "--model", "lenet", "--out", tmp_path / "runs")
    assert status == 1
    assert re.search(r"cifar-10-batches-py.* is missing; run `mixupe-theory data fetch cifar10`, or", errors)


def test_status_of_the_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path))
    write_iris(tmp_path)
    status, out, _ = typed(capsys, "data", "status")
    assert status == 0
    assert re.search(r"^iris +verified +150 rows", out, re.MULTILINE)
    assert re.search(r"^cifar10 +not there +belongs in", out, re.MULTILINE)
    path = tmp_path / "tabular" / "iris.csv.gz"
    path.write_bytes(path.read_bytes()[:-30])
    status, out, _ = typed(capsys, "data", "status", "iris")
    assert status == 1
    assert "DAMAGED" in out


def test_unknown_data_has_suggestions(capsys):
    for words in (("data", "status", "cifer10"), ("data", "fetch", "cifer10")):
        status, _, errors = typed(capsys, *words)
        assert status == 2
        assert "did you mean 'cifar10'" in errors


def test_a_run_is_its_record_s_settings(tmp_path, capsys):
    typed(capsys, *TRAIN, "--method", "mixupe", "--variant", "official_v1", "--out", tmp_path)
    (line,) = (tmp_path / "records.jsonl").read_text().splitlines()
    entry = json.loads(line)
    run = Run.from_dict(entry["run"])
    assert run.id == entry["id"]
    assert (run.threshold, run.needs_mean) == (1.0, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.0}, "alpha has no meaning for ERM, got 1.0"),
        ({"method": "mixup", "eta": 0.1}, "eta has no meaning for mixup"),
        ({"method": "mixupe", "variant": "deck", "threshold": 0.5}, "threshold has no meaning for MixupE deck"),
        ({"fold": 1}, "fold has no meaning for toy_features, whose split depends on the seed alone"),
        ({"data": "mutag", "model": "gin", "fold": -1}, "fold must be an integer >= 0"),
        ({"data": "mutag"}, "model must be one of ('gin',) for mutag (graphs), got 'mlp'"),
        ({"model": "gin"}, "for toy_features (tabular), got 'gin'"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        (
            {"data": "mutag", "model": "gin", "method": "mixupe", "variant": "exact"},
            "graphs do not have; choose one made",
        ),
    ],
    ids=["alpha", "eta", "threshold", "fold", "negative fold", "not for graphs", "for graphs", "seed", "graphs"],
)
def test_settings_without_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Run(**{"data": "toy_features", "model": "mlp"} | settings)
