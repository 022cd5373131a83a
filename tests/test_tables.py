"""The printed tables: every number against the deck's text; tests and intervals against slow, obvious references."""

import itertools
import math
import re
from dataclasses import FrozenInstanceError

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.model_selection import StratifiedKFold

from mixupe_theory import paths, tables
from mixupe_theory.tables import (
    SPREADS,
    TABLES,
    cell,
    compare,
    fold_sizes,
    hedges_g,
    holm,
    least_fold_spread,
    not_best,
    paired,
    signed_rank,
    significant,
    welch,
)
from mixupe_theory.tables_data import GRAPH_CLASSES

DECK = paths.ROOT.parent / "shared" / "paper" / "mixupe-slides.txt"
CELL = re.compile(r"([\d.]+)(?: (?:±|\\pm) ([\d.]+))?$")

# --- the data


def deck_rows():
    """Lines of the deck's text with three tab-separated numbers, in order: (name, ((mean, ±), ...))."""
    found = []
    for line in DECK.read_text(encoding="utf-8").splitlines():
        name, *columns = re.sub(r"</?i>|\$", "", line).split("\t")
        matches = [CELL.match(column.strip()) for column in columns]
        if len(matches) == 3 and all(matches):
            found.append((name, tuple((float(m[1]), m[2] and float(m[2])) for m in matches)))
    return found


@pytest.mark.skipif(not DECK.is_file(), reason=f"the deck's text is not at {DECK}")
def test_every_number_is_the_printed_one():
    found = deck_rows()
    images, others = found[:9], found[9:]  # the image table has methods in its rows, the others in their columns
    networks = iter(TABLES["images"].rows.items())
    for k in range(0, 9, 3):
        assert [name for name, _ in images[k : k + 3]] == list(TABLES["images"].methods)
        for column in range(3):
            assert tuple(next(networks)[1].values()) == tuple(cells[column] for _, cells in images[k : k + 3])
    expected = [
        (table.printed_as.get(row, row), tuple(cells.values()))
        for table in list(TABLES.values())[1:]
        for row, cells in table.rows.items()
    ]
    assert others == expected


@pytest.mark.skipif(not DECK.is_file(), reason=f"the deck's text is not at {DECK}")
def test_titles_and_statements_are_the_printed_ones():
    text = DECK.read_text(encoding="utf-8")
    for table in TABLES.values():
        assert f"\n{table.slide}\n" in text
        assert table.runs_statement in text
        assert all(printed in text for printed in table.printed_as.values())
    assert [table.runs for table in TABLES.values() if table.runs_statement] == [5, 5, 10]


def test_tables_are_complete_and_cannot_be_changed():
    assert {id: (len(table.rows), len(table.methods)) for id, table in TABLES.items()} == {
        "images": (9, 3),
        "tabular": (15, 3),
        "speech": (3, 3),
        "graphs": (6, 3),
        "robustness": (8, 3),
    }
    for table in TABLES.values():
        assert "MixupE" in table.methods
        for cells in table.rows.values():
            assert tuple(cells) == table.methods
            for mean, spread in cells.values():
                assert 0 < mean < 100
                assert (spread is None) == (table.spread_unit is None)
                assert spread is None or 0 < spread < mean
    with pytest.raises(TypeError):
        TABLES["speech"].rows["LeNet"]["ERM"] = (0.0, 0.0)
    with pytest.raises(FrozenInstanceError):
        TABLES["speech"].runs = 3


# --- two means

MEANS, STDS, NUMBERS = st.floats(-50, 50), st.floats(0.01, 5), st.integers(2, 12)


def runs_with(mean, std, n, seed):
    """n numbers of exactly this mean and sample standard deviation."""
    z = np.random.default_rng(seed).normal(size=n)
    return mean + std * (z - z.mean()) / z.std(ddof=1)


@given(MEANS, STDS, NUMBERS, MEANS, STDS, NUMBERS, st.sampled_from([0.5, 0.95, 0.99]))
def test_welch_is_the_test_of_such_runs(mean_a, std_a, n_a, mean_b, std_b, n_b, confidence):
    found = welch(mean_a, std_a, n_a, mean_b, std_b, n_b, confidence=confidence)
    raw = stats.ttest_ind(runs_with(mean_a, std_a, n_a, 0), runs_with(mean_b, std_b, n_b, 1), equal_var=False)
    interval = raw.confidence_interval(confidence)
    assert found.p == pytest.approx(raw.pvalue, rel=1e-7, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-8, abs=1e-8)
    assert found.df == pytest.approx(raw.df, rel=1e-8)
    assert found.difference == mean_a - mean_b


