"""Deformations written out pixel by pixel, in Python's numbers."""

import math

import numpy as np

PIVOTS = {"official": 0.5, "centre": -0.5}


def by_loops(image, matrix, pivot="official", nudge=0.0):
    """One image (c, h, w); ``nudge`` moves every tie to one side."""
    _, height, width = image.shape
    (a, b), (c, d) = matrix
    y0, x0 = height / 2 + PIVOTS[pivot], width / 2 + PIVOTS[pivot]
    half = 0.5 + nudge
    out = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            dy, dx = row - y0, column - x0
            y, x = math.floor(a * dy + b * dx + y0 + half), math.floor(c * dy + d * dx + x0 + half)
            if 0 <= y < height and 0 <= x < width:
                out[:, row, column] = image[:, y, x]
    return out
