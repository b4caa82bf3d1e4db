"""The way into the command line and out of it: exit codes, one line for each error, quiet ends.

The commands themselves are in :mod:`execution_tracker.commands`, which needs click.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from execution_tracker.errors import TrackerError
from execution_tracker.report import _units as units

_PROGRAM = "execution-tracker"  # the name for which shells complete, also where it is called as a module
_BAD = 2
_INTERRUPTED = 130  # what a shell makes of an end by Ctrl-C


def main() -> NoReturn:
    """Run the command that ``sys.argv`` names, and exit.

    The code is 0, or 1 if a routine got slower than it may, or 2 with one line on standard error for a bad file or a
    bad call. A reader that goes away (``| head``) and Ctrl-C end it without a word.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        code = _run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _run() -> int:
    try:
        import click

        from execution_tracker.commands import commands
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        return _complain("the command line needs click: pip install 'execution-tracker[cli]'")
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # where it is not UTF-8
        code: int | None = commands.main(prog_name=_PROGRAM, standalone_mode=False)
        return code or 0
    except click.Abort:
        return _INTERRUPTED
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else _PROGRAM
        return _complain(f"{error.format_message()} Try '{command} --help'.")
    except (click.ClickException, TrackerError) as error:
        return _complain(str(error))
    except OSError as error:  # a full disk
        return _complain(f"<stdout>: {error.strerror or error}")


def _complain(message: str) -> int:
    if sys.stderr is not None:  # else it would go to standard output
        print(units.text_of(message, 1_000), file=sys.stderr)
    return _BAD
