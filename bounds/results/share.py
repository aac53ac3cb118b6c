"""What share of a layer was solved: a number about 32 channels is not one about all 384."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bounds.results.ranges import Pair
from bounds.results.row import Row

#: Smallest and largest number.
Span = tuple[int, int]


@dataclass(frozen=True)
class Share:
    """Channels and chunks solved for both problems, of how many, over layers and bit widths.

    Attributes:
        channels, channel_total: of a chunk; those of a grouped layer's chunk are its group's.
        chunks, chunk_total: of a layer, at one bit width.
        every_channel, every_chunk: whether there is no layer of which some were left out.
    """

    channels: Span
    channel_total: Span
    chunks: Span
    chunk_total: Span
    every_channel: bool
    every_chunk: bool

    def __str__(self) -> str:
        """As tables say it: ``32 of 384 channels, 2 of 3 chunks``."""
        channels = _told(self.channels, self.channel_total, self.every_channel, "channel")
        return f"{channels}, {_told(self.chunks, self.chunk_total, self.every_chunk, 'chunk')}"


def shares(rows: Iterable[Row], pairs: Iterable[Pair]) -> dict[tuple[str, str], Share]:
    """The share of every layer, by (source, layer).

    Args:
        rows: ``bounds.results.ranges.load_rows``.
        pairs: ``bounds.results.ranges.chunk_pairs`` of them: a chunk counts at the bit widths at
            which both problems were solved.
    """
    chunks: dict[tuple[str, str], dict[int, int]] = {}
    for pair in pairs:
        widths = chunks.setdefault((pair.source, pair.layer), {})
        widths[pair.bits] = widths.get(pair.bits, 0) + 1
    found: dict[tuple[str, str], list[Row]] = {place: [] for place in chunks}
    for row in rows:
        if (row.source, row.layer) in found:
            found[row.source, row.layer].append(row)
    return {place: _share(found[place], list(chunks[place].values())) for place in chunks}


def overall(found: Sequence[Share]) -> Share:
    """The least and most that was solved of several layers; there is at least one."""
    whole = found[0]
    for one in found[1:]:
        spans = {
            name: _span([*getattr(whole, name), *getattr(one, name)])
            for name in ("channels", "channel_total", "chunks", "chunk_total")
        }
        whole = replace(
            whole,
            **spans,
            every_channel=whole.every_channel and one.every_channel,
            every_chunk=whole.every_chunk and one.every_chunk,
        )
    return whole


def told(done: Span, total: Span) -> str:
    """The same in a narrow column: ``32/384``."""
    return f"{_words(done)}/{_words(total)}"


def _share(rows: Sequence[Row], chunks: Sequence[int]) -> Share:
    solved = _span(chunks)
    total = _span([row.chunk_total for row in rows])
    return Share(
        channels=_span([row.channels for row in rows]),
        channel_total=_span([row.channel_total for row in rows]),
        chunks=solved,
        chunk_total=total,
        every_channel=all(row.channels == row.channel_total for row in rows),
        every_chunk=solved[0] == total[1],
    )


def _span(values: Sequence[int]) -> Span:
    return min(values), max(values)


def _words(span: Span, between: str = "-") -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]}{between}{span[1]}"


def _told(done: Span, total: Span, every: bool, noun: str) -> str:
    if total == (1, 1):
        return f"the one {noun}"
    if every:
        return f"all {_words(total, ' to ')} {noun}s"
    return f"{_words(done, ' to ')} of {_words(total, ' to ')} {noun}s"
