from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from types import CodeType, SimpleNamespace
from unittest.mock import patch

import pytest

from execution_tracker import ExecutionTracker, TrackerError
from execution_tracker.integrations import dask as dask_integration
from execution_tracker.integrations.dask import track_cluster

try:
    import cloudpickle
    from distributed import Client, LocalCluster, Reschedule, wait
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("distributed is not installed", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def _functions_travel_by_value():
    """Workers cannot import this module, and coverage must know where what travels to them was written."""
    reduce_code = cloudpickle.Pickler.dispatch_table[CodeType]

    def with_its_file(code):
        make, facts = reduce_code(code)
        return make, tuple(code.co_filename if fact == "<dynamic-code>" else fact for fact in facts)

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with patch.dict(cloudpickle.Pickler.dispatch_table, {CodeType: with_its_file}):
        yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def processes():
    """A client of a cluster of two worker processes with a thread each."""
    with (
        LocalCluster(n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def threads(**options):
    """A client of a cluster in this process: quick to start, and to be broken."""
    with (
        LocalCluster(
            processes=False, dashboard_address=":0", **{"n_workers": 1, "threads_per_worker": 1} | options
        ) as c,
        Client(c) as client,
    ):
        yield client


@pytest.fixture(params=["processes", "threads"])
def any_cluster(request):
    """A client of a cluster of either kind."""
    if request.param == "processes":
        yield request.getfixturevalue("processes")
    else:
        with threads(n_workers=2) as client:
            yield client


@pytest.fixture
def tracker():
    return ExecutionTracker("on a cluster")


# --- what the cluster runs ---


def increment(number):
    return number + 1


def meet(folder, number, others):
    """Run until so many tasks run at once."""
    before = time.time()
    (folder / str(number)).touch()
    for other in range(others):
        wait_for_file(folder / str(other))
    time.sleep(0.05)  # longer than it takes the last one to see that all are there
    return before, time.time(), os.getpid()


def fail_until(path, attempts):
    """Fail in all but the last of so many attempts."""
    with open(path, "a+") as file:
        file.write("x")
        file.seek(0)
        attempt = len(file.read())
    if attempt < attempts:
        raise ValueError(f"attempt {attempt}")
    return attempt


def wait_for_file(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started_and_wait_for_file(started, path):
    started.touch()
    wait_for_file(path)


def die_once(path, after):
    if not path.exists():
        path.touch()
        time.sleep(after)
        os._exit(1)


def reschedule_once(path):
    if not path.exists():
        path.touch()
        raise Reschedule


class UnpicklableError(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.lock = lambda: None
        self.frame = sys._getframe()


def fail_without_a_word():
    raise ValueError


def fail_without_a_pickle():
    raise UnpicklableError("no pickle")


def build(error_type, path):
    with open(path, "a+") as file:
        file.write("x")
        file.seek(0)
        if len(file.read()) == 2:  # the worker loads its error once itself
            raise OSError("not now")
    return error_type()


class MoodyError(Exception):
    def __reduce__(self):
        return build, (MoodyError, self.path)


def fail_with_a_moody_error(path):
    error = MoodyError()
    error.path = path
    raise error


def all_records(tracker):
    return [record for records in tracker.routine_executions.values() for record in records]


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def left_behind(client):
    """Return the names of all plugins and topics on the cluster, and the topics that the client hears."""

    def on_scheduler(dask_scheduler):
        topics = {topic for topic in dask_scheduler._broker._topics if not topic.startswith(("tcp:", "inproc:"))}
        return [set(dask_scheduler.plugins), set(dask_scheduler.worker_plugins), topics]

    on_workers = client.run(lambda dask_worker: set(dask_worker.plugins)).values()
    names = set().union(*client.run_on_scheduler(on_scheduler), *on_workers, client._event_handlers)
    return {name for name in names if "execution-tracker" in name}


# --- what is recorded ---


def test_each_task_is_an_execution_with_its_worker_and_the_workers_own_times(processes, tracker, tmp_path):
    addresses = {pid: address for address, pid in processes.run(os.getpid).items()}
    with track_cluster(processes, tracker) as given:
        futures = [
            processes.submit(meet, tmp_path, number, 2, workers=[address])
            for number, address in enumerate(addresses.values())
        ]
        results = dict(zip([future.key for future in futures], processes.gather(futures), strict=True))
    assert given is tracker
    records = tracker.routine_executions["meet"]
    assert {record["params"]["key"] for record in records} == set(results)
    assert {record["params"]["worker"] for record in records} == set(addresses.values())
    for record in records:
        before, after, pid = results[record["params"]["key"]]
        assert record["params"]["worker"] == addresses[pid]
        assert before - 1 < seconds(record["start_time"]) <= before + 1e-5
        assert after - 1e-5 <= seconds(record["end_time"]) < after + 1
        assert after - before <= record["execution_time"] + 1e-5
        assert seconds(record["end_time"]) - seconds(record["start_time"]) == pytest.approx(
            record["execution_time"], abs=1e-5
        )
        keys = ["routine_id", "start_time", "params", "status", "end_time", "execution_time", "execution_id", "worker"]
        assert list(record) == keys
        assert record["status"] == "completed"
        assert record["worker"] == record["params"]["worker"]
    starts = [record["start_time"] for record in records]
    assert starts == sorted(starts)
    assert tracker.get_performance_metrics()["peak_concurrency"] == 2
    tracker._check()


def test_routine_ids_are_dasks_prefixes_of_the_keys(processes, tracker):
    graph = {("load-1f2e3d4c", 1): (increment, 1), "double-it-8": (increment, ("load-1f2e3d4c", 1))}
    with track_cluster(processes, tracker):
        assert processes.get(graph, "double-it-8") == 3
        assert processes.submit(increment, 1, key="parse").result() == 2
    assert set(tracker.routine_executions) == {"load", "double-it", "parse"}
    assert tracker.routine_executions["load"][0]["params"]["key"] == ("load-1f2e3d4c", 1)


def test_a_failure_has_its_error_and_what_depends_on_it_never_ran(any_cluster, tracker):
    with track_cluster(any_cluster, tracker):
        failed = any_cluster.submit({}.__getitem__, "missing", key="look-up")
        assert any_cluster.submit(increment, failed).exception() is not None
        assert any_cluster.submit(fail_without_a_pickle).exception() is not None
        assert any_cluster.submit(fail_without_a_word).exception() is not None
    assert set(tracker.routine_executions) == {"look-up", "fail_without_a_pickle", "fail_without_a_word"}
    (look_up,), (unpicklable,) = map(tracker.routine_executions.get, ["look-up", "fail_without_a_pickle"])
    assert look_up["error"] == "KeyError: 'missing'"
    assert tracker.routine_executions["fail_without_a_word"][0]["error"] == "ValueError"
    assert "UnpicklableError('no pickle')" in unpicklable["error"]
    assert [look_up["status"], unpicklable["status"]] == ["failed", "failed"]


def test_a_failure_whose_error_cannot_be_loaded_is_recorded_as_dask_writes_it(tracker, tmp_path):
    with threads() as client, track_cluster(client, tracker):
        wait(client.submit(fail_with_a_moody_error, str(tmp_path / "loads")))
    assert [record["error"] for record in all_records(tracker)] == ["MoodyError()"]


def test_each_retry_is_an_execution_of_its_own(any_cluster, tracker, tmp_path):
    with track_cluster(any_cluster, tracker):
        future = any_cluster.submit(fail_until, str(tmp_path / "attempts"), 3, retries=2)
        assert future.result() == 3
    records = tracker.routine_executions["fail_until"]
    assert [record["status"] for record in records] == ["failed", "failed", "completed"]
    assert [record.get("error") for record in records] == ["ValueError: attempt 1", "ValueError: attempt 2", None]
    assert {record["params"]["key"] for record in records} == {future.key}
    ends = [record["end_time"] for record in records[:-1]]
    assert all(end <= record["start_time"] for end, record in zip(ends, records[1:], strict=True))


def test_cancelled_and_rescheduled_executions_say_so(any_cluster, tracker, tmp_path):
    started, go = tmp_path / "started", tmp_path / "go"
    with track_cluster(any_cluster, tracker):
        cancelled = any_cluster.submit(started_and_wait_for_file, started, go)
        wait_for_file(started)
        cancelled.cancel()
        time.sleep(0.3)
        go.touch()
        any_cluster.submit(reschedule_once, tmp_path / "once").result()
        any_cluster.gather(any_cluster.map(time.sleep, [0.1] * 4, pure=False))  # until the cancelled one has ended, too
    statuses = {id_: [record["status"] for record in records] for id_, records in tracker.routine_executions.items()}
    assert statuses["started_and_wait_for_file"] == ["cancelled"]
    assert statuses["reschedule_once"] == ["rescheduled", "completed"]
    assert tracker.routine_executions["started_and_wait_for_file"][0]["execution_time"] > 0.25


def test_an_execution_belongs_to_the_context_in_which_it_ends(any_cluster, tmp_path):
    before, between, after = (ExecutionTracker(name) for name in ("before", "between", "after"))
    started, go = tmp_path / "started", tmp_path / "go"
    any_cluster.submit(increment, 0, key="earlier").result()
    with track_cluster(any_cluster, before):
        crossing = any_cluster.submit(started_and_wait_for_file, started, go, key="crossing")
        wait_for_file(started)
        start = time.time()
    with track_cluster(any_cluster, between):
        any_cluster.submit(increment, 0, key="meanwhile").result()
        go.touch()
        crossing.result()
    with track_cluster(any_cluster, after):
        pass
    assert all_records(before) == []
    assert {record["routine_id"] for record in all_records(between)} == {"crossing", "meanwhile"}
    assert start - 5 < seconds(between.routine_executions["crossing"][0]["start_time"]) <= start
    assert all_records(after) == []


@pytest.mark.once
def test_of_thousands_of_tiny_tasks_none_is_lost(processes, tracker):
    # More than any buffer of the scheduler holds by default but its task stream, which holds 100,000.
    graph = {("increment", number): (increment, number) for number in range(5000)}
    with track_cluster(processes, tracker):
        assert processes.get({**graph, "sum": (sum, list(graph))}, "sum") == sum(range(5001))
    assert {record["params"]["key"] for record in tracker.routine_executions["increment"]} == set(graph)
    assert len(tracker.routine_executions["increment"]) == 5000


def test_contexts_of_several_clients_overlap_without_mixing(processes, tracker):
    other = ExecutionTracker()
    with track_cluster(processes, tracker):
        processes.submit(increment, 1, key="first").result()
        with Client(processes.scheduler.address) as client, track_cluster(client, other):
            processes.submit(increment, 2, key="second").result()
        processes.submit(increment, 3, key="third").result()
    assert set(tracker.routine_executions) == {"first", "second", "third"}
    assert list(other.routine_executions) == ["second"]


def test_contexts_of_one_client_are_nested_without_mixing_and_each_is_for_one_use(tracker):
    other = ExecutionTracker()
    with threads() as client:
        context = track_cluster(client, tracker)
        with context:
            client.submit(increment, 1, key="first").result()
            with track_cluster(client, other):
                client.submit(increment, 2, key="second").result()
                with pytest.raises(TrackerError, match="this context was entered before"):
                    context.__enter__()
        with pytest.raises(TrackerError, match=r"call track_cluster\(\) for each"):
            context.__enter__()
        assert left_behind(client) == set()
    assert {id_: len(records) for id_, records in tracker.routine_executions.items()} == {"first": 1, "second": 1}
    assert {id_: len(records) for id_, records in other.routine_executions.items()} == {"second": 1}


def test_a_worker_that_joins_meanwhile_is_heard(tracker):
    with threads() as client, track_cluster(client, tracker):
        first = set(client.scheduler_info()["workers"])
        client.cluster.scale(2)
        client.wait_for_workers(2)
        client.gather(client.map(time.sleep, [0.1] * 6, pure=False))
        workers = set(client.scheduler_info()["workers"])
    assert workers > first
    assert {record["params"]["worker"] for record in all_records(tracker)} == workers


def test_what_was_recorded_in_the_tracker_stays_and_its_settings_hold(processes):
    tracker = ExecutionTracker(capture=lambda payload: sorted(payload), max_records=3)
    kept = tracker.record_routine_start("local")
    with track_cluster(processes, tracker):
        processes.gather(processes.map(increment, range(10)))
    tracker.record_routine_end("increment")  # none of that routine is open: it updates the last record
    tracker.record_routine_end("local", execution_id=kept)
    assert [record["status"] for record in tracker.routine_executions["local"]] == ["completed"]
    assert [record["params"] for record in tracker.routine_executions["increment"]] == [["key", "worker"]] * 3
    metrics = tracker.get_performance_metrics()
    assert metrics["routines"]["increment"]["total_executions"] == 10
    assert metrics["dropped_executions"] == 7
    assert metrics["unmatched_ends"] == 0
    tracker._check()


# --- a cluster that breaks ---


def test_what_a_lost_worker_was_running_has_failed(processes, tracker, tmp_path):
    with track_cluster(processes, tracker):
        assert processes.submit(die_once, tmp_path / "once", 0.2).result() is None
        processes.wait_for_workers(2)
    killed, completed = sorted(tracker.routine_executions["die_once"], key=lambda record: record["status"] != "failed")
    assert killed["status"] == "failed"
    assert killed["error"] == f"WorkerLost: {killed['params']['worker']} left the cluster"
    assert killed["execution_time"] >= 0.15
    assert completed["status"] == "completed"
    assert killed["params"]["worker"] != completed["params"]["worker"]
    assert killed["params"]["key"] == completed["params"]["key"]


def test_a_worker_that_dies_at_the_end_keeps_nobody_waiting(processes, tracker, tmp_path):
    with track_cluster(processes, tracker):
        dying = processes.submit(die_once, tmp_path / "once", 0)
        assert processes.submit(increment, 1).result() == 2
    dying.result()
    processes.wait_for_workers(2)
    assert len(tracker.routine_executions["increment"]) >= 1
    assert left_behind(processes) == set()


def run_and_close(client, tracker):
    with track_cluster(client, tracker):
        client.gather(client.map(increment, range(3)))
        client.cluster.close()


def test_a_cluster_that_is_closed_meanwhile_is_one_clear_error_and_costs_no_record(tracker):
    with threads() as client, pytest.raises(TrackerError) as raised:
        run_and_close(client, tracker)
    assert str(raised.value) == (
        "lost track of the cluster: the connection to its scheduler was lost; "
        "the tracker has the 3 executions that were reported to have ended"
    )
    assert len(tracker.routine_executions["increment"]) == 3
    tracker.record_routine_start("still works")
    assert tracker.get_performance_metrics()["total_executions"] == 4


def run_and_raise(client, tracker, close=False):
    with track_cluster(client, tracker):
        client.submit(increment, 1, pure=False).result()
        if close:
            client.cluster.close()
        raise ZeroDivisionError


def test_the_error_of_the_block_is_the_one_that_comes_out(tracker):
    with threads() as client:
        with pytest.raises(ZeroDivisionError):
            run_and_raise(client, tracker)
        assert left_behind(client) == set()
        with pytest.raises(ZeroDivisionError):
            run_and_raise(client, tracker, close=True)
    assert len(tracker.routine_executions["increment"]) == 2


def run_and_reconnect(client, tracker):
    with track_cluster(client, tracker):
        client.submit(increment, 1).result()
        broken = client.scheduler_comm
        client.loop.add_callback(broken.comm.abort)
        deadline = time.monotonic() + 60
        while client.scheduler_comm in (broken, None) or client.status != "running":
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_connection_that_was_interrupted_is_one_clear_error_and_leaves_nothing_behind(tracker):
    with threads() as client:
        with pytest.raises(TrackerError, match="connection to its scheduler was lost"):
            run_and_reconnect(client, tracker)
        assert left_behind(client) == set()
    assert len(tracker.routine_executions["increment"]) == 1


@contextmanager
def process_without_this_package(code):
    block = "import sys; sys.modules['execution_tracker'] = None; "
    with subprocess.Popen([sys.executable, "-c", block + code], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def run_and_kill(scheduler, client, tracker):
    with track_cluster(client, tracker):
        client.gather(client.map(abs, range(4)))
        scheduler.kill()
        scheduler.wait()


def test_a_scheduler_that_dies_is_one_clear_error_and_needed_nothing_of_this_package(tracker, tmp_path):
    file = tmp_path / "scheduler.json"
    scheduler_code = f"""
from distributed.cli.dask_scheduler import main
main(["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", {str(file)!r}])
"""
    worker_code = f"""
from distributed.cli.dask_worker import main
main(["--no-nanny", "--no-dashboard", "--nthreads", "1", "--scheduler-file", {str(file)!r}])
"""
    with process_without_this_package(scheduler_code.strip()) as scheduler:
        wait_for_file(file)
        with (
            process_without_this_package(worker_code.strip()),
            Client(scheduler_file=str(file), timeout=5) as client,
        ):
            client.wait_for_workers(1)
            with pytest.raises(TrackerError, match="connection to its scheduler was lost"):
                run_and_kill(scheduler, client, tracker)
    assert len(tracker.routine_executions["abs"]) == 4


def test_nothing_stays_on_the_cluster(tracker):
    with threads() as client:
        with track_cluster(client, tracker):
            client.submit(increment, 1).result()
            assert len(left_behind(client)) == 1
        assert left_behind(client) == set()


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_client_that_is_gone_in_the_middle_leaves_nothing_on_the_cluster(how):
    with threads(n_workers=2, protocol="tcp://", host="127.0.0.1") as client:
        code = f"""
from distributed import Client
from execution_tracker import ExecutionTracker
from execution_tracker.integrations.dask import track_cluster
with Client({client.scheduler.address!r}) as client:
    track_cluster(client, ExecutionTracker()).__enter__()
    print("inside", flush=True)
    input()
"""
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout.readline() == b"inside\n"
            assert len(left_behind(client)) == 1
            if how == "closed":
                process.stdin.write(b"\n")
            else:
                process.kill()
        deadline = time.monotonic() + 60
        while left_behind(client):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert client.submit(increment, 1).result() == 2


def test_a_cluster_that_refuses_plugins_is_one_clear_error(tracker, monkeypatch):
    async def refuse(*arguments, **options):
        raise ValueError("no plugins here")

    with threads() as client:
        monkeypatch.setattr(type(client), "_register_worker_plugin", refuse)
        with pytest.raises(TrackerError, match="the cluster cannot be tracked: no plugins here"):
            track_cluster(client, tracker).__enter__()
        assert left_behind(client) == set()


def test_a_worker_that_does_not_answer_is_one_clear_error(tracker, monkeypatch):
    monkeypatch.setattr(dask_integration, "_PATIENCE_S", 0.3)
    with threads() as client:
        monkeypatch.setattr(dask_integration._Reports, "hear", lambda self, event: None)
        with pytest.raises(TrackerError, match="the cluster cannot be tracked: it did not answer within"):
            track_cluster(client, tracker).__enter__()
        assert left_behind(client) == set()


def test_a_closed_client_is_one_clear_error(tracker):
    with threads() as client:
        pass
    with pytest.raises(TrackerError, match="the cluster cannot be tracked"):
        track_cluster(client, tracker).__enter__()


async def run_and_close_client(client, tracker):
    async with track_cluster(client, tracker):
        assert await client.submit(increment, 2) == 3
        await client.close()


def test_an_asynchronous_client_is_tracked_too(tracker):
    async def run():
        async with (
            LocalCluster(n_workers=1, processes=False, dashboard_address=":0", asynchronous=True) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            with pytest.raises(TrackerError, match="use 'async with"), track_cluster(client, tracker):
                pytest.fail("never comes here")
            async with track_cluster(client, tracker) as given:
                assert await client.submit(increment, 1) == 2
            assert given is tracker
            with pytest.raises(TrackerError, match="lost track of the cluster"):
                await run_and_close_client(client, tracker)
            while any("execution-tracker" in name for name in cluster.scheduler.plugins):
                await asyncio.sleep(0.01)  # until the scheduler has forgotten the client that is gone

    asyncio.run(run())
    assert [record["status"] for record in all_records(tracker)] == ["completed", "completed"]


def test_what_is_no_tracker_is_refused_before_anything_runs():
    with pytest.raises(TrackerError, match="expected an ExecutionTracker; found NoneType"):
        track_cluster(None, None)


def test_without_distributed_the_error_says_how_to_install_it(tracker, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(TrackerError, match=r"pip install 'execution-tracker\[dask\]'"):
        track_cluster(None, tracker)


# --- what is reported ---


def test_times_of_an_earlier_execution_of_the_same_task_are_not_taken_again():
    """A worker that computed a task before can be asked again, and that time the task may ask to be rescheduled."""
    told = []
    task = SimpleNamespace(startstops=[{"action": "compute", "start": 1.0, "stop": 501.0}])
    state = SimpleNamespace(tasks={"key-1": task}, executing=set(), long_running=set())
    worker = SimpleNamespace(state=state, address="a", scheduler_delay=0.0, log_event=lambda _, msg: told.append(msg))
    _, plugin = dask_integration._plugins("topic", "client")
    plugin.setup(worker)
    plugin.transition("key-1", "ready", "executing")
    plugin.transition("key-1", "executing", "rescheduled")
    kind, *_, start, elapsed, status, error = told[-1]
    assert (kind, status, error) == ("ended", "rescheduled", None)
    assert start > time.time() - 60
    assert 0 <= elapsed < 60


@pytest.mark.parametrize(("status", "says"), [("running", ["joined", "left"]), ("closing", ["joined"])])
def test_a_worker_that_closes_leaves_it_to_the_scheduler_to_tell_what_was_lost_with_it(status, says):
    told = []
    state = SimpleNamespace(executing=set(), long_running=set())
    worker = SimpleNamespace(
        state=state, address="a", status=SimpleNamespace(name=status), log_event=lambda _, msg: told.append(msg[0])
    )
    _, plugin = dask_integration._plugins("topic", "client")
    plugin.setup(worker)
    plugin.teardown(worker)
    assert told == says


def reports_of(*reports):
    heard = dask_integration._Reports()
    for report in reports:
        heard.hear((0.0, report))
    return heard


def test_what_a_worker_says_after_the_scheduler_gave_it_up_does_not_count():
    heard = reports_of(
        ("joined", "a"),
        ("began", "a", "key-1", "key", 1.0),
        ("lost", "a", 3.0),
        ("ended", "a", "key-1", "key", 1.0, 3.0, "completed", None),
        ("left", "a"),
    )
    assert heard.ended == [(1.0, 2.0, "key", "key-1", "a", "failed", "WorkerLost: a left the cluster")]
    assert heard.running == {}


def test_executions_are_recorded_in_the_order_of_their_starts_with_their_own_times():
    tracker = ExecutionTracker(tz=timezone.utc)
    reports_of(
        ("joined", "a"),
        ("ended", "a", "load-2", "load", 12.5, 0.75, "completed", None),
        ("ended", "a", "load-1", "load", 10.0, 3.0, "failed", "OSError: gone"),
        ("ended", "a", "load-3", "load", 14.0, -1.0, "completed", None),  # its clock was set back
    ).record(tracker)
    metrics = tracker.get_performance_metrics()
    assert metrics["peak_concurrency"] == 2
    assert metrics["wall_time"] == pytest.approx(4)
    params = {"key": "load-1", "worker": "a"}
    first, second, third = tracker.routine_executions["load"]
    assert list(first.items()) == [
        ("routine_id", "load"),
        ("start_time", "1970-01-01T00:00:10.000000+00:00"),
        ("params", params),
        ("status", "failed"),
        ("end_time", "1970-01-01T00:00:13.000000+00:00"),
        ("error", "OSError: gone"),
        ("execution_time", 3.0),
        ("execution_id", 1),
        ("worker", "a"),
    ]
    assert second["execution_time"] == 0.75
    assert third["execution_time"] == 1e-9
    tracker._check()
