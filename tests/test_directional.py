"""The derivative along one direction per sample against Jacobians of one sample, BatchNorm's statistics held fixed.

The references run a network layer by layer. In training mode they first collect each BatchNorm's batch mean and
variance from the whole batch, then differentiate one sample through a network that takes these numbers as given.
"""

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mixupe_theory.directional import jvp

SEEDS = st.integers(0, 2**32 - 1)
pytestmark = pytest.mark.usefixtures("forward_mode")


class CallsBatchNorm(nn.Module):
    """F.batch_norm called directly, with positional arguments, always on batch statistics."""

    def forward(self, x):
        return F.batch_norm(x, None, None, None, None, True, 0.1, 1e-3)


def small_conv(*norm):
    return [nn.Conv2d(2, 3, 3, padding=1), *norm, nn.Tanh()]


def head_of_images(channels=3):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)]


MLP = lambda *norm: [nn.Linear(3, 5), *norm, nn.Tanh(), nn.Linear(5, 4)]
CONV = lambda *norm: small_conv(*norm) + head_of_images()

# (layers, shape of one input); a network's outputs are (n, 4)
SAMPLEWISE = {
    "linear": (lambda: [nn.Linear(3, 4)], (3,)),
    "tanh": (MLP, (3,)),
    "relu": (lambda: [nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.GELU(), nn.Linear(8, 4)], (3,)),
    # torch's own forward mode counts mean and variance of these two as constants when its result is differentiated
    # once more (pytorch issue 196700).
    "layer norm": (lambda: MLP(nn.LayerNorm(5)), (3,)),
    "conv, average pooling": (lambda: [*small_conv(), nn.AvgPool2d(2), *head_of_images()], (2, 4, 4)),
    "conv, max pooling": (lambda: [*small_conv(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)], (2, 4, 4)),
    "conv, instance norm": (lambda: CONV(nn.InstanceNorm2d(3)), (2, 4, 4)),
    "conv, group norm": (lambda: CONV(nn.GroupNorm(3, 3)), (2, 4, 4)),
    "BatchNorm1d evaluated": (lambda: [m.eval() for m in MLP(nn.BatchNorm1d(5))], (3,)),
    "BatchNorm2d evaluated": (lambda: [m.eval() for m in CONV(nn.BatchNorm2d(3))], (2, 4, 4)),
}
BATCHWISE = {
    "1d": (lambda: MLP(nn.BatchNorm1d(5)), (3,)),
    "1d first": (lambda: [nn.BatchNorm1d(3), *MLP()], (3,)),
    "1d of sequences": (lambda: [nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 4)], (2, 4)),
    "2d": (lambda: CONV(nn.BatchNorm2d(3)), (2, 4, 4)),
    "2d twice": (lambda: [nn.BatchNorm2d(2), *CONV(nn.BatchNorm2d(3), nn.ReLU())], (2, 4, 4)),
    "not affine": (lambda: CONV(nn.BatchNorm2d(3, affine=False)), (2, 4, 4)),
    "no running statistics": (lambda: MLP(nn.BatchNorm1d(5, track_running_stats=False)), (3,)),
    "no running statistics, evaluated": (
        lambda: [m.eval() for m in MLP(nn.BatchNorm1d(5, track_running_stats=False))],
        (3,),
    ),
    "cumulative momentum": (lambda: MLP(nn.BatchNorm1d(5, momentum=None)), (3,)),
    "large eps": (lambda: CONV(nn.BatchNorm2d(3, eps=0.5)), (2, 4, 4)),
    "called directly": (lambda: MLP(CallsBatchNorm()), (3,)),
}
NETWORKS = SAMPLEWISE | BATCHWISE


def problem(name, seed=0, n=3, dtype=torch.float64):
    """(model, x, v) with random parameters, buffers and directions."""
    rng = np.random.default_rng(seed)
    layers, shape = NETWORKS[name]
    model = nn.Sequential(*layers()).to(dtype)
    with torch.no_grad():
        for name_, t in [*model.named_parameters(), *model.named_buffers()]:
            if t.is_floating_point():  # variances and the first scales > 0
                draw = rng.uniform(0.5, 2, t.shape) if name_.endswith("var") else rng.normal(size=t.shape)
                t.copy_(torch.from_numpy(draw))
    x, v = (torch.from_numpy(rng.normal(size=(n, *shape))).to(dtype) for _ in range(2))
    return model, x, v


def uses_batch_statistics(layer):
    if isinstance(layer, CallsBatchNorm):
        return True
    return isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None)


