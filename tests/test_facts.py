"""Who did what, inside what and because of what: facts through blocks, tasks and generators, against a plain model."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from callers import Loop, TaskOwner, ThisThread, ThreadOwner, Work
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from execution_tracker import ExecutionTracker, merge

NAN = float("nan")
THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))


# --- the model of a run ---


@dataclass(eq=False)
class Execution:
    """An execution as it should be. The tag is in its params, and tells it in every form of the run."""

    tag: int
    id: int
    parent_id: int | None
    causes: list[int]
    worker: str
    owner: object
    is_open: bool = True

    def facts(self) -> tuple[Any, ...]:
        return self.tag, self.id, self.parent_id, self.causes or None, self.worker, self.is_open


@dataclass(eq=False)
class Event:
    tag: int
    id: int
    emitter: int | None

    def facts(self) -> tuple[Any, ...]:
        return self.tag, self.id, self.emitter


@dataclass(eq=False)
class Run:
    """What a tracker should hold."""

    executions: dict[Any, list[Execution]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    unmatched_ends: int = 0

    def given_out(self) -> int:
        return sum(map(len, self.executions.values()))

    def start(self, routine_id: Any, tag: int, parent: Any, causes: Any, owner: object, worker: str) -> Execution:
        earlier = self.given_out()
        known = [causes] if type(causes) is int else [*causes] if type(causes) in (list, tuple) else []
        known = [each for each in known if type(each) is int and 0 < each <= len(self.events)]
        parent = parent if type(parent) is int and 0 < parent <= earlier else None
        execution = Execution(tag, earlier + 1, parent, [*dict.fromkeys(known)], worker, owner)
        self.executions.setdefault(key_of(routine_id), []).append(execution)
        return execution

    def end(self, routine_id: Any, execution_id: Any, owner: object) -> None:
        execution = self.ended_by(routine_id, execution_id, owner)
        if execution is None:
            self.unmatched_ends += 1
        else:
            execution.is_open = False

    def ended_by(self, routine_id: Any, execution_id: Any, owner: object) -> Execution | None:
        if type(execution_id) is int and 0 < execution_id <= self.given_out():
            every = [each for executions in self.executions.values() for each in executions]
            return next(each for each in every if each.id == execution_id)
        of_routine = self.executions.get(key_of(routine_id), [])
        opened = [each for each in of_routine if each.is_open]
        own = [each for each in opened if each.owner is owner]
        return [None, *of_routine[-1:], *opened[-1:], *own[-1:]][-1]

    def event(self, source: Any, tag: int, execution_id: Any, block: Block | None, owner: object) -> None:
        emitter = None
        if execution_id is not None:
            if type(execution_id) is int and 0 < execution_id <= self.given_out():
                emitter = execution_id
        elif block is not None and key_of(block.routine_id) in {key_of(source)}:
            emitter = block.execution.id
        else:
            opened = [each for each in self.executions.get(key_of(source), []) if each.is_open]
            own = [each for each in opened if each.owner is owner]
            emitter = own[-1].id if own else opened[0].id if len(opened) == 1 else None
        self.events.append(Event(tag, len(self.events) + 1, emitter))

    def go_on_in_a_copy(self, routine_ids: list[Any]) -> Run:
        """Return the same run, in which nobody owns anything, and routines have the ids that they got there."""
        assert len({*routine_ids}) == len(self.executions)
        ownerless = [[replace(each, owner=None) for each in executions] for executions in self.executions.values()]
        return Run(dict(zip(routine_ids, ownerless, strict=True)), [*self.events], self.unmatched_ends)


def key_of(routine_id: Any) -> Any:
    return repr(routine_id) if type(routine_id) is list else routine_id


# --- the model of what is around a call ---

Stack = list["Block"]  # innermost last


@dataclass(eq=False)
class Block:
    """An open block: it is around what the stack that it was entered in is around, and around who inherited it."""

    run: Run
    routine_id: Any
    execution: Execution
    handle: Any
    home: Stack
    owner: Caller


@dataclass(eq=False)
class Caller:
    """A thread or task, and the blocks around what it does."""

    who: Any
    stack: Stack = field(default_factory=list)
    # No context tells whether a task was made before a block was left elsewhere, or after that.
    is_left_alone: bool = True


class Steps:
    """A tracked generator that takes a step each time it is told to do something inside."""

    def __init__(self, tracker: ExecutionTracker, routine_id: Any, is_async: bool) -> None:
        self.function = tracker.tracked(routine_id)(body_async if is_async else body)
        self.is_async = is_async
        self.generator: Any = None
        self.stack: Stack = []

    def begin(self, tag: int) -> None:
        self.generator = self.function(tag)
        self.step(None)

    def step(self, work: Work | None) -> Any:
        if not self.is_async:
            return self.generator.send(work)
        return self._awaited(self.generator.asend(work))

    def finish(self, how: str) -> None:
        generator = self.generator
        with contextlib.suppress(StopIteration, StopAsyncIteration, ZeroDivisionError):
            if how == "return":
                self.step(None)
            elif how == "throw":
                step = generator.athrow if self.is_async else generator.throw
                self._awaited(step(ZeroDivisionError()))
            elif self.is_async:
                self._awaited(generator.aclose())
            else:
                generator.close()

    @staticmethod
    def _awaited(step: Any) -> Any:
        try:
            return step.send(None)
        except StopIteration as stop:
            return stop.value


def body(tag: int) -> Iterator[Any]:
    answer = None
    while (work := (yield answer)) is not None:
        answer = work()


async def body_async(tag: int) -> Any:
    answer = None
    while (work := (yield answer)) is not None:
        answer = work()


@dataclass
class Place:
    """Where code runs: which caller runs it, and on which stacks, the outermost first."""

    caller: Caller
    stacks: list[Stack]
    do: Callable[[Work], Any]

    def around(self) -> Stack:
        return [block for stack in self.stacks for block in stack]

    def innermost(self, run: Run) -> Block | None:
        return next((block for block in reversed(self.around()) if block.run is run), None)

    def inside(self, steps: Steps) -> Place:
        return Place(self.caller, [*self.stacks, steps.stack], lambda work: self.do(partial(steps.step, work)))

    def visited_by(self, thread: Caller) -> Place:
        """Return this place as ``asyncio.to_thread`` and others take it to another thread: a copy of the context."""
        context = self.do(copy_context)
        return Place(thread, [self.around()], lambda work: thread.who.do(partial(context.run, work)))


@dataclass
class Slot:
    """One of the trackers, and what it should hold."""

    tracker: ExecutionTracker
    run: Run


# --- any calls at any place ---

callers = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4])  # the newest first
steppers = st.sampled_from([*[()] * 6, (0,), (0,), (1,), (1, 0), (0, 1), (2, 1)])
visitors = st.sampled_from([*[None] * 7, 0, 1, 2, 3])
# The caller, the generators that it steps, one inside another, and the thread that takes a copy of all that.
places = st.tuples(callers, steppers, visitors)
slots = st.integers(0, 1)
plain_ids = st.sampled_from(["a", "b"])
routine_ids = plain_ids | st.sampled_from([1, True, 1.0, "1", None, (), NAN, [1]])
links = st.sampled_from([*[None] * 12, *range(-1, 8), True, "1", 1.0, ("1",)])  # see `known`
causes = links | st.lists(links, max_size=3)
numbers = st.integers(0, 9)
groups = st.sampled_from([[[0, 1]], [[1, 0]], [[0], [1]], [[1], [0]], [[0], [], [1]]])


def call(name: str, times: int = 1, **arguments: Any) -> list[Any]:
    return [st.tuples(st.just(name), st.fixed_dictionaries(arguments)) for _ in range(times)]


# One rule takes them all: Hypothesis leaves some rules out of most runs, and these need each other.
calls = st.one_of(
    *call("start", 2, where=places, slot=slots, routine_id=routine_ids, parent=links, causes=causes),
    *call("start_everywhere", 2),
    *call("end", where=places, slot=slots, routine_id=routine_ids, execution_id=links),
    *call("event", 2, where=places, slot=slots, source=routine_ids, execution_id=links),
    *call("enter", 8, where=places, slot=slots, routine_id=routine_ids, causes=causes),
    *call("leave_where_it_was_entered", 5, where=places, number=numbers),
    *call("leave_any", where=places, number=numbers),
    *call(
        "call_a_tracked_function", where=places, slot=slots, routine_id=plain_ids, inner_slot=slots, inner_id=plain_ids
    ),
    *call("begin_a_generator", where=places, slot=slots, routine_id=plain_ids, is_async=st.booleans()),
    *call("finish_a_generator", where=places, number=numbers, how=st.sampled_from(["return", "throw", "close"])),
    *call("make_a_task", 5, where=places),
    *call("make_a_thread", where=places),
    *call("take_the_containers", slot=slots),
    *call("ask_for_numbers", slot=slots),
    *call("go_on_with_a_copy", slot=slots, way=st.sampled_from(["file", "pickle", "copy", "deepcopy"])),
    *call("merge_both", groups=groups),
)


class Facts(RuleBasedStateMachine):
    """Two trackers, and callers that enter and leave blocks, make tasks and step generators in any order."""

    loop: ClassVar[Loop]
    folder: ClassVar[Path]

    @initialize(reads_always=st.booleans(), tasks=st.integers(0, 2))
    def begin(self, reads_always: bool, tasks: int) -> None:
        self.reads_always = reads_always
        self.slots = [Slot(ExecutionTracker("flow"), Run()) for _ in range(2)]
        self.superseded: list[Slot] = []
        self.blocks: list[Block] = []
        self.generators: list[Steps] = []
        who = [ThisThread(), ThreadOwner(), *[TaskOwner(self.loop) for _ in range(tasks)]]
        self.callers = [Caller(each) for each in who]
        self.tags = 0
        self.is_wrong = False  # until everything was compared

    @rule(call=calls)
    def do(self, call: tuple[str, dict[str, Any]]) -> None:
        name, arguments = call
        getattr(self, name)(**arguments)

    def teardown(self) -> None:
        if not hasattr(self, "slots"):
            return
        try:
            if not self.is_wrong:
                self.start_everywhere()
                for slot in [*self.slots, *self.superseded]:
                    self.check(slot)
                    slot.tracker._check()
        finally:
            for block in self.blocks:
                block.handle.__exit__(None, None, None)
            for steps in self.generators:
                steps.finish("close")
            for caller in self.callers:
                caller.who.stop()

    # where

    def caller(self, number: int) -> Caller:
        return self.callers[-1 - number % len(self.callers)]

    def place(self, where: tuple[int, tuple[int, ...], int | None]) -> Place:
        caller_number, steppers, visitor_number = where
        caller = self.caller(caller_number)
        place = Place(caller, [caller.stack], caller.who.do)
        if self.generators:
            for number in dict.fromkeys(number % len(self.generators) for number in steppers):
                place = place.inside(self.generators[number])
        if visitor_number is not None:
            visitor = self.caller(visitor_number)
            knows_them = any(block.owner is visitor for block in place.around())  # and would not tell which are its own
            if (
                isinstance(visitor.who, ThreadOwner)
                and visitor is not caller
                and caller.is_left_alone
                and not knows_them
            ):
                return place.visited_by(visitor)
        return place

    def known(self, links: Any, given_out: int) -> Any:
        """Return an id that a number stands for: nobody can name one before it is given out."""
        if type(links) is list:
            return [self.known(each, given_out) for each in links]
        return (1 + links % given_out if given_out else None) if type(links) is int and links > 0 else links

    def tag(self) -> int:
        self.tags += 1
        return self.tags

    # calls

    def started(self, place: Place, slot: Slot, routine_id: Any, parent: Any = None, causes: Any = None) -> Execution:
        """Return the execution that a start at this place is to make."""
        if parent is None and (block := place.innermost(slot.run)) is not None:
            parent = block.execution.id
        caller = place.caller
        return slot.run.start(routine_id, self.tag(), parent, causes, caller, caller.who.name)

    def start(self, where: Any, slot: int, routine_id: Any, parent: Any, causes: Any) -> None:
        place, to = self.place(where), self.slots[slot]
        parent, causes = self.known(parent, to.run.given_out()), self.known(causes, len(to.run.events))
        self.start_at(place, to, routine_id, parent, causes)
        self.called()

    def start_at(self, place: Place, to: Slot, routine_id: Any, parent: Any, causes: Any) -> None:
        expected = self.started(place, to, routine_id, parent, causes)
        given = {"parent_id": parent, "caused_by": causes}
        number = place.do(lambda: to.tracker.record_routine_start(routine_id, {"tag": expected.tag}, **given))
        assert number == expected.id

    def start_everywhere(self) -> None:
        for number in range(len(self.callers)):
            for steppers in [[], *([each] for each in range(len(self.generators)))]:
                for slot in range(2):
                    self.start_at(self.place((number, steppers, None)), self.slots[slot], "a", None, None)
        self.called()

    def end(self, where: Any, slot: int, routine_id: Any, execution_id: Any) -> None:
        place, to = self.place(where), self.slots[slot]
        execution_id = self.known(execution_id, to.run.given_out())
        to.run.end(routine_id, execution_id, place.caller)
        place.do(lambda: to.tracker.record_routine_end(routine_id, execution_id=execution_id))
        self.called()

    def event(self, where: Any, slot: int, source: Any, execution_id: Any) -> None:
        place, to = self.place(where), self.slots[slot]
        tag, execution_id = self.tag(), self.known(execution_id, to.run.given_out())
        to.run.event(source, tag, execution_id, place.innermost(to.run), place.caller)
        given = {"execution_id": execution_id}
        number = place.do(lambda: to.tracker.record_event(source, "e", data={"tag": tag}, **given))
        assert number == len(to.run.events)
        self.called()

    # blocks

    def enter(self, where: Any, slot: int, routine_id: Any, causes: Any) -> None:
        place, to = self.place(where), self.slots[slot]
        causes = self.known(causes, len(to.run.events))
        expected = self.started(place, to, routine_id, None, causes)
        handle = to.tracker.track(routine_id, {"tag": expected.tag}, caused_by=causes)
        place.do(handle.__enter__)
        assert handle.execution_id == expected.id
        block = Block(to.run, routine_id, expected, handle, place.stacks[-1], place.caller)
        block.home.append(block)
        self.blocks.append(block)
        self.called()

    def leave_any(self, where: Any, number: int) -> None:
        """Leave any block anywhere."""
        if self.blocks:
            self.leave_it(self.blocks[number % len(self.blocks)], self.place(where))

    def leave_where_it_was_entered(self, where: Any, number: int) -> None:
        """Leave any block, in its caller or in the body of its generator, in whatever order."""
        if self.blocks:
            block = self.blocks[number % len(self.blocks)]
            for steps in self.generators:
                if block.home is steps.stack:
                    self.leave_it(block, self.place((where[0], (), None)).inside(steps))
            for caller in self.callers:
                if block.home is caller.stack:
                    self.leave_it(block, Place(caller, [caller.stack], caller.who.do))

    def make_a_task(self, where: Any) -> None:
        """Make a task, which inherits what is around it."""
        place = self.place(where)
        if place.caller.is_left_alone:
            self.add(Caller(place.do(lambda: TaskOwner(self.loop)), place.around()))

    def make_a_thread(self, where: Any) -> None:
        place = self.place(where)
        if place.caller.is_left_alone:
            self.add(Caller(place.do(ThreadOwner), place.around() if THREADS_INHERIT else []))

    def add(self, caller: Caller) -> None:
        self.callers.append(caller)
        if len(self.callers) == 6:
            self.callers.pop(1).who.stop()

    def leave_it(self, block: Block, place: Place) -> None:
        self.blocks.remove(block)
        place.do(lambda: block.handle.__exit__(None, None, None))
        self.left(block, place)
        self.called()

    def left(self, block: Block, place: Place) -> None:
        """Take a block from around who entered it and who left it. Tasks that were made inside of it stay inside."""
        block.run.end(block.routine_id, block.execution.id, None)
        if any(block.home is stack for stack in place.stacks):
            block.home.remove(block)
            return
        for caller in self.callers:
            if block.home is caller.stack:
                caller.is_left_alone = False
        if block in block.home:
            block.home.remove(block)
        for stack in [stack for stack in place.stacks if block in stack][-1:]:
            # A task that steps a generator that it was made in hands on what is in there twice.
            del stack[len(stack) - 1 - stack[::-1].index(block)]

    def call_a_tracked_function(self, where: Any, slot: int, routine_id: Any, inner_slot: int, inner_id: Any) -> None:
        """Call a tracked function, inside which there is a start."""
        place, to, inner_to = self.place(where), self.slots[slot], self.slots[inner_slot]
        outer = self.started(place, to, routine_id)
        block = Block(to.run, routine_id, outer, None, [], place.caller)
        block.home.append(block)
        inner = self.started(Place(place.caller, [*place.stacks, block.home], place.do), inner_to, inner_id)

        @to.tracker.tracked(routine_id)
        def function(tag: int) -> None:
            assert inner_to.tracker.record_routine_start(inner_id, {"tag": inner.tag}) == inner.id

        place.do(lambda: function(outer.tag))
        self.left(block, place)
        self.called()

    # generators

    def begin_a_generator(self, where: Any, slot: int, routine_id: Any, is_async: bool) -> None:
        if len(self.generators) == 3:
            return
        place, to = self.place(where), self.slots[slot]
        steps = Steps(to.tracker, routine_id, is_async)
        expected = self.started(place, to, routine_id)
        place.do(lambda: steps.begin(expected.tag))
        steps.stack.append(Block(to.run, routine_id, expected, None, steps.stack, place.caller))
        self.generators.append(steps)
        self.called()

    def finish_a_generator(self, where: Any, number: int, how: str) -> None:
        if not self.generators:
            return
        steps = self.generators.pop(number % len(self.generators))
        place = self.place(where)
        own, *others = steps.stack
        for block in others[::-1]:  # as its with statements do
            self.leave_it(block, place.inside(steps))
        place.do(lambda: steps.finish(how))
        self.left(own, place.inside(steps))
        self.called()

    # readers

    def called(self) -> None:
        if self.reads_always:
            for slot in self.slots:
                self.check(slot)

    def check(self, slot: Slot, of_those_who_look: ExecutionTracker | None = None) -> None:
        tracker = of_those_who_look or copy.copy(slot.tracker)  # a copy: the records are in nobody's hands
        executions = {
            routine_id: [
                (
                    record["params"]["tag"],
                    record["execution_id"],
                    record.get("parent_id"),
                    record.get("caused_by"),
                    record["worker"],
                    record["status"] == "running",
                )
                for record in records
            ]
            for routine_id, records in tracker.routine_executions.items()
        }
        expected = {key: [each.facts() for each in executions] for key, executions in slot.run.executions.items()}
        self.is_wrong = True
        assert executions == expected
        events = [
            (record["data"]["tag"], record["event_id"], record.get("execution_id")) for record in tracker.event_flow
        ]
        assert events == [event.facts() for event in slot.run.events]
        self.is_wrong = False

    def take_the_containers(self, slot: int) -> None:
        self.check(self.slots[slot], self.slots[slot].tracker)

    def ask_for_numbers(self, slot: int) -> None:
        metrics, run = self.slots[slot].tracker.get_performance_metrics(), self.slots[slot].run
        every = [each for executions in run.executions.values() for each in executions]
        assert metrics["total_executions"] == len(every)
        assert metrics["running"] == sum(each.is_open for each in every)
        assert metrics["total_events"] == len(run.events)
        assert metrics["unmatched_ends"] == run.unmatched_ends

    def go_on_with_a_copy(self, slot: int, way: str) -> None:
        """Go on with another tracker of the same run. Blocks stay those of the old one."""
        before = self.slots[slot]
        if way == "file":
            path = self.folder / "run.json"
            before.tracker.save(path)
            after = ExecutionTracker.load(path)
        elif way == "pickle":
            after = pickle.loads(pickle.dumps(before.tracker))
        else:
            after = getattr(copy, way)(before.tracker)
        routine_ids = [*copy.copy(after).routine_executions]
        self.slots[slot] = Slot(after, before.run.go_on_in_a_copy(routine_ids))
        self.superseded.append(before)
        self.check(self.slots[slot])

    def merge_both(self, groups: list[list[int]]) -> None:
        merged = merge([merge([self.slots[slot].tracker for slot in group]) for group in groups])
        executions, events = dict(merged.routine_executions), merged.event_flow
        tag_of = {record["execution_id"]: record["params"]["tag"] for key in executions for record in executions[key]}
        event_tag_of = {record["event_id"]: record["data"]["tag"] for record in events}
        assert len(tag_of) == sum(map(len, executions.values()))
        assert len(event_tag_of) == len(events)
        tag_of[None] = None  # of what is unknown
        found = {
            key: [
                (
                    record["params"]["tag"],
                    tag_of[record.get("parent_id")],
                    [event_tag_of[number] for number in record.get("caused_by", [])],
                    record["worker"],
                    record["status"] == "running",
                )
                for record in records
            ]
            for key, records in executions.items()
        }
        found_events = [(record["data"]["tag"], tag_of[record.get("execution_id")]) for record in events]
        assert (found, found_events) == united([slot.run for slot in self.slots])


def united(runs: list[Run]) -> tuple[dict[Any, list[Any]], list[Any]]:
    """Return the facts of all runs in the order of their tags, which is that of time, with tags in the place of ids."""
    executions: dict[Any, list[Any]] = {}
    events: list[Any] = []
    for run in runs:
        tag_of: dict[int | None, int | None] = {None: None}
        tag_of |= {each.id: each.tag for of_routine in run.executions.values() for each in of_routine}
        event_tag_of = {event.id: event.tag for event in run.events}
        events += [(event.tag, tag_of[event.emitter]) for event in run.events]
        for key, of_routine in run.executions.items():
            executions.setdefault(key, []).extend(
                (
                    each.tag,
                    tag_of[each.parent_id],
                    [event_tag_of[n] for n in each.causes],
                    each.worker,
                    each.is_open,
                )
                for each in of_routine
            )
    return {key: sorted(facts) for key, facts in executions.items()}, sorted(events)


@pytest.fixture
def ticking_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of the monotonic clock is a microsecond after the one before."""
    mono_ns = 5_000

    def perf_counter_ns() -> int:
        nonlocal mono_ns
        mono_ns += 1_000
        return mono_ns

    monkeypatch.setattr("execution_tracker._recording.perf_counter_ns", perf_counter_ns)
    monkeypatch.setattr("execution_tracker._recording.time_ns", lambda: 1_750_000_000 * 10**9 + mono_ns)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.mark.usefixtures("ticking_clock")
