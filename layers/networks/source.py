"""A network as capture sees it: its layers, and inputs run through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from layers.errors import CaptureError
from layers.images.preprocessing import Preprocessing
from layers.networks.names import is_pattern, match_names, resolve_name

if TYPE_CHECKING:
    from torch import Tensor

    from layers.dump.geometry import Geometry
    from layers.networks.batches import Batches


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
        batches: inputs that came with the network; None where images are.
    """

    name: str
    preprocessing: Preprocessing
    licence: str
    batches: Batches | None = field(default=None, kw_only=True, repr=False)

    @abstractmethod
    def layers(self) -> list[LayerInfo]:
        """Every layer that can be captured, in the network's order."""

    def unsupported(self) -> dict[str, str]:
        """Layers with weights that cannot be captured, and why."""
        return {}

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over structure and weights: equal for networks that compute the same."""

    @abstractmethod
    def runner(
        self, names: Sequence[str], collector: Collector
    ) -> AbstractContextManager[Callable[[Any], None]]:
        """A context whose value runs one input through the network.

        That is an image (3, height, width) as an array, or what a batch holds.

        While it is open, ``collector.observe`` is called for each of ``names``; afterwards the
        network is as before.
        """

    def resolve(self, wanted: str) -> str:
        """The full name of a layer given by name or unique suffix.

        Raises:
            CaptureError: unknown, ambiguous, or a kind of layer that is not supported.
        """
        return resolve_name(wanted, [layer.name for layer in self.layers()], self.name)

    def resolve_all(
        self,
        wanted: Sequence[str],
        reject: Callable[[str, CaptureError], object] | None = None,
    ) -> list[str]:
        """Full names of the layers wanted; those of a pattern that are not among them yet.

        ``reject`` is told of what a pattern matches too and cannot be captured.

        Raises:
            CaptureError: a layer that is not there or is unsupported, or a pattern without any.
        """
        known = [layer.name for layer in self.layers()]
        names: list[str] = []
        for one in wanted:
            if one in known or not is_pattern(one):
                names.append(self.resolve(one))
                continue
            names += [n for n in match_names(one, known, self.name) if n not in names]
            for name, why in self.unsupported().items():
                if reject is not None and fnmatchcase(name, one):
                    reject(name, CaptureError(f"layer {name!r} of {self.name} is {why}"))
        return names
