"""A fine-tuning study from start to end: originals, then everything else, then the tables.

Runs go side by side in processes. What is finished is on disk at once; what is not goes on from its
checkpoint when the study is run again, however it ended.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bounds.errors import StudyError
from bounds.finetune.config import DIGITS, FinetuneStudy
from bounds.finetune.jobs import Job, compressed, originals
from bounds.finetune.observer import FinetuneObserver
from bounds.finetune.toml import format_finetune
from bounds.results.files import make_folder, sweep, write_bytes
from bounds.results.finetuned import LAYERS, NETWORKS, write_finetuned

__all__ = ["FinetuneObserver", "FinetuneReport", "run_finetune"]

#: Seconds between two looks at what runs are doing.
LOOK_EVERY = 0.5
#: Images written for `layerbounds extract`, where the examples are digits.
IMAGES = 60


@dataclass(frozen=True)
class FinetuneReport:
    """What a study did.

    Attributes:
        folder: of its results.
        runs: finished, of which ``new`` were not found.
        failures: (run, why) of the others; also in ``failures.json``.
        seconds: of the whole.
    """

    folder: Path
    runs: int
    new: int
    failures: tuple[tuple[str, str], ...]
    seconds: float


def run_finetune(
    study: FinetuneStudy,
    *,
    results: Path = Path("results"),
    observer: FinetuneObserver | None = None,
) -> FinetuneReport:
    """Run a fine-tuning study; its tables go to ``results / study.name``.

    Args:
        study: what to run.
        results: folder of all results.
        observer: is told about progress.

    Raises:
        LayerboundsError: network, examples or folder cannot be used, or no original network could
            be made. The failure of another run is not raised but reported.
        KeyboardInterrupt: passed on; what was finished stays finished.
    """
    began = time.monotonic()
    observer = observer or FinetuneObserver()
    folder = results / study.name
    make_folder(folder)
    sweep(folder)
    from bounds.finetune.work import check_study  # torch comes with it

    check_study(study)
    first, rest = originals(study), compressed(study)
    observer.begin(len(first) + len(rest), sum(job.cost for job in first + rest))
    if study.task.data == DIGITS:
        _write_images(folder / "images")
    done = list(_run(study, first, folder, observer))
    if failed := [d for d in done if d.error]:
        raise StudyError(f"{failed[0].job.name}: {failed[0].error}")
    done += _run(study, rest, folder, observer)
    order = {job.name: place for place, job in enumerate(first + rest)}
    done.sort(key=lambda d: order[d.job.name])
    good = [d for d in done if not d.error]
    failures = tuple((d.job.name, d.error) for d in done if d.error)
    _record(folder / "failures.json", failures)
    toml = format_finetune(study)
    write_finetuned(folder, NETWORKS, [d.network for d in good], toml)
    write_finetuned(folder, LAYERS, [row for d in good for row in d.layers], toml)
    new = sum(d.new for d in good)
    return FinetuneReport(folder, len(good), new, failures, time.monotonic() - began)


def _run(
    study: FinetuneStudy, jobs: Sequence[Job], folder: Path, observer: FinetuneObserver
) -> Iterator[Any]:
    """Do runs and yield what became of each as it ends."""
    from joblib import Parallel, delayed

    heartbeats = folder / "progress"
    for old in heartbeats.glob("*.json"):
        old.unlink(missing_ok=True)
    pool = Parallel(
        n_jobs=min(study.workers, len(jobs)),
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,  # pyright: ignore[reportArgumentType] - it takes numbers too
        pre_dispatch="n_jobs",
    )
    calls = (delayed(_work)(study, job, folder, os.getpid()) for job in jobs)
    with _watching(heartbeats, observer):
        for outcome in cast("Iterator[Any]", pool(calls)):
            with suppress(OSError):
                (heartbeats / f"{outcome.job.name}.json").unlink()
            observer.finished(outcome.job, outcome.new, outcome.error)
            yield outcome


def _work(study: FinetuneStudy, job: Job, folder: Path, parent: int) -> Any:
    """In a worker: do a run, saying where it is in a file."""
    from bounds.finetune.work import orphan_check, work

    check = orphan_check(parent)
    heartbeat = folder / "progress" / f"{job.name}.json"
    said = 0.0

    def tick(moment: Any) -> None:
        nonlocal said
        check()
        if time.monotonic() - said >= LOOK_EVERY:
            said = time.monotonic()
            words = ("epoch", "epochs", "loss", "accuracy")
            write_bytes(heartbeat, json.dumps({w: getattr(moment, w) for w in words}).encode())

    return work(study, job, folder, tick)


@contextmanager
def _watching(heartbeats: Path, observer: FinetuneObserver) -> Iterator[None]:
    """Tell the observer what runs say, from a thread of its own."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_EVERY):
            for path in sorted(heartbeats.glob("*.json")):
                # It may vanish, or be half of an old version, at any moment.
                with suppress(OSError, ValueError, TypeError):
                    observer.moving(path.stem, **json.loads(path.read_text("utf-8")))

    thread = threading.Thread(target=watch, name="fine-tuning progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write_images(folder: Path) -> None:
    """Some digits to train on as images, for `layerbounds extract finetuned:RUN --images`."""
    from layers.finetuning.data import TEST_EVERY, read_digits
    from layers.networks.digits import digits_image

    ink, labels = read_digits()
    folder.mkdir(parents=True, exist_ok=True)
    for index in [i for i in range(len(ink)) if i % TEST_EVERY != TEST_EVERY - 1][:IMAGES]:
        path = folder / f"digit_{index:04d}_{labels[index]}.png"
        if not path.exists():
            digits_image(ink[index]).save(path)


def _record(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    entries = [{"run": name, "error": error} for name, error in failures]
    write_bytes(path, json.dumps(entries, indent=1).encode() + b"\n")
