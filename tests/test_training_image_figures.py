"""The arrays behind the figures of images, from made-up records, against plain loops over the lines."""

import math

import numpy as np
import pytest
from image_cases import STUDY, image_records

from mixupe_theory.figures.calibration import (
    calibration_data,
    draw_calibration,
    draw_reliability,
    reliability_data,
)
from mixupe_theory.figures.deformations import deformations_data, draw_deformations
from mixupe_theory.figures.losses import draw_losses, losses_data
from mixupe_theory.figures.replication import draw_intervals, interval_data
from mixupe_theory.figures.robustness import LOST, draw_robustness, robustness_data
from mixupe_theory.plotting import save_figure
from mixupe_theory.tables_data import ROBUSTNESS
from mixupe_theory.training.robustness import robustness
from mixupe_theory.training.runs import Run
from mixupe_theory.training.studies import replication

PREACT = {"data": "cifar10", "model": "preact_resnet18"}


@pytest.fixture(scope="module")
def records():
    return image_records(np.random.default_rng(0))


def of(records, title, data, model):
    return [
        e
        for e in records
        if Run.from_dict(e["run"]).title == title and (e["run"]["data"], e["run"]["model"]) == (data, model)
    ]


def test_losses(records, tmp_path):
    data = losses_data(replication(STUDY, records), records)
    assert data["rows"].tolist() == list(STUDY.rows)
    for r, row in enumerate(STUDY.rows.values()):
        for k, title in enumerate(data["titles"]):
            lines = of(records, title, row.data, row.model)
            for name in ("objective", "train_loss", "test_loss"):
                curve = data[name][r, k]
                count = len(lines[0]["epochs"])
                assert np.isnan(curve[count:]).all()
                expected = [math.fsum(e["epochs"][t][name] for e in lines) / 5 for t in range(count)]
                np.testing.assert_allclose(curve[:count], expected, rtol=1e-12)
    save_figure("toy_losses", data, draw_losses, folder=tmp_path)


def test_reliability(records, tmp_path):
    """Bins of all seeds together; an empty one has no point."""
    data = reliability_data(records, **PREACT)
    assert len(data["titles"]) == 8
    np.testing.assert_allclose(data["share"].sum(1), 1)
    for title, confidence, accuracy in zip(data["titles"], data["confidence"], data["accuracy"], strict=True):
        bins = [e["examination"]["calibration"] for e in of(records, title, **PREACT)]
        total = sum(found["count"][3] for found in bins)
        assert accuracy[3] == pytest.approx(sum(found["correct"][3] for found in bins) / total)
        assert confidence[3] == pytest.approx(sum(found["confidence"][3] for found in bins) / total)
    bare = [
        {**e, "examination": {"calibration": {"count": [0, 4], "confidence": [0.0, 3.0], "correct": [0, 2]}}}
        for e in records
    ]
    found = reliability_data(bare, **PREACT)
    assert np.isnan(found["accuracy"][:, 0]).all()
    assert found["accuracy"][0, 1] == 0.5
    assert found["confidence"][0, 1] == 0.75
    save_figure("toy_reliability", data, draw_reliability, folder=tmp_path)


def test_calibration(records, tmp_path):
    data = calibration_data(records, STUDY.rows)
    for r, row in enumerate(STUDY.rows.values()):
        for k, title in enumerate(data["titles"]):
            errors, over = [], []
            for e in of(records, title, row.data, row.model):
                bins = list(zip(*e["examination"]["calibration"].values(), strict=True))
                errors.append(sum(abs(right - sure) for _, sure, right in bins) / 10)  # of 1,000, in percent
                over.append(sum(sure - right for _, sure, right in bins) / 10)
            np.testing.assert_allclose(data["mean"][:, r, k], [np.mean(errors), np.mean(over)], rtol=1e-12)
            half = 2.776445 * np.std(over, ddof=1) / np.sqrt(5)
            assert data["half"][1, r, k] == pytest.approx(half, rel=1e-6)
    assert (data["mean"][1] > 0).all()  # planted: right less often than sure
    save_figure("toy_calibration", data, draw_calibration, folder=tmp_path)


def test_robustness(records, tmp_path):
    """Rows that the deck loses are marked: to manifold mixup the wide shear and zooming out, to mixup zooming out."""
    data = robustness_data(robustness(records, **PREACT))
    marked = [row.removesuffix(LOST) for row in data["rows"] if row.endswith(LOST)]
    assert marked == ["Shearing U(-57.3, 57.3)", "Zoom Out (120% rescale)", "Zoom Out (140% rescale)"]
    save_figure("toy_robustness", data, draw_robustness, folder=tmp_path)


def test_deformations(tmp_path):
    """No row leaves the image as it is; zooming in fills it, all others leave a corner empty."""
    data = deformations_data()
    assert data["rows"].tolist() == ["none", *ROBUSTNESS.rows]
    for name, image in zip(data["rows"][1:], data["images"][1:], strict=True):
        assert (image != data["images"][0]).mean() > 0.1
        assert (image == 0).any() == (not name.startswith("Zoom In"))
    save_figure("toy_deformations", data, draw_deformations, folder=tmp_path)


def test_intervals_of_a_table_that_is_not_the_deck_s(records, tmp_path):
    data = interval_data(replication(STUDY, records))
    assert data["baselines"].tolist() == ["ERM", "mixup", "mixup + clean forward"]
    assert np.isnan(data["deck"]).all()
    save_figure("toy_intervals", data, draw_intervals, folder=tmp_path)
