"""The command line as shells and people use it: what it prints, how it exits, and how it ends early."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import event, execution, run, story

from execution_tracker import ExecutionTracker, __version__, _timeline, cli
from execution_tracker.commands import commands
from execution_tracker.export.chrome_trace import to_chrome_trace

COMMAND = [sys.executable, "-m", "execution_tracker"]


def call(*arguments: str | Path, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=120, **options)


def invoke(capsys: Any, monkeypatch: Any, *arguments: str | Path) -> tuple[int, str, str]:
    """Call the command line in this process, and return its exit code, output and complaints."""
    monkeypatch.setattr(sys, "argv", ["execution-tracker", *map(str, arguments)])
    usual = signal.getsignal(signal.SIGPIPE)
    try:
        with pytest.raises(SystemExit) as exit_:
            cli.main()
    finally:
        signal.signal(signal.SIGPIPE, usual)
    out, err = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out, err


@pytest.fixture
def call_here(capsys: Any, monkeypatch: Any) -> Any:
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: invoke(capsys, monkeypatch, *arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    story().save(path)
    return path


# --- report ---


@pytest.mark.parametrize("name", ["run.json", "run.json.gz", "packed.json"])
def test_report_prints_what_a_file_holds_packed_or_not(call_here: Any, tmp_path: Path, name: str) -> None:
    story().save(tmp_path / "run.json")
    story().save(tmp_path / "run.json.gz")
    shutil.copy(tmp_path / "run.json.gz", tmp_path / "packed.json")
    code, out, err = call_here("report", tmp_path / name)
    assert (code, err) == (0, "")
    assert out.startswith(
        "nightly\nStarted 2026-01-31 12:00:00 +00:00. 3 routines, 5 events.\n\n  Duration  Executions"
    )
    assert "The critical path explains" in out
    assert "\x1b" not in out


def test_report_reads_standard_input_and_names_it_where_that_is_no_run(file: Path) -> None:
    done = call("report", "-", stdin=gzip.compress(file.read_bytes()))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"nightly\n")
    done = call("report", "-", stdin=b'{"routine_executions": {"a": [5]}, "event_flow": []}')
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"<stdin>: routine_executions['a'][0]: expected an object, found a number\n"


def test_report_as_json_tells_programs_all_of_it(call_here: Any, file: Path) -> None:
    code, out, err = call_here("report", file, "--json")
    data = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert list(data) == ["metrics", "critical_path", "event_edges", "failures"]
    assert data["metrics"]["total_executions"] == 8
    steps = [(step["routine_id"], step["execution_id"], step["link"]) for step in data["critical_path"]]
    assert steps == [("fetch", 1, None), ("parse", 4, "caused_by"), ("load", 7, "event")]
    assert [(edge["count"], edge["caused"], edge["inferred"]) for edge in data["event_edges"]] == [(3, 3, 0), (2, 2, 2)]
    assert data["failures"] == [
        {
            "routine_id": "parse",
            "start_time": "2026-01-31T12:00:04.500000+00:00",
            "end_time": "2026-01-31T12:00:05.250000+00:00",
            "execution_time": 0.75,
            "error": "SyntaxError: unexpected end of file\n  in b.csv, line 12",
        }
    ]


def test_several_files_or_a_folder_of_them_are_one_run(call_here: Any, tmp_path: Path) -> None:
    for number, name in enumerate(("b.json", "a.json.gz", "notes.txt"), 1):
        run([execution("load", 0, number)], flow_id=f"worker {number}").save(tmp_path / name)
    both = call_here("report", tmp_path / "a.json.gz", tmp_path / "b.json")
    assert both[0] == 0
    assert both[1].startswith("worker 2, worker 1\nStarted ")
    assert "load         2 " in both[1]
    assert call_here("report", tmp_path) == both
    assert call_here("trace", tmp_path / "a.json.gz", tmp_path, "-o", tmp_path / "trace.out")[0] == 0
    assert (tmp_path / "trace.out").read_text().count('"load"') >= 3


def test_a_folder_that_may_not_be_read_exits_with_2_and_one_line(
    call_here: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", refuse)
    assert call_here("report", tmp_path) == (2, "", f"{tmp_path}: Permission denied\n")


def test_files_of_one_flow_keep_its_name(call_here: Any, file: Path) -> None:
    assert call_here("report", file, file)[1].startswith("nightly\n")


@pytest.mark.parametrize("content", [None, b"[]"])
def test_a_bad_file_among_good_ones_exits_with_2_and_one_line(call_here: Any, file: Path, content: Any) -> None:
    bad = file.with_name("bad.json")
    if content:
        bad.write_bytes(content)
    code, out, err = call_here("report", file, bad)
    assert (code, out) == (2, "")
    assert err.startswith(f"{bad}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["report"], ["report", "--json"], ["html", "-o", os.devnull]])
def test_each_view_puts_the_run_on_the_time_axis_once(
    call_here: Any, file: Path, arguments: list[str], monkeypatch: Any
) -> None:
    made: list[Any] = []
    timeline_class = _timeline.Timeline

    def counted(run: Any) -> Any:
        made.append(run)
        return timeline_class(run)

    monkeypatch.setattr(_timeline, "Timeline", counted)
    assert call_here(*arguments, file)[0] == 0
    assert len(made) == 1


def test_numbers_that_json_has_not_are_texts_in_json_output(call_here: Any, tmp_path: Path) -> None:
    failed = {**execution("a", 0, 1, "boom"), "error": float("nan")}
    data = {"routine_executions": {"a": [failed]}, "event_flow": [event("a", 0.5, "b", float("inf"))]}
    (tmp_path / "run.json").write_text(json.dumps(data))
    code, out, _ = call_here("report", tmp_path / "run.json", "--json")
    report = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert (report["failures"][0]["error"], report["event_edges"][0]["event_name"]) == ("nan", "inf")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=50)
@given(JSON, st.dictionaries(st.sampled_from(list(execution("a", 0, 1))), JSON), JSON, JSON)
def test_json_output_is_json_whatever_the_file_holds(flow_id: Any, record: Any, source: Any, status: Any) -> None:
    run_data = {
        "flow_id": flow_id,
        "routine_executions": {"a": [{**execution("a", 0, 1), **record}, {**execution("a", 2, 3), "status": status}]},
        "event_flow": [event(source, 0.5, "a", record)],
    }
    for arguments in (["report", "-", "--json"], ["report", "-"]):
        result = CliRunner().invoke(commands, arguments, input=json.dumps(run_data).encode())
        assert result.exception is None
        assert "\x1b" not in result.output
        if "--json" in arguments:
            json.loads(result.output, parse_constant=pytest.fail)


# --- compare ---


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    run([execution("fast", 0, 1), execution("slow", 0, 1)] * 5).save(tmp_path / "before.json")
    run([execution("fast", 0, 1), execution("slow", 0, 2)] * 5).save(tmp_path / "after.json.gz")
    return tmp_path / "before.json", tmp_path / "after.json.gz"


def test_compare_exits_with_1_if_a_median_grew_beyond_the_limit_and_says_which(call_here: Any, two_runs: Any) -> None:
    code, out, err = call_here("compare", *two_runs, "--max-slowdown", "1.99")
    assert (code, err) == (1, "")
    assert out.endswith("\n\nMedians that grew beyond 1.99 times: slow (2.00x).\n")
    code, out, err = call_here("compare", *two_runs, "--max-slowdown", "2")
    assert (code, err) == (0, "")
    assert out.endswith("\n\nNo routine's median grew beyond 2 times.\n")
    code, out, err = call_here("compare", *two_runs)
    assert (code, err) == (0, "")
    assert "Medians" not in out


def test_compare_as_json_tells_programs_the_rows_and_the_verdict(call_here: Any, two_runs: Any) -> None:
    code, out, _ = call_here("compare", *two_runs, "--json", "--max-slowdown", "1.5")
    data = json.loads(out)
    assert code == 1
    assert [(row["routine_id"], row["ratio"]["median_execution_time"]) for row in data["routines"]] == [
        ("fast", 1.0),
        ("slow", 2.0),
    ]
    del data["routines"]
    assert data == {
        "max_slowdown": 1.5,
        "max_failed": None,
        "min_count": 5,
        "min_time": 0.001,
        "slower": ["slow"],
        "failing": [],
        "in_common": 2,
        "comparable": 2,
        "passed": False,
    }


def test_compare_takes_its_limits_from_the_options(call_here: Any, two_runs: Any) -> None:
    assert call_here("compare", *two_runs, "--max-slowdown", "1.5", "--min-count", "6")[0] == 0
    assert call_here("compare", *two_runs, "--max-slowdown", "1.5", "--min-time", "1.1")[0] == 0
    assert call_here("compare", *two_runs, "--max-failed", "0")[0] == 0


@pytest.mark.parametrize("hangs", [False, True])
def test_compare_exits_with_1_if_more_failed_or_did_not_end(call_here: Any, tmp_path: Path, hangs: bool) -> None:
    run([execution("load", 0, 1)] * 4).save(tmp_path / "before.json")
    bad = execution("load", 0, None) if hangs else execution("load", 0, 0.1, "boom")
    run([execution("load", 0, 1)] * 3 + [bad]).save(tmp_path / "after.json")
    files = [tmp_path / name for name in ("before.json", "after.json")]
    code, out, err = call_here("compare", *files, "--max-failed", "24")
    assert (code, err) == (1, "")
    assert out.endswith("\n\nFailed, or did not end, more often by more than 24 points: load (0% → 25%).\n")
    code, out, err = call_here("compare", *files, "--max-failed", "25")
    assert (code, err) == (0, "")
    assert out.endswith("\n\nNo routine failed, or did not end, more often by more than 25 points.\n")


def test_a_check_of_runs_with_no_routine_in_common_fails_and_says_so(call_here: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run([execution(name, 0, 1)] * 5).save(tmp_path / f"{name}.json")
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for options, expected in ((["--max-slowdown", "2"], 1), (["--max-failed", "2"], 1), ([], 0)):
        code, out, err = call_here("compare", *files, *options)
        assert (code, err) == (expected, "")
        assert "The runs have no routine in common, so no times were compared." in out
        assert ("The check fails." in out) is bool(expected)


def test_compare_reads_one_of_the_two_from_standard_input(two_runs: Any) -> None:
    before, after = two_runs
    done = call("compare", before, "-", "--max-slowdown", "1.5", stdin=after.read_bytes())
    assert (done.returncode, done.stderr) == (1, b"")
    done = call("compare", "-", after, stdin=before.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")


# --- bad calls and bad files: exit 2 and one line ---


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Missing command. Try 'execution-tracker --help'."),
        (["reprot", "x"], "No such command 'reprot'."),
        (["report"], "Missing argument 'RUN...'. Try 'execution-tracker report --help'."),
        (["compare", "a", "b", "c"], "Got unexpected extra argument (c)"),
        (["report", "-", "-"], "Only one of the runs can be standard input."),
        (["report", "--jsn", "a"], "No such option"),
        (["compare", "-", "-"], "Only one of the runs can be standard input."),
        (["compare", "a", "b", "--max-slowdown", "nan"], "Invalid value for '--max-slowdown': "),
        (["compare", "a", "b", "--max-slowdown", "inf"], "Invalid value for '--max-slowdown': "),
        (["compare", "a", "b", "--max-slowdown", "0"], "Invalid value for '--max-slowdown': "),
        (["compare", "a", "b", "--max-slowdown", "fast"], "Invalid value for '--max-slowdown': "),
        (["compare", "a", "b", "--max-failed", "-1"], "Invalid value for '--max-failed': "),
        (["compare", "a", "b", "--max-failed", "101"], "Invalid value for '--max-failed': "),
        (["compare", "a", "b", "--max-failed", "nan"], "Invalid value for '--max-failed': "),
        (["compare", "a", "b", "--min-count", "0"], "Invalid value for '--min-count': "),
        (["compare", "a", "b", "--min-time", "-1"], "Invalid value for '--min-time': "),
        (["compare", "a", "b", "--min-time", "inf"], "Invalid value for '--min-time': "),
        (["html", "run.json", "-o", "-"], "Invalid value for '-o': expected a file."),
        (["report", "not-there.json"], "not-there.json: No such file or directory"),
        (["report", "two\nlines\x1b[31m"], "two lines\\x1b[31m: No such file or directory"),
        (["report", "."], ".: no *.json or *.json.gz in this folder"),
        (["compare", "not-there.json", "."], "not-there.json: No such file or directory"),
    ],
)
def test_a_bad_call_exits_with_2_and_one_line(call_here: Any, arguments: list[str], complaint: str) -> None:
    code, out, err = call_here(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(complaint)
    assert err.count("\n") == 1
    assert err.endswith("\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not JSON: "),
        (b"no run", "not JSON: "),
        (b"\xff\xfe\x00", "not JSON: "),
        (b"[]", "the run: expected an object, found a list"),
        (b'{"flow_id": "a"}', "the run: no field 'routine_executions'"),
        (b"[" * 100_000, "nested too deep to be a run"),
        (gzip.compress(b"{}" * 1000)[:20], "damaged gzip file: "),
        (b"\x1f\x8b rubbish", "damaged gzip file: "),
        (b'{"routine_executions": {"\\u001b[31m\\n": 5}, "event_flow": []}', "routine_executions['\\x1b[31m\\n']: "),
    ],
)
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_file_that_is_no_run_exits_with_2_and_one_line(
    call_here: Any, file: Path, content: bytes, complaint: str, command: str
) -> None:
    bad = file.parent / "bad.json"
    bad.write_bytes(content)
    code, out, err = call_here(command, *([file] if command == "compare" else []), bad)
    assert (code, out) == (2, "")
    assert err.startswith(f"{bad}: {complaint}")
    assert err.count("\n") == 1


def test_a_file_that_may_not_be_read_exits_with_2_and_one_line(call_here: Any, file: Path, monkeypatch: Any) -> None:
    def refuse(path: Any, *_: Any) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("execution_tracker.commands.open", refuse, raising=False)
    assert call_here("report", file) == (2, "", f"{file}: Permission denied\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_output_that_finds_no_room_exits_with_2_and_one_line(file: Path, option: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "report", file, *option], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (2, b"<stdout>: No space left on device\n")


@pytest.mark.parametrize(("missing", "arguments"), [("click", ["--version"]), ("rich", ["report", "-"])])
def test_without_click_or_rich_one_line_names_the_extra(missing: str, arguments: list[str], tmp_path: Path) -> None:
    program = f"""
