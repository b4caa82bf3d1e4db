"""Does everything at once to four trackers for some minutes, and ends at the first promise that is broken.

Run it with ``python tests/soak.py [--minutes 10] [--seed 0]``, outside the test suite. Threads, asyncio tasks, a signal
handler, finalizers and forked children record, while others save, load, merge, pickle, copy and compute. Two trackers
are bounded by ``max_records`` and live as long as the soak; two keep everything and are replaced in every round. Of
each pair somebody holds the containers of one. When a round ends, everybody stops and every call is accounted for.

Each file and copy must be a moment of the run: of every engine the first so many calls, without a gap, with the facts
that belong to them. Numbers that were read bit by bit must be those that come out of the whole run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import faulthandler
import gc
import json
import os
import pickle
import platform
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from execution_tracker import ExecutionTracker, merge
from execution_tracker._metrics import metrics_of

ROUND_S = 5.0
HANGS_S = 300  # no round takes so long, unless somebody waits for ever
MAX_RECORDS = 50
ENGINES = 3
TASKS = 12
OPEN_KEYS = ["routine_id", "start_time", "params", "status"]
ENDED_KEYS = [*OPEN_KEYS, "end_time", "result", "execution_time"]
WORKERS = {
    "engine main": "MainThread",
    "handler": "MainThread",
    "child": "forker",
}  # others are called as their threads
FACTS = ["execution_id", "parent_id", "caused_by", "worker"]

Record = dict[str, Any]


class BrokenError(Exception):
    """A promise that was not kept."""


def expect(kept: bool, promise: str, *found: object) -> None:
    if not kept:
        raise BrokenError(f"{promise}; found {', '.join(map(repr, found))}")


# --- what is recorded ---


class Tally:
    """Counts, each in one step, which neither a signal handler nor a finalizer can come into."""

    def __init__(self) -> None:
        self.add = count().__next__
        self.looks = 0

    def total(self) -> int:
        self.looks += 1
        return self.add() - self.looks + 1


class Subject:
    """A tracker under test, and how often everybody has called it."""

    def __init__(self, name: str, max_records: int | None, live: bool) -> None:
        self.name = name
        self.max_records = max_records
        self.tracker = ExecutionTracker(name, max_records=max_records)
        self.held = (self.tracker.routine_executions, self.tracker.event_flow) if live else None
        self.calls = {what: Tally() for what in ("completed", "failed", "late", "event", "unmatched")}
        self.numbers: dict[str, Iterator[int]] = {}
        self.last_events: dict[str, int] = {}

    def one_after_another(self, routine_id: str, rng: random.Random) -> int:
        """Record an execution and an event of a routine that no one else records, under its next number."""
        number = next(self.numbers.setdefault(routine_id, count()))
        payload = {"number": number}
        status = rng.choice(["completed", "completed", "failed", "late"])
        cause = self.last_events.get(routine_id)
        execution_id = self.tracker.record_routine_start(routine_id, payload, caused_by=cause)
        by_id = execution_id if rng.random() < 0.5 else None
        event_id = self.tracker.record_event(routine_id, "done", "shared", payload, execution_id=by_id)
        self.last_events[routine_id] = event_id
        self.calls["event"].add()
        if status == "late":
            self.tracker.record_routine_end(routine_id, result=payload, execution_id=by_id)
            by_id = None  # it updates the routine's latest record
        self.tracker.record_routine_end(routine_id, status, result=payload, execution_id=by_id)
        self.calls[status].add()
        return number

    def nested(self, who: str, between: Callable[[], None] = lambda: None) -> None:
        """Record two executions, one in the other, of a routine that everybody records at once."""
        outer, inner = ([f"{who} {next(self.numbers.setdefault(who, count()))}", which] for which in ("outer", "inner"))
        self.tracker.record_routine_start("shared", outer)
        between()
        with self.tracker.track("shared", inner) as execution:
            execution.result = inner
            self.tracker.record_event("shared", "inside", None, inner)
            self.calls["event"].add()
        self.calls["completed"].add()
        between()
        self.tracker.record_routine_end("shared", result=outer)
        self.calls["completed"].add()

    def elsewhere(self, who: str) -> None:
        """Record an execution whose times were taken by somebody else."""
        payload = [f"{who} {next(self.numbers.setdefault(who, count()))}", "elsewhere"]
        now = time.time()
        self.tracker.record_execution("shared", now, now + 1, params=payload, result=payload, worker="elsewhere")
        self.calls["completed"].add()

    def unmatched(self) -> None:
        self.tracker.record_routine_end("never started", result=Finalized([self], "dropped by a fold"))
        self.calls["unmatched"].add()


class Finalized:
    """Records when it is freed; in a cycle with itself that is when the garbage collector comes along."""

    made = Tally()
    freed = Tally()

    def __init__(self, subjects: list[Subject], who: str, in_cycle: bool = False) -> None:
        self.subjects, self.who = subjects, who
        self.cycle = self if in_cycle else None
        Finalized.made.add()

    def __del__(self) -> None:
        for subject in self.subjects:
            subject.nested(f"finalizer, {self.who}")
        Finalized.freed.add()


# --- what must be true ---


def check_moment(run: ExecutionTracker, max_records: int | None) -> None:
    """Check a run that nobody records any more, but that was taken while others recorded."""
    numbers = json.loads(json.dumps(run.get_performance_metrics(), allow_nan=False))
    executions, events = run.routine_executions, run.event_flow
    dropped, dropped_events = numbers["dropped_executions"], numbers["dropped_events"]
    kept = sum(map(len, executions.values()))
    expect(max_records is not None or not (dropped or dropped_events), "nothing is dropped", dropped, dropped_events)
    total = numbers["total_executions"]
    expect(total == kept + dropped, "executions add up", total, kept, dropped)
    expect(total == sum(numbers["status_counts"].values()), "statuses add up", total, numbers["status_counts"])
    expect(numbers["total_events"] == len(events) + dropped_events, "events add up", numbers["total_events"])
    for routine_id, records in executions.items():
        for record in records:
            check_record(record)
        if routine_id == "shared":
            payloads = [tuple(record["params"]) for record in records]
            expect(len(set(payloads)) == len(payloads), "each start is there once", len(payloads), len(set(payloads)))
        else:
            total = numbers["routines"][routine_id]["total_executions"]
            kept_numbers = [record["params"]["number"] for record in records]
            expected = list(range(total - len(records), total))
            expect(kept_numbers == expected, f"executions of {routine_id!r} have no gap", kept_numbers[-3:], total)
            sent = [event["data"]["number"] for event in events if event["source_routine_id"] == routine_id]
            if sent or max_records is None:
                first = sent[0] if max_records is not None else 0
                expect(
                    sent == list(range(first, first + len(sent))), f"events of {routine_id!r} have no gap", sent[-3:]
                )
                expect(total - 1 <= first + len(sent) <= total, f"events of {routine_id!r} keep up", sent[-3:], total)
    check_facts(run)
    run._check()


def check_facts(run: ExecutionTracker) -> None:
    """Check that each call is linked with the calls that its engine meant, as far as they are kept."""
    records = [record for of_routine in run.routine_executions.values() for record in of_routine]
    executions = {record["execution_id"]: record for record in records}
    events = {event["event_id"]: event for event in run.event_flow}
    expect(len(executions) == len(records), "each execution has its own id", len(executions), len(records))
    expect(len(events) == len(run.event_flow), "each event has its own id", len(events), len(run.event_flow))
    for event in events.values():
        expect("execution_id" in event, "each event has an emitter", event)
        emitter = executions.get(event["execution_id"])
        if emitter is not None:
            expect(emitter["routine_id"] == event["source_routine_id"], "an emitter is of the source", event, emitter)
            expect(emitter["params"] == event["data"], "an event is that of its own execution", event, emitter)
    for record in records:
        routine_id, number = record["routine_id"], record["params"]
        for cause in record.get("caused_by", []):
            if cause in events:
                expect(events[cause]["source_routine_id"] == routine_id, "a cause is the one given", record)
                expect(events[cause]["data"]["number"] == number["number"] - 1, "a cause is the one given", record)
        if routine_id != "shared":
            expect(record["worker"] == WORKERS.get(routine_id, routine_id), "a worker is the thread", record)
        parent = executions.get(record.get("parent_id"))
        if parent is not None:
            expect(parent["routine_id"] == "shared" and parent["params"][1] == "inner", "parents are blocks", record)


def check_record(record: Record) -> None:
    facts = [key for key in FACTS if key in record]
    expect({"execution_id", "worker"} <= {*facts}, "a record has an id and a worker", record)
    if record["status"] == "running":
        expect(list(record) == [*OPEN_KEYS, *facts], "an open record is whole", record)
    else:
        expect(list(record) == [*ENDED_KEYS, *facts], "an ended record is whole", record)
        expect(record["result"] == record["params"], "an end closes its own start", record)
        expect(record["execution_time"] > 0, "an execution takes time", record)


def check_totals(subject: Subject) -> int:
    """Check that every call was counted once, now that all have stopped; return how many there were."""
    tracker = subject.tracker
    calls = Counter({what: tally.total() for what, tally in subject.calls.items()})
    numbers = tracker.get_performance_metrics()
    statuses = Counter({status: calls[status] for status in ("completed", "failed", "late")})
    found = Counter(numbers["status_counts"])
    expect(found == statuses, "each execution is counted once", dict(found), dict(statuses))
    expect(numbers["total_events"] == calls["event"], "each event is counted once", numbers["total_events"], calls)
    expect(numbers["unmatched_ends"] == calls["unmatched"], "each unmatched end is counted once", numbers, calls)
    anew = metrics_of(tracker.flow_id, tracker._run())
    expect(numbers == anew, "numbers that were read bit by bit are those of the whole run", numbers, anew)
    tracker._check()
    if subject.held:
        executions, events = subject.held
        expect(executions is tracker.routine_executions, "the containers stay the same")
        expect(events is tracker.event_flow, "the containers stay the same")
        if subject.max_records is not None:
            kept = max(map(len, [events, *executions.values()]))
            expect(kept <= subject.max_records, "not more is kept than allowed", kept)
    check_moment(copy.copy(tracker), subject.max_records)
    return calls.total()


def check_finalizers(subjects: list[Subject]) -> None:
    """Fold all that is left, and check that nothing is kept that should be free."""
    for _ in range(3):  # a finalizer in a fold records more
        for subject in subjects:
            subject.tracker.get_flow_performance()
        gc.collect()
    made, freed = Finalized.made.total(), Finalized.freed.total()
    expect(made == freed, "what a fold drops is freed", made, freed)


# --- who works ---


class Round:
    """Some seconds of everything at once."""

    def __init__(self, subjects: list[Subject], folder: Path, seed: str) -> None:
        self.subjects = subjects
        self.folder = folder
        self.seed = seed
        self.stop = threading.Event()
        self.broken: list[str] = []
        self.done: Counter[str] = Counter()
        self.handed_over: SimpleQueue[tuple[Subject, int, Any] | None] = SimpleQueue()

    def run(self, seconds: float) -> None:
        works: dict[str, Callable[[random.Random], None]] = {
            **{f"engine {number}": self.engine(f"engine {number}") for number in range(ENGINES)},
            "tasks": lambda rng: asyncio.run(self.tasks()),
            "starter": self.starter,
            "saver 1": self.saver,
            "saver 2": self.saver,
            "copier": self.copier,
            "reader": self.reader,
            "collector": self.collector,
        }
        if hasattr(os, "fork"):
            works["forker"] = self.forker
        threads = [threading.Thread(target=self.repeat, args=(name, work), name=name) for name, work in works.items()]
        ender = threading.Thread(target=self.until_stopped, args=("ender", self.ender), name="ender")
        for thread in [*threads, ender]:
            thread.start()
        deadline = time.monotonic() + seconds
        with self.signals():
            main = self.engine("engine main")
            while time.monotonic() < deadline and not self.stop.is_set():
                self.until_stopped("engine main", lambda: main(random.Random(f"{self.seed} main")))
        self.stop.set()
        for thread in threads:
            thread.join()
        self.handed_over.put(None)
        ender.join()

    def repeat(self, name: str, work: Callable[[random.Random], None]) -> None:
        rng = random.Random(f"{self.seed} {name}")
        while not self.stop.is_set():
            self.until_stopped(name, lambda: work(rng))
            self.done[name] += 1

    def until_stopped(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            self.broken.append(f"{name}:\n{traceback.format_exc()}")
            self.stop.set()

    def engine(self, name: str) -> Callable[[random.Random], None]:
        def work(rng: random.Random) -> None:
            subject = rng.choice(self.subjects)
            for _ in range(20):
                subject.one_after_another(name, rng)
                subject.nested(name + ", nested")
            subject.unmatched()
            subject.elsewhere(name + ", elsewhere")
            time.sleep(rng.random() / 50)  # leaves time to those who read

        return work

    async def tasks(self) -> None:
        async def task(number: int, subject: Subject, rng: random.Random) -> None:
            for _ in range(5):
                subject.tracker.record_routine_start("shared", payload := [f"task {next(names)}", "task"])
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)
                subject.nested(f"task {number}")
                await asyncio.sleep(0)
                subject.tracker.record_routine_end("shared", result=payload)
                subject.calls["completed"].add()

        names = task_names
        rng = random.Random(f"{self.seed} tasks")
        while not self.stop.is_set():
            await asyncio.gather(*(task(number, rng.choice(self.subjects), rng) for number in range(TASKS)))
            self.done["task batches"] += 1

    def starter(self, rng: random.Random) -> None:
        """Start executions that another thread will end by their ids, in another order."""
        started = []
        for _ in range(10):
            subject = rng.choice(self.subjects)
            payload = [f"handed over {next(task_names)}", "by id"]
            started.append((subject, subject.tracker.record_routine_start("shared", payload), payload))
        rng.shuffle(started)
        for each in started:
            self.handed_over.put(each)
        time.sleep(0.001)

    def ender(self) -> None:
        while (started := self.handed_over.get()) is not None:
            subject, execution_id, payload = started
            subject.tracker.record_routine_end("shared", result=payload, execution_id=execution_id)
            subject.calls["completed"].add()

    def saver(self, rng: random.Random) -> None:
        """Save, load what is there (others save to the same files), and merge two runs."""
        subject, suffix = rng.choice(self.subjects), rng.choice(["json", "json.gz"])
        path = self.folder / f"{subject.name}.{suffix}"
        subject.tracker.save(path)
        loaded = ExecutionTracker.load(path)
        check_moment(loaded, subject.max_records)
        self.check_merge([loaded, copy.copy(rng.choice(self.subjects).tracker)])

    def check_merge(self, runs: list[ExecutionTracker]) -> None:
        merged = merge(runs, "merged")
        numbers, parts = merged.get_performance_metrics(), [run.get_performance_metrics() for run in runs]
        for name in ("total_executions", "total_events", "unmatched_ends", "dropped_executions", "dropped_events"):
            expected = sum(part[name] for part in parts)
            expect(numbers[name] == expected, f"{name} of merged runs add up", numbers[name], expected)
        statuses = sum((Counter(part["status_counts"]) for part in parts), Counter())
        found = numbers["status_counts"]
        expect(found == statuses, "statuses of merged runs add up", found, statuses)
        check_facts(merged)
        merged._check()

    def copier(self, rng: random.Random) -> None:
        subject = rng.choice(self.subjects)
        way = rng.choice([lambda run: pickle.loads(pickle.dumps(run)), copy.copy, copy.deepcopy])
        twin = way(subject.tracker)
        check_moment(twin, subject.max_records)
        twin.record_routine_start("twin")
        twin.record_routine_end("twin")
        expect(len(twin.routine_executions["twin"]) == 1, "a copy records on its own")

    def reader(self, rng: random.Random) -> None:
        tracker = rng.choice(self.subjects).tracker
        json.dumps(tracker.serialize(), allow_nan=False)
        tracker.get_performance_metrics()
        tracker.get_flow_performance()
        tracker.get_routine_performance("shared")
        repr(tracker)

    def collector(self, rng: random.Random) -> None:
        for _ in range(10):
            Finalized(rng.sample(self.subjects, 2), "in a cycle", in_cycle=True)
        if rng.random() < 0.1:
            gc.collect()
        time.sleep(0.01)

    def forker(self, rng: random.Random) -> None:
        subject = rng.choice(self.subjects)
        expected = subject.one_after_another("forker", rng) + 1
        answer = in_child(lambda: self.child(subject, expected))
        expect(answer == b"well", f"a child has all records, and records on ({subject.name})", answer.decode())

    def child(self, subject: Subject, expected: int) -> None:
        """Check what a child has after a fork in the middle of everything, and save it where the parent saves."""
        tracker = subject.tracker
        tracker.record_routine_start("child", {"number": 0})
        tracker.record_event("child", "done", None, {"number": 0})
        tracker.record_routine_end("child", result={"number": 0})
        performance = tracker.get_routine_performance("forker")
        expect(bool(performance) and performance["total_executions"] == expected, "a child has its parent's records")
        tracker._check()
        check_moment(copy.copy(tracker), subject.max_records)
        tracker.save(self.folder / f"{subject.name}.json")

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Have a signal handler record and read in the main thread, some hundred times a second."""
        if not hasattr(signal, "setitimer"):
            yield
            return
        rng = random.Random(f"{self.seed} signals")

        def come_in(*_: object) -> None:
            subject = rng.choice(self.subjects)
            subject.one_after_another("handler", rng)
            subject.nested("handler, nested")
            if rng.random() < 0.02:
                subject.tracker.get_performance_metrics()
            self.done["signals"] += 1
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 1e-2))

        usual = signal.signal(signal.SIGALRM, come_in)
        signal.setitimer(signal.ITIMER_REAL, 1e-3)
        try:
            yield
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, usual)


