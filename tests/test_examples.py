"""The examples are run as a reader would run them, and what they print is what happened."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from doctest import DocTestParser
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from execution_tracker import ExecutionTracker

EXAMPLES = Path(__file__).parents[1] / "examples"
GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "engine.md"


def run_example(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)


def run_count_words(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_example("count_words.py", *arguments)


def rows(output: str) -> dict[str, list[str]]:
    """Return the cells of the table behind each routine's name."""
    lines = output.split("share\n")[1].split("\n\n")[0].splitlines()
    return {cells[0]: cells[1:] for cells in map(str.split, lines)}


def test_count_words_counts_a_folder_and_reports_each_routine(tmp_path):
    (tmp_path / "notes.md").write_text("# Notes\n\n- two words\n", encoding="utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "code.py").write_text("def f(): pass\nasync def g(): pass\n", encoding="utf-8")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "code.py").write_text("def h(): pass\n", encoding="utf-8")
    (tmp_path / "data.csv").write_text("not read", encoding="utf-8")
    result = run_count_words(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"10 words and 2 functions below {tmp_path.name}\n\n2 files in ")
    table = rows(result.stdout)
    assert {routine: cells[:2] for routine, cells in table.items()} == {
        "read": ["2", "0"],
        "parse_markdown": ["1", "0"],
        "parse_python": ["1", "0"],
        "merge": ["2", "0"],
    }
    assert result.stdout.endswith("\n0 failed\n")


def test_count_words_reports_files_that_cannot_be_read_or_parsed_and_counts_the_others(tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / "latin.md").write_bytes("café".encode("latin-1"))
    (tmp_path / "good.md").write_text("good", encoding="utf-8")
    result = run_count_words(tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("1 words and 0 functions")
    _, failures = result.stdout.split("\n2 failed\n")
    assert f"  parse_python of {tmp_path / 'broken.py'}: SyntaxError: " in failures
    assert f"  read of {tmp_path / 'latin.md'}: UnicodeDecodeError: " in failures
    assert rows(result.stdout)["read"][:2] == ["3", "1"]
    assert rows(result.stdout)["merge"][:2] == ["1", "0"]


def test_count_words_of_this_checkout_shows_where_the_time_went():
    result = run_count_words()
    assert result.returncode == 0
    headline = re.search(
        r"([\d,]+) files in ([\d.]+) s, ([\d,]+) executions per second, at most (\d+) at once", result.stdout
    )
    files, wall_time, throughput, peak = (float(text.replace(",", "")) for text in headline.groups())
    assert files > 10
    assert wall_time > 0
    assert throughput > 0
    assert 1 <= peak <= 5  # four workers, and the thread that merges
    table = rows(result.stdout)
    assert float(table["read"][0].replace(",", "")) == files
    totals = [float(cells[4].replace(",", "")) for cells in table.values()]
    assert totals == sorted(totals, reverse=True)
    shares = [int(cells[-1].rstrip("%")) for cells in table.values()]
    assert 98 <= sum(shares) <= 102  # each is rounded
    assert all(cells[5].strip("#") == "" for cells in table.values() if len(cells) == 7)


def links_of(tracker: ExecutionTracker, item_of: Callable[[str, Any], Any]) -> list[tuple[Any, str, str]]:
    """Return item, source and target of each event, after a check that all facts about it are about one item.

    Each event comes from an execution of its source, and causes one execution of its target.
    """
    executions = [record for records in tracker.routine_executions.values() for record in records]
    by_id = {record["execution_id"]: record for record in executions}
    caused: dict[int, list[dict[str, Any]]] = {}
    for record in executions:
        for event_id in record.get("caused_by", []):
            caused.setdefault(event_id, []).append(record)
    links = []
    for event in tracker.event_flow:
        emitter, (led_to,) = by_id[event["execution_id"]], caused.pop(event["event_id"])
        source, target = event["source_routine_id"], event["target_routine_id"]
        assert (emitter["routine_id"], led_to["routine_id"]) == (source, target)
        item = item_of(target, led_to["params"])
        assert item_of(source, emitter["params"]) == item
        links.append((item, source, target))
    assert not caused
    return links


def test_count_words_knows_what_emitted_each_event_and_what_it_caused_though_threads_mix_the_files(tmp_path):
    paths = [tmp_path / f"{number}.{'py' if number % 2 else 'md'}" for number in range(100)]
    for number, path in enumerate(paths):
        path.write_text("word\n" * (number * 7 % 50), encoding="utf-8")
    tracker = ExecutionTracker()
    run_path(str(EXAMPLES / "count_words.py"))["count_files"](tracker, paths)
    parses = {".py": "parse_python", ".md": "parse_markdown"}
    assert sorted(links_of(tracker, lambda routine, params: params["path"])) == sorted(
        (str(path), *link) for path in paths for link in [("read", parses[path.suffix]), (parses[path.suffix], "merge")]
    )


def test_the_engine_of_the_guide_knows_what_emitted_each_event_and_what_it_caused_though_threads_mix_the_items():
    def double(value: int) -> int:
        time.sleep(value % 7 / 5_000)
        return 2 * value

    def add(value: int) -> int:
        time.sleep(value % 5 / 5_000)
        return value + 1

    shown: dict[str, Any] = {}
    for example in DocTestParser().get_examples(GUIDE.read_text(encoding="utf-8")):
        exec(example.source, shown)
        if "Engine" in shown:
            break
    routines = {"double": double, "add": add, "store": str, "log": str}
    engine = shown["Engine"]("items", routines, {"double": ["add", "log"], "add": ["store"]})
    engine.run("double", range(200))
    items = {
        "double": lambda value: value,
        "add": lambda value: value // 2,
        "log": lambda value: value // 2,
        "store": lambda value: (value - 1) // 2,
    }
    assert sorted(links_of(engine.tracker, lambda routine, params: items[routine](params["value"]))) == sorted(
        (item, *link) for item in range(200) for link in [("double", "add"), ("double", "log"), ("add", "store")]
    )
    assert len({record["worker"] for record in engine.tracker.routine_executions["double"]}) == 4


def test_count_words_of_a_folder_without_files_says_so(tmp_path):
    result = run_count_words(tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"There is no Markdown or Python file below {tmp_path}.\n"


def test_plain_functions_reports_what_ran_and_what_failed():
    result = run_example("plain_functions.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count(" is refused: ") == 3
    table = result.stdout.split("total ms\n")[1].split("\n\n")[0].splitlines()
    counts = {line[:12].strip(): line[12:].split()[:2] for line in table}
    assert counts == {
        "orders": ["1", "0"],
        "handle": ["6", "3"],
        "parse": ["6", "1"],
        "Store.take": ["5", "2"],
        "take stock": ["1", "0"],
    }
    assert "take(article='coffee', quantity=1) -> 8\n" in result.stdout
    assert "take(article='cake', quantity=2) -> LookupError: there is not enough cake\n" in result.stdout


def test_asyncio_tasks_tells_the_tasks_that_ran_at_once_apart():
    result = run_example("asyncio_tasks.py")
    assert (result.returncode, result.stderr) == (0, "")
    headline, *lines = result.stdout.replace("\n\n", "\n").splitlines()
    assert re.fullmatch(r"1[0-3] executions, at most \d+ at once", headline)
    ends = [re.fullmatch(r"fetch\((\w+)\) (\w+) after ([\d.]+) s: (.+)", line).groups() for line in lines]
    assert [name for name, *_ in ends] == ["home", "news", "help", "archive", "missing"]
    assert ends[3][1:] == ("cancelled", ends[3][2], "CancelledError")
    assert float(ends[3][2]) < 30
    assert ends[4][1::2] == ("failed", "LookupError: there is no page missing")
    assert all(end[1::2] == ("completed", "3 words") for end in ends[:3] if float(end[2]) < 0.5)


def test_processes_merges_what_each_process_recorded():
    result = run_example("processes.py")
    assert (result.returncode, result.stderr) == (0, "")
    headline, *parts, run = result.stdout.splitlines()
    assert headline == "1229 primes below 10,000"
    assert sorted(int(part.split()[0]) for part in parts) == [0, 2_000, 4_000, 6_000, 8_000]
    assert sum(int(part.split()[2]) for part in parts) == 1229
    assert run == "<ExecutionTracker 'primes': 5 executions, 0 failed, 0 running, 0 events>"


def test_dask_flow_merges_what_the_trackers_of_the_workers_recorded():
    try:
        import distributed  # noqa: F401
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("distributed is not installed")
    command = [sys.executable, EXAMPLES / "dask_flow.py", "20000"]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(
        "The largest gap between primes in parts of the numbers below 20,000 is 52, after 19,609.\n"
    )
    assert re.search(r"^prime gaps: [\d.]+ s, at most [2-4] at once$", result.stdout, re.MULTILINE)
    assert re.search(r"^8 calls on [12] workers, 8 events$", result.stdout, re.MULTILINE)
    lines = result.stdout.split("total ms\n")[1].splitlines()
    table = {cells[0]: cells[1:] for cells in map(str.split, lines)}
    assert {routine: cells[:2] for routine, cells in table.items()} == {
        "search": ["8", "0"],
        "sieve": ["8", "0"],
        "measure": ["8", "0"],
    }
    inside = sum(float(table[step][3].replace(",", "")) for step in ("sieve", "measure"))
    assert inside <= float(table["search"][3].replace(",", "")) + 1


def test_opentelemetry_spans_prints_a_line_for_each_span_of_the_run():
    try:
        import opentelemetry.sdk  # noqa: F401
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("OpenTelemetry's SDK is not installed")
    result = run_example("opentelemetry_spans.py")
    assert (result.returncode, result.stderr) == (0, "")
    *lines, root, count = result.stdout.splitlines()
    assert re.fullmatch(r"shop +[\d.]+ ms", root)
    assert count == "8 spans"
    spans = sorted(re.sub(r" +[\d.]+ ms", "", line) for line in lines)
    assert [span for span in spans if span.startswith("pack")] == [
        f'pack  in the run, caused by 1  "a box of {order}"' for order in ("1 coffee", "3 tea", "5 tea")
    ]
    assert spans[3:] == [
        "parse  in the run  ValueError: invalid literal for int() with base 10: 'two'",
        'parse  in the run  [1, "coffee"]',
        'parse  in the run  [3, "tea"]',
        'parse  in the run  [5, "tea"]',
    ]
