"""The fair fight: rows of a small layer, and what is read off them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bounds import check_problem, pruning_range
from bounds.errors import StudyError
from bounds.present.figures import fair_data, fair_figure
from bounds.problem.attempt import Options
from bounds.results.fair import (
    CHANNEL,
    JOINT,
    PRUNING,
    RULED,
    SHARED,
    TENSOR,
    UNDECIDED,
    FairRow,
    at_bits,
    fair_verdicts,
    read_fair,
    write_fair,
)
from bounds.study import fair

RNG = np.random.default_rng(2)
INPUTS = RNG.normal(size=(40, 8)) + RNG.normal(size=(40, 1))
PROBLEM = check_problem(INPUTS.T @ INPUTS, RNG.normal(size=(2, 8)))
BLANK = FairRow("net layer", 0, 2, 8, "", "", 0, 0, float(PROBLEM.energy.sum()), 0, 0, 0, 0)
STUDY = fair.FairStudy(
    widths=(2, 4), joint_widths=(2, 4), kept=(0.5,), patterns=((2, 4),), outlier_widths=(2,)
)


@pytest.fixture(scope="module")
def rows():
    every, options = PROBLEM.weights, Options()
    return [
        *fair._pruned(PROBLEM, BLANK, STUDY, options),
        *fair._quantized(PROBLEM, every, BLANK, STUDY, options),
        *fair._joint(PROBLEM, every, BLANK, STUDY, options),
        *fair._outliers(PROBLEM, every, BLANK, STUDY),
    ]


def of(rows, family):
    return [row for row in rows if row.family == family]


def test_every_row_is_a_range_and_sides_are_ordered(rows):
    for row in rows:
        assert 0 <= row.lower <= row.upper * (1 + 1e-12) and row.upper <= row.energy * (1 + 1e-9)
    for equal, shared in zip(of(rows, PRUNING), of(rows, SHARED), strict=True):
        assert shared.upper <= equal.upper * (1 + 1e-12) and shared.lower <= equal.lower
    for ruled, tensor, channel in zip(
        *(of(rows, f) for f in (RULED, TENSOR, CHANNEL)), strict=True
    ):
        assert channel.lower <= tensor.upper <= ruled.upper * (1 + 1e-12)
        assert tensor.upper <= tensor.lower * 10**0.0011
    found = pruning_range(PROBLEM.gram, PROBLEM.weights, keep=3)
    assert of(rows, PRUNING)[2].upper == pytest.approx(found.upper.sum())


def test_true_bits(rows):
    half = next(row for row in of(rows, PRUNING) if row.setting == "k=4")
    assert half.bits_entropy == pytest.approx(9) and half.bits_mask == pytest.approx(9)
    quarter = next(row for row in of(rows, PRUNING) if row.setting == "k=2")
    assert quarter.bits_entropy == pytest.approx(4 + 0.8112781) and quarter.bits_mask == 5
    joint = next(row for row in of(rows, JOINT) if row.setting == "4 bits, k=4")
    assert joint.bits_entropy == pytest.approx(2 + 1 + 16 / 16)  # one step for 16 weights
    assert of(rows, CHANNEL)[0].bits_entropy == 2 + 16 / 8


def test_the_best_setting_of_so_few_bits(rows):
    found = at_bits(rows, (PRUNING,), 9.0)
    assert found is not None
    energy, lower, upper = found
    assert energy == BLANK.energy
    assert upper == min(row.upper for row in of(rows, PRUNING)[:4])
    assert lower <= upper
    assert at_bits(rows, (PRUNING,), 1.0) is None


def verdict(rows):
    return fair_verdicts(rows, [9.0])[0]


def test_verdicts_need_the_bound_of_every_other_side():
    plain = replace(BLANK, bits_entropy=8.0, bits_mask=8.0, energy=1000.0)
    good = replace(plain, family=RULED, lower=1.0, upper=1.1)
    poor = replace(plain, family=PRUNING, lower=5.0, upper=9.0)
    assert verdict([good, poor]).winner == "quantization"
    assert verdict([good, poor]).margin == pytest.approx(10 * np.log10(5 / 1.1))
    near = replace(poor, lower=1.05)
    assert verdict([good, near]).winner == UNDECIDED
    assert verdict([good]).winner == "quantization"


def test_rows_are_written_and_read(rows, tmp_path):
    write_fair(tmp_path / "folder" / "fair.parquet", rows)
    assert read_fair(tmp_path / "folder" / "fair.parquet") == rows
    with pytest.raises(StudyError, match="run the fair study first"):
        read_fair(tmp_path / "none.parquet")
    with pytest.raises(StudyError, match="needs dumps"):
        fair.run_fair([], tmp_path)


def test_the_figure_shows_every_side(rows):
    lines = fair_data(rows)
    assert set(lines) == {row.family for row in rows}
    for line in lines.values():
        bits, attained, bound = np.array(line).T
        assert (np.diff(bits) > 0).all() and (np.diff(attained) >= 0).all()
        assert (bound >= attained - 1e-9).all()
    left, right = fair_figure(rows).axes
    assert len(left.lines) == len(right.lines) == len(lines)
    with pytest.raises(StudyError, match="no rows"):
        fair_data([])
    with pytest.raises(StudyError, match="unknown account"):
        fair_data(rows, "guess")
