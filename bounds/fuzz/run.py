"""Fuzz: random instances, every method, every statement checked, every breach reproducible."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bounds.errors import MethodError, ProblemError
from bounds.fuzz.checks import Finding, Truth, check_range, finding
from bounds.fuzz.instances import PROBLEMS, Instance, make_instance
from bounds.problem.methods import find_method, table
from bounds.problem.methods import methods as known_methods
from bounds.problem.range import TOLERANCE, Range

#: Seconds after which a run on ten inputs counts as hanging.
PATIENCE = 20.0
#: Seconds of an interrupted search.
INSTANT = 1e-4
#: Most inputs, and channels, of instances that are also solved in a box.
BOXED = 6
REPORT_EVERY = 500
KEPT_FINDINGS = 200


@dataclass
class FuzzReport:
    """What was run and what broke; grows while the fuzz runs.

    Attributes:
        instances: Grams generated; problems: their channels, each a problem of its own.
        runs: calls of a method; channels: ranges checked, one a problem and run.
        refused: runs on extreme numbers that were refused by name.
        seconds: wall time.
        statuses: how often each (method, status) occurred.
        rules: how often each rule was broken, serious or not, as (rule, serious).
        findings: the worst of them, most serious first, at most ``KEPT_FINDINGS``.
    """

    instances: int = 0
    problems: int = 0
    runs: int = 0
    refused: int = 0
    channels: int = 0
    seconds: float = 0.0
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules: Counter[tuple[str, bool]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def serious(self) -> int:
        """Number of findings beyond the stated tolerance."""
        return sum(count for (_, serious), count in self.rules.items() if serious)

    def add(self, new: Sequence[Finding]) -> None:
        """Count findings and keep the worst."""
        self.rules.update((f.rule, f.serious) for f in new)
        self.findings.extend(new)
        self.findings.sort(key=lambda f: (not f.serious, -f.excess))
        del self.findings[KEPT_FINDINGS:]


def fuzz(
    count: int,
    seed: int,
    methods: Sequence[str] | None = None,
    problem: str = "both",
    report: Callable[[FuzzReport], None] | None = None,
    first: int = 0,
) -> FuzzReport:
    """Check ``count`` random instances of sizes 1..10 against brute force.

    Args:
        count: number of instances, each with several channels; with both problems they alternate.
        seed: of the sequence of instances.
        methods: names of either problem; all of ``fast_methods`` if absent.
        problem: ``quantization``, ``pruning``, ``both`` of them, ``joint``, or ``all`` three.
        report: called with the report so far, every ``REPORT_EVERY`` instances and at findings.
        first: index of the first instance, to continue or to reproduce.

    Raises:
        MethodError: no such problem, or no method of it among ``methods``.
    """
    chosen = choose(problem, methods)
    total = FuzzReport()
    for name, picked in chosen.items():  # compile first: that is not what is being timed
        for index in range(first, first + 3):
            check_instance(make_instance(name, seed, index), picked)
    began = time.perf_counter()
    for index in range(first, first + count):
        name = tuple(chosen)[index % len(chosen)]
        new = check_instance(make_instance(name, seed, index), chosen[name], total)
        total.add(new)
        total.seconds = time.perf_counter() - began
        if report and (new or total.instances % REPORT_EVERY == 0):
            report(total)
    return total


def fast_methods(problem: str) -> tuple[str, ...]:
    """Every method of the table that is not left out with a reason."""
    return tuple(method.name for method in table(problem) if not method.unfuzzed)


def choose(problem: str, methods: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """The methods to run for each problem."""
    several = {"both": PROBLEMS[:2], "all": PROBLEMS}
    if problem not in (*PROBLEMS, *several):
        known = ", ".join((*PROBLEMS[:2], "both", *PROBLEMS[2:], "all"))
        raise MethodError(f"unknown problem {problem!r}; choose from {known}")
    names = several.get(problem, (problem,))
    known = {name: known_methods(name) for name in PROBLEMS}
    wrong = set(methods or ()) - {m for name in names for m in known[name]}
    if wrong:
        raise MethodError(f"no method of {problem}: {', '.join(sorted(wrong))}")
    chosen = {
        name: fast_methods(name)
        if methods is None
        else tuple(m for m in methods if m in known[name])
        for name in names
    }
    return {name: picked for name, picked in chosen.items() if picked}


def check_instance(
    instance: Instance, methods: Sequence[str], total: FuzzReport | None = None
) -> list[Finding]:
    """Run ``methods`` on one instance and return every breach; counts go into ``total``."""
    total = FuzzReport() if total is None else total
    total.instances += 1
    total.problems += len(instance.weights)
    truth = Truth(instance)
    found: list[Finding] = []
    for method in methods:
        for options in _runs(method, instance):
            label = method + "".join(f" {k}={v}" for k, v in options.items())
            begin = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    answer = solve(instance, method, **options)
                    broken = list(
                        check_range(
                            truth,
                            answer,
                            label,
                            options.get("tolerance", TOLERANCE),
                            options.get("box"),
                        )
                    )
            except ProblemError as error:
                if instance.extreme:
                    total.refused += 1
                else:
                    found.append(finding(instance, label, "crash", str(error)))
                continue
            except Exception as error:  # a crash on valid data is what we are after
                place = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{type(error).__name__}: {error} ({place.name}:{place.lineno})"
                rule = "warning" if isinstance(error, Warning) else "crash"
                found.append(finding(instance, label, rule, where))
                continue
            found.extend(broken)
            if time.perf_counter() - begin > PATIENCE:
                found.append(finding(instance, label, "slow", f"{answer.seconds:.1f} s"))
            total.runs += 1
            total.channels += len(answer.lower)
            total.statuses.update((method, str(status)) for status in answer.status)
    return found


def _runs(method: str, instance: Instance) -> Iterator[dict[str, Any]]:
    """Plain; interrupted by nodes and the clock; with two-variable cuts; in the paper's box."""
    takes = find_method(instance.problem, method).takes
    if instance.grid is not None and not instance.grid.asks <= takes:
        return  # it would refuse the grid by name
    turn = instance.index // 2  # the two problems may alternate
    yield {}
    if "limits" in takes:
        yield {"node_limit": instance.node_limit, "tolerance": instance.tolerance}
        if turn % 4 == 1:
            yield {"time_limit": INSTANT}
    if "pairs" in takes and turn % 4 == 2 and instance.grid is None:
        yield {"pairs": 2 * len(instance.gram)}
    small = len(instance.gram) <= BOXED and len(instance.weights) <= BOXED
    if "box" in takes and turn % 4 == 0 and small and not instance.extreme:
        yield {"box": 2.0}


def solve(instance: Instance, method: str, **options: Any) -> Range:
    """Run ``method`` of the instance's problem, without a time limit unless ``options`` has one."""
    options = {"time_limit": None} | options
    if instance.problem == "quantization":
        from bounds.quantization.solve import quantization_range

        return quantization_range(
            instance.gram, instance.weights, grid=instance.asked, method=method, **options
        )
    if instance.problem == "joint":
        from bounds.joint.solve import joint_range

        return joint_range(
            instance.gram, instance.weights, bits=instance.bits, scale=instance.scale,
            keep=instance.keep if instance.pattern is None else None, pattern=instance.pattern,
            method=method, **options,
        )  # fmt: skip
    from bounds.pruning.solve import pruning_range

    keep = instance.keep if instance.pattern is None else None
    return pruning_range(
        instance.gram,
        instance.weights,
        keep=keep,
        pattern=instance.pattern,
        method=method,
        **options,
    )
