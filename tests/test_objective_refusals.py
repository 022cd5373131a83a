"""What the objective refuses: argument, exception, what the message says after the argument's name, values."""

import math

import numpy as np
import pytest
import torch

from mixupe_theory import MixupE
from mixupe_theory.objective import official_q, q, q_hat

NAN, INF = math.nan, math.inf
pytestmark = pytest.mark.usefixtures("forward_mode")
X, Y, SOFT = torch.linspace(-1, 1, 8).reshape(4, 2), torch.tensor([0, 1, 1, 0]), torch.full((4, 2), 0.5)
FLIP, BIT = torch.tensor([3, 2, 1, 0]), torch.tensor([True, False, False, True])
GOOD = {"model": lambda x: 2 * x, "x": X, "y": Y, "lam": 0.25, "permutation": FLIP, "generator": None}
SETTINGS = [
    ("alpha", ValueError, "must be a finite number > 0", 0, NAN),
    ("beta", TypeError, "must be a finite number > 0", "1", True),
    ("eta", ValueError, r"must be a finite number >= 0, got (-0.001|nan|inf)$", -1e-3, NAN, INF),
    ("eta", TypeError, "must be a finite number >= 0, got .* of type (str|bool|NoneType)$", "0.1", True, None),
    ("variant", ValueError, "must be one of .*got 'oficial_v3'; did you mean .*'official_v3'", "oficial_v3"),
    ("variant", ValueError, "must be one of .*got 'Deck'; did you mean 'deck'", "Deck"),
    ("variant", ValueError, r"must be one of .*'exact'.*got ('erm'|None|\['deck'\])", "erm", None, ["deck"]),
    ("threshold", ValueError, "must be a number, got nan", NAN),
    ("threshold", TypeError, "must be a number, got", None, "1", torch.tensor(1.0)),
    ("x_mean", TypeError, "must be a floating-point tensor of one input's shape, got", [0.0, 0.0], 0.0, Y),
    ("head", ValueError, "must be one of .*got 'linear'", "linear"),
]
DRAWS = [
    ("lam", ValueError, r"must lie in \[0, 1\], got", 1.5, -0.1, NAN, torch.tensor([0, 1, 0.5, 2])),
    ("lam", ValueError, r"must have shape \(\) or \(4,\), got", torch.ones(3), torch.ones(4, 1)),
    ("lam", TypeError, "must be a number or a floating-point tensor, got", [0.5] * 4, "0.5", True, 0.5j, Y, BIT),
    ("permutation", ValueError, r"must have shape \(4,\), got \(", FLIP[1:], FLIP[None], torch.arange(5)),
    ("permutation", ValueError, r"must hold each of 0\.\.3 once, got", Y, FLIP + 1, FLIP - 1, FLIP - 4),
    ("permutation", TypeError, "must be an int64 tensor of shape .*got", FLIP.float(), BIT, [3, 2, 1, 0], FLIP.numpy()),
    ("generator", TypeError, "must be a numpy.random.Generator, got", 7, torch.Generator(), np.random, np.random.rand),
]
LABELS = [
    ("y", TypeError, "must be a torch.Tensor, got (list|ndarray)", [0, 1, 1, 0], Y.numpy()),
    ("y", TypeError, "must be class indices or real targets, got dtype torch.complex64", SOFT + 0j),
    ("y", ValueError, r"of class indices must lie in 0\.\.1, got", Y + 1, Y - 1, BIT),
    ("y", ValueError, r"of class indices must have shape \(4,\), got", Y[1:], Y[:, None]),
    ("y", ValueError, r"of soft targets must have shape \(4, 2\), got", Y.float(), SOFT[1:], SOFT[None]),
    ("each row of y", ValueError, "must lie in the simplex", SOFT + 0.1, SOFT + torch.tensor([1, -1]), SOFT * NAN),
    ("y", ValueError, "must be on the device of f.*, cpu, got meta", Y.to("meta")),
]
HEAD = ("head", ValueError, "must be one of .*got 'linear'", "linear")
LOGITS = [  # of the model, or of q_hat
    ("logits", ValueError, r"must have shape \((n|4), ..., c\), got \(4,\)", X[:, 0]),
    ("logits", ValueError, "with c = 1 do not fit head 'softmax'", X[:, :1]),
    ("logits", TypeError, "must be a floating-point tensor of shape .*got torch", Y[:, None], X > 0),
]
MODELS = [
    ("x", TypeError, r"must be a floating-point tensor of shape \(n, ...\), got", [[1.0]], Y[:, None], X.numpy()),
    ("x", ValueError, r"must have shape \(n, ...\) with n >= 1, got", X[:0], X[:, :0], X[0, 0]),
    ("model", TypeError, "must be a callable .*got (NoneType|int)", None, 3),
    *[(*row[:3], *[lambda x, v=v: v + 0 * x.sum() if v.is_floating_point() else v for v in row[3:]]) for row in LOGITS],
    ("logits", ValueError, r"must have shape \(4, ..., c\), got \(3, 2\)", lambda x: x[1:]),
    ("logits", TypeError, "must be a floating-point tensor of shape .*got tuple", lambda x: (x, x)),
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_targets_of_half_precision_are_held_to_their_own_rounding(dtype):
    """4 roundings of a half-precision sum of 1: 0.004 or 0.03, not a hundred of them."""
    y = torch.softmax(torch.linspace(-2, 2, 40).reshape(4, 10), -1).to(dtype)
    assert q_hat(torch.zeros(4, 10), y).isfinite().all()
    with pytest.raises(ValueError, match="must lie in the simplex"):
        q_hat(torch.zeros(4, 10), 0.9 * y)


def cases(*rows):
    return pytest.mark.parametrize(
        ("name", "exception", "says", "value"),
        [pytest.param(*row[:3], value, id=f"{row[0]}-{k}") for row in rows for k, value in enumerate(row[3:])],
    )


def refuse(name, exception, says, call):
    with pytest.raises(exception, match=rf"^{name}\b.*{says}") as raised:
        call()
    assert type(raised.value) is exception


def changed(name, value, *keys):
    """The good arguments of these names, one replaced: what a message calls logits comes from the model."""
    key = {"logits": "model", "each row of y": "y"}.get(name, name)
    return {k: GOOD[k] for k in keys or GOOD} | {key: value}


@cases(*SETTINGS)
def test_bad_settings(name, exception, says, value):
    refuse(name, exception, says, lambda: MixupE(**{name: value}))


@cases(*DRAWS, *LABELS, *MODELS)
@pytest.mark.parametrize("variant", ["deck", "exact", "official_v1"])
def test_bad_arguments(variant, name, exception, says, value):
    refuse(name, exception, says, lambda: MixupE(variant=variant)(**changed(name, value)))


@cases(*LABELS, HEAD, *MODELS)
@pytest.mark.parametrize("of", [q, official_q])
def test_bad_arguments_of_q(of, name, exception, says, value):
    refuse(name, exception, says, lambda: of(**changed(name, value, "model", "x", "y")))


@cases(*LABELS, HEAD, *LOGITS)
def test_bad_arguments_of_q_hat(name, exception, says, value):
    key = {"each row of y": "y"}.get(name, name)
    refuse(name, exception, says, lambda: q_hat(**{"logits": X, "y": Y, key: value}))


@cases(
    ("x_mean", ValueError, r"must have the shape of one input, \(2,\), got", torch.zeros(3), torch.zeros(4, 2)),
    ("x_mean", ValueError, "must be on x's device, cpu, got meta; move", torch.zeros(2, device="meta")),
)
@pytest.mark.parametrize("variant", ["exact", "official_v1", "official_v2"])
def test_x_mean_that_does_not_fit_x(variant, name, exception, says, value):
    criterion = MixupE(variant=variant, x_mean=value)
    refuse(name, exception, says, lambda: criterion(**GOOD))


@pytest.mark.parametrize("variant", ["deck", "exact", "official_v1"])
def test_sigmoid_problems_that_do_not_fit(variant):
    criterion, one = MixupE(variant=variant, head="sigmoid"), lambda x: x[:, :1]
    for name, says, model, y in (
        ("logits", "with c = 2 do not fit head 'sigmoid'", GOOD["model"], Y),
        ("y", r"must lie in \[0, 1\] with head 'sigmoid', got \[0, 2\]", one, 2 * Y),
        ("y", r"must have shape \(4,\) or \(4, 1\) with head 'sigmoid'", one, SOFT),
    ):
        refuse(name, ValueError, says, lambda model=model, y=y: criterion(**{**GOOD, "model": model, "y": y}))
