"""The deck's tables beside made-up runs with differences planted in them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from outcome_cases import ROWS, fold, record, table
from scipy import stats

from mixupe_theory.figures.replication import (
    draw_intervals,
    draw_ranks,
    indistinguishable,
    interval_data,
    ranks_data,
)
from mixupe_theory.plotting import save_figure
from mixupe_theory.summary_tests import holm
from mixupe_theory.tables_data import GRAPHS, ROBUSTNESS, TABULAR
from mixupe_theory.training.paired_tests import paired_test
from mixupe_theory.training.replication import Row, replicate
from mixupe_theory.training.replication_text import WIDTH, as_markdown, as_text

SHIFTS = {"ERM": 0.0, "mixup": -0.02, "MixupE deck": -0.04, "MixupE official_v3": -0.02, "mixup + clean forward": -0.02}
RECORDS = table(SHIFTS)
ABSENT = {name: Row("volkert", "mlp", absent="not trained") for name in TABULAR.rows}
WHERE = ABSENT | {name: Row(data, "mlp") for name, data in ROWS.items()}


@pytest.fixture(scope="module")
def replication():
    return replicate(TABULAR, WHERE, RECORDS)


def errors_of(records, data, settings):
    chosen = [e for e in records if e["run"]["data"] == data and settings.items() <= e["run"].items()]
    return [100 * e["summary"]["last"]["test_error"] for e in sorted(chosen, key=lambda e: e["run"]["seed"])]


def test_cells_come_from_the_records(replication):
    deck = {"method": "mixupe", "variant": "deck"}
    cell = replication.ours["CMC"]["MixupE deck"]
    values = errors_of(RECORDS, "cmc", deck)
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.spread == pytest.approx(2.776445 * np.std(values, ddof=1) / np.sqrt(5), rel=1e-6)
    assert cell.n == 5
    assert set(cell.ids) == {e["id"] for e in RECORDS if e["run"]["data"] == "cmc" and deck.items() <= e["run"].items()}
    assert replication.ours["Volkert"] == {}
    assert list(replication.ours) == list(TABULAR.rows)


def test_comparisons_are_paired_and_corrected_over_the_table(replication):
    assert len(replication.comparisons) == 3 * 2 * 2
    found = {(c.row, c.title, c.baseline): c for c in replication.comparisons}
    first = errors_of(RECORDS, "letter", {"method": "mixupe", "variant": "deck"})
    second = errors_of(RECORDS, "letter", {"method": "erm"})
    c = found["Letter", "MixupE deck", "ERM"]
    assert c.test == paired_test(first, second, 0.25)  # each seed has a split of its own: 30 test, 120 train
    np.testing.assert_allclose([c.p_holm for c in replication.comparisons], holm([c.test.p for c in found.values()]))
    assert c.deck == pytest.approx(4.04 - 4.56)
    assert found["Letter", "MixupE deck", "mixup"].deck == pytest.approx(4.04 - 3.71)


def test_planted_differences_are_found_and_no_others(replication):
    significant = {(c.title, c.baseline): 0 for c in replication.comparisons}
    for c in replication.comparisons:
        significant[c.title, c.baseline] += c.significant
    assert significant == {
        ("MixupE deck", "ERM"): 3,
        ("MixupE deck", "mixup"): 3,
        ("MixupE official_v3", "ERM"): 3,
        ("MixupE official_v3", "mixup"): 0,
    }


def test_a_wrong_pairing_is_noticed():
    """Planted: ERM's seeds exchanged. Means stay, and the seeds' common part no longer cancels."""
    exchanged = [
        {**e, "run": {**e["run"], "seed": 4 - e["run"]["seed"]}} if e["run"]["method"] == "erm" else e for e in RECORDS
    ]
    against = [c for c in replicate(TABULAR, WHERE, exchanged).comparisons if c.baseline == "ERM"]
    paired = [c for c in replicate(TABULAR, WHERE, RECORDS).comparisons if c.baseline == "ERM"]
    np.testing.assert_allclose([c.test.difference for c in against], [c.test.difference for c in paired])
    assert all(a.test.half_width > b.test.half_width for a, b in zip(against, paired, strict=True))


def test_ranks_and_rows(replication):
    """The control is no competitor; the rows' order of means is the planted one but for two equal methods."""
    found = replication.ranks()
    assert found.titles == ("ERM", "mixup", "MixupE deck", "MixupE official_v3")
    assert found.average[[0, 2]].tolist() == [4, 1]
    assert found.rows == 3
    assert replication.signed_rank("MixupE deck", "ERM") == 0.25  # 2/2^3


