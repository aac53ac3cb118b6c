"""Pruning by general solvers, as a user would model it: for agreement, and for comparison."""

from __future__ import annotations

import contextlib
import importlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answer:
    """What a solver reports of one channel: error, its bound, nodes, whether it finished."""

    value: float
    bound: float
    nodes: int
    finished: bool


def gurobi(gram: Any, w: Any, keep: int, upper: float, seconds: float = 60.0) -> Answer:
    """The paper's program with big-M: one thread, gap 1e-9.

    An attained error ``upper`` confines ``v_i`` to ``w_i +- sqrt(upper (G^-1)_ii)``.
    """
    gp = importlib.import_module("gurobipy")  # optional: absent where this is type-checked
    n = len(w)
    energy = float(w @ gram @ w)
    reach = np.sqrt(upper * np.diag(np.linalg.inv(gram))) * (1 + 1e-6)
    low, high = np.minimum(w - reach, 0), np.maximum(w + reach, 0)
    with gp.Env(params={"OutputFlag": 0}) as env, gp.Model(env=env) as model:
        model.Params.Threads = 1
        model.Params.TimeLimit = seconds
        model.Params.MIPGap = 1e-9
        v, z = model.addMVar(n, lb=low, ub=high), model.addMVar(n, vtype="B")
        model.addConstr(v <= high * z)
        model.addConstr(v >= low * z)
        model.addConstr(z.sum() <= keep)
        scaled = gram / energy
        model.setObjective(v @ scaled @ v - 2 * (scaled @ w) @ v + 1.0)
        model.optimize()
        return Answer(
            float(model.ObjVal) * energy,
            float(model.ObjBound) * energy,
            int(model.NodeCount),
            model.Status == gp.GRB.OPTIMAL,
        )


def okridge(gram: Any, w: Any, keep: int, seconds: float = 60.0) -> Answer:
    """OKRidge (Liu et al., NeurIPS 2023) on the factor of the Gram: ridge 1e-9 of its diagonal."""
    module = importlib.import_module("okridge.tree")
    root = np.linalg.cholesky(gram / np.diag(gram).mean()).T
    target = root @ w
    energy = float(target @ target)
    with contextlib.redirect_stdout(io.StringIO()):
        tree = module.BNBTree(root, target / np.sqrt(energy), lambda2=1e-9, max_memory_GB=4)
        upper, _, gap, bound, _ = tree.solve(keep, gap_tol=1e-9, time_limit=seconds)
    unit = energy * float(np.diag(gram).mean())
    return Answer(
        (1 + float(upper)) * unit,
        (1 + float(bound)) * unit,
        int(tree.number_of_nodes),
        bool(gap <= 1e-9),
    )


def relaxation(gram: Any, w: Any, keep: int) -> float:
    """The perspective relaxation as an SDP, solved by Clarabel.

    ``min tr(G V) - 2 w^T G v + w^T G w`` with ``V - v v^T`` semidefinite, ``v_i^2 <= V_ii z_i``,
    ``0 <= z <= 1``, ``sum z <= k``; energy and diagonal scaled to one. Zero if Clarabel fails.
    """
    cp = importlib.import_module("cvxpy")
    n = len(w)
    energy = float(w @ gram @ w)
    unit = np.sqrt(np.diag(gram))
    w = w * unit / np.sqrt(energy)
    scaled = gram / unit / unit[:, None]
    lifted = cp.Variable((n + 1, n + 1), PSD=True)
    z = cp.Variable(n)
    v = lifted[:n, n]
    rows = [lifted[n, n] == 1, z >= 0, z <= 1, cp.sum(z) <= keep]
    for i in range(n):
        cone = cp.vstack([2 * v[i], lifted[i, i] - z[i]])
        rows.append(cp.SOC(lifted[i, i] + z[i], cp.reshape(cone, (2,), order="F")))
    value = cp.trace(scaled @ lifted[:n, :n]) - 2 * (scaled @ w) @ v + 1.0
    problem = cp.Problem(cp.Minimize(value), rows)
    try:
        problem.solve(solver="CLARABEL")
    except cp.error.SolverError:
        return 0.0
    return float(np.asarray(problem.value)) * energy
