"""The search of one hard channel: straight to the optimum, or as far as its limits let it prove.

A finished walk proves that no codes cost less than its radius, whether or not any were found. Where
the whole tree is too large for the limits, walks of smaller radius are closed instead, the radius
as large as the estimated tree allows: depth first, in no memory, yet with the bound a best-first
search of as many nodes would leave (iterative deepening: Korf, Artificial Intelligence 27, 1985).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bounds.problem.limits import Limits
from bounds.quantization.codes import CodeProblem
from bounds.quantization.heuristics.attained import beam
from bounds.quantization.levels import LevelProblem
from bounds.quantization.relaxation.bound import Dual, solve_channel
from bounds.quantization.search.enumeration import Walk
from bounds.quantization.search.lattice import Lattice, Reduction, make_lattice
from bounds.quantization.search.leveled import Leveled, level_shifts, own_shift
from bounds.quantization.search.shifted import PROBES, Shifted, shifts

Floats = NDArray[np.float64]

SLICE_NODES = 1_000_000
BEAM_WIDTH, WIDE_BEAM = 128, 4096
#: The first walk shows how fast this problem is walked and how far its tree is from the estimate,
#: the next the same for a larger tree; those after it use up what is left.
FIRST_NODES = 1_000_000
SHARES = (0.0, 0.15, 0.9)
WORTHWHILE = 1.5  # a further walk must be this much larger than any before
RADIUS_STEPS = 8
QUICK_NODES = 2e6  # so many nodes take less time than a dual and its shifts
OWN_NODES = 200_000  # of a tree with a channel's own multipliers, before others are tried
TRIAL_NODES = 50_000  # of a walk in a reduced basis, before its tree is judged
PATIENCE = 4.0  # a tree this much larger than estimated is given up
#: Walks that visit less than this share of what they were given, so many in a row, are not getting
#: anywhere: on a singular Gram bounds can creep up for ever. What is left then goes to one walk.
IDLE_SHARE, MOST_IDLE = 0.01, 5
LARGE, PROBES_LARGE = 1e8, 2000  # trees from this size on deserve a better estimate
SPEED = 1e7  # nodes a second, until it is measured


@dataclass
class Budget:
    """Nodes and seconds of one channel, spent and left."""

    limits: Limits
    spent: int
    begin: float = field(default_factory=time.perf_counter)
    nodes: int = 0
    walking: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds left, infinite without a limit."""
        if self.limits.seconds is None:
            return np.inf
        return self.limits.seconds - (time.perf_counter() - self.begin)

    @property
    def room(self) -> float:
        """Nodes left of the node limit."""
        return np.inf if self.limits.nodes is None else self.limits.nodes - self.spent - self.nodes

    @property
    def left(self) -> float:
        """Nodes left of both limits, at the speed seen so far."""
        speed = self.nodes / self.walking if self.nodes else SPEED
        return min(self.room, max(self.seconds_left, 0.0) * speed)

    @property
    def over(self) -> bool:
        """Whether a limit is met."""
        return self.room <= 0 or self.seconds_left <= 0

    def walk(self, shifted: Shifted | Leveled, walk: Walk) -> int:
        """Walk until the tree is closed or a limit is met; returns the nodes visited."""
        begin, before = time.perf_counter(), self.nodes
        while not walk.finished and not self.over:
            room = int(min(SLICE_NODES, self.room))
            self.nodes += shifted.walk_on(walk, room)
        self.walking += time.perf_counter() - begin
        return self.nodes - before


@dataclass
class Found:
    """Best codes (n,) so far, the best bound proven (energy units), and if that is the optimum."""

    codes: Floats
    lower: float
    finished: bool = False
    nodes: int = 0
    dual: Dual | None = None

    def improve(self, codes: CodeProblem | LevelProblem, others: Sequence[Floats]) -> None:
        """Take the cheapest of the codes held and ``others``, each (n,)."""
        all_codes = np.stack([self.codes, *others])
        self.codes = all_codes[int(np.argmin(codes.costs(all_codes)))]


def search_hard(
    codes: CodeProblem | LevelProblem,
    c: int,
    incumbent: Floats,
    limits: Limits,
    spent: int,
    reduction: Reduction | None = None,
) -> Found:
    """Search channel ``c`` from codes ``incumbent`` (n,), ``spent`` nodes having been visited.

    ``reduction``: of the chunk; a small tree in its basis is walked before anything else is tried,
    a larger one where every shift is estimated to be larger still.
    """
    budget = Budget(limits, spent)
    single = codes.channel(c)
    found = Found(incumbent, -np.inf)
    lattice = None
    if isinstance(single, CodeProblem) and reduction and reduction.worthwhile:
        lattice = make_lattice(single, reduction)
    if lattice is not None and walk_reduced(single, lattice, QUICK_NODES, found, budget):
        found.nodes = budget.nodes
        return found
    if isinstance(single, LevelProblem) and walk_own(single, found, budget):
        found.nodes = budget.nodes
        return found
    dual = solve_channel(single, 0)
    found.dual = dual
    if dual.lower > 0:  # 0 proves nothing, not even that the form is nowhere negative
        found.lower = max(found.lower, dual.lower)
    found.improve(single, [beam(single, BEAM_WIDTH)[0]])
    candidates: Sequence[Shifted | Leveled] = (
        level_shifts(single, dual) if isinstance(single, LevelProblem) else shifts(single, dual)
    )
    whole = [s.nodes(s.radius(found.codes)) for s in candidates]
    order = np.argsort(whole)
    candidates, whole = [candidates[i] for i in order], whole[order[0]]
    if lattice is not None:
        walk_reduced(single, lattice, min(whole, budget.left), found, budget)
    bias, largest, stage = 1.0, 0, 0  # bias: nodes visited over nodes estimated
    idle = 0  # stages in a row whose tree was next to nothing
    while not (found.finished or budget.over):
        left = budget.left
        if left < np.inf:
            target = max(SHARES[min(stage, len(SHARES) - 1)] * left, min(FIRST_NODES, left / 2))
        else:
            target = np.inf
        plan = None
        if whole * bias > target >= WORTHWHILE * largest and idle < MOST_IDLE:
            if stage == 2 and WIDE_BEAM * single.features < 0.05 * left:
                found.improve(single, [beam(single, WIDE_BEAM)[0]])
            plan = widest(candidates, found, target / bias)
        # Where no smaller walk pays, by estimates that may be wrong, all that is left goes here.
        chosen, radius, size = plan or (candidates[0], np.inf, whole)
        visited = walk_stage(single, chosen, radius, found, budget)
        bias, largest = max(visited / max(size, 1.0), 0.1), max(largest, visited)
        idle = idle + 1 if visited < IDLE_SHARE * min(target, SLICE_NODES) else 0
        stage += 1
    found.nodes = budget.nodes
    return found


