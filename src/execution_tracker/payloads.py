"""Payloads: whatever a program hands in as `params`, `result` or `data`, in a form that JSON can carry.

Every value has one *form*, a function found by its type: in `_EXACT` for the plain types, else by the names
of the type's bases in `_FORMS`. Names, not classes, so that nothing is imported for a type that may never
turn up. What a form raises becomes a text at the place of that value, in `_convert`.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from execution_tracker.descriptions import FIELD_NAMES, SIMPLER, TEXTS, described, failure, type_name
from execution_tracker.plain import plain_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any, TypeAlias

    Form: TypeAlias = "Callable[[Any, _Run, int], Any]"
    Limits: TypeAlias = tuple[tuple[str, ...], int, int, int, int]

_REDACTED = "[redacted]"
_MAX_DEPTH = 100  # json's own C code recurses too, and the stack may be in use already
_MAX_MADE_UP = 1_000  # characters of a text that stands for an object
# Rough bytes of memory for one payload: sixty lists that each hold the next one twice would fill any machine.
_BUDGET, _SCALAR_COST, _CONTAINER_COST = 2**26, 16, 48
_NO_LIMITS: Limits = ((), sys.maxsize, sys.maxsize, _MAX_DEPTH, _BUDGET)


def json_safe(value: object) -> Any:
    """Return a copy of any value that `json` writes and reads back as equal.

    Scalars, lists and dicts with text keys come out as they are; tuples, sets and deques as lists; named
    tuples, dataclasses, attrs and pydantic instances as dicts of their fields; an object with a `serialize`
    method as what that returns. An `IntEnum` or `StrEnum` member is its number or text, another `Enum` member
    is "Class.NAME". Everything else becomes a short text. Keys become what JSON writes for them ("null",
    "true", "1", "[1, 2]"); where two keys meet in one text, the later one gets its position added, as in
    "1 (2)".

    Args:
        value: Anything. Its own code may raise, refer to itself or nest without end.

    Returns:
        A value of plain `dict`, `list`, `str`, `int`, `float`, `bool` and None, at most 100 levels deep and
        about 64 MB large; a text stands where something was cut. No `Exception` leaves this function.

    Cost is linear in the size of the copy; a small dict of scalars takes a microsecond or less.

    Example:
        >>> json_safe({"when": (1, 2), 3: {"b", "a"}, "ratio": float("nan")})
        {'when': [1, 2], '3': ['a', 'b'], 'ratio': 'nan'}
    """
    try:
        return plain_copy(value, 3)
    except Exception:  # it is not as plain as that
        return _copy(_NO_LIMITS, value)


def snapshot(
    redact: str | Iterable[str] = (), max_string: int = 200, max_items: int = 20, max_depth: int = 5
) -> Callable[[object], Any]:
    """Build a `capture` function that keeps a short, JSON-safe copy of each payload.

    What was cut says how much is missing. Values under matching keys become "[redacted]", and so does a text
    made for an object (its `repr`, say) that contains one of the words; plain strings are not searched.
    However a payload is nested, its copy stops growing at about `2 * max_items * max_string` characters
    (10,000 if that is more).

    Args:
        redact: One word or several. A value is hidden if its key contains one, in upper or lower case.
        max_string: Characters that are kept of a text, at least 0.
        max_items: Items that are kept of a container, at least 0.
        max_depth: Levels of containers that are kept, 1 to 100.

    Returns:
        A function of one payload. It gives what `json_safe` gives, but bounded, and can be pickled. Its cost
        is bounded as well, except for what an object's own `repr` or `serialize` takes.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: A limit out of range, or an empty word.

    Example:
        >>> from execution_tracker import snapshot
        >>> capture = snapshot(redact=["password"], max_items=3)
        >>> capture({"user": {"DB_PASSWORD": "hunter2"}, "ids": [1, 2, 3, 4, 5]})
        {'user': {'DB_PASSWORD': '[redacted]'}, 'ids': [1, 2, 3, '… (+2 items)']}
    """
    single = isinstance(redact, str) or not hasattr(redact, "__iter__")
    words: tuple[Any, ...] = (redact,) if single else tuple(redact)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"redact must be a str or several, as in ('password', 'token'), found {word!r}")
        if not word:
            raise ValueError("redact contains an empty word, which would hide every value; leave it out")
    _check_limit("max_string", max_string, 0, sys.maxsize)
    _check_limit("max_items", max_items, 0, sys.maxsize)
    _check_limit("max_depth", max_depth, 1, _MAX_DEPTH)
    # Enough for the keys and values of one full container. Nesting must not multiply it.
    budget = max(10_000, 2 * (max_items + 1) * (max_string + _SCALAR_COST + _CONTAINER_COST))
    redact = tuple(word.casefold() for word in words)
    return partial(_copy, (redact, max_string, max_items, max_depth, min(budget, _BUDGET)))


def _check_limit(name: str, limit: object, least: int, most: int) -> None:
    if type(limit) is not int:
        raise TypeError(f"{name} must be an int, found {limit!r}; leave it out for the default")
    if not least <= limit <= most:
        raise ValueError(f"{name} must be {least} to {most}, found {limit}; leave it out for the default")


# -- The walk: a form for each value, within limits


class _Run:
    """The limits of one conversion, and what it has used of them."""

    __slots__ = ("left", "max_depth", "max_items", "max_string", "path", "redact")

    def __init__(self, limits: Limits) -> None:
        self.redact, self.max_string, self.max_items, self.max_depth, self.left = limits
        self.path: set[int] = set()  # ids of the containers around the current value


def _copy(limits: Limits, value: object) -> Any:
    try:
        return _convert(value, _Run(limits), 0)
    except Exception:  # no stack or memory is left, not even for saying so in its place
        return "<not recorded>"


def _convert(value: Any, run: _Run, depth: int) -> Any:
    run.left -= _SCALAR_COST
    kind = type(value)
    if kind is str:
        return _text(value, run.max_string, run)
    if value is None or kind is bool:
        return value
    try:
        form = _EXACT.get(kind) or _form_of(kind)
        return form(value, run, depth)
    except Exception as error:
        return _made_up(failure(value, "conversion", error), run)


def _form_of(kind: type) -> Form:
    # Looked up on the type: an instance that answers to every name, such as a mock, has no `serialize` there.
    if callable(next((vars(base)["serialize"] for base in kind.__mro__ if "serialize" in vars(base)), None)):
        return _serialized
    for base in kind.__mro__:
        form = _FORMS.get(f"{base.__module__}.{base.__qualname__}")
        if form is not None:
            return form
        for mark, names_of in FIELD_NAMES.items():
            if isinstance(vars(base).get(mark), (dict, list, tuple)):  # else something of the same name
                return _fields_form(names_of)
    return _text_form(described)


def _text(text: str, limit: int, run: _Run) -> str:
    if len(text) > limit:
        text = f"{text[:limit]}… ({_missing(len(text) - limit, 'character')})"
    if not text.isascii():
        # UTF-8 cannot write half of a surrogate pair, and JSON would join two adjacent halves.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    run.left -= len(text)
    return text


def _made_up(text: str, run: _Run) -> str:
    """Bound a text that stands for an object, and hide it if it may show what is to be redacted."""
    text = str.__str__(text)
    return _REDACTED if _hidden(text, run) else _text(text, min(run.max_string, _MAX_MADE_UP), run)


def _hidden(text: str, run: _Run) -> bool:
    if not run.redact:
        return False
    folded = text.casefold()
    # A key that is an object may be hidden already; its value is to be as well.
    return text == _REDACTED or any(word in folded for word in run.redact)


def _missing(count: int, thing: str) -> str:
    return f"+{count} {thing}{'s' if count != 1 else ''}"


# -- Three kinds of forms: a text made up for the value, a simpler value instead, a container


def _text_form(describe: Callable[[Any], str]) -> Form:
    return lambda value, run, depth: _made_up(describe(value), run)


def _value_form(simplify: Callable[[Any], object]) -> Form:
    return lambda value, run, depth: _convert(simplify(value), run, depth)


def _container_form(fill: Form) -> Form:
    def form(value: Any, run: _Run, depth: int) -> Any:
        run.left -= _CONTAINER_COST
        if id(value) in run.path:
            return f"<cycle: {type_name(value)}>"
        if depth >= run.max_depth:
            return f"<{type_name(value)} nested too deep>"
        run.path.add(id(value))
        try:
            return fill(value, run, depth + 1)
        finally:
            run.path.discard(id(value))

    return form


# -- Containers


def _take(iterate: Callable[[Any], Iterable[Any]], value: object, run: _Run) -> list[Any]:
    """Read the items that can be kept; `iterate` is the base class's own, so no subclass has a say in it."""
    count = min(run.max_items, max(0, run.left) // _SCALAR_COST + 1)
    for _ in range(9):
        try:
            return list(islice(iterate(value), count))
        except RuntimeError:  # another thread has just changed it
            continue
    return list(islice(iterate(value), count))


def _write_dict(pairs: Iterable[tuple[Any, Any]], total: int, run: _Run, depth: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in pairs:
        if run.left <= 0:
            break
        run.left -= _SCALAR_COST
        whole = _key_text(key, run, depth)
        hidden = _hidden(whole, run)
        name = unused(_text(whole, run.max_string, run), copy)
        copy[name] = _REDACTED if hidden else _convert(item, run, depth)
    if total > len(copy):
        copy[unused("…", copy)] = _missing(total - len(copy), "item")
    return copy


def _key_text(key: Any, run: _Run, depth: int) -> str:
    if issubclass(type(key), str):
        return str.__str__(key)
    if not run.redact:
        return as_key(_convert(key, run, depth))
    # All of it, whatever will be kept: any part may be the one that tells to hide the value.
    whole = _Run((run.redact, sys.maxsize, sys.maxsize, _MAX_DEPTH, run.left))
    whole.path = run.path
    text = as_key(_convert(key, whole, 0))
    run.left = whole.left
    return text if run.left > 0 else _REDACTED


def as_key(safe: Any) -> str:
    """Return the text that stands for a JSON-safe value where only a text can stand."""
    if type(safe) is str:
        return safe
    import json  # here, for such keys are rare

    return json.dumps(safe, ensure_ascii=False)


def unused(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: this one, or with a number after it."""
    while name in taken:
        name = f"{name} ({len(taken) + 1})"
    return name


def _items_form(base: Any, ordered: bool = True) -> Form:
    @_container_form
    def fill(value: Any, run: _Run, depth: int) -> Any:
        copy: list[Any] = []
        for item in _take(base.__iter__, value, run):
            if run.left <= 0:
                break
            copy.append(_convert(item, run, depth))
        missing = base.__len__(value) - len(copy)
        if not ordered:
            try:
                copy.sort()  # the copies, since comparing those runs nobody's code
            except TypeError:
                copy.sort(key=repr)
        return [*copy, f"… ({_missing(missing, 'item')})"] if missing > 0 else copy

    return fill


@_container_form
def _dict(value: Any, run: _Run, depth: int) -> Any:
    return _write_dict(_take(dict.items, value, run), dict.__len__(value), run, depth)


def _fields_form(names_of: Callable[[Any], Iterable[str]]) -> Form:
    @_container_form
    def fill(value: Any, run: _Run, depth: int) -> Any:
        names = [*names_of(type(value))]
        if hasattr(type(value), "__pydantic_extra__"):
            names += value.__pydantic_extra__ or ()
        pairs = ((name, _attribute(value, name)) for name in names[: run.max_items])
        return _write_dict(pairs, len(names), run, depth)

    return fill


def _attribute(value: object, name: str) -> object:
    try:
        return getattr(value, name)
    except Exception as error:
        return error


class _Asking(threading.local):
    """How many objects this thread is asking for their `serialize`, one within the other."""

    depth = 0


asking = _Asking()


@_container_form
def _serialized(value: Any, run: _Run, depth: int) -> Any:
    asking.depth += 1
    try:
        plain = value.serialize()
    except Exception as error:
        return _made_up(failure(value, "serialize", error), run)
    finally:
        asking.depth -= 1
    # A dict takes the object's own level. Anything else is one more, for it may have a `serialize` again.
    return _convert(plain, run, depth - (type(plain) is dict))


# -- Numbers


def _int(value: int, run: _Run, depth: int) -> Any:
    bits = value.bit_length()
    if bits > 64:
        # The digits that Python turns into text and back, here and (by its default) elsewhere.
        digits = getattr(sys, "get_int_max_str_digits", int)() or 4_300
        if bits > min(digits, 4_300) * 3.32:
            return f"<int of {bits} bits>"
        run.left -= bits // 4
    return value


def _float(value: float, run: _Run, depth: int) -> Any:
    return value if value - value == 0.0 else repr(value)


_FORMS: dict[str, Form] = {
    **{name: _text_form(describe) for name, describe in TEXTS.items()},
    "builtins.dict": _dict,
    "builtins.list": _items_form(list),
    "builtins.tuple": _items_form(tuple),
    "builtins.set": _items_form(set, ordered=False),
    "builtins.frozenset": _items_form(frozenset, ordered=False),
    "collections.deque": _items_form(deque),
    # By the base class's own method: a subclass (an IntEnum member, say) comes out exact and is not asked.
    "builtins.int": _value_form(int.__int__),
    "builtins.float": _value_form(float.__float__),
    "builtins.str": _value_form(str.__str__),
    **{name: _value_form(simplify) for name, simplify in SIMPLER.items()},
}
_EXACT: dict[type, Form] = {int: _int, float: _float, dict: _dict, list: _FORMS["builtins.list"]}
