"""The table of a fine-tuning study: test accuracy at equal storage, mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bounds.results.finetuned import ORIGINAL, Row

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Spread:
    """A mean with the smallest and the largest of so many values."""

    mean: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(sum(values) / len(values), min(values), max(values), len(values))


def accuracies(networks: Sequence[Row]) -> dict[tuple[str, int | None], Spread]:
    """Test accuracy over seeds by (method, bits), in the order of the rows."""
    found: dict[tuple[str, int | None], list[float]] = {}
    for row in networks:
        found.setdefault((row["method"], row["bits"]), []).append(row["accuracy"])
    return {key: spread(values) for key, values in found.items()}


def render_accuracy(networks: Sequence[Row]) -> Group:
    """A table with a line for each bit width and a column for each method."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    known = accuracies(networks)
    methods = [m for m in dict.fromkeys(method for method, _ in known) if m != ORIGINAL]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    table.add_column("bits", justify="right")
    for method in methods:
        table.add_column(method, justify="right")
    for bits in sorted({bits for _, bits in known if bits is not None}):
        cells = (known.get((method, bits)) for method in methods)
        table.add_row(str(bits), *(_cell(cell) if cell else "" for cell in cells))
    original = known.get((ORIGINAL, None))
    tests = max((row["tests"] for row in networks), default=0)
    title = f"test accuracy in %, mean over seeds (least to most), {tests} examples"
    parts: list[Text | Table] = [Text(title)]
    if original:
        parts.append(Text(f"original network: {_cell(original)}"))
    return Group(*parts, Text(), table)


def _cell(value: Spread) -> str:
    mean, low, high = (100 * v for v in (value.mean, value.low, value.high))
    return f"{mean:.1f}" if value.count == 1 else f"{mean:.1f} ({low:.1f}-{high:.1f})"
