"""The style of the figures, and figures that are rewritten only when what they show changes.

A figure is four files: ``<name>.png``, ``.pdf``, ``.svg`` and ``data/<name>.npz`` with the arrays behind it.
Pixels differ between machines where the last digits of the arrays do, so the arrays decide: a rebuild whose
arrays stay within the figure's tolerance touches nothing.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from mixupe_theory import _validation as check
from mixupe_theory import paths
from mixupe_theory.files import write_atomically

WIDTHS = {"column": 3.4, "page": 7.0}  # inches
# Dates and versions would make every rebuild differ.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
_STYLE_SHEET = files("mixupe_theory") / "mixupe.mplstyle"
_DRAWN_BY = "_drawn_by"
_RESERVED = (_DRAWN_BY, "file", "allow_pickle")  # the last two are arguments of numpy.savez


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk. A notebook shows its PNG; its text is a digest of the arrays and code behind it.

    Attributes:
        png: The PNG; the other files lie beside it.
        rewritten: Whether this run wrote it.
        reason: Why it was rewritten, or "unchanged".
    """

    png: Path
    rewritten: bool
    reason: str

    def __repr__(self) -> str:
        # The same on every machine as long as the figure stands; in a stale notebook it differs.
        data = _data_file(self.png).read_bytes()
        return f"figure {self.png.stem} ({hashlib.sha256(data).hexdigest()[:8]})"

    def _repr_png_(self) -> bytes:
        return self.png.read_bytes()


def style() -> AbstractContextManager[None]:
    """The project's matplotlib settings for a ``with`` block, whatever the user's own settings."""
    return matplotlib.style.context(str(_STYLE_SHEET), after_reset=True)


def new_figure(width: str = "column", height: float = 2.4, **subplots) -> tuple[Figure, Any]:
    """A figure free of pyplot's global state, with its axes, for ``draw`` functions and ``with style()``.

    Args:
        width: "column" (3.4 in) or "page" (7 in).
        height: Height in inches.
        **subplots: Arguments of ``Figure.subplots``: nrows, ncols, sharex, ...

    Returns:
        The figure and what ``Figure.subplots`` returns: one Axes or an array of them.

    Raises:
        ValueError: If width is neither of the two, or height is not a finite number > 0.
    """
    if width not in WIDTHS:
        raise ValueError(f"width must be one of {tuple(WIDTHS)}, got {width!r}")
    figure = Figure(figsize=(WIDTHS[width], check.positive("height", height)))
    return figure, figure.subplots(**subplots)


def save_figure(
    name: str,
    arrays: dict[str, np.ndarray],
    draw: Callable[[dict[str, np.ndarray]], Figure],
    *,
    rtol: float = 1e-6,
    atol: float = 0.0,
    folder: Path | None = None,
    redraw: bool = False,
) -> SavedFigure:
    """Draw a figure and write it with its arrays, unless the stored one already shows the same.

    It is rewritten when a file is missing, when an array's name, shape or kind of dtype differs from the
    stored one or a value leaves the tolerance |new - stored| <= atol + rtol |stored|, when the source of
    ``draw`` or the style sheet changed (functions that ``draw`` calls are not looked at), or on ``redraw``.

    Args:
        name: "topic_name", in lower case.
        arrays: Everything that is drawn, by name: numbers (NaN allowed, infinity not) or strings.
        draw: Takes the arrays and returns a Figure; called within ``style()``.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        folder: Where to write; the repository's figures by default.
        redraw: Rewrite in any case.

    Returns:
        The figure, with whether and why it was rewritten.

    Raises:
        TypeError: If arrays holds anything but arrays of numbers or strings, or draw is not a function that
            returns a Figure.
        ValueError: If a name or a value is not allowed.
        OSError: If a file cannot be written.
    """
    png = _png_file(name, folder)
    _check_arrays(arrays)
    for argument, tolerance in (("rtol", rtol), ("atol", atol)):
        if not (tolerance >= 0 and math.isfinite(tolerance)):
            raise ValueError(f"{argument} must be a finite number >= 0, got {tolerance}")
    drawn_by = _fingerprint(draw)
    reason = "redraw asked for" if redraw else _change(png, arrays, drawn_by, rtol, atol)
    if not reason:
        return SavedFigure(png, False, "unchanged")
    with style():
        figure = draw(arrays)
        if not isinstance(figure, Figure):
            raise TypeError(f"draw must return a matplotlib Figure, got {type(figure).__name__}")
        pictures = {extension: _render(figure, extension) for extension in _METADATA}
    for extension, picture in pictures.items():
        write_atomically(png.with_suffix(f".{extension}"), picture)
    # The arrays come last: a run killed before leaves the old ones, and the next run sees that they differ.
    write_atomically(_data_file(png), _npz({**arrays, _DRAWN_BY: np.array(drawn_by)}))
    return SavedFigure(png, True, reason)


