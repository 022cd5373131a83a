"""The committed records of training: each line is a run as it is described today, and its summary is its curve's."""

import re

import pytest

from mixupe_theory import paths
from mixupe_theory.cli import main
from mixupe_theory.training import records
from mixupe_theory.training.runs import Run

FILES = sorted((paths.FIGURE_DATA / "runs").glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_lines_are_runs(path):
    entries = records.read(path)
    assert len({entry["id"] for entry in entries}) == len(entries) > 0
    for entry in entries:
        run = Run.from_dict(entry["run"])
        assert run.id == entry["id"], f"the settings of {run} are read differently now"
        if entry["epochs"] or not run.held_out:  # trials may be recorded in brief
            assert len(entry["epochs"]) == run.recipe.epochs
            assert entry["summary"] == records.summary(entry["epochs"])
        assert entry["environment"]["revision"] != "unknown"
        assert all(0 <= epoch["test_error"] <= 1 and epoch["test_loss"] >= 0 for epoch in entry["epochs"])


def test_there_are_images_and_a_table():
    """Real runs on CIFAR-10 and on a tabular set, several seeds of each method."""
    for name in ("cifar10", "pendigits"):
        entries = records.read(paths.FIGURE_DATA / "runs" / f"{name}.jsonl")
        seeds = {}
        for entry in entries:
            if not entry["run"]["held_out"]:
                seeds.setdefault(entry["run"]["method"], set()).add(entry["run"]["seed"])
        assert {"erm", "mixup", "mixupe"} <= set(seeds)
        assert all(len(found) >= 3 for found in seeds.values())


def test_lines_are_as_add_writes_them(tmp_path):
    for path in FILES:
        entries = records.read(path)
        records.add(tmp_path / path.name, entries)
        records.add(tmp_path / path.name, entries[:1])  # known already
        assert (tmp_path / path.name).read_text() == path.read_text()


def test_readme_s_commands_find_their_runs_recorded(monkeypatch, tmp_path, capsys):
    """Without any data they print their tables: nothing is left to be trained."""
    monkeypatch.chdir(paths.ROOT)
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path))
    text = (paths.ROOT / "README.md").read_text()
    lines = re.findall(r"^mixupe-theory ((?:train|study) .* --records .*)$", text, re.MULTILINE)
    assert {line.split("--records ")[1].split()[0] for line in lines} == {f"figures/data/runs/{p.name}" for p in FILES}
    for line in lines:
        assert main([*line.split(), "--out", str(tmp_path / "runs")]) == 0
        printed = capsys.readouterr().out
        if line.startswith("train"):
            assert re.search(r"^(ERM)? +[35] +\d", printed, re.MULTILINE)
        else:
            assert re.search(r"^[A-Z].*±.* (5|10)$", printed, re.MULTILINE)
    assert not (tmp_path / "runs").exists()
