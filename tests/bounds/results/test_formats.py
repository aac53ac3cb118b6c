"""Grids against each other: sums over common chunks, and rankings that are proven."""

from __future__ import annotations

import pytest

from bounds.present.figures import format_data
from bounds.results.formats import format_results, proven_better, statement
from bounds.results.ranges import chunk_pairs, group_rows
from tests.bounds.results.row_cases import make_row


def row(grid, method, lower, upper, **others):
    return make_row("quantization", method, lower, upper, grid=grid, storage=4.25, **others)


ROWS = [
    row("int4-g32", "gptq", 0.0, 3.0),
    row("int4-g32", "exact", 2.0, 2.0),
    row("int4-g32", "gptq", 0.0, 5.0, chunk=1),
    row("int4-g32", "exact", 3.0, 4.0, chunk=1),
    row("nf4", "gptq", 0.0, 9.0),
    row("nf4", "exact", 4.0, 4.0),
    row("nf4", "gptq", 0.0, 9.0, chunk=1),
    row("nf4", "exact", 2.5, 2.5, chunk=1),
    row("nf4", "exact", 1.0, 1.0, chunk=2),  # of the other grid there is none
    row("mxfp4", "gptq", 0.0, 9.0),
    row("mxfp4", "sdp", 3.0, 8.0),
    row("mxfp4", "gptq", 0.0, 9.0, chunk=1),
    row("mxfp4", "sdp", 3.5, 8.0, chunk=1),
    make_row("quantization", "exact", 1.0, 1.0),
    make_row("pruning", "exact", 1.0, 1.0),
]


def test_sums_over_the_chunks_that_every_grid_has():
    found = {one.grid: one for one in format_results(ROWS)}
    assert list(found) == ["int4-g32", "nf4", "mxfp4"]
    int4, nf4, mx = found.values()
    assert (int4.chunks, nf4.chunks, mx.chunks) == (2, 2, 2)
    assert (int4.known.lower, int4.known.upper) == (5.0, 6.0)
    assert (nf4.known.lower, nf4.known.upper) == (6.5, 6.5)
    assert int4.attained == {"gptq": 8.0, "exact": 6.0}
    assert int4.snr_of("gptq") == pytest.approx(10 * 1.39794)  # 10 log10(200 / 8)
    assert nf4.known.exact == 8 and int4.known.exact == 4
    assert int4.bits == 4.25


def test_better_is_what_beats_all_that_the_other_could_attain():
    found = format_results(ROWS)
    assert proven_better(found) == {("net", "layer"): [("int4-g32", "nf4"), ("int4-g32", "mxfp4")]}
    lines = statement(found)
    assert lines[0].startswith("int4-g32 (4.250 bits a weight): proven better than nf4 on 1, mxfp4")
    assert lines[1] == "nf4 (4.250 bits a weight): proven better than none of 1 layers."
    records = format_data(ROWS)
    assert records[0]["beats"] == "nf4 mxfp4" and records[2]["beats"] == ""


def test_grids_of_the_whole_layer_are_not_paired_with_pruning():
    assert len(chunk_pairs(ROWS)) == 1
    assert sum(map(len, group_rows(ROWS).values())) == 2
