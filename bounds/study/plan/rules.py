"""What the keys of a study may be: each field of a dataclass carries the rule of its value.

A study written in Python and one read from TOML are refused with the same sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from bounds.errors import StudyError


@dataclass(frozen=True)
class Rule:
    """What a value must satisfy, and how to say so."""

    accepts: Callable[[Any], bool]
    mend: Callable[[], str]


def ruled(accepts: Callable[[Any], bool], mend: str | Callable[[], str]) -> dict[str, Rule]:
    """The metadata of a field: its rule, and how to say what is possible."""
    return {"rule": Rule(accepts, mend if callable(mend) else lambda: mend)}


def whole(value: Any, low: int, high: float = math.inf) -> bool:
    """Whether it is a whole number within the limits."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def positive(value: Any) -> bool:
    """Whether it is a positive number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def text(value: Any) -> bool:
    """Whether it is text that says something."""
    return isinstance(value, str) and bool(value.strip())


def distinct(value: Any, accepts: Callable[[Any], bool]) -> bool:
    """Whether it is a tuple of accepted values, none twice."""
    return isinstance(value, tuple) and all(map(accepts, value)) and len(set(value)) == len(value)


def count(what: str) -> dict[str, Rule]:
    """A whole number from 1, or None."""
    return ruled(lambda v: v is None or whole(v, 1), f"a whole number of {what}, 1 or more")


def one_of(words: tuple[str, ...]) -> dict[str, Rule]:
    """One of these words."""
    return ruled(lambda v: v in words, f"one of {', '.join(words)}")


def methods(problem: str) -> dict[str, Rule]:
    """Distinct methods of a problem, out of the table."""

    # Looked up when asked: the solvers are slow to import, and a study may be built without them.
    def known() -> tuple[str, ...]:
        from bounds.problem.methods import methods as names

        return names(problem)

    return ruled(
        lambda v: distinct(v, lambda m: m in known()),
        lambda: f"a list of distinct methods out of {', '.join(known())}",
    )


def source() -> dict[str, Rule]:
    """The name of a network."""

    # The networks are looked up when asked, like the methods.
    def known(value: Any) -> bool:
        from layers.networks.open import is_source_name

        return text(value) and is_source_name(value)

    def mend() -> str:
        from layers.networks.open import source_names

        return f"the name of a network: {', '.join(source_names())}"

    return ruled(known, mend)


class Checked:
    """Refuses, on construction, the first field whose value breaks its rule."""

    section = ""

    def __post_init__(self) -> None:
        """Check every field."""
        check(type(self), vars(self))


def spell(section: str, key: str) -> str:
    """A key as a person would say it: ``solve.bits``, or ``name`` at the top."""
    return f"{section}.{key}" if section else key


def check(kind: type[Checked], values: Mapping[str, Any]) -> None:
    """Refuse the first of ``values`` that breaks its rule; fields not given keep their defaults.

    Raises:
        StudyError: names the key, its value and the mend.
    """
    for key, sentence in faults(kind, values):
        raise StudyError(f"{spell(kind.section, key)}: {sentence}")


def faults(kind: type, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys of ``values`` that break the rules of dataclass ``kind``, each with a sentence."""
    for item in fields(kind):
        rule: Rule | None = item.metadata.get("rule")
        if item.name not in values:
            if item.default is MISSING and item.default_factory is MISSING:
                yield item.name, "missing" + (f"; give {rule.mend()}" if rule else "")
        elif rule is not None and not rule.accepts(values[item.name]):
            shown = values[item.name]
            shown = list(shown) if isinstance(shown, tuple) else shown
            yield item.name, f"{shown!r} is not possible; give {rule.mend()}"