def test_any_calls_at_any_place_have_the_facts_of_that_place(loop: Loop, tmp_path: Path) -> None:
    class FactsHere(Facts):
        pass

    FactsHere.loop, FactsHere.folder = loop, tmp_path
    # Without an explanation, which takes minutes.
    phases = [phase for phase in settings().phases if phase is not Phase.explain]
    examples = 2 * settings().max_examples
    profile = settings(
        max_examples=examples, stateful_step_count=50, deadline=None, phases=phases, report_multiple_bugs=False
    )
    run_state_machine_as_test(FactsHere, settings=profile)


# --- one by one ---


def parents_in(tracker: ExecutionTracker) -> dict[Any, Any]:
    """Return for each routine the routine of the parent of its execution, None if it has none."""
    records = [record for of_routine in tracker.routine_executions.values() for record in of_routine]
    names = {record["execution_id"]: record["routine_id"] for record in records}
    return {record["routine_id"]: names.get(record.get("parent_id")) for record in records}


def test_a_task_is_not_inside_a_block_that_was_left_before_it_was_made() -> None:
    tracker, other = ExecutionTracker(), ExecutionTracker()

    async def child() -> None:
        tracker.record_routine_start("child")

    async def run() -> None:
        outer, inner = tracker.track("outer"), other.track("inner")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        await asyncio.create_task(child())
        inner.__exit__(None, None, None)

    asyncio.run(run())
    assert parents_in(tracker) == {"outer": None, "child": None}


