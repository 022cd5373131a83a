"""The trainer against a loop written out with plain torch, and its refusals."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from training_cases import CLASSES, SHORT, features, graphs, images

from mixupe_theory.training import models
from mixupe_theory.training.execution import chosen_device, execute
from mixupe_theory.training.layout import memory_format
from mixupe_theory.training.methods import METHODS
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.recipes import RECIPES, Recipe
from mixupe_theory.training.runs import Run
from mixupe_theory.training.streams import stream
from mixupe_theory.training.trainer import Diverged, Trainer, mean_input

CPU = torch.device("cpu")
PLAIN = replace(SHORT, augment=False)


def finished(run, dataset):
    trainer = Trainer(run, dataset, CPU)
    trainer.advance()
    return trainer


def normalized(part):
    return (part.inputs.double() - 100.0) / 60.0


def plain_loop(run, dataset):
    """The same run, without the library's methods, batches, optimizer or evaluation."""
    seed, recipe = run.seed, run.recipe
    with torch.random.fork_rng():
        torch.manual_seed(int(stream(seed, "initialization").integers(2**63)))
        model = models.build(run.model, dataset.shape, CLASSES, **run.model_options).double()
    parameters, velocity = list(model.parameters()), None
    x, y = normalized(dataset.train), functional.one_hot(dataset.train.targets).double()
    curves = []
    for epoch in range(recipe.epochs):
        rate = recipe.learning_rate * (0.1 + epoch / recipe.warmup if epoch <= recipe.warmup else 1)
        rate *= math.prod(recipe.factor for drop in recipe.drops if epoch >= drop)
        order = stream(seed, "order", epoch).permutation(len(x))
        for step, start in enumerate(range(0, len(x), recipe.batch_size)):
            rows = torch.from_numpy(order[start : start + recipe.batch_size])
            xb, yb = x[rows], y[rows]
            model.train()
            if run.method != "erm":
                draws = stream(seed, "mixing", epoch, step)
                lam, partner = draws.beta(run.alpha, run.alpha), draws.permutation(len(xb))
                mixed = lam * xb + (1 - lam) * xb[partner]
                loss = -((lam * yb + (1 - lam) * yb[partner]) * model(mixed).log_softmax(1)).sum(1).mean()
            else:
                loss = -(yb * model(xb).log_softmax(1)).sum(1).mean()
            if run.method == "mixupe":
                f = model(xb)
                r = run.alpha / (2 * run.alpha + 1) * ((yb - f.softmax(1)) * f).sum(1).abs().mean()
                loss = (loss / (loss + run.eta * r)).detach() * (loss + run.eta * r)
            grads = [
                g + recipe.weight_decay * p
                for g, p in zip(torch.autograd.grad(loss, parameters), parameters, strict=True)
            ]
            velocity = grads if velocity is None else [0.9 * v + g for v, g in zip(velocity, grads, strict=True)]
            with torch.no_grad():
                for p, g, v in zip(parameters, grads, velocity, strict=True):
                    p -= rate * (g + 0.9 * v)
        model.eval()
        with torch.no_grad():
            logits = model(normalized(dataset.test))
        wrong = (logits.argmax(1) != dataset.test.targets).double().mean().item()
        curves.append((functional.cross_entropy(logits, dataset.test.targets).item(), wrong))
    return model, curves


@pytest.mark.parametrize("method", ["erm", "mixup", "mixupe"])
def test_a_run_is_the_plain_loop(method):
    """PreActResNet with BatchNorm, 12 steps in float64: to rounding, which BatchNorm and the steps amplify."""
    run = Run(
        data="toy_images",
        model="preact_resnet18",
        method=method,
        alpha=None if method == "erm" else 0.8,
        eta=0.5 if method == "mixupe" else None,
        seed=5,
        recipe=PLAIN,
        model_options={"width": 0.25},
        precision="float64",
    )
    trainer = finished(run, images())
    assert trainer.model.state_dict()["stages.0.1.0.branch.0.weight"].is_contiguous(memory_format=torch.channels_last)
    model, curves = plain_loop(run, images())
    for (name, ours), theirs in zip(trainer.model.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10, msg=name)
    for entry, (loss, error) in zip(trainer.history, curves, strict=True):
        assert entry["test_loss"] == pytest.approx(loss, rel=1e-9)
        assert entry["test_error"] == error
    wrong, _ = plain_loop(replace(run, seed=6), images())  # the comparison can fail
    assert not torch.allclose(next(model.parameters()), next(wrong.parameters()))


