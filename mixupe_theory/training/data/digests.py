"""Digests of content in a form that does not depend on how it was packed, published or recorded at fetching."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mixupe_theory.files import write_atomically
from mixupe_theory.training.data.sources import CorruptData, check_digest


def check_content(path: Path, content: bytes, published: tuple[str, ...] = ()) -> None:
    """Raise CorruptData unless the content is the published one or the one recorded beside ``path``.

    Args:
        path: The file or folder that the content was read from.
        content: What is digested: of a compressed file its content, of a folder a listing.
        published: Digests known here, each "sha256:<hex>".
    """
    accepted = published + _recorded(path)
    if not accepted:
        raise CorruptData(
            f"{path}: no digest of it is known, and {_beside(path)}, which fetching writes, is not there; delete it "
            "and fetch it again"
        )
    check_digest(path, content, accepted)


def record_content(path: Path, content: bytes) -> None:
    """Write the digest of what was fetched from its canonical source to ``<path>.sha256``, to be checked from now on.

    The digest is the content's, not the packed file's: ``zcat x.csv.gz | sha256sum`` shows it.
    """
    write_atomically(_beside(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode())


def _recorded(path: Path) -> tuple[str, ...]:
    beside = _beside(path)
    return (f"sha256:{beside.read_text().split(maxsplit=1)[0]}",) if beside.is_file() else ()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
