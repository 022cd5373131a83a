"""Figures: deterministic bytes, rewritten exactly when what they show changes, clear errors."""

import os
import re
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mixupe_theory import paths, plotting
from mixupe_theory.plotting import WIDTHS, load_arrays, new_figure, save_figure, style

NAME = "topic_lines"
ARRAYS = {
    "t": np.linspace(0.5, 1, 5),
    "y": np.array([1.0, np.nan, 3.0, 4.0, 5.0]),
    "label": np.array(["ERM", "mixup"]),
    "count": np.arange(3),
}


def draw(arrays):
    figure, axes = new_figure("column", 2)
    axes.plot(arrays["y"])
    axes.set_axis_off()  # fonts take most of the time
    return figure


def draw_other(arrays):
    figure, axes = new_figure("column", 2)
    axes.plot(arrays["t"], -arrays["y"], label=r"$\hat\lambda$")
    axes.legend()
    return figure


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def figure(tmp_path):
    saved = save_figure(NAME, ARRAYS, draw, folder=tmp_path)
    assert saved.rewritten
    return saved


def test_four_files_and_the_arrays_come_back(figure, tmp_path):
    expected = {f"{NAME}.png", f"{NAME}.pdf", f"{NAME}.svg", os.path.join("data", f"{NAME}.npz")}
    assert set(contents(tmp_path)) == expected
    assert figure.png == tmp_path / f"{NAME}.png"
    assert figure.reason.startswith("missing")
    loaded = load_arrays(NAME, tmp_path)
    assert loaded.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[key], array)


def test_a_rebuild_is_byte_identical_without_date_or_version(tmp_path):
    saved = save_figure(NAME, ARRAYS, draw_other, folder=tmp_path)
    first = contents(tmp_path)
    again = save_figure(NAME, dict(reversed(ARRAYS.items())), draw_other, folder=tmp_path, redraw=True)
    assert again.reason == "redraw asked for"
    assert contents(tmp_path) == first
    for name, data in first.items():
        assert not re.search(rb"Date|Creator|Producer|Software|dc:date|Matplotlib v", data), name
    png = imread(BytesIO(saved.png.read_bytes()))
    assert png.shape[:2] == (2 * 150, round(WIDTHS["column"] * 150))


def test_within_tolerance_nothing_is_touched(figure, tmp_path):
    before, times = contents(tmp_path), {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    near = ARRAYS | {"y": ARRAYS["y"] * (1 + 5e-7)}
    saved = save_figure(NAME, near, draw, folder=tmp_path)
    assert (saved.rewritten, saved.reason, saved.png) == (False, "unchanged", figure.png)
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    assert repr(saved) == repr(figure)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"y": ARRAYS["y"] * (1 + 5e-6)}, "changed: y"),
        ({"y": np.nan_to_num(ARRAYS["y"])}, "changed: y"),
        ({"y": ARRAYS["y"][:-1]}, "changed: y"),
        ({"label": np.array(["ERM", "Mixup"])}, "changed: label"),
        ({"count": np.arange(3.0)}, "changed: count"),
        ({"more": np.ones(1)}, "the arrays are"),
    ],
    ids=["value", "nan", "shape", "string", "dtype", "key"],
)
def test_a_change_beyond_tolerance_rewrites_from_the_new_arrays(figure, tmp_path, change, reason):
    before = repr(figure)
    drawn = []

    def spy(arrays):
        drawn.append(arrays)
        return draw(arrays)

    save_figure(NAME, ARRAYS, spy, folder=tmp_path)
    saved = save_figure(NAME, ARRAYS | change, spy, folder=tmp_path)
    assert saved.rewritten
    assert saved.reason.startswith(reason)
    assert drawn[-1] == ARRAYS | change
    for key in change:
        np.testing.assert_array_equal(load_arrays(NAME, tmp_path)[key], change[key])
    assert repr(saved) != before


def test_tolerances_are_the_callers(figure, tmp_path):
    far = ARRAYS | {"y": ARRAYS["y"] + 0.01}
    assert not save_figure(NAME, far, draw, folder=tmp_path, rtol=0.1).rewritten
    assert not save_figure(NAME, far, draw, folder=tmp_path, rtol=0, atol=0.02).rewritten
    assert save_figure(NAME, far, draw, folder=tmp_path).rewritten


def test_changed_drawing_code_rewrites(figure, tmp_path):
    saved = save_figure(NAME, ARRAYS, draw_other, folder=tmp_path)
    assert saved.rewritten
    assert saved.reason == "the drawing code or the style changed"
    assert repr(saved) != repr(save_figure(NAME, ARRAYS, draw, folder=tmp_path))


