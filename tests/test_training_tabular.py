"""Tabular sets against plain loops: made-up tables, and the real files where MIXUPE_DATA has them."""

import gzip
import math
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean, median

import numpy as np
import pytest
import torch
from tabular_cases import MADE_UP, made_up_text, put

from mixupe_theory.tables_data import TABULAR
from mixupe_theory.training.data import tabular
from mixupe_theory.training.data.sources import CorruptData, MissingData
from mixupe_theory.training.data.tabular_sets import TABULAR_SETS

REAL = Path(os.environ.get("MIXUPE_DATA", ""))
BY_NAME = {table.name: table for table in TABULAR_SETS}

# rows, columns beside the target, classes, missing cells; width of what a network is fed
FACTS = {
    "arrhythmia": (452, 279, 13, 408, 279),
    "letter": (20000, 16, 26, 0, 16),
    "balance-scale": (625, 4, 3, 0, 4),
    "mfeat-factors": (2000, 216, 10, 0, 216),
    "mfeat-fourier": (2000, 76, 10, 0, 76),
    "mfeat-karhunen": (2000, 64, 10, 0, 64),
    "mfeat-morphological": (2000, 6, 10, 0, 6),
    "mfeat-zernike": (2000, 47, 10, 0, 47),
    "cmc": (1473, 9, 3, 0, 21),  # 2 numbers; 4 + 4 + 1 + 1 + 4 + 4 + 1 of 7 nominal columns
    "optdigits": (5620, 64, 10, 0, 64),
    "pendigits": (10992, 16, 10, 0, 16),
    "iris": (150, 4, 3, 0, 4),
    "abalone": (4177, 8, 3, 0, 10),
}
SIZES = {"balance-scale": [49, 288, 288], "cmc": [629, 333, 511], "iris": [50] * 3, "abalone": [1407, 1323, 1447]}
SIZES |= {name: [200] * 10 for name in FACTS if name.startswith("mfeat")}


def slow(table, text, train):
    """Features of all rows and targets' text, by loops over lists."""
    rows = [line.split(",") for line in text.splitlines()[1:]]
    columns = []
    for j in range(table.features):
        if j in table.nominal:
            continue
        values = [float(row[j]) if row[j] else None for row in rows]
        middle = median(values[i] for i in train if values[i] is not None)
        values = [middle if v is None else v for v in values]
        mean = fmean(values[i] for i in train)
        deviation = math.sqrt(fmean((values[i] - mean) ** 2 for i in train))
        columns.append([(v - mean) / (deviation or 1) for v in values])
    for j in table.nominal:
        values = [row[j] for row in rows]
        kinds = sorted(set(values), key=lambda v: (int(v), v) if v.isdigit() else (0, v))
        for kind in kinds[1:] if len(kinds) == 2 else kinds:
            columns.append([float(v == kind) for v in values])
    columns = [c if len({c[i] for i in train}) > 1 else [0.0] * len(c) for c in columns]
    return torch.tensor(columns).T, [row[-1] for row in rows]


def real(name):
    """The real data set, or a skip that says which file is not there."""
    needed(name)
    return _loaded(name)


def needed(name):
    if not (REAL / BY_NAME[name].file).is_file():
        pytest.skip(f"MIXUPE_DATA has no {BY_NAME[name].file}")


@cache
def _loaded(name):
    return tabular.SOURCES[name].load(REAL, seed=0, fold=None)


@pytest.mark.parametrize("name", FACTS)
def test_real_tables_have_the_published_numbers(name):
    data = real(name)
    rows, _, classes, missing, width = FACTS[name]
    counts = (data.train.targets.bincount() + torch.bincount(data.test.targets, minlength=classes)).tolist()
    assert data.shape == (width,)
    assert data.train.inputs.dtype == torch.float32
    assert (len(data.train) + len(data.test), len(counts), len(data.classes)) == (rows, classes, classes)
    assert counts == SIZES.get(name, counts)
    assert abs(len(data.test) - rows / 5) < 1
    assert data.split["imputed"] == missing
    line = tabular.SOURCES[name].verify(REAL)
    assert f"{rows} rows" in line
    assert (f"{missing} missing cells" in line) == bool(missing)


