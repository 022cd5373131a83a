"""CIFAR and SVHN: official layouts with made-up images, the real files where MIXUPE_DATA has them, and downloads."""

import hashlib
import os
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from mixupe_theory.training.data import CorruptData, MissingData, cifar, pickles, svhn

LAYOUTS = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100}
REAL = Path(os.environ.get("MIXUPE_DATA", ""))


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


def entries_of(n, generator):
    """What a file with n images holds, under the keys of both layouts."""
    fine = generator.integers(0, 3, n).tolist()
    data = generator.integers(0, 256, (n, 3072)).astype(np.uint8)
    return {"data": data, "labels": fine, "fine_labels": fine, "coarse_labels": [k // 2 for k in fine]}


def write(layout, folder, generator, n=4):
    """Write the files of a layout, n images each; return it with their digests, and what they hold."""
    held = {file: entries_of(n, generator) for file in layout.train | layout.test}
    held |= {file: {layout.names: ["ant", "bee", "cat"]} for file in layout.meta}
    (folder / layout.folder).mkdir(exist_ok=True)
    digests = {}
    for file, entries in held.items():
        content = pickle.dumps(entries)
        (folder / layout.folder / file).write_bytes(content)
        digests[file] = md5(content)
    records = {file: records_of(held[file]) for file in layout.records}
    parts = {part: {file: digests[file] for file in getattr(layout, part)} for part in ("train", "test", "meta")}
    return replace(layout, records=records, **parts), held


def records_of(entries):
    """The order-free digest as its definition says it, a loop for each record."""
    digests = []
    for image, coarse, fine in zip(entries["data"], entries["coarse_labels"], entries["fine_labels"], strict=True):
        digests.append(hashlib.sha256(bytes([coarse, fine, *image.tolist()])).digest())
    whole = hashlib.sha256()
    for digest in sorted(digests):
        whole.update(digest)
    return f"sha256:{whole.hexdigest()}"


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def written(request, tmp_path):
    return *write(request.param, tmp_path, np.random.default_rng(0)), tmp_path


def test_images_come_as_they_were_written(written):
    layout, held, folder = written
    data = cifar.load(layout, folder, seed=3, fold=None)
    for part, files in ((data.train, layout.train), (data.test, layout.test)):
        assert part.inputs.dtype == torch.uint8
        assert part.targets.dtype == torch.int64
        assert part.inputs.shape == (4 * len(files), 3, 32, 32)
        assert part.targets.tolist() == [k for file in files for k in held[file]["fine_labels"]]
        images = iter(part.inputs)
        for file in files:
            for record in held[file]["data"]:  # red, green, blue; each row by row
                image = next(images)
                for channel, row, column in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 30)]:
                    assert image[channel, row, column] == record[1024 * channel + 32 * row + column]
    assert data.classes == ("ant", "bee", "cat")
    assert (data.mean, data.std, data.augmentation) == (layout.mean, layout.std, ("flip", "crop"))
    assert data.split == {"by": "official", "train": "official file", "test": "official file"}
    assert cifar.verify(layout, folder) == f"{len(data.train)} + 4 images, official MD5s"