@given(MEANS, STDS, MEANS, STDS, st.integers(3, 12), st.integers(0, 99))
def test_paired_is_the_test_of_such_pairs(mean_a, std_a, mean_b, std_b, n, seed):
    a, b = runs_with(mean_a, std_a, n, seed), runs_with(mean_b, std_b, n, seed + 100)
    correlation = float(np.corrcoef(a, b)[0, 1])
    found, raw = paired(mean_a, std_a, mean_b, std_b, n, correlation=correlation), stats.ttest_rel(a, b)
    interval = raw.confidence_interval(0.95)
    assert found.p == pytest.approx(raw.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-7, abs=1e-7)
    assert found.df == n - 1


def nct_cdf(t, nu, centre):
    """P(T <= t) of the non-central t law by its definition, (Z + centre)/sqrt(chi^2_nu/nu), at 20 digits."""
    with mpmath.workdps(20):
        scale = 2 * mpmath.mpf(nu / 2) ** (mpmath.mpf(nu) / 2) / mpmath.gamma(mpmath.mpf(nu) / 2)
        density = lambda w: scale * w ** (nu - 1) * mpmath.exp(-nu * w * w / 2)
        turn = max(centre / t, 0.01)
        ends = sorted({0, max(turn - 6 / t, 0), turn, turn + 6 / t, 1, 2, 4, 8})
        return float(mpmath.quad(lambda w: mpmath.ncdf(t * w - centre) * density(w), ends))


@pytest.mark.parametrize(
    ("difference", "std", "n"), [(0.09, 0.07, 5), (1.0, 0.05, 5), (5.0, 0.11, 5), (0.6, 5.5, 10), (0.2, 0.1, 2)]
)
def test_ends_of_hedges_g_solve_their_equations(difference, std, n):
    g, low, high = hedges_g(difference, std, n, 0.0, std, n)
    nu, per_d = 2 * n - 2, math.sqrt(n / 2)
    unbiased = float(mpmath.gamma(nu / 2) / mpmath.gamma((nu - 1) / 2) / mpmath.sqrt(nu / 2))
    assert g == pytest.approx(unbiased * difference / std, rel=1e-12)
    t = difference / std * per_d
    for end, probability in ((low, 0.975), (high, 0.025)):
        assert nct_cdf(t, nu, end / unbiased * per_d) == pytest.approx(probability, abs=1e-6)
    assert hedges_g(0.0, std, n, difference, std, n) == pytest.approx((-g, -high, -low), rel=1e-12)


@pytest.mark.parametrize(("effect", "n_a", "n_b"), [(0.0, 5, 5), (2.0, 5, 5), (-8.0, 4, 7)])
def test_interval_of_hedges_g_covers(effect, n_a, n_b):
    """95 % of 1500 draws, to 4 binomial standard errors; g itself is unbiased, to 4 standard errors."""
    rng, draws, found = np.random.default_rng(0), 1500, []
    for _ in range(draws):
        a, b = rng.normal(effect, 1, n_a), rng.normal(0, 1, n_b)
        found.append(hedges_g(a.mean(), a.std(ddof=1), n_a, b.mean(), b.std(ddof=1), n_b))
    g, low, high = np.array(found).T
    nu = n_a + n_b - 2
    unbiased = math.exp(math.lgamma(nu / 2) - math.lgamma((nu - 1) / 2)) / math.sqrt(nu / 2)
    held = np.mean((low <= unbiased * effect) & (unbiased * effect <= high))  # the interval is J times that of delta
    assert abs(held - 0.95) < 4 * math.sqrt(0.95 * 0.05 / draws)
    assert abs(g.mean() - effect) < 4 * g.std() / math.sqrt(draws)


# --- many comparisons


def closed_testing(p):
    """Adjusted p-values by definition: H_i is rejected once Bonferroni rejects every intersection that contains it."""
    m, adjusted = len(p), np.zeros(len(p))
    for size in range(1, m + 1):
        for chosen in itertools.combinations(range(m), size):
            local = min(1.0, size * min(p[i] for i in chosen))
            for i in chosen:
                adjusted[i] = max(adjusted[i], local)
    return adjusted


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.02, 1.0]), min_size=1, max_size=8))
def test_holm_is_closed_testing_with_bonferroni(p):
    np.testing.assert_allclose(holm(p), closed_testing(p), rtol=1e-12)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("a", "b"), [(0, 2), (1, 2), (0, 1)])
