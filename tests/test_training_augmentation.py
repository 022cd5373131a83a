"""Flips and crops against loops over images, and the distribution of what is drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mixupe_theory.training.data.augmentation import augmented, crop, draw_corners, draw_flips, drawn, flip

LEVEL = 1e-3  # of every test of a distribution; seeds are fixed, so each passes or fails for good


def window(image, top, left, padding):
    """The window of the padded image (c, h, w) at (top, left), pixel by pixel."""
    out = np.zeros_like(image)
    _, height, width = image.shape
    for r in range(height):
        for c in range(width):
            row, column = r + top - padding, c + left - padding
            if 0 <= row < height and 0 <= column < width:
                out[:, r, c] = image[:, row, column]
    return out


def offsets(images, out, padding):
    """For each image, every (top, left) whose window it became."""
    places = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return [
        [place for place in places if np.array_equal(new, window(old, *place, padding))]
        for old, new in zip(images, out, strict=True)
    ]


def mirrored(image):
    out = np.empty_like(image)
    width = image.shape[-1]
    for column in range(width):
        out[..., column] = image[..., width - 1 - column]
    return out


shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


def flipped(x, generator):
    return flip(x, torch.from_numpy(draw_flips(len(x), generator)))


def cropped(x, generator, padding=2):
    return crop(x, torch.from_numpy(draw_corners(len(x), generator, padding)), padding)


def changed(x, names, generator):
    return augmented(x, names, drawn(names, len(x), generator))


def images_of(shape, seed, dtype=np.uint8):
    return np.random.default_rng(seed).integers(1, 256, shape).astype(dtype)


@given(shapes, st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_a_crop_is_a_window_of_the_padded_image(shape, padding, seed):
    x = images_of(shape, seed)
    out = cropped(torch.from_numpy(x), np.random.default_rng(seed), padding)
    assert out.dtype == torch.uint8
    assert out.is_contiguous()
    assert all(offsets(x, out.numpy(), padding))


def test_a_crop_moved_by_one_pixel_is_found_out():
    x = images_of((40, 3, 8, 8), seed=0)
    out = cropped(torch.from_numpy(x), np.random.default_rng(0)).numpy()
    found = offsets(x, out, 2)
    assert all(len(places) == 1 for places in found)
    moved = np.roll(out, 1, axis=-1)
    assert not any(offsets(x, moved, 2))
    # and so is a crop that draws more, or pads otherwise than it says
    wider = cropped(torch.from_numpy(x), np.random.default_rng(0), padding=3).numpy()
    assert not all(offsets(x, wider, 2))


@given(shapes, st.integers(0, 2**32 - 1))
def test_a_flip_mirrors_whole_images_or_leaves_them(shape, seed):
    x = images_of(shape, seed)
    out = flipped(torch.from_numpy(x), np.random.default_rng(seed)).numpy()
    for old, new in zip(x, out, strict=True):
        assert np.array_equal(new, old) or np.array_equal(new, mirrored(old))


def flips(generator, n):
    x = torch.tensor([[[[0, 1]]]], dtype=torch.uint8).expand(n, 1, 1, 2)
    return flipped(x, generator)[:, 0, 0, 0].numpy().astype(int)


def test_half_of_the_images_are_flipped_independently():
    drawn = flips(np.random.default_rng(0), 20_000)
    assert stats.binomtest(int(drawn.sum()), len(drawn), 0.5).pvalue > LEVEL
    pairs = np.bincount(2 * drawn[0::2] + drawn[1::2], minlength=4)
    assert stats.chisquare(pairs).pvalue > LEVEL


def places(generator, n):
    """Counts of the 25 offsets: pixel (r, c) of a 5 x 5 image is 5 r + c, and (2, 2) of its window (top, left)."""
    x = torch.arange(25, dtype=torch.uint8).reshape(1, 1, 5, 5).expand(n, 1, 5, 5)
    return np.bincount(cropped(x, generator)[:, 0, 2, 2].numpy(), minlength=25)


class Lopsided:
    """A generator that never draws the largest offset."""

    def __init__(self, generator):
        self.generator = generator

    def integers(self, low, high, size):
        return self.generator.integers(low, high - 1, size)


def test_the_25_offsets_are_equally_likely():
    assert stats.chisquare(places(np.random.default_rng(0), 25_000)).pvalue > LEVEL
    assert stats.chisquare(places(Lopsided(np.random.default_rng(0)), 25_000)).pvalue < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64], ids=lambda dtype: dtype.__name__)
def test_every_dtype_is_treated_alike(dtype):
    x = images_of((6, 3, 8, 8), seed=1)
    expected = changed(torch.from_numpy(x), ("flip", "crop"), np.random.default_rng(2))
    out = changed(torch.from_numpy(x.astype(dtype)), ("flip", "crop"), np.random.default_rng(2))
    assert np.array_equal(out.numpy(), expected.numpy().astype(dtype))


def test_augmentations_are_applied_in_order_from_one_generator():
    x = torch.from_numpy(images_of((6, 3, 8, 8), seed=1))
    generator = np.random.default_rng(3)
    expected = cropped(flipped(x, generator), generator)
    assert torch.equal(changed(x, ("flip", "crop"), np.random.default_rng(3)), expected)
    assert not torch.equal(changed(x, ("flip", "crop"), np.random.default_rng(4)), expected)
    assert torch.equal(changed(x, (), np.random.default_rng(3)), x)


def test_an_image_that_is_changed_is_a_copy():
    x = torch.from_numpy(images_of((4, 3, 8, 8), seed=1))
    before = x.clone()
    changed(x, ("flip", "crop"), np.random.default_rng(0)).zero_()
    assert torch.equal(x, before)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match=r"augmentation must be one of \('flip', 'crop'\), got 'crops'.*'crop'"):
        changed(torch.zeros(1, 1, 2, 2), ("crops",), np.random.default_rng(0))
