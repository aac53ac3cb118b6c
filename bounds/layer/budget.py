"""A budget of nonzeros shared by channels: each keeps as many as serve the whole best.

The same k in every channel handicaps pruning. With ``err_c(k)`` the least error of channel c with k
nonzeros, the least error of all with K together is ``min sum_c err_c(k_c)`` over ``sum k_c <= K``.
For any price >= 0,

    sum_c min_k [err_c(k) + price k] - price K

is a lower bound (weak duality), and with tables of ``err_c`` the minimum itself is found by dynamic
programming. Only entries that matter are solved: an unsolved one is at least the next solved one,
for more weights never hurt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.errors import ProblemError
from bounds.linalg.forms import form_lower, form_upper
from bounds.problem.answer import answer
from bounds.problem.attempt import Options
from bounds.problem.checks import whole_number
from bounds.problem.gram import Problem, check_problem
from bounds.problem.grid import Grid
from bounds.problem.joint import Joint
from bounds.problem.limits import DEFAULT_SECONDS, Limits
from bounds.problem.range import EXACT, Bounded, Range
from bounds.problem.rule import GridRule
from bounds.problem.sparsity import Sparse
from bounds.quantization.solve import asked_grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Bisections of the price; relative rounding of sums over channels.
BISECTIONS = 80
ROUNDING = 2.0**-52


@dataclass(frozen=True, eq=False)
class BudgetRange(Bounded):
    """The range of the error of all channels together under a shared budget.

    Attributes:
        lower, upper: proven lower bound and attained value of the summed error.
        energy: (channels,); weights: (channels, n) that attain ``upper``.
        kept: (channels,) nonzeros of ``weights``; keep: the budget K.
        price: of a nonzero, at the best bound by prices; ``priced``: that bound, at most ``lower``.
        equal: the attained error where every channel keeps the same, K / channels rounded down.
        solved, exact: how many ``err_c(k)`` were asked for, and how many of them proven.
    """

    lower: float
    upper: float
    energy: Floats
    weights: Floats
    kept: Ints
    keep: int
    price: float
    priced: float
    equal: float
    solved: int
    exact: int


class Tables:
    """What is known of ``err_c(k)``: ``lower``, ``upper`` (channels, n+1), solved on demand."""

    def __init__(self, problem: Problem, solve: Callable[[int, Ints], Range], top: Range) -> None:
        """``solve(k, rows)``: the range of some channels; ``top``: of all with every input kept."""
        channels, n = problem.weights.shape
        self.solve, self.n = solve, n
        self.solved = np.zeros((channels, n + 1), bool)
        self.lower, self.upper = np.zeros((channels, n + 1)), np.full((channels, n + 1), np.inf)
        self.weights: dict[tuple[int, int], Floats] = {}
        self.asked = self.exact = 0
        nothing = np.zeros_like(problem.weights)
        self.lower[:, 0] = form_lower(problem.gram, problem.weights)
        self.upper[:, 0] = form_upper(problem.gram, problem.weights)
        self.solved[:, 0] = True
        for c in range(channels):
            self.weights[c, 0] = nothing[c]
        self._take(n, np.arange(channels), top)

    def _take(self, k: int, rows: Ints, found: Range) -> None:
        self.lower[rows, k], self.upper[rows, k] = found.lower, found.upper
        self.solved[rows, k] = True
        for c, values in zip(rows, found.weights, strict=True):
            self.weights[int(c), k] = values

    def want(self, wanted: NDArray[np.bool_]) -> bool:
        """Solve what is ``wanted`` (channels, n+1) and not solved; whether there was any."""
        missing = wanted & ~self.solved
        for k in np.flatnonzero(missing.any(axis=0)):
            rows = np.flatnonzero(missing[:, k])
            found = self.solve(int(k), rows)
            self.asked += len(rows)
            self.exact += found.count(EXACT)
            self._take(int(k), rows, found)
        return bool(missing.any())

    def bounds(self) -> Floats:
        """Lower bounds (channels, n+1): of an unsolved entry, the next solved one's."""
        known = np.where(self.solved, self.lower, -np.inf)
        return np.maximum.accumulate(known[:, ::-1], axis=1)[:, ::-1]

    def best(self) -> tuple[Floats, Ints]:
        """Attained errors (channels, n+1) with at most k nonzeros, and the entry that does it."""
        entry = np.zeros(self.upper.shape, np.int64)
        upper = self.upper.copy()
        for k in range(1, self.n + 1):
            worse = ~(upper[:, k] < upper[:, k - 1])
            upper[worse, k] = upper[worse, k - 1]
            entry[:, k] = np.where(worse, entry[:, k - 1], k)
        return upper, entry

    def guess(self) -> Floats:
        """Between solved entries errors are taken to fall geometrically; proves nothing."""
        values = np.log(np.maximum(self.upper, 1e-300 + 1e-12 * self.upper[:, :1]))
        k = np.arange(self.n + 1)
        return np.exp([np.interp(k, k[s], v[s]) for s, v in zip(self.solved, values, strict=True)])


