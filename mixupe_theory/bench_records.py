"""Records of the benchmarks: what was measured, on what machine, as JSON beside the figures' arrays."""

from __future__ import annotations

import json
from pathlib import Path

from mixupe_theory import paths
from mixupe_theory.files import write_atomically

FOLDER = paths.FIGURE_DATA / "bench"


def save(name: str, record: dict, folder: Path | None = None) -> Path:
    """Write a record, each entry of its lists on a line of its own; return the file."""
    parts = []
    for key, value in record.items():
        if isinstance(value, list):
            lines = ",\n".join(f"  {json.dumps(entry, allow_nan=False)}" for entry in value)
            parts.append(f'"{key}": [\n{lines}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value, indent=2, allow_nan=False)}')
    path = (folder or FOLDER) / f"{name}.json"
    write_atomically(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())
    return path


def load(name: str, folder: Path | None = None) -> dict:
    """Read a record.

    Raises:
        FileNotFoundError: If it was never saved; the message says how to make it.
    """
    path = (folder or FOLDER) / f"{name}.json"
    if not path.is_file():
        command = f"mixupe-theory bench {name.replace('_', '-')} --save"
        raise FileNotFoundError(f"the record {path.name} is missing; run `{command}`")
    return json.loads(path.read_text(encoding="utf-8"))
