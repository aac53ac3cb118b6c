"""Files of results: whole or not there, on a full disk too, and swept when nobody wants them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bounds.cli import main
from bounds.results import files
from bounds.results.files import StorageError, replacing, sweep, write_bytes
from bounds.results.ranges import load_rows
from bounds.study import format_study
from bounds.study.run.running import run_study
from tests.bounds.study.study_cases import timeless


@contextlib.contextmanager
def filling_disk(monkeypatch: pytest.MonkeyPatch, room: int) -> Iterator[None]:
    """Every file after the first ``room`` meets a full disk when it is written."""
    sync, left = os.fsync, [room]

    def failing(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("layers.dump.whole_file.os.fsync", failing)
        yield


def mounted(folder: Path, options: str) -> bool:
    """Mount a tmpfs, if this user and machine allow it."""
    command = ["mount", "-t", "tmpfs", "-o", options, "layerbounds-test", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def small_disk(tmp_path, monkeypatch) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder on a disk that is soon full, and what frees it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if mounted(folder, "size=64k"):
        remount = ["mount", "-o", "remount,size=16m", str(folder)]
        try:
            yield folder, lambda: subprocess.run(remount, check=True) and None
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:  # no right to mount: the writer is told the same
        with contextlib.ExitStack() as stack:
            stack.enter_context(filling_disk(monkeypatch, 7))
            yield folder, stack.close


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_stops_when_the_disk_is_full_and_goes_on_when_it_is_not(
    ran, small_disk, tmp_path, capsys, workers
):
    results, free = small_disk
    file = tmp_path / "study.toml"
    file.write_text(format_study(ran.study), "utf-8")
    command = ["study", str(file), "--results", str(results), "--dumps", str(ran.dumps)]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--workers", str(workers)])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and errors.count("\n") == 1
    assert "No space left on device" in errors and "run again" in errors and str(results) in errors
    whole = {p: p.stat().st_mtime_ns for p in results.rglob("*.json") if p.stat().st_size}
    assert 0 < len(whole) < 36
    assert list(results.rglob(".*.tmp")) == []
    free()
    report = run_study(ran.study, results=results, dumps=ran.dumps)
    assert report.failures == () and report.rows == 36
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert timeless(load_rows(report.results)) == timeless(load_rows(ran.report.results))


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    with filling_disk(monkeypatch, 0), pytest.raises(StorageError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path):
    write_bytes(tmp_path / ("a" * 255), b"long")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_one_place_renames_files():
    root = Path(files.__file__).parents[2]
    sources = [p for name in ("bounds", "layers") for p in (root / name).rglob("*.py")]
    found = [
        p.name
        for p in sources
        if re.search(r"os\.replace|os\.rename|\.rename\(|mkstemp", p.read_text("utf-8"))
    ]
    assert found == ["whole_file.py"]


def test_a_table_that_cannot_be_written_is_a_sentence(ran, tmp_path, monkeypatch):
    """The table is written last, by another library: its errors are told in the same words."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bounds.results.table.pq.write_table", failing)
    with pytest.raises(StorageError, match=r"results\.parquet cannot be written: No space left"):
        run_study(ran.study, results=tmp_path, dumps=ran.dumps)
    monkeypatch.undo()
    report = run_study(ran.study, results=tmp_path, dumps=ran.dumps)
    assert (report.solved, report.skipped) == (0, 18)


def test_sweeping_takes_only_what_is_old_and_ours(tmp_path):
    (tmp_path / "tasks").mkdir()
    with replacing(tmp_path / "tasks" / "a.json") as name:
        pass_name = name.name
        name.write_text("{}", "utf-8")
    old = tmp_path / "tasks" / pass_name
    older = tmp_path / f".b.json{pass_name}"  # as runs of before named them
    young = tmp_path / pass_name
    others = [tmp_path / ".mine.tmp", tmp_path / "tasks" / "c.json", tmp_path / f"x{pass_name}"]
    past = time.time() - 2 * files.STALE_AFTER
    for path in (old, older, young, *others):
        path.write_text("half", "utf-8")
        if path != young:
            os.utime(path, (past, past))
    assert sweep(tmp_path) == 2
    assert (
        not (old.exists() or older.exists())
        and young.exists()
        and all(path.exists() for path in others)
    )


def test_a_run_sweeps_before_it_starts(ran, tmp_path):
    left = tmp_path / "tiny" / "tasks" / f".{'0' * 64}.json.{'f' * 32}.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a")
    os.utime(left, (0, 0))
    run_study(ran.study, results=tmp_path, dumps=ran.dumps)
    assert not left.exists()


def test_a_write_whose_temporary_file_was_swept_is_made_again(tmp_path, monkeypatch):
    """As when a laptop sleeps in the middle of a write, and another run sweeps."""
    sync, swept = os.fsync, []

    def sweeping(descriptor: int) -> None:
        sync(descriptor)
        if not swept:
            swept.append(sweep(tmp_path, older_than=-1))

    monkeypatch.setattr("layers.dump.whole_file.os.fsync", sweeping)
    write_bytes(tmp_path / "a.json", b"whole")
    assert swept == [1]
    assert (tmp_path / "a.json").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1
