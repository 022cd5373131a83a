"""Compiled loops of the training dynamics; tests compare them with ``readings.LinearLoss``, which is plain."""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def _softplus(u):
    return max(u, 0.0) + np.log1p(np.exp(-abs(u)))


@compiled
def fill_gradient(z, pairs, signs, nodes, weights, w, with_loss, margins, pull, gradient):
    """Put grad L(w) into ``gradient`` and -dL/dm_i into ``pull``; return L(w) if asked for, else 0."""
    n, d = z.shape
    loss = 0.0
    for i in range(n):
        margins[i] = 0.0
        for k in range(d):
            margins[i] += z[i, k] * w[k]
        pull[i] = 0.0
    for i in range(n):
        for j in range(n):
            if pairs[i, j] == 0.0:
                continue
            first, second = margins[i], signs[i, j] * margins[j]
            if i == j:
                pull[i] += pairs[i, i] / (1.0 + np.exp(first))
                if with_loss:
                    loss += pairs[i, i] * _softplus(-first)
                continue
            total, own = 0.0, 0.0
            for k in range(len(nodes)):
                mixed = second + nodes[k] * (first - second)
                part = weights[k] / (1.0 + np.exp(mixed))
                total += part
                own += nodes[k] * part
                if with_loss:
                    loss += pairs[i, j] * weights[k] * _softplus(-mixed)
            pull[i] += pairs[i, j] * own
            pull[j] += pairs[i, j] * signs[i, j] * (total - own)
    for k in range(d):
        gradient[k] = 0.0
        for i in range(n):
            gradient[k] -= pull[i] * z[i, k]
    return loss


@compiled
def iterate(z, pairs, signs, nodes, weights, start, rate, momentum, normalized, penalty, tolerance, at, out):
    """Fill out[k] with w at step at[k]; return the step at which the gradient met the tolerance, or -1."""
    n, d = z.shape
    w, change, gradient = start.copy(), np.zeros(d), np.empty(d)
    margins, pull = np.empty(n), np.empty(n)
    record = 0
    for step in range(at[-1] + 1):
        while record < len(at) and at[record] == step:
            out[record] = w
            record += 1
        scale = rate
        loss = fill_gradient(z, pairs, signs, nodes, weights, w, penalty > 0.0, margins, pull, gradient)
        if penalty > 0.0:  # MixupE
            added = 0.0
            for i in range(n):
                wrong = 1.0 / (1.0 + np.exp(margins[i]))
                added += penalty / n * abs(margins[i]) * wrong
                slope = np.sign(margins[i]) * wrong * (1.0 - margins[i] * (1.0 - wrong))
                for k in range(d):
                    gradient[k] += penalty / n * slope * z[i, k]
            scale = rate * loss / (loss + added)
        size = 0.0
        for k in range(d):
            size += gradient[k] ** 2
        size = np.sqrt(size)
        if size <= tolerance or not np.isfinite(size):
            for rest in range(record, len(at)):
                out[rest] = w
            return step if size <= tolerance else -1
        if normalized:
            scale = scale / (np.sqrt(step + 1.0) * size)
        for k in range(d):
            change[k] = momentum * change[k] - scale * gradient[k]
            w[k] += change[k]
    return -1


@compiled
def mix_and_step(z, s, partner, lam, start, rate, path):
    """One step for each row of ``partner`` and ``lam``; path[t] is w before step t, returned is w after the last."""
    n, d = z.shape
    w, gradient = start.copy(), np.empty(d)
    for step in range(len(partner)):
        path[step] = w
        gradient[:] = 0.0
        for i in range(n):
            j, own = partner[step, i], lam[step, i]
            logit = 0.0
            for k in range(d):
                logit += w[k] * (own * s[i] * z[i, k] + (1.0 - own) * s[j] * z[j, k])
            label = (own * (s[i] + 1.0) + (1.0 - own) * (s[j] + 1.0)) / 2.0
            error = 1.0 / (1.0 + np.exp(-logit)) - label
            for k in range(d):
                gradient[k] += error / n * (own * s[i] * z[i, k] + (1.0 - own) * s[j] * z[j, k])
        for k in range(d):
            w[k] -= rate * gradient[k]
    return w
