"""Short texts for values that have no JSON form, found by the names of types: nothing is imported for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_name_of = type.__dict__["__name__"].__get__  # past the metaclass, whose `__name__` may be anything


def type_name(value: object) -> str:
    """Return the name of the value's type, without asking the type for it."""
    return str.__str__(_name_of(type(value)))[:100]


def failure(value: object, what: str, error: Exception) -> str:
    """Return the text that stands for a value whose own code raised."""
    return f"<{type_name(value)}: {what} failed: {_error_text(error)}>"


def _error_text(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be read"
    return f"{type_name(error)}: {message}" if message else type_name(error)


def described(value: object) -> str:
    """Return the value's `repr`, or say why there is none."""
    try:
        text = repr(value)
    except Exception as error:
        return failure(value, "repr", error)
    return re.sub(" at 0x[0-9A-Fa-f]+", "", text)  # an address says nothing and differs in every run


def _bytes_text(value: Any) -> str:
    view = memoryview(value).cast("B")
    return f"{type_name(value)}({len(view)}): {bytes(view[:32])!r}{'…' if len(view) > 32 else ''}"


def _enum_text(value: Any) -> str:
    name = value._name_  # Python 3.10 has none for combined flags
    return f"{type_name(value)}.{name}" if name else f"{type_name(value)}({value._value_!r})"


def _frame_text(value: Any) -> str:
    more = ", …" if len(value.columns) > 10 else ""
    return f"<DataFrame shape={value.shape} columns: {', '.join(map(str, value.columns[:10]))}{more}>"


def _series_text(value: Any) -> str:
    return f"<Series shape={value.shape} dtype={value.dtype} name: {value.name}>"


TEXTS: dict[str, Callable[[Any], str]] = {
    "builtins.BaseException": _error_text,
    "builtins.bytearray": _bytes_text,
    "builtins.bytes": _bytes_text,
    "builtins.memoryview": _bytes_text,
    "builtins.method": lambda value: f"<method {value.__qualname__}>",  # its repr drags the object along
    "datetime.date": lambda value: value.isoformat(),  # a datetime is one, too
    "datetime.time": lambda value: value.isoformat(),
    "datetime.timedelta": str,
    "decimal.Decimal": str,
    "enum.Enum": _enum_text,
    "fractions.Fraction": str,
    "numpy.datetime64": str,
    "numpy.timedelta64": str,
    "pandas.DataFrame": _frame_text,
    "pandas.Series": _series_text,
    "pandas.core.frame.DataFrame": _frame_text,  # before pandas 3
    "pandas.core.series.Series": _series_text,
    "pathlib.PurePath": str,
    "pathlib._local.PurePath": str,  # Python 3.13
    "uuid.UUID": str,
}
