"""Figures of the benchmarks, from the committed records of ``mixupe-theory bench ... --save``."""

from __future__ import annotations

import numpy as np

from mixupe_theory import bench_mixup_loss, bench_records, bench_taylor
from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.plotting import new_figure

QUARTILES = (0.5, 0.25, 0.75)


def _curves(rows: list[dict], axis: str) -> dict[str, np.ndarray]:
    """Values of one axis, names of those timed, and their median and quartiles of milliseconds (NaN: not timed)."""
    timed = [row for row in rows if "seconds" in row]
    values, names = sorted({row[axis] for row in timed}), list(dict.fromkeys(row["who"] for row in timed))
    milliseconds = np.full((len(names), len(values), 3), np.nan)
    for row in timed:
        milliseconds[names.index(row["who"]), values.index(row[axis])] = 1e3 * np.quantile(row["seconds"], QUARTILES)
    return {axis: np.array(values), f"names_by_{axis}": np.array(names), f"ms_by_{axis}": milliseconds}


def _taylor() -> dict[str, np.ndarray]:
    record = bench_records.load("taylor")
    double = [row for row in record["rows"] if row["dtype"] == "float64"]
    by_size = [row for row in double if row["order"] == bench_taylor.ORDER]
    followed = {row["who"] for row in by_size if row["n"] != bench_taylor.N}
    return {
        **_curves([row for row in double if row["n"] == bench_taylor.N], "order"),
        **_curves([row for row in by_size if row["who"] in followed], "n"),
    }


def _lines(axis, data, by: str, style: dict[str, dict]) -> None:
    for name, (middle, low, high) in zip(data[f"names_by_{by}"], np.moveaxis(data[f"ms_by_{by}"], 2, 1), strict=True):
        known = np.isfinite(middle)
        (line,) = axis.plot(data[by][known], middle[known], label=str(name), **style.get(str(name), {"marker": "."}))
        axis.fill_between(data[by][known], low[known], high[known], color=line.get_color(), alpha=0.25, lw=0)


def _draw_taylor(data):
    figure, axes = new_figure("page", 3.3, ncols=2)
    style = {
        bench_taylor.OURS: {"marker": "o", "lw": 2, "color": "#0072B2", "ls": "-", "zorder": 3},
        bench_taylor.FLOOR: {"color": "k", "ls": "--", "lw": 1},
        bench_taylor.FORWARD: {"color": "0.5", "ls": ":", "lw": 1},
        "dense recurrences": {"marker": ".", "color": "#009E73", "ls": "-."},
        "jax jet": {"marker": ".", "color": "#D55E00", "ls": "--"},
        "jax jet, chunked": {"marker": ".", "color": "#E69F00", "ls": "-"},
        "jet-for-pytorch": {"marker": ".", "color": "#56B4E9", "ls": "-"},
        "nested jvp": {"marker": ".", "color": "#CC79A7", "ls": "-"},
    }
    _lines(axes[0], data, "order", style)
    _lines(axes[1], data, "n", style)
    axes[0].set(yscale="log", title="$n=64$: 4096 pairs", xlabel="order $K$", ylabel="milliseconds")
    axes[0].set_xticks(data["order"])
    axes[1].set(xscale="log", yscale="log", title="$K=4$", xlabel="points $n$, all $n^2$ pairs")
    axes[1].set_xticks(data["n"], [str(n) for n in data["n"]])
    axes[1].minorticks_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _mixup_loss() -> dict[str, np.ndarray]:
    record = bench_records.load("mixup_loss")
    kinds = {key: [row for row in record["accuracy"] if key in row] for key in ("rule", "samples")}
    return {
        **_curves(record["rows"], "n"),
        **{key: np.array([row[key] for row in rows]) for key, rows in kinds.items()},
        **{f"error_by_{key}": np.array([row["error"] for row in rows]) for key, rows in kinds.items()},
        **{f"ms_by_{key}": np.array([1e3 * np.median(row["seconds"]) for row in rows]) for key, rows in kinds.items()},
        "points": np.array(record["setup"]["n"]),
    }


