"""A page about a judged checkpoint: every layer, worst first; readable offline."""

from __future__ import annotations

import math
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from bounds.present.report.page import PAGE
from bounds.results.table import replacing

if TYPE_CHECKING:
    from bounds.gap.checkpoints import JudgedCheckpoint
    from bounds.gap.judged import JudgedLayer

_HEADS = (
    ("bits", "true bits a weight: codes, steps, zero points, masks"),
    ("SNR dB", "of the whole layer, all channels"),
    ("held-out dB", "the same on inputs that were not calibrated with"),
    ("loss dB", "above the best error found on the same grid; 95% interval where sampled"),
    ("vs rtn", "above rounding to nearest; negative is better"),
    ("vs gptq", "above GPTQ on the same grid"),
    ("to bound", "no weights on this grid are better by more: proven"),
    ("to volume", "the same for weights displaced by a random part of a step"),
)


def write_page(found: JudgedCheckpoint, title: str, out: Path) -> Path:
    """Write the page; it appears whole or not at all.

    Raises:
        StudyError: ``out`` cannot be written.
    """
    text = make_page(found, title)
    with replacing(out) as temporary:
        temporary.write_text(text, "utf-8")
    return out


def make_page(found: JudgedCheckpoint, title: str) -> str:
    """The page as text."""
    css = files("bounds.present.report").joinpath("page.css").read_text("utf-8")
    heads = "".join(f'<th scope="col" title="{escape(w)}">{escape(h)}</th>' for h, w in _HEADS)
    flagged = sum(bool(one.flags) for one in found.layers)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(found.layers)} layers judged on the inputs they see, the one with most to gain "
        f"first; {flagged} have a remark.</p>",
        '<div class="wide"><table><thead><tr><th class="left" scope="col">layer</th>'
        f'{heads}<th class="left" scope="col">remarks</th></tr></thead><tbody>',
        *(_row(one) for one in found.layers),
        "</tbody></table></div>",
        "<dl>",
        *(f"<dt>{escape(h)}</dt><dd>{escape(w)}</dd>" for h, w in _HEADS),
        "</dl>",
    ]
    if found.failed:
        body += ["<h2>Not judged</h2><ul>"]
        body += [f"<li>{escape(n)}: {escape(why)}</li>" for n, why in found.failed.items()]
        body += ["</ul>"]
    if found.without_dump:
        body += [f"<p class='quiet'>No dump of: {escape(', '.join(found.without_dump))}.</p>"]
    return PAGE.substitute(title=escape(title), css=css, body="\n".join(body))


def _row(one: JudgedLayer) -> str:
    interval = one.loss_interval()
    around = (
        "" if interval is None else f"<br><small>{_db(interval[0])} to {_db(interval[1])}</small>"
    )
    cells = [
        f"{one.bits:.2f}", _db(one.snr), _db(one.heldout_snr), _db(one.loss) + around,
        _db(one.over_plain), _db(one.over_quick), _db(one.to_bound), _db(one.to_volume),
    ]  # fmt: skip
    remarks = escape("; ".join((*one.flags, *one.notes)))
    return (
        f'<tr><th scope="row">{escape(one.layer)}<small>{escape(one.demand)}</small></th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + f'<td class="left">{remarks}</td></tr>'
    )


def _db(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}" if math.isfinite(value) else "none"
