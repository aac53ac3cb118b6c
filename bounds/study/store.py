"""Results on disk: one parquet shard a task, whole or not there at all, and the table of a study.

A shard carries its task's key and page checksums; one that cannot be read back as exactly what was
written is taken for not there, and its task is done again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bounds.errors import StudyError
from bounds.study.tasks import Task

_REQUIRED = {
    "source": pa.string(),
    "layer": pa.string(),
    "kind": pa.string(),
    "dump_hash": pa.string(),
    "chunk": pa.int32(),
    "chunk_total": pa.int32(),
    "group": pa.int32(),
    "features": pa.int32(),
    "channels": pa.int32(),
    "channel_total": pa.int32(),
    "problem": pa.string(),
    "method": pa.string(),
    "bits": pa.int32(),
    "rounding": pa.string(),
    "rule": pa.string(),
    "time_limit": pa.float64(),
    "energy": pa.float64(),
    "lower": pa.float64(),
    "upper": pa.float64(),
    "snr_bound": pa.float64(),
    "snr_attained": pa.float64(),
    "exact": pa.int32(),
    "certified": pa.int32(),
    "heuristic": pa.int32(),
    "heldout_energy": pa.float64(),
    "heldout_error": pa.float64(),
    "heldout_snr": pa.float64(),
    "nodes": pa.int64(),
    "seconds": pa.float64(),
    "notes": pa.string(),
    "versions": pa.string(),
    "key": pa.string(),
}
_OPTIONAL = {"k": pa.float64(), "scale": pa.float64()}
#: Columns of a result; k is null for quantization, and scale for pruning.
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in _REQUIRED.items()]
    + [pa.field(name, kind) for name, kind in _OPTIONAL.items()]
)

_KEY = b"layerbounds-task"
_STUDY = b"layerbounds-study"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place once the block has ended well.

    Raises:
        StudyError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 - one word for it in the whole project
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        # Gone already, or its folder was never there: either way there is nothing to clean up.
        with suppress(OSError):
            temporary.unlink()


def make_folder(path: Path) -> None:
    """Make a folder for results, so that a run which cannot write stops before it starts.

    Raises:
        StudyError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"the folder {path} cannot be made: {error.strerror or error}") from error


def shard_path(results: Path, task: Task) -> Path:
    """Where the result of a task lies."""
    return results / "tasks" / f"{task.key}.parquet"


def write_shard(results: Path, task: Task, rows: list[dict[str, Any]]) -> Path:
    """Write the rows of a task, atomically.

    Raises:
        StudyError: the folder cannot be written.
    """
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    path = shard_path(results, task)
    _write(table.replace_schema_metadata({_KEY: task.key.encode()}), path)
    return path


def read_shard(results: Path, task: Task) -> pa.Table | None:
    """The rows of a finished task; None when there are none, or what is there is not whole."""
    path = shard_path(results, task)
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException, ValueError):
        return None
    metadata = table.schema.metadata or {}
    whole = (
        metadata.get(_KEY) == task.key.encode()
        and table.schema.equals(SCHEMA)
        and table["bits"].to_pylist() == list(task.bits)
        and set(table["key"].to_pylist()) == {task.key}
    )
    return table if whole else None


def write_results(path: Path, shards: Iterable[pa.Table], study_toml: str) -> int:
    """Write the table of a study in the order of ``shards``; returns the number of rows.

    Raises:
        StudyError: the folder cannot be written.
    """
    tables = [shard.replace_schema_metadata(None) for shard in shards]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    _write(table.replace_schema_metadata({_STUDY: study_toml.encode()}), path)
    return table.num_rows


def results_path(path: Path) -> Path:
    """The results table meant by ``path``: the file, or the folder of a study.

    Raises:
        StudyError: there is none.
    """
    file = path / "results.parquet" if path.is_dir() else path
    if not file.is_file():
        raise StudyError(f"there are no results at {file}; run `layerbounds study` first")
    return file


def read_results(path: Path) -> tuple[pa.Table, str]:
    """The table of a study and the study's TOML.

    Args:
        path: ``results.parquet`` or the folder it lies in.

    Raises:
        StudyError: missing, damaged, or not a table of results.
    """
    file = results_path(path)
    try:
        table = pq.ParquetFile(file, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise StudyError(f"{file} cannot be read; run the study again ({error})") from error
    metadata = table.schema.metadata or {}
    if _STUDY not in metadata or not table.schema.equals(SCHEMA):
        raise StudyError(f"{file} is not a table of results of this version; run the study again")
    return table, metadata[_STUDY].decode()


def _write(table: pa.Table, path: Path) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
