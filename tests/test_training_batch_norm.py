"""BatchNorm by halves against two passes."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mixupe_theory.training.batch_norm import separate_halves

SHAPES = st.sampled_from([(3,), (3, 5), (2, 4, 3), (2, 3, 2, 2)])
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}


@given(
    SHAPES,
    st.integers(2, 4),
    st.sampled_from([None, 0.1, 0.9]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_halves_are_two_passes(shape, n, momentum, affine, track, compiled, seed):
    """Outputs, gradients and running statistics, eager and as it is compiled, in float64 to rounding."""
    generator = torch.Generator().manual_seed(seed)
    norm = NORMS[len(shape)](shape[0], momentum=momentum, affine=affine, track_running_stats=track).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter, generator=generator)
    joint = copy.deepcopy(norm)
    separate_halves(joint)
    x = 3 + torch.randn((2 * n, *shape), generator=generator, dtype=torch.float64)
    weights = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    for _ in range(2):
        expected = torch.cat([norm(inputs[0][:n]), norm(inputs[0][n:])])
        given_ = joint._in_one(inputs[1]) if compiled else joint(inputs[1])
        torch.testing.assert_close(given_, expected, rtol=1e-9, atol=1e-9)  # a variance may be small
    for out, module, start in ((expected, norm, inputs[0]), (given_, joint, inputs[1])):
        (out * weights).sum().backward()
        module.of_inputs = start.grad
    torch.testing.assert_close(joint.of_inputs, norm.of_inputs, rtol=1e-7, atol=1e-7)
    for ours, theirs in zip(joint.parameters(), norm.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-8)
    assert joint.state_dict().keys() == norm.state_dict().keys()
    for ours, theirs in zip(joint.state_dict().values(), norm.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for module in (norm, joint):
        module.eval()
    torch.testing.assert_close(joint(x), norm(x), rtol=1e-9, atol=1e-9)


def test_other_normalizations_are_refused():
    class Own(nn.BatchNorm2d):
        pass

    for norm in (nn.SyncBatchNorm(2), Own(2)):
        with pytest.raises(TypeError, match=r"layer '1' must be .* got (SyncBatchNorm|Own)"):
            separate_halves(nn.Sequential(nn.Flatten(), norm))
    separate_halves(network := nn.Sequential(nn.BatchNorm2d(2)))
    separate_halves(network)  # a second time changes nothing
