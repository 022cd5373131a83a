"""What notebook 03 says of natural images: one mean for a channel leaves little in CIFAR-10's mean image."""

import os
from pathlib import Path

import numpy as np
import pytest

from mixupe_theory.training import load

FOLDER = Path(os.environ.get("MIXUPE_DATA", ""))


@pytest.mark.skipif(not (FOLDER / "cifar-10-batches-py").is_dir(), reason="MIXUPE_DATA has no cifar-10-batches-py")
def test_share_of_the_mean_image():
    x = load("cifar10", folder=FOLDER).train.inputs.flatten(2).numpy().astype(np.float32)
    x = (x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)
    assert np.square(x.mean(0)).sum() / np.square(x).sum((1, 2)).mean() < 0.02
