"""From the inputs that layers see, image after image, to their weights and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from layers.capture.gram import Blocks, GramSum, block_width
from layers.capture.lowering import lower
from layers.dump.geometry import Geometry
from layers.errors import CaptureError

#: Told of a layer that cannot be captured, and why.
Reject = Callable[[str, CaptureError], object]
Part = Literal["calibration", "heldout"]


@dataclass(frozen=True, eq=False)
class CapturedLayer:
    """What one layer is and saw.

    Attributes:
        name: full layer name.
        geometry: of the convolution or linear map as executed.
        weights: (channels, n) float32.
        block_width: width of the Gram blocks, None if full.
        gram_blocks: each (groups, w, w) float64, calibration.
        heldout_blocks: the same of the held-out images; () without such a part.
        rows: calibration rows.
        heldout_rows: held-out rows.
    """

    name: str
    geometry: Geometry
    weights: np.ndarray
    block_width: int | None
    gram_blocks: tuple[np.ndarray, ...]
    heldout_blocks: tuple[np.ndarray, ...]
    rows: int
    heldout_rows: int


class Collector:
    """Lowers what it is shown at once and keeps only Gram sums and weights."""

    def __init__(
        self,
        names: Sequence[str],
        blocks: Blocks = "auto",
        plain_unfold: bool = False,
        reject: Reject | None = None,
        heldout: bool = True,
    ) -> None:
        """Prepare for the named layers.

        Args:
            names: of the layers.
            blocks: as in ``layers.capture.gram.block_width``.
            plain_unfold: take ``Geometry.plain`` instead of what is executed.
            reject: told of a layer that cannot be captured, which is then left out; without it the
                first such layer is an error.
            heldout: whether there is a held-out part.
        """
        self.names = list(names)
        self.plain_unfold = plain_unfold
        self.blocks: Blocks = blocks
        self.reject = reject
        self.heldout = heldout
        self.rejected: set[str] = set()
        self.part: Part = "calibration"
        self.image = ""
        self._weights: dict[str, tuple[Geometry, Tensor]] = {}
        self._sums: dict[tuple[str, Part], GramSum] = {}

    def begin(self, part: Part, image: str) -> None:
        """Say whose activations come next."""
        self.part, self.image = part, image

    def observe(self, name: str, x: Tensor, weight: Tensor, geometry: Geometry) -> None:
        """Add the input ``x`` of one call of a layer.

        Args:
            name: the layer.
            x: input as the convolution or linear map sees it.
            weight: as used in this call.
            geometry: of this call.

        Raises:
            CaptureError: NaN or infinite activations, or weights that change between images.
        """
        if name in self.rejected:
            return
        try:
            self._observe(name, x, weight, geometry)
        except CaptureError as error:
            self.fail(name, error)

    def fail(self, name: str, error: CaptureError) -> None:
        """Leave a layer out, or raise ``error`` if nobody wants to hear of it."""
        if self.reject is None:
            raise error
        if name not in self.rejected:
            self.rejected.add(name)
            for part in ("calibration", "heldout"):
                self._sums.pop((name, part), None)
            self.reject(name, error)

    def _observe(self, name: str, x: Tensor, weight: Tensor, geometry: Geometry) -> None:
        if not torch.isfinite(x).all():
            raise CaptureError(
                f"layer {name!r} sees NaN or infinite activations for {self.image}; "
                "check the network's weights and the preprocessing"
            )
        geometry = geometry.plain() if self.plain_unfold else geometry
        weight = weight.detach().cpu()
        if name not in self._weights:
            if not torch.isfinite(weight).all():
                raise CaptureError(f"the weights of layer {name!r} are NaN or infinite")
            # A clone: comparing the network's own tensor with itself would never differ.
            self._weights[name] = (geometry, weight.clone())
        known = self._weights[name]
        if known[0] != geometry or not torch.equal(known[1], weight):
            raise CaptureError(
                f"layer {name!r} changes its weights or geometry between images "
                f"(seen at {self.image}); only fixed layers can be bounded"
            )
        key = (name, self.part)
        if key not in self._sums:
            width = block_width(geometry, self.blocks)
            self._sums[key] = GramSum(geometry.groups, geometry.features, width)
        try:
            self._sums[key].add(lower(x, geometry))
        except CaptureError as error:
            raise CaptureError(f"layer {name!r}, {self.image}: {error}") from error

    def results(self) -> list[CapturedLayer]:
        """Every layer that was not left out, in the order of ``names``.

        Raises:
            CaptureError: a layer without rows in one of the parts, or weights beyond float32.
        """
        found = []
        for name in self.names:
            if name not in self.rejected:
                try:
                    found.append(self._result(name))
                except CaptureError as error:
                    self.fail(name, error)
        return found

    def _result(self, name: str) -> CapturedLayer:
        for part in ("calibration", "heldout") if self.heldout else ("calibration",):
            if (name, part) not in self._sums or not self._sums[name, part].rows:
                raise CaptureError(f"layer {name!r} saw no {part} input: it never fired")
        geometry, weight = self._weights[name]
        calibration, heldout = self._sums[name, "calibration"], self._sums.get((name, "heldout"))
        return CapturedLayer(
            name=name,
            geometry=geometry,
            weights=_float32(name, weight.reshape(weight.shape[0], -1)),
            block_width=block_width(geometry, self.blocks),
            gram_blocks=calibration.result(),
            heldout_blocks=() if heldout is None else heldout.result(),
            rows=calibration.rows,
            heldout_rows=0 if heldout is None else heldout.rows,
        )


def _float32(name: str, weight: Tensor) -> np.ndarray:
    """The weights as float32, refused if that would change them."""
    single = weight.to(torch.float32)
    if not torch.equal(single.to(torch.float64), weight.to(torch.float64)):
        raise CaptureError(
            f"the weights of layer {name!r} are {weight.dtype} and do not fit float32, so a "
            "dump would round them; convert the network with module.float() first"
        )
    # A copy: the dump must not change if the network is trained on afterwards.
    return np.array(single.numpy(), order="C")
