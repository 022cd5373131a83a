"""The fast step against the plain one, and CUDA graphs against a stand-in."""

import copy
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training_cases import SHORT, features, graphs, images

from mixupe_theory.objective import mix
from mixupe_theory.training import batch_norm, checkpoints
from mixupe_theory.training.data.augmentation import augmented
from mixupe_theory.training.draws import Draws
from mixupe_theory.training.methods import Mixture
from mixupe_theory.training.plain import plain_step
from mixupe_theory.training.ranks import Ranks
from mixupe_theory.training.runs import Run
from mixupe_theory.training.step import Captured
from mixupe_theory.training.streams import own_torch
from mixupe_theory.training.sweeps import sweep
from mixupe_theory.training.trainer import Trainer, mean_input

CPU = torch.device("cpu")
METHODS = [("erm", None), ("mixup", None), ("mixupe", "deck"), ("mixupe", "official_v3"), ("mixupe", "exact")]
IDS = [variant or method for method, variant in METHODS]


@pytest.fixture
def quick_compiler(monkeypatch):
    """torch.compile traces in one graph, decomposes and differentiates as ever, and leaves the kernels to torch."""
    compile_, backend = torch.compile, "aot_eager_decomp_partition"
    monkeypatch.setattr(torch, "compile", lambda f, **how: compile_(f, backend=backend, fullgraph=True, **how))
    yield
    torch.compiler.reset()


def run_of(method, variant=None, **changes):
    """100 steps; a network of 16 to 64 channels, with BatchNorm and projections."""
    settings = {
        "data": "toy_images",
        "model": "wrn28_10",
        "model_options": {"depth": 10, "widen_factor": 1},
        "method": method,
        "variant": variant,
        "eta": 0.5 if method == "mixupe" else None,
        "alpha": None if method == "erm" else 0.8,
        "recipe": replace(SHORT, epochs=1, steps_per_epoch=100, warmup=0, learning_rate=2**-6),
        "seed": 3,
        "precision": "float64",
    }
    return Run(**(settings | changes))


def fast_and_plain(run, count, device=CPU):
    """A fast trainer and a network and optimizer of the plain step, after ``count`` steps with the same draws."""
    trainer, data = Trainer(run, images(), device, fast=True), images().to(device)
    network = copy.deepcopy(Trainer(run, images(), device).model)
    optimizer = run.recipe.make_optimizer(network)
    x_mean = mean_input(data, run.dtype)
    with own_torch(device):
        for _ in range(count):
            draws = trainer.draws()
            indices, numbers = draws.indices.to(device), draws.numbers.to(device)
            pixels, y = augmented(data.train.inputs[indices], data.augmentation, numbers), data.train.targets[indices]
            mixed = {}
            if draws.mixture is not None:
                mixed = {"lam": draws.mixture.lam.item(), "partner": draws.mixture.partner.to(device)}
            how = {"alpha": run.alpha or 1.0, "eta": run.eta or 0.0, "x_mean": x_mean}
            plain_step(network, optimizer, (pixels.to(run.dtype) - 100) / 60, y, **mixed, variant=run.variant, **how)
            trainer.one_step()
    return trainer, network


def largest_difference(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize(("method", "variant"), METHODS, ids=IDS)
def test_a_hundred_fast_steps_are_a_hundred_plain_ones(method, variant, quick_compiler):
    """In float64, weights and BatchNorm's statistics: to 1e-10, which is what is promised.

    Rounding, about 1e-16 a step, is what two orders of summation may differ by; training amplifies it.
    """
    trainer, network = fast_and_plain(run_of(method, variant), 100)
    assert trainer.position == 100
    assert largest_difference(trainer.model, network) < 1e-10


def test_the_compiler_of_users_gives_the_same(request):
    """As above, by torch.compile as it is: C++ here, Triton on a GPU. Half a minute."""
    request.addfinalizer(torch.compiler.reset)
    trainer, network = fast_and_plain(run_of("mixupe", "deck"), 100)
    assert largest_difference(trainer.model, network) < 1e-10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("method", "variant"), METHODS, ids=IDS)
def test_the_same_on_a_gpu(method, variant):
    """As above, by Triton's kernels in a CUDA graph; the learning rate is one that float32 holds exactly."""
    trainer, network = fast_and_plain(run_of(method, variant), 100, torch.device("cuda"))
    assert largest_difference(trainer.model, network) < 1e-10