def load_arrays(name: str, folder: Path | None = None) -> dict[str, np.ndarray]:
    """The arrays behind a stored figure.

    Args:
        name: The figure's name.
        folder: The figures' folder; the repository's by default.

    Returns:
        The arrays by name, as given to ``save_figure``.

    Raises:
        FileNotFoundError: If no such figure was stored.
    """
    data = _data_file(_png_file(name, folder))
    if not data.is_file():
        raise FileNotFoundError(f"name: figure {name!r} is not stored, {data} is missing; run `make figures`")
    return {key: value for key, value in _read(data).items() if key != _DRAWN_BY}


def _png_file(name: str, folder: Path | None) -> Path:
    if not (isinstance(name, str) and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", name)):
        raise ValueError(f"name must be topic_name in lower-case letters and digits, got {name!r}")
    return Path(paths.FIGURES if folder is None else folder) / f"{name}.png"


def _data_file(png: Path) -> Path:
    return png.parent / "data" / f"{png.stem}.npz"


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    if not isinstance(arrays, dict) or not arrays:
        raise TypeError(f"arrays must be a non-empty dict of numpy arrays, got {arrays!r}")
    for key, array in arrays.items():
        if not (isinstance(key, str) and key.isidentifier()) or key in _RESERVED:
            raise ValueError(f"arrays: a key must be an identifier and none of {_RESERVED}, got {key!r}")
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufcU":
            got = f"dtype {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"arrays[{key!r}] must be a numpy array of numbers or strings, got {got}")
        if array.size == 0:
            raise ValueError(f"arrays[{key!r}] must not be empty, got shape {array.shape}")
        if array.dtype.kind != "U" and np.isinf(array).any():
            raise ValueError(f"arrays[{key!r}] must hold no infinity: leave it out or use NaN")


def _fingerprint(draw: Callable) -> str:
    if not inspect.isfunction(draw):
        raise TypeError(f"draw must be a function with readable source, got {type(draw).__name__}")
    source = inspect.getsource(draw).encode()
    return hashlib.sha256(source + _STYLE_SHEET.read_bytes()).hexdigest()


def _change(png: Path, arrays: dict, drawn_by: str, rtol: float, atol: float) -> str:
    """What changed since the figure was stored; empty if nothing did."""
    needed = [*(png.with_suffix(f".{extension}") for extension in _METADATA), _data_file(png)]
    missing = [path.name for path in needed if not path.is_file()]
    if missing:
        return f"missing: {', '.join(missing)}"
    stored = _read(_data_file(png))
    if stored.pop(_DRAWN_BY, "") != drawn_by:
        return "the drawing code or the style changed"
    if stored.keys() != arrays.keys():
        return f"the arrays are {sorted(arrays)}, stored were {sorted(stored)}"
    changed = [key for key in arrays if not _same(arrays[key], stored[key], rtol, atol)]
    return f"changed: {', '.join(changed)}" if changed else ""


def _same(new: np.ndarray, stored: np.ndarray, rtol: float, atol: float) -> bool:
    if new.shape != stored.shape or new.dtype.kind != stored.dtype.kind:
        return False
    if new.dtype.kind == "U":
        return np.array_equal(new, stored)
    return np.allclose(new, stored, rtol=rtol, atol=atol, equal_nan=True)


def _render(figure: Figure, extension: str) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format=extension, metadata=_METADATA[extension])
    return buffer.getvalue()


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **dict(sorted(arrays.items())))
    return buffer.getvalue()


def _read(data: Path) -> dict[str, np.ndarray]:
    with np.load(data) as stored:
        return dict(stored)
