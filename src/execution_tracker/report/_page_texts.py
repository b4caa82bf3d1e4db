"""Texts of a run as the page has them: short, JSON-safe, and without a character that acts on who reads them."""

from __future__ import annotations

import json
import re
from typing import Any

from execution_tracker.payloads import json_safe, snapshot
from execution_tracker.report._failures import error_text

MAX_TEXT = 400  # characters of a payload or a name
_ROOM = 4_000_000  # characters of errors that the page has room for; further ones are cut as payloads are

# Control characters, and those that turn the direction of reading: they are shown, not obeyed.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_short = snapshot(max_string=120, max_items=8, max_depth=3)
_written = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


def text(value: Any) -> str:
    """Return any value as a short text, "" for what is as good as nothing.

    >>> text({"path": "a.md"}), text({}), len(text("x" * 1000))
    ('{"path": "a.md"}', '', 400)
    """
    if value is None or (type(value) is dict and not value):
        return ""
    whole: str = json_safe(_ends(value, 2 * MAX_TEXT)) if type(value) is str else _written(_short(value))
    return _ends(_visible(whole), MAX_TEXT)


def _visible(whole: str) -> str:
    if whole.isprintable():
        return whole
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), whole.replace("\r\n", "\n"))


def _ends(whole: str, limit: int) -> str:
    """Return the head and the tail of a text that is too long."""
    if len(whole) <= limit:
        return whole
    half = limit // 2
    return f"{whole[:half]}…{whole[half + 1 - limit :]}"


class Texts:
    """The different texts of a page, each once, and known by its number."""

    def __init__(self) -> None:
        self.all: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}
        self._known: dict[str, int] = {}  # by the payload: statuses, and what else many executions have
        self._room = _ROOM

    def number(self, value: Any) -> int:
        """Return the number of the short text of a payload."""
        if value is None:
            return 0
        if type(value) is not str or len(value) > MAX_TEXT:
            return self._number_of(text(value))
        if (number := self._known.get(value)) is None:
            number = self._known[value] = self._number_of(text(value))
        return number

    def number_of_error(self, error: Any) -> int:
        """Return the number of the text of an error, which has all its lines as long as there is room."""
        if error is None:
            return 0
        whole = _visible(json_safe(error_text(error)))
        if whole not in self._numbers:
            if len(whole) > self._room:
                whole = _ends(whole, MAX_TEXT)
            self._room -= len(whole)
        return self._number_of(whole)

    def _number_of(self, whole: str) -> int:
        number = self._numbers.setdefault(whole, len(self.all))
        if number == len(self.all):
            self.all.append(whole)
        return number
