"""Drawing of losses by epoch, in training and in test (slide "Generalization – Stronger regularization")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from mixupe_theory.figures.base import FigureSpec
from mixupe_theory.figures.learning_curves import COLORS, curves_data
from mixupe_theory.plotting import new_figure

if TYPE_CHECKING:
    from mixupe_theory.training.replication import Replication  # which needs the extra "train"

_TRAINING = {"objective": "on the objective", "train_loss": "on clean data"}


def losses_data(found: Replication, records: Iterable[dict]) -> dict[str, np.ndarray]:
    """Losses after each epoch, by the runs behind a table.

    Args:
        found: The table.
        records: Of its runs.

    Returns:
        ``rows``, ``titles``: names; ``objective``, what was minimized; ``train_loss`` and ``test_loss``, on clean data;
        each (rows, titles, epochs), means over seeds, NaN after a row's last epoch.
    """
    records = list(records)
    curves = {name: curves_data(found, records, name) for name in (*_TRAINING, "test_loss")}
    names = {name: curves["test_loss"][name] for name in ("rows", "titles")}
    return names | {name: data["mean"] for name, data in curves.items()}


def draw_losses(data: dict[str, np.ndarray]) -> Figure:
    """Draw :func:`losses_data`: a column for each row of the table; above the objective, below the clean loss."""
    count = len(data["rows"])
    figure, axes = new_figure("page", 3.6, nrows=2, ncols=count, squeeze=False, sharex="col", sharey="col")
    for k, row in enumerate(data["rows"]):
        epochs = 1 + np.arange(np.isfinite(data["test_loss"][k, 0]).sum())
        for axis, (name, words) in zip(axes[:, k], _TRAINING.items(), strict=True):
            for j, color in enumerate(COLORS.values()):
                for quantity, line in ((name, ":"), ("test_loss", "-")):
                    axis.plot(epochs, data[quantity][k, j, : len(epochs)], line, color=color, lw=1)
            axis.set(title=f"{row}\ntraining loss {words}" if axis is axes[0, k] else f"training loss {words}")
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[1, k].set(xlabel="epoch")
    for axis in axes[:, 0]:
        axis.set(ylabel="cross-entropy")
    handles = [axes[0, 0].plot([], [], "-", color=color, lw=1)[0] for color in COLORS.values()]
    handles += [axes[0, 0].plot([], [], line, color="0.4", lw=1)[0] for line in ("-", ":")]
    labels = [*data["titles"], "test", "training"]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _small() -> dict[str, np.ndarray]:
    from mixupe_theory.training.studies import STUDIES, recorded, replication

    study = STUDIES["images-small"]
    entries = recorded(study)
    return losses_data(replication(study, entries), entries)


FIGURES = (
    FigureSpec(
        "training_images_losses",
        "Training and test losses of ERM, mixup and MixupE by epoch, on the objective and on clean data.",
        _small,
        draw_losses,
    ),
)
