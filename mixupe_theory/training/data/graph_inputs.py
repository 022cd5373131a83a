"""Many small graphs in four tensors, batched without a loop over graphs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from mixupe_theory import _validation as check

if TYPE_CHECKING:
    from torch_geometric.data import Batch


@dataclass(frozen=True)
class GraphInputs:
    """A collection of graphs: a choice among those of a data set, which all collections of it share.

    Attributes:
        nodes: Features of the nodes of all graphs of the data set, graph after graph, (nodes, d).
        edges: Directed edges of all graphs, by the nodes' places in their graph, (2, edges).
        node_starts: Where each graph's nodes begin, and their number last, (graphs + 1,).
        edge_starts: Where each graph's edges begin, and their number last, (graphs + 1,).
        chosen: Which graphs are in the collection, in its order, (n,).

    Example:
        A triangle and a path of two nodes:

        >>> triangle, path = [[0, 1, 0, 2, 1, 2], [1, 0, 2, 0, 2, 1]], [[0, 1], [1, 0]]
        >>> edges = torch.cat([torch.tensor(triangle), torch.tensor(path)], 1)
        >>> starts = torch.tensor([0, 3, 5]), torch.tensor([0, 6, 8])
        >>> graphs = GraphInputs(torch.eye(5), edges, *starts, torch.arange(2))
        >>> graphs[torch.tensor([1, 0])].batch().edge_index.tolist()
        [[0, 1, 2, 3, 2, 4, 3, 4], [1, 0, 3, 2, 4, 2, 4, 3]]
    """

    nodes: torch.Tensor
    edges: torch.Tensor
    node_starts: torch.Tensor
    edge_starts: torch.Tensor
    chosen: torch.Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, indices: torch.Tensor) -> GraphInputs:
        if not isinstance(indices, torch.Tensor) or indices.dtype != torch.int64 or indices.ndim != 1:
            raise TypeError(f"graphs are indexed by an int64 tensor of shape (n,), got {check.kind(indices)}")
        return replace(self, chosen=self.chosen[indices])

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of graphs and of a node's features."""
        return len(self), self.nodes.shape[1]

    def to(self, device: torch.device | str) -> GraphInputs:
        """The collection on a device, and with it all graphs of the data set."""
        return GraphInputs(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def batch(self, dtype: torch.dtype = torch.float32) -> Batch:
        """All graphs of the collection as one graph, as torch_geometric's networks take it.

        Raises:
            ModuleNotFoundError: If torch_geometric is not installed.
        """
        try:
            from torch_geometric.data import Batch
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'{error}; graphs need torch_geometric: pip install "mixupe-theory[train]"'
            ) from error
        nodes, owner, ends = _pieces(self.node_starts, self.chosen)
        edges, edge_owner, _ = _pieces(self.edge_starts, self.chosen)
        ptr = torch.cat([ends.new_zeros(1), ends])
        return Batch(
            x=self.nodes[nodes].to(dtype),
            edge_index=self.edges[:, edges] + ptr[edge_owner],  # places in a graph become places in the batch
            batch=owner,
            ptr=ptr,
        )


def _pieces(starts: torch.Tensor, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the chosen pieces of a sequence put together: each element's old place, its piece, and where pieces end.

    Example:
        >>> _pieces(torch.tensor([0, 2, 5]), torch.tensor([1, 0]))
        (tensor([2, 3, 4, 0, 1]), tensor([0, 0, 0, 1, 1]), tensor([3, 5]))
    """
    sizes = starts[chosen + 1] - starts[chosen]
    ends = sizes.cumsum(0)
    owner = torch.repeat_interleave(sizes)
    shift = starts[chosen] - (ends - sizes)
    return torch.arange(len(owner), device=owner.device) + shift[owner], owner, ends
