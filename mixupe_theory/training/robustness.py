"""The deck's robustness table trained again: accuracy on deformed images, from the records of runs on images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mixupe_theory.tables_data import TABLES
from mixupe_theory.training.outcomes import Sample, errors
from mixupe_theory.training.replication import Replication, Row, compare

CLEAN = "none (clean images)"
BASELINES = ("mixup", "manifold mixup")  # the deck's


def robustness(records: Iterable[dict], data: str, model: str) -> Replication:
    """Our accuracies beside the deck's, row by row, after the last epoch; the first row is of clean images.

    Args:
        records: With examinations (:mod:`mixupe_theory.training.examination`); those of other data and networks are
            left out.
        data: Name of the data set.
        model: Of the network.

    Raises:
        ValueError: If there are no such records, one has no examination, or as
            :func:`mixupe_theory.training.outcomes.errors` does.
    """
    own = [entry for entry in records if (entry["run"]["data"], entry["run"]["model"]) == (data, model)]
    if not own or not all("examination" in entry for entry in own):
        raise ValueError(f"records must have examined runs of {model} on {data}, got {len(own)} runs of it")
    names = (CLEAN, *TABLES["robustness"].rows)
    samples = {name: _accuracies([_deformed(entry, name) for entry in own])[data, model] for name in names}
    rows = {name: Row(data, model) for name in names}
    return compare(TABLES["robustness"], rows, samples, "last", BASELINES)


def _deformed(entry: dict, name: str) -> dict:
    """The record of the same run as if its test part were deformed."""
    if name == CLEAN:
        return entry
    return {**entry, "summary": {"last": {"test_error": entry["examination"]["deformations"][name]}}}


def _accuracies(records: list[dict]) -> dict[tuple[str, str], dict[str, Sample]]:
    return {
        key: {title: replace(sample, errors=100 - sample.errors) for title, sample in samples.items()}
        for key, samples in errors(records).items()
    }
