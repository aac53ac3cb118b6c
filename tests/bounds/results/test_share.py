"""What share of a layer was solved, counted by hand."""

from __future__ import annotations

from typing import Any

from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.ranges import chunk_pairs
from bounds.results.row import Row
from bounds.results.share import overall, shares, told
from tests.bounds.results.test_equal_storage import row


def both(bits: int, **others: Any) -> list[Row]:
    return [row(problem, bits, 1.0, 2.0, **others) for problem in (QUANTIZATION, PRUNING)]


def share(rows: list[Row]) -> list[str]:
    return [str(one) for one in shares(rows, chunk_pairs(rows)).values()]


def test_some_all_and_the_only_one():
    assert share(both(2, channels=32, channel_total=384, chunk_total=3)) == [
        "32 of 384 channels, 1 of 3 chunks"
    ]
    assert share([*both(2, chunk_total=2), *both(2, chunk=1, chunk_total=2)]) == [
        "4 of 8 channels, all 2 chunks"
    ]
    assert share(both(2, channels=8, chunk_total=1)) == ["all 8 channels, the one chunk"]


def test_a_chunk_counts_where_both_problems_are_solved():
    rows = [*both(2), *both(3), *both(2, chunk=1), row(PRUNING, 3, 1.0, 2.0, chunk=1)]
    assert share(rows) == ["4 of 8 channels, 1 to 2 of 5 chunks"]
    assert share([row(PRUNING, 3, 1.0, 2.0)]) == []


def test_several_layers_span_from_least_to_most():
    rows = [
        *both(2, layer="a", channels=32, channel_total=240, chunk_total=2),
        *both(2, layer="b", channels=32, channel_total=1536, chunk_total=11),
        *both(2, layer="b", chunk=1, channels=32, channel_total=1536, chunk_total=11),
    ]
    found = overall(list(shares(rows, chunk_pairs(rows)).values()))
    assert str(found) == "32 of 240 to 1536 channels, 1 to 2 of 2 to 11 chunks"
    assert told(found.chunks, found.chunk_total) == "1-2/2-11"
    whole = [*both(2, layer="a", channels=8), *both(2, layer="b", channels=9, channel_total=9)]
    text = str(overall(list(shares(whole, chunk_pairs(whole)).values())))
    assert text == "all 8 to 9 channels, 1 of 5 chunks"
