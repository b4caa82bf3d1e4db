"""Objects of others in classes of our own, for a while.

A dressed object is the same object, with the same state; only its class is replaced by a subclass that was made for it.
So nothing is put into the object that would be saved with it, other objects of its class are left alone, and taking the
dress off is one assignment. Whoever asks for ``__class__``, pickles or copies it meets the class that it came with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    # Given the class that the object came with and the owners of the dress, the members of its new class.
    Pattern = Callable[[Any, tuple[Any, ...]], dict[str, Any]]

_set_class: Callable[[object, type], None] = vars(object)["__class__"].__set__  # a dress hides the usual way


class _Silent:
    """A first base that hides a new class from the others: who registers the subclasses of his class gets no dress."""

    def __init_subclass__(cls) -> None:
        """Ask no other base."""


def owners_of(thing: object) -> tuple[Any, ...]:
    """Return those for whom the object is dressed."""
    return getattr(type(thing), "_dress_owners", ())


def dress(thing: object, owner: Any, pattern: Pattern) -> None:
    """Dress the object for one more owner."""
    _wear(thing, (*owners_of(thing), owner), pattern)


def undress(thing: object, owner: Any) -> None:
    """Take the dress off for this owner; the object gets its own class back when none is left."""
    others = tuple(other for other in owners_of(thing) if other is not owner)
    if others:
        _wear(thing, others, type(thing)._dress_pattern)  # type: ignore[attr-defined]
    elif owners_of(thing):
        _set_class(thing, _own_class(thing))


def _own_class(thing: object) -> Any:
    return getattr(type(thing), "_dress_over", type(thing))


def _wear(thing: object, owners: tuple[Any, ...], pattern: Pattern) -> None:
    base = _own_class(thing)

    def reduced(thing: object, protocol: Any) -> Any:
        found = base.__reduce_ex__(thing, protocol)
        if not isinstance(found, tuple):
            return found
        make, arguments, *state = found
        arguments = tuple(base if argument is dressed else argument for argument in arguments)
        return (base if make is dressed else make, arguments, *state)

    members = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__class__": property(lambda _: base),
        "__reduce_ex__": reduced,
        "_dress_over": base,
        "_dress_owners": owners,
        "_dress_pattern": staticmethod(pattern),
        **pattern(base, owners),
    }
    try:
        dressed: type = type(base)(base.__name__, (_Silent, base), members)
        _set_class(thing, dressed)
    except TypeError:  # such as below a base with empty slots, where a class with two bases gets another layout
        dressed = type(base)(base.__name__, (base,), members)
        _set_class(thing, dressed)
