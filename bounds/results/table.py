"""The table of a study on disk: one parquet file, whole or not there at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bounds.errors import StudyError
from bounds.results.files import replacing, write_whole

__all__ = ["SCHEMA", "as_table", "read_results", "replacing", "results_path", "write_results"]

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
    "code": pa.string(),
    "key": pa.string(),
}
_OPTIONAL = {
    "k": pa.float64(),
    "scale": pa.float64(),
    "time_limit": pa.float64(),
    "node_limit": pa.int64(),
    "seed": pa.int64(),
}
#: Columns of a result; k is null for quantization, and scale for pruning; limits and seed are null
#: where there are none, and for the methods that ignore them.
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in _REQUIRED.items()]
    + [pa.field(name, kind) for name, kind in _OPTIONAL.items()]
)

_STUDY = b"layerbounds-study"


def as_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as a table with the columns of ``SCHEMA``."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write_results(path: Path, parts: Iterable[pa.Table], study_toml: str) -> int:
    """Write the table of a study in the order of its ``parts``; returns the number of rows.

    Raises:
        StorageError: the folder cannot be written.
    """
    table = pa.concat_tables([SCHEMA.empty_table(), *parts])
    table = table.replace_schema_metadata({_STUDY: study_toml.encode()})
    write_whole(
        path,
        lambda temporary: pq.write_table(
            table, temporary, compression="zstd", write_page_checksum=True
        ),
    )
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
