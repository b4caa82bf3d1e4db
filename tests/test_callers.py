"""Who is calling: threads, tasks of asyncio and trio, and both libraries in every state of being imported."""

from __future__ import annotations

import _thread
import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from execution_tracker import ExecutionTracker, _callers


def owner() -> object:
    """Ask as ``record_*`` does."""
    thread = _callers.this_thread.caller
    if _callers.running_loop() is not None or "trio" in sys.modules:
        return _callers.current_task_or(thread)
    return thread


@pytest.fixture
def asyncio_not_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_callers, "running_loop", partial(sys.modules.get, "asyncio"))


# --- threads ---


def test_a_thread_always_has_the_same_owner() -> None:
    assert owner() is owner()


def test_threads_have_owners_of_their_own() -> None:
    with ThreadPoolExecutor(4) as pool:
        barrier = threading.Barrier(4)
        found = list(pool.map(lambda _: (barrier.wait(), owner())[1], range(4)))
    assert len({id(found_owner) for found_owner in [*found, owner()]}) == 5


def test_a_thread_that_gets_the_ident_of_a_dead_one_has_an_owner_of_its_own() -> None:
    found: list[tuple[int, object]] = []
    for _ in range(50):
        thread = threading.Thread(target=lambda: found.append((threading.get_ident(), owner())))
        thread.start()
        thread.join()
    assert len({id(found_owner) for _, found_owner in found}) == 50
    # The system gave some ident twice, or this test shows nothing.
    assert len({ident for ident, _ in found}) < 50


def test_a_worker_is_named_as_its_thread_is() -> None:
    thread = threading.Thread(target=lambda: named.append(_callers.this_thread.caller.name), name="loader-7")
    named = [_callers.this_thread.caller.name]
    thread.start()
    thread.join()
    assert named == [threading.current_thread().name, "loader-7"]


def test_a_thread_that_python_did_not_start_is_named_by_its_ident_and_stays_unknown_to_python() -> None:
    found: list[str] = []
    done = threading.Event()

    def work() -> None:
        found.append(_callers.this_thread.caller.name)
        found.append(f"Thread {threading.get_ident()}")
        found.append(str(threading.get_ident() in threading._active))  # type: ignore[attr-defined]
        done.set()

    _thread.start_new_thread(work, ())
    assert done.wait(60)
    assert (found[0], found[2]) == (found[1], "False")


# --- tasks ---


def test_a_task_always_has_the_same_owner_and_each_its_own() -> None:
    async def task() -> object:
        first = owner()
        await asyncio.sleep(0)
        assert owner() is first
        return first

    async def run() -> list[object]:
        return list(await asyncio.gather(task(), task(), task()))

    found = asyncio.run(run())
    assert len({id(found_owner) for found_owner in [*found, owner()]}) == 4


def test_what_a_task_awaits_and_calls_has_the_owner_of_the_task() -> None:
    async def inner() -> object:
        return owner()

    async def run() -> None:
        assert await inner() is owner()
        assert await asyncio.create_task(inner()) is not owner()

    asyncio.run(run())


def test_a_callback_of_the_loop_and_a_thread_beside_it_are_owned_by_their_threads() -> None:
    async def run() -> tuple[object, object]:
        loop = asyncio.get_running_loop()
        of_callback: asyncio.Future[object] = loop.create_future()
        loop.call_soon(lambda: of_callback.set_result(owner()))
        return await of_callback, await asyncio.to_thread(owner)

    of_callback, of_thread = asyncio.run(run())
    assert of_callback is owner()
    assert of_thread is not owner()
    assert not isinstance(of_thread, weakref.ref)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="tasks start eagerly from Python 3.12 on")
def test_a_task_that_starts_eagerly_has_an_owner_of_its_own() -> None:
    async def task() -> object:
        return owner()

    async def run() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        assert await asyncio.create_task(task()) is not owner()

    asyncio.run(run())


def test_a_task_that_gets_the_address_of_a_dead_one_does_not_end_its_execution() -> None:
    tracker = ExecutionTracker()
    addresses = set()

    async def start(number: int) -> None:
        addresses.add(id(asyncio.current_task()))
        tracker.record_routine_start("a", {"number": number})

    async def end() -> None:
        tracker.record_routine_end("a", "ended by a stranger")

    async def run() -> None:
        for number in range(50):
            await asyncio.create_task(start(number))
            tracker.get_flow_performance()
        tracker.record_routine_start("a", {"number": 50})
        await asyncio.create_task(end())

    asyncio.run(run())
    assert len(addresses) < 50, "no address was used again: this test shows nothing"
    # None of the 51 is the stranger's own, so it takes the latest.
    statuses = [record["status"] for record in tracker.routine_executions["a"]]
    assert statuses == ["running"] * 50 + ["ended by a stranger"]


