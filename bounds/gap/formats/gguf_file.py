"""GGUF files (llama.cpp), through the package gguf, which parses them; blocks are decoded here.

Layouts: ggml's ``ggml-common.h`` and ``ggml-quants.c``. A block's step may be negative (Q4_0, Q6_K)
or zero; super-blocks hold steps and minima as small integers times a half-precision number.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError
from bounds.gap.formats.weights import Floats, Weights, on_grid, plus_offset
from bounds.problem.codebooks import FP4, integers
from bounds.problem.grid import Grid

Bytes = NDArray[np.uint8]
Reals = NDArray[np.floating[Any]]
#: Levels (blocks, m) of blocks, their steps and offsets (blocks, parts).
Decoded = tuple[Reals, Reals, Reals | None]

SUFFIX = ".gguf"
_PLAIN = {"F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7, "F64": 2.0**-52}
_IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], float)
_E2M1_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12], float)


def open_gguf(path: Path) -> tuple[list[str], Callable[[str], Weights], str]:
    """Names of the weights in a file, a reader of one, and the architecture it names.

    Raises:
        ProblemError: the package gguf is not installed, or the file is damaged.
    """
    try:
        gguf: Any = import_module("gguf")
    except ImportError as error:
        raise ProblemError(
            f"{path} is a GGUF file and needs the package gguf: pip install layerbounds[gguf]"
        ) from error
    if not path.is_file():
        raise ProblemError(f"there is no file {path}")
    try:
        reader = gguf.GGUFReader(str(path), "r")
    except Exception as error:  # whatever parsing a damaged file raises
        raise ProblemError(f"{path} is no readable GGUF file: {error}") from error
    tensors = {tensor.name: tensor for tensor in reader.tensors if len(tensor.shape) >= 2}
    field = reader.get_field("general.architecture")
    arch = str(field.contents()) if field is not None else ""

    def read(name: str) -> Weights:
        return _read(path, name, tensors[f"{name}.weight" if f"{name}.weight" in tensors else name])

    return [name.removesuffix(".weight") for name in tensors], read, arch


def translate(path: Path, arch: str, blocks: int, name: str) -> str | None:
    """llama.cpp's name of a transformers layer, None where its table has none."""
    gguf: Any = import_module("gguf")
    archs = {text: key for key, text in gguf.MODEL_ARCH_NAMES.items()}
    if arch not in archs:
        return None
    found = gguf.get_tensor_name_map(archs[arch], blocks).get_name(name, try_suffixes=(".weight",))
    return None if found is None else found.removesuffix(".weight")


def _read(path: Path, name: str, tensor: Any) -> Weights:
    kind = tensor.tensor_type.name
    # The file counts dimensions from the fastest.
    shape = tuple(int(side) for side in reversed(tensor.shape))
    out = shape[0]
    if kind in _PLAIN:
        return Weights(
            name, _plain(tensor.data, kind).reshape(shape), _PLAIN[kind], said=f"GGUF {kind}"
        )
    known = BLOCKS.get(kind)
    if known is None:
        raise ProblemError(
            f"{path} {name} is {kind}, which is not read; {', '.join((*_PLAIN, *BLOCKS))} are"
        )
    decode, block_bytes, make, part = known
    raw = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1, block_bytes)
    levels, step, offset = decode(raw)
    features = levels.size // out
    if levels.size != int(np.prod(shape)):
        raise ProblemError(f"{path} {name}: {levels.size} weights in blocks of {kind} for {shape}")
    grid = make(np.asarray(step, np.float64).reshape(out, -1), part)
    if offset is not None:
        grid = plus_offset(grid, np.asarray(offset, np.float64).reshape(out, -1))
    rows = np.asarray(levels, np.float64).reshape(out, features)
    return on_grid(name, rows, grid, f"GGUF {kind}", shape=shape)


def _plain(data: np.ndarray, kind: str) -> Floats:
    if kind != "BF16":
        return np.asarray(data, np.float64)
    half = np.ascontiguousarray(data).view(np.uint8).reshape(-1).view(np.uint16)
    return (half.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _halves(raw: Bytes) -> Floats:
    """Half-precision numbers (blocks, m) of their bytes (blocks, 2 m)."""
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float64)


def _low_then_high(raw: Bytes) -> NDArray[np.int64]:
    """Codes of a block whose first half lies in the low nibbles."""
    return np.concatenate([raw & 15, raw >> 4], axis=1).astype(np.int64)


def _q4_0(raw: Bytes) -> Decoded:
    return _low_then_high(raw[:, 2:]) - 8.0, _halves(raw[:, :2]), None


def _q4_1(raw: Bytes) -> Decoded:
    return _low_then_high(raw[:, 4:]) * 1.0, _halves(raw[:, :2]), _halves(raw[:, 2:4])


def _fifth(raw: Bytes) -> NDArray[np.int64]:
    return np.unpackbits(raw, axis=1, bitorder="little").astype(np.int64) << 4


def _q5_0(raw: Bytes) -> Decoded:
    codes = _low_then_high(raw[:, 6:]) | _fifth(raw[:, 2:6])
    return codes - 16.0, _halves(raw[:, :2]), None


