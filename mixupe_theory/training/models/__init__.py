"""The networks of the deck's experiments, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial

from mixupe_theory import _validation as check
from mixupe_theory.training.models.gin import gin
from mixupe_theory.training.models.lenet import lenet
from mixupe_theory.training.models.mlp import mlp
from mixupe_theory.training.models.preact_resnet import RESNET18, RESNET50, RESNET101, preact_resnet
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.models.vgg import VGG11, VGG13, vgg
from mixupe_theory.training.models.wide_resnet import wide_resnet

__all__ = ["FOR_GRAPHS", "MODELS", "Staged", "build"]

MODELS: dict[str, Callable[..., Staged]] = {
    "mlp": mlp,
    "lenet": lenet,
    "vgg11": partial(vgg, VGG11),
    "vgg13": partial(vgg, VGG13),
    "preact_resnet18": partial(preact_resnet, RESNET18),
    "preact_resnet50": partial(preact_resnet, RESNET50),
    "preact_resnet101": partial(preact_resnet, RESNET101),
    "wrn28_10": wide_resnet,
    "gin": gin,
}
FOR_GRAPHS = {"gin"}  # whose inputs are batches of graphs; the others take tensors


def build(name: str, shape: Sequence[int], classes: int, **options) -> Staged:
    """Build a network with random weights.

    The weights come from torch's default generator: seed it first, inside ``torch.random.fork_rng()`` to leave it as it
    was.

    Args:
        name: A key of ``MODELS``.
        shape: Shape of one input: (channels, height, width) of an image or spectrogram, (features of a node,) of
            graphs, anything for "mlp".
        classes: Number of classes, at least 2.
        options: What the builder of that name takes by keyword.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
        ModuleNotFoundError: For "gin" without torch_geometric.

    Example:
        >>> build("preact_resnet18", (3, 32, 32), 10, width=0.25).manifold_places
        (0, 1, 2)
        >>> build("mlp", (4,), 3, width=0.25)
        Traceback (most recent call last):
        ValueError: option of 'mlp' must be one of ('hidden',), got 'width'
    """
    builder = MODELS[check.choice("name", name, MODELS)]
    keywords = [p.name for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        check.choice(f"option of {name!r}", option, keywords)
    return builder(shape, check.integer("classes", classes, least=2), **options)
