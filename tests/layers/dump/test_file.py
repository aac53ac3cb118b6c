"""A dump comes back as it was written, or not at all."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from layers.dump.file import FORMAT, LayerDump, dump_path, read_dump, write_dump
from layers.errors import DumpError


def make_dump(
    groups: int = 1, width: int | None = None, shape: tuple[int, ...] = (6, 4, 3, 3), **changes: Any
) -> LayerDump:
    rng = np.random.default_rng(11)
    n = int(np.prod(shape[1:]))
    step = n if width is None else width

    def grams(rows: int) -> tuple[np.ndarray, ...]:
        x = rng.standard_normal((groups, rows, n))
        full = np.swapaxes(x, 1, 2) @ x
        full = (full + np.swapaxes(full, 1, 2)) / 2
        return tuple(
            np.ascontiguousarray(full[:, a : a + step, a : a + step]) for a in range(0, n, step)
        )

    fields: dict[str, Any] = {
        "source": "net",
        "layer": "a.b",
        "kind": "conv2d" if len(shape) == 4 else "linear",
        "weights": rng.standard_normal((shape[0], n)).astype(np.float32),
        "gram_blocks": grams(50),
        "heldout_blocks": grams(30),
        "rows": 50,
        "heldout_rows": 30,
        "weight_shape": shape,
        "groups": groups,
        "block_width": width,
        "padding": (1, 1, 0, 1) if len(shape) == 4 else (0, 0, 0, 0),
        "images": (("a.png", "00"), ("b.png", "11")),
        "heldout_images": (("c.png", "22"),),
        "recipe": {"blocks": "full"},
        "versions": {"numpy": np.__version__},
    }
    return LayerDump(**(fields | changes))


@pytest.mark.parametrize(
    "dump",
    [
        make_dump(),
        make_dump(groups=2),
        make_dump(width=27),
        make_dump(groups=3, width=18),
        make_dump(shape=(5, 40)),
        make_dump(shape=(5, 40), width=12),
    ],
)
def test_round_trip(dump: LayerDump, tmp_path: Path) -> None:
    path = dump_path(tmp_path / "new" / "folder", dump.source, dump.layer)
    write_dump(path, dump)
    back = read_dump(path)
    assert back.metadata() == dump.metadata()
    assert back.content_hash == dump.content_hash
    for name, array in dump.tensors().items():
        assert np.array_equal(array, back.tensors()[name])
        assert array.dtype == back.tensors()[name].dtype
    first = path.read_bytes()
    write_dump(path, back)
    assert path.read_bytes() == first, "equal dumps are equal bytes"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no temporary file is left"


@pytest.mark.parametrize(
    ("shape", "groups", "size", "widths"),
    [
        ((5, 40), 1, 36, [36, 4]),
        ((5, 40), 1, 100, [40]),
        ((5, 40), 1, None, [40]),
        ((6, 80, 1, 1), 1, 36, [36, 36, 8]),
        ((6, 10, 3, 3), 1, 36, [36, 36, 18]),
        ((6, 3, 5, 5), 1, 36, [25, 25, 25]),
        ((6, 2, 7, 7), 1, 36, [49, 49]),
        ((6, 1, 3, 3), 6, 36, [9] * 6),
        ((6, 5, 3, 3), 2, 36, [36, 9, 36, 9]),
        ((6, 5, 3, 3), 2, None, [45, 45]),
    ],
)
def test_chunks_tile_the_layer(
    shape: tuple[int, ...], groups: int, size: int | None, widths: list[int]
) -> None:
    dump = make_dump(groups, None, shape)
    chunks = dump.chunks(size)
    assert [c.gram.shape[0] for c in chunks] == widths
    assert dump.chunk_count(size) == len(chunks)
    assert [c.index for c in chunks] == list(range(len(chunks)))
    rebuilt = np.full_like(dump.weights, np.nan)
    for c in chunks:
        rebuilt[c.channels, c.features] = c.weights
        full, held = dump.gram_blocks[0][c.group], dump.heldout_blocks[0][c.group]
        assert np.array_equal(c.gram, full[c.features, c.features])
        assert c.heldout_gram is not None
        assert np.array_equal(c.heldout_gram, held[c.features, c.features])
        for array in (c.weights, c.gram, c.heldout_gram):
            assert array.dtype == np.float64
            assert array.flags.c_contiguous and array.flags.writeable
        assert np.array_equal(c.gram, c.gram.T)
        assert (c.source, c.layer, c.dump_hash) == ("net", "a.b", dump.content_hash)
        assert (c.rows, c.heldout_rows) == (50, 30)
        c.gram[:] = 0  # a chunk is a copy
    assert np.array_equal(rebuilt, dump.weights)
    assert dump.gram_blocks[0].any()


def test_chunks_from_blocks_are_those_of_the_full_gram() -> None:
    full, blocks = make_dump(shape=(5, 80)), make_dump(shape=(5, 80), width=36)
    for size in (36, 18, 12, 9):
        for a, b in zip(full.chunks(36), blocks.chunks(36), strict=True):
            assert np.array_equal(a.gram, b.gram)
        assert sum(c.weights.shape[1] for c in blocks.chunks(size)) == 80
    for size in (None, 35, 24, 72, 80, 100):
        with pytest.raises(DumpError, match="stores Gram blocks 36 features wide"):
            blocks.chunks(size)
    with pytest.raises(DumpError, match="at least 1"):
        full.chunks(0)


def test_narrower_chunks_never_straddle_stored_blocks() -> None:
    full, blocks = make_dump(shape=(5, 80)), make_dump(shape=(5, 80), width=36)
    for a, b in zip(full.chunks(12), blocks.chunks(12), strict=True):
        assert a.features == b.features
        assert np.array_equal(a.gram, b.gram)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    write_dump(path, make_dump(shape=(5, 12)))
    data = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(data), 101), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(DumpError, match=r"d\.safetensors"):
            read_dump(path)
    path.write_bytes(data + b"x")
    with pytest.raises(DumpError):
        read_dump(path)


def test_every_altered_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    write_dump(path, make_dump(shape=(5, 12)))
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    text = data[8:header].rstrip(b" ")
    rng = np.random.default_rng(3)
    # Blanks after the header carry nothing; every other header byte, and a sample of the arrays.
    for position in [*range(8 + len(text)), *rng.integers(header, len(data), 300)]:
        broken = bytearray(data)
        broken[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(DumpError, match=r"d\.safetensors"):
            read_dump(path)


def test_missing_foreign_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="there is no dump"):
        read_dump(tmp_path / "none.safetensors")
    with pytest.raises(DumpError, match="there is no dump"):
        read_dump(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weights": np.zeros((2, 2), np.float32)}, foreign)
    with pytest.raises(DumpError, match="foreign"):
        read_dump(foreign)
    foreign.write_text("hello, this is no safetensors file at all")
    with pytest.raises(DumpError, match="not a readable dump"):
        read_dump(foreign)


def rewrite(path: Path, **changes: Any) -> None:
    """Write the file with another header or other arrays, as someone else's tool might."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()[FORMAT])
    tensors = load_file(path)
    for key, value in changes.items():
        if key in ("version", "sha256"):
            header[key] = value
        elif key == "arrays":
            tensors |= value
            tensors = {name: array for name, array in tensors.items() if array is not None}
        elif key != "format":
            header["metadata"][key] = value
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    save_file(tensors, path, metadata={changes.get("format", FORMAT): text})