def test_a_task_that_leaves_its_own_blocks_in_any_order_stays_inside_what_it_was_made_in() -> None:
    tracker = ExecutionTracker()

    async def child(left: asyncio.Event) -> None:
        await left.wait()
        first, second = tracker.track("first"), tracker.track("second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        tracker.record_routine_start("child")

    async def run() -> None:
        left = asyncio.Event()
        with tracker.track("block"):
            task = asyncio.create_task(child(left))
        left.set()
        await task

    asyncio.run(run())
    assert parents_in(tracker) == {"block": None, "first": "block", "second": "first", "child": "block"}


def test_a_task_that_leaves_the_block_it_was_made_in_is_outside_whatever_is_inside_that() -> None:
    tracker = ExecutionTracker()
    block = tracker.track("block")

    async def child() -> None:
        with tracker.track("own"):
            block.__exit__(None, None, None)
        tracker.record_routine_start("child")

    async def run() -> None:
        block.__enter__()
        await asyncio.create_task(child())

    asyncio.run(run())
    assert parents_in(tracker) == {"block": None, "own": "block", "child": None}


def test_a_generator_is_inside_what_steps_it_though_that_was_made_in_the_generator() -> None:
    tracker, other = ExecutionTracker(), ExecutionTracker()

    async def child() -> None:
        with tracker.track("block of child"):
            next(steps)

    @other.tracked("generator")
    def generator() -> Iterator[Any]:
        yield asyncio.create_task(child())
        tracker.record_routine_start("in generator")
        yield None

    steps = generator()

    async def run() -> None:
        await next(steps)

    asyncio.run(run())
    assert parents_in(tracker) == {"block of child": None, "in generator": "block of child"}


def test_a_generator_leaves_its_blocks_in_any_order_whoever_takes_its_steps() -> None:
    tracker = ExecutionTracker()

    @tracker.tracked("generator")
    def generator() -> Iterator[None]:
        first, second = tracker.track("first"), tracker.track("second")
        first.__enter__()
        second.__enter__()
        yield
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        tracker.record_routine_start("after them")
        yield

    steps = generator()
    for owner in (ThreadOwner(), ThreadOwner()):
        owner.do(lambda: next(steps))
        owner.stop()
    steps.close()
    assert parents_in(tracker) == {
        "generator": None,
        "first": "generator",
        "second": "first",
        "after them": "generator",
    }


def test_a_generator_is_outside_its_block_once_that_was_left_elsewhere_whoever_takes_its_steps() -> None:
    tracker = ExecutionTracker()
    block = tracker.track("block")

    @tracker.tracked("generator")
    def generator() -> Iterator[None]:
        block.__enter__()
        yield
        tracker.record_routine_start("after it")
        yield

    steps = generator()
    owners = [ThreadOwner() for _ in range(3)]
    works: list[Work] = [lambda: next(steps), lambda: block.__exit__(None, None, None), lambda: next(steps)]
    for owner, work in zip(owners, works, strict=True):
        owner.do(work)
        owner.stop()
    steps.close()
    assert parents_in(tracker) == {"generator": None, "block": "generator", "after it": "generator"}
