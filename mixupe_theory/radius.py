"""Two independent estimators of a radius of convergence: from Taylor coefficients, and from winding numbers.

The first is what Theorem 1's series uses; the second, slow and of any accuracy asked for, says how good the first is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from mixupe_theory import _validation as check

FIRST_ARC, MOST_POINTS = 64, 2**16
LARGEST_RADIUS = 1e6


def radius_from_coefficients(coefficients: torch.Tensor) -> torch.Tensor:
    """Radii of convergence of vector series by a least-squares linear recurrence over the last orders.

    Where the singularities nearest to 0 are poles, c_k obeys a linear recurrence up to terms that fall geometrically
    (de Montessus de Ballore). Its depth, the number of poles it can hold, is a quarter of the order; it is fitted to
    the last half of the orders by all components jointly, since they share their poles. Its largest root is 1/radius.

    Args:
        coefficients: Taylor coefficients, (order + 1, p, components), float64.

    Returns:
        (p,) radii; inf where at most one coefficient of the last half differs from 0. For their accuracy see
        :func:`mixupe_theory.theorem1.convergence_radius`.

    Example:
        >>> k = torch.arange(41, dtype=torch.float64)
        >>> [round(r, 9) for r in radius_from_coefficients(torch.stack([2.0**-k, 3.0**k], 1)[..., None]).tolist()]
        [2.0, 0.333333333]
    """
    order = len(coefficients) - 1
    depth, window = order // 4, order // 2
    size = coefficients.norm(dim=-1)
    moving = (size[-window:] > 0).sum(0) > 1
    coefficients, size = coefficients[:, moving], size[:, moving]
    # a first estimate, by regression of log |c_k| on k, brings the coefficients to one scale; of two successive orders
    # the larger counts, since every other one may be 0, or next to it
    k = torch.arange(order + 1).to(coefficients)[:, None]
    size = torch.maximum(size[1:], size[:-1])
    seen = (size[-window:] > 0).to(size)
    mean = lambda values: (seen * values).sum(0) / seen.sum(0)  # noqa: E731
    log_size = size[-window:].log().nan_to_num(neginf=0.0)
    centred = k[-window:] - mean(k[-window:])
    log_scale = -mean(centred * log_size) / mean(centred**2)
    shift = mean(log_size + k[-window:] * log_scale)
    coefficients = coefficients * torch.exp(k * log_scale - shift)[..., None]
    past = [coefficients[order + 1 - window - d : order + 1 - d] for d in range(1, depth + 1)]
    columns = torch.stack([c.transpose(0, 1).flatten(1) for c in past], -1)
    last = coefficients[order + 1 - window :].transpose(0, 1).flatten(1)[..., None]
    recurrence = torch.linalg.lstsq(columns.cpu(), last.cpu(), rcond=1e-10, driver="gelsd").solution[..., 0]
    companion = torch.diag_embed(torch.ones(len(recurrence), depth - 1, dtype=recurrence.dtype), -1)
    companion[:, 0] = recurrence
    largest = torch.linalg.eigvals(companion).abs().amax(-1)
    radius = coefficients.new_full(moving.shape, torch.inf)
    radius[moving] = log_scale.exp() / largest.to(log_scale)
    return radius


def radius_by_contour(
    f: nn.Sequential, x: torch.Tensor, v: torch.Tensor, head: str = "softmax", *, rtol: float = 1e-4
) -> float:
    """Radius of convergence of a -> g(f(x + a v)) by bisection on :func:`singular_within`.

    Args:
        f: As in :func:`singular_within`.
        x: One point, (d,), float64.
        v: One displacement, (d,).
        head: "softmax" or "sigmoid".
        rtol: Relative width of the bracket returned from, at least 1e-9.

    Returns:
        The radius within rtol; inf where there is no singularity within 1e6.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.

    Example:
        >>> f = nn.Sequential(nn.Linear(1, 1, bias=False, dtype=torch.float64))
        >>> f[0].weight.data.fill_(2.0)
        tensor([[2.]], dtype=torch.float64)
        >>> one = torch.ones(1, dtype=torch.float64)  # sigmoid(2 + 2 a) has its poles where 2 + 2 a = i pi + 2 pi i k
        >>> round(radius_by_contour(f, one, one, "sigmoid") / (1 + torch.pi**2 / 4) ** 0.5, 3)
        1.0
    """
    if not check.positive("rtol", rtol) >= 1e-9:
        raise ValueError(f"rtol must be at least 1e-9, got {rtol:g}")
    low = high = 1.0
    while not singular_within(high, f, x, v, head):
        low, high = high, 2 * high
        if low > LARGEST_RADIUS:
            return float("inf")
    while low == high or singular_within(low, f, x, v, head):
        low, high = low / 2, low
    while high / low - 1 > rtol:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if singular_within(middle, f, x, v, head) else (middle, high)
    return (low * high) ** 0.5


def singular_within(radius: float, f: nn.Sequential, x: torch.Tensor, v: torch.Tensor, head: str = "softmax") -> bool:
    """Whether a -> g(f(x + a v)) has a singularity in the disc |a| < radius, by the argument principle.

    tanh(u) has its poles at the zeros of 1 + e^(2u), sigmoid(u) and SiLU(u) theirs at those of 1 + e^u, softmax(f) at
    those of sum_j e^(f_j). The first of these functions, layer by layer, that has a zero in the disc is analytic
    there, so that its winding number along the circle counts its zeros; if none winds there is no singularity. No
    residue is too small to be seen. By symmetry half the circle is walked, from a = radius to -radius. Arcs are halved
    until the logarithm of every function moves by at most 1/2 on each, judged by its derivative at both ends: next to
    a zero it is 1/distance, so that arcs are half as long as the distance to the next zero. (A zero is missed only if
    others cancel its derivative at every point.) Where 2^16 points do not suffice, the circle meets a zero to all
    digits, which counts as within. Everything is evaluated here, in NumPy's complex arithmetic.

    Args:
        radius: Radius of the circle, > 0.
        f: A Sequential of Linear, Tanh, Sigmoid and SiLU, float64. (Not Softplus: a point does not tell its branch.)
        x: One point, (d,).
        v: One displacement, (d,).
        head: "softmax" or "sigmoid".

    Returns:
        True if there is a singularity.

    Raises:
        TypeError, ValueError: On bad arguments, naming them.
    """
    radius = check.positive("radius", radius)
    layers = _layers(f)
    for name, value in (("x", x), ("v", v)):
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float64 or value.ndim != 1:
            raise TypeError(f"{name} must be a float64 tensor of shape (d,), got {check.kind(value)}")
    check.head(head)
    point, displacement = x.detach().numpy(), v.detach().numpy()

    def along(angle):
        """Phases and logarithmic derivatives of all functions at radius e^(i angle), (2, points, functions) each."""
        a = radius * np.exp(1j * angle)[:, None]
        with np.errstate(all="ignore"):  # next to a pole of an earlier layer; seen as a derivative that is not finite
            return list(_functions(layers, point + a * displacement, 1j * a * displacement, head))

    angle = np.linspace(0, np.pi, FIRST_ARC + 1)
    functions = along(angle)
    for layer in range(len(functions)):
        while True:
            slope = functions[layer][1]
            steep = np.maximum(slope[1:], slope[:-1]).max(1) * np.diff(angle)
            coarse = np.flatnonzero(~(steep <= 0.5))
            if len(coarse) == 0:
                break
            if len(angle) > MOST_POINTS or np.diff(angle).min() < 1e-13:
                return True
            halves = (angle[coarse] + angle[coarse + 1]) / 2
            functions = [np.insert(a, coarse + 1, b, 1) for a, b in zip(functions, along(halves), strict=True)]
            angle = np.insert(angle, coarse + 1, halves)
        step = np.diff(functions[layer][0], axis=0)
        turned = (step - 2 * np.pi * np.round(step / (2 * np.pi))).sum(0)  # pi times the number of zeros
        if (np.abs(turned) > np.pi / 2).any():
            return True
    return False


def _layers(f) -> list[nn.Module]:
    layers = list(f) if isinstance(f, nn.Sequential) else []
    if not layers or not all(isinstance(layer, (nn.Linear, nn.Tanh, nn.Sigmoid, nn.SiLU)) for layer in layers):
        raise TypeError(f"f must be a Sequential of Linear, Tanh, Sigmoid and SiLU, got {f}")
    return layers


def _functions(layers, z: np.ndarray, dz: np.ndarray, head: str) -> Iterator[np.ndarray]:
    """Phase and |logarithmic derivative| of every function whose zeros are singularities, layer by layer."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            weight = layer.weight.detach().numpy().T
            z = z @ weight + (0 if layer.bias is None else layer.bias.detach().numpy())
            dz = dz @ weight
        elif isinstance(layer, nn.Tanh):
            yield _one_plus_exp(2 * z, 2 * dz)
            z = np.tanh(z)
            dz = (1 - z**2) * dz
        else:
            yield _one_plus_exp(z, dz)
            sigmoid = (1 + np.tanh(z / 2)) / 2
            prime = sigmoid * (1 - sigmoid)
            if isinstance(layer, nn.SiLU):
                z, dz = z * sigmoid, (sigmoid + z * prime) * dz
            else:
                z, dz = sigmoid, prime * dz
    if head == "sigmoid":
        yield _one_plus_exp(z, dz)
        return
    if z.shape[-1] == 1:
        return  # the softmax of one logit is constant
    e = np.exp(z - z.real.max(-1, keepdims=True))
    total = e.sum(-1, keepdims=True)
    yield np.stack([np.angle(total), np.abs((e * dz).sum(-1, keepdims=True) / total)])


def _one_plus_exp(z: np.ndarray, dz: np.ndarray) -> np.ndarray:
    """1 + e^z, as e^z (1 + e^-z) where Re z > 0."""
    right = z.real > 0
    e = np.exp(np.where(right, -z, z))
    phase = np.angle(1 + e) + np.where(right, z.imag, 0)
    return np.stack([phase, np.abs(dz * np.where(right, 1, e) / (1 + e))])