def test_rows_together(replication):
    """Against NumPy and SciPy: Student's t of the row means by seed, with Nadeau and Bengio's variance."""
    first, second = (
        np.mean([errors_of(RECORDS, data, {"method": method, "variant": variant}) for data in ROWS.values()], axis=0)
        for method, variant in (("mixupe", "deck"), ("erm", None))
    )
    test, d = replication.on_average("MixupE deck", "ERM"), first - second
    assert test.difference == pytest.approx(d.mean())
    assert test.p_plain == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert test.half_width == pytest.approx(2.776445 * d.std(ddof=1) * np.sqrt(1 / 5 + 30 / 120), rel=1e-6)
    assert test.p < 0.05 < replication.on_average("MixupE official_v3", "mixup").p  # planted, and not planted
    alone = replication.on_average("MixupE deck", "ERM", ["CMC"])
    assert alone == next(c.test for c in replication.comparisons if (c.row, c.title) == ("CMC", "MixupE deck"))
    fewer = [e for e in RECORDS if e["run"]["data"] != "cmc" or e["run"]["seed"]]
    assert replicate(TABULAR, WHERE, fewer).on_average("MixupE deck", "ERM") is None  # CMC without seed 0


def test_fractions_become_points_and_folds_use_the_corrected_variance():
    shifts = {"ERM": 0.1, "mixup": 0.08, "MixupE deck": 0.05}
    generator = np.random.default_rng(4)
    records = [
        fold([shift + generator.uniform(0, 0.05)], k, title) for k in range(10) for title, shift in shifts.items()
    ]
    rows = {name: Row("nci1", "gin", absent="left out") for name in GRAPHS.rows} | {"MUTAG": Row("mutag", "gin")}
    found = replicate(GRAPHS, rows, records, "optimistic")
    assert found.deck["NCI1"]["MixupE"].spread == pytest.approx(1.0)
    assert all(c.test.p > c.test.p_plain for c in found.comparisons)
    assert found.ours["MUTAG"]["ERM"].n == 10


def test_text_says_it_all(replication):
    text = as_text(replication)
    assert max(map(len, text.splitlines())) <= 150 == WIDTH
    (letter,) = (line for line in text.splitlines() if line.startswith("Letter"))
    assert "4.56±0.27" in letter
    cells = replication.ours["Letter"]
    assert f"{cells['MixupE deck']} −e−m" in letter
    assert f"{cells['MixupE official_v3']} −e " in letter
    assert letter.split()[-1] == "5"
    assert "MixupE deck against ERM: 3 significantly below, 0 above, of 3 rows" in text
    assert text.splitlines()[-1].endswith("Abalone, Volkert (not trained)")
    markdown = as_markdown(replication).splitlines()
    assert {line.count("|") for line in markdown[: 2 + len(TABULAR.rows)]} == {11}
    assert sum(line.startswith("- ") for line in markdown) == len(markdown) - 3 - len(TABULAR.rows)


