"""Errors from records, under each selection, on made-up records whose answers are counted by hand."""

import copy

import numpy as np
import pytest
from outcome_cases import fold, record

from mixupe_theory import paths
from mixupe_theory.training import records
from mixupe_theory.training.outcomes import SELECTIONS, errors

FOLDS = [[0.3, 0.1, 0.2], [0.2, 0.4, 0.1], [0.4, 0.1, 0.3]]  # means 0.3, 0.2, 0.2: the second and third epoch tie
HELD_OUT = [[0.1, 0.2, 0.3], [0.2, 0.1, 0.1], [0.2, 0.2, 0.3]]
LOSSES = [[1.0, 1.0, 1.0], [1.0, 0.9, 0.8], [1.0, 1.0, 0.1]]  # decide for fold 1; in fold 2 the first of equals counts


def folds(title="ERM", **settings):
    final = [fold(curve, k, title, **settings) for k, curve in enumerate(FOLDS)]
    inner = [
        fold(curve, k, title, losses=losses, held_out=0.1, **settings)
        for k, (curve, losses) in enumerate(zip(HELD_OUT, LOSSES, strict=True))
    ]
    return final, inner


def of_erm(found, data=("mutag", "gin")):
    return found[data]["ERM"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("last", [20, 10, 30]),
        ("mean_of_last_10", [20, 70 / 3, 80 / 3]),
        ("best", [10, 10, 10]),
        ("optimistic", [10, 40, 10]),  # the second epoch of all
        ("nested", [30, 10, 40]),  # the first, the third, the first
    ],
)
def test_selections_by_hand(selection, expected):
    final, inner = folds()
    sample = of_erm(errors([*inner, *final[::-1]], selection))  # in any order
    np.testing.assert_allclose(sample.values, expected, rtol=1e-12)
    assert sample.by == "fold"
    assert sample.units.tolist() == [0, 1, 2]
    assert sample.overlap == pytest.approx(1 / 9)
    used = final + (inner if selection == "nested" else [])
    assert sample.ids == tuple(entry["id"] for entry in used)


def test_each_selection_reads_what_it_should():
    """Planted: another epoch's test error, another held-out error, change what depends on them and nothing else."""
    final, inner = folds()
    before = {name: of_erm(errors([*final, *inner], name)).values for name in SELECTIONS}
    planted = copy.deepcopy([*final, *inner])
    planted[4]["epochs"][0]["test_error"] = 0.0  # fold 1, held out: the first epoch is now the best
    changed = {name: of_erm(errors(planted, name)).values for name in SELECTIONS}
    assert [name for name in SELECTIONS if (changed[name] != before[name]).any()] == ["nested"]
    assert changed["nested"][1] == pytest.approx(20)
    planted[2]["epochs"][2]["test_error"] = 0.29  # fold 2: the mean of the third epoch is now below the second's
    np.testing.assert_allclose(of_erm(errors(planted, "optimistic")).values, [20, 10, 29])


def test_the_optimistic_epoch_is_each_method_s_own():
    other = [fold(curve[::-1], k, "mixup") for k, curve in enumerate(FOLDS)]
    found = errors([*folds()[0], *other], "optimistic")["mutag", "gin"]
    np.testing.assert_allclose(found["ERM"].values, [10, 40, 10])
    np.testing.assert_allclose(found["mixup"].values, [20, 10, 30])  # the first of the tied again


def test_ties_survive_rounding():
    """0.1 + 0.2 + 0.3 in another order is another float, and the same mean."""
    curves = [[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]]
    assert np.mean([c[0] for c in curves]) != np.mean([c[1] for c in curves])
    final = [fold(curve, k) for k, curve in enumerate(curves)]
    np.testing.assert_allclose(of_erm(errors(final, "optimistic")).values, [10, 20, 30])


