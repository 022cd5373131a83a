"""Facts about the project's own files."""

import re
import tomllib

import numpy as np
import pytest
import torch
import yaml

from mixupe_theory import BetaLaw, paths
from mixupe_theory.cli import _parser, main

CONDA = {"pytorch": "torch", "pytorch-geometric": "torch-geometric"}
PYPROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())


def bounds(requirements):
    """{normalized name: bound} of "name>=bound" strings."""
    pairs = (re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", requirement).groups() for requirement in requirements)
    return {re.sub(r"[._-]+", "-", name).lower(): bound for name, bound in pairs}


def test_environment_yml_is_truthful():
    project = PYPROJECT["project"]
    ours = bounds(sum(project["optional-dependencies"].values(), project["dependencies"]))
    ours["python"] = project["requires-python"]
    conda = bounds(
        entry
        for entry in yaml.safe_load((paths.ROOT / "environment.yml").read_text())["dependencies"]
        if isinstance(entry, str) and entry != "pip"
    )
    assert {CONDA.get(name, name): bound for name, bound in conda.items()} == ours


def test_constraints_pin_every_dependency_and_name_no_host():
    text = (paths.ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|@|\+cpu|--", text)
    pinned = bounds(text.split())
    project = PYPROJECT["project"]
    needed = bounds(sum(project["optional-dependencies"].values(), project["dependencies"]))
    for name, bound in needed.items():
        assert name in pinned
        version, least = (tuple(int(part) for part in re.findall(r"\d+", value)) for value in (pinned[name], bound))
        assert version >= least, name


@pytest.mark.parametrize("file", ["CITATION.cff", ".pre-commit-config.yaml"])
def test_yaml_files_parse(file):
    assert yaml.safe_load((paths.ROOT / file).read_text())


def test_readme_names_commands_that_exist():
    readme = (paths.ROOT / "README.md").read_text()
    makefile = (paths.ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", readme, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (paths.ROOT / link).exists(), link


def test_readme_s_five_lines_run():
    """The block that shows how to check one's own model, on a model of one's own."""
    import torch

    blocks = re.findall(r"```python\n(.*?)```", (paths.ROOT / "README.md").read_text(), re.DOTALL)
    code = next(block for block in blocks if "expand(" in block)
    rng = torch.Generator().manual_seed(0)
    scope = {
        "model": torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh()),
        "x": torch.randn(6, 4, generator=rng),
        "y": torch.tensor([0, 1, 2, 0, 1, 2]),
    }
    exec(code, scope)
    assert scope["e"].collected.shape == (4,)


def test_ci_runs_exactly_make_test():
    lines = [line for line in (paths.ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make")]
    assert lines == ["make test"]


def test_readme_minimizer_runs():
    """The lines on separable data, as printed."""
    blocks = re.findall(r"```python\n(.*?)```", (paths.ROOT / "README.md").read_text(), re.DOTALL)
    code = next(block for block in blocks if "mixup_minimizer(" in block)
    names = {"BetaLaw": BetaLaw, "x": np.array([[1.0, 0.0], [-7.0, -1.0]]), "y": np.array([1, 0])}
    exec(code, names)
    assert names["found"].unique


def test_readme_pairs_run(capsys):
    """The lines that certify, measure radii and take all pairs' coefficients, as printed."""
    blocks = re.findall(r"```python\n(.*?)```", (paths.ROOT / "README.md").read_text(), re.DOTALL)
    code = next(block for block in blocks if "pairwise_jet(" in block)
    normal = np.random.default_rng(0).normal
    small = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).double()
    for p in small.requires_grad_(False).parameters():
        p.copy_(torch.from_numpy(normal(0, 0.5, p.shape)))
    names = {"BetaLaw": BetaLaw, "small": small, "u": torch.from_numpy(normal(0, 0.5, (5, 2)))}
    names |= {"model": torch.nn.Linear(4, 3), "x": torch.from_numpy(normal(size=(6, 4)))}
    exec(code, names)
    assert capsys.readouterr().out.startswith("True\n")
    assert names["coefficients"].shape == (5, 36, 3)


def test_readme_bound_runs():
    """The lines that bound a linear model's loss, as printed."""
    blocks = re.findall(r"```python\n(.*?)```", (paths.ROOT / "README.md").read_text(), re.DOTALL)
    code = next(block for block in blocks if "data_dependent_bound(" in block)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2))
    names = {"BetaLaw": BetaLaw, "theta": np.array([0.6, -0.8]), "x": x, "y": (x[:, 0] > 0).astype(float)}
    exec(code, names)
    assert names["bound"].total > names["bound"].mixup > 0


def test_readme_training_loop_runs():
    """The lines that train with MixupE, as printed, lower the loss of a small model."""
    text = (paths.ROOT / "README.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "MixupE(" in block)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4))).float()
    y = (x[:, 0] > 0).long()
    model = torch.nn.Linear(4, 2)
    names = {
        "device": "cpu",
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.05),
        "loader": [(x, y)] * 100,
    }
    before = torch.nn.functional.cross_entropy(model(x), y)
    exec(code, names)
    assert torch.nn.functional.cross_entropy(model(x), y) < 0.7 * before


def test_readme_library_of_training_runs(tmp_path, monkeypatch):
    """The lines that train a network of one's own, as printed."""
    from training_cases import write_iris

    from mixupe_theory.training import MODELS, build

    text = (paths.ROOT / "README.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "MODELS[" in block)
    write_iris(tmp_path / "data")
    monkeypatch.setenv("MIXUPE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    names = {"my_network": lambda shape, classes: build("mlp", shape, classes, hidden=(64, 64))}
    try:
        exec(code, names)
    finally:
        MODELS.pop("mine", None)
    assert names["record"]["summary"]["last"]["test_error"] < 0.5
    assert names["network"](torch.zeros(1, 4)).shape == (1, 3)


def test_readme_training_commands_are_understood(capsys):
    """Each line with `train` and `data`, parsed; those that train, listed."""
    text = (paths.ROOT / "README.md").read_text()
    lines = re.findall(r"^(?:mixupe-theory|torchrun .* -m mixupe_theory) ((?:train|data) .*?)(?: +#.*)?$", text, re.M)
    assert len(lines) >= 6
    for line in lines:
        words = line.split()
        if words[0] == "train":
            assert main([*words, "--list"]) == 0
            assert "seed 0" in capsys.readouterr().out
        else:
            _parser().parse_args(words)
