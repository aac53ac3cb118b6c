"""Seeded random problems, chosen to hurt: every kind of degeneracy that a real layer can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bounds.fuzz.optima import Points
from bounds.problem.grid import Grid, integer_range

Floats = NDArray[np.float64]

PROBLEMS = ("quantization", "pruning", "joint")
LARGEST = 10  # inputs: what brute force in rationals still enumerates
#: Channels of one Gram: several share what is worked out once for it.
CHANNELS = (1, 2, 4, 8, 16)
#: Most code vectors that are enumerated, per channel.
CODE_LIMIT = 20_000


@dataclass(frozen=True)
class Instance:
    """One Gram and its channels: ``bits`` and ``scale`` for quantization, ``keep`` for pruning.

    All three are for joint problems.

    With ``grid``, quantization is on that one, of groups, zero points or a codebook, instead. With
    ``pattern`` (N, M), pruning keeps N of every M inputs instead of ``keep``. ``extreme`` numbers
    lie near the ends of float64, where a problem may be refused by name. ``kind`` names the
    generators of Gram, weights and grid. ``node_limit`` and ``tolerance`` are those of a second,
    interrupted run of the searching methods. ``seed`` and ``index`` reproduce it.
    """

    problem: str
    seed: int
    index: int
    kind: str
    gram: Floats
    weights: Floats
    bits: int
    scale: Floats
    keep: int
    node_limit: int
    tolerance: float
    pattern: tuple[int, int] | None = None
    extreme: bool = False
    grid: Grid | None = None

    @property
    def asked(self) -> Grid:
        """The grid that is asked for, of any kind."""
        return self.grid or Grid.uniform(self.bits, self.scale)

    @property
    def box(self) -> tuple[int, int]:
        """Smallest and largest code of ``bits`` bits."""
        return integer_range(self.bits)

    def points(self, c: int) -> Points:
        """What weights of channel ``c`` may be."""
        grid = self.asked.rows(slice(c, c + 1))
        n = self.weights.shape[1]
        return Points(grid.levels, grid.steps(1, n)[0], grid.zeros(1, n)[0])


def make_instance(problem: str, seed: int, index: int) -> Instance:
    """Instance ``index`` of the sequence ``seed``; always the same one."""
    rng = np.random.default_rng([PROBLEMS.index(problem), seed, index])
    bits, n = _sizes(rng, problem)
    channels = int(rng.choice(CHANNELS))
    name = str(rng.choice(list(GRAMS)))
    gram = GRAMS[name](rng, n)
    gram = np.tril(gram) + np.tril(gram, -1).T  # exactly symmetric
    scale = _scales(rng, bits, channels)
    kind = str(rng.choice(list(WEIGHTS)))
    weights = WEIGHTS[kind](rng, gram, scale, bits)
    if rng.random() < 0.15:
        gram = gram * 2.0 ** float(rng.integers(-490, 490))
    elif rng.random() < 0.15:
        gram = gram * 10 ** rng.uniform(-150, 150)
    if rng.random() < 0.2:
        factor = 10 ** rng.uniform(-30, 30)
        weights, scale = weights * factor, scale * factor
    extreme = rng.random() < 0.02
    if extreme:
        weights, scale, gram = _extreme(rng, weights, scale, gram)
    inner = np.random.default_rng([PROBLEMS.index(problem), seed, index, 1])
    grid = None
    if problem == "quantization" and not extreme and inner.random() < 0.6:
        family, grid = make_grid(inner, bits, scale, n)
        if kind in ("on-grid", "half-grid"):
            weights = _near_points(inner, grid, weights.shape, kind)
        kind = f"{kind}/{family}"
    return Instance(
        problem,
        seed,
        index,
        f"{name}/{kind}{'/extreme' if extreme else ''}",
        np.ascontiguousarray(gram),
        np.ascontiguousarray(weights),
        bits,
        scale,
        int(rng.choice([0, n, *range(n + 1)])),
        int(rng.choice([1, 2, 5, 10, 30, 100])),
        float(rng.choice([1e-12, 1e-9, 1e-6, 1e-3, 0.1])),
        _pattern(rng) if problem != "quantization" and rng.random() < 0.15 else None,
        extreme,
        grid,
    )


def make_grid(rng: Generator, bits: int, scale: Floats, n: int) -> tuple[str, Grid]:
    """A grid of at most ``bits`` bits, its steps around ``scale`` (channels,), and what it is."""
    size = int(rng.integers(1, n + 1))
    groups = -(-n // size)
    spread = float(rng.choice([0.0, 0.3, 1.0, 4.0], p=[0.2, 0.5, 0.2, 0.1]))
    shape = (len(scale), groups)
    steps = scale[:, None] * 10 ** rng.uniform(-spread, spread, shape)
    if rng.random() < 0.3:  # powers of two, as of MXFP4
        steps = 2.0 ** np.round(np.log2(steps))
    family = str(rng.choice(["groups", "zeros", "real-zeros", "one-zero", "codebook", "known"]))
    signed = bool(rng.random() < 0.5)
    lo, hi = integer_range(bits)
    if not signed:
        lo, hi = 0, hi - lo
    if family == "zeros":
        zeros = rng.integers(lo, hi + 1, shape)
        return family, Grid.uniform(bits, steps, zeros, size, signed=signed)
    if family == "real-zeros":
        zeros = rng.uniform(lo, hi, shape) * 10 ** rng.choice([0.0, 1.0, 5.0], p=[0.6, 0.3, 0.1])
        return family, Grid.uniform(bits, steps, zeros, size, signed=signed, real_zero=True)
    if family == "one-zero":
        zeros = rng.integers(lo, hi + 1, (len(scale), 1))
        return family, Grid.uniform(bits, steps[:, :1], zeros, signed=signed)
    if family == "codebook":
        count = int(rng.integers(2, 2**bits + 1)) if bits > 1 else 2
        levels = np.unique(rng.normal(size=count).cumsum() * 10 ** rng.uniform(-2, 2))
        return family, Grid.codebook(levels, steps, size)
    if family == "known" and bits >= 4:
        maker = (Grid.nf4, Grid.fp4)[int(rng.integers(2))]
        return family, maker(steps * 2.0 ** (bits - 2), size)
    if family == "known" and bits >= 2:
        return family, Grid.ternary(steps, size)
    return "groups", Grid.uniform(bits, steps, 0, size)


def _near_points(rng: Generator, grid: Grid, shape: tuple[int, ...], kind: str) -> Floats:
    """Weights on the grid, or nearly so, or half-way between two of its points."""
    last = len(grid.levels) - 1
    number = rng.integers(0, last + 1, shape)
    values = grid.values(grid.levels[number])
    if kind == "half-grid":
        values = (values + grid.values(grid.levels[np.minimum(number + 1, last)])) / 2
    elif rng.random() < 0.7:
        values *= 1 + 10 ** rng.uniform(-16, -4) * rng.standard_normal(shape)
    return values


def _extreme(
    rng: Generator, weights: Floats, scale: Floats, gram: Floats
) -> tuple[Floats, Floats, Floats]:
    """Near the ends of float64, unless that would round the Gram and make it indefinite."""
    power = int(rng.integers(-1060, 900))
    with np.errstate(over="ignore"):
        far = np.ldexp(gram, power)
        if np.array_equal(np.ldexp(far, -power), gram):
            gram = far
        power = int(rng.integers(-1070, 480))
        far, step = np.ldexp(weights, power), np.ldexp(scale, power)
    if np.isfinite(far).all() and (step > 0).all():
        weights, scale = far, step
    return weights, scale, gram


def _pattern(rng: Generator) -> tuple[int, int]:
    size = int(rng.integers(1, 6))
    return int(rng.integers(1, size + 1)), size


def _sizes(rng: Generator, problem: str) -> tuple[int, int]:
    """Bits and number of inputs; for quantization few enough codes to try them all."""
    if problem == "pruning":
        return 4, int(rng.integers(1, LARGEST + 1))
    bits = int(rng.integers(1, 9))
    most = min(int(np.log2(CODE_LIMIT) / bits), LARGEST)
    return bits, int(rng.integers(1, most + 1))


def _scales(rng: Generator, bits: int, channels: int) -> Floats:
    typical = 2.0 / 2 ** (bits - 1)
    if rng.random() < 0.3:
        return np.full(channels, 2.0 ** float(rng.integers(-6, 2)))  # ties
    if rng.random() < 0.4:
        return typical * 10 ** rng.uniform(-1.5, 0.7, channels)
    return np.full(channels, typical * rng.uniform(0.2, 2.0))


def _rows(rng: Generator, n: int) -> Floats:
    return rng.standard_normal((n + int(rng.integers(0, 6)), n))


def _product(rows: Floats) -> Floats:
    return rows.T @ rows


def _conditioned(rng: Generator, n: int) -> Floats:
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    condition = 10 ** rng.uniform(0, 14)
    if rng.random() < 0.5:
        spectrum = np.geomspace(1, 1 / condition, n)
    else:
        spectrum = np.where(np.arange(n) < rng.integers(1, n + 1), 1.0, 1 / condition)
    return (basis * spectrum) @ basis.T


def _singular(rng: Generator, n: int) -> Floats:
    return _product(rng.standard_normal((int(rng.integers(1, n + 1)), n)))


def _singular_integer(rng: Generator, n: int) -> Floats:
    return _product(rng.integers(-2, 3, (int(rng.integers(1, n + 1)), n)).astype(float))


def _integer(rng: Generator, n: int) -> Floats:
    return _product(rng.integers(-3, 4, (n + 2, n)).astype(float))


def _duplicate(rng: Generator, n: int) -> Floats:
    rows = _rows(rng, n)
    if rng.random() < 0.5:
        rows = np.round(4 * rows)
    source, copy = rng.integers(0, n, 2)
    rows[:, copy] = rows[:, source] * rng.choice([1, -1, 2])
    return _product(rows)


def _nearly_duplicate(rng: Generator, n: int) -> Floats:
    rows = _rows(rng, n)
    for _ in range(int(rng.integers(1, 3))):
        source, copy = rng.integers(0, n, 2)
        noise = 10 ** rng.uniform(-9, -2) * rng.standard_normal(len(rows))
        rows[:, copy] = rows[:, source] + noise
    return _product(rows)


def _dead(rng: Generator, n: int) -> Floats:
    rows = _rows(rng, n)
    rows[:, rng.random(n) < rng.choice([0.3, 1.0], p=[0.9, 0.1])] = 0
    return _product(rows)


def _spread(rng: Generator, n: int) -> Floats:
    """Inputs of very different size, as activations before and after a narrow layer."""
    return _product(_rows(rng, n) * 10 ** rng.uniform(-6, 6, n))


def _diagonal(rng: Generator, n: int) -> Floats:
    return np.diag(10 ** rng.uniform(-8, 8, n))


def _uniform(rng: Generator, n: int) -> Floats:
    """All inputs alike: every support and every permutation ties."""
    correlation = rng.choice([0.0, 0.5, 0.875])
    return 4.0 * ((1 - correlation) * np.eye(n) + correlation)


def _seesaw(rng: Generator, n: int) -> Floats:
    """Two inputs whose difference, hugely amplified, replaces several others at once."""
    rows = np.eye(n) if n < 3 else np.zeros((n, n))
    if n >= 3:
        rows[0, :2] = 1
        rows[1 : n - 1, 2:] = np.eye(n - 2)
        rows[1 : n - 1, 1] = 2.0 ** -float(rng.integers(2, 24))
        if rng.random() < 0.5:
            rows[n - 1] = rng.standard_normal(n) * 2.0 ** -float(rng.integers(2, 30))
    return _product(rows)


GRAMS: dict[str, Callable[[Generator, int], Floats]] = {
    "random": lambda rng, n: _product(_rows(rng, n)),
    "conditioned": _conditioned,
    "singular": _singular,
    "singular-integer": _singular_integer,
    "integer": _integer,
    "duplicate": _duplicate,
    "nearly-duplicate": _nearly_duplicate,
    "dead": _dead,
    "spread": _spread,
    "diagonal": _diagonal,
    "uniform": _uniform,
    "seesaw": _seesaw,
}

Weigh = Callable[[Generator, Floats, Floats, int], Floats]


def _normal(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    return rng.standard_normal((len(scale), len(gram)))


def _far(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    return _normal(rng, gram, scale, bits) * 10 ** rng.uniform(0.5, rng.choice([3.0, 25.0]))


def _zero(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    weights = _normal(rng, gram, scale, bits)
    return weights * (rng.random(weights.shape) < rng.choice([0.0, 0.5]))


def _codes(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    lo, hi = integer_range(bits)
    return rng.integers(lo, hi + 1, (len(scale), len(gram))).astype(float)


def _on_grid(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    """Exactly representable weights, or nearly so: optima of zero and of rounding size."""
    weights = _codes(rng, gram, scale, bits) * scale[:, None]
    if rng.random() < 0.7:
        weights *= 1 + 10 ** rng.uniform(-16, -4) * rng.standard_normal(weights.shape)
    return weights


def _half_grid(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    return (_codes(rng, gram, scale, bits) + 0.5) * scale[:, None]


def _null(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    """Weights the Gram hardly sees: most of the energy is rounding."""
    _, vectors = np.linalg.eigh(gram / max(float(np.diag(gram).max()), 1e-300))
    mixed = rng.standard_normal(len(scale))[:, None] * vectors[:, 0]
    return mixed + 10 ** rng.uniform(-16, 0) * _normal(rng, gram, scale, bits)


def _equal(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    return np.sign(_normal(rng, gram, scale, bits)) * rng.choice([0.5, 1.0, 3.0])


def _uneven(rng: Generator, gram: Floats, scale: Floats, bits: int) -> Floats:
    weights = _normal(rng, gram, scale, bits)
    return weights * 10 ** rng.uniform(-10, 2, weights.shape)


WEIGHTS: dict[str, Weigh] = {
    "normal": _normal,
    "far": _far,
    "zero": _zero,
    "on-grid": _on_grid,
    "half-grid": _half_grid,
    "null": _null,
    "equal": _equal,
    "uneven": _uneven,
}
