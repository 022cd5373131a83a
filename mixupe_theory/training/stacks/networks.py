"""Networks of one shape as one: parameters stacked along a first axis, an optimizer for each recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.rnn import pad_sequence

from mixupe_theory.training.data import Part
from mixupe_theory.training.models.staged import Staged
from mixupe_theory.training.recipes import Recipe
from mixupe_theory.training.stacks import graphs

ENCODER = "stages.0."  # of a graph network, the stage before the place where examples are mixed


class StackedNetworks:
    """m networks.

    Args:
        networks: Of one shape, on the device.
        recipes: How each is optimized; those of one recipe share an optimizer.

    Attributes:
        networks: What was given; :meth:`unstack` brings their weights up to date.
        buffers: By name, (m, ...).
    """

    def __init__(self, networks: Sequence[Staged], recipes: Sequence[Recipe]):
        self.networks = networks
        stacked, self.buffers = stack_module_state(list(networks))
        self._names = list(stacked)
        self._tail = _Tail(networks[0])
        members: dict[Recipe, list[int]] = {}
        for k, recipe in enumerate(recipes):
            members.setdefault(replace(recipe, origin=""), []).append(k)
        # stacked by recipe, networks may have changed their order
        self._places = torch.tensor([k for own in members.values() for k in own]).argsort()
        self._groups = [
            nn.ParameterList(stacked[name].detach()[own] for name in self._names) for own in members.values()
        ]
        self._optimizers = {
            recipe: recipe.make_optimizer(group) for recipe, group in zip(members, self._groups, strict=True)
        }

    def parameters(self) -> dict[str, torch.Tensor]:
        """By name, (m, ...), attached to what the optimizers change."""
        if len(self._groups) == 1:
            return dict(zip(self._names, self._groups[0], strict=True))
        stacked = (torch.cat(tensors)[self._places] for tensors in zip(*self._groups, strict=True))
        return dict(zip(self._names, stacked, strict=True))

    def embed(self, parameters: dict[str, torch.Tensor], batches: list[Part], owner: torch.Tensor) -> torch.Tensor:
        """What lies at the input place, (m, n, ...); shorter batches are padded.

        Args:
            parameters: As :meth:`parameters` gives them.
            batches: Some batches, each for several networks.
            owner: Which of them each network sees, (m,).
        """
        dtype = parameters[self._names[0]].dtype
        if isinstance(batches[0].inputs, torch.Tensor):
            return pad_sequence([batch.inputs.to(dtype) for batch in batches], batch_first=True)[owner]
        own = [
            {name.removeprefix(ENCODER): t for name, t in tensors.items() if name.startswith(ENCODER)}
            for tensors in (parameters, self.buffers)
        ]
        collections = graphs.batched([batch.inputs for batch in batches], dtype)
        return graphs.encode(*own, collections, owner, training=self._tail.training)

    def after(self, parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Logits (m, n, c) of what lies at the input place; dropout draws one mask for all networks."""
        own = {name: parameters[name] for name in self._names if int(name.split(".")[1]) >= self._tail.input_place}
        return vmap(lambda own, x: functional_call(self._tail, own, (x,)), randomness="same")(own, x)

    def update(self, losses: torch.Tensor, epoch: int) -> None:
        """One step of every optimizer, with the learning rate of an epoch; each loss is of one network, (m,)."""
        for recipe, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(epoch)
            optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        for optimizer in self._optimizers.values():
            optimizer.step()

    def train(self, mode: bool = True) -> None:
        """Training mode, or evaluation mode."""
        self._tail.train(mode)

    def unstack(self) -> Sequence[Staged]:
        """The networks, with their present weights."""
        stacked = self.parameters() | self.buffers
        for k, network in enumerate(self.networks):
            network.load_state_dict({name: tensor[k] for name, tensor in stacked.items()})
        return self.networks

    def state(self) -> dict:
        """All that later steps depend on."""
        return {
            "parameters": [[tensor.detach() for tensor in group] for group in self._groups],
            "buffers": self.buffers,
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers.values()],
        }

    @torch.no_grad()
    def load(self, state: dict) -> None:
        """Take up where ``state`` was given out."""
        for group, kept in zip(self._groups, state["parameters"], strict=True):
            for tensor, value in zip(group, kept, strict=True):
                tensor.copy_(value)
        for name, value in state["buffers"].items():
            self.buffers[name].copy_(value)
        for optimizer, kept in zip(self._optimizers.values(), state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)


class _Tail(Staged):
    """A network from its input place on, its parameters under the same names."""

    def __init__(self, network: Staged):
        super().__init__(list(network.stages), network.manifold_places, network.input_place)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(x)