task_names = count()


def in_child(work: Callable[[], None]) -> bytes:
    """Fork, and return ``b"well"`` if the work succeeds in the child, else what went wrong."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b"well"
        try:
            if hasattr(signal, "alarm"):
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                faulthandler.register(signal.SIGALRM, chain=True)
                signal.alarm(HANGS_S // 5)
            work()
        except BaseException:
            answer = traceback.format_exc().encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return answer or f"exit code {os.waitstatus_to_exitcode(status)}".encode()


# --- the soak ---


def use_all(folder: Path) -> None:
    """Import all that is imported late: Python lets a child wait for ever for an import that was cut by the fork."""
    tracker = ExecutionTracker()
    tracker.save(folder / "first.json")
    repr(ExecutionTracker.load(folder / "first.json"))
    json.dumps(tracker.get_performance_metrics())


def resident_mb() -> float:
    """Return the resident memory of this process in megabytes, 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def soak(minutes: float, seed: str, folder: Path, only_bounded: bool) -> None:
    bounded = [Subject("bounded", MAX_RECORDS, live=False), Subject("bounded and held", MAX_RECORDS, live=True)]
    begin = time.monotonic()
    deadline = begin + 60 * minutes
    next_report = begin + 60
    calls, done, blocks = 0, Counter[str](), []
    for number in count():
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        whole = [Subject("whole", None, live=False), Subject("whole and held", None, live=True)]
        subjects = bounded if only_bounded else [*bounded, *whole]
        this = Round(subjects, folder, f"{seed} {number}")
        this.run(min(ROUND_S, max(deadline - time.monotonic(), 1)))
        expect(not this.broken, "\n".join(this.broken), f"round {number}")
        check_finalizers(subjects)
        calls += sum(check_totals(subject) for subject in subjects[len(bounded) :])
        calls_of_bounded = sum(map(check_totals, bounded))
        done += this.done
        del subjects, whole, this
        gc.collect()
        blocks.append(sys.getallocatedblocks())
        ended = time.monotonic() >= deadline
        if ended or time.monotonic() >= next_report:
            next_report += 60
            counted, minute = calls + calls_of_bounded, (time.monotonic() - begin) / 60
            works = ", ".join(f"{name} {times:,}" for name, times in sorted(done.items()) if "engine" not in name)
            print(f"{minute:5.1f} min: {counted:,} executions and events; {works}")
            print(f"          {blocks[-1]:,} blocks of memory in use, {resident_mb():.0f} MB resident")
            sys.stdout.flush()
        check_memory(blocks)
        if ended:
            break
    faulthandler.cancel_dump_traceback_later()


def check_memory(blocks: list[int]) -> None:
    """Check that no more is in use after a round than after the first ones, when all had been used a few times.

    Blocks are counted, since what is resident grows with the largest of the trackers that keep everything.
    """
    most = max(blocks[:10])
    expect(blocks[-1] <= 1.1 * most, "memory stays flat", blocks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only-bounded", action="store_true", help="to see that the resident memory stays flat, too")
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    arguments = parser.parse_args()
    print(f"CPython {platform.python_version()}, {arguments.minutes:g} minutes, --seed {arguments.seed}", flush=True)
    warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # that is what we are here for
    faulthandler.enable()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(100, 10, 10)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    use_all(folder)
    try:
        soak(arguments.minutes, arguments.seed, folder, arguments.only_bounded)
    except BrokenError as error:
        print(f"BROKEN: {error}\nrepeat with --seed {arguments.seed}; its files are in {folder}", flush=True)
        return 1
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    print("every promise was kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