GRAM = np.eye(12)[None]
BENT = GRAM.copy()
BENT[0, 0, 1] = 1e-9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version 2 is newer than 1.*upgrade"),
        ({"version": "1"}, "not a whole number"),
        ({"version": 0}, "content and hash differ"),
        ({"format": "other"}, "foreign"),
        ({"sha256": "0" * 64}, "content and hash differ"),
        ({"rows": 51}, "content and hash differ"),
        ({"images": [["../../etc/passwd", "00"]]}, "content and hash differ"),
        ({"rows": 0}, "must be >= 1"),
        ({"rows": True}, "not a whole number"),
        ({"rows": "50"}, "not a whole number"),
        ({"kind": "conv3d"}, "unknown kind 'conv3d'"),
        ({"kind": 3}, "not a string"),
        ({"layer": None}, "not a string"),
        ({"weight_shape": [5, 13]}, r"weights is float32 \(5, 12\), expected float32 \(5, 13\)"),
        ({"weight_shape": [5, -12]}, "does not fit the kind"),
        ({"weight_shape": []}, "does not fit the kind"),
        ({"weight_shape": [5, 3, 2, 2]}, "does not fit the kind linear"),
        ({"groups": 5}, "5 groups do not fit"),
        ({"groups": 0}, "0 groups do not fit"),
        ({"stride": [0, 1]}, "impossible stride"),
        ({"stride": [1]}, "not a list of 2 numbers"),
        ({"padding": [0, 0]}, "not a list of 4 numbers"),
        ({"block_width": 6}, "1 gram blocks instead of 2"),
        ({"block_width": 13}, "block width 13"),
        ({"images": "none"}, "unreadable"),
        ({"recipe": [1]}, "unreadable"),
        ({"unknown": 1}, "content and hash differ"),
        ({"arrays": {"weights": np.zeros((5, 12), np.float64)}}, "weights is float64"),
        ({"arrays": {"weights": None}}, "unreadable"),
        ({"arrays": {"weights": np.full((5, 12), np.nan, np.float32)}}, "weights holds NaN"),
        ({"arrays": {"gram.0": GRAM.astype(np.float32)}}, "gram.0 is float32"),
        ({"arrays": {"gram.0": np.full_like(GRAM, np.inf)}}, "gram.0 holds NaN or infinite"),
        ({"arrays": {"gram.0": GRAM[:, :9, :9]}}, r"gram.0 is float64 \(1, 9, 9\)"),
        ({"arrays": {"heldout.0": BENT}}, "heldout.0 is not symmetric"),
        ({"arrays": {"heldout.0": -GRAM}}, "heldout.0 has a negative diagonal"),
        ({"arrays": {"gram.1": GRAM}}, "2 gram blocks instead of 1"),
        ({"arrays": {"gram.0": None}}, "0 gram blocks"),
        ({"arrays": {"gram.x": GRAM}}, "unreadable"),
        ({"arrays": {"extra": GRAM}}, "unexpected arrays extra"),
    ],
)
def test_inconsistent_files_are_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.safetensors"
    write_dump(path, make_dump(shape=(5, 12)))
    rewrite(path)
    read_dump(path)  # the rewriting itself changes nothing
    rewrite(path, **changes)
    with pytest.raises(DumpError, match=words) as caught:
        read_dump(path)
    assert str(path) in str(caught.value)


