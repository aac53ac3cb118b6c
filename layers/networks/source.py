"""A network as capture sees it: its layers, and inputs run through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from layers.images.preprocessing import Preprocessing
from layers.networks.names import resolve_name

if TYPE_CHECKING:
    from torch import Tensor

    from layers.dump.geometry import Geometry
    from layers.errors import CaptureError


class Collector(Protocol):
    """Who is told the inputs of layers (``layers.capture.collector.Collector``)."""

    image: str

    def observe(self, name: str, x: Tensor, weight: Tensor, geometry: Geometry) -> None:
        """One call of layer ``name``: its input and the weight used."""
        ...

    def fail(self, name: str, error: CaptureError) -> None:
        """Layer ``name`` cannot be captured; raises ``error`` if it has to be."""
        ...


class LayerInfo(NamedTuple):
    """A layer that can be captured: full name, ``conv2d`` or ``linear``, weight shape.

    The shape is (out, in / groups, kernel height, kernel width) or (out, in).
    """

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Source(ABC):
    """A network with its preprocessing.

    Attributes:
        name: exactly as given to ``open_source``; dumps are filed under it.
        preprocessing: how an image becomes an input.
        licence: what is known about the licence of the weights.
    """

    name: str
    preprocessing: Preprocessing
    licence: str

    @abstractmethod
    def layers(self) -> list[LayerInfo]:
        """Every layer that can be captured, in the network's order."""

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over structure and weights: equal for networks that compute the same."""

    @abstractmethod
    def runner(
        self, names: Sequence[str], collector: Collector
    ) -> AbstractContextManager[Callable[[np.ndarray], None]]:
        """A context whose value runs one input (3, height, width) through the network.

        While it is open, ``collector.observe`` is called for each of ``names``; afterwards the
        network is as before.
        """

    def resolve(self, wanted: str) -> str:
        """The full name of a layer given by name or unique suffix.

        Raises:
            CaptureError: unknown, ambiguous, or a kind of layer that is not supported.
        """
        return resolve_name(wanted, [layer.name for layer in self.layers()], self.name)
