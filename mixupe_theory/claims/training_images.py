"""Claims about images, trained again: small networks on a part of CIFAR, from the committed records of real runs."""

from __future__ import annotations

from mixupe_theory.claims import training_losses as losses
from mixupe_theory.claims import training_measurements as measured
from mixupe_theory.claims.ledger import Claim

_ALIKE = Claim(
    id="training.images-alike",
    title="Small networks on images: MixupE is near mixup",
    slide="Image Classification Test Error (%)",
    statement="Corrected: on average over the three rows MixupE's test errors differ from mixup's by less than what "
    "the deck's MixupE gains on mixup, on average over its rows of CIFAR",
    verdict="holds",
    finding="On average +0.25 ± 0.63 points (deck) and −0.67 ± 0.54 (official_v3), 95 % intervals over five seeds; the "
    "deck's gain is 1.9.",
    check=lambda: measured.within_the_gain("images-small"),
    control=lambda: measured.within_the_gain("images-small", change=lambda error: 0.95 * error),
)

_LOSSES = Claim(
    id="training.losses-against-erm",
    title="Higher training loss, smaller generalization gap, with small networks",
    slide="Generalization – Stronger regularization",
    statement="Corrected: in each of the three rows MixupE has a higher training loss than ERM, as it is minimized "
    "and on clean images, and a smaller gap between test loss and clean training loss",
    verdict="holds",
    finding="Training objective +0.36 to +0.94 nats, clean training loss +0.13 to +0.53, gap −0.01 to −0.61: largest "
    "where the network overfits. On average mixup's gap is the same, ± 0.004.",
    check=losses.against_erm,
    control=lambda: losses.against_erm({"test_loss": 1.5}),
)

_DEFORMED = Claim(
    id="training.robustness-alike",
    title="Robustness of small networks: MixupE is near mixup",
    slide="Robustness – Generalize to Novel Deformations",
    statement="Corrected: on average over the eight deformations and the three rows MixupE's accuracies differ from "
    "mixup's by less than what the deck's MixupE gains on mixup, on average over its deformations",
    verdict="holds",
    finding="On average −0.1 ± 0.6 points (deck) and +0.6 ± 0.7 (official_v3), 95 % intervals over five seeds; the "
    "deck's gain is 2.6.",
    check=measured.deformed_within_the_gain,
    control=lambda: measured.deformed_within_the_gain(lambda error: 0.95 * error),
)

CLAIMS = (
    Claim(
        id="training.images-small",
        title="Images, by training small networks",
        slide="Image Classification Test Error (%)",
        statement="Trained again on a part of CIFAR, with small networks, MixupE has the lowest test error",
        verdict="fails as printed",
        finding="LeNet on 10,000 images of CIFAR-10 and of CIFAR-100, a narrow PreActResNet-18 on 2,000 of CIFAR-10, "
        "five paired seeds: no difference is significant in any row; on average MixupE (deck) is 0.8 ± 0.5 points "
        "above ERM. The deck's networks need a GPU.",
        check=lambda: measured.improved("images-small"),
        control=lambda: measured.improved("images-small", change=lambda error: 0.9 * error),
        corrected=_ALIKE,
    ),
    _ALIKE,
    Claim(
        id="training.losses-small",
        title="Higher training loss, lower test loss, with small networks",
        slide="Generalization – Stronger regularization",
        statement="Trained again on a part of CIFAR, with small networks, MixupE has a higher training loss but a "
        "lower test loss than mixup and ERM",
        verdict="fails as printed",
        finding="In no row. Against ERM the training loss is higher, but the test loss +0.12 ± 0.04 nats with LeNet on "
        "CIFAR-10 and −0.07 ± 0.08 with the PreActResNet; against mixup no loss differs significantly.",
        check=losses.higher_and_lower,
        control=lambda: losses.higher_and_lower({"train_loss": 3.0, "test_loss": 0.5}),
        corrected=_LOSSES,
    ),
    _LOSSES,
    Claim(
        id="training.robustness-small",
        title="Robustness, by training small networks",
        slide="Robustness – Generalize to Novel Deformations",
        statement="Trained again on a part of CIFAR, with small networks, MixupE generalizes better to novel "
        "deformations than mixup and manifold mixup",
        verdict="fails as printed",
        finding="On average over eight deformations and three rows MixupE (deck) is −0.1 ± 0.6 points from mixup and "
        "−0.3 ± 0.6 from manifold mixup; no variant's mean over deformations differs significantly in any row.",
        check=measured.generalizes,
        control=lambda: measured.generalizes(lambda error: 0.8 * error),
        corrected=_DEFORMED,
    ),
    _DEFORMED,
)
