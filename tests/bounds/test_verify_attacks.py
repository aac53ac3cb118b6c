"""Attacks on the verifier by somebody who knows it: what they write is resealed, and refused."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flint", reason="the verify extra is not installed")

from bounds import quantization_range
from bounds.certificate import Solved, certify
from bounds.errors import CertificateError
from bounds.verify import (
    Grid,
    Leveled,
    Refused,
    Sparse,
    cut_chunk,
    energy_of,
    main,
    problem_hash,
    round_up,
    spread,
    survivors,
    total,
    verify,
)
from layers.dump.file import LayerDump, write_dump
from tests.bounds.certificate.certificate_cases import (
    certificate,
    dump_bytes,
    dumped,
    forged,
    leveled,
    make_dump,
    parsed,
    pruned,
    quantized,
    sealed,
    untrue,
)
from tests.references.certificate_checker import False_, check


@pytest.fixture(scope="module")
def dump() -> LayerDump:
    return make_dump(23, features=4, channels=2)


@pytest.fixture(scope="module")
def lines(dump, tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("c")
    return parsed(certificate(folder / "c", dump, quantized(dump, 2) + pruned(dump, 2)))


def both_refuse(data: bytes, dump: LayerDump, words: str) -> None:
    """Both checkers refuse a file, ours with these words."""
    with pytest.raises(Refused, match=words):
        verify(data, dump)
    with pytest.raises(False_):
        check(data, dump_bytes(dump))


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"bits":2,', b'{"bits": 2,'),
        (b'{"bits":2,', b'{ "bits":2,'),
        (b'{"bits":2,"features":[0,4],', b'{"features":[0,4],"bits":2,'),
        (b'"is":"chunk"', b'"is":"\\u0063hunk"'),
        (b'"tolerance":1e-09', b'"tolerance":1e-9'),
        (b'"tolerance":1e-09', b'"tolerance":1E-09'),
        (b'"tolerance":1e-09', b'"tolerance":0.000000001'),
        (b'"tolerance":1e-09', b'"tolerance":1.0e-09'),
        (b'"tolerance":1e-09', b'"tolerance":1.00000000000000001e-09'),
        (b'"group":0', b'"group":-0'),
        (b'"step":0.4', b'"step":0.40'),
        (b'"bits":2', b'"bits":2,"bits":2'),
        (b'"bits":2', b'"bits":16,"bits":2'),
        (b'"is":"search"', b'"is":"search","is":"search"'),
        (b'{"bits":2', b'\xef\xbb\xbf{"bits":2'),
        (b'{"bits":2', b'\n{"bits":2'),
        (b'"tolerance":1e-09}', b'"tolerance":1e-09}\r'),
        (b'"layer":"a.b"', b'"layer":"a.b\xc3\xa9"'),
        (b'"layer":"a.b"', b'"layer":"a.b\x00"'),
        (b'"group":0', b'"group":NaN'),
        (b'"tolerance":1e-09', b'"tolerance":-Infinity'),
        (b'"tolerance":1e-09', b'"tolerance":1e999'),
        (b'"group":0', b'"group":' + 5000 * b"9"),
        (b'"group":0', b'"group":' + 10**5 * b"[" + 10**5 * b"]"),
        (b'"group":0', b'"group":' + 900 * b'{"a":' + b"0" + 900 * b"}"),
    ],
)  # fmt: skip
def test_only_one_spelling(dump, lines, old, new):
    raw = [dumped(line)[:-1] for line in lines[:-1]]
    assert any(old in line for line in raw)
    data = sealed(b"\n".join(raw).replace(old, new, 1).split(b"\n"), 4)
    both_refuse(data, dump, "not a certificate, or a truncated or altered one: line|is not an int")


def test_other_encodings_and_what_follows_the_end(dump, lines):
    raw = [dumped(line)[:-1] for line in lines[:-1]]
    data = sealed(raw, 4)
    verify(data, dump)
    for more in (b"\n", b" ", b"verified\n", data):
        both_refuse(data + more, dump, "truncated|not a certificate|seal differ")
    text = raw[1].decode()
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        both_refuse(sealed([raw[0], text.encode(encoding), *raw[2:]], 4), dump, "not a certificate")
    (altered,) = [data.replace(b'"channels":4', b'"channels":' + x) for x in (b"4.0",)]
    both_refuse(altered, dump, "not an integer")


def test_true_is_no_number_of_channels(dump, lines):
    for count in (True, 1.0):
        both_refuse(forged([*lines[:3], lines[-1] | {"channels": count}]), dump, "not an integer")
    verify(forged([*lines[:3], lines[-1] | {"channels": 1}]), dump)


# ---------------------------------------------------------------- what is refused by name


def test_no_channels(dump, lines):
    first, chunk, one, two, other, *_, end = lines
    for kept, count in (
        ([first], 0), ([first, chunk], 0), ([first, chunk, chunk, one], 1),
        ([first, chunk, one, other], 1), ([first, other, chunk, two], 1),
    ):  # fmt: skip
        both_refuse(forged([*kept, end | {"channels": count}]), dump, "no channels")
    with pytest.raises(CertificateError, match="nothing"):
        certify(dump, [])
    (whole,) = dump.chunks(None)
    empty = copy.copy(quantized(dump, 2)[0].found)
    for name in ("lower", "upper"):
        object.__setattr__(empty, name, np.zeros(0))
    with pytest.raises(CertificateError, match="chunk 0 has no channels"):
        Solved(whole, [], empty, keep=2)


def test_one_channel_twice(dump, lines, tmp_path):
    """With another step too: its energy would be counted twice."""
    again = parsed(certificate(tmp_path / "c", dump, quantized(dump, 2, scale=0.41)))
    both = [*lines[:3], again[2], lines[-1] | {"channels": 2}]
    both_refuse(forged(both), dump, "there twice")
    both = [*lines[:3], again[1], *again[2:4], lines[-1] | {"channels": 3}]
    verify(forged(both), dump)  # another chunk line makes another statement
    both = [*lines[:3], lines[1], lines[2], lines[-1] | {"channels": 2}]
    both_refuse(forged(both), dump, "there twice")
    (whole,) = dump.chunks(None)
    weights = whole.weights[[0, 0]]
    scale = np.array([0.4, 0.41])
    found = quantization_range(whole.gram, weights, bits=2, scale=scale)
    with pytest.raises(CertificateError, match="given twice"):
        certify(dump, [Solved(whole, [0, 0], found, 2, scale, rounding="none")])


def test_a_tolerance_that_makes_anything_exact(dump, lines, tmp_path):
    worse = parsed(certificate(tmp_path / "c", dump, quantized(dump, 2, "sdp")))
    for tolerance in (0.9, 1e-3, 1e-5):
        changed = copy.deepcopy(worse)
        changed[1]["tolerance"] = tolerance
        for line in changed[2:-1]:
            line["status"] = "exact"
        both_refuse(forged(changed), dump, "tolerance is out of range")
    (one,) = quantized(dump, 2)[:1]
    for tolerance in (1e-5, float("nan"), -1e-9, float("inf")):
        with pytest.raises(CertificateError, match="tolerance"):
            Solved(one.chunk, one.channels, one.found, 2, 0.4, tolerance=tolerance)


@pytest.mark.parametrize("kind", ["search", "quantization dual", "cover", "pruning dual"])
def test_proofs_on_dead_inputs(tmp_path, kind):
    dump = make_dump(1, features=3, channels=1, dead=(0, 1, 2))
    proofs: dict[str, Any] = {
        "search": {"is": "search", "order": [], "centre": [], "cut": [], "at": []},
        "quantization dual": {"is": "dual", "cuts": []},
        "cover": {"is": "cover", "duals": [], "tree": [-1]},
        "pruning dual": {"is": "dual", "p": [], "d": []},
    }
    solve = quantized if kind in ("search", "quantization dual") else pruned
    lines = parsed(certificate(tmp_path / "c", dump, solve(dump, 2)))
    assert lines[2]["proof"] == {"is": "none"} and lines[2]["status"] == "exact"
    lines[2]["proof"] = proofs[kind]
    both_refuse(forged(lines), dump, "chunk of dead inputs: every error is zero")


def test_more_nodes_than_the_user_allows(dump, lines, tmp_path, capsys):
    searches = forged([*lines[:4], lines[-1] | {"channels": 2}])
    covers = forged([lines[0], *lines[4:7], lines[-1] | {"channels": 2}])
    assert len(lines[5]["proof"]["tree"]) > 1
    write_dump(tmp_path / "d", dump)
    for data in (searches, covers):
        verify(data, dump, 10**6)
        with pytest.raises(Refused, match="--nodes"):
            verify(data, dump, 1)
        (tmp_path / "c").write_bytes(data)
        arguments = [str(tmp_path / "c"), "--dump", str(tmp_path / "d"), "--nodes"]
        assert main([*arguments, "1"]) == 1
        assert "--nodes" in capsys.readouterr().out
        assert main([*arguments, "1000"]) == 0
        for wrong in ("0", "-1", "nan", "1e9", "ten"):
            with pytest.raises(SystemExit):
                main([*arguments, wrong])
    for wrong in (0, -1, True, 2.0, float("nan"), None):
        with pytest.raises(Refused, match="positive integer"):
            verify(searches, dump, wrong)  # pyright: ignore[reportArgumentType]


# ---------------------------------------------------------------- false claims, all else mended


def mend(dump: LayerDump, lines: list[dict], rng: np.random.Generator) -> bool:
    """Make hash, energy, upper value and status right for what the lines now say."""
    try:
        chunk = cut_chunk(dump, lines[1])
        line = lines[2]
        weights = chunk.weights[line["channel"] - chunk.first]
        tables: list[list[float]] = []
        if "levels" in lines[1]:
            levels, size = lines[1]["levels"], lines[1]["group_size"]
            tables = [levels, line["steps"], line["zeros"]]
            line["codes"] = np.clip(line["codes"], 0, len(levels) - 1).tolist()[: len(weights)]
            spreads = [spread(table, size, len(weights)) for table in tables[1:]]
            task: Any = Leveled(chunk, weights, levels, *spreads)
            numbers, attained = [size, len(levels), len(line["steps"])], task.error(line["codes"])
        elif "bits" in lines[1]:
            half = 2 ** (lines[1]["bits"] - 1)
            task = Grid(chunk, weights, line["step"], -half, half - 1)
            line["codes"] = np.clip(line["codes"], -half, half - 1).tolist()[: len(weights)]
            numbers, attained = [line["step"].hex(), -half, half - 1], task.error(line["codes"])
        else:
            task, numbers = Sparse(chunk, weights, lines[1]["keep"]), [lines[1]["keep"]]
            support = line["support"] = line["support"][: lines[1]["keep"]]
            line["values"] = line["values"][: len(support)]
            values = [0.0] * len(weights)
            for i, value in zip(support, line["values"], strict=True):
                values[i] = value
            attained = task.error(values)
    except (Refused, IndexError, ValueError):
        return False
    line["problem"] = problem_hash(chunk, weights, numbers, tables)
    line["energy"] = energy_of(chunk, task)
    line["upper"] = round_up(attained)
    line["lower"] = min(line["lower"] * rng.choice([1.0, 1.0, 1 + 1e-6, 1.5]), line["upper"])
    closed = max(1e-9 * line["upper"], 1e-13 * line["energy"])
    line["status"] = "exact" if line["upper"] - line["lower"] <= closed else "certified"
    return True


def change(dump: LayerDump, lines: list[dict], rng: np.random.Generator) -> None:
    """Another problem, solution or proof under the same claim."""
    chunk, line = lines[1], lines[2]
    proof = line["proof"]
    kind = int(rng.integers(7))
    if kind == 0:
        line["channel"] = int(rng.integers(dump.channels))
    elif kind == 1:
        chunk["features"] = sorted(rng.choice(dump.features + 1, 2, replace=False).tolist())
    elif kind == 2:
        chunk["rounding"] = "none"
    elif kind == 3 and "levels" in chunk:
        where = int(rng.integers(len(chunk["levels"])))
        if rng.random() < 0.5:
            chunk["group_size"] = int(rng.integers(1, 5))
        else:
            chunk["levels"][where] += float(rng.choice([-0.01, 0.01, 1.0]))
    elif kind == 4 and "steps" in line:
        table = line[str(rng.choice(["steps", "zeros"]))]
        table[int(rng.integers(len(table)))] *= float(rng.choice([0.5, 0.99, 1.01, 2.0]))
    elif kind == 3 and "bits" in chunk:
        chunk["bits"] = int(rng.integers(1, 5))
    elif kind == 3:
        chunk["keep"] = int(rng.integers(0, dump.features + 1))
    elif kind == 4 and "step" in line:
        line["step"] *= float(rng.choice([0.5, 0.99, 1.01, 2.0]))
    elif kind == 4 and line.get("values"):
        line["values"][0] *= 1.01
    elif kind == 5 and line.get("codes"):
        line["codes"][0] += int(rng.choice([-1, 1]))
    else:
        names = [name for name in proof if isinstance(proof[name], list) and proof[name]]
        if names:
            entries = proof[names[int(rng.integers(len(names)))]]
            at = int(rng.integers(len(entries)))
            while isinstance(entries[at], list) and entries[at]:
                entries = entries[at]
                at = int(rng.integers(len(entries)))
            old = entries[at]
            entries[at] = old * 1.5 if isinstance(old, float) else int(old + rng.choice([-1, 1]))


def test_both_checkers_accept_the_same_and_only_what_is_true(tmp_path):
    """The second one is in exact rationals, from the page; the truth is from brute force."""
    rng = np.random.default_rng(3)
    dump = make_dump(24, features=4, channels=2)
    raw = dump_bytes(dump)
    found = [
        quantized(dump, 2), quantized(dump, 2, "sdp"), pruned(dump, 2),
        pruned(dump, 2, "perspective"), leveled(dump, "zeros"), leveled(dump, "codebook"),
        leveled(dump, "codebook", "sdp"),
    ]  # fmt: skip
    cases = [parsed(certificate(tmp_path / "c", dump, one)) for one in found]
    accepted = refused = 0
    for trial in range(700):
        changed = copy.deepcopy(cases[trial % len(cases)])
        changed = [*changed[:3], changed[-1] | {"channels": 1}]
        for _ in range(int(rng.integers(1, 3))):
            change(dump, changed, rng)
        if rng.random() < 0.8 and not mend(dump, changed, rng):
            continue
        data = forged(changed)
        try:
            verify(data, dump)
        except Refused:
            refused += 1
            with pytest.raises(False_):
                check(data, raw)
            continue
        accepted += 1
        assert check(data, raw) == 1
        assert untrue(dump, changed) == []
    assert accepted > 60 and refused > 150, (accepted, refused)


def test_an_error_below_zero_counts_as_zero(tmp_path):
    """A Gram matrix that is indefinite by its rounding; the writer and both checkers agree."""
    n, off = 2, 1 + 1e-11
    gram = np.array([[[1.0, off], [off, 1.0]]])
    dump = LayerDump(
        source="net", layer="a", kind="linear", weights=np.array([[1, -1]], np.float32),
        gram_blocks=(gram,), heldout_blocks=(gram,), rows=n, heldout_rows=n, weight_shape=(1, n),
    )  # fmt: skip
    lines = parsed(certificate(tmp_path / "c", dump, quantized(dump, 2, scale=0.4)))
    verify(forged(lines), dump)
    assert (lines[2]["energy"], lines[2]["upper"], lines[2]["lower"]) == (0.0, 0.0, 0.0)
    lines[2]["energy"] = float(2 - 2 * off)
    both_refuse(forged(lines), dump, "energy is out of range")


def test_sums_are_printed_on_the_safe_side():
    rng = np.random.default_rng(5)
    for _ in range(200):
        done = [{"lower": float(x), "upper": float(x)} for x in 10 ** rng.uniform(-12, 12, 7)]
        true = sum((Fraction(line["lower"]) for line in done), Fraction(0))
        low, high = total(done, "lower", "ROUND_FLOOR"), total(done, "upper", "ROUND_CEILING")
        assert Fraction(low) <= true <= Fraction(high)
        assert true == 0 or Fraction(high) / Fraction(low) < 1 + Fraction(2, 10**8)


def test_numbers_below_all_rounding_close_no_branch():
    """Squares of 1.6e-162 round up to the smallest double, twice what they are."""
    n = 12
    root = 1.6e-162 * np.eye(n)
    true = n * Fraction(1.6e-162) ** 2
    target = 4e-323
    assert true < Fraction(target)
    zero = np.zeros(n)
    found = survivors(root, zero, zero, zero, zero, (-1.0, 0.0), target, 10**6)
    assert any((codes == -1).all() for codes in found)


def test_weights_beyond_half_precision(tmp_path):
    """Refused, without a warning."""
    dump = make_dump(1, features=3, channels=1)
    lines = parsed(certificate(tmp_path / "c", dump, pruned(dump, 1)))
    big = LayerDump(**{
        name: getattr(dump, name)
        for name in ("source", "layer", "kind", "gram_blocks", "heldout_blocks", "rows",
                     "heldout_rows", "weight_shape")
    }, weights=np.array([[1.0, 7e4, 1.0]], np.float32))  # fmt: skip
    lines[0]["dump"] = big.content_hash
    both_refuse(forged(lines), big, "do not fit fp16")


def test_huge_files_of_small_meaning(dump, lines):
    """A proof cannot name what is not there, however long it is."""
    changed = copy.deepcopy(lines)
    changed[2]["proof"] = {"is": "dual", "cuts": [[0, 0, 0, 1, 1.0]] * 20000}
    with pytest.raises(Refused, match="positive definite"):
        verify(forged(changed), dump)
    changed[5]["proof"]["tree"] = [0] * 10**5
    changed[2] = lines[2]
    both_refuse(forged(changed), dump, "not undecided")
    assert json.loads(dumped(changed[1])) == lines[1]
