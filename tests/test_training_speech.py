"""Speech Commands: spectrograms against a slow transform; made-up clips, and the real ones if MIXUPE_DATA has them."""

import hashlib
import io
import os
import shutil
import tarfile
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from mixupe_theory.training.data import speech
from mixupe_theory.training.data.sources import CorruptData, MissingData
from mixupe_theory.training.data.spectrograms import log_magnitudes, spectrograms, standardized

REAL = Path(os.environ.get("MIXUPE_DATA", ""))
V2, V1 = speech.VERSIONS


def wav(samples, rate=16000):
    buffer = io.BytesIO()
    wavfile.write(buffer, rate, samples)
    return buffer.getvalue()


def noise(seed, length=16000):
    return np.random.default_rng(seed).integers(-3000, 3000, length).astype(np.int16)


# two words of three speakers, one clip too short, one too long; and noise that is no word
CLIPS = {
    "yes/aa_nohash_0.wav": wav(noise(0)),
    "yes/bb_nohash_0.wav": wav(noise(1, 9000)),
    "yes/bb_nohash_1.wav": wav(noise(2)),
    "no/aa_nohash_0.wav": wav(noise(3, 20000)),
    "no/cc_nohash_0.wav": wav(noise(4)),
}
OTHERS = {"_background_noise_/hum.wav": wav(noise(5, 40000)), "README.md": b"about"}
LISTS = {
    "testing_list.txt": b"yes/bb_nohash_0.wav\nyes/bb_nohash_1.wav\n",
    "validation_list.txt": b"no/cc_nohash_0.wav\n",
}


