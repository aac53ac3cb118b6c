"""Errors in exact arithmetic: doubles are integers times a power of two, so nothing is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

Row = list[int]


class NotSemidefinite(ArithmeticError):  # noqa: N818 (a finding about the data, not an error)
    """The stored doubles are not exactly positive semidefinite, so an infimum may not exist."""


def integers(values: ArrayLike) -> tuple[Row, int]:
    """Integers ``m`` and one exponent ``e`` with ``values = m 2^e`` exactly, values flattened."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64).ravel())
    exponent = np.where(mantissa == 0, np.max(exponent, initial=0), exponent) - 53
    lowest = int(exponent.min(initial=0))
    whole = (mantissa * 2.0**53).astype(np.int64)
    shifted = [int(m) << int(e) - lowest for m, e in zip(whole, exponent, strict=True)]
    return shifted, lowest


def dyadic(value: int, exponent: int) -> Fraction:
    """``value 2^exponent``."""
    return Fraction(value << exponent) if exponent >= 0 else Fraction(value, 1 << -exponent)


class ExactForm:
    """The error of one channel, exactly: Gram (n, n) and weights (n,) as stored doubles."""

    def __init__(self, gram: ArrayLike, weights: ArrayLike) -> None:
        """Take the doubles as they are; the Gram must be exactly symmetric."""
        flat, self.gram_exponent = integers(gram)
        n = len(np.asarray(gram))
        self.gram: list[Row] = [flat[i * n : (i + 1) * n] for i in range(n)]
        self.weights, self.weight_exponent = integers(weights)

    def value(self, difference: Sequence[int], exponent: int) -> Fraction:
        """``d^T G d`` for ``d = difference 2^exponent``."""
        total = 0
        for i, a in enumerate(difference):
            if a:
                row = self.gram[i]
                inner = sum(row[j] * difference[j] for j in range(i)) * 2
                total += a * (inner + row[i] * a)
        return dyadic(total, self.gram_exponent + 2 * exponent)

    def energy(self) -> Fraction:
        """``w^T G w``."""
        return self.value(self.weights, self.weight_exponent)

    def grid_error(self, codes: ArrayLike, scale: float) -> Fraction:
        """Error of ``v = scale * codes`` without rounding the product."""
        (step,), step_exponent = integers([scale])
        exponent = min(step_exponent, self.weight_exponent)
        step <<= step_exponent - exponent
        up = self.weight_exponent - exponent
        difference = [
            int(z) * step - (w << up)
            for z, w in zip(np.asarray(codes).tolist(), self.weights, strict=True)
        ]
        return self.value(difference, exponent)

    def point_error(self, levels: ArrayLike, steps: ArrayLike, zeros: ArrayLike) -> Fraction:
        """Error of ``v = steps (levels - zeros)``, all (n,) doubles, nothing rounded."""
        (level, a), (step, b), (zero, c) = (integers(x) for x in (levels, steps, zeros))
        low = min(a, c)
        apart = [(x << a - low) - (z << c - low) for x, z in zip(level, zero, strict=True)]
        exponent = min(low + b, self.weight_exponent)
        up, over = low + b - exponent, self.weight_exponent - exponent
        difference = [
            (x * s << up) - (w << over) for x, s, w in zip(apart, step, self.weights, strict=True)
        ]
        return self.value(difference, exponent)

    def error(self, compressed: ArrayLike) -> Fraction:
        """Error of ``compressed`` (n,) doubles."""
        values, value_exponent = integers(compressed)
        exponent = min(value_exponent, self.weight_exponent)
        a, b = value_exponent - exponent, self.weight_exponent - exponent
        difference = [(v << a) - (w << b) for v, w in zip(values, self.weights, strict=True)]
        return self.value(difference, exponent)

    def sparse_optimum(self, keep: int, every: int | None = None) -> Fraction:
        """The least error with at most ``keep`` nonzeros (in every ``every`` consecutive inputs).

        Every input is either kept (a fraction-free elimination step: Bareiss, Math. Comp. 22, 1968)
        or dropped (its row deleted); what is left in the corner of ``[[G, Gw], [w^T G, w^T G w]]``
        is the least-squares error of the support. Prefixes share their eliminations.

        Raises NotSemidefinite if a pivot is negative.
        """
        n = len(self.weights)
        pull = [sum(map(int.__mul__, row, self.weights)) for row in self.gram]
        energy = sum(map(int.__mul__, pull, self.weights))
        # lower triangle, the input decided first last but one: rows shrink from the end
        rows = [self.gram[i][: i + 1] for i in range(n)]
        table = [[energy], *([pull[i], *rows[i]] for i in range(n))]
        best = _Least(energy)
        every = n if every is None else every
        _decide(table, 1, every, [keep] * -(-n // every), best)
        return dyadic(1, self.gram_exponent + 2 * self.weight_exponent) * Fraction(
            best.numerator, best.denominator
        )


class _Least:
    """The smallest fraction met."""

    def __init__(self, value: int) -> None:
        self.numerator, self.denominator = value, 1

    def meet(self, numerator: int, denominator: int) -> None:
        if numerator * self.denominator < self.numerator * denominator:
            self.numerator, self.denominator = numerator, denominator


def _decide(table: list[Row], previous: int, every: int, room: list[int], best: _Least) -> None:
    """Decide the last input of ``table`` (lower triangle, row 0 the corner), then the others.

    ``room``: nonzeros left in each group of ``every`` inputs. Keeping more never hurts, so an
    input is dropped only where its group has more inputs left than room.
    """
    left = len(table) - 1
    group = (left - 1) // every
    if left == 0 or not any(room[: group + 1]):
        best.meet(table[0][0], previous)
        return
    last, rest = table[-1], table[:-1]
    pivot = last[-1]
    if left - group * every > room[group]:
        _decide(rest, previous, every, room, best)
    if room[group] == 0:
        return
    if pivot < 0 or (pivot == 0 and any(last)):
        raise NotSemidefinite
    room[group] -= 1
    if pivot == 0:
        _decide(rest, previous, every, room, best)
        room[group] += 1
        return
    eliminated = [
        [(pivot * row[k] - last[j] * last[k]) // previous for k in range(j + 1)]
        for j, row in enumerate(rest)
    ]
    _decide(eliminated, pivot, every, room, best)
    room[group] += 1
