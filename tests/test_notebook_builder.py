"""The builder: same bytes on a rebuild, failures in one line, and every planted problem is found."""

import base64
import json
import os
import shutil
import sys

import pytest

from mixupe_theory import notebook_builder as builder
from mixupe_theory import paths
from mixupe_theory.notebook_builder import Failure, build, notebook_of, problems, sources

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOURCE = f"""\
# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A claim
# $\\lambda$ is `lam`.

# %%
import os, sys

print(sys.executable, os.environ["OMP_NUM_THREADS"])
print(os.getcwd(), flush=True)
print("third line")

# %% [markdown]
# The digits below may differ a little between machines.

# %% tags=["nbval-ignore-output"]
print(f"|   error |   rank |")
print(f"| 0.98765 | {{1e-16:.2g}} |")

# %%
import base64
from IPython.display import Image

display(Image(base64.b64decode("{PIXEL}")))
from tqdm.auto import tqdm

for _ in tqdm(range(2)):
    pass

# %%
assert 1 + 1 == 2
"holds"

# %% tags=["nbval-ignore-output", "interactive"]
from ipywidgets import interact

interact(lambda alpha: print(alpha), alpha=(0, 2));
"""


def write_source(folder, name, text):
    source = folder / "py" / f"{name}.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    return source


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with one notebook."""
    folder = tmp_path_factory.mktemp("good")
    assert builder._build(write_source(folder, "01_good", SOURCE)) is None
    return folder


@pytest.fixture
def notebook(good, tmp_path):
    """The good notebook in a folder of its own, beside its source."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    return tmp_path / "01_good.ipynb"


def change(path, edit):
    stored = json.loads(path.read_text())
    edit(stored, [cell for cell in stored["cells"] if cell["cell_type"] == "code"])
    path.write_text(json.dumps(stored))


def test_good_notebooks_are_written_and_failing_ones_are_not(tmp_path, capfd):
    texts = {
        "01_good": SOURCE,
        "02_fails": SOURCE.replace("1 + 1 == 2", '1 + 1 == 3, "they\\n differ"'),
        "03_dies": SOURCE.replace("assert", "os._exit(1)  # "),
    }
    failures = build([write_source(tmp_path, name, text) for name, text in texts.items()], workers=2)
    assert failures == [
        Failure("02_fails", 4, "AssertionError: they"),
        Failure("03_dies", 4, "the kernel died"),
    ]
    assert str(failures[0]) == "02_fails, code cell 4: AssertionError: they"
    assert sorted(os.listdir(tmp_path)) == ["01_good.ipynb", "py"]
    assert problems(tmp_path / "01_good.ipynb") == []
    out, progress = capfd.readouterr()
    assert out == ""
    assert "3/3" in progress
    assert "warn" not in progress.lower()


