"""What failed, in groups: one for each type of exception and message, whatever numbers, ids and urls it has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from execution_tracker._metrics import named
from execution_tracker._run import ERROR, EXECUTION_ID, PARAMS, START_NS, STATUS, WIDTH
from execution_tracker.report._units import name_of, printable, whole_text

if TYPE_CHECKING:
    from execution_tracker._run import Run

_MAX_TEXT = 10_000  # characters of an error that are shown, half of them at its end
_TRACEBACK = re.compile(r"^([ |+-]*)(?:Exception Group )?Traceback \(most recent call last\):$", re.MULTILINE)
_KIND = re.compile(r"(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*(?=: |:$)|\w*(?:Error|Exception|Group|Interrupt|Exit|Warning)$)")
# What differs from one failure to the next though they are alike.
_PARTICULAR = re.compile(
    r"""
      \b\w+://[^\s'"<>,)\]]+                                                    # a url
    | \b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b                  # a UUID
    | \b0x[0-9a-fA-F]+\b
    | (?<![^\W_])(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{6,}(?![^\W_])        # a hash
    | (?<![^\W_])(?=(?:[a-zA-Z]*\d){3})(?=\d*[a-zA-Z])[0-9a-zA-Z]{12,}(?![^\W_])  # an id
    | (?:(?<!\w)[-+])?\d+(?:[.,:]\d+)*(?:[eE][-+]?\d+)?                         # a number, a time
    """,
    re.VERBOSE,
)


class Failures(NamedTuple):
    """The failed executions that failed alike."""

    kind: str  # the type of the exception, "" if the error does not tell
    message: str  # one line; where the messages differ, "…" stands for what differs
    routines: dict[str, int]  # the names of the routines that failed so, the most frequent first, and how often
    executions: int
    first_id: int  # of the one that started first
    first_error: str  # its error, with all its lines
    ids: list[int]  # of all of them
    first_start_ns: int | None
    first_params: Any


class _First(NamedTuple):
    """The execution of a group that started first."""

    start_ns: int | None
    execution_id: int
    error: str
    params: Any


class _Group:
    def __init__(self, message: str, first: _First) -> None:
        self.message = message
        self.is_varied = False
        self.routines: dict[str, int] = {}
        self.ids: list[int] = []
        self.first = first


def failures(run: Run) -> list[Failures]:
    """Return what failed and why, the most frequent first; of equally frequent ones, what failed first."""
    groups: dict[tuple[str, str], _Group] = {}
    known: dict[str, tuple[str, str, str]] = {}  # what was made of equal errors
    for routine_id, name in named(run.routines).items():
        rows = run.routines[routine_id].rows
        columns = (rows[column::WIDTH] for column in (STATUS, ERROR, START_NS, EXECUTION_ID, PARAMS))
        for status, error, start_ns, execution_id, params in zip(*columns, strict=True):
            if not is_failed(status):
                continue
            text = whole_text(error)
            if (described := known.get(text)) is None:
                kind, message = _kind_and_message(text)
                described = known[text] = kind, message, _PARTICULAR.sub("…", message)
            kind, message, pattern = described
            first = _First(start_ns, execution_id, text, params)
            group = groups.get((kind, pattern))
            if group is None:
                group = groups[kind, pattern] = _Group(message, first)
            group.routines[name] = group.routines.get(name, 0) + 1
            group.ids.append(execution_id)
            group.is_varied |= message != group.message
            group.first = min(group.first, first, key=_moment)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1].ids), _moment(item[1].first)))
    return [_failures(kind, pattern, group) for (kind, pattern), group in ordered]


def _moment(first: _First) -> float:
    return float("inf") if first.start_ns is None else first.start_ns


def _failures(kind: str, pattern: str, group: _Group) -> Failures:
    routines: dict[str, int] = {}
    for name, count in sorted(group.routines.items(), key=lambda item: -item[1]):
        routines[name_of(name)] = routines.get(name_of(name), 0) + count
    return Failures(
        kind,
        printable(pattern if group.is_varied else group.message),
        routines,
        len(group.ids),
        group.first.execution_id,
        error_text(group.first.error),
        group.ids,
        group.first.start_ns,
        group.first.params,
    )


def is_failed(status: Any) -> bool:
    """Tell whether the metrics count an execution with this status as failed."""
    return isinstance(status, str) and status == "failed"


def error_text(error: Any) -> str:
    """Return the error of a record as a text with all its lines; of a very long one, its head and its tail."""
    text = whole_text(error)
    half = _MAX_TEXT // 2
    return text if len(text) <= _MAX_TEXT else f"{text[:half]}\n…\n{text[-half:]}"


def error_lines(error: str, limit: int, width: int) -> list[str]:
    """Return the lines of an error to print.

    Args:
        error: The error.
        limit: How many lines at most. Of more, the first and the last ones are kept: a traceback ends with the error.
        width: How many characters of a line.
    """
    lines = [line.rstrip().expandtabs(4) for line in error.splitlines() if line.strip()]
    if len(lines) > limit:
        head = limit // 3
        tail = limit - head - 1
        lines[head:-tail] = [f"… {len(lines) - head - tail:,} more lines …"]
    return [printable(line, width) for line in lines]


def _kind_and_message(text: str) -> tuple[str, str]:
    r"""Return the type of an exception and its message, from what ``track`` or ``traceback`` write.

    >>> _kind_and_message("ValueError: no such page: 7")
    ('ValueError', 'no such page: 7')
    >>> _kind_and_message('Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 5\n')
    ('KeyError', '5')
    >>> _kind_and_message("it broke")
    ('', 'it broke')
    """
    line = _telling_line(text)
    match = _KIND.match(line)
    if match is None:
        return "", line or "no message"
    return match[0], line[match.end() :].lstrip(": ")


def _telling_line(text: str) -> str:
    """Return the first line of an error, or that of a traceback which names the exception."""
    text = text.replace("\r\n", "\n")
    own = [match for match in _TRACEBACK.finditer(text) if "|" not in match[1]]
    if own:  # of several the last is the exception itself, those before it its causes
        margin = own[-1][1].replace("+", "|", 1)
        for line in text[own[-1].end() :].splitlines():
            inner = line[len(margin) :] if line.startswith(margin) else line
            if inner.strip() and not inner[0].isspace():
                return " ".join(inner[:_MAX_TEXT].split())
    return next((" ".join(line[:_MAX_TEXT].split()) for line in text.splitlines() if line.strip()), "")
