"""The garbage collector is as it was after every build, and nobody else is held up."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from execution_tracker.collector import built_at_once


@pytest.fixture(autouse=True)
def collector_is_on_again() -> Iterator[None]:
    assert gc.isenabled()
    yield
    was_on = gc.isenabled()
    gc.enable()
    assert was_on


def test_nothing_is_collected_while_something_is_built() -> None:
    assert built_at_once(gc.isenabled) is False


def test_the_collector_is_on_again_after_an_error() -> None:
    for _ in range(2):  # and the next build is as undisturbed
        with pytest.raises(ZeroDivisionError):
            built_at_once(lambda: 1 // gc.isenabled())


def test_a_build_within_a_build_does_not_turn_it_on_for_the_outer_one() -> None:
    assert built_at_once(lambda: (built_at_once(gc.isenabled), gc.isenabled())) == (False, False)


def test_a_host_that_turned_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        assert built_at_once(gc.isenabled) is False
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_threads_that_build_at_once_leave_it_on(many_switches: None) -> None:
    def build_often() -> None:
        for _ in range(2000):
            built_at_once(list)

    threads = [threading.Thread(target=build_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_builds_collects_its_garbage() -> None:
    building, forked = threading.Event(), threading.Event()

    def build() -> None:
        building.set()
        forked.wait(60)

    thread = threading.Thread(target=built_at_once, args=(build,))
    thread.start()
    building.wait(60)
    child = os.fork()
    if not child:
        is_well = gc.isenabled() and not built_at_once(gc.isenabled) and gc.isenabled()
        os._exit(0 if is_well else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
