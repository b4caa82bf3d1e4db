"""Count the words and functions in the Markdown and Python files below a folder, and see where the time goes.

    python examples/count_words.py [FOLDER]

Worker threads read and parse the files, the main thread merges the counts. The tracker records each execution of the
four routines and the events between them, with the execution that emits each event and the event that causes each
execution. The report at the end comes from its metrics and its records.
"""

import ast
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from execution_tracker import ExecutionTracker

WORKERS = 4
BAR_WIDTH = 20


def main(folder: Path) -> None:
    paths = files_below(folder)
    if not paths:
        sys.exit(f"There is no Markdown or Python file below {folder}.")
    tracker = ExecutionTracker("count words")
    totals = count_files(tracker, paths)
    print(f"{totals['words']:,} words and {totals['functions']:,} functions below {folder.resolve().name}\n")
    print_metrics(tracker, len(paths))
    print_failures(tracker)


def files_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix in {".md", ".py"} and path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


# The flow: read -> parse_markdown or parse_python -> merge


def count_files(tracker: ExecutionTracker, paths: list[Path]) -> Counter[str]:
    totals: Counter[str] = Counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        for path, counted in zip(paths, pool.map(partial(count_file, tracker), paths), strict=True):
            if counted is not None:
                counts, event = counted
                run(tracker, "merge", path, partial(totals.update, counts), caused_by=event)
    return totals


def count_file(tracker: ExecutionTracker, path: Path) -> tuple[dict[str, int], int | None] | None:
    """Read and parse one file.

    Returns its counts and the id of the event that carries them, None if the file cannot be read or parsed.
    """
    parse = parse_python if path.suffix == ".py" else parse_markdown
    read = partial(path.read_text, encoding="utf-8-sig")
    try:
        text, event = run(tracker, "read", path, read, emits=("text", parse.__name__))
        return run(tracker, parse.__name__, path, partial(parse, text), caused_by=event, emits=("counts", "merge"))
    except (OSError, SyntaxError, ValueError):  # recorded by run()
        return None


def parse_python(text: str) -> dict[str, int]:
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {"words": len(text.split()), "functions": len(list(functions))}


def parse_markdown(text: str) -> dict[str, int]:
    return {"words": sum(any(map(str.isalnum, word)) for word in text.split())}  # a lone "#" or "-" is no word


def run(
    tracker: ExecutionTracker,
    routine: str,
    path: Path,
    work: Callable[[], Any],
    caused_by: int | None = None,
    emits: tuple[str, str] | None = None,
) -> tuple[Any, int | None]:
    """Do some work as one execution of a routine, "failed" where it raises.

    Threads run the same routine at the same time. Ids tell which execution emits an event, and which one ends.

    Args:
        tracker: Records the execution.
        routine: The routine.
        path: The file that is worked on.
        work: What is done.
        caused_by: The id of the event that caused it.
        emits: The event that carries the result: its name, and the routine that receives it.

    Returns:
        The result, and the id of that event.
    """
    execution_id = tracker.record_routine_start(routine, {"path": str(path)}, caused_by=caused_by)
    event = None
    try:
        result = work()
        if emits is not None:
            event = tracker.record_event(routine, *emits, {"path": str(path)}, execution_id=execution_id)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        tracker.record_routine_end(routine, "failed", error=message, execution_id=execution_id)
        raise
    tracker.record_routine_end(routine, execution_id=execution_id)
    return result, event


# The report


def print_metrics(tracker: ExecutionTracker, file_count: int) -> None:
    metrics = tracker.get_performance_metrics()
    print(
        f"{file_count:,} files in {metrics['wall_time']:.3f} s, {metrics['throughput']:,.0f} executions per second, "
        f"at most {metrics['peak_concurrency']} at once\n"
    )
    print("routine         executions  failed   median ms      p95 ms     total ms  share")
    for bottleneck in metrics["bottlenecks"]:
        routine_id, share = bottleneck["routine_id"], bottleneck["share"]
        routine = metrics["routines"][routine_id]
        median, p95, total = (routine[f"{name}_execution_time"] * 1000 for name in ("median", "p95", "total"))
        bar = "#" * round(share * BAR_WIDTH)
        print(
            f"{routine_id:<15} {routine['total_executions']:>10,} {routine['failed']:>7,} "
            f"{median:>11,.3f} {p95:>11,.3f} {total:>12,.3f}  {bar:<{BAR_WIDTH}} {share:>4.0%}"
        )


def print_failures(tracker: ExecutionTracker) -> None:
    records = [record for records in tracker.routine_executions.values() for record in records]
    failures = [record for record in records if record["status"] == "failed"]
    print(f"\n{len(failures)} failed")
    for record in failures:
        print(f"  {record['routine_id']} of {record['params']['path']}: {record['error']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
