"""Figures of notebook 03: gradient fields, q against q_hat, the chain of approximations, angles during training."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import lambertw
from torch.nn import functional

from mixupe_theory.claims.objective_measurements import (
    ARCHITECTURES,
    CASES,
    STATES,
    approximation,
    chain,
    relative_error,
    training_angles,
)
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.objective import VARIANTS, MixupE, q_hat
from mixupe_theory.plotting import new_figure

FIELDS = {
    "deck": "deck, exact",
    "deck_detached": "deck_detached, v2",
    "official_v1": "official_v1",
    "official_v3": "official_v3",
    "official_v4": "official_v4 (= ERM)",
}


def _fields() -> dict[str, np.ndarray]:
    """dP/df of a bias-free model with one logit f at label y, in units of E[a]/n; there q = q_hat."""
    logits, labels = np.linspace(-5.95, 5.95, 120), np.linspace(0, 1, 121)
    x = torch.from_numpy(np.tile(logits, len(labels)))[:, None]
    y = torch.from_numpy(np.repeat(labels, len(logits)))
    fields = {}
    for variant in FIELDS:
        weight = torch.ones_like(x).requires_grad_()  # f = weight x, one weight for each point
        criterion = MixupE(1.0, variant=variant, head="sigmoid")
        penalty = criterion.penalty(lambda x, weight=weight: weight * x, x, y)
        (slope,) = torch.autograd.grad(penalty, weight)
        field = slope / x * len(x) / criterion.mean_a
        fields[variant] = field.reshape(len(labels), len(logits)).float().numpy()
    return {"logit": logits, "label": labels, **fields}


def _draw_fields(data):
    figure, axes = new_figure("page", 2.2, ncols=len(FIELDS), sharey=True)
    for axis, (variant, title) in zip(axes, FIELDS.items(), strict=True):
        image = axis.pcolormesh(data["logit"], data["label"], data[variant], cmap="RdBu_r", vmin=-1, vmax=1)
        image.set_rasterized(True)
        axis.contour(data["logit"], data["label"], data[variant], [0], colors="k", linewidths=0.7)
        axis.set(title=title, xlabel="logit $f$", xticks=[-4, 0, 4])
        axis.title.set_fontsize(8)
    axes[0].set_ylabel("label $y$")
    figure.colorbar(image, ax=axes, label=r"$\partial P/\partial f$", ticks=[-1, 0, 1], fraction=0.03, pad=0.02)
    return figure


def _rewards() -> dict[str, np.ndarray]:
    """abs(q_hat) against the margin of the right logit over the others, all equal, and where it stops growing."""
    margin, classes = np.linspace(-4, 12, 321), np.array([2, 10, 100])
    curves = []
    for c in classes:
        logits = functional.pad(torch.from_numpy(margin)[:, None], (0, int(c) - 1))
        curves.append(q_hat(logits, torch.zeros(len(margin), dtype=torch.long)).abs().numpy())
    return {"margin": margin, "classes": classes, "size": np.stack(curves), "top": lambertw((classes - 1) / np.e).real}


def _draw_rewards(data):
    figure, axis = new_figure("column", 2.4)
    for c, curve, top in zip(data["classes"], data["size"], data["top"], strict=True):
        (line,) = axis.plot(data["margin"], curve, label=f"{c} classes")
        axis.plot(1 + top, top, "o", color=line.get_color())
    axis.set(xlabel="margin of the right logit", ylabel=r"$|\hat q|$", ylim=(0, 3.2))
    axis.legend(loc="upper right")
    return figure


SCATTERED = ("centred-relu-biasfree", "centred-relu", "centred-relu-batchnorm", "centred-tanh")
SHOWN = slice(0, 1000, 6)


def _qhat() -> dict[str, np.ndarray]:
    return {
        f"{architecture}_{state}".replace("-", "_"): np.stack(approximation(architecture, state))[:, SHOWN]
        for architecture in SCATTERED
        for state in STATES
        if state != "erm"
    }


def _draw_qhat(data):
    figure, axes = new_figure("page", 3.6, nrows=2, ncols=len(SCATTERED))
    for row, state in enumerate(("before", "mixup-1")):
        for axis, architecture in zip(axes[row], SCATTERED, strict=True):
            exact, approximate = data[f"{architecture}_{state}".replace("-", "_")]
            axis.plot(exact, approximate, ".", ms=2, alpha=0.7)
            axis.axline((0, 0), slope=1, color="k", lw=0.8, ls="-")
            axis.set_aspect("equal", adjustable="datalim")
            axis.locator_params(nbins=3)
            if row == 0:
                axis.set_title(ARCHITECTURES[architecture])
            else:
                axis.set_xlabel("$q$")
        axes[row, 0].set_ylabel(rf"$\hat q$, {STATES[state]}")
    return figure


SHOWN_CASES = sorted(CASES, key=lambda case: (list(ARCHITECTURES).index(case[0]), case[1]))


def _approximations() -> dict[str, np.ndarray]:
    return {
        "network": np.array([CASES[case] for case in SHOWN_CASES]),
        "error": np.array([[relative_error(a, s, training) for s in STATES] for a, training in SHOWN_CASES]),
        # R is the loss of one input at a time: not defined with BatchNorm in training mode
        "chain": np.array([[np.nan] * 3 if training else chain(a, "mixup-1") for a, training in SHOWN_CASES]),
    }


def _draw_approximations(data):
    figure, axes = new_figure("page", 2.9, ncols=2, sharey=True)
    rows = np.arange(len(data["network"]))
    markers = ("o", "s", "D")
    for k, state in enumerate(STATES.values()):
        seen = np.maximum(data["error"][:, k], 0.02)  # 0 has no place on a logarithmic axis
        axes[0].plot(seen, rows, markers[k], label=state)
    axes[0].axvline(1, color="0.5", lw=0.8, ls="-")
    axes[0].set(xscale="log", title=r"mean $|\hat q-q|$ / mean $|q|$")
    axes[0].set_xticks([0.02, 0.1, 1, 10], ["0", "0.1", "1", "10"])
    axes[0].set_yticks(rows, data["network"])
    axes[0].invert_yaxis()
    for k, name in enumerate(("$R$", r"$\mathbb{E}[a]$ mean $q$", r"$\mathbb{E}[a]$ mean $|\hat q|$")):
        axes[1].plot(data["chain"][:, k], rows, markers[k], label=name)
    axes[1].set(xscale="log", title="$R$ and its approximations, after mixup")
    axes[1].set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    for axis in axes:
        axis.minorticks_off()
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, columnspacing=0.8, handletextpad=0)
    return figure


SEEDS = 5
DRAWN = ("deck_detached", "exact", "official_v1", "official_v2", "official_v3", "official_v4")


def _angles() -> dict[str, np.ndarray]:
    runs = [training_angles(seed) for seed in range(SEEDS)]
    return {"step": runs[0]["step"], **{key: np.stack([run[key] for run in runs]) for key in ("deck", "clean")}}


def _draw_angles(data):
    figure, axes = new_figure("page", 3.0, ncols=2, sharey=True)
    place = {name: k for k, name in enumerate(VARIANTS)}
    panels = (("deck", "with the deck's $R$", DRAWN), ("clean", "with the clean cross-entropy", ("deck", *DRAWN[:-1])))
    for axis, (key, title, variants) in zip(axes, panels, strict=True):
        for name in variants:
            color, style = f"C{place[name]}", ("-", "--", "-.", ":")[place[name] % 4]
            values = data[key][:, :, place[name]]
            axis.plot(data["step"] + 1, values.mean(0), color=color, ls=style, label=name)
            axis.fill_between(data["step"] + 1, values.min(0), values.max(0), color=color, alpha=0.12, lw=0)
        axis.axhline(0, color="0.5", lw=0.8, ls="-")
        axis.set(xscale="log", title=title, xlabel="training step", ylim=(-1.05, 1.05))
    axes[0].set_ylabel("cosine of the gradients")
    handles = {h.get_label(): h for axis in axes for h in axis.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


FIGURES = (
    FigureSpec(
        "objective_fields",
        "The gradient of each variant's penalty in one logit, at every label: blue pushes the logit up, red down.",
        _fields,
        _draw_fields,
    ),
    FigureSpec(
        "objective_rewards",
        "What R penalizes: nothing at an undecided prediction; among right points, most at a barrier (dots).",
        _rewards,
        _draw_rewards,
    ),
    FigureSpec(
        "objective_qhat",
        "q_hat against q at training images, before and after mixup training; the line is q_hat = q.",
        _qhat,
        _draw_qhat,
        rtol=1e-5,
        atol=1e-9,
    ),
    FigureSpec(
        "objective_approximations",
        "What each approximation costs: the error of q_hat, and what is left of R step by step.",
        _approximations,
        _draw_approximations,
        rtol=1e-4,
        atol=1e-8,
    ),
    FigureSpec(
        "objective_angles",
        "Angles between the variants' gradients while a network learns digits with MixupE; five seeds, mean and range.",
        _angles,
        _draw_angles,
        atol=1e-4,
    ),
)
