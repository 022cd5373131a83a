"""Loss curves compared seed by seed: on made-up curves, and on bfloat16's fast way with and without planted errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from training_cases import SHORT, images

from mixupe_theory.objective import mix
from mixupe_theory.summary_tests import holm
from mixupe_theory.training.curves import compare
from mixupe_theory.training.records import record
from mixupe_theory.training.runs import Run
from mixupe_theory.training.trainer import Trainer

SEEDS = range(5)


def made_up(curves, **settings):
    return [
        {"run": {"seed": seed, "precision": "float32"} | settings, "epochs": [{"objective": v} for v in curve]}
        for seed, curve in enumerate(curves)
    ]


def test_the_comparison_is_paired_by_seed():
    """Against scipy's paired test; the order of records does not matter."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(5, 4))
    second = first + generator.normal(0.1, 0.1, (5, 4))
    found = compare(made_up(first), made_up(second, precision="bfloat16")[::-1])
    assert found.seeds.tolist() == [0, 1, 2, 3, 4]
    expected = [stats.ttest_rel(second[:, k], first[:, k]) for k in range(4)]
    np.testing.assert_allclose(found.p, holm([test.pvalue for test in expected]), rtol=1e-12)
    low, high = zip(*(test.confidence_interval(0.95) for test in expected), strict=True)
    np.testing.assert_allclose(found.difference - found.half_width, low, rtol=1e-10)
    np.testing.assert_allclose(found.difference + found.half_width, high, rtol=1e-10)
    np.testing.assert_allclose(found.spread, [np.std(first[:, k], ddof=1) for k in range(4)])


def test_equal_curves_are_the_same_and_shifted_ones_are_not():
    first = np.random.default_rng(1).normal(size=(5, 3))
    assert compare(made_up(first), made_up(first)).same
    assert compare(made_up(first), made_up(first)).p.tolist() == [1.0, 1.0, 1.0]
    shifted = first + [0.0, 0.0, 0.3] + np.random.default_rng(2).normal(0, 0.01, (5, 3))
    assert not compare(made_up(first), made_up(shifted)).same


def test_what_is_no_pair_is_refused():
    curves = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"same seeds, two at least, got \[0, 1, 2\] and \[0, 1\]"):
        compare(made_up(curves), made_up(curves[:2]))
    with pytest.raises(ValueError, match="two at least"):
        compare(made_up(curves[:1]), made_up(curves[:1]))
    with pytest.raises(ValueError, match=r"precision alone, got runs that differ in \['eta'\]"):
        compare(made_up(curves, eta=0.1), made_up(curves, eta=0.2))


@pytest.fixture(scope="module")
def plain():
    return curves_of("float32", fast=False)


def curves_of(precision, *, fast):
    """Five seeds of a small residual network with BatchNorm, MixupE "deck"; the compiler only traces nothing here."""
    records = []
    for seed in SEEDS:
        run = Run(
            data="toy_images",
            model="wrn28_10",
            model_options={"depth": 10, "widen_factor": 1},
            method="mixupe",
            eta=0.5,
            recipe=replace(SHORT, epochs=6, warmup=0, drops=(), learning_rate=0.05),
            seed=seed,
            precision=precision,
        )
        trainer = Trainer(run, images(), torch.device("cpu"), fast=fast)
        trainer.advance()
        records.append(record(trainer, {}, 0))
    return records


@pytest.fixture
def uncompiled(monkeypatch):
    """The joint pass as it stands: what it computes does not depend on who makes its kernels."""
    monkeypatch.setattr(torch, "compile", lambda f, **how: f)


def test_bfloat16_s_fast_way_has_the_curves_of_float32_s_plain_one(plain, uncompiled):
    """No epoch's loss differs significantly at 5 %, over all epochs; nor on clean data."""
    fast = curves_of("bfloat16", fast=True)
    assert [entry["fast"] for entry in fast] == [True] * 5
    for name in ("objective", "train_loss", "test_loss"):
        found = compare(plain, fast, name=name)
        assert found.same, (name, found.p)
    assert (found.first != found.second).all()  # the two are not one


PLANTED = {
    "one BatchNorm for both halves": ("separate_halves", lambda stage: None),
    "eta_hat left out": ("eta_hat", lambda mixup, penalty, eta: 1.0),
    "targets not mixed": ("mix", lambda t, partner, lam: t if t.ndim == 2 else mix(t, partner, lam)),
}


@pytest.mark.parametrize("error", PLANTED)
def test_the_comparison_sees_planted_errors(error, plain, uncompiled, monkeypatch):
    name, planted = PLANTED[error]
    monkeypatch.setattr(f"mixupe_theory.training.methods.{name}", planted)
    fast = curves_of("bfloat16", fast=True)
    assert not all(compare(plain, fast, name=curve).same for curve in ("objective", "train_loss", "test_loss"))
