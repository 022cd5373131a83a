"""Claims about the deck's printed tables: is the printed conclusion supported by the printed numbers?

These rows judge numbers on slides. Whether training gives such numbers is another question, with rows of its own.
"""

from __future__ import annotations

from dataclasses import replace

from mixupe_theory.claims import tables_measurements as measured
from mixupe_theory.claims.ledger import Claim
from mixupe_theory.tables import TABLES

_TABULAR_TOGETHER = Claim(
    id="tables.tabular-together",
    title="Table 4, all sets together: below ERM, not below mixup",
    slide="Other tasks",
    statement="Corrected: over the 15 data sets MixupE's mean error is lower than ERM's; that it is lower than "
    "mixup's the numbers do not show",
    verdict="holds",
    finding="Wilcoxon's signed-rank test (Demšar 2006): p = 0.0009 against ERM, 0.19 against mixup.",
    check=measured.tabular_together,
    control=lambda: measured.tabular_together(shift=1),
)

_GRAPHS_TOGETHER = Claim(
    id="tables.graphs-together",
    title="Table 6, as means: below ERM in six sets, below mixup in five",
    slide="Other tasks",
    statement="Corrected: MixupE's mean error is below ERM's in all six data sets and below mixup's in five, which by "
    "signed ranks six sets are too few to call significant",
    verdict="holds",
    finding="Exact signed ranks: p = 0.03 against ERM, the least that six sets can give, and 0.16 against mixup; "
    "neither passes Holm's 5 % over the two.",
    check=measured.graphs_together,
    control=lambda: measured.graphs_together(method="Mixup"),
)

_GRAPH_FRACTIONS = Claim(
    id="tables.graph-fractions",
    title="Table 6: ± as fractions fits",
    slide="Other tasks",
    statement="Corrected: ± in Table 6 is a fraction, 0.06 being 6 percentage points: what ten folds of these sizes "
    "show by counting errors alone",
    verdict="holds",
    finding="Read so, every ± is 0.5 to 1.1 times the binomial spread of one fold's error rate.",
    check=measured.graph_fractions,
    control=lambda: measured.graph_fractions("percent"),
)

_ROBUSTNESS_KINDS = Claim(
    id="tables.robustness-kinds",
    title="Deformations: better at rotation and zoom in, last at zoom out",
    slide="Robustness – Generalize to Novel Deformations",
    statement="Corrected: MixupE is the most accurate of the three under rotation, zoom in and the weaker shear, "
    "second under the stronger shear, and last under zoom out",
    verdict="holds",
    finding="At 140 % zoom out it is 8.7 points behind manifold mixup and 5.4 behind mixup. No ± is printed.",
    check=measured.robustness_kinds,
    control=lambda: measured.robustness_kinds(planted=True),
)

CLAIMS = (
    Claim(
        id="tables.images",
        title="Images: the printed table",
        slide="Image Classification Test Error (%)",
        statement="Printed numbers: MixupE has the lowest test error on CIFAR-10, CIFAR-100 and SVHN with three "
        "networks",
        verdict="holds if the printed means alone decide",
        finding="Lowest mean in all nine rows. If five runs stand behind each ±, 16 of 18 differences are significant; "
        "not WRN-28-10 against mixup on CIFAR-10 and on SVHN. The deck does not print the number.",
        check=measured.images,
        control=lambda: measured.images("Mixup"),
    ),
    Claim(
        id="tables.tabular",
        title="Tabular data: the printed Table 4",
        slide="Other tasks",
        statement="Printed numbers: MixupE improves on ERM and mixup on tabular data",
        verdict="fails as printed",
        finding="Another mean is lower in six of 15 rows (five times mixup's, on Arrhythmia ERM's), and at the printed "
        "five trials none of the 30 differences is significant, nor would any be if trials were paired with a "
        "correlation of 0.7.",
        check=measured.tabular,
        control=lambda: measured.tabular(measured.tenth("tabular")),
        corrected=_TABULAR_TOGETHER,
    ),
    _TABULAR_TOGETHER,
    Claim(
        id="tables.speech",
        title="Speech: the printed Table 5",
        slide="Other tasks",
        statement="Printed numbers: MixupE has the lowest error on speech commands, with three networks",
        verdict="holds",
        finding="All six differences are significant at the printed five runs; five of them if ± is a standard error.",
        check=measured.speech,
        control=lambda: measured.speech("fraction"),
    ),
    Claim(
        id="tables.graphs",
        title="Graphs: the printed Table 6",
        slide="Other tasks",
        statement="Printed numbers: MixupE improves on ERM and mixup on graphs",
        verdict="fails as printed",
        finding="On PTC mixup's mean is lower, and with ± as fractions none of the 12 differences stands out from the "
        "folds' spread. With ± as percents all 12 would, one of them against MixupE; but see the units.",
        check=measured.graphs,
        control=lambda: measured.graphs("percent"),
        corrected=_GRAPHS_TOGETHER,
    ),
    _GRAPHS_TOGETHER,
    Claim(
        id="tables.graph-units",
        title="Table 6: ± in the unit of the errors",
        slide="Other tasks",
        statement=r"Table 6 prints errors in % with their spread over ten folds, as in MUTAG $10.15\pm0.06$",
        verdict="fails as printed",
        finding="Impossible in all 18 cells: a fold's error rate is a multiple of one over its size, and no ten such "
        "rates with the printed mean lie so close together.",
        check=measured.graph_units,
        control=lambda: measured.graph_units("fraction"),
        corrected=_GRAPH_FRACTIONS,
    ),
    _GRAPH_FRACTIONS,
    Claim(
        id="tables.robustness",
        title="Deformations: the printed table",
        slide="Robustness – Generalize to Novel Deformations",
        statement="Printed numbers: MixupE generalizes better to novel deformations than mixup and manifold mixup",
        verdict="fails as printed",
        finding="True of five of eight deformations. Manifold mixup is more accurate in three (stronger shear, both "
        "zooms out), mixup in two (both zooms out).",
        check=measured.robustness,
        control=lambda: measured.robustness(replace(TABLES["robustness"], unit="test error (%)")),
        corrected=_ROBUSTNESS_KINDS,
    ),
    _ROBUSTNESS_KINDS,
    Claim(
        id="tables.runs",
        title="How many runs decides how many differences count",
        slide="Image Classification Test Error (%)",
        statement="Addition: what the image table shows depends on the number of runs, which is not printed: fewer "
        "than half of its 18 differences are significant at two runs, most at three, all at ten",
        verdict="holds",
        finding="Seven at two, 14 at three, 16 at five, all from eight. Table 4's spreads would need seven trials, "
        "not five, for a first significant difference.",
        check=measured.runs,
        control=lambda: measured.runs(times=2),
    ),
)