def test_a_log_that_nobody_reads_and_an_open_execution_keep_no_task_alive() -> None:
    trackers = ExecutionTracker(), ExecutionTracker()
    gone: list[weakref.ref[Any]] = []

    async def task() -> None:
        for tracker in trackers:
            tracker.record_routine_start("a")
            tracker.record_routine_start("b")
            tracker.record_routine_end("b")
        gone.append(weakref.ref(asyncio.current_task()))

    async def run() -> None:
        await asyncio.gather(*[asyncio.create_task(task()) for _ in range(10)])

    asyncio.run(run())
    trackers[1].get_flow_performance()
    gc.collect()
    assert [reference() for reference in gone] == [None] * 10
    assert trackers[0].get_performance_metrics()["running"] == 10


# --- trio, and anyio on both ---


async def one_of_many(tracker: ExecutionTracker, number: int) -> None:
    """Start first and end last, in the middle of others that do the same."""
    tracker.record_routine_start("a", number)
    await anyio.sleep(0.001 * (4 - number))
    tracker.record_event("a", "e", data=number)
    tracker.record_routine_end("a", result=number)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("live", [False, True])
def test_tasks_of_each_library_end_their_own_starts_and_emit_their_own_events(backend: str, live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for number in range(1, 5):
                group.start_soon(one_of_many, tracker, number)

    anyio.run(run, backend=backend)
    records = tracker.routine_executions["a"]
    assert [record["params"] for record in records] == [record["result"] for record in records]
    by_id = {record["execution_id"]: record["params"] for record in records}
    assert [by_id[event["execution_id"]] for event in tracker.event_flow] == [e["data"] for e in tracker.event_flow]
    tracker._check()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thread_beside_the_tasks_of_a_library_is_an_owner_of_its_own(backend: str) -> None:
    async def run() -> list[object]:
        return [owner(), await anyio.to_thread.run_sync(owner), owner()]

    first, of_thread, again = anyio.run(run, backend=backend)
    assert first is again
    assert isinstance(first, weakref.ref)
    assert isinstance(of_thread, _callers.Thread)
    assert owner() is _callers.this_thread.caller


def test_trio_in_one_thread_and_asyncio_in_another_do_not_meet() -> None:
    async def both(sleep: Any) -> list[object]:
        first = owner()
        await sleep(0.01)
        return [first, owner()]

    with ThreadPoolExecutor(2) as pool:
        in_trio = pool.submit(trio.run, both, trio.sleep)
        in_asyncio = pool.submit(lambda: asyncio.run(both(asyncio.sleep)))
        found = [in_trio.result(60), in_asyncio.result(60)]
    assert all(first is second for first, second in found)
    assert found[0][0] is not found[1][0]


def test_a_task_of_trio_is_kept_alive_by_no_log_no_open_execution_and_no_block() -> None:
    trackers = ExecutionTracker(), ExecutionTracker()
    gone: list[weakref.ref[Any]] = []

    async def task() -> None:
        for tracker in trackers:
            tracker.record_routine_start("a")
            with tracker.track("b"):
                await trio.sleep(0)
        gone.append(weakref.ref(trio.lowlevel.current_task()))

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(task)

    trio.run(run)
    trackers[1].get_flow_performance()
    gc.collect()
    assert [reference() for reference in gone] == [None] * 10
    assert trackers[0].get_performance_metrics()["running"] == 10


@pytest.mark.parametrize("defined", [[], ["in_trio_task"]])
def test_a_thread_has_its_owner_while_another_imports_trio(monkeypatch: pytest.MonkeyPatch, defined: list[str]) -> None:
    half_imported = ModuleType("trio")
    monkeypatch.setattr(_callers, "running_library", SimpleNamespace(name="trio"))  # as before trio was found
    monkeypatch.setitem(sys.modules, "trio", half_imported)
    assert owner() is _callers.this_thread.caller
    half_imported.lowlevel = ModuleType("trio.lowlevel")  # type: ignore[attr-defined]
    for name in defined:
        setattr(half_imported.lowlevel, name, getattr(trio.lowlevel, name))  # type: ignore[attr-defined]
    assert owner() is _callers.this_thread.caller


def test_tasks_of_an_old_trio_that_does_not_tell_sniffio_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = SimpleNamespace(name="trio")
    monkeypatch.setattr(_callers, "running_library", unknown)
    monkeypatch.setattr(trio, "__version__", "0.22.2")

    async def run() -> bool:
        return owner() is not _callers.this_thread.caller

    assert trio.run(run)
    assert owner() is _callers.this_thread.caller
    assert _callers.running_library is unknown


def test_a_thread_has_its_owner_where_trio_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    assert owner() is _callers.this_thread.caller


# --- asyncio in every state ---


def run_alone(script: str) -> str:
    # Without coverage, which would have imported asyncio before the script begins.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout.strip()


def test_recording_and_reading_in_plain_threads_imports_neither_library() -> None:
    script = """
import sys, threading
from execution_tracker import ExecutionTracker
tracker = ExecutionTracker()
def work():
    tracker.record_routine_start("a")
    tracker.record_event("a", "b")
    tracker.record_routine_end("a")
thread = threading.Thread(target=work)
thread.start()
thread.join()
work()
tracker.get_performance_metrics(), tracker.routine_executions, tracker.serialize()
work()
with tracker.track("a"):
    tracker.tracked()(work)()
print(*sorted({"asyncio", "selectors", "ssl", "trio"} & sys.modules.keys()))
"""
    assert run_alone(script) == ""


def test_tasks_are_told_apart_though_asyncio_was_imported_after_the_first_call() -> None:
    script = """
from execution_tracker import ExecutionTracker
tracker = ExecutionTracker()
tracker.record_routine_start("a", "before")
import asyncio
async def task(name):
    tracker.record_routine_start("a", name)
    await asyncio.sleep(0)
    tracker.record_routine_end("a", name)
async def run():
    await asyncio.gather(task("one"), task("two"))
asyncio.run(run())
tracker.record_routine_end("a", "before")
print(all(record["status"] == record["params"] for record in tracker.routine_executions["a"]))
"""
    assert run_alone(script) == "True"


def test_tasks_of_trio_are_told_apart_though_it_was_imported_after_the_first_call() -> None:
    script = """
from execution_tracker import ExecutionTracker
tracker = ExecutionTracker()
tracker.record_routine_start("a", "before")
import trio
async def task(name):
    tracker.record_routine_start("a", name)
    await trio.sleep(0)
    await trio.sleep(0)
    tracker.record_routine_end("a", name)
async def run():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task, "one")
        nursery.start_soon(task, "two")
trio.run(run)
tracker.record_routine_end("a", "before")
print(all(record["status"] == record["params"] for record in tracker.routine_executions["a"]))
"""
    assert run_alone(script) == "True"


@pytest.mark.usefixtures("asyncio_not_known_yet")
@pytest.mark.parametrize("defined", [[], ["_get_running_loop"], ["current_task"]])
def test_a_thread_has_its_owner_while_another_imports_asyncio(
    monkeypatch: pytest.MonkeyPatch, defined: list[str]
) -> None:
    half_imported = ModuleType("asyncio")
    for name in defined:
        setattr(half_imported, name, getattr(asyncio, name))
    monkeypatch.setitem(sys.modules, "asyncio", half_imported)
    assert owner() is _callers.this_thread.caller
    monkeypatch.setitem(sys.modules, "asyncio", asyncio)

    async def run() -> bool:
        return owner() is _callers.this_thread.caller

    assert asyncio.run(run()) is False


@pytest.mark.usefixtures("asyncio_not_known_yet")
def test_a_thread_has_its_owner_where_asyncio_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncio", None)
    assert owner() is _callers.this_thread.caller


def test_recording_goes_on_in_a_task_after_asyncio_was_taken_out_of_sys_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        assert owner() is owner()
        monkeypatch.delitem(sys.modules, "asyncio")
        tracker = ExecutionTracker()
        tracker.record_routine_start("a")
        tracker.record_routine_end("a")
        monkeypatch.undo()
        assert tracker.routine_executions["a"][0]["status"] == "completed"

    asyncio.run(run())


def test_a_block_that_was_left_is_not_paused() -> None:
    inner, outer = _callers.Block(owner(), 2), _callers.Block(owner(), 1)
    outer.enter()
    inner.pause()  # which was never entered
    assert _callers.current_blocks.get()[-1] is outer
    outer.leave()
    assert outer not in _callers.current_blocks.get()


def test_a_thread_is_found_by_its_first_frame_as_long_as_it_is_in_no_list() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(_callers._starting_thread()))
    thread.start()
    thread.join()
    assert found == [thread]
    assert _callers._starting_thread() is None
