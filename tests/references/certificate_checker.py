"""A second checker of certificates, written from docs/certificate.md alone, in exact rationals.

It shares nothing with ``bounds.verify``, the writer or the dump reader, and is slow: for small
chunks. ``check`` takes the bytes of a certificate and of a dump and raises False_ with the first
statement that is not true. Where the page leaves a choice it takes another one: pivots are
rationals instead of balls, a search rounds in balls instead of floating point.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flint import arb, ctx, fmpq, fmpz_mat

Matrix = list[list[fmpq]]


class False_(Exception):  # noqa: N801, N818
    """A statement that is not true."""


def claim(true: Any, statement: str) -> None:
    """Raise unless true."""
    if not true:
        raise False_(statement)


def ratio(x: float) -> fmpq:
    """The rational that a double is."""
    return fmpq(*x.as_integer_ratio())


def fraction(x: fmpq) -> Fraction:
    """The same number as Python has it."""
    return Fraction(int(x.p), int(x.q))


# ---------------------------------------------------------------- types


def is_integer(value: Any, least: int, most: int) -> bool:
    """An integer of a range."""
    return type(value) is int and least <= value <= most


def is_double(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """A finite double of a range."""
    return type(value) is float and math.isfinite(value) and least <= value <= most


def are_doubles(values: Any, count: int, least: float = -math.inf) -> bool:
    """A list of so many doubles."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(is_double(x, least) for x in values)
    )


def are_integers(values: Any, count: int | None, least: int, most: int) -> bool:
    """A list of so many integers."""
    right = isinstance(values, list) and count in (None, len(values))
    return right and all(is_integer(x, least, most) for x in values)


def is_digest(value: Any) -> bool:
    """64 lower-case hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def named(line: Any, *names: str) -> bool:
    """An object of exactly these fields."""
    return isinstance(line, dict) and set(line) == set(names)


# ---------------------------------------------------------------- files


def canonical(value: Any) -> str:
    """The only spelling accepted."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_lines(data: bytes) -> list[dict[str, Any]]:
    """The lines of a certificate, their spelling and the seal compared."""
    claim(data.endswith(b"\n"), "the last line is not closed")
    raw = data[:-1].split(b"\n")
    lines = []
    for one in raw:
        try:
            line = json.loads(one.decode("ascii"))
            claim(canonical(line).encode() == one, "a line is not canonical")
        except (ValueError, RecursionError) as error:
            raise False_("a line is no JSON") from error
        claim(isinstance(line, dict), "a line is no object")
        lines.append(line)
    end = lines[-1]
    claim(named(end, "is", "channels", "sha256") and end["is"] == "end", "there is no end")
    claim(is_digest(end["sha256"]), "sha256 is no digest")
    body = data[: len(data) - len(raw[-1]) - 1]
    claim(hashlib.sha256(body).hexdigest() == end["sha256"], "the seal is another one")
    first = lines[0]
    claim(named(first, "is", "version", "dump", "source", "layer"), "the first line is odd")
    claim(first["is"] == "layerbounds-certificate", "not a certificate")
    claim(is_integer(first["version"], 1, 2), "another version")
    return lines


@dataclass
class Dump:
    """Weights (channels, features), Gram matrices [block][group] as doubles, and the names."""

    weights: list[list[float]]
    blocks: list[list[list[list[float]]]]
    groups: int
    width: int
    source: str
    layer: str
    digest: str


