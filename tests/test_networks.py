"""The committed networks and their data."""

import numpy as np
import pytest
import torch

from mixupe_theory import networks
from mixupe_theory.networks import RECIPES, Recipe, accuracy, balanced, digits, load, moons


@pytest.mark.parametrize("name", RECIPES)
def test_a_committed_network_has_learned(name):
    """Far above chance on test data: digits by other writers, moons with more noise than distance at the tips."""
    recipe = RECIPES[name]
    assert accuracy(load(name), recipe) > (0.9 if recipe.head == "softmax" else 0.93)


def test_training_is_deterministic_and_gives_the_committed_kind_of_network():
    """Same seed, same weights on one machine; between machines training differs, so accuracies are compared."""
    torch.set_num_threads(1)
    recipe = RECIPES["moons-tanh-erm"]
    first, second = networks.train(recipe), networks.train(recipe)
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)
    assert accuracy(first, recipe) == pytest.approx(accuracy(load(recipe.name), recipe), abs=0.02)


def test_weight_files_hold_what_load_reads():
    net = load("digits-relu-erm")
    contents = networks.weight_files({"digits-relu-erm": net})
    assert list(contents) == ["digits-relu.npz"]


def test_data():
    for data, shape in ((digits, (1000, 64)), (moons, (200, 2))):
        x, y = data()
        assert x.shape == shape
        assert x.dtype == torch.float64
        assert len(y) == len(x)
    x, y = balanced(*digits(), 25)
    assert np.bincount(y).tolist() == [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]


def test_unknown_network():
    with pytest.raises(ValueError, match="name must be one of"):
        load("digits-elu-erm")


def test_names_are_unique():
    assert len(RECIPES) == len({recipe.name for recipe in RECIPES.values()})
    assert Recipe("moons", "tanh", 1, 3).name == "moons-tanh-mixup-1-s3"
