"""The paper's mixed-integer program, solved by SCIP: an independent reference.

Kuzmin et al. (NeurIPS 2023, section 4): minimise ``(v-w)^T G (v-w)`` with a binary mask ``z``,
``low_i z_i <= v_i <= high_i z_i`` and ``sum z <= k``. Where no box is given the big-M comes from
the incumbent: an error of at most U confines ``v_i`` to ``w_i +- sqrt(U (G^-1)_ii)``.

What helps SCIP: the energy scaled to one, and the perspective of a diagonal D with ``G - D``
positive semidefinite (Frangioni & Gentile 2006): ``error = |R (v - w)|^2 + sum D_i (s_i - 2 w_i
v_i + w_i^2)`` with ``v_i^2 <= s_i z_i`` and ``R^T R = G - D``.

SCIP computes in floating point with tolerances, so its bound is *certified* under this rule: every
row may be violated by ``FEASIBILITY`` and reduced costs may be wrong by as much, which moves an
objective bound by about that times one plus the number of rows and the variables' ranges; ten
times ``FEASIBILITY (1 + rows + ranges)`` of the energy is subtracted. A bound that still exceeds an
attained error is discarded.
"""

from __future__ import annotations

import importlib

import numpy as np

from bounds.errors import MethodError, SolverError
from bounds.problem.gram import Floats, Problem
from bounds.problem.limits import Limits
from bounds.problem.sparsity import Box
from bounds.pruning.box import box_refit
from bounds.pruning.heuristics.swap import swap
from bounds.pruning.reduced import Ints, Mask, ReducedProblem
from bounds.pruning.refit import reduced_upper, refit
from bounds.pruning.relaxation.perspective import multipliers

FEASIBILITY = 1e-7  # a tenth of SCIP's default; ten times it is subtracted from its bound


def scip(
    reduced: ReducedProblem, problem: Problem, limits: Limits, box: Box | None = None
) -> tuple[Mask, Floats, Mask, Ints, tuple[str, ...]]:
    """Solve every channel by SCIP, one thread.

    Returns:
        (masks (channels, m), lower (channels,) in reduced units, finished, nodes, notes).

    Raises:
        MethodError: pyscipopt is not installed.
        SolverError: SCIP stopped with neither a solution nor a limit.
    """
    try:
        module = importlib.import_module("pyscipopt")
    except ImportError as error:
        raise MethodError(
            "method 'scip' needs pyscipopt: pip install pyscipopt, or use method 'exact'"
        ) from error
    masks = swap(reduced, problem.weights)
    lower = np.zeros(reduced.channels)
    finished = np.zeros(reduced.channels, bool)
    nodes = np.zeros(reduced.channels, np.int64)
    notes: tuple[str, ...] = ()
    if reduced.size == 0 or reduced.capacity.sum() == 0:
        return masks, lower, ~finished, nodes, notes
    d = multipliers(reduced, accuracy=1e-3)[1] * (1 - 1e-6)
    upper = reduced_upper(reduced, _fit(reduced, masks, box, np.arange(reduced.channels)))
    for c in range(reduced.channels):
        if not upper[c] > 0:
            finished[c] = True
            continue
        bound, finished[c], nodes[c], mask = _solve(
            module, reduced, c, d[c], float(upper[c]), masks[c], limits, box
        )
        if mask is not None:
            row = np.array([c])
            attained = reduced_upper(reduced, _fit(reduced, mask[None], box, row), row)[0]
            if attained < upper[c]:
                masks[c], upper[c] = mask, attained
        if bound > upper[c]:
            bound, notes = 0.0, ("SCIP's bound exceeded an attained error and was discarded.",)
        lower[c] = bound
    return masks, lower, finished, nodes, notes


