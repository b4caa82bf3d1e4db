"""What ids and statuses are asked, also by a signal handler meanwhile, and what is taken for a tracker."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from execution_tracker import ExecutionTracker, TrackerError, merge
from execution_tracker._run import are_equal, emitted_ids, hashable, is_empty
from execution_tracker.analysis import compare


class Interrupted:
    """Raises once, as if a signal handler had come in, and answers from then on."""

    def __init__(self, method: str) -> None:
        self.method: str | None = method

    def _answer(self, method: str, answer: Any) -> Any:
        if self.method == method:
            self.method = None
            raise TimeoutError("out of a handler")
        return answer

    def __hash__(self) -> int:
        return int(self._answer("hash", 1))

    def __eq__(self, other: object) -> bool:
        return bool(self._answer("eq", self is other))


@pytest.mark.parametrize("method", ["hash", "eq"])
def test_what_a_signal_handler_raises_is_not_taken_for_an_answer_of_an_id(method: str) -> None:
    with pytest.raises(TimeoutError):
        hashable(Interrupted(method))
    with pytest.raises(TimeoutError):
        are_equal(Interrupted("eq"), "a")


def test_ids_are_equal_as_keys_of_a_dict_are() -> None:
    nan = float("nan")
    assert are_equal(1, True)
    assert are_equal(nan, nan)
    assert not are_equal("1", 1)
    assert not are_equal("a", "b")


def test_what_cannot_be_compared_is_no_other() -> None:
    class Refusing:
        def __eq__(self, other: object) -> bool:
            raise ValueError("eq")

        __hash__ = None  # type: ignore[assignment]

    assert not are_equal(Refusing(), "a")
    assert hashable(Refusing()).startswith("<")


def test_causes_are_read_from_a_row_as_a_tuple() -> None:
    assert [emitted_ids(causes) for causes in (None, 3, (3, 4))] == [(), (3,), (3, 4)]


@pytest.mark.parametrize(("payload", "empty"), [({}, True), ("", True), (b"", True), ([0], False), (0, False)])
def test_only_containers_and_texts_of_pythons_own_are_asked_whether_they_are_empty(payload: Any, empty: bool) -> None:
    assert is_empty(payload) is empty


def test_what_is_not_equal_to_itself_is_known_by_its_repr() -> None:
    assert hashable(Decimal("NaN")) == "Decimal('NaN')"


# --- what takes a tracker ---


@pytest.mark.parametrize(
    ("module", "name", "more"),
    [
        ("execution_tracker.analysis", "critical_path", ()),
        ("execution_tracker.analysis", "event_edges", ()),
        ("execution_tracker.analysis", "compare", (ExecutionTracker(),)),
        ("execution_tracker.report.terminal", "print_report", ()),
        ("execution_tracker.report.html", "write_html", ("page.html",)),
        ("execution_tracker.export.chrome_trace", "to_chrome_trace", ()),
        ("execution_tracker.export.chrome_trace", "write_chrome_trace", ("trace.json",)),
        ("execution_tracker.export.opentelemetry", "export_spans", ("provider",)),
    ],
)
@pytest.mark.parametrize("path", ["run.json", Path("run.json")])
def test_what_gets_a_path_in_place_of_a_tracker_says_to_load_it(module: str, name: str, more: Any, path: Any) -> None:
    pytest.importorskip("opentelemetry") if "opentelemetry" in module else None
    with pytest.raises(TypeError, match=r"found a \w+; load files with ExecutionTracker\.load$") as caught:
        getattr(import_module(module), name)(path, *more)
    assert isinstance(caught.value, TrackerError)


def test_the_second_run_of_a_comparison_and_each_one_to_merge_is_a_tracker_too() -> None:
    with pytest.raises(TypeError, match=r"^expected an ExecutionTracker, found a str; load files with "):
        compare(ExecutionTracker(), "run.json")  # type: ignore[arg-type]
    with pytest.raises(TrackerError, match=r"^trackers\[0\]: expected an ExecutionTracker, found a str; load files "):
        merge("run.json")  # type: ignore[arg-type]
