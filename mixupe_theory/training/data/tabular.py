"""The tabular data sets of the deck's Table 4: OpenML's columns, read, split and put on one scale.

The deck names the data sets and no more, so split and preprocessing are our proxy: a stratified 80/20 split (for
mnist_784 the official one); of numeric columns missing cells take the training part's median, then each column is
standardized with the training part's mean and deviation; of nominal columns each category, known from the whole set,
becomes a column, two categories one column; what does not vary in the training part becomes 0. Numeric columns come
first. mnist_784's pixels share one scale already and are only divided by 255: standardized, a border pixel that is lit
in one image would be 245 there.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mixupe_theory.files import write_atomically
from mixupe_theory.training.data.dataset import Dataset, Part, stratified
from mixupe_theory.training.data.digests import check_content, record_content
from mixupe_theory.training.data.sources import CorruptData, MissingData, Source, read
from mixupe_theory.training.data.tabular_sets import TABULAR_SETS, TabularSet

TEST_SHARE = 0.2


@dataclass(frozen=True)
class Columns:
    """A table as read.

    Attributes:
        features: (n, d): numbers, NaN where missing; of nominal columns the place of the value among the column's
            sorted values; uint8 pixels.
        targets: Places of the classes among ``classes``, int64, (n,).
        classes: Their names, sorted: as numbers where they are, else as text.
    """

    features: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...]


def load(table: TabularSet, folder: Path, *, seed: int = 0, fold: int | None = None) -> Dataset:
    """Load a tabular data set; ``fold`` is ignored."""
    columns = read_columns(table, folder)
    targets = torch.from_numpy(columns.targets)
    if table.official_train is None:
        train, test = stratified(targets, TEST_SHARE, seed)
        split = {"by": f"stratified {1 - TEST_SHARE:.0%} to {TEST_SHARE:.0%}, chosen by us", "seed": seed}
    else:
        train, test = torch.arange(table.rows).split([table.official_train, table.rows - table.official_train])
        split = {"by": f"official: the first {table.official_train} rows train"}
    x = preprocessed(table, columns.features, train.numpy())
    split["imputed"] = table.missing
    return Dataset(
        table.name, Part(x[train], targets[train]), Part(x[test], targets[test]), columns.classes, split=split
    )


def preprocessed(table: TabularSet, features: np.ndarray, train: np.ndarray) -> torch.Tensor:
    """All rows as a network is fed them, float32; scale and medians come from the rows ``train`` alone."""
    if table.is_pixels:
        return torch.from_numpy(features.astype(np.float32)) / 255
    nominal = list(table.nominal)
    numeric = np.setdiff1d(np.arange(table.features), nominal)
    scale = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    categories = [np.unique(features[:, j]) for j in nominal]
    encode = OneHotEncoder(categories=categories, drop="if_binary", sparse_output=False)
    transform = ColumnTransformer([("numeric", scale, numeric), ("nominal", encode, nominal)])
    x = transform.fit(features[train]).transform(features)
    x[:, np.ptp(x[train], axis=0) == 0] = 0  # nothing is learned of them, so test rows must not differ either
    return torch.from_numpy(x).float()


def read_columns(table: TabularSet, folder: Path) -> Columns:
    """Read and verify a table.

    Raises:
        MissingData: If the file is not there.
        CorruptData: If its content is neither the known one nor one we fetched, or has not the declared shape.
    """
    path = folder / table.file
    packed = read(table.name, folder, table.file)
    try:
        content = _pixels(packed) if table.is_pixels else gzip.decompress(packed)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise CorruptData(f"{path} cannot be unpacked: {error}; delete it and fetch it again") from error
    check_content(path, content, (f"sha256:{table.sha256}",) if table.sha256 else ())
    return parse(table, content, path)


def parse(table: TabularSet, content: bytes, path: Path) -> Columns:
    """The columns of a table's content.

    Raises:
        CorruptData: If it has not the declared numbers of rows, features, classes and missing cells.
    """
    try:
        features, labels = _arrays(table, content) if table.is_pixels else _cells(table, content.decode())
        classes, targets = _grouped(labels, table.last) if table.last else _codes(labels)
    except (ValueError, IndexError) as error:
        raise CorruptData(f"{path} is not a table of {table.features} features and a target: {error}") from error
    found = (*features.shape, len(set(targets.tolist())), int(np.isnan(features).sum()))
    declared = (table.rows, table.features, table.classes, table.missing)
    if found != declared:
        raise CorruptData(f"{path} has (rows, features, classes, missing cells) {found}, declared are {declared}")
    return Columns(features, targets, classes)


def _arrays(table: TabularSet, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    values = np.frombuffer(content, np.uint8)
    features, labels = np.split(values, [table.rows * table.features])
    return features.reshape(len(labels), table.features), labels.astype(str)


def _cells(table: TabularSet, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Features, the nominal ones as codes, and the target's text. Streams: a list of volkert's cells would be 1 GB."""

    def rows():
        return csv.reader(io.StringIO(text))

    header = next(rows())
    if len(header) != table.features + 1:
        raise ValueError(f"it has {len(header)} columns")
    nominal = set(table.nominal)
    numbers = (
        float("nan" if j in nominal else row[j] or "nan")  # an empty cell is a missing number
        for row in islice(rows(), 1, None)
        for j in range(table.features)
    )
    features = np.fromiter(numbers, np.float64).reshape(-1, table.features)
    *names, labels = np.array([[row[j] for j in (*table.nominal, table.features)] for row in islice(rows(), 1, None)]).T
    for j, column in zip(table.nominal, names, strict=True):
        features[:, j] = _codes(column)[1]
    return features, labels


