"""The deck's tables as sweeps: what is trained for each row, once and for all.

``STUDIES`` maps each table's name to its :class:`Study`; ``mixupe-theory study NAME`` conducts one.
"""

from mixupe_theory.training.studies.graphs import GRAPHS
from mixupe_theory.training.studies.images import IMAGES, SMALL
from mixupe_theory.training.studies.live import live
from mixupe_theory.training.studies.speech import SPEECH
from mixupe_theory.training.studies.study import Study, at_hand, conduct, recorded, replication
from mixupe_theory.training.studies.tabular import TABULAR

__all__ = ["STUDIES", "Study", "at_hand", "conduct", "live", "recorded", "replication"]

STUDIES: dict[str, Study] = {study.table.id: study for study in (TABULAR, GRAPHS, SPEECH, IMAGES, SMALL)}
