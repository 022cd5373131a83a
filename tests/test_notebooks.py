"""The stored notebooks: run in order, equal to their sources, small, and each checks something."""

import pytest

from mixupe_theory import paths
from mixupe_theory.notebook_builder import notebook_of, problems, sources


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)
def test_notebook(source):
    assert problems(notebook_of(source)) == []


def test_every_notebook_has_a_source():
    assert sorted(paths.NOTEBOOKS.glob("*.ipynb")) == [notebook_of(source) for source in sources()]
