"""Settings of every test: one BLAS thread per worker (pytest-xdist), reproducible hypothesis examples."""

import warnings

import pytest
import scipy.linalg  # noqa: F401  (loads scipy's BLAS, so that it is limited too)
import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

torch.set_num_threads(1)
threadpool_limits(1)
settings.register_profile("default", deadline=None, derandomize=True, max_examples=20)
settings.load_profile("default")


@pytest.fixture(scope="session")
def forward_mode():
    """Use torch.func.jvp once: on first use torch scripts its own decompositions, which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.tanh, (torch.ones(1),), (torch.ones(1),))