def _grouped(labels: np.ndarray, last: tuple[int, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes of numbers up to each of ``last`` and above, and the class of each number.

    Example:
        >>> _grouped(np.array(["8", "9", "11"]), (8, 10))
        (('<= 8', '9-10', '>= 11'), array([0, 1, 2]))
    """
    between = (f"{a + 1}-{b}" for a, b in pairwise(last))
    names = (f"<= {last[0]}", *between, f">= {last[-1] + 1}")
    return names, np.digitize(labels.astype(int), last, right=True)


def _codes(values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The distinct values, sorted as numbers where all are integers, and the place of each value among them.

    Example:
        >>> _codes(np.array(["10", "9", "10"]))
        (('9', '10'), array([1, 0, 1]))
    """
    distinct = sorted(set(values.tolist()), key=lambda v: (0, int(v), v) if v.lstrip("-").isdecimal() else (1, 0, v))
    place = {value: code for code, value in enumerate(distinct)}
    return tuple(distinct), np.array([place[value] for value in values.tolist()])


def _pixels(packed: bytes) -> bytes:
    arrays = np.load(io.BytesIO(packed))
    return arrays["X"].tobytes() + arrays["y"].tobytes()


def verify(table: TabularSet, folder: Path) -> str:
    """Check the file and say what it holds."""
    columns = read_columns(table, folder)
    missing = f", {table.missing} missing cells" if table.missing else ""
    return f"{table.rows} rows, {table.features} features, {len(columns.classes)} classes{missing}"


def fetch(table: TabularSet, folder: Path) -> None:
    """Get the table from OpenML, which scikit-learn verifies by OpenML's MD5, unless a verified file is there already.

    Raises:
        OSError: If it cannot be had; the message says which data set, and which file to put where.
    """
    path = folder / table.file
    with suppress(MissingData, CorruptData):
        verify(table, folder)
        return
    try:
        bunch = datasets.fetch_openml(data_id=table.data_id, as_frame=False, parser="liac-arff", cache=False)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: another MD5, or OpenML has no such data set
        raise OSError(
            f"cannot get OpenML's data set {table.data_id} ({table.name}): {error}; without a network, copy "
            f"{path.name} and {path.name}.sha256 from a machine that has fetched it to {path.parent}"
        ) from error
    if table.is_pixels:
        x, y = bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
        content, buffer = x.tobytes() + y.tobytes(), io.BytesIO()
        np.savez_compressed(buffer, X=x, y=y)
        packed = buffer.getvalue()
    else:
        content = _text(bunch)
        packed = gzip.compress(content, mtime=0)
    parse(table, content, path)
    record_content(path, content)
    write_atomically(path, packed)


def _text(bunch) -> bytes:
    """A table of OpenML as csv: nominal values by name, whole numbers without a point, missing cells empty."""
    categories = [(bunch.categories or {}).get(name) for name in bunch.feature_names]

    def cell(value: float, names: list[str] | None) -> str:
        if np.isnan(value):
            return ""
        return names[int(value)] if names else repr(float(value)).removesuffix(".0")

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*bunch.feature_names, "target"])
    for row, target in zip(bunch.data, bunch.target, strict=True):
        writer.writerow([*map(cell, row, categories), target])
    return out.getvalue().encode()


SOURCES: dict[str, Source] = {
    table.name: Source(
        name=table.name,
        title=table.title,
        family="tabular",
        place=table.file,
        load=partial(load, table),
        verify=partial(verify, table),
        fetch=partial(fetch, table),
    )
    for table in TABULAR_SETS
}
