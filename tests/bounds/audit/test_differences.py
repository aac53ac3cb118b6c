"""The audit: the released pipeline's behaviours are its own, and what is false in it is counted."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest

from bounds.audit import DIFFERENCES, audit_chunk, audit_unfolding, records, render
from bounds.audit.differences import Comparison
from bounds.audit.published import (
    one_opt,
    refitted_magnitude,
    released_codes,
    released_sdp,
)
from bounds.errors import SolverError
from bounds.study import Calibration, LayerChoice, Study, format_study
from layers.dump.file import read_dump
from layers.extract import extract
from tests.bounds.certificate.certificate_cases import make_dump
from tests.bounds.cli import test_cli
from tests.bounds.study.study_cases import TINY

cli = test_cli.cli  # the same fixture
refused = test_cli.refused


@pytest.fixture
def chunk():
    return make_dump(3, features=5, channels=3).chunks(None)[0]


def brute_force(gram, w, step, lo, hi) -> float:
    codes = np.array(list(itertools.product(range(lo, hi + 1), repeat=len(w))), float)
    d = step * codes - w
    return float(((d @ gram) * d).sum(axis=1).min())


def test_the_released_sdp_is_below_the_optimum_without_a_box(chunk):
    """Up to SCS's accuracy: all codes from far below to far above."""
    w, step = chunk.weights[0], 0.7
    relaxed = released_sdp(chunk.gram, w, step)
    near = np.floor(w / step).astype(int)
    wide = min(
        float((d := step * (near + np.array(z)) - w) @ chunk.gram @ d)
        for z in itertools.product(range(-3, 5), repeat=5)
    )
    assert relaxed.value <= wide * (1 + 1e-2)
    assert relaxed.value > 0.1 * wide
    assert np.array_equal(
        relaxed.floor, np.floor(np.linalg.solve(chunk.gram, chunk.gram @ w) / step)
    )
    assert relaxed.accurate == pytest.approx(relaxed.value, rel=1e-2)


def test_the_released_sdp_crashes_on_singular_grams():
    with pytest.raises(SolverError, match="singular"):
        released_sdp(np.ones((2, 2)), np.array([0.3, 0.4]), 0.1)


def test_one_opt_is_greedy_and_ends_where_no_single_move_helps(chunk):
    gram, target = chunk.gram, 3 * chunk.weights[0]
    for lo, hi in ((-np.inf, np.inf), (-2.0, 1.0)):
        codes = np.rint(target) + np.array([3.0, -2, 0, 1, 4])
        one_opt(gram, target, codes, lo, hi)
        assert (codes == np.rint(codes)).all() and (codes >= lo).all() and (codes <= hi).all()
        reached = (codes - target) @ gram @ (codes - target)
        for i, step in itertools.product(range(5), (-2, -1, 1, 2)):
            moved = codes.copy()
            moved[i] = np.clip(moved[i] + step, lo, hi)
            assert (moved - target) @ gram @ (moved - target) >= reached * (1 - 1e-9)


def test_what_the_released_heuristic_returns_may_lie_outside_the_box():
    """Its first incumbent is floor(w / s), which is not clipped and here beats every sample."""
    gram, w = np.diag([1.0, 1.0]), np.array([6.0, 6.0])
    relaxed = released_sdp(gram, w, 1.0)
    published, right = released_codes(gram, w, relaxed, 0, -2, 1)
    assert (published > 1).any()
    assert ((right >= -2) & (right <= 1)).all()


def test_magnitude_keeps_the_smallest_or_the_largest():
    gram, w = np.diag([1.0, 2.0, 3.0]), np.array([[3.0, -1.0, 2.0]])
    assert refitted_magnitude(gram, w, 1, smallest=True) == pytest.approx([9 + 12])
    assert refitted_magnitude(gram, w, 1, smallest=False) == pytest.approx([2 + 12])
    assert refitted_magnitude(gram, w, 0, smallest=True) == pytest.approx([9 + 2 + 12])
    # Refitted: the kept weight makes up for what correlates with it, inside [-2, 6].
    gram = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    d = np.array([2.7, -3.0, 0.0])
    found = refitted_magnitude(gram, np.array([[1.0, 3.0, -1.0]]), 2, smallest=True)
    assert found == pytest.approx([d @ gram @ d], rel=1e-6)


def test_every_difference_against_brute_force(chunk):
    found = {one.difference: one for one in audit_chunk(chunk, range(3), 2)}
    assert list(found) == [name for name in DIFFERENCES if "unfold" not in name]
    weights = chunk.weights.astype(np.float16).astype(float)
    from bounds.problem.grid import choose_scale

    step = float(choose_scale(weights, 2))
    optimum = np.array([brute_force(chunk.gram, w, step, -2, 1) for w in weights])
    box = found["box"]
    assert (box.right <= optimum * (1 + 1e-9)).all()
    assert (box.published <= box.right * (1 + 1e-6)).all(), "a box can only raise the bound"
    assert box.snr_published >= box.snr_right
    heuristic = found["1-opt"]
    assert (heuristic.right >= optimum * (1 - 1e-9)).all()
    value = found["solver value"]
    assert value.false == int((value.published > optimum * (1 + 1e-9)).sum())
    assert value.claims == heuristic.claims == 3
    smallest = found["smallest kept"]
    assert smallest.snr_published < smallest.snr_right
    floored = found["floored k"]  # 5 * 2/16 = 0.625: nothing is kept, or 1 with a share of 0.625
    assert floored.published == pytest.approx(floored.energy)
    assert (floored.right < floored.published).all()