def test_one_altered_byte_is_found_in_every_file(written):
    layout, _, folder = written
    for file, accepted in (layout.train | layout.test | layout.meta).items():
        path = folder / layout.folder / file
        content = path.read_bytes()
        altered = bytearray(content)
        altered[len(content) // 2] ^= 1
        for damaged in (bytes(altered), content[:-1], content[:50], b""):
            path.write_bytes(damaged)
            with pytest.raises(CorruptData) as error:
                cifar.load(layout, folder)
            for named in (str(path), md5(damaged), accepted, "fetch it again"):
                assert named in str(error.value)
        path.write_bytes(content)
    cifar.verify(layout, folder)


def test_a_missing_file_is_named_with_the_command_that_gets_it(written):
    layout, _, folder = written
    for file in layout.train | layout.test | layout.meta:
        path = folder / layout.folder / file
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(MissingData) as error:
            cifar.verify(layout, folder)
        assert str(path) in str(error.value)
        assert f"mixupe-theory data fetch {layout.name}" in str(error.value)
        path.write_bytes(content)


def rewrite(layout, folder, file, entries, order=slice(None), **changes):
    entries = {key: np.array(value)[order] if key == "data" else value for key, value in (entries | changes).items()}
    for key in ("fine_labels", "coarse_labels"):
        if key in entries:
            entries[key] = np.array(entries[key])[order].tolist()
    (folder / layout.folder / file).write_bytes(pickle.dumps(entries))


def test_cifar100_may_come_in_another_order(tmp_path):
    layout, held = write(cifar.CIFAR100, tmp_path, np.random.default_rng(0))
    rewrite(layout, tmp_path, "train", held["train"], order=[2, 0, 3, 1])
    data = cifar.load(layout, tmp_path)
    assert data.split == {"by": "official", "train": "official images in another order", "test": "official file"}
    assert cifar.verify(layout, tmp_path) == "4 + 4 images, official images in another order: train"
    assert data.train.targets.tolist() == [held["train"]["fine_labels"][k] for k in (2, 0, 3, 1)]


@pytest.mark.parametrize("what", ["a pixel", "a fine label", "a coarse label", "two labels", "an image", "no labels"])
def test_other_content_in_another_order_is_refused(what, tmp_path):
    layout, held = write(cifar.CIFAR100, tmp_path, np.random.default_rng(0))
    entries = held["train"] | {"fine_labels": [0, 1, 2, 2], "coarse_labels": [0, 0, 1, 1]}
    layout = replace(layout, records=layout.records | {"train": records_of(entries)})
    order = [3, 1, 2, 0]
    rewrite(layout, tmp_path, "train", entries, order)
    cifar.load(layout, tmp_path)
    pixels = entries["data"].copy()
    pixels[1, 5] ^= 1
    changes = {
        "a pixel": {"data": pixels},
        "a fine label": {"fine_labels": [0, 1, 2, 1]},
        "a coarse label": {"coarse_labels": [1, 0, 1, 1]},
        "two labels": {"fine_labels": [1, 0, 2, 2]},  # of the same coarse class
        "an image": {"data": entries["data"][[0, 1, 2, 2]]},
        "no labels": {"fine_labels": []},
    }
    order = slice(None) if what == "no labels" else order
    rewrite(layout, tmp_path, "train", entries, order, **changes[what])
    with pytest.raises(CorruptData, match=r"train is not the published file.*nor does it hold the official images"):
        cifar.load(layout, tmp_path)


class Malicious:
    """Unpickled without restriction, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_not_run(protocol, tmp_path):
    marker = tmp_path / "marker"
    content = pickle.dumps({"data": Malicious(marker)}, protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"it asks for \w+\.mkdir; only numpy arrays"):
        pickles.load(content)
    layout, _ = write(cifar.CIFAR100, tmp_path, np.random.default_rng(0))
    (tmp_path / layout.folder / "train").write_bytes(content)
    with pytest.raises(CorruptData, match="mkdir"):
        cifar.load(layout, tmp_path)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # it would have been run


def test_a_pickle_of_python_2_is_read():
    # {"data": numpy.array([[1, 200, 3]], dtype="uint8"), "labels": [7]} as cPickle of Python 2 with numpy 1 writes it
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87R(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff"
        b"\xff\xffK\x00tb\x89U\x03\x01\xc8\x03tbU\x06labels]K\x07au."
    )
    entries = pickles.load(content)
    assert entries["labels"] == [7]
    assert entries["data"].dtype == np.uint8
    assert entries["data"].tolist() == [[1, 200, 3]]


def write_svhn(folder, monkeypatch, n=12):
    generator = np.random.default_rng(0)
    held = {}
    for file in svhn.FILES:
        images = generator.integers(0, 256, (32, 32, 3, n)).astype(np.uint8)
        labels = (1 + np.arange(n, dtype=np.uint8) % 10)[:, None]
        scipy.io.savemat(folder / file, {"X": images, "y": labels}, do_compression=True)
        monkeypatch.setitem(svhn.FILES, file, md5((folder / file).read_bytes()))
        held[file] = images, labels
    return held


def test_svhn_comes_as_it_was_written(tmp_path, monkeypatch):
    held = write_svhn(tmp_path, monkeypatch)
    data = svhn.SOURCES["svhn"].load(tmp_path, seed=0, fold=None)
    for part, (images, _) in zip((data.train, data.test), held.values(), strict=True):
        assert part.inputs.dtype == torch.uint8
        assert part.targets.dtype == torch.int64
        assert part.targets.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]  # label 10 is the digit 0
        assert part.inputs.shape == (12, 3, 32, 32)
        for n, channel, row, column in [(0, 0, 0, 1), (3, 2, 5, 7), (11, 1, 31, 0)]:
            assert part.inputs[n, channel, row, column] == images[row, column, channel, n]
    assert data.classes == tuple("0123456789")
    assert (data.mean, data.std, data.augmentation) == ((127.5,) * 3, (127.5,) * 3, ("crop",))
    black, white = (data.prepared(data.train, torch.float64).inputs[data.train.inputs == k] for k in (0, 255))
    assert black.unique().tolist() == [-1.0]
    assert white.unique().tolist() == [1.0]
    assert svhn.verify(tmp_path) == "12 + 12 images, official MD5s"


@pytest.mark.parametrize("file", ["train_32x32.mat", "test_32x32.mat"])
def test_svhn_that_is_damaged_or_missing_is_named(file, tmp_path, monkeypatch):
    write_svhn(tmp_path, monkeypatch)
    path = tmp_path / file
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(CorruptData, match=f"{file}.*{md5(content[:-1])}.*{md5(content)}"):
        svhn.verify(tmp_path)
    path.unlink()
    with pytest.raises(MissingData, match=f"{file}.*mixupe-theory data fetch svhn"):
        svhn.verify(tmp_path)


def real(name):
    """The real data set, or a skip that says which file is not there."""
    layout = LAYOUTS[name]
    for file in layout.train | layout.test | layout.meta:
        if not (REAL / layout.folder / file).is_file():
            pytest.skip(f"MIXUPE_DATA has no {layout.folder}/{file}")
    return _loaded(name)


@cache
def _loaded(name):
    return cifar.SOURCES[name].load(REAL, seed=0, fold=None)


PUBLISHED = {  # channel means and standard deviations of the training part, in units of 255
    "cifar10": ((0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)),
    "cifar100": ((0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_real_images_have_the_published_figures(name):
    data = real(name)
    classes = len(data.classes)
    assert classes == len(set(data.classes)) == {"cifar10": 10, "cifar100": 100}[name]
    assert torch.equal(data.train.targets.bincount(), torch.full((classes,), 50_000 // classes))
    assert torch.equal(data.test.targets.bincount(), torch.full((classes,), 10_000 // classes))
    # exact sums from the histogram of each channel
    counts = torch.stack([data.train.inputs[:, k].flatten().bincount(minlength=256) for k in range(3)]).numpy()
    values = np.arange(256)
    mean = counts @ values / counts.sum(1)
    std = np.sqrt(counts @ values**2 / counts.sum(1) - mean**2)
    np.testing.assert_allclose((mean / 255, std / 255), PUBLISHED[name], rtol=0, atol=1e-8)
    # the recipe's are these, to one decimal
    np.testing.assert_allclose((data.mean, data.std), (mean, std), rtol=0, atol=0.05 + 1e-9)


def test_real_cifar10_has_its_official_order():
    data = real("cifar10")
    content = data.train.inputs.permute(0, 2, 3, 1).contiguous().numpy()
    assert hashlib.sha256(content).hexdigest() == "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"
    assert data.train.targets[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert data.test.targets[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert data.classes[6] == "frog"


def test_real_cifar100_has_the_records_of_the_code():
    real("cifar100")
    for file, expected in cifar.CIFAR100.records.items():  # of official files too, where they are there
        entries = pickles.load((REAL / "cifar-100-python" / file).read_bytes())
        found = cifar.records_digest(entries["data"], entries["coarse_labels"], entries["fine_labels"])
        assert found == expected


def test_one_altered_byte_of_a_real_file_is_found(tmp_path):
    real("cifar10")
    (tmp_path / "cifar-10-batches-py").mkdir()
    for path in (REAL / "cifar-10-batches-py").iterdir():
        (tmp_path / "cifar-10-batches-py" / path.name).symlink_to(path.resolve())
    path = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    content = bytearray(path.read_bytes())
    content[10_000_000] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(CorruptData, match=rf"data_batch_1.*{md5(content)}.*{cifar.CIFAR10.train['data_batch_1']}"):
        cifar.SOURCES["cifar10"].verify(tmp_path)
