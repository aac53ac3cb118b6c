"""The table on disk: its columns are the fields of a row, and rows come back as they went in."""

from __future__ import annotations

from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bounds.errors import StudyError
from bounds.problem.methods import PRUNING, QUANTIZATION
from bounds.results.ranges import load_rows
from bounds.results.row import Row
from bounds.results.table import SCHEMA, as_rows, as_table, read_results, write_results
from tests.bounds.results.row_cases import make_row

ROWS = [
    make_row(QUANTIZATION, "exact", 1.0, 1.0, scale=0.1, seed=3, node_limit=2**40),
    make_row(PRUNING, "swap", 0.0, float("inf"), k=4.5, notes="näch ⌊k⌋"),
]


def test_columns_are_the_fields_of_a_row():
    assert SCHEMA.names == [field.name for field in fields(Row)]
    nullable = {field.name for field in SCHEMA if field.nullable}
    assert nullable == {"k", "scale", "time_limit", "node_limit", "seed", "storage"}
    assert SCHEMA.field("bits").type == pa.int64() and SCHEMA.field("k").type == pa.float64()


def test_rows_come_back(tmp_path):
    assert as_rows(as_table(ROWS)) == ROWS
    assert write_results(tmp_path / "results.parquet", [as_table(ROWS)], 'name = "x"') == 2
    table, toml = read_results(tmp_path)
    assert (as_rows(table), toml) == (ROWS, 'name = "x"')
    assert load_rows(tmp_path) == ROWS


def test_kept_weights_of_either_problem():
    assert [row.kept for row in ROWS] == [16, 4.5]


def test_another_version_of_the_columns_is_refused(tmp_path):
    old = as_table(ROWS).drop_columns(["key"])
    metadata = {b"layerbounds-study": b""}
    pq.write_table(old.replace_schema_metadata(metadata), tmp_path / "results.parquet")
    with pytest.raises(StudyError, match="of this version; run the study again"):
        read_results(tmp_path)