def test_false_bounds_are_counted(chunk, monkeypatch):
    from bounds.audit import chunks, published

    honest = published.released_sdp

    def boastful(gram, weights, step):
        relaxed = honest(gram, weights, step)
        return replace(relaxed, value=float(weights @ gram @ weights) * 2)

    monkeypatch.setattr(chunks, "released_sdp", boastful)
    found = {one.difference: one for one in audit_chunk(chunk, [0, 2], 2)}
    value = found["solver value"]
    assert (value.false, value.overstated, value.claims) == (2, 2, 2)


def test_layers_the_released_code_cannot_solve_have_no_claims():
    chunk = make_dump(4, features=4, channels=2).chunks(None)[0]
    singular = replace(chunk, gram=np.kron(np.eye(2), np.ones((2, 2))))
    found = [one.difference for one in audit_chunk(singular, [0, 1], 2)]
    assert found == ["box", "smallest kept", "floored k"]


def test_dead_inputs_are_left_out_as_they_were():
    chunk = make_dump(4, features=5, channels=2, dead=(1,)).chunks(None)[0]
    live = [0, 2, 3, 4]
    w = chunk.weights[0]
    all_of_it = released_sdp(chunk.gram, w, 0.5)
    alone = released_sdp(chunk.gram[np.ix_(live, live)], w[live], 0.5)
    assert all_of_it.value == alone.value
    assert all_of_it.floor[1] == 0 and np.array_equal(all_of_it.floor[live], alone.floor)
    found = {one.difference: one for one in audit_chunk(chunk, [0, 1], 2)}
    assert found["solver value"].claims == 2


def test_unfolding_compares_two_grams(images, tmp_path):
    [right] = extract(TINY, ["stem"], images, tmp_path)
    [plain] = extract(TINY, ["stem"], images, tmp_path, plain_unfold=True)
    executed, unfolded = (read_dump(path).chunks(36)[0] for path in (right, plain))
    found = list(audit_unfolding(executed, unfolded, [0, 3], 4))
    assert [one.difference for one in found] == ["unfold, quantization", "unfold, pruning"]
    for one in found:
        assert (one.energy != one.right_energy).all()
        assert one.snr_published != one.snr_right
    same = list(audit_unfolding(executed, executed, [0, 3], 4))
    assert all(one.snr_published == one.snr_right for one in same)


def test_records_sum_errors_before_taking_logarithms():
    one = Comparison(
        "solver value", "net", "a", 0, 2, np.array([1.0, -3.0]), np.array([1.0, 1.0]),
        np.array([100.0, 100.0]), np.array([100.0, 100.0]), 2, 1, 2,
    )  # fmt: skip
    few = {"published": [3.0], "right": [2.0], "energy": [200.0], "right_energy": [200.0]}
    arrays = {name: np.array(value) for name, value in few.items()}
    other = replace(one, chunk=1, claims=1, false=0, **arrays)
    (record,) = records([one, other])
    assert record["snr_published"] == pytest.approx(20.0)  # 400 over 1 + 0 + 3
    assert record["snr_right"] == pytest.approx(20.0)
    assert (record["claims"], record["false"], record["overstated"]) == (3, 1, 4)
    assert render([record])


@pytest.fixture
def study(images, tmp_path):
    layers = (
        LayerChoice(TINY, ("depthwise", "pointwise")),
        LayerChoice("no_such_module:network", ("a",)),
    )
    file = tmp_path / "audit.toml"
    calibration = Calibration(images=str(images), heldout=2)
    file.write_text(format_study(Study("audit", layers, calibration=calibration)), "utf-8")
    return file


def test_the_command_tabulates_and_tells_what_is_left_out(cli, study, tmp_path):
    out = tmp_path / "new" / "audit.csv"
    at = ("--dumps", tmp_path / "dumps", "--out", out, "--channels", 2)
    code, shown, errors = cli("audit", study, *at, "--bits", 2, "--bits", 4)
    assert code == 0 and "left out: a: " in errors and "no_such_module" in errors
    lines = shown.splitlines()
    assert max(len(line) for line in lines if not line.startswith("table:")) <= 80
    heading = next(i for i, line in enumerate(lines) if line == f"{TINY} depthwise")
    assert [line.split()[0] for line in lines[heading + 1 : heading + 3]] == ["2", "4"]
    assert f"table: {out}" in shown.replace("\n", "")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 7 + 2 * 5, "only one of them is padded"
    for row in rows:
        worth = float(row["snr_published"]) - float(row["snr_right"])
        assert float(row["worth"]) == pytest.approx(worth, abs=1e-6)
        assert row["channels"] == ("1" if row["layer"] == "depthwise" else "2")


def test_the_command_refuses(cli, study, tmp_path):
    at = ("--dumps", tmp_path / "dumps")
    refused(cli("audit", "nosuch", *at), "nosuch", "demo")
    refused(cli("audit", study, *at, "--bits", 17), "solve.bits", "1 to 16")
    text = study.read_text("utf-8").replace(TINY, "no_such_module:other")
    study.write_text(text, "utf-8")
    code, _, errors = cli("audit", study, *at, "--bits", 2)
    assert code == 2 and "no_such_module" in errors
    assert not (tmp_path / "dumps").exists()
