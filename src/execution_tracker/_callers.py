"""Who is calling: the current task of asyncio or trio, else the thread; and inside which block of ``track``.

Neither asyncio nor trio is imported for that.
"""

from __future__ import annotations

import sys
import threading
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import ref


class Thread:
    """Stands for one thread: thread ids will not do, since they are used again."""

    __slots__ = ("name",)

    def __init__(self, name: str | None) -> None:
        self.name = name


class _ThisThread(threading.local):
    def __init__(self) -> None:
        # Not current_thread(): it takes a lock, and makes an entry for each thread that it does not know.
        ident = threading.get_ident()
        known = getattr(threading, "_active", {}).get(ident) or _starting_thread()
        self.caller = Thread(f"Thread {ident}" if known is None else str(known.name))


def _starting_thread() -> threading.Thread | None:
    """Return the thread that starts here: a finalizer may record before ``threading`` has an entry for it."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    thread = frame.f_locals.get("self")
    return thread if isinstance(thread, threading.Thread) else None


this_thread = _ThisThread()

modules = sys.modules

# Answers None where no event loop of asyncio runs. The first answer, once asyncio is there, is the module.
running_loop: Any = partial(modules.get, "asyncio")
# Its name is "trio" where a task of trio may run: asking trio costs a microsecond. Replaced once trio is there.
running_library: Any = SimpleNamespace(name="trio")


def current_task_or(thread: object) -> object:
    """Return the owner of a call made where a loop of asyncio may run, or one of trio."""
    # A weak reference, as a log that nobody reads must not keep tasks alive. A task always gives the same one.
    task = (_trio_task() if running_library.name == "trio" else None) or _asyncio_task()
    return thread if task is None else ref(task)


def _asyncio_task() -> Any:
    global running_loop
    asyncio = modules.get("asyncio")
    ask, current_task = getattr(asyncio, "_get_running_loop", None), getattr(asyncio, "current_task", None)
    if ask is None or current_task is None:  # another thread is in the middle of importing it, or Python shuts down
        return None
    running_loop = ask
    return current_task() if ask() is not None else None


def _trio_task() -> Any:
    global running_library
    trio: Any = modules.get("trio")
    lowlevel: Any = getattr(trio, "lowlevel", None)
    in_trio_task = getattr(lowlevel, "in_trio_task", None)  # None also while another thread is importing trio
    if in_trio_task is None:
        return None
    if getattr(trio, "__version__", "") >= "0.23":  # from then on trio tells each thread of sniffio that it runs there
        running_library = modules["sniffio"].thread_local
    return lowlevel.current_task() if in_trio_task() else None


class Block:
    """One execution of ``track``, while the code around it runs inside. It holds no tracker."""

    __slots__ = ("_inside", "execution_id", "is_left", "owner", "routine_id", "tracker_mark")

    def __init__(self, tracker_mark: object, routine_id: Any) -> None:
        self.tracker_mark = tracker_mark
        self.routine_id = routine_id
        self.execution_id = 0  # until it is known
        self.owner = current_task_or(this_thread.caller)
        self.is_left = False
        self._inside: tuple[Block, ...] = ()  # those that a paused generator has entered inside this one

    def enter(self) -> None:
        """Make this the innermost block of the context, which tasks that are made inside inherit."""
        blocks = current_blocks.get()
        if blocks and (blocks[-1].owner is not self.owner or blocks[-1].is_left):  # inherited, or left elsewhere
            blocks = _within_reach(blocks, self.owner)
        current_blocks.set((*blocks, self))

    def pause(self) -> None:
        """Take the blocks of a generator that yields out of the context."""
        blocks = current_blocks.get()
        if self in blocks:
            place = _last_place_of(self, blocks)
            self._inside = blocks[place + 1 :]
            current_blocks.set(blocks[:place])

    def resume(self) -> None:
        """Go on inside the generator, perhaps in another context."""
        current_blocks.set((*current_blocks.get(), self, *(block for block in self._inside if not block.is_left)))

    def leave(self) -> None:
        """Take this block out of the context, if it is there. Tasks that were made inside it stay inside."""
        self.is_left = True
        self._inside = ()
        blocks = current_blocks.get()
        if blocks and blocks[-1] is self:
            current_blocks.set(blocks[:-1])
        elif self in blocks:
            place = _last_place_of(self, blocks)
            current_blocks.set(blocks[:place] + blocks[place + 1 :])


# Those around a call, the outermost first. No block leads to another, so each context can lose its own ones in any
# order, and a generator takes its own ones to whatever context it goes on in.
current_blocks: ContextVar[tuple[Block, ...]] = ContextVar("execution_tracker_blocks", default=())


def block_of(tracker_mark: object) -> Block | None:
    """Return the innermost block of a tracker around the call."""
    for block in reversed(current_blocks.get()):
        if block.tracker_mark is tracker_mark and not _is_stale(block, None):
            return block
    return None


def _is_stale(block: Block, caller: object) -> bool:
    """Tell whether a block was left, in another task or thread, and the caller is the one that entered it.

    A task that was made inside it is another case: it goes on inside when the block is left.
    """
    return block.is_left and block.owner is (caller or current_task_or(this_thread.caller))


def _within_reach(blocks: tuple[Block, ...], caller: object) -> tuple[Block, ...]:
    """Return blocks without those that nobody gets to from here: else they would become more and more for ever.

    Each task that starts the next one inside of its block hands on those that it has inherited.
    """
    kept: list[Block] = []
    left: list[object] = []  # the trackers whose left block is nearer
    for block in reversed(blocks):
        if block.is_left:
            if _is_stale(block, caller) or any(mark is block.tracker_mark for mark in left):
                continue
            left.append(block.tracker_mark)
        kept.append(block)
    return (*reversed(kept),)


def _last_place_of(block: Block, blocks: tuple[Block, ...]) -> int:
    # A task that was made in a generator and takes a step of it has inherited the block, too.
    return len(blocks) - 1 - blocks[::-1].index(block)
