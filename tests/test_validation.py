"""Bad input: every error is of the stated type and begins with the argument's name; it says what came and what may.

The tables hold (id, value, exception, what the message says after the name).
"""

import re

import numpy as np
import pytest
import torch
from torch import nn

from mixupe_theory import BetaLaw, mixup_loss, mixup_loss_mc, standard_loss
from mixupe_theory.taylor import NoTaylorRule, pairwise_jet, taylor_coefficients

NAN, INF = float("nan"), float("inf")
LAW = BetaLaw(1.0)
X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
Y = torch.tensor([0, 1, 2, 0])
SOFT = torch.full((4, 3), 1 / 3, dtype=torch.float64)
IMAGES = torch.linspace(-1, 1, 72, dtype=torch.float64).reshape(2, 1, 6, 6)


def three_logits(x):
    return 2 * torch.tanh(x)


def one_logit(x):
    return x.sum(1, keepdim=True)


# Every function with good arguments, so that a case changes one of them.
GOOD = {"f": three_logits, "x": X, "y": Y}


def standard(**changed):
    return standard_loss(**{**GOOD, **changed})


def exact(**changed):
    return mixup_loss(**{**GOOD, "law": LAW, **changed})


def sampled(**changed):
    more = {"law": LAW, "samples": 4, "generator": np.random.default_rng(0)}
    return mixup_loss_mc(**{**GOOD, **more, **changed})


def expansion(f=three_logits, x=X, v=None, order=2):
    return taylor_coefficients(f, x, x if v is None else v, order)


def pairs(f=three_logits, x=X, order=2):
    return pairwise_jet(f, x, order)


def alpha_first(alpha):
    return BetaLaw(alpha)


def beta_second(beta):
    return BetaLaw(1.0, beta)


def draw(generator):
    return LAW.sample(3, generator)


def draw_tilted(generator):
    return LAW.tilted().sample(3, generator)


LOSSES, EXPANSIONS = (standard, exact, sampled), (expansion, pairs)
ALL = LOSSES + EXPANSIONS


def bad(functions, name, *cases, **others):
    """Parameters: each function with each case's value for the argument ``name``, ``others`` as given."""
    functions = functions if isinstance(functions, tuple) else (functions,)
    return [
        pytest.param(
            function,
            {name: value, **others},
            exception,
            name,
            says,
            id=f"{function.__name__}-{name}-{what}",
        )
        for function in functions
        for what, value, exception, says in cases
    ]


def names_the_argument(*rows):
    return pytest.mark.parametrize(
        ("function", "arguments", "exception", "name", "says"), [case for row in rows for case in row]
    )


def refuse(function, arguments, exception, name, says):
    with pytest.raises(exception, match=rf"^(each row of )?{re.escape(name)}\b.*{says}") as raised:
        function(**arguments)
    assert type(raised.value) is exception


@pytest.mark.parametrize("function", ALL)
def test_good_arguments_are_accepted(function):
    function()


# --- laws

NOT_A_PARAMETER = (
    ("zero", 0, ValueError, "must be a finite number > 0, got 0"),
    ("negative", -1.5, ValueError, "must be a finite number > 0, got -1.5"),
    ("NaN", NAN, ValueError, "must be a finite number > 0, got nan"),
    ("infinite", INF, ValueError, "must be a finite number > 0, got inf"),
    ("string", "1", TypeError, "must be a finite number > 0, got '1' of type str"),
    ("bool", True, TypeError, "must be a finite number > 0, got True of type bool"),
    ("complex", 1j, TypeError, "must be a finite number > 0, got 1j of type complex"),
    ("list", [1.0], TypeError, "must be a finite number > 0, got .* of type list"),
)
NOT_A_COUNT = (
    ("float", 2.0, TypeError, "must be an integer >= ., got 2.0 of type float"),
    ("bool", True, TypeError, "must be an integer >= ., got True of type bool"),
    ("string", "3", TypeError, "must be an integer >= ., got '3' of type str"),
    ("negative", -1, ValueError, "must be an integer >= ., got -1"),
)
NOT_A_GENERATOR = (
    ("seed", 7, TypeError, "must be a numpy.random.Generator, got int"),
    ("None", None, TypeError, "must be a numpy.random.Generator, got NoneType"),
    ("module", np.random, TypeError, "must be a numpy.random.Generator, got module"),
    ("torch", torch.Generator(), TypeError, "must be a numpy.random.Generator, got Generator"),
)


