"""Files that appear whole or not at all, and the sweeping of what killed runs leave behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bounds.errors import StudyError
from layers.dump import whole_file

#: Seconds after which a temporary file belongs to nobody: writing one takes milliseconds.
STALE_AFTER = 3600.0


class StorageError(StudyError):
    """Results cannot be written: no space, no permission. It stops a run, for none could follow."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place once the block has ended well.

    Raises:
        StorageError: the folder cannot be written; ``path`` is as it was before.
    """
    try:
        with whole_file.replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}; "
            "mend that and run again, what is finished is kept"
        ) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file and put it in the place of ``path``.

    A second try is made when the temporary file vanished: a run that slept for longer than
    ``STALE_AFTER`` in the middle of a write has been swept by another.

    Raises:
        StorageError: see ``replacing``.
    """
    for last in (False, True):
        try:
            with replacing(path) as temporary:
                write(temporary)
            return
        except StorageError as error:
            if last or not isinstance(error.__cause__, FileNotFoundError):
                raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that is whole even after a power cut.

    Raises:
        StorageError: see ``replacing``.
    """
    write_whole(path, lambda temporary: whole_file.write_synced(temporary, data))


def make_folder(path: Path) -> None:
    """Make a folder for results, so that a run which cannot write stops before it starts.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {path} cannot be made: {error.strerror or error}; "
            "give another with --results"
        ) from error


def sweep(folder: Path, older_than: float = STALE_AFTER) -> int:
    """Remove temporary files that a killed run left in ``folder`` or below; returns how many.

    Only names that ``replacing`` makes, and only old ones: a younger one may be another run's.
    """
    before = time.time() - older_than
    swept = 0
    for path in folder.rglob(".*.tmp"):
        with suppress(OSError):
            if whole_file.TEMPORARY.fullmatch(path.name) and path.stat().st_mtime < before:
                path.unlink()
                swept += 1
    return swept
