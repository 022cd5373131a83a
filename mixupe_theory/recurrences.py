"""Taylor recurrences: from the normalized coefficients of u(t) to those of F(u(t)).

Every function takes and returns tensors of shape (order + 1, ...) whose row k is the k-th Taylor coefficient,
u^(k)(0)/k!. Each rule is the differential equation of F read off coefficient by coefficient: from w' = p u' follows
k w_k = sum_{j=1}^k j u_j p_{k-j}. Coupled forms are chosen so that no digit is lost where F saturates.
"""

from __future__ import annotations

import math

import torch

Coefficients = torch.Tensor


def mul(u: Coefficients, w: Coefficients) -> Coefficients:
    """Product of two series (Cauchy)."""
    return torch.stack([sum(u[j] * w[k - j] for j in range(k + 1)) for k in range(len(u))])


def div(u: Coefficients, w: Coefficients) -> Coefficients:
    """Quotient of two series: from q w = u."""
    q = []
    for k in range(len(u)):
        q.append((u[k] - sum(w[j] * q[k - j] for j in range(1, k + 1))) / w[0])
    return torch.stack(q)


def power(u: Coefficients, exponent: float) -> Coefficients:
    """Power of a series: repeated products for a non-negative integer p, else from u w' = p w u'."""
    if float(exponent).is_integer() and exponent >= 0:
        w = torch.cat([torch.ones_like(u[:1]), torch.zeros_like(u[1:])])
        for _ in range(int(exponent)):
            w = mul(w, u)
        return w
    w = [u[0] ** exponent]
    for k in range(1, len(u)):
        w.append(sum((exponent * j - (k - j)) * u[j] * w[k - j] for j in range(1, k + 1)) / (k * u[0]))
    return torch.stack(w)


def exp(u: Coefficients) -> Coefficients:
    """w' = w u'."""
    w = [u[0].exp()]
    for k in range(1, len(u)):
        w.append(_integrate(u, w, k))
    return torch.stack(w)


def log(u: Coefficients) -> Coefficients:
    """u w' = u'."""
    w = [u[0].log()]
    for k in range(1, len(u)):
        w.append((u[k] - sum(j * w[j] * u[k - j] for j in range(1, k)) / k) / u[0])
    return torch.stack(w)


def sin_cos(u: Coefficients) -> tuple[Coefficients, Coefficients]:
    """s' = c u', c' = -s u'."""
    s, c = [u[0].sin()], [u[0].cos()]
    for k in range(1, len(u)):
        s_k, c_k = _integrate(u, c, k), -_integrate(u, s, k)
        s.append(s_k)
        c.append(c_k)
    return torch.stack(s), torch.stack(c)


def sigmoid(u: Coefficients) -> Coefficients:
    """s' = p u', p' = p r u', r' = -2 p u' with p = s(1 - s) from sigma(u) sigma(-u), r = 1 - 2s."""
    s, p, r = [u[0].sigmoid()], [u[0].sigmoid() * (-u[0]).sigmoid()], [-(u[0] / 2).tanh()]
    p_r = []
    for k in range(1, len(u)):
        s_k = _integrate(u, p, k)
        p_r.append(sum(p[i] * r[k - 1 - i] for i in range(k)))
        p.append(_integrate(u, p_r, k))
        r.append(-2 * s_k)
        s.append(s_k)
    return torch.stack(s)


def tanh(u: Coefficients) -> Coefficients:
    """Twice the sigmoid of 2u less 1, so that the derivative starts from sigma sigma and not from 1 - tanh^2."""
    w = 2 * sigmoid(2 * u)
    return torch.cat([u[:1].tanh(), w[1:]])


def softplus(u: Coefficients) -> Coefficients:
    """w' = sigma(u) u', from the analytic log(1 + e^u)."""
    s = sigmoid(u)
    w = [torch.logaddexp(u[0], torch.zeros_like(u[0]))]
    return torch.stack(w + [_integrate(u, s, k) for k in range(1, len(u))])


def gelu(u: Coefficients) -> Coefficients:
    """Exact GELU u Phi(u), with Phi' = phi u' and phi = exp(-u^2/2)/sqrt(2 pi)."""
    phi = exp(-mul(u, u) / 2) / math.sqrt(2 * math.pi)
    cdf = [torch.special.erfc(-u[0] / math.sqrt(2)) / 2]  # keeps its digits for u << 0, which ndtr does not
    cdf = torch.stack(cdf + [_integrate(u, phi, k) for k in range(1, len(u))])
    return mul(u, cdf)


def relu(u: Coefficients) -> Coefficients:
    """ReLU, exactly order by order; at a kink the branch that u(t) takes for small t > 0."""
    sign = torch.zeros_like(u[0])
    for coefficient in u:
        sign = torch.where(sign == 0, coefficient.sign(), sign)
    return torch.where(sign > 0, u, torch.zeros_like(u))


def softmax_family(u: Coefficients, dim: int) -> tuple[Coefficients, Coefficients, Coefficients]:
    """Coupled series of softmax(u), log sum exp(u) (dimension kept) and log_softmax(u), ``dim`` from the end.

    L' = sum p u' and p' = p (u' - L'): no logarithm of a series is taken, which would lose half the digits by
    order 10. The largest logit's series is subtracted first, so that u - L does not cancel where p saturates.
    """
    anchor = u.gather(dim, u[0].argmax(dim, keepdim=True).expand(len(u), *(-1,) * (u.ndim - 1)))
    u = u - anchor
    p, total = [u[0].softmax(dim)], [u[0].logsumexp(dim, keepdim=True)]
    slope = [torch.zeros_like(u[0])]  # k (u_k - L_k)
    for k in range(1, len(u)):
        total.append(sum(j * u[j] * p[k - j] for j in range(1, k + 1)).sum(dim, keepdim=True) / k)
        slope.append(k * (u[k] - total[k]))
        p.append(sum(slope[j] * p[k - j] for j in range(1, k + 1)) / k)
    total = torch.stack(total)
    return torch.stack(p), total + anchor, u - total


def _integrate(u, p, k: int) -> torch.Tensor:
    """The k-th coefficient of w where w' = p u'."""
    return sum(j * u[j] * p[k - j] for j in range(1, k + 1)) / k
