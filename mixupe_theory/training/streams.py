"""Random numbers by purpose and position: a step's draws depend on nothing but the seed and where it stands.

So a resumed run draws what an uninterrupted one would have drawn, methods under one seed share the initial weights, the
order of the examples, lambda and the partners, and nothing random has to be stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from mixupe_theory import _validation as check

PURPOSES = ("initialization", "order", "augmentation", "mixing", "dropout", "deformation")


def stream(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """The generator of one purpose at one position, such as (epoch, step).

    Example:
        >>> stream(0, "order", 3).random() == stream(0, "order", 3).random() != stream(0, "order", 4).random()
        True
    """
    key = (PURPOSES.index(check.choice("purpose", purpose, PURPOSES)), *position)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def seed_torch(seed: int, purpose: str, *position: int) -> None:
    """Seed torch's default generators, which initialization and dropout draw from; use within :func:`own_torch`."""
    number = int(stream(seed, purpose, *position).integers(2**63))
    torch.default_generator.manual_seed(number)  # torch.manual_seed takes half a millisecond, a third of a small step
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)


@contextmanager
def own_torch(device: torch.device) -> Iterator[None]:
    """Within it torch's default generators, of the CPU and the device, may be seeded; afterwards they are as before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
