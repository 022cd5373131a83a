"""SVHN's cropped digits: the official files ``train_32x32.mat`` and ``test_32x32.mat``, directly in the data folder.

The deck trains on the 73,257 images of train and tests on the 26,032 of test; the 531,131 of extra are not used.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import scipy.io
import torch

from mixupe_theory.training.data.dataset import Dataset, Part
from mixupe_theory.training.data.fetching import download
from mixupe_theory.training.data.sources import Source, read_verified

SITE = "http://ufldl.stanford.edu/housenumbers/"
FILES = {  # with their official digests: the training part, the test part
    "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
}


def load(folder: Path, *, seed: int = 0, fold: int | None = None) -> Dataset:
    """Load and verify SVHN; the split is the official one, so ``seed`` and ``fold`` change nothing.

    Raises:
        MissingData: If a file is not there.
        CorruptData: If a file is not the official one.
    """
    train, test = (_part(read_verified("svhn", folder, file, (digest,))) for file, digest in FILES.items())
    return Dataset(
        name="svhn",
        train=train,
        test=test,
        classes=tuple("0123456789"),
        mean=(127.5,) * 3,
        std=(127.5,) * 3,
        augmentation=("crop",),  # a mirrored digit is none
        split={"by": "official"},
    )


def verify(folder: Path) -> str:
    """One line on what was verified; see :func:`load` for what is raised."""
    dataset = load(folder)
    return f"{len(dataset.train):,} + {len(dataset.test):,} images, official MD5s"


def fetch(folder: Path) -> None:
    """Download the two official files where they are not there already, and verify them.

    Raises:
        OSError: If one cannot be downloaded; the message says which file to put where.
        CorruptData: If one is not the official file.
    """
    for file, digest in FILES.items():
        download(SITE + file, digest, folder / file)
    verify(folder)


def _part(content: bytes) -> Part:
    """Images X, (height, width, channel, n), and labels y, (n, 1), in which 10 stands for the digit 0."""
    arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=("X", "y"))
    images = np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1))
    return Part(torch.from_numpy(images), torch.from_numpy(arrays["y"].ravel() % 10).long())


SOURCES = {
    "svhn": Source(
        name="svhn",
        title="SVHN",
        family="images",
        place=" and ".join(FILES),
        load=load,
        verify=verify,
        fetch=fetch,
    )
}
