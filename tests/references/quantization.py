"""The quantization problem as general mixed-integer solvers see it: references and yardsticks."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """``codes`` (n,), the solver's own primal and dual values, nodes, and whether it finished."""

    codes: Floats
    primal: float
    dual: float
    nodes: int
    finished: bool


def scip(gram: Floats, target: Floats, lo: int, hi: int, seconds: float = 60.0) -> Answer:
    """SCIP on ``min t``, ``|y|^2 <= t``, ``y = R (z - u)``: one thread, gap 1e-9."""
    from pyscipopt import Model, quicksum

    n = len(target)
    factor = np.linalg.cholesky(gram).T
    model = Model()
    model.hideOutput()
    model.setParam("limits/time", seconds)
    model.setParam("limits/gap", 1e-9)
    model.setParam("parallel/maxnthreads", 1)
    centre = np.rint(target)
    z = [model.addVar(vtype="I", lb=lo - centre[i], ub=hi - centre[i]) for i in range(n)]
    y = [model.addVar(lb=None, ub=None) for _ in range(n)]
    t = model.addVar(lb=0.0)
    for i in range(n):
        row = quicksum(factor[i, j] * (z[j] - (target[j] - centre[j])) for j in range(i, n))
        model.addCons(y[i] == row)
    model.addCons(quicksum(v * v for v in y) <= t)
    model.setObjective(t)
    model.optimize()
    codes = np.array([round(model.getVal(v)) for v in z]) + centre
    return Answer(
        codes,
        float(model.getObjVal()),
        float(model.getDualbound()),
        int(model.getNNodes()),
        model.getStatus() in ("optimal", "gaplimit"),
    )


def gurobi(gram: Floats, target: Floats, lo: int, hi: int, seconds: float = 60.0) -> Answer:
    """Gurobi on the integer quadratic program itself: one thread, gap 1e-9."""
    gp = importlib.import_module("gurobipy")  # optional: absent where this is type-checked
    n = len(target)
    centre = np.rint(target)
    offset = target - centre
    with gp.Env(params={"OutputFlag": 0}) as env, gp.Model(env=env) as model:
        model.Params.Threads = 1
        model.Params.TimeLimit = seconds
        model.Params.MIPGap = 1e-9
        z = model.addMVar(n, lb=lo - centre, ub=hi - centre, vtype="I")
        model.setObjective(z @ gram @ z - 2 * (gram @ offset) @ z + offset @ gram @ offset)
        model.optimize()
        return Answer(
            np.rint(z.X) + centre,
            float(model.ObjVal),
            float(model.ObjBound),
            int(model.NodeCount),
            model.Status == gp.GRB.OPTIMAL,
        )
