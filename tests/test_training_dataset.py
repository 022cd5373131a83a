"""Parts of a data set: held-out parts, subsets, and what a network is fed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixupe_theory.training.data import Dataset, Part
from mixupe_theory.training.data.augmentation import augmented, drawn

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def numbered(counts, test=7, seed=0):
    """A data set whose inputs are numbers: 0, 1, ... in the training part, -1, -2, ... in the test part."""
    generator = np.random.default_rng(seed)
    y = torch.from_numpy(generator.permutation(np.repeat(np.arange(len(counts)), counts)))
    train = Part(torch.arange(len(y))[:, None], y)
    held = Part(-1 - torch.arange(test)[:, None], torch.arange(test) % len(counts))
    return Dataset("numbers", train, held, tuple(map(str, range(len(counts)))), split={"by": "the test"})


def images(n=6, seed=0):
    generator = np.random.default_rng(seed)
    part = Part(
        torch.from_numpy(generator.integers(0, 256, (n, 3, 5, 4)).astype(np.uint8)), torch.from_numpy(np.arange(n) % 3)
    )
    return Dataset("images", part, part, tuple("abc"), MEAN, STD, ("flip", "crop"))


def draws(seed, n=6):
    return drawn(("flip", "crop"), n, np.random.default_rng(seed))


def numbers(part):
    return part.inputs[:, 0].tolist()


@given(st.lists(st.integers(10, 40), min_size=2, max_size=5), st.floats(0.15, 0.85), st.integers(0, 2**31))
def test_held_out_is_a_stratified_partition_of_the_training_part(counts, share, seed):
    whole = numbered(counts)
    split = whole.held_out(share, seed)
    kept, held = numbers(split.train), numbers(split.test)
    assert sorted(kept + held) == numbers(whole.train)  # disjoint, complete, and nothing of the test part
    assert len(held) == pytest.approx(share * sum(counts), abs=1)
    for k, count in enumerate(counts):
        assert int((split.test.targets == k).sum()) == pytest.approx(share * count, abs=1)
    for part in (split.train, split.test):
        assert torch.equal(part.targets, whole.train.targets[part.inputs[:, 0]])


def test_held_out_depends_on_the_seed_and_on_nothing_else():
    whole = numbered([30, 30, 30])
    first = whole.held_out(0.2, seed=1)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - global state must not matter
    assert numbers(whole.held_out(0.2, seed=1).test) == numbers(first.test)
    assert numbers(whole.held_out(0.2, seed=2).test) != numbers(first.test)
    assert first.split == {"by": "the test", "held_out": 0.2, "held_out_seed": 1}
    assert (first.name, first.classes) == (whole.name, whole.classes)


def test_a_class_with_one_example_stays_in_training():
    split = numbered([1, 20, 20]).held_out(0.5, seed=0)
    assert 0 in split.train.targets
    assert 0 not in split.test.targets


@given(st.integers(9, 50), st.integers(0, 2**31))
def test_a_subset_is_stratified_and_leaves_the_test_part(examples, seed):
    counts = [30, 20, 10]
    whole = numbered(counts)
    small = whole.subset(examples, seed)
    assert len(set(numbers(small.train))) == len(small.train) == examples
    assert torch.equal(small.train.targets, whole.train.targets[small.train.inputs[:, 0]])
    for k, count in enumerate(counts):
        assert int((small.train.targets == k).sum()) == pytest.approx(examples * count / 60, abs=1)
    assert small.test is whole.test
    assert small.split == {"by": "the test", "subset": examples, "subset_seed": seed}
    assert numbers(small.train) == numbers(whole.subset(examples, seed).train)


def test_a_subset_of_what_is_left_takes_nothing_held_out():
    split = numbered([30, 30]).held_out(0.5, seed=0).subset(10)
    assert not set(numbers(split.train)) & set(numbers(split.test))


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.0, "held_out must be a number strictly between 0 and 1, got 0.0"),
        (1, "held_out must be a number strictly between 0 and 1, got 1"),
        (float("nan"), "held_out must be a number strictly between 0 and 1, got nan"),
        (0.01, "held_out must leave .* 3 classes in both parts of 60 examples, got 0.01"),
        (0.99, "held_out must leave .* 3 classes in both parts of 60 examples, got 0.99"),
    ],
)
def test_shares_that_are_refused(share, message):
    with pytest.raises(ValueError, match=message):
        numbered([20, 20, 20]).held_out(share, seed=0)


@pytest.mark.parametrize("examples", [2, 58, 60, 61])
def test_subsets_that_are_refused(examples):
    with pytest.raises(ValueError, match=rf"subset must .* 60.*got {examples}"):
        numbered([20, 20, 20]).subset(examples)


def test_a_subset_is_a_number_of_examples():
    with pytest.raises(TypeError, match=r"subset must be an integer >= 1, got 0\.5"):
        numbered([20, 20, 20]).subset(0.5)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-14), (torch.float32, 1e-5)], ids=["float64", "float32"])
def test_images_are_normalized_by_channel(dtype, rtol):
    data = images()
    out = data.prepared(data.train, dtype)
    assert out.inputs.dtype == dtype
    assert torch.equal(out.targets, data.train.targets)
    for index in np.ndindex(*data.train.inputs.shape):
        expected = (int(data.train.inputs[index]) - MEAN[index[1]]) / STD[index[1]]
        assert float(out.inputs[index]) == pytest.approx(expected, rel=rtol, abs=rtol)


def test_augmentation_comes_before_normalization():
    # so the border is raw black, not the mean colour
    data = images()
    out = data.prepared(data.train, torch.float64, draws(1))
    raw = augmented(data.train.inputs, ("flip", "crop"), draws(1))
    expected = (raw.double().numpy() - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    np.testing.assert_allclose(out.inputs.numpy(), expected, rtol=1e-14)
    assert not torch.equal(out.inputs, data.prepared(data.train, torch.float64).inputs)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 6), slice(1, 6, 2)], ids=["first", "last", "every other"])
def test_rows_of_a_batch_are_augmented_as_in_the_whole(rows):
    data = images()
    whole = data.prepared(data.train, torch.float32, draws(1))
    part = data.prepared(data.train, torch.float32, draws(1), rows)
    assert torch.equal(part.inputs, whole.inputs[rows])
    assert torch.equal(part.targets, whole.targets[rows])


def test_features_are_only_converted():
    x = torch.tensor([[0.1, -2.0], [3.0, 4.0]])
    data = Dataset("features", Part(x, torch.tensor([0, 1])), Part(x, torch.tensor([0, 1])), ("a", "b"))
    out = data.prepared(data.train, torch.float64, torch.empty(0, 2))
    assert torch.equal(out.inputs, x.double())
    assert data.shape == (2,)


class Collection:
    """Inputs that are no tensor: chosen by an index, then put together in a batch."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, indices):
        return Collection([self.items[i] for i in indices.tolist()])

    def batch(self, dtype):
        return "".join(self.items)


