"""The released pipeline's own steps: its SDP, its 1-opt, its magnitude baseline.

Written anew from what they do, mistakes included; nothing else in this project calls them.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from bounds.errors import SolverError

Floats = NDArray[np.float64]

#: Random roundings of the SDP's solution, per input.
SAMPLES = 3
#: The box of pruned weights, as a factor of the largest and smallest weight.
BOX = 2.0


@dataclass(frozen=True)
class Relaxed:
    """The released SDP's answer for one channel.

    ``value``: the solver's reported optimum as an error, which is published as the bound;
    ``accurate``: the same model's by an interior-point solver, NaN where that is not installed.
    ``floor`` (n,): codes at which the model is centred. ``mean`` (n,), ``covariance`` (n, n): of
    ``z``.
    """

    value: float
    accurate: float
    floor: Floats
    mean: Floats
    covariance: Floats

    def among(self, live: NDArray[np.int64], n: int) -> Relaxed:
        """The same for n inputs, of which this answer is about ``live``; the others are zero."""
        floor, mean, covariance = np.zeros(n), np.zeros(n), np.zeros((n, n))
        floor[live], mean[live] = self.floor, self.mean
        covariance[np.ix_(live, live)] = self.covariance
        return Relaxed(self.value, self.accurate, floor, mean, covariance)


def released_sdp(gram: Floats, weights: Floats, step: float) -> Relaxed:
    """The relaxation with ``Z_ii >= z_i`` around ``floor(w / s)``, no box, by SCS as it comes.

    Args:
        gram: (n, n); weights: (n,); step: of the grid.

    Raises:
        SolverError: the Gram is singular (the released code crashes), or SCS gave nothing.
    """
    import cvxpy as cp

    live = np.flatnonzero(np.diag(gram) > 0)
    if len(live) < len(weights):  # inputs that are zero leave, as in the released code
        found = released_sdp(gram[np.ix_(live, live)], weights[live], step)
        return found.among(live, len(weights))
    n = len(weights)
    scaled = gram * step**2
    try:
        centre = np.linalg.solve(scaled, scaled @ (weights / step))
    except np.linalg.LinAlgError as error:
        raise SolverError("the Gram is singular; the released code stops here") from error
    floor = np.floor(centre)
    slope = scaled @ (floor - weights / step)
    constant = float((floor - weights / step) @ slope)
    # Posed as it was, because how far SCS stops from the optimum depends on that.
    outer, mean = cp.Variable((n, n), symmetric=True), cp.Variable((n, 1))
    lifted = cp.bmat([[outer, mean], [mean.T, np.ones((1, 1))]])
    rows = [cp.diag(outer) >= mean[:, 0], lifted >> 0]
    objective = cp.trace(scaled @ outer) + 2 * slope @ mean[:, 0]
    problem = cp.Problem(cp.Minimize(objective), rows)
    value, accurate = float("nan"), float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # published whatever the solver says about it
        if "CLARABEL" in cp.installed_solvers():
            with contextlib.suppress(cp.SolverError):
                accurate = _reported(problem.solve(solver="CLARABEL"))
        try:
            value = _reported(problem.solve(solver="SCS"))
        except cp.SolverError as error:
            raise SolverError(f"SCS failed on the released SDP: {error}") from error
    if outer.value is None or mean.value is None:
        raise SolverError(f"SCS returned no solution (status {problem.status})")
    z = np.asarray(mean.value)[:, 0]
    covariance = (outer.value + outer.value.T) / 2 - np.outer(z, z)
    return Relaxed(value + constant, accurate + constant, floor, z, covariance)


def _reported(value: Any) -> float:
    """What cvxpy's solve returns, as a number."""
    return float("nan") if value is None else float(np.asarray(value))


def roundings(relaxed: Relaxed, seed: int) -> Floats:
    """Rounded random samples (3 n, n) of the SDP's solution, as codes."""
    values, vectors = np.linalg.eigh(relaxed.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = np.random.default_rng(seed).standard_normal((SAMPLES * len(values), len(values)))
    return relaxed.floor + np.rint(relaxed.mean + noise @ root.T)


@njit(cache=True, nogil=True)
def one_opt(gram: Floats, target: Floats, codes: Floats, lo: float, hi: float) -> None:
    """Greedy best single moves on ``codes`` (n,) in place, inside ``[lo, hi]``.

    The released code is the one with infinite ``lo`` and ``hi``, and clips afterwards.
    """
    n = codes.shape[0]
    for i in range(n):
        codes[i] = min(max(codes[i], lo), hi)
    gradient = gram @ (codes - target)
    for _ in range(1000 * n):
        best, where, move = 0.0, -1, 0.0
        for i in range(n):
            step = min(max(np.rint(codes[i] - gradient[i] / gram[i, i]), lo), hi) - codes[i]
            change = step * (2.0 * gradient[i] + step * gram[i, i])
            if change < best - 1e-12 * gram[i, i]:
                best, where, move = change, i, step
        if where < 0:
            return
        codes[where] += move
        for j in range(n):
            gradient[j] += gram[where, j] * move


def released_codes(
    gram: Floats, target: Floats, relaxed: Relaxed, seed: int, lo: int, hi: int
) -> tuple[Floats, Floats]:
    """The codes the released heuristic ends with, and those it would inside the box, each (n,).

    Both improve the same samples. The released search starts with ``floor(w / s)`` as its best,
    which no one clips, so what it returns may lie outside the box.
    """
    live = np.diag(gram) > 0
    gram, target = np.ascontiguousarray(gram[np.ix_(live, live)]), target[live]
    clipped, inside = [relaxed.floor[live]], [np.clip(relaxed.floor[live], lo, hi)]
    for sample in roundings(relaxed, seed)[:, live]:
        free, boxed = sample.copy(), sample.copy()
        one_opt(gram, target, free, -np.inf, np.inf)
        one_opt(gram, target, boxed, float(lo), float(hi))
        clipped.append(np.clip(free, lo, hi))
        inside.append(boxed)
    full = np.zeros((2, len(live)))
    for row, candidates in zip(full, (clipped, inside), strict=True):
        d = np.array(candidates) - target
        row[live] = candidates[int(np.argmin(((d @ gram) * d).sum(axis=1)))]
    return full[0], full[1]


def refitted_magnitude(gram: Floats, weights: Floats, keep: int, smallest: bool) -> Floats:
    """Errors (channels,) of keeping ``keep`` weights by size and refitting them inside the box.

    ``smallest`` keeps the smallest ones, as the released Matlab script does. Its box is per
    channel: ``[-2 max(0, -min w), 2 max(0, max w)]``.
    """
    values, basis = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * basis.T
    errors = []
    for w in weights:
        order = np.argsort(np.abs(w) if smallest else -np.abs(w), kind="stable")[:keep]
        fitted = np.zeros_like(w)
        low, high = BOX * min(0.0, float(w.min())), BOX * max(0.0, float(w.max()))
        if keep and low < high:
            fitted[order] = lsq_linear(root[:, order], root @ w, (low, high)).x
        d = fitted - w
        errors.append(float(d @ gram @ d))
    return np.array(errors)
