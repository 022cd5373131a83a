"""Claims of the deck that nobody has checked here yet: each keeps its row until a check takes its place."""

from __future__ import annotations

from mixupe_theory.claims.ledger import Claim

# ruff: noqa: E501
# fmt: off
_ROWS = (
    # id, title, slide, statement
    ("training.images", "Images, by training", "Image Classification Test Error (%)", "Trained again, MixupE has the lowest test error on CIFAR-10, CIFAR-100 and SVHN with three networks"),
    ("training.stronger-regularization", "Higher training loss, lower test loss", "Generalization – Stronger regularization", "MixupE has a higher training loss but a lower test loss than mixup and ERM (Wide-ResNet-28-10)"),
    ("training.robustness", "Robustness, by training", "Robustness – Generalize to Novel Deformations", "Trained again on CIFAR-100, MixupE generalizes better to novel deformations"),
)
# fmt: on

CLAIMS = tuple(Claim(id, title, slide, statement.replace('\\"', '"'), "open") for id, title, slide, statement in _ROWS)