def read_dump(data: bytes) -> Dump:
    """A safetensors file, read by hand; its content hash is computed."""
    (size,) = struct.unpack("<Q", data[:8])
    header, content = json.loads(data[8 : 8 + size]), data[8 + size :]
    own = json.loads(header.pop("__metadata__")["layerbounds-dump"])
    meta = own["metadata"]
    digest = hashlib.sha256(canonical(meta).encode())
    arrays = {}
    for name in sorted(header):
        kind, shape = header[name]["dtype"], header[name]["shape"]
        start, stop = header[name]["data_offsets"]
        part = content[start:stop]
        code = {"F32": "f", "F64": "d"}[kind]
        text = f"{name} {'<f4' if code == 'f' else '<f8'} ({', '.join(map(str, shape))})"
        digest.update(text.encode() + part)
        arrays[name] = nested(struct.unpack(f"<{math.prod(shape)}{code}", part), shape)
    claim(own["version"] == 1 and own["sha256"] == digest.hexdigest(), "the dump was altered")
    blocks = [arrays[f"gram.{i}"] for i in range(sum(name.startswith("gram.") for name in arrays))]
    width = meta["block_width"] or len(arrays["weights"][0])
    names = (meta["source"], meta["layer"], digest.hexdigest())
    return Dump(arrays["weights"], blocks, meta["groups"], width, *names)


def nested(flat: Any, shape: list[int]) -> list[Any]:
    """Lists of lists, the last index fastest."""
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


# ---------------------------------------------------------------- chunks and channels


@dataclass
class Case:
    """A channel's problem: all inputs for the hash, live ones (G, w) for the proofs."""

    line: dict[str, Any]
    full_gram: list[list[float]]
    full_weights: list[float]

    def __post_init__(self) -> None:
        """Leave dead inputs."""
        rows = self.full_gram
        self.live = [i for i in range(len(rows)) if rows[i][i] != 0]
        for i, row in enumerate(rows):
            claim(i in self.live or not any(row), "a dead input has a row that is not zero")
        self.gram = [[ratio(rows[i][j]) for j in self.live] for i in self.live]
        self.weights = [ratio(self.full_weights[i]) for i in self.live]
        self.n = len(self.live)

    def error(self, solution: list[fmpq]) -> fmpq:
        """Error of v (live inputs)."""
        return form(self.gram, [v - w for v, w in zip(solution, self.weights, strict=True)])


def times(matrix: Matrix, x: list[fmpq]) -> list[fmpq]:
    """A matrix times a vector."""
    return [sum((a * b for a, b in zip(row, x, strict=True)), fmpq(0)) for row in matrix]


def form(matrix: Matrix, x: list[fmpq]) -> fmpq:
    """``x'Mx``."""
    return sum((a * b for a, b in zip(times(matrix, x), x, strict=True)), fmpq(0))


def last_pivot(matrix: Matrix, t: list[fmpq], r: fmpq) -> fmpq:
    """``r - t'M^-1 t``, M shown to be positive definite."""
    rows = [[*row, x] for row, x in zip(matrix, t, strict=True)]
    n = len(rows)
    for k in range(n):
        claim(rows[k][k] > 0, "a matrix is not positive definite")
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
        r -= rows[k][n] ** 2 / rows[k][k]
    return r


def bfloat16(weight: float) -> float:
    """The nearest number of one sign, 8 exponent and 7 fraction bits, ties to even."""
    lowest = max(math.frexp(weight)[1] - 8, -133)
    rounded = round(Fraction(weight) / Fraction(2) ** lowest) * Fraction(2) ** lowest
    claim(abs(rounded) < 2**128, "a weight is no bfloat16")
    return float(rounded)


