"""The table of methods: what can be asked for, what each proves, and where it is run.

Everything that needs a list of methods reads this one: the command line, studies, fuzz,
certificates, compilation, figures and documents. A method is plain data; its code is named as text
and loaded when first used, so that reading the table costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar

from bounds.errors import MethodError

T = TypeVar("T")

QUANTIZATION = "quantization"
PRUNING = "pruning"
JOINT = "joint"
#: The two that are compared; every kind of problem there are methods for.
PROBLEMS = (QUANTIZATION, PRUNING)
KINDS = (*PROBLEMS, JOINT)

#: What a method may depend on besides the problem.
TAKES = frozenset({"limits", "seed", "pairs", "pattern", "box", "groups", "levels", "zero"})
#: Other packages announce methods under this name; each entry point is a ``Method``.
ENTRY_POINTS = "layerbounds.methods"


@dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes:
        name: as the user says it, distinct among the methods of its kind.
        kind: ``"quantization"``, ``"pruning"`` or ``"joint"``.
        run: ``"module:function"``; the function takes ``(problem, constraint, options)`` and
            returns a ``bounds.problem.attempt.Attempt`` about all channels.
        does: what it does, in a few words; costs: what that takes, in words.
        proves: ``"nothing"`` (an attained error only), ``"bound"``, or ``"optimum"`` (by a search
            that goes on until nothing is left or a limit is met).
        takes: which of ``TAKES`` change its result; others are refused or ignored.
        needs: a package that must be installed for it.
        unfuzzed: why the fuzz leaves it out unless it is named; empty if it does not.
        together: whether its result for a channel depends on which others there are; such methods
            are never given a few channels at a time.
        foreign: whether another package's solver does the work (nothing of ours to compile).
    """

    name: str
    kind: str
    run: str
    does: str = ""
    costs: str = ""
    proves: Literal["nothing", "bound", "optimum"] = "nothing"
    takes: frozenset[str] = frozenset()
    needs: str | None = None
    unfuzzed: str = ""
    together: bool = False
    foreign: bool = False

    @property
    def ours(self) -> bool:
        """Whether its code is this package's."""
        return self.run.startswith("bounds.")

    def load(self) -> Callable:
        """The function behind the name.

        Raises:
            MethodError: there is none at the place named.
        """
        module, _, function = self.run.partition(":")
        try:
            return getattr(import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise MethodError(
                f"method {self.name!r} is said to run {self.run!r}, which cannot be loaded: {error}"
            ) from error


#: What a grid that is no signed integers with one step a channel asks of a method.
_GRIDS = ("groups", "levels", "zero")


def _quantization(name: str, **more) -> Method:
    takes = frozenset({"groups", "zero", "levels"}) | more.pop("takes", frozenset())
    run = f"bounds.quantization.attempts:{name.replace('-', '_')}"
    return Method(name, QUANTIZATION, run, takes=takes, **more)


def _pruning(name: str, **more) -> Method:
    takes = frozenset({"pattern", "box"}) | more.pop("takes", frozenset())
    run = f"bounds.pruning.attempts:{name.replace('-', '_')}"
    return Method(name, PRUNING, run, takes=takes, **more)


def _joint(name: str, **more) -> Method:
    takes = frozenset({"pattern", *_GRIDS}) | more.pop("takes", frozenset())
    run = f"bounds.joint.attempts:{name.replace('-', '_')}"
    return Method(name, JOINT, run, takes=takes, **more)


_SLOW = "another package's solver: too slow for millions of problems"

_BUILT_IN = (
    _quantization("rtn", does="round to nearest", costs="microseconds a channel"),
    _quantization(
        "gptq",
        does="round one by one, the rest re-optimised (Frantar et al. 2023)",
        costs="microseconds a channel",
    ),
    _quantization(
        "descent",
        does="single and paired moves from several roundings",
        costs="under a millisecond a channel at 36 inputs",
    ),
    _quantization(
        "beam",
        does="the best 32 partial roundings kept, then descent",
        costs="a millisecond a channel at 36 inputs",
    ),
    _quantization(
        "park-boyd",
        proves="bound",
        takes=frozenset({"seed", "pairs"}),
        does="the bound of sdp, its solution rounded at random (Park and Boyd 2017)",
        costs="milliseconds a channel at 36 inputs",
    ),
    _quantization(
        "sdp",
        proves="bound",
        takes=frozenset({"pairs"}),
        does="semidefinite relaxation with integer and box cuts, our dual solver",
        costs="a millisecond a channel at 36 inputs, half a second at 192",
    ),
    Method(
        "sdp-shared",
        QUANTIZATION,
        "bounds.layer.attempts:sdp_shared",
        proves="bound",
        takes=frozenset({"groups", "levels", "zero"}),
        together=True,
        does="one diagonal dual for all channels of a layer, any width",
        costs="a millisecond a channel at 160 inputs",
    ),
    Method(
        "sdp-refined",
        QUANTIZATION,
        "bounds.layer.attempts:sdp_refined",
        proves="bound",
        takes=frozenset({"groups", "levels", "zero"}),
        together=True,
        does="that dual, then a few steps with every channel's own diagonal",
        costs="25 milliseconds a channel at 160 inputs",
    ),
    _quantization(
        "sdp-scs",
        proves="bound",
        takes=frozenset({"limits", "seed"}),
        does="the same relaxation by cvxpy and SCS, its multipliers verified",
        costs="20 to 100 times sdp",
        unfuzzed=_SLOW,
        foreign=True,
    ),
    _quantization(
        "exact",
        proves="optimum",
        takes=frozenset({"limits"}),
        does="enumeration until the optimum is proven",
        costs="under a millisecond a channel at 36 inputs, seconds at 96",
    ),
    _pruning("magnitude", does="keep the largest weights", costs="microseconds a channel"),
    _pruning(
        "magnitude-ls",
        does="keep the largest weights, fit them again",
        costs="microseconds a channel",
    ),
    _pruning(
        "obs",
        does="remove the weight that costs least, one by one (Hassibi and Stork 1993)",
        costs="under a millisecond a channel at 36 inputs",
    ),
    _pruning(
        "forward",
        does="add the weight that helps most, one by one",
        costs="under a millisecond a channel at 36 inputs",
    ),
    _pruning(
        "swap",
        does="exchange kept for removed weights while that helps",
        costs="a millisecond a channel at 36 inputs",
    ),
    _pruning(
        "perspective",
        proves="bound",
        does="perspective relaxation, our dual solver",
        costs="milliseconds a channel at 36 inputs, a second at 192",
    ),
    Method(
        "perspective-shared",
        PRUNING,
        "bounds.layer.attempts:perspective_shared",
        proves="bound",
        takes=frozenset({"pattern", "box"}),
        together=True,
        does="one diagonal dual for all channels of a layer, any width",
        costs="a millisecond a channel at 160 inputs",
    ),
    Method(
        "perspective-refined",
        PRUNING,
        "bounds.layer.attempts:perspective_refined",
        proves="bound",
        takes=frozenset({"pattern", "box"}),
        together=True,
        does="that dual, then a few steps with every channel's own diagonal",
        costs="25 milliseconds a channel at 160 inputs",
    ),
    _pruning(
        "perspective-split",
        proves="bound",
        does="the same over intervals of the inputs' flattest direction, where one is nearly flat",
        costs="up to 32 times perspective where it helps, perspective elsewhere",
    ),
    _pruning(
        "scip",
        proves="optimum",
        takes=frozenset({"limits"}),
        needs="pyscipopt",
        does="mixed-integer quadratic program by SCIP",
        costs="over 1,000 times exact",
        unfuzzed=_SLOW,
        foreign=True,
    ),
    _pruning(
        "exact",
        proves="optimum",
        takes=frozenset({"limits"}),
        does="branch and bound until the optimum is proven",
        costs="milliseconds a channel at 36 inputs, seconds at 64",
    ),
    _joint(
        "prune-quantize",
        does="prune (obs), fit again, round what is left to nearest",
        costs="under a millisecond a channel at 36 inputs",
    ),
    _joint(
        "quantize-prune",
        does="quantize (gptq), then remove the weights that cost least",
        costs="under a millisecond a channel at 36 inputs",
    ),
    _joint(
        "obr",
        does="prune (obs), then round one by one, the kept re-optimised (Guo et al. 2025)",
        costs="under a millisecond a channel at 36 inputs",
    ),
    _joint(
        "descent",
        does="single and paired moves of levels and of places from all of the above",
        costs="a millisecond a channel at 36 inputs",
    ),
    _joint(
        "dual",
        proves="bound",
        together=True,  # one box holds the points of all channels
        does="dual with levels and a price for nonzeros, our solver",
        costs="milliseconds a channel at 36 inputs",
    ),
    _joint(
        "exact",
        proves="optimum",
        together=True,
        takes=frozenset({"limits"}),
        does="branch and bound over places and levels until the optimum is proven",
        costs="tens of milliseconds a channel at 36 inputs",
    ),
)

_REGISTERED: dict[tuple[str, str], Method] = {}


def register(method: Method) -> Method:
    """Add a method of your own to the table of this process; returns it.

    Worker processes of a study are told of it, and import its module by name. To have it in every
    process, name it as an entry point of the group ``layerbounds.methods`` instead.

    Raises:
        MethodError: no such kind, or the name belongs to another method.
    """
    check_problem_name(method.kind)
    known = {(m.kind, m.name): m for m in table()}
    if known.get((method.kind, method.name), method) != method:
        raise MethodError(
            f"there is a {method.kind} method {method.name!r} already; choose another name"
        )
    unknown = method.takes - TAKES
    if unknown:
        raise MethodError(
            f"method {method.name!r} cannot take {', '.join(sorted(unknown))}; "
            f"choose from {', '.join(sorted(TAKES))}"
        )
    _REGISTERED[method.kind, method.name] = method
    return method


@cache
def _announced() -> tuple[Method, ...]:
    return tuple(entry.load() for entry in entry_points(group=ENTRY_POINTS))


def registered() -> tuple[Method, ...]:
    """The methods that were added to the package's own in this process."""
    return tuple(_REGISTERED.values())


def knowing(own: Iterable[Method], run: Callable[..., T], *arguments: Any) -> T:
    """``run(*arguments)`` in a process that is told first of methods ``registered`` in another."""
    for method in own:
        register(method)
    return run(*arguments)


def table(kind: str | None = None) -> tuple[Method, ...]:
    """Every method, or those of one kind: the package's own, announced ones, registered ones."""
    every = (*_BUILT_IN, *_announced(), *_REGISTERED.values())
    return tuple(method for method in every if kind in (None, method.kind))


def methods(kind: str) -> tuple[str, ...]:
    """Names of the methods of one of ``KINDS``.

    Raises:
        MethodError: another word.
    """
    check_problem_name(kind)
    return tuple(method.name for method in table(kind))


def find_method(kind: str, name: str) -> Method:
    """The method of this name.

    Raises:
        MethodError: there is none; the message lists those there are and what each proves.
    """
    check_problem_name(kind)
    for method in table(kind):
        if method.name == name:
            return method
    known = ", ".join(f"{m.name} (proves {_ARTICLES[m.proves]})" for m in table(kind))
    raise MethodError(f"unknown {kind} method {name!r}; choose one of {known}")


_ARTICLES = {"nothing": "nothing", "bound": "a bound", "optimum": "the optimum"}


def taking(kind: str, what: str) -> tuple[str, ...]:
    """Names of the methods of a kind that take ``what``, one of ``TAKES``."""
    return tuple(method.name for method in table(kind) if what in method.takes)


def searches() -> frozenset[str]:
    """Names of the methods that search until nothing is left, given time."""
    return frozenset(method.name for method in table() if method.proves == "optimum")


def check_problem_name(problem: str) -> None:
    """Refuse anything but ``KINDS``.

    Raises:
        MethodError: another word.
    """
    if problem not in KINDS:
        raise MethodError(f"unknown problem {problem!r}; choose from {', '.join(KINDS)}")
