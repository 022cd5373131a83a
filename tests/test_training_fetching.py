"""Downloads from a small server on this machine."""

import hashlib
import io
import pickle
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import scipy.io

from mixupe_theory.training.data import CorruptData, cifar, fetching, svhn
from mixupe_theory.training.data.fetching import download, members


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; counts what is asked for, and fails as often as ``server.failures`` says."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A running server, its folder ``site.folder`` and address ``site.url``; retries do not wait."""
    pytest.importorskip("pooch", reason="pooch is not installed (extra: train)")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(folder)), bind_and_activate=True
    )
    server.asked, server.failures = [], 0
    server.folder, server.url = folder, f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def absent(site):
    """The address of a server that is gone."""
    gone = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gone.server_close()
    return f"http://127.0.0.1:{gone.server_address[1]}/"


def tar_of(files):
    """A tar.gz archive of names and contents; special members come ready made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_downloaded_once(site, tmp_path):
    (site.folder / "a.bin").write_bytes(b"content")
    path = tmp_path / "new" / "folder" / "a.bin"
    for _ in range(2):
        download(f"{site.url}a.bin", md5(b"content"), path)
    assert site.asked == ["/a.bin"]
    assert content_of(path.parent) == {"a.bin": b"content"}


def test_a_file_with_another_digest_is_replaced(site, tmp_path):
    (site.folder / "a.bin").write_bytes(b"content")
    (tmp_path / "a.bin").write_bytes(b"damaged")
    sha256 = f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    download(f"{site.url}a.bin", sha256, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_a_file_without_a_digest_is_kept(site, tmp_path):
    (site.folder / "a.bin").write_bytes(b"content")
    for _ in range(2):
        download(f"{site.url}a.bin", None, tmp_path / "a.bin")
    assert site.asked == ["/a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_another_content_leaves_nothing_behind(site, tmp_path):
    (site.folder / "a.bin").write_bytes(b"not the content")
    with pytest.raises(CorruptData) as error:
        download(f"{site.url}a.bin", md5(b"content"), tmp_path / "out" / "a.bin")
    for named in (f"{site.url}a.bin", md5(b"content"), hashlib.md5(b"not the content").hexdigest()):
        assert named in str(error.value)
    assert content_of(tmp_path / "out") == {}


def test_a_failing_server_is_asked_again(site, tmp_path):
    (site.folder / "a.bin").write_bytes(b"content")
    site.failures = fetching.RETRIES
    download(f"{site.url}a.bin", md5(b"content"), tmp_path / "a.bin")
    assert len(site.asked) == fetching.RETRIES + 1
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_what_the_server_does_not_have_is_said(site, tmp_path):
    with pytest.raises(
        OSError, match=r"cannot download .*/b\.bin: 404 .*put it at .*b\.bin, then run the same command"
    ):
        download(f"{site.url}b.bin", None, tmp_path / "out" / "b.bin")
    assert content_of(tmp_path / "out") == {}


def test_without_a_network_the_file_can_be_put_there_by_hand(absent, tmp_path):
    path = tmp_path / "out" / "a.tar.gz"
    archive = tar_of({"inner/a.txt": b"text"})
    with pytest.raises(OSError, match="no connection") as error:
        download(f"{absent}a.tar.gz", md5(archive), path, extract=True)
    assert f"download {absent}a.tar.gz in a browser and put it at {path}" in str(error.value)
    assert content_of(path.parent) == {}
    path.write_bytes(archive)
    download(f"{absent}a.tar.gz", md5(archive), path, extract=True)
    assert (path.parent / "inner" / "a.txt").read_bytes() == b"text"


@pytest.mark.parametrize("pack", [tar_of, zip_of], ids=["tar", "zip"])
def test_archives_are_unpacked_beside_themselves(pack, site, tmp_path):
    files = {"a/b/c.txt": b"c", "./d.bin": bytes(1000)}
    (site.folder / "archive").write_bytes(pack(files))
    path = tmp_path / "out" / "archive"
    path.parent.mkdir()
    (path.parent / "d.bin").write_bytes(b"damaged")
    download(f"{site.url}archive", md5(pack(files)), path, extract=True)
    assert content_of(path.parent) == {"archive": pack(files), "a/b/c.txt": b"c", "d.bin": bytes(1000)}


UNSAFE = {
    "above": {"../evil": b"x"},
    "above, after a detour": {"a/../../evil": b"x"},
    "absolute": {"/evil": b"x"},
    "a symbolic link": {"link": special("link", tarfile.SYMTYPE, "..")},
    "a hard link": {"link": special("link", tarfile.LNKTYPE, "../site/secret")},
    "a device": {"null": special("null", tarfile.CHRTYPE)},
}


@pytest.mark.parametrize("what", UNSAFE)
def test_an_archive_with_an_unsafe_member_is_refused_whole(what, tmp_path):
    path = tmp_path / "out" / "a.tar.gz"
    path.parent.mkdir()
    path.write_bytes(tar_of({"good": b"good"} | UNSAFE[what]))
    with pytest.raises(
        CorruptData, match=r"a\.tar\.gz: member '.*' is not a plain file inside .* nothing was unpacked"
    ):
        next(members(path))


@pytest.mark.parametrize("pack", [tar_of, zip_of], ids=["tar", "zip"])
def test_an_unsafe_archive_leaves_nothing_but_itself(pack, site, tmp_path):
    archive = pack({"good": b"good", "../evil": b"x"})
    (site.folder / "archive").write_bytes(archive)
    with pytest.raises(CorruptData, match=r"'\.\./evil'"):
        download(f"{site.url}archive", None, tmp_path / "out" / "archive", extract=True)
    assert content_of(tmp_path / "out") == {"archive": archive}
    assert not (tmp_path / "evil").exists()


def test_a_link_that_is_already_there_is_not_followed_out_of_the_folder(tmp_path):
    path = tmp_path / "out" / "a.tar.gz"
    path.parent.mkdir()
    (path.parent / "inner").symlink_to(tmp_path)
    path.write_bytes(tar_of({"inner/evil": b"x"}))
    with pytest.raises(CorruptData, match="inner/evil"):
        next(members(path))


def test_damaged_archives_are_named(tmp_path):
    generator = np.random.default_rng(0)
    files = {"a": generator.bytes(20_000), "b": generator.bytes(20_000)}
    path = tmp_path / "archive"
    for content in (tar_of(files), zip_of(files)):
        altered = bytearray(content)
        altered[15_000] ^= 255
        for damaged in (content[:30_000], bytes(altered), b"no archive", b""):
            path.write_bytes(damaged)
            with pytest.raises(CorruptData, match=r"archive is not a whole tar or zip archive.*fetch it again"):
                list(members(path))


def test_without_pooch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mixupe-theory\[train\]"'):
        download("http://127.0.0.1/a", None, tmp_path / "a")


def test_cifar_is_fetched_and_verified(site, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 3072)).astype(np.uint8)
    held = {file: {"data": pixels, "labels": [0, 1, 0, 1]} for file in cifar.CIFAR10.train | cifar.CIFAR10.test}
    held["batches.meta"] = {"label_names": ["ant", "bee"]}
    files = {f"cifar-10-batches-py/{file}": pickle.dumps(entries) for file, entries in held.items()}
    archive = tar_of(files)
    (site.folder / "cifar-10-python.tar.gz").write_bytes(archive)
    monkeypatch.setattr(cifar, "SITE", site.url)
    digests = {file: md5(files[f"cifar-10-batches-py/{file}"]) for file in held}
    layout = replace(
        cifar.CIFAR10,
        archive=("cifar-10-python.tar.gz", md5(archive)),
        **{part: {file: digests[file] for file in getattr(cifar.CIFAR10, part)} for part in ("train", "test", "meta")},
    )
    folder = tmp_path / "data"
    cifar.fetch(layout, folder)
    assert cifar.verify(layout, folder) == "20 + 4 images, official MD5s"
    # what is there and right needs no network; what is damaged comes out of the archive again
    site.asked.clear()
    cifar.fetch(layout, folder)
    (folder / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"damaged")
    cifar.fetch(layout, folder)
    assert site.asked == []
    assert cifar.verify(layout, folder) == "20 + 4 images, official MD5s"


def test_svhn_is_fetched_and_verified(site, tmp_path, monkeypatch):
    monkeypatch.setattr(svhn, "SITE", site.url)
    for file in svhn.FILES:
        images = np.zeros((32, 32, 3, 2), dtype=np.uint8)
        scipy.io.savemat(site.folder / file, {"X": images, "y": np.array([[10], [1]], dtype=np.uint8)})
        monkeypatch.setitem(svhn.FILES, file, md5((site.folder / file).read_bytes()))
    svhn.fetch(tmp_path / "data")
    svhn.fetch(tmp_path / "data")
    assert sorted(site.asked) == ["/test_32x32.mat", "/train_32x32.mat"]
    assert svhn.verify(tmp_path / "data") == "2 + 2 images, official MD5s"
