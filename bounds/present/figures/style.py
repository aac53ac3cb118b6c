"""What all figures share: sizes of common styles, fonts, colours, and how they are written."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from bounds.errors import StudyError
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.table import replacing

Colour = tuple[float, float, float]

#: Widths in inches of columns and texts of common styles, and panels in a row.
WIDTHS = {
    "column": (3.4, 2),
    "text": (7.0, 4),
    "neurips": (5.5, 3),
    "icml-column": (3.25, 2),
    "icml-text": (6.75, 4),
    "ieee-column": (3.5, 2),
    "ieee-text": (7.16, 4),
    "lncs": (4.8, 3),
}
STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7.5,
    "pdf.fonttype": 42,
}
#: The two problems, and methods as they are first seen; Okabe and Ito's colour-blind safe set.
PROBLEM_COLOURS = {QUANTIZATION: "#0072b2", PRUNING: "#d55e00"}
METHOD_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
METHOD_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def size(width: str) -> tuple[float, int]:
    """Inches of a named width, and how many panels fit beside each other.

    Raises:
        StudyError: a name that is not in ``WIDTHS``.
    """
    if width not in WIDTHS:
        raise StudyError(f"unknown width {width!r}; choose from {', '.join(WIDTHS)}")
    return WIDTHS[width]


@contextmanager
def new_figure(inches: float, height: float) -> Iterator[Figure]:
    """An empty figure, in the style of all figures while the block lasts."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(inches, height), layout="constrained")


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as ``stem.png`` (300 dpi) and ``stem.pdf``, each atomically.

    Raises:
        StudyError: the folder cannot be written.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path in paths:
        # No date in the files: the same results give the same bytes.
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
        with mpl.rc_context(STYLE), replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=300, metadata=metadata)
    return paths


def save_data(records: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write what a figure draws as CSV that pgfplots reads: a header, commas, ``nan`` and ``inf``.

    Raises:
        StudyError: the folder cannot be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, list(records[0]) if records else [], lineterminator="\n")
    table.writeheader()
    for record in records:
        table.writerow({name: _cell(value) for name, value in record.items()})
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), "utf-8")
    return path


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return "nan" if value is None else value
    return f"{value:.9g}" if math.isfinite(value) else str(value)


def shorten(layer: str, most: int = 26) -> str:
    """The end of a layer's name, which tells layers apart, cut at a dot."""
    while len(layer) > most and "." in layer.lstrip("…."):
        layer = "…" + layer.lstrip("….").split(".", 1)[1]
    return layer


def clip(name: str, most: int) -> str:
    """The end of a name that has no dot to be cut at, as long as a panel is wide."""
    return name if len(name) <= most else "…" + name[1 - most :]


def colours(bits: Iterable[int]) -> dict[int, Colour]:
    """A colour per bit width."""
    # Viridis is ordered in lightness, so it survives colour blindness and grey print; its last
    # tenth is too light on white.
    bits = list(bits)
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, len(bits)))
    return {width: tuple(shade[:3]) for width, shade in zip(bits, shades, strict=True)}
