"""Storage in bits a weight: what "equal storage" leaves out, the pruning mask and the scales.

The paper compares b bits with the sparsity 1 - b/16 of 16-bit weights, which counts values only.
Kept weights also need their places: a mask of one bit a weight, 6.25% of FP16, or, ideally coded,
its entropy. A step costs 16 bits, shared by the weights it serves.
"""

from __future__ import annotations

import math

from scipy.optimize import root_scalar

from bounds.errors import ProblemError

VALUE_BITS = 16
#: ``bitmask``: one bit a weight; ``entropy``: no code of random places is shorter; ``none``.
MASKS = ("bitmask", "entropy", "none")


def check_sparsity(sparsity: float) -> float:
    """A share in [0, 1], as it came."""
    if not 0 <= sparsity <= 1:
        raise ProblemError(f"sparsity must be between 0 and 1, got {sparsity!r}")
    return sparsity


def sparsity_at_bits(bits: float) -> float:
    """The paper's equal storage: sparsity ``1 - bits/16``, in values alone."""
    if not 0 <= bits <= VALUE_BITS:
        raise ProblemError(f"bits must be between 0 and {VALUE_BITS}, got {bits!r}")
    return 1 - bits / VALUE_BITS


def mask_bits(sparsity: float, mask: str = "entropy") -> float:
    """Bits a weight for saying which weights are kept.

    Args:
        sparsity: share of zeros ``c``, in [0, 1].
        mask: ``bitmask`` (1), ``entropy`` (``-c log2 c - (1-c) log2 (1-c)``) or ``none`` (0).

    Raises:
        ProblemError: sparsity out of range, or an unknown mask.
    """
    check_sparsity(sparsity)
    if mask not in MASKS:
        raise ProblemError(f"unknown mask {mask!r}; choose from {', '.join(MASKS)}")
    if mask != "entropy":
        return 1.0 if mask == "bitmask" else 0.0
    shares = (sparsity, 1 - sparsity)
    return -sum(share * math.log2(share) for share in shares if share > 0)


def pruning_bits(sparsity: float, mask: str = "entropy") -> float:
    """True bits a weight of pruning: ``16 (1-c)`` for the values kept, and the mask."""
    return VALUE_BITS * (1 - sparsity) + mask_bits(sparsity, mask)


def quantization_bits(bits: float, weights_per_scale: float = math.inf) -> float:
    """True bits a weight of quantization: its codes, and a 16-bit scale for so many weights."""
    if not bits > 0:
        raise ProblemError(f"bits must be positive, got {bits!r}")
    if not weights_per_scale > 0:
        raise ProblemError(f"weights_per_scale must be positive, got {weights_per_scale!r}")
    return bits + VALUE_BITS / weights_per_scale


def grid_bits(bits: float, group_bits: float, groups: int, features: int) -> float:
    """True bits a weight of a grid: its codes, and what each group of a channel's inputs needs.

    Args:
        bits: width of a code.
        group_bits: of a group's step and zero point.
        groups: of a channel; features: its inputs.
    """
    return bits + group_bits * groups / features


def sparsity_at_true_bits(bits: float, mask: str = "entropy") -> float:
    """The sparsity at which pruning, mask included, costs ``bits`` a weight.

    Higher than ``sparsity_at_bits(bits)``, for the mask has to be paid in weights.

    Raises:
        ProblemError: bits outside [0, 16] (at least 1 with a bitmask), or an unknown mask.
    """
    least, most = (1.0 if mask == "bitmask" else 0.0), float(VALUE_BITS)
    mask_bits(0.5, mask)
    if not least <= bits <= most:
        raise ProblemError(f"bits must be between {least:g} and {most:g}, got {bits!r}")
    if mask != "entropy":
        return 1 - (bits - least) / VALUE_BITS
    # Falls from its peak, where the mask of one more zero costs as much as the weight it saves.
    peak = 1 / (1 + 2.0**VALUE_BITS)
    found = root_scalar(
        lambda c: pruning_bits(c, mask) - bits, bracket=(peak, 1.0), method="brentq", xtol=1e-15
    )
    return float(found.root)
