"""Check a certificate without trusting any solver: ``python -m bounds.verify FILE --dump DUMP``.

This file shares no code with the solvers. It reads the certificate (docs/certificate.md) and the
dump, and proves every claim again: hashes, attained errors in exact integers, lower bounds in ball
arithmetic (FLINT), searches with floating-point numbers rounded against the claim and their
survivors in exact integers. It ends with ``verified`` (exit 0) or names the first false statement
(exit 1). Doubles are dyadic rationals, so Gram, weights and step define each problem exactly.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from flint import arb, arb_mat, ctx, fmpq, fmpz_mat

from layers.dump.file import LayerDump, read_dump
from layers.errors import DumpError

FORMAT = "layerbounds-certificate"
VERSION = 2
LEVELED = 2  # version from which chunks may have levels of their own
PRECISION = 256  # bits of a ball's centre
FLOOR = 1e-13  # share of the energy below which a gap counts as closed
GRID_BITS = 36  # centres are rounded to multiples of 2^-36, so that z - centre is exact in a double
BLOCK = 2048  # partial codes extended at once
MOST = 2**20  # extensions of them looked at at once
NODES = 10**9  # most nodes of one channel's proof: partial codes of a search, a cover's tree
TOLERANCE = 1e-6  # largest share of the upper value that an exact range may leave
SHOWN = 40  # characters shown of a text that is no known word

Json = dict[str, Any]


def plain(text: str) -> str:
    """Text that forges no line of output: printable ASCII, no padding, no great length."""
    text = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text[:2000])
    return re.sub(" {2,}", " ", text)


class Refused(Exception):  # noqa: N818 (it carries a statement, the first one found false)
    """A statement of the certificate that is not true, or not shown."""

    def __init__(self, statement: str) -> None:
        """Keep the statement, printable."""
        super().__init__(plain(statement))


def refuse(statement: str) -> NoReturn:
    """Stop at the first false statement."""
    raise Refused(statement)


def require(true: bool, statement: str) -> None:
    """Go on only if the statement is true; ``statement`` says what is wrong otherwise."""
    if not true:
        refuse(statement)


# ---------------------------------------------------------------- fields (docs/certificate.md)
# A rule is (int or float, least, most), (str, pattern), (dict,), [rule of every entry of a list],
# or a tuple of rules, one for each entry of a list of that length.

MOST_INTEGER, MOST_DOUBLE, LEAST_DOUBLE = 2**53, sys.float_info.max, 5e-324
INDEX, INTEGER = (int, 0, MOST_INTEGER), (int, -MOST_INTEGER, MOST_INTEGER)
BASIS = (int, -(2**31) + 1, 2**31 - 1)
DOUBLE, NOT_NEGATIVE = (float, -MOST_DOUBLE, MOST_DOUBLE), (float, 0.0, MOST_DOUBLE)
POSITIVE = (float, LEAST_DOUBLE, MOST_DOUBLE)
DIGEST, TEXT = (str, "[0-9a-f]{64}"), (str, r"[\s\S]*")

CHUNK = {
    "is": (str, "chunk"),
    "group": INDEX,
    "features": (INDEX, INDEX),
    "rounding": (str, "fp16|bf16|none"),
    "tolerance": (float, 0.0, TOLERANCE),
}
CHANNEL = {
    "is": (str, "channel"),
    "channel": INDEX,
    "problem": DIGEST,
    "energy": NOT_NEGATIVE,
    "lower": NOT_NEGATIVE,
    "upper": NOT_NEGATIVE,
    "status": (str, "exact|certified|heuristic"),
    "proof": (dict,),
}
FIELDS: dict[str, dict[str, Any]] = {
    FORMAT: {
        "is": (str, FORMAT),
        "version": (int, 1, VERSION),
        "dump": DIGEST,
        "source": TEXT,
        "layer": TEXT,
    },
    "quantization chunk": {**CHUNK, "task": (str, "quantization"), "bits": (int, 1, 16)},
    "pruning chunk": {**CHUNK, "task": (str, "pruning"), "keep": INDEX},
    "quantization channel": {**CHANNEL, "step": POSITIVE, "codes": [(int, -(2**15), 2**15 - 1)]},
    "levels chunk": {
        **CHUNK,
        "task": (str, "levels"),
        "levels": [DOUBLE],
        "group_size": (int, 1, MOST_INTEGER),
    },
    "levels channel": {**CHANNEL, "steps": [POSITIVE], "zeros": [DOUBLE], "codes": [INDEX]},
    "pruning channel": {**CHANNEL, "support": [INDEX], "values": [DOUBLE]},
    "end": {"is": (str, "end"), "channels": INDEX, "sha256": DIGEST},
    "none": {"is": (str, "none")},
    "quantization dual": {
        "is": (str, "dual"),
        "cuts": [(INDEX, INTEGER, INTEGER, INTEGER, DOUBLE)],
    },
    "search": {
        "is": (str, "search"),
        "order": [INDEX],
        "centre": [DOUBLE],
        "cut": [NOT_NEGATIVE],
        "at": [(int, -(2**20), 2**20)],
    },
    "levels dual": {"is": (str, "dual"), "cuts": [(INDEX, INDEX, INDEX, DOUBLE)]},
    "levels search": {
        "is": (str, "search"),
        "order": [INDEX],
        "centre": [DOUBLE],
        "cut": [NOT_NEGATIVE],
        "at": [INDEX],
    },
    "reduced": {"is": (str, "reduced"), "basis": [[BASIS]], "centre": [DOUBLE]},
    "pruning dual": {"is": (str, "dual"), "p": [DOUBLE], "d": [POSITIVE]},
    "cover": {"is": (str, "cover"), "duals": [([DOUBLE], [NOT_NEGATIVE])], "tree": [INTEGER]},
}
TYPES = {int: "an integer", float: "a double", str: "a text", dict: "an object"}


def fields(line: Json, kind: str) -> None:
    """No field is missing or unknown, and each has its type and lies in its range."""
    rules = FIELDS[kind]
    odd = [ascii(name)[:SHOWN] for name in sorted(set(line) ^ set(rules))]
    require(not odd, f"fields missing or unknown: {', '.join(odd[:5])}")
    for name, rule in rules.items():
        fits(line[name], rule, name)


def fits(value: Any, rule: Any, name: str) -> None:
    """The value obeys the rule; ``True`` is no integer, and an integer no double."""
    if isinstance(rule, list) or not isinstance(rule[0], type):
        require(type(value) is list, f"{name} is not a list")
        fixed = isinstance(rule, tuple)
        require(not fixed or len(value) == len(rule), f"{name} does not have {len(rule)} entries")
        for entry, one in zip(value, rule if fixed else rule * len(value), strict=True):
            fits(entry, one, f"an entry of {name}")
        return
    wanted, *limits = rule
    require(type(value) is wanted, f"{name} is not {TYPES[wanted]}")
    if wanted is str:
        known = re.fullmatch(limits[0], value) is not None
        require(known, f"{name} is unknown: {ascii(value)[:SHOWN]}")
    elif wanted is not dict:
        least, most = limits
        require(least <= value <= most, f"{name} is out of range ({least} to {most})")


def counted(values: list[Any], name: str, count: int) -> list[Any]:
    """A list of ``count`` entries."""
    require(len(values) == count, f"{name} does not have {count} entries")
    return values


# ---------------------------------------------------------------- reading, strictly


def unique(pairs: list[tuple[str, Any]]) -> Json:
    """A JSON object without repeated names."""
    require(len({name for name, _ in pairs}) == len(pairs), "a field is given twice")
    return dict(pairs)


def canonical_object(raw: bytes) -> Json:
    """A line's JSON object, spelled in the only way there is."""
    line = json.loads(raw.decode("ascii"), object_pairs_hook=unique, parse_constant=refuse)
    require(isinstance(line, dict) and "is" in line, "not an object")
    spelled = json.dumps(line, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    require(spelled == raw, "not canonical JSON")
    return line


def sealed_lines(data: bytes) -> list[Json]:
    """The lines of a certificate file, its seal compared: nothing is missing, nothing altered."""
    require(data.endswith(b"\n"), "the certificate is truncated: its last line is not closed")
    lines: list[Json] = []
    for number, raw in enumerate(data[:-1].split(b"\n"), 1):
        try:
            lines.append(canonical_object(raw))
        except (ValueError, RecursionError, Refused) as error:
            what = "not a certificate, or a truncated or altered one"
            raise Refused(f"{what}: line {number}: {error}") from None
    first, last = lines[0], lines[-1]
    require(first["is"] == FORMAT, "not a certificate of layerbounds")
    version: Any = first.get("version")
    fits(version, INTEGER, "version")
    require(
        1 <= version <= VERSION,
        f"version {version} is not one this program reads (1 to {VERSION}); upgrade layerbounds",
    )
    fields(first, FORMAT)
    require(last["is"] == "end", "the certificate is truncated: its last line is missing")
    fields(last, "end")
    digest = hashlib.sha256(data[: data[:-1].rindex(b"\n") + 1]).hexdigest()
    require(last["sha256"] == digest, "content and seal differ: the certificate was altered")
    return lines


# ---------------------------------------------------------------- numbers, exactly


def integers(values: Any) -> tuple[list[int], int]:
    """Integers ``m`` and an exponent ``e`` with ``values = m / 2^e`` exactly."""
    ratios = [float(value).as_integer_ratio() for value in np.ravel(values)]
    top = max((bottom.bit_length() - 1 for _, bottom in ratios), default=0)
    return [up << (top - bottom.bit_length() + 1) for up, bottom in ratios], top


def above(value: arb) -> float:
    """A double not below any number in the ball."""
    return math.nextafter(math.nextafter(float(value.upper()), math.inf), math.inf)


def round_up(value: Fraction) -> float:
    """The smallest double not below a non-negative rational."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)


def pivots(matrix: Sequence[Sequence[arb]]) -> list[arb]:
    """Pivots of symmetric elimination, upper triangle used; all but the last proven positive.

    Of ``[[M, t], [t', r]]`` the last pivot is ``r - t' M^-1 t``, and the others prove M definite.
    """
    rows = [list(row[i:]) for i, row in enumerate(matrix)]
    found = []
    for k, top in enumerate(rows):
        found.append(top[0])
        if k == len(rows) - 1:
            break
        require(bool(top[0] > 0), "a matrix that must be positive definite is not")
        for i in range(k + 1, len(rows)):
            factor, row = top[i - k] / top[0], rows[i]
            for j in range(len(row)):
                row[j] -= factor * top[i - k + j]
    return found


def definite(matrix: Sequence[Sequence[arb]]) -> bool:
    """Whether balls prove the matrix positive definite."""
    try:
        return bool(pivots(matrix)[-1] > 0)
    except Refused:
        return False


@dataclass
class Chunk:
    """A chunk of the dump as the certificate names it; ``live`` inputs have a non-zero diagonal."""

    gram: np.ndarray
    weights: np.ndarray
    first: int
    claim: Json
    factors: dict[bytes, tuple[np.ndarray, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare exact and ball versions of the Gram."""
        n = len(self.gram)
        self.live = np.flatnonzero(np.diag(self.gram) > 0)
        dead = np.setdiff1d(np.arange(n), self.live)
        require(not self.gram[dead].any(), "the Gram matrix of the dump is indefinite")
        whole_gram, self.exponent = integers(self.gram)
        self.exact = fmpz_mat(n, n, whole_gram)
        self.core = np.ascontiguousarray(self.gram[np.ix_(self.live, self.live)])
        self.balls = [[arb(float(x)) for x in row] for row in self.core]
        self.matrix = arb_mat(self.balls) if self.live.size else arb_mat(0, 0)
        with np.errstate(over="ignore"):
            mean = float(np.diag(self.core).mean()) if self.live.size else 1.0
        self.unit = 2.0 ** round(math.log2(mean))

    def error(self, numerators: list[int], exponent: int) -> Fraction:
        """``d' G d`` for ``d = numerators / 2^exponent``, exactly."""
        d = fmpz_mat(1, len(numerators), numerators)
        value = int((d * self.exact * d.transpose())[0, 0])
        return Fraction(value, 1 << (2 * exponent + self.exponent))


def difference(values: tuple[list[int], int], weights: tuple[list[int], int]):
    """Exact ``v - w`` as integers and their exponent."""
    top = max(values[1], weights[1])
    pairs = zip(values[0], weights[0], strict=True)
    return [(v << top - values[1]) - (w << top - weights[1]) for v, w in pairs], top


# ---------------------------------------------------------------- quantization


@dataclass
class Grid:
    """One quantized channel: weights (n,), step, box and the chunk they belong to."""

    chunk: Chunk
    weights: np.ndarray
    step: float
    lo: int
    hi: int

    def __post_init__(self) -> None:
        """Prepare exact integers of weights and step, and ``u = w / s`` of the live inputs."""
        self.whole_weights = integers(self.weights)
        (self.whole_step,), self.step_exponent = integers([self.step])
        self.target = [arb(float(w)) / arb(self.step) for w in self.weights[self.chunk.live]]

    def error(self, codes: Sequence[int]) -> Fraction:
        """Exact error of codes (n,)."""
        values = [int(z) * self.whole_step for z in codes]
        return self.chunk.error(*difference((values, self.step_exponent), self.whole_weights))


def quantization_dual(grid: Grid, proof: Json) -> arb:
    """The least value of error minus weighted cuts, each cut checked for every code in the box."""
    fields(proof, "quantization dual")
    chunk, lo, hi = grid.chunk, grid.lo, grid.hi
    n = len(chunk.live)
    matrix = [list(row) for row in chunk.balls]
    linear = [x[0] for x in (chunk.matrix * arb_mat([[u] for u in grid.target])).tolist()]
    constant = sum((u * t for u, t in zip(grid.target, linear, strict=True)), arb(0))
    for cut in proof["cuts"]:
        one, other, p, q = cut[:4]
        weight = arb(cut[4])
        pair = (other > 0) - (other < 0)
        second = abs(other) - 1
        require(one < n and second < n and second != one, "a cut names odd inputs")
        least = lo + min(pair * lo, pair * hi)
        most = hi + max(pair * lo, pair * hi)
        holds = abs(p - q) <= 1 if weight > 0 else p <= least and q >= most
        require(holds, f"the cut on input {one} at {p}, {q} does not hold for every code")
        places = [(one, 1)] + ([(second, pair)] if pair else [])
        for i, a in places:
            for j, b in places:
                matrix[i][j] -= weight * (a * b)
            linear[i] -= weight * (a * (p + q)) / 2
        constant -= weight * (p * q)
    bordered = [[*row, t] for row, t in zip(matrix, linear, strict=True)]
    return pivots([*bordered, [*linear, constant]])[-1] * arb(grid.step) ** 2


def check_search(grid: Grid, proof: Json, lower: float, budget: int) -> None:
    """No codes in the box have an error below ``lower``: a search repeated, rounded against it.

    Around any centre c, and for any multipliers m >= 0 at integers k, with d = z - c the error is
    s^2 (value + slope.d + d'(G - diag m)d + sum m_i (z_i-k_i)(z_i-k_i-1)); the last sum is not
    negative for integers. A verified R with R'R <= G - diag m + eps I replaces the matrix. Partial
    sums from the last input of ``order`` to the first never decrease, so a branch whose sum reaches
    the target is closed. Codes that are left over are evaluated exactly.
    """
    fields(proof, "search")
    chunk, n = grid.chunk, len(grid.chunk.live)
    order = proof["order"]
    require(sorted(order) == list(range(n)), "order does not name every live input once")
    arranged = np.array(order, np.int64)
    centre = np.clip(np.array(counted(proof["centre"], "centre", n)), grid.lo, grid.hi)
    centre = np.rint(centre * 2.0**GRID_BITS) / 2.0**GRID_BITS
    cut = np.array(counted(proof["cut"], "cut", n))
    at = np.array(counted(proof["at"], "at", n), np.float64)
    require(bool((cut / chunk.unit * chunk.unit == cut).all()), "a multiplier is out of range")

    root, eps = factor(chunk, arranged, cut)
    ahead = [arb(float(x)) for x in centre - at]
    m = [arb(float(x)) for x in cut]
    gap = [arb(float(c)) - grid.target[i] for c, i in zip(centre, arranged, strict=True)]
    permuted = arb_mat([[chunk.balls[i][j] for j in arranged] for i in arranged])
    pull = [x[0] for x in (permuted * arb_mat([[g] for g in gap])).tolist()]
    value = arb(0)
    slack = arb(0)
    slope = np.zeros(n)
    for i in range(n):
        value += gap[i] * pull[i] - m[i] * ahead[i] * (ahead[i] - 1)
        g = (2 * pull[i] - m[i] * (2 * ahead[i] - 1)) / arb(chunk.unit)
        # What does not push inward at an end of the box is given up over the whole box.
        towards = float(g.mid())
        inward = (centre[i] == grid.lo and towards > 0) or (centre[i] == grid.hi and towards < 0)
        slope[i] = towards * (1 - 2.0**-40) if inward else 0.0
        reach = max(grid.hi - centre[i], centre[i] - grid.lo)
        rest = g - arb(slope[i])
        kept = inward and bool(rest * arb(towards) >= 0)
        slack += arb(0) if kept else abs(rest) * arb(reach)
        slack += arb(eps) * arb(reach) ** 2
    target = above((arb(lower) / arb(grid.step) ** 2 - value) / arb(chunk.unit) + slack)
    require(math.isfinite(target), "the numbers of the search are out of range")
    back = np.argsort(arranged)
    full = np.clip(np.rint(grid.weights / grid.step), grid.lo, grid.hi).astype(np.int64)
    box = (float(grid.lo), float(grid.hi))
    for codes in survivors(root, centre, slope, cut / chunk.unit, at, box, target, budget):
        full[chunk.live] = codes[back]
        error = grid.error(full.tolist())
        require(
            error >= Fraction(lower),
            f"codes {full.tolist()} have an error of {float(error):.17g}, below the lower bound",
        )


def factor(chunk: Chunk, arranged: np.ndarray, cut: np.ndarray) -> tuple[np.ndarray, float]:
    """Upper triangular R and eps with ``R'R <= (G - diag cut) / unit + eps I``, proven in balls."""
    key = arranged.tobytes() + cut.tobytes()
    if key in chunk.factors:
        return chunk.factors[key]
    matrix = (chunk.core[np.ix_(arranged, arranged)] - np.diag(cut)) / chunk.unit
    exact = [
        [(chunk.balls[i][j] - (arb(cut[a]) if i == j else 0)) / arb(chunk.unit) for j in arranged]
        for a, i in enumerate(arranged)
    ]
    chunk.factors[key] = triangle(matrix, exact)
    return chunk.factors[key]


def triangle(matrix: np.ndarray, exact: list[list[arb]]) -> tuple[np.ndarray, float]:
    """Upper triangular R and eps with ``R'R <= exact + eps I``, proven in balls.

    ``matrix`` is ``exact`` in doubles, from which R is computed.
    """
    n = len(matrix)
    tiny = n * 2.0**-50 * max(float(np.trace(np.abs(matrix))), 2.0**-100)
    for shift, eps in ((-tiny, 0.0), (tiny, 4 * tiny), (64 * tiny, 80 * tiny)):
        try:
            root = np.linalg.cholesky(matrix + shift * np.eye(n)).T.copy()
        except np.linalg.LinAlgError:
            continue
        balls = arb_mat([[arb(float(x)) for x in row] for row in root])
        product = (balls.transpose() * balls).tolist()
        rest = [[exact[i][j] - product[i][j] for j in range(n)] for i in range(n)]
        for i in range(n):
            rest[i][i] += arb(eps)
        if definite(rest):
            return root, eps
    refuse("the matrix of the search is not positive semidefinite")


def check_reduced(grid: Grid, proof: Json, lower: float, budget: int) -> None:
    """As ``check_search``, over integers y with ``z = U y``, U the ``basis`` of the proof.

    U is unimodular, so y runs over all integer vectors as z does. Around a centre c, with t_i the
    steps of code i from an end of the box that c lies on and its slope p_i >= 0 away from there,
    ``p_i t_i >= f_i t_i^2``, ``f_i = p_i / (hi - lo)``: the error is at least
    s^2 (value + d'(G + diag f)d), d = z - c. A verified R with R'R <= U'(G + diag f)U + eps I
    bounds it along y; codes outside the box are dropped, those that are left evaluated exactly.
    """
    fields(proof, "reduced")
    chunk, n = grid.chunk, len(grid.chunk.live)
    rows = [counted(row, "a row of the basis", n) for row in counted(proof["basis"], "basis", n)]
    basis = fmpz_mat(rows)
    require(abs(int(basis.det())) == 1, "the basis of the search is not unimodular")
    inverse = [[int(x.p) for x in row] for row in basis.inv().tolist()]
    centre = np.clip(np.array(counted(proof["centre"], "centre", n)), grid.lo, grid.hi)
    whole = [round(x * 2**GRID_BITS) for x in centre.tolist()]  # the centre is whole / 2^GRID_BITS
    centre = np.array(whole) / 2.0**GRID_BITS

    gap = [arb(float(c)) - u for c, u in zip(centre, grid.target, strict=True)]
    pull = [x[0] for x in (chunk.matrix * arb_mat([[g] for g in gap])).tolist()]
    value, slack = arb(0), arb(0)
    fold = np.zeros(n)
    for i in range(n):
        value += gap[i] * pull[i]
        g = 2 * pull[i] / arb(chunk.unit)
        towards = float(g.mid())
        inward = (centre[i] == grid.lo and towards > 0) or (centre[i] == grid.hi and towards < 0)
        slope = towards * (1 - 2.0**-40) if inward else 0.0
        fold[i] = abs(slope) / (grid.hi - grid.lo) * (1 - 2.0**-40)
        reach = max(grid.hi - centre[i], centre[i] - grid.lo)
        rest = g - arb(slope)
        kept = inward and bool(rest * arb(towards) >= 0)
        slack += arb(0) if kept else abs(rest) * arb(reach)

    form = arb_mat(
        [
            [
                chunk.balls[i][j] / arb(chunk.unit) + (arb(fold[i]) if i == j else 0)
                for j in range(n)
            ]
            for i in range(n)
        ]
    )
    balls = arb_mat([[arb(x) for x in row] for row in rows])
    along = (balls.transpose() * form * balls).tolist()
    near = np.array([[float(x.mid()) for x in row] for row in along])
    root, eps = triangle((near + near.T) / 2, along)

    # y is counted from the integers nearest to U^-1 c, so that y less its centre is a small double
    middle = [sum(v * c for v, c in zip(row, whole, strict=True)) for row in inverse]
    origin = [(2 * m + 2**GRID_BITS) >> (GRID_BITS + 1) for m in middle]
    start = [(m - (o << GRID_BITS)) / 2**GRID_BITS for m, o in zip(middle, origin, strict=True)]
    far = [max((grid.hi << GRID_BITS) - c, c - (grid.lo << GRID_BITS)) for c in whole]
    reach = [sum(abs(v) * f for v, f in zip(row, far, strict=True)) for row in inverse]
    widest = [(r >> GRID_BITS) + 2 for r in reach]
    require(max(widest) < 2**16, "the basis of the search reaches too far")
    slack += sum((arb(eps) * arb(w) ** 2 for w in widest), arb(0))
    target = above((arb(lower) / arb(grid.step) ** 2 - value) / arb(chunk.unit) + slack)
    require(math.isfinite(target), "the numbers of the search are out of range")
    full = np.clip(np.rint(grid.weights / grid.step), grid.lo, grid.hi).astype(np.int64)
    ends = np.array(widest, np.float64)
    none = np.zeros(n)
    found = survivors(root, np.array(start), none, none, none, (-ends, ends), target, budget)
    for y in found:
        steps = [int(a) + b for a, b in zip(y, origin, strict=True)]
        codes = [sum(u * v for u, v in zip(row, steps, strict=True)) for row in rows]
        if not all(grid.lo <= z <= grid.hi for z in codes):
            continue
        full[chunk.live] = codes
        error = grid.error(full.tolist())
        require(
            error >= Fraction(lower),
            f"codes {full.tolist()} have an error of {float(error):.17g}, below the lower bound",
        )


def survivors(
    root: np.ndarray, centre: np.ndarray, slope: np.ndarray, cut: np.ndarray, at: np.ndarray,
    box: tuple[Any, Any], target: float, budget: int,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Codes (n,) whose sum may lie below ``target``; every other code in the box does not.

    ``box``: lowest and highest code, each one number or (n,).
    Sums are rounded down: ``|row.d|`` by ``doubt``, a bound on its rounding over the whole box; the
    terms are not negative, so their sum is off by a relative ``(8n+8) 2^-53`` at most.
    """
    n = len(centre)
    lo, hi = (np.broadcast_to(end, n) for end in box)
    reach = np.maximum(hi - centre, centre - lo)
    doubt = (n + 4) * 2.0**-52 * (np.abs(root) @ reach) + 1e-290
    relative = 1 - (8 * n + 8) * 2.0**-53
    # Far above the smallest doubles, where rounding is no longer relative.
    target = max(target, 1e-280) if target > 0 else target
    stack = [(n - 1, np.zeros((1, n)), np.zeros(1))]
    while stack and target > 0:
        i, d, cost = stack.pop()
        if len(cost) > BLOCK:
            stack.append((i, d[:-BLOCK], cost[:-BLOCK]))
            d, cost = d[-BLOCK:], cost[-BLOCK:]
        pull = d[:, i + 1 :] @ root[i, i + 1 :]
        room = np.maximum(target * (1 + 1e-12) - cost * relative, 0.0) * (1 + 1e-12)
        room = (np.sqrt(room) + doubt[i]) ** 2
        level = (root[i, i], centre[i], slope[i], cut[i], at[i])
        first, last = window(pull, room, *level, lo[i], hi[i])
        count = np.maximum(last - first + 1, 0).astype(np.int64)
        fit = max(1, int(np.searchsorted(np.cumsum(count), MOST, "right")))
        if fit < len(cost):
            stack.append((i, d[fit:], cost[fit:]))
            d, cost, pull, first, count = d[:fit], cost[:fit], pull[:fit], first[:fit], count[:fit]
        parent = np.repeat(np.arange(len(cost)), count)
        budget -= len(parent)
        require(budget >= 0, "the search is not finished within the nodes allowed (--nodes)")
        z = first[parent] + (np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count))
        step = z - centre[i]
        product = np.maximum(np.abs(pull[parent] + root[i, i] * step) - doubt[i], 0.0)
        child = cost[parent] + product * product
        child += slope[i] * step + cut[i] * ((z - at[i]) * (z - at[i] - 1))
        keep = np.flatnonzero(child * relative < target)
        if not keep.size:
            continue
        d = d[parent[keep]]
        d[:, i] = step[keep]
        if i:
            stack.append((i - 1, d, child[keep]))
        else:
            yield from np.rint(d + centre).astype(np.int64)


def window(pull, room, r, c, g, m, k, lo, hi) -> tuple[np.ndarray, np.ndarray]:
    """First and last code of a level that may fit ``room``, wider than all rounding."""
    curve = r * r + m
    if curve < 1e-100:
        return np.full(pull.shape, lo), np.full(pull.shape, hi)
    ahead = c - k
    half = pull * r + g / 2 + m * (ahead - 0.5)
    size = np.abs(pull * r) + abs(g) / 2 + m * (abs(ahead) + 1)
    least = pull * pull + m * ahead * (ahead - 1) - half * half / curve
    fuzz = 1e-12 * (pull * pull + m * (ahead * ahead + abs(ahead)) + size * size / curve + room)
    width = np.sqrt(np.maximum(room - least + fuzz, 0.0) / curve)
    margin = 1e-6 * (1 + width) + 1e-11 * size / curve
    middle = c - half / curve
    first = np.clip(np.ceil(middle - width - margin), lo, hi + 1)
    return first, np.clip(np.floor(middle + width + margin), lo - 1, hi)


# ---------------------------------------------------------------- levels of any kind


@dataclass
class Leveled:
    """One channel whose input i may be ``steps_i (level - zeros_i)``, any of the ``levels``."""

    chunk: Chunk
    weights: np.ndarray
    levels: list[float]
    steps: list[float]
    zeros: list[float]

    def __post_init__(self) -> None:
        """Prepare exact integers, and balls of ``G w`` and ``w' G w`` on the live inputs."""
        self.whole_weights = integers(self.weights)
        self.whole = [integers(x) for x in (self.levels, self.steps, self.zeros)]
        w = [arb(float(x)) for x in self.weights[self.chunk.live]]
        self.linear = product(self.chunk.matrix, w)
        self.energy = sum((a * b for a, b in zip(w, self.linear, strict=True)), arb(0))

    def error(self, codes: Sequence[int]) -> Fraction:
        """Exact error of levels given by their numbers (n,)."""
        (level, a), (step, b), (zero, c) = self.whole
        top = max(a, c)
        values = [
            s * ((level[k] << top - a) - (z << top - c))
            for k, s, z in zip(codes, step, zero, strict=True)
        ]
        return self.chunk.error(*difference((values, top + b), self.whole_weights))

    def value(self, i: int, k: int) -> arb:
        """Level ``k`` of live input ``i``."""
        place = int(self.chunk.live[i])
        return arb(self.steps[place]) * (arb(self.levels[k]) - arb(self.zeros[place]))


def levels_dual(task: Leveled, proof: Json) -> arb:
    """The least value of error minus weighted cuts, each cut checked for every level."""
    fields(proof, "levels dual")
    chunk, n, last = task.chunk, len(task.chunk.live), len(task.levels) - 1
    matrix, linear = [list(row) for row in chunk.balls], list(task.linear)
    constant = task.energy
    for i, p, q, m in proof["cuts"]:
        require(i < n and p <= last and q <= last, "a cut names what is not there")
        holds = abs(p - q) <= 1 if m > 0 else p == 0 and q == last
        require(holds, f"the cut on input {i} at levels {p}, {q} does not hold for every level")
        weight, low, high = arb(m), task.value(i, p), task.value(i, q)
        matrix[i][i] -= weight
        linear[i] -= weight * (low + high) / 2
        constant -= weight * low * high
    bordered = [[*row, t] for row, t in zip(matrix, linear, strict=True)]
    return pivots([*bordered, [*linear, constant]])[-1]


def check_levels_search(task: Leveled, proof: Json, lower: float, budget: int) -> None:
    """As ``check_search``, for levels of any kind: no choice of them has an error below ``lower``.

    Around any centre c, with d = v - c, the error is ``value + slope.d + d'(G - diag m)d`` plus
    ``sum m_i (v_i-P_i)(v_i-Q_i)``, P and Q neighbouring levels of input i: not negative. What a
    level adds by itself stands in a table, rounded down; its d in another, rounded to a double.
    """
    fields(proof, "levels search")
    chunk, n, count = task.chunk, len(task.chunk.live), len(task.levels)
    order = proof["order"]
    require(sorted(order) == list(range(n)), "order does not name every live input once")
    arranged = np.array(order, np.int64)
    centre, at = counted(proof["centre"], "centre", n), counted(proof["at"], "at", n)
    require(all(k < count - 1 for k in at), "at names a level that has none above it")
    cut = np.array(counted(proof["cut"], "cut", n))
    require(bool((cut / chunk.unit * chunk.unit == cut).all()), "a multiplier is out of range")
    root, eps = factor(chunk, arranged, cut)
    # in units of the largest step, and of the Gram: powers of two
    size = arb(2) ** math.frexp(max(task.steps))[1]
    gram = arb(chunk.unit)

    c = [arb(x) for x in centre]
    m = [arb(float(x)) for x in cut]
    low = [task.value(int(i), k) for i, k in zip(arranged, at, strict=True)]
    high = [task.value(int(i), k + 1) for i, k in zip(arranged, at, strict=True)]
    gap = [x - arb(float(task.weights[chunk.live[i]])) for x, i in zip(c, arranged, strict=True)]
    permuted = arb_mat([[chunk.balls[i][j] for j in arranged] for i in arranged])
    pull = product(permuted, gap)
    value, slack = arb(0), arb(0)
    distance, adds = np.empty((n, count)), np.empty((n, count))
    off, lean = np.zeros(n), np.zeros((n, 3))
    for i in range(n):
        value += gap[i] * pull[i] - m[i] * (c[i] - low[i]) * (c[i] - high[i])
        slope = 2 * pull[i] - m[i] * (2 * c[i] - low[i] - high[i])
        points = [task.value(int(arranged[i]), k) for k in range(count)]
        steps = [(v - c[i]) / size for v in points]
        # What does not push inward at an end of the box is given up over the whole box.
        kept = bool(slope >= 0) and bool(steps[0] >= 0)
        kept = kept or (bool(slope <= 0) and bool(steps[-1] <= 0))
        for k, (v, step) in enumerate(zip(points, steps, strict=True)):
            distance[i, k] = float(step.mid())
            off[i] = max(off[i], above(abs(step - arb(distance[i, k]))))
            own = m[i] / gram * (v - low[i]) * (v - high[i]) / size**2
            own += slope / gram / size * step if kept else 0
            adds[i, k] = max(below(own), 0.0)
        reach = arb(max(abs(distance[i, 0]), abs(distance[i, -1])) + off[i])
        slack += arb(0) if kept else abs(slope / gram / size) * reach
        slack += arb(eps) * reach**2
        leaning = (slope if kept else arb(0)) / gram / size
        ends = ((c[i] - x) / size for x in (low[i], high[i]))
        lean[i] = [float(leaning.mid()), *(float(x.mid()) for x in ends)]
    require(bool((np.diff(distance) > 0).all()), "levels are too close to be told apart")
    target = above((arb(lower) - value) / (gram * size**2) + slack)
    require(math.isfinite(target), "the numbers of the search are out of range")
    back = np.argsort(arranged)
    full = [0] * len(task.weights)
    tables = Tables(root, distance, adds, off, lean, cut / chunk.unit)
    for numbers in level_survivors(tables, target, budget):
        for place, k in zip(chunk.live, numbers[back], strict=True):
            full[place] = int(k)
        error = task.error(full)
        require(
            error >= Fraction(lower),
            f"levels {full} have an error of {float(error):.17g}, below the lower bound",
        )


def below(value: arb) -> float:
    """A double not above any number in the ball."""
    return math.nextafter(math.nextafter(float(value.lower()), -math.inf), -math.inf)


@dataclass
class Tables:
    """What a search over levels looks up, inputs in its order.

    ``distance`` (n, L): d of every level, off by at most ``off`` (n,); ``adds`` (n, L): what it
    adds by itself, never too much. For the windows only: ``lean`` (n, 3) slope, c - P and c - Q;
    ``cut`` (n,).
    """

    root: np.ndarray
    distance: np.ndarray
    adds: np.ndarray
    off: np.ndarray
    lean: np.ndarray
    cut: np.ndarray


def level_survivors(tables: Tables, target: float, budget: int) -> Iterator[np.ndarray]:
    """Numbers of levels (n,) whose sum may lie below ``target``; no other choice does.

    Rounding as in ``survivors``.
    """
    root, distance, adds = tables.root, tables.distance, tables.adds
    n = len(root)
    reach = np.maximum(np.abs(distance[:, 0]), np.abs(distance[:, -1])) + tables.off
    doubt = (n + 4) * 2.0**-52 * (np.abs(root) @ reach) + 1e-290
    doubt += (np.abs(root) @ tables.off) * (1 + 1e-9)
    relative = 1 - (8 * n + 8) * 2.0**-53
    # Far above the smallest doubles, where rounding is no longer relative.
    target = max(target, 1e-280) if target > 0 else target
    stack = [(n - 1, np.zeros((1, n)), np.zeros(1))]
    while stack and target > 0:
        i, d, cost = stack.pop()
        if len(cost) > BLOCK:
            stack.append((i, d[:-BLOCK], cost[:-BLOCK]))
            d, cost = d[-BLOCK:], cost[-BLOCK:]
        pull = d[:, i + 1 :] @ root[i, i + 1 :]
        room = np.maximum(target * (1 + 1e-12) - cost * relative, 0.0) * (1 + 1e-12)
        room = (np.sqrt(room) + doubt[i]) ** 2
        first, count = level_window(tables, i, pull, room)
        fit = max(1, int(np.searchsorted(np.cumsum(count), MOST, "right")))
        if fit < len(cost):
            stack.append((i, d[fit:], cost[fit:]))
            d, cost, pull, first, count = d[:fit], cost[:fit], pull[:fit], first[:fit], count[:fit]
        parent = np.repeat(np.arange(len(cost)), count)
        budget -= len(parent)
        require(budget >= 0, "the search is not finished within the nodes allowed (--nodes)")
        k = first[parent] + (np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count))
        step = distance[i, k]
        product = np.maximum(np.abs(pull[parent] + root[i, i] * step) - doubt[i], 0.0)
        child = cost[parent] + product * product + adds[i, k]
        keep = np.flatnonzero(child * relative < target)
        if not keep.size:
            continue
        d = d[parent[keep]]
        d[:, i] = step[keep]
        if i:
            stack.append((i - 1, d, child[keep]))
        else:
            found = [np.searchsorted(distance[j], d[:, j]) for j in range(n)]
            yield from np.array(found).T


def level_window(
    tables: Tables, i: int, pull: np.ndarray, room: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First level that may fit ``room``, and how many; wider than all rounding, as ``window``."""
    row, r, m = tables.distance[i], tables.root[i, i], tables.cut[i]
    slope, low, high = tables.lean[i]
    curve = r * r + m
    if curve < 1e-100:
        return np.zeros(pull.shape, np.int64), np.full(pull.shape, len(row))
    wide = row[-1] - row[0] + abs(low) + abs(high)
    half = pull * r + slope / 2 + m * (low + high) / 2
    size = np.abs(pull * r) + abs(slope) / 2 + m * (abs(low) + abs(high)) / 2
    least = pull * pull + m * low * high - half * half / curve
    fuzz = 1e-12 * (pull * pull + m * wide * wide + size * size / curve + room)
    width = np.sqrt(np.maximum(room - least + fuzz, 0.0) / curve)
    margin = 1e-6 * (wide + width) + 1e-11 * size / curve
    middle = -half / curve
    first = np.searchsorted(row, middle - width - margin)
    return first, np.maximum(np.searchsorted(row, middle + width + margin, "right") - first, 0)


# ---------------------------------------------------------------- pruning


@dataclass
class Sparse:
    """One pruned channel: weights (n,), at most ``keep`` nonzeros, and the chunk they belong to."""

    chunk: Chunk
    weights: np.ndarray
    keep: int

    def __post_init__(self) -> None:
        """Prepare exact integers, and balls of ``G w`` and ``w' G w`` on the live inputs."""
        self.whole_weights = integers(self.weights)
        w = [arb(float(x)) for x in self.weights[self.chunk.live]]
        self.linear = product(self.chunk.matrix, w)
        self.energy = sum((a * b for a, b in zip(w, self.linear, strict=True)), arb(0))

    def error(self, values: list[float]) -> Fraction:
        """Exact error of weights (n,)."""
        return self.chunk.error(*difference(integers(values), self.whole_weights))


def product(matrix: arb_mat, vector: Sequence[arb]) -> list[arb]:
    """A matrix times a vector."""
    if not vector:
        return []
    return [row[0] for row in (matrix * arb_mat([[x] for x in vector])).tolist()]


def largest(p: Sequence[float], d: Sequence[float], count: int) -> arb:
    """The sum of the ``count`` largest ``p_i^2 / d_i``, compared exactly."""
    ratios = [
        fmpq(*a.as_integer_ratio()) ** 2 / fmpq(*b.as_integer_ratio())
        for a, b in zip(p, d, strict=True)
        if a
    ]
    return arb(sum(sorted(ratios, reverse=True)[:count], fmpq(0)))


def pruning_dual(sparse: Sparse, proof: Json) -> arb:
    """``w'Gw - (Gw-p)' (G-D)^-1 (Gw-p)`` less the ``keep`` largest ``p_i^2 / D_ii``."""
    fields(proof, "pruning dual")
    live, n = sparse.chunk.live, len(sparse.chunk.live)
    p, d = counted(proof["p"], "p", n), counted(proof["d"], "d", n)
    matrix = [list(row) for row in sparse.chunk.balls]
    for i in range(len(live)):
        matrix[i][i] -= arb(d[i])
    linear = [a - arb(b) for a, b in zip(sparse.linear, p, strict=True)]
    bordered = [[*row, t] for row, t in zip(matrix, linear, strict=True)]
    return pivots([*bordered, [*linear, sparse.energy]])[-1] - largest(p, d, sparse.keep)


def check_cover(sparse: Sparse, proof: Json, lower: float, nodes: int = NODES) -> None:
    """Every support of ``keep`` inputs is in a leaf of the tree, and every leaf is closed.

    ``tree`` lists nodes, parent first: ``i >= 0`` asks whether live input ``i`` is removed (first
    subtree) or kept (second; once ``keep`` inputs are kept there is nothing to ask); ``-1`` is a
    leaf closed by the least error of the inputs not removed (not removed and kept, if ``keep`` are
    kept); ``-2-t`` is one closed by ``duals[t]`` on the undecided inputs, p and d zero elsewhere.
    """
    fields(proof, "cover")
    n, duals, tree = len(sparse.chunk.live), proof["duals"], proof["tree"]
    for p, d in duals:
        counted(p, "p", n)
        counted(d, "d", n)
    require(len(tree) <= nodes, "the cover has more nodes than allowed (--nodes)")
    waiting: list[tuple[frozenset[int], frozenset[int]]] = [(frozenset(), frozenset())]
    for node in tree:
        require(bool(waiting), "the tree goes on after it covered every mask")
        removed, kept = waiting.pop()
        if node < 0:
            require(node >= -1 - len(duals), "a leaf names a dual that is not there")
            value = leaf_value(sparse, duals[-2 - node] if node < -1 else None, removed, kept)
            if not value >= arb(lower):
                where = f"removed {sorted(removed)}, kept {sorted(kept)}"
                refuse(f"the leaf with {where} is only shown to cost {float(value.mid()):.17g}")
            continue
        free = node < n and node not in removed and node not in kept and len(kept) < sparse.keep
        require(free, f"the tree branches on input {node}, which is not undecided")
        waiting += [(removed, kept | {node}), (removed | {node}, kept)]
    require(not waiting, "the tree ends before it covers every mask")


def leaf_value(
    sparse: Sparse,
    dual: tuple[list[float], list[float]] | None,
    removed: frozenset[int],
    kept: frozenset[int],
) -> arb:
    """A lower bound on the error of every support in a leaf."""
    n, room = len(sparse.chunk.live), sparse.keep - len(kept)
    present = [i for i in range(n) if i in kept or (i not in removed and room)]
    matrix = [[sparse.chunk.balls[i][j] for j in present] for i in present]
    linear = [sparse.linear[i] for i in present]
    p, d = [], []
    if dual is not None:
        for a, i in enumerate(present):
            if i not in kept:
                p.append(dual[0][i])
                d.append(dual[1][i])
                linear[a] -= arb(p[-1])
                matrix[a][a] -= arb(d[-1])
        require(min(d, default=1.0) > 0, "an entry of d is not positive")
    bordered = [[*row, t] for row, t in zip(matrix, linear, strict=True)]
    return pivots([*bordered, [*linear, sparse.energy]])[-1] - largest(p, d, room)


# ---------------------------------------------------------------- certificates


def cut_chunk(dump: LayerDump, line: Json) -> Chunk:
    """The chunk a line names, cut from the dump, its weights rounded as the line says."""
    task = line.get("task")
    fits(task, (str, "quantization|levels|pruning"), "task")
    fields(line, f"{task} chunk")
    levels = line.get("levels", [0.0, 1.0])
    require(2 <= len(levels) <= 2**16, "levels are not 2 to 65536")
    require(all(a < b for a, b in itertools.pairwise(levels)), "levels are not in order")
    group, (start, stop) = line["group"], line["features"]
    require(0 <= group < dump.groups, f"the dump has no group {group}")
    require(0 <= start < stop <= dump.features, f"the dump has no features {start} to {stop}")
    stored = dump.features if dump.block_width is None else dump.block_width
    block, offset = divmod(start, stored)
    require(offset + stop - start <= stored, "the dump does not hold the Gram of this chunk")
    inner = slice(offset, offset + stop - start)
    per_group = dump.channels // dump.groups
    weights = dump.weights[group * per_group : (group + 1) * per_group, start:stop]
    require(line.get("keep", 0) <= stop - start, "keep is out of range")
    if line["rounding"] == "fp16":
        with np.errstate(over="ignore"):
            weights = weights.astype(np.float16)
    elif line["rounding"] == "bf16":
        weights = to_bfloat16(np.asarray(weights, np.float64))
    weights = np.ascontiguousarray(weights, np.float64)
    require(bool(np.isfinite(weights).all()), f"the weights do not fit {line['rounding']}")
    gram = np.array(dump.gram_blocks[block][group, inner, inner], np.float64, order="C")
    return Chunk(gram, weights, group * per_group, line)


def to_bfloat16(weights: np.ndarray) -> np.ndarray:
    """The nearest numbers of eight significant bits, ties to even; too large ones infinite."""
    _, exponent = np.frexp(weights)
    step = np.maximum(exponent - 8, -133)
    rounded = np.ldexp(np.rint(np.ldexp(weights, -step)), step)
    return np.where(np.abs(rounded) < 2.0**128, rounded, np.inf)


def problem_hash(
    chunk: Chunk, weights: np.ndarray, numbers: list[Any], tables: Sequence[list[float]] = ()
) -> str:
    """The sha256 of a channel's problem: task, Gram, weights, and step and box or keep.

    ``tables``: levels, steps and zeros, where there are any.
    """
    digest = hashlib.sha256(f"{chunk.claim['task']} {json.dumps(numbers)}\n".encode())
    for table in tables:
        digest.update(np.array(table, "<f8").tobytes())
    digest.update(chunk.gram.astype("<f8").tobytes())
    digest.update(weights.astype("<f8").tobytes())
    return digest.hexdigest()


def energy_of(chunk: Chunk, task: Grid | Leveled | Sparse) -> float:
    """``w'Gw``, rounded to the nearest double; an indefinite Gram's negative one counts as zero."""
    return max(float(chunk.error(*task.whole_weights)), 0.0)


def check_channel(chunk: Chunk, line: Json, nodes: int) -> None:
    """Every statement of one channel's line."""
    fields(line, f"{chunk.claim['task']} channel")
    number = line["channel"] - chunk.first
    require(0 <= number < len(chunk.weights), "the chunk has no such channel")
    weights = chunk.weights[number]
    n = len(weights)
    proof, lower, upper = line["proof"], line["lower"], line["upper"]
    tables: list[list[float]] = []
    task: Grid | Leveled | Sparse
    if chunk.claim["task"] == "quantization":
        lo, hi = -(2 ** (chunk.claim["bits"] - 1)), 2 ** (chunk.claim["bits"] - 1) - 1
        numbers = [line["step"].hex(), lo, hi]
        task = Grid(chunk, weights, line["step"], lo, hi)
        codes = counted(line["codes"], "codes", n)
        require(all(lo <= z <= hi for z in codes), f"a code is outside {lo} to {hi}")
        attained = task.error(codes)
    elif chunk.claim["task"] == "levels":
        levels, size = chunk.claim["levels"], chunk.claim["group_size"]
        groups = -(-n // size)
        tables = [levels, *(counted(line[name], name, groups) for name in ("steps", "zeros"))]
        numbers = [size, len(levels), groups]
        task = Leveled(chunk, weights, levels, *(spread(table, size, n) for table in tables[1:]))
        codes = counted(line["codes"], "codes", n)
        require(all(k < len(levels) for k in codes), "a code names a level that is not there")
        attained = task.error(codes)
    else:
        keep, support = chunk.claim["keep"], line["support"]
        numbers = [keep]
        task = Sparse(chunk, weights, keep)
        require(len(support) <= keep, f"the support has {len(support)} inputs, more than {keep}")
        require(support == sorted(set(support)), "the support is not in order")
        require(all(i < n for i in support), "the support names an input that is not there")
        values = [0.0] * n
        for i, value in zip(support, counted(line["values"], "values", len(support)), strict=True):
            values[i] = value
        attained = task.error(values)
    true = problem_hash(chunk, weights, numbers, tables)
    require(line["problem"] == true, "the hash of the problem is another one")
    energy = energy_of(chunk, task)
    require(line["energy"] == energy, f"the energy is {energy!r}")
    best = round_up(max(attained, Fraction(0)))
    require(upper == best, f"the solution attains {best!r}, not the upper value claimed")
    require(lower <= upper, "the lower value is above the upper one")
    check_status(line["status"], lower, upper, line["energy"], chunk.claim["tolerance"])
    check_proof(task, proof, lower, nodes)


def spread(table: list[float], size: int, n: int) -> list[float]:
    """A group's number for each of its inputs (n,): groups of so many, the last maybe shorter."""
    return [table[i // size] for i in range(n)]


def check_status(status: Any, lower: float, upper: float, energy: float, share: float) -> None:
    """The status says no more than the two values do."""
    closed = max(Fraction(share) * Fraction(upper), Fraction(FLOOR) * Fraction(energy))
    gap = Fraction(upper) - Fraction(lower)
    require(status != "exact" or gap <= closed, "lower and upper are too far apart to be exact")
    require(status != "certified" or lower > 0, "a certified lower value must be positive")
    require(status != "heuristic" or lower == 0, "a heuristic lower value must be zero")


def check_proof(task: Grid | Leveled | Sparse, proof: Json, lower: float, nodes: int) -> None:
    """The proof shows that no solution has an error below ``lower``."""
    kind = proof.get("is")
    fits(kind, (str, "none|dual|search|reduced|cover"), "the kind of proof")
    live = len(task.chunk.live) > 0
    require(live or kind == "none", f"a {kind} on a chunk of dead inputs: every error is zero")
    if kind == "none":
        fields(proof, "none")
        require(lower == 0, "a positive lower value is claimed without a proof")
    elif kind == "search" and isinstance(task, Grid):
        # a number out of range stops the search: a NaN must close no branch
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_search(task, proof, lower, nodes)
    elif kind == "search" and isinstance(task, Leveled):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_levels_search(task, proof, lower, nodes)
    elif kind == "reduced" and isinstance(task, Grid):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            check_reduced(task, proof, lower, nodes)
    elif kind == "cover" and isinstance(task, Sparse):
        check_cover(task, proof, lower, nodes)
    elif kind == "dual":
        if isinstance(task, Grid):
            value = quantization_dual(task, proof)
        else:
            leveled = isinstance(task, Leveled)
            value = levels_dual(task, proof) if leveled else pruning_dual(task, proof)
        require(bool(value >= arb(lower)), f"the dual shows only {float(value.mid()):.17g}")
    else:
        refuse(f"a {kind} is no proof for this task")


def verify(data: bytes, dump: LayerDump, nodes: int = NODES) -> list[str]:
    """Check a certificate file against a dump; one sentence a chunk on what was verified.

    Raises Refused with the first false statement.
    """
    require(type(nodes) is int and nodes > 0, "the most nodes allowed are not a positive integer")
    ctx.prec = PRECISION
    lines = sealed_lines(data)
    require(lines[0]["dump"] == dump.content_hash, "the certificate belongs to another dump")
    named = (lines[0]["source"], lines[0]["layer"]) == (dump.source, dump.layer)
    require(named, "the dump is of another layer")
    chunks: list[tuple[Chunk, list[Json]]] = []
    here: set[int] = set()
    seen: set[str] = set()
    for number, line in enumerate(lines[1:-1], 2):
        name = line.get("channel")
        what = f"channel {name}"[:SHOWN] if type(name) is int else ascii(line["is"])[:SHOWN]
        try:
            if line["is"] == "chunk":
                require(not chunks or bool(chunks[-1][1]), "the chunk before has no channels")
                known = line.get("task") != "levels" or lines[0]["version"] >= LEVELED
                require(known, f"levels are of version {LEVELED}, not of this file's")
                chunks.append((cut_chunk(dump, line), []))
                here.clear()
                continue
            require(line["is"] == "channel" and bool(chunks), "neither a chunk nor its channel")
            chunk, done = chunks[-1]
            check_channel(chunk, line, nodes)
            key = f"{line['channel']} {chunk.claim['features']} {line['problem']}"
            require(name not in here and key not in seen, "the channel is there twice")
            here.add(line["channel"])
            seen.add(key)
            done.append(line)
        except (Refused, ArithmeticError, ValueError) as error:
            raise Refused(f"line {number} ({what}): {error}") from None
    require(bool(chunks) and bool(chunks[-1][1]), "no channels, at least in the last chunk")
    count = sum(len(done) for _, done in chunks)
    require(lines[-1]["channels"] == count, "the number of channels is another one")
    return [summary(chunk, done) for chunk, done in chunks]


def summary(chunk: Chunk, done: list[Json]) -> str:
    """What was verified of one chunk."""
    claim = chunk.claim
    sizes = {"bits": "{} bits", "keep": "keep {}", "group_size": "groups of {}"}
    size = next(text.format(claim[name]) for name, text in sizes.items() if name in claim)
    if "levels" in claim:
        size = f"{len(claim['levels'])} levels, {size}"
    counts = [(s, sum(c["status"] == s for c in done)) for s in ("exact", "certified", "heuristic")]
    shown = ", ".join(f"{count} {status}" for status, count in counts if count)
    start, stop = claim["features"]
    return (
        f"group {claim['group']}, features {start}-{stop - 1}, {claim['task']}, {size}, weights "
        f"{claim['rounding']}: {len(done)} of {len(chunk.weights)} channels ({shown}; exact to "
        f"{claim['tolerance']!r}, or {FLOOR!r} of the energy), energy "
        f"{total(done, 'energy', ROUND_FLOOR)}, lower {total(done, 'lower', ROUND_FLOOR)}, "
        f"upper {total(done, 'upper', ROUND_CEILING)}"
    )


def total(done: list[Json], name: str, rounding: str) -> str:
    """An exact sum over channels, nine digits of it, rounded as said."""
    value = sum((Fraction(line[name]) for line in done), Fraction(0))
    nine = Context(prec=9, rounding=rounding, Emax=10**6, Emin=-(10**6))
    # Nine digits survive a double, which prints them without trailing zeros.
    return f"{float(nine.divide(Decimal(value.numerator), Decimal(value.denominator))):.9g}"


def positive(text: str) -> int:
    """A number of nodes as a user types it."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Verify a certificate; 0 if every statement is true, 1 if not, and the first false one."""
    parser = argparse.ArgumentParser(prog="layerbounds verify", description=main.__doc__)
    parser.add_argument("file", type=Path, help="the certificate")
    parser.add_argument("--dump", type=Path, required=True, help="the dump it is about")
    limit = "most nodes of one channel's proof (default 10^9)"
    parser.add_argument("--nodes", type=positive, default=NODES, help=limit)
    given = parser.parse_args(argv)
    try:
        shown = verify(given.file.read_bytes(), read_dump(given.dump), given.nodes)
    except (Refused, DumpError, OSError) as error:
        sys.stdout.write(f"not verified: {plain(str(error))}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in shown) + "verified\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