def test_the_hash_covers_everything() -> None:
    dump = make_dump()
    other_values: dict[str, Any] = {
        "source": "x",
        "layer": "x",
        "rows": 7,
        "heldout_rows": 7,
        "stride": (1, 2),
        "padding": (0, 0, 0, 0),
        "dilation": (2, 1),
        "images": (),
        "heldout_images": (),
        "recipe": {},
        "versions": {},
        "weights": -dump.weights,
        "gram_blocks": tuple(2 * block for block in dump.gram_blocks),
        "heldout_blocks": tuple(2 * block for block in dump.heldout_blocks),
    }
    hashes = {dump.content_hash}
    for name, value in other_values.items():
        hashes.add(dataclasses.replace(dump, **{name: value}).content_hash)
    assert len(hashes) == 1 + len(other_values)


def test_file_names_stay_inside_the_folder_and_never_collide(tmp_path: Path) -> None:
    awkward = ["a", "a.b", "../../x", "/etc/passwd", "..", ".", "", "a/b", "a_b", "a--b", "-", "é"]
    awkward += ["x" * 500, "x" * 501, "a\0b", "a\nb", "C:\\x", "timm:net"]
    paths = {dump_path(tmp_path, s, name) for s in awkward for name in awkward}
    assert len(paths) == len(awkward) ** 2
    assert len({path.name.lower() for path in paths}) == len(paths)
    for path in paths:
        assert path.parent == tmp_path
        assert len(path.name) < 180 and not path.name.startswith((".", "-"))
    assert dump_path(tmp_path, "mobilenet-v2", "features.8.conv.0").name == (
        "mobilenet-v2--features.8.conv.0.safetensors"
    )


def test_unwritable_places(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(DumpError, match="cannot write the dump"):
        write_dump(blocker / "d.safetensors", make_dump())
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(DumpError, match="cannot write the dump"):
        write_dump(tmp_path / "d.safetensors", make_dump())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.safetensors", "file"]


def test_a_full_disk_leaves_the_old_dump_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.safetensors"
    write_dump(path, make_dump())
    before = path.read_bytes()

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("layers.dump.whole_file.os.fsync", full)
    with pytest.raises(DumpError, match="No space left"):
        write_dump(path, make_dump(rows=51))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_format_name() -> None:
    assert FORMAT == "layerbounds-dump"