def test_signed_rank_is_enumeration(table, a, b):
    """All signs, one by one, on differences in hundredths, which are integers."""
    methods = TABLES[table].methods
    means = np.array([[round(100 * cells[m][0]) for m in methods] for cells in TABLES[table].rows.values()])
    d = means[:, a] - means[:, b]
    ranks = stats.rankdata(abs(d[d != 0]))
    sums = np.array(list(itertools.product((-1, 1), repeat=len(ranks)))) @ ranks
    expected = np.mean(abs(sums) >= abs(np.sign(d[d != 0]) @ ranks))
    assert signed_rank(table, methods[b], methods[a]) == pytest.approx(expected, rel=1e-12)


def test_signed_rank_without_ties_is_scipys():
    cells = TABLES["tabular"].rows.values()
    d = [round(c["MixupE"][0] - c["ERM"][0], 2) for c in cells]
    assert len({abs(v) for v in d}) == len(d)
    assert signed_rank("tabular", "ERM") == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-12)


# --- comparisons of a table


def test_compare_lists_every_row_and_baseline():
    found = compare("graphs", "Mixup", runs=4)
    assert [(c.row, c.baseline) for c in found] == list(itertools.product(TABLES["graphs"].rows, ("ERM", "MixupE")))
    for c in found:
        (mean, std), (other, other_std) = cell("graphs", c.row, "Mixup"), cell("graphs", c.row, c.baseline)
        test = welch(mean, 100 * std, 4, other, 100 * other_std, 4)
        assert (c.difference, c.low, c.high, c.p) == (test.difference, test.low, test.high, test.p)
        assert (c.g, c.g_low, c.g_high) == hedges_g(mean, 100 * std, 4, other, 100 * other_std, 4)
        assert c.better == (mean < other)
    assert [c.p_holm for c in found] == holm([c.p for c in found]).tolist()


def test_readings_of_the_spread():
    """At n runs: sample std s; population std s sqrt((n-1)/n); standard error s/sqrt(n)."""
    n, (mean, s), (other, s_other) = 5, cell("speech", "LeNet", "MixupE"), cell("speech", "LeNet", "ERM")
    for spread, factor in zip(SPREADS, (1, math.sqrt(n / (n - 1)), math.sqrt(n)), strict=True):
        expected = welch(mean, factor * s, n, other, factor * s_other, n).p
        assert compare("speech", spread=spread)[0].p == pytest.approx(expected, rel=1e-12)


@given(st.sampled_from(["images", "tabular", "speech", "graphs"]), st.integers(2, 30), st.sampled_from(SPREADS))
def test_counts_are_those_of_the_comparisons(table, runs, spread):
    found = compare(table, runs=runs, spread=spread, correlation=None if runs % 2 else 0.5)
    sure = [c.better for c in found if c.p_holm <= 0.05]
    counted = significant(table, runs=runs, spread=spread, correlation=None if runs % 2 else 0.5)
    assert (counted.better, counted.worse, counted.of) == (sum(sure), len(sure) - sum(sure), len(found))


@pytest.mark.parametrize("table", ["images", "tabular", "speech", "graphs"])
@pytest.mark.parametrize("side", [1, -1])
def test_rounding_of_the_printed_digits_decides_nothing(table, side):
    """All differences larger and all spreads smaller by the most that rounding allows, or the other way."""
    p, runs, unit = [], TABLES[table].runs or 5, 100 if table == "graphs" else 1
    half = 0.0005 if table in ("images", "speech") else 0.005
    for c in compare(table, runs=runs):
        pair = [cell(table, c.row, method) for method in ("MixupE", c.baseline)]
        spreads = [unit * (spread - side * half) for _, spread in pair]
        difference = max(abs(pair[0][0] - pair[1][0]) + side * 0.01, 0.0)
        p.append(welch(difference, spreads[0], runs, 0.0, spreads[1], runs).p)
    counted = significant(table, runs=runs)
    assert np.sum(holm(p) <= 0.05) == counted.better + counted.worse


def test_not_best_looks_at_the_right_end():
    for table in TABLES.values():
        sign = 1 if table.lower_is_better else -1
        beaten = {
            row
            for row, cells in table.rows.items()
            if sign * cells["MixupE"][0] > min(sign * m for m, _ in cells.values())
        }
        assert set(not_best(table)) == beaten
        for row, winner in not_best(table).items():
            assert sign * cell(table, row, winner)[0] < sign * cell(table, row, "MixupE")[0]


# --- folds