@names_the_argument(
    bad(alpha_first, "alpha", *NOT_A_PARAMETER, ("None", None, TypeError, "must be .*None")),
    bad(beta_second, "beta", *NOT_A_PARAMETER),
    bad((LAW.moment, LAW.tilted().a_moment), "k", *NOT_A_COUNT),
    bad((LAW.quadrature, LAW.tilted().quadrature), "m", *NOT_A_COUNT, ("zero", 0, ValueError, "integer >= 1, got 0")),
    bad((draw, draw_tilted), "generator", *NOT_A_GENERATOR),
)
def test_laws(function, arguments, exception, name, says):
    refuse(function, arguments, exception, name, says)


# --- inputs and f


WITH_NAN = X.where(X < 0.9, NAN)  # the last entry
WITH_INFINITIES = X.where(X.abs() < 0.9, INF * X)  # the first and the last


def training(*layers):
    return nn.Sequential(nn.Linear(3, 3), *layers).double().train()


NOT_INPUTS = (
    ("empty", X[:0], ValueError, r"must have shape \(n, \.\.\.\) with n >= 1, got \(0, 3\)"),
    ("featureless", X[:, :0], ValueError, r"must have shape .*, got \(4, 0\)"),
    ("flat", X[:, 0], ValueError, r"must have shape .*, got \(4,\)"),
    ("NaN", WITH_NAN, ValueError, "must be finite, got 1 NaN or infinite"),
    ("infinite", WITH_INFINITIES, ValueError, "must be finite, got 2 NaN or infinite"),
    ("integers", X.long(), TypeError, "must be real floating point, got dtype torch.int64; convert with .*double"),
    ("bool", X > 0, TypeError, "must be real floating point, got dtype torch.bool"),
    ("complex", X + 0j, TypeError, "must be real floating point, got dtype torch.complex128"),
    ("numpy", X.numpy(), TypeError, r"must be a torch.Tensor of shape \(n, \.\.\.\), got ndarray"),
    ("list", X.tolist(), TypeError, r"must be a torch.Tensor of shape .*, got list"),
)
NOT_FUNCTIONS = (
    ("None", None, TypeError, r"must be a callable \(n, \.\.\.\) -> \(n, c\), got NoneType"),
    ("tensor", X, TypeError, "must be a callable .*, got Tensor"),
    ("vector", lambda x: x[:, 0], ValueError, r"\(x\) must have shape \(\d, c\), got \(\d,\)"),
    ("cube", lambda x: x[:, :, None], ValueError, r"\(x\) must have shape \(\d, c\), got \(\d, 3, 1\)"),
    ("transposed", lambda x: x[:, :2].sum(0, keepdim=True).expand(7, 2), ValueError, r"\(x\) must .*got \(7, 2\)"),
    ("number", lambda x: 3.0, ValueError, r"\(x\) must have shape \(\d, c\), got float"),
    ("tuple", lambda x: (x, x), ValueError, r"\(x\) must have shape \(\d, c\), got tuple"),
    ("BatchNorm", training(nn.BatchNorm1d(3)), ValueError, r"layer '1' \(BatchNorm1d\) is in training .*f.eval\(\)"),
    ("Dropout", training(nn.Sequential(nn.Tanh(), nn.Dropout())), ValueError, r"layer '1\.1' \(Dropout\) is in train"),
    ("AlphaDropout", training(nn.AlphaDropout()), ValueError, r"layer '1' \(AlphaDropout\) is in training mode"),
    ("itself", nn.Dropout(), ValueError, r"layer 'f' \(Dropout\) is in training mode"),
)


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))

    def forward(self, x):
        return self.head(self.features(x))


WITHOUT_RULE = (
    ("LeakyReLU", nn.Sequential(nn.Tanh(), nn.LeakyReLU()), NoTaylorRule, r"layer '1' \(LeakyReLU\).*'leaky_relu'"),
    ("itself", nn.LayerNorm(3).double(), NoTaylorRule, r"layer 'f' \(LayerNorm\).*'layer_norm' has no Taylor rule"),
    ("callable", lambda x: x.abs(), NoTaylorRule, "torch function 'abs' has no Taylor rule; rules exist for .*tanh"),
    ("softmax", lambda x: x.logsumexp((0, 1)), NoTaylorRule, "several dimensions has no Taylor rule"),
    ("power", lambda x: x**x, NoTaylorRule, "a power needs a Jet as base and a number as exponent"),
)