def test_the_control_is_not_tested_where_it_is_mixup_once_more():
    """Without BatchNorm the control is mixup, run by run."""
    twins = [
        {**e, "id": f"twin of {e['id']}", "run": {**e["run"], "method": "mixup_clean_forward"}}
        for e in RECORDS
        if e["run"]["method"] == "mixup" and e["run"]["data"] == "cmc"
    ]
    others = [e for e in RECORDS if (e["run"]["method"], e["run"]["data"]) != ("mixup_clean_forward", "cmc")]
    found = replicate(TABULAR, WHERE, others + twins, baselines=("ERM", "mixup", "mixup + clean forward"))
    against = {row: {c.baseline for c in found.comparisons if c.row == row} for row in ("CMC", "Letter")}
    assert against == {"CMC": {"ERM", "mixup"}, "Letter": {"ERM", "mixup", "mixup + clean forward"}}


def test_higher_errors_are_marked_as_such():
    worse = replicate(TABULAR, WHERE, table({"ERM": 0.0, "mixup": -0.001, "MixupE deck": 0.04}))
    assert re.search(r"CMC.*\+e\+m", as_text(worse))
    assert "MixupE deck against ERM: 0 significantly below, 3 above, of 3 rows" in as_text(worse)


def test_one_run_has_no_interval_and_no_test():
    single = replicate(TABULAR, WHERE, [entry for entry in RECORDS if entry["run"]["seed"] == 0])
    assert single.comparisons == ()
    assert "±" not in str(single.ours["CMC"]["ERM"])
    assert "against" not in as_text(single)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must print errors, 'robustness' does not"):
        replicate(ROBUSTNESS, {}, [])
    with pytest.raises(ValueError, match=r"missing: \['Iris'\]"):
        replicate(TABULAR, {k: v for k, v in WHERE.items() if k != "Iris"} | {"iris": WHERE["Iris"]}, RECORDS)
    with pytest.raises(ValueError, match="row 'Volkert' must have final runs of mlp on volkert, got none"):
        replicate(TABULAR, WHERE | {"Volkert": Row("volkert", "mlp")}, RECORDS)
    with pytest.raises(ValueError, match="must have runs of mixup to compare MixupE with"):
        replicate(TABULAR, WHERE, [e for e in RECORDS if e["run"]["method"] != "mixup"])
    with pytest.raises(ValueError, match="row 'Iris' must have the same seeds or folds for all methods"):
        replicate(TABULAR, WHERE, [*RECORDS, record([0.1], "ERM", seed=9)])


def test_arrays_of_the_intervals(replication):
    data = interval_data(replication)
    assert data["rows"].tolist() == [name for name in TABULAR.rows if name in ROWS]
    assert data["titles"].tolist() == ["MixupE deck", "MixupE official_v3"]
    assert data["baselines"].tolist() == ["ERM", "mixup"]
    for c in replication.comparisons:
        place = tuple(
            data[key].tolist().index(name)
            for key, name in (("rows", c.row), ("baselines", c.baseline), ("titles", c.title))
        )
        assert data["at"][:, *place].tolist() == [c.test.difference, c.test.low, c.test.high]
        assert data["sure"][place] == c.significant
        assert data["deck"][place[:2]] == c.deck


def test_groups_that_nemenyi_does_not_distinguish():
    assert indistinguishable(np.array([1.0, 1.4, 1.8, 4.0]), 1.0) == [(0, 2)]
    assert indistinguishable(np.array([1.0, 2.0, 3.0]), 1.0) == []
    assert indistinguishable(np.array([1.0, 1.9, 2.8]), 1.0) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(("data", "draw"), [(interval_data, draw_intervals), (ranks_data, draw_ranks)])
def test_figures_can_be_stored_and_compared(data, draw, replication, tmp_path):
    (tmp_path / "data").mkdir()
    saved = save_figure("made_up", data(replication), draw, folder=tmp_path)
    assert saved.rewritten
    assert saved.png.stat().st_size <= 150_000
    assert not save_figure("made_up", data(replication), draw, folder=tmp_path).rewritten
    changed = replace(replication, comparisons=replication.comparisons[::-1][1:], ours={**replication.ours, "CMC": {}})
    assert save_figure("made_up", data(changed), draw, folder=tmp_path).rewritten
