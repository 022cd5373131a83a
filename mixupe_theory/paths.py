"""The only place with absolute paths."""

from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent

ROOT = _REPOSITORY if (_REPOSITORY / "notebooks").is_dir() else Path.cwd()
"""The repository; the current directory where the package is installed without it."""

NOTEBOOKS = ROOT / "notebooks"
NOTEBOOK_SOURCES = NOTEBOOKS / "py"
FIGURES = ROOT / "figures"
FIGURE_DATA = FIGURES / "data"
