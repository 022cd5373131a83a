"""The data sets of the deck's experiments: where they lie, whether they are what was published, their batches."""

from __future__ import annotations

from pathlib import Path

from mixupe_theory import _validation as check
from mixupe_theory.training.data import cifar, graphs, speech, svhn, tabular
from mixupe_theory.training.data.dataset import Dataset, Part
from mixupe_theory.training.data.sources import CorruptData, MissingData, Source, data_folder

__all__ = ["SOURCES", "CorruptData", "Dataset", "MissingData", "Part", "Source", "data_folder", "load", "source"]

SOURCES: dict[str, Source] = cifar.SOURCES | svhn.SOURCES | tabular.SOURCES | speech.SOURCES | graphs.SOURCES


def source(name: str) -> Source:
    """The source of a data set by name; the error suggests what is spelled alike."""
    return SOURCES[check.choice("data", name, SOURCES)]


def load(name: str, *, seed: int = 0, fold: int | None = None, folder: Path | None = None) -> Dataset:
    """Load and verify a data set.

    Args:
        name: A name in ``SOURCES``.
        seed: Of the split, where there is no official one.
        fold: Of cross-validation, for graphs.
        folder: The data folder; None means :func:`data_folder`.

    Raises:
        MissingData: If a file is not there; the message says how to get it.
        CorruptData: If a file is not what was published.
    """
    return source(name).load(folder or data_folder(), seed=seed, fold=fold)
