"""One dual for all channels of a layer, at any width, on any grid.

For a diagonal ``D`` with ``M = G - D`` positive semidefinite, and any ``y``,

    err >= sum_i min over the levels of [d_i (l - w_i)^2 + y_i (l - w_i)] - 1/4 y^T M^-1 y .

``M`` is one matrix for all channels. The best ``y`` for a given ``D`` is ``2 M (x - w)``, where x
minimises ``(x-w)^T M (x-w) + sum_i envelope_(d_i)(x_i)``: ADMM, products of matrices alone, all
channels at once. The best ``D`` for the sum over channels has as its gain the mean of the spreads
of all x (Danskin's theorem); the two are alternated, under a barrier that is lowered
(``bounds.layer.ascent``). What is found here proves nothing: ``bounds.layer.proven`` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bounds.layer.ascent import inverse, raise_diagonal
from bounds.layer.rule import HalfStep, Rule

Floats = NDArray[np.float64]

#: Channels that the shared diagonal is found for, and at most solved at once.
SAMPLE, BATCH = 96, 512
ROUNDS, INNER, NEWTON = 9, 40, 20
#: The barrier's weight, in shares of the bound an input: first, its fall a round, and last.
FIRST_MU, FALL_MU, LAST_MU = 0.5, 0.3, 1e-3
#: ADMM: first penalty in multipliers, its ends, and how far apart its two residuals may be.
PENALTY, SOFTEST, STIFFEST, APART = 10.0, 1.0, 1000.0, 2.0
#: ADMM: relaxation, most steps, relative gap wanted.
OVER, MOST, GAP = 1.6, 400, 1e-3
#: Start of the diagonal, as a share of the least eigenvalue.
START = 0.5
#: Of a channel by itself: share of the shared diagonal it starts from, rounds, and in each steps
#: of ADMM and of Newton.
RETREAT, OWN_ROUNDS, OWN_INNER, OWN_NEWTON = 0.9, 8, 40, 2
OWN_MU, OWN_FALL = 0.1, 0.4


@dataclass(frozen=True)
class Layer:
    """Channels of one layer, balanced: ``gram`` (n, n) has a diagonal near one."""

    gram: Floats
    weights: Floats
    rule: Rule

    def rows(self, rows: slice | NDArray[np.int64]) -> Layer:
        """Some of the channels."""
        weights = np.ascontiguousarray(self.weights[rows])
        return replace(self, weights=weights, rule=self.rule.rows(rows))


@dataclass
class State:
    """Where ADMM stands, all (channels, n).

    ``point`` lies between the levels, ``move`` is that of the other half from the weights, ``pull``
    the multiplier that joins the two. ``penalty``: in multipliers.
    """

    point: Floats
    pull: Floats
    move: Floats
    penalty: float = PENALTY


def begin(layer: Layer) -> State:
    """At the weights, brought inside the levels."""
    point = np.ascontiguousarray(layer.rule.clipped(layer.weights))
    return State(point, np.zeros_like(point), point - layer.weights)


def advance(layer: Layer, diagonal: Floats, state: State, steps: int) -> None:
    """So many steps of ADMM; the penalty of each input is ``penalty`` times twice its multiplier.

    Boyd et al., *Distributed optimization and statistical learning via the alternating direction
    method of multipliers*, 2011, Section 3.4: relaxed, and the penalty moved where the residuals
    of the last step are far apart.
    """
    weight = 2.0 * state.penalty * diagonal
    solve = inverse(2.0 * (layer.gram - np.diag(diagonal)) + np.diag(weight))
    if solve is None:
        return
    before = state.point
    half = HalfStep(state.point, state.pull / weight, OVER)
    for _ in range(steps):
        before = half.point.copy()
        state.move = (weight * (half.point - layer.weights - half.price)) @ solve
        layer.rule.project(
            layer.weights + state.move, layer.weights, diagonal, 0.5 / state.penalty, half
        )
    state.pull = weight * half.price
    apart = float((np.square(layer.weights + state.move - state.point) @ weight).sum())
    still = float((np.square(state.point - before) @ weight).sum())
    ratio = np.sqrt(apart / still) if still > 0 else 1.0
    if not 1 / APART < ratio < APART:
        wanted = state.penalty * min(max(ratio, 0.2), 5.0)
        state.penalty = float(min(max(wanted, SOFTEST), STIFFEST))


def relaxed_values(layer: Layer, diagonal: Floats, point: Floats) -> Floats:
    """Values (channels,) of the relaxation at ``point``: no dual value is above."""
    move = point - layer.weights
    return ((move @ layer.gram) * move).sum(axis=1) + layer.rule.spread(point, diagonal) @ diagonal


def dual_values(layer: Layer, diagonal: Floats, move: Floats) -> Floats:
    """Values (channels,) of the dual at ``y = 2 M move``, its own rounding of ``M`` left out."""
    image = move @ layer.gram - move * diagonal
    least = layer.rule.least(diagonal, 2.0 * image, layer.weights)
    return least - (move * image).sum(axis=1)


def share_diagonal(layer: Layer, least: float) -> tuple[Floats, float]:
    """A diagonal (n,) for the sum over the channels of ``layer``, and a penalty that suits it.

    ``least``: a positive number below the least eigenvalue of the Gram.
    """
    n = len(layer.gram)
    diagonal = START * least * np.diag(layer.gram) / np.diag(layer.gram).max()
    state, gain = begin(layer), np.zeros(n)
    floor = 1e-9 * float(np.abs(layer.weights).max(initial=0.0) ** 2) + 1e-300
    best, proven, mu = diagonal, -np.inf, FIRST_MU
    for turn in range(ROUNDS + 1):
        advance(layer, diagonal, state, INNER)
        upper = max(float(relaxed_values(layer, diagonal, state.point).sum()), floor)
        lower = float(dual_values(layer, diagonal, state.move).sum())
        if lower > proven:
            best, proven = diagonal, lower
        if turn == ROUNDS:
            break
        new = layer.rule.spread(state.point, diagonal).sum(axis=0)
        gain = new if turn == 0 else (gain + new) / 2
        diagonal = raise_diagonal(layer.gram, diagonal, gain, mu * upper / n, NEWTON)
        mu = max(mu * FALL_MU, LAST_MU)
    return best, state.penalty


def moves(layer: Layer, diagonal: Floats, penalty: float) -> Floats:
    """For every channel the ``x - w`` (channels, n) whose ``2 M (x - w)`` proves most, nearly."""
    found = np.empty_like(layer.weights)
    for start in range(0, len(found), BATCH):
        rows = slice(start, min(start + BATCH, len(found)))
        part = layer.rows(rows)
        state = begin(part)
        state.penalty = penalty
        for _ in range(MOST // INNER):
            advance(part, diagonal, state, INNER)
            upper = float(relaxed_values(part, diagonal, state.point).sum())
            lower = float(dual_values(part, diagonal, state.move).sum())
            if upper - lower <= GAP * upper:
                break
        found[rows] = state.move
    return found


def refine(
    layer: Layer, shared: Floats, move: Floats, penalty: float, value: float
) -> tuple[Floats, Floats]:
    """Diagonal (n,) and move (n,) of the one channel of ``layer``, better than the shared one.

    It starts back inside the cone: at its edge, where the shared one is, no step has any length.
    ``value``: the bound that the shared diagonal proves, which gives the barrier its unit.
    """
    n = len(layer.gram)
    diagonal, gain = RETREAT * shared, np.zeros(n)
    state = begin(layer)
    state.penalty = penalty
    state.point = np.ascontiguousarray(layer.rule.clipped(layer.weights + move))
    mu = OWN_MU * value / n
    for turn in range(OWN_ROUNDS + 1):
        advance(layer, diagonal, state, OWN_INNER)
        if turn == OWN_ROUNDS:
            break
        new = layer.rule.spread(state.point, diagonal)[0]
        gain = new if turn == 0 else (gain + new) / 2
        diagonal = raise_diagonal(layer.gram, diagonal, gain, mu, OWN_NEWTON)
        mu *= OWN_FALL
    return diagonal, state.move[0]
