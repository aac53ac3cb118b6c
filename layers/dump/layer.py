"""What is known about one layer: weights, Gram matrices, provenance; and its chunks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from layers.errors import DumpError

KINDS = ("conv2d", "linear")
CHUNK_SIZE = 36


def feature_width(kernel_size: Sequence[int], features: int, size: int) -> int:
    """Features per chunk: ``size``, or as many whole input channels of a kxk kernel as fit.

    Args:
        kernel_size: (height, width); (1, 1) for a linear layer.
        features: columns of one group; the result never exceeds it.
        size: wished number of features; a single input channel may exceed it.

    Raises:
        DumpError: ``size`` is below 1.
    """
    if size < 1:
        raise DumpError(f"chunk size {size} must be at least 1")
    area = prod(kernel_size)
    return min(max(1, size // area) * area, features)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A slice of input features of one group, over all output channels of that group.

    Attributes:
        layer: full layer name.
        source: network name.
        dump_hash: content hash of the dump it was cut from.
        index: running index over groups and feature slices.
        group: which channel group.
        features: columns of the group's features.
        channels: output channels of the layer this chunk covers.
        weights: (channels, n) float64, C-contiguous, not rounded.
        gram: (n, n) float64, calibration X^T X, exactly symmetric.
        heldout_gram: (n, n) float64, of the held-out images; None without such a part.
        rows: rows of X behind ``gram``.
        heldout_rows: rows behind ``heldout_gram``.
    """

    layer: str
    source: str
    dump_hash: str
    index: int
    group: int
    features: slice
    channels: slice
    weights: np.ndarray
    gram: np.ndarray
    heldout_gram: np.ndarray | None
    rows: int
    heldout_rows: int


