"""From records of runs to test errors in percent, or what else they hold: a sample for each method in each row.

Which epoch's error counts is a choice, a "selection"; with folds it moves the result by more than methods do:

- "last" and "mean_of_last_10": no choice at all;
- "best": each run's best epoch, chosen on its test part, optimistic;
- "optimistic", for folds: one epoch for all folds, that of the smallest mean test error over folds (Xu, Hu, Leskovec,
  Jegelka 2019, "How powerful are graph neural networks?", section 7), also chosen on the test parts;
- "nested", for folds: of each fold the epoch at which a run on a part of the fold's training part did best on the
  rest of it (Errica, Podda, Bacciu, Micheli 2020, "A fair comparison of graph neural networks", choose so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mixupe_theory import _validation as check
from mixupe_theory.training.runs import Run

SELECTIONS = ("last", "mean_of_last_10", "best", "optimistic", "nested")
_OF_FOLDS = ("optimistic", "nested")
_FREE = ("seed", "fold", "held_out")  # in which runs of one sample may differ
_DIGITS = 12  # epochs whose mean errors agree so far are ties: sums of the same errors in other orders


@dataclass(frozen=True)
class Sample:
    """What was measured on the runs of one method.

    Attributes:
        by: What the runs differ in: "seed" or "fold".
        units: Those seeds or folds, ascending, int64, (n,).
        values: Of each, test errors in percent for example, (n,).
        ids: Of the records that the values come from, ("nested": after the final runs the inner ones).
        overlap: n_test / n_train, on average over runs, where each run has a split of its own of the same data (folds,
            or splits by seed), so that training sets overlap; 0 where all runs have one split.
    """

    by: str
    units: np.ndarray
    values: np.ndarray
    ids: tuple[str, ...]
    overlap: float


def errors(records: Iterable[dict], selection: str = "last") -> dict[tuple[str, str], dict[str, Sample]]:
    """Test errors of the final runs: (data, model) -> title of the method -> sample.

    Final runs have ``held_out`` = 0. Others count as inner runs with "nested" and are left out else.

    Args:
        records: As :func:`mixupe_theory.training.records.read` returns them.
        selection: One of ``SELECTIONS``.

    Raises:
        ValueError: If there is no such selection or it is for folds alone; if runs of one method differ in more than
            seed or fold, or one seed or fold occurs twice; if methods are not paired; if an epoch's error or an inner
            run is missing.

    Example:
        >>> run = Run(data="iris", model="mlp").as_dict()
        >>> record = {"id": "0", "run": run, "split": {"seed": 0, "train": 120, "test": 30}}
        >>> record["summary"] = {"last": {"test_error": 0.1}}
        >>> sample = errors([record])["iris", "mlp"]["ERM"]
        >>> sample.by, sample.units.tolist(), sample.values.tolist(), sample.overlap
        ('seed', [0], [10.0], 0.0)
    """
    check.choice("selection", selection, SELECTIONS)

    def read(name: str, entries: list[dict], inner: dict[tuple, list[dict]]) -> tuple[list, list[dict]]:
        found, used = _errors(name, entries, selection, inner)
        return [100 * error for error in found], used

    return _samples(records, read)


def measured(records: Iterable[dict], value: Callable[[dict], float]) -> dict[tuple[str, str], dict[str, Sample]]:
    """The same of something else that the records of the final runs hold.

    Args:
        records: As :func:`mixupe_theory.training.records.read` returns them.
        value: Reads it off a record.

    Raises:
        ValueError: As :func:`errors` does.

    Example:
        >>> run = Run(data="iris", model="mlp").as_dict()
        >>> record = {"id": "0", "run": run, "split": {"seed": 0}, "epochs": [{"train_loss": 0.5}]}
        >>> measured([record], lambda entry: entry["epochs"][-1]["train_loss"])["iris", "mlp"]["ERM"].values.tolist()
        [0.5]
    """
    return _samples(records, lambda name, entries, inner: ([value(entry) for entry in entries], entries))


def _samples(records: Iterable[dict], read: Callable) -> dict[tuple[str, str], dict[str, Sample]]:
    """``read(name, entries, inner)`` gives the values of sorted entries, and the records they come from."""
    final: dict[tuple[str, str], dict[str, list[dict]]] = {}
    inner: dict[tuple, list[dict]] = {}
    for entry in records:
        run = Run.from_dict(entry["run"])
        if run.held_out:
            inner.setdefault(_twin(entry), []).append(entry)
        else:
            final.setdefault((run.data, run.model), {}).setdefault(run.title, []).append(entry)
    samples = {}
    for (data, model), methods in final.items():
        _check_paired(f"{data}, {model}", methods)
        samples[data, model] = {
            title: _sample(f"{data}, {model}, {title}", entries, read, inner) for title, entries in methods.items()
        }
    return samples


def _sample(name: str, entries: list[dict], read: Callable, inner: dict[tuple, list[dict]]) -> Sample:
    _check_same(name, entries)
    by = _by(entries[0])
    entries = sorted(entries, key=lambda entry: entry["run"][by])
    units = np.array([entry["run"][by] for entry in entries])
    if len(set(units.tolist())) < len(units):
        twice = sorted({unit for unit in units.tolist() if (units == unit).sum() > 1})
        raise ValueError(f"{name}: each {by} must occur once, got {twice} more often; choose among the records first")
    values, used = read(name, entries, inner)
    return Sample(by, units, np.array(values, dtype=float), tuple(e["id"] for e in used), _overlap(entries))


def _errors(
    name: str, entries: list[dict], selection: str, inner: dict[tuple, list[dict]]
) -> tuple[list[float], list[dict]]:
    """Test errors, fractions, and the records they come from."""
    if selection in _OF_FOLDS and _by(entries[0]) != "fold":
        raise ValueError(f"{name}: selection {selection!r} is for folds of cross-validation, these runs have none")
    if selection == "optimistic":
        curves = _curves(name, entries)
        return list(curves[:, curves.mean(0).round(_DIGITS).argmin()]), entries
    if selection == "nested":
        partners = [_partner(name, entry, inner) for entry in entries]
        curves, judged = _curves(name, entries), _curves(name, partners)
        if curves.shape != judged.shape:
            counts = f"{curves.shape[1]} and {judged.shape[1]}"
            raise ValueError(f"{name}: final and inner runs must have equally many epochs, got {counts}")
        found = [curve[_best_epoch(partner)] for curve, partner in zip(curves, partners, strict=True)]
        return found, entries + partners
    return [entry["summary"][selection]["test_error"] for entry in entries], entries


def _by(entry: dict) -> str:
    return "seed" if entry["run"]["fold"] is None else "fold"


def _overlap(entries: list[dict]) -> float:
    splits = {(entry["split"].get("seed"), entry["split"].get("fold")) for entry in entries}
    if len(splits) == 1:
        return 0.0
    return float(np.mean([entry["split"]["test"] / entry["split"]["train"] for entry in entries]))


def _curves(name: str, entries: list[dict]) -> np.ndarray:
    """Test errors by epoch, fractions, (n, epochs)."""
    lengths = {len(entry["epochs"]) for entry in entries}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"{name}: records must hold the errors of equally many epochs, got {sorted(lengths)} epochs")
    return np.array([[epoch["test_error"] for epoch in entry["epochs"]] for entry in entries])


def _best_epoch(entry: dict) -> int:
    """Place of the smallest error, of equals the smallest loss, of equals the first."""
    epochs = entry["epochs"]
    return min(range(len(epochs)), key=lambda k: (epochs[k]["test_error"], epochs[k]["test_loss"]))


def _partner(name: str, entry: dict, inner: dict[tuple, list[dict]]) -> dict:
    """The run of the same settings, seed and fold, on a part of the training part."""
    found = inner.get(_twin(entry), [])
    if len(found) != 1:
        where = f"seed {entry['run']['seed']}, fold {entry['run']['fold']}"
        raise ValueError(
            f"{name}: run {entry['id']} ({where}) must have one inner run (held_out > 0), got {len(found)}"
        )
    return found[0]


def _twin(entry: dict) -> tuple:
    """What a final run and its inner run have in common."""
    return (entry["run"]["seed"], entry["run"]["fold"], *sorted(_settings(entry).items()))


def _settings(entry: dict) -> dict[str, str]:
    """What a run is but for seed, fold and held-out share; flat. Where a recipe comes from changes nothing."""
    run = Run.from_dict(entry["run"]).as_dict()  # so that older records have every setting too
    flat = {name: value for name, value in run.items() if name not in (*_FREE, "recipe")}
    flat |= {f"recipe.{name}": value for name, value in run["recipe"].items() if name != "origin"}
    return {name: repr(value) for name, value in flat.items()}


def _check_same(name: str, entries: list[dict]) -> None:
    settings = [_settings(entry) for entry in entries]
    values = {key: sorted({other[key] for other in settings}) for key in settings[0]}
    differing = [f"{key} ({', '.join(found)})" for key, found in values.items() if len(found) > 1]
    if differing:
        raise ValueError(
            f"{name}: runs must differ in seed or fold alone, got several {', '.join(differing)}; "
            "choose among the records first"
        )


def _check_paired(name: str, methods: dict[str, list[dict]]) -> None:
    """A fold's split is the same under every seed, but initial weights and order are not."""
    seeds: dict[int, set[int]] = {}
    for entry in (entry for entries in methods.values() for entry in entries if entry["run"]["fold"] is not None):
        seeds.setdefault(entry["run"]["fold"], set()).add(entry["run"]["seed"])
    unpaired = {fold: sorted(found) for fold, found in seeds.items() if len(found) > 1}
    if unpaired:
        raise ValueError(f"{name}: runs of one fold must have one seed to be paired, got fold: seeds {unpaired}")
