"""A run as one offline HTML page: what failed, why it took so long, what was slow.

The page carries the run as JSON, which its scripts show as text and never as markup. A Content-Security-Policy lets
nothing run but these scripts, by their hashes, and nothing be fetched. What the JSON holds is in ``page_data.py``.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execution_tracker.errors import TrackerError
from execution_tracker.report.page_data import page_data

if TYPE_CHECKING:
    from os import PathLike

    from execution_tracker.tracker import ExecutionTracker

_OWN = Path(__file__).parent
# In this order: what is read first does not wait for the libraries.
_FIRST_SCRIPTS = ("units.js", "selection.js", "page.js")
_BOKEH_SCRIPTS = ("bokeh.min.js", "bokeh-api.min.js")
_DAGRE_SCRIPTS = ("dagre.min.js.LEGAL.txt", "dagre.min.js")  # the licence is a comment
_LAST_SCRIPTS = ("bars.js", "timeline.js", "record.js", "finder.js", *_DAGRE_SCRIPTS, "flow.js")

# Bokeh writes style elements and attributes as it goes, which no hash can name. With nothing to fetch, they do no harm.
_POLICY = "default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def write_html(tracker: ExecutionTracker, path: str | bytes | PathLike[Any]) -> None:
    """Write one offline HTML page about a run.

    Args:
        tracker: The run. It stays as it is, and others may record meanwhile.
        path: The file. Whatever happens, it is the old one or the new one.

    Raises:
        TrackerError: Bokeh is missing, which draws the timeline.
        OSError: The system does not take the file.

    Takes a few seconds for 100,000 executions. Of more than the timeline can show fluently, it shows the most telling
    ones, and says so.

    >>> import os, tempfile
    >>> from execution_tracker import ExecutionTracker
    >>> from execution_tracker.report.html import write_html
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_html(ExecutionTracker("nightly"), os.path.join(folder, "run.html"))
    ...     os.listdir(folder)
    ['run.html']
    """
    from execution_tracker.files import write_run

    scripts = _scripts()
    write_run(path, _page(page_data(tracker), scripts))


def _page(data: dict[str, Any], scripts: list[str]) -> Iterator[str]:
    """Yield the page in pieces of ASCII."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    fields = {
        "policy": _POLICY.format(hashes=hashes),
        "title": _ascii(escape(" ".join(data["flow"].split()))),
        "style": (_OWN / "page.css").read_text("ascii"),
    }
    # The fields are put in once: what looks like one within a field stays as it is.
    yield re.sub(r"\{\{(\w+)\}\}", lambda match: fields[match[1]], (_OWN / "page.html").read_text("ascii"))
    yield '<script type="application/json" id="run">'
    yield _harmless(_encode(data))
    yield "</script>\n"
    for script in scripts:
        yield f"<script>{script}</script>\n"
    yield "</body>\n</html>\n"


def _scripts() -> list[str]:
    try:
        from bokeh.util.paths import bokehjs_path
    except ImportError as error:
        raise TrackerError("the page needs Bokeh: pip install 'execution-tracker[html]'") from error
    bokeh = [bokehjs_path() / "js" / name for name in _BOKEH_SCRIPTS]
    first, last = ([_OWN / name for name in names] for names in (_FIRST_SCRIPTS, _LAST_SCRIPTS))
    return [_inline(path.read_text("utf-8")) for path in (*first, *bokeh, *last)]


def _inline(script: str) -> str:
    """Write a script so that it means the same within an HTML page, in ASCII."""
    script = re.sub("<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)
    return re.sub(r"[^\x00-\x7f]", lambda match: _encode(match[0])[1:-1], script)


def _harmless(text: str) -> str:
    """Escape within JSON, which is ASCII already, what HTML could take for its own."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _ascii(text: str) -> str:
    return text.encode("ascii", "xmlcharrefreplace").decode()
