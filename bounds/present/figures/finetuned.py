"""Figures of a fine-tuning study, from its two tables (``bounds.results.finetuned``).

Quantization is blue and pruning orange; training is a solid line or a filled mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bounds.errors import StudyError
from bounds.present.figures.legends import add_legend
from bounds.present.figures.style import METHOD_MARKERS, PROBLEM_COLOURS, new_figure, size
from bounds.problem.methods import PROBLEMS, PRUNING, QUANTIZATION
from bounds.results.finetuned import GRADUAL, ONE_SHOT, ORIGINAL, QAT, TRAINED, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Record = dict[str, Any]
#: What each training starts from.
STARTS = {QAT: "rtn", GRADUAL: ONE_SHOT}
#: Inches below which two panels stand below each other.
_NARROWEST = 2.2
#: The same where the axes have long names.
_WORDS = 2.7
_MOST_WIDTHS = 2


def accuracy_data(networks: Iterable[Row], layers: Iterable[Row] = ()) -> list[Record]:
    """One record per method and bit width: test error in percent, mean, least and most over seeds.

    ``floor`` is half an example: what an error of none is drawn at, for the axis is logarithmic.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in networks:
        groups.setdefault((row["problem"], row["method"], row["bits"]), []).append(row)
    records = []
    for (problem, method, bits), rows in groups.items():
        errors = [100 * (1 - row["accuracy"]) for row in rows]
        records.append(
            {
                "problem": problem,
                "method": method,
                "bits": bits,
                "mean": sum(errors) / len(errors),
                "least": min(errors),
                "most": max(errors),
                "seeds": len(errors),
                "floor": 50 / rows[0]["tests"],
            }
        )
    return records


def accuracy_panel(records: Sequence[Record], *, ax: Axes) -> Axes:
    """Draw records (``accuracy_data``) into ``ax``; one-shot pruning is left to other figures."""
    shown = [r for r in records if r["bits"] is not None and r["method"] != ONE_SHOT]
    for place, method in enumerate(_methods(shown)):
        own = sorted((r for r in shown if r["method"] == method), key=lambda r: r["bits"])
        shift = 0.04 * (place - 2.5)  # side by side, so that no whisker hides another
        x = np.array([r["bits"] for r in own]) + shift
        mean, least, most = (
            np.array([max(r[name], r["floor"]) for r in own]) for name in ("mean", "least", "most")
        )
        look = _look(own[0]["problem"], method, place)
        ax.vlines(x, least, most, color=look["color"], linewidth=0.7, alpha=0.6)
        ax.plot(x, mean, **look)
    for record in records:
        if record["method"] == ORIGINAL:
            level = max(record["mean"], record["floor"])
            ax.axhline(level, color="0.35", linewidth=0.8, linestyle=":", zorder=1)
    _percent_axis(ax)
    ax.set_xticks(sorted({r["bits"] for r in shown}))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def accuracy_figure(
    networks: Iterable[Row], layers: Iterable[Row] = (), *, width: str = "text"
) -> Figure:
    """Test error against bits at equal storage, with and without training.

    Raises:
        StudyError: unknown width, or no compressed network.
    """
    inches, _ = size(width)
    records = accuracy_data(networks)
    shown = [r for r in records if r["bits"] is not None and r["method"] != ONE_SHOT]
    if not shown:
        raise StudyError("there are no compressed networks; run the study again")
    inches = min(inches, 4.6)
    with new_figure(inches, 2.5) as figure:
        ax = accuracy_panel(records, ax=figure.subplots())
        ax.set_xlabel("bits a weight (storage of the values)")
        ax.set_ylabel("test error, %")
        problems = {r["method"]: r["problem"] for r in shown}
        handles = [
            Line2D([], [], **_look(problems[method], method, place))
            for place, method in enumerate(_methods(shown))
        ]
        if any(r["method"] == ORIGINAL for r in records):
            handles.append(Line2D([], [], color="0.35", linestyle=":", label="uncompressed"))
        add_legend(figure, handles, handlelength=2.0)
    return figure