PLANTED = {
    "one BatchNorm for both halves": ("methods.separate_halves", lambda stage: None),
    "running statistics clean then mixed": ("batch_norm._Halves._remember", None),
    "lambda swapped": ("methods.mix", lambda t, partner, lam: mix(t, partner, 1 - lam)),
    "eta_hat left out": ("methods.eta_hat", lambda mixup, penalty, eta: 1.0),
}


@pytest.mark.parametrize("error", PLANTED)
def test_the_comparison_sees_planted_errors(error, quick_compiler, monkeypatch):
    """Each leaves a difference in the weights or statistics after five steps that is not rounding."""
    where, planted = PLANTED[error]
    if planted is None:
        remember, waiting = batch_norm._Halves._remember, []

        def planted(norm, *statistics):
            waiting.append(statistics)
            while len(waiting) >= 2:
                remember(norm, *waiting.pop())
                remember(norm, *waiting.pop())

    monkeypatch.setattr(f"mixupe_theory.training.{where}", planted)
    trainer, network = fast_and_plain(run_of("mixupe", "deck"), 5)
    assert largest_difference(trainer.model, network) > 1e-6


OTHERS = [
    {"method": "manifold_mixup"},
    {"method": "mixup_clean_forward"},
    {"method": "mixup", "loss": "bce", "lam_per_sample": True},
    {"method": "mixupe", "variant": "deck_detached"},
    {"method": "mixupe", "variant": "official_v4", "recipe": replace(SHORT, augment=False, batch_size=8)},
    {"method": "mixupe", "variant": "deck", "recipe": replace(SHORT, optimizer="adam", learning_rate=1e-3)},
]


@pytest.mark.parametrize("settings", OTHERS, ids=lambda settings: "-".join(map(str, list(settings.values())[:2])))
def test_every_method_has_a_fast_way(settings, quick_compiler):
    """Two epochs, the last batch of which may be smaller, with evaluations: as the ordinary way, to 1e-10."""
    run = run_of(**({"recipe": SHORT} | settings))
    fast, ordinary = Trainer(run, images(), CPU, fast=True), Trainer(run, images(), CPU)
    for trainer in (fast, ordinary):
        trainer.advance()
    assert largest_difference(fast.model, ordinary.model) < 1e-10
    for one, other in zip(fast.history, ordinary.history, strict=True):
        for name in ("objective", "train_loss", "test_loss", "test_error"):
            assert one[name] == pytest.approx(other[name], rel=1e-10)


@pytest.mark.filterwarnings("ignore:.*begun with fast:RuntimeWarning")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_may_change_its_way_of_stepping(optimizer, quick_compiler, tmp_path):
    """Stopped after seven steps, with checkpoints of both ways taken up in the other."""
    run = run_of("mixupe", "deck", recipe=replace(SHORT, optimizer=optimizer, learning_rate=1e-3))
    whole = Trainer(run, images(), CPU)
    whole.advance()
    for fast in (True, False):
        first, second = (Trainer(run, images(), CPU, fast=way) for way in (fast, not fast))
        with own_torch(CPU):
            for _ in range(5):
                first.one_step()
        path = checkpoints.save(tmp_path, first.position, first.state())
        second.load(checkpoints.load(path))
        assert second.optimizer.param_groups[0].get("fused") is None
        second.advance()
        assert largest_difference(second.model, whole.model) < 1e-10


def test_a_long_sweep_is_compiled_to_its_end(monkeypatch, tmp_path):
    """torch gives up, silently, at the ninth network that one process compiles; here are ten."""
    compile_, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, **how: compile_(f, backend=backend, **how))
    settings = {"data": "toy_features", "model": "mlp", "method": "mixupe", "recipe": replace(SHORT, epochs=1)}
    runs = [Run(**settings, eta=0.1 * (k + 1)) for k in range(10)]
    outcome = sweep(runs, tmp_path, fast=True)
    assert [entry["fast"] for entry in outcome.records] == [True] * 10
    assert len(graphs) == 10


