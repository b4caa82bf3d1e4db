"""What the reports say of a run, in words."""

from __future__ import annotations

from typing import Any

import pytest
from runs import event, execution, run, story

from execution_tracker import ExecutionTracker
from execution_tracker._timeline import Timeline
from execution_tracker.analysis import event_edges
from execution_tracker.report import _facts as facts
from execution_tracker.report._failures import failures


def timeline(*executions: dict[str, Any], events: Any = ()) -> Any:
    return Timeline(run([*executions], [*events])._run())


def sentence(*executions: dict[str, Any], events: Any = ()) -> str:
    return facts.path_sentence(facts.critical_path(timeline(*executions, events=events)))


# --- the critical path ---


def test_the_sentence_on_the_path_tells_what_it_explains_in_how_many_executions() -> None:
    assert sentence() == sentence(execution("a", 0, None)) == ""
    assert sentence(execution("a", 0, 2)) == "The critical path explains 100% of 2.0 s: 2.0 s in 1 execution."
    waited = [execution("a", 0, 1, worker="w"), execution("b", 3, 4, worker="w"), execution("c", 2, 3.5, worker="v")]
    assert sentence(*waited) == (
        "The critical path explains 50% of 4.0 s: 2.0 s in 2 executions, with 2.0 s of waiting."
    )


def test_the_sentence_on_the_path_says_which_links_are_inferred() -> None:
    chain = [execution(name, second, second + 1) for second, name in enumerate("abc")]
    came = [event("a", 1, "b"), event("b", 2, "c")]
    assert sentence(*chain, events=came).endswith(". 2 links of it are inferred from the order of events.")
    for number, record in enumerate(chain, 1):
        record["execution_id"] = number
    recorded = [{**each, "event_id": number, "execution_id": number} for number, each in enumerate(came, 1)]
    chain[1]["caused_by"] = [1]
    assert sentence(*chain, events=recorded).endswith(". 1 link of it is inferred from the order of events.")
    chain[2]["caused_by"] = [2]
    assert sentence(*chain, events=recorded).endswith("3.0 s in 3 executions.")


def test_the_sentence_on_a_path_that_begins_late_says_that_the_reason_is_not_known() -> None:
    late = [execution("a", 0, 4), execution("b", 3, 10)]
    assert sentence(*late).endswith(
        "explains 70% of 10.0 s: 7.0 s in 1 execution. It begins 3.0 s into the run: what its first execution waited "
        "for is not known."
    )
    assert "begins" not in sentence(execution("a", 0, 4), execution("b", 0.05, 10))


def test_a_path_explains_no_time_twice() -> None:
    inside = [
        execution("outer", 0, 10, execution_id=1, worker="w"),
        execution("inner", 1, 9, execution_id=2, parent_id=1, worker="w"),
    ]
    path = facts.critical_path(timeline(*inside))
    assert [step.own_ns for step in path.steps] == [2 * 10**9, 8 * 10**9]
    assert (path.explained, path.length_ns, path.run_ns) == (1.0, 10**10, 10**10)


def test_each_link_of_a_path_has_words_and_only_those_by_order_are_called_inferred() -> None:
    assert {*facts.LINKS} == {"caused_by", "parent", "worker", "event", None}
    assert [link for link, words in facts.LINKS.items() if "inferred" in words] == ["event"]


# --- what is inferred ---


def test_links_that_are_inferred_are_counted_among_all() -> None:
    starts = [execution("b", second, second + 1) for second in (2, 4)]
    came = [event("a", 1, "b"), event("a", 3, "b")]
    assert facts.inferred([]) == ""
    assert facts.inferred(event_edges(run(starts, came))).startswith("All 2 links from events to starts are inferred ")
    starts[0]["caused_by"] = [1]
    recorded = [{**each, "event_id": number} for number, each in enumerate(came, 1)]
    edges = event_edges(run(starts, recorded))
    assert facts.inferred(edges).startswith("1 of 2 links from events to starts is inferred from their order")
    assert [facts.part_inferred(edge) for edge in edges] == ["1 of 2"]
    starts[1]["caused_by"] = [2]
    edges = event_edges(run(starts, recorded))
    assert (facts.inferred(edges), facts.part_inferred(edges[0])) == ("", "")
    edges = event_edges(run(starts[:1], came[:1]))
    assert facts.inferred(edges) == ""
    edges = event_edges(run([execution("b", 2, 3)], came[:1]))
    assert facts.inferred(edges).startswith("The link from the event to the start is inferred")
    assert facts.part_inferred(edges[0]) == "all"


