"""Where data sets come from: how one is checked, loaded and fetched, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class MissingData(FileNotFoundError):
    """A file of a data set is not there; the message says which file to put where, and how to fetch it."""


class CorruptData(ValueError):
    """A file of a data set is not what was published; the message names it, the digest found and those accepted."""


@dataclass(frozen=True)
class Source:
    """A data set: what it is, and how it is loaded, checked and fetched.

    Attributes:
        name: As on the command line, for example "cifar10".
        title: As in a table, for example "CIFAR-10".
        family: "images", "tabular", "speech" or "graphs"; decides the default recipe.
        place: What lies where, relative to the data folder.
        load: ``load(folder, *, seed, fold)`` -> Dataset, after verification of all it reads. ``seed`` and ``fold``
            choose the split where the data has no official one, and are ignored where it has.
        verify: ``verify(folder)`` -> one line on what was verified; raises MissingData or CorruptData.
        fetch: ``fetch(folder)`` downloads and verifies; raises OSError where there is no network.
    """

    name: str
    title: str
    family: str
    place: str
    load: Callable
    verify: Callable[[Path], str]
    fetch: Callable[[Path], None]


def data_folder() -> Path:
    """The data folder: ``MIXUPE_DATA``, else ``data`` in the user's cache directory.

    Raises:
        ModuleNotFoundError: If MIXUPE_DATA is not set and platformdirs is not installed.
    """
    given = os.environ.get("MIXUPE_DATA")
    if given:
        return Path(given)
    try:
        import platformdirs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; set MIXUPE_DATA, or `pip install "mixupe-theory[train]"`') from error
    return platformdirs.user_cache_path("mixupe-theory") / "data"


def read_verified(source_name: str, folder: Path, relative: str, digests: tuple[str, ...]) -> bytes:
    """The bytes of a file whose digest is one of those accepted.

    Args:
        source_name: The data set, for the message.
        folder: The data folder.
        relative: The file's path in it.
        digests: Accepted contents, each "md5:<hex>" or "sha256:<hex>".

    Raises:
        MissingData: If the file is not there.
        CorruptData: If its content is another.
    """
    content = read(source_name, folder, relative)
    check_digest(folder / relative, content, digests)
    return content


def read(source_name: str, folder: Path, relative: str) -> bytes:
    """The bytes of a file; MissingData says where it belongs."""
    path = folder / relative
    if not path.is_file():
        raise MissingData(
            f"{source_name}: {path} is missing; run `mixupe-theory data fetch {source_name}`, or, without a network, "
            f"put the official file there (the data folder {folder} is set by MIXUPE_DATA)"
        )
    return path.read_bytes()


def check_digest(path: Path, content: bytes, digests: tuple[str, ...]) -> None:
    """Raise CorruptData unless the content has one of the digests."""
    found = {f"{name}:{hashlib.new(name, content).hexdigest()}" for name in {d.split(":")[0] for d in digests}}
    if not found & set(digests):
        raise CorruptData(
            f"{path} is not the published file: its digest is {', '.join(sorted(found))}, accepted is "
            f"{' or '.join(digests)}; delete it and fetch it again"
        )
