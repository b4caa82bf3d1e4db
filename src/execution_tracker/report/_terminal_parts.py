"""Tables that fit a console of any width, and what stands in their cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from execution_tracker.report import _units as units

_GAP = 2  # cells between two columns
_GOOD = 20  # cells of a text; columns are left out to give it these


class Name:
    """A name on one line, which gives way in its middle: long names differ at either end."""

    def __init__(self, name: str, style: str = "", least: int = 12) -> None:
        self.name = name
        self.style = style
        self.most = cell_len(name)
        self.least = min(self.most, least)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        name, kept = self.name, len(self.name)
        while cell_len(name) > options.max_width and kept > 2:
            kept = min(kept, options.max_width + 1) - 1
            name = f"{self.name[: kept // 2]}…{self.name[len(self.name) - (kept - 1 - kept // 2) :]}"
        yield Text(name, style=self.style, no_wrap=True, overflow="ellipsis")


class Folded:
    """A text that takes a few lines where there is no room for one, and is cut after these."""

    def __init__(self, text: str, lines: int, least: int = 16, style: str = "") -> None:
        self.text = text
        self.lines = lines
        self.style = style
        self.most = cell_len(text)
        self.least = min(self.most, least)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        lines = Text(self.text).wrap(console, max(options.max_width, 2), overflow="fold")
        for number, line in enumerate(lines[: self.lines], 1):
            text = line.plain.rstrip()
            if number == self.lines < len(lines):
                text = f"{chop_cells(text, max(options.max_width - 1, 1))[0] if text else ''}…"
            yield Text(text, style=self.style, no_wrap=True, overflow="ellipsis")


class Bar:
    """A line with spans on it: start and end from 0 to 1, a character and a style for each."""

    least = 4

    def __init__(self, spans: list[tuple[float, float, str, str]], width: int) -> None:
        self.spans = spans
        self.most = width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(options.max_width, self.most)
        line = Text(" " * width, no_wrap=True)
        for start, end, character, style in self.spans:
            if end > start and width:
                first = min(int(start * width), width - 1)
                last = min(max(round(end * width), first + 1), width)
                character = {"━": "=", "╌": "-"}[character] if options.ascii_only else character
                line.plain = line.plain[:first] + character * (last - first) + line.plain[last:]
                line.stylize(style, first, last)
        yield line


Cell = Text | Name | Folded | Bar


class Column(NamedTuple):
    """A column of a table. Where there is no room, the one with the highest rank is left out first."""

    header: str
    cells: list[Cell]
    rank: int = 0  # 0 if it is never left out

    @property
    def is_number(self) -> bool:
        """Whether it is set to the right."""
        return all(isinstance(cell, Text) for cell in self.cells)

    @property
    def least(self) -> int:
        """The cells that it needs."""
        return max(cell_len(self.header), *(_least(cell) for cell in self.cells), 1)

    @property
    def good(self) -> int:
        """The cells for which other columns are left out."""
        is_bar = any(isinstance(cell, Bar) for cell in self.cells)
        return self.least if is_bar else max(self.least, min(self.most, _GOOD))

    @property
    def most(self) -> int:
        """The cells that it takes where there is room."""
        return max(cell_len(self.header), *(_most(cell) for cell in self.cells), 1)


def number(text: str, style: str = "") -> Text:
    """Return a cell of a column that is set to the right and never cut."""
    return Text(text, style=style)


def _least(cell: Cell) -> int:
    return cell_len(cell.plain) if isinstance(cell, Text) else cell.least


def _most(cell: Cell) -> int:
    return cell_len(cell.plain) if isinstance(cell, Text) else cell.most


def fitted(columns: list[Column], width: int) -> Table:
    """Return a table without lines that is no wider than so many cells."""
    shown = [*columns]
    while sum(column.good + _GAP for column in shown) - _GAP > width:
        last = max(shown, key=lambda column: column.rank)
        if not last.rank:
            break
        shown.remove(last)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column, cells in zip(shown, _widths(shown, width), strict=True):
        header = Text(column.header, no_wrap=True)
        table.add_column(header, justify="right" if column.is_number else "left", no_wrap=True, width=cells)
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*row)
    return table


def _widths(columns: list[Column], width: int) -> list[int]:
    """Return the cells of each column: what it needs, and of what is left as much as it takes, texts before bars."""
    widths = [column.least for column in columns]
    left = width - sum(widths) - _GAP * (len(columns) - 1)
    for of_bars in (False, True):
        hungry = [index for index, column in enumerate(columns) if isinstance(column.cells[0], Bar) is of_bars]
        while left > 0 and (hungry := [index for index in hungry if widths[index] < columns[index].most]):
            for index in hungry[:left]:
                widths[index] += 1
            left -= len(hungry[:left])
    return widths


def more(count: int, thing: str, which: str = "") -> list[Text]:
    """Return the line below a list that was cut, empty if it was not."""
    if count <= 0:
        return []
    things = units.counted(count, thing).split(" ")
    return [Text(f"… and {things[0]} more {things[1]}{which}", style="dim")]
