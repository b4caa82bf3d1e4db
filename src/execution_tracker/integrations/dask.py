"""Clusters of dask.distributed.

Only the workers know of every execution and its times: the scheduler forgets a failure that is retried, and its task
stream forgets what is old. So a plugin on each worker reports each start and each end as it happens, as an event of a
topic that exists for this context only, which the scheduler passes on to the client. A plugin on the scheduler reports
in the same way that a worker is gone.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from execution_tracker.errors import TrackerError
from execution_tracker.timestamps import SECOND_NS
from execution_tracker.tracker import ExecutionTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client, Scheduler, SchedulerPlugin, Worker, WorkerPlugin

# How long the cluster may take for one step of a beginning or an end of a context. A worker does not answer while a
# task holds the interpreter's lock.
_PATIENCE_S = 30.0
_POLL_S = 0.01


def track_cluster(client: Client, tracker: ExecutionTracker) -> ClusterContext:
    """Record the executions of tasks that end on a dask.distributed cluster meanwhile.

    Args:
        client: A client of the cluster. It does not matter whose tasks they are.
        tracker: Gets the executions, in the order of their starts, when the context ends.

    Returns:
        A context manager; ``async with`` for an asynchronous client. It gives the tracker.

    Raises:
        TrackerError: distributed is not installed; ``tracker`` is none; the cluster refuses plugins; or it was lost
            meanwhile, or did not tell everything in half a minute: then the tracker has what came before. Where the
            block raises, its own error goes on instead.

    The routine id is dask's prefix of the key (``load`` of ``load-8c3f…``), the worker is the address of dask's, params
    are the ``key`` and that ``worker``. Times are those of the worker's own clock; between hosts they are as exact as
    the clocks agree. The status is ``"completed"``, ``"failed"`` with the error, ``"cancelled"`` where the task was
    cancelled while it ran, or ``"rescheduled"``. Each retry is an execution of its own. What a worker was running when
    it was lost has failed with the error ``WorkerLost``, unless it was lost within milliseconds, before it could report
    the start.

    An execution belongs to the context in which it ends. One that began before has its true start. One that still runs
    when the context ends is neither waited for nor recorded; a context that is open when it ends records it.

    Nothing is bounded, so nothing is lost: the client keeps some 500 bytes for each execution until the context ends.
    The workers send two small messages for each, and a report comes before the result: what the block knows to be done
    is recorded even if the cluster is lost then. Workers and scheduler need not have this package, and after the
    context nothing of it is left there.

    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.integrations.dask import track_cluster
    >>> tracker = ExecutionTracker("nightly")
    >>> with track_cluster(client, tracker):  # doctest: +SKIP
    ...     client.gather(client.map(load, paths))
    >>> tracker.get_routine_performance("load")  # doctest: +SKIP
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise TrackerError(
            "dask.distributed is not installed: pip install 'execution-tracker[dask]' brings it"
        ) from error
    if not isinstance(tracker, ExecutionTracker):
        raise TrackerError(f"expected an ExecutionTracker; found {type(tracker).__name__}")
    return ClusterContext(client, tracker)


