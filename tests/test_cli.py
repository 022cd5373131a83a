"""The command's exit statuses and messages."""

import json
import subprocess
import sys

import pytest

from mixupe_theory import cli, paths
from mixupe_theory.claims import CLAIMS, Evidence


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for command in ("claims", "notebooks", "figures", "networks", "bench", "exit status"):
        assert command in text


def test_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "mixupe_theory", "claims", "--list"], capture_output=True, text=True)
    assert run.returncode == 0
    assert all(id in run.stdout for id in CLAIMS)


def test_claims_json(capsys):
    assert cli.main(["claims", "--only", "theorem1.gradient", "--json", "--workers", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["evidence"]["passed"] is True
    assert row["control"]["passed"] is False


def test_claims_exit_1_when_a_verdict_is_not_supported(monkeypatch, capsys):
    claim = CLAIMS["theorem1.gradient-of-h"]
    object.__setattr__(claim, "check", lambda: Evidence(False, {"error": 1.0}, "none"))
    try:
        assert cli.main(["claims", "--only", claim.id, "--workers", "1"]) == 1
    finally:
        monkeypatch.undo()
        from mixupe_theory.claims.theorem1 import _gradient_of_h

        object.__setattr__(claim, "check", _gradient_of_h)
    assert "do not support" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["claims", "--only", "theorem9"], "no claim begins with 'theorem9'"),
        (["figures", "nothing"], "no figure is called nothing"),
        (["notebooks", "99"], "99"),
        (["claims", "--readme", "no/such/file"], "no/such/file"),
        (["bench", "mixup-loss", "--n", "1"], "n must be an integer >= 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_exit_2_with_a_message(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_readme_is_left_alone_when_it_is_up_to_date(tmp_path, capsys):
    copy = tmp_path / "README.md"
    text = (paths.ROOT / "README.md").read_text()
    copy.write_text(text.replace("**holds**", "**perhaps**", 1))
    arguments = ["claims", "--only", "theorem1.gradient", "--workers", "1", "--readme", str(copy)]
    assert cli.main(arguments) == 0
    assert copy.read_text() == text


def test_bench_reports_a_ratio(capsys):
    assert cli.main(["bench", "mixup-loss", "--n", "5", "--rounds", "1", "--threads", "1"]) == 0
    assert "ratio" in capsys.readouterr().out
