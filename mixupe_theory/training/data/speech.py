"""Google's Speech Commands of the deck's Table 5: spoken words as spectrograms.

The deck's is version 0.01 with 30 words. Of version 0.02, with 35, a known part of the official test part is accepted
beside the whole: ten words of 114 speakers.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from scipy.io import wavfile

from mixupe_theory.training.data.dataset import Dataset, Part
from mixupe_theory.training.data.digests import check_content, record_content
from mixupe_theory.training.data.fetching import download, members
from mixupe_theory.training.data.sources import CorruptData, MissingData, Source
from mixupe_theory.training.data.spectrograms import RATE, spectrograms

TEST_SHARE = 0.2  # of the speakers, where there is no official split
LISTS = ("testing_list.txt", "validation_list.txt")
URL = "https://storage.googleapis.com/download.tensorflow.org/data"


@dataclass(frozen=True)
class Version:
    """A published version of Speech Commands.

    Attributes:
        source: Its source's name.
        number: As in its folder's name.
        archive: Digest of the official archive (the one torchaudio knows).
        known: Digests of the listings, in the manner of sha256sum, of content that is accepted beside what we fetched.
    """

    source: str
    number: str
    archive: str
    known: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Its place in the data folder."""
        return f"SpeechCommands/speech_commands_{self.number}"


VERSIONS = (
    Version(
        "speech_commands",
        "v0.02",
        archive="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        known=("sha256:1b41eaa17a31a316dddd5e50d9a1d408bd06d946e36b2d86e52153fab7438cdb",),
    ),
    Version(
        "speech_commands_v0.01",
        "v0.01",
        archive="sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
    ),
)


def load(version: Version, folder: Path, *, seed: int = 0, fold: int | None = None) -> Dataset:
    """Load a version as spectrograms (1, 161, 101); ``fold`` is ignored.

    With the official lists, clips that they do not name train, and their validation part is left out. Without, a fifth
    of the speakers, chosen by ``seed``, is the test part.
    """
    clips, lists = {}, {}
    for name, content in verified(version, folder):
        if name in LISTS:
            lists[name] = set(content.decode().split())
        else:
            clips[name] = samples(folder / version.folder / name, content)
    train, test, split = official_split(list(clips), lists) if len(lists) == 2 else speaker_split(list(clips), seed)
    classes = tuple(sorted({_word(name) for name in clips}))
    speakers = sorted({speaker(name) for name in clips})

    def part(names: list[str]) -> Part:
        targets = torch.tensor([classes.index(_word(name)) for name in names])
        groups = torch.tensor([speakers.index(speaker(name)) for name in names])
        return Part(spectrograms(np.stack([clips[name] for name in names])), targets, groups)

    return Dataset(version.source, part(train), part(test), classes, split=split)


def official_split(names: list[str], lists: dict[str, set[str]]) -> tuple[list[str], list[str], dict]:
    """Clips for training, for the test, and how they were chosen: by the official lists."""
    test, validation = (lists[name] for name in LISTS)
    train = [name for name in names if name not in test | validation]
    return train, [name for name in names if name in test], {"by": "official lists; validation clips left out"}


def speaker_split(names: list[str], seed: int) -> tuple[list[str], list[str], dict]:
    """Clips for training, for the test, and how they were chosen: no speaker is heard in both parts.

    As in Google's own split a hash decides, so that it depends on neither machine nor library. The seed enters it:
    Google's hash of the speaker alone has put all who are in the official test part on one side.

    Example:
        >>> train, test, _ = speaker_split(["no/a_nohash_0.wav", "no/b_nohash_0.wav", "yes/a_nohash_0.wav"], seed=0)
        >>> train, test
        (['no/a_nohash_0.wav', 'yes/a_nohash_0.wav'], ['no/b_nohash_0.wav'])
    """
    speakers = sorted({speaker(name) for name in names}, key=lambda s: hashlib.sha1(f"{seed}/{s}".encode()).digest())
    held = set(speakers[: ceil(TEST_SHARE * len(speakers))])
    rule = f"speaker-disjoint, chosen by us: {len(held)} of {len(speakers)} speakers, by SHA-1 of seed/speaker"
    train, test = ([name for name in names if (speaker(name) in held) == side] for side in (False, True))
    return train, test, {"by": rule, "seed": seed}


