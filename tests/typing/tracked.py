"""What type checkers make of functions that are tracked: what they made of them before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

from typing_extensions import assert_type

from execution_tracker import ExecutionTracker

tracker = ExecutionTracker()


@tracker.tracked()
def count(text: str, sep: str | None = None, *, least: int = 0) -> int:
    return max(len(text.split(sep)), least)


@tracker.tracked("load")
async def load(path: str) -> bytes:
    return path.encode()


@tracker.tracked()
def lines(text: str) -> Iterator[str]:
    yield from text.splitlines()


@tracker.tracked()
def dialogue(question: str) -> Generator[str, int, bool]:
    answer = yield question
    return answer > 0


@tracker.tracked()
async def pages(first: int) -> AsyncIterator[bytes]:
    yield bytes(first)


@tracker.tracked()
async def talk(first: int) -> AsyncGenerator[bytes, str]:
    yield bytes(first)


class Parser:
    @tracker.tracked()
    def parse(self, text: str) -> list[str]:
        return text.split()

    @classmethod
    @tracker.tracked()
    def named(cls, name: str) -> Parser:
        return cls()

    @staticmethod
    @tracker.tracked()
    def clean(text: str) -> str:
        return text.strip()

    @property
    @tracker.tracked()
    def size(self) -> int:
        return 0

    @tracker.tracked()
    async def fetch(self, *paths: str, **options: bool) -> list[bytes]:
        return [path.encode() for path in paths]


assert_type(count("to be", sep=" ", least=1), int)
assert_type(list(lines("to be")), list[str])
assert_type(dialogue("ready?"), Generator[str, int, bool])
assert_type(pages(1), AsyncIterator[bytes])
assert_type(talk(1), AsyncGenerator[bytes, str])
assert_type(Parser().parse("to be"), list[str])
assert_type(Parser.named("a"), Parser)
assert_type(Parser.clean(" to be "), str)
assert_type(Parser().size, int)
assert_type(tracker.tracked("upper")(str.upper)("to be"), str)


async def use() -> None:
    awaitable: Coroutine[Any, Any, bytes] = load("a.md")
    assert_type(await awaitable, bytes)
    assert_type(await load("a.md"), bytes)
    assert_type([page async for page in pages(1)], list[bytes])
    assert_type(await Parser().fetch("a.md", fresh=True), list[bytes])


def start(handler: Callable[[str], Awaitable[bytes]]) -> None:
    print(handler)


start(load)

# Each of these is a mistake that a checker finds: where it does not, the comment itself is an error.
count(7)  # type: ignore[arg-type]
count("to be", least="1")  # type: ignore[arg-type]
count()  # type: ignore[call-arg]
count("to be", None, 1)  # type: ignore[call-arg]
Parser().parse()  # type: ignore[call-arg]
Parser().parse(7)  # type: ignore[arg-type]
start(count)  # type: ignore[arg-type]


@tracker.tracked
def without_parentheses() -> int:
    return 1


without_parentheses()  # type: ignore[call-arg]