def normalized(layer, h, mean, variance):
    """(h - mean)/sqrt(variance + eps) weight + bias, each channel by itself, written out."""
    eps, weight, bias = getattr(layer, "eps", 1e-3), getattr(layer, "weight", None), getattr(layer, "bias", None)
    channels = []
    for k in range(h.shape[1]):
        channel = (h[:, k] - mean[k]) / torch.sqrt(variance[k] + eps)
        channels.append(channel if weight is None else channel * weight[k] + bias[k])
    return torch.stack(channels, 1)


def forward(layers, h, statistics):
    for layer in layers:
        h = normalized(layer, h, *statistics[layer]) if uses_batch_statistics(layer) else layer(h)
    return h


def batch_statistics(layers, h):
    """{layer: (mean, variance) of each channel over the batch}, each attached to the parameters."""
    statistics = {}
    for layer in layers:
        if uses_batch_statistics(layer):
            mean = torch.stack([h[:, k].mean() for k in range(h.shape[1])])
            variance = torch.stack([((h[:, k] - mean[k]) ** 2).mean() for k in range(h.shape[1])])
            statistics[layer] = (mean, variance)
        h = forward([layer], h, statistics)
    return statistics


def reference(model, x, v, create_graph=False):
    """(logits, derivative) from one Jacobian for each sample."""
    layers = list(model)
    statistics = batch_statistics(layers, x)
    logits, derivative = [], []
    for x_i, v_i in zip(x, v, strict=True):
        f = lambda z: forward(layers, z[None], statistics)[0]
        jacobian = torch.autograd.functional.jacobian(f, x_i, create_graph=create_graph)
        logits.append(f(x_i))
        derivative.append(jacobian.flatten(1) @ v_i.flatten())
    return torch.stack(logits), torch.stack(derivative)


def scalar(logits, derivative):
    """Something that depends on both, unevenly over samples and classes."""
    weights = torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    return (weights * logits.tanh() * derivative).sum() + (weights * derivative**2).sum()


def gradient(value, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


def close(got, expected):
    """1e-9 relative to the largest entry: some hundred roundings, times derivatives of order 100."""
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9 * (expected.abs().max().item() + 1e-3))


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=8)
@given(seed=SEEDS)
def test_values_equal_one_jacobian_for_each_sample(name, seed):
    model, x, v = problem(name, seed)
    expected = reference(copy.deepcopy(model), x, v)
    for got, wanted in zip(jvp(model, x, v), expected, strict=True):
        assert got.shape == (3, 4)
        close(got, wanted)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_gradient_equals_that_of_the_reference(name):
    """Fixed for the derivative along the input, the statistics still depend on the parameters."""
    model, x, v = problem(name)
    other = copy.deepcopy(model)
    wanted = gradient(scalar(*reference(other, x, v, create_graph=True)), other)
    close(gradient(scalar(*jvp(model, x, v)), model), wanted)


@pytest.mark.parametrize("name", ["2d twice", "no running statistics"])
def test_parameter_gradient_equals_finite_differences(name):
    """Central differences along one direction: error h^2 = 1e-10, rounding 1e-16/h = 1e-11, derivatives below 1e3."""
    model, x, v = problem(name)
    slope = gradient(scalar(*jvp(model, x, v)), model)
    start = nn.utils.parameters_to_vector(model.parameters()).detach()
    step, h, shifted = torch.from_numpy(np.random.default_rng(1).normal(size=len(start))), 1e-5, []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * h * step, model.parameters())
        shifted.append(scalar(*reference(model, x, v)).item())
    assert abs((shifted[0] - shifted[1]) / (2 * h) - slope @ step) <= 1e-6 * slope.norm()


@pytest.mark.parametrize("name", BATCHWISE)
def test_reference_tells_a_derivative_with_moving_statistics_apart(name):
    """Negative control: forward mode without the library's rule moves mean and variance too."""
    model, x, v = problem(name)
    wanted = reference(copy.deepcopy(model), x, v)[1]
    model = model.requires_grad_(False)
    for layer in model:  # torch.func does not allow running statistics to be updated
        if hasattr(layer, "running_mean") and layer.training:
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    _, moving = torch.func.jvp(model, (x,), (v,))
    assert (moving - wanted).norm() > 1e-2 * wanted.norm()


