"""Table 6's own comparisons, on made-up errors with differences planted in them."""

import numpy as np
import pytest
from outcome_cases import fold

from mixupe_theory.figures.learning_curves import curves_data, draw_curves
from mixupe_theory.figures.selections import draw_selections, selection_data
from mixupe_theory.plotting import save_figure
from mixupe_theory.tables_data import GRAPHS as TABLE
from mixupe_theory.training.records import summary
from mixupe_theory.training.replication import Row, replicate
from mixupe_theory.training.studies.graphs import FULL, GRAPHS, shortened

TITLES = ("ERM", "mixup", "MixupE deck")


def made_up(run, error):
    """A record of a run whose test error is the same after every epoch."""
    epochs = [{"epoch": k, "test_error": error, "test_loss": 1.0} for k in range(run.recipe.epochs)]
    split = {"fold": run.fold, "train": 90, "test": 10}
    return {"id": run.id, "run": run.as_dict(), "split": split, "summary": summary(epochs), "epochs": epochs}


@pytest.fixture(scope="module")
def planted():
    """The short schedule is 4 points worse for MixupE, on MUTAG."""
    noise = np.random.default_rng(0)
    return [
        made_up(run, 0.2 + 0.001 * noise.standard_normal() + 0.04 * (not GRAPHS.main(run) and "MixupE" in run.title))
        if run.data == "mutag"
        else made_up(run, 0.3)
        for run in GRAPHS.runs
        if run.data in FULL
    ]


@pytest.mark.parametrize("selection", GRAPHS.selections)
def test_what_fewer_epochs_cost_is_found(planted, selection):
    found = shortened(planted, selection)
    assert list(found) == list(FULL)
    assert all(list(tests) == list(TITLES) for tests in found.values())
    for title, test in found["mutag"].items():
        assert test.difference == pytest.approx(4.0 * (title == "MixupE deck"), abs=0.3)  # ten folds, 0.14 points each
        assert (test.p < 1e-6) == (title == "MixupE deck")
        assert test.n == 10
    assert all(test.difference == 0 and test.p == 1 for test in found["ptc_mr"].values())


def test_a_missing_run_is_named(planted):
    with pytest.raises(ValueError, match="must have one inner run"):
        shortened([entry for entry in planted if not entry["run"]["held_out"]], "nested")


@pytest.fixture(scope="module")
def records():
    """Inner runs do best after the first epoch, final ones after the second, by 10 points."""
    curves = {0.0: (0.3, 0.2), 0.1: (0.1, 0.4)}
    return [
        fold([error + 0.01 * k for error in curve], k, title, held_out=held_out)
        for k in range(10)
        for title in TITLES
        for held_out, curve in curves.items()
    ]


@pytest.fixture(scope="module")
def tables(records):
    rows = {name: Row("nci1", "gin", absent="left out") for name in TABLE.rows} | {"MUTAG": Row("mutag", "gin")}
    return {selection: replicate(TABLE, rows, records, selection) for selection in GRAPHS.selections}


def test_what_the_selection_does_is_drawn(tables, tmp_path):
    data = selection_data(tables)
    assert data["rows"].tolist() == ["MUTAG"]
    np.testing.assert_allclose(data["mean"], [[[34.5] * 3], [[24.5] * 3]])
    np.testing.assert_allclose(data["deck"], [[10.15, 10.67, 10.06]])
    save_figure("toy_selections", data, draw_selections, folder=tmp_path)
    figure = draw_selections(data)
    for k, axis in enumerate(figure.axes):
        at = [container[0].get_xdata()[0] for container in axis.containers]
        np.testing.assert_allclose(at, data["mean"][:, 0, k] - data["deck"][0, k])


def test_curves_are_the_final_runs(tables, records, tmp_path):
    """30 and 20 % and a point more from fold to fold; inner runs, at 10 and 40 %, do not count."""
    data = curves_data(tables["nested"], records)
    np.testing.assert_allclose(data["mean"], [[[34.5, 24.5]] * 3])
    save_figure("toy_curves", data, draw_curves, folder=tmp_path)