def test_trials_are_left_out_and_seeds_sorted():
    runs = [record([0.5, error], seed=seed) for seed, error in ((2, 0.3), (0, 0.1), (1, 0.2))]
    trial = record([0.0, 0.0], seed=0, held_out=0.2)
    trial["epochs"] = []
    sample = of_erm(errors([trial, *runs]), ("iris", "mlp"))
    assert (sample.by, sample.units.tolist()) == ("seed", [0, 1, 2])
    np.testing.assert_allclose(sample.values, [10, 20, 30])
    assert sample.overlap == 0.25  # each seed has a split of its own


def test_one_official_split_does_not_overlap():
    runs = [record([0.1], data="mnist_784", seed=seed, split={"by": "official"}) for seed in range(3)]
    assert of_erm(errors(runs), ("mnist_784", "mlp")).overlap == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 5}, r"iris, mlp, mixup: .* several recipe.epochs \(2, 5\); choose among the records first"),
        ({"alpha": 0.2}, r"several alpha \(0.2, 1.0\)"),
        ({"seed": 0, "model_options": {"hidden": 8}}, "several model_options"),
    ],
)
def test_runs_of_one_method_must_have_one_setting(change, message):
    runs = [record([0.1, 0.2], "mixup", seed=0), record([0.1, 0.2], "mixup", **{"seed": 1} | change)]
    with pytest.raises(ValueError, match=message):
        errors(runs)


def test_where_a_recipe_comes_from_is_no_setting():
    runs = [record([0.1], seed=seed) for seed in range(2)]
    runs[1]["run"]["recipe"]["origin"] = "elsewhere"
    assert len(of_erm(errors(runs), ("iris", "mlp")).values) == 2


def test_what_is_missing_or_double_is_refused():
    final, inner = folds()
    with pytest.raises(ValueError, match=rf"run {final[1]['id']} \(seed 0, fold 1\) must have one inner run .* got 0"):
        errors([*final, inner[0], inner[2]], "nested")
    with pytest.raises(ValueError, match=r"must have one inner run .* got 2"):
        errors([*final, *inner, fold(HELD_OUT[0], 0, held_out=0.2)], "nested")
    other = [fold(curve, k, "mixup", alpha=0.2, held_out=0.1) for k, curve in enumerate(HELD_OUT)]
    with pytest.raises(ValueError, match="must have one inner run"):  # those of other settings are none
        errors([*(fold(curve, k, "mixup") for k, curve in enumerate(FOLDS)), *other], "nested")
    with pytest.raises(ValueError, match=r"each fold must occur once, got \[2\]"):
        errors([*final, copy.deepcopy(final[2])])
    with pytest.raises(ValueError, match=r"one seed to be paired, got fold: seeds \{1: \[0, 7\]\}"):
        errors([*final, fold([0.1], 1, "mixup", seed=7, epochs=3)])
    empty = copy.deepcopy(final)
    empty[0]["epochs"] = []
    with pytest.raises(ValueError, match=r"equally many epochs, got \[0, 3\]"):
        errors(empty, "optimistic")
    short = copy.deepcopy(inner)
    for entry in short:
        del entry["epochs"][0]
    with pytest.raises(ValueError, match="equally many epochs, got 3 and 2"):
        errors([*final, *short], "nested")
    with pytest.raises(ValueError, match="'nested' is for folds"):
        errors([record([0.1])], "nested")
    with pytest.raises(ValueError, match="selection must be one of"):
        errors([], "first")


def test_committed_records_give_what_their_summaries_say():
    """Pendigits' five final seeds of five methods; the trials of the choice of hyper-parameters are left out."""
    found = records.read(paths.FIGURE_DATA / "runs" / "pendigits.jsonl")
    samples = errors(found)["pendigits", "mlp"]
    assert len(samples) == 5
    by_id = {entry["id"]: entry for entry in found}
    for sample in samples.values():
        assert sample.units.tolist() == [0, 1, 2, 3, 4]
        expected = [100 * by_id[name]["epochs"][-1]["test_error"] for name in sample.ids]
        np.testing.assert_array_equal(sample.values, expected)