def put(folder, files, version=V2):
    """Write files; the version that knows them."""
    for name, content in files.items():
        path = folder / version.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    counted = {name: content for name, content in files.items() if name not in OTHERS}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(counted.items())]
    return replace(version, known=(f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}",))


def slow(clip, n_fft, hop):
    """log(1 + |DFT|) of windowed frames, term by term."""
    padded = np.concatenate([np.zeros(n_fft // 2), clip, np.zeros(n_fft // 2)])
    n = np.arange(n_fft)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * n / n_fft)
    frames = [padded[start : start + n_fft] * window for start in range(0, len(clip) + 1, hop)]
    waves = [np.exp(-2j * np.pi * k * n / n_fft) for k in range(n_fft // 2 + 1)]
    return np.array([[np.log1p(abs((frame * wave).sum())) for frame in frames] for wave in waves])


def real():
    """The known part of the real clips, or a skip that says what is not there."""
    root = REAL / V2.folder
    if not root.is_dir() or (root / "testing_list.txt").is_file():
        pytest.skip(f"MIXUPE_DATA has no {V2.folder} with the known part of 1,993 clips")
    return _loaded()


@cache
def _loaded():
    return speech.load(V2, REAL)


def real_names():
    return [f"{path.parent.name}/{path.name}" for path in sorted((REAL / V2.folder).glob("*/*.wav"))]


@pytest.mark.parametrize(("length", "n_fft", "hop"), [(64, 16, 8), (50, 20, 5)])
def test_magnitudes_against_a_slow_transform(length, n_fft, hop):
    clips = np.random.default_rng(0).normal(size=(2, length))
    found = log_magnitudes(torch.from_numpy(clips), n_fft, hop)
    expected = np.stack([slow(clip, n_fft, hop) for clip in clips])
    # 10 rounding errors of sums of n_fft terms of size 1
    np.testing.assert_allclose(found.numpy(), expected, atol=10 * n_fft * np.finfo(float).eps)


def test_spectrograms_against_a_slow_transform():
    clips = np.stack([noise(0), noise(1)])
    expected = slow(clips[1] / 2**15, 320, 160)
    expected = (expected - expected.mean()) / expected.std(ddof=1)
    found = spectrograms(clips)
    assert (found.shape, found.dtype) == ((2, 1, 161, 101), torch.float32)
    np.testing.assert_allclose(found[1, 0].numpy(), expected, atol=1e-4)  # float32


def test_the_chunks_of_spectrograms_do_not_show(monkeypatch):
    clips = np.stack([noise(seed) for seed in range(5)])
    whole = spectrograms(clips)
    monkeypatch.setattr("mixupe_theory.training.data.spectrograms._CHUNK", 2)
    torch.testing.assert_close(spectrograms(clips), whole)


def test_every_clip_is_standardized_and_silence_is_zero():
    x = torch.stack([torch.arange(6.0).reshape(2, 3), torch.full((2, 3), 7.0)])
    found = standardized(x)
    np.testing.assert_allclose(found[0].numpy(), (x[0] - 2.5) / np.std(np.arange(6), ddof=1), rtol=1e-6)
    assert (found[1] == 0).all()
    assert (spectrograms(np.zeros((1, 16000), np.int16)) == 0).all()


def test_clips_are_cut_or_filled_to_one_second():
    place = Path("clip.wav")
    short, long = noise(1, 9000), noise(3, 20000)
    np.testing.assert_array_equal(speech.samples(place, wav(short)), np.concatenate([short, np.zeros(7000)]))
    np.testing.assert_array_equal(speech.samples(place, wav(long)), long[:16000])


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (wav(noise(0), 8000), "got 1 with 8000 of int16"),
        (wav(np.stack([noise(0), noise(1)], 1)), "got 2 with 16000 of int16"),
        (wav(noise(0).astype(np.uint8)), "got 1 with 16000 of uint8"),
        (wav(noise(0).astype(np.float32)), "got 1 with 16000 of float32"),
        (b"RIFF", "is not a wav file"),
        (b"", "is not a wav file"),
        (b"text, no sound", "is not a wav file"),
    ],
    ids=["rate", "stereo", "8 bit", "float", "cut", "empty", "text"],
)
def test_other_files_are_refused_by_name(content, got, tmp_path):
    version = put(tmp_path, {**CLIPS, "no/cc_nohash_0.wav": content})
    with pytest.raises(CorruptData, match=rf"no/cc_nohash_0\.wav.*{got}"):
        speech.load(version, tmp_path)


def test_without_lists_no_speaker_is_in_both_parts(tmp_path):
    version = put(tmp_path, CLIPS | OTHERS)
    data = speech.load(version, tmp_path, seed=0)
    assert (data.classes, data.shape) == (("no", "yes"), (1, 161, 101))
    train, test, split = speech.speaker_split(sorted(CLIPS), 0)
    assert not {speech.speaker(name) for name in train} & {speech.speaker(name) for name in test}
    assert data.split == split
    for part, names in ((data.train, train), (data.test, test)):
        assert part.targets.tolist() == [int(name.startswith("yes")) for name in names]
        clips = np.stack([speech.samples(Path(name), CLIPS[name]) for name in names])
        torch.testing.assert_close(part.inputs, spectrograms(clips))


def test_the_speakers_depend_on_the_seed_alone():
    names = [f"no/{speaker:04x}_nohash_0.wav" for speaker in range(200)]
    first, again, other = (speech.speaker_split(names, seed)[1] for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(other) == 40
    # the ordering of the hashes by hand
    order = sorted(names, key=lambda name: hashlib.sha1(b"0/" + name[3:7].encode()).hexdigest())
    assert first == sorted(order[:40])


def test_with_lists_the_split_is_the_official_one(tmp_path):
    data = speech.load(put(tmp_path, CLIPS | LISTS), tmp_path, seed=5)
    clips = np.stack([speech.samples(Path(), CLIPS[name]) for name in ("no/aa_nohash_0.wav", "yes/aa_nohash_0.wav")])
    torch.testing.assert_close(data.train.inputs, spectrograms(clips))
    assert (data.train.targets.tolist(), data.test.targets.tolist()) == ([0, 1], [1, 1])
    assert "seed" not in data.split


@pytest.mark.parametrize(
    "change",
    [
        {"yes/aa_nohash_0.wav": wav(noise(9))},
        {"yes/dd_nohash_0.wav": wav(noise(9))},
        {"testing_list.txt": b"no/cc_nohash_0.wav\n"},
    ],
    ids=["other clip", "one too many", "other list"],
)
def test_other_content_is_noticed(change, tmp_path):
    version = put(tmp_path, CLIPS | LISTS)
    assert speech.verify(version, tmp_path) == "5 clips, 2 words, 3 speakers"
    put(tmp_path, change)
    with pytest.raises(CorruptData, match=r"speech_commands_v0\.02 is not the published file"):
        speech.load(version, tmp_path)


def test_a_missing_clip_is_noticed(tmp_path):
    version = put(tmp_path, CLIPS)
    (tmp_path / version.folder / "no/cc_nohash_0.wav").unlink()
    with pytest.raises(CorruptData, match=r"speech_commands_v0\.02"):
        speech.verify(version, tmp_path)


@pytest.mark.parametrize("name", list(speech.SOURCES))
def test_missing_data_is_named_with_the_command(name, tmp_path):
    for act in (speech.SOURCES[name].verify, speech.SOURCES[name].load):
        with pytest.raises(MissingData, match=rf"{name}: .*speech_commands_v0.*data fetch {name}`.*official archive"):
            act(tmp_path)


def test_what_is_fetched_loads_and_is_guarded_by_its_digest(tmp_path, monkeypatch):
    packed = tmp_path / "server.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for name, content in (CLIPS | OTHERS | LISTS).items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    calls = []

    def download(url, digest, path, *, extract=False):
        calls.append((url.rsplit("/", 1)[1], digest, extract))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(packed, path)
        with tarfile.open(path) as archive:
            archive.extractall(path.parent, filter="data")

    monkeypatch.setattr(speech, "download", download)
    put(tmp_path, {"yes/aa_nohash_0.wav": CLIPS["yes/aa_nohash_0.wav"]}, V1)
    speech.fetch(V1, tmp_path)
    speech.fetch(V1, tmp_path)
    assert calls == [("speech_commands_v0.01.tar.gz", V1.archive, True)]  # once
    assert speech.verify(V1, tmp_path) == "5 clips, 2 words, 3 speakers"
    assert len(speech.load(V1, tmp_path).test) == 2
    put(tmp_path, {"yes/dd_nohash_0.wav": wav(noise(9))}, V1)
    with pytest.raises(CorruptData, match=r"speech_commands_v0\.01"):
        speech.verify(V1, tmp_path)


def test_the_real_clips():
    data = real()
    assert speech.verify(V2, REAL) == "1993 clips, 10 words, 114 speakers"
    assert data.classes == tuple("down go left no off on right stop up yes".split())
    assert (data.shape, data.train.inputs.dtype) == ((1, 161, 101), torch.float32)
    counts = data.train.targets.bincount() + data.test.targets.bincount()
    assert counts.sum() == len(data.train) + len(data.test) == 1993
    assert (counts.min(), counts.max()) == (189, 213)
    assert data.test.targets.bincount().min() >= 20
    for x in data.train.inputs[:50].double():
        assert abs(x.mean()) < 1e-5
        assert abs(x.std() - 1) < 1e-5


def test_the_real_speakers():
    real()
    names = real_names()
    train, test, _ = speech.speaker_split(names, 0)
    heard = [{speech.speaker(name) for name in part} for part in (train, test)]
    assert not heard[0] & heard[1]
    assert [len(part) for part in heard] == [91, 23]
    assert sorted(train + test) == names
    assert [len(train), len(test)] == [len(_loaded().train), len(_loaded().test)]


def test_the_real_clips_are_all_of_googles_test_part():
    """By the rule published with the data, which hashes the speaker: 10 % validation, then 10 % test."""
    real()
    parts = Counter()
    for name in real_names():
        place = int(hashlib.sha1(speech.speaker(name).encode()).hexdigest(), 16) % 2**27 * 100 / (2**27 - 1)
        parts["validation" if place < 10 else "testing" if place < 20 else "training"] += 1
    assert parts == {"testing": 1993}
