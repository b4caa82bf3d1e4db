"""Who is calling: the current asyncio task, else the thread; found without importing asyncio."""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Any
from weakref import ref


class _ThisThread(threading.local):
    """Gives each thread an owner of its own; thread ids will not do, since they are used again."""

    def __init__(self) -> None:
        self.owner = object()


this_thread = _ThisThread()

# Answers None where no event loop runs. Until somebody has imported asyncio it asks for the module, then for the loop.
running_loop: Any = partial(sys.modules.get, "asyncio")


def running_task_or_thread() -> object:
    """Return the owner of a call made where ``running_loop()`` is not None."""
    global running_loop
    asyncio = sys.modules.get("asyncio")
    ask, current_task = getattr(asyncio, "_get_running_loop", None), getattr(asyncio, "current_task", None)
    if ask is None or current_task is None:  # another thread is in the middle of importing it, or Python shuts down
        return this_thread.owner
    running_loop = ask
    task = current_task() if ask() is not None else None
    # A weak reference, as a log that nobody reads must not keep tasks alive. A task always gives the same one.
    return this_thread.owner if task is None else ref(task)
