"""AWQ checkpoints (AutoAWQ, GEMM order): ``qweight``, ``qzeros``, ``scales``.

Eight codes of outputs lie in a word, in the order 0 4 1 5 2 6 3 7. AWQ rescales inputs before it
quantizes and undoes that in the layer before: compare with the rescaled original.
"""

from __future__ import annotations

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.formats.packing import WORD
from bounds.gap.formats.tensors import Tensors
from bounds.gap.formats.weights import Ints, Weights, on_grid
from bounds.problem.grid import Grid

#: Place in the word of each of eight outputs.
PLACES = np.array([0, 4, 1, 5, 2, 6, 3, 7])
BITS = 4


def layers(tensors: Tensors) -> list[str]:
    """Names of the layers in this format: a word of ``qweight`` spans outputs."""
    found = [name.removesuffix(".qweight") for name in tensors.shapes if name.endswith(".qweight")]
    return [
        name
        for name in found
        if f"{name}.scales" in tensors
        and f"{name}.qzeros" in tensors
        and tensors.shapes[f"{name}.qweight"][1] * WORD
        == tensors.shapes[f"{name}.scales"][1] * BITS
    ]


def read(tensors: Tensors, name: str) -> Weights:
    """One layer.

    Raises:
        ProblemError: shapes that contradict each other.
    """
    codes = _unpack(tensors.integers(f"{name}.qweight"))  # (in, out)
    zero = _unpack(tensors.integers(f"{name}.qzeros"))
    step = tensors.reals(f"{name}.scales")
    if zero.shape != step.shape or len(codes) % len(step):
        raise ProblemError(
            f"{tensors.path} {name}: zero points {zero.shape} and scales {step.shape} do not fit "
            f"{codes.shape} weights"
        )
    size = None if len(step) == 1 else len(codes) // len(step)
    grid = Grid.uniform(BITS, step.T, zero.T.astype(np.float64), size, signed=False)
    return on_grid(name, codes.T.astype(np.float64), grid, f"AWQ: {grid}")


def _unpack(words: np.ndarray) -> Ints:
    unsigned = words.astype(np.int64) & 0xFFFFFFFF
    codes = unsigned[:, :, None] >> (PLACES * BITS) & 15
    return codes.reshape(len(words), -1)
