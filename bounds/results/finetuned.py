"""The tables of a fine-tuning study: one row a network, and one row a layer of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bounds.errors import StudyError
from bounds.results.files import write_whole

NETWORKS, LAYERS = "networks.parquet", "layers.parquet"
#: The uncompressed network, and the methods that are not of the table of methods: learned steps,
#: gradual pruning, and pruning by the latter's rule without training, from which it starts as
#: learned steps start from ``rtn``.
ORIGINAL, QAT, GRADUAL, ONE_SHOT = "original", "qat", "gradual", "one-shot"
TRAINED = (QAT, GRADUAL)

_RUN = [
    pa.field("study", pa.string(), nullable=False),
    pa.field("run", pa.string(), nullable=False),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("problem", pa.string(), nullable=False),  # empty for the original
    pa.field("method", pa.string(), nullable=False),
    pa.field("bits", pa.int32()),  # null for the original
    pa.field("epochs", pa.int32(), nullable=False),
]
#: ``loss`` and ``accuracy`` are of the test examples, of which there are ``tests``; ``kept`` of
#: ``weights`` are nonzero in the compressed layers; ``seconds`` went by in training.
NETWORK_SCHEMA = pa.schema(
    [
        *_RUN,
        pa.field("accuracy", pa.float64(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("tests", pa.int64(), nullable=False),
        pa.field("weights", pa.int64(), nullable=False),
        pa.field("kept", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
)
#: ``cka`` and ``output_snr`` compare the layer's outputs in this network and in the original, on
#: the test examples: all that differs before the layer counts. ``energy``, ``error``, ``snr`` and
#: ``heldout_snr`` are of the layer-wise problem: these weights on the original's inputs. ``lower``
#: is a proven bound of that problem on the same grid, or with as many weights in every channel.
LAYER_SCHEMA = pa.schema(
    [
        *_RUN,
        pa.field("layer", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("channels", pa.int32(), nullable=False),
        pa.field("features", pa.int32(), nullable=False),
        pa.field("kept", pa.int64(), nullable=False),
        pa.field("cka", pa.float64(), nullable=False),
        pa.field("output_snr", pa.float64(), nullable=False),
        pa.field("energy", pa.float64(), nullable=False),
        pa.field("error", pa.float64(), nullable=False),
        pa.field("snr", pa.float64(), nullable=False),
        pa.field("heldout_snr", pa.float64(), nullable=False),
        pa.field("lower", pa.float64()),
        pa.field("snr_bound", pa.float64()),
        pa.field("exact", pa.int32(), nullable=False),
        pa.field("certified", pa.int32(), nullable=False),
    ]
)
SCHEMAS = {NETWORKS: NETWORK_SCHEMA, LAYERS: LAYER_SCHEMA}
_STUDY = b"layerbounds-finetune"

Row = dict[str, Any]


def write_finetuned(folder: Path, name: str, rows: Iterable[Row], study_toml: str) -> int:
    """Write one of the two tables; returns the number of rows.

    Args:
        folder: of the study.
        name: ``NETWORKS`` or ``LAYERS``.
        rows: with the columns of its schema.
        study_toml: is kept with them.

    Raises:
        StorageError: the folder cannot be written.
    """
    table = pa.Table.from_pylist(list(rows), schema=SCHEMAS[name])
    table = table.replace_schema_metadata({_STUDY: study_toml.encode()})
    write_whole(
        folder / name,
        lambda temporary: pq.write_table(
            table, temporary, compression="zstd", write_page_checksum=True
        ),
    )
    return table.num_rows


def read_finetuned(folder: Path, name: str) -> list[Row]:
    """The rows of one of the two tables.

    Args:
        folder: of the study, or a file in it.
        name: ``NETWORKS`` or ``LAYERS``.

    Raises:
        StudyError: missing, damaged, or of another version.
    """
    file = (folder if folder.is_dir() else folder.parent) / name
    if not file.is_file():
        raise StudyError(f"there are no results at {file}; run `layerbounds finetune` first")
    try:
        table = pq.ParquetFile(file, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise StudyError(f"{file} cannot be read; run the study again ({error})") from error
    known = _STUDY in (table.schema.metadata or {})
    if not known or not table.schema.equals(SCHEMAS[name]):
        raise StudyError(
            f"{file} is not a table of fine-tuning of this version; run the study again"
        )
    return table.to_pylist()
