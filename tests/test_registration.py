"""Ours and upstream's class have one name, and serilux knows one class by it: who gets it, and when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = """
from serilux import Serializable, register_serializable

@register_serializable
class ExecutionTracker(Serializable):
    pass
"""

OWNER = """
import importlib.util
from serilux import SerializableRegistry
sys.modules.pop("routilux.execution_tracker", None)
importlib.util.find_spec("routilux.execution_tracker")  # who asks where it is changes nothing more
print(SerializableRegistry.get_class("ExecutionTracker").__module__)
"""


@pytest.mark.parametrize("has_tracker", [True, False], ids=["old engine", "today's engine"])
@pytest.mark.parametrize("first", ["engine", "tracker"])
def test_the_engine_and_the_tracker_can_be_imported_in_any_order(tmp_path: Path, first: str, has_tracker: bool) -> None:
    package = tmp_path / "routilux"
    package.mkdir()
    (package / "__init__.py").touch()
    if has_tracker:
        (package / "execution_tracker.py").write_text(ENGINE)
    imports = ["import contextlib\nwith contextlib.suppress(ModuleNotFoundError): import routilux.execution_tracker"]
    imports.insert(first == "engine", "import execution_tracker; execution_tracker.ExecutionTracker()")
    program = "\n".join([f"import sys; sys.path.insert(0, {str(tmp_path)!r})", *imports, OWNER])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    owner = "routilux.execution_tracker" if has_tracker else "execution_tracker.tracker"
    assert (done.stderr, done.stdout) == ("", owner + "\n")
