"""LaTeX tables: their structure, their numbers, and text that LaTeX would stumble over."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bounds.present.latex import BIBTEX, escape, range_table, verdict_table
from bounds.results.equal_storage import ACCOUNTS, VALUES
from bounds.results.ranges import load_rows
from bounds.results.summary import statement, summarise

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def rows(ran):
    # A name with all that LaTeX takes for itself.
    return [replace(r, source=r"a_b&c%d#e$f{g}~h^i\j") for r in load_rows(ran.results / "tiny")]


def body(text: str) -> list[list[str]]:
    """Cells of all rows of a table, without \\multicolumn rows."""
    lines = [line.removesuffix(r"\\").strip() for line in text.splitlines() if line.endswith("\\")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line)]
        for line in lines
        if "multicolumn" not in line and "caption" not in line and "label" not in line
    ]


def check_structure(text: str) -> None:
    """Braces and environments are balanced, and nothing special is left bare."""
    plain = re.sub(r"\\[\\{}&%$#_~^]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end){(\w+)}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    code = "\n".join(line for line in plain.splitlines() if not line.startswith("%"))
    assert not re.search(r"[_#~]", re.sub(r"\\\w+", "", code))


def test_escape_leaves_nothing_special():
    assert escape("_blocks.4") == r"\_blocks.4"
    assert escape(r"a\b^c~d") == r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}d"
    assert escape("…a") == r"\dots{}a"
    assert escape("50% & #1 {x} $y <>") == (r"50\% \& \#1 \{x\} \$y \textless{}\textgreater{}")


def test_verdict_table(rows):
    summaries = summarise(rows)
    text = verdict_table(summaries, statement(rows))
    check_structure(text)
    head, *lines = body(text)
    assert head == ["layer, bits", "channels", "chunks", "2", "4", "crossover"]
    assert len(lines) == len(ACCOUNTS) * len(summaries)
    for account, start in zip(ACCOUNTS, range(0, len(lines), len(summaries)), strict=True):
        for one, line in zip(summaries, lines[start:], strict=False):
            assert line[0] == rf"\quad {escape(one.layer)}"
            share = one.share
            assert line[1] == f"{share.channels[0]}/{share.channel_total[0]}"
            assert line[2] == f"{share.chunks[0]}/{share.chunk_total[0]}"
            for cell, pair in zip(line[3:5], one.pairs[account].values(), strict=True):
                assert cell == f"{pair.verdict.winner[0].upper()} ${pair.verdict.margin:.1f}$"
            assert line[5] == str(one.crossover(account))
    assert text.count(escape(rows[0].source)) == len(ACCOUNTS)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", "1e-09"):
        assert rule in text
    assert "|" not in text.split(r"\begin{tabular}")[1].splitlines()[0], "booktabs has no rules"


def test_range_table(rows):
    summaries = summarise(rows)
    text = range_table(summaries, statement(rows))
    check_structure(text)
    for one in summaries:  # beside the numbers, and in the caption
        assert f"{one.layer}, {one.share}}}" in text
    assert "Solved of each layer:" in text.split(r"\label")[0]
    lines = [line for line in body(text) if line[0].isdecimal()]
    pairs = [pair for one in summaries for pair in one.pairs[VALUES].values()]
    assert len(lines) == len(pairs) == 4
    for line, pair in zip(lines, pairs, strict=True):
        q, p = pair.quantization, pair.pruning
        numbers = [q.snr_heuristic, q.snr_attained, q.snr_bound]
        numbers += [p.snr_heuristic, p.snr_attained, p.snr_bound]
        assert line == [
            str(pair.bits),
            *(f"{number:.2f}" for number in numbers),
            pair.verdict.winner,
            f"${pair.verdict.margin:+.2f}$",
        ]
    assert text.count(r"\endhead") == text.count(r"\endlastfoot") == 1


def test_open_sides_are_infinite(rows):
    rows = [replace(r, lower=0.0, exact=0) for r in rows]
    text = range_table(summarise(rows), "")
    check_structure(text)
    assert r"$\infty$" in text and "undecided" in text and r"$-\infty$" in text


def test_bibtex_says_what_the_citation_file_says():
    cff = (ROOT / "CITATION.cff").read_text("utf-8")
    title = re.search(r'^title: "(.*)"', cff, re.MULTILINE)
    version = re.search(r"^version: (.*)", cff, re.MULTILINE)
    assert title is not None and version is not None
    assert f"{{{title[1]}}}" in BIBTEX and f"Version {version[1]}," in BIBTEX
    for name in ("Kuzmin", "Nagel", "van Baalen", "Behboodi", "Blankevoort"):
        assert name in BIBTEX and name in cff
    assert BIBTEX.count("{") == BIBTEX.count("}")
