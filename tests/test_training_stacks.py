"""Runs trained together end where each ends alone: weights, curves, records."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from training_cases import features, graphs, register

from mixupe_theory.training import checkpoints, records
from mixupe_theory.training.execution import execute, trained_network
from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.runs import Run
from mixupe_theory.training.stacks import trainer as stack_module
from mixupe_theory.training.stacks.execution import execute_together
from mixupe_theory.training.stacks.networks import StackedNetworks
from mixupe_theory.training.stacks.trainer import DIGITS, MEASURED, StackTrainer, stack_key
from mixupe_theory.training.streams import own_torch
from mixupe_theory.training.sweeps import sweep
from mixupe_theory.training.trainer import Trainer

register()
CPU = torch.device("cpu")
METHODS = (
    ("mixupe", "deck", 1.0, 0.3),
    ("erm", None, None, None),
    ("mixup", None, 0.5, None),
    ("mixup_clean_forward", None, 1.0, None),
    ("mixupe", "official_v3", 0.3, 0.2),
    ("mixupe", "deck_detached", 0.3, 2.0),
)
ADAM = Recipe(epochs=3, batch_size=16, learning_rate=0.02, optimizer="adam", drops=(2,))
# Adam divides by the root of squared gradients, and so blows up the rounding of those that are 0, as GIN has
SGD = replace(ADAM, optimizer="sgd", learning_rate=0.005, steps_per_epoch=4)
TOLERANCE = 1e-10  # float64; a hundred steps' rounding, in nets of weights of order 1


def mlp_runs():
    recipes = (ADAM, replace(ADAM, learning_rate=0.05, weight_decay=1e-2))
    common = {"data": "toy_features", "model": "mlp", "model_options": {"hidden": [8, 8]}, "precision": "float64"}
    return [
        Run(method=m, variant=v, alpha=alpha, eta=eta, seed=seed, recipe=recipe, **common)
        for seed, recipe, (m, v, alpha, eta) in product((0, 1), recipes, METHODS)
    ]


def gin_runs():
    """Some of them inner runs, with another training part; dropout draws the same masks for all."""
    options = {"hidden": 5, "dropout": 0.5}
    common = {"data": "toy_graphs", "model": "gin", "model_options": options, "precision": "float64", "recipe": SGD}
    return [
        Run(method=m, variant=v, alpha=alpha, eta=eta, held_out=held_out, **common)
        for held_out, (m, v, alpha, eta) in product((0.0, 0.2), METHODS)
    ]


CASES = {"mlp": (mlp_runs, features), "gin": (gin_runs, graphs)}


def distance(runs, load):
    """The largest difference of weights, and of what is recorded, between runs together and alone."""
    together = StackTrainer(runs, lambda run: load(), CPU)
    together.advance()
    weights, curves = [], []
    for member in together.members():
        alone = Trainer(member.run, load(), CPU)
        alone.advance()
        pairs = zip(alone.model.state_dict().values(), member.model.state_dict().values(), strict=True)
        weights += [(a - b).abs().max().item() for a, b in pairs]
        curves += [
            abs(a[name] - b[name]) / max(1, abs(a[name]))
            for a, b in zip(alone.history, member.history, strict=True)
            for name in MEASURED
        ]
    return max(weights), max(curves)


@pytest.mark.parametrize("case", CASES)
def test_together_as_alone(case):
    make, load = CASES[case]
    weights, curves = distance(make(), load)
    assert weights < TOLERANCE
    assert curves < 10.0 ** (1 - DIGITS)  # of the rounding for the record


def plant_swapped_lambda(monkeypatch):
    right = stack_module.mix
    monkeypatch.setattr(stack_module, "mix", lambda t, partner, lam: right(t, partner, 1 - lam))


def plant_no_scale(monkeypatch):
    monkeypatch.setattr(stack_module, "eta_hat", lambda mixup, penalty, eta: torch.ones_like(mixup))


def plant_recipes_in_another_order(monkeypatch):
    right = StackedNetworks.__init__

    def wrong(self, networks, recipes):
        right(self, networks, recipes)
        self._places = torch.arange(len(networks))

    monkeypatch.setattr(StackedNetworks, "__init__", wrong)


def plant_one_order_for_all_seeds(monkeypatch):
    right = stack_module.Order
    monkeypatch.setattr(stack_module, "Order", lambda recipe, n, seed: right(recipe, n, 0))


@pytest.mark.parametrize(
    "plant",
    [plant_swapped_lambda, plant_no_scale, plant_recipes_in_another_order, plant_one_order_for_all_seeds],
)
def test_planted_errors_are_noticed(plant, monkeypatch):
    plant(monkeypatch)
    weights, _ = distance(mlp_runs(), features)
    assert weights > 1e4 * TOLERANCE


def test_dropout_of_another_seed_is_noticed(monkeypatch):
    right = stack_module.seed_torch
    monkeypatch.setattr(stack_module, "seed_torch", lambda seed, *where: right(seed + 1, *where))
    weights, _ = distance(gin_runs(), graphs)
    assert weights > 1e4 * TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_taken_up_it_ends_with_the_same_bits(case, tmp_path):
    make, load = CASES[case]
    runs = make()[:6]
    whole, half, again = (StackTrainer(runs, lambda run: load(), CPU) for _ in range(3))
    whole.advance()
    with own_torch(CPU):
        while half.position < 2:
            half.one_step()
    checkpoints.save(tmp_path, half.position, half.state())
    again.load(checkpoints.load_newest(tmp_path))
    assert again.position == 2
    again.advance()
    for one, other in zip(whole.members(), again.members(), strict=True):
        assert all(map(torch.equal, one.model.state_dict().values(), other.model.state_dict().values()))
        assert [entry["test_loss"] for entry in one.history] == [entry["test_loss"] for entry in other.history]
    with pytest.raises(ValueError, match="belongs to other runs"):
        StackTrainer(runs[1:], lambda run: load(), CPU).load(half.state())


def test_a_diverging_run_does_not_stop_the_others(tmp_path):
    good = Run(data="toy_features", model="mlp", recipe=ADAM)
    bad = replace(good, recipe=replace(ADAM, learning_rate=1e30))
    first, second = execute_together([good, bad], tmp_path)
    assert first["id"] == good.id
    assert first["together"] == 2
    assert second.startswith(f"{bad}: the loss is not finite in epoch")


def test_a_sweep_of_stacks_records_each_run_once(tmp_path, monkeypatch):
    """Two stacks, since the epochs differ; the records are those of runs alone, but for how they were made."""
    runs = [
        Run(data="toy_features", model="mlp", method=method, seed=seed, recipe=replace(ADAM, epochs=epochs))
        for method, seed, epochs in product(("erm", "mixup"), (0, 1), (1, 2))
    ]
    outcome = sweep(runs, tmp_path / "together", together=True)
    assert not outcome.failures
    assert [entry["id"] for entry in outcome.records] == [run.id for run in runs]
    assert len(list((tmp_path / "together").glob("stack-*"))) == 2
    for run, entry in zip(runs, outcome.records, strict=True):
        alone = execute(run, tmp_path / "alone")
        assert entry.keys() - alone.keys() == {"together"}
        assert entry["together"] == 4
        for name in ("run", "split", "parameters", "processes", "fast"):
            assert entry[name] == alone[name]
        networks = [trained_network(tmp_path / folder / run.id) for folder in ("together", "alone")]
        x = features().test.inputs
        assert torch.allclose(networks[0](x), networks[1](x), atol=1e-4)
        assert execute(run, tmp_path / "together") == entry
        for ours, theirs in zip(entry["epochs"], alone["epochs"], strict=True):
            assert ours["test_error"] == pytest.approx(theirs["test_error"], abs=1e-6)
            assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)  # float32
    monkeypatch.setattr("mixupe_theory.training.sweeps.execute_together", lambda *a, **k: pytest.fail("repeated"))
    assert sweep(runs, tmp_path / "together", together=True).records == outcome.records


def test_brief_records_have_no_epochs(tmp_path):
    (entry,) = sweep([Run(data="toy_features", model="mlp", recipe=ADAM)], tmp_path, together=True, brief=True).records
    assert entry["epochs"] == []
    assert entry["summary"]["last"]["test_error"] >= 0
    assert records.read(tmp_path / "records.jsonl") == [entry]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "toy_images", "model": "lenet"}, "images"),
        ({"method": "manifold_mixup"}, "manifold mixup"),
        ({"method": "mixupe", "variant": "exact"}, "MixupE exact"),
        ({"precision": "bfloat16"}, "bfloat16"),
        ({"loss": "bce"}, "bce"),
    ],
)
def test_what_cannot_be_stacked_is_refused(change, words, tmp_path):
    run = replace(Run(data="toy_features", model="mlp", recipe=ADAM), **change)
    with pytest.raises(ValueError, match=f"together must be False.*{words}"):
        sweep([run], tmp_path, together=True)


def test_runs_that_do_not_fit_together_are_refused():
    run = Run(data="toy_features", model="mlp", recipe=ADAM)
    other = replace(run, recipe=replace(ADAM, batch_size=8))
    assert stack_key(run) != stack_key(other)
    with pytest.raises(ValueError, match="runs must have the same data, model, epochs and batches"):
        StackTrainer([run, other], lambda run: features(), CPU)
    seeds = [Run(data="toy_graphs", model="gin", recipe=SGD, seed=seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="dropout, must have one seed"):
        StackTrainer(seeds, lambda run: graphs(), CPU)
