"""Layer names as people type them: exact, or a dotted suffix that only one layer has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from layers.errors import CaptureError

SHOWN = 8


def resolve_name(wanted: str, names: Sequence[str], source: str) -> str:
    """The full layer name that ``wanted`` stands for.

    Args:
        wanted: an exact name, or a suffix after a dot (``mlp.fc1`` for ``encoder.0.mlp.fc1``).
        names: every layer of the network that can be captured.
        source: the network's name, for the message.

    Raises:
        CaptureError: no such layer (with close matches), or several share the suffix.
    """
    if wanted in names:
        return wanted
    # ``dict.fromkeys`` keeps the order and drops a name listed twice.
    ends = list(dict.fromkeys(name for name in names if wanted and name.endswith(f".{wanted}")))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise CaptureError(
            f"layer {wanted!r} of {source} is ambiguous: it could be {_listing(ends)}; "
            "write more of the name"
        )
    raise CaptureError(f"{source} has no layer {wanted!r}; {_hint(wanted, names)}")


def is_pattern(wanted: str) -> bool:
    """Whether a name has a wildcard of the shell in it: ``*``, ``?`` or ``[``."""
    return any(sign in wanted for sign in "*?[")


def match_names(wanted: str, names: Sequence[str], source: str) -> list[str]:
    """Every layer that a pattern such as ``features.*.conv`` stands for; ``*`` matches dots too.

    Raises:
        CaptureError: no layer matches.
    """
    found = [name for name in dict.fromkeys(names) if fnmatchcase(name, wanted)]
    if not found:
        raise CaptureError(f"no layer of {source} matches {wanted!r}; {_hint(wanted, names)}")
    return found


def _hint(wanted: str, names: Sequence[str]) -> str:
    """Close matches of the whole name or of its tail, else the first few names."""
    if not names:
        return "it has no Conv2d or Linear layer at all"
    close = get_close_matches(wanted, names, n=SHOWN, cutoff=0.6)
    depth = wanted.count(".") + 1
    tails = {".".join(name.split(".")[-depth:]): name for name in names}
    close += [tails[tail] for tail in get_close_matches(wanted, list(tails), n=SHOWN, cutoff=0.6)]
    if close:
        return f"close: {_listing(dict.fromkeys(close))}"
    return f"it has {_listing(names)}"


def _listing(names: Iterable[str]) -> str:
    """The first few names, comma separated, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
