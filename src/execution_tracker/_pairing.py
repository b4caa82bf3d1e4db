"""Which execution an end closes, and which one emits an event: the rules, and the open executions that they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from execution_tracker._folding import Fold
    from execution_tracker._retention import Totals

# An open execution: where it is kept (the place of its row, or its record once somebody holds the records), its owner
# (the task or thread that started it, None if it came from outside), its start in nanoseconds and its parent's id.
# A plain tuple, since one is made for every start.
Opened = tuple[Any, object, "int | None", "int | None"]


class Table:
    """What the fold keeps of one routine.

    ``open`` has the open executions by id, the latest last, and ``by_owner`` the same by the ``id`` of the owner. As an
    open execution keeps its owner, no other object can have that ``id`` meanwhile. ``by_owner`` is made when it is
    needed, and forgotten when a change of it is interrupted.
    """

    __slots__ = ("by_owner", "dropped", "open", "revision", "routine_id", "rows")

    def __init__(self, routine_id: Any) -> None:
        self.routine_id = routine_id
        self.rows: list[Any] = []
        self.open: dict[int, Opened] = {}
        self.by_owner: dict[int, dict[int, Opened]] | None = None
        self.dropped: Totals | None = None
        self.revision = 0  # counts the changes of rows that had ended before

    def copy(self) -> Table:
        """Return a table that does not change with this one."""
        copy = Table(self.routine_id)
        copy.rows, copy.open, copy.dropped, copy.revision = self.rows[:], self.open.copy(), self.dropped, self.revision
        return copy

    def opened(self, execution_id: int, by_owner: dict[int, dict[int, Opened]]) -> None:
        """Put an open execution into ``by_owner``, which was taken out for a change."""
        opened = self.open[execution_id]
        by_owner.setdefault(id(opened[1]), {})[execution_id] = opened
        self.by_owner = by_owner

    def closed(self, execution_id: int, owner: object, by_owner: dict[int, dict[int, Opened]]) -> None:
        """Take an execution out of ``by_owner``, which was taken out for a change."""
        of_owner = by_owner[id(owner)]
        del of_owner[execution_id]
        if not of_owner:
            del by_owner[id(owner)]
        if self.open:
            self.by_owner = by_owner

    def check(self) -> None:
        """Assert that ``by_owner`` tells the same as ``open``."""
        if self.by_owner is not None:
            assert self.open
            assert all(self.by_owner.values())
            for execution_id, opened in self.open.items():
                assert self.by_owner[id(opened[1])][execution_id] is opened
            assert sum(map(len, self.by_owner.values())) == len(self.open)


class Found(NamedTuple):
    """The execution that an end closes, or updates if it had ended before."""

    table: Table
    execution_id: int  # 0 if it had ended
    place: Any

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self.execution_id != 0


def closed_by(fold: Fold, given_id: object, table: Table | None, owner: object, issued: int) -> Found | None:
    """Return the execution that an end closes or updates, None where there is none.

    Args:
        fold: Knows all routines.
        given_id: The ``execution_id`` of the end.
        table: The routine that ends, None if nothing is known of it.
        owner: The task or thread that ends it.
        issued: The least id that was not given out before.
    """
    # 1. The execution with the id that was given, whatever the routine, ended or not. If it is gone, no other one.
    if type(given_id) is int and 0 < given_id < issued:
        tables = [*([table] if table else []), *fold.tables.copy().values()]
        for each in tables:
            if given_id in each.open:
                return Found(each, given_id, each.open[given_id][0])
        for each in tables:
            if (place := fold.find(each, given_id)) is not None:
                return Found(each, 0, place)
        return None
    if table is None:
        return None
    if table.open:
        # 2. The latest open execution of the routine that the same task or thread started.
        # 3. Else the latest open execution of the routine, whoever started it.
        execution_id = latest_started_by(owner, table) or next(reversed(table.open))
        return Found(table, execution_id, table.open[execution_id][0])
    # 4. Else, none is open: the latest execution of the routine.
    place = fold.latest(table)
    # 5. Else, there is none.
    return None if place is None else Found(table, 0, place)


def emitter_among(table: Table, owner: object) -> int | None:
    """Return the id of the open execution that emits an event of its routine, None if that is not certain."""
    # The latest one that the same task or thread started; else the only one.
    return latest_started_by(owner, table) or (next(iter(table.open)) if len(table.open) == 1 else None)


def latest_started_by(owner: object, table: Table) -> int | None:
    """Return the id of the latest open execution of a routine that this task or thread started."""
    if not table.open:
        return None
    latest = next(reversed(table.open))
    if table.open[latest][1] is owner:
        return latest
    if len(table.open) == 1:
        return None
    by_owner = table.by_owner
    if by_owner is None:
        by_owner = {}
        for execution_id, opened in table.open.items():
            by_owner.setdefault(id(opened[1]), {})[execution_id] = opened
        table.by_owner = by_owner
    of_owner = by_owner.get(id(owner))
    return next(reversed(of_owner)) if of_owner else None
