"""Who is calling: threads, tasks, and asyncio in every state of being imported."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from execution_tracker import ExecutionTracker, owners


def owner() -> object:
    """Ask as ``record_*`` does."""
    if owners.running_loop() is None:
        return owners.this_thread.owner
    return owners.running_task_or_thread()


@pytest.fixture
def asyncio_not_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "running_loop", partial(sys.modules.get, "asyncio"))


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


# --- asyncio in every state ---


def run_alone(script: str) -> str:
    # Without coverage, which would have imported asyncio before the script begins.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout.strip()


def test_recording_and_reading_in_plain_threads_does_not_import_asyncio() -> None:
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
print(*sorted({"asyncio", "selectors", "ssl"} & sys.modules.keys()))
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


@pytest.mark.usefixtures("asyncio_not_known_yet")
@pytest.mark.parametrize("defined", [[], ["_get_running_loop"], ["current_task"]])
def test_a_thread_has_its_owner_while_another_imports_asyncio(
    monkeypatch: pytest.MonkeyPatch, defined: list[str]
) -> None:
    half_imported = ModuleType("asyncio")
    for name in defined:
        setattr(half_imported, name, getattr(asyncio, name))
    monkeypatch.setitem(sys.modules, "asyncio", half_imported)
    assert owner() is owners.this_thread.owner
    monkeypatch.setitem(sys.modules, "asyncio", asyncio)

    async def run() -> bool:
        return owner() is owners.this_thread.owner

    assert asyncio.run(run()) is False


@pytest.mark.usefixtures("asyncio_not_known_yet")
def test_a_thread_has_its_owner_where_asyncio_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncio", None)
    assert owner() is owners.this_thread.owner


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
