"""Streaming X^T X in float64, full or as blocks along the diagonal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from layers.dump.geometry import Geometry
from layers.dump.layer import CHUNK_SIZE, feature_width
from layers.errors import CaptureError

Blocks = Literal["auto", "full"] | int

# Above this many features a full Gram is dropped by "auto" (4096^2 doubles are 128 MiB, and there
# is one of the calibration and one of the held-out images).
AUTO_FULL = 4096


def block_width(geometry: Geometry, blocks: Blocks) -> int | None:
    """Width of the Gram blocks to keep; None is the full Gram.

    Args:
        geometry: of the layer.
        blocks: ``full``; a width in features (whole input channels for a kxk convolution); or
            ``auto``, full up to 4096 features and 36 above.

    Raises:
        CaptureError: ``blocks`` is none of these.
    """
    features = geometry.features
    if blocks == "full" or (blocks == "auto" and features <= AUTO_FULL):
        return None
    if blocks == "auto":
        blocks = CHUNK_SIZE
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
        raise CaptureError(f"blocks {blocks!r} must be 'auto', 'full' or a positive width")
    width = feature_width(geometry.kernel_size, features, blocks)
    return None if width >= features else width


class GramSum:
    """The running sum of X^T X of one layer.

    Blocks are added in the order they arrive, in float64, one thread: equal inputs give equal
    bits. Memory is that of the Gram blocks alone.
    """

    def __init__(self, groups: int, features: int, width: int | None) -> None:
        """Start from zero.

        Args:
            groups: channel groups.
            features: columns of one group.
            width: of the diagonal blocks, None for the full Gram.
        """
        step = features if width is None else width
        self.slices = [slice(a, min(a + step, features)) for a in range(0, features, step)]
        self.sums = [
            torch.zeros((groups, s.stop - s.start, s.stop - s.start), dtype=torch.float64)
            for s in self.slices
        ]
        self.rows = 0

    def add(self, parts: Iterable[Tensor]) -> None:
        """Add row blocks, each (groups, rows, features) float64."""
        for rows in parts:
            self.rows += rows.shape[1]
            for total, columns in zip(self.sums, self.slices, strict=True):
                part = rows[:, :, columns]
                if part.shape[0] == 1:  # a plain product is faster than a batch of one
                    total[0].addmm_(part[0].T, part[0])
                else:
                    total.baddbmm_(part.transpose(1, 2), part)

    def result(self) -> tuple[np.ndarray, ...]:
        """Each block (groups, w, w) float64, exactly symmetric."""
        # BLAS does not promise symmetric rounding; the mean of both halves is symmetric.
        return tuple(((total + total.transpose(1, 2)) / 2).numpy() for total in self.sums)
