"""Rows of a benchmark: a CSV on disk, and columns on the terminal."""

from __future__ import annotations

import csv
from pathlib import Path

Row = dict[str, object]


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows under the first one's columns and any later ones."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def show(rows: list[Row]) -> str:
    """The rows as aligned columns; floats to three places."""
    names = list(rows[0])
    cells = [names] + [
        [f"{row[n]:.3f}" if isinstance(row[n], float) else str(row[n]) for n in names]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