def cut_out(dump: Dump, line: dict[str, Any]) -> tuple[list[list[float]], list[list[float]], int]:
    """Gram matrix and weights of a chunk line, and the layer's number of its first channel."""
    common = ("is", "task", "group", "features", "rounding", "tolerance")
    task = str(line.get("task"))
    own = {"quantization": ["bits"], "pruning": ["keep"], "levels": ["levels", "group_size"]}
    claim(task in own, "an unknown task")
    claim(named(line, *common, *own[task]), "odd fields")
    claim(is_integer(line["group"], 0, dump.groups - 1), "an odd group")
    total = len(dump.weights[0])
    claim(are_integers(line["features"], 2, 0, total), "odd features")
    a, b = line["features"]
    claim(a < b and a // dump.width == (b - 1) // dump.width, "a chunk outside the blocks")
    claim(line["rounding"] in ("fp16", "bf16", "none"), "an odd rounding")
    claim(is_double(line["tolerance"], 0, 1e-6), "an odd tolerance")
    sizes = {
        "quantization": ("bits", 1, 16),
        "pruning": ("keep", 0, b - a),
        "levels": ("group_size", 1, 2**53),
    }
    if task == "levels":
        levels = line["levels"]
        claim(isinstance(levels, list) and are_doubles(levels, len(levels)), "odd levels")
        claim(2 <= len(levels) <= 2**16, "too few levels, or too many")
        claim(all(x < y for x, y in itertools.pairwise(levels)), "levels out of order")
    name, least, most = sizes[task]
    claim(is_integer(line[name], least, most), f"odd {name}")
    block, offset = a // dump.width, a % dump.width
    gram = [
        row[offset : offset + b - a]
        for row in dump.blocks[block][line["group"]][offset : offset + b - a]
    ]
    count = len(dump.weights) // dump.groups
    first = line["group"] * count
    weights = [row[a:b] for row in dump.weights[first : first + count]]
    if line["rounding"] == "fp16":
        try:
            weights = [list(struct.unpack(f"<{b - a}e", struct.pack(f"<{b - a}e", *row)))
                       for row in weights]  # fmt: skip
        except OverflowError as error:
            raise False_("a weight is no binary16") from error
    elif line["rounding"] == "bf16":
        weights = [[bfloat16(w) for w in row] for row in weights]
    return gram, weights, first


def check_channel(case: Case, line: dict[str, Any]) -> None:
    """Every statement about a channel but its number."""
    task = case.line["task"]
    solution = {
        "quantization": ("step", "codes"),
        "levels": ("steps", "zeros", "codes"),
        "pruning": ("support", "values"),
    }[task]
    common = ("is", "channel", "problem", "energy", "lower", "upper", "status", "proof")
    claim(named(line, *common, *solution), "odd fields")
    for name in ("energy", "lower", "upper"):
        claim(is_double(line[name], 0), f"odd {name}")
    lower, upper = ratio(line["lower"]), ratio(line["upper"])
    claim(lower <= upper, "lower is above upper")
    size = len(case.full_weights)
    tables: list[float] = []
    if task == "levels":
        levels, each = case.line["levels"], case.line["group_size"]
        groups = math.ceil(size / each)
        claim(are_doubles(line["steps"], groups, 0.0) and all(line["steps"]), "odd steps")
        claim(are_doubles(line["zeros"], groups), "odd zeros")
        claim(are_integers(line["codes"], size, 0, len(levels) - 1), "odd codes")
        tables = [*levels, *line["steps"], *line["zeros"]]
        numbers = f"[{each}, {len(levels)}, {groups}]"
        v = [point(case, line, i, line["codes"][i]) for i in case.live]
    elif task == "quantization":
        step = line["step"]
        claim(is_double(step, 0) and step > 0, "an odd step")
        half = 2 ** (case.line["bits"] - 1)
        claim(are_integers(line["codes"], size, -half, half - 1), "odd codes")
        numbers = f'["{hexadecimal(step)}", {-half}, {half - 1}]'
        v = [ratio(step) * line["codes"][i] for i in case.live]
    else:
        support, keep = line["support"], case.line["keep"]
        claim(are_integers(support, None, 0, size - 1), "an odd support")
        claim(len(support) <= keep and support == sorted(set(support)), "an odd support")
        claim(are_doubles(line["values"], len(support)), "odd values")
        numbers = f"[{keep}]"
        held = dict(zip(support, line["values"], strict=True))
        v = [ratio(held.get(i, 0.0)) for i in case.live]
    flat = tables + [x for row in case.full_gram for x in row] + case.full_weights
    text = f"{case.line['task']} {numbers}\n".encode() + struct.pack(f"<{len(flat)}d", *flat)
    claim(line["problem"] == hashlib.sha256(text).hexdigest(), "another problem")
    error, energy = case.error(v), form(case.gram, case.weights)
    below = math.nextafter(line["upper"], -math.inf)
    true = error <= upper and (error > ratio(below) if upper > 0 else True)
    claim(true, "upper is not the error, rounded up")
    claim(line["energy"] == float(fraction(max(energy, fmpq(0)))), "energy is another one")
    share = max(ratio(case.line["tolerance"]) * upper, ratio(1e-13) * ratio(line["energy"]))
    rules = {"exact": upper - lower <= share, "certified": lower > 0, "heuristic": lower == 0}
    status = line["status"]
    claim(isinstance(status, str) and rules.get(status, False), "the status says too much")
    check_proof(case, line, lower)


def point(case: Case, line: dict[str, Any], i: int, k: int) -> fmpq:
    """Level number k of input i of all inputs, as a weight."""
    group = i // case.line["group_size"]
    level, zero = ratio(case.line["levels"][k]), ratio(line["zeros"][group])
    return ratio(line["steps"][group]) * (level - zero)


def hexadecimal(x: float) -> str:
    """A positive double by the page's rule."""
    mantissa, exponent = math.frexp(x)
    mantissa, exponent = 2 * mantissa, exponent - 1
    if exponent < -1022:
        return f"0x0.{int(math.ldexp(x, 1074)):013x}p-1022"
    return f"0x1.{int((mantissa - 1) * 2**52):013x}p{exponent:+d}"


# ---------------------------------------------------------------- proofs


def check_proof(case: Case, line: dict[str, Any], lower: fmpq) -> None:
    """The proof shows ``lower``."""
    proof = line["proof"]
    claim(isinstance(proof, dict) and isinstance(proof.get("is"), str), "there is no proof")
    kind, quantization = proof["is"], case.line["task"] == "quantization"
    if case.line["task"] == "levels" and kind in ("dual", "search"):
        claim(case.n, "a proof for dead inputs")
        every = range(len(case.line["levels"]))
        points = [[point(case, line, i, k) for k in every] for i in case.live]
        if kind == "dual":
            claim(levels_value(case, points, proof) >= lower, "the dual shows less")
        else:
            check_levels(case, points, proof, lower)
        return
    claim(case.n or kind == "none", "a proof for dead inputs")
    if kind == "none":
        claim(named(proof, "is") and lower == 0, "nothing is proven")
    elif kind == "dual" and quantization:
        claim(cuts_value(case, line, proof) >= lower, "the dual shows less")
    elif kind == "dual" and case.line["task"] == "pruning":
        claim(dual_value(case, proof) >= lower, "the dual shows less")
    elif kind == "search" and quantization:
        check_search(case, line, proof, lower)
    elif kind == "reduced" and quantization:
        check_reduced(case, line, proof, lower)
    elif kind == "cover" and case.line["task"] == "pruning":
        check_cover(case, proof, lower)
    else:
        raise False_("an unknown proof")


def cuts_value(case: Case, line: dict[str, Any], proof: dict[str, Any]) -> fmpq:
    """``s^2`` times the last pivot, each cut checked."""
    claim(named(proof, "is", "cuts") and isinstance(proof["cuts"], list), "odd cuts")
    half = 2 ** (case.line["bits"] - 1)
    lo, hi, n = -half, half - 1, case.n
    s = ratio(line["step"])
    u = [w / s for w in case.weights]
    matrix, t, r = [row[:] for row in case.gram], times(case.gram, u), form(case.gram, u)
    for cut in proof["cuts"]:
        claim(isinstance(cut, list) and len(cut) == 5 and is_double(cut[4]), "an odd cut")
        claim(are_integers(cut[:4], 4, -(2**53), 2**53), "an odd cut")
        i, j, p, q = cut[:4]
        claim(0 <= i < n and -n <= j <= n and abs(j) - 1 != i, "a cut of odd inputs")
        b = {i: 1} if j == 0 else {i: 1, abs(j) - 1: 1 if j > 0 else -1}
        least, most = (lo, hi) if j == 0 else (2 * lo, 2 * hi) if j > 0 else (lo - hi, hi - lo)
        m = ratio(cut[4])
        claim(abs(p - q) <= 1 if m > 0 else p <= least and q >= most, "a cut that does not hold")
        for k, x in b.items():
            t[k] -= m * (p + q) / 2 * x
            for other, y in b.items():
                matrix[k][other] -= m * x * y
        r -= m * p * q
    return s * s * last_pivot(matrix, t, r)


def levels_value(case: Case, points: Matrix, proof: dict[str, Any]) -> fmpq:
    """The last pivot, each cut checked: in weights, with every input's own levels."""
    claim(named(proof, "is", "cuts") and isinstance(proof["cuts"], list), "odd cuts")
    matrix, t = [row[:] for row in case.gram], times(case.gram, case.weights)
    r, last = form(case.gram, case.weights), len(case.line["levels"]) - 1
    for cut in proof["cuts"]:
        claim(isinstance(cut, list) and len(cut) == 4 and is_double(cut[3]), "an odd cut")
        claim(are_integers(cut[:3], 3, 0, 2**53), "an odd cut")
        i, p, q = cut[:3]
        claim(i < case.n and max(p, q) <= last, "a cut of odd inputs or levels")
        m = ratio(cut[3])
        claim(abs(p - q) <= 1 if m > 0 else p == 0 and q == last, "a cut that does not hold")
        low, high = points[i][p], points[i][q]
        matrix[i][i] -= m
        t[i] -= m * (low + high) / 2
        r -= m * low * high
    return last_pivot(matrix, t, r)


def check_levels(case: Case, points: Matrix, proof: dict[str, Any], lower: fmpq) -> None:
    """A depth-first search in balls over every input's own levels."""
    claim(named(proof, "is", "order", "centre", "cut", "at"), "odd fields")
    n, order = case.n, proof["order"]
    claim(are_integers(order, n, 0, n - 1) and len(set(order)) == n, "an odd order")
    claim(are_doubles(proof["centre"], n) and are_doubles(proof["cut"], n, 0.0), "odd numbers")
    claim(are_integers(proof["at"], n, 0, len(case.line["levels"]) - 2), "odd numbers")
    own = [points[i] for i in order]
    # the centre is a hint: moved to the nearest point of the box
    c = [min(max(ratio(x), p[0]), p[-1]) for x, p in zip(proof["centre"], own, strict=True)]
    m = [ratio(x) for x in proof["cut"]]
    low = [p[k] for p, k in zip(own, proof["at"], strict=True)]
    high = [p[k + 1] for p, k in zip(own, proof["at"], strict=True)]
    gram = [[case.gram[i][j] for j in order] for i in order]
    gap = [x - case.weights[i] for x, i in zip(c, order, strict=True)]
    value, pull = form(gram, gap), times(gram, gap)
    adds: list[list[fmpq]] = []  # what a level adds by itself
    for i in range(n):
        value -= m[i] * (c[i] - low[i]) * (c[i] - high[i])
        slope = 2 * pull[i] - m[i] * (2 * c[i] - low[i] - high[i])
        adds.append([slope * (v - c[i]) + m[i] * (v - low[i]) * (v - high[i]) for v in own[i]])
        gram[i][i] -= m[i]
    pivots, rows, eps = triangle(gram)
    goal = lower - value
    for i in range(n):
        goal += eps * max(own[i][-1] - c[i], c[i] - own[i][0]) ** 2
    least = [min(row) for row in adds]
    ctx.prec = 128
    goals = [arb(goal - sum(least[:i], fmpq(0))) for i in range(n)]
    steps = [[arb(v - x) for v in p] for p, x in zip(own, c, strict=True)]
    pivot, entries = [arb(x) for x in pivots], [[arb(x) for x in row] for row in rows]
    alone = [[arb(x) for x in row] for row in adds]

    def visit(chosen: list[int], i: int, spent: arb) -> None:
        if i < 0:
            found = [fmpq(0)] * n
            for k, p, place in zip(chosen, own, order, strict=True):
                found[place] = p[k]
            claim(case.error(found) >= lower, f"levels {chosen} refute the search")
            return
        off = sum((entries[i][b] * steps[b][chosen[b]] for b in range(i + 1, n)), arb(0))
        for k, step in enumerate(steps[i]):
            cost = spent + pivot[i] * (step + off) ** 2 + alone[i][k]
            if not cost >= goals[i]:
                chosen[i] = k
                visit(chosen, i - 1, cost)

    visit([0] * n, n - 1, arb(0))


def largest(p: list[fmpq], d: list[fmpq], count: int) -> fmpq:
    """The sum of the ``count`` largest ``p_i^2/d_i``."""
    ranked = sorted((x * x / y for x, y in zip(p, d, strict=True)), reverse=True)
    return sum(ranked[:count], fmpq(0))


def dual_value(case: Case, proof: dict[str, Any]) -> fmpq:
    """The perspective bound."""
    claim(named(proof, "is", "p", "d"), "odd fields")
    claim(are_doubles(proof["p"], case.n), "odd p")
    claim(are_doubles(proof["d"], case.n, 0.0) and all(proof["d"]), "odd d")
    p, d = [ratio(x) for x in proof["p"]], [ratio(x) for x in proof["d"]]
    matrix = [row[:] for row in case.gram]
    for i, x in enumerate(d):
        matrix[i][i] -= x
    t = [a - b for a, b in zip(times(case.gram, case.weights), p, strict=True)]
    energy = form(case.gram, case.weights)
    return last_pivot(matrix, t, energy) - largest(p, d, case.line["keep"])


def leaf(case: Case, keep: int, removed: set[int], kept: set[int], dual: Any = None) -> fmpq:
    """What a leaf's solutions cost at least."""
    room = keep - len(kept)
    present = [i for i in range(case.n) if i in kept or (room > 0 and i not in removed)]
    pull = times(case.gram, case.weights)
    matrix = [[case.gram[i][j] for j in present] for i in present]
    t, p, d = [pull[i] for i in present], [], []
    for a, i in enumerate(present):
        if dual is not None and i not in kept:
            claim(dual[1][i] > 0, "d is not positive")
            matrix[a][a] -= dual[1][i]
            t[a] -= dual[0][i]
            p.append(dual[0][i])
            d.append(dual[1][i])
    return last_pivot(matrix, t, form(case.gram, case.weights)) - largest(p, d, room)


def check_cover(case: Case, proof: dict[str, Any], lower: fmpq) -> None:
    """Read the tree in preorder."""
    claim(named(proof, "is", "duals", "tree") and isinstance(proof["duals"], list), "odd fields")
    duals = []
    for pair in proof["duals"]:
        claim(isinstance(pair, list) and len(pair) == 2, "an odd dual")
        claim(are_doubles(pair[0], case.n) and are_doubles(pair[1], case.n, 0.0), "an odd dual")
        duals.append(([ratio(x) for x in pair[0]], [ratio(x) for x in pair[1]]))
    tree, keep = proof["tree"], case.line["keep"]
    claim(are_integers(tree, None, -(2**53), 2**53), "an odd tree")
    rest: Any = iter(tree)

    def subtree(removed: set[int], kept: set[int]) -> None:
        node = next(rest, None)
        claim(node is not None, "the tree ends too soon")
        assert node is not None
        if node >= 0:
            free = node < case.n and node not in removed | kept and len(kept) < keep
            claim(free, "a branch on an odd input")
            subtree(removed | {node}, kept)
            subtree(removed, kept | {node})
            return
        claim(-2 - node < len(duals), "a dual that is not there")
        dual = None if node == -1 else duals[-2 - node]
        claim(leaf(case, keep, removed, kept, dual) >= lower, "a leaf is not closed")

    subtree(set(), set())
    claim(next(rest, None) is None, "the tree goes on")


def check_search(case: Case, line: dict[str, Any], proof: dict[str, Any], lower: fmpq) -> None:
    """A depth-first search in balls; codes that stay open are evaluated exactly."""
    claim(named(proof, "is", "order", "centre", "cut", "at"), "odd fields")
    n, order = case.n, proof["order"]
    claim(are_integers(order, n, 0, n - 1) and len(set(order)) == n, "an odd order")
    claim(are_doubles(proof["centre"], n) and are_doubles(proof["cut"], n, 0.0), "odd numbers")
    claim(are_integers(proof["at"], n, -(2**20), 2**20), "odd numbers")
    half = 2 ** (case.line["bits"] - 1)
    lo, hi = -half, half - 1
    s = ratio(line["step"])
    c = [ratio(min(max(x, float(lo)), float(hi))) for x in proof["centre"]]
    m, at = [ratio(x) for x in proof["cut"]], proof["at"]
    gram = [[case.gram[i][j] for j in order] for i in order]
    gap = [x - case.weights[i] / s for x, i in zip(c, order, strict=True)]
    value, pull = form(gram, gap), times(gram, gap)
    slope = []
    for i in range(n):
        ahead = c[i] - at[i]
        value -= m[i] * ahead * (ahead - 1)
        slope.append(2 * pull[i] - m[i] * (2 * ahead - 1))
        gram[i][i] -= m[i]
    pivots, rows, eps = triangle(gram)
    goal = lower / (s * s) - value
    for i in range(n):
        goal += eps * max(hi - c[i], c[i] - lo) ** 2
    least = [min(g * (lo - x), g * (hi - x)) for g, x in zip(slope, c, strict=True)]
    ahead = [sum(least[:i], fmpq(0)) for i in range(n)]  # of the inputs fixed after input i
    ctx.prec = 128
    search = Search(
        [arb(x) for x in pivots], [[arb(x) for x in row] for row in rows],
        [arb(x) for x in c], [arb(x) for x in slope], [arb(x) for x in m], at,
        [arb(goal - x) for x in ahead], (lo, hi),
    )  # fmt: skip
    for codes in search.open([0] * n, n - 1, arb(0)):
        inside = [0] * n
        for z, i in zip(codes, order, strict=True):
            inside[i] = z
        claim(case.error([s * z for z in inside]) >= lower, f"codes {inside} refute the search")


def check_reduced(case: Case, line: dict[str, Any], proof: dict[str, Any], lower: fmpq) -> None:
    """A unimodular basis, and the search it is a hint for, done without it."""
    claim(named(proof, "is", "basis", "centre"), "odd fields")
    n, basis = case.n, proof["basis"]
    claim(isinstance(basis, list) and len(basis) == n, "an odd basis")
    most = 2**31 - 1
    claim(all(are_integers(row, n, -most, most) for row in basis), "an odd basis")
    claim(abs(fmpz_mat(basis).det()) == 1, "no unimodular basis")
    zeros = {"cut": [0.0] * n, "at": [0] * n}
    plain = {"is": "search", "order": list(range(n)), "centre": proof["centre"], **zeros}
    check_search(case, line, plain, lower)


def triangle(matrix: Matrix) -> tuple[list[fmpq], Matrix, fmpq]:
    """Pivots and unit rows of ``M + eps I``, for the first eps that makes it definite."""
    n = len(matrix)
    size = sum((abs(matrix[i][i]) for i in range(n)), fmpq(0))
    for eps in (fmpq(0), *(size * fmpq(1, 2**k) for k in (60, 50, 46, 42, 38))):
        rows = [[x + (eps if i == j else 0) for j, x in enumerate(row)]
                for i, row in enumerate(matrix)]  # fmt: skip
        pivots = []
        for k in range(n):
            if rows[k][k] <= 0:
                break
            pivots.append(rows[k][k])
            unit = [x / rows[k][k] for x in rows[k]]
            for i in range(k + 1, n):
                factor = rows[i][k]
                rows[i] = [a - factor * b for a, b in zip(rows[i], unit, strict=True)]
            rows[k] = unit
        else:
            return pivots, rows, eps
    raise False_("the matrix of the search is not positive semidefinite")


@dataclass
class Search:
    """Balls of the search, inputs in its order; ``goals`` leave out what slopes may still give."""

    pivots: list[arb]
    rows: list[list[arb]]
    centre: list[arb]
    slope: list[arb]
    cut: list[arb]
    at: list[int]
    goals: list[arb]
    box: tuple[int, int]

    def open(self, codes: list[int], i: int, spent: arb) -> Iterator[list[int]]:
        """Codes that the sums do not close; inputs after ``i`` are fixed, at a cost of ``spent``.

        The terms of input i are convex in its code: past their minimum one closed code is enough.
        """
        if i < 0:
            yield codes[:]
            return
        n, (lo, hi) = len(codes), self.box
        known = [self.rows[i][b] * (codes[b] - self.centre[b]) for b in range(i + 1, n)]
        off = sum(known, arb(0)) - self.centre[i]
        curve = self.pivots[i] + self.cut[i]
        middle = -(self.pivots[i] * off + self.slope[i] / 2 - self.cut[i] * (self.at[i] + 0.5))
        start = math.floor(float((middle / curve).mid()))
        start = min(max(start, lo), hi)
        for codes_here in (range(start, lo - 1, -1), range(start + 1, hi + 1)):
            for number, z in enumerate(codes_here):
                row = z + off
                cost = spent + self.pivots[i] * row * row + self.slope[i] * (z - self.centre[i])
                cost += self.cut[i] * ((z - self.at[i]) * (z - self.at[i] - 1))
                if cost >= self.goals[i]:
                    if number:  # the first two may lie on the wrong side of the minimum
                        break
                    continue
                codes[i] = z
                yield from self.open(codes, i - 1, cost)


# ---------------------------------------------------------------- all of it


def check(data: bytes, dump_data: bytes) -> int:
    """The number of channels whose every statement is true; raises False_ at one that is not."""
    lines, dump = read_lines(data), read_dump(dump_data)
    first = lines[0]
    claim(first["dump"] == dump.digest, "another dump")
    claim((first["source"], first["layer"]) == (dump.source, dump.layer), "another layer")
    chunk: dict[str, Any] | None = None
    gram: list[list[float]] = []
    weights: list[list[float]] = []
    start = 0
    here: set[int] = set()
    seen: set[str] = set()
    for line in lines[1:-1]:
        if line.get("is") == "chunk":
            claim(chunk is None or here, "a chunk without channels")
            claim(line.get("task") != "levels" or first["version"] == 2, "levels are of version 2")
            gram, weights, start = cut_out(dump, line)
            chunk, here = line, set()
            continue
        claim(line.get("is") == "channel" and chunk is not None, "an odd line")
        assert chunk is not None
        number: Any = line.get("channel")
        claim(is_integer(number, start, start + len(weights) - 1), "no channel of the chunk")
        claim(number not in here, "a channel twice")
        here.add(number)
        check_channel(Case(chunk, gram, weights[number - start]), line)
        key = f"{number} {chunk['features']} {line['problem']}"
        claim(key not in seen, "a problem twice")
        seen.add(key)
    claim(here, "no channels")
    claim(is_integer(lines[-1]["channels"], len(seen), len(seen)), "the count is another one")
    return len(seen)
