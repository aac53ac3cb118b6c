"""Codes packed into words of 32 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bounds.errors import ProblemError

Ints = NDArray[np.int64]
WORD = 32


def unpack(words: np.ndarray, bits: int, count: int) -> Ints:
    """Unsigned codes (rows, count) of words (rows, m): one stream of bits a row, lowest first.

    A code may lie across two words. Where ``bits`` does not divide 32 some writers leave the rest
    of each word empty instead; the number of words tells which it is.

    Raises:
        ProblemError: more codes than the words hold.
    """
    unsigned = np.ascontiguousarray(words).astype(np.int64) & 0xFFFFFFFF
    have = unsigned.shape[1]
    dense, sparse = -(-count * bits // WORD), -(-count // (WORD // bits))
    if have == sparse and have != dense:
        per = WORD // bits
        places = np.arange(count)
        word, shift = places // per, places % per * bits
        return unsigned[:, word] >> shift & (1 << bits) - 1
    if have < dense:
        raise ProblemError(
            f"{count} codes of {bits} bits need {dense} words of 32 bits, the file has {have}"
        )
    start = np.arange(count) * bits
    word, shift = start // WORD, start % WORD
    # A word of zeros behind the last one, for codes that end with it.
    padded = np.concatenate([unsigned, np.zeros((len(unsigned), 1), np.int64)], axis=1)
    low = padded[:, word] >> shift
    high = np.where(shift + bits > WORD, padded[:, word + 1] << (WORD - shift), 0)
    return (low | high) & (1 << bits) - 1


def nibbles(packed: np.ndarray, *, high_first: bool = False) -> Ints:
    """Two codes of every byte (..., m) as (..., 2 m)."""
    byte = np.ascontiguousarray(packed).astype(np.uint8)
    pair = (byte >> 4, byte & 15) if high_first else (byte & 15, byte >> 4)
    return np.stack(pair, axis=-1).reshape(*byte.shape[:-1], -1).astype(np.int64)
