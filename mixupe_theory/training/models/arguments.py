"""Checks of what a network is built from; every error names the argument, what came and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable

from mixupe_theory import _validation as check


def sizes(name: str, value, allowed: str) -> tuple[int, ...]:
    """Return ``value``, several positive integers, as a tuple."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be {allowed}, got {value!r} of type {type(value).__name__}")
    return tuple(check.integer(f"each entry of {name}", size, least=1) for size in value)


def array_shape(shape, axes: tuple[str, ...], least: int = 1) -> tuple[int, ...]:
    """Return the shape of one input that has these axes, of which height and width are at least ``least``."""
    allowed = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
    shape = sizes("shape", shape, allowed)
    if len(shape) != len(axes):
        raise ValueError(f"shape must be {allowed} for this model, got {shape}")
    if min(shape[1:], default=least) < least:
        raise ValueError(f"shape must be {allowed} with height and width >= {least} for this model, got {shape}")
    return shape


def image_shape(shape, least: int = 1) -> tuple[int, int, int]:
    """Return the shape (channels, height, width) of an image at least ``least`` high and wide."""
    return array_shape(shape, ("channels", "height", "width"), least)


def scaled(units: int, width: float) -> int:
    """Return ``units`` times ``width``, rounded: the size of a layer, at least 1."""
    size = round(units * check.positive("width", width))
    if size < 1:
        raise ValueError(f"width must leave a layer of {units} units at least one, got {width}")
    return size


def flag(name: str, value) -> bool:
    """Return ``value``, True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return value
