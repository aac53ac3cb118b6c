"""The page: what was proven, who wins, the figures, every number, and what to cite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template

from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from bounds.errors import StudyError
from bounds.present.figures import (
    format_panel,
    heldout_data,
    heldout_panel,
    loss_data,
    loss_panel,
    range_panel,
)
from bounds.present.figures.legends import panel_legend
from bounds.present.figures.style import clip, colours
from bounds.present.figures.verdicts import verdict_panel
from bounds.present.latex import BIBTEX
from bounds.present.report.marks import mark
from bounds.present.report.svg import palette, panel, variables
from bounds.present.report.tables import format_rows, layer_details, verdict_section
from bounds.problem.methods import PROBLEMS
from bounds.results.equal_storage import ACCOUNTS
from bounds.results.formats import FormatResult, format_results
from bounds.results.formats import statement as ranking
from bounds.results.ranges import Pair, chunk_pairs, load_rows
from bounds.results.row import Row
from bounds.results.summary import ACCOUNT_WORDS, LayerSummary, statement, summarise
from bounds.results.table import read_results, replacing

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>layerbounds: $title</title>
<style>
$css
</style>
</head>
<body>
$body
</body>
</html>
""")


def write_report(results: str | Path, out: Path) -> Path:
    """Write the page about the results of a study; it appears whole or not at all.

    Args:
        results: ``results.parquet`` or its folder.
        out: the HTML file.

    Raises:
        StudyError: no results, none for both problems, or ``out`` cannot be written.
    """
    _, toml = read_results(Path(results))
    path = Path(results).resolve()
    name = path.name if path.is_dir() else path.parent.name
    text = make_report(load_rows(results), name, toml)
    with replacing(out) as temporary:
        temporary.write_text(text, "utf-8")
    return out


def make_report(rows: Sequence[Row], title: str, toml: str = "") -> str:
    """The page as text.

    Args:
        rows: ``bounds.results.ranges.load_rows``.
        title: what the study is called.
        toml: the study itself, shown at the end.

    Raises:
        StudyError: no chunk is solved for both problems.
    """
    pairs, formats = chunk_pairs(rows), format_results(rows)
    if not (pairs or formats):
        raise StudyError("no chunk has rows for both problems; give the study methods for both")
    names = palette(sorted({pair.bits for pair in pairs}))
    light, dark = variables(names)
    css = files("bounds.present.report").joinpath("page.css").read_text("utf-8")
    css += f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    compared = list(_compared(rows, pairs, names)) if pairs else []
    parts = {"verdicts": "Verdicts", "figures": "Figures", "layers": "Layers"} if pairs else {}
    parts |= {"formats": "Formats"} if formats else {}
    links = "".join(
        f'<a href="#{to}">{word}</a>' for to, word in (parts | {"cite": "Cite"}).items()
    )
    told = [statement(rows)] if pairs else []
    body = [
        f"<h1>How small can the error be? {escape(title)}</h1>",
        f"<nav>{links}</nav>",
        *compared,
        *(_formats(formats, names) if formats else ()),
        '<h2 id="cite">What was proven, and what to cite</h2>',
        *(f"<p>{escape(line)}</p>" for line in [*told, *ranking(formats)]),
        f"<pre>{escape(BIBTEX)}</pre>",
        f"<details><summary>The study</summary><pre>{escape(toml)}</pre></details>" if toml else "",
    ]
    return PAGE.substitute(title=escape(title), css=css, body="\n".join(body))