@pytest.mark.parametrize("name", FACTS)
def test_real_splits_are_stratified_and_standardized_on_the_training_part(name):
    data = real(name)
    counts = [torch.bincount(part.targets, minlength=len(data.classes)) for part in (data.train, data.test)]
    assert ((counts[1] - 0.2 * (counts[0] + counts[1])).abs() <= 1).all()
    assert (counts[0] >= 1).all()  # the 2 rows of arrhythmia's class 8, too
    numbers = data.train.inputs[:, : BY_NAME[name].features - len(BY_NAME[name].nominal)].double()
    deviation = numbers.std(0, correction=0)
    assert numbers.mean(0).abs().max() < 1e-6
    assert (((deviation - 1).abs() < 1e-5) | (deviation == 0)).all()


@pytest.mark.parametrize("name", ["arrhythmia", "cmc", "abalone", "balance-scale"])
def test_real_tables_against_plain_loops(name):
    data, table = real(name), BY_NAME[name]
    train = range(0, table.rows, 2)
    columns = tabular.read_columns(table, REAL)
    expected, labels = slow(table, gzip.decompress((REAL / table.file).read_bytes()).decode(), train)
    torch.testing.assert_close(
        tabular.preprocessed(table, columns.features, np.array(train)), expected, rtol=1e-5, atol=1e-5
    )
    if name == "abalone":
        assert columns.targets.tolist() == [0 if int(v) <= 8 else 1 if int(v) <= 10 else 2 for v in labels]
    else:
        assert [columns.classes[t] for t in columns.targets] == labels
    assert columns.classes == data.classes


def test_what_arrhythmia_lacks():
    needed("arrhythmia")
    table = BY_NAME["arrhythmia"]
    names = gzip.decompress((REAL / table.file).read_bytes()).decode().split("\n", 1)[0].split(",")
    missing = np.isnan(tabular.read_columns(table, REAL).features).sum(0)
    assert {n: int(m) for n, m in zip(names, missing, strict=False) if m} == {
        "J": 376,
        "P": 22,
        "T": 8,
        "QRST": 1,
        "heartrate": 1,
    }
    assert [names[j] for j in table.nominal] == [n for n in names if n == "sex" or "Exists" in n]
    assert len(table.nominal) == 73
    assert real("arrhythmia").classes == tuple("1 2 3 4 5 6 7 8 9 10 14 15 16".split())


def test_mnist_784_has_the_official_split_and_pixels_between_0_and_1():
    needed("mnist_784")
    data = tabular.SOURCES["mnist_784"].load(REAL, seed=0, fold=None)
    assert (len(data.train), len(data.test), data.shape) == (60000, 10000, (784,))
    assert data.train.targets.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    arrays = np.load(REAL / BY_NAME["mnist_784"].file)
    assert data.train.targets[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    np.testing.assert_array_equal(data.train.inputs[7].numpy(), arrays["X"][7].astype(np.float32) / 255)
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 1)


@pytest.mark.parametrize("train", [[0, 1, 2, 5, 8, 30], [0, 1, 4, 6, 9]], ids=["all colours", "no green"])
def test_a_made_up_table_against_plain_loops(train, tmp_path):
    table = put(tmp_path, MADE_UP, made_up_text())
    columns = tabular.read_columns(table, tmp_path)
    expected, labels = slow(table, made_up_text(), train)
    torch.testing.assert_close(tabular.preprocessed(table, columns.features, np.array(train)), expected)
    assert [columns.classes[t] for t in columns.targets] == labels
    assert columns.classes == ("9", "10", "11")  # as numbers, not as text


