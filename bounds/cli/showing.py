"""``figure``, ``table``, ``report`` and ``anytime``: results as pictures, tables and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Results = Annotated[
    Path, typer.Argument(help="results.parquet of a study, or the folder it lies in.")
]


def figure(
    results: Results,
    kind: Annotated[
        str,
        typer.Option(
            help="ranges, losses, heldout, formats; accuracy, representation, training (finetune)."
        ),
    ] = "ranges",
    out: Annotated[Path | None, typer.Option(help="Where to write, without .png and .pdf.")] = None,
    width: Annotated[
        str, typer.Option(help="column, text, neurips, icml-*, ieee-* (column, text) or lncs.")
    ] = "text",
) -> None:
    """Draw a figure of a study as PNG and PDF, and its data as CSV for pgfplots."""
    from bounds.errors import StudyError
    from bounds.present.figures import FINETUNE_KINDS, KINDS, save_data, save_figure
    from bounds.results.finetuned import LAYERS, NETWORKS, read_finetuned
    from bounds.results.ranges import load_rows
    from bounds.results.table import results_path

    if kind in FINETUNE_KINDS:
        draw, data = FINETUNE_KINDS[kind]
        tables: list[Any] = [read_finetuned(results, name) for name in (NETWORKS, LAYERS)]
        stem = (results if results.is_dir() else results.parent) / kind
    elif kind in KINDS:
        draw, data = KINDS[kind]
        tables = [load_rows(results)]
        stem = results_path(results).with_name(kind)
    else:
        known = ", ".join([*KINDS, *FINETUNE_KINDS])
        raise StudyError(f"unknown figure {kind!r}; choose from {known}")
    stem = stem if out is None else out
    paths = save_figure(draw(*tables, width=width), stem)
    for path in [*paths, save_data(data(*tables), stem.with_name(f"{stem.name}.csv"))]:
        typer.echo(path)


def table(
    results: Results,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
) -> None:
    """Write the tables of a study: booktabs LaTeX, CSV and BibTeX, and say what was proven."""
    from bounds.errors import StudyError
    from bounds.present.figures.style import save_data
    from bounds.present.latex import BIBTEX, format_table, range_table, verdict_table
    from bounds.results.formats import format_records, format_results
    from bounds.results.formats import statement as ranking
    from bounds.results.ranges import load_rows
    from bounds.results.summary import records, statement, summarise
    from bounds.results.table import replacing, results_path

    rows = load_rows(results)
    summaries, formats = summarise(rows), format_results(rows)
    if not (summaries or formats):
        raise StudyError("no chunk has rows for both problems; give the study methods for both")
    folder = results_path(results).parent if out is None else out
    texts = {"layerbounds.bib": BIBTEX}
    data, told = {}, []
    if summaries:
        told = [statement(rows)]
        texts["verdicts.tex"] = verdict_table(summaries, told[0])
        texts["ranges.tex"] = range_table(summaries, told[0])
        data["ranges-by-layer.csv"] = records(summaries)
    if formats:
        told += ranking(formats)
        texts["formats.tex"] = format_table(formats)
        data["formats.csv"] = format_records(formats)
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, "utf-8")
        typer.echo(folder / name)
    for name, lines in data.items():
        typer.echo(save_data(lines, folder / name))
    for line in told:
        typer.echo(line)


def report(
    results: Results,
    out: Annotated[Path | None, typer.Option(help="The HTML file to write.")] = None,
) -> None:
    """Write one HTML page about a study, readable offline: verdicts, figures, tables."""
    from bounds.present.report import write_report
    from bounds.results.table import results_path

    path = results_path(results).with_name("report.html") if out is None else out
    typer.echo(write_report(results, path))


def anytime(
    dump: Annotated[Path, typer.Argument(help="A dump written by `layerbounds extract`.")],
    bits: Annotated[int | None, typer.Option(help="Bit width, for quantization.")] = None,
    keep: Annotated[int | None, typer.Option(help="Weights kept, for pruning.")] = None,
    chunk: Annotated[int, typer.Option(help="A chunk from 0.")] = 0,
    channel: Annotated[int, typer.Option(help="An output channel of the chunk, from 0.")] = 0,
    size: Annotated[int, typer.Option(help="Input features of a chunk.")] = 36,
    by: Annotated[str, typer.Option(help="seconds or nodes.")] = "seconds",
    seconds: Annotated[float, typer.Option(help="Start no longer search after so long.")] = 60.0,
    out: Annotated[Path, typer.Option(help="Where to write, without .png.")] = Path("anytime"),
    width: Annotated[str, typer.Option(help="As for `layerbounds figure`.")] = "text",
) -> None:
    """Draw how bound and attained SNR of one problem close in on each other as search goes on."""
    from bounds.errors import ProblemError
    from bounds.present.figures import anytime_data, anytime_figure, save_data, save_figure
    from bounds.problem.gram import round_weights
    from bounds.problem.grid import choose_scale
    from bounds.study.anytime import trace
    from layers.dump.file import read_dump

    if (bits is None) == (keep is None):
        raise ProblemError("give either --bits, for quantization, or --keep, for pruning")
    if not seconds > 0:
        raise ProblemError(f"--seconds must be positive, got {seconds}")
    chunks = read_dump(dump).chunks(size)
    if not 0 <= chunk < len(chunks):
        raise ProblemError(f"--chunk {chunk} is not there; give 0 to {len(chunks) - 1}")
    part = chunks[chunk]
    if not 0 <= channel < len(part.weights):
        raise ProblemError(f"--channel {channel} is not there; give 0 to {len(part.weights) - 1}")
    weights = round_weights(part.weights, "fp16")
    row = weights[channel : channel + 1]
    if bits is not None:
        steps = trace(part.gram, row, bits=bits, scale=choose_scale(weights, bits), seconds=seconds)
        title = f"quantization, {bits} bits, {row.shape[1]} inputs"
    else:
        steps = trace(part.gram, row, keep=keep, seconds=seconds)
        title = f"pruning, {keep} of {row.shape[1]} inputs kept"
    paths = save_figure(anytime_figure({title: steps}, width=width, by=by), out)
    for path in [*paths, save_data(anytime_data(steps), out.with_name(f"{out.name}.csv"))]:
        typer.echo(path)
