"""All that is drawn for one step, on the host, and how it travels to the device: in one tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mixupe_theory.training.methods import Mixture


@dataclass(frozen=True)
class Draws:
    """What is drawn for one step; the place of mixing is a number that chooses the operations, so it stays on the host.

    Attributes:
        indices: The examples of the whole batch, int64, (n,).
        numbers: Of their augmentation (:func:`mixupe_theory.training.data.augmentation.drawn`), int64, (k, n).
        mixture: None where nothing is mixed.
    """

    indices: torch.Tensor
    numbers: torch.Tensor
    mixture: Mixture | None

    def packed(self) -> torch.Tensor:
        """One float64 tensor, in which whole numbers up to 2^53 are exact: rows of n, (1 + k, n) or (3 + k, n)."""
        rows = [self.indices[None], self.numbers]
        if self.mixture is not None:
            rows += [self.mixture.partner[None], self.mixture.lam.expand(1, len(self.indices))]
        return torch.cat([row.double() for row in rows])

    @classmethod
    def unpacked(cls, packed: torch.Tensor, place: int | None, *, per_sample: bool) -> Draws:
        """The inverse; ``place`` is None where nothing is mixed.

        Example:
            >>> draws = Draws(torch.tensor([5, 3]), torch.empty(0, 2), Mixture(torch.tensor(0.25), torch.arange(2), 0))
            >>> Draws.unpacked(draws.packed(), 0, per_sample=False).mixture.lam.item()
            0.25
        """
        if place is None:
            return cls(packed[0].long(), packed[1:].long(), None)
        lam = packed[-1] if per_sample else packed[-1, 0]
        return cls(packed[0].long(), packed[1:-2].long(), Mixture(lam, packed[-2].long(), place))
