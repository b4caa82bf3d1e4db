"""Executions around blocks and functions: they end however the block ends, and the function stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import pickle
import threading
import traceback
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execution_tracker import ExecutionTracker, TrackerError

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
    ("error", "text"),
    [
        (ValueError("bad row"), "ValueError: bad row"),
        (KeyError("row"), "KeyError: 'row'"),
        (GeneratorExit(), "GeneratorExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
        (StopIteration(), "StopIteration"),
        (asyncio.CancelledError("too late"), "CancelledError: too late"),
        (UnreadableError(ValueError("no text")), "UnreadableError: its message cannot be read"),
        (UnreadableError(KeyboardInterrupt()), "UnreadableError"),
    ],
)
def test_any_exception_makes_it_failed_and_goes_on_unchanged(error: BaseException, text: str) -> None:
    tracker = ExecutionTracker()
    with pytest.raises(type(error)) as caught, tracker.track("parse") as execution:
        raise error
    assert caught.value is error
    assert error.__context__ is None
    assert {frame.filename for frame in traceback.extract_tb(error.__traceback__)} == {__file__}
    assert ends_of(tracker) == [("parse", "failed", None, text)]
    assert (execution.status, execution.error) == ("failed", text)


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
    assert only_record(tracker)["status"] is execution.status
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


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_a_function_raises_goes_on_with_one_more_frame(error: BaseException) -> None:
    tracker = ExecutionTracker()

    @tracker.tracked()
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert len(traceback.extract_tb(error.__traceback__)) == 3
    assert only_record(tracker)["status"] == "failed"


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
    assert all(record["status"] in ("completed", "failed") for record in all_records(tracker))


@given(script())
def test_a_tracked_async_generator_answers_every_call_as_the_bare_one(steps: list[tuple[str, Any]]) -> None:
    async def both() -> None:
        tracker = ExecutionTracker()
        bare, wrapped = answering_async(), tracker.tracked()(answering_async)()
        assert await played_async(wrapped, steps) == await played_async(bare, steps)
        await wrapped.aclose()
        await bare.aclose()
        assert all(record["status"] in ("completed", "failed") for record in all_records(tracker))

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
        ([("send", None), ("close", None)], [("failed", "GeneratorExit")]),
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
            assert end == ("failed", None, "CancelledError")
        else:
            assert end == ("completed", number, None)
    assert {record["status"] for record in tracker.routine_executions["steps"]} == {"completed", "failed"}


def test_a_tracker_is_freed_with_its_last_reference_though_blocks_and_functions_used_it() -> None:
    tracker = ExecutionTracker()
    with contextlib.suppress(ValueError), tracker.track("a"):
        raise ValueError
    tracker.tracked()(module_level)("a")
    gone = weakref.ref(tracker)
    del tracker
    assert gone() is None