def test_the_split_depends_on_the_seed_alone_and_its_parts_are_disjoint(tmp_path):
    table = put(tmp_path, MADE_UP, made_up_text())
    first, again, other = (tabular.load(table, tmp_path, seed=seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first.train.inputs, again.train.inputs, rtol=0, atol=0)
    assert first.test.targets.tolist() == again.test.targets.tolist()
    assert first.split["seed"] == 0
    assert not torch.equal(first.train.inputs, other.train.inputs)
    sizes = torch.cat([first.train.inputs[:, 0], first.test.inputs[:, 0]])  # distinct in every row
    assert len(sizes.unique()) == 38
    assert 2 not in first.test.targets  # the class with one row trains


def test_test_rows_leave_the_training_features_alone(tmp_path):
    table = put(tmp_path, MADE_UP, made_up_text())
    before = tabular.load(table, tmp_path)
    features = tabular.read_columns(table, tmp_path).features
    held = {round(v) for v in _unscaled(before, features)}

    def change(i, row):
        return [row[0] * 1000 if i**2 in held else row[0], *row[1:2], 1e6 if i**2 in held else row[2], *row[3:]]

    text = made_up_text(change)
    after = tabular.load(replace(put(tmp_path, table, text), missing=text.count(",,")), tmp_path)
    assert not torch.equal(before.test.inputs, after.test.inputs)
    torch.testing.assert_close(before.train.inputs, after.train.inputs, rtol=0, atol=0)


def _unscaled(data, features):
    """The first column of the test part before it was standardized: the values that no training row has."""
    whole = torch.cat([data.train.inputs[:, 0], data.test.inputs[:, 0]]).double()
    slope = (features[:, 0].max() - features[:, 0].min()) / (whole.max() - whole.min())
    return ((data.test.inputs[:, 0].double() - whole.min()) * slope + features[:, 0].min()).tolist()


def test_a_missing_file_is_named_with_the_command(tmp_path):
    with pytest.raises(
        MissingData, match=r"tabular/volkert\.csv\.gz is missing; run `mixupe-theory data fetch volkert`"
    ):
        tabular.SOURCES["volkert"].load(tmp_path, seed=0, fold=None)


def test_changed_content_is_named_with_both_digests(tmp_path):
    table = put(tmp_path, MADE_UP, made_up_text())
    put(tmp_path, MADE_UP, made_up_text().replace("green", "grein"))
    with pytest.raises(CorruptData, match=rf"made-up\.csv\.gz is not .* accepted is sha256:{table.sha256}"):
        tabular.verify(table, tmp_path)


@pytest.mark.parametrize("name", ["iris", "mnist_784"])
def test_a_changed_byte_is_noticed(name, tmp_path):
    needed(name)
    table = BY_NAME[name]
    content = bytearray((REAL / table.file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "tabular").mkdir()
    (tmp_path / table.file).write_bytes(content)
    with pytest.raises(CorruptData, match=Path(table.file).name):
        tabular.verify(table, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"x" * 1000)[:-9]], ids=["empty", "text", "cut"])
@pytest.mark.parametrize("name", ["iris", "mnist_784"])
def test_a_file_that_cannot_be_unpacked_is_named(name, content, tmp_path):
    (tmp_path / "tabular").mkdir()
    (tmp_path / BY_NAME[name].file).write_bytes(content)
    with pytest.raises(CorruptData, match=Path(BY_NAME[name].file).name):
        tabular.verify(BY_NAME[name], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (made_up_text().replace("\n0,", "\n0,0,", 1).replace("size,", "size,more,"), "it has 6 columns"),
        (made_up_text().replace("\n4,", "\nfour,"), "could not convert string to float: 'four'"),
        (made_up_text(lambda i, row: row[: 4 if i == 5 else 5]), "not a table of 4 features"),
        (made_up_text(lambda i, row: [*row[:4], 1]), r"\(38, 4, 1, 2\), declared are \(38, 4, 3, 2\)"),
        (made_up_text(lambda i, row: [*row[:2], 1, *row[3:]]), r"\(38, 4, 3, 0\), declared are \(38, 4, 3, 2\)"),
    ],
    ids=["column", "word", "short row", "classes", "cells"],
)
def test_content_of_another_shape_than_declared(text, message, tmp_path):
    table = put(tmp_path, MADE_UP, text)
    with pytest.raises(CorruptData, match=message):
        tabular.verify(table, tmp_path)


def test_a_file_of_which_no_digest_is_known_is_refused(tmp_path):
    put(tmp_path, MADE_UP, made_up_text())
    with pytest.raises(CorruptData, match=r"no digest of it is known, and .*made-up\.csv\.gz\.sha256"):
        tabular.verify(MADE_UP, tmp_path)


def test_the_sets_are_those_of_the_decks_table():
    assert [table.title for table in TABULAR_SETS] == list(TABULAR.rows)
    assert list(tabular.SOURCES) == [table.name for table in TABULAR_SETS]
    assert len({table.data_id for table in TABULAR_SETS}) == 15