def _draw_mixup_loss(data):
    figure, axes = new_figure("page", 3.1, ncols=2)
    style = {
        bench_mixup_loss.OURS: {"marker": "o", "lw": 2, "color": "#0072B2", "ls": "-", "zorder": 3},
        bench_mixup_loss.PLAIN: {"marker": ".", "color": "#009E73", "ls": "-."},
        "jax, all ordered pairs": {"marker": ".", "color": "#D55E00", "ls": "--"},
        "jax, each segment once": {"marker": ".", "color": "#E69F00", "ls": "-"},
    }
    _lines(axes[0], data, "n", style)
    axes[0].set(xscale="log", yscale="log", title="same 16 nodes", xlabel="points $n$", ylabel="milliseconds")
    axes[0].set_xticks(data["n"], [str(n) for n in data["n"]])
    axes[0].minorticks_off()
    axes[1].loglog(data["ms_by_rule"], data["error_by_rule"], "o", color="#0072B2", label="exact, 2 to 16 nodes")
    axes[1].loglog(data["ms_by_samples"], data["error_by_samples"], "s", color="#D55E00", label="Monte Carlo")
    longer = data["ms_by_samples"][-1] * np.array([1, 1e6])
    shrinking = data["error_by_samples"][-1] * np.array([1, 1e6**-0.5])
    axes[1].loglog(longer, shrinking, ":", color="#D55E00", lw=1, label="its slope 1/2, extrapolated")
    axes[1].set(title=f"$n={data['points']}$", xlabel="milliseconds", ylabel="relative error")
    handles, labels = (a + b for a, b in zip(*(axis.get_legend_handles_labels() for axis in axes), strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _train() -> dict[str, np.ndarray]:
    """By network, method and way (plain in float32, fast in bfloat16): ratios, and shares of the ceilings."""
    from mixupe_theory import bench_train_cases, bench_train_report  # which need the extra "train"

    record = bench_records.load("train")
    networks = list(record["setup"]["networks"])
    places = {
        (network, method, way): (i, j, k)
        for i, network in enumerate(networks)
        for j, method in enumerate(bench_train_cases.TRAINED_BY)
        for k, way in enumerate((("plain", "float32"), ("fast", "bfloat16")))
    }
    names = ("images", "faster", "times", "mfu", "floor")
    found = {name: np.full((len(networks), len(bench_train_cases.TRAINED_BY), 2), np.nan) for name in names}
    for row in bench_train_report.summary(record):
        place = places.get((row["network"], row["method"], (row["way"], row["precision"])))
        for name in names if place else ():
            found[name][place] = np.nan if row[name] is None else row[name]
    return {"networks": np.array(networks), "methods": np.array(list(bench_train_cases.TRAINED_BY)), **found}


def _draw_train(data):
    figure, axes = new_figure("page", 2.9, ncols=3, sharex=True)
    methods = np.arange(len(data["methods"]))
    for network, marker, color, faster, times, share in zip(
        data["networks"],
        "osD",
        ("#0072B2", "#D55E00", "#009E73"),
        data["faster"],
        data["times"],
        data["mfu"],
        strict=False,
    ):
        line = {"marker": marker, "color": color, "ls": "-", "lw": 1}
        axes[0].plot(methods, faster[:, 1], label=f"{network}, fast", **line)
        axes[1].plot(methods, times[:, 1], **line)
        axes[2].plot(methods, 100 * share[:, 1], **line)
        hollow = line | {"ls": ":", "mfc": "white"}
        axes[1].plot(methods, times[:, 0], **hollow)
        axes[2].plot(methods, 100 * share[:, 0], label=f"{network}, plain", **hollow)
    axes[0].axhline(1, color="0.6", lw=0.8)
    axes[1].plot(methods, [1, 1, 2, 2, 3], "_", color="k", ms=14, label="passes")
    for axis, label in zip(
        axes, ("images/s over the plain step's", "time per image over ERM's", "MFU, %"), strict=True
    ):
        axis.set_xticks(methods, data["methods"], rotation=35, ha="right")
        axis.set(title=label, ylim=(0, None))
    handles, labels = (a + b for a, b in zip(*(axis.get_legend_handles_labels() for axis in axes[::2]), strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


FIGURES = (
    FigureSpec(
        "bench_taylor",
        "Time of all Taylor coefficients over all pairs, by order and by points: ours, the peers, the GEMM floor.",
        _taylor,
        _draw_taylor,
    ),
    FigureSpec(
        "bench_mixup_loss",
        "Time of the exact mixup loss by points, and its error by time against Monte Carlo.",
        _mixup_loss,
        _draw_mixup_loss,
    ),
    FigureSpec(
        "bench_train",
        "Training steps, fast against plain: images per second, time for an image over ERM's, share of the ceiling.",
        _train,
        _draw_train,
    ),
)
