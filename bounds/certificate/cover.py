"""A cover of all supports by leaves, each closed by a cost or by multipliers of its own.

A plain depth-first branch and bound, made for small trees rather than speed: every node that its
parent's multipliers (p, D) do not close gets new ones. The result is what ``verify.check_cover``
reads, and is checked there; nothing here needs to be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bounds.problem.gram import check_problem
from bounds.pruning.reduced import reduce_problem
from bounds.pruning.relaxation.perspective import multipliers

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]

#: Share of the target by which a computed bound must exceed it, for its own rounding.
MARGIN = 1e-11
#: Accuracy and Newton steps of a node's multipliers; they are written with so many digits.
ACCURACY, STEPS, DIGITS, SHRINK = 1e-3, 60, 5, (1e-3, 0.05)


class TooLarge(Exception):  # noqa: N818 (a finding, not an error)
    """The tree has more leaves than allowed, or the target is not below every leaf."""


@dataclass
class Cover:
    """The tree being written: Gram (n, n) and weights (n,) of live inputs, nonzeros allowed.

    ``target``: error that every leaf must reach; ``room``: leaves that may still be written.
    """

    gram: Floats
    weights: Floats
    keep: int
    target: float
    room: int
    tree: list[int] = field(default_factory=list)
    duals: list[Pair] = field(default_factory=list)
    names: dict[int, int] = field(default_factory=dict)

    def proof(self) -> dict[str, Any]:
        """The cover as a certificate holds it."""
        duals = [[[float(x) for x in p], [float(x) for x in d]] for p, d in self.duals]
        return {"is": "cover", "duals": duals, "tree": self.tree}

    def leaf(self, dual: Pair | None = None) -> None:
        """Write a leaf closed by a dual, or by a cost."""
        self.room -= 1
        if self.room < 0:
            raise TooLarge
        if dual is None:
            self.tree.append(-1)
            return
        if id(dual) not in self.names:
            self.names[id(dual)] = len(self.duals)
            self.duals.append(dual)
        self.tree.append(-2 - self.names[id(dual)])


@dataclass(frozen=True)
class Node:
    """``constant + (v-w)^T S (v-w)`` in the undecided inputs ``free``, kept ones minimised out."""

    constant: float
    schur: Floats
    weights: Floats
    free: NDArray[np.int64]
    room: int


def find_cover(
    gram: Floats, weights: Floats, keep: int, target: float, leaves: int
) -> dict[str, Any] | None:
    """A proof that every ``keep``-sparse v has an error of at least ``target``, or None.

    Args:
        gram: (n, n) positive definite; weights: (n,); live inputs only.
        leaves: most leaves to write.
    """
    cover = Cover(gram, weights, keep, target * (1 + MARGIN), leaves)
    state = np.zeros(len(weights), np.int64)
    try:
        _visit(cover, state, None)
    except (TooLarge, np.linalg.LinAlgError):
        return None
    return cover.proof()


def _visit(cover: Cover, state: NDArray[np.int64], inherited: Pair | None) -> None:
    """Write the subtree of a node; ``state`` is 1 for kept inputs, -1 for removed ones."""
    node = _reduce(cover, state)
    if node.constant >= cover.target:
        cover.leaf()
        return
    if node.room == 0 or len(node.free) <= node.room:
        raise TooLarge  # a support better than the target
    choice = None
    if inherited is not None:
        choice = _judge(cover, node, inherited)
        if choice is None:
            cover.leaf(inherited)
            return
    for dual in _improve(cover, node):
        choice = _judge(cover, node, dual)
        if choice is None:
            cover.leaf(dual)
            return
        inherited = dual
    if choice is None:
        raise TooLarge
    cover.tree.append(choice)
    for decision in (-1, 1):
        child = state.copy()
        child[choice] = decision
        _visit(cover, child, inherited)


def _reduce(cover: Cover, state: NDArray[np.int64]) -> Node:
    room = cover.keep - int((state > 0).sum())
    gone = np.flatnonzero((state < 0) | ((state == 0) & (room == 0)))
    left = np.flatnonzero((state > 0) | ((state == 0) & (room > 0)))
    kept = state[left] > 0
    gram, w = cover.gram, cover.weights[left]
    lost = cover.weights[gone]
    pull = gram[np.ix_(left, gone)] @ lost
    constant = float(lost @ gram[np.ix_(gone, gone)] @ lost)
    block = gram[np.ix_(left, left)]
    if len(left):
        moved = np.linalg.solve(block, pull)
        w = w + moved
        constant -= float(pull @ moved)
    cross = block[np.ix_(~kept, kept)]
    schur = block[np.ix_(~kept, ~kept)]
    if kept.any():
        schur = schur - cross @ np.linalg.solve(block[np.ix_(kept, kept)], cross.T)
    return Node(constant, (schur + schur.T) / 2, w[~kept], left[~kept], room)


def _improve(cover: Cover, node: Node) -> list[Pair]:
    """Multipliers for a node, rounded to few digits, zero outside its undecided inputs.

    The best ones first; then some with a smaller D, further from where M is singular: their bound
    is worse, but they say more about the node's children.
    """
    problem = check_problem(node.schur, node.weights[None, :])
    group = np.zeros(len(node.free), np.int64)
    reduced = reduce_problem(problem, group, np.array([node.room]))
    if reduced.notes or reduced.size < len(node.free):
        return []
    p, d = multipliers(reduced, ACCURACY, STEPS)
    full_p, full_d = np.zeros(len(cover.weights)), np.zeros(len(cover.weights))
    full_p[node.free] = p[0] / reduced.scale / reduced.row_scale[0]
    full_d[node.free] = d[0] / reduced.scale**2
    return [(_short(full_p), _short(full_d * (1 - shrink))) for shrink in SHRINK]


def _short(values: Floats) -> Floats:
    return np.array([float(f"{x:.{DIGITS}g}") for x in values])


def _judge(cover: Cover, node: Node, dual: Pair) -> int | None:
    """None if the dual closes the node, else the input whose worse child has the best bound."""
    p, d = dual[0][node.free], dual[1][node.free]
    inverse = np.linalg.inv(node.schur - np.diag(d))
    rho = d * node.weights - p
    pull = inverse @ rho
    y = node.weights + pull
    ratio = p * p / d
    ranked = np.sort(ratio)[::-1]
    bound = node.constant + float((2 * p - d * node.weights) @ node.weights - rho @ pull)
    bound -= float(ranked[: node.room].sum())
    if bound >= cover.target:
        return None
    level = (ranked[node.room - 1] + ranked[node.room]) / 2
    own = np.diag(inverse)
    removed = y * y / own + np.maximum(ratio - level, 0)
    kept = (y - p / d) ** 2 / (1 / d + own) + np.maximum(level - ratio, 0)
    worth = np.minimum(removed, kept) + 1e-3 * np.maximum(removed, kept)
    return int(node.free[int(np.argmax(worth))])