def test_what_has_no_fast_way_is_refused():
    run = Run(data="toy_graphs", model="gin", recipe=SHORT)
    with pytest.raises(ValueError, match="fast must be False for graphs"):
        Trainer(run, graphs(), CPU, fast=True)
    run = Run(data="toy_features", model="mlp", recipe=SHORT)
    with pytest.raises(ValueError, match=r"fast must be False .* where processes share a batch"):
        Trainer(run, features(), CPU, Ranks(0, 2), fast=True)


def test_bfloat16_is_in_products_alone():
    """Parameters, statistics and losses stay float32; the loss is the float32 one to bfloat16's rounding."""
    runs = [run_of("mixupe", "deck", precision=precision) for precision in ("bfloat16", "float32")]
    products = []
    trainer, exact = (Trainer(run, images(), CPU) for run in runs)
    for module in trainer.model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: products.append(output.dtype))
    losses = []
    for t in (trainer, exact):
        with own_torch(CPU):
            t.one_step()
        losses.append(t._objective_sum)
        assert {tensor.dtype for tensor in t.model.state_dict().values()} == {torch.float32, torch.int64}
    assert set(products) == {torch.bfloat16}
    assert 0 < abs(losses[0] / losses[1] - 1) < 10 * 2**-8  # ten layers, each rounding to 8 bits
    assert trainer.objective(*batch(trainer)).dtype == torch.float32


def batch(trainer):
    draws = trainer.draws()
    part = trainer.dataset.prepared(trainer.dataset.train[draws.indices], torch.float32)
    return part.inputs, part.targets, draws.mixture


@given(st.integers(1, 5), st.integers(0, 3), st.sampled_from([None, "batch", "sample"]), st.integers(0, 2**32 - 1))
def test_packed_draws_are_the_draws(n, k, mixed, seed):
    generator = np.random.default_rng(seed)
    mixture = None
    if mixed:
        lam = torch.from_numpy(generator.random(n)) if mixed == "sample" else torch.tensor(generator.random())
        mixture = Mixture(lam, torch.from_numpy(generator.permutation(n)), int(generator.integers(3)))
    integers = [torch.from_numpy(generator.integers(0, 2**53, shape)) for shape in (n, (k, n))]
    draws = Draws(*integers, mixture)
    packed = draws.packed()
    assert packed.shape == (1 + k + 2 * bool(mixed), n)
    back = Draws.unpacked(packed, mixture.place if mixed else None, per_sample=mixed == "sample")
    assert torch.equal(back.indices, draws.indices)
    assert torch.equal(back.numbers, draws.numbers)
    if mixed:
        assert torch.equal(back.mixture.lam, lam)
        assert torch.equal(back.mixture.partner, mixture.partner)
        assert back.mixture.place == mixture.place


class StandIn:
    """What ``Captured`` asks of torch.cuda: a graph records calls, which do nothing while they are recorded."""

    def __init__(self):
        self.recording, self.captures = None, 0

    def install(self, monkeypatch):
        stream = type("Stream", (), {"wait_stream": lambda self, other: None})
        for name, value in {
            "Stream": stream,
            "current_stream": stream,
            "stream": lambda stream: nullcontext(),
            "CUDAGraph": lambda: SimpleNamespace(calls=[], replay=lambda: None),
            "graph": self.graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        return self

    @contextmanager
    def graph(self, captured, stream):
        self.recording = captured.calls
        captured.replay = lambda: [call() for call in captured.calls]
        self.captures += 1
        yield
        self.recording = None

    def step(self, done):
        """A step that appends what it read, and gives the number of steps done."""

        def step(packed, place):
            out = torch.zeros(())

            def work():
                done.append((packed[0, 0].item(), len(packed[0]), place))
                out.fill_(len(done))

            work() if self.recording is None else self.recording.append(work)
            return out

        return step


def test_every_step_is_made_once_and_reads_its_own_draws(monkeypatch):
    """Two sizes of batch and two places in turns: one graph for each, whatever was captured between."""
    stand_in, done = StandIn().install(monkeypatch), []
    captured = Captured(stand_in.step(done))
    kinds = [(4, 0), (2, 0), (4, 1)]
    asked = [(float(k), *kinds[k % 3]) for k in range(24)]
    losses = [captured(torch.full((2, n), number), place) for number, n, place in asked]
    assert done == asked
    assert [loss.item() for loss in losses] == list(range(1, 25))  # each its own, not the graph's last one
    assert stand_in.captures == 3
