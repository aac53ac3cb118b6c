"""compressed-tensors (llm-compressor, vLLM): packed and plain integers, floats, FP4, bitmasks.

Layouts as the package of that name writes them; its tests here compare with that package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bounds.errors import ProblemError
from bounds.gap.formats.packing import nibbles, unpack
from bounds.gap.formats.tensors import Tensors
from bounds.gap.formats.weights import EXACT, Floats, Ints, Weights, grouping, on_grid
from bounds.problem.codebooks import FP4
from bounds.problem.grid import Grid

#: Sign, then the eight sizes of e2m1 in the order of their codes.
_E2M1 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
_E2M1_VALUES = np.concatenate([_E2M1, -_E2M1])
#: Exponents of E8M0 are stored with this added.
_E8M0_BIAS = 127


def layers(tensors: Tensors) -> list[str]:
    """Names of the layers in this format."""
    ends = (".weight_packed", ".weight_scale", ".bitmask")
    found = [name.rsplit(".", 1)[0] for name in tensors.shapes if name.endswith(ends)]
    return [name for name in dict.fromkeys(found) if _kind(tensors, name) is not None]


def _kind(tensors: Tensors, name: str) -> str | None:
    if f"{name}.bitmask" in tensors and f"{name}.compressed" in tensors:
        return "bitmask"
    if f"{name}.weight_packed" in tensors:
        return "packed"
    return "plain" if f"{name}.weight" in tensors else None


def read(tensors: Tensors, name: str) -> Weights:
    """One layer.

    Raises:
        ProblemError: tensors that are missing or do not fit, or Marlin's order of weights.
    """
    kind = _kind(tensors, name)
    if f"{name}.meta" in tensors:
        raise ProblemError(
            f"{tensors.path} {name} is in Marlin's order (marlin-24), which is made for one "
            "kernel; store it as pack-quantized"
        )
    if kind == "bitmask":
        return _bitmask(tensors, name)
    if kind == "plain":
        return _plain(tensors, name)
    packed = tensors.array(f"{name}.weight_packed")
    if packed.dtype == np.uint8:
        return _fp4(tensors, name, packed)
    return _packed(tensors, name, packed)


def _scheme(tensors: Tensors, bits: int | None = None) -> Mapping[str, Any]:
    """How weights are quantized, as the configuration says; of several groups, that of ``bits``."""
    config = tensors.config.get("quantization_config") or {}
    groups = config.get("config_groups") or {}
    schemes = [g["weights"] for g in groups.values() if isinstance(g, dict) and g.get("weights")]
    for scheme in schemes:
        if bits is None or scheme.get("num_bits") == bits:
            return scheme
    return {}


def _packed(tensors: Tensors, name: str, packed: np.ndarray) -> Weights:
    out, features = (int(side) for side in tensors.array(f"{name}.weight_shape"))
    bits = _bits(tensors, packed.shape[1], features)
    half = 2 ** (bits - 1)
    codes = unpack(packed, bits, features) - half
    step, order, size = _steps(tensors, name, out, features)
    zero: Floats | int = 0
    if f"{name}.weight_zero_point" in tensors:
        raw = tensors.integers(f"{name}.weight_zero_point")
        groups = step.shape[1]
        # Packed along the channels by newer writers.
        if raw.dtype == np.int32 and raw.shape[0] != out:
            raw = (unpack(raw.T, bits, out) - half).T
        zero = _table(raw.astype(np.float64), out, groups)
    grid = _uniform(bits, step, zero, size)
    return on_grid(
        name, codes.astype(np.float64), grid, _said("pack-quantized", grid, order), order=order
    )


def _bits(tensors: Tensors, words: int, features: int) -> int:
    """Width of codes: what the configuration says, if that is so many words, or what fits."""
    said = _scheme(tensors).get("num_bits")
    fits = [
        bits
        for bits in (*([said] if isinstance(said, int) else ()), 4, 8, 2, 3, 5, 6, 7, 1)
        if words in (-(-features * bits // 32), -(-features // (32 // bits)))
    ]
    if not fits:
        raise ProblemError(f"{tensors.path}: {words} words for {features} inputs fit no bit width")
    return fits[0]


def _plain(tensors: Tensors, name: str) -> Weights:
    shape = tensors.shapes[f"{name}.weight"]
    raw = tensors.array(f"{name}.weight")
    codes = raw.reshape(shape[0], -1).astype(np.float64)
    out, features = codes.shape
    step, order, size = _steps(tensors, name, out, features)
    if raw.dtype.kind not in "iu":
        return _fp8(tensors, name, codes, step, size)
    bits = int(_scheme(tensors).get("num_bits") or 8)
    if codes.min() < -(2 ** (bits - 1)) or codes.max() >= 2 ** (bits - 1):
        bits = 8
    zero: Floats | int = 0
    if f"{name}.weight_zero_point" in tensors:
        raw_zero = tensors.array(f"{name}.weight_zero_point").astype(np.float64)
        zero = _table(raw_zero, out, step.shape[1])
    grid = _uniform(bits, step, zero, size)
    said = _said("int-quantized", grid, order)
    return on_grid(name, codes, grid, said, order=order, shape=shape)


def _fp8(tensors: Tensors, name: str, codes: Floats, step: Floats, size: int | None) -> Weights:
    shape = tensors.shapes[f"{name}.weight"]
    accuracy = tensors.stored(f"{name}.weight").accuracy
    if accuracy < 2.0**-3:
        raise ProblemError(
            f"{tensors.path} {name} has a weight_scale, and weights that are neither integers nor "
            "FP8"
        )
    if accuracy > 2.0**-3:
        # Its levels span more than what our arithmetic keeps apart; nobody stores weights in it.
        values = codes * Grid(8, fp8_levels(5), step, 0 * step, size).steps(*codes.shape)
        return Weights(name, values.reshape(shape), EXACT, said="compressed-tensors fp8 (e5m2)")
    grid = Grid.codebook(fp8_levels(4), step, size, bits=8, name="fp8")
    return on_grid(name, codes, grid, _said("float-quantized", grid, None), shape=shape)


def _fp4(tensors: Tensors, name: str, packed: np.ndarray) -> Weights:
    levels = _E2M1_VALUES[nibbles(packed)]
    raw = tensors.array(f"{name}.weight_scale")
    size = levels.shape[1] // raw.shape[1]
    if raw.dtype == np.uint8:
        step = np.ldexp(1.0, raw.astype(np.int64) - _E8M0_BIAS)
        grid = Grid.mxfp4(step) if size == 32 else Grid.fp4(step, size, step_bits=8)
        return on_grid(name, levels, grid, _said("mxfp4-pack-quantized", grid, None))
    whole = float(tensors.reals(f"{name}.weight_global_scale").reshape(-1)[0])
    step = raw.astype(np.float64) / whole
    grid = Grid.codebook(FP4, step, size, name="nvfp4", step_bits=8, tensor_bits=32)
    return on_grid(name, levels, grid, _said("nvfp4-pack-quantized", grid, None))


def _bitmask(tensors: Tensors, name: str) -> Weights:
    """Values that are not zero, and where they are: a bit a weight, lowest first."""
    shape = tuple(int(side) for side in tensors.array(f"{name}.shape").reshape(-1))
    mask = np.unpackbits(
        tensors.array(f"{name}.bitmask").astype(np.uint8), axis=-1, bitorder="little"
    )[:, : shape[-1]].astype(bool)
    stored = tensors.stored(f"{name}.compressed")
    kept = np.asarray(stored.values, np.float64).reshape(-1)
    if mask.shape != shape or int(mask.sum()) > kept.size:
        raise ProblemError(f"{tensors.path} {name}: the mask {mask.shape} does not fit {shape}")
    values = np.zeros(shape)
    # 2:4 keeps two of every four, of which one may itself be zero.
    values[mask] = kept[: int(mask.sum())]
    return Weights(name, values, stored.accuracy, said="sparse bitmask")


def _steps(
    tensors: Tensors, name: str, out: int, features: int
) -> tuple[Floats, Ints | None, int | None]:
    """Steps (out, groups), the order of inputs, and the size of a group."""
    raw = tensors.reals(f"{name}.weight_scale")
    table = raw.reshape(raw.shape[0], -1) if raw.ndim > 1 else raw.reshape(-1, 1)
    groups = table.shape[1]
    if f"{name}.weight_g_idx" in tensors:
        index = tensors.integers(f"{name}.weight_g_idx").astype(np.int64)
        if (index >= 0).all():
            order, size = grouping(index)
            return _table(table, out, groups), order, size
    said = _scheme(tensors).get("group_size") or 0
    size = said if said > 0 and -(-features // said) == groups else -(-features // groups)
    block = _scheme(tensors).get("block_structure")
    if block and -(-features // int(block[1])) == groups:
        size = int(block[1])
        table = np.repeat(table, int(block[0]), axis=0)[:out]
    return _table(table, out, groups), None, None if groups == 1 else size


def _table(numbers: Floats, out: int, groups: int) -> Floats:
    """(1 or out, groups); rows of blocks are repeated."""
    table = numbers.reshape(-1, groups) if numbers.size % groups == 0 else numbers.reshape(-1, 1)
    if len(table) not in (1, out):
        table = np.repeat(table, -(-out // len(table)), axis=0)[:out]
    return table


def _uniform(bits: int, step: Floats, zero: Floats | int, size: int | None) -> Grid:
    lo, hi = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    beyond = bool((np.asarray(zero) < lo).any() or (np.asarray(zero) > hi).any())
    return Grid.uniform(bits, step, zero, size, real_zero=beyond)


def fp8_levels(exponent: int) -> Floats:
    """Finite values of FP8 with so many exponent bits, ascending (OCP 2023): e4m3fn or e5m2."""
    mantissa = 7 - exponent
    bias = 2 ** (exponent - 1) - 1
    codes = np.arange(128)
    power, rest = codes >> mantissa, codes & (1 << mantissa) - 1
    sizes = np.where(
        power > 0,
        np.ldexp(1 + rest / 2.0**mantissa, power - bias),
        np.ldexp(rest / 2.0**mantissa, 1 - bias),
    )
    top = 2**exponent - 1
    finite = (power < top) if exponent == 5 else ~((power == top) & (rest == 7))
    sizes = sizes[finite]
    return np.concatenate([-sizes[:0:-1], sizes])


def _said(kind: str, grid: Grid, order: Ints | None) -> str:
    return f"compressed-tensors {kind}: {grid}{', act-order' if order is not None else ''}"
