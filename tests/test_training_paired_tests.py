"""Paired tests against scipy's, brute force, hand computation and published values; simulations that can fail."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from mixupe_theory.summary_tests import holm
from mixupe_theory.training.paired_tests import critical_difference, paired_test, ranks, sign_flips, signed_rank


@pytest.mark.parametrize("n", [2, 5, 10])
def test_the_plain_test_is_scipy_s(n):
    generator = np.random.default_rng(n)
    first, second = generator.normal(3, 1, n), generator.normal(3.5, 1, n)
    found, expected = paired_test(first, second), stats.ttest_rel(first, second)
    assert found.p == found.p_plain == pytest.approx(expected.pvalue, rel=1e-10)
    np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(0.95), rtol=1e-10)
    assert found.difference == pytest.approx(np.mean(first) - np.mean(second))
    assert found.n == n


def test_the_corrected_test_by_hand():
    """Differences -1, -1, -2, -2 and 1/n + n_test/n_train = 1/4 + 1/3: t = -1.5 / sqrt(1/3 * 7/12)."""
    found = paired_test([1, 2, 3, 4], [2, 3, 5, 6], 1 / 3)
    error = np.sqrt(1 / 3 * 7 / 12)
    assert found.p == pytest.approx(2 * stats.t.cdf(-1.5 / error, 3))
    assert found.half_width == pytest.approx(3.182446 * error, rel=1e-6)  # t of 3 degrees of freedom, from a table
    assert found.p_plain == pytest.approx(stats.ttest_rel([1, 2, 3, 4], [2, 3, 5, 6]).pvalue)
    assert found.p_plain < found.p


def test_no_difference_and_the_same_everywhere():
    same = paired_test([1.0, 2.0], [1.0, 2.0], 0.1)
    assert (same.difference, same.half_width, same.p, same.p_plain, same.p_flips) == (0, 0, 1, 1, 1)
    shifted = paired_test([2.0, 3.0, 5.0], [1.0, 2.0, 4.0])
    assert (shifted.p, shifted.p_flips) == (0, 0.25)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_sign_flips_are_all_permutations(n):
    generator = np.random.default_rng(n)
    for differences in (generator.normal(0.5, 1, n), generator.integers(-2, 4, n).astype(float)):  # with ties
        sums = [
            abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=n)
        ]
        expected = np.mean([total >= abs(sum(differences)) - 1e-9 for total in sums])
        assert sign_flips(differences) == pytest.approx(expected, abs=1e-15)


def test_sign_flips_are_scipy_s_and_have_a_least_value():
    differences = np.random.default_rng(3).normal(0.4, 1, 9)
    expected = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flips(differences) == pytest.approx(expected.pvalue)
    assert sign_flips([1.0, 2.0, 3.0, 4.0, 100.0]) == 0.0625
    assert sign_flips(np.full(10, 0.1)) == 2 / 2**10  # sums that differ by rounding are equal


def test_signed_rank_is_scipy_s():
    """Its exact test without ties; with ties and zeros its permutation test over all signs."""
    generator = np.random.default_rng(5)
    first, second = generator.normal(0, 1, (2, 12))
    assert signed_rank(first, second) == pytest.approx(stats.wilcoxon(first, second, method="exact").pvalue)
    first, second = [4.0, 2.0, 7.0, 3.0, 5.0, 1.0, 8.0], [5.0, 1.0, 6.0, 3.0, 8.0, 4.0, 10.5]
    method = stats.PermutationMethod(n_resamples=np.inf)
    assert signed_rank(first, second) == pytest.approx(stats.wilcoxon(first, second, method=method).pvalue)
    assert signed_rank([1.0, 2.0, -3.0, -4.0, 0.0, 0.0, 0.0], np.zeros(7)) == 10 / 16  # ranks 1 to 4, zeros left out
    assert signed_rank([1.0, 0.1 + 0.2], [1.0, 0.3]) == 1  # differences that are rounding alone


def test_friedman_by_hand():
    """Ranks (1 2 3), (1 3 2), (1.5 1.5 3), (1 2 3); 12 * 4 / 12 * (sum of squares - 12) / (1 - 6 / 96)."""
    found = ranks("abc", [[1, 2, 3], [1, 3, 2], [2, 2, 4], [0.1, 0.2, 0.3]])
    np.testing.assert_allclose(found.average, [4.5 / 4, 8.5 / 4, 11 / 4])
    statistic = 4 * ((4.5**2 + 8.5**2 + 11**2) / 16 - 12) / (1 - 6 / 96)
    assert found.p == pytest.approx(np.exp(-statistic / 2))  # chi-square with 2 degrees of freedom
    assert (found.titles, found.rows) == (("a", "b", "c"), 4)
    assert ranks("abc", np.ones((4, 3))).p == 1


def test_critical_differences_are_demsar_s():
    """His table 5 (a): q at 5 % for 2 to 10 methods."""
    printed = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, q in enumerate(printed, start=2):
        assert critical_difference(k, 15) / np.sqrt(k * (k + 1) / 90) == pytest.approx(q, abs=1.01e-3)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"2 at least, got shapes \(1,\) and \(1,\)"):
        paired_test([1.0], [2.0])
    with pytest.raises(ValueError, match="one length"):
        paired_test([1.0, 2.0], [2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match="overlap must be"):
        paired_test([1.0, 2.0], [2.0, 3.0], -0.1)
    with pytest.raises(ValueError, match="1 to 16 numbers"):
        sign_flips(np.ones(17))
    with pytest.raises(ValueError, match="one length"):
        signed_rank([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="methods >= 3"):
        ranks("ab", np.ones((4, 2)))


TRIALS = 400


def p_values(shift, comparisons=12, n=5):
    """Of tables with a difference in the first comparison alone, (trials, comparisons)."""
    samples = np.random.default_rng(0).normal(0, 1, (TRIALS, comparisons, 2, n))
    samples[:, 0, 0] += shift
    return np.array([[paired_test(*pair).p for pair in table] for table in samples])


def test_holm_keeps_the_error_of_the_table_and_finds_a_planted_difference():
    """Three standard errors of 400 trials around 5 % are 3.3 points; without Holm 1 - 0.95^11 = 43 % of tables fail."""
    p = p_values(shift=8.0)
    adjusted = np.array([holm(table) for table in p])
    assert (adjusted[:, 1:] <= 0.05).any(1).mean() <= 0.083
    assert (adjusted[:, 0] <= 0.05).mean() >= 0.9
    assert (p[:, 1:] <= 0.05).any(1).mean() > 0.3
    assert (np.array([holm(table) for table in p_values(shift=0.0)]) <= 0.05).any(1).mean() <= 0.083


def test_overlapping_training_sets_make_the_plain_test_reject_too_often():
    """Differences with correlation 1/10, Nadeau and Bengio's n_test / (n_test + n_train) for ten folds."""
    generator = np.random.default_rng(1)
    n, correlation = 10, 0.1
    plain, corrected = 0, 0
    for _ in range(TRIALS):
        common = np.sqrt(correlation) * generator.normal()
        differences = common + np.sqrt(1 - correlation) * generator.normal(size=n)
        found = paired_test(differences, np.zeros(n), 1 / 9)
        plain += found.p_plain <= 0.05
        corrected += found.p <= 0.05
    assert corrected / TRIALS <= 0.083 < plain / TRIALS