@dataclass(frozen=True, eq=False)
class LayerDump:
    """One captured layer. Construction checks everything; ``content_hash`` is computed.

    Attributes:
        source: network name.
        layer: full layer name.
        kind: ``conv2d`` or ``linear``.
        weights: (channels, n) float32 as in the network; n is per group.
        gram_blocks: each (groups, w, w) float64, the calibration X^T X of consecutive features;
            a single block of width n is the full Gram.
        heldout_blocks: the same of the held-out images; () without such a part.
        rows: rows of X behind the calibration Gram.
        heldout_rows: rows behind the held-out Gram, 0 without one.
        weight_shape: in the network, (out, in / groups, height, width) or (out, in).
        stride: (vertical, horizontal).
        padding: zeros at (top, bottom, left, right), added by the convolution itself.
        dilation: (vertical, horizontal).
        groups: channel groups.
        block_width: width of the stored blocks (the last may be narrower), None if full.
        images: (name, sha256) of each calibration image or batch.
        heldout_images: (name, sha256) of each held-out one.
        recipe: what decided the numbers (network hash, preprocessing, options); equal recipes
            and images mean equal dumps.
        versions: of the packages that made it.
        content_hash: sha256 over metadata and arrays.

    Raises:
        DumpError: shapes, dtypes or values that contradict each other.
    """

    source: str
    layer: str
    kind: str
    weights: np.ndarray
    gram_blocks: tuple[np.ndarray, ...]
    heldout_blocks: tuple[np.ndarray, ...]
    rows: int
    heldout_rows: int
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    block_width: int | None = None
    images: tuple[tuple[str, str], ...] = ()
    heldout_images: tuple[tuple[str, str], ...] = ()
    recipe: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    content_hash: str = field(init=False)

    def __post_init__(self) -> None:
        """Check, then hash."""
        _check_shapes(self)
        for name, array in self.tensors().items():
            if not np.isfinite(array).all():
                raise DumpError(f"{name} holds NaN or infinite values")
            if name != "weights" and not np.array_equal(array, array.swapaxes(1, 2)):
                raise DumpError(f"{name} is not symmetric, so it is no Gram matrix")
            if name != "weights" and np.diagonal(array, axis1=1, axis2=2).min(initial=0.0) < 0:
                raise DumpError(f"{name} has a negative diagonal, so it is no Gram matrix")
        object.__setattr__(self, "content_hash", self._hash())

    @property
    def channels(self) -> int:
        """Output channels of the layer, over all groups."""
        return self.weights.shape[0]

    @property
    def features(self) -> int:
        """Columns n of one group."""
        return self.weights.shape[1]

    @property
    def kernel_size(self) -> tuple[int, int]:
        """(height, width) of the kernel; (1, 1) for a linear layer."""
        return (self.weight_shape[2], self.weight_shape[3]) if self.kind == "conv2d" else (1, 1)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays by the names they have on disk."""
        named = {"weights": self.weights}
        named |= {f"gram.{i}": block for i, block in enumerate(self.gram_blocks)}
        return named | {f"heldout.{i}": block for i, block in enumerate(self.heldout_blocks)}

    def metadata(self) -> dict[str, Any]:
        """Everything but the arrays and the hash, ready for JSON."""
        return {
            "source": self.source,
            "layer": self.layer,
            "kind": self.kind,
            "weight_shape": list(self.weight_shape),
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": list(self.padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
            "rows": self.rows,
            "heldout_rows": self.heldout_rows,
            "block_width": self.block_width,
            "images": [list(image) for image in self.images],
            "heldout_images": [list(image) for image in self.heldout_images],
            "recipe": dict(self.recipe),
            "versions": dict(self.versions),
        }

    def chunk_width(self, size: int = CHUNK_SIZE) -> int:
        """Features per chunk; the last chunk of a group may be narrower.

        Args:
            size: wished width; a kxk convolution takes floor(size / k^2) whole input channels,
                at least one.

        Raises:
            DumpError: ``size`` is below 1.
        """
        return feature_width(self.kernel_size, self.features, size)

    def chunk_count(self, size: int | None = CHUNK_SIZE) -> int:
        """Number of chunks over all groups; None counts whole layers (one per group)."""
        width = self.features if size is None else self.chunk_width(size)
        return self.groups * -(-self.features // width)

    def chunks(self, size: int | None = CHUNK_SIZE) -> list[Chunk]:
        """The layer cut into chunks, in the order of groups and features.

        Args:
            size: as for ``chunk_width``; None is one chunk a group with all its features.

        Raises:
            DumpError: the stored Gram blocks do not hold chunks of this width.
        """
        width = self.features if size is None else self.chunk_width(size)
        stored = self.features if self.block_width is None else self.block_width
        if stored % width and self.block_width is not None:
            raise DumpError(
                f"{self.source} {self.layer} stores Gram blocks {stored} features wide, which do "
                f"not hold chunks of {width}; choose a width that divides {stored}, "
                'or extract again with blocks="full"'
            )
        per_group = self.channels // self.groups
        chunks: list[Chunk] = []
        for group in range(self.groups):
            channels = slice(group * per_group, (group + 1) * per_group)
            for start in range(0, self.features, width):
                part = slice(start, min(start + width, self.features))
                block, offset = divmod(start, stored)
                inner = slice(offset, offset + part.stop - part.start)
                chunks.append(
                    Chunk(
                        layer=self.layer,
                        source=self.source,
                        dump_hash=self.content_hash,
                        index=len(chunks),
                        group=group,
                        features=part,
                        channels=channels,
                        weights=np.array(self.weights[channels, part], np.float64, order="C"),
                        gram=np.array(self.gram_blocks[block][group, inner, inner], order="C"),
                        heldout_gram=np.array(
                            self.heldout_blocks[block][group, inner, inner], order="C"
                        )
                        if self.heldout_blocks
                        else None,
                        rows=self.rows,
                        heldout_rows=self.heldout_rows,
                    )
                )
        return chunks

    def _hash(self) -> str:
        """sha256 over the canonical metadata and, by name, every array's type, shape, bytes."""
        digest = hashlib.sha256(canonical_json(self.metadata()).encode())
        for name, array in sorted(self.tensors().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with one spelling for equal values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check_shapes(dump: LayerDump) -> None:
    """Refuse a dump whose numbers contradict its arrays."""
    rank = {"conv2d": 4, "linear": 2}.get(dump.kind)
    if rank is None:
        raise DumpError(f"unknown kind {dump.kind!r}; expected one of {', '.join(KINDS)}")
    shape = dump.weight_shape
    if len(shape) != rank or min(shape) < 1:
        raise DumpError(f"weight shape {shape} does not fit the kind {dump.kind}")
    _check_array("weights", dump.weights, np.float32, (shape[0], prod(shape[1:])))
    groups = dump.groups
    if groups < 1 or shape[0] % groups or (dump.kind == "linear" and groups != 1):
        raise DumpError(f"{groups} groups do not fit weights {shape} of kind {dump.kind}")
    if min(*dump.stride, *dump.dilation) < 1 or min(dump.padding) < 0:
        raise DumpError(
            f"impossible stride {dump.stride}, dilation {dump.dilation} or padding {dump.padding}"
        )
    judged = bool(dump.heldout_blocks)
    if dump.rows < 1 or dump.heldout_rows < judged or (dump.heldout_rows and not judged):
        raise DumpError(
            f"rows ({dump.rows}) must be >= 1, and so must held-out rows ({dump.heldout_rows}) "
            "unless there is no held-out Gram"
        )
    features = prod(shape[1:])
    width = features if dump.block_width is None else dump.block_width
    if not 0 < width <= features:
        raise DumpError(f"block width {width} does not fit {features} features")
    widths = [min(width, features - start) for start in range(0, features, width)]
    for part, blocks in (("gram", dump.gram_blocks), ("heldout", dump.heldout_blocks)):
        if part == "heldout" and not judged:
            continue
        if len(blocks) != len(widths):
            raise DumpError(f"{len(blocks)} {part} blocks instead of {len(widths)}")
        for i, (block, w) in enumerate(zip(blocks, widths, strict=True)):
            _check_array(f"{part}.{i}", block, np.float64, (groups, w, w))


def _check_array(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    """Refuse an array of another type or shape."""
    if array.dtype != dtype or array.shape != shape:
        raise DumpError(
            f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
        )
