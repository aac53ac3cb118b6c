"""Finished results, one small file each: the row of one task at one bit width, under its key.

Its certificate, if the study wants one, has the same name in a folder beside, and is written first.

A shard is JSON with a digest over its row. One that cannot be read back as exactly what was written
is taken for not there, and made again; nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bounds.certificate import is_whole
from bounds.results.files import write_bytes
from bounds.results.row import Row
from bounds.study.plan.tasks import Task

_FOLDER = "tasks"
_CERTIFICATES = "certificates"


def shard_path(results: Path, task: Task, bits: int) -> Path:
    """Where the result of a task at ``bits`` lies, in the folder ``results`` of a study."""
    return results / _FOLDER / f"{task.key(bits)}.json"


def certificate_path(results: Path, task: Task, bits: int) -> Path:
    """Where the certificate of that result lies."""
    return results / _CERTIFICATES / f"{task.key(bits)}.jsonl"


def write_shard(results: Path, task: Task, row: Row) -> Path:
    """Write one row of a task, atomically.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = shard_path(results, task, row.bits)
    shard = {"sha256": _digest(row), "row": vars(row)}
    write_bytes(path, json.dumps(shard, indent=1).encode() + b"\n")
    return path


def read_shard(results: Path, task: Task, bits: int) -> Row | None:
    """The row of a task at ``bits``; None when there is none, or what is there is not whole."""
    try:
        shard = json.loads(shard_path(results, task, bits).read_bytes())
        row = Row(**shard["row"])  # a field too many or too few is a TypeError
        whole = shard["sha256"] == _digest(row) and row.key == task.key(bits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return row if whole else None


def missing_bits(results: Path, task: Task) -> tuple[int, ...]:
    """The bit widths of a task that have no whole shard yet, or lack a certificate it wants."""
    return tuple(
        bits
        for bits in task.bits
        if read_shard(results, task, bits) is None
        or (task.certificates and not is_whole(certificate_path(results, task, bits)))
    )


def _digest(row: Row) -> str:
    # JSON spells floats so that they come back bit for bit, infinities and NaN included.
    text = json.dumps(vars(row), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