def test_a_changed_style_sheet_rewrites(figure, tmp_path, monkeypatch):
    sheet = tmp_path / "other.mplstyle"
    sheet.write_text("font.size: 9\n")
    monkeypatch.setattr(plotting, "_STYLE_SHEET", sheet)
    assert save_figure(NAME, ARRAYS, draw, folder=tmp_path).rewritten


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_missing_file_rewrites(figure, tmp_path, suffix):
    before = contents(tmp_path)
    (tmp_path / f"{NAME}.{suffix}").unlink()
    assert save_figure(NAME, ARRAYS, draw, folder=tmp_path).reason == f"missing: {NAME}.{suffix}"
    assert contents(tmp_path) == before


def test_a_failing_drawing_leaves_the_stored_figure(figure, tmp_path):
    def fail(arrays):
        raise RuntimeError("no figure today")

    before = contents(tmp_path)
    with pytest.raises(RuntimeError, match="no figure today"):
        save_figure(NAME, ARRAYS, fail, folder=tmp_path)
    assert contents(tmp_path) == before


def test_a_run_killed_between_files_is_made_good(figure, tmp_path, monkeypatch):
    changed = ARRAYS | {"y": ARRAYS["y"] + 1}

    def kill(path, data):
        if path.suffix == ".svg":
            raise KeyboardInterrupt
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(plotting, "write_atomically", kill)
        with pytest.raises(KeyboardInterrupt):
            save_figure(NAME, changed, draw, folder=tmp_path)
    assert save_figure(NAME, changed, draw, folder=tmp_path).reason == "changed: y"


def test_the_default_folder_and_how_a_notebook_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    saved = save_figure(NAME, ARRAYS, draw)
    assert saved.png.parent == tmp_path / "figures"
    assert load_arrays(NAME).keys() == ARRAYS.keys()
    assert saved._repr_png_() == saved.png.read_bytes()
    assert re.fullmatch(rf"figure {NAME} \([0-9a-f]{{8}}\)", repr(saved))


def test_style_is_ours_whatever_the_users_and_leaves_no_trace():
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        with style():
            ours = dict(matplotlib.rcParams)
            figure, axes = new_figure("page", 3, ncols=2)
        assert dict(matplotlib.rcParams) == before
    assert ours["lines.linewidth"] < 2
    labels = [*axes[0].get_xticklabels(), axes[0].xaxis.label, axes[0].title]
    assert min(label.get_fontsize() for label in labels) >= 8
    assert figure.get_size_inches().tolist() == [7, 3]
    cycle = ours["axes.prop_cycle"].by_key()
    assert len(set(cycle["color"])) == len(set(map(str, cycle["linestyle"]))) == 7


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "lines"}, ValueError, "name must be topic_name"),
        ({"name": "Topic_Lines"}, ValueError, "name must be topic_name"),
        ({"name": "../topic_lines"}, ValueError, "name must be topic_name"),
        ({"name": None}, ValueError, "name must be topic_name"),
        ({"arrays": {}}, TypeError, "arrays must be a non-empty dict"),
        ({"arrays": [np.ones(2)]}, TypeError, "arrays must be a non-empty dict"),
        ({"arrays": {"x": [1.0, 2.0]}}, TypeError, r"arrays\['x'\] must be a numpy array .* got list"),
        ({"arrays": {"x": np.array([None])}}, TypeError, r"arrays\['x'\] .* got dtype object"),
        ({"arrays": {"x": np.ones((0, 3))}}, ValueError, r"arrays\['x'\] must not be empty"),
        ({"arrays": {"x": np.array([1, np.inf])}}, ValueError, r"arrays\['x'\] must hold no infinity"),
        ({"arrays": {"_drawn_by": np.ones(1)}}, ValueError, "arrays: a key must be"),
        ({"arrays": {"a/b": np.ones(1)}}, ValueError, "arrays: a key must be"),
        ({"draw": "draw"}, TypeError, "draw must be a function"),
        ({"draw": lambda arrays: None}, TypeError, "draw must return a matplotlib Figure, got NoneType"),
        ({"rtol": -1.0}, ValueError, "rtol must be a finite number >= 0"),
        ({"atol": np.nan}, ValueError, "atol must be a finite number >= 0"),
    ],
)
def test_bad_input(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        save_figure(**({"name": NAME, "arrays": ARRAYS, "draw": draw, "folder": tmp_path} | arguments))
    assert contents(tmp_path) == {}


def test_bad_sizes_folders_and_names(tmp_path):
    with pytest.raises(ValueError, match="width must be one of"):
        new_figure("poster")
    with pytest.raises(ValueError, match="height must be"):
        new_figure(height=0)
    with pytest.raises(FileNotFoundError, match=r"figure 'topic_lines' is not stored.*make figures"):
        load_arrays(NAME, tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot write .*topic_lines.png"):
        save_figure(NAME, ARRAYS, draw, folder=tmp_path / "file")
    assert isinstance(new_figure()[0], Figure)
