"""Claims of the deck that nobody has checked here yet: each keeps its row until a check takes its place."""

from __future__ import annotations

from mixupe_theory.claims.ledger import Claim

# ruff: noqa: E501
# fmt: off
_ROWS = (
    # id, title, slide, statement
    ("tables.images", "Images (table)", "Image Classification Test Error (%)", "MixupE has the lowest test error on CIFAR-10, CIFAR-100 and SVHN with three networks"),
    ("tables.tabular", "Tabular data (Table 4)", "Other tasks", "Table 4: MixupE improves on ERM and mixup on tabular data"),
    ("tables.speech", "Speech (Table 5)", "Other tasks", "Table 5: MixupE has the lowest error on speech commands"),
    ("tables.graphs", "Graphs (Table 6)", "Other tasks", "Table 6: MixupE improves on ERM and mixup on graphs"),
    ("tables.stronger-regularization", "Higher training loss, lower test loss", "Generalization – Stronger regularization", "MixupE has a higher training loss but a lower test loss than mixup and ERM"),
    ("tables.robustness", "Robustness to deformations", "Robustness – Generalize to Novel Deformations", "MixupE generalizes better to novel deformations"),
)
# fmt: on

CLAIMS = tuple(Claim(id, title, slide, statement.replace('\\"', '"'), "open") for id, title, slide, statement in _ROWS)
