"""Several processes on one batch: each takes an equal share of its rows, and together they do what one process does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; one alone by default."""

    rank: int = 0
    size: int = 1

    def rows(self, n: int) -> slice:
        """This process's rows of a batch of n.

        Raises:
            ValueError: If n cannot be shared equally.
        """
        if n % self.size:
            raise ValueError(f"a batch of {n} cannot be shared equally by {self.size} processes")
        share = n // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, t: torch.Tensor) -> torch.Tensor:
        """The rows of all processes in one tensor, differentiable."""
        return t if self.size == 1 else _Gather.apply(t, self)

    def mean(self, t: torch.Tensor) -> torch.Tensor:
        """The mean over processes; no gradient passes."""
        return self.sum(t) / self.size

    def sum(self, t: torch.Tensor) -> torch.Tensor:
        """The sum over processes; no gradient passes."""
        t = t.detach()
        if self.size > 1:
            t = t.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(t)
        return t

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    """Each process's loss may depend on every process's rows, so a row's gradient is the sum of what all send it."""

    @staticmethod
    def forward(ctx, t: torch.Tensor, ranks: Ranks) -> torch.Tensor:
        ctx.ranks = ranks
        parts = [torch.empty_like(t, memory_format=torch.contiguous_format) for _ in range(ranks.size)]
        dist.all_gather(parts, t.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = ctx.ranks.sum(gradient)
        return gradient[ctx.ranks.rows(len(gradient))], None


@contextmanager
def from_torchrun(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, or this one alone.

    Their backend is nccl on a GPU and gloo on the CPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