def _q5_1(raw: Bytes) -> Decoded:
    codes = _low_then_high(raw[:, 8:]) | _fifth(raw[:, 4:8])
    return codes * 1.0, _halves(raw[:, :2]), _halves(raw[:, 2:4])


def _q8_0(raw: Bytes) -> Decoded:
    codes = np.ascontiguousarray(raw[:, 2:]).view(np.int8)
    return codes.astype(np.float64), _halves(raw[:, :2]), None


def _six_bits(raw: Bytes) -> tuple[Reals, Reals]:
    """Scales and minima (blocks, 8) of twelve bytes (blocks, 12), six bits each."""
    first, second, rest = raw[:, :4], raw[:, 4:8], raw[:, 8:12]
    scale = np.concatenate([first & 63, rest & 15 | first >> 2 & 48], axis=1)
    least = np.concatenate([second & 63, rest >> 4 | second >> 2 & 48], axis=1)
    return scale.astype(np.float64), least.astype(np.float64)


def _by_32(raw: Bytes) -> NDArray[np.int64]:
    """Codes (blocks, 256): 32 low nibbles, then the 32 high ones, four times."""
    parts = raw.reshape(len(raw), 4, 1, 32) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1)
    return (parts & 15).reshape(len(raw), 256).astype(np.int64)


def _k_steps(raw: Bytes) -> tuple[Reals, Reals]:
    scale, least = _six_bits(raw[:, 4:16])
    return _halves(raw[:, :2]) * scale, -_halves(raw[:, 2:4]) * least


def _q4_k(raw: Bytes) -> Decoded:
    return _by_32(raw[:, 16:]) * 1.0, *_k_steps(raw)


def _q5_k(raw: Bytes) -> Decoded:
    fifth = raw[:, None, 16:48] >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1) & 1
    codes = _by_32(raw[:, 48:]) | fifth.reshape(len(raw), 256).astype(np.int64) << 4
    return codes * 1.0, *_k_steps(raw)


def _q6_k(raw: Bytes) -> Decoded:
    low, high = raw[:, :128].reshape(-1, 2, 1, 64), raw[:, 128:192].reshape(-1, 2, 1, 32)
    low = low >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1) & 15
    high = high >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1) & 3
    codes = low.reshape(-1, 256).astype(np.int64) | high.reshape(-1, 256).astype(np.int64) << 4
    scale = np.ascontiguousarray(raw[:, 192:208]).view(np.int8).astype(np.float64)
    return codes - 32.0, _halves(raw[:, 208:210]) * scale, None


def _iq4_nl(raw: Bytes) -> Decoded:
    return _IQ4[_low_then_high(raw[:, 2:])], _halves(raw[:, :2]), None


def _mxfp4(raw: Bytes) -> Decoded:
    codes = _low_then_high(raw[:, 1:])
    levels = np.where(codes < 8, 1, -1) * _E2M1_DOUBLED[codes & 7] / 2
    return levels, np.ldexp(1.0, raw[:, :1].astype(np.int64) - 127), None


def _uniform(bits: int, signed: bool) -> Callable[[Floats, int], Grid]:
    """Integers times steps of any sign, which ``on_grid`` mends."""

    def make(step: Floats, part: int) -> Grid:
        levels = integers(bits, signed)
        return Grid(bits, levels, step, np.zeros_like(step), part, f"int{bits}", 16)

    return make


def _super(
    bits: int, signed: bool, step_bits: int, zero_bits: int
) -> Callable[[Floats, int], Grid]:
    def make(step: Floats, part: int) -> Grid:
        levels = integers(bits, signed)
        zero = np.zeros_like(step)
        return Grid(bits, levels, step, zero, part, f"int{bits}", step_bits, zero_bits)

    return make


def _book(levels: Floats, name: str, step_bits: int) -> Callable[[Floats, int], Grid]:
    def make(step: Floats, part: int) -> Grid:
        return Grid(4, levels, step, np.zeros_like(step), part, name, step_bits)

    return make


#: Decoder, bytes of a block, the grid of its steps, and how many inputs a step has.
BLOCKS: dict[str, tuple[Callable[[Bytes], Decoded], int, Callable[[Floats, int], Grid], int]] = {
    "Q4_0": (_q4_0, 18, _uniform(4, True), 32),
    "Q4_1": (_q4_1, 20, _super(4, False, 16, 16), 32),
    "Q5_0": (_q5_0, 22, _uniform(5, True), 32),
    "Q5_1": (_q5_1, 24, _super(5, False, 16, 16), 32),
    "Q8_0": (_q8_0, 34, _uniform(8, True), 32),
    # Six bits a step and a minimum, and an eighth of the two half-precision numbers.
    "Q4_K": (_q4_k, 144, _super(4, False, 8, 8), 32),
    "Q5_K": (_q5_k, 176, _super(5, False, 8, 8), 32),
    # Eight bits a step, and a sixteenth of one half-precision number.
    "Q6_K": (_q6_k, 210, _super(6, True, 9, 0), 16),
    "IQ4_NL": (_iq4_nl, 18, _book(_IQ4, "iq4-nl", 16), 32),
    "MXFP4": (_mxfp4, 17, _book(np.array(FP4), "mxfp4", 8), 32),
}
