"""Which failures are alike, and what is told of them."""

from __future__ import annotations

import time
import traceback
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import at, execution, run

from execution_tracker import ExecutionTracker
from execution_tracker.report._failures import Failures, error_lines, error_text, failures, is_failed


def groups_of(*errors: Any) -> list[Failures]:
    executions = [execution("load", second, second + 1) for second in range(len(errors))]
    for record, error in zip(executions, errors, strict=True):
        record |= {"status": "failed", "error": error}
    return failures(run(executions)._run())


def told(*errors: Any) -> list[tuple[str, str, int]]:
    return [(group.kind, group.message, group.executions) for group in groups_of(*errors)]


def raised(raise_: Any) -> str:
    """Return what ``traceback`` writes of what a function raises."""
    try:
        raise_()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it raised nothing")


# --- alike or not ---


def test_errors_that_differ_in_their_url_are_one_group() -> None:
    errors = [f"ConnectionError: GET https://api.example/v{n % 3}/pages/{n}?q={n} refused" for n in range(29)]
    assert told(*errors) == [("ConnectionError", "GET … refused", 29)]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("line 7 of 9", "line 12 of 9", "line … of …"),
        ("took 1.5 s", "took 2e-05 s", "took … s"),
        ("off by -3", "off by 4", "off by …"),
        ("at 2026-01-31 12:00:00,5", "at 2027-12-01 09:30:00,25", "at …-…-… …"),
        ("10,000 rows", "9 rows", "… rows"),
        ("item5 lost", "item66 lost", "item… lost"),
        (f"job {UUID(int=7)} lost", f"job {UUID(int=2**127)} lost", "job … lost"),
        ("<Page at 0x7f3a>", "<Page at 0xdead>", "<Page at …>"),
        ("commit 3f2a9bc gone", "commit dead123beef gone", "commit … gone"),
        ("id 01ARZ3NDEKTSV4RRFFQ69G5FAV", "id 01BX5ZZKBKACTAV9WEVGEMMVRZ", "id …"),
        ("request req_a8f3k2j1l9m0 failed", "request req_7zz3k2j1l9mq failed", "request req_… failed"),
        ("see 'http://a/1' (twice)", "see 'ftp://b' (twice)", "see '…' (twice)"),
    ],
)
def test_numbers_ids_and_urls_make_no_difference(one: str, other: str, message: str) -> None:
    assert told(f"ValueError: {one}", f"ValueError: {other}") == [("ValueError", message, 2)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("no file a.csv", "no file b.csv"), ("feedback", "deadline"), ("SQLAlchemy2", "SQLObject2"), ("a", "A")],
)
def test_words_make_a_difference(one: str, other: str) -> None:
    assert len(told(one, other)) == 2


def test_equal_messages_of_two_types_are_two_groups() -> None:
    assert told("KeyError: 5", "ValueError: 5", "KeyError: 6") == [("KeyError", "…", 2), ("ValueError", "5", 1)]


def test_a_message_that_does_not_differ_keeps_its_numbers() -> None:
    assert told("KeyError: 5", "KeyError: 5") == [("KeyError", "5", 2)]


# --- the type and the message ---


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("ValueError: no such page: x", "ValueError", "no such page: x"),
        ("requests.exceptions.Timeout: slow", "requests.exceptions.Timeout", "slow"),
        ("KeyError: 'name'", "KeyError", "'name'"),
        ("AssertionError", "AssertionError", ""),
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("asyncio.exceptions.CancelledError", "asyncio.exceptions.CancelledError", ""),
        ("it broke", "", "it broke"),
        ("http://a.example is down", "", "http://a.example is down"),
        ("\n\n  late:  twice  \n more", "late", "twice"),
        (None, "", "no message"),
        ("", "", "no message"),
        ("\n", "", "no message"),
        (["a", 1], "", "['a', 1]"),
        ({"code": 5}, "", "{'code': 5}"),
        (ValueError("live"), "ValueError", "live"),
        ("\x1b[31mred\u202e", "", "\\x1b[31mred\\u202e"),
    ],
)
def test_an_error_tells_its_type_and_its_message(error: Any, kind: str, message: str) -> None:
    tracker = ExecutionTracker()
    tracker.record_execution("load", 0, 1, "failed", error=error)
    (group,) = failures(tracker._run())
    assert (group.kind, group.message) == (kind, message)


def deep() -> None:
    {}["name"]


def chained() -> None:
    try:
        deep()
    except KeyError as error:
        raise RuntimeError("no name\nanywhere") from error


def within_another() -> None:
    try:
        deep()
    except KeyError:
        int("x")


def bad_syntax() -> None:
    compile("a b", "made.py", "exec")


def recursive() -> None:
    recursive()


@pytest.mark.parametrize(
    ("raise_", "kind", "message"),
    [
        (deep, "KeyError", "'name'"),
        (chained, "RuntimeError", "no name"),
        (within_another, "ValueError", "invalid literal for int() with base 10: 'x'"),
        (bad_syntax, "SyntaxError", "invalid syntax"),
        (recursive, "RecursionError", "maximum recursion depth exceeded"),
    ],
)
@pytest.mark.parametrize("form", ["{}", "the task failed\n{}", "{}\n", "windows"])
def test_a_traceback_tells_the_exception_that_was_raised_last(raise_: Any, kind: str, message: str, form: str) -> None:
    text = raised(raise_)
    text = text.replace("\n", "\r\n") if form == "windows" else form.format(text)
    assert told(text) == [(kind, message, 1)]


GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "a.py", line 3, in <module>
  |     raise ExceptionGroup("two of them", errors)
  | ExceptionGroup: two of them (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "a.py", line 1, in one
    | ValueError: first
    +---------------- 2 ----------------
    | Exception Group Traceback (most recent call last):
    |   File "a.py", line 2, in other
    | ExceptionGroup: inner (1 sub-exception)
    +-+---------------- 1 ----------------
      | TypeError: second
      +------------------------------------
"""


def test_an_exception_group_tells_itself_and_not_its_parts() -> None:
    assert told(GROUP) == [("ExceptionGroup", "two of them (2 sub-exceptions)", 1)]
    after = GROUP + "\nThe above exception was the direct cause of the following exception:\n\n" + raised(deep)
    assert told(after) == [("KeyError", "'name'", 1)]
    before = raised(deep) + "\nDuring handling of the above exception, another exception occurred:\n\n" + GROUP
    assert told(before) == [("ExceptionGroup", "two of them (2 sub-exceptions)", 1)]


def test_a_traceback_without_its_end_is_an_error_like_any_other() -> None:
    assert told(raised(deep).rpartition("KeyError")[0]) == [("", "Traceback (most recent call last):", 1)]


def test_the_type_of_a_very_long_traceback_is_not_lost() -> None:
    long = raised(deep).replace("\nKeyError", "\n" + 1_000 * '  File "a.py", line 1, in a\n' + "KeyError")
    (group,) = groups_of(long)
    assert (group.kind, group.message) == ("KeyError", "'name'")
    assert len(group.first_error) < 11_000
    assert group.first_error.startswith("Traceback")
    assert group.first_error.rstrip().endswith("KeyError: 'name'")


# --- what is told of a group ---


def test_a_group_tells_who_failed_how_often_and_what_failed_first() -> None:
    executions = [
        execution("read", 5, 6, "OSError: 5", execution_id=1),
        execution("load", 3, 6, "OSError: 3\n  more", execution_id=2, params={"path": "a"}),
        execution("load", 4, 6, "OSError: 4", execution_id=3),
        execution("load", 0, 6, execution_id=4),
    ]
    executions.append({**execution("load", 1, 6, "OSError: 1", execution_id=5), "start_time": "yesterday"})
    (group,) = failures(run(executions)._run())
    assert group.routines == {"load": 3, "read": 1}
    assert [*group.routines] == ["load", "read"]
    assert (group.executions, sorted(group.ids)) == (4, [1, 2, 3, 5])
    assert (group.first_id, group.first_error, group.first_params) == (2, "OSError: 3\n  more", {"path": "a"})
    assert group.first_start_ns == time_ns(3)


def time_ns(second: float) -> int:
    record = execution("a", second, second + 1)
    assert record["start_time"] == at(second)
    return run([record])._run().routines["a"].rows[0]


def test_the_most_frequent_come_first_and_of_equally_frequent_what_failed_first() -> None:
    groups = told("late", "often", "later", "often")
    assert [message for _, message, _ in groups] == ["often", "late", "later"]


def test_routines_whose_names_look_alike_are_counted_together() -> None:
    (group,) = failures(run([execution(name, 0, 1, "boom") for name in ("", " ", "\n")])._run())
    assert group.routines == {"(no name)": 3}


def test_only_what_failed_is_in_a_group() -> None:
    statuses = ["completed", "running", "cancelled", "skipped", "Failed", None, 5]
    executions = [{**execution("load", 0, 1), "status": status, "error": "boom"} for status in statuses]
    assert failures(run(executions)._run()) == []
    assert [is_failed(status) for status in ("failed", *statuses)] == [True] + [False] * 7


# --- lines ---


def test_the_lines_of_an_error_stay_lines_that_can_be_printed() -> None:
    assert error_lines("a: b\n\n\tc\x1b[31m  \n", 8, 80) == ["a: b", "    c\\x1b[31m"]
    assert error_lines("", 8, 80) == []
    (line,) = error_lines("x" * 100, 8, 20)
    assert (len(line), line[0], line[-1]) == (20, "x", "x")


def test_of_many_lines_the_first_and_the_last_ones_are_kept() -> None:
    lines = error_lines("\n".join(map(str, range(100))), 8, 80)
    assert lines == ["0", "1", "… 93 more lines …", "95", "96", "97", "98", "99"]
    assert error_lines("\n".join(map(str, range(8))), 8, 80) == [*"01234567"]


def test_a_long_error_keeps_its_head_and_its_tail() -> None:
    assert error_text("x" * 10_000) == "x" * 10_000
    text = error_text("a" * 50_000 + "z" * 50_000)
    assert (len(text), text[0], text[-1]) == (10_003, "a", "z")


# --- any error at all ---


@given(st.lists(st.text() | st.text("aE:. \n|+-Traceback (most recent call last):", max_size=60), max_size=5))
def test_each_failure_is_in_one_group_whatever_its_error(errors: list[str]) -> None:
    groups = groups_of(*errors)
    assert sum(group.executions for group in groups) == len(errors)
    assert sorted(id_ for group in groups for id_ in group.ids) == [*range(1, len(errors) + 1)]
    assert all(group.message.isprintable() and len(group.message) < 2_100 for group in groups)


@pytest.mark.parametrize(
    "text", ["a." * 50_000, "a" * 100_000, "1" * 100_000, "1a" * 50_000, "| " * 50_000, "-+" * 50_000, "a://" * 25_000]
)
def test_no_error_holds_up_a_report(text: str) -> None:
    begin = time.perf_counter()
    groups_of(text, f"{text}\nTraceback (most recent call last):\n{text}")
    assert time.perf_counter() - begin < 5
