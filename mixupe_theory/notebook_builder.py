"""Execute the notebooks' sources, write the notebooks, and check what was written.

Each ``notebooks/py/NN_name.py`` (py:percent) is executed and becomes ``notebooks/NN_name.ipynb``, its
jupytext pair. A rebuild on the same machine writes the same bytes; on another machine a notebook that tells
the same story is left alone (see ``build``), so that a rebuild leaves the tree clean.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
import numpy as np
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

from mixupe_theory import _validation as check
from mixupe_theory import paths
from mixupe_theory.files import write_atomically

CODE_CELLS = range(4, 21)
LINES_PER_CELL = 10
IMAGE_BYTES = 150_000
NOTEBOOK_BYTES = 1_000_000

_IGNORED = "nbval-ignore-output"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_KERNEL_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else ipykernel's debugger warns about Python's frozen modules
}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PADDING = re.compile(r"\s+|-{2,}")  # a table's spaces and rules follow the widths of its numbers


@dataclass(frozen=True)
class Failure:
    """A notebook that did not run through.

    Attributes:
        notebook: Its name.
        cell: The code cell that failed, counted from 1 as in ``In [1]``.
        exception: What it raised, on one line.
    """

    notebook: str
    cell: int
    exception: str

    def __str__(self) -> str:
        return f"{self.notebook}, code cell {self.cell}: {self.exception}"


def sources(names: Iterable[str] | None = None) -> list[Path]:
    """The notebooks' sources in order: all, or those whose name is or starts with one of ``names``.

    Raises:
        ValueError: If a name fits no source; the message lists those that exist.
    """
    found = sorted(paths.NOTEBOOK_SOURCES.glob("*.py"))
    if names is None:
        return found
    chosen: set[Path] = set()
    for name in names:
        fitting = [source for source in found if source.stem.startswith(name)]
        if not fitting:
            stems = ", ".join(source.stem for source in found) or f"none in {paths.NOTEBOOK_SOURCES}"
            raise ValueError(f"names: {name!r} fits no notebook; there are {stems}")
        chosen.update(fitting)
    return sorted(chosen)


def notebook_of(source: Path) -> Path:
    """The executed notebook of a source."""
    return source.parent.parent / f"{source.stem}.ipynb"


def build(sources: Iterable[Path], workers: int) -> list[Failure]:
    """Execute sources in parallel processes, one BLAS thread each, and write their notebooks.

    A notebook with a failing cell is not written. One that tells the same story as before is left alone:
    the same cells and metadata, as many images and the same text, where in cells tagged nbval-ignore-output
    numbers may differ by 1 %.

    Args:
        sources: Paths of sources, as from ``sources()``.
        workers: How many notebooks run at once.

    Returns:
        The failures, in the order of ``sources``.

    Raises:
        TypeError: If workers is no integer.
        ValueError: If workers is less than 1.
        OSError: If a notebook cannot be written.
    """
    workers = check.integer("workers", workers, 1)
    # Ctrl-C reaches the workers too and ends them there and then; their kernels end when their parents do.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_DFL))
    try:
        futures = [pool.submit(_build, source) for source in sources]
        for _ in tqdm(as_completed(futures), "notebooks", len(futures), unit="notebook"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return [failure for future in futures if (failure := future.result())]


def problems(path: Path) -> list[str]:
    """What is wrong with a stored notebook, one line each; nbval alone passes a cell that was never run.

    Args:
        path: The .ipynb; its source is py/NAME.py beside it.
    """
    rebuild = f"run `mixupe-theory notebooks {path.stem}`"
    source = path.parent / "py" / f"{path.stem}.py"
    if missing := [file for file in (source, path) if not file.is_file()]:
        return [f"{file.name} is missing" for file in missing]
    try:
        with warnings.catch_warnings(action="error"):
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
    except (nbformat.ValidationError, ValueError, Warning) as error:
        return [f"not a valid notebook ({_one_line(error)}): {rebuild}"]
    pair = jupytext.read(source, fmt="py:percent")
    found = [*_code_problems(notebook), *_output_problems(notebook)]
    if [_input(cell) for cell in notebook.cells] != [_input(cell) for cell in pair.cells]:
        found.append(f"the cells differ from py/{source.name}: {rebuild}")
    if path.stat().st_size > NOTEBOOK_BYTES:
        found.append(f"{path.stat().st_size} bytes, more than {NOTEBOOK_BYTES}")
    return found


def _build(source: Path) -> Failure | None:
    """Execute one source and write its notebook, unless the stored one tells the same story."""
    notebook, target = jupytext.read(source, fmt="py:percent"), notebook_of(source)
    with TemporaryDirectory() as connection:
        client = NotebookClient(
            notebook,
            _kernel(Path(connection)),
            record_timing=False,
            store_widget_state=False,
            shutdown_kernel="immediate",
        )
        client.widget_registry.clear()  # else nbclient answers ipywidgets.Output like a browser, and may hang
        environment = os.environ | _KERNEL_ENVIRONMENT
        run = client.async_execute(cwd=str(target.parent), env=environment, cleanup_kc=True)
        try:
            with ThreadPoolExecutor(1) as thread:  # in the main thread nbclient's handling of Ctrl-C may hang
                thread.submit(asyncio.run, run).result()
        except (CellExecutionError, DeadKernelError) as error:
            raised = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else "the kernel died"
            return Failure(source.stem, client.code_cells_executed, _one_line(raised))
    _tidy(notebook)
    text = nbformat.writes(notebook) + "\n"
    if not _tells_same_story(target, json.loads(text)):
        write_atomically(target, text.encode())
    return None


def _kernel(folder: Path) -> AsyncKernelManager:
    """A kernel of this interpreter, reached through sockets in ``folder``."""
    return AsyncKernelManager(
        # Without folders to look in, jupyter takes this interpreter's ipykernel, whatever kernels the user has.
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        # Kernels that start at the same time may be given the same TCP port; Windows has nothing else.
        transport="tcp" if os.name == "nt" else "ipc",
        connection_file=str(folder / "kernel.json"),
    )


def _tidy(notebook: NotebookNode) -> None:
    """Leave what JupyterLab and jupytext would write, without what changes from run to run."""
    metadata = notebook.metadata
    metadata.update(kernelspec=_KERNELSPEC, language_info={"name": "python"})
    header = metadata.pop("jupytext", {})
    header.pop("text_representation", None)
    if header:
        metadata["jupytext"] = header
    for index, cell in enumerate(notebook.cells):
        cell.id = f"{index:02d}-{cell.cell_type}"
        if cell.cell_type == "code":
            cell.outputs = _tidy_outputs(cell.outputs)


def _tidy_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Drop views of widgets, whose ids are random; join text that the kernel happened to send in pieces."""
    tidy: list[NotebookNode] = []
    for output in outputs:
        if _WIDGET in output.get("data", {}):
            continue
        if output.output_type == "stream" and tidy and tidy[-1].get("name") == output.name:
            tidy[-1].text += output.text
        else:
            tidy.append(output)
    return tidy


