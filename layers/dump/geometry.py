"""What a convolution or linear layer does to its input."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from layers.dump.layout import PLAIN
from layers.errors import CaptureError


@dataclass(frozen=True)
class Geometry:
    """What a convolution or linear layer does to its input.

    Attributes:
        kind: ``conv2d`` or ``linear``.
        weight_shape: (out, in / groups, kernel height, kernel width) or (out, in).
        stride: (vertical, horizontal).
        padding: zeros added at (top, bottom, left, right) by the convolution itself; whatever a
            module adds before it (reflection, its own 'same') is part of the input already.
        dilation: (vertical, horizontal).
        groups: number of channel groups.
        layout: how the network stores the weights, see ``layers.dump.layout``.
    """

    kind: str
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    layout: str = PLAIN

    @property
    def kernel_size(self) -> tuple[int, int]:
        """(height, width) of the kernel; (1, 1) for a linear layer."""
        return (self.weight_shape[2], self.weight_shape[3]) if self.kind == "conv2d" else (1, 1)

    @property
    def features(self) -> int:
        """Columns of a row in one group."""
        return prod(self.weight_shape[1:])

    def plain(self) -> Geometry:
        """The same kernel moved by one, without padding or dilation: not what the layer does.

        So the released code of Kuzmin et al. 2023 unfolds every convolution; for comparison.
        """
        return Geometry(self.kind, self.weight_shape, groups=self.groups)


def conv2d_geometry(
    weight_shape: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Geometry:
    """The geometry of a call ``F.conv2d(x, weight, bias, stride, padding, dilation, groups)``.

    Args:
        weight_shape: (out, in / groups, kernel height, kernel width).
        stride: one number or a pair.
        padding: one number, a pair (vertical, horizontal), 'same' or 'valid'.
        dilation: one number or a pair.
        groups: number of channel groups.
    """
    dilated = _pair(dilation)
    if padding == "same":
        # As torch: an odd total puts the extra zero at the bottom and at the right.
        totals = [d * (k - 1) for d, k in zip(dilated, weight_shape[2:], strict=True)]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
    elif padding == "valid":
        top = bottom = left = right = 0
    elif isinstance(padding, str):
        raise CaptureError(f"unknown padding {padding!r}: expected 'same', 'valid' or numbers")
    else:
        top, left = _pair(padding)
        bottom, right = top, left
    return Geometry(
        "conv2d",
        tuple(weight_shape),
        _pair(stride),
        (top, bottom, left, right),
        dilated,
        groups,
    )


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """One number or a pair, as a pair."""
    if isinstance(value, int):
        return value, value
    numbers = [int(number) for number in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
