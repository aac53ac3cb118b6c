"""Panels as inline SVG: their colours are CSS variables, so one drawing serves light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from bounds.present.figures.style import METHOD_COLOURS, PROBLEM_COLOURS, colours, new_figure

#: Colours of the figures, on white, and what they are on a dark page.
_NEUTRAL = {
    "#000000": "#e4e4e7",
    "#333333": "#d4d4d8",
    "#595959": "#a1a1aa",
    "#737373": "#8e8e98",
    "#f0f0f0": "#2b2b31",
    "#0072b2": "#4fb0ea",
    "#d55e00": "#ff9248",
    "#009e73": "#2fd0a0",
    "#cc79a7": "#e59cc4",
    "#666666": "#a8a8a8",
}
assert {*METHOD_COLOURS, *PROBLEM_COLOURS.values()} - {"#e69f00", "#56b4e9"} <= _NEUTRAL.keys()


def palette(bits: Sequence[int]) -> dict[str, str]:
    """Every colour that changes on a dark page: on white -> on dark."""
    shades = mpl.colormaps["viridis"](np.linspace(0.3, 1.0, len(bits)))
    return _NEUTRAL | {
        to_hex(light): to_hex(dark)
        for light, dark in zip(colours(bits).values(), shades, strict=True)
    }


def variables(names: Mapping[str, str]) -> tuple[str, str]:
    """CSS declarations of a palette, for light and for dark."""
    light = "".join(f"--{key[1:]}:{key};" for key in names)
    dark = "".join(f"--{key[1:]}:{value};" for key, value in names.items())
    return light, dark


def panel(
    draw: Callable[[Axes], Mapping[str, str] | None],
    name: str,
    label: str,
    names: Mapping[str, str],
    *,
    inches: tuple[float, float] = (2.9, 2.3),
) -> str:
    """One panel as an ``<svg>`` element.

    Args:
        draw: draws into the axes it is given; may return group ids of what it drew and the words
            that appear when the pointer is on them.
        name: makes the ids of this drawing its own on the page.
        label: what a reader who cannot see it is told.
        names: ``palette``.
        inches: width and height.
    """
    with new_figure(*inches) as figure, mpl.rc_context({"svg.fonttype": "none"}):
        mpl.rcParams["svg.hashsalt"] = name  # the same results give the same page
        figure.patch.set_alpha(0)
        ax = figure.add_subplot()
        ax.patch.set_alpha(0)
        words = draw(ax) or {}
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _tell(_inline(text.getvalue(), name, label, names), name, words)


def _tell(text: str, name: str, words: Mapping[str, str]) -> str:
    """Give groups of a drawing a title each, which browsers show under the pointer."""

    def told(found: re.Match[str]) -> str:
        kind, number = found.groups()
        title = escape(words[f"{kind}{number}"])
        return f'<g id="{name}-{kind}{number}" class="{kind}"><title>{title}</title>'

    kinds = "|".join(sorted({key.rstrip("0123456789") for key in words}))
    return re.sub(rf'<g id="{name}-({kinds})(\d+)">', told, text) if words else text


def _inline(text: str, name: str, label: str, names: Mapping[str, str]) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    viewbox = re.search(r'viewBox="[^"]*"', text)
    assert viewbox is not None
    text = re.sub(
        r"<svg[^>]*>",
        f'<svg {viewbox[0]} role="img" aria-label="{escape(label)}">',
        text,
        count=1,
    )
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    # The page has its own fonts.
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for colour in names:
        text = text.replace(colour, f"var(--{colour[1:]})")
    return re.sub(r"\n\s*", "\n", text).strip()
