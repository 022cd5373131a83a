"""What records of images hold besides errors, against plain readings of made-up ones, with a planted difference."""

import numpy as np
import pytest
from image_cases import STUDY, TEST, image_records

from mixupe_theory.training.measures import MEASURES, measure
from mixupe_theory.training.paired_tests import paired_test
from mixupe_theory.training.replication import Row
from mixupe_theory.training.replication_text import as_text
from mixupe_theory.training.runs import Run

PLANTED = 0.5


@pytest.fixture(scope="module")
def records():
    """MixupE "exact" has the margin of mixup and half a logit more."""
    entries = image_records(np.random.default_rng(1))
    margins = {key(e): logits(e)["margin"] for e in entries if title(e) == "mixup"}
    generator = np.random.default_rng(2)
    for entry in entries:
        if title(entry) == "MixupE exact":
            logits(entry)["margin"] = margins[key(entry)] + PLANTED + generator.uniform(0, 0.01)
    return entries


def title(entry):
    return Run.from_dict(entry["run"]).title


def key(entry):
    return tuple(entry["run"][name] for name in ("data", "model", "seed"))


def logits(entry):
    return entry["examination"]["logits"]


def reading(entry, name):
    if name == "gap":
        return reading(entry, "test_loss") - reading(entry, "train_loss")
    if name in ("objective", "train_loss", "test_loss"):
        return entry["epochs"][entry["run"]["recipe"]["epochs"] - 1][name]
    if name == "deformed":
        errors = entry["examination"]["deformations"].values()
        return 100 - 100 * sum(errors) / 8
    if name in ("ece", "overconfidence"):
        bins = zip(*(entry["examination"]["calibration"][of] for of in ("confidence", "correct")), strict=True)
        gaps = [sure - right for sure, right in bins]
        return 100 / TEST * sum(map(abs, gaps) if name == "ece" else gaps)
    return logits(entry)[name]


@pytest.mark.parametrize("name", MEASURES)
def test_cells_are_means_of_what_the_records_hold(name, records):
    found = measure(records, STUDY.rows, name)
    for row, where in STUDY.rows.items():
        for method, cell in found.ours[row].items():
            own = [e for e in records if key(e)[:2] == (where.data, where.model) and title(e) == method]
            assert cell.mean == pytest.approx(np.mean([reading(e, name) for e in own]), rel=1e-12)
            assert cell.ids == tuple(e["id"] for e in sorted(own, key=key))


def test_a_planted_difference_is_found_and_no_other(records):
    found = measure(records, STUDY.rows, "margin", ("mixup", "manifold mixup"))
    assert {c.baseline for c in found.comparisons} == {"mixup", "manifold mixup"}
    for c in found.comparisons:
        planted = (c.title, c.baseline) == ("MixupE exact", "mixup")
        assert c.significant == planted
        pair = (found.samples[c.row][method].values for method in (c.title, c.baseline))
        assert c.test == paired_test(*pair)
        assert not planted or c.test.difference == pytest.approx(PLANTED, abs=0.01)


def test_the_text_has_the_measure_s_unit_and_ranks_only_what_can_be_better(records):
    loss, calibration = (as_text(measure(records, STUDY.rows, name)) for name in ("test_loss", "ece"))
    assert "test loss (nats)" in loss
    assert " nats, p = " in loss
    assert "points" not in loss
    assert "average ranks" not in loss
    assert " points, p = " in calibration
    assert "average ranks" in calibration


def test_a_row_without_records_has_no_numbers(records):
    found = measure(records, STUDY.rows | {"SVHN": Row("svhn", "lenet")}, "ece")
    assert found.ours["SVHN"] == {}


def test_an_unknown_measure_is_named(records):
    with pytest.raises(ValueError, match=r"name must be one of .*'objective'.*, got 'sharpness'"):
        measure(records, STUDY.rows, "sharpness")


def test_losses_have_three_decimals_and_one_row_is_no_sample(records):
    found = measure(records, {"LeNet": STUDY.rows["LeNet, CIFAR-10"]}, "test_loss")
    text = as_text(found)
    assert f"{found.ours['LeNet']['ERM'].mean:.3f}±" in text
    assert "Wilcoxon" not in text
