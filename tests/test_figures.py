"""Every figure's arrays, recomputed, are those behind the committed pictures."""

import numpy as np
import pytest
from matplotlib.axis import Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from mixupe_theory import paths
from mixupe_theory.figures import FIGURES, regenerate
from mixupe_theory.plotting import load_arrays, style


@pytest.mark.parametrize("name", FIGURES)
def test_arrays_are_the_committed_ones(name):
    spec, stored = FIGURES[name], load_arrays(name)
    arrays = spec.arrays()
    assert arrays.keys() == stored.keys()
    for key, value in arrays.items():
        if value.dtype.kind == "U":
            assert (value == stored[key]).all()
        else:
            np.testing.assert_allclose(value, stored[key], rtol=spec.rtol, atol=spec.atol, err_msg=key)


@pytest.mark.parametrize("name", FIGURES)
def test_picture_fits_a_column_and_nothing_overflows(name):
    """Drawn from the stored arrays: no text leaves the figure, none is smaller than 7 pt, files are small."""
    with style():
        figure = FIGURES[name].draw(load_arrays(name))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    ticks = {label for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)}  # some are never drawn
    inside = figure.bbox.padded(1)
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            assert text.get_fontsize() >= 7, text
            corners = text.get_window_extent(canvas.get_renderer()).corners()
            assert text in ticks or all(inside.contains(*corner) for corner in corners), text
    assert figure.get_figwidth() in (3.4, 7.0)
    assert (paths.FIGURES / f"{name}.png").stat().st_size <= 150_000
    for extension in ("pdf", "svg"):
        assert (paths.FIGURES / f"{name}.{extension}").stat().st_size <= 300_000


def test_no_figure_is_left_over():
    assert {path.stem for path in paths.FIGURES.glob("*.png")} == set(FIGURES)
    with pytest.raises(ValueError, match="name must be one of"):
        regenerate("theorem1_nothing")
