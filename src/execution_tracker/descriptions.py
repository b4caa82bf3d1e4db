"""What stands for values that have no JSON form, found by the names of types: nothing is imported for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

_MAX_ARRAY = 100  # elements of a numpy array that is written out

_name_of = type.__dict__["__name__"].__get__  # past the metaclass, whose `__name__` may be anything


def type_name(value: object) -> str:
    """Return the name of the value's type, without asking the type for it."""
    return str.__str__(_name_of(type(value)))[:100]


def failure(value: object, what: str, error: Exception) -> str:
    """Return the text that stands for a value whose own code raised."""
    return f"<{type_name(value)}: {what} failed: {_error_text(error)}>"


def _error_text(error: BaseException) -> str:
    try:
        message = str.__str__(str(error))  # which may be a subclass with a mind of its own
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


def _bytes_form(base: Any) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        # By the base class's own methods. A view of a bytearray would keep others from resizing it.
        length, first = base.__len__(value), bytes(base.__getitem__(value, slice(32)))
        return f"{type_name(value)}({length}): {first!r}{'…' if length > 32 else ''}"

    return text


_view_text = _bytes_form(memoryview)


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
    "builtins.bytearray": _bytes_form(bytearray),
    "builtins.bytes": _bytes_form(bytes),
    "builtins.memoryview": lambda value: _view_text(value.cast("B")),
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


# --- simpler values ---


def _numpy_scalar(value: Any) -> object:
    plain = value.item()
    if value.dtype.names:
        return dict(zip(value.dtype.names, plain, strict=True))
    return str(value) if type(plain) is type(value) else plain  # Python has nothing for a long double


def _numpy_array(value: Any) -> object:
    if value.size > _MAX_ARRAY or value.dtype.names:
        return f"<array shape={value.shape} dtype={value.dtype}>"
    return value.astype(str).tolist() if value.dtype.kind in "mM" else value.tolist()  # times, which may be integers


SIMPLER: dict[str, Callable[[Any], object]] = {"numpy.generic": _numpy_scalar, "numpy.ndarray": _numpy_array}


# --- objects made of fields ---


def _dataclass_names(kind: Any) -> Iterable[str]:
    import dataclasses  # there already, where a dataclass is

    return [field.name for field in dataclasses.fields(kind)]


# The names of an object's fields, by what marks its class as made of them.
FIELD_NAMES: dict[str, Callable[[Any], Iterable[str]]] = {
    "__dataclass_fields__": _dataclass_names,
    "__attrs_attrs__": lambda kind: [field.name for field in kind.__attrs_attrs__],
    "__pydantic_fields__": lambda kind: kind.__pydantic_fields__,
    "model_fields": lambda kind: kind.model_fields,  # pydantic 2.0 to 2.9
    "__fields__": lambda kind: kind.__fields__,  # pydantic 1
    "_field_defaults": lambda kind: kind._fields,  # a named tuple
}
