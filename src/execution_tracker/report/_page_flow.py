"""The flow graph of the page: the routines that matter, and the events between them."""

from __future__ import annotations

from heapq import nlargest
from typing import Any

from execution_tracker import _timeline
from execution_tracker.report import _facts as facts
from execution_tracker.report._page_texts import text

MAX_NODES = 30  # routines in the graph
MAX_LINKS = 90  # in the graph; with more it is a knot
MAX_LISTED = 300  # edges in the table


def flow_data(
    edges: list[dict[str, Any]], names: dict[Any, str], routines: list[dict[str, Any] | None]
) -> dict[str, Any]:
    """Return the edges with the longest waits, and a graph of the routines that matter.

    Args:
        edges: As ``analysis.event_edges`` gives them.
        names: The names of the routines by their ids, in the order of their numbers.
        routines: Their numbers, None for one without executions.
    """
    numbers = {name: number for number, name in enumerate(names.values())}
    rows = []
    links: dict[tuple[str, str], list[Any]] = {}
    for edge in edges:
        source, target = (_name(edge[key], names) for key in ("source_routine_id", "target_routine_id"))
        waits = edge["caused"], facts.part_inferred(edge), edge["median_wait_time"], edge["max_wait_time"]
        event = text(edge["event_name"])
        rows.append(
            [text(source), event, None if target is None else text(target), edge["count"], edge["rate"], *waits]
        )
        if source is not None and target is not None:
            link = links.setdefault((source, target), [0, 0.0, 0, 0, []])
            link[0] += edge["count"]
            link[1] = max(link[1], edge["max_wait_time"] or 0.0)
            link[2] += edge["caused"]
            link[3] += edge["inferred"]
            link[4].append(event)
    kept = _that_matter(links, {name: routines[number] for name, number in numbers.items()})
    nodes = {name: index for index, name in enumerate(kept)}
    shown = [
        [nodes[source], nodes[target], count, wait, caused, inferred, [*dict.fromkeys(events)][:5]]
        for (source, target), (count, wait, caused, inferred, events) in links.items()
        if source in nodes and target in nodes
    ]
    entered = {target for source, target in links if source != target}
    return {
        "edges": nlargest(MAX_LISTED, rows, key=lambda row: (row[8] or 0.0, row[3])),
        "edge_count": len(rows),
        "nodes": [[text(name), numbers.get(name), name not in entered] for name in kept],
        "node_count": len({name for ends in links for name in ends}),
        "links": nlargest(MAX_LINKS, shown, key=lambda link: link[2]),
        "link_count": len(links),
    }


def _that_matter(links: dict[tuple[str, str], list[Any]], routines: dict[str, dict[str, Any] | None]) -> list[str]:
    """Return the names of the routines to draw: those that took most, failed most or had most events, and the entries.

    Each counts by its largest part of the run's self time, failures and events.
    """
    events: dict[str, int] = {}
    for (source, target), link in links.items():
        for name in dict.fromkeys((source, target)):
            events[name] = events.get(name, 0) + link[0]
    if len(events) <= MAX_NODES:
        return [*events]
    own = {name: (routine["self_execution_time"], routine["failed"]) for name, routine in routines.items() if routine}
    totals = [max(sum(column), 1e-12) for column in ([own[name][i] for name in own] for i in (0, 1))]
    all_events = sum(events.values())
    entered = {target for source, target in links if source != target}

    def weight(name: str) -> tuple[float, str]:
        time, failed = own.get(name, (0.0, 0))
        return max(time / totals[0], failed / totals[1], events[name] / all_events), name

    entries = nlargest(MAX_NODES // 5, (name for name in events if name not in entered), key=weight)
    others = nlargest(MAX_NODES - len(entries), events.keys() - {*entries}, key=weight)
    chosen = {*entries, *others}
    return [name for name in events if name in chosen]


def _name(routine_id: Any, names: dict[Any, str]) -> str | None:
    """Return the name of a routine that an event names; what has no executions need not be known."""
    if routine_id is None:
        return None
    return names[routine_id] if routine_id in names else _timeline.name_of(routine_id)