# --- executions and workers ---


def test_the_slowest_executions_come_first_and_of_equal_ones_the_first() -> None:
    times = [(5, 7), (0, 2), (1, 9), (3, None), (4, 5)]
    slowest = facts.slowest(timeline(*(execution("a", start, end, execution_id=start + 1) for start, end in times)), 3)
    assert [each.execution_id for each in slowest] == [2, 1, 6]


def test_a_worker_is_busy_while_at_least_one_of_its_executions_runs() -> None:
    executions = [
        execution("a", 0, 4, worker="w"),
        execution("a", 1, 2, worker="w"),
        execution("a", 3, 6, worker="w"),
        execution("a", 8, 9, worker="w"),
        execution("a", 0, 1, worker="v\x1b"),
        execution("a", 9, 10, worker=None),
        execution("a", 5, None, worker="u"),
    ]
    assert facts.workers(timeline(*executions)) == [
        facts.Worker("w", 4, 7 * 10**9, 0.7),
        facts.Worker("v\\x1b", 1, 10**9, 0.1),
        facts.Worker("u", 1, 0, 0.0),
    ]
    assert facts.workers(timeline(execution("a", 0, 1))) == []
    assert facts.workers(timeline()) == []


def test_concurrency_is_told_where_something_took_time() -> None:
    metrics = run([execution("a", 0, 2), execution("a", 1, 2)]).get_performance_metrics()
    assert facts.concurrency(metrics) == "1.5 executions at once on average, 2 at most."
    metrics = run([execution("a", 0, 1), execution("a", 99, 100)]).get_performance_metrics()
    assert facts.concurrency(metrics).startswith("0.02 executions at once ")
    assert facts.concurrency(ExecutionTracker().get_performance_metrics()) == ""
    assert facts.concurrency(run([execution("a", 0, None)]).get_performance_metrics()) == ""


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, ""),
        (None, ""),
        ({"path": "a.md", "n": 3, "deep": {"x": [1, None]}}, "path='a.md', n=3, deep={'x': [1, None]}"),
        ({"two\nlines": "\x1b"}, "two\\nlines='\\x1b'"),
        ([1, 2], "[1, 2]"),
        ("text", "text"),
        (0, "0"),
    ],
)
def test_params_read_as_in_a_call(params: Any, text: str) -> None:
    assert facts.params_of(params) == text


def test_large_params_are_cut_before_they_are_copied() -> None:
    class Endless:
        def __iter__(self) -> Any:
            raise AssertionError("nobody asks it")

        def __repr__(self) -> str:
            return "endless"

    text = facts.params_of({"rows": [*range(10**6)], "text": "x" * 10**7, "other": Endless()})
    assert len(text) <= 200


# --- statuses and failures ---


def test_statuses_beyond_the_usual_ones_are_named_by_how_many_have_them() -> None:
    assert facts.other_statuses({"completed": 3, "failed": 1, "running": 1}) == ""
    assert facts.other_statuses({"cancelled": 1, "completed": 3, "skipped": 1200}) == "1,200 skipped, 1 cancelled"
    assert facts.other_statuses({f"odd {n}": 1 for n in range(7)}).endswith("1 odd 4, 2 more")


def test_failures_are_placed_where_and_when_they_began() -> None:
    (group,) = failures(story()._run())
    begin_ns = group.first_start_ns
    assert facts.failed_how(group) == "SyntaxError: unexpected end of file"
    assert facts.failed_where(group, begin_ns) == "parse, 0 s into the run"
    assert facts.failed_where(group, None) == "parse"
    several = group._replace(routines={"b": 2, "a": 1}, executions=3, first_params={"n": 1}, kind="")
    assert facts.failed_where(several, begin_ns) == "b (2), a (1), first 0 s into the run, with n=1"
    assert facts.failed_how(several) == "unexpected end of file"
    assert facts.failed_where(several._replace(first_start_ns=None), begin_ns) == "b (2), a (1), with n=1"


def test_failures_of_which_only_the_number_is_left_are_counted() -> None:
    assert facts.undescribed({"failed": 3}, 3) == ""
    assert facts.undescribed({"failed": 3}, 1) == "Dropped, so without a message: 2 failures."
