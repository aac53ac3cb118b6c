"""bitsandbytes: NF4 and FP4 blocks with their code book in the file, and LLM.int8's rows.

Blocks run through the flattened weights, so where their size does not divide the inputs a block
belongs to several rows; groups are then as wide as the greatest common divisor.
"""

from __future__ import annotations

import json
from math import ceil, gcd, prod

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.formats.packing import nibbles
from bounds.gap.formats.tensors import Tensors
from bounds.gap.formats.weights import Floats, Weights, on_grid
from bounds.problem.grid import Grid

_STATE = ".weight.quant_state.bitsandbytes__"
_ROWS = ".SCB"


def layers(tensors: Tensors) -> list[str]:
    """Names of the layers in this format."""
    four = [name.split(_STATE)[0] for name in tensors.shapes if _STATE in name]
    eight = [name.removesuffix(_ROWS) for name in tensors.shapes if name.endswith(_ROWS)]
    return list(dict.fromkeys(four + eight))


def read(tensors: Tensors, name: str) -> Weights:
    """One layer.

    Raises:
        ProblemError: a state that cannot be read, or does not fit the weights.
    """
    if f"{name}{_ROWS}" in tensors:
        return _int8(tensors, name)
    kind = next(n for n in tensors.shapes if n.startswith(f"{name}{_STATE}")).rsplit("__", 1)[1]
    try:
        state = json.loads(tensors.array(f"{name}{_STATE}{kind}").astype(np.uint8).tobytes())
        shape = tuple(int(side) for side in state["shape"])
        block = int(state["blocksize"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProblemError(
            f"{tensors.path} {name}: the quant_state is unreadable: {error!r}"
        ) from error
    book = tensors.reals(f"{name}.weight.quant_map")
    codes = nibbles(tensors.array(f"{name}.weight").reshape(-1), high_first=True)
    count = prod(shape)
    out, features = shape[0], count // shape[0]
    largest = _largest(tensors, name, state)
    if codes.size < count or len(largest) * block < count:
        raise ProblemError(f"{tensors.path} {name}: codes or blocks are too few for {shape}")
    size = gcd(block, features)
    step = np.repeat(largest, block // size)[: count // size].reshape(out, -1)
    levels = book[codes[:count]].reshape(out, features)
    # Two codes of FP4 are zero.
    grid = Grid.codebook(
        np.unique(book), step, None if size == features else size, bits=4, name=kind,
        step_bits=ceil((8 if "nested_offset" in state else 32) * size / block),
    )  # fmt: skip
    nested = ", block sizes quantized too" if "nested_offset" in state else ""
    said = f"bitsandbytes {kind}, blocks of {block}{nested}"
    return on_grid(name, levels, grid, said, shape=shape)


def _largest(tensors: Tensors, name: str, state: dict) -> Floats:
    """The largest weight of each block, in size; quantized itself where blocks of blocks are."""
    raw = tensors.array(f"{name}.weight.absmax").reshape(-1)
    if "nested_offset" not in state:
        return raw.astype(np.float64)
    book = tensors.reals(f"{name}.weight.nested_quant_map")
    outer = tensors.reals(f"{name}.weight.nested_absmax").reshape(-1)
    spread = np.repeat(outer, int(state["nested_blocksize"]))[: raw.size]
    # Single precision, as their kernels have it.
    parts = book.astype(np.float32)[raw.astype(np.int64)] * spread.astype(np.float32)
    return (parts + np.float32(state["nested_offset"])).astype(np.float64)


def _int8(tensors: Tensors, name: str) -> Weights:
    codes = tensors.integers(f"{name}.weight").astype(np.float64)
    step = tensors.reals(f"{name}{_ROWS}").reshape(-1) / 127
    grid = Grid.uniform(8, step, step_bits=32)
    return on_grid(name, codes, grid, f"bitsandbytes LLM.int8: {grid}")
