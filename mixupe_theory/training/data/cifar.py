"""CIFAR-10 and CIFAR-100 in their official Python layouts, ``cifar-10-batches-py/`` and ``cifar-100-python/``.

Every file has to have its official MD5. CIFAR-100's two parts may also come in another order: then their content has to
have the right :func:`records_digest`.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mixupe_theory.training.data import pickles
from mixupe_theory.training.data.dataset import Dataset, Part
from mixupe_theory.training.data.fetching import download
from mixupe_theory.training.data.sources import CorruptData, MissingData, Source, check_digest, read

SITE = "https://www.cs.toronto.edu/~kriz/"
OFFICIAL, REORDERED = "official file", "official images in another order"


@dataclass(frozen=True)
class Layout:
    """One of the two distributions.

    Attributes:
        name: Of the source.
        title: As in a table.
        folder: In the data folder.
        train: Files of the training part, with their official digests.
        test: Files of the test part.
        meta: Files of the class names.
        labels: Key of the classes in a batch.
        names: Key of the classes' names in the meta file.
        archive: Its file name on the site, and its official digest.
        mean: Per channel, in raw units; of the recipe.
        std: Per channel.
        records: Of files that may come in another order, the :func:`records_digest`. They were computed from images
            whose counts, means and standard deviations are the published ones, not from the official files.
    """

    name: str
    title: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    labels: str
    names: str
    archive: tuple[str, str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    records: dict[str, str] = field(default_factory=dict)


CIFAR10 = Layout(
    name="cifar10",
    title="CIFAR-10",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
        "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
        "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "md5:40351d587109b95175f43aff81a1287e"},
    meta={"batches.meta": "md5:5ff9c542aee3614f3951f8cda6e48888"},
    labels="labels",
    names="label_names",
    archive=("cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a"),
    mean=(125.3, 123.0, 113.9),
    std=(63.0, 62.1, 66.7),
)

CIFAR100 = Layout(
    name="cifar100",
    title="CIFAR-100",
    folder="cifar-100-python",
    train={"train": "md5:16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta={"meta": "md5:7973b15100ade9c7d40fb424638fde48"},
    labels="fine_labels",
    names="fine_label_names",
    archive=("cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85"),
    mean=(129.3, 124.1, 112.4),
    std=(68.2, 65.4, 70.4),
    records={
        "train": "sha256:7077d87fc363f92dbf1245f13ba80561d7b33a96c79ad57168d49dc172aaa92b",
        "test": "sha256:96adb3db8da7632dbb350559a17b9f585fab5b17675de5fc8f6761384196b294",
    },
)


def records_digest(pixels: np.ndarray, coarse: Sequence[int], fine: Sequence[int]) -> str:
    """A digest of CIFAR-100's images and labels that does not depend on their order.

    A record is, as in the official binary version, the coarse label, the fine label and the 3072 pixels, a byte each.
    The digest is the SHA-256 of the records' SHA-256 digests (of 32 bytes each), sorted as bytes and joined.

    Args:
        pixels: uint8, (n, 3072).
        coarse: Coarse labels, (n,).
        fine: Fine labels, (n,).

    Returns:
        "sha256:<hex>".

    Example:
        >>> x = np.arange(6, dtype=np.uint8).reshape(2, 3)
        >>> records_digest(x, [0, 1], [2, 3]) == records_digest(x[::-1], [1, 0], [3, 2])
        True
        >>> records_digest(x, [0, 1], [2, 3]) == records_digest(x, [0, 1], [3, 2])
        False
    """
    records = np.column_stack([np.array(labels, dtype=np.uint8) for labels in (coarse, fine)] + [pixels])
    digests = sorted(hashlib.sha256(record).digest() for record in records)
    return f"sha256:{hashlib.sha256(b''.join(digests)).hexdigest()}"


def load(layout: Layout, folder: Path, *, seed: int = 0, fold: int | None = None) -> Dataset:
    """Load and verify one of the two; the split is the official one, so ``seed`` and ``fold`` change nothing.

    Raises:
        MissingData: If a file is not there.
        CorruptData: If a file is neither the official one nor, for CIFAR-100, the official images in another order.
    """
    (train, train_files), (test, test_files) = (_part(layout, folder, files) for files in (layout.train, layout.test))
    ((meta, _),) = (_entries(layout, folder, file, digest) for file, digest in layout.meta.items())
    return Dataset(
        name=layout.name,
        train=train,
        test=test,
        classes=tuple(meta[layout.names]),
        mean=layout.mean,
        std=layout.std,
        augmentation=("flip", "crop"),
        split={"by": "official", "train": train_files, "test": test_files},
    )


def verify(layout: Layout, folder: Path) -> str:
    """One line on what was verified; see :func:`load` for what is raised."""
    dataset = load(layout, folder)
    reordered = [part for part in ("train", "test") if dataset.split[part] == REORDERED]
    how = f"{REORDERED}: {', '.join(reordered)}" if reordered else "official MD5s"
    return f"{len(dataset.train):,} + {len(dataset.test):,} images, {how}"


def fetch(layout: Layout, folder: Path) -> None:
    """Download the official archive, unless all is there already, unpack it, and verify what came out.

    Raises:
        OSError: If it cannot be downloaded; the message says which file to put where.
        CorruptData: If it is not the official archive.
    """
    try:
        verify(layout, folder)
    except (MissingData, CorruptData):
        file, digest = layout.archive
        download(SITE + file, digest, folder / file, extract=True)
        verify(layout, folder)


def _part(layout: Layout, folder: Path, files: dict[str, str]) -> tuple[Part, str]:
    """The images of some files, and what the files are."""
    batches, found = zip(*(_entries(layout, folder, file, digest) for file, digest in files.items()), strict=True)
    pixels = np.concatenate([batch["data"] for batch in batches])
    labels = np.concatenate([batch[layout.labels] for batch in batches]).astype(np.int64)
    images = torch.from_numpy(pixels).reshape(-1, 3, 32, 32)
    return Part(images, torch.from_numpy(labels)), REORDERED if REORDERED in found else OFFICIAL


def _entries(layout: Layout, folder: Path, file: str, digest: str) -> tuple[dict, str]:
    """What a verified file holds, and what the file is."""
    relative = f"{layout.folder}/{file}"
    content = read(layout.name, folder, relative)
    try:
        check_digest(folder / relative, content, (digest,))
    except CorruptData as error:
        if file not in layout.records:
            raise
        return _reordered(content, layout.records[file], error), REORDERED
    return pickles.load(content), OFFICIAL


def _reordered(content: bytes, accepted: str, error: CorruptData) -> dict:
    """What a file holds whose records are the official ones; otherwise raise, after what was wrong with its MD5."""
    try:
        entries = pickles.load(content)
        found = records_digest(entries["data"], entries["coarse_labels"], entries["fine_labels"])
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, OverflowError) as reason:
        raise CorruptData(f"{error}; nor does it hold the official images in another order: {reason}") from reason
    if found != accepted:
        raise CorruptData(
            f"{error}; nor does it hold the official images in another order: the digest of its records is {found}, "
            f"accepted is {accepted}"
        )
    return entries


SOURCES = {
    layout.name: Source(
        name=layout.name,
        title=layout.title,
        family="images",
        place=f"{layout.folder}/{{{','.join(layout.train | layout.test | layout.meta)}}}",
        load=partial(load, layout),
        verify=partial(verify, layout),
        fetch=partial(fetch, layout),
    )
    for layout in (CIFAR10, CIFAR100)
}
