"""GPTQ checkpoints (AutoGPTQ, GPTQModel): ``qweight``, ``qzeros``, ``scales``, ``g_idx``.

Codes lie in words of 32 bits along the inputs, zero points along the outputs. Version 1 stores zero
points less one, version 2 as they are, and files that say 1 hold 2: the values decide.
"""

from __future__ import annotations

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.formats.packing import WORD, unpack
from bounds.gap.formats.tensors import Tensors
from bounds.gap.formats.weights import Ints, Weights, grouping, on_grid
from bounds.problem.grid import Grid

#: Up to so many bits a step is wider than what the mean of real weights is off zero.
CLEAR = 4


def layers(tensors: Tensors) -> list[str]:
    """Names of the layers in this format: a word of ``qweight`` spans inputs, not outputs."""
    found = [name.removesuffix(".qweight") for name in tensors.shapes if name.endswith(".qweight")]
    return [
        name
        for name in found
        if f"{name}.scales" in tensors
        and f"{name}.qzeros" in tensors
        and tensors.shapes[f"{name}.qweight"][1] == tensors.shapes[f"{name}.scales"][1]
    ]


def read(tensors: Tensors, name: str) -> Weights:
    """One layer.

    Raises:
        ProblemError: shapes that contradict each other.
    """
    step = tensors.reals(f"{name}.scales")
    groups, out = step.shape
    packed_zeros = tensors.integers(f"{name}.qzeros")
    bits = packed_zeros.shape[1] * WORD // out
    qweight = tensors.integers(f"{name}.qweight")
    if not 1 <= bits <= 8:
        raise ProblemError(f"{tensors.path} {name}: {bits} bits a weight is no width of GPTQ's")
    index = f"{name}.g_idx"
    features = tensors.shapes[index][0] if index in tensors else qweight.shape[0] * WORD // bits
    codes = unpack(qweight.T, bits, features)
    stored = unpack(packed_zeros, bits, out)
    size = -(-features // groups)
    order = None
    if index in tensors:
        order, found = grouping(tensors.integers(index).astype(np.int64))
        size = size if found is None else found
    told = _version(tensors)
    placed = codes if order is None else codes[:, order]
    less = 2 - _found_version(placed, stored, size, bits, told)
    zero = (stored + less).T.astype(np.float64)
    beyond = bool((zero >= 2**bits).any())
    grid = Grid.uniform(
        bits, step.T, zero, None if groups == 1 else size, signed=False, real_zero=beyond
    )
    said = f"GPTQ v{2 - less}: {grid}{', act-order' if order is not None else ''}"
    if told is not None and told != 2 - less:
        said += f" (the file says v{told}, its zero points are those of v{2 - less})"
    return on_grid(name, codes.astype(np.float64), grid, said, order=order)


def _found_version(codes: Ints, stored: Ints, size: int, bits: int, told: int | None) -> int:
    """1 if what is stored is a zero point less one, else 2."""
    half = 2 ** (bits - 1)
    if stored.min() == stored.max() and stored.flat[0] in (half - 1, half):
        return 1 if stored.flat[0] == half - 1 else 2  # symmetric: the middle, or one less
    if bits > CLEAR and told is not None:
        return told
    # Weights are about as often above zero as below; off by one, all of them move by a step.
    starts = np.arange(0, codes.shape[1], size)
    sizes = np.diff([*starts, codes.shape[1]])
    means = np.add.reduceat(codes, starts, axis=1) / sizes - stored.T
    return 1 if float(np.median(means)) > 0.5 else 2


def _version(tensors: Tensors) -> int | None:
    config = tensors.config.get("quantization_config") or {}
    told = config.get("checkpoint_format")
    return {"gptq": 1, "gptq_v2": 2}.get(told) if isinstance(told, str) else None
