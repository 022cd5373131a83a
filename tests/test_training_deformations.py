"""Deformed images against loops over pixels, which share no code with the batched routine."""

import math
import re

import numpy as np
import pytest
import torch
from deformation_cases import by_loops
from hypothesis import given
from hypothesis import strategies as st

from mixupe_theory.tables_data import TABLES
from mixupe_theory.training.deformations import DEFORMATIONS, deform, rotations, shears, zooms


def written_out(name, value):
    """The matrix of RECIPES for one number."""
    if name.startswith("Rotation"):
        t = math.pi * value / 180
        return [[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]
    if name.startswith("Shearing"):
        s = math.pi * value / 180
        return [[1.0, -math.sin(s)], [0.0, math.cos(s)]]
    return [[value, 0.0], [0.0, value]]


@given(
    st.sampled_from(list(DEFORMATIONS)),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(["official", "centre"]),
    st.integers(0, 2**32 - 1),
)
def test_equal_to_loops(name, height, width, pivot, seed):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(3, 2, height, width))
    how = DEFORMATIONS[name]
    values = generator.uniform(how.low, how.high, 3)
    ours = deform(torch.from_numpy(images), how.matrices(values), pivot).numpy()
    for image, value, found in zip(images, values, ours, strict=True):
        matrix = written_out(name, value)
        either = [by_loops(image, matrix, pivot, nudge) == found for nudge in (-1e-9, 0, 1e-9)]  # of a tie, to rounding
        assert np.any(either, axis=0).all()


def test_a_wrong_pivot_or_turn_is_noticed():
    images = np.random.default_rng(0).normal(size=(1, 3, 32, 32))
    matrix = rotations(np.array([17.0]))
    ours = deform(torch.from_numpy(images), matrix).numpy()[0]
    assert (ours == by_loops(images[0], matrix[0])).all()
    assert (ours != by_loops(images[0], matrix[0], "centre")).mean() > 0.1
    assert (ours != by_loops(images[0], matrix[0].T)).mean() > 0.5


def test_rows_are_the_deck_s():
    assert list(DEFORMATIONS) == list(TABLES["robustness"].rows)
    for name, how in DEFORMATIONS.items():
        printed = [float(number) for number in re.findall(r"-?\d+\.?\d*", name)]
        if how.matrices is zooms:
            assert printed == [100 * how.low] == [100 * how.high]
        else:
            assert printed == [round(how.low, 1), round(how.high, 1)]
            assert how.matrices is (rotations if name.startswith("Rotation") else shears)


def test_numbers_are_evenly_drawn():
    """Mean and variance of angles within four standard errors of the uniform law's."""
    n = 20_000
    found = DEFORMATIONS["Rotation U(-40, 40)"].draw(n, np.random.default_rng(0))
    angles = np.degrees(np.arctan2(found[:, 1, 0], found[:, 0, 0]))
    spread = 80 / math.sqrt(12)
    assert abs(angles.mean()) < 4 * spread / math.sqrt(n)
    assert abs(angles.var() / spread**2 - 1) < 4 * math.sqrt(0.8 / n)
    assert -40 <= angles.min() < -39.9 < 39.9 < angles.max() <= 40


def test_identity_and_dtype():
    x = torch.arange(2 * 3 * 5 * 4, dtype=torch.float32).reshape(2, 3, 5, 4)
    same = deform(x, np.tile(np.eye(2), (2, 1, 1)))
    assert same.dtype == torch.float32
    assert torch.equal(same, x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(2, 3, 4), np.zeros((2, 2, 2))), ValueError, r"x must be \(n, c, h, w\)"),
        ((torch.zeros(2, 3, 4, 4), np.zeros((3, 2, 2))), ValueError, r"matrices \(n, 2, 2\), got .*\(3, 2, 2\)"),
        ((torch.zeros(2, 3, 4, 4), "turn"), TypeError, "matrices must be"),
        ((torch.zeros(2, 3, 4, 4), np.zeros((2, 2, 2)), "middle"), ValueError, "pivot must be one of"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        deform(*arguments)