@names_the_argument(
    bad(ALL, "x", *NOT_INPUTS),
    bad(ALL, "f", *NOT_FUNCTIONS),
    bad(EXPANSIONS, "f", *WITHOUT_RULE),
    bad(
        EXPANSIONS,
        "f",
        ("MaxPool2d", Convolutional().double(), NoTaylorRule, r"layer 'features\.1' \(MaxPool2d\).*'max_pool2d'"),
        x=IMAGES,
    ),
)
def test_inputs_and_f(function, arguments, exception, name, says):
    refuse(function, arguments, exception, name, says)


@pytest.mark.parametrize("function", ALL)
def test_dropout_and_batch_norm_are_accepted_in_evaluation_mode(function):
    function(f=training(nn.BatchNorm1d(3), nn.Dropout()).eval())


def spoiling(value, first):
    """Three logits, one of them ``value`` for the first row of X or for the last."""
    return lambda x: torch.where((x[:, :1] < -0.9) if first else (x[:, :1] > 0.4), value, three_logits(x))


def double_on_meta():
    """The meta device stands for a GPU."""
    return nn.Linear(3, 3, device="meta", dtype=torch.float64)


def batch_statistics():
    norm = nn.BatchNorm2d(1, track_running_stats=False)
    return nn.Sequential(norm, nn.Flatten(), nn.Linear(36, 3)).double().eval()


NOT_FINITE = r"\(x\) must be finite, got NaN or infinite outputs"


@names_the_argument(
    bad(LOSSES, "f", *((f"first-{v}", spoiling(v, True), ValueError, NOT_FINITE) for v in (NAN, INF))),
    bad(standard, "f", *((f"last-{v}", spoiling(v, False), ValueError, NOT_FINITE) for v in (NAN, INF))),
    bad((exact, sampled), "f", *((f"last-{v}", spoiling(v, False), ValueError, NOT_FINITE) for v in (NAN, INF))),
    bad(
        LOSSES,
        "f",
        ("dtype", lambda x: x.float(), TypeError, r"\(x\) must have the dtype of x, torch.float64, got torch.float32"),
    ),
    bad(ALL, "x", ("dtype", X, TypeError, "must .*float32"), f=nn.Linear(3, 3)),
    bad(LOSSES, "x", ("device", X, ValueError, "must be on the device of f's .*, meta, got cpu"), f=double_on_meta()),
    bad(EXPANSIONS, "x", ("device", X, ValueError, "must be on the device"), f=double_on_meta()),
    bad(
        LOSSES,
        "f",
        ("batch statistics", batch_statistics(), ValueError, r"layer '0' \(BatchNorm2d\)"),
        x=IMAGES,
        y=Y[:2],
    ),
    bad(EXPANSIONS, "f", ("batch statistics", batch_statistics(), ValueError, r"layer '0' \(BatchNorm2d\)"), x=IMAGES),
)
def test_outputs_that_do_not_fit(function, arguments, exception, name, says):
    refuse(function, arguments, exception, name, says)


# --- targets and head

OUTSIDE = torch.tensor([[1.2, -0.1, -0.1], *SOFT[1:].tolist()], dtype=torch.float64)