def _compared(rows: Sequence[Row], pairs: Sequence[Pair], names: dict[str, str]) -> Iterator[str]:
    """Quantization against pruning: facts, verdicts, figures, layers."""
    summaries = summarise(rows)
    yield from _facts(rows, pairs)
    yield '<h2 id="verdicts">Verdicts</h2>'
    yield verdict_section(summaries, {a: _verdicts(summaries, a, names) for a in ACCOUNTS})
    yield '<h2 id="figures">Figures</h2>'
    yield from _ranges(pairs, names)
    yield '<div class="two">'
    yield from _losses(rows, names)
    yield from _heldout(rows, names)
    yield "</div>"
    yield '<h2 id="layers">Layers</h2>'
    yield (
        '<p class="quiet">SNR in dB, errors summed over the chunks of a layer. quick: attained '
        "without search; best: by any method; bound: proven, no weights do better. exact: channel "
        "problems solved to optimality, out of how many.</p>"
    )
    yield '<div class="two layers">'
    yield from (layer_details(one) for one in summaries)
    yield "</div>"


def _facts(rows: Sequence[Row], pairs: Sequence[Pair]) -> Iterator[str]:
    won = Counter(pair.verdict.winner for pair in pairs)
    both = [known for pair in pairs for known in (pair.quantization, pair.pruning)]
    total, exact = (sum(getattr(k, name) for k in both) for name in ("channels", "exact"))
    layers = len({(pair.source, pair.layer) for pair in pairs})
    yield (
        "<p>Each layer is cut into chunks of its inputs; every chunk is quantized to b bits, and "
        "pruned to the same storage. A method that attains an error shows that it can be so small; "
        "a proof shows that it cannot be smaller. One is <em>proven better</em> where what it "
        "attains beats everything that the other could ever attain.</p>"
    )
    facts = [
        (f"{won['quantization']} of {len(pairs)}", "cases where quantization is proven better"),
        (str(won["pruning"]), "cases where pruning is proven better"),
        (str(won["undecided"]), "cases undecided"),
        (f"{exact:,} of {total:,}", "problems solved to proven optimality"),
        (str(layers), f"layers, {len({(p.source, p.layer, p.chunk) for p in pairs})} chunks"),
    ]
    cells = "".join(f"<li><b>{escape(n)}</b>{escape(words)}</li>" for n, words in facts)
    yield f'<ul class="facts">{cells}</ul>'
    yield (
        '<p class="quiet">A case is one chunk at one bit width; a problem is one output channel of '
        "it. Chunks are compressed one by one, and their errors do not add up to the layer's.</p>"
    )


def _verdicts(summaries: Sequence[LayerSummary], account: str, names: dict[str, str]) -> str:
    """The verdict figure at one account of storage, with its legend."""
    layers = [(clip(f"{one.source} {one.layer}", 54), one.pairs[account]) for one in summaries]
    bits = sorted({width for _, pairs in layers for width in pairs})

    def draw(ax: Axes) -> dict[str, str]:
        words = verdict_panel(layers, ax=ax)
        ax.set_xlabel("lead of quantization over pruning, dB")
        return words

    label = f"Verdicts at equal storage, {ACCOUNT_WORDS[account]}"
    inches = (3.4, 0.45 + 0.27 * len(layers))
    return _legend(bits) + panel(draw, f"v{account[0]}", label, names, inches=inches)


def _ranges(pairs: Sequence[Pair], names: dict[str, str]) -> Iterator[str]:
    bits = sorted({pair.bits for pair in pairs})
    yield "<h3>Ranges</h3>"
    yield (
        '<p class="quiet">Across: pruning SNR, up: quantization SNR, in dB, per chunk. A rectangle '
        "runs from what methods without search attain to what relaxations prove; the dot is the "
        "optimum. A ring is around what is too small to see; point at it to read its numbers. "
        "Above the diagonal quantization is better at equal storage. The axes have different "
        "scales.</p>"
    )
    yield _legend(bits)
    yield '<div class="panels">'
    groups = groupby(pairs, key=lambda pair: (pair.source, pair.layer))
    titled = [(f"{source} {layer}", list(group)) for (source, layer), group in groups]
    if len(titled) > 1:
        titled.append(("all layers", list(pairs)))
    for number, (title, group) in enumerate(titled):

        def draw(ax: Axes, group: Sequence[Pair] = group) -> dict[str, str]:
            range_panel(group, ax=ax, bits=bits)
            ax.set_xlabel("pruning SNR, dB")
            ax.set_ylabel("quantization SNR, dB")
            return mark(group, ax=ax, bits=bits)

        yield _figure(title, panel(draw, f"r{number}", f"Ranges of {title}", names))
    yield "</div>"


