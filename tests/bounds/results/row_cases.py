"""A row of results with every column, of which a test names those it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bounds.results.row import Row


def make_row(problem: str, method: str, lower: float, upper: float, **others: Any) -> Row:
    """Four channels of one chunk, energy 100; exact where lower is upper."""
    exact = 4 if lower == upper else 0
    values: dict[str, Any] = {
        **{"source": "net", "layer": "layer", "kind": "conv", "dump_hash": "0" * 64},
        **{"chunk": 0, "chunk_total": 3, "group": 0, "features": 16},
        **{"channels": 4, "channel_total": 16, "problem": problem, "method": method, "bits": 4},
        **{"k": None, "scale": None, "rounding": "fp16", "rule": "mse"},
        **{"time_limit": None, "node_limit": None, "seed": None},
        **{"energy": 100.0, "lower": lower, "upper": upper, "snr_bound": 0.0, "snr_attained": 0.0},
        **{"exact": exact, "certified": 4 - exact if lower > 0 else 0, "heuristic": 0},
        **{"heldout_energy": 100.0, "heldout_error": upper, "heldout_snr": 0.0},
        **{"nodes": 0, "seconds": 0.0, "notes": "", "versions": "layerbounds 0.1.0, numpy 2"},
        **{"code": "", "key": ""},
    }
    return Row(**values | others)


def with_grids(rows: Iterable[Row]) -> list[Row]:
    """Rows, and the quantized ones again as if on grids with steps for groups of inputs."""
    rows = list(rows)
    return rows + [
        replace(row, grid=f"int{row.bits}-g{size}", storage=row.bits + 16 / size)
        for size in (128, 32)
        for row in rows
        if row.problem == "quantization"
    ]
