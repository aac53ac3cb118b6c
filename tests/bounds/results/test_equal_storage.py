"""Verdicts at equal true storage, and crossovers, against what can be counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bounds.errors import ProblemError
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.equal_storage import BITMASK, ENTROPY, VALUES, most_kept, pairs_at, true_bits
from bounds.results.ranges import chunk_pairs, load_rows
from bounds.results.row import Row
from bounds.results.summary import records, statement, summarise
from bounds.results.verdicts import UNDECIDED, Crossover, Verdict, crossover
from tests.bounds.results.row_cases import make_row


def row(problem: str, bits: int, lower: float, upper: float, **others: Any) -> Row:
    """16 features, 4 channels solved of 8, exact where lower is upper."""
    kept = {"k": float(bits), "rule": "floor"} if problem == PRUNING else {}
    totals = {"bits": bits, "channel_total": 8, "chunk_total": 5}
    return make_row(problem, "exact", lower, upper, **totals | kept | others)


#: 16 features: pruning at b bits keeps k = b. Errors fall with k; the last is left open.
ROWS = [
    *(row(QUANTIZATION, b, e, e) for b, e in ((2, 10.0), (3, 3.0), (4, 1.0))),
    *(row(PRUNING, b, e, e) for b, e in ((2, 50.0), (3, 30.0))),
    row(PRUNING, 4, 10.0, 20.0),
]


def test_true_bits_count_scales():
    # 16 bits for one scale, shared by 16 features of all 8 channels; or of one channel.
    assert true_bits(ROWS[0]) == 2 + 16 / (16 * 8)
    assert true_bits(replace(ROWS[0], rule="mse-channel")) == 2 + 16 / 16


@pytest.mark.parametrize(
    ("budget", "account", "most"),
    [
        (4.0, "none", 4),  # values alone: 16 k / 16
        (4.0, BITMASK, 3),  # and one bit for the mask
        (1.99, BITMASK, 0),
        (16.0, BITMASK, 15),
        (16.0, ENTROPY, 16),  # a full mask costs nothing
        # k = 3: 3 bits and h(3/16) = 0.696; k = 4: 4 bits and h(1/4) = 0.811.
        (3.69, ENTROPY, 2),
        (3.70, ENTROPY, 3),
        (4.81, ENTROPY, 3),
        (4.82, ENTROPY, 4),
    ],
)
def test_most_that_fits(budget, account, most):
    assert most_kept(16, budget, account) == most


def test_mask_of_one_bit_shifts_pruning_by_one_level():
    two, three, four = pairs_at(ROWS, BITMASK)
    # 2.125 bits hold 1 weight: never solved. Nothing kept attains; two kept bound.
    assert (two.pruning.lower, two.pruning.upper) == (50.0, 100.0)
    assert (two.pruning.exact, two.pruning.certified) == (0, 4)
    # 3.125 bits hold 2, 4.125 hold 3: solved exactly.
    assert (three.pruning.lower, three.pruning.upper, three.pruning.exact) == (50.0, 50.0, 4)
    assert (four.pruning.lower, four.pruning.upper, four.pruning.exact) == (30.0, 30.0, 4)
    assert [pair.quantization for pair in (two, three, four)] == [
        pair.quantization for pair in chunk_pairs(ROWS)
    ]


def test_values_alone_are_the_paper_and_unknown_accounts_are_refused():
    assert pairs_at(ROWS, VALUES) == chunk_pairs(ROWS)
    with pytest.raises(ProblemError, match="bitmask, entropy"):
        pairs_at(ROWS, "bytes")


def test_nothing_fits_is_known_exactly():
    # One bit and its share of a scale pay for the mask and nothing else.
    rows = [replace(r, bits=1, channel_total=512) for r in ROWS if r.bits == 2]
    (pair,) = pairs_at(rows, BITMASK)
    assert (pair.pruning.lower, pair.pruning.upper, pair.pruning.exact) == (100.0, 100.0, 4)
    assert pair.verdict.winner == QUANTIZATION
    assert pair.verdict.margin == pytest.approx(10.0)


def test_without_a_level_above_there_is_no_bound():
    # A scale per channel buys quantization's rival a weight more than was ever solved.
    rows = [replace(r, rule="mse-channel") if r.problem == QUANTIZATION else r for r in ROWS]
    four = pairs_at(rows, "none")[-1]
    assert four.pruning.lower == 0.0 and four.pruning.upper == 20.0
    assert four.pruning.certified == 0


def test_ranges_of_a_real_run_hold_what_is_solved_at_less(ran):
    rows = load_rows(ran.results / "tiny")
    plain = {(p.layer, p.chunk, p.bits): p for p in pairs_at(rows, VALUES)}
    for account in (ENTROPY, BITMASK):
        for pair in pairs_at(rows, account):
            free = plain[pair.layer, pair.chunk, pair.bits]
            # Paying for the mask never helps.
            assert pair.pruning.upper >= free.pruning.upper
            assert pair.pruning.lower >= free.pruning.lower * (1 - 1e-12)
            assert pair.pruning.lower <= pair.pruning.upper <= pair.pruning.energy


def verdicts(text: str) -> dict[int, Verdict]:
    words = {"p": PRUNING, "q": QUANTIZATION, "?": UNDECIDED}
    return {bits: Verdict(words[letter], 0.0) for bits, letter in enumerate(text, start=2)}


@pytest.mark.parametrize(
    ("winners", "told"),
    [
        ("qqq", "below 2"),
        ("ppp", "above 4"),
        ("pqq", "2 to 3"),
        ("p?q", "2 to 4"),
        ("??q", "below 4"),
        ("p??", "above 2"),
        ("???", "open"),
        ("qp?", "open"),
        ("qpq", "below 4"),
        ("", "open"),
    ],
)
def test_crossover(winners, told):
    assert str(crossover(verdicts(winners))) == told


def test_crossovers_in_words():
    assert Crossover(3, 5).words == "pruning up to 3 bits, quantization from 5 bits on"
    assert Crossover(8, None).words == "pruning up to 8 bits"
    assert Crossover(None, None).words == "open at every width"


def test_summary_and_records_agree_with_pairs():
    (one,) = summarise(ROWS)
    assert (one.source, one.layer) == ("net", "layer")
    assert str(one.share) == "4 of 8 channels, 1 of 5 chunks"
    assert str(one.crossover()) == "below 2"
    assert one.crossover().words == "quantization from 2 bits on"
    found = records([one])
    assert len(found) == 9
    first = found[0]
    assert (first["storage"], first["bits"], first["winner"]) == (VALUES, 2, QUANTIZATION)
    assert first["margin"] == pytest.approx(10 * math.log10(50 / 10))
    assert first["quantization_best"] == pytest.approx(10.0)
    shown = [first[name] for name in ("channels", "channel_total", "chunks", "chunk_total")]
    assert shown == [4, 8, 1, 5]
    assert (first["problems"], first["exact"], first["certified"]) == (8, 8, 0)


def test_statement_counts_what_was_proven():
    text = statement(ROWS)
    assert "of 24 problems" in text and "20 are solved to optimality" in text
    assert "4 have a positive proven bound" in text and "1e-09" in text
    assert "Solved of each layer: 4 of 8 channels, 1 of 5 chunks." in text
    assert "in 3 of 3 cases" in text and "layerbounds 0.1.0" in text
    open_rows = [replace(r, lower=0.0, exact=0, certified=0) for r in ROWS]
    assert "24 have none" in statement(open_rows)