def speaker(name: str) -> str:
    """The speaker of a clip, from its file's name.

    Example:
        >>> speaker("yes/022cd682_nohash_0.wav")
        '022cd682'
    """
    return PurePosixPath(name).name.split("_nohash_")[0]


def _word(name: str) -> str:
    return name.split("/")[0]


def samples(path: Path, content: bytes) -> np.ndarray:
    """The samples of a clip, int16, cut or filled with zeros to one second.

    Raises:
        CorruptData: If it is not a wav file of one channel with 16000 samples of 16 bit a second.
    """
    try:
        rate, clip = wavfile.read(io.BytesIO(content))
    except (ValueError, EOFError, struct.error) as error:
        raise CorruptData(f"{path} is not a wav file: {error}; delete it and fetch it again") from error
    channels = 1 if clip.ndim == 1 else clip.shape[1]
    if (channels, rate, clip.dtype) != (1, RATE, np.int16):
        raise CorruptData(
            f"{path} must have 1 channel with {RATE} samples a second of int16, got {channels} with {rate} of "
            f"{clip.dtype}; delete it and fetch it again"
        )
    return np.pad(clip[:RATE], (0, max(0, RATE - len(clip))))


def verified(version: Version, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all clips and lists, by name; at the end it raises unless they are the known ones.

    Raises:
        MissingData: If there is no clip.
        CorruptData: If a file is another, is missing or is one too many.
    """
    root = folder / version.folder
    names = sorted(p.relative_to(root).as_posix() for pattern in ("*/*.wav", "*.txt") for p in root.glob(pattern))
    names = [name for name in names if _counts(name)]
    if not any(name.endswith(".wav") for name in names):
        raise MissingData(
            f"{version.source}: {root}/<word>/*.wav are missing; run `mixupe-theory data fetch {version.source}`, or, "
            f"without a network, put the official archive {URL}/{_archive(version)} at {root / _archive(version)} "
            f"and run it then (the data folder {folder} is set by MIXUPE_DATA)"
        )
    lines = []
    for name in names:
        content = (root / name).read_bytes()
        lines.append(_line(name, content))
        yield name, content
    check_content(root, "".join(lines).encode(), version.known)


def _counts(name: str) -> bool:
    """Whether a file is a list or the clip of a word: background noise is not."""
    return name in LISTS or (name.endswith(".wav") and "/" in name and not name.startswith("_"))


def _line(name: str, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def verify(version: Version, folder: Path) -> str:
    """Check all clips and say what there is."""
    names = [name for name, _ in verified(version, folder) if name not in LISTS]
    return f"{len(names)} clips, {len(set(map(_word, names)))} words, {len(set(map(speaker, names)))} speakers"


def fetch(version: Version, folder: Path) -> None:
    """Get the whole official archive, verify and unpack it, unless that was done before.

    Raises:
        OSError: If it cannot be downloaded.
    """
    with suppress(MissingData, CorruptData):
        verify(replace(version, known=()), folder)  # a known part does not count
        return
    root = folder / version.folder
    archive = root / _archive(version)
    download(f"{URL}/{archive.name}", version.archive, archive, extract=True)
    lines = {}
    for member, content in members(archive):
        name = PurePosixPath(member).as_posix()  # "./no/x.wav" -> "no/x.wav"
        if _counts(name):
            lines[name] = _line(name, content)
    record_content(root, "".join(lines[name] for name in sorted(lines)).encode())


def _archive(version: Version) -> str:
    return f"speech_commands_{version.number}.tar.gz"


SOURCES: dict[str, Source] = {
    version.source: Source(
        name=version.source,
        title=f"Speech Commands {version.number}",
        family="speech",
        place=f"{version.folder}/<word>/*.wav",
        load=partial(load, version),
        verify=partial(verify, version),
        fetch=partial(fetch, version),
    )
    for version in VERSIONS
}
