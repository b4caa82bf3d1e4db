"""Executions recorded around a block of code or a function: ``ExecutionTracker.track`` and ``tracked``."""

from __future__ import annotations

import inspect
import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from execution_tracker._callers import Block
from execution_tracker.descriptions import TEXTS, type_name
from execution_tracker.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from execution_tracker._recording import Recording

    # What names the arguments of a call.
    Namer = Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]

_RUNNING = "running"


class Execution:
    """One execution, recorded from the start of a ``with`` block to its end; made by ``ExecutionTracker.track``.

    Attributes:
        result: What the record gets as its result, kept by reference; None for nothing.
        execution_id: The id of the execution, once the block was entered; for ``record_event`` and as ``parent_id``.
        status: How the execution ends. While it is ``"running"``, it will be ``"completed"``.
        error: What the record gets as its error; None for nothing.

    ``result``, ``status`` and ``error`` can be set inside the block. An exception that leaves it makes the status
    ``"failed"``, or ``"cancelled"`` if it is no ``Exception`` (a cancelled task, a closed generator, an exit), and the
    error ``TypeName: message``, whatever was set before; the result stays. Afterwards they are what was recorded.
    """

    __slots__ = (
        "_block",
        "_caused_by",
        "_params",
        "_routine_id",
        "_tracker",
        "error",
        "execution_id",
        "result",
        "status",
    )

    def __init__(self, tracker: Recording, routine_id: Any, params: Any, caused_by: Any = None) -> None:
        self._tracker = tracker
        self._routine_id = routine_id
        self._params = params
        self._caused_by = caused_by
        self._block: Any = None  # a Block, once it is entered
        self.execution_id: int | None = None
        self.result: Any = None
        self.status: Any = _RUNNING
        self.error: Any = None

    def __enter__(self) -> Execution:
        if self.execution_id is not None:
            raise TrackerError("this execution was entered before; call track() for each")
        tracker, routine_id = self._tracker, self._routine_id
        self._block = block = Block(tracker._mark, routine_id)
        # A subclass of before there were causes takes none.
        causes = {} if self._caused_by is None else {"caused_by": self._caused_by}
        try:
            self.execution_id = block.execution_id = tracker.record_routine_start(routine_id, self._params, **causes)
            block.enter()
        except BaseException as error:  # out of a signal handler, or the stack is full
            if self.execution_id is not None:
                self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._block.leave()
        if error is not None:
            self.status = "failed" if isinstance(error, Exception) else "cancelled"
            self.error = error_text(error)
        elif self.status is _RUNNING:  # not ==, which is the user's code if the status is theirs
            self.status = "completed"
        self._tracker.record_routine_end(
            self._routine_id, self.status, self.result, self.error, execution_id=self.execution_id
        )

    def _pause(self) -> None:
        """Leave the context, while the code inside the block does not run."""
        self._block.pause()

    def _resume(self) -> None:
        self._block.resume()

    async def __aenter__(self) -> Execution:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Say what to write where this was meant as a decorator."""
        raise TypeError("track() gives a block, as in 'with tracker.track(…):'; decorate with @tracker.tracked(…)")


def error_text(error: BaseException) -> str:
    """Return ``TypeName: message``, or the name alone if there is none, whatever the error's own code raises."""
    try:
        return TEXTS["builtins.BaseException"](error)
    except BaseException:  # it must not take the place of the error that is on its way
        return type(error).__name__


