"""A Cholesky factor in BLAS, at any width, with a proof of how good it is.

Nothing is assumed of how the factor and its inverse were found: both residuals are formed by
matrix products, whose rounding is bounded whatever the order of summation (Higham, *Accuracy and
Stability of Numerical Algorithms*, Section 3.5). What follows holds in exact arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, get_lapack_funcs

from bounds.linalg.balance import power_of_two_balance

Floats = NDArray[np.float64]

UNIT = 2.0**-53  # unit roundoff of doubles
#: Covers the rounding of norms, which are sums of up to 1e8 non-negative numbers.
NORM = 1.0 + 1e-7


@dataclass(frozen=True)
class VerifiedFactor:
    """``B = S A S`` (``S`` = ``balance``, powers of two): ``B = R^T R + E``, ``X R^-1 ~ I``.

    Attributes:
        balanced: (n, n) ``B``; factor: (n, n) ``R``, upper; inverse: (n, n) ``X``, upper.
        residual: bound on the 2-norm of ``E``; defect: bound on that of ``R X - I``, below 1/2.
        trace: bound on the trace of ``(R^T R)^-1``; ``residual * trace`` is below 1/2.
        smallest: proven positive lower bound on the least eigenvalue of ``B``.
    """

    balance: Floats
    balanced: Floats
    factor: Floats
    inverse: Floats
    residual: float
    defect: float
    trace: float
    smallest: float

    @property
    def doubt(self) -> float:
        """``B^-1`` lies between ``1 - doubt`` and ``1 + doubt`` times ``X X^T``; may exceed 1."""
        share = self.residual * self.trace
        return (1 + 1e-12) / ((1 - self.defect) ** 2 * (1 - share)) - 1 + 1e-15

    def logdet_lower(self) -> float:
        """A proven lower bound on ``log det A``."""
        logs = np.log(np.diag(self.factor)).astype(np.longdouble)
        exponents = np.log2(self.balance)  # whole numbers
        value = 2 * logs.sum() - 2 * np.longdouble(exponents.sum()) * np.log(np.longdouble(2))
        slack = 8 * UNIT * (np.abs(logs).sum() + np.abs(exponents).sum() + len(logs))
        # log(1 + x) >= -1.39 |x| for |x| <= 1/2, summed over the eigenvalues of R^-T E R^-1
        return float(value - slack - 1.39 * self.residual * self.trace) - UNIT * abs(float(value))


def verified_factor(matrix: Floats) -> VerifiedFactor | None:
    """Factor a symmetric matrix (n, n); None if it is not verified positive definite.

    The diagonal may be a sum rounded once: that rounding is covered.
    """
    n = len(matrix)
    diagonal = np.diag(matrix)
    if not ((diagonal > 0).all() and np.isfinite(diagonal).all()):
        return None
    balance = power_of_two_balance(diagonal)
    balanced = matrix * balance * balance[:, None]
    try:
        factor = cholesky(balanced, lower=False)
    except (LinAlgError, ValueError):
        return None
    (invert,) = get_lapack_funcs(("trtri",), (factor,))
    inverse, failed = invert(factor, lower=0)
    if failed or not np.isfinite(inverse).all():
        return None
    inverse = np.triu(inverse)
    gamma = (n + 4) * UNIT / (1 - (n + 4) * UNIT)
    size = float(np.linalg.norm(factor)) * NORM
    tiny = n * n * 2.0**-1000
    residual = float(np.linalg.norm(balanced - factor.T @ factor)) * NORM
    residual += gamma * size**2 * NORM + 2.0**-52 + tiny
    reach = float(np.linalg.norm(inverse)) * NORM
    defect = float(np.linalg.norm(factor @ inverse - np.eye(n))) * NORM
    defect += gamma * size * reach * NORM + n * UNIT + tiny
    if not defect < 0.5:
        return None
    trace = (reach / (1 - defect)) ** 2 * NORM
    if not residual * trace < 0.5:
        return None
    smallest = (1 / trace - residual) * (1 - 1e-12)
    return VerifiedFactor(balance, balanced, factor, inverse, residual, defect, trace, smallest)


def inverse_form_upper(factor: VerifiedFactor, rows: Floats) -> Floats:
    """Proven upper bounds (channels,) on ``y^T A^-1 y`` for the rows ``y`` (channels, n) as stored.

    ``y^T B^-1 y <= 2 y^T x - x^T B x + |y - B x|^2 / smallest`` for any ``x``; all rounding added.
    """
    n = rows.shape[1]
    y = rows * factor.balance
    x = (y @ factor.inverse) @ factor.inverse.T
    image = x @ factor.balanced
    gamma = 2 * (n + 8) * UNIT
    root = np.sqrt(np.diag(factor.balanced))
    # |B_ij| <= sqrt(B_ii B_jj): B is positive definite up to the residual, which is doubled here
    length = np.abs(x) @ root * (1 + 1e-6)
    slack = 2 * gamma * (length**2 + 2 * (np.abs(y) * np.abs(x)).sum(axis=1))
    slack += 4 * 2.0**-52 * (x * x).sum(axis=1)
    miss = np.sqrt(np.square(y - image).sum(axis=1)) * (1 + gamma)
    miss += gamma * (length * np.sqrt(2.0 * n) + np.sqrt(np.square(y).sum(axis=1)))
    miss += 2.0**-51 * np.sqrt(np.square(x).sum(axis=1))
    value = (2 * y * x - x * image).sum(axis=1) + slack + miss**2 / factor.smallest * (1 + 1e-9)
    return np.maximum(value, 0.0) * (1 + 1e-15) + 2.0**-1000