def test_what_is_stored(good):
    text = (good / "01_good.ipynb").read_text()
    stored = json.loads(text)
    assert stored["metadata"] == {
        "jupytext": {"notebook_metadata_filter": "kernelspec,jupytext,-jupytext.text_representation.jupytext_version"},
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    kinds = ["markdown", "code", "markdown", "code", "code", "code", "code"]
    assert [cell["id"] for cell in stored["cells"]] == [f"{i:02d}-{kind}" for i, kind in enumerate(kinds)]
    where, digits, image, check, slider = (c for c in stored["cells"] if c["cell_type"] == "code")
    # The kernel is this interpreter, in the notebooks' folder, with one BLAS thread; its text is in one piece.
    assert [output["text"] for output in where["outputs"]] == [[f"{sys.executable} 1\n", f"{good}\n", "third line\n"]]
    assert digits["metadata"] == {"tags": ["nbval-ignore-output"]}
    assert [set(output["data"]) for output in image["outputs"]] == [{"image/png", "text/plain"}]
    assert check["outputs"][0]["data"] == {"text/plain": ["'holds'"]}
    assert slider["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    assert "widget" not in text.replace("ipywidgets", "")
    assert text.endswith("}\n")


def test_a_rebuild_from_nothing_gives_the_same_bytes_whatever_kernels_the_user_has(notebook, monkeypatch):
    spec = notebook.parent / "share" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/nowhere/python"], "display_name": "X", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(spec.parent.parent.parent))
    before = notebook.read_text()
    notebook.unlink()
    assert builder._build(notebook.parent / "py" / "01_good.py") is None
    # Only the working directory, which this notebook prints, is another.
    rebuilt = notebook.read_text()
    old_folder = json.loads(before)["cells"][1]["outputs"][0]["text"][1].strip()
    assert rebuilt == before.replace(old_folder, str(notebook.parent))


def edit_number(cells):
    lines = cells[1]["outputs"][0]["text"]
    assert lines == ["|   error |   rank |\n", "| 0.98765 | 1e-16 |\n"]
    lines[:] = ["|    error |      rank |\n", "|   0.9912 | 3.456e-16 |\n"]


def edit_image(cells):
    data = cells[2]["outputs"][0]["data"]
    data["image/png"] = base64.b64encode(b"pixels of another machine").decode()


@pytest.mark.parametrize("edit", [edit_number, edit_image])
def test_the_same_story_of_another_machine_is_left_alone(notebook, edit):
    new = json.loads(notebook.read_text())
    change(notebook, lambda stored, cells: edit(cells))
    assert builder._tells_same_story(notebook, new)


@pytest.mark.parametrize(
    "edit",
    [
        lambda cells: cells[0]["outputs"][0]["text"].append("fourth line\n"),
        lambda cells: cells[1]["outputs"][0].update(text=["|   error |   rank |\n", "| 0.97 | 1e-16 |\n"]),
        lambda cells: cells[1]["outputs"][0].update(text=["|   error |   rate |\n", "| 0.98765 | 1e-16 |\n"]),
        lambda cells: cells[1]["outputs"][0].update(text=["|   error |   rank |\n"]),
        lambda cells: cells[2]["outputs"].append(cells[2]["outputs"][0]),
        lambda cells: cells[3]["outputs"][0]["data"].update({"text/plain": ["'fails'"]}),
        lambda cells: cells[3].update(source=["assert True"]),
        lambda cells: cells[1]["metadata"].update(tags=[]),
        lambda cells: cells[0].update(id="other"),
        lambda cells: cells[0].update(execution_count=7),
    ],
    ids=["text", "number", "word", "line", "image", "result", "source", "tag", "id", "count"],
)
def test_another_story_is_not(notebook, edit):
    new = json.loads(notebook.read_text())
    change(notebook, lambda stored, cells: edit(cells))
    assert not builder._tells_same_story(notebook, new)


def test_build_leaves_the_same_story_and_rewrites_another(notebook):
    source = notebook.parent / "py" / "01_good.py"
    assert builder._build(source) is None
    change(notebook, lambda stored, cells: edit_image(cells))
    same = notebook.read_bytes()
    assert builder._build(source) is None
    assert notebook.read_bytes() == same
    notebook.write_text("<<<<<<< a merge conflict")
    assert builder._build(source) is None
    assert problems(notebook) == []


def plant(key, value):
    return lambda stored, cells: cells[3].update({key: value})


def plant_output(**output):
    return lambda stored, cells: cells[3]["outputs"].append(output)


def plant_image(mime, data):
    return plant_output(output_type="display_data", metadata={}, data={mime: data})


def strip(stored, cells):
    for cell in cells:
        cell.update(outputs=[])


def never_run(stored, cells):
    for cell in cells:
        cell.update(outputs=[], execution_count=None)


def many(stored, cells):
    stored["cells"] += [{**cells[0], "id": f"more-{i}"} for i in range(16)]


PLANTED = {
    "never run": (never_run, "code cell 1 has execution count None: not run"),
    "one not run": (plant("execution_count", None), "code cell 4 has execution count None"),
    "run twice": (plant("execution_count", 9), "code cell 4 has execution count 9"),
    "stripped": (strip, "no outputs are stored"),
    "other source": (plant("source", ["assert 1 + 1 != 3"]), r"the cells differ from py/01_good.py: run"),
    "other tags": (plant("metadata", {"tags": ["nbval-skip"]}), "the cells differ from py/01_good.py"),
    "a cell less": (lambda stored, cells: stored["cells"].pop(0), "the cells differ from py/01_good.py"),
    "error": (
        plant_output(output_type="error", ename="KeyError", evalue="x", traceback=[]),
        "code cell 4 holds an error: KeyError",
    ),
    "stderr": (
        plant_output(output_type="stream", name="stderr", text=["UserWarning: hm\n"]),
        "code cell 4 holds text on stderr: UserWarning: hm",
    ),
    "large png": (
        plant_image("image/png", base64.b64encode(bytes(150_001)).decode()),
        "code cell 4 holds an image of 150001 bytes, more than 150000",
    ),
    "large svg": (plant_image("image/svg+xml", "<svg>" * 30_001), "code cell 4 holds an image of 150005 bytes"),
    "large notebook": (
        plant_output(output_type="stream", name="stdout", text="x" * 10**6),
        "bytes, more than 1000000",
    ),
    "long cell": (plant("source", ["a = 1\n", "\n"] * 11), "code cell 4 has 11 lines, more than 10"),
    "few cells": (lambda stored, cells: stored.update(cells=cells[:3]), "3 code cells, not 4 to 20"),
    "many cells": (many, "21 code cells, not 4 to 20"),
    "no check": (plant("source", ["1 + 1  # assert, check"]), "no cell asserts or checks anything"),
    "no ids": (lambda stored, cells: cells[0].pop("id"), "not a valid notebook"),
    "bad shape": (lambda stored, cells: cells[0].pop("outputs"), "not a valid notebook"),
}


@pytest.mark.parametrize(("edit", "message"), PLANTED.values(), ids=PLANTED.keys())
def test_planted_problems_are_found(notebook, edit, message):
    change(notebook, edit)
    assert any(message in problem for problem in problems(notebook)), problems(notebook)


def test_small_images_and_ten_lines_are_fine(notebook):
    change(notebook, plant_image("image/png", base64.b64encode(bytes(150_000)).decode()))
    assert problems(notebook) == []


def test_missing_and_broken_files_are_problems(notebook):
    notebook.write_text("not JSON")
    assert problems(notebook)[0].startswith("not a valid notebook")
    notebook.unlink()
    assert problems(notebook) == ["01_good.ipynb is missing"]
    (notebook.parent / "py" / "01_good.py").unlink()
    assert problems(notebook) == ["01_good.py is missing", "01_good.ipynb is missing"]


def test_sources_are_chosen_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOK_SOURCES", tmp_path / "py")
    assert sources() == []
    with pytest.raises(ValueError, match="names: '01' fits no notebook; there are none in"):
        sources(["01"])
    a, b, c = (write_source(tmp_path, name, "") for name in ("00_ledger", "01_mixup_loss", "02_theorem1"))
    assert sources() == [a, b, c]
    assert sources(["02", "00_ledger", "0"]) == [a, b, c]
    assert sources(["01_mixup_loss"]) == [b]
    assert notebook_of(b) == tmp_path / "01_mixup_loss.ipynb"
    with pytest.raises(ValueError, match="'mixup' fits no notebook; there are 00_ledger, 01_mixup_loss, 02"):
        sources(["00", "mixup"])


def test_workers_must_be_a_number_of_processes():
    with pytest.raises(ValueError, match="workers must be an integer >= 1, got 0"):
        build([], 0)
    with pytest.raises(TypeError, match="workers must be an integer"):
        build([], "two")
    assert build([], 1) == []
