"""The ends of the grid in the volume bound: multipliers ``rho`` of every channel, and their worth.

Stationary are multipliers under which the Gaussian that bounds the integral has, about the centre
of the box, a second moment of ``h_i^2`` in every input that has one, and less in the others. They
are found by a fixed point; whatever they are, what they prove is evaluated with every rounding
counted.

With ``K = G^-1`` and the inputs a of one channel that have a multiplier, all is in the small matrix
``S = I + r K_aa r``, ``r = sqrt(rho_a)``: ``logdet (G + rho) = logdet G + logdet S``. Where G is
singular to rounding, a multiplier that all channels share is added to it first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from bounds.linalg.verified import UNIT, VerifiedFactor, verified_factor

Floats = NDArray[np.float64]

_factor, _invert = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)

#: Steps of the fixed point: for the first channels, and for others, which begin where those ended.
STEPS, MORE, FIRST = 12, 4, 8
POWER, MOST = 1.5, 8.0
#: A multiplier below this share of what a flat direction would get is none.
NOTHING = 1e-3
#: Cubes of active inputs, over all channels, that may be spent; beyond, channels get no own.
WORK = 5e10
BASE_STEPS = 8


@dataclass(frozen=True)
class Base:
    """``gram`` (n, n) is ``G``; ``shared`` (n,) the multipliers added to it to be ``factor``'s.

    ``inverse`` (n, n): of that sum, nearly; ``t``: a first guess.
    """

    gram: Floats
    shared: Floats
    factor: VerifiedFactor
    inverse: Floats
    t: float


@dataclass(frozen=True)
class BoxedTerms:
    """Of every channel.

    ``multipliers`` (channels, n); ``logdets`` (channels,): proven lower bounds on
    ``logdet (G + rho)``; ``prices`` (channels,): proven upper bounds on ``sum rho h^2 - V``.
    """

    multipliers: Floats
    logdets: Floats
    prices: Floats


def choose_base(gram: Floats, centre: Floats, half: Floats, log_steps: float) -> Base | None:
    """The Gram as it is if it is verified, or with multipliers that all channels share."""
    n = len(gram)
    factor = verified_factor(gram)
    if factor is not None:
        t = _guess(factor.logdet_lower() / 2 + log_steps / len(centre), n)
        return Base(gram, np.zeros(n), factor, _inverse(factor), t)
    width = np.square(half).mean(axis=0)
    t = float(np.exp(2 * log_steps / half.size))
    shared = t / (2 * width)
    base = None
    for _ in range(BASE_STEPS):
        factor = verified_factor(gram + np.diag(shared))
        if factor is None:
            return base
        inverse = _inverse(factor)
        t = _guess(factor.logdet_lower() / 2 + log_steps / len(centre), n)
        base = Base(gram, shared, factor, inverse, t)
        off = (shared * centre) @ inverse - centre
        moment = t / 2 * np.diag(inverse) + np.square(off).mean(axis=0)
        shared = shared * np.clip((moment / width) ** POWER, 1 / MOST, MOST)
    return base


def _guess(half_logdet: float, n: int) -> float:
    return math.exp(min(max(2 * half_logdet / n - math.log(math.pi) - 1, -600.0), 600.0))


def _inverse(factor: VerifiedFactor) -> Floats:
    """``(G + shared)^-1`` nearly; ``1 - doubt`` times it is below the true one."""
    scaled = factor.inverse * factor.balance[:, None]
    return scaled @ scaled.T


def boxed_terms(
    base: Base, centre: Floats, half: Floats, t: float, known: BoxedTerms | None
) -> BoxedTerms:
    """Multipliers of every channel at ``t``, and what they prove.

    Args:
        base: the Gram; centre, half: (channels, n) of the box.
        t: one over the rate.
        known: multipliers found at another ``t``, to begin with.
    """
    channels, n = centre.shape
    fresh = known is None
    own = np.zeros((channels, n)) if known is None else known.multipliers - base.shared
    spent = 0.0
    for c in range(channels):
        if spent > WORK:
            break
        first = own[:c].mean(axis=0) if fresh and c else own[c]
        steps = STEPS if fresh and c < FIRST else MORE
        own[c], cost = _fixed_point(base, centre[c], half[c], t, first, steps)
        spent += cost
    own = np.maximum(own, 0.0)
    logdets = np.array([_logdet_lower(base, row) for row in own])
    return BoxedTerms(own + base.shared, logdets, _prices(base, own, centre, half))


def _fixed_point(
    base: Base, centre: Floats, half: Floats, t: float, start: Floats, steps: int
) -> tuple[Floats, float]:
    """Own multipliers (n,) of a channel, and the cubes it took."""
    flat, wide = t / (2 * half**2), half**2
    spread = t / 2 * np.diag(base.inverse)
    # of the Gaussian whose multipliers are the shared ones alone
    middle = base.inverse @ (base.shared * centre) if base.shared.any() else np.zeros(len(half))
    own, mean, cost = start.copy(), middle, 0.0
    for _ in range(steps):
        outside = (own <= 0) & (spread + (mean - centre) ** 2 > wide)
        own = np.where(outside, 0.1 * flat, np.where(own > NOTHING * flat, own, 0.0))
        active = np.flatnonzero(own)
        if active.size == 0:
            break
        cost += float(active.size) ** 3
        root = np.sqrt(own[active])
        factor, failed = _factor(_small(base, active, root), lower=1)
        if failed:
            break
        lower = np.tril(_invert(factor, lower=1)[0])
        inverse = lower + np.tril(lower, -1).T
        pull = inverse @ (root * (centre - middle)[active])
        moment = t / 2 * (1 - np.diag(inverse)) / own[active] + (pull / root) ** 2
        own[active] *= np.clip((moment / wide[active]) ** POWER, 1 / MOST, MOST)
        mean = middle + base.inverse[:, active] @ (root * pull)
    return own, cost


def _small(base: Base, active: NDArray[np.int64], root: Floats) -> Floats:
    """``S`` of the active inputs."""
    block = root[:, None] * base.inverse[np.ix_(active, active)] * root
    block[np.diag_indices(active.size)] += 1.0
    return block


def _logdet_lower(base: Base, own: Floats) -> float:
    """A lower bound on ``logdet (G + shared + own)``.

    ``S >= I + (1 - doubt) C``, ``C = r K r`` as computed but for ``share``; and what is at least
    the identity changes its logdet by at most the count of inputs times a relative change.
    """
    n = len(own)
    # the sum of own and shared multipliers is rounded
    first = base.factor.logdet_lower() - 4 * UNIT * n
    active = np.flatnonzero(own > 0)
    count = active.size
    doubt = base.factor.doubt
    if count == 0 or not doubt < 0.5:
        return first
    root = np.sqrt(own[active])
    rows = base.factor.inverse[active] * (base.factor.balance[active] * root)[:, None]
    block = rows @ rows.T * (1 - doubt)
    size = float(np.square(rows).sum()) * (1 + 1e-7)
    # of forming rows and products, of the factor, and of its logarithms
    share = 4 * (n + 8) * UNIT * size
    block[np.diag_indices(count)] += 1.0
    factor, failed = _factor(block, lower=1)
    share += 4 * (count + 8) * UNIT * (size + count)
    if failed or not share < 0.1:
        return first
    logs = np.log(np.diag(factor))
    value = 2 * math.fsum(logs) - count * 1.2 * share
    value -= 16 * UNIT * float(np.abs(logs).sum() + count)
    value = first + max(value, 0.0)
    return value - 4 * UNIT * abs(value)


def _prices(base: Base, own: Floats, centre: Floats, half: Floats) -> Floats:
    """Upper bounds (channels,) on ``sum rho (h^2 - m^2) + p^T (G + rho)^-1 p``, ``p = rho m``.

    The last term is at most ``2 p.x - x^T H x + |p - H x|^2 / smallest`` for any x.
    """
    n = own.shape[1]
    rho = own + base.shared
    p = rho * centre
    x = np.zeros_like(p)
    for c in np.flatnonzero(rho.any(axis=1)):
        x[c] = _solve(base, own[c], p[c])
    image = x @ base.gram + rho * x
    gamma = 4 * (n + 16) * UNIT
    length = (np.abs(x) @ np.sqrt(np.diag(base.gram))) * (1 + 1e-6)
    sizes = length**2 + (rho * x * x + 2 * np.abs(p * x)).sum(axis=1)
    sizes += (rho * (half**2 + centre**2)).sum(axis=1)
    rest = p - image
    miss = np.sqrt(np.square(rest).sum(axis=1))
    # rounding of p, of the image, input by input
    root = np.sqrt(np.diag(base.gram))
    doubt = gamma * (np.abs(p) + rho * np.abs(x) + length[:, None] * root)
    miss += np.sqrt(np.square(doubt).sum(axis=1))
    smallest = base.factor.smallest * float(1 / np.square(base.factor.balance).max())
    value = (rho * (half**2 - centre**2)).sum(axis=1) + (2 * p * x - x * image).sum(axis=1)
    value += 4 * gamma * sizes + miss**2 / smallest * (1 + 1e-6)
    return value + np.abs(value) * 1e-15


def _solve(base: Base, own: Floats, p: Floats) -> Floats:
    """``(G + shared + own)^-1 p`` nearly, by the small matrix."""
    first = base.inverse @ p
    active = np.flatnonzero(own > 0)
    if active.size == 0:
        return first
    root = np.sqrt(own[active])
    block, side = _small(base, active, root), base.inverse[:, active]
    x = first - side @ (root * np.linalg.solve(block, root * first[active]))
    # once more on what is left: the inverse is only nearly one
    left = p - (base.gram @ x + (own + base.shared) * x)
    again = base.inverse @ left
    return x + again - side @ (root * np.linalg.solve(block, root * again[active]))
