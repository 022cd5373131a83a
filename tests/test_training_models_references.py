"""Each network against its definition, written out on the tensors of its state, in float64.

Tolerance: roundings (1e-16 each) through at most 101 layers, whose values are of order 1.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mixupe_theory.training.models import build

TOLERANCE = 1e-12
train_and_eval = pytest.mark.parametrize("training", [False, True])


def prepared(name, shape, training, **options):
    """A network with every tensor of its state random, that state, and a batch."""
    rng = np.random.default_rng(0)
    net = build(name, shape, 3, **options).double().train(training)
    for key, value in net.state_dict().items():
        if value.is_floating_point():
            noise = torch.from_numpy(rng.normal(size=value.shape))
            value.copy_(0.5 + noise.abs() if key.endswith("running_var") else value + 0.3 * noise)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    return net, state, torch.from_numpy(rng.normal(size=(4, *shape)))


def gap(net, x, reference):
    """The largest difference in units of the largest logit; both draw the same dropout masks."""
    values = []
    for function in (net, reference):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(5)
            values.append(function(x))
    actual, expected = values
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def norm(state, key, x, training):
    """BatchNorm by its formula."""
    axes = (0, 2, 3)
    mean, var = (state[f"{key}.running_mean"], state[f"{key}.running_var"])
    if training:
        mean, var = x.mean(axes), x.var(axes, correction=0)
    scale = state[f"{key}.weight"] / (var + 1e-5).sqrt()
    return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{key}.bias"][:, None, None]


def conv(state, key, x, stride=1, padding=0):
    return functional.conv2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), stride, padding)


def linear(state, key, x):
    return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]


def group_key(k, u):
    """Where unit u of group k lies: the first stage holds the stem too."""
    return f"stages.0.1.{u}" if k == 0 else f"stages.{k}.{u}"


def preact_reference(state, x, units, training, *, kernels, final_norm):
    x = conv(state, "stages.0.0", x, padding=1)
    for k, count in enumerate(units):
        for u in range(count):
            stride = 2 if k > 0 and u == 0 else 1
            key = group_key(k, u)
            active = norm(state, f"{key}.norm", x, training).relu()
            changed = stride == 2 or (u == 0 and kernels == (1, 3, 1))
            shortcut = conv(state, f"{key}.projection", active, stride) if changed else x
            out = active
            for layer, kernel in enumerate(kernels):
                if layer > 0:
                    out = norm(state, f"{key}.branch.{3 * layer - 2}", out, training).relu()
                strided = layer == kernels.index(3)
                out = conv(state, f"{key}.branch.{3 * layer}", out, stride if strided else 1, kernel // 2)
            x = out + shortcut
    head = f"stages.{len(units)}"
    if final_norm:
        x = norm(state, f"{head}.0", x, training).relu()
    return linear(state, f"{head}.4" if f"{head}.4.weight" in state else f"{head}.2", x.mean((2, 3)))


PREACT = {"preact_resnet18": ((2, 2, 2, 2), (3, 3)), "preact_resnet50": ((3, 4, 6, 3), (1, 3, 1))}
PREACT["preact_resnet101"] = ((3, 4, 23, 3), (1, 3, 1))


@train_and_eval
@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("name", PREACT)
def test_preact_resnet(name, official, training):
    units, kernels = PREACT[name]
    net, state, x = prepared(name, (3, 9, 12), training, width=1 / 16, official=official)

    def reference(x, final_norm=not official):
        return preact_reference(state, x, units, training, kernels=kernels, final_norm=final_norm)

    assert gap(net, x, reference) < TOLERANCE
    if not official:
        assert gap(net, x, lambda x: reference(x, final_norm=False)) > 1e-3


def wide_reference(state, x, n, training, *, official, strided):
    """``strided``: which convolution of a unit has its stride."""
    x = conv(state, "stages.0.0", x, padding=1)
    first = 0 if official else -2  # the official branch begins with BatchNorm and ReLU
    for k in range(3):
        for u in range(n):
            stride = 2 if k > 0 and u == 0 else 1
            key = group_key(k, u)
            active = norm(state, f"{key}.branch.0" if official else f"{key}.norm", x, training).relu()
            shortcut = x
            if u == 0:
                projection = f"{key}.shortcut" if official else f"{key}.projection"
                shortcut = conv(state, projection, x if official else active, stride)
            out = conv(state, f"{key}.branch.{first + 2}", active, stride if strided == 0 else 1, 1)
            out = norm(state, f"{key}.branch.{first + 3}", out, training).relu()
            x = conv(state, f"{key}.branch.{first + 5}", out, stride if strided == 1 else 1, 1) + shortcut
    return linear(state, "stages.3.4", norm(state, "stages.3.0", x, training).relu().mean((2, 3)))


@train_and_eval
@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_wide_resnet(n, official, training):
    net, state, x = prepared("wrn28_10", (3, 9, 12), training, depth=6 * n + 4, widen_factor=2, official=official)

    def reference(x, strided=int(official)):
        return wide_reference(state, x, n, training, official=official, strided=strided)

    assert gap(net, x, reference) < TOLERANCE
    assert gap(net, x, lambda x: reference(x, strided=int(not official))) > 1e-3


@train_and_eval
@pytest.mark.parametrize("shape", [(1, 21, 16), (3, 18, 19)])
def test_lenet(shape, training):
    net, state, x = prepared("lenet", shape, training, width=0.2)

    def reference(x, dropout=0.5):
        x = functional.max_pool2d(conv(state, "stages.0.0", x), 2).relu()
        x = functional.dropout2d(conv(state, "stages.1.0", x), dropout, training)
        x = functional.max_pool2d(x, 2).relu().flatten(1)
        x = functional.dropout(linear(state, "stages.2.1", x).relu(), 0.5, training)
        return linear(state, "stages.3", x)

    assert gap(net, x, reference) < TOLERANCE
    assert not training or gap(net, x, lambda x: reference(x, dropout=0.0)) > 1e-3


VGG = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2)}


@train_and_eval
@pytest.mark.parametrize("name", VGG)
def test_vgg(name, training):
    net, state, x = prepared(name, (2, 33, 64), training, width=1 / 16)

    def reference(x, between=lambda hidden: hidden):
        for block, convolutions in enumerate(VGG[name]):
            for layer in range(convolutions):
                x = conv(state, f"stages.{block}.{3 * layer}", x, padding=1)
                x = norm(state, f"stages.{block}.{3 * layer + 1}", x, training).relu()
            x = functional.max_pool2d(x, 2)
        return linear(state, "stages.5.2", between(linear(state, "stages.5.1", x.flatten(1))))

    assert gap(net, x, reference) < TOLERANCE
    assert gap(net, x, lambda x: reference(x, between=torch.relu)) > 1e-3


def test_mlp():
    net, state, x = prepared("mlp", (2, 3), True, hidden=(5, 4))

    def reference(x):
        hidden = linear(state, "stages.0.1.0", x.reshape(4, 6)).relu()
        return linear(state, "stages.2", linear(state, "stages.1.0", hidden).relu())

    assert gap(net, x, reference) < TOLERANCE
    assert gap(net, x, lambda x: reference(x.transpose(1, 2))) > 1e-3
