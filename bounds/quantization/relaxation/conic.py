"""The SDP relaxation, modelled in cvxpy and solved by a general conic solver.

    minimise    tr(H Z) - 2 u^T H z + u^T H u
    subject to  Z_ii >= (2 k_i + 1) z_i - k_i (k_i + 1)      every code is an integer
                Z_ii <= (lo_i + hi_i) z_i - lo_i hi_i        every code lies in the box
                [[Z, z], [z^T, 1]] positive semidefinite

Park & Boyd (2017) with the box, recentred (integers near the minimiser) and scaled (unit mean
diagonal): uncentred models lose up to 30 dB of accuracy. The solver's value is **not** a bound; its
multipliers are what we take, see ``cuts.lagrangian_bound``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bounds.errors import MethodError, SolverError

Floats = NDArray[np.float64]

SOLVERS = ("SCS", "CLARABEL")


@dataclass(frozen=True)
class Relaxation:
    """A conic solver's answer, in the model's units.

    ``value``: reported optimum (not a bound). ``mean`` (n,), ``covariance`` (n, n): primal solution
    ``z`` and ``Z - z z^T``. ``integer``, ``box`` (n,): multipliers of the two rows of inequalities.
    """

    value: float
    mean: Floats
    covariance: Floats
    integer: Floats
    box: Floats


def solve_relaxation(
    gram: Floats,
    target: Floats,
    floors: Floats,
    lo: Floats,
    hi: Floats,
    *,
    gaps: Floats | float = 1.0,
    solver: str = "SCS",
    accuracy: float = 1e-5,
    time_limit: float | None = None,
) -> Relaxation:
    """Solve the relaxation of one channel.

    Args:
        gram: (n, n) of unit mean diagonal; target: (n,) uncompressed codes; floors: (n,) the
            integers k; lo, hi: (n,) the box; all recentred.
        gaps: (n,) distance from k to the next level, where that is no integer.
        accuracy: the solver's relative and absolute tolerance.

    Raises:
        MethodError: unknown or missing solver.  SolverError: it returned no multipliers.
    """
    import cvxpy as cp

    if solver not in SOLVERS or solver not in cp.installed_solvers():
        raise MethodError(f"conic solver {solver} is not installed; choose from {SOLVERS}")
    n = len(target)
    lifted = cp.Variable((n + 1, n + 1), PSD=True)
    outer, mean = lifted[:n, :n], lifted[:n, n]
    integer = cp.diag(outer) - cp.multiply(2 * floors + gaps, mean) + floors * (floors + gaps) >= 0
    box = cp.multiply(lo + hi, mean) - lo * hi - cp.diag(outer) >= 0
    pull = gram @ target
    objective = cp.sum(cp.multiply(gram, outer)) - 2 * pull @ mean + target @ pull
    problem = cp.Problem(cp.Minimize(objective), [integer, box, lifted[n, n] == 1])
    options: dict[str, float] = {}
    if solver == "SCS":
        options = {"eps_abs": accuracy, "eps_rel": accuracy, "max_iters": 20000}
        if time_limit is not None:
            options["time_limit_secs"] = time_limit
    elif time_limit is not None:
        options["time_limit"] = time_limit
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an inaccurate solution is still a source of multipliers
        try:
            problem.solve(solver=solver, **options)
        except cp.SolverError as error:
            raise SolverError(f"{solver} failed on the SDP relaxation: {error}") from error
    if integer.dual_value is None or lifted.value is None:
        raise SolverError(f"{solver} returned no solution (status {problem.status})")
    value = np.asarray(lifted.value)
    z = value[:n, n]
    return Relaxation(
        float(np.asarray(problem.value)),
        z,
        value[:n, :n] - np.outer(z, z),
        np.maximum(np.asarray(integer.dual_value), 0.0),
        np.maximum(np.asarray(box.dual_value), 0.0),
    )