@names_the_argument(
    bad(
        LOSSES,
        "y",
        ("numpy", Y.numpy(), TypeError, "must be a torch.Tensor, got ndarray"),
        ("list", [0, 1, 2, 0], TypeError, "must be a torch.Tensor, got list"),
        ("None", None, TypeError, "must be a torch.Tensor, got NoneType"),
        ("large", Y + 1, ValueError, r"of class indices must lie in 0\.\.2, got \[1, 3\]"),
        ("negative", Y - 1, ValueError, r"of class indices must lie in 0\.\.2, got \[-1, 1\]"),
        ("bool", Y > 0, ValueError, r"of class indices must lie in 0\.\.2, .*dtype torch.bool"),
        ("fewer", Y[:3], ValueError, "must have as many rows as x, 4, got 3"),
        ("one row", SOFT[:1], ValueError, "must have as many rows as x, 4, got 1"),
        ("0-d", Y[0], ValueError, r"of class indices must have shape \(4,\), got \(\)"),
        ("2-d", Y[:, None], ValueError, r"of class indices must have shape \(4,\), got \(4, 1\)"),
        ("floats", Y.double(), ValueError, r"of soft targets must have shape \(4, 3\), got \(4,\)"),
        ("columns", SOFT[:, :2], ValueError, r"of soft targets must have shape \(4, 3\), got \(4, 2\)"),
        ("outside", OUTSIDE, ValueError, r"must lie in the simplex .*entries in \[-0\.1, 1\.2\]"),
        ("sum", SOFT * 1.01, ValueError, r"must lie in the simplex .*sums in \[1\.01, 1\.01\]"),
        ("NaN", SOFT * NAN, ValueError, r"must lie in the simplex .*nan"),
        ("complex", SOFT + 0j, TypeError, "must be class indices or real targets, got dtype torch.complex128"),
        ("device", Y.to("meta"), ValueError, r"must be on the device of f\(x\), cpu, got meta"),
    ),
    bad(
        LOSSES,
        "y",
        ("index", Y, ValueError, r"must lie in \[0, 1\] with head 'sigmoid', got \[0, 2\]"),
        ("negative", -Y / 2, ValueError, r"must lie in \[0, 1\] with head 'sigmoid', got \[-1, -?0\]"),
        ("NaN", Y * NAN, ValueError, r"must lie in \[0, 1\] with head 'sigmoid', got \[nan"),
        ("columns", SOFT, ValueError, r"must have shape \(4,\) or \(4, 1\) with head 'sigmoid', got \(4, 3\)"),
        ("fewer", SOFT[:3, 0], ValueError, "must have as many rows as x, 4, got 3"),
        head="sigmoid",
        f=one_logit,
    ),
    bad(
        LOSSES,
        "head",
        ("unknown", "relu", ValueError, r"must be one of \('softmax', 'sigmoid'\), got 'relu'"),
        ("None", None, ValueError, r"must be one of .*, got None"),
        ("sigmoid", "sigmoid", ValueError, r"'sigmoid' needs .*\(n, 1\), got c = 3; use head='softmax'"),
    ),
    bad(
        LOSSES,
        "head",
        ("softmax", "softmax", ValueError, r"'softmax' needs .*c >= 2, got c = 1; use head='sigmoid'"),
        f=one_logit,
    ),
)
def test_targets_and_head(function, arguments, exception, name, says):
    refuse(function, arguments, exception, name, says)


# --- the other arguments


@names_the_argument(
    bad(
        (exact, sampled),
        "law",
        ("tilted", LAW.tilted(), TypeError, "must be a BetaLaw, got TiltedLaw"),
        ("number", 1.0, TypeError, "must be a BetaLaw, got float"),
        ("None", None, TypeError, "must be a BetaLaw, got NoneType"),
    ),
    bad((exact, sampled), "chunk", *NOT_A_COUNT, ("zero", 0, ValueError, "must be an integer >= 1, got 0")),
    bad(
        exact,
        "rtol",
        *NOT_A_PARAMETER,
        ("tiny", 1e-17, ValueError, "must be at least .* for inputs of torch.float64, got 1e-17"),
    ),
    bad(
        exact,
        "rtol",
        ("default", 1e-10, ValueError, "must be at least 1.9e-06 for inputs of torch.float32, got 1e-10"),
        x=X.float(),
    ),
    bad(sampled, "samples", *NOT_A_COUNT, ("one", 1, ValueError, "must be an integer >= 2, got 1")),
    bad(sampled, "generator", *NOT_A_GENERATOR),
    bad(EXPANSIONS, "order", *NOT_A_COUNT, ("zero", 0, ValueError, "must be an integer >= 1, got 0")),
    bad(
        expansion,
        "v",
        ("columns", X[:, :2], ValueError, r"must have x's shape, .*\(4, 3\).*got \(4, 2\)"),
        ("rows", X[:1], ValueError, r"must have x's shape, .*\(4, 3\).*got \(1, 3\)"),
        ("dtype", X.float(), ValueError, r"must have x's .*dtype.*float64.*got .*float32"),
        ("NaN", WITH_NAN, ValueError, "must be finite, got 1 NaN"),
        ("integers", X.long(), TypeError, "must be real floating point, got dtype torch.int64"),
        ("numpy", X.numpy(), TypeError, "must be a torch.Tensor of shape .*, got ndarray"),
    ),
)
def test_other_arguments(function, arguments, exception, name, says):
    refuse(function, arguments, exception, name, says)


def test_default_accuracy_of_float32_is_refused_and_not_lowered_silently():
    with pytest.raises(ValueError, match=r"^rtol must be at least"):
        exact(x=X.float())
    assert exact(x=X.float(), rtol=1e-5).dtype == torch.float32