def _solve(
    module,
    reduced: ReducedProblem,
    c: int,
    d: Floats,
    upper: float,
    start: Mask,
    limits: Limits,
    box: Box | None,
) -> tuple[float, bool, int, Mask | None]:
    m = reduced.size
    w = reduced.weights[c]
    energy = float(w @ reduced.gram @ w)
    reach = np.sqrt(upper * np.diag(np.linalg.inv(reduced.gram))) * (1 + 1e-6)
    low, high = w - reach, w + reach
    if box is not None:
        factor = reduced.row_scale[c] / reduced.scale
        low, high = np.minimum(box.low * factor, 0), np.maximum(box.high * factor, 0)
    must = (low > 0) | (high < 0)
    square = np.maximum(low**2, high**2)
    root = np.linalg.cholesky(reduced.gram - np.diag(d)).T / np.sqrt(energy)
    share = d / energy
    tolerance = 10 * FEASIBILITY * (1 + 5 * m + float(np.sum(high - low) + share @ square))

    model = module.Model()
    model.hideOutput()
    model.setParam("lp/threads", 1)
    model.setParam("numerics/feastol", FEASIBILITY)
    model.setParam("numerics/dualfeastol", FEASIBILITY)
    # Closer than what will be subtracted is of no use, and closer than SCIP's own tolerances out of
    # its reach: it would split continuous ranges for minutes. So it would with its usual cuts.
    model.setParam("limits/absgap", tolerance)
    for where in ("minefficacy", "minefficacyroot"):
        model.setParam(f"separating/{where}", FEASIBILITY)
    if limits.seconds is not None:
        model.setParam("limits/time", limits.seconds)
    if limits.nodes is not None:
        model.setParam("limits/nodes", limits.nodes)
    v = [model.addVar(lb=min(low[i], 0.0), ub=max(high[i], 0.0)) for i in range(m)]
    z = [model.addVar(vtype="B", lb=float(must[i])) for i in range(m)]
    s = [model.addVar(lb=0.0, ub=square[i]) for i in range(m)]
    y = [model.addVar(lb=None, ub=None) for _ in range(m)]
    t = model.addVar(lb=0.0, ub=None)
    for i in range(m):
        model.addCons(v[i] >= low[i] * z[i])
        model.addCons(v[i] <= high[i] * z[i])
        model.addCons(v[i] * v[i] <= s[i] * z[i])
        target = float(root[i] @ w)
        model.addCons(y[i] == module.quicksum(root[i, j] * v[j] for j in range(i, m)) - target)
    for g, capacity in enumerate(reduced.capacity):
        model.addCons(module.quicksum(z[i] for i in range(m) if reduced.group[i] == g) <= capacity)
    model.addCons(module.quicksum(y[i] * y[i] for i in range(m)) <= t)
    constant = float(share @ (w * w))
    model.setObjective(
        t
        + module.quicksum(share[i] * (s[i] - 2 * w[i] * v[i]) for i in range(m))
        + constant * model.addVar(lb=1.0, ub=1.0),
        "minimize",
    )
    # Anything no better than the incumbent is of no use; the margin keeps ties.
    model.setObjlimit(upper / energy * (1 + 1e-6))
    if "limits/dual" in model.getParams():  # without a solution of its own SCIP compares no gap
        model.setParam("limits/dual", upper / energy - tolerance)
    model.optimize()
    status = model.getStatus()
    if status in ("unbounded", "inforunbd", "unknown"):
        raise SolverError(f"SCIP stopped with status {status!r} on channel {c}; use method 'exact'")
    bound = upper / energy if status == "infeasible" else model.getDualbound()
    mask = None
    if model.getNSols() > 0:
        solution = model.getBestSol()
        mask = np.array([model.getSolVal(solution, variable) > 0.5 for variable in z])
        mask = mask if _within(mask, reduced) else None
    done = status in ("optimal", "infeasible", "gaplimit", "duallimit")
    return max(0.0, (bound - tolerance) * energy), done, int(model.getNTotalNodes()), mask


def _fit(reduced: ReducedProblem, masks: Mask, box: Box | None, rows: Ints) -> Floats:
    fits = refit(reduced, masks, rows)
    return fits if box is None else box_refit(reduced, masks, fits, box, rows)


def _within(mask: Mask, reduced: ReducedProblem) -> bool:
    counts = np.bincount(reduced.group[mask], minlength=reduced.capacity.size)
    return bool((counts <= reduced.capacity).all())