def representation_data(networks: Iterable[Row], layers: Iterable[Row]) -> list[Record]:
    """One record per layer of what training starts from and gives.

    CKA and SNR (dB) of the layer's outputs against the original's: median, least, most over seeds.
    """
    wanted = {*STARTS, *STARTS.values()}
    groups: dict[tuple, list[Row]] = {}
    for row in layers:
        if row["method"] in wanted:
            key = (row["problem"], row["method"], row["bits"], row["position"], row["layer"])
            groups.setdefault(key, []).append(row)
    records = []
    for (problem, method, bits, position, layer), rows in groups.items():
        record: Record = {
            "problem": problem,
            "method": method,
            "bits": bits,
            "position": position,
            "layer": layer,
        }
        for name, column in (("cka", "cka"), ("snr", "output_snr")):
            values = [row[column] for row in rows]
            record |= {
                name: float(np.median(values)),
                f"{name}_least": min(values),
                f"{name}_most": max(values),
            }
        records.append(record)
    return records


def representation_panel(records: Sequence[Record], name: str, *, ax: Axes) -> Axes:
    """Draw ``"cka"`` or ``"snr"`` of records of one bit width, layer after layer, into ``ax``."""
    for place, method in enumerate(_methods(records)):
        own = sorted((r for r in records if r["method"] == method), key=lambda r: r["position"])
        own = [r for r in own if math.isfinite(r[name])]
        if not own:
            continue
        x = np.array([r["position"] + 1 for r in own]) + 0.08 * (place - 1.5)
        look = _look(own[0]["problem"], method, place)
        low, high = ([r[f"{name}_{end}"] for r in own] for end in ("least", "most"))
        ax.vlines(x, low, high, color=look["color"], linewidth=0.7, alpha=0.6)
        ax.plot(x, [r[name] for r in own], **look)
    ax.spines[["top", "right"]].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def representation_figure(
    networks: Iterable[Row], layers: Iterable[Row], *, width: str = "text"
) -> Figure:
    """Likeness of each layer's outputs to the original's, before and after training.

    The two smallest bit widths, a column each: there training has most to do.

    Raises:
        StudyError: unknown width, or no network that was trained.
    """
    inches, _ = size(width)
    records = representation_data(networks, layers)
    if not any(r["method"] in TRAINED for r in records):
        raise StudyError("there are no trained networks; run the study again")
    widths = sorted({r["bits"] for r in records})[: _MOST_WIDTHS if inches > 2 * _NARROWEST else 1]
    with new_figure(min(inches, 3.2 * len(widths)), 3.4) as figure:
        grid = figure.subplots(2, len(widths), squeeze=False, sharex=True, sharey="row")
        for column, bits in enumerate(widths):
            own = [r for r in records if r["bits"] == bits]
            for line, name in enumerate(("cka", "snr")):
                representation_panel(own, name, ax=grid[line][column])
            grid[0][column].set_title(f"{bits} bits")
        grid[0][0].set_ylabel("CKA to the original")
        grid[1][0].set_ylabel("SNR of outputs, dB")
        figure.supxlabel("layer, in the network's order", fontsize=7.5)
        problems = {r["method"]: r["problem"] for r in records}
        handles = [
            Line2D([], [], **_look(problems[method], method, place))
            for place, method in enumerate(_methods(records))
        ]
        add_legend(figure, handles, handlelength=2.0)
    return figure


def training_data(networks: Iterable[Row], layers: Iterable[Row]) -> list[Record]:
    """One record per compressed network.

    ``snr``: median over its layers of the layer-wise SNR, in dB, on the original's inputs; ``gap``:
    median over the layers that have a bound of how far, in dB, they are below it; NaN without.
    """
    inner: dict[str, list[Row]] = {}
    for row in layers:
        inner.setdefault(row["run"], []).append(row)
    records = []
    for row in networks:
        if row["method"] == ORIGINAL:
            continue
        own = inner.get(row["run"], [])
        gaps = [r["snr_bound"] - r["snr"] for r in own if r["snr_bound"] is not None]
        gaps = [gap for gap in gaps if math.isfinite(gap)]
        records.append(
            {
                "problem": row["problem"],
                "method": row["method"],
                "bits": row["bits"],
                "seed": row["seed"],
                "error": 100 * (1 - row["accuracy"]),
                "floor": 50 / row["tests"],
                "snr": float(np.median([r["snr"] for r in own])) if own else math.nan,
                "gap": float(np.median(gaps)) if gaps else math.nan,
                "bounded": len(gaps),
            }
        )
    return records