import runpy, sys
sys.modules[{missing!r}] = None
sys.argv[1:] = {arguments!r}
runpy.run_module("execution_tracker", run_name="__main__", alter_sys=True)
"""
    content = json.dumps(story().serialize()).encode()
    done = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().endswith(f"needs {missing}: pip install 'execution-tracker[cli]'\n")
    assert done.stderr.count(b"\n") == 1


def test_a_complaint_goes_nowhere_but_to_standard_error(file: Path) -> None:
    shell = f'exec "{sys.executable}" -m execution_tracker report not-there.json 2>&-'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")


def test_standard_input_that_is_closed_is_named_in_one_line(call_here: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert call_here("report", "-") == (2, "", "<stdin>: it is closed\n")


@pytest.mark.parametrize("option", ["", "--json"])
def test_with_standard_output_closed_the_exit_code_still_tells(two_runs: Any, option: str) -> None:
    before, after = two_runs
    shell = f'"{sys.executable}" -m execution_tracker compare "{before}" "{after}" --max-slowdown 1.5 {option} >&-'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_output_that_cannot_change_its_errors_is_written_to(file: Path, call_here: Any, monkeypatch: Any) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    assert call_here("report", file)[0] == 0
    assert output.getvalue().startswith("nightly\n")


def test_a_system_without_sigpipe_is_none_to_complain_about(file: Path, monkeypatch: Any) -> None:
    monkeypatch.delattr(signal, "SIGPIPE")
    monkeypatch.setattr(sys, "argv", ["execution-tracker", "report", str(file)])
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()


def test_an_import_that_fails_for_another_reason_is_not_blamed_on_click(call_here: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "execution_tracker.commands", None)
    with pytest.raises(ModuleNotFoundError, match=r"execution_tracker\.commands"):
        call_here("--version")


def test_without_rich_one_line_names_the_extra_before_a_large_file_is_read(
    call_here: Any, file: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("execution_tracker.commands._LARGE", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    code, out, err = call_here("report", file)
    assert (code, out) == (2, "")
    assert err == "the progress bar needs rich: pip install 'execution-tracker[cli]'\n"


# --- ends that are no errors ---


def test_a_reader_that_goes_away_ends_it_without_a_word(tmp_path: Path) -> None:
    run([execution(f"routine {n}", 0, 1, "boom") for n in range(5_000)]).save(tmp_path / "large.json")
    process = subprocess.Popen(
        [*COMMAND, "report", tmp_path / "large.json", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == -signal.SIGPIPE


def test_ctrl_c_ends_it_without_a_word() -> None:
    with subprocess.Popen(
        [*COMMAND, "report", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b" " * 200_000)  # returns when it reads
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")


def test_ctrl_c_before_the_command_runs_ends_it_likewise(call_here: Any, monkeypatch: Any) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert call_here("report") == (130, "", "")


# --- a terminal ---


def in_a_terminal(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Return the exit code, and what the command line writes to a terminal of 80 columns."""
    master, slave = pty.openpty()
    variables = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    variables |= {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
    process = subprocess.Popen([*COMMAND, *arguments], stdout=slave, stderr=slave, stdin=slave, env=variables)
    os.close(slave)
    output = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and select.select([master], [], [], 120)[0]:
        try:
            chunk = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    return process.wait(60), output.decode()


def test_a_terminal_gets_colours_and_with_no_color_none(file: Path) -> None:
    assert "\x1b[36m━" in in_a_terminal("report", file)[1]
    assert "[36m" not in in_a_terminal("report", file, NO_COLOR="1")[1]


def test_a_small_file_loads_without_a_progress_bar(file: Path) -> None:
    assert "Reading" not in in_a_terminal("report", file)[1]


def test_a_large_file_loads_with_a_progress_bar_on_a_terminal_only(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps(story().serialize()) + " " * 5_000_000, encoding="ascii")
    code, output = in_a_terminal("report", path)
    assert code == 0
    assert "Reading" in output
    assert "Checking" in output
    assert "nightly" in output
    done = call("report", path)
    assert done.stderr == b""
    assert b"Reading" not in done.stdout


def test_the_progress_is_kept_off_standard_output(call_here: Any, file: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("execution_tracker.commands._LARGE", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert call_here("report", file)[1] == call("report", file).stdout.decode()


def test_without_standard_error_nobody_watches_the_progress(call_here: Any, file: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("execution_tracker.commands._LARGE", 0)
    monkeypatch.setattr(sys, "stderr", None)
    assert call_here("report", file)[0] == 0


def test_a_large_file_that_is_no_run_shows_its_progress_and_then_the_one_line(tmp_path: Path) -> None:
    path = tmp_path / "[bold]large[bold].json"
    path.write_bytes(b" " * 5_000_000)
    code, output = in_a_terminal("report", path)
    assert code == 2
    assert "Checking" in output
    assert "[bold]large[bold].json: not JSON: " in output.replace("\r\n", "")
    assert "\x1b[?25h" in output  # the cursor is back


# --- help ---


@pytest.mark.parametrize("command", [[], *([name] for name in commands.commands)])
def test_each_help_has_an_example_and_fits_80_columns(call_here: Any, command: list[str]) -> None:
    code, out, err = call_here(*command, "--help")
    assert (code, err) == (0, "")
    assert "Example" in out
    assert f"execution-tracker {' '.join(command)}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_version_is_that_of_the_package(call_here: Any) -> None:
    assert call_here("--version") == (0, f"execution-tracker, version {__version__}\n", "")


def test_the_installed_command_is_the_module(file: Path) -> None:
    script = Path(sys.executable).with_name("execution-tracker")
    if not script.exists():
        assert os.environ.get("CI") != "true"
        pytest.skip("the package is not installed")
    done = subprocess.run([script, "report", file], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, call("report", file).stdout)


@pytest.mark.parametrize(("shell", "word"), [("bash", "1"), ("zsh", "1"), ("fish", "rep")])
def test_a_shell_can_ask_for_completion(shell: str, word: str) -> None:
    variables = {**os.environ, "COMP_WORDS": "execution-tracker rep", "COMP_CWORD": word}
    assert b"report" in call(env=variables | {"_EXECUTION_TRACKER_COMPLETE": f"{shell}_complete"}).stdout
    source = call(env=variables | {"_EXECUTION_TRACKER_COMPLETE": f"{shell}_source"}).stdout
    assert b"_EXECUTION_TRACKER_COMPLETE" in source


def test_output_that_is_not_utf_8_is_written_all_the_same(file: Path) -> None:
    run([execution("fast", 0, 1), execution("caf\u00e9", 0, 1)]).save(file)
    done = call("report", file, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\ncaf\\xe9 " in done.stdout
    assert b"========" in done.stdout


def test_a_tracker_that_recorded_and_was_saved_reports_itself(call_here: Any, tmp_path: Path) -> None:
    tracker = ExecutionTracker("real")
    tracker.record_routine_start("work")
    tracker.record_routine_end("work")
    tracker.save(tmp_path / "real.json")
    code, out, _ = call_here("report", tmp_path / "real.json")
    assert code == 0
    assert out.startswith("real\n")


# --- files for the browser and for Perfetto ---


def test_html_writes_a_page(file: Path, tmp_path: Path) -> None:
    result = call("html", file, "-o", tmp_path / "run.html")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert "<!doctype html>" in (tmp_path / "run.html").read_text().lower()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_page_is_opened_in_the_browser_if_there_is_one(
    call_here: Any, file: Path, tmp_path: Path, monkeypatch: Any, is_there: bool
) -> None:
    opened: list[str] = []

    def open_(url: str) -> bool:
        opened.append(url)
        return is_there

    monkeypatch.setattr("webbrowser.open", open_)
    monkeypatch.chdir(tmp_path)
    complaint = "" if is_there else "a page.html: written, but there is no browser to open it\n"
    assert call_here("html", file, "-o", "a page.html", "--open") == (0 if is_there else 2, "", complaint)
    assert opened == [f"{tmp_path.resolve().as_uri()}/a%20page.html"]
    assert (tmp_path / "a page.html").exists()
    assert call_here("html", file, "-o", "a page.html")[0] == 0
    assert len(opened) == 1


def test_trace_writes_what_the_exporter_gives(file: Path, tmp_path: Path) -> None:
    result = call("trace", file, "-o", tmp_path / "trace.json.gz")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    trace = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    assert trace == to_chrome_trace(ExecutionTracker.load(file))


@pytest.mark.parametrize("command", ["html", "trace"])
def test_a_file_that_cannot_be_written_is_named_in_one_line(command: str, file: Path, tmp_path: Path) -> None:
    output = tmp_path / "missing" / "file"
    result = call(command, file, "-o", output)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode().count("\n") == 1
    assert f"{output}: No such file or directory" in result.stderr.decode()


@pytest.mark.parametrize("command", ["html", "trace"])
@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to])
def test_a_run_is_never_overwritten_by_what_is_made_of_it(call_here: Any, command: str, link: Any, file: Path) -> None:
    content, output = file.read_bytes(), file
    if link:
        output = file.with_name("link.json")
        link(output, file)
    code, out, err = call_here(command, file, "-o", output)
    assert (code, out) == (2, "")
    assert err.startswith(f"Invalid value for '-o': {output} is the run itself.")
    assert file.read_bytes() == content


def test_none_of_several_runs_is_overwritten(call_here: Any, file: Path) -> None:
    other = shutil.copy(file, file.with_name("other.json"))
    for runs in ([file, other], [file.parent]):
        code, _, err = call_here("trace", *runs, "-o", other)
        assert (code, err.split(".")[0]) == (2, f"Invalid value for '-o': {other.with_suffix('')}")
    assert Path(other).read_bytes() == file.read_bytes()


def test_a_run_on_standard_input_is_not_overwritten_either(file: Path) -> None:
    content = file.read_bytes()
    with file.open("rb") as stdin:
        done = subprocess.run([*COMMAND, "html", "-", "-o", file], stdin=stdin, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert file.read_bytes() == content


def test_a_page_that_is_there_is_replaced(call_here: Any, file: Path) -> None:
    output = file.with_name("run.html")
    output.write_text("old")
    assert call_here("html", file, "-o", output) == (0, "", "")
    assert output.read_bytes().endswith(b"</html>\n")


@pytest.mark.parametrize("command", ["html", "trace"])
def test_the_name_of_the_output_is_not_guessed(command: str, file: Path) -> None:
    result = call(command, file)
    assert (result.returncode, result.stderr.count(b"\n")) == (2, 1)
