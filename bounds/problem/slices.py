"""Channels solved a few at a time, so that somebody who waits sees how far it is and may stop.

Channels do not depend on each other, so slices give what all together give. Every slice does again
what its channels share (reducing the Gram matrix, factoring it); how long that takes is estimated
on the way, and slices are made just so large that it does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bounds.problem.attempt import Attempt

#: Called with the channels done so far.
Progress = Callable[[int], object]

#: Most channels of a slice, where what they share takes less than ``CHEAP`` seconds: what a stop
#: may cost, and how long nothing is seen to move.
MOST, CHEAP = 16, 0.1
#: Seconds of its own that a slice has for every second of what is shared.
WORTH = 2.0
GROWTH = 8


def attempt_slices(
    run: Callable[[slice], Attempt], channels: int, progress: Progress
) -> tuple[Attempt, bool]:
    """Join ``run`` of slice after slice: what it found, and whether it was stopped by Ctrl-C.

    Raises:
        KeyboardInterrupt: stopped before any channel was finished.
    """
    found: list[Attempt] = []
    sizes = _Sizes()
    done = 0
    try:
        while done < channels:
            rows = slice(done, min(done + sizes.size, channels))
            began = time.perf_counter()
            found.append(run(rows))
            sizes.learn(rows.stop - rows.start, time.perf_counter() - began)
            done = rows.stop
            progress(done)
    except KeyboardInterrupt:
        if not found:
            raise
    return join(found), done < channels


class _Sizes:
    """How many channels to take next, from how long the last slices took."""

    def __init__(self) -> None:
        self.size = 1
        self.single = self.shared = 0.0

    def learn(self, size: int, seconds: float) -> None:
        """Estimate what all slices share, from the first one of one channel and the latest."""
        if size == 1:
            self.single = seconds if self.single == 0 else min(seconds, self.single)
            each = max(seconds - self.shared, 0.0)
        else:
            each = max(seconds - self.single, 0.0) / (size - 1)
            self.shared = max(self.single - each, 0.0)
        most = size * GROWTH if self.shared > CHEAP else min(size * GROWTH, MOST)
        wanted = WORTH * max(self.shared, 1e-3)
        self.size = int(min(max(wanted / each if each > 0 else most, 1), most))
        if size == 1 and self.shared == 0:
            self.size = max(self.size, 2)  # two at once tell what they share


def join(found: Sequence[Attempt]) -> Attempt:
    """Attempts at slices as one attempt at all their channels."""
    if len(found) == 1:
        return found[0]
    counts = [len(one.solution) for one in found]
    proof = [one.proof or (None,) * count for one, count in zip(found, counts, strict=True)]
    return Attempt(
        np.concatenate([one.solution for one in found]),
        *(
            np.concatenate(
                [np.broadcast_to(getattr(a, name), n) for a, n in zip(found, counts, strict=True)]
            )
            for name in ("lower", "finished", "nodes")
        ),
        proof=[one for part in proof for one in part] if any(one.proof for one in found) else (),
        notes=tuple(_notes(found, counts)),
    )


def _notes(found: Sequence[Attempt], counts: Sequence[int]) -> Iterator[str]:
    """Remarks on all channels as they are, others with the channels they are about."""
    everywhere = set.intersection(*(set(one.notes) for one in found))
    yield from dict.fromkeys(note for note in found[0].notes if note in everywhere)
    start = 0
    for one, count in zip(found, counts, strict=True):
        which = f"{start} to {start + count - 1}" if count > 1 else f"{start}"
        for note in one.notes:
            if note not in everywhere:
                yield f"Of channels {which}, counted from {start}: {note}"
        start += count