@given(st.lists(st.integers(10, 60), min_size=2, max_size=3))
def test_balanced_folds_are_scikit_learns(classes):
    y = np.repeat(np.arange(len(classes)), classes)
    found = [len(test) for _, test in StratifiedKFold(10).split(np.zeros((len(y), 1)), y)]
    assert sorted(found, reverse=True) == list(fold_sizes(classes))
    assert sum(fold_sizes(classes, by_class=True)) == sum(classes)


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.integers(0, 100), st.sampled_from([0.005, 0.5, 4.0]))
def test_least_spread_is_that_of_all_errors(sizes, mean, half_width):
    """Every combination of error counts, in plain floating point; the means are off the window's edge by rounding."""
    spreads = [
        np.std(rates)
        for errors in itertools.product(*(range(size + 1) for size in sizes))
        if abs(np.mean(rates := [100 * e / s for e, s in zip(errors, sizes, strict=True)]) - mean) <= half_width + 1e-9
    ]
    assert least_fold_spread(mean, sizes, half_width=half_width) == pytest.approx(
        min(spreads, default=math.inf), abs=1e-9
    )


@pytest.mark.parametrize(
    ("row", "method"), list(itertools.product(("NCI1", "IMDB-BINARY", "IMDB-MULTI"), ("ERM", "Mixup")))
)
def test_least_spread_of_equal_folds(row, method):
    """Ten folds of N: the total's last digit r decides, sqrt(r (10 - r))/(10 N)."""
    size, mean = sum(GRAPH_CLASSES[row]) // 10, cell("graphs", row, method)[0]
    r = round(mean * size / 10) % 10
    assert least_fold_spread(mean, [size] * 10) == pytest.approx(10 * math.sqrt(r * (10 - r)) / size, rel=1e-12)


# --- refusals

REFUSALS = {
    "table": (lambda: compare("graph"), ValueError, "table must be one of .*'graphs'.*did you mean 'graphs'"),
    "method": (lambda: compare("graphs", "Mixupe"), ValueError, "method must be one of .*'MixupE'"),
    "baseline": (lambda: signed_rank("graphs", "mixup"), ValueError, "baseline must be one of"),
    "row": (lambda: cell("graphs", "NCII", "ERM"), ValueError, "row must be one of .*'NCI1'"),
    "one run": (lambda: compare("speech", runs=1), ValueError, "runs must be an integer >= 2, got 1"),
    "half a run": (lambda: significant("speech", runs=2.5), TypeError, "runs must be an integer"),
    "no number of runs": (lambda: compare("images"), ValueError, "runs must be given: the deck prints no number"),
    "spread": (lambda: compare("speech", spread="sd"), ValueError, "spread must be one of .*'std'"),
    "unit": (lambda: compare("speech", spread_unit="points"), ValueError, "spread_unit must be one of"),
    "no ±": (lambda: compare("robustness", runs=5), ValueError, "'robustness' prints no ±"),
    "correlation": (lambda: compare("speech", correlation=1.0), ValueError, "correlation must be > -1 and < 1"),
    "confidence": (lambda: compare("speech", confidence=95), ValueError, "confidence must be"),
    "level": (lambda: significant("speech", level=5), ValueError, "level must be"),
    "negative std": (lambda: welch(1.0, -0.1, 5, 2.0, 0.1, 5), ValueError, "std_a must be a finite number >= 0"),
    "no std": (lambda: hedges_g(1.0, 0, 5, 2.0, 0, 5), ValueError, "std_a and std_b must not both be 0"),
    "mean": (lambda: welch(1.0, 0.1, 5, math.inf, 0.1, 5), ValueError, "mean_b must be finite"),
    "n": (lambda: welch(1.0, 0.1, 5, 2.0, 0.1, 1), ValueError, "n_b must be an integer >= 2"),
    "pairs": (lambda: paired(1.0, 0.1, 2.0, 0.1, 1, correlation=0.5), ValueError, "n must be an integer >= 2"),
    "no p": (lambda: holm([]), ValueError, "p_values must be a non-empty vector"),
    "p": (lambda: holm([0.5, 1.5]), ValueError, r"p_values must lie in \[0, 1\], got values from 0.5 to 1.5"),
    "words": (lambda: holm(["a"]), TypeError, "p_values must be"),
    "same column": (lambda: signed_rank("graphs", "ERM", "ERM"), ValueError, "baseline must differ from method"),
    "no fold": (lambda: least_fold_spread(10.0, []), ValueError, "sizes must hold at least one fold"),
    "many sizes": (lambda: least_fold_spread(10.0, range(5, 10)), ValueError, "sizes must hold at most four different"),
    "empty fold": (lambda: least_fold_spread(10.0, [5, 0]), ValueError, "sizes must be an integer >= 1"),
    "one fold": (lambda: fold_sizes((5, 5), 1), ValueError, "folds must be an integer >= 2"),
}


@pytest.mark.parametrize(("call", "error", "words"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_every_public_name_exists():
    assert all(hasattr(tables, name) for name in tables.__all__)
