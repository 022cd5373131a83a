"""Spectrograms of one-second clips, as the public loaders of Speech Commands make them."""

from __future__ import annotations

import numpy as np
import torch

RATE = 16000  # samples a second, and a clip's length
N_FFT = 320  # 20 ms
HOP = 160  # 10 ms
BINS = N_FFT // 2 + 1
FRAMES = RATE // HOP + 1
_CHUNK = 256  # clips at a time: their complex spectra take 33 MB


def spectrograms(waveforms: np.ndarray) -> torch.Tensor:
    """log(1 + magnitude) of the short-time Fourier transform, of mean 0 and deviation 1 over each clip.

    The transform is ``librosa.stft``'s: a periodic Hamming window, frames centred at multiples of the hop, and zeros
    beyond the clip's ends (librosa's default since version 0.9; before, it reflected the clip there). The deviation is
    torch's, with n - 1. A silent clip, whose deviation is 0, is all zeros.

    Args:
        waveforms: (n, 16000), int16.

    Returns:
        (n, 1, 161, 101), float32.

    Example:
        >>> tone = np.round(1000 * np.sin(2 * np.pi * 440 / RATE * np.arange(RATE))).astype(np.int16)
        >>> x = spectrograms(tone[None])
        >>> x.shape
        torch.Size([1, 1, 161, 101])
        >>> int(x[0, 0, :, 50].argmax()) * RATE / N_FFT  # the bin nearest to 440 Hz
        450.0
    """
    out = torch.empty(len(waveforms), 1, BINS, FRAMES)
    for start in range(0, len(waveforms), _CHUNK):
        clips = torch.from_numpy(waveforms[start : start + _CHUNK]).float() / 2**15
        out[start : start + _CHUNK, 0] = standardized(log_magnitudes(clips))
    return out


def log_magnitudes(clips: torch.Tensor, n_fft: int = N_FFT, hop: int = HOP) -> torch.Tensor:
    """log(1 + |STFT|) of (n, samples): (n, n_fft / 2 + 1, samples / hop + 1)."""
    window = torch.hamming_window(n_fft, dtype=clips.dtype)
    spectra = torch.stft(clips, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    return spectra.abs().log1p()


def standardized(x: torch.Tensor) -> torch.Tensor:
    """Each x[i] of (n, ...) minus its mean, divided by its deviation; 0 where it is constant."""
    rest = tuple(range(1, x.ndim))
    centred = x - x.mean(rest, keepdim=True)
    deviation = centred.square().sum(rest, keepdim=True).div(x[0].numel() - 1).sqrt()
    return torch.where(deviation > 0, centred / deviation, 0)
