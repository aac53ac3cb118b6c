"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

#: Names that ``replacing`` gives; longer ones, with the target's name in front, are of older runs.
TEMPORARY = re.compile(r"\.(.*\.)?[0-9a-f]{32}\.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place once the block has ended well.

    The folder is created. Readers see the old or the new file, and nothing is left behind when
    the block fails.

    Raises:
        OSError: the folder or the file cannot be written; ``path`` is as it was.
    """
    # Without the target's name in it, which may be as long as the system allows.
    temporary = path.with_name(f".{secrets.token_hex(16)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - one word for it in the whole project
    finally:
        # After a replacement it is gone already.
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file that is on the disk, and not only in memory, when this returns.

    Raises:
        OSError: it exists or cannot be written.
    """
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is old or new, and whole, even after a power cut.

    Raises:
        OSError: see ``replacing``.
    """
    with replacing(path) as temporary:
        write_synced(temporary, data)
