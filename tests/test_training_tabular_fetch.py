"""Fetching tabular data from OpenML, with a stand-in for scikit-learn's function."""

import gzip
import hashlib
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.utils import Bunch
from tabular_cases import MADE_UP, made_up_text, put

from mixupe_theory.training.data import tabular
from mixupe_theory.training.data.sources import CorruptData
from mixupe_theory.training.data.tabular_sets import TABULAR_SETS

(MNIST,) = (table for table in TABULAR_SETS if table.name == "mnist_784")


def openml(monkeypatch, result):
    """Put a function in place of scikit-learn's; the list of its calls."""
    calls = []

    def fetch_openml(**options):
        calls.append(options)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(tabular.datasets, "fetch_openml", fetch_openml)
    return calls


def made_up_bunch():
    """The made-up table as scikit-learn returns it: nominal columns as codes of their own order."""
    kinds = ["red", "green", "blue"]
    rows = [line.split(",") for line in made_up_text().splitlines()[1:]]
    data = [[float(a), kinds.index(b), float(c) if c else np.nan, float(d)] for a, b, c, d, _ in rows]
    return Bunch(
        data=np.array(data),
        target=np.array([row[-1] for row in rows], dtype=object),
        feature_names=["size", "colour", "weight", "one"],
        categories={"colour": kinds},
    )


def test_what_is_fetched_loads_again_and_is_guarded_by_its_digest(tmp_path, monkeypatch):
    calls = openml(monkeypatch, made_up_bunch())
    tabular.fetch(MADE_UP, tmp_path)
    tabular.fetch(MADE_UP, tmp_path)
    assert [call["data_id"] for call in calls] == [1]  # once
    path = tmp_path / MADE_UP.file
    text = gzip.decompress(path.read_bytes()).decode()
    assert text.splitlines()[:5] == ["size,colour,weight,one,target"] + [
        "0,blue,0,7,10",
        "1,red,0.25,7,10",
        "4,green,0.5,7,10",
        "9,blue,,7,10",
    ]
    digest = (tmp_path / f"{MADE_UP.file}.sha256").read_text()
    assert digest == f"{hashlib.sha256(text.encode()).hexdigest()}  made-up.csv.gz\n"
    by_hand = put(tmp_path / "by hand", replace(MADE_UP, name="by-hand"), made_up_text())
    torch.testing.assert_close(
        tabular.load(MADE_UP, tmp_path).train.inputs, tabular.load(by_hand, tmp_path / "by hand").train.inputs
    )
    path.write_bytes(gzip.compress(text.replace("0.25", "0.26").encode()))
    with pytest.raises(CorruptData, match=r"made-up\.csv\.gz is not"):
        tabular.verify(MADE_UP, tmp_path)
    tabular.fetch(MADE_UP, tmp_path)  # replaces it
    assert gzip.decompress(path.read_bytes()).decode() == text


def test_fetched_pixels_load_again(tmp_path, monkeypatch):
    table = replace(MNIST, rows=5, features=6, classes=2, official_train=3, sha256=None)
    x = np.random.default_rng(0).integers(0, 256, (5, 6))
    openml(monkeypatch, Bunch(data=x.astype(float), target=np.array(list("31313"), dtype=object)))
    tabular.fetch(table, tmp_path)
    data = tabular.load(table, tmp_path)
    np.testing.assert_array_equal(data.test.inputs.numpy(), x[3:].astype(np.float32) / 255)
    assert (data.classes, data.train.targets.tolist(), data.test.targets.tolist()) == (("1", "3"), [1, 0, 1], [0, 1])


def test_a_fetched_table_of_another_shape_is_not_kept(tmp_path, monkeypatch):
    openml(monkeypatch, made_up_bunch())
    with pytest.raises(CorruptData, match=r"declared are \(39, 4, 3, 2\)"):
        tabular.fetch(replace(MADE_UP, rows=39), tmp_path)
    assert not (tmp_path / "tabular").exists()


@pytest.mark.parametrize("error", [URLError("no route"), ValueError("md5 checksum"), TimeoutError("slow")])
def test_without_a_network_the_error_says_what_to_do(error, tmp_path, monkeypatch):
    openml(monkeypatch, error)
    with pytest.raises(OSError, match=r"OpenML's data set 41166 \(volkert\).*copy volkert\.csv\.gz and"):
        tabular.SOURCES["volkert"].fetch(tmp_path)
