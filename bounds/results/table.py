"""The table of a study on disk: one parquet file, whole or not there at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from bounds.errors import StudyError
from bounds.results.files import replacing, write_whole
from bounds.results.row import Row

__all__ = [
    "SCHEMA", "as_rows", "as_table", "read_results", "replacing", "results_path", "write_results",
]  # fmt: skip

#: How the types of a row's fields are stored.
_STORED = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def _column(name: str, hint: Any) -> pa.Field:
    """The column of one field of ``Row``; ``X | None`` may be null."""
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]
    return pa.field(name, _STORED[kinds[0]], nullable=NoneType in get_args(hint))


#: Columns of the results: the fields of ``Row``.
SCHEMA = pa.schema([_column(*item) for item in get_type_hints(Row).items()])

_STUDY = b"layerbounds-study"


def as_table(rows: Iterable[Row]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist([vars(row) for row in rows], schema=SCHEMA)


def as_rows(table: pa.Table) -> list[Row]:
    """The rows of a table of results."""
    return [Row(**values) for values in table.to_pylist()]


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
