"""Rows of methods reduced to ranges, summed over chunks, and shown."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from bounds.errors import StudyError
from bounds.present.terminal import render, study_table
from bounds.results.ranges import chunk_pairs, load_rows
from bounds.results.row import Row
from bounds.results.table import SCHEMA, write_results
from tests.bounds.results.row_cases import make_row

ROWS = [
    make_row("quantization", "gptq", 0.0, 3.0),
    make_row("quantization", "descent", 0.0, 2.0),
    make_row("quantization", "sdp", 0.5, 4.0),
    make_row("quantization", "exact", 1.0, 1.0),
    make_row("pruning", "obs", 0.0, 20.0),
    make_row("pruning", "perspective", 8.0, 25.0),
]


def test_the_best_of_all_methods_is_known():
    (pair,) = chunk_pairs(ROWS)
    q, p = pair.quantization, pair.pruning
    assert (q.lower, q.upper, q.relaxation_bound, q.heuristic_error) == (1.0, 1.0, 0.5, 2.0)
    assert (p.lower, p.upper, p.relaxation_bound, p.heuristic_error) == (8.0, 20.0, 8.0, 20.0)
    assert (q.exact, q.certified, q.channels) == (4, 0, 4)
    assert (p.exact, p.certified, p.channels) == (0, 4, 4)
    assert q.snr_attained == q.snr_bound == q.snr_optimum == pytest.approx(20.0)
    assert p.snr_attained == pytest.approx(10 * math.log10(5)) and math.isnan(p.snr_optimum)
    assert pair.verdict.winner == "quantization"
    assert pair.verdict.margin == pytest.approx(10 * math.log10(8))


def test_search_alone_is_both_quick_and_best():
    rows = [make_row("quantization", "exact", 1.0, 1.0), make_row("pruning", "scip", 2.0, 3.0)]
    (pair,) = chunk_pairs(rows)
    assert (pair.pruning.relaxation_bound, pair.pruning.heuristic_error) == (2.0, 3.0)


def test_a_chunk_with_one_problem_only_is_left_out():
    rows = [*ROWS, make_row("quantization", "gptq", 0.0, 3.0, chunk=1)]
    assert [pair.chunk for pair in chunk_pairs(rows)] == [0]


def test_errors_and_not_decibels_are_summed_over_chunks():
    second = [replace(r, chunk=1, lower=r.lower * 3, upper=r.upper * 3) for r in ROWS]
    other = [replace(r, bits=5) for r in ROWS]
    four, five = study_table([*ROWS, *second, *other])
    assert (four.chunks, five.chunks) == (2, 1)
    assert (four.chunk, four.bits, five.bits) == (None, 4, 5)
    assert four.quantization.energy == 200.0
    assert four.quantization.upper == 4.0 and four.pruning.lower == 32.0
    assert four.quantization.snr_attained == pytest.approx(10 * math.log10(200 / 4))
    assert four.quantization.channels == 8


def shown(rows: list[Row]) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(rows))
    return console.export_text()


def test_rendered_table_says_it_in_eighty_columns():
    text = shown(ROWS)
    (line,) = (line for line in text.splitlines() if line.startswith("   4 "))
    expected = [
        "4",
        "16.99",
        "20.00",
        "20.00",
        "6.99",
        "6.99",
        "10.97",
        "quantization",
        "+9.03",
        "4/8",
    ]
    assert line.split() == expected
    assert "4 certified" in text
    assert "net layer, 4 of 16 channels, 1 of 3 chunks\n" in text
    assert "per chunk" in text


def test_rendered_table_of_a_real_run(ran):
    text = shown(load_rows(ran.results / "tiny"))
    assert "pointwise, 5 of 40 channels, the one chunk\n" in text
    assert "head, all 12 channels, 2 of 4 chunks\n" in text
    lines = [line for line in text.splitlines() if line.strip()[:2] in ("2 ", "4 ")]
    assert len(lines) == 4
    assert all(line.rstrip().endswith(("all 10", "all 48")) for line in lines)
    for line in lines:
        quick, best, bound = map(float, line.split()[1:4])
        assert quick <= best == bound


def test_results_that_are_none_are_refused(tmp_path, ran):
    with pytest.raises(StudyError, match="run `layerbounds study` first"):
        load_rows(tmp_path)
    (tmp_path / "results.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(StudyError, match="cannot be read"):
        load_rows(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(StudyError, match="not a table of results"):
        load_rows(tmp_path / "foreign.parquet")
    write_results(tmp_path / "results.parquet", [SCHEMA.empty_table()], "")
    with pytest.raises(StudyError, match="every task failed"):
        load_rows(tmp_path)


def test_infinite_bounds_are_shown():
    rows = [replace(r, lower=0.0) if r.method == "perspective" else r for r in ROWS]
    (pair,) = study_table(rows)
    assert pair.pruning.snr_bound == np.inf
    assert "inf" in shown(rows)