def walk_own(codes: LevelProblem, found: Found, budget: Budget) -> bool:
    """Walk a tree with a channel's own multipliers, if it is small; whether it is finished.

    Unevenly spaced levels make multipliers differ from channel to channel, so that trees shared by
    a chunk are many times larger than these.
    """
    found.dual = solve_channel(codes, 0, 0)
    tree = own_shift(codes, found.dual)
    walk = tree.walk(tree.radius(found.codes))
    while not (walk.finished or budget.over or budget.nodes >= OWN_NODES):
        begin = time.perf_counter()
        budget.nodes += tree.walk_on(walk, int(min(OWN_NODES, budget.room)))
        budget.walking += time.perf_counter() - begin
    better = tree.found(walk)
    if better is not None:
        found.improve(codes, [better])
    if walk.finished:
        upper = codes.errors(found.codes[None, :])
        found.lower = max(found.lower, float(tree.proves(np.array([walk.cost]), upper)[0]))
        found.finished = True
    return walk.finished


def walk_reduced(
    codes: CodeProblem | LevelProblem, lattice: Lattice, most: float, found: Found, budget: Budget
) -> bool:
    """Walk the tree in the reduced basis, and finish it if it is no larger than ``most`` nodes.

    It is judged after ``TRIAL_NODES``, when the walk has found better codes than it began with;
    a tree that turns out to be much larger than its estimate is given up. Whether it is finished.
    """
    walk = lattice.walk(lattice.radius(found.codes))
    before, allowed = budget.nodes, min(TRIAL_NODES, PATIENCE * most)
    while not (walk.finished or budget.over):
        if budget.nodes - before >= allowed:
            if allowed > TRIAL_NODES or lattice.nodes(walk.cost) > most:
                break
            allowed = PATIENCE * most
        begin = time.perf_counter()
        slice_nodes = min(SLICE_NODES, budget.room, before + allowed - budget.nodes)
        budget.nodes += lattice.walk_on(walk, max(int(slice_nodes), 1))
        budget.walking += time.perf_counter() - begin
    if not np.isnan(walk.best[0]):
        found.improve(codes, [walk.best])
    if walk.finished:
        upper = float(codes.errors(found.codes[None, :])[0])
        found.lower = max(found.lower, lattice.proves(walk.cost, upper))
        found.finished = True
    return walk.finished


def widest(
    candidates: Sequence[Shifted | Leveled], found: Found, target: float
) -> tuple[Shifted | Leveled, float, float] | None:
    """The shift, radius and estimated nodes that promise the best bound for ``target`` nodes.

    None if none promises more than is proven.
    """
    probes = PROBES if target < LARGE else PROBES_LARGE
    codes = candidates[0].codes
    unit = float(codes.to_error(np.ones(1, np.longdouble))[0])
    best, chosen = max(found.lower, 0.0) / unit, None
    for shifted in candidates:
        base, room = float(shifted.centred.value[0]), shifted.radius(found.codes)
        low, high = max((best - base) / room, 0.0), 1.0
        if low >= high or (low > 0 and shifted.nodes(room * low, probes) > target):
            continue  # even the best bound so far costs more here
        size = 1.0
        for _ in range(RADIUS_STEPS):
            middle = (low + high) / 2
            nodes = shifted.nodes(room * middle, probes)
            if nodes <= target:
                low, size = middle, nodes
            else:
                high = middle
        if base + room * low > best:
            best, chosen = base + room * low, (shifted, room * low, size)
    return chosen


def walk_stage(
    codes: CodeProblem | LevelProblem,
    shifted: Shifted | Leveled,
    radius: float,
    found: Found,
    budget: Budget,
) -> int:
    """Walk one tree and take into ``found`` what it shows; returns the nodes visited."""
    full = shifted.radius(found.codes)
    walk = shifted.walk(min(radius, full))
    visited = budget.walk(shifted, walk)
    better = shifted.found(walk)
    if better is not None:
        found.improve(codes, [better])
    cost = walk.cost if walk.finished else shifted.open_bound(walk)
    found.finished = walk.finished and (better is not None or radius >= full)
    upper = codes.errors(found.codes[None, :])
    lower = shifted.proves(np.array([cost]), upper)
    found.lower = max(found.lower, float(lower[0]))
    return visited
