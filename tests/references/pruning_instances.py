"""Small pruning problems and their optima by brute force over supports."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from scipy.optimize import lsq_linear

KINDS = ("random", "uneven", "ill-conditioned", "dead")


def problem(kind: str, n: int, seed: int, channels: int = 2):
    """A Gram matrix (n, n) of one of ``KINDS`` and weights (channels, n)."""
    rng = np.random.default_rng([seed, n, KINDS.index(kind)])
    rows = rng.standard_normal((n + 6, n))
    if kind == "uneven":
        rows = rows * 10.0 ** rng.uniform(-3, 3, n)
    if kind == "ill-conditioned":
        rows = rows @ np.diag(np.geomspace(1, 1e-3, n)) @ rng.standard_normal((n, n))
    if kind == "dead":
        rows[:, n // 2] = 0
    gram = rows.T @ rows
    return (gram + gram.T) / 2, rng.standard_normal((channels, n))


def brute_force(gram, w, keep):
    """Least error over all supports of ``keep`` inputs, by solving every normal equation."""
    live = np.flatnonzero(np.diag(gram) > 0)
    return least(gram, w, itertools.combinations(live, min(keep, len(live))))


def brute_force_pattern(gram, w, pattern):
    """Least error over all supports with N of every M inputs."""
    return least(gram, w, pattern_supports(np.diag(gram) > 0, pattern))


def pattern_supports(live, pattern) -> Iterator[tuple[int, ...]]:
    """Largest supports of an N:M pattern among the ``live`` inputs (n,)."""
    most, size = pattern
    parts = []
    for start in range(0, len(live), size):
        group = [i for i in range(start, min(start + size, len(live))) if live[i]]
        parts.append(list(itertools.combinations(group, min(most, len(group)))))
    for choice in itertools.product(*parts):
        yield tuple(itertools.chain.from_iterable(choice))


def least(gram, w, supports):
    """Least error over the given supports; no worse than keeping nothing."""
    best = float(w @ gram @ w)
    for support in supports:
        s = list(support)
        v = np.zeros(len(w))
        if s:
            v[s] = np.linalg.solve(gram[np.ix_(s, s)], gram[s] @ w)
        d = (v - w).astype(np.longdouble)
        best = min(best, float(d @ gram @ d))
    return max(best, 0.0)


def brute_force_boxed(root, w, keep, low, high):
    """Least ``|root (v - w)|^2`` over all supports of ``keep`` inputs, weights in [low, high]."""
    best = np.inf
    for support in itertools.combinations(range(len(w)), keep):
        s = list(support)
        answer = lsq_linear(root[:, s], root @ w, (low, high), method="bvls", tol=1e-14)
        v = np.zeros(len(w))
        v[s] = answer.x
        best = min(best, float(np.sum((root @ (v - w)) ** 2)))
    return best
