"""Made-up records of the small study of images, for the tests of its tables and figures."""

import numpy as np

from mixupe_theory.tables_data import ROBUSTNESS
from mixupe_theory.training.calibration import BINS
from mixupe_theory.training.records import summary
from mixupe_theory.training.studies import STUDIES

STUDY = STUDIES["images-small"]
TEST = 1000


def image_records(generator):
    """One for each run of the study: losses and errors that fall, predictions of all confidences."""
    return [_record(run, generator) for run in STUDY.runs]


def _record(run, generator):
    count = run.recipe.epochs
    level = 0.5 + 0.3 * np.exp(-np.arange(count) / 3) + generator.normal(0, 0.01, count)
    scales = {"objective": 2.0, "train_loss": 1.5, "train_error": 0.9, "test_loss": 2.2, "test_error": 1.0}
    epochs = [{"epoch": k} | {name: float(of * level[k]) for name, of in scales.items()} for k in range(count)]
    predictions = generator.multinomial(TEST, [1 / BINS] * BINS)
    confidence = predictions * (np.arange(BINS) + 0.5) / BINS
    return {
        "id": run.id,
        "run": run.as_dict(),
        "split": {"by": "official", "train": run.subset, "test": TEST},
        "summary": summary(epochs),
        "epochs": epochs,
        "examination": {
            "deformations": {
                name: float(min(1, level[-1] + 0.05 * k + generator.normal(0, 0.01)))
                for k, name in enumerate(ROBUSTNESS.rows)
            },
            "calibration": {
                "count": predictions.tolist(),
                "confidence": confidence.tolist(),
                "correct": generator.binomial(predictions, 0.9 * (np.arange(BINS) + 0.5) / BINS).tolist(),
            },
            "logits": dict(zip(("entropy", "q_hat", "abs_q_hat", "margin"), generator.uniform(size=4), strict=True)),
        },
    }
