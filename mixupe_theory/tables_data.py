"""The deck's tables of results as printed: nothing computed, nothing rounded.

Names are the data sets' usual ones; where the deck's text has another, ``Table.printed_as`` gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Cell = tuple[float, float | None]


@dataclass(frozen=True)
class Table:
    """A printed table.

    Attributes:
        id: Its name here.
        title: The deck's caption or heading, shortened.
        slide: Title of the deck's slide.
        runs_statement: What the deck prints about the number of runs; empty where it prints nothing.
        runs: That number, or None.
        unit: Of the means: "test error (%)" or "test accuracy (%)"; what it is, its unit in parentheses.
        spread_unit: Of the numbers after ±, as we read them: "percent", or "fraction" (0.06 is 6 percentage points),
            see the claim "tables.graph-units"; None where no ± is printed.
        methods: Columns, in the deck's order.
        rows: Row name -> method -> (mean, number after ± or None).
        printed_as: The deck's spelling of names, where it is another.
    """

    id: str
    title: str
    slide: str
    runs_statement: str
    runs: int | None
    unit: str
    spread_unit: str | None
    methods: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Cell]]
    printed_as: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def lower_is_better(self) -> bool | None:
        """True of errors, False of accuracies, None of anything else."""
        if "error" in self.unit:
            return True
        return False if "accuracy" in self.unit else None

    @property
    def difference_unit(self) -> str:
        """Of differences of means: "points" where these are in percent."""
        unit = self.unit.partition("(")[2].rstrip(")")
        return "points" if unit == "%" else unit


def _rows(methods: tuple[str, ...], printed: dict[str, tuple]) -> Mapping[str, Mapping[str, Cell]]:
    """Rows by method; a cell is (mean, ±), or a mean alone."""
    return MappingProxyType(
        {
            name: MappingProxyType(
                {
                    method: cell if isinstance(cell, tuple) else (cell, None)
                    for method, cell in zip(methods, cells, strict=True)
                }
            )
            for name, cells in printed.items()
        }
    )


_THREE = ("ERM", "Mixup", "MixupE")

IMAGES = Table(
    id="images",
    title="Image classification",
    slide="Image Classification Test Error (%)",
    runs_statement="",
    runs=None,
    unit="test error (%)",
    spread_unit="percent",
    methods=_THREE,
    rows=_rows(
        _THREE,
        {
            "PreActResNet50, CIFAR-10": ((4.71, 0.062), (4.53, 0.041), (3.53, 0.047)),
            "PreActResNet50, CIFAR-100": ((24.68, 0.349), (23.03, 0.471), (20.23, 0.507)),
            "PreActResNet50, SVHN": ((2.80, 0.201), (2.65, 0.017), (2.42, 0.021)),
            "PreActResNet101, CIFAR-10": ((4.21, 0.069), (4.43, 0.049), (3.35, 0.049)),
            "PreActResNet101, CIFAR-100": ((23.20, 0.362), (23.05, 0.383), (18.86, 0.376)),
            "PreActResNet101, SVHN": ((2.95, 0.019), (2.79, 0.015), (2.35, 0.019)),
            "WRN-28-10, CIFAR-10": ((4.24, 0.101), (3.03, 0.091), (2.94, 0.048)),
            "WRN-28-10, CIFAR-100": ((22.20, 0.108), (19.38, 0.113), (17.12, 0.111)),
            "WRN-28-10, SVHN": ((2.82, 0.049), (2.48, 0.117), (2.29, 0.168)),
        },
    ),
    printed_as=MappingProxyType({"WRN-28-10": "Wide-Resnet-28-10", "CIFAR-10": "CIFAR10", "CIFAR-100": "CIFAR100"}),
)

TABULAR = Table(
    id="tabular",
    title="Table 4: tabular data sets of the UCI repository",
    slide="Other tasks",
    runs_statement="Results are averaged over five trials",
    runs=5,
    unit="test error (%)",
    spread_unit="percent",
    methods=_THREE,
    rows=_rows(
        _THREE,
        {
            "Arrhythmia": ((34.60, 3.10), (35.49, 3.88), (34.85, 3.99)),
            "Letter": ((4.56, 0.27), (3.71, 0.18), (4.04, 0.20)),
            "Balance-scale": ((3.87, 1.03), (3.70, 1.00), (3.68, 0.97)),
            "Mfeat-factors": ((2.74, 0.81), (2.44, 0.42), (2.56, 0.64)),
            "Mfeat-fourier": ((17.69, 1.76), (17.80, 1.56), (17.57, 1.60)),
            "Mfeat-karhunen": ((3.74, 0.58), (3.06, 0.29), (2.47, 0.32)),
            "Mfeat-morph": ((25.00, 2.10), (24.62, 1.83), (24.66, 1.30)),
            "Mfeat-zernike": ((17.58, 1.72), (15.19, 1.73), (15.55, 0.62)),
            "CMC": ((45.77, 1.49), (46.67, 1.83), (45.42, 2.05)),
            "Optdigits": ((1.48, 0.19), (1.15, 0.21), (1.33, 0.14)),
            "Pendigits": ((1.03, 0.25), (0.76, 0.19), (0.72, 0.16)),
            "Iris": ((9.06, 7.01), (8.14, 6.48), (7.29, 6.95)),
            "Mnist_784": ((2.83, 0.11), (2.57, 0.05), (2.56, 0.14)),
            "Abalone": ((35.05, 0.61), (35.07, 0.69), (34.91, 0.70)),
            "Volkert": ((33.26, 0.62), (32.74, 0.76), (32.54, 0.61)),
        },
    ),
)

SPEECH = Table(
    id="speech",
    title="Table 5: Google Speech Commands",
    slide="Other tasks",
    runs_statement="We run each experiment five times",
    runs=5,
    unit="test error (%)",
    spread_unit="percent",
    methods=_THREE,
    rows=_rows(
        _THREE,
        {
            "LeNet": ((10.43, 0.052), (10.12, 0.041), (10.02, 0.042)),
            "VGG-11": ((6.04, 0.059), (4.63, 0.047), (3.93, 0.050)),
            "VGG-13": ((5.77, 0.053), (4.68, 0.039), (3.84, 0.040)),
        },
    ),
)

GRAPHS = Table(
    id="graphs",
    title="Table 6: graph data sets of the TUDatasets benchmark",
    slide="Other tasks",
    runs_statement="Results are obtained from 10-fold validation",
    runs=10,
    unit="test error (%)",
    spread_unit="fraction",
    methods=_THREE,
    rows=_rows(
        _THREE,
        {
            "MUTAG": ((10.15, 0.06), (10.67, 0.05), (10.06, 0.06)),
            "NCI1": ((17.79, 0.02), (18.59, 0.02), (17.74, 0.01)),
            "PTC": ((38.37, 0.09), (34.87, 0.08), (35.50, 0.08)),
            "PROTEINS": ((25.43, 0.04), (24.44, 0.04), (23.72, 0.04)),
            "IMDB-BINARY": ((25.60, 0.03), (25.30, 0.03), (25.20, 0.03)),
            "IMDB-MULTI": ((50.33, 0.03), (49.27, 0.04), (48.53, 0.03)),
        },
    ),
    printed_as=MappingProxyType({"NCI1": "NCII", "IMDB-BINARY": "IMDBBINARY", "IMDB-MULTI": "IMDBMULTI"}),
)

_DEFORMED = ("Mixup", "Manifold Mixup", "MixupE")

ROBUSTNESS = Table(
    id="robustness",
    title="Novel deformations, trained on normal CIFAR-100",
    slide="Robustness – Generalize to Novel Deformations",
    runs_statement="",
    runs=None,
    unit="test accuracy (%)",
    spread_unit=None,
    methods=_DEFORMED,
    rows=_rows(
        _DEFORMED,
        {
            "Rotation U(-20, 20)": (56.48, 60.08, 62.23),
            "Rotation U(-40, 40)": (36.78, 42.13, 43.08),
            "Shearing U(-28.6, 28.6)": (60.01, 62.85, 63.94),
            "Shearing U(-57.3, 57.3)": (39.70, 44.27, 43.87),
            "Zoom In (60% rescale)": (13.12, 11.49, 15.66),
            "Zoom In (80% rescale)": (50.47, 52.70, 54.22),
            "Zoom Out (120% rescale)": (61.62, 63.59, 61.39),
            "Zoom Out (140% rescale)": (42.02, 45.29, 36.58),
        },
    ),
    printed_as=MappingProxyType({"MixupE": "Ours"}),
)

TABLES: Mapping[str, Table] = MappingProxyType({t.id: t for t in (IMAGES, TABULAR, SPEECH, GRAPHS, ROBUSTNESS)})

GRAPH_CLASSES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "MUTAG": (63, 125),
        "NCI1": (2053, 2057),
        "PTC": (192, 152),
        "PROTEINS": (663, 450),
        "IMDB-BINARY": (500, 500),
        "IMDB-MULTI": (500, 500, 500),
    }
)
"""Graphs of each class in Table 6's data sets: counted in the TUDataset files, not printed in the deck."""