def test_other_collections_put_themselves_together():
    part = Part(Collection("abcd"), torch.arange(4))
    data = Dataset("letters", part, part, tuple("wxyz"))
    out = data.prepared(part[torch.tensor([3, 0, 1])], torch.float32, torch.empty(0, 3), slice(1, None))
    assert out.inputs == "ab"
    assert out.targets.tolist() == [0, 1]


def test_a_part_goes_to_a_device_whole():
    data = images().to("cpu")
    assert len(data.train) == 6
    assert data.train.inputs.device.type == data.test.targets.device.type == "cpu"


def test_groups_are_held_out_whole():
    """Speakers 0..9 of six clips each: none on both sides, and without groups some are (the check can fail)."""
    speakers = torch.arange(60) % 10
    whole = numbered([30, 30])
    sides = {}
    for groups in (speakers, None):
        split = replace(whole, train=Part(whole.train.inputs, whole.train.targets, groups)).held_out(0.3, seed=0)
        parts = (numbers(split.train), numbers(split.test))
        sides[groups is None] = [{int(speakers[k]) for k in part} for part in parts]
        assert sorted([*parts[0], *parts[1]]) == list(range(60))
    assert not sides[False][0] & sides[False][1]
    assert len(sides[False][1]) == 3
    assert sides[True][0] & sides[True][1]
