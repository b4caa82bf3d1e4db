"""Which execution an end closes: the open executions, and the five rules over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from execution_tracker.descriptions import type_name
from execution_tracker.timestamps import to_ns

Record = dict[str, Any]


# An execution that has started and not ended: its record, routine id, owner (the task or thread that started it), and
# the wall and monotonic nanoseconds of its start. Owner and monotonic start are None where the record came from
# outside, and the wall start too where its text is no time. A plain tuple, since one is made for every start.
OpenExecution = tuple[Record, Any, object, "int | None", "int | None"]


class Pairing:
    """The executions that an end can close.

    ``folding`` changes these dicts itself, since a change must not be interrupted, and keeps them in step:

    - ``open``: the open executions by id;
    - ``open_of_routine``: the same by routine, latest last;
    - ``open_of_owner``: the same by routine and ``id`` of the owner, for routines in which owners overlap. As an open
      execution keeps its owner, no other object can have that ``id`` meanwhile. A routine is taken out while it
      changes, and if that is interrupted it is built anew when it is needed;
    - ``ended``: the records of ended executions by id.

    Of the ids up to ``gone_until``, those in neither ``open`` nor ``ended`` are of records that were dropped.
    """

    def __init__(self) -> None:
        self.open: dict[int, OpenExecution] = {}
        self.open_of_routine: dict[Any, dict[int, OpenExecution]] = {}
        self.open_of_owner: dict[Any, dict[int, dict[int, OpenExecution]]] = {}
        self.ended: dict[int, Record] = {}
        self.gone_until = 0

    def closed_by(self, given_id: object, routine_id: Any, owner: object) -> int:
        """Return the id of the execution that an end closes or updates, 0 where no execution with an id is meant.

        Args:
            given_id: The ``execution_id`` of the end.
            routine_id: The routine that ends.
            owner: The task or thread that ends it.
        """
        # 1. The execution with the id that was given, open or not, or dropped: then it must not close another.
        if type(given_id) is int and (
            given_id in self.open or given_id in self.ended or 0 < given_id <= self.gone_until
        ):
            return given_id
        open_of_routine = self.open_of_routine.get(routine_id)
        if open_of_routine:
            latest = next(reversed(open_of_routine))
            if open_of_routine[latest][2] is owner:
                return latest
            # 2. The latest open execution of the routine that the same task or thread started.
            # 3. Else the latest open execution of the routine, whoever started it.
            open_of_owner = self._by_owner(routine_id).get(id(owner))
            return next(reversed(open_of_owner)) if open_of_owner else latest
        # 4. and 5. are about records, not about open executions.
        return 0

    def _by_owner(self, routine_id: Any) -> dict[int, dict[int, OpenExecution]]:
        """Return the open executions of a routine by owner; from now on they are kept so while any is open."""
        by_owner = self.open_of_owner.get(routine_id)
        if by_owner is None:
            by_owner = {}
            for execution_id, opened in self.open_of_routine[routine_id].items():
                by_owner.setdefault(id(opened[2]), {})[execution_id] = opened
            self.open_of_owner[routine_id] = by_owner
        return by_owner

    def adopt(self, executions: dict[Any, list[Record]], next_id: Callable[[], int]) -> Pairing:
        """Return the pairing for other containers, in which records known here keep their ids and starts.

        A record that never ended is open.
        """
        known_open = {id(opened[0]): (execution_id, opened) for execution_id, opened in self.open.items()}
        known_ended = {id(record): execution_id for execution_id, record in self.ended.items()}
        adopted = Pairing()
        adopted.gone_until = self.gone_until
        seen: set[int] = set()
        # Copies, since others may record by hand into containers that they hold.
        for routine_id, records in dict.copy(executions).items():
            for record in records[:] if isinstance(records, list) else ():
                if id(record) in seen:  # a record that stands in two places is open once
                    continue
                seen.add(id(record))
                if id(record) in known_ended:
                    adopted.ended[known_ended[id(record)]] = record
                elif isinstance(record, dict) and "end_time" not in record:
                    known = known_open.get(id(record))
                    execution_id, start = (known[0], known[1][2:]) if known else (next_id(), _unseen_start(record))
                    opened = (record, routine_id, *start)
                    adopted.open[execution_id] = opened
                    adopted.open_of_routine.setdefault(routine_id, {})[execution_id] = opened
        return adopted

    def check(self) -> None:
        """Assert that the dicts tell the same."""
        assert not self.open.keys() & self.ended.keys()
        assert all("end_time" not in opened[0] for opened in self.open.values())
        for routine_id, open_of_routine in self.open_of_routine.items():
            for execution_id, opened in open_of_routine.items():
                assert self.open[execution_id] is opened
            if (by_owner := self.open_of_owner.get(routine_id)) is not None:
                assert open_of_routine
                assert all(by_owner.values())
                for execution_id, opened in open_of_routine.items():
                    assert by_owner[id(opened[2])][execution_id] is opened
                assert sum(map(len, by_owner.values())) == len(open_of_routine)
        assert sum(map(len, self.open_of_routine.values())) == len(self.open)


def _unseen_start(record: Record) -> tuple[object, int | None, int | None]:
    return None, to_ns(record.get("start_time")), None


def hashable(routine_id: Any) -> Any:
    """Return the id as given, or its ``repr`` if it cannot be a key."""
    kind = type(routine_id)
    if kind is str or kind is int or kind is float or kind is bool or kind is bytes or routine_id is None:
        return routine_id  # nothing so far can raise, so what is raised comes out of a signal handler
    try:
        hash(routine_id)
    except Exception:
        try:
            return repr(routine_id)
        except Exception:
            return f"<{type_name(routine_id)}>"
    return routine_id