class ClusterContext:
    """What :func:`track_cluster` returns; for one use."""

    def __init__(self, client: Any, tracker: ExecutionTracker) -> None:
        self._client = client
        self._tracker = tracker
        self._topic = f"execution-tracker-{uuid.uuid4().hex}"  # also the name of both plugins
        self._reports = _Reports()
        self._connection: object = None

    def __enter__(self) -> ExecutionTracker:
        if self._client.asynchronous:
            raise TrackerError("the client is asynchronous: use 'async with track_cluster(…)'")
        with self._beginning():
            self._client.sync(self._begin)
        return self._tracker

    def __exit__(self, error_type: object, error: object, traceback: object) -> None:
        with self._ending(error):
            if self._client.status == "closed":  # and has no loop to wait for
                self._check_connection()
            self._client.sync(self._end)

    async def __aenter__(self) -> ExecutionTracker:
        with self._beginning():
            await self._begin()
        return self._tracker

    async def __aexit__(self, error_type: object, error: object, traceback: object) -> None:
        with self._ending(error):
            await self._end()

    @contextmanager
    def _beginning(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise TrackerError(f"the cluster cannot be tracked: {_reason(error)}") from error

    @contextmanager
    def _ending(self, error_of_block: object) -> Iterator[None]:
        """Record what was reported, whatever happens."""
        try:
            yield
        except Exception as error:
            if error_of_block is None:
                raise TrackerError(
                    f"lost track of the cluster: {_reason(error)}; "
                    f"the tracker has the {len(self._reports.ended)} executions that were reported to have ended"
                ) from error
        finally:
            self._reports.record(self._tracker)

    async def _begin(self) -> None:
        if self._connection is not None:  # what it heard the first time would be recorded again
            raise TrackerError("this context was entered before; call track_cluster() for each")
        self._connection = self._client.scheduler_comm
        try:
            await asyncio.wait_for(self._join(), _PATIENCE_S)
        except BaseException:
            await self._withdraw()
            raise

    async def _join(self) -> None:
        client, reports = self._client, self._reports
        client.subscribe_topic(self._topic, reports.hear)
        while not reports.subscribed:  # sent over another connection than this event
            self._check_connection()
            await client.log_event(self._topic, ("subscribed", ""))
            await asyncio.sleep(_POLL_S)
        on_scheduler, on_worker = _plugins(self._topic, client.id)
        await client.register_plugin(on_scheduler, name=self._topic)
        workers = await client.register_plugin(on_worker, name=self._topic)
        await self._until(lambda: workers.keys() <= reports.seen)

    async def _end(self) -> None:
        try:
            await asyncio.wait_for(self._hear_out(), _PATIENCE_S)
        except BaseException:
            await self._withdraw()
            raise
        await self._forget_topic()

    async def _hear_out(self) -> None:
        """Remove the plugin from the workers, and wait for all that they have sent."""
        self._check_connection()
        client, reports = self._client, self._reports
        workers: dict[str, Any] = {}
        with suppress(Exception):  # of a worker that leaves at this moment
            workers = await client.unregister_worker_plugin(self._topic)
        await self._until(lambda: workers.keys() <= reports.seen and not reports.running)

    async def _withdraw(self) -> None:
        """Leave as little behind as possible, after an error."""
        if self._client.status == "running":
            with suppress(Exception):
                await asyncio.wait_for(self._client.unregister_worker_plugin(self._topic), _PATIENCE_S)
            with suppress(Exception):
                await asyncio.wait_for(self._forget_topic(), _PATIENCE_S)

    async def _forget_topic(self) -> None:
        await self._client.run_on_scheduler(_forgetting(self._topic, self._client.id))
        # It stays there when one only unsubscribes, and with it what was reported.
        self._client._event_handlers.pop(self._topic, None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            self._check_connection()
            if condition():
                return
            await asyncio.sleep(_POLL_S)

    def _check_connection(self) -> None:
        # After a connection was lost the client makes another one, but what was reported meanwhile is lost.
        if self._client.status != "running" or self._client.scheduler_comm is not self._connection:
            raise TrackerError("the connection to its scheduler was lost")


def _reason(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"it did not answer within {_PATIENCE_S:.0f} seconds"
    return str(error) or type(error).__name__


class _Reports:
    """What was reported to the client; its event loop hears, and others look when it is done."""

    def __init__(self) -> None:
        self.subscribed = False
        self.seen: set[str] = set()  # workers that have reported, or are gone
        self.running: dict[str, dict[Any, tuple[str, float]]] = {}  # by worker and key, the prefix and the start
        self.ended: list[tuple[float, float, str, Any, str, str, str | None]] = []

    def hear(self, event: tuple[float, tuple[Any, ...]]) -> None:
        """Take one event of the topic."""
        kind, worker, *facts = event[1]
        if kind == "subscribed":
            self.subscribed = True
        elif kind == "joined":
            self.seen.add(worker)
            self.running[worker] = {}
        elif kind == "lost":
            self.seen.add(worker)
            (now,) = facts
            error = f"WorkerLost: {worker} left the cluster"
            for key, (prefix, start) in self.running.pop(worker, {}).items():
                self.ended.append((start, now - start, prefix, key, worker, "failed", error))
        elif worker in self.running:  # what a worker says after the scheduler gave it up does not count
            if kind == "left":
                del self.running[worker]
            elif kind == "began":
                key, prefix, start = facts
                self.running[worker][key] = prefix, start
            else:
                key, prefix, start, elapsed, status, error = facts
                self.running[worker].pop(key, None)
                self.ended.append((start, elapsed, prefix, key, worker, status, error))

    def record(self, tracker: ExecutionTracker) -> None:
        """Record the executions that ended, in the order of their starts."""
        for start, elapsed, prefix, key, worker, status, error in sorted(self.ended, key=itemgetter(0)):
            start_ns, elapsed_ns = round(start * SECOND_NS), round(elapsed * SECOND_NS)
            params = {"key": key, "worker": worker}
            tracker._record_ended(prefix, start_ns, elapsed_ns, status, params, None, error, worker=worker)


# What is defined inside a function travels to the cluster as code, so this package need not be there.


def _plugins(topic: str, client_id: str) -> tuple[SchedulerPlugin, WorkerPlugin]:
    import pickle

    from dask.utils import key_split
    from distributed import SchedulerPlugin, WorkerPlugin
    from distributed.metrics import time

    forget = _forgetting(topic, client_id)

    class LossReporter(SchedulerPlugin):
        def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
            scheduler.log_event(topic, ("lost", worker, time()))

        def remove_client(self, scheduler: Scheduler, client: str) -> None:
            background = scheduler._ongoing_background_tasks
            if client == client_id and not background.closed:  # it is gone, and hears no more what is reported
                background.call_soon(clean_up, scheduler)

    async def clean_up(scheduler: Scheduler) -> None:
        with suppress(Exception):  # the client may have come back, and done it itself
            await scheduler.unregister_worker_plugin(comm=None, name=topic)
        await asyncio.sleep(1)  # the workers' last reports are on their way, and would make the topic anew
        forget(scheduler)

    class Reporter(WorkerPlugin):
        def setup(self, worker: Worker) -> None:
            self.worker = worker
            # By key: when it began, the scheduler's lead by dask's estimate, and how many times were taken before.
            self.began: dict[Any, tuple[float, float, int]] = {}
            self.tell("joined")
            for task in worker.state.executing | worker.state.long_running:
                self.begin(task.key, task.start_time or time())

        def teardown(self, worker: Worker) -> None:
            if worker.status.name != "closing":  # else what it runs is lost, as the scheduler will tell
                self.tell("left")

        def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
            if finish == "executing":
                self.begin(key, time())
            elif finish in ("memory", "error", "rescheduled") and key in self.began:
                self.end(key, "cancelled" if start == "cancelled" else finish)

        def begin(self, key: Any, now: float) -> None:
            times = self.worker.state.tasks[key].startstops
            self.began[key] = now, self.worker.scheduler_delay, len(times)
            self.tell("began", key, key_split(key), now)

        def end(self, key: Any, finish: str) -> None:
            task, now = self.worker.state.tasks[key], time()
            start, delay, earlier = self.began.pop(key)
            elapsed = now - start
            computed = [took for took in task.startstops[earlier:] if took["action"] == "compute"]
            for took in computed[-1:]:  # none for a task that is rescheduled
                elapsed = took["stop"] - took["start"]
                # Dask has added what it took for the scheduler's lead at that moment. That changes by milliseconds all
                # the time: executions would seem to overlap that ran one after the other.
                start = min(max(took["start"] - delay, start), now - elapsed)
            status = {"memory": "completed", "error": "failed"}.get(finish, finish)
            error = self.error_of(task) if status == "failed" else None
            self.tell("ended", key, key_split(key), start, elapsed, status, error)

        def error_of(self, task: Any) -> str:
            try:
                error = pickle.loads(task.exception.data)
                message = str(error)
                return f"{type(error).__name__}: {message}" if message else type(error).__name__
            except Exception:
                return str(task.exception_text)

        def tell(self, kind: str, *facts: Any) -> None:
            # It overtakes what the worker tells the scheduler itself: who knows of a result has the report of it, too.
            self.worker.log_event(topic, (kind, self.worker.address, *facts))

    return LossReporter(), Reporter()


def _forgetting(topic: str, client_id: str) -> Callable[[Scheduler], None]:
    def forget(dask_scheduler: Scheduler) -> None:
        dask_scheduler.plugins.pop(topic, None)
        dask_scheduler.unsubscribe_topic(topic, client_id)
        dask_scheduler._broker._topics.pop(topic, None)  # else it keeps the last events of each topic for ever

    return forget
