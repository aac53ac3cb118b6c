"""The same tasks on a Dask cluster.

A task travels with its numbers and its rows travel back, so workers need layerbounds installed but
no folder in common, and only this process writes results. Dask starts a task again elsewhere when
its worker dies; one that kills several workers, alone in the end, is given up and recorded.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bounds.errors import StudyError
from bounds.problem.methods import knowing, registered
from bounds.results.row import Row
from bounds.study.plan.tasks import Task
from bounds.study.run.outcome import Outcome
from bounds.study.run.shards import missing_bits, write_shard
from bounds.study.run.solving import ChunkProblem, Failure, describe, read_chunk_problem, solve_task

if TYPE_CHECKING:
    from distributed import Client, Future

#: Times a task is tried again when a worker fails outside the solvers: imports, memory, transfers.
RETRIES = 3
#: Fewest tasks in the scheduler's hands, so that workers who join in mid-run find some.
WINDOW = 32
CONNECT_SECONDS = 10


def solve_on_cluster(tasks: Sequence[Task], folder: Path, scheduler: str) -> Iterator[Outcome]:
    """Solve tasks on the cluster of ``scheduler`` (an address) and yield each one's outcome.

    Raises:
        StudyError: Dask is not installed, no scheduler answers there, or it was lost.
        StorageError: the folder of results cannot be written.
    """
    with connected(scheduler) as client:
        try:
            yield from _stream(client, tasks, folder)
        # What waits is cancelled, what calls cannot connect; CancelledError is no Exception.
        except (CancelledError, OSError) as error:
            raise StudyError(
                f"the Dask scheduler at {scheduler} was lost; what is finished is kept: start the "
                "cluster and run again"
            ) from error


def _stream(client: Client, tasks: Sequence[Task], folder: Path) -> Iterator[Outcome]:
    doubtful: list[Task] = []
    for outcome, killed in _flow(client, tasks, folder, "together"):
        if killed:
            doubtful.append(outcome.task)
        else:
            yield outcome
    # Dask blames the death of a worker on all tasks it held; alone, each answers for itself.
    for task in doubtful:
        for outcome, _ in _flow(client, [task], folder, "alone"):
            yield outcome


def _flow(
    client: Client, tasks: Sequence[Task], folder: Path, manner: str
) -> Iterator[tuple[Outcome, bool]]:
    """Outcomes as they come, and whether Dask gave the task up for the workers that died on it."""
    from distributed import as_completed

    ended = as_completed(loop=client.loop)
    running: dict[Any, tuple[Task, Future, float]] = {}
    waiting = iter(tasks)
    try:
        while True:
            room = max(WINDOW, 2 * _threads(client)) - len(running)
            more = list(islice(waiting, max(room, 0)))
            for task in more:
                began = time.perf_counter()
                wanted = missing_bits(folder, task)
                try:
                    piece = read_chunk_problem(task)
                except Exception as error:  # this task's own; the others go on
                    yield _ended(task, began, [Failure(wanted, describe(error))]), False
                    continue
                future = _submit(client, task, wanted, piece, manner)
                running[future.key] = (task, future, began)
                ended.add(future)
            if running:
                task, future, began = running.pop(next(ended).key)
                failures, killed = _received(future, task, folder)
                yield _ended(task, began, failures), killed
            elif not more:
                return
    finally:
        with suppress(OSError, CancelledError):  # nobody there to tell
            client.cancel([future for _, future, _ in running.values()])


def _threads(client: Client) -> int:
    return sum(cast("dict[str, int]", client.nthreads()).values())


def solve_remotely(
    task: Task, wanted: tuple[int, ...], piece: ChunkProblem
) -> tuple[list[Row], list[Failure]]:
    """What a worker does: solve the numbers it was sent, write nothing."""
    return solve_task(task, wanted, piece)


def _submit(
    client: Client, task: Task, wanted: tuple[int, ...], piece: ChunkProblem, manner: str
) -> Future:
    # The key names the content, so two runs on one cluster share what both want.
    content = ",".join(map(task.key, wanted)).encode()
    key = f"layerbounds-{manner}-{hashlib.sha256(content).hexdigest()}"
    return client.submit(
        knowing, registered(), solve_remotely, task, wanted, piece, key=key, retries=RETRIES
    )


def _received(future: Future, task: Task, folder: Path) -> tuple[list[Failure], bool]:
    """Write the rows of a future that has ended; returns what failed, and if workers died on it."""
    from distributed.scheduler import KilledWorker

    if future.cancelled():  # by nobody here: the client cancels all it waits for when it is cut off
        raise CancelledError
    try:
        rows, failures = future.result()
    except Exception as error:  # a worker's: a missing package, lost data
        return [Failure(task.bits, describe(error))], isinstance(error, KilledWorker)
    for row in rows:
        write_shard(folder, task, row)
    return failures, False


def _ended(task: Task, began: float, failures: Sequence[Failure]) -> Outcome:
    return Outcome(task, time.perf_counter() - began, tuple(failures))


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the cluster of ``scheduler``, closed at the end of the block.

    Raises:
        StudyError: Dask is not installed, or no scheduler answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise StudyError(
            "a scheduler needs Dask, which is not installed: pip install 'layerbounds[dask]'"
        ) from error
    # What goes wrong with the connection is told by our own errors, without Dask's tracebacks.
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    # Made in two steps, so that a client whose construction fails is at hand and can be closed.
    client = Client.__new__(Client)
    try:
        _start(client, scheduler)
        yield client
    finally:
        _close(client)
        log.setLevel(level)


def _start(client: Client, scheduler: str) -> None:
    try:
        _probe(scheduler)
        client.__init__(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    # Of Dask, addresses it cannot read included; AssertionError is a loop that did not start.
    except Exception as error:
        raise StudyError(
            f"no Dask scheduler answers at {scheduler} ({describe(error)}); give the address that "
            "`dask scheduler` prints, such as tcp://host:8786"
        ) from error


def _probe(scheduler: str) -> None:
    """Greet whoever listens there: a client waits for ever for one that accepts and is silent."""
    from distributed import Security
    from distributed.comm.core import connect

    settings = Security().get_connection_args("client")

    async def greet() -> None:
        comm = await connect(scheduler, timeout=CONNECT_SECONDS, **settings)
        await comm.close()

    async def greet_in_time() -> None:
        try:
            await asyncio.wait_for(greet(), CONNECT_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"no answer in {CONNECT_SECONDS} s") from error

    # In a thread, for a notebook's cell runs inside a loop already.
    with ThreadPoolExecutor(1) as aside:
        aside.submit(lambda: asyncio.run(greet_in_time())).result()


#: Clients that would not close, held until the end of the process.
_UNCLOSED: list[Client] = []


def _close(client: Client) -> None:
    """Close a client, made or half made, so that the garbage collector has nothing to close.

    It would close one that is open, and for that wait for a lock; inside the making of another
    client, which holds that lock, it would wait for ever.
    """
    try:
        with suppress(Exception):  # no answer, no loop: what it was for is done or told already
            client.close()
    finally:
        # One that was never started has nothing to close.
        if getattr(client, "status", "newly-created") not in ("closed", "newly-created"):
            _UNCLOSED.append(client)
