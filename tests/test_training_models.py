"""The networks by name: sizes and costs against the literature, shapes, mixing of hidden layers, refusals."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mixupe_theory import flops
from mixupe_theory.objective import mix
from mixupe_theory.training.models import MODELS, build
from mixupe_theory.training.models.staged import Staged

IMAGE, SPECTROGRAM = (3, 32, 32), (1, 161, 101)
NARROW = {
    "mlp": ((7,), {"hidden": (5, 4, 3)}),
    "lenet": ((2, 20, 17), {"width": 0.1}),
    "vgg11": ((1, 33, 35), {"width": 1 / 32}),
    "vgg13": ((1, 33, 35), {"width": 1 / 32}),
    "preact_resnet18": ((3, 9, 8), {"width": 1 / 16}),
    "preact_resnet50": ((3, 9, 8), {"width": 1 / 32, "official": True}),
    "preact_resnet101": ((3, 9, 8), {"width": 1 / 32}),
    "wrn28_10": ((3, 9, 8), {"widen_factor": 1, "depth": 10, "official": True}),
}
narrow = pytest.mark.parametrize("name", NARROW)


def build_narrow(name):
    shape, options = NARROW[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(name, shape, 3, **options).double()
        return net, torch.randn(6, *shape, dtype=torch.float64)


def on_meta(name, shape, classes, **options):
    with torch.device("meta"):
        return build(name, shape, classes, **options)


def test_every_network_is_tried_narrow():
    assert set(NARROW) | {"gin"} == set(MODELS)


# 11171146, 23509066, 42501194: counted in kuangliu/pytorch-cifar, models/preact_resnet.py, and in oneHuster/MixupE,
# models/preresnet_im.py; the standard form has one more BatchNorm, of the last width.
# 36479194: Zagoruyko & Komodakis, table 4 ("36.5M"), and counted in xternalz/WideResNet-pytorch.
# torchvision's documentation: vgg11_bn 132868840 and vgg13_bn 133053736, less a classifier of 123642856.
VGG_DIFFERENCE = -123642856 - 2 * 64 * 9 + 7681 * 512 + 513 * 30  # one channel in place of three, this classifier


@pytest.mark.parametrize(
    ("name", "shape", "classes", "options", "parameters"),
    [
        ("preact_resnet18", IMAGE, 10, {"official": True}, 11171146),
        ("preact_resnet18", IMAGE, 10, {}, 11171146 + 2 * 512),
        ("preact_resnet50", IMAGE, 10, {"official": True}, 23509066),
        ("preact_resnet50", IMAGE, 10, {}, 23509066 + 2 * 2048),
        ("preact_resnet101", IMAGE, 10, {"official": True}, 42501194),
        ("preact_resnet101", IMAGE, 10, {}, 42501194 + 2 * 2048),
        ("wrn28_10", IMAGE, 10, {}, 36479194),
        # nine biased convolutions a group: two in each of four units, one shortcut
        ("wrn28_10", IMAGE, 10, {"official": True}, 36479194 + 16 + 9 * (160 + 320 + 640)),
        ("vgg11", SPECTROGRAM, 30, {}, 132868840 + VGG_DIFFERENCE),
        ("vgg13", SPECTROGRAM, 30, {}, 133053736 + VGG_DIFFERENCE),
        ("lenet", SPECTROGRAM, 30, {}, 26 * 20 + 501 * 20 + 16281 * 1000 + 1001 * 30),
        ("mlp", (30,), 2, {}, 31 * 128 + 129 * 128 + 129 * 2),
    ],
)
def test_number_of_parameters(name, shape, classes, options, parameters):
    assert sum(p.numel() for p in on_meta(name, shape, classes, **options).parameters()) == parameters


# FLOPs, two for each multiply-add, as in the table of GPU targets of RECIPES.md: 1.11 = 2 x 0.56
@pytest.mark.parametrize(
    ("name", "options", "gflop"),
    [
        ("preact_resnet18", {"official": True}, 1.11),
        ("preact_resnet50", {"official": True}, 2.60),
        ("preact_resnet101", {"official": True}, 5.02),
        ("wrn28_10", {"official": True}, 2 * 5.95),
        ("wrn28_10", {}, 2 * 5.24),
    ],
)
def test_cost_of_a_forward_pass(name, options, gflop):
    net = on_meta(name, IMAGE, 10, **options)
    assert flops.count(lambda: net(torch.ones(1, *IMAGE, device="meta"))) / 1e9 == pytest.approx(gflop, abs=0.01)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp", shape) for shape in ((1,), (30,), IMAGE)]
    + [(name, shape) for name in MODELS if name not in ("mlp", "gin") for shape in (IMAGE, SPECTROGRAM, (3, 64, 64))]
    + [("lenet", (1, 16, 16)), ("preact_resnet18", (1, 1, 1)), ("wrn28_10", (1, 28, 28))],
)
def test_shapes(name, shape):
    assert on_meta(name, shape, 7)(torch.ones(2, *shape, device="meta")).shape == (2, 7)


def test_the_linear_network_is_an_mlp_without_hidden_layers():
    net = build("mlp", (2, 3), 4, hidden=[])
    assert [p.shape for p in net.parameters()] == [(4, 6), (4,)]
    assert net.manifold_places == (0,)


@narrow
def test_mixing_nothing_changes_nothing(name):
    net, x = build_narrow(name)
    net.eval()
    logits = net(x)
    for place in net.manifold_places:
        assert torch.equal(net(x, mix_at=place, mix=lambda hidden: hidden), logits)


@narrow
def test_mixing_with_a_weight_of_zero_exchanges_examples(name):
    net, x = build_narrow(name)
    net.eval()
    permutation = torch.tensor([3, 0, 1, 5, 2, 4])
    expected = net(x)[permutation]
    for place in net.manifold_places:
        logits = net(x, mix_at=place, mix=lambda hidden: mix(hidden, hidden[permutation], torch.tensor(0.0)))
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)


@narrow
def test_mixing_halfway_differs_between_places(name):
    net, x = build_narrow(name)
    net.eval()
    seen = [net(x, place, lambda hidden: (hidden + hidden.flip(0)) / 2) for place in net.manifold_places]
    assert len(seen) == 3
    assert all((a - b).abs().max() > 1e-6 for a, b in [(seen[0], seen[1]), (seen[0], seen[2]), (seen[1], seen[2])])


@narrow
def test_every_parameter_has_an_effect(name):
    net, x = build_narrow(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("preact_resnet18", [(3, 32, 32), (4, 32, 32), (8, 16, 16)]),
        ("wrn28_10", [(3, 32, 32), (16, 32, 32), (32, 16, 16)]),
    ],
)
@pytest.mark.parametrize("official", [True, False])
def test_hidden_layers_are_mixed_where_the_official_code_does(name, places, official):
    options = {"width": 1 / 16} if name == "preact_resnet18" else {"depth": 10, "widen_factor": 1}
    net, seen = build(name, IMAGE, 10, official=official, **options), []
    for place in net.manifold_places:
        net(torch.zeros(2, *IMAGE), place, lambda hidden: seen.append(tuple(hidden.shape[1:])) or hidden)
    assert seen == places


def test_weights_come_from_the_default_generator():
    def weights(seed):
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build("lenet", (1, 16, 16), 2, width=0.1).parameters())

    with torch.random.fork_rng():
        first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "fan"), [("preact_resnet18", 0), ("wrn28_10", 1)])
def test_initial_weights(name, fan):
    """N(0, 2 / fan) in the standard form, PyTorch's uniform law in +-1 / sqrt(fan_in) in the official one."""
    shape = (3, 8, 8)
    options = {"width": 1 / 4} if name == "preact_resnet18" else {"depth": 10, "widen_factor": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        standard, official = (build(name, shape, 10, official=official, **options) for official in (False, True))
    for net, is_official in ((standard, False), (official, True)):
        weights = [m.weight.detach() for m in net.modules() if isinstance(m, nn.Conv2d)]
        weight = max((w for w in weights if w.shape[0] != w.shape[1]), key=torch.Tensor.numel)
        fan_in = weight[0].numel()
        variance = 1 / (3 * fan_in) if is_official else 2 / (9 * weight.shape[fan])
        # the sample variance of n normal weights has relative deviation sqrt(2 / n), less for uniform ones
        assert weight.var().item() == pytest.approx(variance, rel=5 * (2 / weight.numel()) ** 0.5)
        assert (weight.abs().max() <= fan_in**-0.5) == is_official
        assert bool((net.stages[-1][-1].bias == 0).all()) != is_official


def test_statistics_of_the_official_wide_network_are_the_last_batches():
    momenta = {
        m.momentum for m in on_meta("wrn28_10", IMAGE, 10, official=True).modules() if isinstance(m, nn.BatchNorm2d)
    }
    assert momenta == {0.1, 0.9}


@pytest.mark.parametrize(
    ("name", "shape", "classes", "options", "error", "message"),
    [
        ("resnet", IMAGE, 10, {}, ValueError, "name must be one of .*'preact_resnet18'.*got 'resnet'"),
        ("lennet", IMAGE, 10, {}, ValueError, "did you mean 'lenet'"),
        ("lenet", IMAGE, 10, {"widht": 1.0}, ValueError, "option of 'lenet' must be.*'width'.*did you mean 'width'"),
        ("vgg11", IMAGE, 10, {"official": True}, ValueError, r"option of 'vgg11' must be one of \('width',\)"),
        ("vgg11", IMAGE, 10, {"blocks": ()}, ValueError, "option of 'vgg11'"),
        ("lenet", IMAGE, 1, {}, ValueError, "classes must be an integer >= 2, got 1"),
        ("lenet", IMAGE, 10.0, {}, TypeError, "classes must be an integer >= 2, got 10.0 of type float"),
        ("lenet", (5,), 10, {}, ValueError, r"shape must be \(channels, height, width\) for this model, got \(5,\)"),
        ("wrn28_10", (1, 3, 32, 32), 10, {}, ValueError, r"shape must be \(channels, height, width\)"),
        ("lenet", (3, 15, 16), 10, {}, ValueError, r"height and width >= 16 for this model, got \(3, 15, 16\)"),
        ("vgg13", (3, 64, 31), 10, {}, ValueError, "height and width >= 32"),
        ("mlp", (0, 3), 2, {}, ValueError, "each entry of shape must be an integer >= 1, got 0"),
        ("mlp", 30, 2, {}, TypeError, "shape must be the shape of one input, got 30 of type int"),
        ("preact_resnet18", "3x32x32", 2, {}, TypeError, r"shape must be \(channels, height, width\), got '3x32x32'"),
        ("preact_resnet18", (3, 32.0, 32), 2, {}, TypeError, "each entry of shape must be an integer"),
        ("mlp", (30,), 2, {"hidden": 64}, TypeError, "hidden must be a sequence of widths, got 64 of type int"),
        ("mlp", (30,), 2, {"hidden": (64, 0)}, ValueError, "each entry of hidden must be an integer >= 1, got 0"),
        ("lenet", IMAGE, 2, {"width": 0.01}, ValueError, "width must leave a layer of 20 units at least one, got 0.01"),
        ("preact_resnet18", IMAGE, 2, {"width": 0.005}, ValueError, "width must leave a layer of 64 units"),
        ("vgg11", IMAGE, 2, {"width": -1}, ValueError, "width must be a finite number > 0, got -1"),
        ("vgg11", IMAGE, 2, {"width": "half"}, TypeError, "width must be a finite number > 0, got 'half' of type str"),
        ("preact_resnet50", IMAGE, 2, {"official": 1}, TypeError, "official must be True or False, got 1 of type int"),
        ("wrn28_10", IMAGE, 2, {"official": "yes"}, TypeError, "official must be True or False"),
        ("wrn28_10", IMAGE, 2, {"depth": 20}, ValueError, r"depth must be 10, 16, 22, 28, .* got 20"),
        ("wrn28_10", IMAGE, 2, {"depth": 4}, ValueError, "depth must be an integer >= 10, got 4"),
        ("wrn28_10", IMAGE, 2, {"widen_factor": 0.5}, TypeError, "widen_factor must be an integer >= 1"),
    ],
)
def test_bad_arguments_are_named(name, shape, classes, options, error, message):
    with pytest.raises(error, match=message):
        build(name, shape, classes, **options)


@pytest.mark.parametrize("places", [(3,), (-1,)])
def test_places_lie_between_stages(places):
    with pytest.raises(ValueError, match="manifold_places must lie in"):
        Staged([nn.Identity()] * 3, manifold_places=places)


def test_torch_geometric_is_not_imported_with_the_other_networks():
    code = "import sys, mixupe_theory.training.models; sys.exit('torch_geometric' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
