"""Newton's method on the barrier: a diagonal that takes from a Gram matrix what it can.

Maximises ``s . d + mu log det (G - diag d) + mu sum log d`` over ``d > 0`` with ``G - diag d``
positive definite: the semidefinite program ``max s . d, diag d <= G`` with a barrier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

Floats = NDArray[np.float64]

_solve, _factor, _invert = get_lapack_funcs(("posv", "potrf", "potri"), dtype=np.float64)

TRIES = 40
#: A step that would leave the cone is shortened by BACK until it stays, then by CENTRE: what comes
#: too near the edge has no room for the next step.
BACK, CENTRE = 0.6, 0.5
#: A step that promises less than this times ``mu`` is the last.
ENOUGH = 0.1


def inverse(matrix: Floats) -> Floats | None:
    """The inverse of a symmetric matrix; None if it has no Cholesky factor."""
    factor = factor_of(matrix)
    return None if factor is None else inverse_of(factor)


def factor_of(matrix: Floats) -> Floats | None:
    """The lower Cholesky factor, whose upper triangle means nothing; None if there is none."""
    factor, failed = _factor(matrix, lower=1)
    return None if failed else factor


def inverse_of(factor: Floats) -> Floats:
    """The inverse of the matrix that has this factor."""
    lower = np.tril(_invert(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T


def raise_diagonal(gram: Floats, diagonal: Floats, gain: Floats, mu: float, steps: int) -> Floats:
    """At most ``steps`` Newton steps from ``diagonal`` (n,), which must be inside the cone.

    Args:
        gram: (n, n); gain: (n,) what a unit of the diagonal is worth, ``s``.
        mu: weight of the barrier.
        steps: most Newton steps.
    """
    factor = factor_of(gram - np.diag(diagonal))
    for _ in range(steps):
        if factor is None:
            break
        moved, factor, promised = newton_step(gram, diagonal, gain, mu, inverse_of(factor))
        if factor is None:
            break
        diagonal = moved
        if promised < ENOUGH * mu:
            break
    return diagonal


def newton_step(
    gram: Floats,
    diagonal: Floats,
    gain: Floats,
    mu: float,
    inverted: Floats,
    curvature: Floats | None = None,
) -> tuple[Floats, Floats | None, float]:
    """One Newton step: the new diagonal, the factor of what it leaves, and what was promised.

    Args:
        gram: (n, n); diagonal: (n,), inside the cone; gain: (n,).
        mu: weight of the barrier.
        inverted: (n, n) inverse of ``gram - diag diagonal``.
        curvature: (n, n) how the gain falls as the diagonal rises; none if absent.

    The factor is None where there is no step.
    """
    # in units of the diagonal itself, so that the least eigenvalue of the system is mu
    slope = diagonal * (gain - mu * np.diag(inverted)) + mu
    system = mu * np.square(inverted)
    if curvature is not None:
        system += curvature
    system *= diagonal * diagonal[:, None]
    system[np.diag_indices(len(diagonal))] += mu
    _, step, failed = _solve(system, slope, lower=1)
    if failed or not np.isfinite(step).all():
        return diagonal, None, 0.0
    moved, factor = _search(gram, diagonal, diagonal * step)
    return moved, factor, float(slope @ step)


def _search(gram: Floats, diagonal: Floats, step: Floats) -> tuple[Floats, Floats | None]:
    """The first of ever shorter steps that stays inside the cone, and its factor."""
    length = 1.0
    for _ in range(TRIES):
        moved = diagonal + length * step
        if (moved > 0).all():
            factor = factor_of(gram - np.diag(moved))
            if factor is not None:
                if length == 1.0:
                    return moved, factor
                moved = diagonal + CENTRE * length * step
                return moved, factor_of(gram - np.diag(moved))
        length *= BACK
    return diagonal, None
