"""All directions of the plane from K + 2 of them: Taylor coefficients of every pair for inputs with d = 2.

Order k of v -> f(x + v) is a homogeneous polynomial of degree k, so on a circle |v| = s it is a trigonometric
polynomial with frequencies k, k - 2, ..., k + 1 numbers in all:

    J^k f(x) v^k / k! = (|v|/s)^k sum_{l = k, k-2, ... >= 0} a_kl cos(l theta) + b_kl sin(l theta),

with theta the angle of v. N = K + 2 jets in equally spaced directions determine them all by discrete orthogonality, and
one product of small matrices per anchor replaces the jets to all other points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from mixupe_theory import _validation as check
from mixupe_theory import pairwise
from mixupe_theory.taylor import taylor_coefficients
from mixupe_theory.tracing import NotTraced, Pairs

JETS = 2**15  # jets computed at once
PAIRS = 4096  # pairs evaluated at once


@dataclass(frozen=True)
class PlanarSeries:
    """Taylor coefficients of f at anchors x_i in the plane, in every direction.

    Attributes:
        x: Anchors, (n, 2).
        scale: s_i, the length of the directions expanded along, (n,).
        spectrum: (n, 2 (K + 1), (K + 1) c): rows a_k0 .. a_kK, then b_k0 .. b_kK; columns order by order.
        outputs: c.
    """

    x: torch.Tensor
    scale: torch.Tensor
    spectrum: torch.Tensor
    outputs: int

    def __getitem__(self, anchors: slice) -> PlanarSeries:
        """The same at some of the anchors."""
        return PlanarSeries(self.x[anchors], self.scale[anchors], self.spectrum[anchors], self.outputs)

    def along(self, v: torch.Tensor) -> torch.Tensor:
        """J^k f(x_i) v^k / k! along m directions at each anchor, as for a rose of radii of convergence.

        Args:
            v: Directions, (n, m, 2), of x's dtype and device.

        Returns:
            A tensor of shape (K + 1, n, m, c). The error of order k is some roundings of its largest value over all
            directions of v's length, not of the value itself; see :func:`planar_jet`.
        """
        if not isinstance(v, torch.Tensor) or v.dtype != self.x.dtype or v.device != self.x.device:
            raise TypeError(f"v must be a tensor of {self.x.dtype} on {self.x.device}, got {check.kind(v)}")
        if v.ndim != 3 or v.shape[0] != len(self.x) or v.shape[2] != 2:
            raise ValueError(f"v must have shape ({len(self.x)}, m, 2), got {tuple(v.shape)}")
        orders = torch.arange(self.spectrum.shape[1] // 2, device=v.device, dtype=v.dtype)
        values = _waves(torch.atan2(v[..., 1], v[..., 0]), orders) @ self.spectrum
        length = torch.linalg.vector_norm(v, dim=-1, keepdim=True) / self.scale[:, None, None]
        return (values.unflatten(2, (-1, self.outputs)) * (length**orders)[..., None]).movedim(2, 0)


@torch.no_grad()
def planar_series(f: Callable, x: torch.Tensor, order: int) -> PlanarSeries:
    """Expand f at each of n points of the plane in all directions, from K + 2 jets per point.

    K + 1 jets would do. One more leaves, at order k, N - k - 1 >= 1 frequencies that must vanish; at a kink of ReLU
    they do not, since order k is there no polynomial in v. The directions' angles are pi m (N + 1)/N, m < N = K + 2: up
    to sign equally spaced on the half circle, but every half plane contains some of them and misses some, so that no
    kink passes between them. A kink is refused where its jump at |v| = s_i is above the square root of a rounding of f.

    Args:
        f: As in :func:`mixupe_theory.taylor.taylor_coefficients`, real analytic at the points.
        x: Points, (n, 2), floating point.
        order: Highest order K, at least 1.

    Returns:
        A :class:`PlanarSeries`, without gradients; s_i reaches from x_i to the farthest corner of the points'
        bounding box (1 where all points are one).

    Raises:
        NoTaylorRule: (a ValueError) naming the layer that cannot be expanded.
        TypeError, ValueError: On bad arguments, naming them, and where f has a kink at a point.

    Example:
        >>> x = torch.zeros(1, 2, dtype=torch.float64)
        >>> series = planar_series(lambda x: x[:, :1] * x[:, 1:], x, order=2)
        >>> directions = torch.tensor([[[1.0, 0.0], [2.0, 3.0]]], dtype=torch.float64)
        >>> [round(c, 12) for c in series.along(directions)[2].flatten().tolist()]
        [0.0, 6.0]
    """
    if check.inputs("x", x).ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x must have shape (n, 2), points of the plane, got {tuple(x.shape)}")
    order = check.integer("order", order, least=1)
    size = order + 2
    frequency = torch.arange(order + 1, dtype=torch.float64)
    angle = torch.pi * (size + 1) / size * torch.arange(size, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], -1).to(x)
    waves = _waves(angle, frequency)
    analysis = (waves * (2 - (frequency == 0).double()).repeat(2) / size).T.to(x)
    waves, present = waves.to(x), _frequencies(order).to(x)[:, None, :, None]
    scale = torch.linalg.vector_norm(torch.maximum(x - x.amin(0), x.amax(0) - x), dim=1)
    scale = torch.where(scale > 0, scale, 1)

    spectra, anchors = [], max(1, JETS // size)
    for points, s in zip(x.split(anchors), scale.split(anchors), strict=True):
        directions = (s[:, None, None] * circle).flatten(0, 1)
        jets = _fans(f, points, directions, order).unflatten(1, (-1, size))  # (K + 1, n, N, c)
        spectrum = present * (analysis @ jets)
        _refuse_kinks(points, jets, waves @ spectrum)
        spectra.append(spectrum.permute(1, 2, 0, 3).flatten(2))
    return PlanarSeries(x, scale, torch.cat(spectra), jets.shape[-1])


def planar_jet(f: Callable, x: torch.Tensor, order: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Taylor coefficients along every displacement x_j - x_i of points of the plane, from n (K + 2) jets, not n^2.

    It is :func:`mixupe_theory.taylor.pairwise_jet` for d = 2, except in accuracy: the error of order k of a pair is
    relative to the largest value among all directions of its length, some M (|v|/R_i)^k where R_i is the smallest
    radius of convergence over the directions at x_i. Along a direction that converges further, to R > R_i, order k has
    k log10(R/R_i) digits fewer, and none where that exceeds 16 (float64). So it does for sums over partners in all
    directions, whose largest terms keep their digits, and not for the radius of one pair from high orders.

    Args:
        f: As in :func:`planar_series`, real analytic at the points.
        x: Points, (n, 2), floating point.
        order: Highest order, at least 1.

    Returns:
        An iterator of (i, j, coefficients): indices of shape (p,) and coefficients (order + 1, p, c) of
        a -> f(x_i + a (x_j - x_i)), without gradients. Iterated to the end it visits each of the n^2 ordered pairs
        once.

    Raises:
        NoTaylorRule, TypeError, ValueError: As :func:`planar_series`, at the call and not at the first chunk.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
        >>> ((i, j, coefficients),) = planar_jet(lambda x: x.sum(1, keepdim=True), x, order=2)
        >>> [round(c, 12) for c in coefficients[1].flatten().tolist()]
        [0.0, 3.0, -3.0, 0.0]
    """
    return _pairs(planar_series(f, x, order))


