"""MixupE in half precision, on devices, without waiting for them, and compiled."""

import copy

import numpy as np
import pytest
import torch
from objective_cases import GRAPH_BREAKS, NAN, TARGETS, close, every_variant, gradient, problem
from torch import nn

from mixupe_theory import MixupE

pytestmark = pytest.mark.usefixtures("forward_mode")
# --- precision, devices, compilers


@every_variant
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_gives_a_float32_loss(variant, dtype, autocast):
    """2^-8 = 4e-3 per operation in bfloat16, some in a row; the gradient is finite."""
    model, x, y, _, _, x_mean, permutation, _ = problem(n=8)
    model = nn.Sequential(model[0], nn.BatchNorm1d(4), *model[1:]).double()
    criterion, draws = MixupE(eta=0.1, variant=variant, x_mean=x_mean), {"lam": 0.3, "permutation": permutation}
    wanted = torch.stack(criterion.terms(copy.deepcopy(model), x, y, **draws))
    kind = torch.float32 if autocast else dtype
    half, criterion = model.to(kind), criterion.to(kind)
    with torch.autocast("cpu", dtype, enabled=autocast):
        terms = criterion.terms(half, x.to(kind), y, **draws)
    loss = criterion.combine(*terms)
    assert terms[0].dtype == loss.dtype == torch.float32
    torch.testing.assert_close(torch.stack(terms).double(), wanted, rtol=0, atol=10 * 4e-3)
    assert gradient(loss, half).isfinite().all()


def on(device, kind, dtype=torch.float32):
    """(model with BatchNorm, x, y, criterion's arguments, draws) on a device."""
    model, x, y, head, _, x_mean, permutation, lam = problem(kind, n=6)
    model = nn.Sequential(model[0], nn.BatchNorm1d(4), *model[1:]).to(device, dtype)
    x, x_mean, lam = (t.to(device, dtype) for t in (x, x_mean, lam))
    y = (y.to(dtype) if y.is_floating_point() else y).to(device)
    return model, x, y, {"head": head, "x_mean": x_mean}, {"lam": lam, "permutation": permutation.to(device)}


@every_variant
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("drawn", [False, True])
def test_nothing_is_read_from_the_device(variant, kind, drawn):
    """Tensors on "meta" have no values: any look at one raises."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(torch.ones(1, device="meta").isnan().any())
    model, x, y, arguments, draws = on("meta", kind)
    if drawn:
        draws = {"generator": np.random.default_rng(0)}
    loss = MixupE(variant=variant, eta=0.1, **arguments)(model, x, y, **draws)
    loss.backward()
    assert (loss.device.type, loss.shape, loss.dtype) == ("meta", (), torch.float32)
    assert all(p.grad.device.type == "meta" for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_variant
@pytest.mark.parametrize(("kind", "drawn"), [("indices", True), ("soft", False), ("soft", None)])
def test_cuda_equals_the_cpu_and_never_waits(variant, kind, drawn):
    """float64: some roundings more or less."""
    results = {}
    for device in ("cpu", "cuda"):
        model, x, y, arguments, draws = on(device, kind, torch.float64)
        criterion = MixupE(variant=variant, eta=0.1, **arguments)
        if drawn is not False:  # by a generator, or by the default ones
            draws = {"generator": np.random.default_rng(0)} if drawn else {}
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss = criterion(model, x, y, **draws)
            loss.backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results[device] = torch.cat([loss.detach()[None].cpu(), *(p.grad.flatten().cpu() for p in model.parameters())])
    if drawn is None:
        assert results["cuda"].isfinite().all()
    else:
        close(results["cuda"], results["cpu"])


def compiled(criterion):
    torch._dynamo.reset()
    return torch.compile(criterion, backend="aot_eager", fullgraph=criterion.variant not in GRAPH_BREAKS)


@every_variant
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(("kind", "model_too"), [("indices", False), ("sigmoid soft", True)])
def test_compiled_equals_eager(variant, kind, model_too):
    """The same operations in the same order, up to some roundings: 1e-12; running statistics as well.

    The warning is torch's own, when it goes on after a graph break with a tensor that is not a leaf.
    """
    model, x, y, arguments, draws = on("cpu", kind, torch.float64)
    criterion, other = MixupE(variant=variant, eta=0.1, **arguments), copy.deepcopy(model)
    wanted = criterion(model, x, y, **draws)
    fast = compiled(criterion)
    loss = fast(torch.compile(other, backend="aot_eager") if model_too else other, x, y, **draws)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(loss, other), gradient(wanted, model), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=1e-12, atol=1e-12)


NOT_ALLOWED = [
    ("lam", torch.tensor(1.5)),
    ("lam", torch.tensor(-1e-3)),
    ("lam", torch.tensor([0.25, 0.5, NAN, 1])),
    ("permutation", torch.tensor([1, 1, 3, 0])),
    ("permutation", torch.tensor([1, 2, 9, 0])),
    ("y", torch.tensor([0, 3, 1, 2])),
    ("y", torch.tensor([0, -1, 1, 2])),
    ("y", torch.eye(4, 3) + 0.01),
]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("variant", ["deck", "exact", "official_v1"])
def test_values_that_are_not_allowed_become_nan_where_nobody_may_look(variant):
    """In a compiled graph; the official q, outside of it, may look at y and raises. In eager mode all raise."""
    draws = {"lam": torch.tensor(0.25), "permutation": torch.tensor([1, 2, 3, 0])}
    good = {"model": problem()[0].float(), "x": torch.ones(4, 2), "y": torch.tensor([0, 2, 1, 2]), **draws}
    eager, fast = MixupE(variant=variant), compiled(MixupE(variant=variant))
    assert fast(**good).isfinite()
    for name, value in NOT_ALLOWED:
        with pytest.raises(ValueError, match=rf"{name}\b.* must"):
            eager(**{**good, name: value})
        if name == "y" and variant in GRAPH_BREAKS:
            with pytest.raises(ValueError, match=r"y\b.* must"):
                fast(**{**good, name: value})
        else:
            assert fast(**{**good, name: value}).isnan(), (name, value)


@every_variant
def test_compiled_parts_of_a_model_run_as_written_where_they_must(variant):
    """Neither forward mode nor a double backward passes through compiled code."""
    torch._dynamo.reset()
    model, x, y, *_ = problem()
    criterion = MixupE(variant=variant)
    wanted = criterion.penalty(model, x, y)
    parts = nn.Sequential(torch.compile(model[:2], backend="aot_eager"), model[2])
    for other in (parts, torch.compile(model.forward, backend="aot_eager"), lambda x: parts(x)):
        torch.testing.assert_close(criterion.penalty(other, x, y), wanted, rtol=1e-12, atol=0)
