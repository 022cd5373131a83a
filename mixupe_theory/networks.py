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
LAYERS = ("biased", "biasfree", "batchnorm")
MOONS_SEEDS = 16


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; ``alpha`` 0 is ERM, else mixup with lambda ~ Beta(alpha, alpha) per batch.

    ``layers`` is "biased"; "biasfree"; or "batchnorm": BatchNorm after each hidden layer, which then has no bias.
    """

    data: str
    activation: str
    alpha: float
    seed: int = 0
    layers: str = "biased"

    @property
    def name(self) -> str:
        """Name of the trained network."""
        method = f"mixup-{self.alpha:g}" if self.alpha else "erm"
        return f"{self.architecture}-{method}" + (f"-s{self.seed}" if self.seed else "")

    @property
    def architecture(self) -> str:
        """Data and network, without the method: the file that holds the weights."""
        return f"{self.data}-{self.activation}" + (f"-{self.layers}" if self.layers != "biased" else "")

    @property
    def head(self) -> str:
        """Ten digits want a softmax, two moons a sigmoid."""
        return "sigmoid" if self.data == "moons" else "softmax"


RECIPES = {
    recipe.name: recipe
    for recipe in [
        *(Recipe("digits", "tanh", alpha) for alpha in (0, 0.2, 1, 2)),
        *(Recipe("digits", "relu", alpha) for alpha in (0, 1)),
        *(Recipe("moons", "tanh", alpha, seed) for alpha in (0, 1) for seed in range(MOONS_SEEDS)),
        *(Recipe("moons", "tanh", alpha) for alpha in (0.2, 2)),
        *(Recipe(data, "relu", alpha, 0, "biasfree") for data in ("digits", "channelwise") for alpha in (0, 1)),
        *(Recipe("centred", "tanh", alpha) for alpha in (0, 1)),
        *(Recipe("centred", "relu", alpha, 0, layers) for layers in LAYERS for alpha in (0, 1)),
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


@cache
def centred(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """Digits less the mean training image, so that E[x'] = 0 on the training images."""
    x, y = digits(split)
    return x - digits()[0].mean(0), y


@cache
def channelwise(split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """Digits standardized as images are: one mean and one deviation for the channel, not for each pixel."""
    x, y = digits(split)
    pixels = digits()[0]
    return (x - pixels.mean()) / pixels.std(), y


DATA = {"digits": digits, "centred": centred, "channelwise": channelwise, "moons": moons}


def balanced(x: torch.Tensor, y: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first n rows taken class by class in turn, so that a small subset holds every class."""
    rank = torch.zeros_like(y)
    for label in y.unique():
        rank[y == label] = torch.arange(int((y == label).sum()))
    rows = torch.argsort(rank, stable=True)[:n]
    return x[rows], y[rows]


def build(recipe: Recipe, rng: np.random.Generator) -> nn.Sequential:
    """The untrained network of a recipe, float64: 64-32-32-10 for digits, 2-32-32-1 for two-moons."""
    sizes = (2, 32, 32, 1) if recipe.data == "moons" else (64, 32, 32, 10)
    layers: list[nn.Module] = []
    for depth, (a, b) in enumerate(pairwise(sizes)):
        hidden = depth < len(sizes) - 2
        norm = hidden and recipe.layers == "batchnorm"
        layers.append(_linear(a, b, recipe.layers != "biasfree" and not norm, rng))
        layers += [nn.BatchNorm1d(b)] if norm else []
        layers += [ACTIVATIONS[recipe.activation]()] if hidden else []
    return nn.Sequential(*layers).double()


def _linear(a: int, b: int, bias: bool, rng: np.random.Generator) -> nn.Linear:
    """PyTorch's default law of the weights, from numpy's generator, which is the same everywhere."""
    layer = nn.Linear(a, b, bias=bias, dtype=torch.float64).requires_grad_(False)
    for p in layer.parameters():
        p.copy_(torch.from_numpy(rng.uniform(-(a**-0.5), a**-0.5, p.shape)))
    return layer.requires_grad_()


def _state(net: nn.Module) -> list[torch.Tensor]:
    """Parameters and BatchNorm's running statistics."""
    return [*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())]


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
    net = build(recipe, np.random.default_rng(recipe.seed)).requires_grad_(False).eval()
    nn.utils.vector_to_parameters(torch.from_numpy(weights).double(), _state(net))
    return net


def train(recipe: Recipe) -> nn.Sequential:
    """Train one network: Adam at 0.005, batches of 100, 400 epochs for two-moons, else 100."""
    rng = np.random.default_rng(recipe.seed)
    net = build(recipe, rng)
    x, y = DATA[recipe.data]()
    targets = nn.functional.one_hot(y).double() if recipe.head == "softmax" else y.double()[:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    for _ in range(400 if recipe.data == "moons" else 100):
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
        vector = nn.utils.parameters_to_vector(_state(net)).float().numpy()
        arrays.setdefault(_file(RECIPES[name]), {})[name] = vector
    contents = {}
    for file, vectors in arrays.items():
        buffer = BytesIO()
        np.savez(buffer, **vectors)
        contents[file] = buffer.getvalue()
    return contents


def _file(recipe: Recipe) -> str:
    return f"{recipe.architecture}.npz"
