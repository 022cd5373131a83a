"""Atomic writing: entirely or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixupe_theory import files
from mixupe_theory.files import write_atomically


def test_writes_replaces_and_creates_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    for data in (b"first", b"second"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["file.bin"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_atomically(tmp_path / "atomic", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(OSError, match=r"cannot write .*below.*; make .*file a folder you may write to"):
        write_atomically(tmp_path / "file" / "below", b"data")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_folder_under_the_name(tmp_path):
    (tmp_path / "name").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cannot write .*name"):
        write_atomically(tmp_path / "name", b"data")
    assert os.listdir(tmp_path) == ["name"]


def test_a_read_only_folder(tmp_path, monkeypatch):
    def refuse(self, data):  # root, who runs the tests in containers, may write anywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(PermissionError, match=r"cannot write .*new: Permission denied; make"):
        write_atomically(tmp_path / "new", b"data")
    assert os.listdir(tmp_path) == []


def test_failing_or_interrupted_replacement_keeps_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", b"old")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fail(source, target, error=error):
            raise error

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(type(error)):
            write_atomically(tmp_path / "file", b"new")
        assert os.listdir(tmp_path) == ["file"]
        assert (tmp_path / "file").read_bytes() == b"old"


def test_a_killed_run_leaves_nothing_under_the_name(tmp_path):
    # os._exit in the middle of writing is a kill: no handler of Python's runs.
    kill = """
import sys
def half(self, data):
    with self.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        os._exit(9)
Path.write_bytes = half
write_atomically(sys.argv[1], bytes(1000))
"""
    script = Path(files.__file__).read_text() + kill  # without the package, whose import takes seconds
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "file"], check=False)
    assert killed.returncode == 9
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []
    write_atomically(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