def test_narrow_shortcuts_keep_the_first_layout():
    """Else a strided 1 x 1 convolution of few channels writes beyond its memory (oneDNN)."""
    narrow, wide = (models.build("preact_resnet18", (3, 8, 8), 3, width=width) for width in (0.0625, 0.25))
    assert memory_format(narrow) is torch.contiguous_format
    assert memory_format(wide) is torch.channels_last


def test_runs_of_one_seed_are_paired():
    """Same initial weights and order for every method, others for another seed."""
    runs = [Run(data="toy_features", model="mlp", method=m, recipe=PLAIN) for m in ("erm", "mixup", "mixupe")]
    trainers = [Trainer(run, features(), CPU) for run in (*runs, replace(runs[0], seed=1))]
    first, *others, another = [next(t.model.parameters()) for t in trainers]
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, another)
    orders = [trainer.order.indices(0, 0).tolist() for trainer in trainers]
    assert orders[0] == orders[1] == orders[2] != orders[3]


def test_the_default_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    finished(Run(data="toy_features", model="mlp", recipe=PLAIN), features())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "erm"])
def test_graphs_are_mixed_as_pooled_readouts(method):
    """In float64, one step without dropout: the loss of readouts mixed by hand."""
    recipe = replace(PLAIN, epochs=1, batch_size=60)
    options = {"hidden": 8, "dropout": 0.0}
    run = Run(data="toy_graphs", model="gin", method=method, model_options=options, recipe=recipe, precision="float64")
    trainer = Trainer(run, graphs(), CPU)
    encoder, head = copy.deepcopy(trainer.model).stages
    order = torch.from_numpy(stream(0, "order", 0).permutation(60))
    draws = stream(0, "mixing", 0, 0)
    lam, partner = draws.beta(1, 1), draws.permutation(60)
    readouts, y = encoder(graphs().train.inputs[order].batch(torch.float64)), graphs().train.targets[order]
    log_p = head(lam * readouts + (1 - lam) * readouts[partner]).log_softmax(1)
    every = torch.arange(60)
    expected = -(lam * log_p[every, y] + (1 - lam) * log_p[every, y[partner]]).mean().item()
    trainer.advance()
    assert trainer.history[0]["objective"] == pytest.approx(expected, rel=1e-12)  # MixupE's value is L_mix's as well


def test_random_batches_where_the_recipe_says_so():
    recipe = replace(PLAIN, epochs=1, batch_size=25, steps_per_epoch=7)
    trainer = Trainer(Run(data="toy_features", model="mlp", recipe=recipe), features(), CPU)
    drawn = []
    trainer.advance(lambda t: drawn.append(t.order.indices(t.epoch, t.step)) if not t.finished else None)
    assert trainer.position == 7
    assert all(len(set(indices.tolist())) == 25 for indices in drawn)
    assert not torch.equal(drawn[0], drawn[1])


def test_the_clean_training_loss_is_neither_mixed_nor_augmented():
    run = Run(data="toy_images", model="mlp", method="mixup", recipe=replace(SHORT, augment=True), precision="float64")
    trainer = finished(run, images())
    with torch.no_grad():
        logits = trainer.model.eval()(normalized(images().train))
    expected = functional.cross_entropy(logits, images().train.targets).item()
    assert trainer.history[-1]["train_loss"] == pytest.approx(expected, rel=1e-12)
    assert trainer.history[-1]["objective"] != pytest.approx(expected, rel=1e-2)


def test_mean_input():
    mean = mean_input(images(), torch.float64)
    torch.testing.assert_close(mean, normalized(images().train).mean(0), rtol=1e-12, atol=1e-14)
    run = Run(data="toy_images", model="mlp", method="mixupe", variant="exact", recipe=PLAIN)
    trainer = Trainer(run, images(), CPU)
    assert torch.equal(trainer.objective.criterion.x_mean, mean.float())


def test_held_out_runs_never_see_the_test_part():
    trainer = Trainer(Run(data="toy_features", model="mlp", held_out=0.25, recipe=PLAIN), features(), CPU)
    rows = {tuple(row) for row in features().test.inputs.tolist()}
    for part in (trainer.dataset.train, trainer.dataset.test):
        assert not rows & {tuple(row) for row in part.inputs.tolist()}
    assert (len(trainer.dataset.train), len(trainer.dataset.test)) == (45, 15)


