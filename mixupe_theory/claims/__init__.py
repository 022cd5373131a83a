"""The ledger: every claim of the deck, its check, its control, its verdict."""

from mixupe_theory.claims import (
    implicit_bias,
    mixup_loss,
    objective,
    open,
    tables,
    theorem1,
    theorem2,
    training,
    training_images,
)
from mixupe_theory.claims.ledger import Claim, Evidence, Row, recompute

CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for module in (mixup_loss, theorem1, objective, implicit_bias, theorem2, tables, training, training_images, open)
    for claim in module.CLAIMS
}

__all__ = ["CLAIMS", "Claim", "Evidence", "Row", "recompute", "select"]


def select(ids: list[str] | None = None) -> list[Claim]:
    """The claims whose id is, or whose topic or id begins with, one of ``ids``; all of them for None.

    Raises:
        ValueError: If an entry fits no claim.

    Example:
        >>> [claim.id for claim in select(["theorem1.fac"])]
        ['theorem1.factors']
    """
    if not ids:
        return list(CLAIMS.values())
    for wanted in ids:
        if not any(id.startswith(wanted) for id in CLAIMS):
            raise ValueError(f"no claim begins with {wanted!r}; there are {', '.join(CLAIMS)}")
    return [claim for id, claim in CLAIMS.items() if id.startswith(tuple(ids))]