def _fans(f: Callable, x: torch.Tensor, directions: torch.Tensor, order: int) -> torch.Tensor:
    """Coefficients along N directions at each point, (K + 1, n N, c): to pairwise's engine, pairs of a point and N."""
    n, size = len(x), len(directions) // len(x)
    start = x.repeat_interleave(size, 0)
    taylor_coefficients(f, x[:1], directions[:1], order)  # all refusals
    try:
        trace = pairwise.trace(f, torch.cat([x, start + directions]), order)
    except NotTraced:
        return taylor_coefficients(f, start, directions, order)
    return torch.cat([trace.replay(Pairs(i, 1, n + i * size, size, order)) for i in range(n)], 1)


def _pairs(series: PlanarSeries) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    x, index = series.x, torch.arange(len(series.x), device=series.x.device)
    anchors = max(1, PAIRS // len(x))
    for start in range(0, len(x), anchors):
        chunk = slice(start, start + anchors)
        i = index[chunk]
        coefficients = series[chunk].along(x - x[chunk, None])
        yield i.repeat_interleave(len(x)), index.repeat(len(i)), coefficients.flatten(1, 2)


def _waves(angle: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """cos(l angle) for each frequency l, then sin(l angle), (..., 2 (K + 1))."""
    phase = angle[..., None] * frequency
    return torch.cat([phase.cos(), phase.sin()], -1)


def _frequencies(order: int) -> torch.Tensor:
    """Whether order k has frequency l, as cosine and as sine, (K + 1, 2 (K + 1)): l <= k of the same parity."""
    k, l = torch.arange(order + 1)[:, None], torch.arange(order + 1)
    return ((l <= k) & ((k - l) % 2 == 0)).repeat(1, 2)


def _refuse_kinks(x: torch.Tensor, jets: torch.Tensor, fitted: torch.Tensor) -> None:
    """Raise unless each order is a homogeneous polynomial in v, at the points x, up to rounding.

    A smooth f leaves roundings, a kink some tenth of its jump; the square root of a rounding lies between the two. Size
    is the largest coefficient up to order k, since a low order may vanish where its roundings do not.
    """
    left, size = (t.abs().amax((2, 3)) for t in (jets - fitted, jets))  # (K + 1, n)
    kinked = left > torch.finfo(x.dtype).eps ** 0.5 * size.cummax(0).values
    if kinked.any():
        k, i = kinked.nonzero()[0].tolist()
        raise ValueError(
            f"f must be analytic at every point of x, but at {x[i].tolist()} its order {k} is no polynomial in the "
            "direction (a kink, as of ReLU); use pairwise_jet"
        )