def test_reference_tells_detached_statistics_apart():
    """Negative control of the parameter gradient: the statistics' dependence on the parameters counts."""
    model, x, v = problem("2d twice")
    layers = list(model)
    fixed = {layer: tuple(t.detach() for t in pair) for layer, pair in batch_statistics(layers, x).items()}
    detached = gradient(scalar(*torch.func.jvp(lambda x: forward(layers, x, fixed), (x,), (v,))), model)
    wanted = gradient(scalar(*reference(model, x, v, create_graph=True)), model)
    assert (detached - wanted).norm() > 1e-2 * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_pass_is_an_ordinary_one_to_the_bit(name, dtype):
    """Logits and running statistics; three passes, so that a cumulative average counts them."""
    model, x, v = problem(name, n=4, dtype=dtype)
    ordinary = copy.deepcopy(model)
    for scale in (1, 2, 3):
        assert torch.equal(jvp(model, scale * x, v)[0], ordinary(scale * x))
    assert model.state_dict().keys() == ordinary.state_dict().keys()
    for got, wanted in zip(model.state_dict().values(), ordinary.state_dict().values(), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("gradients", [True, False])
def test_without_gradients_the_values_are_the_same(gradients):
    model, x, v = problem("2d twice")
    wanted = [t.detach() for t in jvp(model, x, v)]
    with torch.set_grad_enabled(gradients):
        got = jvp(model, x, v)
    assert all(torch.equal(*pair) for pair in zip(got, wanted, strict=True))
    assert all(t.requires_grad == gradients for t in got)


def test_derivative_is_linear_in_the_direction():
    """BatchNorm hides a common scaling of its inputs: along -x the derivative is not near 0. 1e-12: roundings."""
    model, x, v = problem("1d first")
    along = lambda v: jvp(model, x, v)[1]
    torch.testing.assert_close(along(2 * v - 3 * x), 2 * along(v) - 3 * along(x), rtol=1e-12, atol=1e-12)
    assert along(-x).norm() > 0.1 * along(v).norm()


def test_model_that_ignores_its_input_has_derivative_zero():
    bias = torch.arange(4.0, requires_grad=True)
    logits, derivative = jvp(lambda x: bias.expand(len(x), 4), torch.ones(3, 2), torch.ones(3, 2))
    assert torch.equal(logits, bias.expand(3, 4))
    assert torch.equal(derivative, torch.zeros(3, 4))


@pytest.mark.parametrize("of_v", [False, True])
def test_expanded_tensors_are_taken(of_v):
    """Grey images shown as three channels: a dual number wants memory of its own."""
    model, x, v = problem("2d")
    grey = lambda t: t[:, :1].expand(t.shape)
    x, v = (x, grey(v)) if of_v else (grey(x), v)
    assert all(torch.equal(*pair) for pair in zip(jvp(model, x, v), jvp(model, x.clone(), v.clone()), strict=True))


def test_bias_that_depends_on_the_input():
    """Then torch's own rule for linear layers serves."""
    weight, x, v = torch.ones(2, 3), torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 1.0, -1.0]])
    logits, derivative = jvp(lambda x: F.linear(x, weight, x[0, :2] ** 2), x, v)
    assert logits.tolist() == [[7.0, 10.0]]  # x sums to 6, v to 1
    assert derivative.tolist() == [[3.0, 5.0]]


def test_compiled_module_is_differentiated_like_its_original():
    model, x, v = problem("tanh")
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    assert all(torch.equal(*pair) for pair in zip(jvp(compiled, x, v), jvp(model, x, v), strict=True))


@pytest.mark.parametrize("name", ["1d", "2d", "not affine", "BatchNorm2d evaluated", "layer norm", "conv, group norm"])
def test_autocast_to_bfloat16(name):
    """bfloat16 carries 2^-8 = 4e-3 per operation; a dozen in a row, in norm, with gradients."""
    model, x, v = problem(name, n=8, dtype=torch.float32)
    wanted = reference(copy.deepcopy(model).double(), x.double(), v.double())
    with torch.autocast("cpu", torch.bfloat16):
        got = jvp(model, x, v)
    for t, exact in zip(got, wanted, strict=True):
        assert t.dtype == torch.bfloat16
        assert (t.double() - exact).norm() <= 12 * 4e-3 * exact.norm()
    assert torch.isfinite(gradient(scalar(*(t.float() for t in got)), model)).all()


@pytest.mark.parametrize(
    ("name", "model", "exception"),
    [
        ("torch.batch_norm", lambda x: torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False), None),
        ("torch.layer_norm", lambda x: torch.layer_norm(x, (3,)), None),
        ("exported", None, None),
        ("scripted", None, TypeError),
    ],
)
def test_normalization_that_the_rules_cannot_see_is_refused(name, model, exception):
    """Each would otherwise give a derivative in which the statistics move, or a wrong gradient, without a word."""
    norm, x = nn.Sequential(nn.BatchNorm1d(3)), torch.randn(4, 3)
    if name == "exported":
        model = torch.export.export(norm, (x,)).module()
    if name == "scripted":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            model = nn.Sequential(torch.jit.script(norm))
    with pytest.raises(exception or NotImplementedError, match=r"torch.nn's layers|TorchScript"):
        jvp(model, x, -x)
