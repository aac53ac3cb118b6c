"""Tables of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from bounds.present.latex import SHORT
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.equal_storage import ACCOUNTS, VALUES
from bounds.results.formats import FormatResult, proven_better
from bounds.results.ranges import BestKnown, Pair
from bounds.results.summary import ACCOUNT_WORDS, LayerSummary
from bounds.results.verdicts import UNDECIDED


def verdict_section(summaries: Sequence[LayerSummary], figures: Mapping[str, str]) -> str:
    """Who is proven better: a figure and a table, with a switch of how storage is counted.

    The switch is three radio buttons and style sheets: it works without scripts and by keyboard.

    Args:
        summaries: a row of the table each.
        figures: the figure of every account, as HTML.
    """
    key = (
        f'<p class="quiet key"><span class="{QUANTIZATION}">Q quantization</span> '
        f'<span class="{PRUNING}">P pruning</span> <span class="{UNDECIDED}">? undecided</span> '
        "is proven better, by at least so many dB; negative where undecided: by so many dB the "
        "ranges overlap. Crossover: up to which width pruning is proven better, and from which on "
        "quantization. Errors are summed over the chunks of a layer.</p>"
    )
    switch = "".join(
        f'<input type="radio" name="storage" id="by-{account}" aria-describedby="storage"'
        f"{' checked' if account == VALUES else ''}>"
        f'<label for="by-{account}">{escape(ACCOUNT_WORDS[account])}</label>'
        for account in ACCOUNTS
    )
    drawn = "".join(
        f'<figure data-storage="{account}">{figures[account]}</figure>' for account in ACCOUNTS
    )
    widths = sorted({b for one in summaries for pairs in one.pairs.values() for b in pairs})
    return (
        '<section class="accounts"><p id="storage">At equal storage, counted as</p>'
        f'{switch}{key}<div class="verdict">{drawn}{_verdicts(summaries, widths)}</div></section>'
    )


def _verdicts(summaries: Sequence[LayerSummary], widths: Sequence[int]) -> str:
    """One table with a body per account, of which the switch shows one."""
    head = "".join(f'<th scope="col">{width} bits</th>' for width in widths)
    bodies = "".join(
        f'<tbody data-storage="{account}"><tr class="account"><th class="left" scope="rowgroup" '
        f'colspan="{len(widths) + 2}">At equal storage, {escape(ACCOUNT_WORDS[account])}</th></tr>'
        + "".join(_layer(one, account, widths) for one in summaries)
        + "</tbody>"
        for account in ACCOUNTS
    )
    return (
        '<div class="wide"><table class="verdicts"><thead><tr><th class="left" scope="col">layer'
        f'</th>{head}<th class="left" scope="col">crossover</th></tr></thead>{bodies}</table></div>'
    )


def _layer(one: LayerSummary, account: str, widths: Sequence[int]) -> str:
    cells = "".join(_verdict(one.pairs[account].get(width), width) for width in widths)
    return (
        f'<tr><th scope="row">{escape(one.layer)}<small>{escape(one.source)}, {one.share}</small>'
        f'</th>{cells}<td class="crossover">{one.crossover(account).words}</td></tr>'
    )


def _verdict(pair: Pair | None, width: int) -> str:
    # On a narrow screen, where there is no head, a cell says its own width.
    told = f'data-bits="{width} bits"'
    if pair is None:
        return f"<td {told}>–</td>"
    verdict = pair.verdict
    words = f"{SHORT[verdict.winner]} {_signed(verdict.margin)}"
    return f'<td class="{verdict.winner}" {told}>{words}</td>'


def format_rows(results: Sequence[FormatResult]) -> str:
    """Every number of the grids of whole layers (``bounds.results.formats``)."""
    better = proven_better(results)
    rows = []
    for one in results:
        place = (one.source, one.layer)
        beats = ", ".join(b for a, b in better[place] if a == one.grid)
        numbers = (one.bits, one.known.snr_attained, one.known.snr_bound)
        cells = "".join(f"<td>{_plain(value)}</td>" for value in numbers)
        rows.append(
            f'<tr><th scope="row">{escape(one.layer)}<small>{escape(one.source)}</small></th>'
            f'<td class="left">{escape(one.grid)}</td>{cells}'
            f"<td>{one.known.exact:,} of {one.known.channels:,}</td>"
            f'<td class="left">{escape(beats)}</td></tr>'
        )
    names = ("layer", "grid", "true bits", "best", "bound", "exact", "proven better than")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def layer_details(one: LayerSummary) -> str:
    """Every number of one layer."""
    rows = []
    for bits, pair in one.pairs[VALUES].items():
        both = (pair.quantization, pair.pruning)
        numbers = "".join(f"<td>{_plain(value)}</td>" for known in both for value in _snrs(known))
        exact, total = (sum(getattr(k, name) for k in both) for name in ("exact", "channels"))
        rows.append(
            f'<tr><th scope="row">{bits}</th>{numbers}<td class="{pair.verdict.winner} left">'
            f"{pair.verdict.winner}</td><td>{_signed(pair.verdict.margin, 2)}</td>"
            f"<td>{exact:,} of {total:,}</td></tr>"
        )
    names = "".join(f'<th scope="col">{name}</th>' for name in ("quick", "best", "bound") * 2)
    return (
        f"<details><summary>{escape(one.source)} {escape(one.layer)}, {one.share}"
        '</summary><div class="wide"><table><thead>'
        '<tr><th></th><th colspan="3" scope="colgroup">quantization</th>'
        '<th colspan="3" scope="colgroup">pruning</th><th colspan="3"></th></tr>'
        f'<tr><th class="left" scope="col">bits</th>{names}'
        '<th class="left" scope="col">proven better</th><th scope="col">by</th>'
        '<th scope="col">exact</th></tr></thead><tbody>'
        + "".join(rows)
        + "</tbody></table></div></details>"
    )


def _snrs(known: BestKnown) -> tuple[float, float, float]:
    return known.snr_heuristic, known.snr_attained, known.snr_bound


def _plain(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if math.isfinite(value) else "∞"


def _signed(value: float, digits: int = 1) -> str:
    if math.isnan(value):
        return "–"
    sign = "+" if value >= 0 else "−"
    return sign + (f"{abs(value):.{digits}f}" if math.isfinite(value) else "∞")