def best_price(table: Floats, keep: int) -> tuple[float, float]:
    """The price (>= 0) whose bound from ``table`` (channels, n+1) is best, and that bound."""
    k = np.arange(table.shape[1])
    low, high = 0.0, float(table[:, 0].max(initial=0.0))
    for _ in range(BISECTIONS):
        price = (low + high) / 2
        if np.argmin(table + price * k, axis=1).sum() > keep:
            low = price
        else:
            high = price
    values = [(float((table + p * k).min(axis=1).sum()) - p * keep, p) for p in (low, high)]
    value, price = max(values)
    size = float((table + price * k).min(axis=1).sum()) + price * keep
    return price, value - (len(table) + 4) * ROUNDING * size


def allocate(table: Floats, keep: int) -> tuple[float, Ints]:
    """The least sum over channels with at most ``keep`` together, and each one's k (channels,)."""
    channels, size = table.shape
    best = np.zeros(keep + 1)
    choice = np.zeros((channels, keep + 1), np.int16)
    for c in range(channels):
        trial = np.full((min(size, keep + 1), keep + 1), np.inf)
        for k in range(len(trial)):
            trial[k, k:] = best[: keep + 1 - k] + table[c, k]
        choice[c] = np.argmin(trial, axis=0)
        best = trial.min(axis=0)
    kept = np.zeros(channels, np.int64)
    left = keep
    for c in range(channels - 1, -1, -1):
        kept[c] = choice[c, left]
        left -= int(kept[c])
    return float(best[keep]), kept


def budget_range(
    gram: ArrayLike,
    weights: ArrayLike,
    *,
    keep: int,
    bits: int | None = None,
    scale: ArrayLike | str | None = None,
    grid: Grid | GridRule | str | None = None,
    time_limit: float | None = DEFAULT_SECONDS,
    node_limit: int | None = None,
) -> BudgetRange:
    """The range of the error summed over channels with at most ``keep`` nonzeros in all together.

    Args:
        gram: (n, n); weights: (channels, n).
        keep: the whole budget, up to channels times n.
        bits, scale, grid: a grid for the kept weights; without one they are real numbers.
        time_limit, node_limit: of each channel's search at each k.

    Raises:
        ProblemError: numbers that define no problem.
    """
    problem = check_problem(gram, weights)
    most = problem.weights.size
    keep = whole_number("keep", keep, 0)
    if keep > most:
        raise ProblemError(f"keep must be at most the {most} weights there are, got {keep}")
    options = Options(Limits(time_limit, node_limit))
    chosen = None
    if not (bits is None and scale is None and grid is None):
        chosen = asked_grid(problem, bits, scale, grid)

    return shared_budget(problem, budget_tables(problem, chosen, options), keep)


def budget_tables(problem: Problem, grid: Grid | None, options: Options) -> Tables:
    """Tables of a problem, kept weights on ``grid`` or real; one serves every budget."""

    def solve(k: int, rows: Ints) -> Range:
        budget = Sparse(k)
        if grid is None:
            return answer(problem.rows(rows), budget, "exact", options)
        some = grid.rows(rows)  # pyright: ignore[reportArgumentType] (rows by number)
        return answer(problem.rows(rows), Joint(some, budget), "exact", options)

    return Tables(problem, solve, solve(problem.features, np.arange(problem.channels)))


def shared_budget(problem: Problem, tables: Tables, keep: int) -> BudgetRange:
    """The range under a budget ``keep``; what ``tables`` lack is solved."""
    channels, n = problem.weights.shape
    index = np.arange(channels)
    equal = keep // channels
    wanted = np.zeros((channels, n + 1), bool)
    wanted[:, [equal, min(equal + 1, n), min(2 * equal, n)]] = True
    while tables.want(wanted):  # towards a good allocation, by guesses
        wanted = np.zeros_like(wanted)
        wanted[index, allocate(tables.guess(), keep)[1]] = True
    while True:  # until nothing unsolved stands in the way of the price's bound
        table = tables.bounds()
        price, _ = best_price(table, keep)
        priced = table + price * np.arange(n + 1)
        wanted = priced <= priced.min(axis=1, keepdims=True)
        if not tables.want(wanted):
            break
    while True:  # and of the minimum over allocations
        lower, kept = allocate(tables.bounds(), keep)
        wanted = np.zeros_like(wanted)
        wanted[index, kept] = True
        if not tables.want(wanted):
            break
    lower -= (channels + 4) * ROUNDING * lower
    price, bound = best_price(tables.bounds(), keep)
    table, entry = tables.best()
    _, kept = allocate(table, keep)
    chosen = entry[index, kept]
    solution = np.array([tables.weights[c, int(k)] for c, k in enumerate(chosen)])
    upper = float(tables.upper[index, chosen].sum()) * (1 + channels * ROUNDING)
    return BudgetRange(
        lower=max(lower, bound, 0.0),
        upper=upper,
        energy=problem.energy,
        weights=solution,
        kept=np.count_nonzero(solution, axis=1),
        keep=keep,
        price=price,
        priced=max(bound, 0.0),
        equal=float(tables.upper[:, equal].sum()),
        solved=tables.asked,
        exact=tables.exact,
    )
