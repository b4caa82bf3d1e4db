"""Executions around blocks and functions: they end however the block ends, and the function stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import random
import threading
import traceback
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker._callers import Block

Record = dict[str, Any]


def all_records(tracker: ExecutionTracker) -> list[Record]:
    tracker._check()
    return [record for records in tracker.routine_executions.values() for record in records]


def only_record(tracker: ExecutionTracker) -> Record:
    (record,) = all_records(tracker)
    return record


def ends_of(tracker: ExecutionTracker) -> list[tuple[Any, ...]]:
    return [
        (record["routine_id"], record["status"], record.get("result"), record.get("error"))
        for record in all_records(tracker)
    ]


class UnreadableError(Exception):
    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised


# --- track ---


def test_a_block_is_one_completed_execution() -> None:
    tracker = ExecutionTracker()
    params = {"path": "a.md"}
    with tracker.track("parse", params) as execution:
        assert all_records(tracker)[0]["status"] == execution.status == "running"
    record = only_record(tracker)
    assert (record["routine_id"], record["status"]) == ("parse", "completed")
    assert record["params"] is params
    assert record["execution_time"] > 0
    assert "result" not in record
    assert "error" not in record


def test_what_is_set_inside_the_block_is_recorded() -> None:
    tracker = ExecutionTracker()
    with tracker.track("parse") as execution:
        execution.result, execution.status, execution.error = [1], "skipped", "no file"
    assert ends_of(tracker) == [("parse", "skipped", [1], "no file")]


def test_a_block_that_is_not_entered_is_not_recorded() -> None:
    tracker = ExecutionTracker()
    tracker.track("parse")
    assert all_records(tracker) == []


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("bad row"), "failed", "ValueError: bad row"),
        (KeyError("row"), "failed", "KeyError: 'row'"),
        (GeneratorExit(), "cancelled", "GeneratorExit"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
        (SystemExit(3), "cancelled", "SystemExit: 3"),
        (SystemExit(0), "cancelled", "SystemExit: 0"),
        (StopIteration(), "failed", "StopIteration"),
        (asyncio.CancelledError("too late"), "cancelled", "CancelledError: too late"),
        (UnreadableError(ValueError("no text")), "failed", "UnreadableError: its message cannot be read"),
        (UnreadableError(KeyboardInterrupt()), "failed", "UnreadableError"),
    ],
)
def test_an_exception_makes_it_failed_and_any_other_end_cancelled_and_both_go_on_unchanged(
    error: BaseException, status: str, text: str
) -> None:
    tracker = ExecutionTracker()
    with pytest.raises(type(error)) as caught, tracker.track("parse") as execution:
        raise error
    assert caught.value is error
    assert error.__context__ is None
    assert {frame.filename for frame in traceback.extract_tb(error.__traceback__)} == {__file__}
    assert ends_of(tracker) == [("parse", status, None, text)]
    assert (execution.status, execution.error) == (status, text)


def test_an_exception_wins_over_a_status_and_an_error_that_were_set_but_the_result_stays() -> None:
    tracker = ExecutionTracker()
    with contextlib.suppress(ValueError), tracker.track("parse") as execution:
        execution.result, execution.status, execution.error = 3, "completed", "early"
        raise ValueError("late")
    assert ends_of(tracker) == [("parse", "failed", 3, "ValueError: late")]


def test_an_exception_that_is_also_a_record_of_fields_gives_a_text() -> None:
    class FieldsError(Exception):
        def serialize(self) -> dict[str, int]:
            return {"code": 5}

    tracker = ExecutionTracker()
    with pytest.raises(FieldsError), tracker.track("parse"):
        raise FieldsError("five")
    assert only_record(tracker)["error"] == "FieldsError: five"


def test_an_execution_is_entered_once() -> None:
    tracker = ExecutionTracker()
    execution = tracker.track("parse")
    with execution, pytest.raises(TrackerError, match=r"call track\(\) for each"), execution:
        pass
    with pytest.raises(TrackerError, match="entered before"):
        execution.__enter__()
    assert ends_of(tracker) == [("parse", "completed", None, None)]


def test_nothing_that_is_given_or_set_makes_the_block_raise() -> None:
    class Hostile:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __bool__(self) -> bool:
            raise RuntimeError

        def __repr__(self) -> str:
            raise RuntimeError

    tracker = ExecutionTracker()
    with tracker.track(Hostile(), Hostile()) as execution:
        execution.result = execution.status = execution.error = Hostile()
    assert list(tracker.routine_executions) == ["<Hostile>"]
    assert only_record(tracker)["status"] == "<Hostile>"
    assert only_record(tracker)["result"] is execution.result
    tracker.serialize()


def test_executions_that_end_in_another_order_than_they_began_end_themselves() -> None:
    tracker = ExecutionTracker()
    first, second = tracker.track("a", {"n": 1}), tracker.track("a", {"n": 2})
    first.__enter__()
    second.__enter__()
    first.result, second.result = 1, 2
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert [(record["params"]["n"], record["result"]) for record in all_records(tracker)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("live", [False, True])
def test_a_recursion_without_end_ends_what_it_started(live: bool) -> None:
    tracker = ExecutionTracker()
    held = tracker.routine_executions if live else None

    def block() -> None:
        with tracker.track("block"):
            block()

    @tracker.tracked()
    def function() -> None:
        function()

    for endless in (block, function):
        with pytest.raises(RecursionError):
            endless()
    records = all_records(tracker)
    assert held is None or held is tracker.routine_executions
    assert len(records) > 100
    running = [record for record in records if record["status"] == "running"]
    assert len(running) <= (2 if live else 0)  # a start that is folded at once may be recorded and still raise
    assert all(record["error"].startswith("RecursionError") for record in records if record not in running)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "cancelled"), (RecursionError(), "failed")])
def test_what_comes_between_the_start_and_the_block_ends_the_execution(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    def interrupt(_: object) -> None:
        raise error

    tracker = ExecutionTracker()
    monkeypatch.setattr(Block, "enter", interrupt)
    with pytest.raises(type(error)), tracker.track("a"):
        pytest.fail("the block must not run")
    monkeypatch.undo()
    tracker.record_routine_start("after")
    assert [record["status"] for record in all_records(tracker)] == [status, "running"]
    assert "parent_id" not in tracker.routine_executions["after"][0]


def test_a_subclass_sees_the_calls() -> None:
    class Loud(ExecutionTracker):
        calls: list[str]

        def record_routine_start(self, routine_id: Any, params: Any = None) -> int:
            self.calls.append(routine_id)
            return super().record_routine_start(routine_id, params)

    tracker = Loud()
    tracker.calls = []
    with tracker.track("a"):
        tracker.tracked("b")(len)("")
    assert tracker.calls == ["a", "b"]


# --- tracked: what the function is ---


def module_level(path: str, *, deep: bool = False) -> int:
    """Say how long it is."""
    return len(path)


def of_each_kind() -> list[tuple[Callable[..., Any], Callable[..., bool]]]:
    def function(a: int) -> int:
        return a

    async def coroutine_function(a: int) -> int:
        return a

    def generator_function(a: int) -> Iterator[int]:
        yield a

    async def async_generator_function(a: int) -> AsyncGenerator[int, None]:
        yield a

    return [
        (function, inspect.isfunction),
        (coroutine_function, inspect.iscoroutinefunction),
        (generator_function, inspect.isgeneratorfunction),
        (async_generator_function, inspect.isasyncgenfunction),
    ]


@pytest.mark.parametrize(("func", "is_kind"), of_each_kind())
def test_a_tracked_function_stays_of_its_kind_and_keeps_its_name_and_signature(func: Any, is_kind: Any) -> None:
    wrapped = ExecutionTracker().tracked()(func)
    assert wrapped is not func
    assert is_kind(wrapped)
    for test in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert test(wrapped) == test(func)
    assert (wrapped.__name__, wrapped.__qualname__, wrapped.__module__) == (
        func.__name__,
        func.__qualname__,
        __name__,
    )
    assert wrapped.__wrapped__ is func
    assert inspect.signature(wrapped) == inspect.signature(func)


def test_the_default_id_is_the_name_without_the_function_that_it_was_defined_in() -> None:
    tracker = ExecutionTracker()

    class Parser:
        @tracker.tracked()
        def parse(self) -> None: ...

        def __call__(self) -> None: ...

    @tracker.tracked()
    def local() -> None: ...

    Parser().parse()
    local()
    tracker.tracked()(module_level)("a")
    tracker.tracked()(Parser())()
    tracker.tracked()(functools.partial(functools.partial(module_level), "a"))()
    tracker.tracked()(lambda: None)()
    tracker.tracked()(len)("")
    assert {routine_id: len(records) for routine_id, records in tracker.routine_executions.items()} == {
        "Parser.parse": 1,
        "local": 1,
        "module_level": 2,
        "Parser": 1,
        "<lambda>": 1,
        "len": 1,
    }


def test_any_id_can_be_given() -> None:
    tracker = ExecutionTracker()
    for routine_id in ("read", "", 0, ("a", 1)):
        tracker.tracked(routine_id)(module_level)("a")
    assert list(tracker.routine_executions) == ["read", "", 0, ("a", 1)]


def test_methods_of_every_sort_are_recorded_without_their_object() -> None:
    tracker = ExecutionTracker()

    class Parser:
        @tracker.tracked("method")
        def method(self, a: int) -> int:
            return a

        @tracker.tracked("static")
        @staticmethod
        def static_above(a: int) -> int:
            return a

        @staticmethod
        @tracker.tracked("static")
        def static_below(a: int) -> int:
            return a

        @tracker.tracked("class")
        @classmethod
        def class_above(cls, a: int) -> int:
            assert cls is Parser
            return a

        @classmethod
        @tracker.tracked("class")
        def class_below(cls, a: int) -> int:
            assert cls is Parser
            return a

        @property
        @tracker.tracked("property")
        def value(self) -> int:
            return 1

    parser = Parser()
    parser.method(1)
    Parser.method(parser, 1)
    tracker.tracked("bound")(parser.method)(1)
    for holder in (parser, Parser):
        holder.static_above(1)
        holder.static_below(1)
        holder.class_above(1)
        holder.class_below(1)
    assert parser.value == 1
    for record in all_records(tracker):
        assert record["params"] == ({} if record["routine_id"] == "property" else {"a": 1})
        assert record["result"] == 1
    assert len(all_records(tracker)) == 3 + 1 + 8 + 1
    watched = weakref.ref(parser)
    del parser
    gc.collect()
    assert watched() is None


def test_instances_and_partials_are_of_the_kind_of_what_they_call() -> None:
    tracker = ExecutionTracker()

    class Fetch:
        async def __call__(self, url: str) -> str:
            return url

    async def fetch(url: str, timeout: int) -> str:
        return url

    assert asyncio.run(tracker.tracked()(Fetch())("a")) == "a"
    assert asyncio.run(tracker.tracked()(functools.partial(fetch, timeout=3))("b")) == "b"
    assert asyncio.run(tracker.tracked("both")(functools.partial(Fetch(), "c"))()) == "c"
    ends = [("Fetch", "completed", "a", None), ("fetch", "completed", "b", None), ("both", "completed", "c", None)]
    assert ends_of(tracker) == ends
    assert [record["params"] for record in all_records(tracker)] == [{"url": "a"}, {"url": "b"}, {}]


@pytest.mark.parametrize(
    ("thing", "found"), [(5, "an? int"), (property(len), "a property"), (int, "the class int"), (None, "a NoneType")]
)
def test_what_is_no_function_is_refused_when_it_is_decorated(thing: Any, found: str) -> None:
    with pytest.raises(TypeError, match=rf"tracked\(\) decorates functions and methods, found {found}"):
        ExecutionTracker().tracked()(thing)


def test_forgotten_parentheses_are_reported_when_the_function_is_decorated() -> None:
    with pytest.raises(TypeError, match=r"decorate with @tracker.tracked\(\)"):

        @ExecutionTracker().tracked  # type: ignore[arg-type]
        def parse() -> None: ...


# A tracker for a module-level function, as programs have; it is found again by name when it is pickled.
tracked_module_level = ExecutionTracker().tracked()(module_level)
tracked_module_level.__qualname__ = tracked_module_level.__name__ = "tracked_module_level"


def test_a_tracked_function_of_a_module_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(tracked_module_level)) is tracked_module_level


# --- tracked: params, result, error ---


def bound_functions() -> list[Callable[..., Any]]:
    def plain(a, b, c=3): ...
    def keyword_only(a, *, b, c=3): ...
    def positional_only(a, b=2, /, c=3): ...
    def rest(a, *b, c=3): ...
    def keywords(a, /, b=2, **c): ...
    def everything(a, /, b=2, *rest, c=3, **d): ...
    def nothing(): ...

    return [plain, keyword_only, positional_only, rest, keywords, everything, nothing]


@given(
    st.sampled_from(bound_functions()),
    st.lists(st.integers(), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "rest"]), st.integers(), max_size=4),
)
@example(bound_functions()[4], [1], {"b": 2})
@example(bound_functions()[5], [1], {"c": 4, "d": 5})
def test_params_are_the_arguments_under_the_names_that_python_binds_them_to(
    func: Callable[..., Any], args: list[int], kwargs: dict[str, int]
) -> None:
    tracker = ExecutionTracker()
    wrapped = tracker.tracked()(func)
    with contextlib.suppress(TypeError):
        func(*args, **kwargs)  # not bind: that of Python 3.13 takes calls that it should refuse
        wrapped(*args, **kwargs)
        assert only_record(tracker)["params"] == inspect.signature(func).bind(*args, **kwargs).arguments
        return
    messages = []
    for each in (func, wrapped):
        with pytest.raises(TypeError) as caught:
            each(*args, **kwargs)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert only_record(tracker)["error"] == f"TypeError: {messages[0]}"


def test_a_function_without_a_signature_has_its_arguments_recorded_as_args_and_kwargs() -> None:
    tracker = ExecutionTracker()
    assert tracker.tracked()(max)(1, 3, key=None) == 3
    assert only_record(tracker)["params"] == {"args": (1, 3), "kwargs": {"key": None}}


@pytest.mark.parametrize("error", [RuntimeError("not now"), None])
def test_a_signature_that_cannot_be_had_costs_only_the_names(error: Exception | None) -> None:
    class Odd:
        @property
        def __signature__(self) -> object:
            if error is not None:
                raise error
            return "no signature"

        def __call__(self, a: int) -> int:
            return a

    tracker = ExecutionTracker()
    assert tracker.tracked()(Odd())(1) == 1
    assert only_record(tracker)["params"] == {"args": (1,)}


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("bad"), "failed"), (KeyboardInterrupt(), "cancelled"), (asyncio.CancelledError(), "cancelled")],
)
def test_what_a_function_raises_goes_on_with_one_more_frame(error: BaseException, status: str) -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert len(traceback.extract_tb(error.__traceback__)) == 3
    assert only_record(tracker)["status"] == status


def test_payloads_of_tracked_functions_are_captured() -> None:
    tracker = ExecutionTracker(capture=lambda payload: f"<{payload}>")
    tracker.tracked()(module_level)("abc")
    assert (only_record(tracker)["params"], only_record(tracker)["result"]) == ("<{'path': 'abc'}>", "<3>")


# --- generators ---


def script() -> st.SearchStrategy[list[tuple[str, Any]]]:
    step = st.one_of(
        st.tuples(st.just("send"), st.sampled_from([None, 1, "return", "raise"])),
        st.tuples(st.just("throw"), st.sampled_from([ValueError, KeyError, KeyboardInterrupt, StopIteration])),
        st.tuples(st.just("throw"), st.sampled_from([StopAsyncIteration, asyncio.CancelledError])),
        st.tuples(st.just("close"), st.just(None)),
    )
    return st.lists(step, max_size=6)


def answering(deaf: bool = False) -> Generator[Any, Any, Any]:
    """Yield what came in; go on after a ValueError, raise another error after a KeyError."""
    got: Any = "first"
    while got != "return":
        if got == "raise":
            raise LookupError("asked for")
        try:
            got = yield got
        except ValueError:
            got = "caught"
        except KeyError:
            raise RuntimeError("instead") from None
        except GeneratorExit:
            if deaf:
                got = yield "still here"
            raise
    return "returned"


async def answering_async(deaf: bool = False) -> AsyncGenerator[Any, Any]:
    got: Any = "first"
    while got != "return":
        if got == "raise":
            raise LookupError("asked for")
        await asyncio.sleep(0)
        try:
            got = yield got
        except ValueError:
            await asyncio.sleep(0)
            got = "caught"
        except KeyError:
            raise RuntimeError("instead") from None
        except GeneratorExit:
            if deaf:
                got = yield "still here"
            raise


def outcome_of(error: BaseException) -> tuple[Any, ...]:
    return type(error), str(error), type(error.__cause__), type(error.__context__), getattr(error, "value", None)


def played(generator: Any, steps: list[tuple[str, Any]]) -> list[Any]:
    """Return what came of each step."""
    outcomes: list[Any] = []
    for name, value in steps:
        try:
            step = getattr(generator, name)
            outcomes.append(step() if name == "close" else step(value() if name == "throw" else value))
        except BaseException as error:
            outcomes.append(outcome_of(error))
    return outcomes


async def played_async(generator: Any, steps: list[tuple[str, Any]]) -> list[Any]:
    outcomes: list[Any] = []
    for name, value in steps:
        try:
            step = getattr(generator, f"a{name}")
            outcomes.append(await (step() if name == "close" else step(value() if name == "throw" else value)))
        except BaseException as error:
            outcomes.append(outcome_of(error))
    return outcomes


@given(script())
def test_a_tracked_generator_answers_every_call_as_the_bare_one(steps: list[tuple[str, Any]]) -> None:
    tracker = ExecutionTracker()
    bare, wrapped = answering(), tracker.tracked()(answering)()
    assert played(wrapped, steps) == played(bare, steps)
    wrapped.close()
    assert all(record["status"] in ("completed", "failed", "cancelled") for record in all_records(tracker))


@given(script())
def test_a_tracked_async_generator_answers_every_call_as_the_bare_one(steps: list[tuple[str, Any]]) -> None:
    async def both() -> None:
        tracker = ExecutionTracker()
        bare, wrapped = answering_async(), tracker.tracked()(answering_async)()
        assert await played_async(wrapped, steps) == await played_async(bare, steps)
        await wrapped.aclose()
        await bare.aclose()
        assert all(record["status"] in ("completed", "failed", "cancelled") for record in all_records(tracker))

    asyncio.run(both())


def test_a_generator_that_will_not_be_closed_fails_with_what_python_says() -> None:
    tracker = ExecutionTracker()
    generator = tracker.tracked("g")(answering)(deaf=True)
    (_, (kind, *_)) = played(generator, [("send", None), ("close", None)])
    assert kind is RuntimeError

    async def run() -> None:
        generator = tracker.tracked("g")(answering_async)(deaf=True)
        (_, (kind, *_)) = await played_async(generator, [("send", None), ("close", None)])
        assert kind is RuntimeError

    asyncio.run(run())
    assert [(record["status"], record["error"]) for record in all_records(tracker)] == [
        ("failed", "RuntimeError: generator ignored GeneratorExit"),
        ("failed", "RuntimeError: async generator ignored GeneratorExit"),
    ]


@pytest.mark.parametrize("func", [answering, answering_async])
@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        ([], []),
        ([("close", None)], []),
        ([("send", None)], [("running", None)]),
        ([("send", None), ("close", None)], [("cancelled", "GeneratorExit")]),
        ([("send", None), ("throw", asyncio.CancelledError)], [("cancelled", "CancelledError")]),
        ([("send", None), ("send", "return")], [("completed", None)]),
        ([("send", None), ("send", "raise")], [("failed", "LookupError: asked for")]),
        ([("send", None), ("throw", KeyError)], [("failed", "RuntimeError: instead")]),
        ([("send", None), ("throw", ValueError), ("send", "return")], [("completed", None)]),
    ],
)
def test_a_generator_is_recorded_from_its_first_step_to_its_end(func: Any, steps: Any, ends: Any) -> None:
    async def run() -> None:
        tracker = ExecutionTracker()
        generator = tracker.tracked("g")(func)()
        if func is answering:
            played(generator, steps)
        else:
            await played_async(generator, steps)
        found = [(record["status"], record.get("error")) for record in all_records(tracker)]
        assert found == ends
        for record in all_records(tracker):
            assert record.get("result") == ("returned" if func is answering and ends == [("completed", None)] else None)

    asyncio.run(run())


def test_a_generator_that_is_forgotten_ends_with_its_last_reference() -> None:
    tracker = ExecutionTracker()
    generator = tracker.tracked()(answering)()
    next(generator)
    del generator
    gc.collect()
    assert only_record(tracker)["error"] == "GeneratorExit"


def test_a_forgotten_async_generator_is_closed_by_its_loop() -> None:
    tracker = ExecutionTracker()

    async def run() -> None:
        async for _ in tracker.tracked()(answering_async)():
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        assert only_record(tracker)["error"] == "GeneratorExit"

    asyncio.run(run())


def test_interleaved_generators_each_end_themselves() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def numbers(n: int) -> Generator[int, None, int]:
        yield from range(n)
        return n

    @tracker.tracked()
    async def numbers_async(n: int) -> AsyncGenerator[int, None]:
        for number in range(n):
            with tracker.track("inner", {"n": n}) as execution:
                execution.result = n
                yield number

    running: list[Any] = [numbers(n) for n in (4, 1, 3, 2)]
    while running:
        for generator in running[:]:
            if next(generator, None) is None:
                running.remove(generator)
    assert [(r["params"]["n"], r["result"]) for r in tracker.routine_executions["numbers"]] == [
        (4, 4),
        (1, 1),
        (3, 3),
        (2, 2),
    ]

    async def run() -> None:
        generators: list[Any] = [numbers_async(n) for n in (4, 1, 3, 2)]
        while generators:
            for generator in generators[:]:
                if await anext(generator, None) is None:
                    generators.remove(generator)

    asyncio.run(run())
    assert all(record["status"] == "completed" for record in all_records(tracker))
    assert all(record["params"]["n"] == record["result"] for record in tracker.routine_executions["inner"])
    # Each ends when its own generator is exhausted, though another one started last.
    ends = {record["params"]["n"]: record["end_time"] for record in tracker.routine_executions["numbers_async"]}
    assert ends[1] <= ends[2] <= ends[3] <= ends[4]


def test_an_async_generator_that_fails_leaves_no_cycle_behind() -> None:
    tracker = ExecutionTracker()

    async def run() -> None:
        generator = tracker.tracked()(answering_async)()
        await generator.asend(None)
        with contextlib.suppress(OSError):
            await generator.athrow(OSError("gone"))

    asyncio.run(run())  # imports and caches what it needs
    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        errors = [thing for thing in gc.get_objects() if type(thing) is OSError and thing.args == ("gone",)]
        assert errors == []
    finally:
        gc.enable()


# --- what runs inside what ---


def parents_in(tracker: ExecutionTracker) -> dict[Any, Any]:
    """Return for each routine those inside which it ran, in the order of the starts; None for no parent."""
    records = all_records(tracker)
    routine_ids = {record["execution_id"]: record["routine_id"] for record in records}
    found: dict[Any, Any] = {}
    for record in records:
        found.setdefault(record["routine_id"], []).append(routine_ids.get(record.get("parent_id")))
    return {routine_id: parents[0] if len(parents) == 1 else parents for routine_id, parents in found.items()}


def emitters_in(tracker: ExecutionTracker) -> dict[Any, Any]:
    """Return for each event name the id of the execution that emitted it, None if that is not known."""
    return {event["event_name"]: event.get("execution_id") for event in tracker.event_flow}


@pytest.mark.parametrize("live", [False, True])
def test_what_starts_in_a_block_has_it_as_its_parent(live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    with tracker.track("outer"):
        with tracker.track("inner"):
            tracker.record_routine_start("bare")
        tracker.record_routine_start("second")
        tracker.record_routine_start("in bare")  # a bare start around it makes no parent
        tracker.record_routine_end("in bare")
    tracker.record_routine_start("after")
    assert parents_in(tracker) == {
        "outer": None,
        "inner": "outer",
        "bare": "inner",
        "second": "outer",
        "in bare": "outer",
        "after": None,
    }


def test_a_parent_that_is_given_wins_over_the_block_around_the_call() -> None:
    tracker = ExecutionTracker()
    given = tracker.record_routine_start("given")
    with tracker.track("block"):
        tracker.record_routine_start("a", parent_id=given)
    assert parents_in(tracker)["a"] == "given"


def test_a_function_of_each_kind_is_the_parent_of_what_it_calls() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def leaf() -> None: ...

    @tracker.tracked()
    def function() -> None:
        leaf()

    @tracker.tracked()
    def generator() -> Iterator[int]:
        function()
        yield 1
        leaf()

    @tracker.tracked()
    async def async_generator() -> AsyncGenerator[int, None]:
        for number in generator():
            await asyncio.sleep(0)
            yield number

    @tracker.tracked()
    async def coroutine() -> None:
        async for _ in async_generator():
            await asyncio.sleep(0)

    asyncio.run(coroutine())
    assert parents_in(tracker) == {
        "coroutine": None,
        "async_generator": "coroutine",
        "generator": "async_generator",
        "function": "generator",
        "leaf": ["function", "generator"],
    }


def test_a_block_reaches_into_tasks_and_threads_that_are_made_in_it_and_into_no_others() -> None:
    tracker = ExecutionTracker()

    async def start(name: str) -> None:
        await asyncio.sleep(0)
        tracker.record_routine_start(name)
        with tracker.track(f"block of {name}"):
            await asyncio.sleep(0)

    async def run() -> None:
        before = asyncio.create_task(start("before"))
        async with tracker.track("block"):
            inside = [asyncio.create_task(start(f"task {number}")) for number in range(3)]
            await asyncio.gather(before, *inside)
            await asyncio.to_thread(tracker.record_routine_start, "thread of asyncio")
            thread = threading.Thread(target=tracker.record_routine_start, args=("plain thread",))
            thread.start()
            thread.join()
        await start("after")

    asyncio.run(run())
    inside = ["task 0", "task 1", "task 2", "thread of asyncio"]
    found = {name: parent for name, parent in parents_in(tracker).items() if not name.startswith("block")}
    assert found == dict.fromkeys(inside, "block") | dict.fromkeys(["before", "after", "plain thread"])


def test_a_task_that_was_made_in_a_block_stays_inside_when_the_block_is_left() -> None:
    tracker = ExecutionTracker()

    async def go_on(left: asyncio.Event) -> None:
        await left.wait()
        tracker.record_routine_start("first")
        with tracker.track("own block"):
            tracker.record_routine_start("in own block")
        tracker.record_routine_start("second")

    async def run() -> None:
        left = asyncio.Event()
        with tracker.track("outer"):
            with tracker.track("block"):
                task = asyncio.create_task(go_on(left))
            tracker.record_routine_start("maker")
        left.set()
        await task

    asyncio.run(run())
    assert parents_in(tracker) == {
        "outer": None,
        "block": "outer",
        "maker": "outer",
        "first": "block",
        "own block": "block",
        "in own block": "own block",
        "second": "block",
    }


def test_tasks_that_start_the_next_one_in_a_block_for_ever_keep_no_chain_of_blocks() -> None:
    trackers = [ExecutionTracker()]
    alive: list[int] = []
    gc.collect()
    before = sum(type(thing) is Block for thing in gc.get_objects())

    async def tick(number: int, done: asyncio.Event) -> None:
        with contextlib.ExitStack() as blocks:
            for tracker in trackers:
                blocks.enter_context(tracker.track("tick"))
            if number:
                asyncio.get_running_loop().create_task(tick(number - 1, done))
                return
            gc.collect()
            alive.append(sum(type(thing) is Block for thing in gc.get_objects()))
            done.set()

    async def run() -> None:
        done = asyncio.Event()
        tick_ = asyncio.create_task(tick(50, done))
        await done.wait()
        await tick_

    asyncio.run(run())
    assert alive[0] - before <= 4
    assert parents_in(trackers[0])["tick"] == [None] + ["tick"] * 50


def test_a_block_leaves_nothing_behind_for_the_garbage_collector() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def generator() -> Iterator[int]:
        with tracker.track("block"):
            yield 1

    gc.collect()
    gc.disable()
    try:
        before = sum(type(thing) is Block for thing in gc.get_objects()), len(gc.get_objects())
        for _ in range(100):
            list(generator())
        assert sum(type(thing) is Block for thing in gc.get_objects()) == before[0]
        assert len(gc.get_objects()) < before[1] + 50
    finally:
        gc.enable()


@pytest.mark.parametrize("leaver", ["task", "thread"])
def test_a_block_that_is_left_elsewhere_ends_and_nobody_stays_inside(leaver: str) -> None:
    tracker = ExecutionTracker()

    async def run() -> None:
        block = tracker.track("block")
        block.__enter__()

        def leave() -> None:
            block.__exit__(None, None, None)
            tracker.record_routine_start("leaver")

        async def task() -> None:
            leave()

        if leaver == "task":
            await asyncio.create_task(task())
        else:
            thread = threading.Thread(target=leave)
            thread.start()
            thread.join()
        tracker.record_routine_start("a")
        tracker.record_event("block", "late")
        with tracker.track("b"):
            tracker.record_routine_start("in b")
        tracker.record_routine_start("c")

    asyncio.run(run())
    found = parents_in(tracker)
    assert [found[name] for name in ("leaver", "a", "b", "in b", "c")] == [None, None, None, "b", None]
    assert tracker.routine_executions["block"][0]["status"] == "completed"
    assert emitters_in(tracker) == {"late": None}


def test_a_block_that_is_entered_elsewhere_is_around_nothing_here() -> None:
    tracker = ExecutionTracker()
    block = tracker.track("block")
    thread = threading.Thread(target=block.__enter__)
    thread.start()
    thread.join()
    tracker.record_routine_start("before")
    block.__exit__(None, None, None)
    tracker.record_routine_start("after")
    assert parents_in(tracker) == {"block": None, "before": None, "after": None}
    assert tracker.routine_executions["block"][0]["status"] == "completed"


def test_blocks_that_are_left_in_another_order_than_they_were_entered_leave_nobody_inside() -> None:
    tracker = ExecutionTracker()
    first, second, third = (tracker.track(name) for name in ("first", "second", "third"))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    tracker.record_routine_start("in second")
    third.__enter__()
    second.__exit__(None, None, None)
    tracker.record_routine_start("in third")
    third.__exit__(None, None, None)
    tracker.record_routine_start("after")
    found = parents_in(tracker)
    assert (found["in second"], found["in third"], found["after"]) == ("second", "third", None)


def test_blocks_of_two_trackers_do_not_meet() -> None:
    one, two = ExecutionTracker(), ExecutionTracker()
    with one.track("one"), two.track("two"), one.track("one again"):
        two.record_routine_start("in two")
        two.record_event("two", "from two")
        one.record_event("one again", "from one")
    assert parents_in(one) == {"one": None, "one again": "one"}
    assert parents_in(two) == {"two": None, "in two": "two"}
    assert (emitters_in(one), emitters_in(two)) == ({"from one": 2}, {"from two": 1})


def test_an_event_comes_from_the_block_around_it_if_it_is_of_the_source() -> None:
    tracker = ExecutionTracker()
    with tracker.track("a") as outer:
        with tracker.track("a") as inner:
            tracker.record_event("a", "innermost")
            with tracker.track("b") as other:
                tracker.record_event("a", "latest of its own")
                tracker.record_event("b", "b")
                tracker.record_event("c", "c")
                tracker.record_event("a", "given", execution_id=outer.execution_id)
        tracker.record_event("a", "outer")
    assert emitters_in(tracker) == {
        "innermost": inner.execution_id,
        "latest of its own": inner.execution_id,
        "b": other.execution_id,
        "c": None,
        "given": outer.execution_id,
        "outer": outer.execution_id,
    }


def test_events_of_tasks_in_blocks_come_from_the_block_of_their_own_task() -> None:
    tracker = ExecutionTracker()
    expected: dict[int, int | None] = {}

    async def fetch(number: int) -> None:
        async with tracker.track("fetch", number) as execution:
            for _ in range(number % 3):
                await asyncio.sleep(0)
            expected[tracker.record_event("fetch", "fetched", "parse", number)] = execution.execution_id

    async def run() -> None:
        await asyncio.gather(*map(fetch, range(12)))

    asyncio.run(run())
    assert {event["event_id"]: event["execution_id"] for event in tracker.event_flow} == expected
    assert len({*expected.values()}) == 12


def test_causes_are_kept_by_track() -> None:
    tracker = ExecutionTracker()
    events = [tracker.record_event("a", "e") for _ in range(3)]
    for caused_by in (events[1], [events[2], events[0]], None):
        with tracker.track("b", caused_by=caused_by):
            pass
    assert [record.get("caused_by") for record in tracker.routine_executions["b"]] == [[2], [3, 1], None]


def test_a_copy_made_in_a_block_has_the_execution_open_and_is_not_inside() -> None:
    tracker = ExecutionTracker()
    with tracker.track("block") as execution:
        other = copy.copy(tracker)
        other.record_routine_start("a")
    assert parents_in(other) == {"block": None, "a": None}
    other.record_routine_end("block", "ended here", execution_id=execution.execution_id)
    assert [t.routine_executions["block"][0]["status"] for t in (tracker, other)] == ["completed", "ended here"]


@pytest.mark.parametrize("live", [False, True])
def test_a_block_whose_execution_is_gone_ends_nothing(live: bool) -> None:
    tracker = ExecutionTracker()
    assert not live or tracker.routine_executions == {}
    with tracker.track("a"):
        tracker.routine_executions = {}
        tracker.record_routine_start("a")
    assert only_record(tracker)["status"] == "running"
    assert tracker.get_performance_metrics()["unmatched_ends"] == 1


# --- async with, and what is no block ---


def test_async_with_records_as_with_does() -> None:
    tracker = ExecutionTracker()

    async def run() -> None:
        async with tracker.track("a", {"n": 1}) as execution:
            execution.result = 3
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="no"):
            async with tracker.track("b"):
                raise ValueError("no")
        with pytest.raises(TrackerError, match="entered before"):
            await execution.__aenter__()
        task = asyncio.create_task(wait_for_ever())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def wait_for_ever() -> None:
        async with tracker.track("c"):
            await asyncio.Event().wait()

    asyncio.run(run())
    assert ends_of(tracker) == [
        ("a", "completed", 3, None),
        ("b", "failed", None, "ValueError: no"),
        ("c", "cancelled", None, "CancelledError"),
    ]


def test_a_task_that_trio_cancels_is_cancelled() -> None:
    tracker = ExecutionTracker()

    async def run() -> None:
        with trio.move_on_after(0.01):
            async with tracker.track("a"):
                await trio.sleep_forever()

    trio.run(run)
    assert only_record(tracker)["status"] == "cancelled"


def test_a_block_as_a_decorator_says_what_to_write() -> None:
    tracker = ExecutionTracker()
    with pytest.raises(TypeError, match=r"decorate with @tracker\.tracked\("):

        @tracker.track("a")
        def function() -> None: ...

    assert all_records(tracker) == []


# --- what runs inside generators ---


def test_whoever_takes_a_step_of_a_generator_is_outside_between_two_steps() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def generator() -> Generator[str, str, None]:
        tracker.record_routine_start("inside")
        with tracker.track("block"):
            name = yield "in a block"
            tracker.record_routine_start(name)
        yield "behind it"
        tracker.record_routine_start("inside")

    with tracker.track("caller"):
        steps = generator()
        next(steps)
        tracker.record_routine_start("outside")
        steps.send("in block")
        tracker.record_routine_start("outside")
        assert list(steps) == []
        tracker.record_routine_start("outside")
    assert parents_in(tracker) == {
        "caller": None,
        "generator": "caller",
        "inside": ["generator", "generator"],
        "block": "generator",
        "in block": "block",
        "outside": ["caller"] * 3,
    }


def test_whoever_takes_a_step_of_an_async_generator_is_outside_between_two_steps() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    async def generator() -> AsyncGenerator[str, str]:
        async with tracker.track("block"):
            name = yield "in a block"
            await asyncio.sleep(0)
            tracker.record_routine_start(name)
        yield "behind it"
        tracker.record_routine_start("inside")

    async def run() -> None:
        async with tracker.track("caller"):
            steps = generator()
            await steps.asend(None)  # type: ignore[arg-type]
            tracker.record_routine_start("outside")
            await steps.asend("in block")
            tracker.record_routine_start("outside")
            assert [step async for step in steps] == []
            tracker.record_routine_start("outside")
        tracker.record_routine_start("at the end")

    asyncio.run(run())
    assert parents_in(tracker) == {
        "caller": None,
        "generator": "caller",
        "block": "generator",
        "in block": "block",
        "inside": "generator",
        "outside": ["caller"] * 3,
        "at the end": None,
    }


def test_generators_that_are_thrown_into_closed_or_forgotten_leave_their_caller_outside() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def generator() -> Iterator[int]:
        with tracker.track("block"):
            try:
                yield 1
            except ValueError:
                tracker.record_routine_start("handler")
                yield 2
            finally:
                tracker.record_routine_start("cleaner")

    thrown_into, closed, forgotten = generator(), generator(), generator()
    for each in (thrown_into, closed, forgotten):
        next(each)
    thrown_into.throw(ValueError)  # type: ignore[attr-defined]
    tracker.record_routine_start("outside")
    thrown_into.close()  # type: ignore[attr-defined]
    closed.close()  # type: ignore[attr-defined]
    tracker.record_routine_start("outside")
    with tracker.track("around"):
        del forgotten, each, thrown_into, closed
        gc.collect()
        tracker.record_routine_start("in around")
    tracker.record_routine_start("outside")
    found = parents_in(tracker)
    assert (found["outside"], found["in around"], found["around"]) == ([None] * 3, "around", None)
    assert (found["handler"], found["cleaner"]) == ("block", ["block"] * 3)


@pytest.mark.parametrize("count", [2, 5])
def test_interleaved_generators_are_each_inside_of_themselves_only(count: int) -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def numbers(generator: int) -> Iterator[int]:
        for step in range(4):
            with tracker.track("block", {"generator": generator}):
                yield step
                tracker.record_routine_start("in block", {"generator": generator})

    running = [numbers(generator) for generator in range(count)]
    for step in range(5):
        for each in running[step % count :] + running[: step % count]:
            assert next(each, None) in (step, None)
            tracker.record_routine_start("outside")
    records = {record["execution_id"]: record for record in all_records(tracker)}
    for routine_id, parent in (("block", "numbers"), ("in block", "block")):
        for record in tracker.routine_executions[routine_id]:
            of_parent = records[record["parent_id"]]
            assert (of_parent["routine_id"], of_parent["params"]) == (parent, record["params"])
    assert all("parent_id" not in record for record in tracker.routine_executions["outside"])


def test_a_generator_goes_on_inside_of_itself_wherever_its_steps_are_taken() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def generator() -> Iterator[int]:
        for number in range(4):
            tracker.record_routine_start("inside")
            with tracker.track("block"):
                yield number

    async def step(steps: Iterator[int], name: str) -> None:
        with tracker.track(name):
            next(steps)
            tracker.record_routine_start(f"in {name}")
        tracker.record_routine_start("outside")

    async def run() -> None:
        steps = generator()
        await step(steps, "here")
        await asyncio.create_task(step(steps, "task"))
        with tracker.track("other"):
            next(steps)
            task = asyncio.create_task(step(steps, "inner task"))
        await task
        thread = threading.Thread(target=next, args=(steps, None))
        thread.start()
        thread.join()
        tracker.record_routine_start("outside")

    asyncio.run(run())
    found = parents_in(tracker)
    assert found["generator"] == "here"
    assert (found["inside"], found["block"]) == (["generator"] * 4, ["generator"] * 4)
    assert {name: found[f"in {name}"] for name in ("here", "task", "inner task")} == {
        "here": "here",
        "task": "task",
        "inner task": "inner task",
    }
    assert found["outside"] == [None, None, "other", None]


def test_a_task_that_is_made_in_a_generator_and_takes_its_steps_closes_no_circle() -> None:
    tracker = ExecutionTracker()
    tasks: list[asyncio.Task[None]] = []

    @tracker.tracked()
    async def generator() -> AsyncGenerator[int, None]:
        for number in range(6):
            with tracker.track("block"):
                tasks.append(asyncio.create_task(take()))
                yield number

    async def take() -> None:
        with tracker.track("taker"):
            await anext(steps, None)
            tracker.record_routine_start("after a step")

    async def run() -> None:
        await anext(steps)
        while tasks:
            await tasks.pop()

    steps = generator()
    asyncio.run(asyncio.wait_for(run(), 60))
    found = parents_in(tracker)
    assert found["after a step"] == ["taker"] * 6
    assert {*found["block"]} == {"generator"}


class Players:
    """Generators that step each other, open and leave blocks and start executions, in any order."""

    def __init__(self, choices: random.Random) -> None:
        self.tracker = ExecutionTracker()
        self.choices = choices
        self.parents: dict[str, str | None] = {}  # as they should be
        self.resting: list[tuple[str, Generator[None, None, None]]] = []
        self.left = 60  # actions

    def named(self, kind: str, parent: str | None) -> str:
        name = f"{kind} {len(self.parents)}"
        self.parents[name] = parent
        return name

    def play(self, own: str | None) -> Generator[None, None, None]:
        """Act inside of an execution, or of none; yield now and then."""
        names = [own]
        with contextlib.ExitStack() as outside:
            blocks: list[contextlib.ExitStack] = []
            while self.left:
                self.left -= 1
                action = self.choices.choice(["start", "block", "leave", "generator", "step", "step", "yield", "end"])
                if action == "start":
                    self.tracker.record_routine_start(self.named("start", names[-1]))
                elif action == "block":
                    name = self.named("block", names[-1])
                    blocks.append(outside.enter_context(contextlib.ExitStack()))
                    blocks[-1].enter_context(self.tracker.track(name))
                    names.append(name)
                elif action == "leave" and blocks:
                    blocks.pop().close()
                    names.pop()
                elif action == "generator":
                    name = self.named("generator", None)
                    self.resting.append((name, self.tracker.tracked(name)(self.play)(name)))
                elif action == "step" and self.resting:
                    name, generator = self.resting.pop(self.choices.randrange(len(self.resting)))
                    if inspect.getgeneratorstate(generator) == inspect.GEN_CREATED:
                        self.parents[name] = names[-1]
                    if next(generator, "done") is None:
                        self.resting.append((name, generator))
                elif action == "yield" and own is not None:
                    yield
                elif action == "end" and own is not None:
                    return


@given(st.randoms(use_true_random=False))
def test_whatever_steps_whatever_each_runs_inside_of_its_own_blocks(choices: random.Random) -> None:
    players = Players(choices)
    assert list(players.play(None)) == []
    while players.resting:
        players.resting.pop()[1].close()
    players.tracker.record_routine_start(players.named("start", None))
    found = parents_in(players.tracker)
    assert found == {name: parent for name, parent in players.parents.items() if name in found}
    assert all(
        record["status"] != "running" for record in all_records(players.tracker) if "start" not in record["routine_id"]
    )


# --- many at once ---

Tree = tuple[str, bool, bool, list[Any]]  # how it is recorded, whether it raises, whether it catches, its children
HOW = ["track", "def", "generator", "by hand"]
TREES = st.recursive(
    st.tuples(st.sampled_from(HOW), st.booleans(), st.booleans(), st.just([])),
    lambda trees: st.tuples(st.sampled_from(HOW), st.booleans(), st.booleans(), st.lists(trees, max_size=3)),
    max_leaves=12,
)


class Expected:
    """A plain model: the records as they should be, in the order of the starts."""

    def __init__(self) -> None:
        self.ends: list[list[Any]] = []

    def run(self, tree: Tree) -> None:
        _, raises, catches, children = tree
        number = len(self.ends)
        end = [number, "failed", f"ValueError: {number}"]
        self.ends.append(end)
        for child in children:
            try:
                self.run(child)
            except ValueError as error:
                if not catches:
                    end[2] = f"ValueError: {error}"
                    raise
        if raises:
            raise ValueError(number)
        end[1:] = ["completed", None]


@given(TREES, st.sampled_from([None, 0, 2]))
def test_nested_and_recursive_calls_of_one_routine_each_end_their_own_start(tree: Tree, max_records: Any) -> None:
    tracker = ExecutionTracker(max_records=max_records)
    count = 0

    def body(tree: Tree, number: int) -> int:
        _, raises, catches, children = tree
        for child in children:
            with contextlib.suppress(*[ValueError] * catches):
                run(child)
        if raises:
            raise ValueError(number)
        return number

    @tracker.tracked("same")
    def function(tree: Tree, number: int) -> int:
        return body(tree, number)

    @tracker.tracked("same")
    def generator(tree: Tree, number: int) -> Generator[int, None, int]:
        yield 0
        result = body(tree, number)
        yield 1
        return result

    def run(tree: Tree) -> None:
        nonlocal count
        number, how = count, tree[0]
        count += 1
        if how == "track":
            with tracker.track("same", {"number": number}) as execution:
                execution.result = body(tree, number)
        elif how == "def":
            function(tree, number)
        elif how == "generator":
            list(generator(tree, number=number))
        else:
            execution_id = tracker.record_routine_start("same", {"number": number})
            try:
                result = body(tree, number)
            except ValueError as error:
                tracker.record_routine_end("same", "failed", error=f"ValueError: {error}", execution_id=execution_id)
                raise
            tracker.record_routine_end("same", result=result)  # the latest that is open

    expected = Expected()
    for runner in (run, expected.run):
        with contextlib.suppress(ValueError):
            runner(tree)  # type: ignore[operator]
    records = all_records(tracker)
    found = [[record["params"]["number"], record["status"], record.get("error")] for record in records]
    if max_records is None:
        assert found == expected.ends
        assert all(r["result"] == r["params"]["number"] for r in records if r["status"] == "completed")
    else:
        # The oldest records go, and an open one is never among them: so what is left is from the end, in order.
        assert all(end in expected.ends for end in found)
        assert tracker.get_performance_metrics()["total_executions"] == len(expected.ends)
    metrics = tracker.get_performance_metrics()
    assert metrics["failed"] == sum(end[1] == "failed" for end in expected.ends)
    assert (metrics["running"], metrics["unmatched_ends"]) == (0, 0)


@pytest.mark.usefixtures("many_switches")
def test_threads_that_run_the_same_functions_each_end_their_own_starts() -> None:
    tracker = ExecutionTracker()
    threads_count, calls = 8, 150

    @tracker.tracked()
    def outer(thread: int, number: int) -> tuple[int, int]:
        with tracker.track("inner", (thread, number)) as execution:
            execution.result = (thread, number)
            if number % 7 == 0:
                raise ValueError(f"{thread} {number}")
        return thread, number

    def work(thread: int) -> None:
        for number in range(calls):
            with contextlib.suppress(ValueError):
                outer(thread, number)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracker._check()
    assert [len(tracker.routine_executions[name]) for name in ("outer", "inner")] == [threads_count * calls] * 2
    for record in tracker.routine_executions["outer"]:
        thread, number = record["params"]["thread"], record["params"]["number"]
        if number % 7 == 0:
            assert (record["status"], record["error"]) == ("failed", f"ValueError: {thread} {number}")
        else:
            assert (record["status"], record["result"]) == ("completed", (thread, number))
    for record in tracker.routine_executions["inner"]:
        assert record["result"] == record["params"]
        assert record["status"] == ("failed" if record["params"][1] % 7 == 0 else "completed")


def test_tasks_that_run_at_once_or_are_cancelled_each_end_their_own_start() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    async def fetch(number: int) -> int:
        for _ in range(number % 5):
            await asyncio.sleep(0)
        async for step in steps(number):
            if step == 1 and number % 4 == 0:
                raise ValueError(number)
        if number % 3 == 0:
            await asyncio.Event().wait()  # until it is cancelled
        return number

    @tracker.tracked()
    async def steps(number: int) -> AsyncGenerator[int, None]:
        for step in range(3):
            await asyncio.sleep(0)
            yield step

    async def run() -> None:
        tasks = [asyncio.create_task(fetch(number)) for number in range(60)]
        _, pending = await asyncio.wait(tasks, timeout=0.2)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number, task in enumerate(tasks):
            assert task.cancelled() == (number % 3 == 0 and number % 4 != 0)

    asyncio.run(run())
    tracker._check()
    for record in tracker.routine_executions["fetch"]:
        number = record["params"]["number"]
        end = record["status"], record.get("result"), record.get("error")
        if number % 4 == 0:
            assert end == ("failed", None, f"ValueError: {number}")
        elif number % 3 == 0:
            assert end == ("cancelled", None, "CancelledError")
        else:
            assert end == ("completed", number, None)
    assert {record["status"] for record in tracker.routine_executions["steps"]} == {"completed", "cancelled"}
    numbers = {record["execution_id"]: record["params"] for record in tracker.routine_executions["fetch"]}
    for record in tracker.routine_executions["steps"]:
        assert numbers[record["parent_id"]] == record["params"]


def test_a_tracker_is_freed_with_its_last_reference_though_blocks_and_functions_used_it() -> None:
    tracker = ExecutionTracker()
    with contextlib.suppress(ValueError), tracker.track("a"):
        raise ValueError
    tracker.tracked()(module_level)("a")
    gone = weakref.ref(tracker)
    del tracker
    assert gone() is None