def _formats(results: Sequence[FormatResult], names: dict[str, str]) -> Iterator[str]:
    """Grids against each other: a panel and a table per layer."""
    yield '<h2 id="formats">Formats</h2>'
    yield (
        '<p class="quiet">Grids chosen in the whole layer, errors summed over its chunks. Across: '
        "true bits a weight, steps and zero points counted; up: SNR in dB. The dot is the best "
        "attained, the bar above it is open: nothing exceeds its end.</p>"
    )
    yield '<div class="panels">'
    groups = groupby(results, key=lambda one: (one.source, one.layer))
    for number, ((source, layer), group) in enumerate(groups):

        def draw(ax: Axes, group: Sequence[FormatResult] = tuple(group)) -> None:
            format_panel(group, ax=ax)
            ax.set_xlabel("true bits a weight")
            ax.set_ylabel("SNR, dB")

        title = f"{source} {layer}"
        inches = (3.4, 3.0)
        svg = panel(draw, f"f{number}", f"Formats on {title}", names, inches=inches)
        yield _figure(title, svg)
    yield "</div>"
    yield format_rows(results)


def _losses(rows: Sequence[Row], names: dict[str, str]) -> Iterator[str]:
    records = loss_data(rows)
    if not records:
        return
    yield "<section><h3>What methods without search lose</h3>"
    yield (
        '<p class="quiet">dB below the optimum (where it is open: below the bound, so at most '
        "that), per chunk: median, and a line from the first to the ninth decile.</p>"
    )
    yield '<div class="panels">'
    for problem in PROBLEMS:
        chosen = [r for r in records if r["problem"] == problem]
        if chosen:

            def draw(ax: Axes, chosen: Sequence[dict] = chosen) -> None:
                loss_panel(chosen, ax=ax)
                ax.set_xlabel("bits a weight")
                ax.set_ylabel("loss, dB")
                panel_legend(ax)

            svg = panel(draw, f"l{problem[0]}", f"Loss of {problem} methods", names)
            yield _figure(problem, svg)
    yield "</div></section>"


def _heldout(rows: Sequence[Row], names: dict[str, str]) -> Iterator[str]:
    records = heldout_data(rows)
    bits = sorted({r["bits"] for r in records})
    yield "<section><h3>Held-out against calibration</h3>"
    yield (
        '<p class="quiet">The best weights of every chunk on images that took no part in choosing '
        "them. Below the diagonal: fitted to the calibration images.</p>"
    )
    yield _legend(bits)
    yield '<div class="panels">'
    for problem in PROBLEMS:
        chosen = [r for r in records if r["problem"] == problem]

        def draw(ax: Axes, chosen: Sequence[dict] = chosen) -> None:
            heldout_panel(chosen, ax=ax, bits=bits)
            ax.set_xlabel("calibration SNR, dB")
            ax.set_ylabel("held-out SNR, dB")

        svg = panel(draw, f"h{problem[0]}", f"Held-out SNR of {problem}", names)
        yield _figure(problem, svg)
    yield "</div></section>"


def _figure(title: str, svg: str) -> str:
    return f"<figure><b>{escape(title)}</b>{svg}</figure>"


def _legend(bits: Sequence[int]) -> str:
    items = "".join(
        f'<li><i style="background:var(--{to_hex(colour)[1:]})"></i>{width} bits</li>'
        for width, colour in colours(bits).items()
    )
    return f'<ul class="legend">{items}</ul>'
