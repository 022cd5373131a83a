"""Writing files so that a killed run leaves nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` under ``path`` entirely or not at all, creating missing folders.

    Args:
        path: The file to write; one that exists is replaced.
        data: Its content.

    Raises:
        OSError: If the file cannot be written; the message names the path and what to do.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        # With an errno, OSError becomes the fitting subclass: PermissionError, NotADirectoryError, ...
        advice = f"make {path.parent} a folder you may write to, with space left"
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}; {advice}") from error
