"""Downloads: verified before they get their name, resumable by hand where there is no network."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from mixupe_theory.files import write_atomically
from mixupe_theory.training.data.sources import CorruptData

RETRIES = 2  # after the first attempt


def download(url: str, digest: str | None, path: Path, *, extract: bool = False) -> None:
    """Get a file, unless it is there already with the right digest, and unpack it where asked.

    The file gets its name only when it is complete and verified; a file of that name with another digest is replaced.
    An archive stays beside its content, so that a damaged file can be restored without a network.

    Args:
        url: Where it is published.
        digest: "md5:<hex>" or "sha256:<hex>"; None where none is published: then a file that is there is kept.
        path: Where it belongs.
        extract: Whether it is a tar or zip archive to be unpacked into the folder of ``path``.

    Raises:
        OSError: If it cannot be downloaded; the message says which file to get from where, and where to put it.
        CorruptData: If what the server sends has another digest, or is an archive that must not be unpacked.
        ModuleNotFoundError: If pooch is not installed.
    """
    try:
        import pooch
        import requests
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; downloads need `pip install "mixupe-theory[train]"`') from error

    pooch.get_logger().setLevel("WARNING")  # the bar says the rest
    files = pooch.create(
        path.parent, base_url="", registry={path.name: digest}, urls={path.name: url}, retry_if_failed=RETRIES
    )
    try:
        with tqdm(desc=path.name, total=1, unit="B", unit_scale=True, disable=None) as bar:  # pooch sets the total
            files.fetch(path.name, downloader=pooch.HTTPDownloader(progressbar=bar, hooks={"response": _close_errors}))
    except requests.RequestException as error:
        reason = "no connection" if error.response is None else error
        raise OSError(
            f"cannot download {url}: {reason} ({type(error).__name__}); without a network, download {url} in a browser "
            f"and put it at {path}, then run the same command again"
        ) from error
    except ValueError as error:  # pooch's word for another digest
        raise CorruptData(f"{url} is not the published file: {error}") from error
    if extract:
        for name, content in members(path):
            write_atomically(path.parent / name, content)


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a tar or zip archive, after a look at all of them.

    Raises:
        CorruptData: If it is not such an archive, is damaged, or has a member that is neither a file nor a folder, or
            would lie outside the folder where it is unpacked.
    """
    is_zip = zipfile.is_zipfile(path)
    try:
        with zipfile.ZipFile(path) if is_zip else tarfile.open(path) as archive:
            if is_zip:
                files = [(entry.filename, entry) for entry in archive.infolist() if not entry.is_dir()]
            else:
                files = [(entry.name, entry) for entry in archive if not entry.isdir()]
                while archive.fileobj.read(1 << 20):  # on to the checksum that follows the members
                    pass
            for name, entry in files:
                if not _is_inside(name, path.parent) or not (is_zip or entry.isfile()):
                    raise CorruptData(
                        f"{path}: member {name!r} is not a plain file inside the folder; nothing was unpacked"
                    )
            for name, entry in tqdm(files, path.name, unit="file", disable=None):
                with archive.open(entry) if is_zip else archive.extractfile(entry) as file:
                    yield name, file.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists what each of its formats says
        raise CorruptData(
            f"{path} is not a whole tar or zip archive: {reason}; delete it and fetch it again"
        ) from error


def _close_errors(response, *args, **kwargs) -> None:
    """Close an answer that nobody will read."""
    if not response.ok:
        response.close()


def _is_inside(name: str, folder: Path) -> bool:
    """Whether a member stays in the folder, symbolic links that are there already followed."""
    folder = folder.resolve()
    return (folder / name).resolve().is_relative_to(folder)
