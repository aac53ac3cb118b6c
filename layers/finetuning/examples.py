"""Labelled examples: what a network is trained and tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from layers.errors import FinetuneError

#: Inputs in a batch where no gradient is needed.
EVALUATION_BATCH = 100


class Part(Protocol):
    """Some examples, with all their labels known beforehand."""

    @property
    def labels(self) -> Tensor:
        """(examples,) int64, on the CPU."""
        ...

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """Inputs (indices, ...) of some examples, on the CPU."""
        ...

    def digest(self) -> str:
        """sha256 of the examples: equal for equal ones."""
        ...


@dataclass(frozen=True)
class Examples:
    """Examples to train on, and others to test on.

    Raises:
        FinetuneError: no examples, or labels of one class only.
    """

    name: str
    train: Part
    test: Part

    def __post_init__(self) -> None:
        """Refuse what nothing could be learned from."""
        for what, part in (("train", self.train), ("test", self.test)):
            if not len(part.labels):
                raise FinetuneError(f"{self.name} has no examples to {what} on")
        classes = self.train.labels.unique()
        if len(classes) < 2:
            raise FinetuneError(
                f"all {len(self.train.labels)} training examples of {self.name} have the label "
                f"{int(classes[0])}; a classifier needs two classes or more"
            )

    def digest(self) -> str:
        """sha256 of both parts."""
        return hashlib.sha256(f"{self.train.digest()} {self.test.digest()}".encode()).hexdigest()


class Held:
    """Examples in memory."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        """``inputs`` (examples, ...), ``labels`` (examples,)."""
        self._inputs = inputs
        self._labels = labels

    @property
    def labels(self) -> Tensor:
        """(examples,) int64."""
        return self._labels

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """Inputs of some examples."""
        return self._inputs[torch.as_tensor(indices, dtype=torch.int64)]

    def digest(self) -> str:
        """sha256 of shapes and numbers."""
        digest = hashlib.sha256(f"{self._inputs.dtype} {tuple(self._inputs.shape)}".encode())
        digest.update(self._inputs.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        digest.update(self._labels.numpy().data)
        return digest.hexdigest()


class Listed:
    """A map-style dataset of ``torch.utils.data``: pairs of an input and a label."""

    def __init__(self, name: str, dataset: Any) -> None:
        """Read it once, for its labels and the shape of its inputs.

        Raises:
            FinetuneError: items that are no pairs, labels that are no whole numbers, or inputs of
                several shapes.
        """
        self.dataset = dataset
        self.shape: tuple[int, ...] | None = None
        labels: list[int] = []
        digest = hashlib.sha256()
        for index in range(len(dataset)):
            x, label = self._pair(name, index)
            labels.append(label)
            digest.update(f"{label} ".encode())
            digest.update(np.ascontiguousarray(x.detach().cpu().numpy()).data)
        self._labels = torch.tensor(labels, dtype=torch.int64)
        self._digest = digest.hexdigest()

    @property
    def labels(self) -> Tensor:
        """(examples,) int64."""
        return self._labels

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """Inputs of some examples, stacked."""
        return torch.stack([torch.as_tensor(self.dataset[int(i)][0]) for i in indices])

    def digest(self) -> str:
        """sha256 of what was read."""
        return self._digest

    def _pair(self, name: str, index: int) -> tuple[Tensor, int]:
        item = self.dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise FinetuneError(
                f"{name} has no labels: item {index} is a {type(item).__name__}, not a pair "
                "of an input and a label"
            )
        x = torch.as_tensor(item[0])
        if self.shape is None:
            self.shape = tuple(x.shape)
        refuse_other_shape(f"{name}, example {index}", tuple(x.shape), self.shape)
        return x, int(whole_labels(f"{name}, item {index}", [item[1]])[0])


def as_part(name: str, given: Any) -> Part:
    """What a user's function returned, as examples.

    Args:
        name: what to call them.
        given: a pair ``(inputs, labels)`` of arrays or tensors, a sequence of inputs in the first
            place, or a map-style dataset of pairs.

    Raises:
        FinetuneError: no labels, labels that are no whole numbers or not one per input, or inputs
            of several shapes.
    """
    if isinstance(given, tuple | list) and len(given) == 2:
        inputs, labels = given
        shapes = {tuple(np.shape(x)) for x in inputs}
        if len(shapes) > 1:
            first, second, *_ = sorted(shapes)
            refuse_other_shape(name, second, first)
        try:
            x = torch.stack([torch.as_tensor(one, dtype=torch.float32) for one in inputs])
        except (TypeError, ValueError, RuntimeError) as error:
            raise FinetuneError(f"the inputs of {name} are no numbers: {error}") from error
        y = whole_labels(name, labels)
        if len(x) != len(y):
            raise FinetuneError(
                f"{name} has {len(x)} inputs and {len(y)} labels; give one for each"
            )
        return Held(x, y)
    if isinstance(given, torch.Tensor | np.ndarray) or not hasattr(given, "__getitem__"):
        raise FinetuneError(
            f"{name} has no labels: it is a {type(given).__name__}; give a pair of inputs and "
            "labels, or a dataset of such pairs"
        )
    return Listed(name, given)


def whole_labels(name: str, labels: Any) -> Tensor:
    """Labels as int64 (examples,).

    Raises:
        FinetuneError: none, or not whole numbers from 0.
    """
    mend = "give one whole number from 0 for each input, its class"
    if labels is None:
        raise FinetuneError(f"{name} has no labels; {mend}")
    try:
        tensor = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise FinetuneError(f"the labels of {name} are no numbers ({error}); {mend}") from error
    bad = tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
    if bad or tensor.dim() != 1 or (len(tensor) and int(tensor.min()) < 0):
        raise FinetuneError(
            f"the labels of {name} are {tensor.dtype} of shape {tuple(tensor.shape)}; {mend}"
        )
    return tensor.to("cpu", torch.int64)


def refuse_other_shape(name: str, shape: tuple[int, ...], first: tuple[int, ...]) -> None:
    """Raise FinetuneError where an input has not the shape of the first."""
    if shape != first:
        raise FinetuneError(
            f"{name}: an input has shape {shape}, another {first}; "
            "resize or crop all images to one size"
        )


def batches(part: Part, device: torch.device | str, size: int = EVALUATION_BATCH) -> Iterator:
    """All examples in their order: pairs of inputs and labels, the last batch may be smaller."""
    for start in range(0, len(part.labels), size):
        stop = min(start + size, len(part.labels))
        yield (
            part.inputs(range(start, stop)).to(device),
            part.labels[start:stop].to(device),
        )


def even_batches(part: Part, device: torch.device | str, size: int) -> Iterator[Tensor]:
    """Inputs in batches of one size, without the rest; one batch of all where there are fewer."""
    count = len(part.labels)
    size = min(size, count)
    for start in range(0, count - size + 1, size):
        yield part.inputs(range(start, start + size)).to(device)
