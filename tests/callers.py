"""Threads and tasks that stay and make one call each time they are told to."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Any

Work = Callable[[], Any]


class ThreadOwner:
    """A thread that stays and makes one call each time it is told to."""

    def __init__(self) -> None:
        self._works: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._thread.name

    def _run(self) -> None:
        while (item := self._works.get()) is not None:
            work, answer = item
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)
            del item, work, answer

    def do(self, work: Work) -> Any:
        answer: Future[Any] = Future()
        self._works.put((work, answer))
        return answer.result(60)

    def stop(self) -> None:
        self._works.put(None)
        self._thread.join()


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.name = self._thread.name

    def do(self, work: Work) -> Any:
        """Have the loop make a call outside of any task: its thread is the owner."""
        answer: Future[Any] = Future()

        def run() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return answer.result(60)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class TaskOwner:
    """A task that stays and makes one call each time it is told to; it inherits the context of who makes it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.name = loop.name
        self._works: asyncio.Queue[tuple[Work, Future[Any]] | None] = asyncio.Queue()
        self._run_ended = asyncio.run_coroutine_threadsafe(self._run(), loop.loop)

    async def _run(self) -> None:
        while (item := await self._works.get()) is not None:
            work, answer = item
            try:
                answer.set_result(work())
            except BaseException as error:
                answer.set_exception(error)
            del item, work, answer

    def do(self, work: Work) -> Any:
        answer: Future[Any] = Future()
        self._loop.loop.call_soon_threadsafe(self._works.put_nowait, (work, answer))
        return answer.result(60)

    def stop(self) -> None:
        self._loop.loop.call_soon_threadsafe(self._works.put_nowait, None)
        self._run_ended.result(60)


class ThisThread:
    """The thread of the test, in a context of its own."""

    name = "MainThread"

    def __init__(self) -> None:
        self._context: Context = copy_context()

    def do(self, work: Work) -> Any:
        return self._context.run(work)

    def stop(self) -> None: ...