def _tells_same_story(target: Path, new: dict) -> bool:
    try:
        old = json.loads(target.read_bytes())
    except (FileNotFoundError, ValueError):  # ValueError: not JSON, as after a merge conflict
        return False
    same_inputs = _without_outputs(old) == _without_outputs(new)
    return same_inputs and all(map(_same_outputs, old["cells"], new["cells"]))


def _without_outputs(notebook: dict) -> dict:
    return {**notebook, "cells": [{**cell, "outputs": None} for cell in notebook["cells"]]}


def _same_outputs(old: dict, new: dict) -> bool:
    if _IGNORED not in new["metadata"].get("tags", []):
        return list(_texts(old)) == list(_texts(new))
    (old_words, old_numbers), (new_words, new_numbers) = _words_and_numbers(old), _words_and_numbers(new)
    return old_words == new_words and np.allclose(new_numbers, old_numbers, rtol=1e-2, atol=1e-12)


def _texts(cell: dict) -> Iterator[tuple[str, str]]:
    """MIME type (or stream) and text of each output; of an image only that it is there."""
    for output in cell.get("outputs", []):
        data = output.get("data") or {output.get("name", "error"): output.get("text", "")}
        for mime, text in sorted(data.items()):
            yield mime, "" if mime.startswith("image/") else json.dumps(text, ensure_ascii=False)


def _words_and_numbers(cell: dict) -> tuple[str, list[float]]:
    text = json.dumps(list(_texts(cell)), ensure_ascii=False)
    return _PADDING.sub("", _NUMBER.sub("\0", text)), [float(number) for number in _NUMBER.findall(text)]


def _code_problems(notebook: NotebookNode) -> Iterator[str]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(cells) not in CODE_CELLS:
        yield f"{len(cells)} code cells, not {CODE_CELLS[0]} to {CODE_CELLS[-1]}"
    for number, cell in enumerate(cells, 1):
        if cell.execution_count != number:
            yield f"code cell {number} has execution count {cell.execution_count}: not run, or not in order"
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        if lines > LINES_PER_CELL:
            yield f"code cell {number} has {lines} lines, more than {LINES_PER_CELL}"
    code = [line.split("#")[0] for cell in cells for line in cell.source.splitlines()]
    if not any(line.lstrip().startswith("assert ") or "check" in line for line in code):
        yield "no cell asserts or checks anything"


def _output_problems(notebook: NotebookNode) -> Iterator[str]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not any(cell.outputs for cell in cells):
        yield "no outputs are stored"
    for number, cell in enumerate(cells, 1):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} holds an error: {output.ename}"
            if output.get("name") == "stderr":
                yield f"code cell {number} holds text on stderr: {_one_line(output.text)}"
            for mime, data in output.get("data", {}).items():
                if mime.startswith("image/") and (size := _image_size(mime, data)) > IMAGE_BYTES:
                    yield f"code cell {number} holds an image of {size} bytes, more than {IMAGE_BYTES}"


def _image_size(mime: str, data: str) -> int:
    return len(data.encode() if mime == "image/svg+xml" else base64.b64decode(data))


def _input(cell: NotebookNode) -> tuple[str, str, list[str]]:
    return cell.cell_type, cell.source, cell.metadata.get("tags", [])


def _one_line(message: object) -> str:
    """The first line with anything in it, at most 200 characters, without terminal colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(message)).strip(" :\n")
    return plain.partition("\n")[0][:200]
