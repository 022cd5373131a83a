"""Small made-up data sets, "toy_images", "toy_features" and "toy_graphs", a short recipe, iris as a file.

Also a program: ``python training_cases.py ARGUMENTS`` is ``mixupe-theory ARGUMENTS`` that knows these sets, for tests
that kill it or start several of it.
"""

import gzip
import sys
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_iris

from mixupe_theory.training import data
from mixupe_theory.training.data import Dataset, Part, Source
from mixupe_theory.training.data.digests import record_content
from mixupe_theory.training.data.graph_inputs import GraphInputs
from mixupe_theory.training.recipes import Recipe

CLASSES = 3
SHORT = Recipe(epochs=2, batch_size=10, learning_rate=0.05, warmup=1, drops=(1,), weight_decay=1e-3)


def _part(n, shape, generator, as_pixels):
    y = generator.permutation(np.arange(n) % CLASSES)
    x = generator.normal(0, 1, (n, *shape)) + y.reshape(n, *(1,) * len(shape))
    x = np.clip(60 * x + 60, 0, 255).astype(np.uint8) if as_pixels else x.astype(np.float32)
    return Part(torch.from_numpy(x), torch.from_numpy(y).long())


@cache
def images():
    generator = np.random.default_rng(0)
    train, test = (_part(n, (3, 16, 16), generator, True) for n in (60, 30))
    names = tuple("abc")
    return Dataset("toy_images", train, test, names, (100.0,) * 3, (60.0,) * 3, ("flip", "crop"), {"by": "the test"})


@cache
def features():
    generator = np.random.default_rng(1)
    train, test = (_part(n, (4,), generator, False) for n in (60, 30))
    return Dataset("toy_features", train, test, tuple("abc"))


@cache
def graphs():
    """Rings of 3 to 8 nodes, chains and stars of as many."""
    edges, sizes = [], []
    for k in range(90):
        n = 3 + k // CLASSES % 6
        ring = [(i, (i + 1) % n) for i in range(n)]
        pairs = (ring, ring[:-1], [(0, i) for i in range(1, n)])[k % CLASSES]
        edges.append(torch.tensor(pairs + [(j, i) for i, j in pairs]).T)
        sizes.append(n)
    starts = [torch.tensor([0, *np.cumsum(counts)]) for counts in (sizes, [e.shape[1] for e in edges])]
    whole = GraphInputs(torch.ones(sum(sizes), 1), torch.cat(edges, 1), *starts, torch.arange(90))
    part = Part(whole, torch.arange(90) % CLASSES)
    return Dataset("toy_graphs", part[torch.arange(60)], part[torch.arange(60, 90)], tuple("abc"))


def _source(name, family, load):
    return Source(
        name,
        name,
        family,
        place="nowhere",
        load=lambda folder, *, seed, fold: load(),
        verify=lambda folder: "made up",
        fetch=lambda folder: None,
    )


def register():
    for family, load in (("images", images), ("tabular", features), ("graphs", graphs)):
        name = load().name
        data.SOURCES[name] = _source(name, family, load)


register()


def write_iris(folder):
    """scikit-learn's iris as fetching would leave it, for processes that know the official names only."""
    path = folder / "tabular" / "iris.csv.gz"
    iris = load_iris()
    rows = (f"{','.join(map(str, x))},{iris.target_names[y]}" for x, y in zip(iris.data, iris.target, strict=True))
    content = "\n".join(["a,b,c,d,target", *rows, ""]).encode()
    record_content(path, content)
    path.write_bytes(gzip.compress(content))


if __name__ == "__main__":
    from mixupe_theory.cli import main

    sys.exit(main(sys.argv[1:]))
