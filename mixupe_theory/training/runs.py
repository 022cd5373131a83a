"""A run, as data: what is trained on what, how, and under which seed. Equal runs have equal ids."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import torch

from mixupe_theory import _validation as check
from mixupe_theory.mixing import BetaLaw
from mixupe_theory.objective import VARIANTS, MixupE
from mixupe_theory.training import data, models
from mixupe_theory.training.methods import LOSSES, METHODS, Method
from mixupe_theory.training.recipes import RECIPES, Recipe

# of parameters and inputs; bfloat16 is torch.autocast's, on float32 parameters
PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
# of the settings that only some methods have a use for
DEFAULTS = {"variant": "deck", "alpha": 1.0, "lam_per_sample": False, "eta": 1e-3, "threshold": 1.0}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run.

    Settings that its method has no use for stay None, so that a run has one description only.

    Attributes:
        data: A name of :data:`mixupe_theory.training.data.SOURCES`.
        model: A name of :data:`mixupe_theory.training.models.MODELS`.
        method: A name of :data:`mixupe_theory.training.methods.METHODS`.
        recipe: None means the default of the data's family.
        variant: Of MixupE; None means "deck".
        alpha: lambda ~ Beta(alpha, alpha); None means 1.
        eta: Weight of MixupE's penalty; None means 0.001.
        threshold: Of "official_v1" and "official_v3"; None means 1.
        lam_per_sample: Whether each sample has a lambda of its own; None means one for the batch.
        loss: "cross_entropy", or "bce": the official code's loss of ERM and manifold mixup.
        seed: Of everything random. Runs that differ in the method alone are paired: same split, same initial weights,
            same order, same lambda and partners.
        fold: Of cross-validation, where the data is split so (graphs; None means the first).
        held_out: Share of the training part that is tested on in place of the test part; 0 for none.
        subset: Number of training examples used; None for all.
        model_options: Options of the model's builder.
        precision: "float32", "float64", or "bfloat16": matrix products and convolutions in bfloat16 (torch.autocast),
            with parameters, BatchNorm's statistics and losses in float32.

    Example:
        >>> run = Run(data="iris", model="mlp", method="mixupe", seed=1)
        >>> run.variant, run.alpha, run.recipe.optimizer, run == Run.from_dict(run.as_dict())
        ('deck', 1.0, 'adam', True)
    """

    data: str
    model: str
    method: str = "erm"
    recipe: Recipe | None = None
    variant: str | None = None
    alpha: float | None = None
    eta: float | None = None
    threshold: float | None = None
    lam_per_sample: bool | None = None
    loss: str = "cross_entropy"
    seed: int = 0
    fold: int | None = None
    held_out: float = 0.0
    subset: int | None = None
    model_options: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"

    def __post_init__(self):
        family = data.source(self.data).family
        check.choice("model", self.model, models.MODELS)
        if (self.model in models.FOR_GRAPHS) != (family == "graphs"):
            fitting = tuple(name for name in models.MODELS if (name in models.FOR_GRAPHS) == (family == "graphs"))
            raise ValueError(f"model must be one of {fitting} for {self.data} ({family}), got {self.model!r}")
        check.choice("method", self.method, METHODS)
        check.choice("loss", self.loss, LOSSES)
        check.choice("precision", self.precision, PRECISIONS)
        check.integer("seed", self.seed, least=0)
        if self.held_out:
            check.probability("held_out", self.held_out)
        if family == "graphs":
            self._set("fold", check.integer("fold", self.fold or 0, least=0))
        elif self.fold is not None:
            raise ValueError(
                f"fold has no meaning for {self.data}, whose split depends on the seed alone; leave it out"
            )
        if self.recipe is None:
            self._set("recipe", default_recipe(family, self.model))
        meaningful = applicable(self.method, self.variant)
        for name, default in DEFAULTS.items():
            if getattr(self, name) is None:
                self._set(name, default if name in meaningful else None)
            elif name not in meaningful:
                raise ValueError(f"{name} has no meaning for {self.title}, got {getattr(self, name)!r}; leave it out")
        for name, allowed in (("alpha", check.positive), ("eta", check.nonnegative), ("threshold", check.real)):
            if getattr(self, name) is not None:
                self._set(name, allowed(name, getattr(self, name)))
        if self.how.clean == "penalty":
            self._check_mixupe(family)

    def _check_mixupe(self, family: str) -> None:
        if self.loss != "cross_entropy":
            raise ValueError(
                f"loss must be 'cross_entropy' with method 'mixupe', whose R belongs to it, got {self.loss!r}"
            )
        if family == "graphs" and self.needs_mean:
            raise ValueError(
                f"variant {self.variant!r} needs E[x'], which graphs do not have; choose one made of q_hat"
            )

    def _set(self, name: str, value) -> None:
        object.__setattr__(self, name, value)

    @property
    def family(self) -> str:
        """Of the data: "images", "tabular", "speech" or "graphs"."""
        return data.source(self.data).family

    @property
    def how(self) -> Method:
        """The method."""
        return METHODS[self.method]

    @property
    def needs_mean(self) -> bool:
        """Whether the mean of the training inputs enters the loss."""
        return self.how.clean == "penalty" and VARIANTS[self.variant].of != "q_hat"

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters and inputs."""
        return PRECISIONS[self.precision]

    def autocast(self, device_type: str) -> torch.autocast:
        """The context that a forward pass, of training or evaluation, runs in."""
        return torch.autocast(device_type, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def title(self) -> str:
        """The method in words, such as "MixupE deck"."""
        return " ".join(part for part in (self.how.title, self.variant) if part)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that depend on every setting, but not on where the recipe comes from."""
        settings = {name: value for name, value in self.as_dict().items() if value is not None}
        del settings["recipe"]["origin"]
        text = json.dumps(settings, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.data}, {self.model}, {self.title}, seed {self.seed}{fold}"

    def as_dict(self) -> dict:
        """The settings as JSON has them; see :meth:`from_dict`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, settings: dict) -> Run:
        """The run of a record's settings."""
        return cls(**{**settings, "recipe": Recipe(**settings["recipe"])})

    def law(self) -> BetaLaw | None:
        """The law of lambda; None where nothing is mixed."""
        return BetaLaw(self.alpha) if self.how.mixes else None

    def criterion(self, x_mean: torch.Tensor | None) -> MixupE | None:
        """MixupE's criterion; None for other methods."""
        if self.how.clean != "penalty":
            return None
        threshold = DEFAULTS["threshold"] if self.threshold is None else self.threshold  # some variants have none
        return MixupE(self.alpha, eta=self.eta, variant=self.variant, threshold=threshold, x_mean=x_mean)


def applicable(method: str, variant: str | None = None) -> set[str]:
    """Names of the settings that mean something to a method, and a variant of MixupE."""
    how = METHODS[check.choice("method", method, METHODS)]
    names = {"alpha", "lam_per_sample"} if how.mixes else set()
    if how.clean == "penalty":
        names |= {"variant", "eta"}
        if VARIANTS[check.choice("variant", variant or DEFAULTS["variant"], VARIANTS)].below_threshold:
            names.add("threshold")
    return names


def default_recipe(family: str, model: str) -> Recipe:
    """The recipe of a family of data; wide networks on images have a shorter one."""
    return RECIPES["images-400" if (family, model) == ("images", "wrn28_10") else family]