def tracked(tracker: Recording, func: Any, routine_id: Any) -> Any:
    """Return a function that does what ``func`` does, and of the same kind, and records each call of it.

    Raises:
        TypeError: It is no function, nor anything that is called like one.
    """
    if isinstance(func, (staticmethod, classmethod)):
        return type(func)(tracked(tracker, func.__func__, routine_id))
    if not callable(func) or isinstance(func, type):
        found = f"the class {func.__qualname__}" if isinstance(func, type) else f"a {type_name(func)}"
        raise TypeError(f"tracked() decorates functions and methods, found {found}")
    if routine_id is None:
        routine_id = _name_of(func)
    named = _namer(func)

    # Each wrapper is of the kind of its function, since frameworks look at that.

    @wraps(func)
    def function(*args: Any, **kwargs: Any) -> Any:
        with Execution(tracker, routine_id, named(args, kwargs)) as execution:
            execution.result = func(*args, **kwargs)
        return execution.result

    @wraps(func)
    async def coroutine_function(*args: Any, **kwargs: Any) -> Any:
        with Execution(tracker, routine_id, named(args, kwargs)) as execution:
            execution.result = await func(*args, **kwargs)
        return execution.result

    @wraps(func)
    def generator_function(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with Execution(tracker, routine_id, named(args, kwargs)) as execution:
            execution.result = yield from _steps(execution, func(*args, **kwargs))
        return execution.result

    @wraps(func)
    async def async_generator_function(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with Execution(tracker, routine_id, named(args, kwargs)) as execution:
            generator = func(*args, **kwargs)
            try:
                value = await generator.asend(None)
                while True:
                    thrown = None
                    execution._pause()
                    try:
                        sent = yield value
                    except GeneratorExit:
                        execution._resume()
                        await generator.aclose()
                        raise
                    except BaseException as error:
                        thrown = error  # handed on outside, so as not to be the context of what the generator raises
                    execution._resume()
                    if thrown is None:
                        value = await generator.asend(sent)
                    else:
                        try:
                            value = await generator.athrow(thrown)
                        finally:
                            thrown = None  # else it would hold this frame, which holds it
            except StopAsyncIteration:
                pass

    inner = _unwrapped(func)
    for is_kind, wrapper in (
        (inspect.iscoroutinefunction, coroutine_function),
        (inspect.isgeneratorfunction, generator_function),
        (inspect.isasyncgenfunction, async_generator_function),
    ):
        if is_kind(inner) or is_kind(inner.__call__):  # an instance is of the kind of its method
            return wrapper
    return function


def _steps(execution: Execution, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Do what ``yield from`` does; whoever takes a step is outside of the execution until the next one."""
    try:
        value = next(generator)
        while True:
            thrown = None
            execution._pause()
            try:
                sent = yield value
            except GeneratorExit:
                execution._resume()
                generator.close()
                raise
            except BaseException as error:
                thrown = error  # handed on outside, so as not to be the context of what the generator raises
            execution._resume()
            if thrown is None:
                value = next(generator) if sent is None else generator.send(sent)
            else:
                try:
                    value = generator.throw(thrown)
                finally:
                    thrown = None  # else it would hold this frame, which holds it
    except StopIteration as stop:
        return stop.value


def _name_of(func: Any) -> str:
    """Return the name that a reader of the run knows a function by: ``parse``, or ``Parser.parse`` for a method."""
    func = _unwrapped(func)
    name = getattr(func, "__qualname__", None) or type(func).__qualname__
    return str(name).rpartition("<locals>.")[2]  # where it was defined says nothing to him


def _unwrapped(func: Any) -> Any:
    """Return what a partial calls, other things as they are."""
    while isinstance(func, partial):
        func = func.func
    return func


def _namer(func: Any) -> Namer:
    """Return what names the arguments of a call, as ``inspect.signature(func).bind`` would, at a tenth of its cost.

    It never raises: the function itself says best what is wrong with a call.
    """
    parameters = _parameters(func)
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    more_positional = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    more_keywords = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    receiver = names[0] if names[:1] in (["self"], ["cls"]) else None

    def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        params = dict(zip(names, args))  # noqa: B905 - there may be too few or too many
        if kwargs:
            if more_keywords is None:
                params.update(kwargs)
            else:
                rest: dict[str, Any] = {}
                for name, value in kwargs.items():
                    (params if name in keywords else rest)[name] = value
                if rest:
                    params[more_keywords] = rest
        if more_positional is not None and len(args) > len(names):
            params[more_positional] = args[len(names) :]
        if receiver is not None:  # the record would keep the object alive
            params.pop(receiver, None)
        return params

    return named


def _parameters(func: Any) -> list[inspect.Parameter]:
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        options["annotation_format"] = Format.FORWARDREF  # annotations may name what is not defined yet
    try:
        signature = inspect.signature(func, **options)
    except Exception:  # some functions in C have none, and an instance may answer with an error of its own
        signature = inspect.signature(lambda *args, **kwargs: None)
    return list(signature.parameters.values())
