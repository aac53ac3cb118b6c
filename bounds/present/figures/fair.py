"""The fair fight in one look: SNR against true bits a weight, a line a side, bands to the bounds.

Of several layers the mean relative error is drawn, so that each counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from bounds.errors import StudyError
from bounds.present.figures.style import new_figure
from bounds.problem.range import snr
from bounds.results.fair import ACCOUNTS, FAMILIES, FairRow, at_bits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour and line of every side: pruning orange, quantization blue, both green; dashed is N:M.
STYLES = {
    FAMILIES[0]: ("#d55e00", ":"),
    FAMILIES[1]: ("#d55e00", "-"),
    FAMILIES[2]: ("#d55e00", "--"),
    FAMILIES[3]: ("#0072b2", ":"),
    FAMILIES[4]: ("#0072b2", "-"),
    FAMILIES[5]: ("#56b4e9", "-"),
    FAMILIES[6]: ("#009e73", "-"),
    FAMILIES[7]: ("#009e73", "--"),
    FAMILIES[8]: ("#cc79a7", "-"),
}
#: Inches.
WIDTH, HEIGHT = 7.2, 3.8
#: Bits at which lines have a point: settings are a few tenths of a bit apart.
POINTS = tuple(np.round(np.arange(1.0, 9.05, 0.1), 2))


def fair_data(
    rows: Sequence[FairRow], account: str = "entropy", points: Sequence[float] = POINTS
) -> dict[str, list[tuple[float, float, float]]]:
    """For every family: (bits, attained dB, bound dB), of the mean relative error over layers.

    Raises:
        StudyError: no rows, or another account.
    """
    if not rows:
        raise StudyError("there are no rows to draw; run the fair study first")
    if account not in ACCOUNTS:
        raise StudyError(f"unknown account {account!r}; choose from {', '.join(ACCOUNTS)}")
    layers = [[r for r in rows if r.layer == name] for name in sorted({r.layer for r in rows})]
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for family in FAMILIES:
        for bits in points:
            sums = [at_bits(own, (family,), bits, account) for own in layers]
            if all(one is not None for one in sums):
                known = [one for one in sums if one is not None]
                upper = float(np.mean([u / e for e, _, u in known]))
                lower = float(np.mean([low / e for e, low, _ in known]))
                line = lines.setdefault(family, [])
                line.append((bits, snr(1.0, upper), snr(1.0, lower)))
    return lines


def fair_panel(
    rows: Sequence[FairRow], *, ax: Axes, account: str = "entropy", legend: bool = True
) -> Axes:
    """Draw ``fair_data`` of ``rows`` into ``ax``."""
    for family, line in fair_data(rows, account).items():
        bits, attained, bound = np.array(line).T
        colour, dashes = STYLES[family]
        ax.plot(bits, attained, color=colour, linestyle=dashes, linewidth=1.3, label=family)
        finite = np.where(np.isfinite(bound), bound, attained)
        ax.fill_between(bits, attained, finite, color=colour, alpha=0.2, linewidth=0)
    mask = "masks at their entropy" if account == "entropy" else "masks at 1 bit"
    ax.set_xlabel(f"true bits a weight, {mask}")
    ax.set_ylabel("SNR [dB], mean error of layers")
    if legend:
        ax.legend(fontsize=7, frameon=False)
    return ax


def fair_figure(rows: Sequence[FairRow]) -> Figure:
    """Both accounts of the mask side by side."""
    layers, chunks = len({r.layer for r in rows}), len({(r.layer, r.chunk) for r in rows})
    with new_figure(WIDTH, HEIGHT) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        fair_panel(rows, ax=left, account="entropy")
        fair_panel(rows, ax=right, account="mask", legend=False)
        right.set_ylabel("")
        figure.suptitle(
            f"{layers} layers, {chunks} chunks, per chunk: lines attained, bands to the bound",
            fontsize=8,
        )
    return figure
