"""The robustness table from made-up records with differences planted in them."""

import re

import numpy as np
import pytest
from outcome_cases import METHODS, record

from mixupe_theory.tables_data import ROBUSTNESS
from mixupe_theory.training.outcomes import measured
from mixupe_theory.training.paired_tests import paired_test
from mixupe_theory.training.replication_text import as_text
from mixupe_theory.training.robustness import robustness

ROWS = tuple(ROBUSTNESS.rows)
METHODS["manifold mixup"] = {"method": "manifold_mixup"}


def examined(title, seed, error, worse, data="cifar10"):
    """A record whose error on the k-th deformation is ``worse`` k + 1 times above the clean one."""
    found = record([error], title, data=data, model="lenet", seed=seed, split={"seed": None, "by": "official"})
    found["examination"] = {"deformations": {name: error + worse * (k + 1) for k, name in enumerate(ROWS)}}
    return found


@pytest.fixture(scope="module")
def records():
    """On all deformations but the first MixupE loses less than the others."""
    generator = np.random.default_rng(0)
    return [
        examined(title, seed, 0.2 + generator.uniform(0, 0.004), worse)
        for title, worse in {"mixup": 0.05, "manifold mixup": 0.06, "MixupE deck": 0.04}.items()
        for seed in range(5)
    ]


def test_cells_are_accuracies_of_the_records(records):
    found = robustness([*records, examined("mixup", 0, 0.5, 0.0, data="cifar100")], "cifar10", "lenet")
    assert list(found.ours) == list(ROWS)
    of_mixup = [e for e in records if e["run"]["method"] == "mixup"]
    for k, name in enumerate(ROWS):
        values = [100 * (1 - e["summary"]["last"]["test_error"] - 0.05 * (k + 1)) for e in of_mixup]
        assert found.ours[name]["mixup"].mean == pytest.approx(np.mean(values))
        assert found.ours[name]["mixup"].ids == tuple(e["id"] for e in of_mixup)
    assert found.deck[ROWS[0]]["MixupE"].mean == 62.23


def test_comparisons_are_the_deck_s(records):
    """With mixup and manifold mixup; where MixupE's accuracy is the higher one, the difference is positive."""
    found = robustness(records, "cifar10", "lenet")
    assert {c.baseline for c in found.comparisons} == {"mixup", "manifold mixup"}
    for c in found.comparisons:
        samples = found.samples[c.row]
        first, second = (samples[title].values for title in (c.title, c.baseline))
        assert c.test == paired_test(first, second)
        assert c.test.difference > 0
        assert c.significant
        assert c.deck == pytest.approx(
            ROBUSTNESS.rows[c.row]["MixupE"][0]
            - ROBUSTNESS.rows[c.row][{"mixup": "Mixup"}.get(c.baseline, "Manifold Mixup")][0]
        )
    text = as_text(found)
    assert "test accuracy (%)" in text
    assert "62.23" in text
    assert "on average over rows +" in text
    assert not {"Wilcoxon", "Friedman"} & set(re.findall(r"\w+", text))  # its rows are of the same networks


def test_the_control_fails(records):
    """Differences the other way round are seen."""
    exchange = {"mixup": "mixupe", "mixupe": "mixup"}
    planted = [
        examined(
            "MixupE deck" if exchange.get(e["run"]["method"]) == "mixupe" else "mixup", e["run"]["seed"], 0.2, worse
        )
        for e, worse in zip(records, [0.05] * 5 + [0.06] * 5 + [0.04] * 5, strict=True)
        if e["run"]["method"] in exchange
    ]
    found = robustness(planted, "cifar10", "lenet")
    assert all(c.test.difference < 0 for c in found.comparisons)


def test_records_without_examination_are_refused(records):
    with pytest.raises(ValueError, match="records must have examined runs of lenet on cifar100, got 0 runs of it"):
        robustness(records, "cifar100", "lenet")
    bare = [record([0.2], "mixup", data="cifar10", model="lenet")]
    with pytest.raises(ValueError, match="got 1 runs of it"):
        robustness(bare, "cifar10", "lenet")


def test_anything_recorded_can_be_measured(records):
    found = measured(records, lambda entry: entry["examination"]["deformations"][ROWS[2]])["cifar10", "lenet"]
    assert set(found) == {"mixup", "manifold mixup", "MixupE deck"}
    expected = [e["examination"]["deformations"][ROWS[2]] for e in records if e["run"]["method"] == "mixup"]
    np.testing.assert_array_equal(found["mixup"].values, expected)
    assert found["mixup"].overlap == 0.0
