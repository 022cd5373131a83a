"""Table 5, speech: ten words of Speech Commands, three networks, five seeds.

A subset: the 1,993 clips of ten words that 114 speakers of the official test part (version 0.02) recorded, where the
deck has 65,000 clips of thirty words. Test speakers are not heard in training. The networks have a quarter of their
width, LeNet is trained for 40 epochs, the others for 12, the last quarter at a tenth of the rate: at a constant one
the test error jumped by 10 points and more from epoch to epoch. Mixup with a clean forward pass is trained where it can
differ from mixup, with BatchNorm, on the smaller of the two such networks.
"""

from __future__ import annotations

from mixupe_theory.tables_data import TABLES
from mixupe_theory.training.grids import grid
from mixupe_theory.training.recipes import RECIPES
from mixupe_theory.training.replication import Row
from mixupe_theory.training.runs import Run
from mixupe_theory.training.studies.study import Study

SEEDS = 5
WIDTH = 0.25
ETA = 0.1
MODELS = {"LeNet": ("lenet", 40), "VGG-11": ("vgg11", 12), "VGG-13": ("vgg13", 12)}  # ours, epochs
METHODS = ("erm", "mixup", "mixupe")
CONTROLLED = "vgg11"


def _runs() -> list[Run]:
    return [
        run
        for model, epochs in MODELS.values()
        for seed in range(SEEDS)  # seed by seed, so that whatever is finished is paired
        for run in grid(
            methods=(*METHODS, "mixup_clean_forward") if model == CONTROLLED else METHODS,
            settings={"eta": (ETA,)},
            seeds=(seed,),
            recipes=(RECIPES["speech"].scaled(epochs),),
            data="speech_commands",
            model=model,
            model_options={"width": WIDTH},
        )
    ]


SPEECH = Study(
    table=TABLES["speech"],
    rows={title: Row("speech_commands", model) for title, (model, _) in MODELS.items()},
    plan=_runs,
)
