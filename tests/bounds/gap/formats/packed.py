"""Codes packed bit by bit, as slowly and plainly as the formats' descriptions have it."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save_file


def words(codes: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned codes (rows, n) as int32 (rows, m): one stream of bits a row, lowest bit first."""
    rows = []
    for row in codes:
        stream = [int(code) >> bit & 1 for code in row for bit in range(bits)]
        stream += [0] * (-len(stream) % 32)
        rows.append(
            [
                sum(b << i for i, b in enumerate(stream[k : k + 32]))
                for k in range(0, len(stream), 32)
            ]
        )
    return np.array(rows, np.int64).astype(np.uint32).view(np.int32)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))


def save(path, tensors) -> None:
    save_file(
        {name: t if isinstance(t, torch.Tensor) else tensor(t) for name, t in tensors.items()}, path
    )