@pytest.mark.parametrize("step", [1, 7])
def test_a_nan_loss_stops_with_step_and_seed(step, monkeypatch):
    run = Run(data="toy_features", model="mlp", seed=4, recipe=PLAIN)
    trainer = Trainer(run, features(), CPU)
    loss = trainer.objective.forward
    calls = iter(range(100))
    monkeypatch.setattr(trainer.objective, "forward", lambda *a: loss(*a) * (math.nan if next(calls) == step else 1))
    epoch, within = divmod(step, 6)
    with pytest.raises(Diverged, match=f"ERM, seed 4: the loss is nan at step {within} of epoch {epoch}"):
        trainer.advance()


def test_a_nan_loss_is_never_in_a_checkpoint(monkeypatch):
    """Also where losses are read later than they are made, as on a GPU."""
    trainer = Trainer(Run(data="toy_features", model="mlp", recipe=PLAIN), features(), CPU)
    trainer._unread.append(torch.tensor(math.nan))
    trainer.step = 1
    with pytest.raises(Diverged, match="nan at step 0 of epoch 0"):
        trainer.state()


def test_losses_are_added_up_alike_whenever_they_are_read(monkeypatch):
    run = Run(data="toy_features", model="mlp", recipe=PLAIN)
    each = finished(run, features())
    late = Trainer(run, features(), CPU)
    read = late._read_losses
    monkeypatch.setattr(late, "_read_losses", lambda: read() if late.step == 6 else None)
    late.advance()
    assert [entry["objective"] for entry in late.history] == [entry["objective"] for entry in each.history]


def test_a_batch_of_one_with_batchnorm():
    run = Run(
        data="toy_images",
        model="preact_resnet18",
        model_options={"width": 0.0625},
        recipe=replace(SHORT, batch_size=59),
    )
    with pytest.raises(ValueError, match=r"batch_size 59 leaves a batch of one example \(60 training examples, 1 proc"):
        Trainer(run, images(), CPU)
    Trainer(replace(run, model="mlp", model_options={}), images(), CPU)  # without BatchNorm it may be


def test_more_examples_in_a_random_batch_than_there_are():
    run = Run(data="toy_features", model="mlp", recipe=replace(SHORT, batch_size=61, steps_per_epoch=2))
    with pytest.raises(ValueError, match="batch_size must be at most the number of training examples, 60, got 61"):
        Trainer(run, features(), CPU)


def test_learning_rates_of_the_official_schedule():
    """0.01 + 0.01 epoch for epochs 0 to 10, then 0.1, a tenth of it from each drop on."""
    rates = [RECIPES["images"].learning_rate_at(epoch) for epoch in range(800)]
    np.testing.assert_allclose(rates[:11], 0.01 + 0.01 * np.arange(11), rtol=1e-12)
    np.testing.assert_allclose(rates[11:300], 0.1, rtol=1e-12)
    np.testing.assert_allclose(rates[300:600], 0.01, rtol=1e-12)
    np.testing.assert_allclose(rates[600:], 0.001, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number > 0"),
        ({"optimizer": "sgdd"}, "optimizer must be one of .*did you mean 'sgd'"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"drops": (-1,)}, "drops must be"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be"),
    ],
)
def test_bad_recipes(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SHORT, **change)


def test_no_gpu_here():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="device must be 'cpu' or 'auto' here"):
        chosen_device("cuda")
    with pytest.raises(ValueError, match=r"device must be one of .*did you mean 'cuda'"):
        chosen_device("cude")


def test_staged_refuses_a_place_that_is_none():
    with pytest.raises(ValueError, match=r"manifold_places must lie in 0..0, got \(1,\)"):
        Staged([nn.Identity()], (1,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_resume_is_exact_on_a_gpu(tmp_path):
    from test_training_resume import ends_alike, stop_after

    run = Run(data="toy_images", model="preact_resnet18", method="mixupe", recipe=SHORT)
    settings = {"device": "cuda", "deterministic": True, "checkpoint_seconds": 0}
    execute(run, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        execute(run, tmp_path / "parts", progress=stop_after(5), **settings)
    execute(run, tmp_path / "parts", **settings)
    assert ends_alike(tmp_path / "whole" / run.id, tmp_path / "parts" / run.id)


def test_recipes_are_what_recipes_says():
    images_recipe = RECIPES["images"]
    assert isinstance(images_recipe, Recipe)
    assert (images_recipe.batch_size, images_recipe.momentum, images_recipe.weight_decay) == (100, 0.9, 1e-4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    (group,) = images_recipe.make_optimizer(model).param_groups  # weight decay on everything
    assert (group["nesterov"], group["weight_decay"], len(group["params"])) == (True, 1e-4, 4)
