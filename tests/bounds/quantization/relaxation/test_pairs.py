"""Two-variable cuts on the public call: a better bound, never a false one, and named misuse."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from bounds import quantization_range
from bounds.errors import MethodError, ProblemError
from bounds.fuzz.instances import make_instance
from bounds.fuzz.rational import ExactForm
from layers.dump.file import write_dump
from tests.bounds.certificate.certificate_cases import make_dump
from tests.references.quantization_instances import KINDS, Instance, instance


def sdp(problem: Instance, pairs: int, method: str = "sdp"):
    return quantization_range(
        problem.gram, problem.weights, bits=problem.bits, scale=problem.scale,
        method=method, pairs=pairs, time_limit=None)  # fmt: skip


def exact_optimum(problem: Instance, c: int) -> Fraction:
    form = ExactForm(problem.gram, problem.weights[c])
    lo, hi = problem.box
    codes = itertools.product(range(lo, hi + 1), repeat=len(problem.gram))
    return min(form.grid_error(np.array(z), problem.scale) for z in codes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "bits"), [(1, 3), (6, 1), (5, 2), (3, 3), (2, 5)])
def test_below_the_optimum_in_exact_rationals(kind, n, bits):
    problem = instance(kind, n, bits, 31, channels=1)
    optimum = exact_optimum(problem, 0)
    floor = Fraction(float(sdp(problem, 0).lower[0]))
    for pairs in (1, n, 4 * n):
        found = sdp(problem, pairs)
        assert floor <= Fraction(float(found.lower[0])) <= optimum
        assert Fraction(float(found.upper[0])) >= optimum


def test_a_dual_at_its_boundary_has_no_room_for_more():
    """Codes within 1e-11 of a singular Gram's grid: once a division by zero."""
    case = make_instance("quantization", 1001, 7308)
    assert case.kind == "singular-integer/on-grid"
    found = quantization_range(
        case.gram, case.weights, bits=case.bits, scale=case.scale, method="sdp", pairs=8
    )
    assert (found.lower <= 1e-13 * found.energy).all()


def test_close_much_of_the_gap_at_low_bit_widths():
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((80, 16)) @ (np.eye(16) + 0.3 * rng.standard_normal((16, 16)))
    weights = rng.standard_normal((8, 16))
    for bits in (1, 2, 3):
        problem = Instance(rows.T @ rows, weights, bits, 2.5 / 2 ** (bits - 1))
        plain, paired = sdp(problem, 0), sdp(problem, 16)
        optimum = quantization_range(
            problem.gram, weights, bits=bits, scale=problem.scale, time_limit=None
        ).upper
        assert (paired.lower >= plain.lower).all()
        assert (paired.lower <= optimum).all()
        gap, left = np.log(optimum / plain.lower).sum(), np.log(optimum / paired.lower).sum()
        assert left < 0.75 * gap
        rounded = sdp(problem, 16, "park-boyd")
        assert (rounded.lower == paired.lower).all()


@pytest.mark.parametrize("pairs", [-1, 1.5, True])
def test_what_is_no_number_of_cuts_is_refused(pairs):
    with pytest.raises(ProblemError, match="whole number"):
        quantization_range(np.eye(2), np.ones((1, 2)), bits=2, scale=1.0, method="sdp", pairs=pairs)


@pytest.mark.parametrize("method", ["exact", "sdp-scs", "rtn"])
def test_methods_without_cuts_refuse_them(method):
    with pytest.raises(MethodError, match="park-boyd and sdp"):
        quantization_range(
            np.eye(2), np.ones((1, 2)), bits=2, scale=1.0, method=method, pairs=2, time_limit=None
        )


def test_the_command_line_takes_them(tmp_path, capsys, monkeypatch):
    from bounds.cli import main

    monkeypatch.setenv("COLUMNS", "120")
    write_dump(path := tmp_path / "d.safetensors", make_dump(features=8, channels=3))

    def bound(*more: str) -> float:
        with pytest.raises(SystemExit) as stop:
            main(["solve", str(path), "--method", "sdp", "--bits", "2", *more])
        output = capsys.readouterr()
        assert stop.value.code == 0, output.err
        row = next(line for line in output.out.splitlines() if "certified" in line)
        return float(row.split()[4])  # a bound on the SNR: lower is tighter

    assert bound("--pairs", "8") < bound()
    with pytest.raises(SystemExit) as stop:
        main(["solve", str(path), "--problem", "pruning", "--bits", "2", "--pairs", "1"])
    assert stop.value.code != 0
    assert "--pairs is for quantization" in capsys.readouterr().err
