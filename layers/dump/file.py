"""One safetensors file a layer: the wall between networks and solvers. Never imports torch.

The file holds the arrays of ``LayerDump.tensors()``; its header's string map holds, under
``layerbounds-dump``, canonical JSON with ``version``, ``sha256`` (the content hash) and
``metadata``. One entry, because safetensors writes several in random order, and equal dumps shall
be equal bytes. Nothing in it is executed, and no path in it is followed.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from layers.dump.layer import Chunk, LayerDump, canonical_json, feature_width
from layers.dump.whole_file import write_whole
from layers.errors import DumpError

__all__ = [
    "FORMAT",
    "VERSION",
    "Chunk",
    "LayerDump",
    "dump_path",
    "feature_width",
    "read_dump",
    "write_dump",
]

FORMAT = "layerbounds-dump"
VERSION = 1
SUFFIX = ".safetensors"


def dump_path(folder: str | Path, source: str, layer: str) -> Path:
    """The file of a layer inside ``folder``, whatever characters the names hold.

    Plain names are kept readable, ``source--layer.safetensors``. Names with anything else
    (slashes, dots in front, spaces, great length) are cleaned and get a hash, so that two
    layers never share a file and none leaves the folder.
    """
    plain = re.compile(r"(?!.*--)[A-Za-z0-9_][A-Za-z0-9._-]*")
    name = f"{source}--{layer}"
    if not (plain.fullmatch(source) and plain.fullmatch(layer) and len(name) <= 120):
        digest = hashlib.sha256(canonical_json([source, layer]).encode()).hexdigest()[:16]
        cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[:120] or "layer"
        name = f"{cleaned}--{digest}"
    return Path(folder) / f"{name}{SUFFIX}"


def write_dump(path: str | Path, dump: LayerDump) -> None:
    """Write a dump; the file appears whole or not at all.

    Args:
        path: the file; its folder is created.
        dump: already checked by its construction.

    Raises:
        DumpError: the folder or the file cannot be written.
    """
    path = Path(path)
    tensors = {name: np.ascontiguousarray(array) for name, array in dump.tensors().items()}
    data = save(tensors, metadata={FORMAT: _header(dump)})
    try:
        write_whole(path, data)
    except OSError as error:
        raise DumpError(f"cannot write the dump {path}: {error}") from error


def read_dump(path: str | Path) -> LayerDump:
    """Read a dump and check it: format, version, hash, shapes, values.

    Raises:
        DumpError: missing, truncated, altered, foreign, of a newer version, or inconsistent;
            the message names the file and what is wrong.
    """
    path = Path(path)
    try:
        header, tensors = _load(path)
        return _decode(header, tensors)
    except FileNotFoundError:
        raise DumpError(f"there is no dump {path}; run the extraction first") from None
    except (OSError, SafetensorError) as error:
        raise DumpError(
            f"{path} is not a readable dump (truncated, altered or foreign): {error}; "
            "extract it again"
        ) from error
    except DumpError as error:
        raise DumpError(f"{path}: {error}") from error


def _header(dump: LayerDump) -> str:
    """What is written into the file's header."""
    return canonical_json(
        {"version": VERSION, "sha256": dump.content_hash, "metadata": dump.metadata()}
    )


def _load(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Header string and arrays of a safetensors file."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with safe_open(str(path), framework="numpy") as file:
        header = (file.metadata() or {}).get(FORMAT)
        if header is None:
            raise DumpError("a foreign safetensors file, not a dump of layerbounds")
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _decode(header: str, tensors: dict[str, np.ndarray]) -> LayerDump:
    """The dump that header and arrays describe, with its hash compared."""
    try:
        found = json.loads(header)
        version = _whole(found["version"])
        if version > VERSION:
            raise DumpError(
                f"version {version} is newer than {VERSION}, the newest this layerbounds reads; "
                "upgrade layerbounds, or extract again"
            )
        dump = _from_metadata(found["metadata"], tensors)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DumpError(f"the metadata is unreadable ({error!r}); extract it again") from error
    if tensors.keys() != dump.tensors().keys():
        extra = sorted(tensors.keys() ^ dump.tensors().keys())
        raise DumpError(f"unexpected arrays {', '.join(extra)}; extract it again")
    if header != _header(dump):
        # Every part of the header and every array is under this comparison.
        raise DumpError("content and hash differ: the file was altered; extract it again")
    return dump


def _from_metadata(meta: dict[str, Any], tensors: dict[str, np.ndarray]) -> LayerDump:
    """Build the record; its construction checks shapes, types and values."""

    def blocks(part: str) -> tuple[np.ndarray, ...]:
        count = sum(name.startswith(f"{part}.") for name in tensors)
        return tuple(tensors[f"{part}.{i}"] for i in range(count))

    return LayerDump(
        source=_text(meta["source"]),
        layer=_text(meta["layer"]),
        kind=_text(meta["kind"]),
        weights=tensors["weights"],
        gram_blocks=blocks("gram"),
        heldout_blocks=blocks("heldout"),
        rows=_whole(meta["rows"]),
        heldout_rows=_whole(meta["heldout_rows"]),
        weight_shape=tuple(_whole(side) for side in meta["weight_shape"]),
        stride=_numbers(meta["stride"], 2),
        padding=_numbers(meta["padding"], 4),
        dilation=_numbers(meta["dilation"], 2),
        groups=_whole(meta["groups"]),
        block_width=None if meta["block_width"] is None else _whole(meta["block_width"]),
        images=_images(meta["images"]),
        heldout_images=_images(meta["heldout_images"]),
        recipe={_text(k): _text(v) for k, v in meta["recipe"].items()},
        versions={_text(k): _text(v) for k, v in meta["versions"].items()},
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _whole(value: Any) -> int:
    # bool is an int to Python, not to us.
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _numbers(values: Any, count: int) -> Any:
    if not isinstance(values, list) or len(values) != count:
        raise TypeError(f"{values!r} is not a list of {count} numbers")
    return tuple(_whole(value) for value in values)


def _images(values: Any) -> tuple[tuple[str, str], ...]:
    return tuple((_text(name), _text(digest)) for name, digest in values)
