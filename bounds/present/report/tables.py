"""Tables of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bounds.present.latex import SHORT
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.equal_storage import ACCOUNTS, VALUES
from bounds.results.ranges import Known, Pair
from bounds.results.summary import ACCOUNT_WORDS, LayerSummary
from bounds.results.verdicts import UNDECIDED


def verdict_section(summaries: Sequence[LayerSummary]) -> str:
    """Who is proven better: a table per account, a row per layer, a column per bit width."""
    key = (
        f'<p class="quiet key"><span class="{QUANTIZATION}">Q quantization</span> '
        f'<span class="{PRUNING}">P pruning</span> <span class="{UNDECIDED}">? undecided</span> '
        "is proven better, by at least so many dB; negative where undecided: by so many dB the "
        "ranges overlap. Crossover: the bit width above which quantization and below which pruning "
        "is better.</p>"
    )
    return key + "\n".join(_verdicts(summaries, account) for account in ACCOUNTS)


def _verdicts(summaries: Sequence[LayerSummary], account: str) -> str:
    widths = sorted({bits for one in summaries for bits in one.pairs[account]})
    head = "".join(f'<th scope="col">{width} bits</th>' for width in widths)
    rows = []
    for one in summaries:
        cells = "".join(_verdict(one.pairs[account].get(width)) for width in widths)
        rows.append(
            f'<tr data-storage="{account}"><th scope="row">{escape(one.layer)}'
            f"<small>{escape(one.source)}</small></th>{cells}"
            f"<td>{escape(str(one.crossover(account)))}</td></tr>"
        )
    return (
        f"<h3>At equal storage, {escape(ACCOUNT_WORDS[account])}</h3>"
        '<div class="wide"><table class="verdicts"><thead><tr><th class="left" scope="col">layer'
        f'</th>{head}<th scope="col">crossover</th></tr></thead><tbody>'
        + "".join(rows)
        + "</tbody></table></div>"
    )


def _verdict(pair: Pair | None) -> str:
    if pair is None:
        return "<td>–</td>"
    verdict = pair.verdict
    return f'<td class="{verdict.winner}">{SHORT[verdict.winner]} {_signed(verdict.margin)}</td>'


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


def _snrs(known: Known) -> tuple[float, float, float]:
    return known.snr_reached, known.snr_attained, known.snr_bound


def _plain(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if math.isfinite(value) else "∞"


def _signed(value: float, digits: int = 1) -> str:
    if math.isnan(value):
        return "–"
    sign = "+" if value >= 0 else "−"
    return sign + (f"{abs(value):.{digits}f}" if math.isfinite(value) else "∞")
