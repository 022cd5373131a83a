"""A loaded data set, its parts, and its batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from mixupe_theory import _validation as check
from mixupe_theory.training.data.augmentation import augmented


@dataclass(frozen=True)
class Part:
    """Inputs and classes of the training or the test part.

    Attributes:
        inputs: uint8 images (n, c, h, w), float32 features (n, ...), or any collection with ``len`` and indexing by an
            int64 tensor (graphs).
        targets: Classes, int64, (n,).
        groups: Examples of one group, such as a speaker, never end up on both sides of a split, int64, (n,); None where
            each example stands for itself.
    """

    inputs: Any
    targets: torch.Tensor
    groups: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, indices: torch.Tensor) -> Part:
        return Part(self.inputs[indices], self.targets[indices], None if self.groups is None else self.groups[indices])

    def to(self, device: torch.device | str) -> Part:
        """The part on a device."""
        groups = None if self.groups is None else self.groups.to(device)
        return Part(self.inputs.to(device), self.targets.to(device), groups)


@dataclass(frozen=True)
class Dataset:
    """A data set split in training and test part.

    Attributes:
        name: Its source's name.
        train: The training part.
        test: The test part; a held-out part of the training set where hyper-parameters are chosen.
        classes: Names of the classes, in the order of the targets.
        mean: Subtracted from each channel of images, in their raw units, (c,); None where nothing is.
        std: Each channel is divided by it, (c,).
        augmentation: Of training images: names of :mod:`mixupe_theory.training.data.augmentation`, in order.
        split: How it was split, for the record.
    """

    name: str
    train: Part
    test: Part
    classes: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augmentation: tuple[str, ...] = ()
    split: dict = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, as models are built for."""
        return tuple(self.train.inputs.shape[1:])

    def to(self, device: torch.device | str) -> Dataset:
        """The data set on a device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def prepared(
        self,
        part: Part,
        dtype: torch.dtype,
        numbers: torch.Tensor | None = None,
        rows: slice = slice(None),
    ) -> Part:
        """What a network is fed: augmented where numbers are given, and normalized, in ``dtype``.

        Args:
            part: Examples.
            dtype: Of the result.
            numbers: What :func:`mixupe_theory.training.data.augmentation.drawn` gave for all of them.
            rows: Those that are kept.
        """
        if numbers is not None and self.augmentation:
            part = Part(augmented(part.inputs, self.augmentation, numbers), part.targets)
        if rows != slice(None):
            part = part[torch.arange(len(part), device=part.targets.device)[rows]]
        if not isinstance(part.inputs, torch.Tensor):
            return Part(part.inputs.batch(dtype), part.targets)
        x = part.inputs.to(dtype)
        if self.mean is not None:
            # filled on the device: a copy from the host would wait for it, and cannot be part of a CUDA graph
            mean, std = (torch.stack([x.new_full((1, 1), v) for v in values]) for values in (self.mean, self.std))
            x = (x - mean) / std
        return Part(x, part.targets)

    def held_out(self, share: float, seed: int) -> Dataset:
        """The training part alone, split again: ``share`` of it becomes the test part.

        Hyper-parameters are chosen so, and the test part is never looked at. The split is stratified by class; where
        examples have groups, whole groups are held out instead.

        Raises:
            ValueError: If share is not strictly between 0 and 1, or leaves a part with fewer examples than classes.
        """
        check.probability("held_out", share)
        if self.train.groups is None:
            kept, held = stratified(self.train.targets, share, seed, "held_out")
        else:
            split = GroupShuffleSplit(1, test_size=share, random_state=seed)
            parts = next(split.split(np.zeros(len(self.train)), groups=self.train.groups.cpu().numpy()))
            kept, held = map(torch.from_numpy, parts)
        split = {**self.split, "held_out": share, "held_out_seed": seed}
        return replace(self, train=self.train[kept], test=self.train[held], split=split)

    def subset(self, examples: int, seed: int = 0) -> Dataset:
        """Only ``examples`` of the training part, stratified by class; the test part stays.

        Raises:
            ValueError: If the training part has not more than that, or if what is kept or what is left has fewer
                examples than there are classes.
        """
        check.integer("subset", examples, least=1)
        if not len(self.classes) <= examples < len(self.train):
            raise ValueError(
                f"subset must be at least the number of classes, {len(self.classes)}, and below the number of training "
                f"examples, {len(self.train)}, got {examples}"
            )
        _, kept = stratified(self.train.targets, examples, seed, "subset")
        return replace(self, train=self.train[kept], split={**self.split, "subset": examples, "subset_seed": seed})


def stratified(
    targets: torch.Tensor, size: float | int, seed: int, name: str = "size"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the rest and of a part of the given share or number, both in ascending order.

    Classes with a single example, which cannot be stratified, stay in the rest.
    """
    labels = targets.cpu().numpy()
    counts = np.bincount(labels)
    index = np.arange(len(labels))
    common = counts[labels] >= 2
    try:
        rest, part = train_test_split(index[common], test_size=size, random_state=seed, stratify=labels[common])
    except ValueError as error:
        raise ValueError(
            f"{name} must leave at least one example for each of {(counts >= 2).sum()} classes in both parts of "
            f"{common.sum()} examples, got {size}"
        ) from error
    rest = np.sort(np.concatenate([rest, index[~common]]))
    return torch.from_numpy(rest), torch.from_numpy(np.sort(part))
