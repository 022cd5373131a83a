"""Checkpoints: written whole or not at all, verified when read, the last good one kept.

A file is one line with the SHA-256 of the rest, which is what ``torch.save`` writes.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import torch

from mixupe_theory.files import write_atomically

KEPT = 2  # the newest, and the one before it should the newest be damaged
_TITLE = b"mixupe-theory checkpoint sha256="


class CorruptCheckpoint(ValueError):
    """A checkpoint is not what was written; the message names the file."""


def save(folder: Path, position: int, state: dict, keep: int = KEPT) -> Path:
    """Write the state at a position (a number of steps) and delete all but the newest ``keep`` checkpoints.

    Raises:
        OSError: If it cannot be written; earlier checkpoints are then as they were.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"checkpoint-{position:010d}.pt"
    write_atomically(path, _TITLE + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    for old in _files(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path) -> dict:
    """Read one checkpoint, onto the CPU.

    Raises:
        CorruptCheckpoint: If it is truncated or altered.
    """
    head, _, content = path.read_bytes().partition(b"\n")
    if head != _TITLE + hashlib.sha256(content).hexdigest().encode():
        raise CorruptCheckpoint(f"{path} is damaged: its content does not have the SHA-256 in its first line")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def load_newest(folder: Path) -> dict | None:
    """The newest good checkpoint of a folder; None where there is none at all. A damaged one is named in a warning.

    Raises:
        CorruptCheckpoint: If there are checkpoints and none is good.
    """
    damaged = []
    for path in reversed(_files(folder)):
        try:
            state = load(path)
        except CorruptCheckpoint as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            warnings.warn(f"{message}; going on from {path.name}", RuntimeWarning, stacklevel=2)
        return state
    if damaged:
        raise CorruptCheckpoint(f"{'; '.join(damaged)}; no good one is left: delete {folder} to start anew")
    return None


def _files(folder: Path) -> list[Path]:
    """From old to new."""
    return sorted(folder.glob("checkpoint-*.pt"))
