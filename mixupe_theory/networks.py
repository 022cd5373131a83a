"""Small networks really trained on digits and two-moons, committed as arrays, and the command that makes them.

Training differs in the last digits between processors, so the claims read the committed weights;
``mixupe-theory networks`` trains them anew. Hyper-parameters are not specified in the deck: chosen by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits, make_moons
from torch import nn

from mixupe_theory.losses import pointwise_loss

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "softplus": nn.Softplus, "gelu": nn.GELU, "silu": nn.SiLU}
WEIGHTS = files("mixupe_theory") / "weights"
MOONS_SEEDS = 16


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; ``alpha`` 0 is ERM, else mixup with lambda ~ Beta(alpha, alpha) per batch."""

    data: str
    activation: str
    alpha: float
    seed: int = 0

    @property
    def name(self) -> str:
        """File name of the weights."""
        method = f"mixup-{self.alpha:g}" if self.alpha else "erm"
        return f"{self.data}-{self.activation}-{method}" + (f"-s{self.seed}" if self.seed else "")

    @property
    def head(self) -> str:
        """Ten digits want a softmax, two moons a sigmoid."""
        return "softmax" if self.data == "digits" else "sigmoid"


RECIPES = {
    recipe.name: recipe
    for recipe in [
        *(Recipe("digits", "tanh", alpha) for alpha in (0, 0.2, 1, 2)),
        *(Recipe("digits", "relu", alpha) for alpha in (0, 1)),
        *(Recipe("moons", "tanh", alpha, seed) for alpha in (0, 1) for seed in range(MOONS_SEEDS)),
        *(Recipe("moons", "tanh", alpha) for alpha in (0.2, 2)),
    ]
}


@cache
def digits(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """scikit-learn's digits, pixels in [0, 1], float64: the first 1000 images for training, 797 for testing."""
    x, y = load_digits(return_X_y=True)
    part = {"train": slice(0, 1000), "test": slice(1000, None)}[split]
    return torch.from_numpy(x[part] / 16), torch.from_numpy(y[part])


@cache
def moons(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """Two interleaved half circles with noise 0.15: 200 points for training, 1000 for testing; float64."""
    n, seed = {"train": (200, 0), "test": (1000, 1)}[split]
    x, y = make_moons(n, noise=0.15, random_state=seed)
    return torch.from_numpy(x), torch.from_numpy(y)


DATA = {"digits": digits, "moons": moons}


def balanced(x: torch.Tensor, y: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first n rows taken class by class in turn, so that a small subset holds every class."""
    rank = torch.zeros_like(y)
    for label in y.unique():
        rank[y == label] = torch.arange(int((y == label).sum()))
    rows = torch.argsort(rank, stable=True)[:n]
    return x[rows], y[rows]


def build(recipe: Recipe) -> nn.Sequential:
    """The untrained network of a recipe, float64: 64-32-32-10 for digits, 2-32-32-1 for two-moons."""
    sizes = (64, 32, 32, 10) if recipe.data == "digits" else (2, 32, 32, 1)
    activation = ACTIVATIONS[recipe.activation]
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1]).double()


def load(name: str) -> nn.Sequential:
    """A committed trained network in evaluation mode, float64, without gradients.

    Raises:
        ValueError: If no such network was committed; the message lists those that were.
    """
    if name not in RECIPES:
        raise ValueError(f"name must be one of {', '.join(RECIPES)}, got {name!r}")
    recipe = RECIPES[name]
    with (WEIGHTS / _file(recipe)).open("rb") as file:
        weights = np.load(file)[name]
    net = build(recipe).requires_grad_(False).eval()
    nn.utils.vector_to_parameters(torch.from_numpy(weights).double(), net.parameters())
    return net


def train(recipe: Recipe) -> nn.Sequential:
    """Train one network: Adam at 0.005, batches of 100, 100 epochs for digits and 400 for two-moons."""
    rng = np.random.default_rng(recipe.seed)
    net = build(recipe)
    with torch.no_grad():
        for layer in net[::2]:  # PyTorch's default law, from numpy's generator, which is the same everywhere
            bound = layer.in_features**-0.5
            for p in layer.parameters():
                p.copy_(torch.from_numpy(rng.uniform(-bound, bound, p.shape)))
    x, y = DATA[recipe.data]()
    targets = nn.functional.one_hot(y).double() if recipe.head == "softmax" else y.double()[:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    for _ in range(100 if recipe.data == "digits" else 400):
        for batch in torch.from_numpy(rng.permutation(len(x))).split(100):
            lam = rng.beta(recipe.alpha, recipe.alpha) if recipe.alpha else 1.0
            other = batch[torch.from_numpy(rng.permutation(len(batch)))]
            mixed, labels = (torch.lerp(t[other], t[batch], lam) for t in (x, targets))
            optimizer.zero_grad()
            pointwise_loss(net(mixed), labels, recipe.head).mean().backward()
            optimizer.step()
    return net.requires_grad_(False).eval()


def accuracy(net: nn.Module, recipe: Recipe, split: str = "test") -> float:
    """Share of correctly classified points."""
    x, y = DATA[recipe.data](split)
    out = net(x)
    predicted = out.argmax(1) if recipe.head == "softmax" else (out[:, 0] > 0).long()
    return (predicted == y).double().mean().item()


def weight_files(trained: dict[str, nn.Module]) -> dict[str, bytes]:
    """The weights files of trained networks, by file name: float32 vectors in .npz archives."""
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for name, net in trained.items():
        vector = nn.utils.parameters_to_vector(net.parameters()).float().numpy()
        arrays.setdefault(_file(RECIPES[name]), {})[name] = vector
    contents = {}
    for file, vectors in arrays.items():
        buffer = BytesIO()
        np.savez(buffer, **vectors)
        contents[file] = buffer.getvalue()
    return contents


def _file(recipe: Recipe) -> str:
    return f"{recipe.data}-{recipe.activation}.npz"
