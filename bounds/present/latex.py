"""LaTeX of a study: verdicts at a glance, every number, and what to cite.

The tables need the packages ``booktabs`` and ``longtable`` and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from bounds.present.figures.style import shorten
from bounds.problem.methods import PRUNING, QUANTIZATION, searches
from bounds.results.equal_storage import ACCOUNTS, VALUES
from bounds.results.formats import FormatResult, proven_better, statement
from bounds.results.ranges import BestKnown, Pair
from bounds.results.share import told
from bounds.results.summary import ACCOUNT_WORDS, LayerSummary
from bounds.results.verdicts import UNDECIDED

SHORT = {QUANTIZATION: "Q", PRUNING: "P", UNDECIDED: "?"}

#: This software as CITATION.cff has it, and the paper whose problems these are.
BIBTEX = """\
@misc{layerbounds,
  author  = {{The layerbounds authors}},
  title   = {layerbounds: proven ranges for pruning and quantization of neural network layers},
  note    = {Version 0.1.0, MIT licence},
}

@inproceedings{kuzmin2023pruning,
  author    = {Kuzmin, Andrey and Nagel, Markus and van Baalen, Mart and Behboodi, Arash
               and Blankevoort, Tijmen},
  title     = {Pruning vs Quantization: Which is Better?},
  booktitle = {Advances in Neural Information Processing Systems 36},
  year      = {2023},
  note      = {arXiv:2307.02973},
}
"""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "…": r"\dots{}",
} | {character: f"\\{character}" for character in "&%$#_{}"}


def escape(text: str) -> str:
    """Text as LaTeX prints it, with every special character escaped."""
    return re.sub(r"[\\~^<>…&%$#_{}]", lambda found: _SPECIAL[found[0]], text)


def verdict_table(summaries: Sequence[LayerSummary], statement: str) -> str:
    """Who is proven better, a row per layer and a column per bit width, by every account.

    Args:
        summaries: ``bounds.results.summary.summarise``.
        statement: what was proven (``bounds.results.summary.statement``), for the caption.
    """
    widths = sorted({bits for one in summaries for bits in one.pairs[VALUES]})
    lines = [
        *_preamble("booktabs"),
        r"\begin{table}",
        r"\centering",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        r"\caption{Proven better at equal storage, and by how many dB at least: quantization (Q), "
        rf"pruning (P), or undecided (?). Channels and chunks: solved, of how many the layer has. "
        rf"Crossover in bits. {escape(statement)}}}",
        r"\label{tab:layerbounds-verdicts}",
        rf"\begin{{tabular}}{{lll{'r' * len(widths)}l}}",
        r"\toprule",
        " & ".join(["layer, bits", "channels", "chunks", *map(str, widths), "crossover"]) + r" \\",
    ]
    for account in ACCOUNTS:
        span = rf"\multicolumn{{{len(widths) + 4}}}{{l}}"
        words = ACCOUNT_WORDS[account]
        lines += [r"\midrule", rf"{span}{{\emph{{Storage: {escape(words)}}}}} \\"]
        for source, layers in groupby(summaries, key=lambda one: one.source):
            # Networks in lines of their own keep the table as narrow as a page.
            lines.append(rf"{span}{{{escape(source)}}} \\*")
            for one in layers:
                cells = [_verdict(one.pairs[account].get(width)) for width in widths]
                name = rf"\quad {escape(shorten(one.layer))}"
                share = one.share
                solved = [
                    told(share.channels, share.channel_total),
                    told(share.chunks, share.chunk_total),
                ]
                line = [name, *solved, *cells, str(one.crossover(account))]
                lines.append(" & ".join(line) + r" \\")
    return _text([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def range_table(summaries: Iterable[LayerSummary], statement: str) -> str:
    """Every number: SNR attained quickly, attained at best, and proven, per layer and bit width."""
    heading = [
        r"\toprule",
        r" & \multicolumn{3}{c}{quantization} & \multicolumn{3}{c}{pruning} & & \\",
        r"\cmidrule(lr){2-4}\cmidrule(lr){5-7}",
        r"bits & quick & best & bound & quick & best & bound & proven better & by \\",
        r"\midrule",
    ]
    lines = [
        *_preamble("booktabs,longtable"),
        r"\begingroup\footnotesize",
        r"\begin{longtable}{r rrr rrr l r}",
        r"\caption{SNR in dB at equal storage of the values, per chunk: attained without search, "
        rf"attained by any method, and proven out of reach beyond. {escape(statement)}}}"
        r"\label{tab:layerbounds-ranges}\\",
        *heading,
        r"\endfirsthead",
        *heading,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
    ]
    for number, one in enumerate(summaries):
        title = escape(f"{one.source} {one.layer}, {one.share}")
        lines += [r"\midrule"] if number else []
        lines.append(rf"\multicolumn{{9}}{{l}}{{{title}}} \\*")
        for bits, pair in one.pairs[VALUES].items():
            cells = [str(bits), *_numbers(pair.quantization), *_numbers(pair.pruning)]
            cells += [pair.verdict.winner, _signed(pair.verdict.margin)]
            lines.append(" & ".join(cells) + r" \\")
    return _text([*lines, r"\end{longtable}", r"\endgroup"])


def format_table(results: Sequence[FormatResult]) -> str:
    """Grids of whole layers: true bits, what each method attains, what is proven, what it beats.

    Args:
        results: ``bounds.results.formats.format_results``.
    """
    methods = list(dict.fromkeys(m for one in results for m in one.attained if m not in searches()))
    better = proven_better(results)
    columns = len(methods) + 5
    heading = ["grid", "bits", *map(escape, methods), "best", "bound", "proven better than"]
    lines = [
        *_preamble("booktabs,longtable"),
        r"\begingroup\scriptsize",
        rf"\begin{{longtable}}{{lr{'r' * (len(methods) + 2)}p{{.35\linewidth}}}}",
        r"\caption{SNR in dB on grids chosen in the whole layer, errors summed over its chunks; "
        rf"bits a weight with steps and zero points. {escape(' '.join(statement(results)))}}}"
        r"\label{tab:layerbounds-formats}\\",
        r"\toprule",
        " & ".join(heading) + r" \\",
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
    ]
    for place, group in groupby(results, key=lambda one: (one.source, one.layer)):
        lines += [r"\midrule", rf"\multicolumn{{{columns}}}{{l}}{{{escape(' '.join(place))}}} \\*"]
        for one in group:
            numbers = [one.snr_of(m) if m in one.attained else math.nan for m in methods]
            numbers += [one.known.snr_attained, one.known.snr_bound]
            beats = ", ".join(b for a, b in better[place] if a == one.grid)
            cells = [one.grid, f"{one.bits:.3f}", *map(_plain, numbers), beats]
            lines.append(" & ".join(cells) + r" \\")
    return _text([*lines, r"\end{longtable}", r"\endgroup"])


def _preamble(packages: str) -> list[str]:
    return [f"% layerbounds table; needs \\usepackage{{{packages}}}"]


def _verdict(pair: Pair | None) -> str:
    if pair is None:
        return "--"
    verdict = pair.verdict
    sign = "" if verdict.margin >= 0 else "-"
    size = f"{abs(verdict.margin):.1f}" if math.isfinite(verdict.margin) else r"\infty"
    return f"{SHORT[verdict.winner]} ${sign}{size}$"


def _numbers(known: BestKnown) -> list[str]:
    values = (known.snr_heuristic, known.snr_attained, known.snr_bound)
    return [_plain(value) for value in values]


def _plain(value: float) -> str:
    if math.isnan(value):
        return "--"
    return f"{value:.2f}".replace("-", "$-$") if math.isfinite(value) else r"$\infty$"


def _signed(value: float, digits: int = 2) -> str:
    sign = "+" if value >= 0 else "-"
    size = f"{abs(value):.{digits}f}" if math.isfinite(value) else r"\infty"
    return f"${sign}{size}$" if not math.isnan(value) else "--"


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