def gap_panel(records: Sequence[Record], *, ax: Axes) -> Axes:
    """Draw how far below the bound networks are (``training_data``) into ``ax``."""
    methods = _methods(records)  # those without a bound keep their marks
    known = [r for r in records if math.isfinite(r["gap"])]
    for place, method in enumerate(methods):
        points = []
        for bits in sorted({r["bits"] for r in known}):
            values = [r["gap"] for r in known if (r["method"], r["bits"]) == (method, bits)]
            if values:
                points.append((bits + 0.06 * (place - 3), values))
        if not points:
            continue
        look = _look(next(r["problem"] for r in known if r["method"] == method), method, place)
        x = [p for p, _ in points]
        low, high = [min(v) for _, v in points], [max(v) for _, v in points]
        ax.vlines(x, low, high, color=look["color"], linewidth=0.7, alpha=0.6)
        ax.plot(x, [float(np.median(v)) for _, v in points], **look)
    ax.set_xticks(sorted({r["bits"] for r in known}))
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def scatter_panel(records: Sequence[Record], *, ax: Axes) -> Axes:
    """Draw test error against layer-wise SNR (``training_data``) into ``ax``, a mark a network."""
    for place, method in enumerate(_methods(records)):
        own = [r for r in records if r["method"] == method and math.isfinite(r["snr"])]
        if own:
            look = _look(own[0]["problem"], method, place)
            look["linestyle"] = ""
            ax.plot([r["snr"] for r in own], [max(r["error"], r["floor"]) for r in own], **look)
    _percent_axis(ax)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def training_figure(
    networks: Iterable[Row], layers: Iterable[Row], *, width: str = "text"
) -> Figure:
    """What training does to the layer-wise problem.

    Left: distance below the bound; right: error of the network against layer-wise SNR.

    Raises:
        StudyError: unknown width, or no compressed network.
    """
    inches, _ = size(width)
    records = training_data(networks, layers)
    if not records:
        raise StudyError("there are no compressed networks; run the study again")
    judged = any(math.isfinite(r["gap"]) for r in records)
    columns = 1 if inches < 2 * _WORDS else 1 + judged
    lines = 1 + judged if columns == 1 else 1
    with new_figure(min(inches, 3.4 * columns), 2.2 * lines) as figure:
        axes: list[Axes] = list(figure.subplots(lines, columns, squeeze=False).flat)
        if judged:
            gap_panel(records, ax=axes[0])
            axes[0].set_xlabel("bits a weight (storage of the values)")
            axes[0].set_ylabel("dB below the bound\n(median over layers)")
        scatter_panel(records, ax=axes[-1])
        axes[-1].set_xlabel("layer-wise SNR, dB (median over layers)")
        axes[-1].set_ylabel("test error, %")
        problems = {r["method"]: r["problem"] for r in records}
        handles = [
            Line2D([], [], **_look(problems[method], method, place))
            for place, method in enumerate(_methods(records))
        ]
        add_legend(figure, handles, handlelength=2.0)
    return figure


def _methods(records: Iterable[Record]) -> list[str]:
    """Methods in one order for all figures: quantization first, what is trained last of each."""
    found = {r["method"]: r["problem"] for r in records if r["problem"] in PROBLEMS}
    order = {QUANTIZATION: 0, PRUNING: 1}
    return sorted(found, key=lambda m: (order[found[m]], m in TRAINED, m == ONE_SHOT, m))


def _look(problem: str, method: str, place: int) -> dict[str, Any]:
    """How a method's line is drawn."""
    trained = method in TRAINED
    return {
        "color": PROBLEM_COLOURS[problem],
        "linestyle": "-" if trained else "--",
        "linewidth": 1.2 if trained else 0.7,
        "marker": METHOD_MARKERS[place % len(METHOD_MARKERS)],
        "markersize": 3.2,
        "markerfacecolor": PROBLEM_COLOURS[problem] if trained else "white",
        "markeredgewidth": 0.7,
        "label": method,
    }


def _percent_axis(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
