"""What notebook 03 says of natural images: one mean for a channel leaves little in CIFAR-10's mean image."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

BATCHES = sorted(Path(os.environ.get("MIXUPE_DATA", "")).glob("cifar-10-batches-py/data_batch_*"))


@pytest.mark.skipif(not BATCHES, reason="MIXUPE_DATA has no cifar-10-batches-py")
def test_share_of_the_mean_image():
    x = np.concatenate([pickle.loads(file.read_bytes(), encoding="latin1")["data"] for file in BATCHES])
    x = x.reshape(len(x), 3, -1).astype(np.float32)
    x = (x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)
    assert np.square(x.mean(0)).sum() / np.square(x).sum((1, 2)).mean() < 0.02
